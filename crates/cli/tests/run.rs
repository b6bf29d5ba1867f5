//! `hotpatch run`: the program's status, signals and output are its own.

mod common;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// With and without a parent that stays.
const MODES: [&[&str]; 2] = [&["run", "--"], &["run", "-v", "--"]];

#[test]
fn the_exit_status_is_the_programs() {
    let place = Place::new();
    for mode in MODES {
        for status in [0, 1, 42, 255] {
            let output = place.output(&[mode, &["sh", "-c", &format!("exit {status}")]].concat());
            assert_eq!(
                output.status.code(),
                Some(status),
                "{mode:?}: {}",
                text(&output.stderr)
            );
        }
    }
}

#[test]
fn the_signal_is_the_programs() {
    let place = Place::new();
    for mode in MODES {
        for signal in ["TERM", "KILL", "SEGV", "ABRT", "USR1", "PIPE", "HUP"] {
            let output = place.output(
                &[
                    mode,
                    &["sh", "-c", &format!("ulimit -c 0; kill -{signal} $$")],
                ]
                .concat(),
            );
            let number = signal
                .parse::<Signal>()
                .or_else(|_| format!("SIG{signal}").parse())
                .unwrap();
            assert_eq!(output.status.signal(), Some(number as i32), "{mode:?}");
        }
    }
}

#[test]
fn a_program_that_is_not_there_or_not_one_is_told_in_the_shells_words() {
    let place = Place::new();
    let cases = [
        (
            "hotpatch-no-such-program",
            127,
            "hotpatch-no-such-program: command not found",
        ),
        (
            "/no/such/program",
            127,
            "/no/such/program: No such file or directory",
        ),
        ("/tmp", 126, "/tmp: Is a directory"),
        ("/etc/passwd", 126, "/etc/passwd: Permission denied"),
    ];
    for mode in MODES {
        for (program, status, words) in cases {
            let output = place.output(&[mode, &[program]].concat());
            assert_eq!(output.status.code(), Some(status), "{mode:?} {program}");
            assert_eq!(text(&output.stderr), format!("hotpatch: {words}\n"));
        }
    }
}

#[test]
fn a_script_without_an_interpreter_is_run_by_the_shell() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let script = place.dir.path().join("script");
    std::fs::write(&script, "echo $0 $1\nexit 7\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for mode in MODES {
        let output = place.output(&[mode, &[script.to_str().unwrap(), "x"]].concat());
        assert_eq!(output.status.code(), Some(7), "{mode:?}");
        assert_eq!(text(&output.stdout), format!("{} x\n", script.display()));
    }
}

#[test]
fn it_is_silent_but_for_the_program() {
    let place = Place::new();
    let output = place.output(&["run", "echo", "-v", "--", "a b"]);
    assert_eq!(
        (text(&output.stdout).as_str(), text(&output.stderr).as_str()),
        ("-v -- a b\n", "")
    );
}

#[test]
fn verbose_shows_what_was_patched_in_all_processes() {
    let place = Place::new();
    let output = place.output(&["run", "-v", "--", "sh", "-c", "cat /dev/null; true"]);
    let shown = text(&output.stderr);
    assert!(output.stdout.is_empty());
    assert!(
        shown.contains("libc.so.6") && shown.contains("/cat"),
        "{shown}"
    );
    let last = shown.lines().last().unwrap();
    assert!(
        last.starts_with("hotpatch: ") && last.ends_with(" 2 processes"),
        "{last}"
    );
    assert!(!shown.contains('\x1b'), "colours without a terminal");
    // What stays is the library and the plans of the files it patched.
    let mut left: Vec<String> = std::fs::read_dir(place.cache())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().display().to_string())
        .collect();
    left.retain(|name| name != "plans" && !name.starts_with("libhotpatch-"));
    assert!(left.is_empty(), "the report is left over: {left:?}");
}

