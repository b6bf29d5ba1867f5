//! Path arguments: which calls have them, and what they name.

use core::fmt::Write as _;

use crate::{Context, Errno, SyscallSet, Text, nr, syscall};

/// The longest path that the kernel takes, with its zero.
pub const MAX: usize = 4096;

/// The directory a relative path begins in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// The process's own.
    Current,
    /// That of the descriptor in this argument.
    Argument(usize),
}

/// A path argument of a system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Where a relative one begins.
    pub from: From,
    /// The argument that points to it.
    pub index: usize,
}

const fn here(index: usize) -> Argument {
    Argument {
        from: From::Current,
        index,
    }
}

const fn at(directory: usize, index: usize) -> Argument {
    Argument {
        from: From::Argument(directory),
        index,
    }
}

/// The paths that a system call takes: none, one or two. The target of a symbolic link to be made is not one of them.
///
/// ```
/// use hotpatch_hook::{nr, path};
/// assert_eq!(path::arguments(nr::RENAMEAT).len(), 2);
/// assert!(path::arguments(nr::READ).is_empty());
/// ```
#[must_use]
pub const fn arguments(number: u32) -> &'static [Argument] {
    match number {
        nr::OPEN
        | nr::CREAT
        | nr::STAT
        | nr::LSTAT
        | nr::ACCESS
        | nr::READLINK
        | nr::UNLINK
        | nr::RMDIR
        | nr::MKDIR
        | nr::MKNOD
        | nr::CHDIR
        | nr::CHMOD
        | nr::CHOWN
        | nr::LCHOWN
        | nr::TRUNCATE
        | nr::STATFS
        | nr::UTIME
        | nr::UTIMES
        | nr::EXECVE
        | nr::CHROOT
        | nr::SETXATTR
        | nr::LSETXATTR
        | nr::GETXATTR
        | nr::LGETXATTR
        | nr::LISTXATTR
        | nr::LLISTXATTR
        | nr::REMOVEXATTR
        | nr::LREMOVEXATTR => &const { [here(0)] },
        nr::SYMLINK | nr::INOTIFY_ADD_WATCH => &const { [here(1)] },
        nr::RENAME | nr::LINK => &const { [here(0), here(1)] },
        nr::OPENAT
        | nr::OPENAT2
        | nr::MKDIRAT
        | nr::MKNODAT
        | nr::FCHOWNAT
        | nr::FUTIMESAT
        | nr::NEWFSTATAT
        | nr::UNLINKAT
        | nr::READLINKAT
        | nr::FCHMODAT
        | nr::FCHMODAT2
        | nr::FACCESSAT
        | nr::FACCESSAT2
        | nr::UTIMENSAT
        | nr::EXECVEAT
        | nr::STATX
        | nr::NAME_TO_HANDLE_AT => &const { [at(0, 1)] },
        nr::SYMLINKAT => &const { [at(1, 2)] },
        nr::RENAMEAT | nr::RENAMEAT2 | nr::LINKAT => &const { [at(0, 1), at(2, 3)] },
        _ => &[],
    }
}

/// The calls that have path arguments.
pub const CALLS: SyscallSet = {
    let (mut calls, mut number) = (SyscallSet::none(), 0);
    while number < 512 {
        if !arguments(number).is_empty() {
            calls = calls.with(&[number]);
        }
        number += 1;
    }
    calls
};

/// The absolute path that an argument names, without `.`, `..` and doubled slashes; a slash at the end stays. Symbolic links are
/// not followed: `a/../b` is `b`, whatever `a` is.
///
/// # Errors
/// `ENOENT` for an empty path (it names a descriptor), `EFAULT`, `ENAMETOOLONG`, or what the kernel says where it is
/// asked for the directory.
pub fn absolute(context: &Context<'_>, argument: Argument) -> Result<Text<MAX>, Errno> {
    let mut buffer = [0; MAX];
    let path = context.read_string(context.argument(argument.index), &mut buffer)?;
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut whole = Text::new();
    if path[0] != b'/' {
        let mut start = [0; MAX];
        let directory = match argument.from {
            From::Argument(index) if context.argument(index) as i32 != CURRENT => {
                directory_of(context.argument(index) as i32, &mut start)?
            }
            _ => current(&mut start)?,
        };
        append(&mut whole, directory)?;
    }
    append(&mut whole, path)?;
    if whole.bytes().is_empty() || path.ends_with(b"/") {
        whole.push(b"/");
    }
    Ok(whole)
}

