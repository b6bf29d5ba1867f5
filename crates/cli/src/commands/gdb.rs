//! `hotpatch gdb`: gdb, with what it needs to see through trampolines and hooks.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use crate::args::Gdb;
use crate::cache;

/// What gdb is told; see there.
const SCRIPT: &str = include_str!("gdb.py");

/// Becomes gdb, or prints the script.
pub fn run(args: &Gdb) -> anyhow::Result<i32> {
    if args.script {
        let mut out = std::io::stdout().lock();
        out.write_all(SCRIPT.as_bytes())?;
        out.flush()?;
        return Ok(0);
    }
    let script = cache::gdb_script(&cache::prepare()?, SCRIPT)?;
    let mut source = OsString::from("source ");
    source.push(script);
    let error = Command::new("gdb")
        .arg("-iex")
        .arg(source)
        .args(["-ex", "hotpatch-symbols"])
        .args(&args.arguments)
        .exec();
    Err(error).context("gdb")
}
