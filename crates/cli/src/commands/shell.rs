//! `hotpatch completions` and `hotpatch man`: what shells and `man` know of the command, from the same source as its help.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Args;

/// Prints what `shell` completes the command by.
pub fn completions(shell: Shell) -> anyhow::Result<i32> {
    // The generator panics where nobody reads.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "hotpatch", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(0)
}

/// Writes a page for the command and one for each of its commands to `dir`.
pub fn man(dir: &Path) -> anyhow::Result<i32> {
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Args::command(), dir));
    written.with_context(|| dir.display().to_string())?;
    Ok(0)
}
