//! Where the kernel enters for a signal, where handlers return to, and where a thread goes on that a signal waited for.
//!
//! # Safety
//! I11: the thread's block is found through gs while [`GS`] is not 0.
//!
//! The code runs on whatever stack the kernel chose, because only then the kernel can tell whether the next signal
//! meets a thread on its alternate stack. It must be short of stack for the same reason: 4 KB are common there, and
//! vector registers take most of them.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU32;

use super::context::{Context, Interrupted, Registers, SignalFrame, Stash};
use super::disposition::{Code, ENTRIES, SYSTEM};
use super::slots::Slots;
use crate::thread::{Block, HELD, SLOTS, TRAP};
use crate::trap::own::{Own, STACK_LEN};

/// Whether threads have blocks, found through gs: one of those that follow.
#[unsafe(export_name = "hotpatch_signal_gs")]
pub static GS: AtomicU32 = AtomicU32::new(NO_BLOCKS);
/// They have none.
pub const NO_BLOCKS: u32 = 0;
/// Every thread has its own.
pub const BLOCKS: u32 = 1;
/// A thread has its own if that says so ([`Block::minus_fs`]).
pub const SOME_BLOCKS: u32 = 2;

/// Bytes of each entry's code.
pub const STRIDE: u64 = 16;

/// Where a register is in a frame.
macro_rules! saved {
    ($name:ident) => {
        offset_of!(SignalFrame, context)
            + offset_of!(Context, registers)
            + offset_of!(Registers, $name)
    };
}

macro_rules! slot {
    ($name:ident) => {
        SLOTS + offset_of!(Slots, $name)
    };
}

