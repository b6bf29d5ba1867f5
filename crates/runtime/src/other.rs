//! The gates of instructions that are no system calls: every register is the program's, and stays so.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12, I13 and I14, as in entry.rs.

use core::arch::naked_asm;
use core::mem::offset_of;

use hotpatch_abi::Frame;
use hotpatch_plan::emit::Places;

use crate::dispatch;
use crate::entry::{given, in_frame};
use crate::frame::{Entered, ODD_FLAGS};
use crate::hosted::Hosted;
use crate::signal;
use crate::signal::slots::Slots;
use crate::thread::{Block, Own, SLOTS};

/// Where in the thread's block a field of [`Own`] lies, from the base of `gs` on.
const fn own(field: usize) -> usize {
    offset_of!(Block, own) + field
}

/// As `gate!` in entry.rs, with these differences: the program's stack pointer stands in `Own::rsp`, the site's id is
/// read where the gate would return to, and it leaves by a jump to `Own::to`, with the program's stack pointer.
macro_rules! gate {
    ($name:ident, $labels:literal, $dispatch:path) => {
        #[doc = concat!("The gate that leads to `", stringify!($dispatch), "`.")]
        ///
        /// # Safety
        /// Not a function of any convention: only blocks of trampolines go here.
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined rip",
                concat!(".globl ", $labels, "_begin"),
                concat!(".hidden ", $labels, "_begin"),
                concat!($labels, "_begin:"),
                "pushfq",
                "mov gs:[{own_rax}], rax",
                "mov rax, gs:[{own_rsp}]",
                "cmp rax, gs:[{base}]",
                "jb 2f",
                "cmp rax, rsp",
                "jb 8f",
                "2:",
                // A hosted hook, on another stack.
                "cmp qword ptr gs:[{inside}], 0",
                "jne 8f",
                "lea rsp, [rsp + 16 - {len}]",
                "mov [rsp + {rsp}], rax",
                "mov rax, gs:[{own_rax}]",
                "mov [rsp + {rax}], rax",
                "mov [rsp + {rdi}], rdi",
                "mov [rsp + {rsi}], rsi",
                "mov [rsp + {rdx}], rdx",
                "mov [rsp + {r10}], r10",
                "mov [rsp + {r8}], r8",
                "mov [rsp + {r9}], r9",
                "mov [rsp + {rcx}], rcx",
                "mov [rsp + {r11}], r11",
                "mov [rsp + {given_rax}], rax",
                "mov [rsp + {given_rdi}], rdi",
                "mov [rsp + {given_rsi}], rsi",
                "mov [rsp + {given_rdx}], rdx",
                "mov [rsp + {given_r10}], r10",
                "mov [rsp + {given_r8}], r8",
                "mov [rsp + {given_r9}], r9",
                "mov [rsp + {rbx}], rbx",
                "mov [rsp + {rbp}], rbp",
                "mov [rsp + {r12}], r12",
                "mov [rsp + {r13}], r13",
                "mov [rsp + {r14}], r14",
                "mov [rsp + {r15}], r15",
                "mov rax, [rsp + {flags}]",
                "mov rdx, [rsp + {ret}]",
                "mov rdi, rsp",
                "mov [rsp + {rflags}], rax",
                "mov [rsp + {back}], rdx",
                "test eax, {odd}",
                "jnz 7f",
                "3:",
                "mov esi, [rdx]", // anywhere: not before alignment checks are off
                "call {dispatch}",
                "mov gs:[{own_to}], rax",
                concat!(".globl ", $labels, "_leave"),
                concat!(".hidden ", $labels, "_leave"),
                concat!($labels, "_leave:"),
                "cmp dword ptr [rsp + {waits}], 0",
                "jne 9f",
                "4:",
                "test dword ptr [rsp + {rflags}], {odd}",
                "jnz 6f",
                "movzx eax, byte ptr [rsp + {rflags} + 1]",
                "and eax, 8",
                "add al, 0x78",
                "mov ah, [rsp + {rflags}]",
                "sahf",
                "5:",
                "mov rax, [rsp + {rax}]",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov rdx, [rsp + {rdx}]",
                "mov r10, [rsp + {r10}]",
                "mov r8, [rsp + {r8}]",
                "mov r9, [rsp + {r9}]",
                "mov rcx, [rsp + {rcx}]",
                "mov r11, [rsp + {r11}]",
                "mov rbx, [rsp + {rbx}]",
                "mov rbp, [rsp + {rbp}]",
                "mov r12, [rsp + {r12}]",
                "mov r13, [rsp + {r13}]",
                "mov r14, [rsp + {r14}]",
                "mov r15, [rsp + {r15}]",
                "mov rsp, [rsp + {rsp}]",
                concat!(".globl ", $labels, "_restored"),
                concat!(".hidden ", $labels, "_restored"),
                concat!($labels, "_restored:"),
                "jmp gs:[{own_to}]",
                // The frame's flags are odd.
                concat!(".globl ", $labels, "_odd"),
                concat!(".hidden ", $labels, "_odd"),
                concat!($labels, "_odd:"),
                "6:",
                "push qword ptr [rsp + {rflags}]",
                "popfq",
                "jmp 5b",
                concat!(".globl ", $labels, "_even"),
                concat!(".hidden ", $labels, "_even"),
                concat!($labels, "_even:"),
                "7:",
                "and eax, {even}",
                "push rax",
                "popfq",
                "jmp 3b",
                // Nested: on to the block's last copy, when all is as it was. The length stands above the id.
                "8:",
                "mov rax, [rsp + 8]",
                "mov eax, [rax]",
                "shr eax, {length_at}",
                "add rax, [rsp + 8]",
                "add rax, {to_run}",
                "mov gs:[{own_to}], rax",
                "popfq",
                "lea rsp, [rsp + 8]",
                "push qword ptr [rsp + {back} - {len}]",
                "mov rax, gs:[{own_rax}]",
                "mov rsp, gs:[{own_rsp}]",
                "jmp gs:[{own_to}]",
                // It leaves to where signals are unblocked.
                "9:",
                "mov rdi, rsp",
                "mov rsi, gs:[{own_to}]",
                "call {leaving}",
                "mov gs:[{own_to}], rax",
                "jmp 4b",
                concat!(".globl ", $labels, "_end"),
                concat!(".hidden ", $labels, "_end"),
                concat!($labels, "_end:"),
                ".cfi_endproc",
                base = const offset_of!(Block, base),
                inside = const offset_of!(Block, hosted) + offset_of!(Hosted, inside),
                own_rax = const own(offset_of!(Own, rax)),
                own_rsp = const own(offset_of!(Own, rsp)),
                own_to = const own(offset_of!(Own, to)),
                len = const Entered::LEN,
                rax = const in_frame(offset_of!(Frame, rax)),
                rdi = const in_frame(offset_of!(Frame, rdi)),
                rsi = const in_frame(offset_of!(Frame, rsi)),
                rdx = const in_frame(offset_of!(Frame, rdx)),
                r10 = const in_frame(offset_of!(Frame, r10)),
                r8 = const in_frame(offset_of!(Frame, r8)),
                r9 = const in_frame(offset_of!(Frame, r9)),
                rcx = const in_frame(offset_of!(Frame, rcx)),
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
                waits = const Entered::LEN + SLOTS + offset_of!(Slots, state),
                odd = const ODD_FLAGS,
                even = const !ODD_FLAGS as i32,
                length_at = const Places::LENGTH_AT,
                to_run = const Places::of(0).run() - Places::ID,
                leaving = sym signal::leaving_other,
                dispatch = sym $dispatch,
            )
        }
    };
}

gate!(other_gate, "hotpatch_other", dispatch::dispatch_other);
gate!(
    other_after,
    "hotpatch_other_after",
    dispatch::dispatch_other_after
);
