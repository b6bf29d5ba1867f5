//! `hotpatch count` by whatever calls belong to, and while the program runs.

mod common;

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Stdio;
use std::time::Duration;

use common::{Place, text};
use serde_json::Value;

/// The counts as JSON: all, and calls and bytes of each row.
fn counted(
    place: &Place,
    options: &[&str],
    program: &[&str],
) -> (Value, BTreeMap<String, [u64; 2]>) {
    let output = place
        .hotpatch()
        .args(["count", "--json", "-o", "/dev/stderr"])
        .args(options)
        .args(program)
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let counts: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    let rows = counts["calls"].as_array().unwrap().iter();
    let rows: BTreeMap<String, [u64; 2]> = rows
        .map(|row| {
            let name = row["name"].as_str().unwrap().to_owned();
            (
                name,
                ["calls", "bytes"].map(|field| row[field].as_u64().unwrap()),
            )
        })
        .collect();
    for (at, field) in ["total", "bytes"].into_iter().enumerate() {
        let sum: u64 = rows.values().map(|row| row[at]).sum();
        assert_eq!(counts[field].as_u64(), Some(sum), "{field}");
    }
    (counts, rows)
}

#[test]
fn calls_are_counted_by_what_they_belong_to() {
    let place = Place::new();
    let script = "/bin/dd if=/etc/passwd of=copy status=none; /bin/true";
    let program = ["/bin/sh", "-c", script];
    let (all, calls) = counted(&place, &[], &program);
    let total = all["total"].as_u64().unwrap();
    let size = std::fs::metadata("/etc/passwd").unwrap().len();
    assert_eq!(calls["write"][1], size);
    assert!(calls["read"][1] > size && calls["openat"][1] == 0);

    let by = |what: &str| {
        let (counts, rows) = counted(&place, &["--by", what], &program);
        assert_eq!(counts["by"], what);
        assert_eq!(counts["total"].as_u64(), Some(total), "{what}");
        assert_eq!(counts["bytes"], all["bytes"], "{what}");
        rows
    };
    for what in ["process", "thread"] {
        let rows = by(what);
        let ends = |name: &str| rows.keys().any(|row| row.ends_with(name));
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(
            ends(" sh") && ends(" sh, dd") && ends(" sh, true"),
            "{rows:?}"
        );
    }
    let files = by("file");
    assert_eq!(files["/etc/passwd"][1], size);
    assert!(files["/etc/passwd"][0] >= 4, "{files:?}");
    let copy = files.keys().find(|file| file.ends_with("/copy")).unwrap();
    assert_eq!(files[copy][1], size);
    let sites = by("site");
    assert!(sites.len() > 10, "{sites:?}");
}

const TALK: &str = r#"
import socket, time
near = socket.socket(); near.bind(("127.0.0.1", 0)); near.listen()
far = socket.create_connection(near.getsockname()); here, _ = near.accept()
for n in range(10):
    far.send(b"x" * 100); here.recv(100)
print(near.getsockname()[1], far.getsockname()[1])
local = socket.socket(socket.AF_UNIX); local.bind("local"); local.listen()
there = socket.socket(socket.AF_UNIX); there.connect("local"); there.send(b"12345")
time.sleep(0.3)
"#;

#[test]
fn calls_are_counted_by_whom_they_talk_to() {
    let place = Place::new();
    let program = ["/usr/bin/python3", "-c", TALK];
    let file = place.dir.path().join("counts");
    let output = place
        .hotpatch()
        .args(["count", "--json", "--by", "peer", "-o"])
        .arg(&file)
        .args(program)
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    let ports = text(&output.stdout);
    let ports: Vec<&str> = ports.split_whitespace().collect();
    let counts: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let bytes = |peer: &str| {
        let mut rows = counts["calls"].as_array().unwrap().iter();
        let row = rows.find(|row| row["name"] == peer);
        row.and_then(|row| row["bytes"].as_u64())
    };
    assert_eq!(
        bytes(&format!("TCP 127.0.0.1:{}", ports[0])),
        Some(1000),
        "{counts}"
    );
    assert_eq!(bytes(&format!("TCP 127.0.0.1:{}", ports[1])), Some(1000));
    assert_eq!(bytes("UNIX-STREAM local"), Some(5));
    assert!(bytes("-").is_some());

    // The process is there still when it is asked where its calls come from.
    let (_, sites) = counted(
        &place,
        &["--by", "site"],
        &["/usr/bin/python3", "-c", "import time; time.sleep(0.5)"],
    );
    assert!(
        sites.keys().any(|site| site.starts_with("libc.so.6 ")),
        "{sites:?}"
    );
    let named = sites.keys().filter(|site| !site.starts_with("0x")).count();
    assert!(named * 10 > sites.len() * 9, "{sites:?}");
}

/// While the program runs, too.
#[test]
fn counts_go_on() {
    let place = Place::new();
    let output = place.output(&[
        "count",
        "--json",
        "--interval",
        "0.1",
        "-e",
        "trace=clock_nanosleep",
        "/bin/sh",
        "-c",
        "for n in 1 2 3 4 5 6; do /bin/sleep 0.1; done",
    ]);
    let totals: Vec<u64> = text(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|counts| counts["total"].as_u64().unwrap())
        .collect();
    assert!(totals.len() > 3 && totals.is_sorted(), "{totals:?}");
    assert!(totals[0] < 6 && totals.last() == Some(&6), "{totals:?}");
    for wrong in ["0", "-1", "x"] {
        let interval = format!("--interval={wrong}");
        let output = place.output(&["count", &interval, "/bin/true"]);
        assert_eq!(output.status.code(), Some(2));
    }
}

/// Ctrl-C ends the program, not the table.
#[test]
fn an_interrupted_program_is_counted() {
    let place = Place::new();
    for options in [
        &["count"][..],
        &["trace", "-C", "-f"],
        &["count", "--by", "file"],
    ] {
        let mut command = place.hotpatch();
        command
            .args(options)
            .args(["/bin/sh", "-c", "echo ready; exec /bin/sleep 20"]);
        // As a terminal sends it: to all of a process group of their own.
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut ready).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let group = nix::unistd::Pid::from_raw(-child.id().cast_signed());
        nix::sys::signal::kill(group, nix::sys::signal::Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(2));
        let table = text(&output.stderr);
        assert!(
            table.contains("% time") && table.contains(" total\n"),
            "{table}"
        );
    }
}