// Entries: eax = index of the entry; all else as the kernel left it.
//
// At `enter`, and at `jmp *%r11`:
//
//     rdi = number, rsi = &info, rdx = &context, rsp = &SignalFrame
//
// In between:
//
//     rbx = &SignalFrame
//     rbx - 8    rbx
//     rbx - 16   rdi
//     rbx - 24   flags      <- rsp while Rust runs
//
// From `leaving` to `left` it can begin again at `leaving` with rsp = rbx - 24: what was pushed is still there, as
// the kernel keeps the 128 bytes below rsp. r11 = where to.
global_asm!(
    ".pushsection .text.hotpatch_signal, \"ax\", @progbits",
    ".p2align 4",
    "hotpatch_signal_entries:",
    ".set hotpatch_signal_entry, 0",
    ".rept {entries}",
    ".p2align 4",
    "mov $hotpatch_signal_entry, %eax",
    "jmp hotpatch_signal_enter",
    ".set hotpatch_signal_entry, hotpatch_signal_entry + 1",
    ".endr",
    ".p2align 4",
    "hotpatch_signal_enter:",
    "push %rbx",
    "lea 8(%rsp), %rbx",
    "push %rdi",
    "pushfq",
    // Alignment checks would stop our own code.
    "testl ${ac}, (%rsp)",
    "jz 1f",
    "pushfq",
    "andl $~{ac}, (%rsp)",
    "popfq",
    "1:",
    "mov %rbx, %rdi",
    "mov %eax, %esi",
    "call {arrived}", // rsp is a multiple of 16, as the kernel makes it 8 more than one
    "mov %rax, %r11",
    "test %rax, %rax",
    "jz hotpatch_signal_return",
    "dec %rax",
    "jz hotpatch_signal_caught",
    // It may have moved, with all that is in use below it.
    "mov %rdx, %rbx",
    "lea -24(%rbx), %rsp",
    "hotpatch_signal_leaving:",
    "mov {gs}(%rip), %ecx",
    "jrcxz 2f",
    "dec %ecx",
    "jz 4f",
    "rdfsbase %rcx",
    "add %gs:{minus_fs}, %rcx",
    "jnz 2f",
    "4:",
    "cmpl $0, %gs:{state}",
    "jne 3f",
    "2:",
    "mov {r8}(%rbx), %r8",
    "mov {r9}(%rbx), %r9",
    "mov {r10}(%rbx), %r10",
    "mov {rcx}(%rbx), %rcx",
    "lea {info}(%rbx), %rsi",
    "lea {context}(%rbx), %rdx",
    "mov $0, %eax",
    "popfq",
    "pop %rdi",
    "pop %rbx",
    "hotpatch_signal_left:",
    "jmp *%r11",
    // Another signal came meanwhile, and waits. Everything is blocked.
    "3:",
    "mov %rbx, %rdi",
    "mov %r11, %rsi",
    "call {waited}",
    "mov {r8}(%rbx), %r8",
    "mov {r9}(%rbx), %r9",
    "popfq",
    "pop %rdi",
    "pop %rbx",
    "jmp hotpatch_signal_resume",
    // The frame is done with: a call has become this signal, and has been sent on its way. What has come meanwhile has
    // been raised again, and waits for nothing but this frame's mask.
    "hotpatch_signal_caught:",
    "movl $0, %gs:{state}",
    "lea {context}(%rbx), %rsp",
    "mov $15, %eax",
    "syscall",
    "ud2",
    // The frame is done with.
    "hotpatch_signal_return:",
    "lea {context}(%rbx), %rsp",
    "mov $15, %eax",
    "syscall",
    "ud2",
    // A thread goes on as its slots say. rbx, rbp, r8, r9, r12 to r15 and the flags are its own already. Signals are
    // blocked up to the instruction behind `syscall`; there the kernel puts their frames on the thread's own stack.
    ".p2align 4",
    ".globl hotpatch_signal_resume",
    ".hidden hotpatch_signal_resume",
    "hotpatch_signal_resume:",
    "mov %gs:{held}, %rcx",
    "jrcxz 1f",
    "jmp hotpatch_signal_held",
    "1:",
    "mov %gs:{slot_rsp}, %rsp",
    "mov $14, %eax", // rt_sigprocmask
    "mov $2, %edi",  // SIG_SETMASK
    "mov %gs:{slot_mask_at}, %rsi",
    "mov $0, %edx",
    "mov $8, %r10d",
    "syscall",
    "hotpatch_signal_resumed:",
    "mov %gs:{slot_rax}, %rax",
    "mov %gs:{slot_rdi}, %rdi",
    "mov %gs:{slot_rsi}, %rsi",
    "mov %gs:{slot_rdx}, %rdx",
    "mov %gs:{slot_r10}, %r10",
    "mov %gs:{slot_rcx}, %rcx",
    "mov %gs:{slot_r11}, %r11",
    "jmp *%gs:{slot_rip}",
    "hotpatch_signal_end:",
    // The same where signals are kept here: on the hook stack, which nobody is on, all registers as the kernel has
    // them in a context. Everything but faults is blocked.
    "hotpatch_signal_held:",
    "mov %gs:0, %rsp",
    "pushfq",
    "push %gs:{slot_rip}",
    "push %gs:{slot_rsp}",
    "push %gs:{slot_rcx}",
    "push %gs:{slot_rax}",
    "push %gs:{slot_rdx}",
    "push %rbx",
    "push %rbp",
    "push %gs:{slot_rsi}",
    "push %gs:{slot_rdi}",
    "push %r15",
    "push %r14",
    "push %r13",
    "push %r12",
    "push %gs:{slot_r11}",
    "push %gs:{slot_r10}",
    "push %r9",
    "push %r8",
    "push $2",
    "popfq", // none that our own code could stumble over
    "mov %rsp, %rdi",
    "call {deliver}",
    "lea {context}(%rax), %rsp",
    "mov $15, %eax",
    "syscall",
    "ud2",
    // The call that a handler's return ends with, from a block, with the block's next instruction of the program in rcx.
    // rsp = &Context, of a frame that may be any.
    ".p2align 4",
    "nop",
    "hotpatch_signal_sigreturn:",
    "mov {mark}(%rip), %eax",
    "cmp %ax, {stash_mark}(%rsp)",
    "je hotpatch_signal_restorer",
    "mov $15, %eax",
    "syscall",
    "ud2",
    // Where the handler returns to, if what it was shown is not where its thread goes on. rsp = &Context.
    // Unwinders that look at the byte before a return address must find the same function there.
    ".p2align 4",
    "nop",
    "hotpatch_signal_restorer:",
    "cmpb $0, {told}(%rsp)",
    "je 7f",
    "call {at_restorer}",
    "7:",
    // Where calls of this thread become signals, neither its mask nor its alternate stack are what handlers see.
    "cmpl ${blocks}, {gs}(%rip)",
    "jne 5f",
    "cmpl $0, %gs:{armed}",
    "je 6f",
    "xor %ecx, %ecx",
    "mov {mask}(%rsp), %rax",
    "btr ${system}, %rax",
    "setc %cl",
    "mov %ecx, %gs:{blocked}",
    "mov %rax, {mask}(%rsp)",
    "6:",
    "mov %gs:{trap_stack}, %rax",
    "test %rax, %rax",
    "jz 5f",
    "mov %rax, {stack}(%rsp)",
    "movq $0, {stack} + 8(%rsp)",
    "movq ${trap_stack_len}, {stack} + 16(%rsp)",
    "5:",
    // Where calls pass by us from now on the thread may have a gs of its own, and goes on where it was shown, if it can.
    "cmpl ${no_blocks}, {gs}(%rip)",
    "jne 8f",
    "push $2", // the handler may have left any flags
    "popfq",
    "mov %rsp, %rdi",
    "call {goes_natively}",
    "test %eax, %eax",
    "jnz 4f",
    "8:",
    "mov {rip}(%rsp), %rax",
    "cmp {shown_rip}(%rsp), %rax",
    "jne 4f",
    "mov {rsp}(%rsp), %rax",
    "cmp {shown_rsp}(%rsp), %rax",
    "jne 4f",
    "mov {stash_rsp}(%rsp), %rax",
    "mov %rax, {rsp}(%rsp)",
    "mov {given}(%rsp), %rax",
    "test %rax, %rax",
    "jz 3f",
    "mov {c_rax}(%rsp), %rcx",
    "xchg %rcx, 0(%rax)",
    "mov %rcx, {c_rax}(%rsp)",
    "mov {c_rdi}(%rsp), %rcx",
    "xchg %rcx, 8(%rax)",
    "mov %rcx, {c_rdi}(%rsp)",
    "mov {c_rsi}(%rsp), %rcx",
    "xchg %rcx, 16(%rax)",
    "mov %rcx, {c_rsi}(%rsp)",
    "mov {c_rdx}(%rsp), %rcx",
    "xchg %rcx, 24(%rax)",
    "mov %rcx, {c_rdx}(%rsp)",
    "mov {c_r10}(%rsp), %rcx",
    "xchg %rcx, 32(%rax)",
    "mov %rcx, {c_r10}(%rsp)",
    "mov {c_r8}(%rsp), %rcx",
    "xchg %rcx, 40(%rax)",
    "mov %rcx, {c_r8}(%rsp)",
    "mov {c_r9}(%rsp), %rcx",
    "xchg %rcx, 48(%rax)",
    "mov %rcx, {c_r9}(%rsp)",
    "3:",
    "mov {stash_r9}(%rsp), %rax",
    "test %rax, %rax",
    "jz 3f",
    "mov %rax, {c_r9}(%rsp)",
    "3:",
    "mov {stash_rip}(%rsp), %rax",
    "mov %rax, {rip}(%rsp)", // last: from here on it begins in vain
    "4:",
    "movw $0, {stash_mark}(%rsp)", // the frame is done with, and another may come to lie there
    "mov $15, %eax",
    "syscall",
    "ud2",
    "hotpatch_signal_restorer_end:",
    ".popsection",
    told = const STASH + offset_of!(Stash, call) + offset_of!(Interrupted, told),
    at_restorer = sym super::told::at_restorer,
    arrived = sym super::arrived,
    waited = sym super::waited,
    deliver = sym super::deliver,
    held = const HELD,
    gs = sym GS,
    blocks = const BLOCKS,
    no_blocks = const NO_BLOCKS,
    goes_natively = sym super::goes_natively,
    system = const SYSTEM - 1,
    armed = const TRAP + offset_of!(Own, armed),
    blocked = const TRAP + offset_of!(Own, blocked),
    trap_stack = const TRAP + offset_of!(Own, stack),
    trap_stack_len = const STACK_LEN,
    mask = const offset_of!(Context, mask),
    stack = const offset_of!(Context, stack),
    minus_fs = const offset_of!(Block, minus_fs),
    entries = const ENTRIES,
    ac = const 0x4_0000,
    info = const offset_of!(SignalFrame, info),
    context = const offset_of!(SignalFrame, context),
    r8 = const saved!(r8),
    r9 = const saved!(r9),
    r10 = const saved!(r10),
    rcx = const saved!(rcx),
    state = const slot!(state),
    slot_rsp = const slot!(rsp),
    slot_rip = const slot!(rip),
    slot_mask_at = const slot!(mask_at),
    slot_rax = const slot!(rax),
    slot_rdi = const slot!(rdi),
    slot_rsi = const slot!(rsi),
    slot_rdx = const slot!(rdx),
    slot_r10 = const slot!(r10),
    slot_rcx = const slot!(rcx),
    slot_r11 = const slot!(r11),
    rip = const REGISTERS + offset_of!(Registers, rip),
    rsp = const REGISTERS + offset_of!(Registers, rsp),
    given = const STASH + offset_of!(Stash, given),
    mark = sym super::context::MARK,
    stash_mark = const STASH + offset_of!(Stash, restorer) + 6,
    stash_r9 = const STASH + offset_of!(Stash, r9),
    c_rax = const REGISTERS + offset_of!(Registers, rax),
    c_rdi = const REGISTERS + offset_of!(Registers, rdi),
    c_rsi = const REGISTERS + offset_of!(Registers, rsi),
    c_rdx = const REGISTERS + offset_of!(Registers, rdx),
    c_r10 = const REGISTERS + offset_of!(Registers, r10),
    c_r8 = const REGISTERS + offset_of!(Registers, r8),
    c_r9 = const REGISTERS + offset_of!(Registers, r9),
    shown_rip = const STASH + offset_of!(Stash, shown_rip),
    shown_rsp = const STASH + offset_of!(Stash, shown_rsp),
    stash_rip = const STASH + offset_of!(Stash, rip),
    stash_rsp = const STASH + offset_of!(Stash, rsp),
    options(att_syntax),
);

