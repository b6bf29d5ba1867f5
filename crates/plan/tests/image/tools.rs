//! Running other programs, and building files to look at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use hotpatch_plan::addr::{Span, Va};

/// This machine's C library.
pub const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
/// This machine's dynamic loader.
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// What a program prints; it must succeed.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off");
    let output = command.output().unwrap_or_else(|e| {
        let package = match program {
            "readelf" | "nm" | "objdump" | "strip" => "binutils",
            "musl-gcc" => "musl-tools",
            "go" => "golang-go",
            other => other,
        };
        panic!("cannot run {program} ({e}): apt-get install {package}, or run .ci/run once")
    });
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {complaint}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory that is removed in the end.
pub struct Workshop(PathBuf);

impl Workshop {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "hotpatch-image-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a source and compiles it; the path of what came out.
    pub fn build(&self, compiler: &str, flags: &str, name: &str, source: &str) -> String {
        let (input, result) = (self.file(name), self.file(&format!("{name}.out")));
        std::fs::write(&input, source).unwrap();
        let mut arguments: Vec<&str> = flags.split_whitespace().collect();
        arguments.extend(["-o", &result, &input]);
        output(compiler, &arguments);
        result
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // a directory left behind in the temporary directory does no harm
        drop(std::fs::remove_dir_all(Path::new(&self.0)));
    }
}

pub fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits.trim_start_matches("0x"), 16)
        .unwrap_or_else(|e| panic!("{digits}: {e}"))
}

/// `FDE … pc=start..end`, as readelf prints them.
pub fn fdes(path: &str) -> Vec<Span> {
    let printed = output("readelf", &["-wFN", path]);
    let spans = printed.lines().filter_map(|line| {
        let (start, end) = line.split_once(" pc=")?.1.trim().split_once("..")?;
        Some(Span {
            start: Va(hex(start)),
            end: Va(hex(end)),
        })
    });
    spans.filter(|span| !span.is_empty()).collect()
}

/// One line of `readelf -s`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    pub at: Va,
    pub size: u64,
    pub name: String,
}

/// Defined functions that readelf lists under `option` (`-s`: all, `--dyn-syms`).
pub fn function_symbols(path: &str, option: &str) -> Vec<Symbol> {
    let printed = output("readelf", &["-W", option, path]);
    let symbols = printed.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?.strip_suffix(':')?.parse::<u32>().ok()?;
        let (at, size) = (words.next()?, words.next()?);
        let (kind, section) = (words.next()?, words.nth(2)?);
        let function = matches!(kind, "FUNC" | "IFUNC") && !matches!(section, "UND" | "ABS");
        let size = size
            .strip_prefix("0x")
            .map_or_else(|| size.parse().unwrap(), hex);
        let name = words.next()?.split('@').next()?.to_owned();
        function.then(|| Symbol {
            at: Va(hex(at)),
            size,
            name,
        })
    });
    // .dynsym and .symtab both list what is exported
    symbols.collect::<BTreeSet<Symbol>>().into_iter().collect()
}

/// The value of the symbol `name` of any type.
pub fn address_of(path: &str, name: &str) -> Va {
    let printed = output("nm", &[path]);
    let line = printed
        .lines()
        .find(|line| line.ends_with(&format!(" {name}")));
    Va(hex(line
        .unwrap_or_else(|| panic!("{path} has no {name}"))
        .split(' ')
        .next()
        .unwrap()))
}
