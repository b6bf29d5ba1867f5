//! From a block in a trampoline to Rust and back: all of the assembly that runs with the program's registers.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12 and I13: `gs` leads to this thread's block, whose stack nobody else uses. I14: what the program's registers are
//! at each label.
//!
//! What the labels mean for an interrupted program counter is [`Regions`].

use core::arch::naked_asm;
use core::mem::offset_of;

use hotpatch_abi::Frame;
use hotpatch_plan::emit::at;
use linux_raw_sys::general::__NR_exit;

use crate::dispatch;
use crate::frame::{Entered, ODD_FLAGS, Record};
use crate::hosted::{Hosted, stubs::Kept};
use crate::signal::{self, slots::Slots};
use crate::thread::{Block, FREE, Own, SLOTS};

pub(crate) const fn in_frame(field: usize) -> usize {
    offset_of!(Entered, frame) + field
}

pub(crate) const fn given(n: usize) -> usize {
    offset_of!(Entered, given) + 8 * n
}

const fn in_record(n: usize) -> usize {
    offset_of!(Record, given) + 8 * n
}

/// A gate: what a block calls. `r11` = the program's stack pointer, `ecx` = the site's id, `rsp` = the hook stack with
/// the return address on it; all other registers and the flags are the program's.
///
/// ```text
///   top ->  Block
///           return address     <- rsp on entry, and again at `ret`
///           flags              <- rsp while it is asked whether this is a nested entry
///           Frame
///           given, id, back    <- rsp = &Entered in `dispatch`
/// ```
///
/// Answers in `rcx`: 0, or where to go on; the block has only to take the program's stack pointer from the frame. All
/// other registers are the frame's, `r11` too.
///
/// A hook may call into the program and so arrive here again, with its own stack pointer in `r11`: inside the hook
/// stack, whose top the block's `call` has overwritten. Then the call is executed as if nothing were hooked: only the
/// two words at the top are changed, one has a copy in `Entered::back`, the other is not needed any more.
macro_rules! gate {
    ($name:ident, $labels:literal, $dispatch:path, $($full:literal)?) => {
        #[doc = concat!("The gate that leads to `", stringify!($dispatch), "`.")]
        ///
        /// # Safety
        /// Not a function of any convention: only blocks of trampolines, and this file, go here.
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined rip", // what lies above is the program, on another stack
                concat!(".globl ", $labels, "_begin"),
                concat!(".hidden ", $labels, "_begin"),
                concat!($labels, "_begin:"),
                "pushfq",
                concat!(".globl ", $labels, "_pushed"),
                concat!(".hidden ", $labels, "_pushed"),
                concat!($labels, "_pushed:"),
                "cmp r11, gs:[{base}]",
                "jb 2f",
                "cmp r11, rsp",
                "jb 8f",
                // No register but rcx and r11 has changed until all of them are saved.
                "2:",
                "lea rsp, [rsp + 16 - {len}]",
                "mov [rsp + {rax}], rax",
                "mov [rsp + {rdi}], rdi",
                "mov [rsp + {rsi}], rsi",
                "mov [rsp + {rdx}], rdx",
                "mov [rsp + {r10}], r10",
                "mov [rsp + {r8}], r8",
                "mov [rsp + {r9}], r9",
                "mov [rsp + {rsp}], r11",
                "mov [rsp + {given_rax}], rax",
                "mov [rsp + {given_rdi}], rdi",
                "mov [rsp + {given_rsi}], rsi",
                "mov [rsp + {given_rdx}], rdx",
                "mov [rsp + {given_r10}], r10",
                "mov [rsp + {given_r8}], r8",
                "mov [rsp + {given_r9}], r9",
                // Also where hooks do not see them: one that fails has not put them back.
                "mov [rsp + {rbx}], rbx",
                "mov [rsp + {rbp}], rbp",
                "mov [rsp + {r12}], r12",
                "mov [rsp + {r13}], r13",
                "mov [rsp + {r14}], r14",
                "mov [rsp + {r15}], r15",
                concat!(".globl ", $labels, "_saved"),
                concat!(".hidden ", $labels, "_saved"),
                concat!($labels, "_saved:"),
                "mov rax, [rsp + {flags}]",
                "mov rdx, [rsp + {ret}]",
                "mov esi, ecx",
                "mov rdi, rsp",
                "mov [rsp + {rflags}], rax",
                "mov [rsp + {back}], rdx",
                "test eax, {odd}",
                "jnz 7f",
                "3:",
                "call {dispatch}",
                "mov rcx, rax",
                // From here on rcx says how to go on, and the frame what every register will be.
                concat!(".globl ", $labels, "_leave"),
                concat!(".hidden ", $labels, "_leave"),
                concat!($labels, "_leave:"),
                // A signal that came meanwhile waits. (gs may be the program's by now.)
                "cmp dword ptr [rsp + {waits}], 0",
                "jne 9f",
                "4:",
                "test dword ptr [rsp + {rflags}], {odd}",
                "jnz 6f",
                // The overflow flag is bit 3 of the second byte; the others are where `sahf` takes them from.
                "movzx eax, byte ptr [rsp + {rflags} + 1]",
                "and eax, 8",
                "add al, 0x78",
                "mov ah, [rsp + {rflags}]",
                "sahf",
                // Nothing below changes a flag.
                "5:",
                "mov rax, [rsp + {rax}]",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov rdx, [rsp + {rdx}]",
                "mov r10, [rsp + {r10}]",
                "mov r8, [rsp + {r8}]",
                "mov r9, [rsp + {r9}]",
                "mov r11, [rsp + {r11}]",
                $(
                concat!("/* ", $full, " */"),
                "mov rbx, [rsp + {rbx}]",
                "mov rbp, [rsp + {rbp}]",
                "mov r12, [rsp + {r12}]",
                "mov r13, [rsp + {r13}]",
                "mov r14, [rsp + {r14}]",
                "mov r15, [rsp + {r15}]",
                )?
                "lea rsp, [rsp + {ret}]",
                concat!(".globl ", $labels, "_restored"),
                concat!(".hidden ", $labels, "_restored"),
                concat!($labels, "_restored:"),
                "ret",
                // The frame's flags are odd.
                concat!(".globl ", $labels, "_odd"),
                concat!(".hidden ", $labels, "_odd"),
                concat!($labels, "_odd:"),
                "6:",
                "push qword ptr [rsp + {rflags}]",
                "popfq",
                "jmp 5b",
                // The program's flags are odd: hooks expect what the convention promises them.
                concat!(".globl ", $labels, "_even"),
                concat!(".hidden ", $labels, "_even"),
                concat!($labels, "_even:"),
                "7:",
                "and eax, {even}",
                "push rax",
                "popfq",
                "jmp 3b",
                // Nested: the flags back, the outer entry's return address back, and on to the block's RUN.
                "8:",
                concat!(".globl ", $labels, "_nested"),
                concat!(".hidden ", $labels, "_nested"),
                concat!($labels, "_nested:"),
                "popfq",
                "pop rcx",
                "push qword ptr [rsp + {back} - {len}]",
                "mov rsp, r11",
                "lea rcx, [rcx + {to_run}]",
                "jmp rcx",
                // It returns to where signals are unblocked, with the program's stack.
                "9:",
                "mov rdi, rsp",
                "mov rsi, rcx",
                "call {leaving}",
                "mov rcx, rax",
                "jmp 4b",
                concat!(".globl ", $labels, "_end"),
                concat!(".hidden ", $labels, "_end"),
                concat!($labels, "_end:"),
                ".cfi_endproc",
                base = const offset_of!(Block, base),
                len = const Entered::LEN,
                rax = const in_frame(offset_of!(Frame, rax)),
                rdi = const in_frame(offset_of!(Frame, rdi)),
                rsi = const in_frame(offset_of!(Frame, rsi)),
                rdx = const in_frame(offset_of!(Frame, rdx)),
                r10 = const in_frame(offset_of!(Frame, r10)),
                r8 = const in_frame(offset_of!(Frame, r8)),
                r9 = const in_frame(offset_of!(Frame, r9)),
                r11 = const in_frame(offset_of!(Frame, r11)),
                rsp = const in_frame(offset_of!(Frame, rsp)),
                rflags = const in_frame(offset_of!(Frame, rflags)),
                rbx = const in_frame(offset_of!(Frame, rbx)),
                rbp = const in_frame(offset_of!(Frame, rbp)),
                r12 = const in_frame(offset_of!(Frame, r12)),
                r13 = const in_frame(offset_of!(Frame, r13)),
                r14 = const in_frame(offset_of!(Frame, r14)),
                r15 = const in_frame(offset_of!(Frame, r15)),
                given_rax = const given(0),
                given_rdi = const given(1),
                given_rsi = const given(2),
                given_rdx = const given(3),
                given_r10 = const given(4),
                given_r8 = const given(5),
                given_r9 = const given(6),
                flags = const offset_of!(Entered, flags),
                ret = const offset_of!(Entered, ret),
                back = const offset_of!(Entered, back),
                odd = const ODD_FLAGS,
                even = const !ODD_FLAGS as i32,
                to_run = const at::RUN - at::RETURN,
                waits = const Entered::LEN + SLOTS + offset_of!(Slots, state),
                leaving = sym signal::leaving,
                dispatch = sym $dispatch,
            )
        }
    };
}

