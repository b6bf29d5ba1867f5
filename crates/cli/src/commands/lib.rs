//! `hotpatch lib`: where the library is, for `LD_PRELOAD=$(hotpatch lib)`.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::cache;

/// Prints the path of the library, writing it first where it is not there yet.
pub fn run() -> anyhow::Result<i32> {
    let path = cache::library()?;
    let mut out = std::io::stdout().lock();
    out.write_all(path.as_os_str().as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(0)
}
