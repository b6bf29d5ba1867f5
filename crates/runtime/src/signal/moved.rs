//! A handler begins in a thread whose calls are, or have been, signals (trap.rs): its frame shows, and its stack is, what it would be
//! without.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I17: frames; the memory below what the program uses of its stack.

use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::Ordering;

use super::context::{Interrupted, SignalFrame};
use super::disposition::Meaning;
use super::held;
use crate::internal::is_filtered;
use crate::sys;
use crate::thread::Block;
use crate::trap::own::BIT;

/// Bytes below a frame that the code in asm.rs has in use.
const PUSHED: u64 = 24;
/// Bytes below its stack pointer that are the program's.
const RED_ZONE: u64 = 128;
/// The program counter of no instruction: what is shown is where the thread goes on.
const NOWHERE: u64 = 1 << 63;

/// Prepares `frame` for the program's handler. Answers where it is now. `shown`: the handler sees another place than that
/// where its thread goes on.
#[inline(never)]
pub fn prepare(
    frame: &mut SignalFrame,
    meaning: &Meaning,
    block: &mut Block,
    shown: bool,
) -> *mut SignalFrame {
    if block.trap.armed != 0 {
        mask(frame, block);
    }
    if !shown {
        // What follows has to be undone on the way back.
        let stash = &mut frame.context.stash;
        stash.shown_rip = NOWHERE;
        // The kernel leaves there what was there.
        stash.call = Interrupted::default();
        super::lead_back(frame);
    }
    let at = ptr::from_mut(frame).addr() as u64;
    if block.trap.stack == 0 {
        block.signal.alternate.begins(frame.info.signal, at);
        return frame;
    }
    frame.context.stack = block.signal.alternate.shown();
    if !block.trap.holds(at) {
        return frame;
    }
    // Where there is no room for it natively the kernel would end the program.
    moved(frame, meaning, block, shown).unwrap_or(frame)
}

/// SIGSYS is not blocked while the handler runs; whether the program believes it to be is noted.
fn mask(frame: &mut SignalFrame, block: &mut Block) {
    // Relaxed: this thread's own handlers, in program order.
    let waits = || block.signal.state.load(Ordering::Relaxed) != 0;
    let before = block.trap.blocked;
    let mut inside = before != 0;
    if !is_filtered() {
        let now = sys::unblock(BIT);
        // Where a signal has come meanwhile and waits, all are blocked, and it has left the mask of before.
        let all = now | super::never_waits() | super::UNSTOPPABLE == u64::MAX;
        let now = if all && waits() {
            block.signal.mask
        } else {
            now
        };
        inside |= now & BIT != 0;
    }
    if waits() {
        block.signal.mask &= !BIT;
    }
    if before != 0 {
        frame.context.mask |= BIT;
    }
    block.trap.blocked = u32::from(inside);
}

/// Moves the frame to where the kernel would have put it.
fn moved(
    frame: &mut SignalFrame,
    meaning: &Meaning,
    block: &Block,
    shown: bool,
) -> Option<*mut SignalFrame> {
    let context = &mut frame.context;
    let rsp = if shown {
        context.stash.rsp
    } else {
        context.registers.rsp
    };
    let alternate = &block.signal.alternate;
    let wanted = meaning.system.is_none_or(|system| system.on_stack);
    let switches = wanted && alternate.is_there() && !alternate.contains(rsp);
    let top = if switches {
        alternate.end()
    } else {
        rsp.wrapping_sub(RED_ZONE)
    };
    let len = held::len_of_vectors(context.vectors)?;
    let vectors = top.wrapping_sub(len) & !63;
    let by = vectors.wrapping_sub(context.vectors);
    // Both are multiples of 64, so what lies below keeps its alignment.
    let from = ptr::from_mut(frame).addr() as u64;
    let at = from.wrapping_add(by);
    if switches && at < alternate.start() {
        return None;
    }
    let begin = at - PUSHED;
    let end = vectors + len;
    if !is_filtered() {
        let mut page = begin;
        while page < end {
            if !sys::is_writable(page) {
                return None;
            }
            page = (page | 0xfff) + 1;
        }
        if !sys::is_writable(end - 8) {
            return None;
        }
    }
    frame.context.vectors = vectors;
    let to = ptr::with_exposed_provenance_mut::<u8>(begin as usize);
    let source = ptr::with_exposed_provenance::<u8>((from - PUSHED) as usize);
    // SAFETY: I17: below what the program uses of its stack, as the kernel would; the stacks are different ones.
    unsafe { ptr::copy_nonoverlapping(source, to, (end - begin) as usize) };
    Some(ptr::with_exposed_provenance_mut(at as usize))
}

const _: () = assert!(offset_of!(SignalFrame, restorer) == 0);
