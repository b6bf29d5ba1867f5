//! `cargo bench`: what a patched call and a patched start cost, as ratios to the bare case.

use std::env;
use std::error::Error;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hotpatch_bench::{Bare, Loop};

/// Calls in one timed burst, bursts in one process, rounds of processes.
const CALLS: u64 = 500;
const BURSTS: u32 = 800;
const ROUNDS: u32 = 25;

/// Starts of each kind that are timed.
const STARTS: usize = 200;

/// The child's part: the least nanoseconds of a bare call and of one of a loop, over all bursts.
const CHILD: &str = "HOTPATCH_BENCH_LOOP";

/// How many threads of the child do that at once; one that is preempted in a burst has others.
const THREADS: &str = "HOTPATCH_BENCH_THREADS";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if let Ok(name) = env::var(CHILD) {
        return child(&name);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let target_dir = workspace.join("target/runtime");
    let library = hotpatch_link::build(&hotpatch_link::Options {
        workspace,
        target_dir,
    })?;
    // `hosted` alone: that part.
    if env::args().any(|word| word == "hosted") {
        return hosted(&library, 110);
    }
    calls(&library)?;
    hooks(&library)?;
    memory(&library)?;
    starts(&library)
}

fn child(name: &str) -> Result<()> {
    let (_, timed) = Loop::ALL
        .into_iter()
        .find(|(n, _)| *n == name)
        .ok_or("no loop of that name")?;
    let native = Bare::new()?;
    let threads: usize = env::var(THREADS).map_or(Ok(1), |n| n.parse())?;
    let least = || {
        let (mut bare, mut patched) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..BURSTS {
            bare = bare.min(native.time(CALLS));
            patched = patched.min(timed.time(CALLS));
        }
        (bare, patched)
    };
    let pairs: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(least)).collect();
        all.into_iter().filter_map(|one| one.join().ok()).collect()
    });
    let mean = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / threads as f64;
    println!("{} {}", mean(|pair| pair.0), mean(|pair| pair.1));
    Ok(())
}

/// Times a call bare and in a loop, by turns in one process.
fn burst(name: &str, patched: Option<(&Path, &str)>, hook: Option<&Path>) -> Result<(f64, f64)> {
    bursts(name, patched, hook, 1)
}

/// The same in several threads: the mean of each thread's least.
fn bursts(
    name: &str,
    patched: Option<(&Path, &str)>,
    hook: Option<&Path>,
    threads: usize,
) -> Result<(f64, f64)> {
    let mut command = Command::new(env::current_exe()?);
    command.env(CHILD, name);
    command.env(THREADS, threads.to_string());
    if let Some(hook) = hook {
        command.env("LIBHOTPATCH_HOOK", hook);
    }
    if let Some((library, tactics)) = patched {
        command
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_CACHE", "off")
            // The bare loop lies in memory whose calls would be caught.
            .env("LIBHOTPATCH_TRAP", "off")
            .env("LIBHOTPATCH_LOGPATH", "/dev/null");
        if !tactics.is_empty() {
            command.env("LIBHOTPATCH_TACTICS", tactics);
        }
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let (bare, patched) = text.trim().split_once(' ').ok_or("two figures")?;
    Ok((bare.parse()?, patched.parse()?))
}

/// The least of both, and the median of their ratios in each process.
fn row(label: &str, pairs: &[(f64, f64)]) {
    let least = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).fold(f64::INFINITY, f64::min);
    let mut ratios: Vec<f64> = pairs.iter().map(|(bare, patched)| patched / bare).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "{label:<28} {:>9.1} {:>11.1} {:>7.3}",
        least(|pair| pair.0),
        least(|pair| pair.1),
        ratios[ratios.len() / 2]
    );
}

fn calls(library: &Path) -> Result<()> {
    println!(
        "One system call (getppid), {ROUNDS} processes: least of {BURSTS} bursts of {CALLS}, median ratio\n"
    );
    println!(
        "{:<28} {:>9} {:>11} {:>7}",
        "", "bare ns", "patched ns", "ratio"
    );
    let rows = [
        ("direct", "direct", "direct"),
        ("stone", "plain", "stone"),
        ("before", "plain", "before"),
        ("live-stone", "live", "live-stone"),
        ("clobber", "plain", "clobber"),
        ("evict", "evict", "evict"),
        ("whole ladder", "plain", ""),
        ("whole ladder, through libc", "libc", ""),
    ];
    for (label, name, tactics) in rows {
        let pairs = (0..ROUNDS).map(|_| {
            let patched = burst(name, Some((library, tactics)), None)?;
            Ok(match name {
                // The bare loop makes no calls through the library: two processes then.
                "libc" => (burst(name, None, None)?.1, patched.1),
                _ => patched,
            })
        });
        row(label, &pairs.collect::<Result<Vec<_>>>()?);
    }
    println!();
    Ok(())
}

