//! Real programs, traced by strace and by a small tracer that prints with this crate: the lines agree.

mod tracer;

use regex_lite::{Captures, Regex};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};

/// One space before the result: its column depends on what stands before the line.
fn squeeze(line: &str) -> String {
    match line.rfind(" = ") {
        Some(at) => format!("{}{}", line[..at].trim_end(), &line[at..]),
        None => line.to_string(),
    }
}

/// Lines of `strace -f`, those of a call that was told in two joined.
fn strace(script: &str, directory: &Path) -> Vec<(i32, String)> {
    let output = directory.with_extension("strace");
    // As the small tracer does it, through a shell that gives way.
    let status = Command::new("bash")
        .args(["-c", "exec \"$@\"", "bash", "strace", "-f", "-o"])
        .arg(&output)
        .args(["bash", "-c", script])
        .current_dir(directory)
        .env("PWD", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace (apt-get install strace)");
    assert!(status.code().is_some(), "{script}");
    let text = String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    std::fs::remove_file(output).unwrap();
    let mut begun: HashMap<i32, String> = HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let (pid, line) = line.split_once(' ').unwrap();
        let pid: i32 = pid.parse().unwrap();
        let line = line.trim_start();
        if let Some(first) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, first.to_string());
        } else if let Some((_, rest)) = line
            .split_once(" resumed>")
            .filter(|_| line.starts_with("<... "))
        {
            lines.push((pid, begun.remove(&pid).unwrap() + rest));
        } else {
            lines.push((pid, line.to_string()));
        }
    }
    lines
}

