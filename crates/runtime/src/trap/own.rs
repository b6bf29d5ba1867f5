//! What each thread needs for its calls to become signals.
//!
//! The kernel ends a process that blocks SIGSYS when it would have to send it. So the thread's own mask never has it:
//! whether the program believes it blocked stands here, and is shown wherever the program looks. The signal's frame must
//! not lie on a stack of the program's, which may have no room for it: the kernel knows an alternate stack of ours, and
//! the frames of other signals that find themselves there move to where they belong (`signal/moved.rs`).
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: the block is this thread's. I17: its slots.

use core::ptr;
use core::sync::atomic::Ordering;

use crate::internal::is_filtered;
use crate::signal::alternate::{AUTO_DISARM, Stack};
use crate::signal::disposition::{SYSTEM, bit};
use crate::signal::slots::Slots;
use crate::signal::{self, UNSTOPPABLE};
use crate::sys::{self, Dispatch, Errno, Protection};
use crate::thread::Block;

/// A thread's own part, in its block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// Which range the kernel knows of; 0: none.
    pub armed: u32,
    /// Not 0: the program believes SIGSYS blocked. The thread's mask never says so while it is armed.
    pub blocked: u32,
    /// The alternate stack that the kernel knows, for good, armed or not; 0: the program's.
    pub stack: u64,
    /// The memory for it, which stays with the block.
    memory: u64,
}

/// Bytes of that stack. Pages that are never reached cost nothing.
pub const STACK_LEN: u64 = 128 << 10;
/// SIGSYS in a mask.
pub const BIT: u64 = bit(SYSTEM);

impl Own {
    /// For a thread that begins.
    pub fn begin(&mut self) {
        (self.armed, self.blocked, self.stack) = (0, 0, 0);
    }

    /// Whether a frame lies on the stack that the kernel knows.
    #[must_use]
    pub fn holds(&self, at: u64) -> bool {
        self.stack != 0 && at.wrapping_sub(self.stack) < STACK_LEN
    }

    /// That stack, as the kernel wants it.
    #[must_use]
    pub fn registered(&self) -> Stack {
        [self.stack, 0, STACK_LEN]
    }

    /// All of its memory, if there is any.
    #[must_use]
    pub fn memory(&self) -> Option<crate::pages::Range> {
        let start = self.memory;
        (start != 0).then(|| crate::pages::Range {
            start,
            end: start + STACK_LEN,
        })
    }
}

/// The mask that this thread has outside of hooks, to be changed: all signals are blocked meanwhile.
struct Mask {
    now: u64,
    real: u64,
    deferred: bool,
}

impl Mask {
    fn take(slots: &Slots) -> Self {
        let now = sys::block_signals();
        // Relaxed: this thread's own handlers, in program order. None comes from here on.
        let deferred = slots.state.load(Ordering::Relaxed) != 0;
        let real = if deferred { slots.mask } else { now };
        Self {
            now,
            real,
            deferred,
        }
    }

    /// A signal that waits gives the thread its mask when it is delivered.
    fn give(self, slots: &mut Slots, real: u64) {
        if self.deferred {
            slots.mask = real;
            sys::restore_signals(self.now);
        } else {
            sys::restore_signals(real);
        }
    }
}

/// Gives this thread what all shall have, if that can be now.
#[cold]
#[inline(never)]
pub fn arm(block: &mut Block) {
    if is_filtered() {
        return;
    }
    let Some((generation, which, start, len)) = super::told() else {
        if !super::is_on() && block.trap.armed != 0 {
            leave(block);
        }
        return;
    };
    let first = block.trap.armed == 0;
    if first && !prepare(block) {
        return;
    }
    if sys::dispatch(which, start, len).is_ok() {
        block.trap.armed = generation;
    } else if first {
        take_back(block);
    }
}

/// Unblocks SIGSYS and registers the stack. Not while one waits.
fn prepare(block: &mut Block) -> bool {
    signal::renew(SYSTEM);
    take_stack(block);
    let own = &mut block.trap;
    let mask = Mask::take(&block.signal);
    if sys::pending() & BIT != 0 {
        let real = mask.real;
        mask.give(&mut block.signal, real);
        return false;
    }
    own.blocked |= u32::from(mask.real & BIT != 0);
    let real = mask.real & !BIT;
    mask.give(&mut block.signal, real);
    true
}

