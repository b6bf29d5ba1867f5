//! One run of a program: what it printed, how it ended, and an end for all it started.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It exited with this status.
    Exit(i32),
    /// This signal ended it.
    Signal(i32),
    /// It was still running after the time given; what each process of its group was doing.
    TimedOut(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::TimedOut(doing) => write!(f, "no end in time:\n{doing}"),
        }
    }
}

/// What a program did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error.
    pub stderr: String,
    /// How it ended.
    pub end: End,
}

impl Ran {
    /// Where `self`, a patched run, differs from `native`; `None` when they agree.
    #[must_use]
    pub fn differs_from(&self, native: &Self) -> Option<String> {
        let mut said = String::new();
        if self.end != native.end {
            said += &format!("end: native {}, patched {}\n", native.end, self.end);
        }
        for (name, a, b) in [
            ("stdout", &native.stdout, &self.stdout),
            ("stderr", &native.stderr, &self.stderr),
        ] {
            if a != b {
                said += &format!("{name}:\n{}", first_difference(a, b));
            }
        }
        if said.is_empty() {
            return None;
        }
        if self.stdout == native.stdout && self.stderr == native.stderr {
            said += &format!(
                "stdout of both:\n{}\nstderr of both:\n{}\n",
                tail(&self.stdout),
                tail(&self.stderr)
            );
        }
        Some(said)
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The lines around the first one that differs.
fn first_difference(native: &str, patched: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (native.lines().collect(), patched.lines().collect());
    let at = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let shown = |lines: &[&str], mark: char| -> String {
        lines
            .iter()
            .skip(at)
            .take(12)
            .map(|l| format!("  {mark} {l}\n"))
            .collect()
    };
    format!(
        "  line {} (- native, + patched)\n{}{}",
        at + 1,
        shown(&a, '-'),
        shown(&b, '+')
    )
}

/// Runs `command` as the leader of a process group of its own, its output going to files in `dir`,
/// and ends the whole group when it is done or out of time.
///
/// # Errors
/// When the program cannot be started.
pub fn run(command: &mut Command, dir: &Path, timeout: Duration) -> io::Result<Ran> {
    let (out, err) = (dir.join("stdout"), dir.join("stderr"));
    // Files, not pipes: a grandchild that keeps a pipe open would keep us waiting.
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?);
    let mut child = command.process_group(0).spawn()?;
    let group = Pid::from_child(&child);
    let deadline = Instant::now() + timeout;
    let mut nap = Duration::from_millis(1);
    let end = loop {
        if let Some(status) = child.try_wait()? {
            break status
                .signal()
                .map_or_else(|| End::Exit(status.code().unwrap_or(-1)), End::Signal);
        }
        if Instant::now() > deadline {
            let doing = doing(group);
            // Scripts clean up their servers on SIGTERM.
            let _ = kill_process_group(group, Signal::TERM);
            thread::sleep(Duration::from_secs(2));
            let _ = kill_process_group(group, Signal::KILL);
            child.wait()?;
            break End::TimedOut(doing);
        }
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(20));
    };
    // Fails when nobody is left in the group, which is the usual case.
    let _ = kill_process_group(group, Signal::KILL);
    let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ran {
        stdout: read(&out)?,
        stderr: read(&err)?,
        end,
    })
}

/// For each process of the group: its name, and each thread's state and system call.
fn doing(group: Pid) -> String {
    let mut said = String::new();
    let Ok(all) = fs::read_dir("/proc") else {
        return said;
    };
    for entry in all.flatten() {
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let Some((_, after)) = stat.rsplit_once(") ") else {
            continue;
        };
        if after.split(' ').nth(2) != Some(&group.as_raw_nonzero().to_string()) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        said += &format!("  {} {command}\n", entry.file_name().display());
        for thread in fs::read_dir(entry.path().join("task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
            let state = read("stat")
                .rsplit_once(") ")
                .map(|(_, s)| s[..1].to_owned());
            said += &format!(
                "    {} {} {}",
                thread.file_name().display(),
                state.unwrap_or_default(),
                read("syscall")
            );
        }
    }
    said
}
