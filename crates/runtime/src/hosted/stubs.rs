//! What stands before each function of a hosted hook: keeps the registers that compiled code may change and freestanding
//! code does not, and gives it a thread of its own libc. So gates need not know which kind of hook they call.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I22: `gs` leads to this thread's block, whose donor nobody else uses; I2: these are the instructions that name vector
//! registers, and what they change they put back.

use core::arch::{global_asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::hosted::Hosted;
use crate::load::MOST;
use crate::thread::Block;

/// What a stub leads to.
#[repr(C, align(32))]
#[derive(Debug)]
pub struct Target {
    function: AtomicPtr<()>,
    /// One of the `with_…` functions here.
    keeps: AtomicPtr<()>,
    /// [`OWN_THREAD`] or 0.
    flags: AtomicU32,
    /// The hook's number.
    hook: AtomicU32,
}

/// In [`Target::flags`]: it is called as the thread that calls it, on the same stack.
pub const OWN_THREAD: u32 = 1;

/// The functions of a hook.
pub const FUNCTIONS: usize = 5;
/// Those of the hosted libc that the runtime calls.
pub const SERVICES: usize = 11;
const TARGETS: usize = MOST * FUNCTIONS + SERVICES;

static TARGET: [Target; TARGETS] = [const {
    Target {
        function: AtomicPtr::new(core::ptr::null_mut()),
        keeps: AtomicPtr::new(core::ptr::null_mut()),
        flags: AtomicU32::new(0),
        hook: AtomicU32::new(u32::MAX),
    }
}; TARGETS];

/// What a stub keeps while its function runs, on the stack of whoever has called it.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Kept {
    /// Where the stub's own frame begins: the registers that it has pushed, and its return address, at 8 more.
    outer: u64,
    /// What puts everything back.
    restore: u64,
    /// What was called.
    target: *const Target,
    /// The base of the program's `fs`.
    fs: u64,
    mxcsr: u32,
    now: u32,
    /// The x87 status word.
    status: u32,
    /// Not 0: the x87 state is that of a program which does not use it, and stands nowhere.
    plain: u32,
    /// As `fxsave` writes it: the x87 state.
    legacy: Legacy,
    vectors: [[u8; 64]; 32],
    masks: [u64; 8],
}

#[repr(C, align(64))]
#[derive(Debug)]
struct Legacy([u8; 512]);

impl Kept {
    /// The number of the hook that was called.
    #[must_use]
    pub fn hook(&self) -> usize {
        // SAFETY: I22: a stub has written it, and targets are statics.
        unsafe { &*self.target }.hook.load(Ordering::Relaxed) as usize
    }
}

/// Which registers a function may change beside the general ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// None.
    Nothing,
    /// xmm0 to xmm15 and mxcsr.
    Xmm,
    /// ymm0 to ymm15 and mxcsr.
    Ymm,
    /// All that a processor without wider ones has, and x87.
    AllXmm,
    /// The same with ymm.
    AllYmm,
    /// The same with zmm0 to zmm31 and the masks.
    AllZmm,
}

impl Width {
    fn keeper(self) -> unsafe extern "C" fn() {
        match self {
            Self::Nothing => with_nothing,
            Self::Xmm => with_xmm,
            Self::Ymm => with_ymm,
            Self::AllXmm => with_all_xmm,
            Self::AllYmm => with_all_ymm,
            Self::AllZmm => with_all_zmm,
        }
    }
}

/// Lets stub `index` lead to `function`; answers the stub's address.
///
/// # Safety
/// I14: start-up's alone.
pub unsafe fn lead(index: usize, function: u64, width: Width, flags: u32, hook: u32) -> u64 {
    if let Some(target) = TARGET.get(index) {
        let function = core::ptr::with_exposed_provenance_mut(function as usize);
        // Relaxed, all of these: whoever calls the stub learns of it later.
        target.function.store(function, Ordering::Relaxed);
        target.flags.store(flags, Ordering::Relaxed);
        target.hook.store(hook, Ordering::Relaxed);
        let keeper = width.keeper() as *mut ();
        target.keeps.store(keeper, Ordering::Relaxed);
    }
    at(index)
}

