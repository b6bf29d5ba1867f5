//! Signals: handlers see their thread where the program believes it to be.
//!
//! Every handler that the program installs is replaced by an entry of ours, which finds out what the interrupted
//! address means and then jumps to the handler with registers and stack as the kernel left them:
//!
//! | interrupted | the handler is shown |
//! |---|---|
//! | the program | what the kernel says |
//! | a trampoline, a jump that leads there, or code that executes a call | the original instruction, or the address behind it |
//! | a hook, or code of ours around it | nothing: the signal is raised again, blocked, until the hook ends. A fault ends the hook |
//!
//! If a handler returns and has left the address as it was, a restorer of ours puts the real one back.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I17: frames are where the kernel has put them; this thread's slots are used by this thread alone.

pub mod alternate;
pub mod asm;
pub mod context;
pub mod copy;
pub mod disposition;
pub mod faults;
pub mod held;
pub mod map;
pub mod moved;
pub mod place;
pub mod slots;
pub mod told;

use core::fmt::Write as _;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use linux_raw_sys::general::{SIGFPE, SIGILL, SIGTRAP, TRAP_TRACE};

use crate::areas;
use crate::attach;
use crate::boot;
use crate::entry;
use crate::frame::Entered;
use crate::hooks;
use crate::hosted;
use crate::internal;
use crate::late::Lock;
use crate::lazy;
use crate::line::Line;
use crate::pages::{PAGE, Range};
use crate::services;
use crate::sys::{self, Errno};
use crate::thread::{self, Block};
use crate::trap;
use asm::code;
use context::{Context, Registers, SignalFrame};
use disposition::{Action, DEFAULT, Entries, FAULTS, IGNORE, RESET, SYSTEM, bit};
use place::Place;
use slots::Slots;

static ENTRIES: Entries = Entries::new();

/// SIGKILL and SIGSTOP, which nobody can block.
pub(crate) const UNSTOPPABLE: u64 = bit(9) | bit(19);

/// Takes over the dispositions that are there. From here on signals find threads' blocks through gs.
pub fn begin() {
    let all = hooks::are_there();
    let blocks = if all && !hosted::are_there() && !attach::is_attached() {
        asm::BLOCKS
    } else {
        asm::SOME_BLOCKS
    };
    asm::GS.store(blocks, Ordering::Relaxed);
    // An exec has left no handler: what is ignored, and has not to be shown as something else, stays so.
    let may_be_ours = if boot::at_exec() { FAULTS } else { u64::MAX };
    for signal in (1..=64).filter(|&signal| bit(signal) & may_be_ours != 0) {
        let Ok(now) = sys::disposition(signal, None) else {
            continue;
        };
        held::note(signal, &now);
        let ours = to_kernel(signal, now);
        if ours.handler != now.handler {
            let _ = sys::disposition(signal, Some(&ours));
        }
    }
}

/// Gives the kernel back what the program has set.
pub(crate) fn give_back() {
    for signal in 1..=64 {
        let Ok(now) = sys::disposition(signal, None) else {
            continue;
        };
        let set = ENTRIES.to_program(now, code());
        if set != now {
            let _ = sys::disposition(signal, Some(&set));
        }
    }
}

/// Threads have no blocks any more.
pub fn end() {
    asm::GS.store(asm::NO_BLOCKS, Ordering::Relaxed);
}

/// What the kernel is given where the program gives `action` for `signal`.
fn to_kernel(signal: u32, action: Action) -> Action {
    if signal == SYSTEM && trap::has_begun() || signal == lazy::FAULT && lazy::is_on() {
        return ENTRIES.system_to_kernel(action, code());
    }
    if action.handler == DEFAULT && !hooks::are_there() {
        return action; // no hook that could be at fault
    }
    let ours = ENTRIES.to_kernel(signal, action, code());
    if (1..=64).contains(&signal)
        && bit(signal) & faults::MEMORY != 0
        && (code().index(ours.handler).is_none() || ours.flags & RESET != 0)
    {
        faults::go_astray();
    }
    ours
}

/// Whether a fault that this thread meets would come to us.
#[must_use]
pub fn faults_come() -> bool {
    own_block().is_some_and(|block| block.signal.faults.come())
}

