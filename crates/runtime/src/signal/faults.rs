//! Whether a fault of this thread would come to our handler, so that a copy may meet one ([`super::copy`]).
//!
//! It does not while the thread blocks SIGSEGV or SIGBUS, and where the program ignores them: then the kernel ends the
//! process. What is blocked is asked of the kernel once, and again whenever it may have changed: behind each
//! `rt_sigprocmask`, and when a handler begins. It also changes when a handler returns, which nobody sees; but then it
//! becomes what it was before, and that stands in the handler's frame. Where that tells nothing good the thread is
//! asked about ahead of each copy from then on.
//!
//! After start-up: no heap, no lock, no panic.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::disposition::bit;
use crate::areas;
use crate::sys;

/// SIGBUS and SIGSEGV.
pub const MEMORY: u64 = bit(7) | bit(11);

/// The program has a say in what becomes of faults, for good.
static ASTRAY: AtomicBool = AtomicBool::new(false);

/// From here on faults are not relied on: the program ignores them, resets their handlers, or makes calls unseen.
pub fn go_astray() {
    // Relaxed: whoever sets a disposition does so behind this; threads beside it have raced with it anyway.
    ASTRAY.store(true, Ordering::Relaxed);
}

/// What is known of a thread. Only that thread uses it, and its handlers.
#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Faults(AtomicU32);

impl Faults {
    const UNKNOWN: u32 = 0;
    const ASKED: u32 = 1;
    const COME: u32 = 2;
    const NEVER: u32 = 3;
    /// What is known now may be wrong when a handler has returned.
    const UNSURE: u32 = 4;
    /// They are blocked, and it will be asked again when the number has come down to this.
    const BLOCKED: u32 = 5;
    /// From here. A handler that had them blocked may have returned meanwhile.
    const PATIENCE: u32 = Self::BLOCKED + 64;

    /// Whether a fault would come to us now.
    pub fn come(&self) -> bool {
        // Relaxed: only this thread's own handlers see it, in program order.
        match self.0.load(Ordering::Relaxed) {
            Self::COME => !ASTRAY.load(Ordering::Relaxed),
            Self::NEVER => false,
            Self::UNSURE => !ASTRAY.load(Ordering::Relaxed) && sys::blocked() & MEMORY == 0,
            Self::UNKNOWN | Self::ASKED | Self::BLOCKED => self.ask(),
            left => {
                self.0.store(left - 1, Ordering::Relaxed);
                false
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn ask(&self) -> bool {
        if ASTRAY.load(Ordering::Relaxed) {
            return false;
        }
        // What changes it has to be seen from now on, whether or not a hook wants to see it.
        areas::look_at_masks();
        self.0.store(Self::ASKED, Ordering::Relaxed);
        let come = sys::blocked() & MEMORY == 0;
        let known = if come { Self::COME } else { Self::PATIENCE };
        // A handler that has come meanwhile knows better.
        let exchange =
            (self.0).compare_exchange(Self::ASKED, known, Ordering::Relaxed, Ordering::Relaxed);
        come && exchange.is_ok()
    }

    /// What is blocked may change.
    pub fn change(&self) {
        self.becomes(Self::UNKNOWN);
    }

    fn becomes(&self, known: u32) {
        if !matches!(self.0.load(Ordering::Relaxed), Self::NEVER | Self::UNSURE) {
            self.0.store(known, Ordering::Relaxed);
        }
    }

    /// A handler of the program's begins, which goes back to where `mask` was blocked and `rax` is. There it may be about to change the
    /// mask, which we have seen coming already.
    pub fn interrupted(&self, mask: u64, rax: u64) {
        let changes = rax as u32 == linux_raw_sys::general::__NR_rt_sigprocmask;
        let sure = mask & MEMORY == 0 && !changes;
        self.becomes(if sure { Self::UNKNOWN } else { Self::UNSURE });
    }

    /// They do not come to this thread.
    pub fn never_come(&self) {
        self.0.store(Self::NEVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_blocked_is_asked_anew_when_it_may_have_changed() {
        let faults = Faults::default();
        assert!(faults.come() && faults.come());
        faults.interrupted(bit(2), 0);
        assert!(faults.come());
        let before = sys::block_signals();
        assert!(faults.come(), "nobody has said so");
        faults.change();
        assert!(!faults.come());
        sys::restore_signals(before);
        let asked = (0..100).position(|_| faults.come());
        assert_eq!(asked, Some(64));
        for (mask, rax) in [(bit(11), 0), (0, 14)] {
            let faults = Faults::default();
            faults.interrupted(mask, rax);
            assert!(faults.come());
            let before = sys::block_signals();
            assert!(!faults.come(), "a handler has returned to that");
            sys::restore_signals(before);
            assert!(faults.come());
        }
    }
}
