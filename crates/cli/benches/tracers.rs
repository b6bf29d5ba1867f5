//! `cargo bench --bench tracers`: what it costs to count and to print all calls of a program, beside strace.

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds in which all ways are tried by turns; the least of each counts.
const ROUNDS: usize = 7;

/// A way to run a program.
struct Way {
    name: &'static str,
    ahead: Vec<String>,
    /// How many bytes are copied one by one.
    bytes: u32,
}

/// Bytes that are copied one by one, each by two calls: as many as take a second or so.
const BYTES: u32 = 1_000_000;
const FEW_BYTES: u32 = 5_000;

const FIND: [&str; 4] = ["find", "/usr/share", "-name", "x"];
const SHELL: [&str; 3] = [
    "sh",
    "-c",
    "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done",
];

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("out").display().to_string();
    let ours = |words: &[&str]| -> Vec<String> {
        let words = [&[env!("CARGO_BIN_EXE_hotpatch")], words].concat();
        words.into_iter().map(String::from).collect()
    };
    let strace = |words: &[&str]| -> Vec<String> {
        let words = [&["strace", "-f"], words].concat();
        words.into_iter().map(String::from).collect()
    };
    let way = |name, ahead, bytes| Way { name, ahead, bytes };
    let mut ways = vec![
        way("native", Vec::new(), BYTES),
        way("hotpatch run", ours(&["run"]), BYTES),
        way("hotpatch count", ours(&["count", "-o", &out]), BYTES),
        way(
            "hotpatch trace -f",
            ours(&["trace", "-f", "-o", &out]),
            BYTES,
        ),
    ];
    let asked = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    if asked.is_ok_and(|status| status.success()) {
        ways.push(way("strace -c -f", strace(&["-c", "-o", &out]), FEW_BYTES));
        ways.push(way("strace -f", strace(&["-o", &out]), FEW_BYTES));
    }
    println!(
        "Least of {ROUNDS} rounds; dd copies bytes one by one, the shell starts 10 programs\n"
    );
    println!(
        "{:<20}{:>12}{:>8}{:>12}{:>8}{:>12}{:>8}",
        "", "dd ns/call", "ratio", "find ms", "ratio", "shell ms", "ratio"
    );
    let mut least = vec![[Duration::MAX; 4]; ways.len()];
    for _ in 0..ROUNDS {
        for (way, least) in ways.iter().zip(&mut least) {
            let copies = |bytes: u32| format!("count={bytes}");
            let (one, all) = (copies(1), copies(way.bytes));
            let dd = |count| {
                vec![
                    "dd",
                    "if=/dev/zero",
                    "of=/dev/null",
                    "bs=1",
                    "status=none",
                    count,
                ]
            };
            for (least, program) in
                least
                    .iter_mut()
                    .zip([dd(&one), dd(&all), FIND.to_vec(), SHELL.to_vec()])
            {
                *least = time(&way.ahead, &program)?.min(*least);
            }
        }
    }
    let figures: Vec<[f64; 3]> = ways
        .iter()
        .zip(&least)
        .map(|(way, [one, all, find, shell])| {
            let calls = f64::from(way.bytes) * 2.0;
            let copying = all.saturating_sub(*one).as_secs_f64() * 1e9 / calls;
            [copying, find.as_secs_f64() * 1e3, shell.as_secs_f64() * 1e3]
        })
        .collect();
    for (way, figures_of) in ways.iter().zip(&figures) {
        print!("{:<20}", way.name);
        for (n, figure) in figures_of.iter().enumerate() {
            print!("{figure:>12.1}{:>8.2}", figure / figures[0][n]);
        }
        println!();
    }
    Ok(())
}

fn time(ahead: &[String], program: &[&str]) -> Result<Duration, Box<dyn Error>> {
    let words: Vec<&str> = ahead
        .iter()
        .map(String::as_str)
        .chain(program.iter().copied())
        .collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed();
    if !status.success() {
        return Err(format!("{words:?}: {status}").into());
    }
    Ok(took)
}
