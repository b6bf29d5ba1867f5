//! Where a thread is: in the program, in code of ours that stands for an instruction of it, or in a hook.
//!
//! No heap, no lock, no panic.
//!
//! # Safety
//! I14 and I17: areas and sites stay; records and births are where the code that is interrupted says.

use core::mem::offset_of;
use core::ops::Range;
use core::ptr;

use hotpatch_abi::interrupted;
use hotpatch_plan::emit::{BACK, INT80, INT80_DONE, SLOT, at};

use super::asm;
use super::context::{Context, Interrupted, Registers, SignalFrame, Stash};
use super::map::{Saved, Step, Trampolines};
use crate::areas::{self, Area, Went};
use crate::frame::{Entered, Record};
use crate::hooks::{self, Known};
use crate::labels::{self, Caller, GATES, Gate};
use crate::services;
use crate::thread::{Block, Own};
use crate::trap::slots;

/// Where [`Own`] lies, from the top of the hook stack.
const OWN: u64 = offset_of!(Block, own) as u64;

/// Where the program's stack pointer is, from the top of the hook stack.
const SAVED: Saved = Saved {
    by_gate: Entered::SAVED_RSP,
    by_block: OWN + offset_of!(Own, rsp) as u64,
};

/// Where a thread is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In code that is not ours.
    Program,
    /// In a hook, or in code of ours that has to come to its end. `nested`: in the code that looks at a signal.
    Ours {
        /// See there.
        nested: bool,
    },
    /// As good as where its registers say now.
    Again,
    /// Its registers are the program's view of it now; the stash says how it goes on.
    Shown,
    /// Where [`Slots`](super::slots::Slots) say.
    Resuming,
    /// About to look at the signal whose frame is there.
    Entering {
        /// That frame.
        frame: u64,
        /// Its entry.
        entry: usize,
    },
}

fn read(at: u64) -> u64 {
    // SAFETY: I17: code of ours, or what such code is about to read itself.
    unsafe { ptr::with_exposed_provenance::<u64>(at as usize).read_unaligned() }
}

fn back(stash: &mut Stash, rip: u64, rsp: u64) -> Place {
    (stash.rip, stash.rsp) = (rip, rsp);
    (stash.given, stash.r9) = (0, 0);
    stash.call = Interrupted::default();
    Place::Shown
}

/// Where a thread in this context is, whose hook stack is `stack`. In place: there is little stack where this runs.
///
/// `hosted`: it is in a hosted hook, whose stack is another.
pub fn place(context: &mut Context, stack: &Range<u64>, hosted: bool) -> Place {
    let (registers, stash) = (&mut context.registers, &mut context.stash);
    let rip = registers.rip;
    if (asm::entries()..asm::restorer_end()).contains(&rip) {
        return in_signal(registers, stash);
    }
    if let Some(gate) = GATES.iter().find(|gate| gate.contains(rip)) {
        return in_gate(registers, gate, stack.end);
    }
    if hosted || stack.contains(&registers.rsp) {
        return Place::Ours { nested: false };
    }
    if let Some(area) = areas::all().find(|area| (area.start..area.end).contains(&rip)) {
        // A hook that has called the program is at an instruction of it, on its own stack.
        if registers.rsp == stack.end && stack.contains(&registers.r11) {
            return Place::Ours { nested: false };
        }
        return in_area(registers, stash, area);
    }
    if labels::record().span.contains(&rip) {
        return in_record(registers, stash);
    }
    if labels::birth().span.contains(&rip) {
        return in_birth(registers, stash);
    }
    if labels::is_own(rip) || services::hook_at(rip).is_some() {
        return Place::Ours { nested: false };
    }
    match stone(rip) {
        Some((area, to)) => {
            registers.rip = to;
            in_area(registers, stash, area)
        }
        None => Place::Program,
    }
}

/// Where the stone at `rip` leads: no instruction of the program is there, but one jump of several from a site to its
/// trampoline.
fn stone(rip: u64) -> Option<(&'static Area, u64)> {
    let area = areas::all().find(|area| (area.code.start..area.code.end).contains(&rip))?;
    let to = led_to(area, rip)?;
    let mut at = original(area, to).filter(|&site| site != rip)?;
    for _ in 0..HOPS {
        at = hop(area, at)?;
        if at == rip {
            return Some((area, to));
        }
    }
    None
}

/// Where jumps lead from `at` on, if that is a trampoline.
fn led_to(area: &Area, mut at: u64) -> Option<u64> {
    for _ in 0..HOPS {
        at = hop(area, at)?;
        if (area.start..area.end).contains(&at) {
            return Some(at);
        }
    }
    None
}

