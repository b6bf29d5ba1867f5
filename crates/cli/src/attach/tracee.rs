//! A thread that is traced and stopped.

use std::io;

use hotpatch_inject::Registers;
use nix::libc::{self, c_int, c_void};

/// Of `PTRACE_GETSIGMASK` and its counterpart.
const GETSIGMASK: libc::c_uint = 0x420a;
const SETSIGMASK: libc::c_uint = 0x420b;
/// A stop at the border of a call.
const AT_CALL: c_int = libc::SIGTRAP | 0x80;

/// What a thread has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// It has been told to, or its process is stopped: nothing of the program is executed before it goes on.
    Here,
    /// The border of a call.
    Call,
    /// It is about to get this signal.
    Signal(c_int),
    /// It is gone.
    Gone,
}

/// A traced thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tracee {
    /// Its id.
    pub tid: i32,
}

impl Tracee {
    fn ask(self, request: libc::c_uint, address: usize, data: usize) -> io::Result<()> {
        // SAFETY: what `data` points to is the caller's own, and as long as the request needs it.
        let answer = unsafe {
            libc::ptrace(
                request,
                self.tid,
                address as *mut c_void,
                data as *mut c_void,
            )
        };
        if answer < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Begins to trace it. It runs on.
    pub fn seize(self) -> io::Result<()> {
        self.ask(libc::PTRACE_SEIZE, 0, libc::PTRACE_O_TRACESYSGOOD as usize)
    }

    /// Has it stop soon.
    pub fn interrupt(self) -> io::Result<()> {
        self.ask(libc::PTRACE_INTERRUPT, 0, 0)
    }

    /// What has become of it; `None`: nothing yet.
    pub fn poll(self) -> io::Result<Option<Stop>> {
        self.wait_with(libc::WNOHANG)
    }

    /// What becomes of it.
    pub fn wait(self) -> io::Result<Stop> {
        self.wait_with(0).map(|stop| stop.unwrap_or(Stop::Gone))
    }

    fn wait_with(self, options: c_int) -> io::Result<Option<Stop>> {
        let mut status = 0;
        loop {
            // SAFETY: `status` outlives the call.
            match unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL | options) } {
                0 => return Ok(None),
                -1 => {
                    let error = io::Error::last_os_error();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        Some(libc::ECHILD) => return Ok(Some(Stop::Gone)),
                        _ => return Err(error),
                    }
                }
                _ => break,
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(Some(Stop::Gone));
        }
        let signal = libc::WSTOPSIG(status);
        Ok(Some(match status >> 16 {
            libc::PTRACE_EVENT_STOP => Stop::Here,
            _ if signal == AT_CALL => Stop::Call,
            _ => Stop::Signal(signal),
        }))
    }

    /// Goes on, with this signal or 0.
    pub fn go_on(self, signal: c_int) -> io::Result<()> {
        self.ask(libc::PTRACE_CONT, 0, signal as usize)
    }

    /// Goes on to the next border of a call.
    pub fn next_call(self) -> io::Result<()> {
        self.ask(libc::PTRACE_SYSCALL, 0, 0)
    }

    /// Traces it no more.
    pub fn release(self) {
        let _ = self.ask(libc::PTRACE_DETACH, 0, 0);
    }

    /// Its registers.
    pub fn registers(self) -> io::Result<Registers> {
        let mut registers = Registers::default();
        self.ask(libc::PTRACE_GETREGS, 0, (&raw mut registers).addr())?;
        Ok(registers)
    }

    /// Changes them.
    pub fn set_registers(self, registers: &Registers) -> io::Result<()> {
        let at = std::ptr::from_ref(registers).addr();
        self.ask(libc::PTRACE_SETREGS, 0, at)
    }

    /// What it blocks.
    pub fn mask(self) -> io::Result<u64> {
        let mut mask = 0_u64;
        self.ask(GETSIGMASK, 8, (&raw mut mask).addr())?;
        Ok(mask)
    }

    /// Changes that.
    pub fn set_mask(self, mask: u64) -> io::Result<()> {
        self.ask(SETSIGMASK, 8, (&raw const mask).addr())
    }

    /// Whether it is in a sequence that is begun again when it is interrupted.
    pub fn in_sequence(self, rip: u64) -> bool {
        const GET_RSEQ: libc::c_uint = 0x420f;
        #[repr(C)]
        #[derive(Default)]
        struct Configuration {
            at: u64,
            len: u32,
            signature: u32,
            flags: u32,
            pad: u32,
        }
        let mut its = Configuration::default();
        let size = size_of::<Configuration>();
        if self.ask(GET_RSEQ, size, (&raw mut its).addr()).is_err() || its.at == 0 {
            return false;
        }
        // struct rseq: two numbers, then where its sequence is described.
        let mut word = [0; 8];
        let sequence = match self.read(its.at + 8, &mut word) {
            Ok(()) => u64::from_le_bytes(word),
            Err(_) => return false,
        };
        let mut described = [0; 32];
        if sequence == 0 || self.read(sequence, &mut described).is_err() {
            return false;
        }
        let field = |n: usize| {
            let bytes = described.get(8 * n..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        rip.wrapping_sub(field(1)) < field(2)
    }

    /// Reads its memory.
    pub fn read(self, from: u64, to: &mut [u8]) -> io::Result<()> {
        let own = libc::iovec {
            iov_base: to.as_mut_ptr().cast(),
            iov_len: to.len(),
        };
        let theirs = libc::iovec {
            iov_base: from as *mut c_void,
            iov_len: to.len(),
        };
        // SAFETY: `own` is `to`.
        let got = unsafe { libc::process_vm_readv(self.tid, &own, 1, &theirs, 1, 0) };
        whole(got, to.len())
    }

    /// Writes to it.
    pub fn write(self, to: u64, from: &[u8]) -> io::Result<()> {
        let own = libc::iovec {
            iov_base: from.as_ptr().cast_mut().cast(),
            iov_len: from.len(),
        };
        let theirs = libc::iovec {
            iov_base: to as *mut c_void,
            iov_len: from.len(),
        };
        // SAFETY: `own` is `from`, which is read.
        let got = unsafe { libc::process_vm_writev(self.tid, &own, 1, &theirs, 1, 0) };
        whole(got, from.len())
    }
}

fn whole(got: isize, wanted: usize) -> io::Result<()> {
    match usize::try_from(got) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(got) if got == wanted => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
