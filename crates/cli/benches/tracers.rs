//! `cargo bench --bench tracers`: what it costs to count and to print all calls of a program, beside other tracers.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds in which all ways are tried by turns; the least of each counts.
const ROUNDS: usize = 7;
/// Those of ways that take many times as long as the program, of which a few per cent do not matter.
const ROUNDS_OF_SLOW: usize = 2;

/// A way to run a program.
struct Way {
    name: &'static str,
    ahead: Vec<String>,
    slow: bool,
}

/// Bytes that `dd` copies one by one, each by two calls: as many as take a second or so.
const BYTES: u32 = 1_000_000;
const FEW_BYTES: u32 = 5_000;
const REQUESTS: &str = "20000";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long a program takes, run that way with a directory of its own.
type Run = fn(&Way, &Path) -> Result<f64>;

const PROGRAMS: [(&str, Run); 7] = [
    ("dd ns/call", dd),
    ("find", |way, _| {
        ms(way, &["find", "/usr/share", "-name", "x"], Path::new("/"))
    }),
    ("git", |way, dir| {
        ms(way, &["git", "status", "--porcelain"], &dir.join("tree"))
    }),
    ("tar", |way, dir| {
        let script = "tar c . | cat >/dev/null"; // into a file it waits for the disk
        ms(way, &["sh", "-c", script], &dir.join("tree"))
    }),
    ("sqlite", |way, dir| {
        let _ = std::fs::remove_file(dir.join("db"));
        ms(way, &["sqlite3", "db", ".read sql"], dir)
    }),
    ("redis", redis),
    ("shell", |way, dir| {
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done";
        ms(way, &["sh", "-c", script], dir)
    }),
];

fn main() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let dir = scratch.path();
    prepare(dir)?;
    let out = dir.join("out").display().to_string();
    let ways = ways(&out);
    println!(
        "Least of {ROUNDS} rounds, or of {ROUNDS_OF_SLOW} of those that are slow; ms, but for dd, and what that is to native\n"
    );
    print!("{:<22}", "");
    for (name, _) in PROGRAMS {
        print!("{name:>11}{:>8}", "");
    }
    println!();
    let mut least = vec![[f64::MAX; PROGRAMS.len()]; ways.len()];
    for round in 0..ROUNDS {
        for (way, least) in ways.iter().zip(&mut least) {
            if way.slow && round >= ROUNDS_OF_SLOW {
                continue;
            }
            for (least, (name, run)) in least.iter_mut().zip(PROGRAMS) {
                let took =
                    run(way, dir).map_err(|error| format!("{}, {name}: {error}", way.name))?;
                *least = least.min(took);
            }
        }
    }
    for (way, of_way) in ways.iter().zip(&least) {
        print!("{:<22}", way.name);
        for (figure, native) in of_way.iter().zip(&least[0]) {
            print!("{figure:>11.1}{:>8.2}", figure / native);
        }
        println!();
    }
    Ok(())
}

fn ways(out: &str) -> Vec<Way> {
    let way = |name, words: &[&str], slow| Way {
        name,
        ahead: words.iter().map(|word| (*word).to_owned()).collect(),
        slow,
    };
    let hotpatch = env!("CARGO_BIN_EXE_hotpatch");
    let mut ways = vec![
        way("native", &[], false),
        way("hotpatch run", &[hotpatch, "run"], false),
        way("hotpatch count", &[hotpatch, "count", "-o", out], false),
        way(
            "hotpatch trace -f",
            &[hotpatch, "trace", "-f", "-o", out],
            false,
        ),
    ];
    let others: [(&str, &[&str], bool); 4] = [
        ("strace -c -f", &["strace", "-c", "-f", "-o", out], true),
        ("strace -f", &["strace", "-f", "-o", out], true),
        (
            // All that a filter can spare is calls that nobody asks for.
            "strace -f open, filter",
            &["strace", "-f", "--seccomp-bpf", "-e", "openat", "-o", out],
            false,
        ),
        ("perf trace", &["perf", "trace", "-o", out], true),
    ];
    for (name, words, slow) in others {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg("true");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            ways.push(way(name, words, slow));
        } else {
            println!("({name} is left out: it does not run here)");
        }
    }
    ways
}

/// Some thousand files, all of them known to git.
fn prepare(dir: &Path) -> Result<()> {
    let mut sql = "pragma synchronous = off; create table t(a, b);\n".to_owned();
    for n in 0..2000 {
        sql += &format!("insert into t values ({n}, 'text {n}');\n");
    }
    std::fs::write(dir.join("sql"), sql)?;
    let script = "mkdir tree && cd tree && cp -rL /usr/include . && git init -q . && git config gc.auto 0 && git add . \
        && git -c user.name=n -c user.email=e commit -qm x";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .status()?;
    made.success()
        .then_some(())
        .ok_or_else(|| "no tree of files".into())
}

fn command(way: &Way, program: &[&str], dir: &Path) -> Command {
    let words: Vec<&str> = way
        .ahead
        .iter()
        .map(String::as_str)
        .chain(program.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(dir)
        .stdout(Stdio::null());
    command
}

/// How many milliseconds the program takes.
fn ms(way: &Way, program: &[&str], dir: &Path) -> Result<f64> {
    time(&mut command(way, program, dir)).map(|took| took.as_secs_f64() * 1e3)
}

fn time(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed();
    match status.success() {
        true => Ok(took),
        false => Err(format!("{command:?}: {status}").into()),
    }
}

/// How many nanoseconds each of the calls takes that copy bytes one by one.
fn dd(way: &Way, dir: &Path) -> Result<f64> {
    let bytes = if way.slow { FEW_BYTES } else { BYTES };
    let run = |count: u32| {
        let count = format!("count={count}");
        let words = [
            "dd",
            "if=/dev/zero",
            "of=/dev/null",
            "bs=1",
            "status=none",
            &count,
        ];
        ms(way, &words, dir)
    };
    let (one, all) = (run(1)?, run(bytes)?);
    Ok((all - one).max(0.0) * 1e6 / (f64::from(bytes) * 2.0))
}

/// How many milliseconds a server takes for what a client asks that is not traced.
fn redis(way: &Way, dir: &Path) -> Result<f64> {
    let socket = dir.join("redis").display().to_string();
    let server = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        &socket,
        "--save",
        "",
    ];
    let mut server = command(way, &server, dir).spawn()?;
    let client = |words: &[&str]| {
        let mut client = Command::new(words[0]);
        client.args(["-s", &socket]).args(&words[1..]);
        client.stdout(Stdio::null()).stderr(Stdio::null());
        client
    };
    let begun = Instant::now();
    while !client(&["redis-cli", "ping"]).status()?.success() {
        if begun.elapsed() > Duration::from_secs(20) || server.try_wait()?.is_some() {
            let _ = server.kill();
            let _ = server.wait();
            return Err("the server does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = time(&mut client(&[
        "redis-benchmark",
        "-t",
        "get",
        "-c",
        "10",
        "-n",
        REQUESTS,
    ]));
    let _ = client(&["redis-cli", "shutdown", "nosave"]).status();
    server.wait()?;
    took.map(|took| took.as_secs_f64() * 1e3)
}