/// Compiles `hooks/bench.c` for one call; hosted where it says which vectors it changes.
fn compile(
    name: &str,
    number: u32,
    verdict: &str,
    flags: &str,
    vectors: Option<&str>,
) -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = env::temp_dir().join(format!("hotpatch-bench-{}-{name}.so", std::process::id()));
    let freestanding = ["-ffreestanding", "-mgeneral-regs-only", "-nostdlib"];
    let kind = match vectors {
        Some(_) => &["-Wl,--no-as-needed"][..],
        None => &freestanding,
    };
    let status = Command::new("gcc")
        .args(["-O2", "-fPIC", "-fno-stack-protector"])
        .args(["-fvisibility=hidden", "-shared", "-Wl,-z,defs"])
        .args(kind)
        .arg(format!("-DVECTORS={}", vectors.unwrap_or("0")))
        .arg(format!("-DNUMBER={number}"))
        .arg(format!("-DVERDICT={verdict}"))
        .arg(format!("-DFLAGS={flags}"))
        .arg("-I")
        .arg(here.join("../include"))
        .arg("-o")
        .arg(&object)
        .arg(here.join("hooks/bench.c"))
        .status()?;
    if !status.success() {
        return Err(format!("the hook {name} does not compile").into());
    }
    Ok(object)
}

/// What a freestanding hook costs. Answered calls never enter the kernel: there the nanoseconds count.
fn hooks(library: &Path) -> Result<()> {
    const GETPPID: u32 = 110;
    const GETPID: u32 = 39;
    const FULL: &str = "0";
    const ARGUMENTS: &str = "HOTPATCH_ARGUMENTS_ONLY";
    const READS: &str = "HOTPATCH_READS_ONLY";
    println!("The same with a hook in C, freestanding\n");
    println!(
        "{:<28} {:>9} {:>11} {:>7}",
        "", "bare ns", "hooked ns", "ratio"
    );
    let rows = [
        ("another call hooked", GETPID, "HOTPATCH_RUN", FULL),
        ("run, reads only", GETPPID, "HOTPATCH_RUN", READS),
        ("run, arguments only", GETPPID, "HOTPATCH_RUN", ARGUMENTS),
        ("run, full frame", GETPPID, "HOTPATCH_RUN", FULL),
        (
            "before and after, reads only",
            GETPPID,
            "HOTPATCH_RUN_AND_RETURN",
            READS,
        ),
        (
            "before and after, arguments",
            GETPPID,
            "HOTPATCH_RUN_AND_RETURN",
            ARGUMENTS,
        ),
        (
            "before and after, full",
            GETPPID,
            "HOTPATCH_RUN_AND_RETURN",
            FULL,
        ),
        ("answered, reads only", GETPPID, "HOTPATCH_ANSWER", READS),
        (
            "answered, arguments only",
            GETPPID,
            "HOTPATCH_ANSWER",
            ARGUMENTS,
        ),
        ("answered, full frame", GETPPID, "HOTPATCH_ANSWER", FULL),
    ];
    for (n, (label, number, verdict, flags)) in rows.into_iter().enumerate() {
        let hook = compile(&n.to_string(), number, verdict, flags, None)?;
        let pairs = (0..ROUNDS).map(|_| burst("plain", Some((library, "")), Some(&hook)));
        let pairs = pairs.collect::<Result<Vec<_>>>();
        let _ = std::fs::remove_file(&hook);
        row(label, &pairs?);
    }
    let hook = compile("threads", GETPPID, "HOTPATCH_RUN", FULL, None)?;
    for threads in [2_usize, 8, 64] {
        let rounds = (ROUNDS as usize / threads).max(3);
        let pairs = (0..rounds).map(|_| bursts("plain", Some((library, "")), Some(&hook), threads));
        row(
            &format!("full frame, {threads} threads"),
            &pairs.collect::<Result<Vec<_>>>()?,
        );
    }
    let _ = std::fs::remove_file(&hook);
    println!();
    hosted(library, GETPPID)
}

