//! `cargo bench`: what a patched call and a patched start cost, as ratios to the bare case.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hotpatch_bench::Loop;

/// Calls in one timed burst, bursts in one process, rounds of processes.
const CALLS: u64 = 20_000;
const BURSTS: u32 = 25;
const ROUNDS: u32 = 12;

/// Starts of each kind that are timed.
const STARTS: usize = 200;

/// The child's part: the least nanoseconds a call, over all bursts.
const CHILD: &str = "HOTPATCH_BENCH_LOOP";

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
    calls(&library)?;
    starts(&library)
}

fn child(name: &str) -> Result<()> {
    let (_, timed) = Loop::ALL
        .into_iter()
        .find(|(n, _)| *n == name)
        .ok_or("no loop of that name")?;
    let bursts = (0..BURSTS).map(|_| timed.time(CALLS));
    println!("{}", bursts.fold(f64::INFINITY, f64::min));
    Ok(())
}

/// One process that times `name`, patched by `tactics` or bare.
fn burst(name: &str, patched: Option<(&Path, &str)>) -> Result<f64> {
    let mut command = Command::new(env::current_exe()?);
    command.env(CHILD, name);
    if let Some((library, tactics)) = patched {
        command
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_LOGPATH", "/dev/null");
        if !tactics.is_empty() {
            command.env("LIBHOTPATCH_TACTICS", tactics);
        }
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn calls(library: &Path) -> Result<()> {
    println!("One system call (getppid), minimum of {ROUNDS} x {BURSTS} bursts of {CALLS}\n");
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
        let (mut bare, mut patched) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            bare = bare.min(burst(name, None)?);
            patched = patched.min(burst(name, Some((library, tactics)))?);
        }
        println!(
            "{label:<28} {bare:>9.1} {patched:>11.1} {:>7.3}",
            patched / bare
        );
    }
    println!();
    Ok(())
}

/// How long one start of `program` takes, from spawn to wait.
fn start(program: &[&str], library: Option<&Path>) -> Result<Duration> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).stdout(Stdio::null());
    if let Some(library) = library {
        command
            .env("LD_PRELOAD", library)
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

fn starts(library: &Path) -> Result<()> {
    println!("Start-up, median and minimum of {STARTS}, milliseconds\n");
    println!(
        "{:<20} {:>9} {:>9} {:>7} {:>9} {:>9}",
        "", "bare", "patched", "added", "least", "added"
    );
    for program in [&["/bin/true"][..], &["/usr/bin/python3", "-c", "pass"]] {
        let (mut bare, mut patched) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            bare.push(start(program, None)?);
            patched.push(start(program, Some(library))?);
        }
        bare.sort_unstable();
        patched.sort_unstable();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let (b, p) = (ms(bare[STARTS / 2]), ms(patched[STARTS / 2]));
        let (bm, pm) = (ms(bare[0]), ms(patched[0]));
        let name = program.join(" ");
        println!(
            "{name:<20} {b:>9.3} {p:>9.3} {:>7.3} {pm:>9.3} {:>9.3}",
            p - b,
            pm - bm
        );
    }
    println!("\nThe same, as the library itself counts it (its log of /bin/true):\n");
    let log = Command::new("/bin/true")
        .env("LD_PRELOAD", library)
        .output()?
        .stderr;
    print!("{}", String::from_utf8_lossy(&log));
    Ok(())
}