/// Where the jump at `at` leads, in code that has been patched.
fn hop(area: &Area, at: u64) -> Option<u64> {
    // Nothing is read but from the first byte that has been changed to the last.
    let left = area.code.end.checked_sub(at);
    let left = left.filter(|_| at >= area.code.start)?;
    match byte(at) {
        0xe9 if left >= 5 => {
            let by = i32::from_le_bytes([1, 2, 3, 4].map(|n| byte(at + n)));
            Some((at + 5).wrapping_add_signed(by.into()))
        }
        0xeb if left >= 2 => {
            let by = byte(at + 1).cast_signed();
            Some((at + 2).wrapping_add_signed(by.into()))
        }
        _ => None,
    }
}

/// Short jumps from a site to its trampoline, and the near one.
const HOPS: usize = 4;

fn byte(at: u64) -> u8 {
    // SAFETY: I17: code that is being executed, or that a jump in it leads to.
    unsafe { ptr::with_exposed_provenance::<u8>(at as usize).read() }
}

/// Whether a thread that traps at every instruction is at none of the program's.
pub fn is_between(registers: &Registers, stack: &Range<u64>, hosted: bool) -> bool {
    let rip = registers.rip;
    if (asm::entries()..asm::restorer_end()).contains(&rip)
        || GATES.iter().any(|gate| gate.contains(rip))
        || hosted
        || stack.contains(&registers.rsp)
        || labels::record().span.contains(&rip)
        || labels::birth().span.contains(&rip)
        || labels::is_own(rip)
        || services::hook_at(rip).is_some()
    {
        return true;
    }
    if let Some(area) = areas::all().find(|area| (area.start..area.end).contains(&rip)) {
        // Whoever has come by a jump of ours has been there before, and is there once more, as at `rep movsb`.
        return original(area, rip).is_none();
    }
    stone(rip).is_some()
}

/// Which instruction moved to `at`.
fn original(area: &Area, at: u64) -> Option<u64> {
    if area.words != 0 {
        return None;
    }
    // SAFETY: I14: the area says how many.
    let went = unsafe { core::slice::from_raw_parts(area.went, area.count) };
    let offset = u32::try_from(at - area.start).ok()?;
    let index = went.partition_point(|went| went.start() < offset);
    let went = went.get(index).filter(|went| went.start() == offset)?;
    Some(area.origin + u64::from(went.original))
}

/// In the code that looks at signals.
fn in_signal(registers: &mut Registers, stash: &mut Stash) -> Place {
    let rip = registers.rip;
    let enter = asm::enter();
    if rip <= enter {
        // At an entry's second instruction, eax is its index too.
        let entry = asm::code().index(rip).unwrap_or(registers.rax as usize);
        return Place::Entering {
            frame: registers.rsp,
            entry,
        };
    }
    if rip == asm::left() {
        registers.rip = registers.r11;
        return Place::Again;
    }
    if (asm::resume()..asm::end()).contains(&rip) {
        return Place::Resuming;
    }
    if (asm::sigreturn()..asm::restorer()).contains(&rip) {
        // The instruction of the program that has led there.
        registers.rip = registers.rcx.wrapping_sub(2);
        return back(stash, rip, registers.rsp);
    }
    if rip >= asm::restorer() {
        let at = registers
            .rsp
            .wrapping_add(offset_of!(Context, stash) as u64);
        // SAFETY: I17: the restorer runs with the context in rsp.
        let below = unsafe { &*ptr::with_exposed_provenance::<Stash>(at as usize) };
        registers.rip = below.restorer();
        return back(stash, rip, registers.rsp);
    }
    Place::Ours { nested: true }
}

/// Between the call of a gate and its return everything waits, but for the last instruction.
fn in_gate(registers: &mut Registers, gate: &Gate, top: u64) -> Place {
    if registers.rip != gate.restored() {
        return Place::Ours { nested: false };
    }
    if gate.jumps {
        registers.rip = read(top + OWN + offset_of!(Own, to) as u64);
        return Place::Again;
    }
    registers.rip = read(registers.rsp);
    registers.rsp = registers.rsp.wrapping_add(8);
    Place::Again
}

/// Makes a thread that is at the end of something of ours begin that again, so that it sees that a signal waits.
pub fn settle(registers: &mut Registers, top: u64) {
    let rip = registers.rip;
    if let Some(gate) = GATES.iter().find(|gate| gate.leaves(rip)) {
        registers.rip = gate.leave();
        registers.rsp = top - Entered::LEN as u64;
    }
    if (asm::leaving()..asm::left()).contains(&rip) {
        registers.rip = asm::leaving();
        // flags, rdi and rbx lie below the frame
        registers.rsp = registers.rbx.wrapping_sub(24);
    }
    if (asm::caught()..asm::returning()).contains(&rip) {
        registers.rip = asm::caught();
    }
    if (asm::returning()..asm::resume()).contains(&rip) {
        registers.rip = asm::returning();
    }
}