gate!(gate_full, "hotpatch_full", dispatch::dispatch, "all");
gate!(gate_arguments, "hotpatch_arguments", dispatch::dispatch,);
gate!(
    after_full,
    "hotpatch_after_full",
    dispatch::dispatch_after,
    "all"
);
gate!(
    after_arguments,
    "hotpatch_after_arguments",
    dispatch::dispatch_after,
);
gate!(
    after_record,
    "hotpatch_after_record",
    dispatch::dispatch_record,
    "all"
);
gate!(
    after_birth,
    "hotpatch_after_birth",
    dispatch::dispatch_birth,
    "all"
);

/// Leaves a hook that has failed: forgets its frames, and goes on as `dispatch_failed` says, by the way out of a gate.
///
/// rdi = `Entered`.
///
/// # Safety
/// I12: it is what a gate of this thread has built, and this thread is in a hook.
#[unsafe(naked)]
pub unsafe extern "C" fn leave_hook(entered: *mut Entered) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        // Where it is a hosted one, what its stub keeps lies below `Entered`, and comes back first.
        "mov r12, gs:[{inside}]",
        "test r12, r12",
        "jz 2f",
        "mov rax, [r12 + {outer}]",
        "lea rcx, [rip + 2f]",
        "mov [rax + 8], rcx",
        "jmp [r12 + {restore}]",
        "2:",
        "mov rsp, rdi",
        "call {failed}",
        "mov rcx, rax",
        "bt qword ptr [rsp + {id}], {other}",
        "jnc hotpatch_full_leave",
        "mov gs:[{to}], rax",
        "jmp hotpatch_other_leave",
        ".cfi_endproc",
        id = const offset_of!(Entered, id),
        other = const Entered::OTHER.trailing_zeros(),
        to = const offset_of!(Block, own) + offset_of!(Own, to),
        inside = const offset_of!(Block, hosted) + offset_of!(Hosted, inside),
        outer = const Kept::OUTER,
        restore = const Kept::RESTORE,
        failed = sym dispatch::dispatch_failed,
    )
}

