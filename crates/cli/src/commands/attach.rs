//! `-p PID`: processes that run already.

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::geteuid;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::args::{Detach, Pid, Run};
use crate::attach::{self, Detached, Lender, Owner, Refused};
use crate::commands::run::{injected, settings};
use crate::hook::{self, NotUsed};
use crate::start::Injected;
use crate::{cache, style};

/// The exit status where a process cannot be attached to.
pub const NOT_ATTACHED: i32 = 1;

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
    let files = hooks
        .list
        .to_string_lossy()
        .split(':')
        .filter(|path| !path.is_empty())
        .map(str::to_owned)
        .collect();
    let private = cache::prepare()?;
    let library = private.path.join(cache::file_name());
    let injected = injected(
        &library,
        settings(args, None, hooks.list)?,
        &[],
        args.verbose,
    )?;
    let mut attached = Attached::new(false)?;
    let lend = Lend {
        injected: &injected,
        files,
        shared: None,
    };
    for pid in &args.attach {
        attached.add(*pid, &lend);
    }
    if attached.is_empty() {
        return Ok(NOT_ATTACHED);
    }
    while attached.wait()? {}
    Ok(attached.detach(Vec::new))
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
    processes: Vec<(Pid, OwnedFd)>,
    /// Who holds files for processes of other users.
    lenders: Vec<Lender>,
    /// That all goes well is not said.
    quiet: bool,
}

/// What is started in processes, and the files that they need for that.
pub struct Lend<'a> {
    /// It.
    pub injected: &'a Injected,
    /// Paths of hooks.
    pub files: Vec<String>,
    /// The path of a file that all share, and our descriptor of it.
    pub shared: Option<(String, i32)>,
}

impl Attached {
    /// None yet. From here on signals that end hotpatch wait.
    pub fn new(quiet: bool) -> io::Result<Self> {
        let ending: SigSet = ENDING.into_iter().collect();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ending), None)?;
        Ok(Self {
            signals: SignalFd::with_flags(&ending, SfdFlags::SFD_CLOEXEC)?,
            processes: Vec::new(),
            lenders: Vec::new(),
            quiet,
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    fn say(&self, pid: i32, what: &str) {
        if !self.quiet {
            style::error(&format!("process {pid} {what}"));
        }
    }

    /// Attaches to a process, or says why that is not possible.
    pub fn add(&mut self, pid: Pid, lend: &Lend<'_>) {
        if lend.shared.is_some() && attach::has_own_numbers(pid.0) {
            let why = "it is in a PID namespace of its own, where its numbers are others: run hotpatch there";
            return style::error(&format!("process {}: {why}", pid.0));
        }
        // Before it is attached to, so that it is sure to be this one.
        let process = open(pid);
        let injected = match self.injected(pid, lend) {
            Ok(injected) => injected,
            Err(error) => return style::error(&format!("process {}: its user: {error}", pid.0)),
        };
        let done = attach::attach(pid.0, injected);
        match (done, process) {
            (Ok(()), Ok(process)) => {
                self.say(pid.0, "attached");
                self.processes.push((pid, process));
            }
            (Err(why), _) => refuse(pid, &why),
            (_, Err(error)) => style::error(&format!("process {}: {error}", pid.0)),
        }
    }

    /// Puts those back that are there still, and what they have started meanwhile, which `more` may know of: the exit
    /// status.
    pub fn detach(&mut self, more: impl Fn() -> Vec<u32>) -> i32 {
        let mut status = 0;
        let own: Vec<i32> = self.processes.drain(..).map(|(pid, _)| pid.0).collect();
        let mut seen: Vec<i32> = Vec::new();
        loop {
            let descend = own.iter().copied().flat_map(descendants);
            let told = more().into_iter().map(u32::cast_signed);
            let all = own.iter().copied().chain(descend).chain(told);
            let new: Vec<i32> = all.filter(|pid| !seen.contains(pid)).collect();
            if new.is_empty() {
                return status;
            }
            for pid in new {
                if seen.contains(&pid) {
                    continue;
                }
                seen.push(pid);
                let is_own = own.contains(&pid);
                match attach::detach(pid) {
                    Ok(Detached::Wholly) if is_own => self.say(pid, "detached"),
                    Ok(Detached::Wholly) => {}
                    Ok(done) => style::error(&format!("process {pid}: {done}")),
                    Err(Refused::Ended | Refused::NoProcess | Refused::Zombie) => {}
                    Err(Refused::NotPatched) if !is_own => {}
                    Err(why) => {
                        refuse(Pid(pid), &why);
                        status = NOT_ATTACHED;
                    }
                }
            }
        }
    }

    /// What is started in that process: its user may not be able to open our files.
    fn injected<'a>(&'a mut self, pid: Pid, lend: &Lend<'a>) -> io::Result<&'a Injected> {
        let owner = Owner::of(pid.0).filter(|_| attach::is_elsewhere(pid.0));
        let Some(owner) = owner.filter(|_| geteuid().is_root()) else {
            return Ok(lend.injected);
        };
        let known = self.lenders.iter().position(|lender| lender.owner == owner);
        let known = match known {
            Some(known) => known,
            None => {
                let shared = lend.shared.as_ref().map(|(path, fd)| (&**path, *fd));
                let lender = Lender::new(owner, lend.injected, &lend.files, shared)?;
                self.lenders.push(lender);
                self.lenders.len() - 1
            }
        };
        Ok(&self.lenders[known].injected)
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
            // Taken: another one may end us at once.
            let _ = self.signals.read_signal();
            return Ok(false);
        }
        let mut ended = all.iter().skip(1).map(|process| process.revents != 0);
        self.processes.retain(|_| !ended.next().unwrap_or(false));
        Ok(!self.processes.is_empty())
    }
}

/// Processes that this one has started, and they.
fn descendants(pid: i32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            let children = children.unwrap_or_default();
            let ours = std::process::id().cast_signed();
            let children = children.split_whitespace().flat_map(str::parse::<i32>);
            let children = children.filter(|child| *child != ours);
            for child in children
                .filter(|child| !all.contains(child))
                .collect::<Vec<_>>()
            {
                all.push(child);
                next.push(child);
            }
        }
    }
    all
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
