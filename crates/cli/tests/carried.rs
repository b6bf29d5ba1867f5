//! Programs that cannot open the library and its hooks themselves: these are carried there.

#[path = "common/both.rs"]
mod both;
mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use both::{agree, compile, log, native, patched, path};
use common::{Place, text};

/// Prints its arguments, its descriptors, and what call 400 answers; executes the rest of its arguments behind `-`.
const SPEAKS: &str = r#"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int fd = 0; fd < 64; fd++)
        if (dup2(fd, fd) == fd) printf("%d ", fd);
    while (*++argv && strcmp(*argv, "-")) printf("%s ", *argv);
#ifdef KNOWN
    long answer = getppid() * 0;
#else
    long answer = syscall(400);
#endif
    printf("%ld\n", answer == -1 ? -errno : answer);
    fflush(stdout);
    if (*argv && argv[1]) execv(argv[1], argv + 1);
    return *argv ? 9 : 3;
}
"#;

/// Becomes another user, as `su` does, and executes its arguments.
const BECOMES: &str = r#"
#define _GNU_SOURCE
#include <grp.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (setgroups(0, 0) || setresgid(54321, 54321, 54321) || setresuid(54321, 54321, 54321)) return 8;
    execv(argv[1], argv + 1);
    return 9;
}
"#;

/// A hook that answers call 400.
const ANSWERS: &str = r#"
#include <hotpatch.h>
static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    if (frame->rax != 400) return HOTPATCH_RUN;
    frame->rax = 4711;
    return HOTPATCH_ANSWER;
}
const hotpatch_hook_t hotpatch_hook = { .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .syscalls = HOTPATCH_SYSCALLS(400), .before = before };
"#;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A place that others may enter, but where the library is; and a log that they may write to.
fn open_place() -> Place {
    let place = Place::new();
    mode(place.dir.path(), 0o755);
    std::fs::create_dir(place.cache()).unwrap();
    mode(&place.cache(), 0o700);
    place
}

fn empty_log(place: &Place) {
    let log = place.dir.path().join("log");
    std::fs::write(&log, "").unwrap();
    mode(&log, 0o666);
}

fn hook(place: &Place) -> PathBuf {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include");
    let flags = [
        "gcc",
        "-shared",
        "-fPIC",
        "-ffreestanding",
        "-nostdlib",
        "-mgeneral-regs-only",
        "-I",
        include,
    ];
    let hook = compile(place, "answers.so", ANSWERS, &flags);
    mode(&hook, 0o700);
    hook
}

/// Runs it both ways, with a log that all may write to: they must agree, and `programs` programs be patched.
fn follows(place: &Place, words: &[&str], programs: usize) {
    let expected = native(place, words);
    empty_log(place);
    let file = place.dir.path().join("log");
    let mut command = place.hotpatch();
    command
        .args(["run", "--log", path(&file), "--"])
        .args(words);
    let seen = command.output().unwrap();
    let log = log(place);
    assert_eq!(
        text(&seen.stdout),
        text(&expected.stdout),
        "{words:?}\n{log}"
    );
    assert_eq!(
        text(&seen.stderr),
        text(&expected.stderr),
        "{words:?}\n{log}"
    );
    assert_eq!(seen.status, expected.status, "{words:?}\n{log}");
    assert_eq!(
        log.matches(" files, ").count(),
        programs,
        "{words:?}\n{log}"
    );
}

/// What call 400 answers in each program, when the hook has been asked for.
fn answers(place: &Place, words: &[&str]) -> Vec<String> {
    let hook = hook(place);
    let mut command = place.hotpatch();
    command
        .args(["run", "--hook", path(&hook), "--"])
        .args(words);
    let output = command.output().unwrap();
    let stdout = text(&output.stdout);
    let last = |line: &str| line.rsplit(' ').next().unwrap_or("").to_owned();
    stdout.lines().map(last).collect()
}

#[test]
fn in_another_root_programs_and_their_hooks_are_followed() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let root = place.dir.path().join("root");
    for directory in ["proc", "dev"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc", "-static"]);
    std::fs::copy(&speaks, root.join("speaks")).unwrap();
    let line = format!(
        "mount --rbind /proc {0}/proc && chroot {0} /speaks a b - /speaks c - /speaks d 2>&-; echo $?",
        path(&root)
    );
    let words = ["unshare", "-m", "/bin/sh", "-c", &line];
    // The log is not to be seen from there, but by another name.
    let there = root.join(place.dir.path().strip_prefix("/").unwrap());
    std::fs::create_dir_all(&there).unwrap();
    std::fs::write(there.join("log"), "").unwrap();
    // unshare, the shell, mount and chroot.
    agree(&place, &words, 4);
    let inside = std::fs::read_to_string(there.join("log")).unwrap();
    assert_eq!(inside.matches(" files, ").count(), 3, "{inside}");
    assert_eq!(answers(&place, &words), ["4711", "4711", "4711", "3"]);
    // Nothing of ours is left there.
    let left = std::fs::read_dir(&there).unwrap().count();
    assert_eq!(left, 1, "the log alone");
}

#[test]
fn in_a_root_without_proc_a_program_runs_natively() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc", "-static"]);
    std::fs::copy(&speaks, root.join("speaks")).unwrap();
    let line = format!("chroot {} /speaks a b; echo $?", path(&root));
    agree(&place, &["/bin/sh", "-c", &line], 2);
}

