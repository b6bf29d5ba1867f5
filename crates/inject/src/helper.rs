//! The helper's life, and the caller's part in it.
//!
//! # Safety
//! I18: the helper runs on a mapping of its own, with all signals blocked, and reads of the shared memory only what the
//! caller lent it.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general as k;
use linux_raw_sys::prctl::PR_SET_PTRACER;

use crate::remote::{self, Traced};
use crate::sys::{self, Signals, call};
use crate::{Bytes, Carried, FILES, LONGEST, Runtime};

/// Why an exec cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There is no memory or no process to be had, or the settings are too long.
    Resources,
    /// The kernel lets nobody trace this thread: it is traced already, or a policy forbids it.
    Ptrace,
    /// This thread's next child would be the first of a process namespace, which ends with it, or come into another.
    Namespace,
}

/// Bytes of the helper's mapping.
const LEN: usize = 64 << 10;
/// How many signals are kept back.
pub(crate) const HELD: usize = 16;

/// At the start of the helper's mapping; its end is the helper's stack.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Shared {
    state: AtomicU32,
    /// Whom to trace.
    thread: usize,
    /// Its process.
    process: usize,
    /// Signals that came between the beginning and the exec; 0 is none.
    pub(crate) held: [u32; HELD],
    path_len: usize,
    settings_len: usize,
    pub(crate) follows: bool,
    /// Files to be carried; none where the new program opens the library itself.
    pub(crate) carried: Carried,
    head: [u8; crate::HEAD],
    text: [u8; LONGEST],
}

impl Shared {
    pub(crate) fn path(&self) -> &[u8] {
        self.text.get(..self.path_len).unwrap_or(&[])
    }
    /// Path and settings.
    pub(crate) fn text(&self) -> &[u8] {
        self.text
            .get(..self.path_len + self.settings_len)
            .unwrap_or(&[])
    }
    pub(crate) fn carries(&self) -> bool {
        self.carried.iter().any(|file| file.len > 0)
    }
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }
}

const BEGUN: u32 = 0;
const ASKS: u32 = 1;
const ALLOWED: u32 = 2;
const READY: u32 = 3;
const REFUSED: u32 = 4;

/// A helper that waits for this thread's exec.
#[derive(Debug)]
pub struct Helper {
    id: usize,
    shared: *mut Shared,
}

