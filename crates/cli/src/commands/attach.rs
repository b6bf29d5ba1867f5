//! `-p PID`: processes that run already.

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::args::{Detach, Pid, Run};
use crate::attach::{self, Detached, Refused};
use crate::commands::run::{injected, settings};
use crate::hook::{self, NotUsed};
use crate::start::Injected;
use crate::{cache, style};

/// The exit status where a process cannot be attached to.
const NOT_ATTACHED: i32 = 1;

/// What ends it before the processes do.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// Patches the processes until they end, or we are told to end.
pub fn run(args: &Run) -> anyhow::Result<i32> {
    let hooks = match hook::list(&args.hook) {
        Ok(hooks) => hooks,
        Err(why) => {
            style::error(&why.to_string());
            return Ok(NotUsed::STATUS);
        }
    };
    if hooks.hosted {
        style::error(
            "hosted hooks need the program's loader: only a program that hotpatch starts can have them",
        );
        return Ok(NotUsed::STATUS);
    }
    let private = cache::prepare()?;
    let library = private.path.join(cache::file_name());
    let injected = injected(
        &library,
        settings(args, None, hooks.list)?,
        &[],
        args.verbose,
    )?;
    let mut attached = Attached::new()?;
    for pid in &args.attach {
        attached.add(*pid, &injected);
    }
    if attached.processes.is_empty() {
        return Ok(NOT_ATTACHED);
    }
    while attached.wait()? {}
    Ok(attached.detach())
}

/// `hotpatch detach`.
pub fn detach(args: &Detach) -> anyhow::Result<i32> {
    let mut status = 0;
    for pid in &args.processes {
        match attach::detach(pid.0) {
            Ok(done) => style::error(&format!("process {}: {done}", pid.0)),
            Err(why) => {
                refuse(*pid, &why);
                status = 1;
            }
        }
    }
    Ok(status)
}

/// Processes that are patched, and what can end that.
pub struct Attached {
    signals: SignalFd,
    /// Each with a descriptor that tells of its end.
    pub processes: Vec<(Pid, OwnedFd)>,
}

impl Attached {
    /// None yet. From here on signals that end hotpatch wait.
    pub fn new() -> io::Result<Self> {
        let ending: SigSet = ENDING.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ending), None)?;
        Ok(Self {
            signals: SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC)?,
            processes: Vec::new(),
        })
    }

    /// Attaches to a process, or says why that is not possible.
    pub fn add(&mut self, pid: Pid, injected: &Injected) {
        // Before it is attached to, so that it is sure to be this one.
        let process = open(pid);
        let done = attach::attach(pid.0, injected);
        match (done, process) {
            (Ok(()), Ok(process)) => {
                style::error(&format!("process {} attached", pid.0));
                self.processes.push((pid, process));
            }
            (Err(why), _) => refuse(pid, &why),
            (_, Err(error)) => style::error(&format!("process {}: {error}", pid.0)),
        }
    }

    /// Puts those back that are there still: the exit status.
    pub fn detach(&mut self) -> i32 {
        let mut status = 0;
        for (pid, _) in self.processes.drain(..) {
            match attach::detach(pid.0) {
                Ok(Detached::Wholly) => style::error(&format!("process {} detached", pid.0)),
                Err(Refused::Ended | Refused::NoProcess | Refused::Zombie) => {}
                Ok(done) => style::error(&format!("process {}: {done}", pid.0)),
                Err(why) => {
                    refuse(pid, &why);
                    status = NOT_ATTACHED;
                }
            }
        }
        status
    }

    /// Waits for something to happen: whether any of the processes is there still, and nobody wants to end.
    pub fn wait(&mut self) -> io::Result<bool> {
        let watched = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut all = vec![watched(self.signals.as_raw_fd())];
        all.extend(self.processes.iter().map(|(_, fd)| watched(fd.as_raw_fd())));
        // SAFETY: `all` outlives the call.
        let got = unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, -1) };
        if got < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(true),
                _ => Err(error),
            };
        }
        if all.first().is_some_and(|signals| signals.revents != 0) {
            return Ok(false);
        }
        let mut ended = all.iter().skip(1).map(|process| process.revents != 0);
        self.processes.retain(|_| !ended.next().unwrap_or(false));
        Ok(!self.processes.is_empty())
    }
}

fn refuse(pid: Pid, why: &Refused) {
    style::error(&format!("process {}: {why}", pid.0));
}

fn open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
