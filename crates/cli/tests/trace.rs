//! `hotpatch trace` beside strace, and what becomes of programs and readers that end in other ways.

mod common;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, compile, text};
use regex_lite::Regex;

/// What each thread did, line by line, the first one first. What was interrupted is joined again.
fn by_thread(trace: &str) -> Vec<Vec<String>> {
    let mut order: Vec<u32> = Vec::new();
    let mut threads: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    // What a thread is in the middle of: a handler's calls come in between.
    let mut begun: BTreeMap<u32, Vec<(usize, String)>> = BTreeMap::new();
    for line in trace.lines() {
        let (tid, line) = line.split_once(' ').expect("a thread's number");
        let tid: u32 = tid.parse().expect("a number");
        let line = line.trim_start();
        if !order.contains(&tid) {
            order.push(tid);
        }
        let lines = threads.entry(tid).or_default();
        if let Some(first) = line.strip_suffix(" <unfinished ...>") {
            begun
                .entry(tid)
                .or_default()
                .push((lines.len(), first.to_owned()));
            lines.push(String::new());
        } else if let Some((_, rest)) = line
            .split_once(" resumed>")
            .filter(|_| line.starts_with("<... "))
        {
            let (at, first) = begun.get_mut(&tid).and_then(Vec::pop).expect("begun");
            lines[at] = first + rest;
        } else {
            lines.push(line.to_owned());
        }
    }
    order.iter().filter_map(|tid| threads.remove(tid)).collect()
}

