//! The parent that stays while a program runs with `-v`: hands signals on, follows its stops and its end.
//!
//! All signals that matter are blocked and read from a descriptor, so that no handler of ours exists
//! that the program could inherit as a changed disposition; it is started with the mask we had.

use std::ffi::c_int;
use std::io::{Read as _, Write as _};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{ForkResult, Pid};

use crate::commands::run::Exec;
use crate::start;

/// Handed on when they come from a process; the terminal sends its own to the whole process group.
const FORWARDED: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGURG,
];

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Exit(i32),
    /// Killed by this signal; whether it left a core file.
    Signal(c_int, bool),
    /// Nobody can say: the parent's caller had asked the kernel to forget its children.
    Unknown,
}

/// Runs a program to its end. `started` is told which process it is; until then there is one thread.
///
/// # Errors
/// What the kernel answered to the exec.
pub fn run(exec: &Exec, started: impl FnOnce(Pid)) -> Result<Ended, Errno> {
    let mut watched: SigSet = FORWARDED.into_iter().collect();
    watched.add(Signal::SIGCHLD);
    let mut blocked = watched;
    // What we print at the end may find no reader; the status must come through all the same.
    blocked.add(Signal::SIGPIPE);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before))?;
    let spawned = spawn(exec, &before);
    if spawned.is_err() {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    }
    let child = spawned?;
    started(child);
    // Where our caller ignores SIGCHLD, the program inherits that and we must not. This discards a
    // SIGCHLD that is pending, so look before waiting for one.
    reset(libc::SIGCHLD);
    if let Some(ended) = follow(child) {
        return Ok(ended);
    }
    let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC)?;
    loop {
        match signals.read_signal() {
            Ok(Some(info)) if info.ssi_signo == libc::SIGCHLD.cast_unsigned() => {
                if let Some(ended) = follow(child) {
                    return Ok(ended);
                }
            }
            Ok(Some(info)) => hand_on(&info, child),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(_) => {
                return Ok(wait(child, 0)
                    .ok()
                    .flatten()
                    .and_then(ended)
                    .unwrap_or(Ended::Unknown));
            }
        }
    }
}

/// Once the program has ended, signals are for this process again: it may have to wait for others.
pub fn released() {
    let ours: SigSet = FORWARDED.into_iter().collect();
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&ours), None);
}

fn spawn(exec: &Exec, mask: &SigSet) -> Result<Pid, Errno> {
    let (mut failure, mut said) = std::io::pipe().map_err(|_| Errno::EMFILE)?;
    // SAFETY: one thread runs, so the child may do what it likes.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Child => {
            let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None);
            let errno = start::execute(exec);
            // The pipe is closed by an exec.
            let _ = said.write_all(&(errno as i32).to_ne_bytes());
            // SAFETY: ends the process without what its parent has at its end.
            unsafe { libc::_exit(127) }
        }
        ForkResult::Parent { child } => {
            drop(said);
            let mut errno = [0; 4];
            if failure.read_exact(&mut errno).is_err() {
                return Ok(child);
            }
            let _ = wait(child, 0);
            Err(Errno::from_raw(i32::from_ne_bytes(errno)))
        }
    }
}

fn hand_on(info: &siginfo, child: Pid) {
    let Ok(signal) = c_int::try_from(info.ssi_signo)
        .map_err(|_| Errno::EINVAL)
        .and_then(Signal::try_from)
    else {
        return;
    };
    let from_terminal = info.ssi_code == libc::SI_KERNEL && signal != Signal::SIGALRM;
    let from_child = info.ssi_pid == child.as_raw().cast_unsigned();
    if !from_terminal && !from_child {
        let _ = kill(child, signal);
    }
}

/// What became of the child: its end, or a stop that we share, so that the shell sees its job stop.
fn follow(child: Pid) -> Option<Ended> {
    loop {
        match wait(child, libc::WNOHANG | libc::WUNTRACED) {
            Err(_) => return Some(Ended::Unknown),
            Ok(None) => return None,
            Ok(Some(status)) if libc::WIFSTOPPED(status) => stop(libc::WSTOPSIG(status)),
            Ok(Some(status)) => match ended(status) {
                None => {}
                ended => return ended,
            },
        }
    }
}

fn ended(status: c_int) -> Option<Ended> {
    if libc::WIFEXITED(status) {
        Some(Ended::Exit(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Ended::Signal(
            libc::WTERMSIG(status),
            libc::WCOREDUMP(status),
        ))
    } else {
        None
    }
}

/// Stops by the same signal. What continues us is read afterwards and handed on.
fn stop(signal: c_int) {
    raise(signal);
    mask(SigmaskHow::SIG_UNBLOCK, signal);
    mask(SigmaskHow::SIG_BLOCK, signal);
}

/// Blocks or unblocks one signal. (Real-time signals, which `nix` has no name for, are never blocked here.)
fn mask(how: SigmaskHow, signal: c_int) {
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = sigprocmask(how, Some(&SigSet::from(signal)), None);
    }
}

fn raise(signal: c_int) {
    // SAFETY: takes no pointer.
    unsafe { libc::raise(signal) };
}

/// `waitpid(2)` with its status as the kernel gives it, `None` where nothing happened yet: real-time signals have no name in `nix`.
fn wait(child: Pid, options: c_int) -> Result<Option<c_int>, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours and outlives the call.
        match unsafe { libc::waitpid(child.as_raw(), &raw mut status, options) } {
            0 => return Ok(None),
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(Errno::last()),
            _ => return Ok(Some(status)),
        }
    }
}

fn reset(signal: c_int) {
    // SAFETY: the default disposition runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

impl Ended {
    /// Ends this process in the same way where it was a signal; returns the exit status elsewhere.
    pub fn follow(self) -> i32 {
        match self {
            Self::Exit(status) => status,
            Self::Unknown => {
                crate::style::error("the program's exit status is lost: SIGCHLD is ignored here");
                1
            }
            Self::Signal(signal, _) => {
                // The program has left its own core file; ours would tell nothing.
                let _ = nix::sys::prctl::set_dumpable(false);
                reset(signal);
                raise(signal);
                mask(SigmaskHow::SIG_UNBLOCK, signal);
                // Still here: a signal that the kernel does not let us die by.
                128 + signal
            }
        }
    }
}