/// The address of a stub.
#[must_use]
pub fn at(index: usize) -> u64 {
    crate::labels::label!(hotpatch_hosted_stubs) + 16 * index as u64
}

global_asm!(
    ".pushsection .text.hotpatch_hosted, \"ax\", @progbits",
    ".p2align 4",
    ".globl hotpatch_hosted_stubs",
    ".hidden hotpatch_hosted_stubs",
    "hotpatch_hosted_stubs:",
    ".set hotpatch_hosted_stub, 0",
    // rdi, rsi, rdx, rcx = the function's arguments
    ".rept {targets}",
    ".p2align 4",
    "lea {all}+hotpatch_hosted_stub(%rip), %r11",
    "jmp *{keeps}(%r11)",
    ".set hotpatch_hosted_stub, hotpatch_hosted_stub + {size}",
    ".endr",
    ".popsection",
    targets = const TARGETS,
    size = const size_of::<Target>(),
    all = sym TARGET,
    keeps = const offset_of!(Target, keeps),
    options(att_syntax)
);

const HOSTED: usize = offset_of!(Block, hosted);

/// A stub's way from its target to the function and back.
///
/// ```text
///   return address
///   rbp            <- rbp
///   rbx
///   r12
///   Kept           <- r12 = rsp, 64-aligned, rbx = the target; the function runs below it, or on its donor's stack
/// ```
///
/// r11 = the target. Behind the function eax is its answer; nothing else of what it has left is used but what it has to
/// keep. `restore` may also be gone to when the function does not return: with r12 as here it returns to where
/// `Kept::outer` says.
macro_rules! keeper {
    ($name:ident, $len:expr, [$($save:literal,)*], [$($restore:literal,)*]) => {
        /// See [`Width`].
        ///
        /// # Safety
        /// Gone to by a stub.
        #[unsafe(naked)]
        unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined rip",
                "test dword ptr [r11 + {flags}], {own}",
                "jnz 2f",
                "cmp qword ptr gs:[{donor_fs}], 0",
                "je 8f",
                "2:",
                "push rbp",
                "mov rbp, rsp",
                "push rbx",
                "push r12",
                "sub rsp, {len}",
                "and rsp, -64",
                "mov r12, rsp",
                "mov rbx, r11",
                "lea rax, [rip + 9f]",
                "mov [r12 + {outer}], rbp",
                "mov [r12 + {restore}], rax",
                "mov [r12 + {target}], rbx",
                $($save,)*
                "mov gs:[{inside}], r12",
                "test dword ptr [rbx + {flags}], {own}",
                "jnz 2f",
                "rdfsbase rax",
                "mov [r12 + {fs}], rax",
                "mov rax, gs:[{donor_fs}]",
                "mov r10, gs:[{id}]",
                "mov r11d, gs:[{thread}]",
                "wrfsbase rax",
                "mov [r10], r11d",
                "mov rsp, gs:[{donor_stack}]",
                "2:",
                "call [rbx + {function}]",
                "9:",
                "mov rsp, r12",
                "mov rbx, [r12 + {target}]",
                "test dword ptr [rbx + {flags}], {own}",
                "jnz 2f",
                "mov rdx, [r12 + {fs}]",
                "mov rcx, gs:[{id}]",
                "mov esi, gs:[{own_id}]",
                "wrfsbase rdx",
                "mov [rcx], esi",
                "2:",
                $($restore,)*
                "mov qword ptr gs:[{inside}], 0",
                "mov rbp, [r12 + {outer}]",
                "lea rsp, [rbp - 16]",
                "pop r12",
                "pop rbx",
                "pop rbp",
                "ret",
                // A thread without a donor: only what needs none is called.
                "8:",
                "xor eax, eax",
                "ret",
                "/* {legacy} {vectors} {masks} {mxcsr} {now} {status} {plain} {usual} */",
                ".cfi_endproc",
                len = const $len,
                outer = const offset_of!(Kept, outer),
                restore = const offset_of!(Kept, restore),
                target = const offset_of!(Kept, target),
                fs = const offset_of!(Kept, fs),
                mxcsr = const offset_of!(Kept, mxcsr),
                now = const offset_of!(Kept, now),
                status = const offset_of!(Kept, status),
                plain = const offset_of!(Kept, plain),
                legacy = const offset_of!(Kept, legacy),
                vectors = const offset_of!(Kept, vectors),
                masks = const offset_of!(Kept, masks),
                usual = sym USUAL,
                inside = const HOSTED + offset_of!(Hosted, inside),
                donor_fs = const HOSTED + offset_of!(Hosted, fs),
                donor_stack = const HOSTED + offset_of!(Hosted, stack),
                id = const HOSTED + offset_of!(Hosted, id),
                thread = const HOSTED + offset_of!(Hosted, thread),
                own_id = const HOSTED + offset_of!(Hosted, own),
                flags = const offset_of!(Target, flags),
                function = const offset_of!(Target, function),
                own = const OWN_THREAD,
            )
        }
    };
}

