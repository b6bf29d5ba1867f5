//! Work that nobody may end halfway: in a process of its own, which goes on when the command is killed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{io, ptr};

use nix::libc::{self, c_int, c_void};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use super::refused::Refused;

const STACK: usize = 1 << 20;
const DOING: &str = "a process for the work";

/// Does `work`, which stops threads of another process. The kernel lets go of what is traced still when that has ended, as are
/// threads that could not be stopped.
///
/// The process shares our memory, as a child of `vfork` does, so this thread waits. It is in a session of its own and lets no
/// signal in: what is sent to the command, or to all that a terminal has started, does not end it.
pub fn apart<T>(work: impl FnOnce() -> Result<T, Refused>) -> Result<T, Refused> {
    let mut job = Job {
        work: Some(work),
        done: None,
    };
    let before = sigprocmask_all()?;
    let status = run(&mut job);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    status.map_err(Refused::system(DOING))?;
    match job.done {
        Some(Ok(done)) => done,
        Some(Err(panic)) => resume_unwind(panic),
        None => Err(Refused::Failed(
            ": the process that did it has been killed".to_owned(),
        )),
    }
}

fn sigprocmask_all() -> Result<SigSet, Refused> {
    let mut before = SigSet::empty();
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&SigSet::all()),
        Some(&mut before),
    )
    .map_err(|error| Refused::system(DOING)(error.into()))?;
    Ok(before)
}

struct Job<W, T> {
    work: Option<W>,
    done: Option<Result<Result<T, Refused>, Box<dyn Any + Send>>>,
}

extern "C" fn child<W: FnOnce() -> Result<T, Refused>, T>(job: *mut c_void) -> c_int {
    // SAFETY: `run` has passed its own, and waits for the end of this.
    let job = unsafe { &mut *job.cast::<Job<W, T>>() };
    // SAFETY: takes nothing.
    unsafe { libc::setsid() };
    job.done = job
        .work
        .take()
        .map(|work| catch_unwind(AssertUnwindSafe(work)));
    0
}

fn run<W: FnOnce() -> Result<T, Refused>, T>(job: &mut Job<W, T>) -> io::Result<()> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: anywhere.
    let stack = unsafe { libc::mmap(ptr::null_mut(), STACK, protection, flags, -1, 0) };
    if stack == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // No signal tells of its end, so that nobody else waits for it.
    let flags = libc::CLONE_VM | libc::CLONE_VFORK;
    let top = stack.wrapping_byte_add(STACK);
    // SAFETY: it runs on a stack of its own while this thread waits; it shares what is this thread's alone, as a call would.
    let pid = unsafe { libc::clone(child::<W, T>, top, flags, ptr::from_mut(job).cast()) };
    let error = io::Error::last_os_error();
    if pid > 0 {
        // SAFETY: touches no memory. Whatever was traced has been let go of by then.
        while unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
    // SAFETY: mapped above, and nobody runs on it any more.
    unsafe { libc::munmap(stack, STACK) };
    if pid < 0 { Err(error) } else { Ok(()) }
}
