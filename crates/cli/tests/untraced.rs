//! Programs that nobody may trace: somebody traces them already, or a policy forbids it.

#[path = "common/both.rs"]
mod both;
mod common;

use both::{LOOKS, WAYS, compile, log, native, path};
use common::{Place, text};

/// Runs `words` behind `before` both ways, the library with them in the second: they must agree, and `programs` programs
/// be patched.
fn agree(place: &Place, before: &[&str], words: &[&str], programs: usize) {
    let _ = std::fs::remove_file(place.dir.path().join("log"));
    let file = place.dir.path().join("log");
    let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch");
    let run = [path(hotpatch), "run", "--log", path(&file), "--"];
    let [expected, seen] = [&[][..], &run].map(|run| native(place, &[before, run, words].concat()));
    let log = log(place);
    let what = format!("{words:?}\n{}\n{log}", text(&seen.stderr));
    assert_eq!(text(&seen.stdout), text(&expected.stdout), "{what}");
    assert_eq!(seen.status, expected.status, "{what}");
    let totals = log.lines().filter(|line| line.contains(" files, "));
    assert_eq!(totals.count(), programs, "{what}");
    // The first exec is the command's own.
    let said = log.lines().filter(|line| line.contains(": exec: cannot"));
    assert_eq!(said.count(), execs(words), "{what}");
}

fn execs(words: &[&str]) -> usize {
    words.join(" ").matches("looks").count() - usize::from(words[0].contains("looks"))
}

/// Execs of every kind.
fn try_all(place: &Place, before: &[&str]) {
    let ways = compile(place, "ways", WAYS, &["gcc", "-pthread"]);
    let kinds: [(&str, &[&str], bool); 4] = [
        ("dynamic", &["gcc"], true),
        ("fixed", &["gcc", "-no-pie"], true),
        ("musl", &["musl-gcc"], true),
        ("static", &["gcc", "-static"], false),
    ];
    for (name, compiler, reached) in kinds {
        let looks = compile(place, &format!("looks-{name}"), LOOKS, compiler);
        let (looks, one) = (path(&looks), usize::from(reached));
        agree(place, before, &[looks, "a", ""], one);
        agree(place, before, &["/usr/bin/env", "-i", looks], 1 + one);
        let twice = format!("export LD_BIND_NOW=1; {looks}; exec {looks}");
        agree(place, before, &["/bin/sh", "-c", &twice], 1 + 2 * one);
        for way in ["spawn", "vfork", "thread", "fexecve", "blocked"] {
            agree(place, before, &[path(&ways), way, looks], 1 + one);
        }
    }
    // What is no file fails without a word; the third of these is no program at all.
    agree(place, before, &[path(&ways), "failing", ""], 1);
}

#[test]
fn under_strace_the_loader_brings_the_library_and_nothing_else_changes() {
    let place = Place::new();
    try_all(&place, &["strace", "-f", "-qq", "-o", "/dev/null"]);
}

#[test]
fn what_is_preloaded_already_stays_so() {
    let place = Place::new();
    let looks = compile(&place, "looks", LOOKS, &["gcc"]);
    let other = compile(
        &place,
        "other.so",
        "int other;",
        &["gcc", "-shared", "-fPIC"],
    );
    let line = format!("export LD_PRELOAD={}; {}", path(&other), path(&looks));
    let words = ["/bin/sh", "-c", &line];
    let strace = ["strace", "-f", "-qq", "-o", "/dev/null"];
    let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch");
    let file = place.dir.path().join("log");
    let run = [path(hotpatch), "run", "--log", path(&file), "--"];
    let [expected, seen] = [&[][..], &run].map(|run| {
        let output = native(&place, &[&strace, run, &words].concat());
        // LIMITS.md: the kernel's own list has a gap.
        let said = text(&output.stdout);
        let lines = said.lines().filter(|line| *line != "kernel ");
        lines.map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(seen, expected);
    assert!(
        log(&place).matches(" files, ").count() == 2,
        "{}",
        log(&place)
    );
}

#[test]
fn a_breakpoint_is_met_in_a_program_and_in_what_it_executes() {
    let place = Place::new();
    let looks = compile(&place, "looks", LOOKS, &["gcc", "-g", "-O0"]);
    let ways = compile(&place, "ways", WAYS, &["gcc", "-g", "-O0", "-pthread"]);
    let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch");
    let file = place.dir.path().join("log");
    let run = [path(hotpatch), "run", "--log", path(&file), "--"];
    let ask = "set breakpoint pending on,set follow-exec-mode same,break main,run,where,continue,info breakpoints,where,continue,where,continue";
    let gdb = |program: &[&str]| {
        let mut words = vec!["gdb", "-nx", "-q", "-batch"];
        for command in ask.split(',') {
            words.extend(["-ex", command]);
        }
        words.push("--args");
        let output = native(&place, &[&words, program].concat());
        let said = text(&output.stdout);
        let at_main = said.lines().filter(|l| l.starts_with("#0  main"));
        (at_main.count(), said.clone())
    };
    let program = [path(&ways), "thread", path(&looks)];
    // An exec in a thread is more than gdb can follow each time, natively too.
    let met = |program: &[&str]| {
        let _ = std::fs::remove_file(place.dir.path().join("log"));
        let (at_main, said) = gdb(program);
        (at_main >= 2 && said.contains("exited with code 07"), said)
    };
    let ever = |program: &[&str]| {
        let mut last = met(program);
        for _ in 0..10 {
            if !last.0 {
                last = met(program);
            }
        }
        last
    };
    let (native, said) = ever(&program);
    assert!(native, "{said}");
    let (seen, said) = ever(&[&run, &program[..]].concat());
    assert!(seen, "{said}");
    assert_eq!(
        log(&place).matches(" files, ").count(),
        2,
        "{}",
        log(&place)
    );
}

#[test]
fn where_a_policy_forbids_it_too() {
    let place = Place::new();
    let refuses = compile(&place, "refuses", REFUSES, &["gcc"]);
    let looks = compile(&place, "looks", LOOKS, &["gcc"]);
    let (before, looks) = ([path(&refuses)], path(&looks));
    agree(&place, &before, &[looks, "a"], 1);
    let twice = format!("{looks}; {looks}");
    agree(&place, &before, &["/bin/sh", "-c", &twice], 3);
}

/// Executes its arguments where `ptrace` answers EPERM.
const REFUSES: &str = r#"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 99;
    execv(argv[1], argv + 1);
    return 98;
}
"#;

#[test]
fn the_first_process_of_a_namespace_is_the_programs_own() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    // The shell's own first child is the first of the namespace; when it ends none can be begun there.
    let line = r#"(echo a; sh -c 'echo $$; exec sh -c "echo \$\$"'; echo b); echo $?"#;
    let shell = ["/bin/sh", "-c", line];
    let count = |words: &[&str], before: &[&str]| {
        let _ = std::fs::remove_file(place.dir.path().join("log"));
        let file = place.dir.path().join("log");
        let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch");
        let run = [path(hotpatch), "run", "--log", path(&file), "--"];
        let [expected, seen] = [&[][..], &run].map(|run| {
            let output = native(&place, &[before, run, words].concat());
            (text(&output.stdout), text(&output.stderr), output.status)
        });
        assert_eq!(seen, expected, "{}", log(&place));
        log(&place).matches(" files, ").count()
    };
    assert_eq!(count(&[&["unshare", "-p"], &shell[..]].concat(), &[]), 4);
    assert_eq!(count(&shell, &["unshare", "-p"]), 3);
}
