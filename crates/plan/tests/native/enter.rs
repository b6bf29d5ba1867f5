//! The way into code under test and back, and the filter around it.

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::mem::offset_of;

/// Every register that a function can see.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15.
    pub general: [u64; 16],
    /// `rflags`.
    pub flags: u64,
    pad: [u64; 3],
    /// ymm0 to ymm15; where the processor has no AVX, the upper halves are not touched.
    pub vector: [[u64; 4]; 16],
}

impl State {
    /// A state with these registers and status flags.
    pub fn new(general: [u64; 16], flags: u64, vector: [[u64; 4]; 16]) -> Self {
        // CF PF AF ZF SF DF OF, and the bits that are always set.
        Self {
            general,
            flags: flags & 0xcd5 | 0x202,
            pad: [0; 3],
            vector,
        }
    }

    /// Reads what a child wrote.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|b| bytes[8 * i + b]));
        Self {
            general: std::array::from_fn(word),
            flags: word(16),
            pad: [0; 3],
            vector: std::array::from_fn(|r| std::array::from_fn(|w| word(20 + 4 * r + w))),
        }
    }

    pub(super) fn set_rsp(&mut self, rsp: u64) {
        self.general[4] = rsp;
    }
}

/// Where `enter` keeps what it needs when no register is left for it.
#[repr(C)]
struct Kept {
    state: u64,
    entry: u64,
    rsp: u64,
    rax: u64,
    avx: u64,
}

struct Slot(UnsafeCell<Kept>);

// SAFETY: only `enter` touches it, in a child with one thread.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(Kept {
    state: 0,
    entry: 0,
    rsp: 0,
    rax: 0,
    avx: 0,
}));

/// Calls `entry` with the registers of `state` and stores there those it leaves.
///
/// # Safety
/// `entry` is code that comes back with its stack balanced and writes no memory of Rust's.
pub(super) unsafe fn enter(state: &mut State, entry: u64) {
    // SAFETY: the child has one thread, and nothing else refers to the slot.
    unsafe { (*SLOT.0.get()).avx = u64::from(std::is_x86_feature_detected!("avx")) };
    // SAFETY: the caller's promise; the state outlives the call.
    unsafe { switch(state, entry) }
}

