//! Why a running process cannot be attached to.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::libc;
use nix::unistd::{Uid, User};

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not there.
    #[error("no such process")]
    NoProcess,
    /// It ended meanwhile.
    #[error("it has ended")]
    Ended,
    /// The id is a thread's.
    #[error("it is a thread of process {0}: attach to that")]
    Thread(i32),
    /// It has ended, and nobody has waited for it.
    #[error("it has ended: its parent has not waited for it yet")]
    Zombie,
    /// Its first thread is gone.
    #[error("its first thread has ended, so the kernel shows nothing of it under its own number")]
    NoLeader,
    /// It is us, or our parents.
    #[error("it is hotpatch itself")]
    Own,
    /// It is the kernel's.
    #[error("it is a thread of the kernel")]
    Kernel,
    /// Somebody else traces it.
    #[error("process {by} ({name}) traces it already")]
    Traced {
        /// Who.
        by: i32,
        /// Its name.
        name: String,
    },
    /// Another user's.
    #[error("it belongs to {0}: attach as that user, or as root")]
    Foreign(String),
    /// It has more rights than its user.
    #[error("it runs with rights of its own (setuid, setgid or capabilities)")]
    Privileged,
    /// A policy.
    #[error("{0}")]
    Policy(String),
    /// It is not for 64-bit x86-64.
    #[error("it is not a program for 64-bit x86-64")]
    OtherMachine,
    /// It has a filter.
    #[error("it has set a seccomp filter, which may end it for the calls that attaching takes")]
    Filter,
    /// It uses gs.
    #[error("it uses the segment register gs itself, which hooks need")]
    Gs,
    /// Another process executes the same memory.
    #[error("process {0} shares its memory, and would run code while it changes")]
    Shared(i32),
    /// A thread does not stop.
    #[error("thread {tid} cannot be stopped: it waits in the kernel ({why})")]
    Unstoppable {
        /// Which.
        tid: i32,
        /// What for.
        why: String,
    },
    /// A thread is where nothing may be changed under it.
    #[error("thread {tid} {why}, and has not come out of that for five seconds")]
    Busy {
        /// Which.
        tid: i32,
        /// What it does.
        why: &'static str,
    },
    /// The library is there.
    #[error("it is patched already: hotpatch detach undoes that")]
    Patched,
    /// The library is not there.
    #[error("it is not patched")]
    NotPatched,
    /// It is another one.
    #[error("another version of hotpatch has patched it: that has to undo it")]
    OtherVersion,
    /// A hook does not end.
    #[error(
        "thread {0} has been inside of a hook for five seconds: no hook is called any more, but its code stays patched"
    )]
    Inside(i32),
    /// It is in use.
    #[error("a thread has been patching code for five seconds")]
    Changing,
    /// Hosted hooks.
    #[error("hosted hooks run in it, whose libraries cannot be taken away")]
    Hosted,
    /// Syscall User Dispatch.
    #[error("it has memory that is writable and executable, whose calls the kernel makes signals")]
    Traps,
    /// Written code stays.
    #[error("its code cannot be written to")]
    Stuck,
    /// No record of changes.
    #[error(
        "what has been changed in it is not known: the library could not watch its calls, or patches code as it is executed"
    )]
    Unknown,
    /// The library could not start.
    #[error("the library cannot start in it{0}")]
    Failed(String),
    /// There is no place to make a call from.
    #[error("it has no vDSO to make calls from")]
    NoVdso,
    /// It cannot reach the library.
    #[error("it cannot open {0} (its own root, mount namespace or user)")]
    NoLibrary(String),
    /// The system.
    #[error("{doing}: {error}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl Refused {
    /// An answer of the system's.
    pub fn system(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(libc::ESRCH) => Self::Ended,
            _ => Self::System { doing, error },
        }
    }
}

/// What `/proc/PID/status` says.
#[derive(Debug)]
pub struct Status(String);

impl Status {
    /// Of a process, or of a thread as `PID/task/TID`.
    pub fn of(path: &str) -> Option<Self> {
        fs::read_to_string(format!("/proc/{path}/status"))
            .ok()
            .map(Self)
    }

    /// A field's words.
    pub fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        let line = self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.strip_prefix(':')
        });
        line.unwrap_or_default().split_whitespace()
    }

    /// A field's first number.
    pub fn number(&self, name: &str) -> Option<i32> {
        self.words(name).next()?.parse().ok()
    }

    /// Whether real, effective, saved and other ids are one.
    fn is_one(&self, name: &str) -> bool {
        let mut ids = self.words(name);
        let first = ids.next();
        ids.all(|id| Some(id) == first)
    }

    fn state(&self) -> char {
        let first = self.words("State").next();
        first.and_then(|word| word.chars().next()).unwrap_or('?')
    }
}

