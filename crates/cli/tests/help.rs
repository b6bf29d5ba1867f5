//! What the command says of itself.

mod common;

use std::collections::BTreeMap;

use common::{Place, text};
use regex_lite::Regex;

const HELP: &str = "\
Turns the system calls of a running program into jumps to trampolines

Usage: hotpatch <COMMAND>

Commands:
  run          Run a program with its system calls patched
  trace        Run a program and print each system call, as strace does
  count        Run a program and count its system calls
  detach       Put running programs back to what they were before hotpatch patched them
  view         Print a recorded trace again, in any form
  inspect      Plan files without running anything, and show what would become of each system call
  new-hook     Write a project to start a hook from
  doctor       Say what this kernel and container allow, and what follows
  gdb          Start gdb so that it sees through trampolines and hooks
  lib          Print the path of the library, for LD_PRELOAD=$(hotpatch lib)
  completions  Print what a shell completes hotpatch by
  man          Write manual pages, one for each command

Options:
  -h, --help     Print help
  -V, --version  Print version

Examples:
  hotpatch run -v -- ls -l           run ls, then show what was patched
  hotpatch run --log calls.log make  the same for a whole build, into a file
  hotpatch trace ls -l               each call, as strace prints it
  hotpatch run --hook count.so ls    your own code in place of each call
  hotpatch new-hook count            a hook to start from, in Rust or (--c) in C
  hotpatch inspect /bin/bash         what would be patched, without running it
  LD_PRELOAD=$(hotpatch lib) ls      the library alone

Each command has more in its own help: hotpatch run --help
";

#[test]
fn help_is_this() {
    let output = Place::new().output(&["--help"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), HELP);
}

#[test]
fn each_command_has_examples() {
    for command in [
        "run",
        "trace",
        "count",
        "detach",
        "view",
        "inspect",
        "new-hook",
        "doctor",
        "gdb",
        "completions",
        "man",
    ] {
        let output = Place::new().output(&[command, "--help"]);
        let shown = text(&output.stdout);
        assert!(
            output.status.success() && shown.contains(&format!("Examples:\n  hotpatch {command} ")),
            "{shown}"
        );
        assert!(shown.contains("Exit status: "), "{shown}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let output = Place::new().output(&["--version"]);
    assert_eq!(
        text(&output.stdout),
        format!("hotpatch {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_typing_error_gets_a_suggestion() {
    let output = Place::new().output(&["inspct"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("inspect"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_command_there_is_help() {
    let output = Place::new().output(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: hotpatch <COMMAND>"));
}

#[test]
fn shells_take_the_completions() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.output(&["completions", shell]);
        assert!(script.status.success());
        assert!(text(&script.stdout).contains("new-hook"), "{shell}");
    }
    let script = place.dir.path().join("hotpatch.bash");
    std::fs::write(&script, place.output(&["completions", "bash"]).stdout).unwrap();
    let completes = format!(
        "source {}; COMP_WORDS=(hotpatch tr) COMP_CWORD=1; _hotpatch hotpatch tr hotpatch; echo ${{COMPREPLY[@]}}",
        script.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &completes])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "trace\n", "{}", text(&output.stderr));
    assert_eq!(
        place.output(&["completions", "tcsh"]).status.code(),
        Some(2)
    );
}

#[test]
fn there_is_a_page_for_each_command() {
    let place = Place::new();
    let pages = place.dir.path().join("man1");
    let output = place.output(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for (name, word) in [
        ("hotpatch", "trace"),
        ("hotpatch-trace", "inject"),
        ("hotpatch-run", "tactics"),
    ] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(
            page.contains(&format!(".TH {name} 1")) && page.contains(word),
            "{page}"
        );
    }
    let output = place.output(&["man", "/proc/nothing/here"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/proc/nothing/here"));
}

#[test]
fn the_doctor_says_what_follows() {
    let place = Place::new();
    let output = place.output(&["doctor", "--json"]);
    let rows: Vec<BTreeMap<String, String>> = serde_json::from_slice(&output.stdout).unwrap();
    let state = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["state"].clone();
    assert_eq!(state("the library's place"), "good");
    assert_eq!(state("kernel, /proc"), "good");
    let limited = rows.iter().any(|row| row["state"] == "limits");
    assert_eq!(output.status.code(), Some(i32::from(limited)));

    // Who is traced already cannot be traced again.
    let output = std::process::Command::new("strace")
        .args(["-f", "-o", "/dev/null"])
        .arg(place.hotpatch().get_program())
        .arg("doctor")
        .env("XDG_CACHE_HOME", place.dir.path())
        .output()
        .expect("strace (apt-get install strace)");
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    let rule =
        Regex::new(r"ptrace of a child +NO +EPERM.*\n +`hotpatch run` uses LD_PRELOAD").unwrap();
    assert!(rule.is_match(&shown), "{shown}");
}
