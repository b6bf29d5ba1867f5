//! Records of traces, printed again; and traces that find no room.

mod common;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Place, text};
use regex_lite::Regex;

const SCRIPT: &str =
    "/bin/echo 1 >/dev/null; /bin/cat /nonexistent; (exit 2); /bin/cat /etc/passwd >/dev/null";

fn record(place: &Place, options: &[&str], program: &[&str]) -> (Output, PathBuf) {
    let file = place.dir.path().join("record");
    let output = place
        .hotpatch()
        .args(["trace", "--record"])
        .arg(&file)
        .args(options)
        .args(program)
        .current_dir("/")
        .output()
        .unwrap();
    (output, file)
}

fn view(place: &Place, options: &[&str], file: &Path) -> Output {
    let mut command = place.hotpatch();
    command.arg("view").args(options).arg(file);
    command.output().unwrap()
}

/// What differs from run to run left out.
fn normal(trace: &str) -> Vec<String> {
    let rules = [
        (r"0x[0-9a-f]{5,}", "ADDRESS"),
        (r#"getrandom\("(?:[^"\\]|\\.)*""#, "getrandom(RANDOM"),
        (r"/\* \d+ vars \*/", "VARIABLES"),
        (
            r"^(\d+ +)(<\.\.\. )?((?:set_tid_address|get\w+id|clone|vfork|wait4)\b.*) = .*",
            "$1$2$3",
        ),
        (r"/\* \d{4}-\d\d-\d\dT[^ ]+ \*/", "DATE"),
        (r"\b\d{3,}\b", "N"),
        (r"\d+\.\d{3,}", "SECONDS"),
        (r"\s+= ", " = "),
    ];
    let rules = rules.map(|(rule, with)| (Regex::new(rule).unwrap(), with));
    trace
        .lines()
        .map(|line| {
            rules.iter().fold(line.to_owned(), |line, (rule, with)| {
                rule.replace_all(&line, *with).into_owned()
            })
        })
        .collect()
}

/// The same lines, whether printed at once or later.
#[test]
fn a_record_is_printed_as_if_it_happened_now() {
    let place = Place::new();
    // A file for each thread: which of them is interrupted by which is nobody's choice.
    let lines = |what: [&str; 2], rest: &[&str]| {
        let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
        let mut command = place.hotpatch();
        command.args(what).arg("-o").arg(dir.path().join("lines"));
        let output = command.args(rest).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut files: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let tid = path.extension().and_then(|end| end.to_str()).unwrap();
            let lines = normal(&std::fs::read_to_string(&path).unwrap());
            files.insert(tid.parse().unwrap(), lines);
        }
        // In the order of birth: numbers begin anew where they come to an end.
        let is_first =
            |lines: &Vec<String>| lines.first().is_some_and(|l| l.starts_with("execve("));
        let first = files.iter().find(|(_, lines)| is_first(lines));
        let first = first.map_or(0, |(tid, _)| *tid);
        let later = files.split_off(&first);
        later
            .into_values()
            .chain(files.into_values())
            .flatten()
            .collect::<Vec<_>>()
    };
    let kill = ["/bin/sh", "-c", "trap : USR1; kill -USR1 $$; exit 0"];
    let (_, file) = record(&place, &["-f"], &kill);
    let viewed = lines(
        ["view", "--output-separately"],
        &["-v", file.to_str().unwrap()],
    );
    assert_eq!(
        viewed,
        lines(["trace", "-ff"], &[&["-v"], &kill[..]].concat())
    );
    let is = |line: &String| line.starts_with("--- SIGUSR1 {") || line.starts_with("rt_sigreturn(");
    assert_eq!(viewed.iter().filter(|line| is(line)).count(), 2);
    let program = ["/bin/sh", "-c", SCRIPT];
    let (output, file) = record(&place, &["-f", "-yy", "-s", "64", "-v"], &program);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout), "");
    let cases: [&[&str]; 8] = [
        &[],
        &["-s", "4", "-v"],
        &["-y", "-T"],
        &["-yy", "-e", "trace=openat,read,close"],
        &["-e", "raw=all", "-Z"],
        &["-e", "trace=%process", "-qq", "-x"],
        &["-P", "/etc/passwd", "-y"],
        &["-e", "fd=1", "-n"],
    ];
    let mut all = 0;
    for options in cases {
        // Whether a child ends before or while it is waited for is nobody's choice either.
        let options = &[options, &["-e", "signal=none"]].concat()[..];
        let file = [file.to_str().unwrap()];
        let told = |lines: Vec<String>| -> Vec<String> {
            let told = |line: &String| !line.contains("rt_sigreturn");
            lines.into_iter().filter(told).collect()
        };
        let viewed = told(lines(
            ["view", "--output-separately"],
            &[options, &file].concat(),
        ));
        let now = told(lines(["trace", "-ff"], &[options, &program].concat()));
        all += now.len();
        assert_eq!(now.len(), viewed.len(), "{options:?}");
        for (now, viewed) in now.iter().zip(&viewed) {
            assert_eq!(now, viewed, "{options:?}");
        }
    }
    assert!(all > 500, "{all}");
}