/// `AT_FDCWD`
const CURRENT: i32 = -100;

/// The process's directory.
fn current(buffer: &mut [u8; MAX]) -> Result<&[u8], Errno> {
    let arguments = [buffer.as_mut_ptr().addr() as u64, MAX as u64, 0, 0, 0, 0];
    // SAFETY: writes to `buffer`.
    let len = unsafe { syscall(nr::GETCWD, arguments) }? as usize;
    buffer
        .get(..len.saturating_sub(1))
        .ok_or(Errno::ENAMETOOLONG)
}

/// The directory behind a descriptor.
fn directory_of(descriptor: i32, buffer: &mut [u8; MAX]) -> Result<&[u8], Errno> {
    let mut name = Text::<32>::new();
    let _ = write!(name, "/proc/self/fd/{descriptor}\0");
    let arguments = [
        name.bytes().as_ptr().addr() as u64,
        buffer.as_mut_ptr().addr() as u64,
        MAX as u64,
        0,
        0,
        0,
    ];
    // SAFETY: reads `name`, writes to `buffer`.
    let len = unsafe { syscall(nr::READLINK, arguments) }? as usize;
    buffer.get(..len).ok_or(Errno::ENAMETOOLONG)
}

/// Adds the parts of `path` to a whole one.
fn append(whole: &mut Text<MAX>, path: &[u8]) -> Result<(), Errno> {
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = whole.bytes().iter().rposition(|b| *b == b'/');
                whole.truncate(parent.unwrap_or(0));
            }
            // One byte stays for the zero.
            part if whole.bytes().len() + part.len() + 2 <= MAX => {
                whole.push(b"/");
                whole.push(part);
            }
            _ => return Err(Errno::ENAMETOOLONG),
        }
    }
    Ok(())
}

/// What of `path` lies below `directory`: empty, or beginning with a slash. Both are as [`absolute`] makes them.
///
/// ```
/// use hotpatch_hook::path::below;
/// assert_eq!(below(b"/etc/passwd", b"/etc"), Some(&b"/passwd"[..]));
/// assert_eq!(below(b"/etc", b"/etc/"), Some(&b""[..]));
/// assert_eq!(below(b"/etcetera", b"/etc"), None);
/// assert_eq!(below(b"/etc", b"/"), Some(&b"/etc"[..]));
/// ```
#[must_use]
pub fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    path.strip_prefix(directory)
        .filter(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(start: &[u8], path: &[u8]) -> std::string::String {
        let mut whole = Text::new();
        append(&mut whole, start).unwrap();
        append(&mut whole, path).unwrap();
        std::string::String::from_utf8(whole.bytes().to_vec()).unwrap()
    }

    #[test]
    fn paths_become_whole() {
        for (start, path, expected) in [
            ("/a/b", "c", "/a/b/c"),
            ("/a/b", "../c//./d/", "/a/c/d"),
            ("", "/a/../../b", "/b"),
            ("/", "..", ""),
            ("/a", ".", "/a"),
        ] {
            assert_eq!(joined(start.as_bytes(), path.as_bytes()), expected);
        }
        let mut whole = Text::new();
        assert_eq!(append(&mut whole, &[b'x'; MAX]), Err(Errno::ENAMETOOLONG));
        assert_eq!(append(&mut whole, &[b'x'; MAX - 2]), Ok(()));
        assert_eq!(append(&mut whole, b"y"), Err(Errno::ENAMETOOLONG));
    }
}
