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
const STARTS: [(&str, &str); 7] = [
    ("/bin/true", "/bin/true"),
    ("bash", "bash -c true"),
    ("python3", "python3 -c pass"),
    ("git", "git --version"),
    ("node", "node -e 0"),
    ("java", "java -version"),
    ("a program of 200 MB", "./large"),
];

/// Code of 200 MB, of which little is executed: `mov %rbx,%rax; ret` again and again, with one system call in the middle.
const LARGE: &str = ".globl filler\nfiller:\n.fill 26214400, 4, 0xc3d88948\nmov $39,%eax\nsyscall\nret\n\
    .fill 26214400, 4, 0xc3d88948\n.section .note.GNU-stack, \"\"\n";

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
        bench.large()?;
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

    fn large(&self) -> anyhow::Result<()> {
        fs::write(self.dir.join("large.s"), LARGE)?;
        fs::write(self.dir.join("large.c"), "int main(void) { return 0; }\n")?;
        let mut command = Command::new("gcc");
        command.args(["-o", "large", "large.c", "large.s"]);
        let status = command.current_dir(&self.dir).status().context("gcc")?;
        ensure!(status.success(), "large.s");
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
        self.time_of(script, self.shell(script, hooked))
    }

    /// The same where code is patched when it is first executed.
    fn time_lazily(&self, script: &str) -> anyhow::Result<f64> {
        let mut command = self.shell(script, true);
        command.env("LIBHOTPATCH_LAZY", "1");
        self.time_of(script, command)
    }

    fn time_of(&self, script: &str, mut command: Command) -> anyhow::Result<f64> {
        let begin = Instant::now();
        let status = command.status()?;
        let took = begin.elapsed().as_secs_f64();
        ensure!(status.success(), "{script}: {status}");
        Ok(took)
    }

    /// Nanoseconds of a call of `mechanisms` in this mode, behind these words; `preload` is for the loader.
    fn mechanism(&self, mode: &str, before: &[&str], preload: &str) -> anyhow::Result<f64> {
        let program = self.dir.join("mechanisms").display().to_string();
        let whole = format!("{program} {mode}");
        let words = match before.last() {
            // All in one word.
            Some(&"-c") => [before, &[&whole]].concat(),
            _ => [before, &[&program, mode]].concat(),
        };
        let mut command = Command::new(words[0]);
        if !preload.is_empty() {
            command.env("LD_PRELOAD", preload);
        }
        let output = command
            .args(&words[1..])
            .stdin(Stdio::null())
            .output()
            .with_context(|| words[0].to_owned())?;
        ensure!(
            output.status.success(),
            "{mode} {before:?}: {}",
            output.status
        );
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!said.contains("cannot be preloaded"), "{}", said.trim());
        let text = String::from_utf8(output.stdout)?;
        text.trim()
            .parse()
            .with_context(|| format!("{mode} {before:?}: {text:?}"))
    }
}

/// Measures all of it, in so many rounds, and writes `docs/benchmarks.md` and its plots.
///
/// `others` are interposers to be compared with, each as `NAME=VALUE` with what `LD_PRELOAD` is to be.
///
/// # Errors
/// What cannot be started or read.
pub fn bench(
    workspace: &Path,
    target: &Path,
    rounds: usize,
    others: &[&str],
) -> anyhow::Result<()> {
    ensure!(rounds >= 3, "at least 3 rounds");
    let bench = Bench::new(workspace, target)?;
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `cargo xtask bench`; nobody edits it. The micro benchmark of tactics and hooks is `cargo bench`; instructions are \
         counted, and compared, by `cargo test -p hotpatch-runtime --test instructions`.\n\n",
    );
    page += &machine(rounds);
    mechanisms(&bench, rounds, others, &mut page)?;
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

