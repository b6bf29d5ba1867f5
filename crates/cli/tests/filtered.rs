//! Programs that set a seccomp filter and then execute another.

#[path = "common/both.rs"]
mod both;
mod common;

use both::{agree, compile, log, path};
use common::Place;

/// Sets the filter that its first argument names, and executes the rest.
const FILTERS: &str = r#"
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)
#define SET(name, ...) \
    if (!strcmp(argv[1], name)) { \
        struct sock_filter filter[] = {__VA_ARGS__}; \
        struct sock_fprog program = {sizeof filter / sizeof *filter, filter}; \
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) return 97; \
    }
int main(int argc, char **argv) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return 99;
    SET("socket", LOAD(arch), IS(AUDIT_ARCH_X86_64, 1, 0), ANSWER(SECCOMP_RET_KILL_PROCESS), LOAD(nr),
        IS(SYS_socket, 0, 1), ANSWER(SECCOMP_RET_ERRNO | EACCES), ANSWER(SECCOMP_RET_ALLOW))
    SET("ptrace", LOAD(nr), IS(SYS_ptrace, 0, 1), ANSWER(SECCOMP_RET_KILL_PROCESS), ANSWER(SECCOMP_RET_ALLOW))
    SET("mem", LOAD(nr), IS(SYS_process_vm_readv, 0, 1), ANSWER(SECCOMP_RET_KILL_PROCESS), ANSWER(SECCOMP_RET_ALLOW))
    SET("writable", LOAD(nr), IS(SYS_mmap, 0, 3), LOAD(args[2]),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 0, 1), ANSWER(SECCOMP_RET_ALLOW), ANSWER(SECCOMP_RET_ALLOW))
    SET("flags", LOAD(nr), IS(SYS_mmap, 0, 3), LOAD(args[3]), IS(12345, 0, 1), ANSWER(SECCOMP_RET_KILL_PROCESS),
        ANSWER(SECCOMP_RET_ALLOW))
    execv(argv[2], argv + 2);
    return 98;
}
"#;

/// Prints its arguments and whether there are filters; executes what stands behind `-`.
const SPEAKS: &str = r#"
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    while (*++argv && strcmp(*argv, "-")) printf("%s ", *argv);
    printf("%d %d\n", prctl(PR_GET_SECCOMP, 0, 0, 0, 0), socket(AF_UNIX, SOCK_STREAM, 0));
    fflush(stdout);
    if (*argv) execv(argv[1], argv + 1);
    return 3;
}
"#;

#[test]
fn a_filter_that_lets_the_library_through_changes_nothing() {
    let place = Place::new();
    let filters = compile(&place, "filters", FILTERS, &["gcc"]);
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let fixed = compile(&place, "static", SPEAKS, &["gcc", "-static"]);
    let (filters, speaks, fixed) = (path(&filters), path(&speaks), path(&fixed));
    for filter in ["socket", "writable"] {
        agree(
            &place,
            &[filters, filter, fixed, "a", "-", speaks, "b", "-", fixed],
            4,
        );
        assert!(!log(&place).contains(": exec:"), "{}", log(&place));
        // One upon the other.
        agree(
            &place,
            &[filters, filter, filters, "socket", speaks, "a"],
            3,
        );
        agree(
            &place,
            &[
                filters,
                filter,
                "/bin/sh",
                "-c",
                &format!("{fixed} a; {speaks} b"),
            ],
            4,
        );
    }
}

#[test]
fn where_a_filter_ends_who_traces_nobody_does() {
    let place = Place::new();
    let filters = compile(&place, "filters", FILTERS, &["gcc"]);
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let fixed = compile(&place, "static", SPEAKS, &["gcc", "-static"]);
    let (filters, speaks, fixed) = (path(&filters), path(&speaks), path(&fixed));
    // By the loader, and by the loader again.
    agree(
        &place,
        &[filters, "ptrace", speaks, "a", "-", speaks, "b", "-", fixed],
        3,
    );
    let said = log(&place).matches(": exec: cannot be traced").count();
    assert_eq!(said, 3, "{}", log(&place));
    agree(
        &place,
        &[filters, "socket", filters, "ptrace", speaks, "a"],
        3,
    );
    agree(
        &place,
        &[filters, "ptrace", filters, "socket", speaks, "a"],
        3,
    );
}

#[test]
fn behind_a_filter_that_forbids_the_librarys_calls_a_program_runs_natively() {
    let place = Place::new();
    let filters = compile(&place, "filters", FILTERS, &["gcc"]);
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let (filters, speaks) = (path(&filters), path(&speaks));
    for filter in ["mem", "flags"] {
        agree(&place, &[filters, filter, speaks, "a", "-", speaks, "b"], 1);
        let said =
            "exec: the program sets a seccomp filter: what it executes from here on runs natively";
        assert!(log(&place).contains(said), "{}", log(&place));
    }
}
