//! Files for processes that cannot open ours: of another user, or with other directories.
//!
//! A process that is their user's holds them open, as copies without a name, and they open them there.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{getegid, geteuid};

use super::refused::Status;
use crate::start::Injected;

/// Who a process belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Of a process.
    pub fn of(pid: i32) -> Option<Self> {
        let status = Status::of(&pid.to_string())?;
        let id = |name| status.number(name).map(i32::cast_unsigned);
        Some(Self {
            user: id("Uid")?,
            group: id("Gid")?,
        })
    }

    /// Us.
    fn own() -> Self {
        Self {
            user: geteuid().as_raw(),
            group: getegid().as_raw(),
        }
    }
}

/// Whether a process may not be able to open our files: it is another user's, or sees other directories.
pub fn is_elsewhere(pid: i32) -> bool {
    let differs = |link: &str| {
        let of = |who: &str| std::fs::read_link(format!("/proc/{who}/{link}")).ok();
        of(&pid.to_string()) != of("self")
    };
    Owner::of(pid) != Some(Owner::own()) || differs("ns/mnt") || differs("root")
}

/// Whether processes have other numbers for it.
pub fn has_own_numbers(pid: i32) -> bool {
    Status::of(&pid.to_string()).is_some_and(|status| status.words("NSpid").count() > 1)
}

/// The process that holds them; it ends with this.
#[derive(Debug)]
pub struct Lender {
    /// Who it belongs to.
    pub owner: Owner,
    pid: libc::pid_t,
    /// What they are told instead.
    pub injected: Injected,
}

impl Lender {
    /// For processes of `owner`. The library and all of `files` are copied; `shared` is a file of ours, by the path that
    /// processes are told.
    pub fn new(
        owner: Owner,
        injected: &Injected,
        files: &[String],
        shared: Option<(&str, RawFd)>,
    ) -> io::Result<Self> {
        let library = injected.library.to_string_lossy().into_owned();
        let mut held: Vec<(String, RawFd)> = Vec::new();
        let mut copies: Vec<OwnedFd> = Vec::new();
        for path in files.iter().chain([&library]) {
            let copy = copy(path)?;
            held.push((path.clone(), copy.as_raw_fd()));
            copies.push(copy);
        }
        held.extend(shared.map(|(path, fd)| (path.to_owned(), fd)));
        let mut kept: Vec<RawFd> = held.iter().map(|(_, fd)| *fd).collect();
        kept.sort_unstable();
        let parent = std::process::id();
        // SAFETY: the child makes no call but those of the kernel, and comes back nowhere.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => return Err(io::Error::last_os_error()),
            0 => hold(owner, &kept, parent),
            _ => {}
        }
        let mut lent = Self {
            owner,
            pid,
            injected: Injected {
                library: injected.library.clone(),
                settings: injected.settings.clone(),
                preloaded: None,
                by_loader: false,
                verbose: injected.verbose,
            },
        };
        for (path, fd) in &held {
            let there = format!("/proc/{pid}/fd/{fd}");
            replace(
                &mut lent.injected.settings,
                path.as_bytes(),
                there.as_bytes(),
            );
            if *path == library {
                lent.injected.library = std::ffi::CString::new(there)?;
            }
        }
        // Until it is that user's.
        while Owner::of(pid) != Some(owner) {
            // SAFETY: touches no memory.
            if unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) } != 0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        Ok(lent)
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        // A child of ours, that we have not waited for.
        call(libc::SYS_kill, [self.pid.into(), libc::SIGKILL.into(), 0]);
        // SAFETY: touches no memory.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// A copy that anybody may read.
fn copy(path: &str) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"libhotpatch", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(fd);
    file.write_all(&std::fs::read(path)?)?;
    // SAFETY: takes numbers.
    unsafe { libc::fchmod(file.as_raw_fd(), 0o555) };
    Ok(file.into())
}

/// Becomes that user, and holds these open for as long as our parent lives. In a child that has just been forked, from
/// whichever thread: by calls of the kernel alone.
fn hold(owner: Owner, kept: &[RawFd], parent: u32) -> ! {
    let (user, group) = (i64::from(owner.user), i64::from(owner.group));
    let mut from = 0;
    for fd in kept.iter().copied().map(i64::from) {
        if from < fd {
            call(libc::SYS_close_range, [from, fd - 1, 0]);
        }
        from = fd + 1;
    }
    call(libc::SYS_close_range, [from, u32::MAX.into(), 0]);
    call(libc::SYS_setgroups, [0; 3]);
    let group = call(libc::SYS_setresgid, [group; 3]);
    let user = call(libc::SYS_setresuid, [user; 3]);
    let (signal, dies) = (libc::SIGKILL.into(), libc::PR_SET_PDEATHSIG.into());
    call(libc::SYS_prctl, [dies, signal, 0]);
    call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0]);
    let orphaned = call(libc::SYS_getppid, [0; 3]) != i64::from(parent);
    if group != 0 || user != 0 || orphaned {
        call(libc::SYS_exit_group, [1, 0, 0]);
    }
    loop {
        call(libc::SYS_pause, [0; 3]);
    }
}

/// A call that takes numbers.
fn call(number: i64, [a, b, c]: [i64; 3]) -> i64 {
    // SAFETY: it touches no memory of ours.
    unsafe { libc::syscall(number, a, b, c) }
}

/// Replaces each `old` that is a whole path.
fn replace(text: &mut Vec<u8>, old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = text[at..].windows(old.len()).position(|part| part == old) {
        let (start, end) = (at + found, at + found + old.len());
        let ends = |byte: Option<&u8>| matches!(byte, None | Some(0 | b':' | b'='));
        let before = start.checked_sub(1).and_then(|n| text.get(n));
        at = end;
        if ends(before) && ends(text.get(end)) {
            text.splice(start..end, new.iter().copied());
            at = start + new.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_paths_are_replaced() {
        let mut text = b"HOOK=/a:/ab:/a\0EVENTS=/a\0".to_vec();
        replace(&mut text, b"/a", b"/proc/1");
        assert_eq!(text, b"HOOK=/proc/1:/ab:/proc/1\0EVENTS=/proc/1\0");
    }
}