#[test]
fn a_static_program_is_patched_too() {
    let place = Place::new();
    let source = place.dir.path().join("static.s");
    std::fs::write(
        &source,
        ".globl _start\n_start: mov $60,%eax\n mov $9,%edi\n syscall\n",
    )
    .unwrap();
    let program = place.dir.path().join("static");
    let made = Command::new("gcc")
        .args(["-static", "-nostdlib", "-o"])
        .args([&program, &source])
        .status();
    assert!(made.expect("gcc is needed for this test").success());
    let output = place.output(&["run", "-v", program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(9));
    assert!(
        text(&output.stderr).contains("/static "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn log_and_report_are_appended_to_files_named_from_here() {
    let place = Place::new();
    let mut command = place.hotpatch();
    command.current_dir(place.dir.path());
    let args = [
        "run",
        "--log",
        "log",
        "--report",
        "report",
        "--",
        "sh",
        "-c",
        "cd /; cat /dev/null",
    ];
    assert!(command.args(args).status().unwrap().success());
    let log = std::fs::read_to_string(place.dir.path().join("log")).unwrap();
    assert!(
        log.lines().any(|line| line.contains("libc.so.6: ")),
        "{log}"
    );
    let report = std::fs::read_to_string(place.dir.path().join("report")).unwrap();
    let sites = report
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "site");
    assert!(sites.count() > 400);
}

#[test]
fn an_option_that_does_not_exist_is_no_program() {
    let place = Place::new();
    for command in ["run", "trace", "count"] {
        let output = place.output(&[command, "--bogus", "true"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("unexpected argument '--bogus'"), "{said}");
        // Behind the program's name, and behind two hyphens, everything is the program's.
        let own = ["echo", "--bogus", "-f", "--", "x"];
        for ahead in [&[command][..], &[command, "--"]] {
            let output = place.output(&[ahead, &own].concat());
            assert_eq!(text(&output.stdout), "--bogus -f -- x\n", "{ahead:?}");
        }
    }
}

#[test]
fn tactics_are_checked_before_anything_runs() {
    let output = Place::new().output(&["run", "--tactics", "stone,bogus", "echo", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output.stdout.is_empty() && text(&output.stderr).contains("no tactic is called \"bogus\"")
    );
}

#[test]
fn the_environment_is_the_programs_own() {
    let place = Place::new();
    let mut command = place.hotpatch();
    command.args(["run", "--log", "/dev/null", "--strict", "env"]);
    let own: Vec<String> = text(
        &command
            .env("LD_PRELOAD", "libm.so.6")
            .output()
            .unwrap()
            .stdout,
    )
    .lines()
    .filter(|l| l.starts_with("LD_PRELOAD") || l.starts_with("LIBHOTPATCH"))
    .map(str::to_owned)
    .collect();
    assert_eq!(own, ["LD_PRELOAD=libm.so.6"]);
}

#[test]
fn closed_descriptors_and_ignored_signals_reach_the_program_as_they_were() {
    let place = Place::new();
    let script =
        "trap '' PIPE INT; \"$@\" sh -c 'grep SigIgn /proc/self/status; ls /proc/self/fd' 2>&-";
    let run = |runner: &[&str]| {
        let mut command = Command::new("sh");
        command
            .env("XDG_CACHE_HOME", place.dir.path())
            .args(["-c", script, "sh"])
            .args(runner);
        text(&command.output().unwrap().stdout)
    };
    let hotpatch = assert_cmd::cargo::cargo_bin!("hotpatch")
        .to_str()
        .unwrap()
        .to_owned();
    let native = run(&["env"]);
    assert!(native.contains("SigIgn"), "{native}");
    assert_eq!(run(&[&hotpatch, "run"]), native);
    assert_eq!(run(&[&hotpatch, "run", "-v"]), native);
}

/// Starts a shell script that says `ready` when it can be sent signals.
fn start(place: &Place, script: &str) -> Child {
    let mut command = place.hotpatch();
    let mut child = command
        .args(["run", "-v", "--", "sh", "-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut word = [0; 6];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut word)
        .unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn a_signal_sent_to_the_parent_reaches_the_program() {
    let place = Place::new();
    let script = "trap 'exit 33' USR1 INT TERM HUP; echo ready; while :; do sleep 0.05; done";
    for sent in [
        Signal::SIGUSR1,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
    ] {
        let mut child = start(&place, script);
        signal(&child, sent);
        assert_eq!(child.wait().unwrap().code(), Some(33), "{sent}");
    }
}

#[test]
fn a_program_killed_through_the_parent_ends_it_by_the_same_signal() {
    let place = Place::new();
    let mut child = start(&place, "echo ready; exec sleep 100");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn a_stop_is_shared_and_so_is_what_ends_it() {
    let place = Place::new();
    let mut child = start(&place, "echo ready; kill -STOP $$; exit 5");
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim()
            .chars()
            .next()
            .unwrap()
    };
    let begin = Instant::now();
    while state() != 'T' {
        assert!(begin.elapsed() < Duration::from_secs(20), "it did not stop");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, Signal::SIGCONT);
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn a_strict_run_that_does_not_happen_says_why() {
    let place = Place::new();
    let output = place.output(&[
        "run",
        "--strict",
        "--tactics",
        "direct",
        "--",
        "echo",
        "ran",
    ]);
    assert_eq!(output.status.code(), Some(127));
    assert!(output.stdout.is_empty());
    assert!(
        text(&output.stderr).contains("sites refused"),
        "{}",
        text(&output.stderr)
    );
    let output = place.output(&["run", "--strict", "--", "echo", "ran"]);
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("ran\n".to_owned(), String::new())
    );
}

/// Puts another file in the place of its standard error, then opens a library.
const LATE: &str = r#"
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc > 1) dup2(open(argv[1], O_WRONLY | O_CREAT, 0600), 2);
    return dlopen("libutil.so.1", RTLD_NOW) && dlopen("libcrypto.so.3", RTLD_NOW) ? 0 : 1;
}
"#;

#[test]
fn late_lines_reach_standard_error_and_no_file_that_took_its_place() {
    let place = Place::new();
    let (source, program) = (
        place.dir.path().join("late.c"),
        place.dir.path().join("late"),
    );
    std::fs::write(&source, LATE).unwrap();
    let built = Command::new("gcc")
        .arg("-o")
        .args([&program, &source])
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success());
    let other = place.dir.path().join("other");
    let run = |args: &[&str]| {
        let mut command = place.hotpatch();
        command.env("LIBHOTPATCH_LOGPATH", "/proc/self/fd/2");
        command.args(["run", program.to_str().unwrap()]).args(args);
        let output = command.output().unwrap();
        assert!(output.status.success());
        text(&output.stderr)
    };
    // The C library comes after the start, too.
    let said = run(&[]);
    assert!(
        said.contains("/libc.so.6: ") && said.contains("/libcrypto.so.3: "),
        "{said}"
    );
    let said = run(&[other.to_str().unwrap()]);
    assert!(
        said.contains("/libc.so.6: ") && !said.contains("/libcrypto.so.3: "),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "");
    // A terminal can be opened again.
    let line = format!(
        "LIBHOTPATCH_LOGPATH=/proc/self/fd/2 {} run {} {}",
        assert_cmd::cargo::cargo_bin!("hotpatch").display(),
        program.display(),
        other.display()
    );
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .output();
    let said = text(&output.expect("script of util-linux runs").stdout);
    assert!(said.contains("/libcrypto.so.3: "), "{said}");
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "");
}