/// Has the kernel know a stack of ours, if it does not yet.
pub fn take_stack(block: &mut Block) {
    let own = &mut block.trap;
    if own.stack != 0 || is_filtered() {
        return;
    }
    if own.memory == 0 {
        let memory = sys::map_anywhere(0, STACK_LEN as usize, Protection::ReadWrite);
        own.memory = memory.unwrap_or(0) as u64;
    }
    // A program that knows of disarming does it itself, and is left alone.
    let knows = sys::alternate_flags() & AUTO_DISARM as u32 != 0;
    if own.memory != 0 && (!knows || block.signal.alternate.is_there()) {
        own.stack = own.memory;
        if sys::alternate_stack(Some(&own.registered())).is_err() {
            own.stack = 0;
        }
    }
}

/// Undoes [`prepare`].
fn take_back(block: &mut Block) {
    let own = &mut block.trap;
    if own.stack != 0 {
        let _ = sys::alternate_stack(Some(&block.signal.alternate.registered()));
    }
    if own.blocked != 0 {
        let mask = Mask::take(&block.signal);
        let real = mask.real | BIT;
        mask.give(&mut block.signal, real);
    }
    own.begin();
}

/// From here on this thread's calls are no signals, and all is as the program has set it.
#[cold]
#[inline(never)]
pub fn leave(block: &mut Block) {
    if is_filtered() {
        return;
    }
    let _ = sys::dispatch(Dispatch::Off, 0, 0);
    take_back(block);
}

/// The same for a thread in a handler of ours, which returns to this mask. It is on the stack that the kernel knows, which
/// therefore stays.
pub fn suspend(block: &mut Block, mask: &mut u64) {
    if is_filtered() {
        return;
    }
    let _ = sys::dispatch(Dispatch::Off, 0, 0);
    let own = &mut block.trap;
    if own.blocked != 0 {
        *mask |= BIT;
    }
    (own.armed, own.blocked) = (0, 0);
}

/// A thread or process begins: the kernel has not passed on what its parent had, but for the mask, and the stack where
/// memory is not shared.
pub fn born(block: &mut Block) {
    if is_filtered() {
        return;
    }
    // What the kernel knows is its parent's.
    let inherited = core::mem::take(&mut block.trap.stack) != 0;
    if super::is_stale(block) {
        arm(block);
    }
    if inherited {
        take_stack(block);
    }
    if inherited && block.trap.stack == 0 {
        let _ = sys::alternate_stack(Some(&block.signal.alternate.registered()));
    }
    if block.trap.armed == 0 && block.trap.blocked != 0 {
        sys::block(BIT);
        block.trap.blocked = 0;
    }
}

/// This thread is about to become another program, which finds blocked what the program believes to be. Answers whether
/// that has changed anything.
pub fn before_exec(block: &mut Block) -> bool {
    let changes = block.trap.armed != 0 && block.trap.blocked != 0;
    if changes {
        leave(block);
    }
    changes
}

/// `rt_sigprocmask` of a thread that is armed: the kernel's answer. `None`: the kernel itself knows it.
pub fn mask(block: &mut Block, [how, set, old, size]: [u64; 4]) -> Option<u64> {
    const BLOCK: u32 = 0;
    const UNBLOCK: u32 = 1;
    const SET: u32 = 2;
    let how = how as u32;
    if size != 8 || set != 0 && how > SET {
        return None;
    }
    let given = match set {
        0 => None,
        at => Some(sys::peek(at as usize)? as u64),
    };
    let mask = Mask::take(&block.signal);
    let before = mask.real & !BIT | if block.trap.blocked != 0 { BIT } else { 0 };
    let after = match (given, how) {
        (None, _) => before,
        (Some(set), BLOCK) => before | set,
        (Some(set), UNBLOCK) => before & !set,
        (Some(set), _) => set,
    } & !UNSTOPPABLE;
    block.trap.blocked = u32::from(after & BIT != 0);
    mask.give(&mut block.signal, after & !BIT);
    if old == 0 {
        return Some(0);
    }
    if !sys::is_writable(old) {
        return Some(u64::from(Errno::FAULT.0).wrapping_neg());
    }
    let to = ptr::with_exposed_provenance_mut::<u64>(old as usize);
    // SAFETY: the kernel has just written there, as the program has asked to have it written.
    unsafe { to.write_unaligned(before) };
    Some(0)
}