fn in_area(registers: &mut Registers, stash: &mut Stash, area: &Area) -> Place {
    if area.words != 0 {
        return in_slot(registers, stash, area);
    }
    // SAFETY: I14: the area says how many.
    let went = unsafe { core::slice::from_raw_parts(area.went, area.count) };
    let trampolines = Trampolines {
        start: area.start,
        origin: area.origin,
        went,
    };
    stepped(trampolines.step(registers, SAVED, read), stash)
}

fn stepped(step: Option<Step>, stash: &mut Stash) -> Place {
    match step {
        Some(Step::Go) => Place::Again,
        Some(Step::Back { rip, rsp, call }) => {
            let place = back(stash, rip, rsp);
            if call.what != interrupted::NOWHERE {
                let number = known(call.id).number;
                stash.call = Interrupted::new(call.id, number.into(), call.what);
            }
            place
        }
        None => Place::Program,
    }
}

/// In a slot: a block whose site is known by a word of memory.
fn in_slot(registers: &mut Registers, stash: &mut Stash, area: &Area) -> Place {
    let rip = registers.rip;
    let offset = rip - area.start;
    let (index, inside) = (offset / u64::from(SLOT), (offset % u64::from(SLOT)) as u8);
    let next = slots::next(area, index as u32);
    match inside {
        BACK => registers.rip = registers.rcx,
        INT80_DONE => registers.rip = next,
        INT80 => {
            registers.rip = next.wrapping_sub(2);
            return back(stash, rip, registers.rsp);
        }
        _ => {
            let went = [Went {
                offset: Went::BLOCK,
                original: 0,
            }];
            let slot = Trampolines {
                start: rip - u64::from(inside),
                origin: next.wrapping_sub(2),
                went: &went,
            };
            return stepped(slot.step(registers, SAVED, read), stash);
        }
    }
    Place::Again
}

/// The program's own number and arguments in place of those that the kernel sees.
fn give(registers: &mut Registers, given: &[u64; 7]) {
    let [rax, rdi, rsi, rdx, r10, r8, r9] = *given;
    registers.rax = rax;
    (registers.rdi, registers.rsi, registers.rdx) = (rdi, rsi, rdx);
    (registers.r10, registers.r8, registers.r9) = (r10, r8, r9);
}

/// Behind a call: its result, and the address that the kernel leaves.
fn behind(registers: &mut Registers, given: &[u64; 7], site: u64, rsp: u64) {
    let result = registers.rax;
    give(registers, given);
    registers.rax = result;
    registers.rip = site.wrapping_add(2);
    registers.rcx = registers.rip;
    registers.r11 = registers.flags;
    registers.rsp = rsp;
}

fn known(id: u32) -> &'static Known {
    let id = id.min(hooks::sites().saturating_sub(1));
    // SAFETY: I14: less than the number of sites, of which there is one at least, as its block was entered.
    unsafe { hooks::known(id) }
}

/// `mov saved_rsp(%rsp),%rsp`
const TAKES_STACK: u64 = 5;

/// Behind a gate's return: takes the program's stack, and the jump to rcx. Answers whether it was there.
fn left_gate(registers: &mut Registers, code: &Caller) -> bool {
    let rip = registers.rip;
    if rip == code.returned {
        let saved = i64::from(Entered::SAVED_RSP);
        registers.rsp = read(registers.rsp.wrapping_add_signed(saved));
    }
    let left = [code.returned, code.returned + TAKES_STACK, code.left].contains(&rip);
    if left {
        registers.rip = registers.rcx;
    }
    left
}

