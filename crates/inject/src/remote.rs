//! What the helper does to the new program: finds its exec, makes a few calls in its place, sends it to the runtime.
//!
//! # Safety
//! I18, I19: the traced thread is stopped before its first instruction, and nobody else can see its memory.

use linux_raw_sys::auxvec::{AT_NULL, AT_SYSINFO_EHDR};
use linux_raw_sys::general as k;
use linux_raw_sys::ptrace as p;

use crate::helper::Shared;
use crate::sys::{self, Registers, call};
use crate::{Bytes, Entry, FILES, NO_FILE, START_LEN, Start};

/// The code segment of 64-bit programs.
const LONG: u64 = 0x33;
const SYSCALL_STOP: u32 = k::SIGTRAP | 0x80;
/// Every signal.
static ALL: u64 = u64::MAX;
const MOST_OF_STACK: usize = 8 << 20;

/// A thread that this helper traces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced {
    pub(crate) thread: usize,
}

/// A stop: signal, event.
fn stop(status: u32) -> Option<(u32, u32)> {
    (status & 0xff == 0x7f).then_some((status >> 8 & 0xff, status >> 16))
}

/// Lets the caller run up to its exec. Signals on the way are kept back: natively they could come a little later too.
pub(crate) fn await_exec(shared: &mut Shared) -> Option<Traced> {
    loop {
        let (thread, status) = sys::wait(-1, k::__WALL)?;
        let traced = Traced { thread };
        let Some((signal, event)) = stop(status) else {
            return None; // the caller has ended
        };
        match event {
            p::PTRACE_EVENT_EXEC => return Some(traced),
            0 => {
                let free = shared
                    .held
                    .iter_mut()
                    .find(|held| **held == 0 || **held == signal);
                let pass = match free {
                    Some(free) => {
                        *free = signal;
                        0
                    }
                    None => signal,
                };
                traced.ask(p::PTRACE_CONT, 0, pass as usize);
            }
            _ if signal != k::SIGTRAP => {
                traced.ask(p::PTRACE_LISTEN, 0, 0); // stopped by job control
            }
            _ => {
                traced.ask(p::PTRACE_CONT, 0, 0);
            }
        }
    }
}

impl Traced {
    fn ask(self, request: u32, address: usize, data: usize) -> isize {
        // SAFETY: I18: what `data` points to is the caller's own.
        unsafe {
            call(
                k::__NR_ptrace,
                [request as usize, self.thread, address, data],
            )
        }
    }

    pub(crate) fn seize(self) -> bool {
        let options = p::PTRACE_O_TRACEEXEC | p::PTRACE_O_TRACESYSGOOD;
        self.ask(p::PTRACE_SEIZE, 0, options as usize) == 0
    }

    /// Runs up to the next border of a system call.
    fn step(self, shared: &mut Shared) -> Option<()> {
        self.ask(p::PTRACE_SYSCALL, 0, 0);
        loop {
            let (_, status) = sys::wait(self.thread.cast_signed(), k::__WALL)?;
            let (signal, event) = stop(status)?;
            if signal == SYSCALL_STOP {
                return Some(());
            }
            if event == 0
                && let Some(free) = shared.held.iter_mut().find(|held| **held == 0)
            {
                *free = signal; // SIGSTOP: all others are blocked
            }
            self.ask(p::PTRACE_SYSCALL, 0, 0);
        }
    }

    fn registers(self) -> Registers {
        let mut registers = Registers::default();
        self.ask(p::PTRACE_GETREGS, 0, (&raw mut registers).addr());
        registers
    }

    fn set(self, registers: &Registers) -> bool {
        self.ask(p::PTRACE_SETREGS, 0, core::ptr::from_ref(registers).addr()) == 0
    }

    fn copy(self, number: u32, own: usize, theirs: u64, len: usize) -> Option<usize> {
        let (own, theirs) = ([own, len], [theirs as usize, len]);
        let (own, theirs) = ((&raw const own).addr(), (&raw const theirs).addr());
        // SAFETY: `own` is what the two below borrow.
        let copied = unsafe { call(number, [self.thread, own, 1, theirs, 1, 0]) };
        usize::try_from(copied).ok()
    }

    /// Reads, as far as there is something.
    fn read(self, from: u64, to: &mut [u8]) -> Option<usize> {
        self.copy(
            k::__NR_process_vm_readv,
            to.as_mut_ptr().addr(),
            from,
            to.len(),
        )
    }

    fn write(self, to: u64, from: &[u8]) -> Option<()> {
        let copied = self.copy(
            k::__NR_process_vm_writev,
            from.as_ptr().addr(),
            to,
            from.len(),
        )?;
        (copied == from.len()).then_some(())
    }

