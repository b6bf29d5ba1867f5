//! The way to a hook that is the only one: the same as the gates of entry.rs with their `dispatch`, but in assembly
//! from end to end, because the usual call costs a few nanoseconds here.
//!
//! Whatever is not usual goes the other way: before the hook is called to the gate's own `dispatch`, behind it to
//! `dispatch_rest`. After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12, I13 and I14, as in entry.rs.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use hotpatch_abi::{Context, Frame, Hook, Site, verdict};
use hotpatch_plan::emit::at;

use crate::dispatch;
use crate::entry::{given, in_frame};
use crate::frame::{Entered, ODD_FLAGS};
use crate::hooks::{self, Known, NUMBERS};
use crate::signal::slots::Slots;
use crate::thread::{Block, SLOTS};

/// What the assembly reads.
#[repr(C, align(64))]
struct Quick {
    sites: UnsafeCell<*const Known>,
    /// Never null once [`install`] has been called, as the other.
    before: AtomicPtr<()>,
    after: AtomicPtr<()>,
    /// Not 0: the hook does not want this number, or the runtime has a hand in it.
    slow: UnsafeCell<[u8; NUMBERS]>,
}

// SAFETY: I14.
unsafe impl Sync for Quick {}

static QUICK: Quick = Quick {
    sites: UnsafeCell::new(ptr::null()),
    before: AtomicPtr::new(ptr::null_mut()),
    after: AtomicPtr::new(ptr::null_mut()),
    slow: UnsafeCell::new([0; NUMBERS]),
};

/// Makes `hook` the only one.
///
/// # Safety
/// I14: start-up's alone, when `hooks::install` and `hooks::publish` have been called.
pub unsafe fn install(hook: &Hook, sites: *const Known) {
    let before = hook.before.unwrap_or(run);
    let after = hook.after.unwrap_or(nothing);
    // SAFETY: as the caller promises.
    unsafe { *QUICK.sites.get() = sites };
    // SAFETY: as the caller promises.
    let slow = unsafe { &mut *QUICK.slow.get() };
    for (number, slow) in slow.iter_mut().enumerate() {
        *slow = u8::from(hooks::wanted(number as u32) != 1);
    }
    QUICK.after.store(after as *mut (), Ordering::Relaxed);
    QUICK.before.store(before as *mut (), Ordering::Relaxed);
}

/// Calls it no more.
pub fn give_up() {
    // Relaxed: whoever still calls it finds its code there.
    QUICK.before.store(run as *mut (), Ordering::Relaxed);
    QUICK.after.store(nothing as *mut (), Ordering::Relaxed);
}

/// Stands for a hook that has failed.
unsafe extern "C" fn run(_: *mut Context, _: *mut Frame) -> u32 {
    verdict::RUN
}

/// The same behind a call.
unsafe extern "C" fn nothing(_: *mut Context, _: *mut Frame) {}

const fn in_context(field: usize) -> usize {
    Entered::LEN + offset_of!(Block, context) + field
}

// Ids are turned into addresses by a multiplication of 32 bits.
const _: () = assert!(size_of::<Known>() < 128 && offset_of!(Known, site) == 0);
const _: () = assert!(verdict::RUN == 0 && verdict::RUN_AND_RETURN == 1 && verdict::ANSWER == 2);

