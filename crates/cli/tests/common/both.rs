//! Programs run natively and with the library started in them.
#![allow(
    dead_code,
    reason = "each file of tests is a program of its own and uses its part"
)]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

pub use crate::common::compile;
use crate::common::{Place, text};

/// Prints what a program may look at.
pub const LOOKS: &str = include_str!("looks.c");
/// Execs in the way that its first argument says.
pub const WAYS: &str = include_str!("ways.c");

pub fn log(place: &Place) -> String {
    std::fs::read_to_string(place.dir.path().join("log")).unwrap_or_default()
}

pub fn patched(place: &Place, words: &[&str]) -> Output {
    let _ = std::fs::remove_file(place.dir.path().join("log"));
    let mut command = place.hotpatch();
    let path = place.dir.path().join("log");
    command
        .args(["run", "--log", path.to_str().unwrap(), "--"])
        .args(words);
    command.output().unwrap()
}

pub fn native(place: &Place, words: &[&str]) -> Output {
    // The command's own environment, set by the same hand.
    let mut command = Command::new(words[0]);
    let ours = place.hotpatch();
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(&words[1..]).output().unwrap()
}

/// Runs it both ways: they must agree, and `programs` programs be patched.
pub fn agree(place: &Place, words: &[&str], programs: usize) {
    let (native, patched) = (native(place, words), patched(place, words));
    let log = log(place);
    assert_eq!(
        text(&patched.stdout),
        text(&native.stdout),
        "{words:?}\n{log}"
    );
    assert_eq!(
        text(&patched.stderr),
        text(&native.stderr),
        "{words:?}\n{log}"
    );
    assert_eq!(
        patched.status.code(),
        native.status.code(),
        "{words:?}\n{log}"
    );
    assert_eq!(
        patched.status.signal(),
        native.status.signal(),
        "{words:?}\n{log}"
    );
    let totals = log.lines().filter(|line| line.contains(" files, "));
    assert_eq!(totals.count(), programs, "{words:?}\n{log}");
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