/// The same with a hosted hook: what it may change is kept, and its own libc's thread put in, unless it says that it does
/// without.
fn hosted(library: &Path, number: u32) -> Result<()> {
    println!("The same with a hosted hook, full frame\n");
    println!(
        "{:<28} {:>9} {:>11} {:>7}",
        "", "bare ns", "hooked ns", "ratio"
    );
    let (none, ymm, all) = (
        "HOTPATCH_VECTORS_NONE",
        "HOTPATCH_VECTORS_YMM",
        "HOTPATCH_VECTORS_ALL",
    );
    let (run, answer) = ("HOTPATCH_RUN", "HOTPATCH_ANSWER");
    let alone = "HOTPATCH_NO_THREAD_STATE";
    for (n, (label, verdict, flags, vectors)) in [
        ("no vectors, no thread", run, alone, none),
        ("up to ymm, no thread", run, alone, ymm),
        ("all vectors, no thread", run, alone, all),
        ("no vectors", run, "0", none),
        ("up to ymm", run, "0", ymm),
        ("all vectors", run, "0", all),
        ("answered, up to ymm, no thread", answer, alone, ymm),
        ("answered, all vectors", answer, "0", all),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("hosted-{n}");
        let hook = compile(&name, number, verdict, flags, Some(vectors))?;
        let pairs = (0..ROUNDS).map(|_| burst("plain", Some((library, "")), Some(&hook)));
        let pairs = pairs.collect::<Result<Vec<_>>>();
        let _ = std::fs::remove_file(&hook);
        row(label, &pairs?);
    }
    println!();
    Ok(())
}

/// What a process that only sleeps holds: pages in memory, and those that it alone has.
fn memory(library: &Path) -> Result<()> {
    let kilobytes = |patched: bool| -> Result<[u64; 2]> {
        let mut command = Command::new("/bin/sleep");
        command.arg("5");
        if patched {
            command
                .env("LD_PRELOAD", library)
                .env("LIBHOTPATCH_LOGPATH", "/dev/null");
        }
        let mut child = command.spawn()?;
        std::thread::sleep(Duration::from_millis(200));
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id()))?;
        child.kill()?;
        child.wait()?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.ok_or("not in smaps_rollup")
        };
        Ok([of("Rss:")?, of("Private_Dirty:")?])
    };
    // The first one plans and keeps the plans.
    kilobytes(true)?;
    let (bare, patched) = (kilobytes(false)?, kilobytes(true)?);
    println!("Memory of /bin/sleep, kB\n");
    println!("{:<28} {:>9} {:>11} {:>7}", "", "bare", "patched", "added");
    for (n, label) in ["resident", "private, written to"].into_iter().enumerate() {
        let added = patched[n] as i64 - bare[n] as i64;
        println!("{label:<28} {:>9} {:>11} {added:>7}", bare[n], patched[n]);
    }
    println!();
    Ok(())
}

/// How long one start of `program` takes, from spawn to wait; patched by a library that keeps plans in `cache`.
fn start(program: &[&str], patched: Option<(&Path, &Path)>) -> Result<Duration> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).stdout(Stdio::null());
    if let Some((library, cache)) = patched {
        command
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_CACHE", cache)
            .env("LIBHOTPATCH_LOGPATH", "/dev/null");
    }
    let before = Instant::now();
    let status = command.status()?;
    let took = before.elapsed();
    if !status.success() {
        return Err(format!("{} ended with {status}", program[0]).into());
    }
    Ok(took)
}

/// A directory for kept plans, gone at the end.
struct Cache(PathBuf);

impl Cache {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("hotpatch-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn starts(library: &Path) -> Result<()> {
    let cache = Cache::new()?;
    let off = Path::new("off");
    println!("Start-up, minimum and median of {STARTS}, milliseconds");
    println!("(by kept plans, and planning each file anew)\n");
    println!(
        "{:<24} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "bare", "median", "kept", "added", "median", "anew", "added", "median"
    );
    for program in [&["/bin/true"][..], &["/usr/bin/python3", "-c", "pass"]] {
        start(program, Some((library, &cache.0)))?;
        let (mut bare, mut kept, mut anew) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            bare.push(start(program, None)?);
            kept.push(start(program, Some((library, &cache.0)))?);
            anew.push(start(program, Some((library, off)))?);
        }
        let [bare, kept, anew] = [bare, kept, anew].map(|mut times: Vec<Duration>| {
            times.sort_unstable();
            [times[0], times[STARTS / 2]].map(|d| d.as_secs_f64() * 1e3)
        });
        let name = program.join(" ");
        print!("{name:<24} {:>7.3} {:>7.3}", bare[0], bare[1]);
        for [least, median] in [kept, anew] {
            print!(
                " {least:>7.3} {:>7.3} {:>7.3}",
                least - bare[0],
                median - bare[1]
            );
        }
        println!();
    }
    println!("\nThe same, as the library itself counts it (its log of /bin/true):\n");
    for cache in [off, &cache.0] {
        let log = Command::new("/bin/true")
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_CACHE", cache)
            .output()?
            .stderr;
        print!("{}", String::from_utf8_lossy(&log));
    }
    Ok(())
}
