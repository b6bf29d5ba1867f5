//! What is done in a process while all its threads are stopped.

use std::io;

use hotpatch_inject::{END, Registers, Start};

use super::refused::Refused;
use super::threads::{Thread, Threads};
use super::tracee::Tracee;

impl Threads {
    /// The one that does the work.
    pub fn first(&self) -> Result<Tracee, Refused> {
        self.all
            .first()
            .map(|thread| thread.tracee)
            .ok_or(Refused::Ended)
    }
}

/// A `syscall` of the vDSO, so that no page of the program is touched.
pub fn find_syscall(maps: &str, tracee: Tracee) -> Option<u64> {
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let start = u64::from_str_radix(start, 16).ok()?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let mut code = vec![0; usize::try_from(end - start).ok()?];
    tracee.read(start, &mut code).ok()?;
    let at = code.windows(2).position(|pair| pair == b"\x0f\x05")?;
    Some(start + at as u64)
}

/// What is done while all are stopped.
pub struct Visit {
    /// All of them.
    pub threads: Threads,
    /// A `syscall` that nobody has patched.
    pub at: u64,
    /// A thread that was found inside of the library.
    pub inside: i32,
}

/// A `syscall` of the library itself.
pub fn find_own_syscall(base: u64, library: &[u8]) -> Option<u64> {
    /// `mov $SYS_munmap,%eax; syscall; lea …(%rip),%rsp`: the end of its start in a new program.
    const END: &[u8] = b"\xb8\x0b\0\0\0\x0f\x05\x48\x8d\x25";
    let at = library.windows(END.len()).position(|bytes| bytes == END)?;
    // Code lies in the file as it does in memory.
    Some(base + at as u64 + 5)
}

const CALL: &str = "a call in the process";

impl Visit {
    /// Of these.
    pub fn new(threads: Threads) -> Self {
        Self {
            threads,
            at: 0,
            inside: 0,
        }
    }

    /// Puts a thread first that can be sent elsewhere.
    pub fn choose(&mut self) -> Result<(), Refused> {
        let all = &mut self.threads.all;
        let free = |thread: &Thread| !thread.tracee.in_sequence(thread.before.rip);
        let own = all.iter().position(free).ok_or(Refused::Busy {
            tid: all.first().map_or(0, |thread| thread.tracee.tid),
            why: "is in a restartable sequence",
        })?;
        all.swap(0, own);
        Ok(())
    }

    /// A call by a thread: the kernel's answer.
    pub fn call(&mut self, index: usize, number: i64, given: [u64; 6]) -> Result<i64, Refused> {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.threads
            .call(index, self.at, number, given)
            .map_err(Refused::system(CALL))
    }

    /// The same by the first, where it has to succeed.
    pub fn own(&mut self, number: i64, given: [u64; 6]) -> Result<u64, Refused> {
        let got = self.call(0, number, given)?;
        match u64::try_from(got) {
            Ok(got) => Ok(got),
            Err(_) => Err(Refused::System {
                doing: CALL,
                error: io::Error::from_raw_os_error((-got) as i32),
            }),
        }
    }

    /// Sends the first thread to the library, up to its end: its answer.
    pub fn run(&mut self, entry: u64, block: u64, len: u64) -> Result<u64, Refused> {
        let failed = |error: io::Error| Refused::Failed(format!(": {error}"));
        let before = self.threads.all.first().ok_or(Refused::Ended)?.before;
        let tracee = self.threads.first()?;
        let registers = Registers {
            rip: entry,
            rsp: block + len,
            rdi: block,
            rax: 0,
            orig_rax: u64::MAX,
            eflags: before.eflags & !(DIRECTION | TRAP | ALIGNMENT),
            ..before
        };
        tracee.set_registers(&registers).map_err(failed)?;
        let registers = loop {
            self.threads.next_call(0).map_err(failed)?;
            let registers = tracee.registers().map_err(failed)?;
            if registers.orig_rax == u64::from(END) {
                break registers;
            }
        };
        // Behind it, so that other calls can be made.
        self.threads.next_call(0).map_err(failed)?;
        self.at = registers.rip - 2;
        let mut answer = [0; 8];
        let at = block + std::mem::offset_of!(Start, answer) as u64;
        tracee.read(at, &mut answer).map_err(failed)?;
        Ok(u64::from_le_bytes(answer))
    }
}

const TRAP: u64 = 1 << 8;
const DIRECTION: u64 = 1 << 10;
const ALIGNMENT: u64 = 1 << 18;

/// The bytes of numbers.
pub fn bytes_of<T>(words: &[T]) -> &[u8] {
    // SAFETY: what is passed here is numbers alone, without gaps.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
