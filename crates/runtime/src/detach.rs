//! The way out of a program that goes on without us.
//!
//! All threads are stopped, but the one that this runs on. Whoever is in a trampoline goes on at the instruction that it
//! stands for, as a signal's handler would be shown it. A thread in a hook has to come out by itself first: then nothing
//! is done but that no hook is called any more, and the attacher tries again.
//!
//! # Safety
//! I24: what the attacher promises; I12: whose blocks are; I17: what addresses in our code mean.

use core::ops;

use hotpatch_inject::{Held, Ranges, Registers, answer};

use crate::areas;
use crate::environment::read_all;
use crate::frame::Record;
use crate::hosted;
use crate::internal::is_filtered;
use crate::labels;
use crate::late;
use crate::lazy;
use crate::maps;
use crate::memory;
use crate::ours;
use crate::pages::Range;
use crate::signal;
use crate::signal::asm;
use crate::signal::context::{self, Context};
use crate::signal::place::{self, Place};
use crate::thread::{self, Block};
use crate::trap;

/// Bytes below the stack pointer that are the program's.
const RED_ZONE: u64 = 128;

/// Parts `held`, which are all threads, from us: a value of [`answer`].
///
/// # Safety
/// I24: called by one of them, with all signals blocked, while the others are stopped.
pub(crate) unsafe fn detach(held: &mut [Held], ranges: &mut Ranges) -> u64 {
    if !late::has_begun() || is_filtered() || lazy::left() > 0 {
        return answer::UNKNOWN;
    }
    if hosted::are_there() {
        return answer::HOSTED;
    }
    if trap::has_begun() {
        return answer::TRAPS;
    }
    if late::is_locked() {
        return answer::BUSY;
    }
    // So that threads come out soon, and stay out of hooks.
    areas::silence();
    let mut inside = false;
    for thread in held.iter_mut() {
        let block = block(thread.registers.gs_base);
        thread.alternate = block.map_or([0; 2], |block| block.signal.alternate.place());
        let is_inside = !leave(&mut thread.registers, block);
        thread.inside = u64::from(is_inside);
        inside |= is_inside;
    }
    if inside {
        return answer::INSIDE;
    }
    let mut done = answer::STUCK;
    let lock = late::Lock::take();
    late::on_own_stack(|| {
        let text = read_all(c"/proc/self/maps");
        let maps = maps::parse(&text);
        if late::put_all_back(&maps) {
            signal::give_back();
            let free = held.iter().all(leads_nowhere);
            done = if free {
                answer::DONE
            } else {
                answer::LEADS_BACK
            };
        }
    });
    // SAFETY: I4: nothing allocated is used any more, and nothing of the arena is to stay for a loader.
    unsafe { late::end_of_start(false) };
    drop(lock);
    let parts = ours::all().map(|part| [part.start, part.end]);
    ranges.count = 0;
    for (place, part) in ranges.all.iter_mut().zip(parts) {
        *place = part;
        ranges.count += 1;
    }
    done
}

/// The block that `gs` leads to, if it is one.
fn block(gs: u64) -> Option<&'static Block> {
    let is_one = thread::slabs().any(|slab| slab.start <= gs && gs < slab.end);
    let block = core::ptr::with_exposed_provenance::<Block>(gs as usize);
    // SAFETY: I12: blocks stay mapped; its thread is stopped.
    is_one.then(|| unsafe { &*block })
}