/// What this thread blocks may change.
pub fn mask_changes() {
    if let Some(block) = own_block() {
        block.signal.faults.change();
    }
}

/// Sets for `signal` what is set, as it is to be set now: it may have been set by a call that nobody saw.
pub fn renew(signal: u32) {
    if let Ok(now) = sys::disposition(signal, None) {
        let set = ENTRIES.to_program(now, code());
        let ours = to_kernel(signal, set);
        if ours != now {
            let _ = sys::disposition(signal, Some(&ours));
        }
    }
}

/// `rt_sigaction`, as the program means it: the kernel's answer.
#[must_use]
pub fn action(arguments: [u64; 4]) -> u64 {
    match try_action(arguments) {
        Ok(()) => 0,
        Err(Errno(number)) => u64::from(number).wrapping_neg(),
    }
}

fn try_action([signal, new, old, size]: [u64; 4]) -> Result<(), Errno> {
    let signal = signal as u32;
    if size != 8 {
        return Err(Errno::INVAL);
    }
    let begun = trap::has_begun();
    let new = match new {
        0 => None,
        at => {
            let new = read_action(at)?;
            lazy::blocks(new.mask | bit(signal));
            Some(to_kernel(signal, new))
        }
    };
    // The kernel writes to the program's own memory, or says that it cannot.
    // SAFETY: I17: what the program has asked for.
    unsafe { sys::disposition_at(signal, new.as_ref(), old) }?;
    if let Some(new) = &new {
        held::note(signal, new);
        if signal == SYSTEM && begun != trap::has_begun() {
            renew(SYSTEM); // another thread has begun meanwhile
        }
    }
    if old != 0 {
        let there = ptr::with_exposed_provenance_mut::<Action>(old as usize);
        // SAFETY: the kernel has written there just now.
        let action = unsafe { there.read_unaligned() };
        let shown = ENTRIES.to_program(action, code());
        if shown != action {
            // SAFETY: as above.
            unsafe { there.write_unaligned(shown) };
        }
    }
    Ok(())
}

fn read_action(at: u64) -> Result<Action, Errno> {
    // It lies on two pages at most, and each call costs as much as the program's own.
    let last = at.checked_add(24).ok_or(Errno::FAULT)?;
    let starts = at / PAGE == (last + 7) / PAGE || sys::peek(at as usize).is_some();
    if !starts || sys::peek(last as usize).is_none() {
        return Err(Errno::FAULT);
    }
    let there = ptr::with_exposed_provenance::<Action>(at as usize);
    // SAFETY: I17: the kernel has read from its pages just now.
    Ok(unsafe { there.read_unaligned() })
}

/// This thread's block, while there are any.
pub(crate) fn own_block() -> Option<&'static mut Block> {
    // Relaxed: it changes while one thread runs, or for good.
    let blocks = asm::GS.load(Ordering::Relaxed);
    if blocks == asm::NO_BLOCKS {
        return None;
    }
    // SAFETY: I13: gs leads to a block.
    let at = unsafe { crate::arch::gs_base() };
    let block = ptr::with_exposed_provenance_mut::<Block>(at as usize);
    if blocks == asm::SOME_BLOCKS {
        // SAFETY: I12: these words change when their thread is alone to know it, or by itself.
        let Block {
            minus_fs, hosted, ..
        } = unsafe { &*block };
        // SAFETY: I13: what lets programs set one base lets them read the other.
        let fs = unsafe { crate::arch::fs_base() };
        let in_hook = !hosted.inside.is_null() && hosted.fs == fs;
        if minus_fs.wrapping_add(fs) != 0 && !in_hook {
            return None;
        }
    }
    // SAFETY: I12: this thread's.
    Some(unsafe { &mut *block })
}

/// How a thread goes on where a signal has arrived.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    /// The handler to go to; 0 where the frame is done with, or [`CAUGHT`].
    to: u64,
    /// Where the frame is.
    frame: *mut SignalFrame,
}

/// The frame is done with, and the signals that have come meanwhile wait for nothing else.
const CAUGHT: u64 = 1;

