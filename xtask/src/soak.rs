//! `cargo xtask soak`: the cases that fail once in thousands, in a loop, with counts.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use wait_timeout::ChildExt as _;

/// A program that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(120);

/// Guests of `tests/guests` that race, with what each is about.
const GUESTS: [(&str, &str); 14] = [
    (
        "steps::",
        "a signal before every single instruction of a call's way, by each tactic and kind of hook",
    ),
    (
        "storm::",
        "a timer's signals between any two instructions, 10,000 a second, with each kind of hook",
    ),
    ("busy_signals::", "signals to threads that are in hooks"),
    ("queued::", "queued signals, in order"),
    (
        "late_threads::",
        "8 threads open, call and close a library, 10,000 times",
    ),
    ("lazy::", "code is patched when it is first executed"),
    ("late_signals::", "signals while code is mapped and patched"),
    ("cancel::", "threads are cancelled in calls"),
    ("fork_threads::", "fork while other threads are busy"),
    ("fork_maps::", "fork while another thread maps code"),
    ("many_threads::", "10,000 threads and 500 processes"),
    ("processes::", "forks, vforks, clones and execs"),
    (
        "limits::",
        "started with few descriptors, little memory, small stacks",
    ),
    ("late_unmap::", "patched code is unmapped, moved, replaced"),
];

/// Modes of stress-ng that look at what they get.
const STRESSORS: [&str; 16] = [
    "clone",
    "fork",
    "vfork",
    "pthread",
    "sigq",
    "sigsuspend",
    "timer",
    "futex",
    "mutex",
    "pipe",
    "poll",
    "eventfd",
    "mmap",
    "mremap",
    "dentry",
    "switch",
];

/// What was tried, and how often.
struct Row {
    name: String,
    about: String,
    runs: u64,
    failures: Vec<String>,
}

/// What the cases need.
struct Ground {
    workspace: PathBuf,
    hotpatch: PathBuf,
    dir: PathBuf,
    seed: u64,
}

impl Ground {
    /// A number below `limit`.
    fn chance(&mut self, limit: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % limit
    }

    /// A path that nothing is at.
    fn fresh(&mut self, name: &str) -> PathBuf {
        let number = self.chance(u64::MAX);
        self.dir.join(format!("{name}-{number:x}"))
    }

    fn hotpatch(&self) -> Command {
        let mut command = Command::new(&self.hotpatch);
        command
            .args(["run", "--log", "/dev/null", "--"])
            .current_dir(&self.dir);
        command
    }