/// Executes a call that has a [`Record`].
///
/// `rsp` = the record; the other registers are what the hooks want the kernel to see. Behind the call the arguments
/// are the program's again, then either hooks see the result or the program goes on.
///
/// # Safety
/// Gone to by a block, when `dispatch` says so.
#[unsafe(naked)]
pub unsafe extern "C" fn record_call() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "syscall",
        // rsp = the record, rax = the result, r11 = flags.
        ".globl hotpatch_record_called",
        ".hidden hotpatch_record_called",
        "hotpatch_record_called:",
        "mov rdi, [rsp + {rdi}]",
        "mov rsi, [rsp + {rsi}]",
        "mov rdx, [rsp + {rdx}]",
        "mov r10, [rsp + {r10}]",
        "mov r8, [rsp + {r8}]",
        "mov r9, [rsp + {r9}]",
        "mov rcx, [rsp + {afters}]",
        "jrcxz 2f",
        "mov r11, rsp",
        "mov rsp, gs:[0]",
        ".globl hotpatch_record_switched",
        ".hidden hotpatch_record_switched",
        "hotpatch_record_switched:",
        "call {after}",
        ".globl hotpatch_record_returned",
        ".hidden hotpatch_record_returned",
        "hotpatch_record_returned:",
        "mov rsp, [rsp + {saved_rsp}]",
        "jmp rcx",
        "2:",
        "mov rcx, [rsp + {next}]",
        "mov rsp, [rsp + {rsp}]",
        ".globl hotpatch_record_left",
        ".hidden hotpatch_record_left",
        "hotpatch_record_left:",
        "jmp rcx",
        ".globl hotpatch_record_end",
        ".hidden hotpatch_record_end",
        "hotpatch_record_end:",
        ".cfi_endproc",
        rdi = const in_record(1),
        rsi = const in_record(2),
        rdx = const in_record(3),
        r10 = const in_record(4),
        r8 = const in_record(5),
        r9 = const in_record(6),
        afters = const offset_of!(Record, afters),
        next = const offset_of!(Record, next),
        rsp = const offset_of!(Record, rsp),
        saved_rsp = const Entered::SAVED_RSP,
        after = sym after_record,
    )
}