/// rdi = the state, rsi = where to go.
#[unsafe(naked)]
unsafe extern "sysv64" fn switch(state: *mut State, entry: u64) {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "mov [rip + {slot} + {state}], rdi",
        "mov [rip + {slot} + {entry}], rsi",
        "mov [rip + {slot} + {rsp}], rsp",
        "cmp qword ptr [rip + {slot} + {avx}], 0",
        "je 2f",
        "vmovups ymm0, [rdi + {vector}]", "vmovups ymm1, [rdi + {vector} + 32]",
        "vmovups ymm2, [rdi + {vector} + 64]", "vmovups ymm3, [rdi + {vector} + 96]",
        "vmovups ymm4, [rdi + {vector} + 128]", "vmovups ymm5, [rdi + {vector} + 160]",
        "vmovups ymm6, [rdi + {vector} + 192]", "vmovups ymm7, [rdi + {vector} + 224]",
        "vmovups ymm8, [rdi + {vector} + 256]", "vmovups ymm9, [rdi + {vector} + 288]",
        "vmovups ymm10, [rdi + {vector} + 320]", "vmovups ymm11, [rdi + {vector} + 352]",
        "vmovups ymm12, [rdi + {vector} + 384]", "vmovups ymm13, [rdi + {vector} + 416]",
        "vmovups ymm14, [rdi + {vector} + 448]", "vmovups ymm15, [rdi + {vector} + 480]",
        "2:",
        "mov rsp, [rdi + 32]",
        "push qword ptr [rdi + {flags}]",
        "popfq",
        "mov rax, [rdi]", "mov rcx, [rdi + 8]", "mov rdx, [rdi + 16]", "mov rbx, [rdi + 24]",
        "mov rbp, [rdi + 40]", "mov rsi, [rdi + 48]",
        "mov r8, [rdi + 64]", "mov r9, [rdi + 72]", "mov r10, [rdi + 80]", "mov r11, [rdi + 88]",
        "mov r12, [rdi + 96]", "mov r13, [rdi + 104]", "mov r14, [rdi + 112]", "mov r15, [rdi + 120]",
        "mov rdi, [rdi + 56]",
        "call [rip + {slot} + {entry}]",
        // Every register is the program's; rax makes room for the state's address.
        "mov [rip + {slot} + {rax}], rax",
        "mov rax, [rip + {slot} + {state}]",
        "mov [rax + 8], rcx",
        "pushfq",
        "pop rcx",
        "mov [rax + {flags}], rcx",
        "mov rcx, [rip + {slot} + {rax}]",
        "mov [rax], rcx",
        "mov [rax + 16], rdx", "mov [rax + 24], rbx", "mov [rax + 32], rsp", "mov [rax + 40], rbp",
        "mov [rax + 48], rsi", "mov [rax + 56], rdi", "mov [rax + 64], r8", "mov [rax + 72], r9",
        "mov [rax + 80], r10", "mov [rax + 88], r11", "mov [rax + 96], r12", "mov [rax + 104], r13",
        "mov [rax + 112], r14", "mov [rax + 120], r15",
        "cld",
        "cmp qword ptr [rip + {slot} + {avx}], 0",
        "je 3f",
        "vmovups [rax + {vector}], ymm0", "vmovups [rax + {vector} + 32], ymm1",
        "vmovups [rax + {vector} + 64], ymm2", "vmovups [rax + {vector} + 96], ymm3",
        "vmovups [rax + {vector} + 128], ymm4", "vmovups [rax + {vector} + 160], ymm5",
        "vmovups [rax + {vector} + 192], ymm6", "vmovups [rax + {vector} + 224], ymm7",
        "vmovups [rax + {vector} + 256], ymm8", "vmovups [rax + {vector} + 288], ymm9",
        "vmovups [rax + {vector} + 320], ymm10", "vmovups [rax + {vector} + 352], ymm11",
        "vmovups [rax + {vector} + 384], ymm12", "vmovups [rax + {vector} + 416], ymm13",
        "vmovups [rax + {vector} + 448], ymm14", "vmovups [rax + {vector} + 480], ymm15",
        "vzeroupper",
        "3:",
        "mov rsp, [rip + {slot} + {rsp}]",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        slot = sym SLOT,
        state = const offset_of!(Kept, state),
        entry = const offset_of!(Kept, entry),
        rsp = const offset_of!(Kept, rsp),
        rax = const offset_of!(Kept, rax),
        avx = const offset_of!(Kept, avx),
        flags = const offset_of!(State, flags),
        vector = const offset_of!(State, vector),
    )
}

/// Second and third argument of the one `exit_group` that the filter lets pass.
pub(super) const PASSWORD: u64 = 0x7061_7373;

/// From here on every system call fails with ENOSYS, but for those that only ask who one is.
pub(super) fn forbid_system_calls() {
    const LOAD: u16 = 0x20; // ld [k]
    const EQUAL: u16 = 0x15; // jeq #k
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const NO_SYSTEM_CALL: u32 = 0x0005_0000 | 38;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // Each jumps to the last line, which allows, or goes on.
    let mut filter = [
        op(LOAD, 0, 0, 0),
        op(EQUAL, 9, 0, libc::SYS_getppid as u32),
        op(EQUAL, 8, 0, libc::SYS_getuid as u32),
        op(EQUAL, 7, 0, libc::SYS_getgid as u32),
        op(EQUAL, 6, 0, libc::SYS_geteuid as u32),
        op(EQUAL, 0, 4, libc::SYS_exit_group as u32),
        op(LOAD, 0, 0, 24), // second argument
        op(EQUAL, 0, 2, PASSWORD as u32),
        op(LOAD, 0, 0, 32), // third argument
        op(EQUAL, 1, 0, PASSWORD as u32),
        op(RETURN, 0, 0, NO_SYSTEM_CALL),
        op(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program is valid for the call, which copies it.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    if set != 0 {
        // SAFETY: ends the child before it runs anything without the filter.
        unsafe { libc::_exit(4) };
    }
}