/// A signal has arrived.
///
/// # Safety
/// Called by the entry of `entry` alone, with the kernel's frame.
pub(crate) unsafe extern "C" fn arrived(frame: *mut SignalFrame, entry: u32) -> Way {
    // SAFETY: as the caller promises.
    unsafe { place::take_block(frame) };
    let mut block = own_block();
    // SAFETY: as the caller promises.
    unsafe { handle(frame, entry as usize, &mut block) }
}

/// # Safety
/// `frame` is a frame of the kernel's for that entry, and has not been handled before.
unsafe fn handle(
    frame: *mut SignalFrame,
    entry: usize,
    block: &mut Option<&'static mut Block>,
) -> Way {
    // SAFETY: as the caller promises.
    let frame = unsafe { &mut *frame };
    let here = ptr::from_mut(frame);
    let done = Way { to: 0, frame: here };
    let Some(meaning) = ENTRIES.meaning(entry) else {
        return done;
    };
    if let Some(block) = block {
        block.signal.arrived(&mut frame.info);
        block.signal.faults.change();
    }
    if is_fault(frame) && copy::recover(&mut frame.context.registers) {
        if let Some(block) = block {
            meets_fault(frame, block);
        }
        return done;
    }
    if frame.info.signal == lazy::FAULT
        && is_fault(frame)
        && lazy::holds(frame.context.registers.rip)
    {
        let to = caught_or_done(block);
        let rip = frame.context.registers.rip;
        let lock = Lock::take();
        let there = Range {
            start: rip,
            end: rip + 1,
        };
        lazy::arrive(there, &lock);
        return Way { to, ..done };
    }
    if block.is_none() && hosted::is_own_thread() {
        return Way {
            to: not_ours_to_handle(frame, meaning.handler),
            ..done
        };
    }
    if frame.info.signal == SYSTEM
        && trap::has_begun()
        && let Some(to) = system(frame, entry, block)
    {
        return Way { to, ..done };
    }
    let interrupted = frame.context.registers.rip;
    let stack = block.as_ref().map_or(0..0, |block| block.base..block.top);
    let hosted = block
        .as_ref()
        .is_some_and(|block| !block.hosted.inside.is_null());
    if let Some(block) = block.as_mut()
        && bit(frame.info.signal) == hosted::donor::SETXID
        && meaning.handler != DEFAULT
        && hosted::are_there()
        && (hosted || stack.contains(&frame.context.registers.rsp))
    {
        change_ids(frame, block, meaning.handler);
        return done;
    }
    if is_step(frame) && place::is_between(&frame.context.registers, &stack, hosted) {
        return done;
    }
    let mut shown = false;
    loop {
        match place::place(&mut frame.context, &stack, hosted) {
            Place::Again => {}
            Place::Program => break,
            Place::Shown => {
                show(frame);
                shown = true;
                break;
            }
            Place::Ours { nested } => {
                let at_fault = is_fault(frame).then(|| report_fault(frame));
                let Some(block) = block else { break };
                if let Some(hook) = at_fault {
                    let Some(hook) = hook.filter(|_| meaning.handler != DEFAULT) else {
                        // It ends the process here, where a debugger or a core shows why.
                        break;
                    };
                    hooks::give_up(hook);
                    wait(frame, entry, block, nested);
                    leave_hook(&mut frame.context.registers, block.top);
                    return done;
                }
                place::settle(&mut frame.context.registers, block.top);
                wait(frame, entry, block, nested);
                return done;
            }
            Place::Resuming => {
                let Some(block) = block else { break };
                resumed(&mut frame.context.registers, &block.signal);
            }
            Place::Entering {
                frame: below,
                entry: first,
            } => {
                // Another signal's frame is beneath, and its handler has not begun. Its frame must be right before
                // this one's handler runs, which may enter hooks.
                let below = ptr::with_exposed_provenance_mut::<SignalFrame>(below as usize);
                // SAFETY: the kernel has put it there, and its entry has not run.
                let way = unsafe { handle(below, first, block) };
                let registers = &mut frame.context.registers;
                registers.rax = 0;
                if way.to > CAUGHT {
                    registers.rip = way.to;
                    enter_at(registers, way.frame);
                    continue;
                }
                registers.rip = asm::returning();
                registers.rbx = below.addr() as u64;
                if let Some(block) = block {
                    raise_again(frame, entry, block);
                    // SAFETY: as above.
                    if block.signal.fault == unsafe { &raw const (*below).context }.addr() as u64 {
                        waits_for_copy(frame, block, true);
                    }
                }
                frame.context.mask = everything(frame);
                return done;
            }
        }
    }
    if states_instruction(frame) && frame.info.fields[0] == interrupted {
        frame.info.fields[0] = frame.context.registers.rip;
    }
    if let Some(block) = block
        && stack.contains(&(ptr::from_ref(frame).addr() as u64))
        && !is_fault(frame)
    {
        // Right before or behind a gate the hook stack is still in rsp, and no handler runs there.
        if shown {
            hide(frame);
        }
        deliver_later(frame, entry, block);
        return done;
    }
    if meaning.handler == DEFAULT {
        if hooks::hear_signals() && !hosted {
            // SAFETY: this thread's.
            unsafe { told::comes(frame, DEFAULT, shown, &stack) };
        }
        if shown {
            hide(frame);
        }
        by_default(frame);
        return done;
    }
    if hooks::hear_signals() && !hosted {
        // SAFETY: this thread's.
        unsafe { told::comes(frame, meaning.handler, shown, &stack) };
    }
    let to = meaning.handler;
    if lazy::is_on() && !internal::is_filtered() {
        // A call that waits with a mask of its own has not been looked at.
        lazy::blocks(sys::blocked());
    }
    if frame.info.signal == SYSTEM
        && meaning.system.is_some_and(|system| system.resets)
        && !internal::is_filtered()
    {
        reset_system();
    }
    if !shown {
        frame.context.stash.restorer = 0; // the kernel leaves there what was there
    }
    let Some(block) = block else {
        return Way { to, frame: here };
    };
    let Context {
        registers, mask, ..
    } = &frame.context;
    block.signal.faults.interrupted(*mask, registers.rax);
    if block.trap.armed != 0 || block.trap.stack != 0 {
        let frame = moved::prepare(frame, &meaning, block, shown);
        return Way { to, frame };
    }
    block
        .signal
        .alternate
        .begins(frame.info.signal, here.addr() as u64);
    Way { to, frame: here }
}