/// Executes a call of the clone family.
///
/// `r9` = the child's [`Block`], before and behind the call, in parent and child; the program's own is in its
/// [`Birth`](crate::thread::Birth). `rsp` may be anything, and in the child is another. The child takes its block before anything else.
///
/// # Safety
/// Gone to by a block, when `dispatch` says so.
#[unsafe(naked)]
pub unsafe extern "C" fn birth_call() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "syscall",
        // rax = 0 in the child, whose gs is its parent's still.
        ".globl hotpatch_birth_called",
        ".hidden hotpatch_birth_called",
        "hotpatch_birth_called:",
        "mov rcx, rax",
        "jrcxz 2f",
        "3:",
        "mov r11, rsp",
        "mov rsp, gs:[0]",
        ".globl hotpatch_birth_switched",
        ".hidden hotpatch_birth_switched",
        "hotpatch_birth_switched:",
        "call {after}",
        ".globl hotpatch_birth_returned",
        ".hidden hotpatch_birth_returned",
        "hotpatch_birth_returned:",
        "mov rsp, [rsp + {saved_rsp}]",
        ".globl hotpatch_birth_left",
        ".hidden hotpatch_birth_left",
        "hotpatch_birth_left:",
        "jmp rcx",
        "2:",
        "wrgsbase r9",
        ".globl hotpatch_birth_begun",
        ".hidden hotpatch_birth_begun",
        "hotpatch_birth_begun:",
        "jmp 3b",
        ".globl hotpatch_birth_end",
        ".hidden hotpatch_birth_end",
        "hotpatch_birth_end:",
        ".cfi_endproc",
        saved_rsp = const Entered::SAVED_RSP,
        after = sym after_birth,
    )
}

/// Ends the thread: gives its block back without a stack, then exits.
///
/// rdi = the block, rsi = the exit status, rdx = the program's stack pointer, all signals blocked. The block may be
/// another thread's at once, so nothing of its stack is used from the exchange on.
///
/// # Safety
/// I12: nothing of this thread uses the block any more.
#[unsafe(naked)]
pub unsafe extern "C" fn leave_thread(block: *mut Block, status: u64, rsp: u64) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rsp, rdx",
        // The parent may still have to read what stands in the block: then it gives it back.
        "lock dec dword ptr [rdi + {users}]",
        "jnz 3f",
        // The number of the block: the upper bits of its address. Above it in the list's head: a count of changes.
        "mov r9, rdi",
        "shr r9, {shift}",
        "mov rax, [rip + {free}]",
        "2:",
        "mov [rdi + {next}], eax",
        "mov r10, rax",
        "shr r10, 32",
        "inc r10",
        "shl r10, 32",
        "or r10, r9",
        "lock cmpxchg [rip + {free}], r10",
        "jnz 2b",
        "3:",
        "mov edi, esi",
        "4:",
        "mov eax, {exit}",
        "syscall",
        "jmp 4b",
        ".globl hotpatch_leave_thread_end",
        ".hidden hotpatch_leave_thread_end",
        "hotpatch_leave_thread_end:",
        ".cfi_endproc",
        users = const offset_of!(Block, users),
        next = const Block::NEXT,
        shift = const crate::thread::REGION_SHIFT,
        free = sym FREE,
        exit = const __NR_exit,
    )
}
