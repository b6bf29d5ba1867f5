//! `cargo xtask bench`: what it costs, beside other ways to see a system call, in starts and in whole programs.

mod numbers;
mod plot;
mod servers;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use numbers::{Interval, least};

/// What is measured with.
pub(crate) struct Bench {
    workspace: PathBuf,
    hotpatch: PathBuf,
    /// Objects and input.
    dir: PathBuf,
    /// A hook on every call.
    hook: PathBuf,
}

/// A program that is run natively and hooked by turns.
const PROGRAMS: [(&str, &str); 7] = [
    ("dd bs=1", "dd if=/dev/zero of=/dev/null bs=1 count=400000"),
    ("tar", "tar cf - /usr/include | cat >/dev/null"),
    ("find", "find /usr/share /usr/lib -newer /etc/passwd"),
    ("git status", "git -C REPOSITORY status"),
    ("sqlite3", "rm -f t.db; sqlite3 t.db <sqlite.sql"),
    (
        "python3",
        "python3 -c 'import json, ssl, argparse, unittest; [open(\"/dev/null\").close() for _ in range(20000)]'",
    ),
    ("make -j2 of 40 files in C", "make -s -B -j2 -f build.mk"),
];

/// Programs that do nothing but start.
const STARTS: [(&str, &str); 5] = [
    ("/bin/true", "/bin/true"),
    ("bash", "bash -c true"),
    ("python3", "python3 -c pass"),
    ("git", "git --version"),
    ("node", "node -e 0"),
];

impl Bench {
    fn new(workspace: &Path, target: &Path) -> anyhow::Result<Self> {
        let dir = target.join("bench");
        fs::create_dir_all(&dir)?;
        let bench = Self {
            workspace: workspace.to_owned(),
            hotpatch: target.join("release/hotpatch"),
            hook: dir.join("every.so"),
            dir,
        };
        let hook = [
            "-O2",
            "-shared",
            "-fPIC",
            "-ffreestanding",
            "-nostdlib",
            "-mgeneral-regs-only",
            "-fno-stack-protector",
        ];
        bench.compile("every.c", "every.so", &hook)?;
        bench.compile("mechanisms.c", "mechanisms", &["-O2", "-pthread"])?;
        bench.input()?;
        Ok(bench)
    }

    fn compile(&self, source: &str, output: &str, flags: &[&str]) -> anyhow::Result<()> {
        let status = Command::new("gcc")
            .args(flags)
            .arg("-I")
            .arg(self.workspace.join("include"))
            .arg("-o")
            .arg(self.dir.join(output))
            .arg(self.workspace.join("xtask/bench").join(source))
            .status()
            .context("gcc")?;
        ensure!(status.success(), "{source}");
        Ok(())
    }

    /// What the programs work on.
    fn input(&self) -> anyhow::Result<()> {
        let mut sql = String::from("create table t(a integer primary key, b text);\n");
        for n in 0..300 {
            let _ = writeln!(sql, "insert into t values({n}, hex(randomblob(200)));");
        }
        fs::write(self.dir.join("sqlite.sql"), sql)?;
        let mut make = String::from("CFLAGS = -O1\nall:");
        for n in 0..40 {
            fs::write(
                self.dir.join(format!("unit{n}.c")),
                format!(
                    "#include <stdio.h>\n#include <stdlib.h>\nint unit{n}(int a) {{ return printf(\"%d\", a) + abs({n}); }}\n"
                ),
            )?;
            let _ = write!(make, " unit{n}.o");
        }
        fs::write(self.dir.join("build.mk"), make + "\n")?;
        Ok(())
    }