const REGISTERS: usize = offset_of!(Context, registers);
const STASH: usize = offset_of!(Context, stash);

// What unwinders are told of the restorer, as of glibc's `__restore_rt`: it is a signal frame (S), and every register
// lies in the context that rsp points to. By hand, because the target has no unwind tables of its own.
global_asm!(
    ".pushsection .eh_frame, \"a\", @unwind",
    ".p2align 3",
    "5: .long 7f - 6f",
    "6: .long 0",    // a CIE
    ".byte 1",       // its version
    ".asciz \"zRS\"",
    ".uleb128 1",    // code alignment
    ".sleb128 -8",   // data alignment
    ".byte 16",      // the return address's column
    ".uleb128 1",
    ".byte 0x1b",    // pointers: relative, 4 bytes with sign
    ".p2align 3",
    "7: .long 9f - 8f",
    "8: .long . - 5b",
    ".long hotpatch_signal_sigreturn - 1 - .",
    ".long hotpatch_signal_restorer_end - hotpatch_signal_sigreturn + 1",
    ".uleb128 0",
    // DW_CFA_def_cfa_expression: the word at rsp + n; n takes two bytes
    ".byte 0x0f, 4, 0x77",
    ".sleb128 {rsp}",
    ".byte 0x06",
    // DW_CFA_expression for each register: at rsp + n
    ".irp pair, 0x00000000 + {rax}, 0x10000 + {rdx}, 0x20000 + {rcx}, 0x30000 + {rbx}, 0x40000 + {rsi}, 0x50000 + {rdi}, 0x60000 + {rbp}, 0x70000 + {rsp}, 0x80000 + {r8}, 0x90000 + {r9}, 0xa0000 + {r10}, 0xb0000 + {r11}, 0xc0000 + {r12}, 0xd0000 + {r13}, 0xe0000 + {r14}, 0xf0000 + {r15}, 0x100000 + {rip}",
    ".byte 0x10",
    ".uleb128 (\\pair) >> 16",
    ".byte 3, 0x77", // DW_OP_breg7, its offset always in two bytes
    ".byte 0x80 | ((\\pair) & 0x7f), ((\\pair) & 0xffff) >> 7",
    ".endr",
    ".p2align 3",
    "9:",
    ".popsection",
    rax = const REGISTERS + offset_of!(Registers, rax),
    rdx = const REGISTERS + offset_of!(Registers, rdx),
    rcx = const REGISTERS + offset_of!(Registers, rcx),
    rbx = const REGISTERS + offset_of!(Registers, rbx),
    rsi = const REGISTERS + offset_of!(Registers, rsi),
    rdi = const REGISTERS + offset_of!(Registers, rdi),
    rbp = const REGISTERS + offset_of!(Registers, rbp),
    rsp = const REGISTERS + offset_of!(Registers, rsp),
    r8 = const REGISTERS + offset_of!(Registers, r8),
    r9 = const REGISTERS + offset_of!(Registers, r9),
    r10 = const REGISTERS + offset_of!(Registers, r10),
    r11 = const REGISTERS + offset_of!(Registers, r11),
    r12 = const REGISTERS + offset_of!(Registers, r12),
    r13 = const REGISTERS + offset_of!(Registers, r13),
    r14 = const REGISTERS + offset_of!(Registers, r14),
    r15 = const REGISTERS + offset_of!(Registers, r15),
    rip = const REGISTERS + offset_of!(Registers, rip),
    options(att_syntax),
);

