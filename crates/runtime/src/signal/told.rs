//! Signals as hooks hear of them, on the hook stack.
//!
//! An entry tells of its signal ahead of the handler, a restorer of ours of the handler's end. Neither can be interrupted by
//! a handler meanwhile: whoever is on a hook stack puts signals off (place.rs).
//!
//! No heap, no lock, no panic.
//!
//! # Safety
//! I17: frames are where the kernel has put them. I12: nobody is on the hook stack.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ops::Range;
use core::ptr;

use hotpatch_abi::{Frame, Signal, event, interrupted};

use super::asm;
use super::context::{Context, Interrupted, Registers, SignalFrame};
use super::slots::Slots;
use crate::entry::in_frame;
use crate::frame::Entered;
use crate::hooks::{self, Call};
use crate::services;
use crate::thread::{self, SLOTS};

/// Tells hooks of a signal, ahead of what comes of it: `handler`, or its default action. `shown`: its handler returns to a
/// restorer of ours.
///
/// # Safety
/// `stack` is the hook stack of the calling thread.
#[inline(never)]
pub unsafe fn comes(frame: &mut SignalFrame, handler: u64, shown: bool, stack: &Range<u64>) {
    let at = ptr::from_ref(frame).addr() as u64;
    if !shown {
        // The kernel leaves there what was there.
        frame.context.stash.call = Interrupted::default();
    }
    let call = frame.context.stash.call;
    // A hook at fault, or one that has called the program; a thread whose beginning comes first.
    let busy = stack.contains(&frame.context.registers.rsp) || stack.contains(&at);
    if busy || stack.is_empty() || call.what == Interrupted::BORN {
        return;
    }
    frame.context.stash.call.told = u8::from(shown);
    let told = Told {
        info: (&raw const frame.info).cast(),
        handler,
        context: &frame.context,
        call,
    };
    // SAFETY: I12: as the caller promises, and as just seen.
    unsafe { on_hook_stack(&raw const told) };
}

/// A handler that was told of has returned to our restorer: tells hooks.
///
/// # Safety
/// Called by the restorer alone, with the context in its frame.
unsafe extern "C" fn returns(context: *const Context) {
    // SAFETY: I17: as the caller promises.
    let context = unsafe { &*context };
    let (registers, stash) = (&context.registers, &context.stash);
    let mut call = stash.call;
    if (registers.rip, registers.rsp) != (stash.shown_rip, stash.shown_rsp) {
        call.what = interrupted::NOWHERE as u8; // the handler has the thread go elsewhere
    }
    let told = Told {
        info: ptr::null(),
        handler: 0,
        context,
        call,
    };
    // SAFETY: I12: handlers run where nobody is on the hook stack.
    unsafe { on_hook_stack(&raw const told) };
}

/// The program makes the call that ends a handler: tells hooks, unless the restorer does.
#[inline(never)]
pub fn comes_back(call: &mut Call<'_>) {
    // SAFETY: I17: words.
    let context: Option<Context> = unsafe { services::value_at(call.frame.rsp) };
    let Some(context) = context else {
        return; // the kernel cannot read it either
    };
    if context.stash.is_marked() && context.stash.call.told != 0 {
        return;
    }
    let signal = Signal {
        info: ptr::null(),
        handler: 0,
        mask: context.mask,
        call: interrupted::NOWHERE,
        reserved: 0,
        frame: frame(&context.registers),
    };
    hooks::tell_signal(call.block, event::SIGNAL_RETURN, &signal, None, 0);
}

/// What is to be told.
struct Told<'a> {
    info: *const c_void,
    handler: u64,
    context: &'a Context,
    call: Interrupted,
}

/// Tells hooks, on their stack.
unsafe extern "C" fn tell(told: *const Told<'_>) {
    // SAFETY: `comes` and `returns` wait for this.
    let told = unsafe { &*told };
    // SAFETY: I13: there is a block, whose stack this runs on.
    let block = unsafe { thread::own() };
    let Interrupted {
        id, number, what, ..
    } = told.call;
    let signal = Signal {
        info: told.info,
        handler: told.handler,
        mask: told.context.mask,
        call: what.into(),
        reserved: 0,
        frame: frame(&told.context.registers),
    };
    let event = match told.info.is_null() {
        true => event::SIGNAL_RETURN,
        false => event::SIGNAL,
    };
    let id = (u32::from(what) != interrupted::NOWHERE).then_some(id);
    hooks::tell_signal(block, event, &signal, id, number.into());
}