/// The kernel has entered a handler whose frame is now at `frame`: what its registers say of that.
fn enter_at(registers: &mut Registers, frame: *mut SignalFrame) {
    let at = frame.addr() as u64;
    registers.rsp = at;
    registers.rsi = at + offset_of!(SignalFrame, info) as u64;
    registers.rdx = at + offset_of!(SignalFrame, context) as u64;
}

/// How a frame is left that is handled here and now.
fn caught_or_done(block: &Option<&'static mut Block>) -> u64 {
    // Relaxed: this thread's own.
    let free = |block: &&'static mut Block| block.signal.state.load(Ordering::Relaxed) == 0;
    if block.as_ref().is_some_and(free) {
        CAUGHT
    } else {
        0
    }
}

/// The signal that calls become, where they do. Answers what [`handle`] does; `None`: it is one like any other.
#[inline(never)]
fn system(
    frame: &mut SignalFrame,
    entry: usize,
    block: &mut Option<&'static mut Block>,
) -> Option<u64> {
    const USER_DISPATCH: i32 = 2;
    let armed = block.as_ref().is_none_or(|block| block.trap.armed != 0);
    if frame.info.code == USER_DISPATCH && armed {
        let to = caught_or_done(block);
        caught(frame, block);
        return Some(to);
    }
    if let Some(block) = block
        && block.trap.armed != 0
        && block.trap.blocked != 0
    {
        // It waits until the program unblocks it, and so do our own.
        trap::own::suspend(block, &mut frame.context.mask);
        raise_again(frame, entry, block);
        return Some(0);
    }
    let ignored = ENTRIES.meaning(entry)?.handler == IGNORE;
    ignored.then_some(0)
}

/// Its handler is one that is called once, which the kernel has not been told.
#[cold]
fn reset_system() {
    if let Ok(now) = sys::disposition(SYSTEM, None) {
        let set = ENTRIES.to_program(now, code());
        let reset = Action {
            handler: DEFAULT,
            ..set
        };
        let _ = sys::disposition(SYSTEM, Some(&to_kernel(SYSTEM, reset)));
    }
}

