//! Each hook of `examples/`, built as its README says, on real programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotpatch_tests::library::library;
use hotpatch_tests::{package, scratch};

fn examples() -> PathBuf {
    package().join("../examples").canonicalize().unwrap()
}

/// The hook that `examples/NAME` makes.
fn hook(name: &str) -> PathBuf {
    let project = examples().join(name);
    let out = scratch().join("examples");
    fs::create_dir_all(&out).unwrap();
    let rust = project.join("Cargo.toml").is_file();
    let mut command = Command::new(if rust { "cargo" } else { "make" });
    if rust {
        command.args(["build", "--release", "--quiet"]);
    } else {
        command.args(["--silent", &format!("OUT={}", out.display())]);
    }
    // As a person would start it: without what cargo has set for this test.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let kept = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&&*name);
        if !kept && (name.starts_with("CARGO") || name.starts_with("RUST")) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", &out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    if rust {
        out.join("x86_64-unknown-none/release").join(name)
    } else {
        out.join(format!("{name}.so"))
    }
}

/// What a program printed and how it ended, and what the hook said.
struct Said {
    output: Output,
    lines: Vec<String>,
}

impl Said {
    fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// What follows the hook's name in its lines.
    fn words(&self, name: &str) -> Vec<&str> {
        let words = self.lines.iter().filter_map(|line| {
            line.split_once("]: ")?
                .1
                .strip_prefix(name)?
                .strip_prefix(": ")
        });
        words.collect()
    }
}

/// Runs a command in `dir` with a hook.
fn run(hook: &Path, dir: &Path, command: &[&str], settings: &[(&str, &str)]) -> Said {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let log = scratch().join(format!("examples-{}-{n}.log", std::process::id()));
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir)
        .env("LD_PRELOAD", library())
        .env("LIBHOTPATCH_HOOK", hook)
        .env("LIBHOTPATCH_LOGPATH", "/dev/null")
        .env("LIBHOTPATCH_HOOK_LOGPATH", &log)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let lines = fs::read_to_string(&log)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let _ = fs::remove_file(&log);
    Said { output, lines }
}

/// A directory for one test.
fn place(name: &str) -> PathBuf {
    let place = scratch().join(format!("examples-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    place.canonicalize().unwrap()
}

/// The lines of `words` that count something, by what they count.
fn counted<'a>(words: &[&'a str]) -> Vec<(u64, &'a str)> {
    let counts = words.iter().filter_map(|w| w.trim_start().split_once(' '));
    counts
        .filter_map(|(n, what)| Some((n.parse().ok()?, what)))
        .collect()
}

#[test]
fn count_and_its_twin_in_c_count_alike() {
    let dir = place("count");
    // The file is read by one byte at a time: as many calls as it has bytes, and one for its end.
    fs::write(dir.join("data"), [b'x'; 500]).unwrap();
    for (name, read) in [("count", "read"), ("in-c", "number 0")] {
        let said = run(
            &hook(name),
            &dir,
            &["dd", "if=data", "of=copy", "bs=1", "status=none"],
            &[],
        );
        assert!(said.output.status.success(), "{}", said.err());
        assert_eq!(fs::read(dir.join("copy")).unwrap(), [b'x'; 500]);
        let words = said.words(name);
        let split = words
            .iter()
            .position(|w| *w == "from these instructions:")
            .expect("the second part");
        let (numbers, sites) = (counted(&words[..split]), counted(&words[split..]));
        let (all, numbers) = numbers.split_first().unwrap();
        assert_eq!(all.1, "calls");
        assert_eq!(
            all.0,
            numbers.iter().map(|(n, _)| n).sum::<u64>(),
            "{words:?}"
        );
        let reads = numbers
            .iter()
            .find(|(_, what)| *what == read)
            .expect("reads")
            .0;
        assert!((501..520).contains(&reads), "{words:?}");
        assert!(numbers.windows(2).all(|w| w[0].0 >= w[1].0), "{words:?}");
        assert!(
            sites.len() == 10 && sites[0].0 >= 500 && sites[0].1.contains("/libc.so.6"),
            "{words:?}"
        );
        fs::remove_file(dir.join("copy")).unwrap();
    }
}

#[test]
fn count_tells_processes_apart() {
    let script = "(for i in 1 2 3; do echo $i; done); exit 0";
    let said = run(
        &hook("count"),
        &place("processes"),
        &["bash", "-c", script],
        &[],
    );
    assert_eq!(said.out(), "1\n2\n3\n");
    let totals: Vec<_> = counted(&said.words("count"))
        .into_iter()
        .filter(|(_, what)| *what == "calls")
        .collect();
    assert_eq!(totals.len(), 2, "{:?}", said.lines);
    // The child's counts begin where it does.
    assert!(totals[0].0 < 40, "{:?}", said.lines);
}