fn frame(registers: &Registers) -> Frame {
    let Registers {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rcx,
        r11,
        flags,
        rsp,
        rip,
        rbx,
        rbp,
        r12,
        r13,
        r14,
        r15,
    } = *registers;
    Frame {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rcx,
        r11,
        rflags: flags,
        rsp,
        rip,
        rbx,
        rbp,
        r12,
        r13,
        r14,
        r15,
    }
}

/// Calls [`tell`] on the hook stack, with what a gate builds there: a hook that fails is left by it (`leave_hook`), and goes
/// on behind the call.
///
/// # Safety
/// I12: this thread's hook stack, which nobody is on.
#[unsafe(naked)]
unsafe extern "C" fn on_hook_stack(told: *const Told<'_>) {
    naked_asm!(
        ".cfi_startproc",
        "mov r11, rsp",
        "mov rsp, gs:[0]",
        ".cfi_undefined rip",
        "lea rcx, [rip + 2f]",
        "push rcx",
        "pushfq",
        "lea rsp, [rsp + 16 - {len}]",
        "mov [rsp + {rsp}], r11",
        "mov [rsp + {rbx}], rbx",
        "mov [rsp + {rbp}], rbp",
        "mov [rsp + {r12}], r12",
        "mov [rsp + {r13}], r13",
        "mov [rsp + {r14}], r14",
        "mov [rsp + {r15}], r15",
        "mov rax, [rsp + {flags}]",
        "mov [rsp + {rflags}], rax",
        "mov [rsp + {back}], rcx",
        "lea rcx, [rip + 3f]",
        "mov [rsp + {otherwise}], rcx",
        "movabs rax, {elsewhere}",
        "mov [rsp + {id}], rax",
        "call {tell}",
        "lea rsp, [rsp + {len}]",
        // As in blocks: a signal that waits may have the thread go on behind this.
        "2:",
        "mov rsp, [rsp + {saved_rsp}]",
        "3:",
        "ret",
        ".cfi_endproc",
        len = const Entered::LEN,
        rsp = const in_frame(offset_of!(Frame, rsp)),
        rbx = const in_frame(offset_of!(Frame, rbx)),
        rbp = const in_frame(offset_of!(Frame, rbp)),
        r12 = const in_frame(offset_of!(Frame, r12)),
        r13 = const in_frame(offset_of!(Frame, r13)),
        r14 = const in_frame(offset_of!(Frame, r14)),
        r15 = const in_frame(offset_of!(Frame, r15)),
        rflags = const in_frame(offset_of!(Frame, rflags)),
        flags = const offset_of!(Entered, flags),
        back = const offset_of!(Entered, back),
        otherwise = const offset_of!(Entered, otherwise),
        id = const offset_of!(Entered, id),
        elsewhere = const Entered::ELSEWHERE,
        saved_rsp = const Entered::SAVED_RSP,
        tell = sym tell,
    )
}

/// What a restorer does ahead of all else where its signal was told of. rsp = &Context, with the return address below.
///
/// # Safety
/// Called by the restorer alone.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn at_restorer() {
    naked_asm!(
        ".cfi_startproc",
        // The handler may have left any flags; none is needed any more.
        "push 2",
        "popfq",
        // gs may be the program's by now.
        "cmp dword ptr [rip + {gs}], {blocks}",
        "jne 2f",
        "lea rdi, [rsp + 8]",
        "sub rsp, 8",
        "call {returns}",
        "add rsp, 8",
        // A signal came meanwhile, and waits: everything is blocked.
        "cmp dword ptr gs:[{state}], 0",
        "jne 3f",
        "2:",
        "ret",
        "3:",
        "pop rax",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {waited}",
        "jmp hotpatch_signal_resume",
        ".cfi_endproc",
        gs = sym asm::GS,
        blocks = const asm::BLOCKS,
        state = const SLOTS + offset_of!(Slots, state),
        returns = sym returns,
        waited = sym waited,
    )
}

/// Sees to it that the thread goes on at `to` in the restorer when the signal that waits has been delivered.
unsafe extern "C" fn waited(context: *const Context, to: u64) {
    // SAFETY: I13: there is a block, which the caller has read.
    let block = unsafe { thread::own() };
    let slots = &mut block.signal;
    (slots.rip, slots.rsp) = (to, context.addr() as u64);
    slots.go_on();
}

// A hook that fails is left by the gates' way out.
const _: () = assert!(Entered::SAVED_RSP != 0 && offset_of!(Entered, ret) + 8 == Entered::LEN);