    /// A call made by the program: what the kernel left in `rax`.
    fn call(
        self,
        shared: &mut Shared,
        at: u64,
        before: &Registers,
        number: u32,
        a: [u64; 6],
    ) -> Option<u64> {
        if !self.set(&before.calling(at, number, a)) {
            return None;
        }
        self.step(shared)?;
        self.step(shared)?;
        let rax = self.registers().rax;
        (rax < 4096u64.wrapping_neg()).then_some(rax)
    }

    /// Starts the runtime in the new program; whatever happens the program is let go.
    pub(crate) fn start_runtime(self, shared: &mut Shared) {
        // Should this helper be killed now, the program has not started, rather than half of it.
        let options = p::PTRACE_O_TRACESYSGOOD | p::PTRACE_O_EXITKILL;
        self.ask(p::PTRACE_SETOPTIONS, 0, options as usize);
        if self.step(shared).is_some() {
            let before = self.registers();
            if before.cs == LONG {
                let mut mask = 0u64;
                self.ask(p::PTRACE_GETSIGMASK, 8, (&raw mut mask).addr());
                self.ask(p::PTRACE_SETSIGMASK, 8, (&raw const ALL).addr());
                let ready = self.inject(shared, &before);
                self.set(&ready.unwrap_or(before));
                self.ask(p::PTRACE_SETSIGMASK, 8, (&raw const mask).addr());
            }
        }
        for signal in shared.held.into_iter().filter(|&s| s != 0) {
            // SAFETY: touches no memory.
            unsafe { call(k::__NR_tgkill, [self.thread, self.thread, signal as usize]) };
        }
        self.ask(p::PTRACE_DETACH, 0, 0);
    }

    /// Maps the runtime. Answers with which registers it starts; where that fails, nothing of it is left.
    fn inject(self, shared: &mut Shared, before: &Registers) -> Option<Registers> {
        let at = self.find_syscall(before.rsp)?;
        let len = START_LEN as u64;
        let protection = u64::from(k::PROT_READ | k::PROT_WRITE);
        let flags = u64::from(k::MAP_PRIVATE | k::MAP_ANONYMOUS);
        let map = [0, len, protection, flags, u64::MAX, 0];
        let block = self.call(shared, at, before, k::__NR_mmap, map)?;
        let ready = self.inject_at(shared, before, at, block);
        if ready.is_none() {
            self.call(shared, at, before, k::__NR_munmap, [block, len, 0, 0, 0, 0]);
        }
        ready
    }

    fn inject_at(
        self,
        shared: &mut Shared,
        before: &Registers,
        at: u64,
        block: u64,
    ) -> Option<Registers> {
        let text = block + size_of::<Start>() as u64;
        self.write(text, shared.text())?;
        let files = self.files(shared, before, at, text)?;
        let ready = self.inject_with(shared, before, at, block, files);
        if ready.is_none() {
            self.close(shared, before, at, &files);
        }
        ready
    }

    /// Opens the library in the new program, or makes files of what the caller carries. Leaves none where one fails.
    fn files(
        self,
        shared: &mut Shared,
        before: &Registers,
        at: u64,
        text: u64,
    ) -> Option<[u64; FILES]> {
        let mut files = [NO_FILE; FILES];
        if !shared.carries() {
            let flags = u64::from(k::O_RDONLY | k::O_CLOEXEC);
            let open = [k::AT_FDCWD as u64, text, flags, 0, 0, 0];
            files[0] = self.call(shared, at, before, k::__NR_openat, open)?;
            return Some(files);
        }
        let name = text + shared.text().len() as u64;
        self.write(name, b"libhotpatch\0")?;
        for (to, from) in files.iter_mut().zip(shared.carried) {
            if from.len == 0 {
                continue;
            }
            let make = [name, k::MFD_CLOEXEC.into(), 0, 0, 0, 0];
            let made = self.call(shared, at, before, k::__NR_memfd_create, make);
            *to = made.unwrap_or(NO_FILE);
            let filled = made.and_then(|file| self.fill(shared, before, at, file, from));
            if filled.is_none() {
                self.close(shared, before, at, &files);
                return None;
            }
        }
        Some(files)
    }