    /// A shell's command, natively or with a hook on every call of all that it starts.
    pub(crate) fn shell(&self, script: &str, hooked: bool) -> Command {
        let script = script.replace("REPOSITORY", &self.workspace.display().to_string());
        let mut command = match hooked {
            false => Command::new("sh"),
            true => {
                let mut command = Command::new(&self.hotpatch);
                command
                    .args(["run", "--log", "/dev/null", "--hook"])
                    .arg(&self.hook)
                    .args(["--", "sh"]);
                command
            }
        };
        command.args(["-c", &script]).current_dir(&self.dir);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Seconds that it takes.
    fn time(&self, script: &str, hooked: bool) -> anyhow::Result<f64> {
        let mut command = self.shell(script, hooked);
        let begin = Instant::now();
        let status = command.status()?;
        let took = begin.elapsed().as_secs_f64();
        ensure!(status.success(), "{script}: {status}");
        Ok(took)
    }

    fn mechanism(&self, mode: &str, before: &[&str]) -> anyhow::Result<f64> {
        let program = self.dir.join("mechanisms");
        let mut command = match before {
            [] => Command::new(&program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
        };
        let output = command
            .arg(mode)
            .output()
            .with_context(|| format!("{before:?}"))?;
        ensure!(
            output.status.success(),
            "{mode} {before:?}: {}",
            output.status
        );
        let text = String::from_utf8(output.stdout)?;
        text.trim()
            .parse()
            .with_context(|| format!("{mode} {before:?}: {text:?}"))
    }
}

/// Measures all of it, in so many rounds, and writes `docs/benchmarks.md` and its plots.
///
/// # Errors
/// What cannot be started or read.
pub fn bench(workspace: &Path, target: &Path, rounds: usize) -> anyhow::Result<()> {
    ensure!(rounds >= 3, "at least 3 rounds");
    let bench = Bench::new(workspace, target)?;
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; nobody edits it. The micro benchmark of tactics and hooks is `cargo bench`; instructions are \
         counted, and compared, by `cargo test -p hotpatch-runtime --test instructions`.\n\n",
    );
    page += &machine(rounds);
    mechanisms(&bench, rounds, &mut page)?;
    starts(&bench, rounds, &mut page)?;
    programs(&bench, rounds, &mut page)?;
    fs::write(workspace.join("docs/benchmarks.md"), page)?;
    Ok(())
}

/// What it ran on.
fn machine(rounds: usize) -> String {
    let line = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_default().trim_start_matches(name);
        line.trim_matches([' ', '\t', ':']).to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = line("/proc/loadavg", "");
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0.0);
    let mut text = format!(
        "{}, {processors} processors, Linux {}, load {load} at the beginning. {rounds} rounds; native and hooked by turns.\n\n",
        line("/proc/cpuinfo", "model name"),
        line("/proc/sys/kernel/osrelease", ""),
    );
    if load > 0.5 * processors as f64 {
        text += "**The machine was busy with other programs.** The least of many bursts (one system call) holds even so; \
            starts and whole programs are as uncertain as their intervals say.\n\n";
    }
    text
}

fn mechanisms(bench: &Bench, rounds: usize, page: &mut String) -> anyhow::Result<()> {
    let hotpatch = bench.hotpatch.display().to_string();
    let hook = bench.hook.display().to_string();
    let run = [&hotpatch, "run", "--log", "/dev/null"];
    let hooked = [&run[..], &["--hook", &hook]].concat();
    let rows: [(&str, &str, Vec<&str>); 11] = [
        ("bare", "bare", vec![]),
        ("patched", "bare", run.to_vec()),
        ("a hook on every call", "bare", hooked),
        (
            "hotpatch trace -o /dev/null",
            "bare",
            vec![&hotpatch, "trace", "-o", "/dev/null"],
        ),
        ("SUD, armed and idle", "sud-idle", vec![]),
        ("seccomp filter that allows", "seccomp-allow", vec![]),
        ("SUD, trap and answer", "sud-trap", vec![]),
        ("seccomp trap and answer", "seccomp-trap", vec![]),
        ("seccomp user notification", "notify", vec![]),
        ("the least that ptrace takes", "ptrace", vec![]),
        (
            "strace -f -o /dev/null",
            "strace",
            vec!["strace", "-f", "-o", "/dev/null"],
        ),
    ];
    let mut all = vec![Vec::new(); rows.len()];
    for _ in 0..rounds {
        for ((name, mode, before), times) in rows.iter().zip(&mut all) {
            match bench.mechanism(mode, before) {
                Ok(time) => times.push(time),
                Err(error) => eprintln!("{name}: {error:#}"),
            }
        }
    }
    *page += "## One system call\n\n`getppid` in a loop: the least of many bursts, and of all rounds.\n\n\
        | | ns | ratio |\n|---|--:|--:|\n";
    let bare = least(&all[0]).context("no bare call")?;
    let mut bars = Vec::new();
    for ((name, ..), times) in rows.iter().zip(&all) {
        if let Some(time) = least(times) {
            let _ = writeln!(page, "| {name} | {time:.1} | {:.2} |", time / bare);
            bars.push(((*name).to_owned(), time));
        }
    }
    *page += "\n![](benchmarks-calls.svg)\n\n";
    let plot = plot::bars("One system call, nanoseconds (logarithmic)", &bars, true);
    fs::write(bench.workspace.join("docs/benchmarks-calls.svg"), plot)?;
    Ok(())
}