#[test]
fn a_record_takes_every_form() {
    let place = Place::new();
    let (_, file) = record(&place, &["-f"], &["/bin/sh", "-c", SCRIPT]);
    let plain = text(&view(&place, &[], &file).stdout);
    let calls = plain
        .lines()
        .filter(|line| !line.contains("+++") && !line.contains("resumed>"))
        .count();
    let json = text(&view(&place, &["--format", "json"], &file).stdout);
    assert_eq!(json.lines().count(), calls);
    let times: Vec<f64> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["time"].as_f64().unwrap())
        .collect();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(
        times.iter().all(|time| (now - 60.0..now).contains(time)),
        "{times:?}"
    );
    let failed = text(&view(&place, &["--format", "json", "-Z"], &file).stdout);
    let failed: Vec<i64> = failed
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["call"].is_string())
        .map(|line| line["result"].as_i64().unwrap())
        .collect();
    assert!(
        failed.len() > 3 && failed.iter().all(|result| *result < 0),
        "{failed:?}"
    );
    let perfetto = text(&view(&place, &["--format", "perfetto"], &file).stdout);
    let perfetto: serde_json::Value = serde_json::from_str(&perfetto).unwrap();
    assert_eq!(perfetto["traceEvents"].as_array().unwrap().len(), calls);
    let counts = text(&view(&place, &["-c", "--json"], &file).stdout);
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    // Those that never come back are not counted.
    let ended = plain.lines().filter(|line| line.ends_with("= ?")).count();
    assert_eq!(counts["total"].as_u64().unwrap() as usize, calls - ended);
    // From standard input as well.
    let mut command = place.hotpatch();
    let piped = command
        .args(["view", "-"])
        .stdin(std::fs::File::open(&file).unwrap());
    assert_eq!(text(&piped.output().unwrap().stdout), plain);
}

/// Wherever it is cut: what is there is printed, then a warning.
#[test]
fn a_record_that_is_cut_is_printed_so_far() {
    let place = Place::new();
    let (_, file) = record(&place, &[], &["/bin/cat", "/etc/hostname"]);
    let bytes = std::fs::read(&file).unwrap();
    let whole = text(&view(&place, &[], &file).stdout);
    let cut = place.dir.path().join("cut");
    let mut before = 0;
    for part in 1..20 {
        let length = bytes.len() * part / 20 + part;
        std::fs::write(&cut, &bytes[..length]).unwrap();
        let output = view(&place, &[], &cut);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("is cut"),
            "{}",
            text(&output.stderr)
        );
        let shown = text(&output.stdout);
        let shown: Vec<&str> = shown.lines().collect();
        // The last call may not have come back yet.
        let Some((last, shown)) = shown.split_last() else {
            continue;
        };
        assert!(whole.lines().zip(shown).all(|(a, b)| a == *b), "{length}");
        let call = last.split('(').next().unwrap();
        assert!(whole.lines().nth(shown.len()).unwrap().starts_with(call));
        assert!(shown.len() >= before);
        before = shown.len();
    }
    assert!(before > 20, "{before}");

    let middle = bytes.len() / 2;
    let mut damaged = bytes.clone();
    damaged[middle..].fill(0xff);
    std::fs::write(&cut, damaged).unwrap();
    let output = view(&place, &[], &cut);
    assert_eq!(output.status.code(), Some(1));
    let why = text(&output.stderr);
    assert!(
        why.contains("is damaged at byte") || why.contains("is cut"),
        "{why}"
    );
    assert!(whole.starts_with(text(&output.stdout).lines().next().unwrap()));

    let output = view(&place, &[], Path::new("/etc/passwd"));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not a record"));
    let output = view(&place, &["-e", "inject=read:error=EIO"], &file);
    assert_eq!(output.status.code(), Some(1));
}

/// The most memory that a process takes while it runs, in kB, and what it prints.
fn most_memory(command: &mut Command) -> (u64, Vec<u8>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut most, mut printed) = (0, Vec::new());
    let mut part = vec![0; 1 << 16];
    loop {
        let count = out.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        printed.extend_from_slice(&part[..count]);
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(now.unwrap_or(0));
    }
    assert!(child.wait().unwrap().success());
    (most, printed)
}

#[test]
fn long_records_take_no_more_memory_than_short_ones() {
    let place = Place::new();
    let dd = |count: &str| {
        let (output, file) = record(
            &place,
            &[],
            &["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=1", count],
        );
        assert!(output.status.success());
        let length = std::fs::metadata(&file).unwrap().len();
        let (most, printed) = most_memory(place.hotpatch().arg("view").arg(&file));
        let lines = printed.iter().filter(|&&byte| byte == b'\n').count();
        (length, most, lines)
    };
    let (_, _, few) = dd("count=10");
    let (length, most, many) = dd("count=60000");
    assert_eq!(many - few, 2 * (60_000 - 10));
    assert!(length > 20 << 20, "{length}");
    assert!((1000..length / 2048).contains(&most), "{most} kB");
}