/// In the code that executes calls with a record.
#[inline(never)]
fn in_record(registers: &mut Registers, stash: &mut Stash) -> Place {
    let code = labels::record();
    if left_gate(registers, &code) {
        return Place::Again;
    }
    let rip = registers.rip;
    let at = if (code.switched..code.returned).contains(&rip) {
        registers.r11
    } else {
        registers.rsp
    };
    // SAFETY: I17: this code runs with the record in rsp, or in r11.
    let record = unsafe { &*ptr::with_exposed_provenance::<Record>(at as usize) };
    let id = record.id.min(u64::from(u32::MAX)) as u32;
    let site = known(id).site.address;
    let is = |what| Interrupted::new(id, record.given[0], what);
    if rip != code.span.start {
        behind(registers, &record.given, site, record.rsp);
        let place = back(stash, code.called, at);
        if record.afters != 0 {
            stash.call = is(interrupted::ENDED);
        }
        return place;
    }
    let restarted = registers.rcx == code.called;
    (registers.rip, registers.rsp) = (site, record.rsp);
    if restarted {
        // Hooks see the call again, with what the program has given.
        give(registers, &record.given);
        let block = record.next.wrapping_sub(u64::from(at::NEXT));
        let place = back(stash, block, record.rsp);
        if record.afters != 0 {
            stash.call = is(interrupted::AGAIN);
        }
        return place;
    }
    let place = back(stash, rip, at);
    if record.afters != 0 {
        stash.call = is(interrupted::BEFORE);
    }
    stash.given = at;
    place
}

/// In the code that executes calls of the clone family.
#[inline(never)]
fn in_birth(registers: &mut Registers, stash: &mut Stash) -> Place {
    let code = labels::birth();
    if left_gate(registers, &code) {
        return Place::Again;
    }
    let rip = registers.rip;
    let r9 = registers.r9;
    let block = ptr::with_exposed_provenance::<Block>(r9 as usize);
    // SAFETY: I17: this code runs with the child's block in r9.
    let birth = unsafe { &(*block).birth };
    let site = known(birth.id).site.address;
    let is = |what| Interrupted::new(birth.id, birth.given[0], what);
    if rip == code.span.start {
        // Executed, restarted or not: the block is reserved already.
        let what = if registers.rcx == code.called {
            interrupted::AGAIN_UNSEEN
        } else {
            interrupted::BEFORE
        };
        let place = back(stash, rip, registers.rsp);
        stash.call = is(what);
        stash.given = (&raw const birth.given).addr() as u64;
        registers.rip = site;
        return place;
    }
    let rsp = if (code.switched..code.returned).contains(&rip) {
        registers.r11
    } else {
        registers.rsp
    };
    behind(registers, &birth.given, site, rsp);
    let place = back(stash, code.called, rsp);
    stash.call = is(interrupted::ENDED);
    if registers.rax == 0 {
        stash.call.what = Interrupted::BORN;
    }
    stash.r9 = r9;
    place
}

/// Exchanges number and arguments with the seven words at `given`.
///
/// # Safety
/// These are a record's or a birth's of this thread.
pub unsafe fn swap(registers: &mut Registers, given: u64) {
    let words = ptr::with_exposed_provenance_mut::<[u64; 7]>(given as usize);
    // SAFETY: as the caller promises.
    let words = unsafe { &mut *words };
    let own = [
        &mut registers.rax,
        &mut registers.rdi,
        &mut registers.rsi,
        &mut registers.rdx,
        &mut registers.r10,
        &mut registers.r8,
        &mut registers.r9,
    ];
    for (own, word) in own.into_iter().zip(words) {
        core::mem::swap(own, word);
    }
}

/// A new thread whose first instruction was interrupted has its parent's block still: gives it its own.
///
/// # Safety
/// `frame` is the kernel's.
pub unsafe fn take_block(frame: *mut SignalFrame) {
    // SAFETY: as the caller promises.
    let mut registers = unsafe { &mut (*frame).context.registers };
    while (asm::entries()..=asm::enter()).contains(&registers.rip) {
        let below = ptr::with_exposed_provenance_mut::<SignalFrame>(registers.rsp as usize);
        // SAFETY: at an entry, rsp is the frame of its signal.
        registers = unsafe { &mut (*below).context.registers };
    }
    let code = labels::birth();
    let rip = registers.rip;
    // Once it is on its hook stack, beginning again would take that for the program's.
    let before = (code.called..code.switched).contains(&rip);
    if registers.rax == 0 && (before || (code.left + 1..code.begun).contains(&rip)) {
        // SAFETY: I12: r9 is the block reserved for it.
        unsafe { crate::arch::set_gs_base(registers.r9) };
        registers.rip = code.called;
    }
}

/// A call that a hook waits in is not begun again when a signal waits for the hook.
pub fn interrupt(registers: &mut Registers) {
    const EINTR: u64 = linux_raw_sys::errno::EINTR as u64;
    let at = ptr::with_exposed_provenance::<[u8; 2]>(registers.rip as usize);
    // SAFETY: I17: code that was executed.
    if registers.rcx == registers.rip.wrapping_add(2) && unsafe { at.read() } == [0x0f, 0x05] {
        registers.rax = EINTR.wrapping_neg();
        registers.rip = registers.rip.wrapping_add(2);
    }
}
