//! The tables are those of the kernel's headers.

use hotpatch_names::{
    Class, ERRORS, Limits, ROWS, Shape, When, captures, error, flags, named, row, signal,
};
use linux_raw_sys::{errno, general};
use std::collections::HashMap;
use std::process::{Command, Stdio};

#[test]
fn every_number_of_the_header_has_its_row() {
    // The crate has the newest header; the constants cannot be walked, so its source is.
    let mut known = HashMap::new();
    let manifest = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(manifest.stdout).unwrap();
    let at = text.find("linux-raw-sys-0").expect("the crate's source");
    let path =
        text[..at].rsplit('"').next().unwrap().to_string() + text[at..].split('/').next().unwrap();
    let source = std::fs::read_to_string(format!("{path}/src/x86_64/general.rs")).unwrap();
    for line in source.lines() {
        let Some(rest) = line.strip_prefix("pub const __NR_") else {
            continue;
        };
        let (name, rest) = rest.split_once(": u32 = ").unwrap();
        known.insert(
            name.to_string(),
            rest.trim_end_matches(';').parse::<u64>().unwrap(),
        );
    }
    assert!(known.len() > 350);
    for (name, number) in &known {
        assert_eq!(
            row(*number).map(|row| row.name),
            Some(name.as_str()),
            "{number}"
        );
    }
    assert_eq!(known["file_setattr"], u64::from(general::__NR_file_setattr));
    // uretprobe and the retired ones are in no header that programs see.
    assert!(
        ROWS.len() - known.len() < 8,
        "{} rows, {} numbers",
        ROWS.len(),
        known.len()
    );
    assert!(ROWS.is_sorted_by_key(|row| row.number));
}

#[test]
fn constants_are_those_of_the_headers() {
    let sets = [
        &flags::OPEN,
        &flags::MAP,
        &flags::CLONE,
        &flags::PRCTL,
        &flags::SO,
        &flags::MSG,
        &flags::FCNTL,
    ];
    let more = [
        &flags::PROT,
        &flags::WAIT,
        &flags::MADVISE,
        &flags::FUTEX,
        &flags::KEYCTL,
        &flags::PTRACE,
    ];
    let last = [
        &flags::EPOLL_EVENTS,
        &flags::POLL,
        &flags::FAMILY,
        &flags::MOUNT,
        &flags::IOCTL,
        &flags::IPPROTO,
    ];
    let mut source = String::from(include_str!("headers.h"));
    let mut asserted = 0;
    for set in sets.into_iter().chain(more).chain(last) {
        for (value, name) in set.names.iter().chain(set.base) {
            // O_LARGEFILE is 0 to a 64-bit program and 0x8000 to the kernel; others only the kernel can say.
            if matches!(
                *name,
                "O_LARGEFILE" | "TCGETS2" | "TCSETS2" | "TCSETSW2" | "TCSETSF2"
            ) {
                continue;
            }
            source += &format!("#ifdef {name}\nHAS({name}, {value:#x}ull)\n#endif\n");
            asserted += 1;
        }
    }
    assert!(asserted > 1000);
    let mut child = Command::new("gcc")
        .args(["-w", "-fsyntax-only", "-xc", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("gcc (apt-get install gcc)");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), source.as_bytes()).unwrap();
    assert!(
        child.wait().unwrap().success(),
        "a constant differs from the headers"
    );
}

#[test]
fn errors_and_signals() {
    assert_eq!(
        error(errno::ENOENT as u16),
        Some(("ENOENT", "No such file or directory"))
    );
    assert_eq!(error(errno::EHWPOISON as u16).unwrap().0, "EHWPOISON");
    assert!(error(512).is_none());
    assert_eq!(ERRORS.len(), 131);
    assert_eq!(signal::number("SIGCHLD"), Some(17));
    assert_eq!(signal::number("RT_1"), Some(33));
    assert_eq!(signal::name(0), None);
    assert_eq!(signal::name(31), Some("SYS"));
    assert_eq!(signal::code(17, 1), Some("CLD_EXITED"));
    assert_eq!(signal::code(10, -6), Some("SI_TKILL"));
}

#[test]
fn classes_are_what_the_manual_says() {
    let has = |class: Class, name: &str| class.has(named(name).unwrap());
    for name in [
        "open", "stat", "chmod", "unlink", "lstat", "openat", "execve", "getcwd",
    ] {
        assert!(has(Class::File, name), "{name}");
    }
    assert!(!has(Class::File, "read") && has(Class::Desc, "read") && has(Class::Desc, "poll"));
    assert!(
        has(Class::Process, "wait4")
            && has(Class::Network, "sendmmsg")
            && has(Class::Memory, "mmap")
    );
    assert!(has(Class::Pure, "getpid") && !has(Class::Pure, "sched_yield"));
    let pure: Vec<_> = ROWS
        .iter()
        .filter(|row| Class::Pure.has(row))
        .map(|row| row.name)
        .collect();
    assert_eq!(
        pure,
        [
            "getpid", "getuid", "getgid", "geteuid", "getegid", "getppid", "getpgrp", "gettid"
        ]
    );
    assert_eq!(Class::named("net"), Some(Class::Network));
    assert_eq!(Class::named("files"), None);
}

#[test]
fn captures_are_bounded_and_nested() {
    let limits = Limits {
        text: 32,
        items: 32,
        environment: false,
    };
    let kept = |number, args, when, result| {
        let mut requests = Vec::new();
        captures(number, &args, when, result, limits, |r| requests.push(r));
        requests
    };
    let read = [3, 0x1000, 1 << 40, 0, 0, 0];
    assert_eq!(kept(0, read, When::Entry, 0), []);
    let at_exit = kept(0, read, When::Exit, 5);
    assert_eq!(
        (at_exit[0].address, at_exit[0].length, at_exit.len()),
        (0x1000, 5, 1)
    );
    assert_eq!(kept(0, read, When::Exit, -9i64 as u64), []);
    let writev = kept(20, [1, 0x2000, 2, 0, 0, 0], When::Entry, 0);
    assert_eq!(
        (writev[0].length, writev[0].shape),
        (32, Shape::Vectors { budget: u64::MAX })
    );
    let mut vectors = Vec::new();
    for word in [0x3000u64, 7, 0x4000, 1 << 50] {
        vectors.extend(word.to_le_bytes());
    }
    let inner: Vec<_> = writev[0]
        .nested(&vectors, limits)
        .map(|part| (part.address, part.length))
        .collect();
    assert_eq!(inner, [(0x3000, 7), (0x4000, 33)]);
    let readv = kept(19, [1, 0x2000, 2, 0, 0, 0], When::Exit, 9);
    let inner: Vec<_> = readv[0]
        .nested(&vectors, limits)
        .map(|part| (part.address, part.length))
        .collect();
    assert_eq!(inner, [(0x3000, 7), (0x4000, 2)]);
    // No arguments whatever make a request that is long.
    for row in ROWS {
        for value in [0, 1, 0x7f00_0000_1234, u64::MAX] {
            for when in [When::Entry, When::Exit] {
                let args = [value; 6];
                captures(row.number.into(), &args, when, value, limits, |request| {
                    assert!(
                        request.length <= 1 << 20 && request.address == value,
                        "{} {request:?}",
                        row.name
                    );
                });
            }
        }
    }
}