/// As `gate!` in entry.rs, whose picture holds here too. While the hook runs `rbx` = the
/// flags and `r12` = the site: a hook keeps both.
///
/// Which parts it has: `full`, registers that a hook with the full frame may change are put back from there; `changes`,
/// the call's own registers are compared and given back; `reads`, for hooks with [`READS_ONLY`], those as given are
/// copied where another gate has them before one goes on there.
///
/// [`READS_ONLY`]: hotpatch_abi::READS_ONLY
macro_rules! quick_gate {
    ($name:ident, $labels:literal, $other:literal, [$($full:literal)?], [$($changes:literal)?], [$($reads:literal)?]) => {
        #[doc = concat!("The gate for one hook, beside `", $other, "`.")]
        ///
        /// # Safety
        /// As the gates of entry.rs.
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined rip",
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
                concat!("jb ", $other, "_nested"),
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
                $(
                concat!("/* ", $changes, " */"),
                "mov [rsp + {given_rax}], rax",
                "mov [rsp + {given_rdi}], rdi",
                "mov [rsp + {given_rsi}], rsi",
                "mov [rsp + {given_rdx}], rdx",
                "mov [rsp + {given_r10}], r10",
                "mov [rsp + {given_r8}], r8",
                "mov [rsp + {given_r9}], r9",
                )?
                "mov [rsp + {rbx}], rbx",
                "mov [rsp + {rbp}], rbp",
                "mov [rsp + {r12}], r12",
                "mov [rsp + {r13}], r13",
                "mov [rsp + {r14}], r14",
                "mov [rsp + {r15}], r15",
                concat!(".globl ", $labels, "_saved"),
                concat!(".hidden ", $labels, "_saved"),
                concat!($labels, "_saved:"),
                // Odd flags and numbers of the runtime's own are not for here. rcx = the id still.
                "mov r8, [rsp + {flags}]",
                "mov r9, [rsp + {ret}]",
                "mov edx, eax",
                "lea r10, [rip + {quick}]",
                "test r8d, {odd}",
                "jnz 7f",
                "cmp edx, {numbers}",
                "jae 3f",
                "cmp byte ptr [r10 + rdx + {slow}], 0",
                "jne 7f",
                "3:",
                "imul r12d, ecx, {known}",
                "mov rbx, r8",
                "add r12, [r10 + {sites}]",
                // What there is to do if the hook fails: the upper half says, as given.
                "mov [rsp + {id}], ecx",
                $(
                concat!("/* ", $changes, " */"),
                "mov dword ptr [rsp + {id} + 4], 0",
                )?
                $(
                concat!("/* ", $reads, " */"),
                "mov dword ptr [rsp + {id} + 4], {read_only}",
                )?
                "mov rcx, [r12]",
                "mov [rsp + {rflags}], rbx",
                "mov [rsp + {r11}], rbx",
                "mov [rsp + {back}], r9",
                "mov [rsp + {rip}], rcx",
                "add rcx, 2",
                "mov [rsp + {rcx}], rcx",
                "mov [rsp + {context_site}], r12",
                "mov [rsp + {context_number}], edx",
                "lea rdi, [rsp + {context}]",
                "lea rsi, [rsp + {frame}]",
                "call [r10 + {before}]",
                // eax = the verdict.
                $(
                concat!("/* ", $changes, " */"),
                "mov rcx, [r12]",
                "cmp rbx, [rsp + {rflags}]",
                "jne 6f",
                "cmp rcx, [rsp + {rip}]",
                "jne 6f",
                )?
                "cmp eax, 2",
                "jae 5f",
                $(
                concat!("/* ", $reads, " */"),
                "mov ecx, [rsp + {rax}]",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov rdx, [rsp + {rdx}]",
                "mov r10, [rsp + {r10}]",
                "mov r8, [rsp + {r8}]",
                "mov r9, [rsp + {r9}]",
                )?
                $(
                concat!("/* ", $changes, " */"),
                "mov ecx, [rsp + {given_rax}]",
                "mov rdi, [rsp + {given_rdi}]",
                "mov rsi, [rsp + {given_rsi}]",
                "mov rdx, [rsp + {given_rdx}]",
                "mov r10, [rsp + {given_r10}]",
                "mov r8, [rsp + {given_r8}]",
                "mov r9, [rsp + {given_r9}]",
                "cmp rdi, [rsp + {rdi}]",
                "jne 6f",
                "cmp rsi, [rsp + {rsi}]",
                "jne 6f",
                "cmp rdx, [rsp + {rdx}]",
                "jne 6f",
                "cmp r10, [rsp + {r10}]",
                "jne 6f",
                "cmp r8, [rsp + {r8}]",
                "jne 6f",
                "cmp r9, [rsp + {r9}]",
                "jne 6f",
                "cmp ecx, [rsp + {rax}]",
                "jne 6f",
                )?
                "test eax, eax",
                "jnz 4f",
                "xor ecx, ecx",
                // From here on rcx says how to go on, and the frame what every register will be: what is in its
                // place already is the same there.
                "3:",
                concat!(".globl ", $labels, "_leave"),
                concat!(".hidden ", $labels, "_leave"),
                concat!($labels, "_leave:"),
                "cmp dword ptr [rsp + {waits}], 0",
                "jne hotpatch_full_leave",
                // Twice bit 31 overflows where bit 30 is clear: the overflow flag is bit 11, the direction flag below
                // it is no odd one. The others are where `sahf` takes them from.
                "imul r11d, ebx, 1 << 20",
                "mov ah, bl",
                "add r11d, r11d",
                "sahf",
                "mov rax, [rsp + {rax}]",
                "mov r11, [rsp + {r11}]",
                "mov rbx, [rsp + {rbx}]",
                "mov r12, [rsp + {r12}]",
                $(
                concat!("/* ", $full, " */"),
                "mov rbp, [rsp + {rbp}]",
                "mov r13, [rsp + {r13}]",
                "mov r14, [rsp + {r14}]",
                "mov r15, [rsp + {r15}]",
                )?
                "lea rsp, [rsp + {ret}]",
                concat!(".globl ", $labels, "_restored"),
                concat!(".hidden ", $labels, "_restored"),
                concat!($labels, "_restored:"),
                "ret",
                // To be called after: where the site alone says the number.
                "4:",
                "cmp ecx, [r12 + {number}]",
                "jne 6f",
                "mov rcx, [rsp + {back}]",
                "add rcx, {to_call}",
                "jmp 3b",
                // Answered, in the registers as the frame has them; or nonsense.
                "5:",
                "jne 6f",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov rdx, [rsp + {rdx}]",
                "mov r10, [rsp + {r10}]",
                "mov r8, [rsp + {r8}]",
                "mov r9, [rsp + {r9}]",
                "mov rcx, [rsp + {back}]",
                "add rcx, {to_next}",
                "jmp 3b",
                "6:",
                $(
                concat!("/* ", $reads, " */"),
                "lea r9, [rip + 9f]",
                "jmp 8f",
                "9:",
                )?
                "mov rdi, rsp",
                "mov esi, eax",
                "call {rest}",
                "mov rcx, rax",
                "jmp hotpatch_full_leave",
                // There only rcx still stands for itself, and rbx is the program's.
                "7:",
                $(
                concat!("/* ", $reads, " */"),
                concat!("lea r9, [rip + ", $other, "_saved]"),
                "8:",
                "mov rdx, [rsp + {rax}]",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov [rsp + {given_rax}], rdx",
                "mov [rsp + {given_rdi}], rdi",
                "mov [rsp + {given_rsi}], rsi",
                "mov rdx, [rsp + {rdx}]",
                "mov rdi, [rsp + {r10}]",
                "mov rsi, [rsp + {r8}]",
                "mov r8, [rsp + {r9}]",
                "mov [rsp + {given_rdx}], rdx",
                "mov [rsp + {given_r10}], rdi",
                "mov [rsp + {given_r8}], rsi",
                "mov [rsp + {given_r9}], r8",
                "jmp r9",
                )?
                $(
                concat!("/* ", $changes, " */"),
                concat!("jmp ", $other, "_saved"),
                )?
                concat!(".globl ", $labels, "_end"),
                concat!(".hidden ", $labels, "_end"),
                concat!($labels, "_end:"),
                ".cfi_endproc",
                base = const offset_of!(Block, base),
                len = const Entered::LEN,
                frame = const offset_of!(Entered, frame),
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
                rip = const in_frame(offset_of!(Frame, rip)),
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
                id = const offset_of!(Entered, id),
                $(
                read_only = const {
                    let _ = $reads;
                    Entered::READ >> 32
                },
                )?
                context = const in_context(0),
                context_site = const in_context(offset_of!(Context, site)),
                context_number = const in_context(offset_of!(Context, number)),
                known = const size_of::<Known>(),
                number = const offset_of!(Known, number),
                waits = const Entered::LEN + SLOTS + offset_of!(Slots, state),
                odd = const ODD_FLAGS,
                numbers = const NUMBERS,
                quick = sym QUICK,
                before = const offset_of!(Quick, before),
                sites = const offset_of!(Quick, sites),
                slow = const offset_of!(Quick, slow),
                to_call = const at::CALL - at::RETURN,
                to_next = const at::NEXT - at::RETURN,
                rest = sym dispatch::dispatch_rest,
            )
        }
    };
}