/// Lines without what differs from run to run.
fn normal(lines: Vec<String>) -> Vec<String> {
    let rules = [
        (r"\s+= ", " = "),
        (
            r"^((?:clone3?|vfork|wait4|getpid|rt_sigreturn)\(.*) = [1-9]\d*$",
            "$1 = PROCESS",
        ),
        (r"^(t?g?kill\()\d+(, \d+)?", "$1PROCESS"),
        (r"0x[0-9a-f]{5,}", "ADDRESS"),
        (r"\b\d{4,}\b", "N"),
        (r#"getrandom\("(?:[^"\\]|\\.)*""#, "getrandom(RANDOM"),
        (r"sysinfo\(.*", "sysinfo"),
        // Of /dev/urandom.
        (r#"^read\(3, "(?:[^"\\]|\\.)*", 4\)"#, "read(3, RANDOM, 4)"),
        (
            r"(tv_u?n?sec|ru_\w+|si_pid|si_utime|si_stime)=\w+( /\* \S+ s \*/)?",
            "$1=N",
        ),
        (r"^(brk\(.*) = .*", "$1"),
        (r"^(getppid\(\)|gettid\(\)|set_tid_address\(.*) = .*", "$1"),
        (r"/\* \d+ vars \*/", "VARIABLES"),
        (r"/tmp[0-9A-Za-z]{6}\b|\.tmp[0-9A-Za-z]{6}", "DIRECTORY"),
    ];
    let rules = rules.map(|(rule, with)| (Regex::new(rule).unwrap(), with));
    lines
        .into_iter()
        .map(|line| {
            rules.iter().fold(line, |line, (rule, with)| {
                rule.replace_all(&line, *with).into_owned()
            })
        })
        .collect()
}

/// Without these, memory is asked for at other times in each run.
const SEEDS: [(&str, &str); 3] = [
    ("PYTHONHASHSEED", "0"),
    ("PYTHONMALLOC", "malloc"),
    ("PERL_HASH_SEED", "0"),
];

/// An exit status; the negative of a signal.
fn ended(status: std::process::ExitStatus) -> i32 {
    let signal = || -status.signal().expect("an end");
    status.code().unwrap_or_else(signal)
}

/// How it ended, what was printed, and what each thread did.
type Run = (i32, String, Vec<Vec<String>>);

fn traced(place: &Place, dir: &Path, options: &[&str], program: &[&str]) -> Run {
    let file = place.dir.path().join("ours.trace");
    let output = place
        .hotpatch()
        .args(["trace", "-f", "-o"])
        .arg(&file)
        .args(options)
        .args(program)
        .current_dir(dir)
        .envs(SEEDS)
        .output()
        .expect("hotpatch starts");
    let trace = std::fs::read_to_string(&file).expect("a trace");
    (
        ended(output.status),
        text(&output.stdout) + &text(&output.stderr),
        by_thread(&trace).into_iter().map(normal).collect(),
    )
}

fn straced(place: &Place, dir: &Path, options: &[&str], program: &[&str]) -> Run {
    let file = place.dir.path().join("theirs.trace");
    let output = Command::new("strace")
        .args(["-f", "-o"])
        .arg(&file)
        .args(options)
        .args(program)
        .current_dir(dir)
        .envs(SEEDS)
        .env("XDG_CACHE_HOME", place.dir.path())
        .env("NO_COLOR", "1")
        .env_remove("LD_PRELOAD")
        .output()
        .expect("strace (apt-get install strace)");
    let trace = std::fs::read_to_string(&file).expect("a trace");
    (
        ended(output.status),
        text(&output.stdout) + &text(&output.stderr),
        by_thread(&trace).into_iter().map(normal).collect(),
    )
}

/// Programs that do the same each time.
const OF_ONE_PROCESS: [&[&str]; 26] = [
    &["/bin/true"],
    &["/bin/ls", "-l", "/usr"],
    &["/bin/cat", "/etc/passwd", "/nonexistent"],
    &["/bin/sh", "-c", "exit 3"],
    &["/usr/bin/head", "-c", "100", "/etc/passwd"],
    &["/usr/bin/sort", "/etc/passwd"],
    &["/bin/sed", "s/root/toor/", "/etc/passwd"],
    &["/usr/bin/cut", "-d:", "-f1", "/etc/passwd"],
    &["/usr/bin/find", "/etc/apt"],
    &["/usr/bin/wc", "/etc/passwd"],
    &["/usr/bin/stat", "/etc/passwd"],
    &["/bin/cp", "/etc/passwd", "copy"],
    &["/bin/ln", "-sf", "/etc/passwd", "link"],
    &["/bin/tar", "cf", "/dev/null", "/etc/apt"],
    &["/usr/bin/perl", "-e", "print 1 + 1"],
    &["/usr/bin/python3", "-c", "print(1)"],
    &["/usr/bin/git", "--version"],
    &["/usr/bin/sqlite3", ":memory:", "select 1"],
    &["/bin/busybox", "ls", "/etc/apt"],
    // Handlers, interrupted calls, and what ends by a signal.
    &[
        "/bin/sh",
        "-c",
        "trap 'echo got' USR1; kill -USR1 $$; echo on; kill -TERM $$",
    ],
    &[
        "/usr/bin/perl",
        "-e",
        "$SIG{ALRM} = sub { print 1 }; alarm 1; sleep 9; kill 'SEGV', $$",
    ],
    &["/usr/bin/python3", "-c", IGNORED],
    &["/usr/bin/python3", "-c", INTERRUPTED],
    &["/usr/bin/perl", "-e", INTERRUPTED_FOR_GOOD],
    &[
        "/usr/bin/python3",
        "-c",
        "import ctypes; ctypes.string_at(8)",
    ],
    &[
        "/usr/bin/perl",
        "-e",
        "pipe(R, W); close R; syswrite(W, 'x')",
    ],
];

/// Signals that nobody sees but a tracer.
const IGNORED: &str = "
import os, signal
kill = lambda signal: os.kill(os.getpid(), signal)
kill(signal.SIGCONT)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
kill(signal.SIGUSR1)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT, signal.SIGUSR1])
kill(signal.SIGUSR1)
kill(signal.SIGCONT)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCONT, signal.SIGUSR1])
signal.raise_signal(signal.SIGWINCH)
r, w = os.pipe()
os.close(r)
try: os.write(w, b'1')
except BrokenPipeError: pass
";

/// Each way in which a call is interrupted, by a signal that is sure to find it.
const INTERRUPTED: &str = "
import os, signal, time
signal.signal(signal.SIGALRM, lambda *_: None)
def soon(): signal.setitimer(signal.ITIMER_REAL, 0.1)
r, w = os.pipe()
soon(); time.sleep(0.3)
soon(); signal.pause()
os.set_blocking(w, False)
signal.set_wakeup_fd(w)
soon(); os.read(r, 1)
signal.siginterrupt(signal.SIGALRM, False)
soon(); os.read(r, 1)
";

/// The same of what begins no call again.
const INTERRUPTED_FOR_GOOD: &str = "
use POSIX; use IO::Poll; use Time::HiRes;
$SIG{ALRM} = sub {};
sub soon { Time::HiRes::ualarm(100000) }
pipe(R, W);
soon; sysread(R, $byte, 1);
soon; select(undef, undef, undef, 9);
$poll = IO::Poll->new; $poll->mask(*R => POLLIN);
soon; $poll->poll(9);
soon; POSIX::sigsuspend(POSIX::SigSet->new);
soon; Time::HiRes::usleep(9000000);
";