/// A call has become a signal: the thread goes on in the slot of its site.
fn caught(frame: &mut SignalFrame, block: &mut Option<&'static mut Block>) {
    let at = ptr::from_ref(frame).addr() as u64;
    let next = frame.context.registers.rip;
    let architecture = (frame.info.fields[1] >> 32) as u32;
    if let Some(to) = trap::way(next, architecture) {
        frame.context.registers.rip = to;
        if let Some(block) = block
            && block.trap.stack != 0
            && !block.trap.holds(at)
        {
            // A handler that began before this thread was armed has put back the program's own.
            frame.context.stack = block.trap.registered();
        }
        return;
    }
    if let Some(block) = block
        && !internal::is_filtered()
    {
        // There is no room for it: the instruction is executed where it is, and so are those that follow.
        trap::own::suspend(block, &mut frame.context.mask);
        trap::full();
        frame.context.registers.rip = next.wrapping_sub(2);
        return;
    }
    execute_here(&mut frame.context.registers);
}

/// Executes a call of the program's that can be made nowhere else.
#[cold]
fn execute_here(registers: &mut Registers) {
    let Registers {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = *registers;
    let arguments = [rdi, rsi, rdx, r10, r8, r9].map(|a| a as usize);
    // SAFETY: what the program wants.
    let result = unsafe { crate::arch::program_syscall(rax as u32, arguments) };
    registers.rax = result as u64;
}

/// The C library has all threads change their ids. Whoever asked for it waits for all, and holds the lock of the list of
/// threads, which a hosted hook may be waiting for: this cannot wait until the hook ends.
///
/// While this thread is in such a hook it has its donor's signals too, and nothing tells them apart: so it answers for
/// itself and for the donor by turns. Whoever has not answered is asked again.
#[cold]
#[inline(never)]
fn change_ids(frame: &mut SignalFrame, block: &mut Block, handler: u64) {
    type Handler = unsafe extern "C" fn(u32, usize, usize);
    let handler = ptr::with_exposed_provenance::<()>(handler as usize);
    // SAFETY: I17: the program's handler.
    let handler = unsafe { core::mem::transmute::<*const (), Handler>(handler) };
    // SAFETY: I13: what lets programs set one base lets them read and set the other.
    let fs = unsafe { crate::arch::fs_base() };
    // Its calls are executed as they are: the hook stack is in use.
    let minus_fs = core::mem::replace(&mut block.minus_fs, 1);
    compiler_fence(Ordering::SeqCst);
    let hosted = &mut block.hosted;
    hosted.turn = !hosted.turn && !hosted.inside.is_null();
    let own = if hosted.turn {
        hosted.fs
    } else {
        minus_fs.wrapping_neg()
    };
    // SAFETY: as above: this thread's, either of them.
    unsafe { crate::arch::set_fs_base(own) };
    let (info, context) = (&raw const frame.info, &raw const frame.context);
    // SAFETY: I17: as the kernel would call it.
    unsafe { handler(frame.info.signal, info.addr(), context.addr()) };
    // SAFETY: as above.
    unsafe { crate::arch::set_fs_base(fs) };
    compiler_fence(Ordering::SeqCst);
    block.minus_fs = minus_fs;
}

/// A signal for the program has reached a thread of a hook's. Another thread of the program gets it, if it was for any.
#[cold]
#[inline(never)]
fn not_ours_to_handle(frame: &mut SignalFrame, handler: u64) -> u64 {
    if is_fault(frame) {
        report_fault(frame);
        by_default(frame);
        return 0;
    }
    // All threads change their ids, these too.
    if bit(frame.info.signal) == hosted::donor::SETXID {
        return handler;
    }
    frame.context.mask |= !(FAULTS | hosted::donor::SETXID);
    sys::block(frame.context.mask);
    // SAFETY: the info is the kernel's.
    let _ = unsafe { sys::pass_on(frame.info.signal, (&raw const frame.info).addr()) };
    0
}

/// A thread that is about to go on as its slots say is there already.
fn resumed(registers: &mut Registers, slots: &Slots) {
    (registers.rip, registers.rsp) = (slots.rip, slots.rsp);
    (registers.rax, registers.rdi) = (slots.rax, slots.rdi);
    (registers.rsi, registers.rdx) = (slots.rsi, slots.rdx);
    (registers.r10, registers.rcx) = (slots.r10, slots.rcx);
    registers.r11 = slots.r11;
}

fn is_fault(frame: &SignalFrame) -> bool {
    bit(frame.info.signal) & FAULTS != 0 && frame.info.code > 0
}

/// Whether the program has set the trap flag, and one instruction more has been executed.
fn is_step(frame: &SignalFrame) -> bool {
    bit(frame.info.signal) == bit(SIGTRAP) && frame.info.code == TRAP_TRACE as i32
}

/// Whether its information has the address of the instruction, or of the call, that it comes from.
fn states_instruction(frame: &SignalFrame) -> bool {
    const STATE: u64 = bit(SYSTEM) | bit(SIGILL) | bit(SIGTRAP) | bit(SIGFPE);
    bit(frame.info.signal) & STATE != 0 && frame.info.code > 0
}

/// Sees to it that the thread goes on where its stash says, if the handler leaves what it is shown.
fn show(frame: &mut SignalFrame) {
    let (registers, stash) = (&mut frame.context.registers, &mut frame.context.stash);
    if stash.given != 0 {
        // SAFETY: I17: `place` has found the program's own there.
        unsafe { place::swap(registers, stash.given) };
    }
    (stash.shown_rip, stash.shown_rsp) = (registers.rip, registers.rsp);
    lead_back(frame);
}

/// Sees to it that the way back from the handler leads through our restorer: by the program's own, where that leads to
/// us, as its unwinders know that one. Once its calls pass by ([`areas::unhook`]) it leads where the handler was shown: so
/// that must be an instruction still.
fn lead_back(frame: &mut SignalFrame) {
    frame.context.stash.leads_to(frame.restorer);
    if !areas::is_restorer(frame.restorer) || !areas::begins_at(frame.context.registers.rip) {
        frame.restorer = asm::restorer();
    }
}

/// Whether a handler has been shown an instruction that can be executed without us.
///
/// # Safety
/// Called by the restorer alone, with the context in its frame.
unsafe extern "C" fn goes_natively(context: *const Context) -> u32 {
    // SAFETY: I17: as the caller promises.
    areas::begins_at(unsafe { (*context).stash.shown_rip }).into()
}

/// Undoes [`show`]: there is nobody to be shown anything.
#[inline(never)]
fn hide(frame: &mut SignalFrame) {
    let (registers, stash) = (&mut frame.context.registers, &frame.context.stash);
    (registers.rip, registers.rsp) = (stash.rip, stash.rsp);
    if stash.given != 0 {
        // SAFETY: I17: as in `show`.
        unsafe { place::swap(registers, stash.given) };
    }
    if stash.r9 != 0 {
        registers.r9 = stash.r9;
    }
}

/// What is blocked while a signal waits. Faults are not: they would end the process without a word.
fn everything(frame: &SignalFrame) -> u64 {
    frame.context.mask | !never_waits() | bit(frame.info.signal)
}

/// Faults, and calls that have become signals: the program may be where a hook leads to.
fn never_waits() -> u64 {
    if trap::has_begun() {
        FAULTS | bit(SYSTEM)
    } else {
        FAULTS
    }
}

/// Puts the signal off until the hook ends.
fn wait(frame: &mut SignalFrame, entry: usize, block: &mut Block, nested: bool) {
    raise_again(frame, entry, block);
    if block.signal.fault == 0 {
        block.signal.wait(frame.context.mask, nested);
    } else {
        waits_for_copy(frame, block, nested);
    }
    frame.context.mask = everything(frame);
    place::interrupt(&mut frame.context.registers);
}

/// A signal waits that has landed in a hook while it copies, behind a fault. Where that is still being handled, with
/// more blocked than in the hook, everything stays blocked behind it.
#[inline(never)]
fn waits_for_copy(frame: &SignalFrame, block: &mut Block, nested: bool) {
    // How much stack code of ours may take.
    const STACK: u64 = 1 << 14;
    let slots = &mut block.signal;
    slots.wait(slots.fault_mask, nested);
    if slots.fault.wrapping_sub(frame.context.registers.rsp) < STACK {
        let below = ptr::with_exposed_provenance_mut::<Context>(slots.fault as usize);
        // SAFETY: I17: rsp lies below the frame that it is in.
        unsafe { (*below).mask |= !never_waits() | bit(frame.info.signal) };
    }
}

/// A copy in a hook has met a fault, whose frame this is.
fn meets_fault(frame: &mut SignalFrame, block: &mut Block) {
    let slots = &mut block.signal;
    slots.fault_mask = frame.context.mask;
    slots.fault = (&raw const frame.context).addr() as u64;
    compiler_fence(Ordering::SeqCst);
    // One that came ahead of these lines could not know them. What waits for longer has blocked everything.
    let waited = frame.context.mask | never_waits() | UNSTOPPABLE == u64::MAX;
    if slots.state.load(Ordering::Relaxed) != 0 && !waited {
        slots.mask = slots.fault_mask;
        frame.context.mask |= !never_waits();
    }
}

/// A copy that has met a fault is over.
pub fn copied() {
    if let Some(block) = own_block() {
        block.signal.fault = 0;
    }
}

/// Has the signal delivered with the program's stack pointer, which the frame's registers have.
#[inline(never)]
fn deliver_later(frame: &mut SignalFrame, entry: usize, block: &mut Block) {
    raise_again(frame, entry, block);
    let slots = &mut block.signal;
    slots.mask = frame.context.mask;
    frame.context.mask = everything(frame);
    let registers = &mut frame.context.registers;
    (slots.rip, slots.rsp) = (registers.rip, registers.rsp);
    (slots.rax, slots.rdi, slots.rsi) = (registers.rax, registers.rdi, registers.rsi);
    (slots.rdx, slots.r10) = (registers.rdx, registers.r10);
    (slots.rcx, slots.r11) = (registers.rcx, registers.r11);
    slots.go_on();
    registers.rip = asm::resume();
}

/// Raises the signal for this thread, where it is blocked from now on; or keeps it, where no call may be made.
#[inline(never)]
fn raise_again(frame: &mut SignalFrame, entry: usize, block: &mut Block) {
    if internal::is_filtered() {
        let at = ptr::from_ref(frame).addr() as u64;
        let alternate = block.signal.alternate.contains(at);
        if block.held.keep(frame, entry, alternate) {
            return;
        }
    }
    // With SA_NODEFER it is not blocked here, and would arrive at once, and again.
    sys::block(everything(frame));
    let info = &mut frame.info;
    block.signal.again(info);
    // The kernel has reset the disposition, but its flags, mask and restorer are still there.
    if let Ok(now) = sys::disposition(info.signal, None)
        && now.handler == DEFAULT
        && now.flags & RESET != 0
    {
        let handler = code().of(entry);
        let again = Action { handler, ..now };
        let _ = sys::disposition(info.signal, Some(&again));
    }
    // SAFETY: the info is the kernel's.
    let _ = unsafe { sys::raise(info.signal, (&raw const *info).addr()) };
}

/// Does what the kernel does where there is no handler.
#[inline(never)]
fn by_default(frame: &mut SignalFrame) {
    let signal = frame.info.signal;
    if let Ok(now) = sys::disposition(signal, None) {
        let default = Action {
            handler: DEFAULT,
            ..now
        };
        let _ = sys::disposition(signal, Some(&default));
    }
    if !is_fault(frame) {
        // SAFETY: the info is the kernel's.
        let _ = unsafe { sys::raise(signal, (&raw const frame.info).addr()) };
    }
    // A fault comes again, as the instruction is executed again.
}

/// Names the hook that is at fault; answers its number.
#[cold]
#[inline(never)]
fn report_fault(frame: &SignalFrame) -> Option<usize> {
    let registers = &frame.context.registers;
    let (signal, at) = (frame.info.signal, registers.rip);
    let mut line: Line<160> = Line::new();
    let hook = services::hook_at(at);
    let (file, offset) = match &hook {
        Some((_, hook)) => ("its file", at.wrapping_sub(hook.bias)),
        None => ("memory, while a hook runs,", at),
    };
    let _ = write!(
        line,
        "signal {signal} at {offset:#x} of {file} for address {:#x}",
        frame.info.fields[0]
    );
    let name = hook.as_ref().map_or(&b"fault"[..], |(_, hook)| hook.name());
    services::say(name, line.bytes());
    // Where it is the C library's code, or another's, on behalf of a hosted hook.
    // SAFETY: I13: there are blocks.
    let behalf = || unsafe { hosted::inside() }.map(hosted::stubs::Kept::hook);
    hook.map(|(n, _)| n).or_else(behalf)
}

/// Makes the thread go on as if its hook had said that it failed.
fn leave_hook(registers: &mut Registers, top: u64) {
    let entered = top - Entered::LEN as u64;
    registers.rip = entry::leave_hook as *const () as u64;
    (registers.rdi, registers.rsp) = (entered, entered);
}

/// A handler is about to begin, but another signal waits: it comes first.
///
/// # Safety
/// Called by the entry alone; everything is blocked.
pub(crate) unsafe extern "C" fn waited(frame: *mut SignalFrame, to: u64) {
    let Some(block) = own_block() else { return };
    // SAFETY: as the caller promises.
    let frame = unsafe { &*frame };
    let slots = &mut block.signal;
    let registers = &frame.context.registers;
    (slots.rip, slots.rsp) = (to, ptr::from_ref(frame).addr() as u64);
    (slots.rax, slots.r10) = (0, registers.r10);
    (slots.rcx, slots.r11) = (registers.rcx, to);
    slots.rdi = u64::from(frame.info.signal);
    slots.rsi = (&raw const frame.info).addr() as u64;
    slots.rdx = (&raw const frame.context).addr() as u64;
    slots.go_on();
}

/// A thread goes on with these registers, and signals that are kept here come first. Answers the frame to return from.
///
/// # Safety
/// Called by the code in asm.rs alone; everything is blocked.
pub(crate) unsafe extern "C" fn deliver(registers: *const Registers) -> *const SignalFrame {
    // SAFETY: I13: there is a block, which the caller has read.
    let block = unsafe { thread::own() };
    let (alternate, mask) = (block.signal.alternate, block.signal.mask);
    let on = |rsp| alternate.contains(rsp);
    // SAFETY: as the caller promises.
    let registers = unsafe { *registers };
    // SAFETY: as the caller promises.
    unsafe { (block.held).deliver(registers, mask, on, alternate.end()) }
}

/// A hook of another instruction than `syscall` has ended, and a signal waits. `to` is where the gate was about to go.
///
/// # Safety
/// As [`leaving`].
pub(crate) unsafe extern "C" fn leaving_other(entered: *mut Entered, to: u64) -> u64 {
    // SAFETY: as the caller promises.
    let block = unsafe { thread::block(entered) };
    // SAFETY: as the caller promises.
    let frame = unsafe { &(*entered).frame };
    let slots = &mut block.signal;
    (slots.rip, slots.rsp) = (to, frame.rsp);
    (slots.rax, slots.rdi, slots.rsi) = (frame.rax, frame.rdi, frame.rsi);
    (slots.rdx, slots.r10) = (frame.rdx, frame.r10);
    (slots.rcx, slots.r11) = (frame.rcx, frame.r11);
    slots.go_on();
    asm::resume()
}

/// A hook has ended, and a signal waits. `rcx` is what the gate was about to answer.
///
/// The gate restores all registers and returns; then signals are unblocked with the program's stack pointer, and the
/// block goes on behind its first instruction.
///
/// # Safety
/// Called by a gate alone, when its frame is what the program will see.
pub(crate) unsafe extern "C" fn leaving(entered: *mut Entered, rcx: u64) -> u64 {
    // SAFETY: as the caller promises.
    let block = unsafe { thread::block(entered) };
    // SAFETY: as the caller promises.
    let entered = unsafe { &mut *entered };
    let (slots, frame) = (&mut block.signal, &entered.frame);
    // mov saved_rsp(%rsp),%rsp
    const TAKES_STACK: u64 = 5;
    (slots.rip, slots.rsp) = (entered.ret.wrapping_add(TAKES_STACK), frame.rsp);
    (slots.rax, slots.rdi, slots.rsi) = (frame.rax, frame.rdi, frame.rsi);
    (slots.rdx, slots.r10) = (frame.rdx, frame.r10);
    (slots.rcx, slots.r11) = (rcx, frame.r11);
    slots.go_on();
    entered.ret = asm::resume();
    rcx
}