fn copy_bytes(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Makes a helper, which traces this thread from here on: it must exec, or [`Helper::cancel`].
///
/// # Errors
/// Why not; then nothing is left behind.
pub fn begin(runtime: &Runtime<'_>) -> Result<Helper, Refused> {
    let path = runtime.path.to_bytes_with_nul();
    if path.len() + runtime.settings.len() > LONGEST || runtime.head.len() != crate::HEAD {
        return Err(Refused::Resources);
    }
    if runtime.namespaces && !sys::children_are_beside() {
        return Err(Refused::Namespace);
    }
    let protection = (k::PROT_READ | k::PROT_WRITE) as usize;
    let flags = (k::MAP_PRIVATE | k::MAP_ANONYMOUS) as usize;
    // SAFETY: a new mapping.
    let at = unsafe { call(k::__NR_mmap, [0, LEN, protection, flags, usize::MAX, 0]) };
    if at < 0 {
        return Err(Refused::Resources);
    }
    let pointer = core::ptr::with_exposed_provenance_mut::<Shared>(at.unsigned_abs());
    // SAFETY: I18: just mapped, zeros are a `Shared`, and nobody else knows it yet.
    let shared = unsafe { &mut *pointer };
    shared.thread = sys::thread_id();
    // SAFETY: reads no memory.
    shared.process = unsafe { call(k::__NR_getpid, []) }.unsigned_abs();
    shared.path_len = path.len();
    shared.settings_len = runtime.settings.len();
    shared.follows = runtime.follows;
    shared.carried = *runtime.carried.unwrap_or(&[Bytes { at: 0, len: 0 }; FILES]);
    copy_bytes(&mut shared.head, runtime.head);
    copy_bytes(&mut shared.text, path);
    copy_bytes(
        shared.text.get_mut(path.len()..).unwrap_or(&mut []),
        runtime.settings,
    );
    let blocked = Signals::block();
    // SAFETY: I18: the helper's own mapping.
    let id = unsafe { spawn(pointer, at.unsigned_abs() + LEN) };
    drop(blocked);
    let mut helper = Helper {
        id: id.unsigned_abs(),
        shared: pointer,
    };
    if id < 0 {
        helper.unmap();
        return Err(Refused::Resources);
    }
    // SAFETY: I18: both sides use the word alone from here on.
    let state = unsafe { &(*pointer).state };
    loop {
        // Acquire: pairs with the helper's Release.
        match state.load(Ordering::Acquire) {
            READY => return Ok(helper),
            REFUSED => {
                helper.reap();
                return Err(Refused::Ptrace);
            }
            ASKS => {
                // SAFETY: touches no memory.
                unsafe { call(k::__NR_prctl, [PR_SET_PTRACER as usize, helper.id, 0, 0, 0]) };
                state.store(ALLOWED, Ordering::Release);
                sys::wake(state);
            }
            other => {
                sys::wait_while(state, other);
                // Somebody may have killed it.
                let over = sys::wait(helper.id.cast_signed(), k::__WALL | k::WNOHANG);
                if over.is_some() && state.load(Ordering::Acquire) == other {
                    helper.unmap();
                    return Err(Refused::Resources);
                }
            }
        }
    }
}

impl Helper {
    /// The exec has failed: nothing is left of the helper, and signals that it kept back arrive.
    pub fn cancel(mut self) {
        // SAFETY: touches no memory. A tracer that dies lets go.
        unsafe { call(k::__NR_kill, [self.id, k::SIGKILL as usize]) };
        sys::wait(self.id.cast_signed(), k::__WALL);
        // SAFETY: the helper is gone: all of it is ours.
        let held = unsafe { (*self.shared).held };
        // SAFETY: as above.
        let process = unsafe { (*self.shared).process };
        self.unmap();
        for signal in held.into_iter().filter(|&s| s != 0) {
            // SAFETY: touches no memory.
            unsafe { call(k::__NR_tgkill, [process, sys::thread_id(), signal as usize]) };
        }
    }

    fn reap(&mut self) {
        sys::wait(self.id.cast_signed(), k::__WALL);
        self.unmap();
    }

    fn unmap(&mut self) {
        // SAFETY: I18: nobody runs there.
        unsafe { call(k::__NR_munmap, [self.shared.addr(), LEN]) };
    }
}

/// Begins the helper: answers its id, or the kernel's error.
///
/// # Safety
/// I18: `stack` is the end of the mapping that begins with `shared`; all signals are blocked.
unsafe fn spawn(shared: *mut Shared, stack: usize) -> isize {
    let result;
    // No signal at its end: the caller waits for it by its id, or the new program's runtime does.
    // SAFETY: in the child nothing of the caller's frame is used, and it never comes back.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12", // stack is 16-aligned: as at the entry of any function
            "ud2",
            "2:",
            inlateout("rax") k::__NR_clone as usize => result,
            // Whoever traces the caller gets no part in it.
            in("rdi") (k::CLONE_VM | k::CLONE_UNTRACED) as usize,
            in("rsi") stack,
            in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") main as *const () as usize,
            in("r13") shared.addr(),
            lateout("rcx") _, lateout("r11") _, lateout("r9") _,
        );
    }
    result
}

/// What the helper does.
unsafe extern "C" fn main(pointer: *mut Shared) -> ! {
    // SAFETY: I18: lent by the caller; what both write is atomic.
    let shared = unsafe { &mut *pointer };
    // Its own table of them: a pipe must end when the program closes it.
    // SAFETY: touches no memory.
    unsafe { call(k::__NR_close_range, [0, u32::MAX as usize, 0]) };
    let traced = Traced {
        thread: shared.thread,
    };
    let mut seized = traced.seize();
    if !seized {
        shared.state.store(ASKS, Ordering::Release);
        sys::wake(&shared.state);
        while shared.state.load(Ordering::Acquire) == ASKS {
            sys::wait_while(&shared.state, ASKS);
            // SAFETY: touches no memory.
            let parent = unsafe { call(k::__NR_getppid, []) }.unsigned_abs();
            if parent != shared.process {
                leave(pointer); // it has been killed, which may be why nobody could trace it
            }
        }
        seized = traced.seize();
    }
    shared
        .state
        .store(if seized { READY } else { REFUSED }, Ordering::Release);
    sys::wake(&shared.state);
    if !seized {
        end();
    }
    if let Some(traced) = remote::await_exec(shared) {
        traced.start_runtime(shared);
    }
    leave(pointer)
}

/// Ends the helper, and its mapping: of a child of `vfork` the memory goes on to be the parent's.
fn leave(pointer: *mut Shared) -> ! {
    // SAFETY: I18: its own mapping, left for good: what follows needs no stack.
    unsafe {
        asm!(
            "syscall",
            "mov eax, {exit}",
            "xor edi, edi",
            "syscall",
            "ud2",
            exit = const k::__NR_exit_group,
            in("rax") k::__NR_munmap as usize,
            in("rdi") pointer.addr(),
            in("rsi") LEN,
            options(noreturn, nostack),
        )
    }
}

fn end() -> ! {
    loop {
        // SAFETY: ends this process.
        unsafe { call(k::__NR_exit_group, [0]) };
    }
}

const _: () = assert!(size_of::<Shared>() + (16 << 10) <= LEN && BEGUN == 0);
