//! Options of `hotpatch trace` beside strace's of the same names.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use common::{Place, text};
use regex_lite::Regex;

/// What both print about the same program, ours first, without what differs from run to run.
fn both(place: &Place, options: &[&str], program: &[&str]) -> (Vec<String>, Vec<String>) {
    let dir = || tempfile::tempdir_in(place.dir.path()).expect("a directory");
    let (ours, theirs) = (dir(), dir());
    let mut command = place.hotpatch();
    command.arg("trace");
    let ours = traced(command, ours.path(), options, program);
    let mut command = Command::new("strace");
    command.env_remove("LD_PRELOAD").env("NO_COLOR", "1");
    command.env("XDG_CACHE_HOME", place.dir.path());
    let theirs = traced(command, theirs.path(), options, program);
    assert_eq!(ours.0.stdout, theirs.0.stdout, "{options:?} {program:?}");
    assert_eq!(ours.0.status, theirs.0.status, "{options:?} {program:?}");
    (ours.1, theirs.1)
}

fn traced(
    mut command: Command,
    dir: &Path,
    options: &[&str],
    program: &[&str],
) -> (Output, Vec<String>) {
    let output = command
        .args(["-o", "trace"])
        .args(options)
        .args(program)
        .current_dir(dir)
        .output()
        .expect("it starts (apt-get install strace)");
    let trace = std::fs::read(dir.join("trace")).unwrap_or_default();
    (output, normal(&text(&trace)))
}

fn normal(trace: &str) -> Vec<String> {
    let rules = [
        (r"0x[0-9a-f]{5,}", "ADDRESS"),
        (r#"getrandom\("(?:[^"\\]|\\.)*""#, "getrandom(RANDOM"),
        (
            r"^((?:set_tid_address|get\w+id|clone|vfork|wait4)\(.*) = .*",
            "$1",
        ),
        (r"/\* \d{4}-\d\d-\d\dT[^ ]+ \*/", "DATE"),
        (r"/\* \d+ vars \*/", "VARIABLES"),
        (r"\b\d{4,}\b", "N"),
        (r"/tmp/[\w./]*", "PLACE"),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (r"\d+\.\d{3,}", "SECONDS"),
        (r" +\(\+ +", " (+"),
        (r"\s+= ", " = "),
    ];
    let rules = rules.map(|(rule, with)| (Regex::new(rule).unwrap(), with));
    trace
        .lines()
        .filter(|line| !line.contains("--- SIG") && !line.contains("rt_sigreturn("))
        .map(|line| {
            rules.iter().fold(line.to_owned(), |line, (rule, with)| {
                rule.replace_all(&line, *with).into_owned()
            })
        })
        .collect()
}

fn same(place: &Place, options: &[&str], program: &[&str]) -> Vec<String> {
    let (ours, theirs) = both(place, options, program);
    equal(&ours, &theirs, options);
    ours
}

/// Says the first lines that differ, not all.
fn equal(ours: &[String], theirs: &[String], options: &[&str]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "{options:?}");
    }
    let least = ours.len().min(theirs.len());
    assert_eq!(ours[least..], theirs[least..], "{options:?}");
}

const LISTS: [&str; 3] = ["/bin/ls", "-l", "/etc/hostname"];
const FAILS: [&str; 2] = ["/bin/cat", "/nonexistent"];

#[test]
fn options_mean_what_they_mean_to_strace() {
    let place = Place::new();
    let cases: [&[&str]; 19] = [
        &["-z"],
        &["-Z", "-n"],
        &["-z", "-Z"],
        &["--failed-only", "--trace=openat"],
        &["-q"],
        &["-qq", "-e", "trace=close"],
        &["-e", "quiet=exit", "-e", "trace=close"],
        &["--quiet=all", "--trace=%file"],
        &["-e", "raw=all"],
        &["-e", "raw=openat,close,exit_group", "-v"],
        &["-e", "verbose=none"],
        &["--verbose=newfstatat"],
        &["-e", "trace=read", "--trace=write"],
        &["--trace=read", "-e", "trace=write"],
        &["--strings-in-hex=non-ascii-chars", "--string-limit=50"],
        &["--strings-in-hex", "--trace=read,write"],
        &["-t", "-r", "--columns=20", "--seccomp-bpf", "-f"],
        &["--absolute-timestamps=unix,ns", "--syscall-times=ms"],
        &[
            "-E",
            "LC_ALL=C",
            "--env=LANG",
            "--no-abbrev",
            "--trace=!%memory",
        ],
    ];
    let mut lines = 0;
    for options in cases {
        for program in [&LISTS[..], &FAILS] {
            lines += same(&place, options, program).len();
        }
    }
    assert!(lines > 1000, "{lines}");
}

