//! What a thread's block keeps for signals.

use core::sync::atomic::{AtomicU32, Ordering};

use super::alternate::Alternate;
use super::context::Info;
use super::faults::Faults;

/// How many signal numbers can have a [`Turn`] at once.
const TURNS: usize = 2;
/// How many of one number can have been raised again at once.
const DEPTH: usize = 4;

/// Lies in a thread's block. Only that thread uses it, and its handlers.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Slots {
    /// Not 0: a signal waits until the hook ends, and everything is blocked.
    pub state: AtomicU32,
    /// Whether faults come to us.
    pub faults: Faults,
    /// What was blocked before.
    pub mask: u64,
    /// A copy has met a fault: the frame's context, until the copy is over.
    pub fault: u64,
    /// What the hook that copies has blocked.
    pub fault_mask: u64,
    /// Address of `mask`.
    pub mask_at: u64,
    /// Where the thread goes on when it has unblocked signals, with what in the registers that this takes.
    pub rip: u64,
    /// The program's stack pointer.
    pub rsp: u64,
    /// See `rip`, as all that follow.
    pub rax: u64,
    /// See `rip`.
    pub rdi: u64,
    /// See `rip`.
    pub rsi: u64,
    /// See `rip`.
    pub rdx: u64,
    /// See `rip`.
    pub r10: u64,
    /// See `rip`.
    pub rcx: u64,
    /// See `rip`.
    pub r11: u64,
    turns: [Turn; TURNS],
    /// Where handlers run that ask for it.
    pub alternate: Alternate,
}

/// The order of a queued signal's values.
///
/// A signal that had to wait is raised again, and so comes to stand behind those of its number that were queued
/// meanwhile. So its value is kept here, and it goes into the queue without one: each that comes now leaves its value
/// and takes the first that is here, and the one without takes the last.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Turn {
    /// Its number; meaningless while nothing is kept.
    signal: u32,
    /// How many values are kept: as many as are in the queue without one.
    len: u32,
    values: [Value; DEPTH],
}

impl Turn {
    fn push_front(&mut self, value: Value) -> bool {
        let room = (self.len as usize) < DEPTH;
        if room {
            self.values.rotate_right(1);
            self.values[0] = value;
            self.len += 1;
        }
        room
    }

    fn pop_front(&mut self) -> Value {
        let first = self.values[0];
        self.values.rotate_left(1);
        self.len = self.len.saturating_sub(1);
        first
    }

    fn push_back(&mut self, value: Value) {
        if let Some(place) = self.values.get_mut(self.len as usize) {
            *place = value;
            self.len += 1;
        }
    }
}

/// As much of an [`Info`] as the kernel keeps for a queued signal.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Value {
    code: i32,
    reserved: u32,
    fields: [u64; 4],
}

impl Value {
    fn of(info: &Info) -> Self {
        let [a, b, c, d, ..] = info.fields;
        Self {
            code: info.code,
            reserved: 0,
            fields: [a, b, c, d],
        }
    }

    fn put(self, info: &mut Info) {
        info.code = self.code;
        let [a, b, c, d] = self.fields;
        [
            info.fields[0],
            info.fields[1],
            info.fields[2],
            info.fields[3],
        ] = [a, b, c, d];
    }
}

/// Marks a signal that was raised again, in a word of its information that nobody uses.
const AGAIN: u32 = 0x6167_6e68;

/// Signals from here on are queued: each that is sent arrives.
const FIRST_QUEUED: u32 = 32;

impl Slots {
    /// Prepares `info` for being raised again: it will be known, and its value comes before those queued meanwhile.
    pub fn again(&mut self, info: &mut Info) {
        if info.signal < FIRST_QUEUED {
            return;
        }
        let number = info.signal;
        let place = (self.turns.iter())
            .position(|turn| turn.len > 0 && turn.signal == number)
            .or_else(|| self.turns.iter().position(|turn| turn.len == 0));
        // Where there is no place left it keeps its value, and arrives later.
        if let Some(turn) = place.and_then(|at| self.turns.get_mut(at))
            && turn.push_front(Value::of(info))
        {
            turn.signal = number;
            info.padding = AGAIN;
        }
    }