/// And those of several.
const OF_SEVERAL: [&[&str]; 12] = [
    &["/bin/sh", "-c", "/bin/true; /bin/echo 1; (exit 2)"],
    &["/bin/sh", "-c", "/bin/cat /etc/passwd | /usr/bin/wc -l"],
    &[
        "/bin/busybox",
        "sh",
        "-c",
        "for n in 1 2 3; do /bin/true; done",
    ],
    &["/bin/sh", "-c", "/bin/sleep 0.2 & wait"],
    &[
        "/bin/bash",
        "-c",
        "trap 'echo got' USR1 CHLD; kill -USR1 $$; /bin/true; echo on",
    ],
    &["/usr/bin/perl", "-e", "system('/bin/true'); print `echo 1`"],
    &["/usr/bin/perl", "-e", "system('kill -QUIT $$'); print $?"],
    &["/usr/bin/python3", "-c", KILLED],
    &["/usr/bin/timeout", "9", "/bin/true"],
    &["/usr/bin/xargs", "-a", "/etc/hostname", "/bin/echo"],
    &["/usr/bin/env", "-i", "/bin/sh", "-c", "/bin/true; exit 4"],
    &[
        "/usr/bin/find",
        "/etc/apt",
        "-maxdepth",
        "0",
        "-exec",
        "/bin/echo",
        "{}",
        ";",
    ],
];

/// A child that its parent kills while it waits.
const KILLED: &str = "
import os, signal, time
r, w = os.pipe()
child = os.fork()
if child == 0:
    os.write(w, b'1')
    signal.pause()
os.read(r, 1)
time.sleep(0.3)
os.kill(child, signal.SIGTERM)
os.waitpid(child, 0)
";

/// Lines of one that are not lines of the other, in their order.
fn different(ours: &[String], theirs: &[String]) -> Vec<String> {
    // What is left from here on has so many lines in common.
    let mut common = vec![vec![0usize; theirs.len() + 1]; ours.len() + 1];
    for (n, our) in ours.iter().enumerate().rev() {
        for (m, their) in theirs.iter().enumerate().rev() {
            common[n][m] = if our == their {
                common[n + 1][m + 1] + 1
            } else {
                common[n + 1][m].max(common[n][m + 1])
            };
        }
    }
    let (mut n, mut m, mut all) = (0, 0, Vec::new());
    while n < ours.len() || m < theirs.len() {
        if ours.get(n) == theirs.get(m) {
            (n, m) = (n + 1, m + 1);
        } else if m == theirs.len() || n < ours.len() && common[n + 1][m] >= common[n][m + 1] {
            all.push(format!("  ours:   {}", ours[n]));
            n += 1;
        } else {
            all.push(format!("  theirs: {}", theirs[m]));
            m += 1;
        }
    }
    all
}

/// How many lines strace prints of that program, and which are different here.
fn compared(place: &Place, program: &[&str]) -> (usize, Vec<String>) {
    let fresh = || tempfile::tempdir_in(place.dir.path()).unwrap();
    let mut ours = traced(place, fresh().path(), &[], program);
    let mut theirs = straced(place, fresh().path(), &[], program);
    // Which of two children runs first is nobody's choice.
    ours.2[1..].sort();
    theirs.2[1..].sort();
    assert_eq!((ours.0, &ours.1), (theirs.0, &theirs.1), "{program:?}");
    assert_eq!(ours.2.len(), theirs.2.len(), "{program:?}: threads");
    let pairs = ours.2.iter().zip(&theirs.2);
    let lines = pairs.flat_map(|(ours, theirs)| different(ours, theirs));
    (theirs.2.iter().map(Vec::len).sum(), lines.collect())
}

#[test]
fn says_what_strace_says() {
    let place = Place::new();
    let mut all = 0;
    for program in OF_ONE_PROCESS {
        let (lines, mut different) = compared(&place, program);
        all += lines;
        // Where memory lies may decide when more of it is asked for, and a busy machine when a timer ends.
        for _ in 0..3 {
            if different.is_empty() {
                break;
            }
            different = compared(&place, program).1;
        }
        assert!(
            different.is_empty(),
            "{program:?}:\n{}",
            different.join("\n")
        );
    }
    assert!(all > 2000, "{all}");
}