/// Where the disk is full the program runs on, and what is missing is said.
#[test]
fn what_finds_no_room_is_said() {
    let place = Place::new();
    let plain = place.dir.path().join("plain");
    let run = |options: &[&str]| {
        let program = ["/bin/cat", "/etc/hostname", "/nonexistent"];
        let options = [&["trace"], options, &program].concat();
        let output = place.output(&options);
        assert_eq!(output.status.code(), Some(1));
        assert!(!output.stdout.is_empty());
        text(&output.stderr)
    };
    run(&["-o", plain.to_str().unwrap()]);
    let lines = std::fs::read_to_string(&plain).unwrap().lines().count();
    let said = run(&["-o", "/dev/full"]);
    assert!(
        said.contains(&format!("{lines} lines could not be written"))
            && said.contains("No space left on device"),
        "{lines}: {said}"
    );
    assert!(run(&["--record", "/dev/full"]).contains("the record is cut"));
    assert!(run(&["--format", "json", "-o", "/dev/full"]).contains("lines could not be written"));
    assert!(run(&["-c", "-o", "/dev/full"]).contains("lines could not be written"));
}

/// More than any ring holds: nobody waits for a disk that is full, or a reader that is gone.
#[test]
fn nobody_waits_for_a_full_disk() {
    let place = Place::new();
    let dd = [
        "/bin/dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=1",
        "count=30000",
    ];
    let output = place.output(&[&["trace", "-o", "/dev/full"], &dd[..]].concat());
    assert!(output.status.success());
    let said = text(&output.stderr);
    let missing = Regex::new(r"(\d+) lines could not").unwrap();
    let missing: u32 = missing.captures(&said).unwrap()[1].parse().unwrap();
    assert!(missing > 60_000, "{said}");

    let mut command = place.hotpatch();
    let mut child = command
        .args([&["trace", "-o", "/dev/stdout"], &dd[..]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(
        said.contains("30000+0 records out") && !said.contains("written"),
        "{said}"
    );
}

/// Whatever stands in a record: something is printed, or a warning.
#[test]
fn a_record_of_nonsense_is_read() {
    let place = Place::new();
    let script = "\
import os, socket, select
one, other = socket.socketpair(); one.sendmsg([b'a', b'b']); socket.send_fds(one, [b'c'], [0, 1]); other.recvmsg(9, 99)
near = socket.socket(); near.bind(('127.0.0.1', 0)); near.listen(); near.getsockname()
poll = select.poll(); poll.register(near, 1); poll.poll(0); select.select([near], [], [], 0); os.listdir('/'); os.getppid()
os.spawnl(os.P_WAIT, '/bin/true', 'true')";
    let options = [
        "-f",
        "-k",
        "-yy",
        "-v",
        "-s",
        "100",
        "-e",
        "trace=%network,%desc,%process,getppid",
    ];
    let (output, file) = record(&place, &options, &["/usr/bin/python3", "-c", script]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let whole = std::fs::read(&file).unwrap();
    let cases: [&[&str]; 6] = [
        &["-k", "-yy", "-v", "-T", "-ttt"],
        &[
            "-yy",
            "-e",
            "read=all",
            "-e",
            "write=all",
            "-e",
            "signal=all",
        ],
        &["-c", "--by", "file"],
        &["-C", "--by", "peer", "-x"],
        &["--format", "json", "-k", "-P", "/etc"],
        &["--format", "perfetto", "-e", "raw=all"],
    ];
    let damaged = place.dir.path().join("damaged");
    let mut seed = 7_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..60 {
        let mut bytes = whole.clone();
        // Lengths stay, so that what stands between them is read: of some records every field is nonsense.
        let mut at = 16;
        while at + 104 <= bytes.len() {
            let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            if next() % 8 == 0 {
                for _ in 0..next() % 4 {
                    let field = at + 8 + (next() % 12) as usize * 8;
                    let value = match next() % 4 {
                        0 => u64::MAX - next() % 3,
                        1 => next() % 500,
                        2 => (0xfff0 + next() % 5) << 48 | (next() % 9) << 16,
                        _ => next(),
                    };
                    bytes[field..field + 8].copy_from_slice(&value.to_le_bytes());
                }
            }
            if next() % 16 == 0 && length > 128 {
                let byte = at + 104 + (next() as usize) % (length - 104);
                bytes[byte] ^= next() as u8;
            }
            at += length;
        }
        std::fs::write(&damaged, bytes).unwrap();
        let options = cases[round % cases.len()];
        let output = view(&place, options, &damaged);
        let said = text(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{round} {options:?}: {said}"
        );
        assert!(!said.contains("panicked"), "{round} {options:?}: {said}");
    }
}