macro_rules! label {
    ($name:ident, $symbol:ident, $what:literal) => {
        #[doc = $what]
        #[must_use]
        pub fn $name() -> u64 {
            crate::labels::label!($symbol)
        }
    };
}
label!(
    entries,
    hotpatch_signal_entries,
    "Where the first entry begins."
);
label!(
    enter,
    hotpatch_signal_enter,
    "Where all entries lead; eax tells which."
);
label!(
    leaving,
    hotpatch_signal_leaving,
    "From here on the frame says what becomes of it."
);
label!(
    left,
    hotpatch_signal_left,
    "Everything is as the kernel left it, r11 is where to go."
);
label!(
    caught,
    hotpatch_signal_caught,
    "rbx is a frame that is done with, of a call that has become a signal."
);
label!(
    returning,
    hotpatch_signal_return,
    "rbx is a frame that is done with."
);
label!(
    resume,
    hotpatch_signal_resume,
    "The slots say where the thread goes on."
);
label!(end, hotpatch_signal_end, "Behind that.");
label!(
    sigreturn,
    hotpatch_signal_sigreturn,
    "The call that a handler's return ends with, wherever the program makes it."
);
label!(
    restorer,
    hotpatch_signal_restorer,
    "Where handlers return to that were shown another place."
);
label!(restorer_end, hotpatch_signal_restorer_end, "Behind that.");

/// Where entries are.
#[must_use]
pub fn code() -> Code {
    Code {
        start: entries(),
        stride: STRIDE,
        restorer: restorer(),
    }
}
