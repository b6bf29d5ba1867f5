//! Builds the library for its own target and hands its path to the compiler, so that the command
//! carries it inside.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// What the library is made of.
const SOURCES: [&str; 11] = [
    "crates/abi",
    "crates/events",
    "crates/hook",
    "crates/inject",
    "crates/link",
    "crates/names",
    "crates/plan",
    "crates/runtime",
    "crates/trace",
    "Cargo.toml",
    "Cargo.lock",
];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let package =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = package
        .ancestors()
        .nth(2)
        .expect("the package is in crates/")
        .to_owned();
    for source in SOURCES {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(source).display()
        );
    }
    let options = hotpatch_link::Options {
        workspace,
        target_dir: target_dir(&out),
    };
    let library = out.join(hotpatch_link::OBJECT);
    let object = hotpatch_link::build(&options).unwrap_or_else(|error| fail(&error.to_string()));
    fs::copy(object, &library).unwrap_or_else(|error| fail(&error.to_string()));
    let bytes = fs::read(&library).unwrap_or_else(|error| fail(&error.to_string()));
    println!("cargo::rustc-env=HOTPATCH_LIBRARY={}", library.display());
    let hook = out.join(hotpatch_link::TRACE);
    let object =
        hotpatch_link::build_trace(&options).unwrap_or_else(|error| fail(&error.to_string()));
    fs::copy(object, &hook).unwrap_or_else(|error| fail(&error.to_string()));
    println!("cargo::rustc-env=HOTPATCH_TRACE={}", hook.display());
    let both = [
        bytes,
        fs::read(&hook).unwrap_or_else(|error| fail(&error.to_string())),
    ]
    .concat();
    println!("cargo::rustc-env=HOTPATCH_LIBRARY_HASH={:016x}", fnv(&both));
}

/// A directory of its own, for this cargo holds the lock of the usual one; beside the usual profiles,
/// so that debug and release builds of the command share one library.
fn target_dir(out: &Path) -> PathBuf {
    let target = out
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(out).join("runtime")
}

/// FNV-1a. It only tells versions apart: content is compared before use.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    process::exit(1)
}