    /// The same where the command stays, rather than become the program.
    fn watched(&self) -> Command {
        let mut command = Command::new(&self.hotpatch);
        command
            .args(["run", "-v", "--log", "/dev/null", "--"])
            .current_dir(&self.dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn compile(&self, name: &str) -> anyhow::Result<()> {
        let status = Command::new("gcc")
            .args(["-O1", "-pthread", "-o"])
            .arg(self.dir.join(name))
            .arg(self.workspace.join(format!("xtask/soak/{name}.c")))
            .status()
            .context("gcc")?;
        ensure!(status.success(), "{name}.c");
        Ok(())
    }
}

/// A run's end; an error if there is none in time. All that it has started is ended then.
fn ends(command: &mut Command) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    if child.wait_timeout(LIMIT)?.is_none() {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = child.wait();
        bail!("no end within {LIMIT:?}");
    }
    Ok(child.wait_with_output()?)
}

fn shown(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    text.chars().take(600).collect()
}

/// Runs the cases in turn for so long, and writes what came out to `docs/reliability.md`.
///
/// # Errors
/// What cannot be started; at the end, that something failed.
pub fn soak(workspace: &Path, target: &Path, minutes: u64) -> anyhow::Result<()> {
    let dir = target.join("soak");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    let mut ground = Ground {
        workspace: workspace.to_owned(),
        hotpatch: target.join("release/hotpatch"),
        dir,
        seed: 0x9e37_79b9_7f4a_7c15,
    };
    ground.compile("execs")?;
    ground.compile("steady")?;
    let guests = suite(workspace, "guests")?;
    let random = suite(workspace, "random")?;
    let has_stressors = Command::new("stress-ng")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !has_stressors {
        eprintln!("stress-ng is not installed: left out");
    }
    let begin = Instant::now();
    let until = begin + Duration::from_secs(60 * minutes);
    let mut rows: Vec<Row> = Vec::new();
    while Instant::now() < until {
        for (name, about, run) in CASES.into_iter().cycle().take(4 * CASES.len()) {
            if Instant::now() < until {
                note(&mut rows, name, about, run(&mut ground));
            }
        }
        for name in STRESSORS {
            if has_stressors && Instant::now() < until {
                let about = "verifying mode of stress-ng";
                let row = format!("stress-ng --{name}");
                note(&mut rows, &row, about, stress(&mut ground, name));
            }
        }
        for (name, about) in GUESTS {
            if Instant::now() < until {
                note(
                    &mut rows,
                    name.trim_end_matches(':'),
                    about,
                    guest(&guests, name),
                );
            }
        }
        if Instant::now() < until {
            let about = "random instructions around calls, natively and by each tactic and hook, with a signal at each step and at any moment";
            let result = random_programs(&mut ground, &random);
            note(&mut rows, "random programs", about, result);
        }
        eprintln!("{:.0} s", begin.elapsed().as_secs_f64());
    }
    let page = page(&rows, begin.elapsed());
    fs::write(workspace.join("docs/reliability.md"), page)?;
    let failures: usize = rows.iter().map(|row| row.failures.len()).sum();
    ensure!(failures == 0, "{failures} failures: docs/reliability.md");
    Ok(())
}

type Case = fn(&mut Ground) -> anyhow::Result<u64>;

/// Cases of our own: each answers how many runs it has made.
const CASES: [(&str, &str, Case); 6] = [
    (
        "exec from threads",
        "one of four threads execs the program again, 25 times in a row; the others are in calls",
        execs,
    ),
    (
        "SIGKILL to the program",
        "at a random moment of its start or its run: the command says so, by the same signal, and nothing of it is left",
        kill_program,
    ),
    (
        "SIGKILL to the command",
        "at a random moment: the program has not begun, or comes to its right end",
        kill_command,
    ),
    (
        "low memory",
        "`ulimit -v` of 1 to 40 MB: as natively, or a clear end before the last line",
        low_memory,
    ),
    (
        "low descriptors",
        "`ulimit -n` of 3 to 20: as natively, or the word that too many files are open",
        low_descriptors,
    ),
    (
        "many starts at once",
        "16 starts with one cache that is empty",
        many_starts,
    ),
];

fn execs(ground: &mut Ground) -> anyhow::Result<u64> {
    let program = ground.dir.join("execs");
    let output = ends(ground.hotpatch().arg(program).arg("25"))?;
    ensure!(
        output.status.code() == Some(7),
        "{} {}",
        output.status,
        shown(&output)
    );
    Ok(25)
}

/// Processes whose command line names this file.
fn left(file: &Path) -> usize {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let name = file.to_string_lossy().into_owned();
    let is_there = |entry: &fs::DirEntry| {
        fs::read(entry.path().join("cmdline"))
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains(&name))
    };
    processes.filter(is_there).count()
}