/// The mxcsr that a function may expect: all exceptions masked, rounding to nearest.
static USUAL: u32 = 0x1f80;

const _: () = assert!(offset_of!(Kept, legacy).is_multiple_of(16));
const _: () = assert!(offset_of!(Kept, vectors).is_multiple_of(16));

keeper!(with_nothing, offset_of!(Kept, legacy), [], []);

/// The parts of what a keeper does, by name.
macro_rules! parts {
    ($name:ident, $len:expr, $(($save:ident, $restore:ident)),*) => {
        parts!(@ $name, $len, [], [], $(($save, $restore)),*);
    };
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*],) => {
        keeper!($name, $len, [$($saved,)*], [$($restored,)*]);
    };
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*], (mxcsr, mxcsr) $(, $rest:tt)*) => {
        parts!(@ $name, $len, [
            $($saved,)*
            "stmxcsr [r12 + {mxcsr}]",
            "mov eax, [r12 + {mxcsr}]",
            "and eax, 0xffc0", // what has happened so far stays, and disturbs nobody
            "cmp eax, 0x1f80",
            "je 3f",
            "ldmxcsr [rip + {usual}]",
            "3:",
        ], [
            $($restored,)*
            "stmxcsr [r12 + {now}]",
            "mov edx, [r12 + {now}]",
            "cmp edx, [r12 + {mxcsr}]",
            "je 3f",
            "ldmxcsr [r12 + {mxcsr}]",
            "3:",
        ], $($rest),*);
    };
    // A program that does not use x87 has its usual control word, a status word of 0 and nothing at the top of its stack, nor
    // right below it, as MMX would have. That costs a third of `fxsave`. Looking has changed the status word, until a number
    // has come and gone.
    // Where it does use it, control word, top of stack and tags say whether registers need be put back, or only control
    // and status word, where they have changed.
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*], (x87, x87) $(, $rest:tt)*) => {
        parts!(@ $name, $len, [
            $($saved,)*
            "fnstcw [r12 + {now}]",
            "fnstsw ax",
            "movzx r10d, word ptr [r12 + {now}]",
            "movzx eax, ax",
            "mov [r12 + {status}], eax",
            "xor r10d, 0x37f",
            "or eax, r10d",
            "jne 5f",
            "fxam",
            "fnstsw ax",
            "fdecstp",
            "fxam",
            "mov r10d, eax",
            "fnstsw ax",
            "fincstp",
            "and r10d, 0x4500",
            "and eax, 0x4500",
            "cmp r10d, 0x4100", // nothing
            "jne 5f",
            "cmp eax, r10d",
            "jne 5f",
            "fld1",
            "ftst",
            "fstp st(0)",
            "mov dword ptr [r12 + {plain}], 1",
            "jmp 4f",
            "5:",
            "fxsave64 [r12 + {legacy}]",
            "mov eax, [r12 + {status}]",
            "mov dword ptr [r12 + {plain}], 0",
            "mov [r12 + {legacy} + 2], ax",
            "mov eax, [r12 + {legacy}]",
            "and eax, 0x3800ffff",
            "cmp eax, 0x37f",
            "jne 3f",
            "cmp byte ptr [r12 + {legacy} + 4], 0",
            "je 4f",
            "3:",
            "fninit",
            "4:",
        ], [
            $($restored,)*
            "fnstcw [r12 + {now}]",
            "fnstsw [r12 + {now} + 2]",
            "mov edx, [r12 + {now}]",
            "cmp dword ptr [r12 + {plain}], 0",
            "je 5f",
            "cmp edx, 0x37f",
            "je 4f",
            "fninit",
            "jmp 4f",
            "5:",
            "cmp edx, [r12 + {legacy}]",
            "jne 3f",
            "cmp byte ptr [r12 + {legacy} + 4], 0",
            "je 4f",
            "3:",
            "fxrstor64 [r12 + {legacy}]",
            "4:",
        ], $($rest),*);
    };
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*], (xmm, xmm) $(, $rest:tt)*) => {
        parts!(@ $name, $len, [
            $($saved,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "movups [r12 + {vectors} + 16 * \\n], xmm\\n",
            ".endr",
        ], [
            $($restored,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "movups xmm\\n, [r12 + {vectors} + 16 * \\n]",
            ".endr",
        ], $($rest),*);
    };
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*], (ymm, ymm) $(, $rest:tt)*) => {
        parts!(@ $name, $len, [
            $($saved,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqu [r12 + {vectors} + 32 * \\n], ymm\\n",
            ".endr",
        ], [
            $($restored,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "vmovdqu ymm\\n, [r12 + {vectors} + 32 * \\n]",
            ".endr",
        ], $($rest),*);
    };
    (@ $name:ident, $len:expr, [$($saved:literal,)*], [$($restored:literal,)*], (zmm, zmm) $(, $rest:tt)*) => {
        parts!(@ $name, $len, [
            $($saved,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "vmovdqu64 [r12 + {vectors} + 64 * \\n], zmm\\n",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
            "kmovq [r12 + {masks} + 8 * \\n], k\\n",
            ".endr",
        ], [
            $($restored,)*
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "vmovdqu64 zmm\\n, [r12 + {vectors} + 64 * \\n]",
            ".endr",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
            "kmovq k\\n, [r12 + {masks} + 8 * \\n]",
            ".endr",
        ], $($rest),*);
    };
}

parts!(
    with_xmm,
    offset_of!(Kept, vectors) + 16 * 16,
    (xmm, xmm),
    (mxcsr, mxcsr)
);
parts!(
    with_ymm,
    offset_of!(Kept, vectors) + 16 * 32,
    (ymm, ymm),
    (mxcsr, mxcsr)
);
parts!(
    with_all_xmm,
    offset_of!(Kept, vectors) + 16 * 16,
    (x87, x87),
    (xmm, xmm),
    (mxcsr, mxcsr)
);
parts!(
    with_all_ymm,
    offset_of!(Kept, vectors) + 16 * 32,
    (x87, x87),
    (ymm, ymm),
    (mxcsr, mxcsr)
);
parts!(
    with_all_zmm,
    size_of::<Kept>(),
    (x87, x87),
    (zmm, zmm),
    (mxcsr, mxcsr)
);

/// Puts back what the stub has kept that this thread is in, and stays on the stack that it is on: the function will not
/// return.
///
/// # Safety
/// I22: this thread is in a hosted function, which is left for good.
#[unsafe(naked)]
pub unsafe extern "C" fn abandon() {
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        "push rbp",
        "push r12",
        "mov r12, gs:[{inside}]",
        "mov rdi, rsp",
        "mov rax, [r12 + {outer}]",
        "lea rcx, [rip + 2f]",
        "mov [rax + 8], rcx",
        "jmp [r12 + {restore}]",
        "2:",
        "mov rsp, rdi",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        ".cfi_endproc",
        inside = const HOSTED + offset_of!(Hosted, inside),
        outer = const Kept::OUTER,
        restore = const Kept::RESTORE,
    )
}

impl Kept {
    /// Where `outer` is.
    pub const OUTER: usize = offset_of!(Self, outer);
    /// Where `restore` is.
    pub const RESTORE: usize = offset_of!(Self, restore);
}
