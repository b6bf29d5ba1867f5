//! `/tmp/perf-PID.map`, by which perf names code that lies in no file.
//!
//! Written on request (`LIBHOTPATCH_PERF`), while code is patched: the arena is there.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

use hotpatch_plan::plan::{Emission, Plan};
use linux_raw_sys::general::{S_IFMT, S_IFREG};

use crate::log::Sink;
use crate::object::Loaded;
use crate::sys::{self, disk};

/// Adds the trampolines of an image: first address, length, and the function that each belongs to.
pub fn name(loaded: &Loaded<'_>, path: &[u8], plan: &Plan, emission: &Emission) {
    let Some(file) = open() else { return };
    let base = emission.base.0.wrapping_add(loaded.bias);
    let ends = emission.starts.iter().skip(1).copied();
    let ends = ends.chain([emission.code.len() as u32]);
    let mut lines = String::new();
    for ((start, end), trampoline) in emission.starts.iter().zip(ends).zip(&plan.trampolines) {
        let at = trampoline.span.start;
        let _ = write!(
            lines,
            "{:x} {:x} hotpatch:",
            base + u64::from(*start),
            end - start
        );
        match loaded.image.symbol_at(at) {
            Some((name, _)) => lines.push_str(name),
            None => {
                let file = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
                let _ = write!(lines, "{}+{at}", String::from_utf8_lossy(file));
            }
        }
        lines.push('\n');
    }
    file.write(lines.as_bytes());
}

/// The map, if it is ours: everybody can make files in that directory.
fn open() -> Option<Sink> {
    let path = CString::new(format!("/tmp/perf-{}.map", sys::process_id())).ok()?;
    let file = disk::open_to_append(&path).ok()?;
    let status = disk::status_of(&file).ok()?;
    let ours = status.st_uid == disk::user() && status.st_mode & (S_IFMT | 0o022) == S_IFREG;
    ours.then(|| Sink::own(file))
}