/// Waits until nothing is left of what works on `file`.
fn all_gone(file: &Path) -> anyhow::Result<()> {
    let begin = Instant::now();
    while left(file) > 0 {
        ensure!(begin.elapsed() < LIMIT, "{} processes are left", left(file));
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn kill_program(ground: &mut Ground) -> anyhow::Result<u64> {
    for _ in 0..10 {
        let file = ground.fresh("killed");
        let mut command = ground.watched();
        command.arg(ground.dir.join("steady")).arg(&file);
        let mut child = command.spawn()?;
        std::thread::sleep(Duration::from_micros(ground.chance(8000)));
        let own = child.id();
        let children =
            fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let target = children.split_whitespace().next().map(str::to_owned);
        if let Some(pid) = &target {
            let _ = Command::new("kill")
                .args(["-KILL", pid])
                .stderr(Stdio::null())
                .status();
        }
        let Some(status) = child.wait_timeout(LIMIT)? else {
            let _ = child.kill();
            bail!("the command does not end");
        };
        // Killed, or done before that. (Killed before it had begun, it could not be started.)
        let is_right =
            status.signal() == Some(9) || [Some(0), Some(125), Some(126)].contains(&status.code());
        ensure!(is_right, "{status}");
        all_gone(&file)?;
        let _ = fs::remove_file(&file);
    }
    Ok(10)
}

fn kill_command(ground: &mut Ground) -> anyhow::Result<u64> {
    for _ in 0..10 {
        let file = ground.fresh("left");
        let mut command = ground.watched();
        command.arg(ground.dir.join("steady")).arg(&file);
        let mut child = command.spawn()?;
        std::thread::sleep(Duration::from_micros(ground.chance(8000)));
        child.kill()?;
        child.wait()?;
        all_gone(&file)?;
        if let Ok(text) = fs::read_to_string(&file) {
            let lines = text.lines().count();
            ensure!(
                lines == 301 && text.ends_with("done\n"),
                "{lines} lines, the last {:?}",
                text.lines().last()
            );
            fs::remove_file(&file)?;
        }
    }
    Ok(10)
}

/// Whether a patched run under a limit is as a native one under the same.
fn under(ground: &Ground, limit: &str) -> anyhow::Result<Option<String>> {
    let script = |words: &str| {
        format!("ulimit {limit} && exec {words} /bin/sh -c 'echo one; /bin/echo two; exit 5'")
    };
    let native = ends(Command::new("bash").arg("-c").arg(script("")))?;
    let run = format!("{} run --log /dev/null --", ground.hotpatch.display());
    let patched = ends(Command::new("bash").arg("-c").arg(script(&run)))?;
    let alike = native.status == patched.status && native.stdout == patched.stdout;
    Ok((!alike).then(|| {
        format!(
            "{limit}: {} {}, natively {}",
            patched.status,
            shown(&patched),
            native.status
        )
    }))
}

fn low_memory(ground: &mut Ground) -> anyhow::Result<u64> {
    for _ in 0..10 {
        let limit = format!("-v {}", 1000 + ground.chance(40_000));
        let Some(other) = under(ground, &limit)? else {
            continue;
        };
        // The command, which is larger, and the loader may find no room (before that the kernel ends it by a signal):
        // then nothing has run.
        let ended = !other.contains("one\ntwo");
        ensure!(ended, "{other}");
    }
    Ok(10)
}

fn low_descriptors(ground: &mut Ground) -> anyhow::Result<u64> {
    for _ in 0..10 {
        let limit = format!("-n {}", 3 + ground.chance(18));
        if let Some(other) = under(ground, &limit)? {
            let said = ["error while loading", "Too many open files", "cannot open"];
            ensure!(said.iter().any(|word| other.contains(word)), "{other}");
        }
    }
    Ok(10)
}

fn many_starts(ground: &mut Ground) -> anyhow::Result<u64> {
    let cache = ground.fresh("cache");
    fs::create_dir_all(&cache)?;
    let start = || {
        let mut command = ground.hotpatch();
        command
            .args(["/bin/echo", "here"])
            .env("XDG_CACHE_HOME", &cache)
            .stdout(Stdio::piped());
        command.spawn()
    };
    let children: Vec<_> = (0..16).map(|_| start()).collect::<Result<_, _>>()?;
    for child in children {
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success() && output.stdout == b"here\n",
            "{} {}",
            output.status,
            shown(&output)
        );
    }
    fs::remove_dir_all(&cache)?;
    Ok(16)
}

/// Builds a suite of tests; answers its program.
fn suite(workspace: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "test",
            "--package",
            "hotpatch-tests",
            "--test",
            name,
            "--no-run",
        ])
        .current_dir(workspace)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let path = said
        .rsplit_once('(')
        .and_then(|(_, rest)| rest.split_once(')'));
    let (path, _) = path.with_context(|| format!("no {name}: {said}"))?;
    Ok(workspace.join(path))
}