quick_gate!(
    quick_full,
    "hotpatch_quick_full",
    "hotpatch_full",
    ["full"],
    ["changes"],
    []
);
quick_gate!(
    quick_arguments,
    "hotpatch_quick_arguments",
    "hotpatch_arguments",
    [],
    ["changes"],
    []
);
quick_gate!(
    quick_reads,
    "hotpatch_quick_reads",
    "hotpatch_full",
    [],
    [],
    ["reads"]
);

/// The same behind a call whose site and number say that the hook wants to see its result.
macro_rules! quick_after {
    ($name:ident, $labels:literal, $other:literal, [$($full:literal)?], [$($changes:literal)?]) => {
        #[doc = concat!("The gate behind a call for one hook, beside `", $other, "`.")]
        ///
        /// # Safety
        /// As the gates of entry.rs.
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name() {
            naked_asm!(
                ".cfi_startproc",
                ".cfi_undefined rip",
                concat!(".globl ", $labels, "_begin"),
                concat!(".hidden ", $labels, "_begin"),
                concat!($labels, "_begin:"),
                "pushfq",
                "lea rsp, [rsp + 16 - {len}]",
                "mov [rsp + {rax}], rax",
                "mov [rsp + {rdi}], rdi",
                "mov [rsp + {rsi}], rsi",
                "mov [rsp + {rdx}], rdx",
                "mov [rsp + {r10}], r10",
                "mov [rsp + {r8}], r8",
                "mov [rsp + {r9}], r9",
                "mov [rsp + {rsp}], r11",
                "mov [rsp + {rbx}], rbx",
                "mov [rsp + {rbp}], rbp",
                "mov [rsp + {r12}], r12",
                "mov [rsp + {r13}], r13",
                "mov [rsp + {r14}], r14",
                "mov [rsp + {r15}], r15",
                concat!(".globl ", $labels, "_saved"),
                concat!(".hidden ", $labels, "_saved"),
                concat!($labels, "_saved:"),
                "mov r8, [rsp + {flags}]",
                "lea r10, [rip + {quick}]",
                "mov rax, [r10 + {after}]",
                "test r8d, {odd}",
                concat!("jnz ", $other, "_saved"),
                "imul r12d, ecx, {known}",
                "mov rbx, r8",
                "add r12, [r10 + {sites}]",
                "mov edx, [r12 + {number}]",
                "mov rcx, [r12]",
                "mov dword ptr [rsp + {id} + 4], {done}",
                "add rcx, 2",
                "mov [rsp + {rflags}], rbx",
                "mov [rsp + {r11}], rbx",
                "mov [rsp + {rip}], rcx",
                "mov [rsp + {rcx}], rcx",
                "mov [rsp + {context_site}], r12",
                "mov [rsp + {context_number}], edx",
                "lea rdi, [rsp + {context}]",
                "lea rsi, [rsp + {frame}]",
                "call rax",
                "xor ecx, ecx",
                $(
                concat!("/* ", $changes, " */"),
                "mov rdx, [r12]",
                "add rdx, 2",
                "cmp rdx, [rsp + {rip}]",
                "cmovne rcx, [rsp + {rip}]",
                )?
                // As in the gate before the call.
                concat!(".globl ", $labels, "_leave"),
                concat!(".hidden ", $labels, "_leave"),
                concat!($labels, "_leave:"),
                "cmp dword ptr [rsp + {waits}], 0",
                "jne hotpatch_full_leave",
                $(
                concat!("/* ", $changes, " */"),
                "cmp rbx, [rsp + {rflags}]",
                "jne hotpatch_full_leave",
                )?
                "imul r11d, ebx, 1 << 20",
                "mov ah, bl",
                "add r11d, r11d",
                "sahf",
                "mov rax, [rsp + {rax}]",
                "mov rdi, [rsp + {rdi}]",
                "mov rsi, [rsp + {rsi}]",
                "mov rdx, [rsp + {rdx}]",
                "mov r10, [rsp + {r10}]",
                "mov r8, [rsp + {r8}]",
                "mov r9, [rsp + {r9}]",
                "mov r11, [rsp + {r11}]",
                "mov rbx, [rsp + {rbx}]",
                "mov r12, [rsp + {r12}]",
                $(
                concat!("/* ", $full, " */"),
                "mov rbp, [rsp + {rbp}]",
                "mov r13, [rsp + {r13}]",
                "mov r14, [rsp + {r14}]",
                "mov r15, [rsp + {r15}]",
                )?
                "lea rsp, [rsp + {ret}]",
                concat!(".globl ", $labels, "_restored"),
                concat!(".hidden ", $labels, "_restored"),
                concat!($labels, "_restored:"),
                "ret",
                concat!(".globl ", $labels, "_end"),
                concat!(".hidden ", $labels, "_end"),
                concat!($labels, "_end:"),
                ".cfi_endproc",
                len = const Entered::LEN,
                frame = const offset_of!(Entered, frame),
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
                rip = const in_frame(offset_of!(Frame, rip)),
                rflags = const in_frame(offset_of!(Frame, rflags)),
                rbx = const in_frame(offset_of!(Frame, rbx)),
                rbp = const in_frame(offset_of!(Frame, rbp)),
                r12 = const in_frame(offset_of!(Frame, r12)),
                r13 = const in_frame(offset_of!(Frame, r13)),
                r14 = const in_frame(offset_of!(Frame, r14)),
                r15 = const in_frame(offset_of!(Frame, r15)),
                flags = const offset_of!(Entered, flags),
                ret = const offset_of!(Entered, ret),
                id = const offset_of!(Entered, id),
                done = const Entered::DONE >> 32,
                context = const in_context(0),
                context_site = const in_context(offset_of!(Context, site)),
                context_number = const in_context(offset_of!(Context, number)),
                known = const size_of::<Known>(),
                number = const offset_of!(Known, number),
                waits = const Entered::LEN + SLOTS + offset_of!(Slots, state),
                odd = const ODD_FLAGS,
                quick = sym QUICK,
                after = const offset_of!(Quick, after),
                sites = const offset_of!(Quick, sites),
            )
        }
    };
}

quick_after!(
    quick_after_full,
    "hotpatch_quick_after_full",
    "hotpatch_after_full",
    ["full"],
    ["changes"]
);
quick_after!(
    quick_after_arguments,
    "hotpatch_quick_after_arguments",
    "hotpatch_after_arguments",
    [],
    ["changes"]
);
quick_after!(
    quick_after_reads,
    "hotpatch_quick_after_reads",
    "hotpatch_after_full",
    [],
    []
);

// The assembly takes a site to be as long as a `syscall`.
const _: () = assert!(offset_of!(Site, address) == 0);
