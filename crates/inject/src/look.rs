//! What an exec would start: decided before it, as a tracer silently takes privileges away.
//!
//! # Safety
//! I18: reads what its caller lends.

use core::ffi::CStr;

use linux_raw_sys::general as k;

use crate::sys::call;

/// What an exec would start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A program that the runtime can be started in.
    Program {
        /// A loader starts it, which heeds `LD_PRELOAD`.
        loader: bool,
    },
    /// It runs with more rights than its caller.
    Privileged,
    /// It is not for the 64-bit mode of x86-64.
    OtherMachine,
    /// It may be executed but not read.
    Unreadable,
}

/// Bytes of a file that are looked at: its headers, as far as compilers go, or a `#!` line.
const HEAD: usize = 1024;
/// The kernel itself follows no more.
const INTERPRETERS: usize = 5;

/// Looks at `path`, and through the `#!` lines of scripts.
#[must_use]
pub fn look(path: &CStr) -> Kind {
    look_at(k::AT_FDCWD, path.as_ptr().addr(), 0)
}

/// The same for what `execveat` takes; `path` is an address, which may be bad.
#[must_use]
pub fn look_at(directory: i32, path: usize, flags: u32) -> Kind {
    let mut name;
    let mut from = (directory as isize as usize, path, flags);
    for _ in 0..=INTERPRETERS {
        let mut head = [0u8; HEAD];
        let kind = look_once(from, &mut head);
        match kind {
            Ok(kind) => return kind,
            Err(()) => {
                let line = head.get(2..255).unwrap_or(&[]);
                let blank = |b: &u8| matches!(b, b' ' | b'\t');
                let start = line.iter().position(|b| !blank(b)).unwrap_or(0);
                let word = line.get(start..).unwrap_or(&[]);
                let ends = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | 0);
                let len = word.iter().position(ends).unwrap_or(word.len());
                name = [0; 256];
                for (to, from) in name.iter_mut().zip(word.get(..len).unwrap_or(&[])) {
                    *to = *from;
                }
                from = (k::AT_FDCWD as isize as usize, name.as_ptr().addr(), 0);
            }
        }
    }
    Kind::OtherMachine
}

/// `Err` where it is a script, whose first bytes are in `head`.
fn look_once(
    (directory, path, flags): (usize, usize, u32),
    head: &mut [u8; HEAD],
) -> Result<Kind, ()> {
    let open = k::O_CLOEXEC | k::O_NONBLOCK | k::O_NOCTTY;
    // A descriptor that was opened for its path alone cannot be read: it is opened again.
    let own = flags & k::AT_EMPTY_PATH != 0;
    let mut link = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0";
    let (at, name) = if own {
        number(directory, link.get_mut(14..24).unwrap_or(&mut []));
        (k::AT_FDCWD as isize as usize, link.as_ptr().addr())
    } else {
        (directory, path)
    };
    // To open a device is to do something to it.
    if !is_file(at, name) {
        return Ok(Kind::Unreadable);
    }
    // SAFETY: the kernel judges the path.
    let fd = unsafe { call(k::__NR_openat, [at, name, open as usize, 0]) };
    let Ok(fd) = usize::try_from(fd) else {
        return Ok(Kind::Unreadable);
    };
    let kind = look_open(fd, head);
    // SAFETY: our own.
    unsafe { call(k::__NR_close, [fd]) };
    kind
}

fn is_file(directory: usize, name: usize) -> bool {
    // SAFETY: all zeros is a `stat`.
    let mut stat: k::stat = unsafe { core::mem::zeroed() };
    // SAFETY: writes `stat`; the kernel judges the path.
    let got = unsafe {
        call(
            k::__NR_newfstatat,
            [directory, name, (&raw mut stat).addr(), 0],
        )
    };
    got == 0 && stat.st_mode & k::S_IFMT == k::S_IFREG
}

fn number(mut value: usize, to: &mut [u8]) {
    let digits = core::iter::successors(Some(value), |v| (*v > 9).then_some(v / 10)).count();
    for to in to.iter_mut().take(digits).rev() {
        *to = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

fn look_open(fd: usize, head: &mut [u8; HEAD]) -> Result<Kind, ()> {
    // SAFETY: all zeros is a `stat`.
    let mut stat: k::stat = unsafe { core::mem::zeroed() };
    // SAFETY: writes `stat`.
    if unsafe { call(k::__NR_fstat, [fd, (&raw mut stat).addr()]) } < 0 {
        return Ok(Kind::Unreadable);
    }
    // SAFETY: writes `head`.
    let got = unsafe { call(k::__NR_pread64, [fd, head.as_mut_ptr().addr(), HEAD, 0]) };
    if got < 20 && !head.starts_with(b"#!") {
        return Ok(Kind::OtherMachine);
    }
    if head.starts_with(b"#!") {
        return Err(());
    }
    if !head.starts_with(b"\x7fELF\x02\x01") || head.get(18..20) != Some(&[62, 0]) {
        return Ok(Kind::OtherMachine);
    }
    // SAFETY: reads no memory, as below.
    let id = |number| unsafe { call(number, []) }.unsigned_abs() as u32;
    let user = stat.st_mode & 0o4000 != 0 && stat.st_uid != id(k::__NR_getuid);
    let group = stat.st_mode & 0o2010 == 0o2010 && stat.st_gid != id(k::__NR_getgid);
    let name = c"security.capability".as_ptr().addr();
    // SAFETY: reads the name alone.
    let capable = unsafe { call(k::__NR_fgetxattr, [fd, name, 0, 0]) } > 0;
    Ok(if user || group || capable {
        Kind::Privileged
    } else {
        Kind::Program {
            loader: names_loader(head),
        }
    })
}

/// Whether one of the program headers at the file's start names an interpreter.
fn names_loader(head: &[u8; HEAD]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| {
        head.get(at..)?
            .first_chunk()
            .map(|b| u16::from_le_bytes(*b))
    };
    let word = |at: usize| {
        head.get(at..)?
            .first_chunk()
            .map(|b| u32::from_le_bytes(*b))
    };
    let (first, count) = (word(32).unwrap_or(0) as usize, half(56).unwrap_or(0));
    let kinds = (0..usize::from(count)).map_while(|n| word(first.checked_add(56 * n)?));
    kinds.into_iter().any(|kind| kind == PT_INTERP)
}
