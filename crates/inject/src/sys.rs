//! The system calls of helper and caller.
//!
//! # Safety
//! I18: each reads and writes memory that its caller names.

use core::arch::asm;
use core::ffi::CStr;

use linux_raw_sys::general as k;

/// Executes a system call.
///
/// # Safety
/// It does nothing to memory that Rust believes to know: the caller says why.
pub(crate) unsafe fn call<const N: usize>(number: u32, given: [usize; N]) -> isize {
    let mut a = [0; 6];
    for (to, from) in a.iter_mut().zip(given) {
        *to = from;
    }
    let result;
    // SAFETY: the kernel changes rax, rcx and r11 alone; memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The registers of a traced thread, as `PTRACE_GETREGS` has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

impl Registers {
    /// The same where a call is made, by the instruction at `at`.
    #[must_use]
    pub fn calling(&self, at: u64, number: u32, arguments: [u64; 6]) -> Self {
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        Self {
            rip: at,
            rax: number.into(),
            orig_rax: u64::MAX,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..*self
        }
    }
}

/// All signals of this thread blocked, until dropped.
#[derive(Debug)]
pub struct Signals(u64);

impl Signals {
    /// Blocks them.
    #[must_use]
    pub fn block() -> Self {
        let mut before = 0u64;
        set_mask(&u64::MAX, &mut before);
        Self(before)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        set_mask(&self.0, &mut 0);
    }
}

fn set_mask(new: &u64, old: &mut u64) {
    let (new, old) = (
        core::ptr::from_ref(new).addr(),
        core::ptr::from_mut(old).addr(),
    );
    // SAFETY: reads `new`, writes `old`.
    unsafe {
        call(
            k::__NR_rt_sigprocmask,
            [k::SIG_SETMASK as usize, new, old, 8],
        )
    };
}

pub(crate) fn thread_id() -> usize {
    // SAFETY: reads no memory.
    unsafe { call(k::__NR_gettid, []) }.unsigned_abs()
}

/// Whether children of this thread come into its own process namespace, as far as can be told.
pub(crate) fn children_are_beside() -> bool {
    let namespace = |path: &CStr| {
        let mut link = [0u8; 32];
        let (path, to) = (path.as_ptr().addr(), link.as_mut_ptr().addr());
        // SAFETY: reads the path, writes `link`.
        let len = unsafe { call(k::__NR_readlink, [path, to, link.len()]) };
        (len > 0).then_some(link)
    };
    let own = namespace(c"/proc/thread-self/ns/pid");
    // Where the first is yet to come, this link leads nowhere.
    own.is_none() || own == namespace(c"/proc/thread-self/ns/pid_for_children")
}

/// Waits for `word` to be another than `value`, for 20 ms at most: who should change it may have been killed.
pub(crate) fn wait_while(word: &core::sync::atomic::AtomicU32, value: u32) {
    let time = [0_u64, 20_000_000];
    let arguments = [
        word.as_ptr().addr(),
        k::FUTEX_WAIT as usize,
        value as usize,
        time.as_ptr().addr(),
    ];
    // SAFETY: reads `word` and `time`.
    unsafe { call(k::__NR_futex, arguments) };
}

pub(crate) fn wake(word: &core::sync::atomic::AtomicU32) {
    let arguments = [word.as_ptr().addr(), k::FUTEX_WAKE as usize, 1];
    // SAFETY: touches no memory.
    unsafe { call(k::__NR_futex, arguments) };
}

/// Waits for a child, or for what this thread traces: its id and status; none is left on an error.
pub(crate) fn wait(id: isize, flags: u32) -> Option<(usize, u32)> {
    loop {
        let mut status = 0u32;
        let arguments = [id as usize, (&raw mut status).addr(), flags as usize, 0];
        // SAFETY: writes `status`.
        match unsafe { call(k::__NR_wait4, arguments) } {
            got @ 1.. => return Some((got.unsigned_abs(), status)),
            interrupted if interrupted == -(linux_raw_sys::errno::EINTR as isize) => {}
            _ => return None,
        }
    }
}
