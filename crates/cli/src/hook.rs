//! Hooks as the command line names them: looked at before the program runs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hotpatch_runtime::hook_file::HookFile;

use crate::style::without_number;

/// A hook that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("hook {path}: {why}", path = .path.display())]
pub struct NotUsed {
    path: PathBuf,
    why: String,
}

impl NotUsed {
    /// The exit status it has.
    pub const STATUS: i32 = 126;
}

/// What the library takes to load these.
#[derive(Debug, Default)]
pub struct Hooks {
    /// Absolute paths, separated by colons.
    pub list: OsString,
    /// One needs libraries, which the program's loader has to load.
    pub hosted: bool,
}

/// Looks at these.
pub fn list(paths: &[PathBuf]) -> Result<Hooks, NotUsed> {
    let Hooks {
        mut list,
        mut hosted,
    } = Hooks::default();
    for path in paths {
        let (absolute, is_hosted) = check(path).map_err(|why| NotUsed {
            path: path.clone(),
            why,
        })?;
        if !list.is_empty() {
            list.push(":");
        }
        list.push(absolute);
        hosted |= is_hosted;
    }
    Ok(Hooks { list, hosted })
}

/// Its absolute path, and whether it is hosted.
fn check(path: &Path) -> Result<(PathBuf, bool), String> {
    let read = || {
        let absolute = std::path::absolute(path)?;
        Ok::<_, std::io::Error>((std::fs::read(path)?, absolute))
    };
    let (bytes, absolute) =
        read().map_err(|error| without_number(&error.to_string()).to_owned())?;
    let file = HookFile::parse(&bytes).map_err(|why| why.to_string())?;
    if absolute.as_os_str().as_bytes().contains(&b':') {
        return Err("a path with a colon, which separates hooks".to_owned());
    }
    Ok((absolute, file.hosted))
}