/// What differs from run to run replaced: processes by their ordinal, addresses, times, random bytes.
fn normal(lines: &[(i32, String)]) -> Vec<String> {
    // In the order in which they were born: numbers begin anew behind the highest.
    let root = lines.first().map_or(0, |(pid, _)| *pid);
    let pids: BTreeSet<(bool, i32)> = lines.iter().map(|(pid, _)| (*pid < root, *pid)).collect();
    let ordinals: HashMap<String, usize> = pids
        .iter()
        .enumerate()
        .map(|(index, (_, pid))| (pid.to_string(), index))
        .collect();
    let number = Regex::new(r"\b\d{3,}\b").unwrap();
    let rules = [
        (r"/tmp/cc[A-Za-z0-9]{6}", "/tmp/cc"),
        (r"0x[0-9a-f]{6,}", "ADDR"),
        (
            r"(tv_u?n?sec|si_utime|si_stime|ru_\w+|uptime|\w+ram|procs|f_\w+free|f_bavail|tms_\w+|stx?_[amcb]time\w*)=-?\d+( /\* [^*]* \*/)?",
            "$1=N",
        ),
        (r"loads=\[[^]]*\]", "loads=N"),
        (r#"getrandom\("[^"]*""#, "getrandom(RANDOM"),
        (r"(htons\()\d{4,}", "${1}PORT"),
        (r"^((?:time|times|alarm)\(.*\)) += .*", "$1 = N"),
        (
            r"(jitter|stabil|offset|freq|maxerror|esterror|jitcnt|calcnt|errcnt|stbcnt)=-?\d+",
            "$1=N",
        ),
        (r"^(sched_getaffinity.*) = .*", "$1"),
        (
            r"(/tmp/|/proc/|pid=|\.tmp)[A-Za-z0-9_]*\d[A-Za-z0-9_]*",
            "${1}N",
        ),
        (r"^brk\(NULL\).*", "brk"),
        (r"^(getppid\(\)) = .*", "$1"),
        (r"^(kcmp\(.*) = .*", "$1"),
        (r"^(execve\(.*) /\* \d+ vars? \*/", "$1"),
        (r"(u64|si_ptr)=\d{12,}", "$1=N"),
        // Of /dev/urandom.
        (r#"read\(3, "[^"]*", 4\)"#, "read(3, RANDOM, 4)"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+\+0000", "DATE"),
        (r#""[0-9a-f]{8,12}-[0-9a-f]{8,12} [^"]*""#, "MAPS"),
        (r"\./sed\w{6}", "./sed"),
        (r"tmp_obj_\w{6}", "tmp_obj_"),
        (r"\.git/t\w{6}\b", ".git/t"),
        // Of /dev/urandom, for git's names.
        (r#"read\(\d, "[^"]*", 8\)"#, "read(3, RANDOM, 8)"),
        (r"st_size=\d+", "st_size=N"),
        (r"^(getcpu\()\[\d\]", "$1[N]"),
        (r"^((?:msg|sem|shm)\w+\()\d+", "${1}ID"),
        (r"^((?:msg|sem|shm)get\(.*) = .*", "$1"),
    ];
    let rules: Vec<(Regex, &str)> = rules
        .iter()
        .map(|(rule, with)| (Regex::new(rule).unwrap(), *with))
        .collect();
    let mut normal = Vec::new();
    for (pid, line) in lines {
        let mut text = squeeze(line);
        text = number
            .replace_all(&text, |found: &Captures<'_>| {
                match ordinals.get(&found[0]) {
                    Some(ordinal) => format!("P{ordinal}"),
                    None => found[0].to_string(),
                }
            })
            .into_owned();
        for (rule, with) in &rules {
            text = rule.replace_all(&text, *with).into_owned();
        }
        normal.push(format!("P{} {text}", ordinals[&pid.to_string()]));
    }
    normal
}

struct Comparison {
    total: usize,
    equal: usize,
    /// Lines of strace's and of ours that the other has not.
    theirs: Vec<String>,
    ours: Vec<String>,
}

fn compare(script: &str) -> Comparison {
    let directory = std::env::temp_dir().join(format!("hotpatch-decode-{}", std::process::id()));
    let fresh = || {
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
    };
    fresh();
    let theirs = normal(&strace(script, &directory));
    fresh();
    let ours = normal(&tracer::trace(script, &directory));
    let _ = std::fs::remove_dir_all(&directory);
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for line in &theirs {
        *counts.entry(line.clone()).or_default() += 1;
    }
    for line in &ours {
        *counts.entry(line.clone()).or_default() -= 1;
    }
    let side = |sign: i64| {
        let mut side = Vec::new();
        for (line, count) in &counts {
            (0..(count * sign).max(0)).for_each(|_| side.push(line.clone()));
        }
        side
    };
    let (missing, extra) = (side(1), side(-1));
    Comparison {
        total: theirs.len(),
        equal: theirs.len() - missing.len(),
        theirs: missing,
        ours: extra,
    }
}

/// Patterns of lines of strace's that are known to differ, each with the reason above it.
fn known() -> Vec<Regex> {
    include_str!("differences.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| Regex::new(line).unwrap())
        .collect()
}

/// Calls of every kind with usual, odd and bad arguments.
fn calls() -> String {
    let program = format!("{}/calls", env!("CARGO_TARGET_TMPDIR"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/calls.c");
    let status = Command::new("gcc")
        .args(["-w", "-O1", "-o", &program, source])
        .status();
    assert!(status.expect("gcc (apt-get install gcc)").success());
    program
}

fn programs() -> Vec<String> {
    let calls = calls();
    include_str!("programs.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.replace("CALLS", &calls))
        .collect()
}

#[test]
fn lines_are_those_of_strace() {
    let wanted = std::env::var("HOTPATCH_PROGRAM").unwrap_or_default();
    let known = known();
    let (mut total, mut equal) = (0, 0);
    let mut unknown = Vec::new();
    for program in programs()
        .iter()
        .filter(|program| program.contains(&wanted))
    {
        let found = compare(program);
        total += found.total;
        equal += found.equal;
        println!("{:5} of {:5} {program}", found.equal, found.total);
        for line in &found.theirs {
            let listed = known.iter().any(|known| known.is_match(line));
            println!("  {} {line}", if listed { '~' } else { '-' });
            if !listed {
                unknown.push(line.clone());
            }
        }
        found.ours.iter().for_each(|line| println!("  + {line}"));
    }
    println!("{equal} of {total} lines");
    assert!(
        total > 0 && equal * 100 >= total * 99,
        "{equal} of {total} lines are strace's"
    );
    // Where programs race, a line may be there in one run only.
    assert!(
        unknown.len() * 1000 <= total * 4,
        "{} lines differ and are not listed: {unknown:#?}",
        unknown.len()
    );
}
