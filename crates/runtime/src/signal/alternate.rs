//! The alternate stack, where hooks are called.
//!
//! The kernel takes a thread to be on it by rsp alone. In a hook that was called from a handler there, rsp is elsewhere,
//! and the next signal's frame would be put over what that handler has on it. So the stack is registered to be
//! disarmed when a handler begins, and armed again when it returns (`SS_AUTODISARM`); what the program reads is what
//! it has set. A handler that is left by a jump restores its signals first: then it is armed again here.
//!
//! After start-up: no heap, no lock, no panic.

use super::disposition::bit;
use super::slots::Slots;
use crate::sys::{self, Errno};
use crate::trap::own::Own;

/// The kernel's `stack_t`: address, flags, bytes.
pub type Stack = [u64; 3];

const ON_STACK: u64 = 1;
const DISABLE: u64 = 2;
/// Of the flags: disarmed when a handler begins there.
pub const AUTO_DISARM: u64 = 1 << 31;
const FLAGS: u64 = 0xffff_ffff;

/// What the program has registered.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Alternate {
    at: u64,
    len: u64,
    /// The last signal whose handler began there; 0: none since it was armed for sure.
    handled: u32,
    reserved: u32,
}

impl Alternate {
    /// What a thread has that runs already.
    #[must_use]
    pub fn of([at, len]: [u64; 2]) -> Self {
        Self {
            at,
            len,
            ..Self::default()
        }
    }

    /// Whether a stack pointer is on it.
    #[must_use]
    pub fn contains(&self, rsp: u64) -> bool {
        // as `__on_sig_stack` has it
        rsp > self.at && rsp - self.at <= self.len
    }

    /// Address and bytes.
    #[must_use]
    pub fn place(&self) -> [u64; 2] {
        [self.at, self.len]
    }

    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at.wrapping_add(self.len)
    }

    /// Whether the program has registered one.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.len != 0
    }

    /// What the kernel is told of it.
    #[must_use]
    pub fn registered(&self) -> Stack {
        if self.is_there() {
            self.armed()
        } else {
            [0, DISABLE, 0]
        }
    }

    /// What a handler's context says of it natively.
    #[must_use]
    pub fn shown(&self) -> Stack {
        let flags = if self.is_there() { 0 } else { DISABLE };
        [self.at, flags, self.len]
    }

    /// Where it begins.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.at
    }

    fn armed(&self) -> Stack {
        [self.at, AUTO_DISARM, self.len]
    }

    /// A handler of `signal` begins, with its frame at `frame`.
    pub fn begins(&mut self, signal: u32, frame: u64) {
        if self.contains(frame) {
            self.handled = signal;
        }
    }
}

/// `sigaltstack` of a thread whose stack pointer is `rsp`: the kernel's answer. `None`: it is to be asked itself.
pub fn set(
    slots: &mut Slots,
    trap: &mut Own,
    new: u64,
    old: u64,
    rsp: u64,
) -> Option<Result<(), Errno>> {
    let was = slots.alternate;
    if new == 0 && was.len == 0 && trap.stack == 0 {
        return None;
    }
    let stack = if new == 0 {
        None
    } else {
        // The kernel cannot read them either, and says so.
        let word = |n: u64| sys::peek(new.wrapping_add(8 * n) as usize);
        let stack = [word(0)? as u64, word(1)? as u64 & FLAGS, word(2)? as u64];
        if stack[1] & AUTO_DISARM != 0 && was.len == 0 {
            trap.stack = 0;
            return None; // the program knows what it does
        }
        Some(stack)
    };
    Some(exchange(slots, trap, stack, old, rsp))
}

fn exchange(
    slots: &mut Slots,
    trap: &mut Own,
    new: Option<Stack>,
    old: u64,
    rsp: u64,
) -> Result<(), Errno> {
    let was = slots.alternate;
    let on = was.contains(rsp);
    if let Some([at, flags, len]) = new {
        if on {
            return Err(Errno::PERM);
        }
        let off = flags & !AUTO_DISARM == DISABLE;
        let ours = if off || flags & AUTO_DISARM != 0 {
            flags
        } else {
            flags | AUTO_DISARM
        };
        sys::alternate_stack(Some(&[at, ours, len]))?;
        if flags & AUTO_DISARM != 0 && !off {
            trap.stack = 0;
        }
        if trap.stack != 0 {
            // The kernel has found nothing wrong with it; it knows ours.
            sys::alternate_stack(Some(&trap.registered()))?;
        }
        slots.alternate = if off || flags & AUTO_DISARM != 0 {
            Alternate::default()
        } else {
            Alternate {
                at,
                len,
                ..Alternate::default()
            }
        };
    }
    if old == 0 {
        return Ok(());
    }
    let flags = match (on, was.len) {
        (true, _) => ON_STACK,
        (false, 0) => DISABLE,
        (false, _) => 0,
    };
    sys::put(old, &[was.at, flags, was.len])
}

/// `rt_sigprocmask` follows: a handler that is being left unblocks its signal.
pub fn mask_changes(slots: &mut Slots, how: u64, set: u64, rsp: u64) {
    let alternate = &mut slots.alternate;
    if alternate.handled == 0 || set == 0 {
        return;
    }
    const BLOCK: u64 = 0;
    const UNBLOCK: u64 = 1;
    let Some(mask) = sys::peek(set as usize) else {
        return;
    };
    let signal = bit(alternate.handled);
    let opens = match how & FLAGS {
        BLOCK => false,
        UNBLOCK => mask as u64 & signal != 0,
        _ => mask as u64 & signal == 0,
    };
    if opens || !alternate.contains(rsp) {
        alternate.handled = 0;
        let _ = sys::alternate_stack(Some(&alternate.armed()));
    }
}