/// When a child ends, and so when its parent hears of that, is not the same each time.
#[test]
fn says_what_strace_says_of_several_processes() {
    let place = Place::new();
    let (mut all, mut different) = (0, Vec::new());
    for program in OF_SEVERAL {
        let (lines, mut of_this) = compared(&place, program);
        // Once more, for what only happens to be so.
        if !of_this.is_empty() {
            of_this = compared(&place, program).1;
        }
        all += lines;
        different.extend(of_this.iter().map(|line| format!("{program:?}:\n{line}")));
    }
    assert!(all > 2000, "{all}");
    assert!(
        different.len() * 100 <= all,
        "{} of {all} lines differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn what_is_asked_for_is_told() {
    let place = Place::new();
    let file = place.dir.path().join("asked.trace");
    let lines = |args: &[&str]| -> Vec<String> {
        let output = place
            .hotpatch()
            .args(["trace", "-o"])
            .arg(&file)
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.code().is_some(), "{}", text(&output.stderr));
        let trace = std::fs::read_to_string(&file).unwrap();
        trace.lines().map(str::to_owned).collect()
    };
    let opens = lines(&["-e", "trace=openat", "/bin/cat", "/nonexistent"]);
    let (last, rest) = opens.split_last().unwrap();
    assert_eq!(last, "+++ exited with 1 +++");
    assert!(rest.len() >= 3, "{opens:?}");
    assert!(rest.iter().all(|l| l.starts_with("openat(")), "{opens:?}");

    let failed = lines(&[
        "-e",
        "trace=openat",
        "-e",
        "status=failed",
        "/bin/cat",
        "/nonexistent",
    ]);
    let missing =
        "openat(AT_FDCWD, \"/nonexistent\", O_RDONLY) = -1 ENOENT (No such file or directory)";
    assert!(failed.contains(&missing.to_owned()), "{failed:?}");
    assert!(
        failed
            .iter()
            .filter(|l| l.starts_with("openat("))
            .all(|l| l.contains(" = -1 ")),
        "{failed:?}"
    );

    let written = lines(&["-e", "trace=write", "-s", "3", "/bin/echo", "abcdef"]);
    assert!(
        written
            .iter()
            .any(|l| l.starts_with("write(1, \"abc\"..., 7)")),
        "{written:?}"
    );

    let zero = lines(&[
        "-e",
        "fd=0",
        "/bin/sh",
        "-c",
        "read line </dev/null; exit 0",
    ]);
    let (last, rest) = zero.split_last().unwrap();
    assert_eq!(last, "+++ exited with 0 +++");
    let takes =
        |line: &String| line.contains("(0, ") || line.contains("(0)") || line.contains(", 0)");
    assert!(!rest.is_empty() && rest.iter().all(takes), "{zero:?}");
    let whole = lines(&[
        "-e",
        "trace=newfstatat",
        "-e",
        "abbrev=!newfstatat",
        "/bin/true",
    ]);
    assert!(
        whole.iter().any(|l| l.contains("st_nlink="))
            && !whole.iter().any(|l| l.contains(", ...}")),
        "{whole:?}"
    );

    // The address is one of the C library's or the loader's, behind a `syscall`.
    let places = lines(&["-i", "-n", "-e", "trace=openat,execve", "/bin/true"]);
    let rule =
        Regex::new(r"^\[ (257\] \[00007[0-9a-f]{11}\] openat| 59\] \[\?{16}\] execve)\(").unwrap();
    let (_, calls) = places.split_last().unwrap();
    assert!(
        calls.len() > 2 && calls.iter().all(|l| rule.is_match(l)),
        "{places:?}"
    );

    // Without -f the children are left out.
    let script = "/bin/echo 1; /bin/echo 2";
    let execs = |follow: &[&str]| {
        let args = [follow, &["-e", "trace=execve", "/bin/sh", "-c", script]].concat();
        lines(&args)
            .iter()
            .filter(|l| l.contains("execve("))
            .count()
    };
    assert_eq!((execs(&[]), execs(&["-f"])), (1, 3));

    let wrong = place.output(&["trace", "-e", "trace=opne", "/bin/true"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("did you mean open"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn a_killed_program_is_told_to_its_last_call() {
    let place = Place::new();
    let file = place.dir.path().join("killed.trace");
    let output = place
        .hotpatch()
        .args(["trace", "-o"])
        .arg(&file)
        .args(["/bin/sh", "-c", "/bin/true; kill -9 $$"])
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9));
    let trace = std::fs::read_to_string(&file).unwrap();
    let last: Vec<&str> = trace.lines().rev().take(2).collect();
    assert_eq!(last[0], "+++ killed by SIGKILL +++");
    assert!(
        last[1].starts_with("kill(") && last[1].ends_with("= ?"),
        "{trace}"
    );
}

#[test]
fn core_files_are_told_of() {
    if std::fs::read_to_string("/proc/sys/kernel/core_pattern")
        .unwrap()
        .trim()
        != "core"
    {
        return; // they are somebody else's
    }
    let place = Place::new();
    let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
    let program = ["/bin/sh", "-c", "ulimit -c unlimited; kill -SEGV $$"];
    let ours = traced(&place, dir.path(), &[], &program);
    let theirs = straced(&place, dir.path(), &[], &program);
    let last = |run: &Run| run.2[0].last().unwrap().clone();
    assert_eq!((ours.0, last(&ours)), (theirs.0, last(&theirs)));
    // A hard limit may forbid them.
    let left = dir.path().join("core").exists();
    assert_eq!(last(&ours).contains("(core dumped)"), left);
}

/// As strace has it.
#[test]
fn a_killed_child_is_told_when_its_parent_waits() {
    let place = Place::new();
    let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
    let wait_by = |call: &str| {
        format!(
            "import os, signal, sys\nchild = os.fork()\n\
             if child == 0:\n  os.kill(os.getpid(), signal.SIGKILL)\n{call}\nsys.exit(3)"
        )
    };
    for call in [
        "os.waitpid(child, 0)",
        "os.waitid(os.P_PID, child, os.WEXITED)",
    ] {
        let script = wait_by(call);
        let program = ["/usr/bin/python3", "-c", &script];
        let options = ["-e", "trace=kill,wait4,waitid"];
        let mut ours = traced(&place, dir.path(), &options, &program);
        let mut theirs = straced(&place, dir.path(), &options, &program);
        ours.2.sort();
        theirs.2.sort();
        assert_eq!(ours, theirs, "{call}");
        let killed = &ours.2[0];
        assert_eq!(
            killed.last().map(String::as_str),
            Some("+++ killed by SIGKILL +++")
        );
    }
}

/// More than any ring holds: the program waits for its reader, and nothing is missing.
#[test]
fn every_call_of_a_long_trace_is_there() {
    let place = Place::new();
    let file = place.dir.path().join("long.trace");
    let output = place
        .hotpatch()
        .args(["trace", "-e", "trace=read,write", "-o"])
        .arg(&file)
        .args([
            "/bin/dd",
            "if=/dev/zero",
            "of=/dev/null",
            "bs=1",
            "count=50000",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    let trace = std::fs::read_to_string(&file).unwrap();
    let count = |line: &str| trace.lines().filter(|l| l.starts_with(line)).count();
    assert_eq!(count("read(0, \"\\0\", 1)"), 50_000);
    assert_eq!(count("write(1, \"\\0\", 1)"), 50_000);
}

/// The child of a vfork tells into its parent's ring, which stays the parent's when the child ends there.
#[test]
fn the_end_of_a_child_of_vfork_is_not_its_parent_s() {
    let place = Place::new();
    let file = place.dir.path().join("vfork.trace");
    let script = "import os\n\
         for n in range(200):\n  try: os.posix_spawn('/nonexistent', ['x'], {})\n  except OSError: pass\n\
         for n in range(20000): os.getppid()";
    let mut child = place
        .hotpatch()
        .args(["trace", "-f", "-o"])
        .arg(&file)
        .args(["/usr/bin/python3", "-c", script])
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > Duration::from_secs(100) {
            let _ = child.kill();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    let trace = std::fs::read_to_string(&file).unwrap();
    let count = |what: &str| trace.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count("getppid()"), 20_000);
    assert_eq!(count("+++ exited with 127 +++"), 200);
}

/// With -f the command waits for whatever the program has left behind, but not against its user's will.
#[test]
fn waiting_for_what_is_left_can_be_interrupted() {
    let place = Place::new();
    let trace = place.dir.path().join("left.trace");
    let mut child = place
        .hotpatch()
        .args(["trace", "-f", "-o"])
        .arg(&trace)
        .args(["/bin/sh", "-c", "/bin/sleep 20 >/dev/null 2>&1 & echo $!"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut sleeper = String::new();
    std::io::BufRead::read_line(&mut out, &mut sleeper).unwrap();
    let sleeper: i32 = sleeper.trim().parse().unwrap();
    let start = Instant::now();
    let ended = || {
        std::fs::read_to_string(&trace)
            .unwrap()
            .contains("exit_group(0)")
    };
    while !ended() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    let signal = |pid: i32, signal| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    };
    // The first may come while the program's end is still looked at.
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60));
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::Signal::SIGINT,
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    signal(sleeper, nix::sys::signal::Signal::SIGTERM);
}

#[test]
fn the_program_runs_on_where_nothing_can_be_written() {
    let place = Place::new();
    // More than a ring holds, and less than is written at once.
    for count in ["20000", "1"] {
        let count_is = format!("count={count}");
        let program = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "status=none"];
        let program = [&program[..], &[&count_is]].concat();
        let output = place.output(&[&["trace", "-o", "/dev/full"], &program[..]].concat());
        assert_eq!(output.status.code(), Some(0));
        let said = text(&output.stderr);
        assert!(said.contains("No space left on device"), "{said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut trace = place.hotpatch();
        let status = trace.arg("trace").args(&program).stderr(writer).status();
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

#[test]
fn the_program_runs_on_without_its_reader() {
    let place = Place::new();
    let (out, trace) = (
        place.dir.path().join("out"),
        place.dir.path().join("reader.trace"),
    );
    let script = format!(
        "for n in $(seq 400); do /bin/echo $n > {0}.part; done; mv {0}.part {0}",
        out.display()
    );
    let mut child = place
        .hotpatch()
        .args(["trace", "-f", "-o"])
        .arg(&trace)
        .args(["/bin/sh", "-c", &script])
        .spawn()
        .unwrap();
    let begun = out.with_extension("part");
    let wait_for = |path: &Path| {
        let start = Instant::now();
        while !path.exists() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{}",
                path.display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait_for(&begun);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(&out);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "400\n");
}

/// Calls and errors of each call in a table of strace's or of ours: the columns before the name.
fn counts(table: &str, calls_at: usize) -> BTreeMap<String, (u64, u64)> {
    let rows = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let share = words.first()?.parse::<f64>();
        let (name, numbers) = words.split_last()?;
        let calls = numbers.get(calls_at)?.parse().ok()?;
        let errors = numbers
            .get(calls_at + 1)
            .map_or(Some(0), |n| n.parse().ok())?;
        share.ok().map(|_| ((*name).to_owned(), (calls, errors)))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

#[test]
fn counts_what_strace_counts() {
    let place = Place::new();
    let programs: [&[&str]; 5] = [
        &["/bin/ls", "-l", "/usr"],
        &[
            "/usr/bin/python3",
            "-c",
            "import json; print(json.dumps([1]))",
        ],
        &[
            "/bin/sh",
            "-c",
            "for n in 1 2 3; do /bin/cat /nonexistent; done",
        ],
        &["/bin/busybox", "find", "/etc/apt"],
        &["/usr/bin/perl", "-e", "system('/bin/true') for 1..3"],
    ];
    for program in programs {
        let strace = Command::new("strace")
            .args(["-c", "-f"])
            .args(program)
            .env_remove("LD_PRELOAD")
            .output()
            .unwrap();
        let theirs = counts(&text(&strace.stderr), 3);
        let output = place.output(&[&["count"], program].concat());
        let ours = counts(&text(&output.stderr), 7);
        assert_eq!(output.status.code(), strace.status.code());
        assert!(theirs.len() > 10, "{program:?}: {theirs:?}");
        assert_eq!(ours, theirs, "{program:?}");

        let json = place.output(&[&["count", "--json"], program].concat());
        let json = text(&json.stderr);
        let total: u64 = ours.values().map(|(calls, _)| calls).sum();
        assert!(
            json.contains(&format!("{{\"total\":{total},\"errors\":")),
            "{total}: {json}"
        );
    }
}

#[test]
fn does_to_calls_what_strace_does() {
    let place = Place::new();
    let cases: [(&[&str], &[&str]); 8] = [
        (
            &["-e", "inject=openat:error=EACCES:when=3+1"],
            &["/bin/cat", "/etc/hostname"],
        ),
        (
            &["-e", "inject=openat:error=ENOENT:when=4..5"],
            &["/bin/ls", "-l", "/etc/hostname"],
        ),
        (
            &["-e", "inject=write:error=ENOSPC"],
            &["/bin/sh", "-c", "echo 1; echo 2 2>/dev/null"],
        ),
        (
            &[
                "-e",
                "trace=close",
                "-e",
                "inject=close:delay_exit=3000:when=1",
            ],
            &["/bin/true"],
        ),
        (
            &["-e", "inject=getppid:retval=77"],
            &["/bin/sh", "-c", "echo $PPID"],
        ),
        (
            &["-e", "fault=vfork,clone,fork:error=EAGAIN"],
            &["/bin/sh", "-c", "/bin/true; echo $?"],
        ),
        (
            &[
                "-e",
                "trace=getppid,write",
                "-e",
                "inject=getppid:signal=USR1",
            ],
            &[
                "/usr/bin/perl",
                "-e",
                "$SIG{USR1} = sub { print 1 }; getppid; print 2",
            ],
        ),
        (
            &[
                "-e",
                "inject=%file:error=EIO:when=6",
                "-e",
                "inject=exit_group:delay_enter=1000",
            ],
            &["/bin/ls", "/"],
        ),
    ];
    for (options, program) in cases {
        let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
        let mut ours = traced(&place, dir.path(), options, program);
        let mut theirs = straced(&place, dir.path(), options, program);
        ours.2[1..].sort();
        theirs.2[1..].sort();
        assert_eq!(
            (ours.0, &ours.1),
            (theirs.0, &theirs.1),
            "{options:?} {program:?}"
        );
        let lines = |run: &Run| run.2.concat();
        for (ours, theirs) in lines(&ours).iter().zip(&lines(&theirs)) {
            assert_eq!(ours, theirs, "{options:?} {program:?}");
        }
        assert_eq!(
            lines(&ours).len(),
            lines(&theirs).len(),
            "{options:?} {program:?}"
        );
        let done = |run: &Run| {
            let lines = run.2.iter().flatten();
            let done = |l: &&String| l.contains(" (INJECTED)") || l.contains(" (DELAYED)");
            lines.filter(done).count()
        };
        let signal = options.concat().contains("signal=");
        assert!(
            done(&ours) > 0 || signal || options[1].contains("getppid"),
            "{ours:?}"
        );
    }
}

/// The same seed, the same calls.
#[test]
fn chance_can_be_repeated() {
    let place = Place::new();
    let failed = |seed: u32| {
        let inject = format!("inject=write:error=EIO:prob=0.3:seed={seed}");
        let script =
            "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $n; done";
        let output = place
            .hotpatch()
            .args([
                "trace",
                "-o",
                "/dev/null",
                "-e",
                &inject,
                "/bin/sh",
                "-c",
                script,
            ])
            .output()
            .unwrap();
        text(&output.stdout)
    };
    let (first, again, other) = (failed(7), failed(7), failed(8));
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!((3..20).contains(&first.lines().count()), "{first}");
}

#[test]
fn lines_say_when_and_how_long() {
    let place = Place::new();
    let file = place.dir.path().join("timed.trace");
    let lines = |options: &[&str]| -> Vec<String> {
        let output = place
            .hotpatch()
            .args(["trace", "-o"])
            .arg(&file)
            .args(options)
            .args(["-e", "trace=execve,clock_nanosleep", "/bin/sleep", "0.05"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let trace = std::fs::read_to_string(&file).unwrap();
        trace.lines().map(str::to_owned).collect()
    };
    let all = |options: &[&str], rule: &str| {
        let (lines, rule) = (lines(options), Regex::new(rule).unwrap());
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| rule.is_match(line)), "{lines:?}");
        lines
    };
    all(&["-t"], r"^\d\d:\d\d:\d\d (execve|clock_nanosleep|\+\+\+)");
    all(&["-tt"], r"^\d\d:\d\d:\d\d\.\d{6} ");
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<f64>().ok()).expect("a number");
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    for line in all(&["-ttt"], r"^\d+\.\d{6} ") {
        let at = number(line.split(' ').next());
        assert!(
            (since_1970 - 1.0..since_1970 + 60.0).contains(&at),
            "{line}"
        );
    }
    // The last line comes when the sleep is over.
    let relative = all(&["-r"], r"^ +\d+\.\d{6} ");
    assert!(
        number(relative[2].split_whitespace().next()) >= 0.05,
        "{relative:?}"
    );
    let spans = lines(&["-T"]);
    let took = spans[1]
        .rsplit_once('<')
        .and_then(|(_, took)| took.strip_suffix('>'));
    assert!((0.05..10.0).contains(&number(took)), "{spans:?}");
}

/// The same calls in every form.
#[test]
fn programs_can_read_it() {
    let place = Place::new();
    let file = place.dir.path().join("formats.trace");
    let script = "/bin/cat /nonexistent; exec /bin/true";
    let traced = |options: &[&str]| -> String {
        let output = place
            .hotpatch()
            .args(["trace", "-f", "-o"])
            .arg(&file)
            .args(options)
            .args(["/bin/sh", "-c", script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read_to_string(&file).unwrap()
    };
    let calls = by_thread(&traced(&[])).concat();
    let calls = calls.iter().filter(|line| !line.starts_with("+++")).count();

    let json = traced(&["--format", "json"]);
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), calls);
    let missing = lines
        .iter()
        .find(|line| {
            line["text"]
                .as_str()
                .is_some_and(|text| text.contains("/nonexistent\", O_RDONLY"))
        })
        .expect("the file that is not there");
    assert_eq!(missing["call"], "openat");
    assert_eq!(
        (missing["number"].as_u64(), missing["result"].as_i64()),
        (Some(257), Some(-2))
    );
    assert!(
        missing["seconds"]
            .as_f64()
            .is_some_and(|s| s > 0.0 && s < 5.0)
    );
    let ends = |call: &str| {
        lines
            .iter()
            .filter(|l| l["call"] == call && l["result"].is_null())
            .count()
    };
    assert_eq!((ends("exit_group"), ends("execve")), (2, 0));
    let pids: std::collections::BTreeSet<_> = lines.iter().map(|l| l["pid"].as_u64()).collect();
    assert_eq!(pids.len(), 2);

    let perfetto = traced(&["--format", "perfetto"]);
    let trace: serde_json::Value = serde_json::from_str(&perfetto).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    assert_eq!(events.len(), calls);
    let is_signal = |event: &&serde_json::Value| event["ph"] == "i";
    let signals = events.iter().filter(is_signal);
    assert!(signals.clone().count() > 0);
    assert!(
        signals
            .clone()
            .all(|event| event["cat"] == "signal" && event["name"] == "SIGCHLD")
    );
    let named = |line: &&serde_json::Value| line["signal"] == 17;
    assert_eq!(lines.iter().filter(named).count(), signals.count());
    for event in events {
        assert!(event["ts"].as_f64() > Some(1e15), "{event}");
        if !is_signal(&event) {
            assert_eq!(
                (&event["ph"], &event["cat"]),
                (&"X".into(), &"syscall".into())
            );
            assert!(event["dur"].as_f64() >= Some(0.0), "{event}");
        }
        assert!(
            event["tid"].is_u64() && event["args"]["text"].is_string(),
            "{event}"
        );
    }
}

/// A call that a signal interrupts takes as long as it takes, whatever the handler calls meanwhile.
#[test]
fn times_of_interrupted_calls_are_theirs() {
    let place = Place::new();
    let source = "
        #include <signal.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        static void handler(int n) { (void)n; for (int i = 0; i < 3; i++) getppid(); }
        int main(void) {
            signal(SIGALRM, handler);
            struct itimerval once = {{0, 0}, {0, 100000}};
            setitimer(ITIMER_REAL, &once, 0);
            struct timespec left = {0, 300000000};
            while (nanosleep(&left, &left)) continue;
            return 0;
        }";
    let program = compile(&place, "interrupted", source, &["gcc", "-O1"]);
    let output = place
        .hotpatch()
        .args(["count", "--json", "-e", "trace=clock_nanosleep"])
        .arg(&program)
        .output()
        .unwrap();
    let counts: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(counts["total"], 2);
    let seconds = counts["seconds"].as_f64().unwrap();
    assert!(seconds >= 0.299, "{counts}");
}

/// Whoever looks at a program that hangs wants to see what in.
#[test]
fn a_call_that_takes_long_is_shown_before_it_ends() {
    let place = Place::new();
    for separate in [false, true] {
        let file = place.dir.path().join("waits.trace");
        let mut command = place.hotpatch();
        command.args(if separate {
            &["trace", "-ff"][..]
        } else {
            &["trace"]
        });
        command.arg("-o").arg(&file).arg("/bin/cat");
        let mut cat = command.stdin(Stdio::piped()).spawn().unwrap();
        let written = || {
            let is_ours = |name: &str| name.starts_with("waits.trace");
            let files = std::fs::read_dir(place.dir.path()).unwrap();
            let names = files.map(|entry| entry.unwrap());
            let mut ours = names.filter(|entry| is_ours(entry.file_name().to_str().unwrap()));
            ours.next().map_or(String::new(), |entry| {
                std::fs::read_to_string(entry.path()).unwrap()
            })
        };
        let begun = Instant::now();
        while !written().ends_with("\nread(0, ") {
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", written());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(cat.stdin.take());
        assert!(cat.wait().unwrap().success());
        let trace = written();
        let line = trace.lines().find(|line| line.starts_with("read(0, "));
        let line = line.expect(&trace);
        assert_eq!(line, "read(0, \"\", 131072)                     = 0");
        std::fs::remove_dir_all(place.dir.path()).unwrap();
        std::fs::create_dir(place.dir.path()).unwrap();
    }
}