fn mechanisms(
    bench: &Bench,
    rounds: usize,
    others: &[&str],
    page: &mut String,
) -> anyhow::Result<()> {
    let hotpatch = bench.hotpatch.display().to_string();
    let hook = bench.hook.display().to_string();
    let run = [&hotpatch, "run", "--log", "/dev/null"];
    let hooked = [&run[..], &["--hook", &hook]].concat();
    let counts = "tracepoint:raw_syscalls:sys_enter { @calls = count(); }";
    let mut rows: Vec<(&str, &str, Vec<&str>)> = vec![
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
        (
            "perf trace -o /dev/null",
            "strace",
            vec!["perf", "trace", "-o", "/dev/null"],
        ),
        (
            "bpftrace, counting",
            "strace",
            vec!["bpftrace", "-q", "-o", "/dev/null", "-e", counts, "-c"],
        ),
    ];
    let mut preloads = vec![""; rows.len()];
    for other in others {
        let (name, preload) = other.split_once('=').context("NAME=LD_PRELOAD-value")?;
        rows.push((name, "bare", vec![]));
        preloads.push(preload);
    }
    let mut all = vec![Vec::new(); rows.len()];
    let mut missing = vec![None; rows.len()];
    for _ in 0..rounds {
        for (n, (_, mode, before)) in rows.iter().enumerate() {
            if missing[n].is_some() {
                continue;
            }
            match bench.mechanism(mode, before, preloads[n]) {
                Ok(time) => all[n].push(time),
                Err(error) => missing[n] = Some(format!("{error:#}")),
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
    page.push('\n');
    for ((name, ..), why) in rows.iter().zip(missing) {
        if let Some(why) = why {
            left_out(page, name, &why);
        }
    }
    *page += "![](benchmarks-calls.svg)\n\n";
    let plot = plot::bars("One system call, nanoseconds (logarithmic)", &bars, true);
    fs::write(bench.workspace.join("docs/benchmarks-calls.svg"), plot)?;
    Ok(())
}

/// What is not there is said, on the page too.
fn left_out(page: &mut String, name: &str, why: &str) {
    eprintln!("{name}: {why}: left out");
    let why = why.lines().next().unwrap_or_default();
    let _ = writeln!(page, "Left out: {name} ({why}).\n");
}

fn starts(bench: &Bench, rounds: usize, page: &mut String) -> anyhow::Result<()> {
    *page += "## Starts\n\nMilliseconds of a program that does nothing, with `sh` around it in both cases: the least. Hooked, the start of the command `hotpatch run` is part of it. Plans are kept from the first start on; `sh` executes the program, so it is patched at an exec. Lazily: the whole time with `LIBHOTPATCH_LAZY=1`.\n\n\
        | | native | hooked | added | lazily |\n|---|--:|--:|--:|--:|\n";
    let mut missing = Vec::new();
    for (name, script) in STARTS {
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        let mut once = || -> anyhow::Result<()> {
            let [native, hooked, lazily] = &mut times;
            native.push(bench.time(script, false)? * 1e3);
            hooked.push(bench.time(script, true)? * 1e3);
            lazily.push(bench.time_lazily(script)? * 1e3);
            Ok(())
        };
        // The first one plans.
        if let Some(error) = (0..=rounds * 3).find_map(|_| once().err()) {
            missing.push((name, format!("{error:#}")));
        } else if let [Some(native), Some(hooked), Some(lazily)] = times.map(|t| least(&t)) {
            let _ = writeln!(
                page,
                "| {name} | {native:.2} | {hooked:.2} | {:.2} | {lazily:.2} |",
                hooked - native
            );
        }
    }
    page.push('\n');
    for (name, why) in missing {
        left_out(page, name, &why);
    }
    Ok(())
}

/// Native and hooked by turns; whoever is first finds the caches colder.
fn pairs(
    rounds: usize,
    measure: impl Fn(bool) -> anyhow::Result<f64>,
) -> anyhow::Result<Vec<(f64, f64)>> {
    measure(false)?;
    measure(true)?;
    let both = |round| {
        if round % 2 == 0 {
            return Ok((measure(false)?, measure(true)?));
        }
        let hooked = measure(true)?;
        Ok((measure(false)?, hooked))
    };
    (0..rounds).map(both).collect()
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
    let mut missing = Vec::new();
    for (name, script) in PROGRAMS {
        match pairs(rounds, |hooked| bench.time(script, hooked)) {
            Ok(pairs) => row(page, name, "s", &pairs, false),
            Err(error) => missing.push((name, error)),
        }
    }
    for server in servers::ALL {
        match server.measure(bench, rounds) {
            Ok(pairs) => row(page, server.name, "/s", &pairs, true),
            Err(error) => missing.push((server.name, error)),
        }
    }
    page.push('\n');
    for (name, error) in missing {
        left_out(page, name, &format!("{error:#}"));
    }
    if points.is_empty() {
        bail!("no program could be measured");
    }
    let logs: f64 = points.iter().map(|(_, interval)| interval.mean.ln()).sum();
    let _ = writeln!(
        page,
        "Geometric mean of all: {:.3}.\n\n![](benchmarks-programs.svg)",
        (logs / points.len() as f64).exp()
    );
    let plot = plot::intervals("Hooked over native, with 95 % intervals", &points);
    fs::write(bench.workspace.join("docs/benchmarks-programs.svg"), plot)?;
    Ok(())
}
