//! The program to run: where it is, why it cannot be run, and whether `LD_PRELOAD` reaches it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use object::LittleEndian as LE;
use object::elf::{EM_X86_64, FileHeader64};
use object::read::elf::FileHeader;

/// A program that cannot be run, in the words of a shell.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {why}", name = .name.display())]
pub struct NotRun {
    name: OsString,
    why: &'static str,
    /// 127 where there is no such program, 126 where it cannot be executed.
    pub status: i32,
}

impl NotRun {
    fn new(name: &OsStr, why: &'static str, status: i32) -> Self {
        Self {
            name: name.to_owned(),
            why,
            status,
        }
    }

    /// What the kernel answered to an exec of `path`.
    pub fn from_exec(name: &OsStr, path: &Path, errno: Errno) -> Self {
        match errno {
            Errno::ENOENT if path.exists() => {
                Self::new(name, "cannot execute: required file not found", 127)
            }
            Errno::ENOENT => Self::new(name, "No such file or directory", 127),
            Errno::ENOEXEC => Self::new(name, "cannot execute binary file: Exec format error", 126),
            errno => Self::new(name, errno.desc(), 126),
        }
    }
}

/// Finds `name` as a shell does.
pub fn find(name: &OsStr) -> Result<PathBuf, NotRun> {
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match executable(&path) {
            Ok(()) => Ok(path),
            Err(Errno::ENOENT) => Err(NotRun::new(name, "No such file or directory", 127)),
            Err(Errno::ENOTDIR) => Err(NotRun::new(name, "Not a directory", 126)),
            Err(Errno::EISDIR) => Err(NotRun::new(name, "Is a directory", 126)),
            Err(errno) => Err(NotRun::new(name, errno.desc(), 126)),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut denied = false;
    for dir in std::env::split_paths(&path).filter(|_| !name.is_empty()) {
        // An empty entry is the current directory, and must not become a bare name again.
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &dir
        };
        let candidate = dir.join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied |= candidate.is_file(),
            Err(_) => {}
        }
    }
    Err(if denied {
        NotRun::new(name, "Permission denied", 126)
    } else {
        NotRun::new(name, "command not found", 127)
    })
}

fn executable(path: &Path) -> Result<(), Errno> {
    let metadata = std::fs::metadata(path)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    access(path, AccessFlags::X_OK)
}

/// Whether the kernel's "Exec format error" means a script without `#!`, which shells run themselves.
pub fn is_plain_script(path: &Path) -> bool {
    let start = start_of(path).unwrap_or_default();
    let line = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    !start.starts_with(b"\x7fELF") && !line.contains(&0)
}

/// Whether the library can be started in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It can.
    Program,
    /// It runs with more rights than its caller, which whoever looks into it would take away.
    Privileged,
    /// It is not a program for x86-64 in its 64-bit mode.
    OtherMachine,
    /// It may be executed but not read.
    Unreadable,
}

impl Reach {
    /// Why it ran natively, unless it did not.
    pub fn why_native(self) -> Option<&'static str> {
        Some(match self {
            Self::Program => return None,
            Self::Privileged => "it runs with rights of its own (setuid, setgid or capabilities)",
            Self::OtherMachine => "it is not a program for 64-bit x86-64",
            Self::Unreadable => "it cannot be read",
        })
    }
}

/// Looks at what an exec of `path` would start, through the `#!` lines of scripts.
pub fn reach(path: &Path) -> Reach {
    let mut path = path.to_owned();
    // The kernel itself follows no more than five.
    for _ in 0..5 {
        let (Ok(metadata), Ok(start)) = (std::fs::metadata(&path), start_of(&path)) else {
            return Reach::Unreadable;
        };
        let Some(interpreter) = interpreter(&start) else {
            return reach_of_elf(&path, &metadata, &start);
        };
        path = interpreter;
    }
    Reach::OtherMachine
}

fn interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let word = line
        .trim_ascii()
        .split(|byte| byte.is_ascii_whitespace())
        .next()?;
    Some(PathBuf::from(OsStr::from_bytes(word)))
}

fn reach_of_elf(path: &Path, metadata: &Metadata, start: &[u8]) -> Reach {
    if !start.starts_with(b"\x7fELF") {
        // A script without `#!`: a shell runs it.
        return Reach::Program;
    }
    let Ok(header) = FileHeader64::<LE>::parse(start) else {
        return Reach::OtherMachine;
    };
    if header.e_machine(LE) != EM_X86_64 {
        return Reach::OtherMachine;
    }
    let mode = metadata.permissions().mode();
    let gains_user = mode & 0o4000 != 0 && metadata.uid() != nix::unistd::getuid().as_raw();
    let gains_group = mode & 0o2010 == 0o2010 && metadata.gid() != nix::unistd::getgid().as_raw();
    if gains_user || gains_group || has_capabilities(path) {
        return Reach::Privileged;
    }
    Reach::Program
}

/// Whether the file carries capabilities, which make its dynamic linker distrust the environment.
fn has_capabilities(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else {
        return false;
    };
    // SAFETY: both strings end in a zero byte; a null buffer of length 0 only asks for the size.
    let size = unsafe {
        nix::libc::getxattr(
            path.as_ptr(),
            c"security.capability".as_ptr(),
            std::ptr::null_mut(),
            0,
        )
    };
    size > 0
}

/// The first bytes of a file: enough for an ELF header with its program headers, or a `#!` line.
fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    // Opening a FIFO would wait for somebody to write to it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    File::open(path)?.take(16 * 1024).read_to_end(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_the_first_word() {
        let of = |line: &str| interpreter(line.as_bytes()).map(|path| path.display().to_string());
        assert_eq!(of("#! /bin/sh -e\nx"), Some("/bin/sh".into()));
        assert_eq!(of("#!/usr/bin/env python3\n"), Some("/usr/bin/env".into()));
        assert_eq!(of("\x7fELF"), None);
    }

    #[test]
    fn a_shell_is_reached() {
        assert_eq!(reach(Path::new("/bin/sh")), Reach::Program);
    }

    #[test]
    fn statuses_are_the_shells() {
        assert_eq!(
            find(OsStr::new("hotpatch-no-such-program"))
                .unwrap_err()
                .status,
            127
        );
        assert_eq!(
            find(OsStr::new("/no/such/program")).unwrap_err().status,
            127
        );
        assert_eq!(find(OsStr::new("")).unwrap_err().status, 127);
        assert_eq!(find(OsStr::new("/tmp")).unwrap_err().status, 126);
        assert_eq!(find(OsStr::new("/etc/passwd")).unwrap_err().status, 126);
        assert!(find(OsStr::new("sh")).is_ok());
    }
}