/// Makes a thread's registers the program's own: whether they can be.
fn leave(registers: &mut Registers, block: Option<&'static Block>) -> bool {
    let (birth, record) = (labels::birth(), labels::record());
    // Behind its call nothing is left to be done that matters without us. All others come out soon.
    let bears = registers.rip == birth.called && registers.rax != 0;
    if birth.span.contains(&registers.rip) && !bears {
        return false;
    }
    let stack: ops::Range<u64> = block.map_or(0..0, |block| block.base..block.top);
    let mut context = Context::default();
    context.registers = context::Registers {
        r8: registers.r8,
        r9: registers.r9,
        r10: registers.r10,
        r11: registers.r11,
        r12: registers.r12,
        r13: registers.r13,
        r14: registers.r14,
        r15: registers.r15,
        rdi: registers.rdi,
        rsi: registers.rsi,
        rbp: registers.rbp,
        rbx: registers.rbx,
        rdx: registers.rdx,
        rax: registers.rax,
        rcx: registers.rcx,
        rsp: registers.rsp,
        rip: registers.rip,
        flags: registers.eflags,
    };
    loop {
        match place::place(&mut context, &stack, false) {
            Place::Again => {}
            Place::Program => break,
            Place::Shown => {
                let given = context.stash.given;
                if given != 0 {
                    let words = core::ptr::with_exposed_provenance::<[u64; 7]>(given as usize);
                    // SAFETY: I17: `place` has found the program's own there. A copy: should another thread be inside, this
                    // one goes on as before.
                    let mut words = unsafe { words.read() };
                    // SAFETY: as above.
                    unsafe { place::swap(&mut context.registers, (&raw mut words).addr() as u64) };
                }
                break;
            }
            Place::Ours { .. } | Place::Resuming | Place::Entering { .. } => return false,
        }
    }
    let mut orig_rax = registers.orig_rax;
    if registers.rip == record.called && orig_rax.cast_signed() >= 0 {
        // The kernel may begin it again, by the number that it had: that is the program's now.
        let record = core::ptr::with_exposed_provenance::<Record>(registers.rsp as usize);
        // SAFETY: I17: the record is in rsp there.
        orig_rax = unsafe { (*record).given[0] };
    }
    if bears && orig_rax.cast_signed() >= 0 {
        let born = core::ptr::with_exposed_provenance::<Block>(registers.r9 as usize);
        // SAFETY: I17: the child's block is in r9 there.
        orig_rax = unsafe { (*born).birth.given[0] };
    }
    let now = context.registers;
    *registers = Registers {
        r8: now.r8,
        r9: now.r9,
        r10: now.r10,
        r11: now.r11,
        rdi: now.rdi,
        rsi: now.rsi,
        rdx: now.rdx,
        rax: now.rax,
        rcx: now.rcx,
        rsp: now.rsp,
        rip: now.rip,
        eflags: now.flags,
        orig_rax,
        ..*registers
    };
    true
}

/// Whether nothing on a thread's stack may lead to code of ours: as handlers do that we have begun.
fn leads_nowhere(thread: &Held) -> bool {
    let rsp = thread.registers.rsp;
    let [at, len] = thread.alternate;
    if rsp > at && rsp - at <= len {
        return false; // what its other stack leads to is not known
    }
    let start = rsp.saturating_sub(RED_ZONE).max(rsp & !4095);
    let start = start.next_multiple_of(8);
    // The kernel may have put ours right behind it, as one mapping.
    let behind = ours::all().map(|part| part.start).filter(|&at| at >= rsp);
    let end = behind.fold(thread.stack_end, u64::min);
    if end <= rsp {
        return true; // a program that has no stack
    }
    // SAFETY: I24: it can be read up to there, and its thread is stopped; below the stack pointer as well, unless a page
    // begins there.
    let bytes = unsafe { memory::bytes(Range { start, end }) };
    let (words, _) = bytes.as_chunks::<8>();
    // What a handler returns to where it was shown another place than it has interrupted: nothing else leads to us. (What
    // calls have left there, as records do, means nothing when they are over.)
    let ways = asm::entries()..asm::restorer_end();
    let alternate = Range {
        start: at,
        end: at.wrapping_add(len),
    };
    (start..).step_by(8).zip(words).all(|(place, word)| {
        let word = u64::from_le_bytes(*word);
        // What earlier handlers have left on the stack that nobody is on means nothing either.
        let is_left = alternate.start <= place && place < alternate.end;
        !ways.contains(&word) || is_left
    })
}
