//! `hotpatch inspect`: plans of good files, and what bad ones get.

mod common;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Place, compile, text};

const SOURCE: &str = "\
.globl _start
.type _start,@function
_start: mov $60,%eax
 syscall
 ret
 .skip 11,0x90
.size _start,.-_start
.section .note.GNU-stack
";

/// Makes a program of assembly.
fn assemble(place: &Place, name: &str, source: &str) -> PathBuf {
    let flags = [
        "-static",
        "-nostdlib",
        "-Wl,--build-id=none",
        "-x",
        "assembler",
    ];
    compile(place, name, source, &[&["gcc"][..], &flags].concat())
}

fn program(place: &Place) -> PathBuf {
    assemble(place, "a", SOURCE)
}

#[test]
fn the_table_counts_every_site() {
    let place = Place::new();
    let output = place.output(&["inspect", program(&place).to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    let heads: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(heads[..2], ["file", "sites"]);
    assert_eq!(lines[1].split_whitespace().nth(1), Some("1"));
    assert_eq!(lines.len(), 2);
}

#[test]
fn sites_are_listed_with_symbol_and_outcome() {
    let place = Place::new();
    let output = place.output(&["inspect", "--sites", program(&place).to_str().unwrap()]);
    let shown = text(&output.stdout);
    let line = shown
        .lines()
        .find(|line| line.contains("_start+0x5"))
        .expect("the site");
    assert!(line.trim_start().starts_with("0x401005"), "{line}");
}

#[test]
fn asm_shows_before_after_and_trampoline() {
    let place = Place::new();
    let program = program(&place);
    let output = place.output(&[
        "inspect",
        "--tactics",
        "before",
        "--asm=_start",
        program.to_str().unwrap(),
    ]);
    let shown = text(&output.stdout);
    let from = shown.find("0x401005").expect("the site");
    let listing: Vec<&str> = shown[from..]
        .lines()
        .map(str::trim)
        .take_while(|l| !l.starts_with("file"))
        .collect();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let listing: Vec<String> = listing.into_iter().map(words).collect();
    assert_eq!(listing[0], "0x401005 _start+0x5: before");
    assert_eq!(listing[1], "before");
    assert!(
        listing.contains(&"> 401005 0f 05 syscall".to_owned()),
        "{listing:#?}"
    );
    let after = listing.iter().position(|line| line == "after").unwrap();
    assert!(
        listing[after + 1].starts_with("> 401000 e9 "),
        "{listing:#?}"
    );
    assert!(
        listing[after + 1].ends_with("to the trampoline"),
        "{listing:#?}"
    );
    let trampoline = listing
        .iter()
        .position(|line| line == "trampoline")
        .unwrap();
    assert!(
        listing[trampoline + 1].ends_with("mov $0x3c, %eax from _start"),
        "{listing:#?}"
    );
    assert!(
        listing[trampoline + 2].ends_with("0f 05 syscall from _start+0x5"),
        "{listing:#?}"
    );
    assert!(
        listing.last().unwrap().ends_with("_start+0x7"),
        "{listing:#?}"
    );
}

#[test]
fn json_has_an_object_for_each_file_and_each_error() {
    let place = Place::new();
    let program = program(&place);
    let output = place.output(&[
        "inspect",
        "--json",
        program.to_str().unwrap(),
        "/etc/passwd",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stdout);
    let values: Vec<serde_json::Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values.len(), 2);
    assert_eq!(values[0]["counts"]["sites"], 1);
    assert_eq!(values[0]["sites"][0]["at"], "0x401005");
    assert_eq!(values[0]["sites"][0]["symbol"], "_start");
    assert_eq!(values[0]["faults"], serde_json::json!([]));
    assert_eq!(values[1]["error"], "not an ELF file");
}

#[test]
fn with_no_tactic_every_site_is_refused_with_a_reason() {
    let place = Place::new();
    let program = program(&place);
    let output = place.output(&[
        "inspect",
        "--json",
        "--tactics",
        "evict",
        program.to_str().unwrap(),
    ]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["counts"]["refused"], 1);
    let why = value["sites"][0]["why"].as_array().unwrap();
    assert!(
        why.iter()
            .any(|why| why["tactic"] == "stone" && why["reason"] == "not-allowed"),
        "{why:?}"
    );
}

#[test]
fn a_bad_file_does_not_keep_the_next_from_being_planned() {
    let place = Place::new();
    let program = program(&place);
    let output = place.output(&[
        "inspect",
        "/no/such",
        "/etc/passwd",
        "/tmp",
        "/dev/null",
        program.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    for words in [
        "/no/such: No such file or directory",
        "/etc/passwd: not an ELF file",
        "/tmp: Is a directory",
        "/dev/null: not a regular file",
    ] {
        assert!(errors.contains(words), "{errors}");
    }
    assert_eq!(text(&output.stdout).lines().count(), 2);
}

#[test]
fn a_hostile_file_is_told_what_is_wrong_and_no_panic() {
    let place = Place::new();
    let good = std::fs::read(program(&place)).unwrap();
    let bad = place.dir.path().join("bad");
    let inspect = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        let output = place.output(&["inspect", "--sites", "--asm", "--", bad.to_str().unwrap()]);
        let (status, errors) = (output.status.code(), text(&output.stderr));
        assert!(matches!(status, Some(0 | 1)), "{status:?} {errors}");
        assert!(!errors.contains("panicked"), "{errors}");
        assert_eq!(
            status == Some(1),
            errors.starts_with("hotpatch: "),
            "{errors}"
        );
    };
    inspect(b"");
    inspect(b"\x7fELF");
    for cut in [16, 63, 64, 100, 200, good.len() / 2, good.len() - 1] {
        inspect(&good[..cut]);
    }
    // Each word of the header and of the program headers, made as large as can be.
    for at in (16..64 + 56 * 2).step_by(8) {
        let mut bytes = good.clone();
        bytes[at..at + 8].fill(0xff);
        inspect(&bytes);
    }
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    let place = Place::new();
    let evil = place.dir.path().join("a\x1b[2Jb");
    std::fs::copy(program(&place), &evil).unwrap();
    let output = place.output(&["inspect", evil.to_str().unwrap()]);
    assert!(output.status.success() && !output.stdout.contains(&0x1b));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let place = Place::new();
    let mut command = place.hotpatch();
    command
        .args(["inspect", "--sites"])
        .args(vec![program(&place); 20]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn the_c_library_of_this_machine_is_patched_whole() {
    let place = Place::new();
    let libc = [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/libc.so.6",
        "/usr/lib/libc.so.6",
    ];
    let libc = libc
        .iter()
        .find(|path| Path::new(path).exists())
        .expect("a libc.so.6");
    let output = place.output(&["inspect", "--json", libc]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{}", value["faults"]);
    assert_eq!(value["counts"]["refused"], 0);
    assert!(value["counts"]["sites"].as_u64().unwrap() > 300);
}

#[test]
fn other_kinds_are_listed_with_their_names() {
    let place = Place::new();
    let code = SOURCE.replace(" syscall\n", " syscall\n cpuid\n rdtsc\n");
    let program = assemble(&place, "k", &code);
    let program = program.to_str().unwrap();
    let output = place.output(&["inspect", "--sites", "--kinds", "rdtsc,cpuid", program]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kinds: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("_start+"))
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(kinds, ["cpuid", "rdtsc"], "{shown}");
    let output = place.output(&["inspect", "--json", "--kinds", "syscall,cpuid", program]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["sites"][0]["kind"], "syscall");
    assert_eq!(value["sites"][0]["number"], 60);
    assert_eq!(value["sites"][1]["kind"], "cpuid");
    let output = place.output(&["inspect", "--kinds", "ud2", program]);
    assert!(!output.status.success());
}