/// A suite's program as cargo would run it.
fn tests(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(program.ancestors().nth(4).unwrap_or(program).join("tests"));
    command
}

fn random_programs(ground: &mut Ground, program: &Path) -> anyhow::Result<u64> {
    const PROGRAMS: u64 = 25;
    let first = PROGRAMS * ground.chance(1 << 40);
    let mut command = tests(program);
    command
        .env("HOTPATCH_FIRST", first.to_string())
        .env("HOTPATCH_PROGRAMS", PROGRAMS.to_string());
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "from {first} on: {}",
        shown(&output)
    );
    Ok(PROGRAMS)
}

fn guest(program: &Path, name: &str) -> anyhow::Result<u64> {
    let mut child = tests(program)
        .args(["--test-threads", "1", name])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if child.wait_timeout(5 * LIMIT)?.is_none() {
        let _ = child.kill();
        bail!("no end within {:?}", 5 * LIMIT);
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let passed = text
        .split("test result: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').nth(1));
    let passed: u64 = passed.and_then(|word| word.parse().ok()).unwrap_or(0);
    let said: String = text
        .split("failures:")
        .nth(1)
        .unwrap_or(&text)
        .chars()
        .take(1500)
        .collect();
    ensure!(output.status.success() && passed > 0, "{said}");
    Ok(passed)
}

fn stress(ground: &mut Ground, name: &str) -> anyhow::Result<u64> {
    let mut command = ground.hotpatch();
    let option = format!("--{name}");
    command.args([
        "stress-ng",
        "--verify",
        "--timeout",
        "2",
        "--no-rand-seed",
        &option,
        "2",
    ]);
    let output = ends(&mut command)?;
    let text = shown(&output);
    ensure!(
        output.status.success() && !text.contains("fail:"),
        "{} {text}",
        output.status
    );
    Ok(1)
}

fn note(rows: &mut Vec<Row>, name: &str, about: &str, result: anyhow::Result<u64>) {
    let at = rows
        .iter()
        .position(|row| row.name == name)
        .unwrap_or_else(|| {
            rows.push(Row {
                name: name.to_owned(),
                about: about.to_owned(),
                runs: 0,
                failures: Vec::new(),
            });
            rows.len() - 1
        });
    match result {
        Ok(runs) => rows[at].runs += runs,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            rows[at].runs += 1;
            rows[at].failures.push(format!("{error:#}"));
        }
    }
}

/// What came out, as a page.
fn page(rows: &[Row], took: Duration) -> String {
    let mut page = String::from(
        "# What was tried, and survived\n\n\
         Written by `cargo xtask soak --minutes N`, which runs these in turn until the time is over; nobody edits it. A run of a guest is one \
         guest with one tactic or set of hooks, compared with the same run natively; most loop thousands of times inside.\n\n",
    );
    let line = |path: &str, before: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(before))
            .unwrap_or_default();
        line.trim_start_matches(before)
            .trim_matches([' ', '\t', ':'])
            .to_owned()
    };
    let all: u64 = rows.iter().map(|row| row.runs).sum();
    let failed: usize = rows.iter().map(|row| row.failures.len()).sum();
    let _ = write!(
        page,
        "{all} runs in {} minutes, {failed} failures. {}; {} processors; Linux {}; load {} at the end.\n\n\
         | case | what | runs | failures |\n|---|---|--:|--:|\n",
        took.as_secs().div_ceil(60),
        line("/proc/cpuinfo", "model name"),
        std::thread::available_parallelism().map_or(1, usize::from),
        line("/proc/sys/kernel/osrelease", ""),
        line("/proc/loadavg", "")
            .split(' ')
            .next()
            .unwrap_or_default(),
    );
    for row in rows {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.name,
            row.about,
            row.runs,
            row.failures.len()
        );
    }
    for row in rows.iter().filter(|row| !row.failures.is_empty()) {
        let _ = write!(page, "\n## {}\n", row.name);
        for failure in &row.failures {
            let _ = write!(page, "\n    {}\n", failure.replace('\n', "\n    "));
        }
    }
    page
}
