//! Files by path, for the cache: each call works on one name, and none follows a link at its end.
//!
//! # Safety
//! As `sys.rs`.

use core::ffi::CStr;

use linux_raw_sys::general as k;

use super::{Fd, Result, call, retry};

const HERE: usize = k::AT_FDCWD as isize as usize;

/// What is known of the file at `path` itself, be it a link.
pub fn status(path: &CStr) -> Result<k::stat> {
    status_at(HERE, path, k::AT_SYMLINK_NOFOLLOW)
}

/// What is known of an open file.
pub fn status_of(file: &Fd) -> Result<k::stat> {
    status_at(file.raw() as usize, c"", k::AT_EMPTY_PATH)
}

fn status_at(at: usize, path: &CStr, flags: u32) -> Result<k::stat> {
    // SAFETY: all zeros is a `stat`.
    let mut stat: k::stat = unsafe { core::mem::zeroed() };
    let arguments = [
        at,
        path.as_ptr().addr(),
        (&raw mut stat).addr(),
        flags as usize,
    ];
    // SAFETY: reads the path, writes to `stat`.
    unsafe { call(k::__NR_newfstatat, arguments) }?;
    Ok(stat)
}

fn open(path: &CStr, flags: u32) -> Result<Fd> {
    let flags = flags | k::O_NOFOLLOW | k::O_CLOEXEC | k::O_NOCTTY | k::O_NONBLOCK;
    let arguments = [HERE, path.as_ptr().addr(), flags as usize, 0o600];
    // SAFETY: reads `path`.
    unsafe { call(k::__NR_openat, arguments) }.map(|fd| Fd(fd as u32))
}

/// Opens a file to read it.
pub fn open_to_read(path: &CStr) -> Result<Fd> {
    open(path, k::O_RDONLY)
}

/// Makes a file that was not there, which its owner alone can read.
pub fn create(path: &CStr) -> Result<Fd> {
    open(path, k::O_WRONLY | k::O_CREAT | k::O_EXCL)
}

/// Opens a file to add to it; makes it, for its owner alone, where there is none.
pub fn open_to_append(path: &CStr) -> Result<Fd> {
    open(path, k::O_WRONLY | k::O_CREAT | k::O_APPEND)
}

/// Makes a directory that its owner alone can use.
pub fn make_directory(path: &CStr) -> Result<()> {
    let arguments = [HERE, path.as_ptr().addr(), 0o700];
    // SAFETY: reads `path`.
    unsafe { call(k::__NR_mkdirat, arguments) }.map(drop)
}

/// Gives the file at `from` the name `to`, whatever had that name before.
pub fn rename(from: &CStr, to: &CStr) -> Result<()> {
    let arguments = [HERE, from.as_ptr().addr(), HERE, to.as_ptr().addr()];
    // SAFETY: reads both paths.
    unsafe { call(k::__NR_renameat, arguments) }.map(drop)
}

/// Removes a name.
pub fn remove(path: &CStr) -> Result<()> {
    // SAFETY: reads `path`.
    unsafe { call(k::__NR_unlinkat, [HERE, path.as_ptr().addr(), 0]) }.map(drop)
}

/// Calls `each` with every name in the directory at `path`, `.` and `..` among them.
pub fn names(path: &CStr, buffer: &mut [u8], mut each: impl FnMut(&CStr)) -> Result<()> {
    // ino, off, reclen, type: the name follows.
    const HEADER: usize = 19;
    let directory = open(path, k::O_RDONLY | k::O_DIRECTORY)?;
    loop {
        let arguments = [
            directory.raw() as usize,
            buffer.as_mut_ptr().addr(),
            buffer.len(),
        ];
        // SAFETY: writes to `buffer`.
        let len = retry(|| unsafe { call(k::__NR_getdents64, arguments) })?;
        let mut rest = buffer.get(..len).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(());
        }
        while let Some(&[a, b]) = rest.get(16..18) {
            let record = usize::from(u16::from_le_bytes([a, b]));
            let name = rest.get(HEADER..record).unwrap_or(&[]);
            if let Ok(name) = CStr::from_bytes_until_nul(name) {
                each(name);
            }
            // A record is never empty; if one were, this would not end.
            rest = rest.get(record.max(HEADER)..).unwrap_or(&[]);
        }
    }
}

/// Whose rights the process has.
#[must_use]
pub fn user() -> u32 {
    // SAFETY: reads no memory.
    unsafe { call(k::__NR_geteuid, []) }.map_or(u32::MAX, |id| id as u32)
}

/// Seconds since 1970.
#[must_use]
pub fn today() -> u64 {
    let mut time = k::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [k::CLOCK_REALTIME as usize, (&raw mut time).addr()];
    // SAFETY: writes to `time`.
    let _ = unsafe { call(k::__NR_clock_gettime, arguments) };
    time.tv_sec.cast_unsigned()
}