/// The parent of all threads of the kernel.
const KTHREADD: i32 = 2;

/// Looks at a process from outside.
pub fn look(pid: i32) -> Result<(), Refused> {
    let status = Status::of(&pid.to_string()).ok_or(Refused::NoProcess)?;
    if let Some(group) = status.number("Tgid").filter(|group| *group != pid) {
        return Err(Refused::Thread(group));
    }
    if pid == std::process::id().cast_signed() {
        return Err(Refused::Own);
    }
    if status.words("VmSize").next().is_none() {
        let threads = status.number("Threads").unwrap_or(1);
        return Err(match (status.state(), threads) {
            ('Z' | 'X', 1) => Refused::Zombie,
            ('Z' | 'X', _) => Refused::NoLeader,
            _ if pid == KTHREADD || status.number("PPid") == Some(KTHREADD) => Refused::Kernel,
            // It is about to be one of the first.
            _ => Refused::Ended,
        });
    }
    if let Some(by) = status.number("TracerPid").filter(|by| *by != 0) {
        let name = fs::read_to_string(format!("/proc/{by}/comm")).unwrap_or_default();
        return Err(Refused::Traced {
            by,
            name: crate::style::printable(name.trim_end()),
        });
    }
    if !status.is_one("Uid") || !status.is_one("Gid") {
        return Err(Refused::Privileged);
    }
    if status.number("Seccomp").is_some_and(|mode| mode != 0) {
        return Err(Refused::Filter);
    }
    if is_secure(pid) {
        return Err(Refused::Privileged);
    }
    shared(pid, &status)
}

/// Whether the kernel has told the program not to trust its environment.
fn is_secure(pid: i32) -> bool {
    const AT_SECURE: u64 = 23;
    let vector = fs::read(format!("/proc/{pid}/auxv")).unwrap_or_default();
    let (pairs, _) = vector.as_chunks::<16>();
    pairs.iter().any(|pair| {
        let (key, value) = pair.split_at(8);
        key == AT_SECURE.to_le_bytes() && value != [0; 8]
    })
}

/// Whether another process has the same memory: a child of `vfork`, or its parent, or one made by hand.
fn shared(pid: i32, status: &Status) -> Result<(), Refused> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(Refused::system("threads"))?;
    let mut others: Vec<i32> = status.number("PPid").into_iter().collect();
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let children = children.split_whitespace().map(str::parse::<i32>);
        others.extend(children.flatten());
    }
    others.retain(|other| *other != 0);
    match others
        .into_iter()
        .find(|other| has_same_memory(pid, *other))
    {
        Some(other) => Err(Refused::Shared(other)),
        None => Ok(()),
    }
}

fn has_same_memory(one: i32, other: i32) -> bool {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: compares, and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) == 0 }
}

/// Why the kernel does not let us trace it.
pub fn not_permitted(pid: i32, error: io::Error) -> Refused {
    match error.raw_os_error() {
        Some(libc::ESRCH) => return Refused::Ended,
        Some(libc::EPERM | libc::EACCES) => {}
        _ => {
            return Refused::System {
                doing: "ptrace",
                error,
            };
        }
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map(|data| data.uid());
    let status = Status::of(&pid.to_string());
    let uid = status.as_ref().and_then(|status| status.number("Uid"));
    let uid = uid.map(i32::cast_unsigned).or(owner.ok());
    let own = Uid::effective().as_raw();
    if let Some(uid) = uid.filter(|uid| *uid != own && own != 0) {
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        return Refused::Foreign(name.map_or_else(|| format!("user {uid}"), |user| user.name));
    }
    let mut why = String::from("the kernel does not permit it");
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let _ = match scope.trim() {
        "1" => write!(
            why,
            ": /proc/sys/kernel/yama/ptrace_scope is 1, which leaves it to a process's own parents; \
             run hotpatch as root, or set it to 0"
        ),
        "2" => write!(
            why,
            ": /proc/sys/kernel/yama/ptrace_scope is 2, which leaves it to root"
        ),
        "3" => write!(
            why,
            ": /proc/sys/kernel/yama/ptrace_scope is 3, which forbids it until the next boot"
        ),
        _ => write!(
            why,
            ": the process is not dumpable (prctl, or a program that nobody may read), has capabilities that we \
             have not, or a security module forbids it"
        ),
    };
    Refused::Policy(why)
}