#[test]
fn in_a_mount_namespace_without_the_library_programs_are_followed() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let cache = place.cache();
    // The program itself stays where it can be seen.
    let line = format!(
        "exec unshare -m /bin/sh -c 'mkdir -p {0}; mount -t tmpfs none {0} && {1} a; echo $?; umount {0}; {1} b'",
        path(&cache),
        path(&speaks)
    );
    agree(&place, &["/bin/sh", "-c", &line], 8);
}

#[test]
fn programs_of_another_user_are_followed() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let fixed = compile(&place, "static", SPEAKS, &["gcc", "-static"]);
    let becomes = compile(&place, "becomes", BECOMES, &["gcc"]);
    let (speaks, fixed, becomes) = (path(&speaks), path(&fixed), path(&becomes));
    // Who has changed its user cannot be traced: its loader brings the library, and what comes then is traced again.
    let words = [becomes, speaks, "a", "-", fixed, "b", "-", speaks, "c"];
    follows(&place, &words, 4);
    assert!(log(&place).contains(": exec: cannot be traced, so LD_PRELOAD brings"));
    assert_eq!(answers(&place, &words), ["4711", "4711", "4711"]);
    // With the privileges to trace it, and to open the library, which the next program has not.
    let keeps = [
        "setpriv",
        "--reuid=54321",
        "--clear-groups",
        fixed,
        "a",
        "-",
        speaks,
        "b",
    ];
    follows(&place, &keeps, 3);
    assert_eq!(answers(&place, &keeps), ["4711", "4711"]);
    // There is no way to tell the loader's place of a program without one.
    follows(&place, &[becomes, fixed, "a", "-", speaks], 1);
    let said = "exec: cannot be traced, and has no loader: the new program runs natively";
    assert!(log(&place).contains(said), "{}", log(&place));
    // Descriptors that are free, and variables, are what they are natively.
    let line = format!("exec 0<&- 2>&-; {becomes} {speaks} a - /usr/bin/env");
    follows(&place, &["/bin/sh", "-c", &line], 4);
}

#[test]
fn where_no_file_can_be_made_a_program_runs_natively() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let becomes = compile(&place, "becomes", BECOMES, &["gcc"]);
    let line = format!("ulimit -f 100; exec {} {} a", path(&becomes), path(&speaks));
    follows(&place, &["/bin/bash", "-c", &line], 2);
    let said = "exec: the library's file is not to be seen from here";
    assert!(log(&place).contains(said), "{}", log(&place));
    // One descriptor is left to it, then none.
    for limit in 3..6 {
        let line = format!(
            "ulimit -n {limit}; exec {} {} a",
            path(&becomes),
            path(&speaks)
        );
        let words = ["/bin/bash", "-c", &line];
        let expected = native(&place, &words);
        empty_log(&place);
        let seen = patched(&place, &words);
        assert_eq!(
            text(&seen.stdout),
            text(&expected.stdout),
            "{limit}\n{}",
            log(&place)
        );
        assert_eq!(
            text(&seen.stderr),
            text(&expected.stderr),
            "{limit}\n{}",
            log(&place)
        );
    }
}

#[test]
fn what_is_carried_may_be_needed_by_many() {
    if !is_root() {
        return;
    }
    let place = open_place();
    let becomes = compile(&place, "becomes", BECOMES, &["gcc"]);
    let line = "for n in 1 2 3 4 5; do /bin/echo $n | /bin/cat & done; wait";
    let program = [path(&becomes), "/bin/sh", "-c", line];
    empty_log(&place);
    let file = place.dir.path().join("log");
    let mut command: Command = place.hotpatch();
    command
        .args(["run", "--log", path(&file), "--"])
        .args(program);
    let output = command.output().unwrap();
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "5"], "{}", log(&place));
    assert_eq!(
        log(&place).matches(" files, ").count(),
        12,
        "{}",
        log(&place)
    );
}

/// The counts of a table like strace's: the number stands in column `at`, the name in the last.
fn counts(table: &str, at: usize) -> BTreeMap<String, u64> {
    let rows = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        Some(((*words.last()?).to_owned(), words.get(at)?.parse().ok()?))
    });
    // How often a handler returns depends on whether two signals met (LIMITS.md).
    rows.filter(|(name, _)| !matches!(name.as_str(), "total" | "rt_sigreturn"))
        .collect()
}

#[test]
fn calls_in_another_root_are_told_too() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let root = place.dir.path().join("root");
    std::fs::create_dir_all(root.join("proc")).unwrap();
    // strace does not bear a call without a name.
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc", "-static", "-DKNOWN"]);
    std::fs::copy(&speaks, root.join("speaks")).unwrap();
    let out = place.dir.path().join("table");
    // Nobody finds the command's descriptors below the `/proc` of that root.
    let run = |mut command: Command, at| {
        let line = format!(
            "mount --rbind /proc {0}/proc && mount -t tmpfs none {0}/proc/$PPID && chroot {0} /speaks a - /speaks b; test $? = 3",
            path(&root)
        );
        command.args(["unshare", "-m", "/bin/sh", "-c", &line]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        counts(&std::fs::read_to_string(&out).unwrap(), at)
    };
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o", path(&out)]);
    let mut count = place.hotpatch();
    count.args(["count", "-o", path(&out), "--"]);
    let expected = run(strace, 3);
    let seen = run(count, 7);
    assert_eq!(seen, expected);
    assert_eq!(seen.get("execve"), Some(&7), "{seen:?}");
}