    /// Fills a file of the new program's from the caller's memory, which this helper still shares.
    fn fill(
        self,
        shared: &mut Shared,
        before: &Registers,
        at: u64,
        file: u64,
        from: Bytes,
    ) -> Option<()> {
        let len = from.len as u64;
        let size = [file, len, 0, 0, 0, 0];
        self.call(shared, at, before, k::__NR_ftruncate, size)?;
        let protection = u64::from(k::PROT_READ | k::PROT_WRITE);
        let map = [0, len, protection, k::MAP_SHARED.into(), file, 0];
        let there = self.call(shared, at, before, k::__NR_mmap, map)?;
        let copied = self.copy(k::__NR_process_vm_writev, from.at, there, from.len);
        self.call(shared, at, before, k::__NR_munmap, [there, len, 0, 0, 0, 0]);
        (copied == Some(from.len)).then_some(())
    }

    fn close(self, shared: &mut Shared, before: &Registers, at: u64, files: &[u64]) {
        for &file in files.iter().filter(|&&file| file != NO_FILE) {
            let close = [file, 0, 0, 0, 0, 0];
            self.call(shared, at, before, k::__NR_close, close);
        }
    }

    fn inject_with(
        self,
        shared: &mut Shared,
        before: &Registers,
        at: u64,
        block: u64,
        files: [u64; FILES],
    ) -> Option<Registers> {
        let [descriptor, ..] = files;
        let entry = Entry::of(shared.head());
        let protection = u64::from(k::PROT_READ | k::PROT_EXEC);
        let map = [
            0,
            entry.len,
            protection,
            k::MAP_PRIVATE.into(),
            descriptor,
            0,
        ];
        let base = self.call(shared, at, before, k::__NR_mmap, map)?;
        // SAFETY: reads no memory.
        let helper = unsafe { call(k::__NR_getpid, []) }.unsigned_abs() as u64;
        let start = Start {
            registers: *before,
            base,
            files,
            follows: shared.follows.into(),
            carried: shared.carries().into(),
            len: START_LEN as u64,
            helper,
            path_len: shared.path().len() as u64,
            settings_len: (shared.text().len() - shared.path().len()) as u64,
            what: crate::START,
            threads: 0,
            answer: 0,
        };
        let pointer = (&raw const start).cast::<u8>();
        // SAFETY: the bytes of `start`, which has no gaps.
        let bytes = unsafe { core::slice::from_raw_parts(pointer, size_of::<Start>()) };
        let mut head = [0; crate::HEAD];
        let same = self.read(base, &mut head) == Some(head.len()) && head == shared.head();
        if same && self.write(block, bytes).is_some() {
            return Some(Registers {
                rip: base + entry.at,
                rsp: block + START_LEN as u64,
                rdi: block,
                rax: 0,
                orig_rax: u64::MAX,
                ..*before
            });
        }
        let unmap = [base, entry.len, 0, 0, 0, 0];
        self.call(shared, at, before, k::__NR_munmap, unmap);
        None
    }

    /// A `syscall` of the vDSO, so that no page of the program is touched.
    fn find_syscall(self, stack: u64) -> Option<u64> {
        let vdso = self.auxiliary(stack)?;
        let mut page = [0u8; 4096];
        for start in (vdso..vdso + 4 * 4096).step_by(4096) {
            self.read(start, &mut page)?;
            if let Some(at) = page.windows(2).position(|pair| pair == b"\x0f\x05") {
                return Some(start + at as u64);
            }
        }
        None
    }

    /// Where the vDSO is: past the arguments and the environment.
    fn auxiliary(self, stack: u64) -> Option<u64> {
        let mut words = [0u64; 256];
        let mut count = 0u64;
        self.read_words(stack, &mut words)?;
        if let Some(first) = words.first() {
            count = *first;
        }
        let mut at = stack.checked_add(count.checked_add(2)?.checked_mul(8)?)?;
        let end = stack + MOST_OF_STACK as u64;
        let mut in_environment = true;
        let mut key = None;
        while at < end {
            let got = self.read_words(at, &mut words)?;
            for word in words.iter().take(got) {
                if in_environment {
                    in_environment = *word != 0;
                } else if let Some(known) = key.take() {
                    if known == u64::from(AT_SYSINFO_EHDR) {
                        return Some(*word);
                    }
                    if known == u64::from(AT_NULL) {
                        return None;
                    }
                } else {
                    key = Some(*word);
                }
            }
            at += 8 * got as u64;
        }
        None
    }

    fn read_words(self, from: u64, words: &mut [u64; 256]) -> Option<usize> {
        // What is read ends with its page: behind the last the stack may end.
        let most = (4096 - from % 4096).min(8 * 256) as usize;
        // SAFETY: words are bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), most) };
        let got = self.read(from, bytes)? / 8;
        (got > 0).then_some(got)
    }
}
