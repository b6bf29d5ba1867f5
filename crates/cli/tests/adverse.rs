//! The start at exec where little is to be had, or somebody ends it.

#[path = "common/both.rs"]
mod both;
mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use both::{LOOKS, WAYS, agree, compile, log, native, path};
use common::{Place, text};

/// Prints its arguments, and needs nothing.
const SPEAKS: &str = r#"
#include <stdio.h>
int main(int argc, char **argv) {
    while (*++argv) puts(*argv);
    return 3;
}
"#;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn children_and_their_signals_are_the_programs_own() {
    let place = Place::new();
    let looks = compile(&place, "looks", LOOKS, &["gcc", "-static"]);
    let ways = compile(&place, "ways", WAYS, &["gcc", "-pthread"]);
    for (way, programs) in [
        ("pending", 2),
        ("nocldwait", 3),
        ("handled", 3),
        ("closed", 2),
        ("busy", 2),
    ] {
        for _ in 0..10 {
            agree(&place, &[path(&ways), way, path(&looks)], programs);
        }
    }
}

#[test]
fn two_thousand_processes_are_begun_and_end() {
    let place = Place::new();
    let bomb = compile(
        &place,
        "bomb",
        include_str!("common/bomb.c"),
        &["gcc", "-O1"],
    );
    agree(&place, &[path(&bomb)], 1);
}

#[test]
fn a_process_at_its_limits_starts_as_natively() {
    let place = Place::new();
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let speaks = path(&speaks);
    let file = place.dir.path().join("log");
    let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch");
    let run = [path(hotpatch), "run", "--log", path(&file), "--"];
    // The command needs more than such a program: a shell sets the limits for what it becomes.
    let limited = |run: &[&str], limits: &str| {
        let line = format!("ulimit {limits}; exec {speaks} a");
        native(&place, &[run, &["/bin/bash", "-c", &line]].concat())
    };
    for limits in ["-n 3", "-n 4", "-n 5", "-s 128", "-f 0", "-c 0"] {
        let [expected, seen] = [&[][..], &run].map(|run| limited(run, limits));
        let why = format!("{limits}\n{}\n{}", text(&seen.stderr), log(&place));
        assert_eq!(text(&seen.stdout), text(&expected.stdout), "{why}");
        assert_eq!(seen.status, expected.status, "{why}");
    }
    // Patched or not, it runs wherever it runs natively, if there is 1 MB more.
    for kilobytes in (2600..14_000).step_by(300) {
        if limited(&[], &format!("-v {kilobytes}")).status.code() == Some(3) {
            let seen = limited(&run, &format!("-v {}", kilobytes + 1024));
            let why = format!("{kilobytes}\n{}\n{}", text(&seen.stderr), log(&place));
            assert_eq!(text(&seen.stdout), "a\n", "{why}");
            assert_eq!(seen.status.code(), Some(3), "{why}");
        }
    }
}

#[test]
fn where_no_process_can_be_begun_the_loader_brings_the_library() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    for open in [place.dir.path().to_owned(), place.dir.path().join("log")] {
        if open.ends_with("log") {
            std::fs::write(&open, "").unwrap();
        }
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    }
    let speaks = compile(&place, "speaks", SPEAKS, &["gcc"]);
    let hotpatch = place.dir.path().join("command");
    std::fs::copy(assert_cmd::cargo::cargo_bin!("hotpatch"), &hotpatch).unwrap();
    let file = place.dir.path().join("log");
    // A user of whom nobody else is there, with one process.
    let alone = [
        "setpriv",
        "--reuid=54321",
        "--clear-groups",
        "prlimit",
        "--nproc=1",
    ];
    let run = [path(&hotpatch), "run", "--log", path(&file), "--"];
    let words = ["/bin/sh", "-c", &format!("exec {} a", path(&speaks))];
    let output = native(&place, &[&alone, &run[..], &words].concat());
    let log = log(&place);
    assert_eq!(
        text(&output.stdout),
        "a\n",
        "{}\n{log}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(log.matches(" files, ").count(), 2, "{log}");
}

#[test]
fn a_killed_launcher_leaves_a_program_that_runs_or_has_not_begun() {
    let place = Place::new();
    let line = "echo >begun; for n in 1 2 3; do /bin/true; done; echo >done";
    let mut begun = 0;
    for round in 0..40u64 {
        let dir = place.dir.path().join(format!("round{round}"));
        std::fs::create_dir(&dir).unwrap();
        let mut command = place.hotpatch();
        // With -v the launcher stays to print a table.
        command
            .args(["run", "-v", "--", "/bin/sh", "-c", line])
            .current_dir(&dir);
        command.stderr(Stdio::null());
        let mut launcher = command.spawn().unwrap();
        // All moments from its own start to the program's end, in no order.
        sleep(Duration::from_micros((round * 7919) % 40 * 1000));
        launcher.kill().unwrap();
        launcher.wait().unwrap();
        // A helper that dies before the exec is over takes the program with it.
        let limit = Instant::now() + Duration::from_secs(20);
        while dir.join("begun").exists() && !dir.join("done").exists() {
            assert!(
                Instant::now() < limit,
                "round {round} has begun and does not end"
            );
            sleep(Duration::from_millis(5));
        }
        begun += u32::from(dir.join("begun").exists());
    }
    // Else it has shown nothing.
    assert!(begun > 0, "none of the programs has begun");
}

#[test]
fn a_program_killed_before_its_exec_leaves_no_helper_that_waits() {
    let place = Place::new();
    // Who traces it already is why the helper has to ask; the answer begins with this call, and with its end.
    let mark = format!("marked-{}", std::process::id());
    let hotpatch = place.hotpatch();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e", "inject=prctl:signal=SIGKILL"])
        .arg(hotpatch.get_program())
        .args(["run", "-v", "--", "/bin/true", &mark])
        .env("XDG_CACHE_HOME", place.dir.path())
        .stderr(Stdio::null());
    let status = command.status();
    assert!(!status.expect("strace (apt-get install strace)").success());
    let is_left = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let marked = |entry: std::fs::DirEntry| {
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            text(&words).contains(&mark)
        };
        processes.into_iter().any(marked)
    };
    let limit = Instant::now() + Duration::from_secs(20);
    while is_left() {
        assert!(Instant::now() < limit, "a helper is left");
        sleep(Duration::from_millis(5));
    }
}
