//! All threads of a process, stopped.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use hotpatch_inject::Registers;
use nix::libc::{self, c_int};

use super::refused::{self, Refused, Status};
use super::tracee::{Stop, Tracee};

/// How long a thread may take to stop: one that waits for a disk or for the child of its `vfork` takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A stopped thread.
#[derive(Debug)]
pub struct Thread {
    /// It.
    pub tracee: Tracee,
    /// Its registers where it was stopped.
    pub before: Registers,
    /// Address and bytes of its alternate signal stack, once that is known; 0 bytes: none.
    pub alternate: [u64; 2],
    /// What it blocks, where all is blocked in it now.
    mask: Option<u64>,
    /// It has made calls since, and so has to be brought back to where the kernel sees to calls that were interrupted.
    pub moved: bool,
}

/// They go on when this is dropped, from where they were stopped.
#[derive(Debug)]
pub struct Threads {
    pid: i32,
    /// All of them.
    pub all: Vec<Thread>,
    /// Signals that cannot be blocked and came meanwhile.
    held: Vec<(i32, c_int)>,
}

impl Threads {
    /// Stops all threads of a process.
    pub fn stop(pid: i32) -> Result<Self, Refused> {
        let mut threads = Self {
            pid,
            all: Vec::new(),
            held: Vec::new(),
        };
        // Those that run may begin others: until none is found.
        while threads.stop_more()? {}
        match threads.all.is_empty() {
            true => Err(Refused::Ended),
            false => Ok(threads),
        }
    }

    /// Stops those that are not: whether there was any.
    fn stop_more(&mut self) -> Result<bool, Refused> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).map_err(|_| Refused::Ended)?;
        let ids = tasks.flatten().filter_map(|task| {
            let name = task.file_name();
            name.to_str()?.parse::<i32>().ok()
        });
        let new: Vec<i32> = ids
            .filter(|tid| self.all.iter().all(|thread| thread.tracee.tid != *tid))
            .collect();
        let mut seized = Vec::new();
        let mut failed = None;
        for tid in new {
            let tracee = Tracee { tid };
            if let Err(error) = tracee.seize() {
                let status = Status::of(&format!("{}/task/{tid}", self.pid));
                let state = status
                    .as_ref()
                    .and_then(|status| status.words("State").next());
                match state {
                    None | Some("Z" | "X") if tid != self.pid => continue,
                    _ => {
                        failed = Some(refused::not_permitted(self.pid, error));
                        break;
                    }
                }
            }
            let _ = tracee.interrupt();
            seized.push(tracee);
        }
        let any = !seized.is_empty();
        for tracee in seized {
            // Whatever has become of others: its call may have been interrupted, which is to be undone.
            if let Err(why) = self.keep(tracee) {
                failed.get_or_insert(why);
            }
        }
        failed.map_or(Ok(any), Err)
    }

    /// Adds a thread once it has stopped, if it is there still.
    fn keep(&mut self, tracee: Tracee) -> Result<(), Refused> {
        if self.wait_for(tracee)? {
            let before = tracee.registers().map_err(Refused::system("registers"))?;
            self.all.push(Thread {
                tracee,
                before,
                alternate: [0; 2],
                mask: None,
                moved: false,
            });
        }
        Ok(())
    }

    /// Waits until a thread has stopped: whether it is there still.
    fn wait_for(&self, tracee: Tracee) -> Result<bool, Refused> {
        let begin = Instant::now();
        let mut nap = Duration::from_micros(20);
        loop {
            match tracee.poll().map_err(Refused::system("waiting"))? {
                Some(Stop::Here) => return Ok(true),
                Some(Stop::Gone) => return Ok(false),
                // Its handler begins, then it stops.
                Some(Stop::Signal(signal)) => {
                    let _ = tracee.go_on(signal);
                }
                Some(Stop::Call) => {
                    let _ = tracee.go_on(0);
                }
                None if begin.elapsed() > PATIENCE => {
                    let at = format!("/proc/{}/task/{}/wchan", self.pid, tracee.tid);
                    let why = fs::read_to_string(at).unwrap_or_default();
                    return Err(Refused::Unstoppable {
                        tid: tracee.tid,
                        why: if why.trim_matches('0').is_empty() {
                            "no more is known".to_owned()
                        } else {
                            why
                        },
                    });
                }
                None => {
                    std::thread::sleep(nap);
                    nap = (nap * 2).min(Duration::from_millis(5));
                }
            }
        }
    }

    /// Executes a call in a thread, by the instruction at `at`: what the kernel answers. All signals are blocked in it.
    pub fn call(&mut self, index: usize, at: u64, number: u32, given: [u64; 6]) -> io::Result<i64> {
        let thread = self.thread(index)?;
        if thread.mask.is_none() {
            let mask = thread.tracee.mask()?;
            thread.tracee.set_mask(u64::MAX)?;
            thread.mask = Some(mask);
        }
        let registers = thread.before.calling(at, number, given);
        thread.moved = true;
        thread.tracee.set_registers(&registers)?;
        self.next_call(index)?;
        self.next_call(index)?;
        let rax = self.thread(index)?.tracee.registers()?.rax;
        Ok(rax.cast_signed())
    }

    fn thread(&mut self, index: usize) -> io::Result<&mut Thread> {
        self.all.get_mut(index).ok_or_else(gone)
    }

    /// Lets a thread go on to the next border of a call.
    pub fn next_call(&mut self, index: usize) -> io::Result<()> {
        let thread = self.thread(index)?;
        thread.moved = true;
        let tracee = thread.tracee;
        tracee.next_call()?;
        loop {
            match tracee.wait()? {
                Stop::Call => return Ok(()),
                Stop::Gone => return Err(gone()),
                Stop::Here => {}
                Stop::Signal(
                    signal @ (libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE),
                ) => {
                    let at = tracee.registers()?.rip;
                    return Err(io::Error::other(format!("signal {signal} at {at:#x}")));
                }
                // SIGSTOP: all others are blocked.
                Stop::Signal(signal) => self.held.push((tracee.tid, signal)),
            }
            tracee.next_call()?;
        }
    }

    /// Puts a thread that has made calls back to where it was stopped, so that the kernel begins again what it has interrupted.
    fn put_back(thread: &mut Thread) -> io::Result<()> {
        if thread.moved {
            // Not at the border of a call: there nobody looks at whether one is to be begun again.
            thread.tracee.interrupt()?;
            thread.tracee.go_on(0)?;
            while thread.tracee.wait()? != Stop::Here {
                thread.tracee.go_on(0)?;
            }
            thread.moved = false;
        }
        if let Some(mask) = thread.mask.take() {
            thread.tracee.set_mask(mask)?;
        }
        thread.tracee.set_registers(&restarted(&thread.before))
    }
}

fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}

/// Calls that say EINTR because they were stopped, though no handler runs, are begun again unless one does: as if the
/// kernel, which does that for most, had meant these too.
fn restarted(registers: &Registers) -> Registers {
    const EINTR: u64 = (libc::EINTR as u64).wrapping_neg();
    /// Begin again if there is no handler.
    const ERESTARTNOHAND: u64 = 514_u64.wrapping_neg();
    const IO_PGETEVENTS: i64 = 333;
    let number = registers.orig_rax.cast_signed();
    let waits = matches!(
        number,
        libc::SYS_epoll_wait
            | libc::SYS_epoll_pwait
            | libc::SYS_epoll_pwait2
            | libc::SYS_rt_sigtimedwait
            | libc::SYS_semop
            | libc::SYS_semtimedop
            | libc::SYS_io_getevents
            | IO_PGETEVENTS
            | libc::SYS_io_uring_enter
            // Sockets with a limit of time.
            | libc::SYS_read
            | libc::SYS_readv
            | libc::SYS_recvfrom
            | libc::SYS_recvmsg
            | libc::SYS_recvmmsg
            | libc::SYS_accept
            | libc::SYS_accept4
            | libc::SYS_connect
            | libc::SYS_write
            | libc::SYS_writev
            | libc::SYS_sendto
            | libc::SYS_sendmsg
            | libc::SYS_sendmmsg
    );
    if waits && registers.rax == EINTR {
        return Registers {
            rax: ERESTARTNOHAND,
            ..*registers
        };
    }
    *registers
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in &mut self.all {
            let _ = Self::put_back(thread);
        }
        for (tid, signal) in self.held.drain(..) {
            // SAFETY: touches no memory.
            unsafe { libc::syscall(libc::SYS_tgkill, self.pid, tid, signal) };
        }
        for thread in &self.all {
            thread.tracee.release();
        }
    }
}