    /// Gives a signal that arrives the value whose turn it is.
    pub fn arrived(&mut self, info: &mut Info) {
        if info.signal < FIRST_QUEUED {
            return;
        }
        let again = core::mem::take(&mut info.padding) == AGAIN;
        let number = info.signal;
        let known = |turn: &&mut Turn| turn.len > 0 && turn.signal == number;
        if let Some(turn) = self.turns.iter_mut().find(known) {
            let came = Value::of(info);
            turn.pop_front().put(info);
            if !again {
                turn.push_back(came);
            }
        }
    }

    /// Notes that a signal waits, which interrupted what had `mask` blocked. Where one waited already, and it
    /// interrupted our own handling of that, the mask is known.
    pub fn wait(&mut self, mask: u64, nested: bool) {
        // Relaxed: only this thread's own handlers see it, in program order.
        let before = self.state.swap(1, Ordering::Relaxed);
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        if before == 0 || !nested {
            self.mask = mask;
        }
    }

    /// Nothing waits any more.
    pub fn go_on(&mut self) {
        self.mask_at = (&raw const self.mask).addr() as u64;
        self.state.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn info(signal: u32, value: u64) -> Info {
        let mut info = Info {
            signal,
            code: -1,
            ..Info::default()
        };
        info.fields[1] = value;
        info
    }

    /// The kernel's queue of one thread, and what the program sees of it.
    #[derive(Default)]
    struct Scene {
        slots: Slots,
        queue: VecDeque<Info>,
        seen: Vec<u64>,
    }

    impl Scene {
        fn send(&mut self, value: u64) {
            self.queue.push_back(info(40, value));
        }

        /// The next one lands in a hook.
        fn lands_in_hook(&mut self) {
            let mut info = self.queue.pop_front().unwrap();
            self.slots.arrived(&mut info);
            self.slots.again(&mut info);
            self.queue.push_back(info);
        }

        fn arrives(&mut self) {
            let mut info = self.queue.pop_front().unwrap();
            self.slots.arrived(&mut info);
            assert_eq!(info.padding, 0);
            self.seen.push(info.fields[1]);
        }
    }

    #[test]
    fn values_keep_their_order() {
        let mut scene = Scene::default();
        (1..=4).for_each(|value| scene.send(value));
        scene.lands_in_hook(); // 1 stands behind 4 now
        (0..4).for_each(|_| scene.arrives());
        assert_eq!(scene.seen, [1, 2, 3, 4]);
        assert!(scene.slots.turns.iter().all(|t| t.len == 0));
    }

    #[test]
    fn a_chain_that_lands_in_hooks_again_keeps_its_order() {
        // Every way of six arrivals landing in hooks or not, with one more sent after each.
        for ways in 0..64u32 {
            let mut scene = Scene::default();
            (1..=3).for_each(|value| scene.send(value));
            for step in 0..6 {
                if ways & 1 << step != 0 {
                    scene.lands_in_hook();
                } else {
                    scene.arrives();
                }
                scene.send(4 + step);
            }
            while !scene.queue.is_empty() {
                scene.arrives();
            }
            assert_eq!(scene.seen, (1..=9).collect::<Vec<_>>(), "{ways:06b}");
            assert!(scene.slots.turns.iter().all(|t| t.len == 0), "{ways:06b}");
        }
    }

    #[test]
    fn signals_that_are_not_queued_are_left_as_they_are() {
        let mut slots = Slots::default();
        let mut usr1 = info(10, 5);
        slots.again(&mut usr1);
        assert_eq!(usr1, info(10, 5));
        slots.arrived(&mut usr1);
        assert_eq!(usr1, info(10, 5));
    }

    #[test]
    fn more_numbers_than_places_lose_nothing() {
        let mut slots = Slots::default();
        for signal in 32..=40 {
            let mut info = info(signal, u64::from(signal));
            slots.again(&mut info);
            slots.arrived(&mut info);
            assert_eq!(info.fields[1], u64::from(signal));
        }
    }

    #[test]
    fn the_mask_is_that_of_the_hook() {
        let mut slots = Slots::default();
        slots.wait(1, false);
        slots.wait(3, true);
        assert_eq!(slots.mask, 1);
        slots.wait(2, false);
        assert_eq!(slots.mask, 2);
        slots.go_on();
        slots.wait(4, true);
        assert_eq!(slots.mask, 4);
    }
}