fn starts(bench: &Bench, rounds: usize, page: &mut String) -> anyhow::Result<()> {
    *page += "## Starts\n\nMilliseconds of a program that does nothing, with `sh` around it in both cases: the least. Hooked, the start of the command `hotpatch run` is part of it. Plans are kept from the first start on.\n\n\
        | | native | hooked | added |\n|---|--:|--:|--:|\n";
    for (name, script) in STARTS {
        let (mut native, mut hooked) = (Vec::new(), Vec::new());
        let _ = bench.time(script, true);
        for _ in 0..rounds * 4 {
            let (Ok(one), Ok(other)) = (bench.time(script, false), bench.time(script, true)) else {
                break;
            };
            native.push(one * 1e3);
            hooked.push(other * 1e3);
        }
        if let (Some(native), Some(hooked)) = (least(&native), least(&hooked)) {
            let _ = writeln!(
                page,
                "| {name} | {native:.2} | {hooked:.2} | {:.2} |",
                hooked - native
            );
        }
    }
    page.push('\n');
    Ok(())
}

fn programs(bench: &Bench, rounds: usize, page: &mut String) -> anyhow::Result<()> {
    *page += "## Whole programs\n\nA hook on every call of the program and of all that it starts, which looks at it and lets it run. Hooked time over native time, or \
        native requests over hooked ones: the geometric mean of the rounds, with its 95 % interval. Start-up is part of it.\n\n\
        | | native | hooked | ratio | 95 % |\n|---|--:|--:|--:|---|\n";
    let mut points = Vec::new();
    let mut row = |page: &mut String, name: &str, unit: &str, pairs: &[(f64, f64)], more: bool| {
        let ratios: Vec<f64> = pairs
            .iter()
            .map(|(native, hooked)| {
                if more {
                    native / hooked
                } else {
                    hooked / native
                }
            })
            .collect();
        let Some(interval) = Interval::of(&ratios) else {
            return;
        };
        let median =
            |of: fn(&(f64, f64)) -> f64| numbers::median(&pairs.iter().map(of).collect::<Vec<_>>());
        let (native, hooked) = (median(|pair| pair.0), median(|pair| pair.1));
        let digits = if more { 0 } else { 3 };
        let _ = writeln!(
            page,
            "| {name} | {native:.digits$} {unit} | {hooked:.digits$} {unit} | {:.3} | {:.3} to {:.3} |",
            interval.mean, interval.low, interval.high
        );
        points.push((name.to_owned(), interval));
    };
    for (name, script) in PROGRAMS {
        let mut pairs = Vec::new();
        let measure = |hooked| bench.time(script, hooked);
        if let Err(error) = measure(false).and_then(|_| measure(true)) {
            eprintln!("{name}: {error:#}: left out");
            continue;
        }
        for round in 0..rounds {
            // Whoever is first finds the caches colder.
            let (native, hooked) = match round % 2 {
                0 => (measure(false)?, measure(true)?),
                _ => {
                    let hooked = measure(true)?;
                    (measure(false)?, hooked)
                }
            };
            pairs.push((native, hooked));
        }
        row(page, name, "s", &pairs, false);
    }
    for server in servers::ALL {
        match server.measure(bench, rounds) {
            Ok(pairs) => row(page, server.name, "/s", &pairs, true),
            Err(error) => eprintln!("{}: {error:#}: left out", server.name),
        }
    }
    if points.is_empty() {
        bail!("no program could be measured");
    }
    let logs: f64 = points.iter().map(|(_, interval)| interval.mean.ln()).sum();
    let _ = writeln!(
        page,
        "\nGeometric mean of all: {:.3}.\n\n![](benchmarks-programs.svg)",
        (logs / points.len() as f64).exp()
    );
    let plot = plot::intervals("Hooked over native, with 95 % intervals", &points);
    fs::write(bench.workspace.join("docs/benchmarks-programs.svg"), plot)?;
    Ok(())
}