/// How texts look that tell apart the ways to print bytes.
#[test]
fn bytes_are_printed_in_each_way() {
    let place = Place::new();
    let program = ["/usr/bin/printf", r"\001a\377\n\t\\\x1f7"];
    for option in [
        "-x",
        "-xx",
        "--strings-in-hex=all",
        "--strings-in-hex=non-ascii",
        "--strings-in-hex=non-ascii-chars",
        "--strings-in-hex=none",
    ] {
        let lines = same(&place, &[option, "--trace=write"], &program);
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}

/// With -ff each thread has a file, where nothing interrupts anything.
#[test]
fn each_thread_in_a_file_of_its_own() {
    let place = Place::new();
    let script = "/bin/echo 1; /bin/cat /nonexistent; exec /bin/true";
    let files = |command: &mut Command| {
        let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
        let output = command
            .args(["-ff", "-o", "all", "/bin/sh", "-c", script])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut files: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let tid = path.extension().and_then(|e| e.to_str()).unwrap();
            let lines = std::fs::read_to_string(&path).unwrap();
            files.insert(tid.parse().unwrap(), normal(&lines));
        }
        files.into_values().collect::<Vec<_>>()
    };
    let ours = files(place.hotpatch().arg("trace"));
    let theirs = files(
        Command::new("strace")
            .env_remove("LD_PRELOAD")
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", place.dir.path()),
    );
    assert_eq!(ours.len(), 3);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let plain = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter().filter(|line| !line.starts_with("brk("));
            lines.cloned().collect()
        };
        equal(&plain(ours), &plain(theirs), &[]);
    }
}

#[test]
fn a_file_can_be_appended_to() {
    let place = Place::new();
    let file = place.dir.path().join("appended");
    std::fs::write(&file, "before\n").unwrap();
    let output = place
        .hotpatch()
        .args(["trace", "-A", "-e", "trace=exit_group", "-o"])
        .arg(&file)
        .arg("/bin/true")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        normal(&std::fs::read_to_string(&file).unwrap()),
        ["before", "exit_group(0) = ?", "+++ exited with 0 +++"]
    );
}

/// The table behind the lines, and alone, with strace's columns.
#[test]
fn tables_have_strace_s_columns() {
    let place = Place::new();
    for options in [
        &["-C", "-S", "name", "-U", "name,calls,errors"][..],
        &[
            "-C",
            "-e",
            "trace=%file",
            "-S",
            "name",
            "-U",
            "errors,calls",
        ],
        &["-c", "-w", "-S", "name", "-U", "calls,errors,name"],
        &["-c", "-S", "calls", "--summary-columns=calls"],
        &[
            "-c",
            "-S",
            "errors",
            "-U",
            "errors,calls,name",
            "-e",
            "trace=openat,access,read",
        ],
        &["-c", "-f", "-S", "nothing", "-U", "syscall,count"],
    ] {
        let sorted = |mut lines: Vec<String>| {
            // Which of two equal rows comes first is nobody's choice.
            if options.contains(&"calls") {
                lines.sort();
            }
            lines
        };
        let (ours, theirs) = both(&place, options, &FAILS);
        assert!(ours.len() > 4, "{ours:?}");
        equal(&sorted(ours), &sorted(theirs), options);
    }
    let output = place.output(&["count", "-U", "max-time,min-time,avg-time,p50", "/bin/true"]);
    let table = text(&output.stderr);
    assert!(
        table.starts_with(" longest shortest  usecs/call       p50 syscall\n-------- "),
        "{table}"
    );
    let wrong = place.output(&["count", "-S", "tme", "/bin/true"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("'time'"),
        "{}",
        text(&wrong.stderr)
    );
}

/// The place of an error is marked below it, and the nearest name is said.
#[test]
fn errors_are_marked() {
    let place = Place::new();
    for (expression, marked, near) in [
        ("trace=read,opne", "           ^^^^", "did you mean open"),
        ("trace=/op(", "       ^^^", "regular expression"),
        (
            "inject=openat:eror=EIO",
            "              ^^^^",
            "did you mean error?",
        ),
        ("quiet=exti", "      ^^^^", "did you mean exit?"),
        ("stauts=failed", "^^^^^^", "did you mean status?"),
    ] {
        let output = place.output(&["trace", "-e", expression, "/bin/true"]);
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        let marks = format!("\n{expression}\n{marked}\n");
        assert!(error.contains(&marks) && error.contains(near), "{error}");
    }
}
