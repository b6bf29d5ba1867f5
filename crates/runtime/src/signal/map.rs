//! Which instruction of the program stands for an address in its trampolines.
//!
//! Pure: what is read of memory comes through a function. No heap, no lock, no panic.

use hotpatch_abi::interrupted;
use hotpatch_plan::emit::{Places, ahead, at};

use super::context::Registers;
use crate::areas::Went;

/// The trampolines of one image, in addresses of the process.
#[derive(Clone, Copy, Debug)]
pub struct Trampolines<'a> {
    /// The first byte of the first one.
    pub start: u64,
    /// What `original` counts from.
    pub origin: u64,
    /// Every instruction that moved, in order of offset.
    pub went: &'a [Went],
}

/// How an interrupted thread goes on, whose registers are now what a handler is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// As far as the program can tell it is there.
    Go,
    /// Unless the handler changes what it is shown, it goes on elsewhere.
    Back {
        /// Where.
        rip: u64,
        /// With which stack pointer.
        rsp: u64,
        /// In which call, of those that hooks are in the middle of.
        call: Seen,
    },
}

/// A call that hooks have been asked about and not told the end of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Its site.
    pub id: u32,
    /// How far it is: a value of [`interrupted`].
    pub what: u32,
}

impl Seen {
    /// There is none.
    pub const NONE: Self = Self {
        id: 0,
        what: interrupted::NOWHERE,
    };
}

impl Step {
    fn of(self, call: Seen) -> Self {
        match self {
            Self::Go => self,
            Self::Back { rip, rsp, .. } => Self::Back { rip, rsp, call },
        }
    }
}

/// Where the program's stack pointer is while the hook stack is in `rsp`, relative to its top.
#[derive(Clone, Copy, Debug)]
pub struct Saved {
    /// When a gate has returned to a block.
    pub by_gate: i8,
    /// When a block of another instruction than `syscall` has switched.
    pub by_block: u64,
}

/// Bytes of `syscall`.
const SYSCALL: u64 = 2;

impl Trampolines<'_> {
    /// Makes `registers`, whose program counter is in one of them, what a handler is shown.
    ///
    /// In place, because there is little stack where this runs.
    #[must_use]
    pub fn step(
        &self,
        registers: &mut Registers,
        saved: Saved,
        read: impl Fn(u64) -> u64,
    ) -> Option<Step> {
        let here = registers.rip;
        let offset = u32::try_from(here.checked_sub(self.start)?).ok()?;
        let index = self
            .went
            .partition_point(|went| went.start() <= offset)
            .checked_sub(1)?;
        let went = self.went.get(index)?;
        let start = self.start + u64::from(went.start());
        let original = self.origin + u64::from(went.original);
        let next = self.went.get(index + 1).map(|next| next.original);
        let site = Site {
            start,
            original,
            // What follows has moved too, or a jump lies over it.
            covered: next == Some(went.original + SYSCALL as u32),
        };
        let inside = here - start;
        if went.offset & Went::BLOCK != 0 {
            let ahead = match went.offset & Went::AHEAD {
                0 => 0,
                _ => u64::from(ahead::LEN),
            };
            if inside < ahead {
                return Some(site.ahead_of_block(registers, inside as u8));
            }
            if inside < ahead + u64::from(at::LEN) {
                let start = start + ahead;
                let block = Site { start, ..site };
                let inside = (inside - ahead) as u8;
                return Some(block.in_block(registers, inside, saved.by_gate, read));
            }
        }
        if went.offset & Went::OTHER != 0
            && let Some(step) = site.in_other(registers, inside, saved.by_block, &read)
        {
            return Some(step);
        }
        if inside == 0 {
            site.restarts(registers);
            return Some(back(registers, original, here));
        }
        match read(here).to_le_bytes() {
            // jmp rel32, jmp rel8: what it leads to is next
            [0xe9, a, b, c, d, ..] => {
                let by = i64::from(i32::from_le_bytes([a, b, c, d]));
                registers.rip = here.wrapping_add(5).wrapping_add_signed(by);
                Some(Step::Go)
            }
            [0xeb, a, ..] => {
                let by = i64::from(a.cast_signed());
                registers.rip = here.wrapping_add(2).wrapping_add_signed(by);
                Some(Step::Go)
            }
            // movl $high,4(%rsp): half of a call's return address is pushed
            [0xc7, 0x44, 0x24, 0x04, ..] => {
                let rsp = registers.rsp;
                registers.rip = original;
                registers.rsp = rsp.wrapping_add(8);
                let call = Seen::NONE;
                Some(Step::Back {
                    rip: here,
                    rsp,
                    call,
                })
            }
            // lea site+2(%rip),%rcx
            [0x48, 0x8d, 0x0d, ..] if inside == SYSCALL => Some(site.behind(registers, here, true)),
            _ => None,
        }
    }
}

/// Shows `original`, goes on at `rip`.
fn back(registers: &mut Registers, original: u64, rip: u64) -> Step {
    registers.rip = original;
    Step::Back {
        rip,
        rsp: registers.rsp,
        call: Seen::NONE,
    }
}

/// A system call that moved.
#[derive(Clone, Copy)]
struct Site {
    /// Where its copy begins.
    start: u64,
    /// Its own address.
    original: u64,
    /// Whether nobody can go on right behind it.
    covered: bool,
}

impl Site {
    /// Behind the call, going on at `rip`; `done`: nothing is left to be done there but to leave.
    fn behind(&self, registers: &mut Registers, rip: u64, done: bool) -> Step {
        registers.rip = self.original + SYSCALL;
        registers.rcx = registers.rip;
        if done && !self.covered {
            return Step::Go;
        }
        Step::Back {
            rip,
            rsp: registers.rsp,
            call: Seen::NONE,
        }
    }

    /// Whether the call that is about to be executed is so once more: the kernel leaves the address behind the
    /// instruction in rcx, and goes back by two bytes where a call is to be restarted. Shows the program's own there.
    fn restarts(&self, registers: &mut Registers) -> bool {
        let restarted = registers.rcx == registers.rip + SYSCALL;
        if restarted {
            registers.rcx = self.original + SYSCALL;
        }
        restarted
    }

    /// In what stands ahead of a block.
    fn ahead_of_block(&self, registers: &mut Registers, inside: u8) -> Step {
        if inside == ahead::CALLED {
            let next = self.start + u64::from(ahead::LEN + at::NEXT);
            return self.behind(registers, next, true);
        }
        if inside == ahead::RUN && !self.restarts(registers) {
            let here = registers.rip;
            return back(registers, self.original, here);
        }
        back(registers, self.original, self.start)
    }

    /// In the block of another instruction than `syscall`, unless behind its end.
    fn in_other(
        &self,
        registers: &mut Registers,
        inside: u64,
        saved_rsp: u64,
        read: impl Fn(u64) -> u64,
    ) -> Option<Step> {
        let word = read(self.start + u64::from(Places::ID)) as u32;
        let places = Places::of((word >> Places::LENGTH_AT) as u8);
        let inside = u8::try_from(inside).ok().filter(|&i| i < places.next())?;
        if [Places::SEEN, places.run()].contains(&inside) {
            let rip = registers.rip;
            return Some(back(registers, self.original, rip));
        }
        let done = places.done();
        let (begin, shown) = match inside < done {
            true => (0, self.original),
            false => (done, self.original + u64::from(done - Places::SEEN)),
        };
        if inside - begin == Places::CALL {
            registers.rsp = read(registers.rsp.wrapping_add(saved_rsp));
        }
        Some(back(registers, shown, self.start + u64::from(begin)))
    }

    fn in_block(
        &self,
        registers: &mut Registers,
        inside: u8,
        saved_rsp: i8,
        read: impl Fn(u64) -> u64,
    ) -> Step {
        let of = |offset: u8| self.start + u64::from(offset);
        // mov $id,%ecx
        let id = || read(of(at::CALLED_SWITCHED + 1)) as u32;
        match inside {
            at::RETURN | at::AFTER_RETURN => {
                let saved = registers.rsp.wrapping_add_signed(i64::from(saved_rsp));
                registers.rsp = read(saved);
                registers.rip += u64::from(at::LEFT - at::RETURN);
                Step::Go
            }
            at::LEFT..at::CALL | at::AFTER_LEFT..at::RUN => {
                // What the gate says; all other registers are the program's, or a hook's answer.
                let otherwise = if inside < at::CALL { at::RUN } else { at::NEXT };
                registers.rip = match registers.rcx {
                    0 => of(otherwise),
                    rcx => rcx,
                };
                Step::Go
            }
            at::RUN | at::CALL => {
                let here = of(inside);
                // Whoever sees the call sees it again when it is restarted.
                let restarted = self.restarts(registers);
                let (rip, what) = match restarted {
                    true => (self.start, interrupted::AGAIN),
                    false => (here, interrupted::BEFORE),
                };
                let step = back(registers, self.original, rip);
                match inside {
                    at::CALL => step.of(Seen { id: id(), what }),
                    _ => step,
                }
            }
            at::CALLED..at::AFTER_RETURN => {
                if inside >= at::CALLED_SWITCHED {
                    registers.rsp = registers.r11;
                }
                registers.r11 = registers.flags;
                let what = interrupted::ENDED;
                let call = Seen { id: id(), what };
                self.behind(registers, of(at::CALLED), false).of(call)
            }
            at::NEXT => self.behind(registers, of(at::NEXT), true),
            _ => {
                if inside >= at::SWITCHED {
                    registers.rsp = registers.r11;
                }
                back(registers, self.original, self.start)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: u64 = 0x7f00_0000_0000;
    const IMAGE: u64 = 0x7f00_0010_0000;
    const STACK: u64 = 0x7ffd_0000_0000;
    const TOP: u64 = 0x7e00_0000_0000;
    const SAVED: i8 = -80;
    /// Where a block has left the stack pointer.
    const OWN: u64 = 0x150;

    /// A block, alone or with a neighbour behind it, then a moved call.
    fn went(neighbour: bool) -> Vec<Went> {
        let block = |offset, original| Went {
            offset: offset | Went::BLOCK,
            original,
        };
        let copy = |offset, original| Went { offset, original };
        let behind = if neighbour { 0x12 } else { 0x80 };
        vec![
            block(0, 0x10),
            copy(u32::from(at::LEN), behind),
            copy(256, 0x100),
        ]
    }

    /// What is shown, and where the thread goes on if that is elsewhere.
    fn step(neighbour: bool, mut registers: Registers) -> (Registers, Option<(u64, u64)>) {
        let went = went(neighbour);
        let trampolines = Trampolines {
            start: AREA,
            origin: IMAGE,
            went: &went,
        };
        let read = |at: u64| match at - AREA.min(at) {
            // jmp +0x20 behind the neighbour, which has four bytes
            112 => u64::from_le_bytes([0xe9, 0x20, 0, 0, 0, 0, 0, 0]),
            261 => u64::from_le_bytes([0xc7, 0x44, 0x24, 4, 0, 0, 0, 0]),
            _ if at == TOP - 80 => STACK,
            _ => 0,
        };
        let saved = Saved {
            by_gate: SAVED,
            by_block: OWN,
        };
        match trampolines.step(&mut registers, saved, read).unwrap() {
            Step::Go => (registers, None),
            Step::Back { rip, rsp, .. } => (registers, Some((rip, rsp))),
        }
    }

    fn registers(offset: u64) -> Registers {
        Registers {
            rip: AREA + offset,
            rsp: STACK,
            r10: 10,
            rcx: 0x77,
            flags: 0x246,
            ..Registers::default()
        }
    }

    #[test]
    fn before_the_hook_the_site_is_shown_and_the_block_begins_again() {
        for offset in [0, 2, 4, 7, 9, 14, 16, 19, 26, 31, 33, 36, 45, 50] {
            let mut now = registers(offset);
            if offset >= 45 {
                (now.rsp, now.r11) = (TOP, STACK);
            }
            let (shown, back) = step(false, now);
            assert_eq!((shown.rip, shown.rsp, shown.r10), (IMAGE + 0x10, STACK, 10));
            assert_eq!(back, Some((AREA, STACK)), "{offset}");
        }
    }

    #[test]
    fn behind_the_hook_it_is_not_called_again() {
        let now = Registers {
            rsp: TOP,
            ..registers(56)
        };
        let there = Registers {
            rip: AREA + 61,
            rsp: STACK,
            ..now
        };
        assert_eq!(step(false, now), (there, None));
        for offset in [61, 63] {
            for (rcx, to) in [(0, AREA + 99), (AREA + 65, AREA + 65), (0x5555, 0x5555)] {
                let now = Registers {
                    rcx,
                    ..registers(offset)
                };
                assert_eq!(step(false, now), (Registers { rip: to, ..now }, None));
            }
        }
        for offset in [65, 99] {
            let (shown, back) = step(false, registers(offset));
            assert_eq!(shown.rip, IMAGE + 0x10);
            assert_eq!(back, Some((AREA + offset, STACK)));
        }
    }

    #[test]
    fn a_restarted_call_is_seen_again() {
        for offset in [65, 99] {
            let now = Registers {
                rcx: AREA + offset + 2,
                ..registers(offset)
            };
            let (shown, back) = step(false, now);
            assert_eq!((shown.rip, back), (IMAGE + 0x10, Some((AREA, STACK))));
        }
    }

    #[test]
    fn behind_the_call_the_next_instruction_is_shown() {
        let behind = IMAGE + 0x12;
        for (neighbour, offset, rsp) in [
            (false, 67, STACK),
            (true, 70, STACK),
            (false, 79, TOP),
            (true, 84, TOP),
        ] {
            let now = Registers {
                rsp,
                r11: STACK,
                ..registers(offset)
            };
            let (shown, back) = step(neighbour, now);
            assert_eq!((shown.rip, shown.rcx, shown.rsp), (behind, behind, STACK));
            assert_eq!(shown.r11, now.flags);
            assert_eq!(back, Some((AREA + 67, STACK)), "its hook is still to come");
        }
        let shown = Registers {
            rip: behind,
            rcx: behind,
            ..registers(101)
        };
        assert_eq!(step(false, registers(101)), (shown, None));
        let covered = step(true, registers(101));
        assert_eq!(covered, (shown, Some((AREA + 101, STACK))));
        let left = Registers {
            rcx: 0,
            ..registers(95)
        };
        let next = Registers {
            rip: AREA + 101,
            ..left
        };
        assert_eq!(step(false, left), (next, None));
    }

    #[test]
    fn ahead_of_a_block_the_call_is_not_seen_yet_or_over() {
        let went = [Went {
            offset: Went::BLOCK | Went::AHEAD,
            original: 0x10,
        }];
        let trampolines = Trampolines {
            start: AREA,
            origin: IMAGE,
            went: &went,
        };
        let saved = Saved {
            by_gate: SAVED,
            by_block: OWN,
        };
        let step = |mut now: Registers| {
            let step = trampolines.step(&mut now, saved, |_| 0).unwrap();
            (now, step)
        };
        let call = Seen::NONE;
        let back = |rip| Step::Back {
            rip,
            rsp: STACK,
            call,
        };
        for offset in [0, 26, 31, 33, 38, 47, 51] {
            let (shown, to) = step(registers(offset));
            assert_eq!((shown.rip, to), (IMAGE + 0x10, back(AREA)));
        }
        let (shown, to) = step(registers(53));
        assert_eq!((shown.rip, to), (IMAGE + 0x10, back(AREA + 53)));
        let (shown, to) = step(Registers {
            rcx: AREA + 55,
            ..registers(53)
        });
        assert_eq!((shown.rip, to), (IMAGE + 0x10, back(AREA)));
        let (shown, to) = step(registers(55));
        assert_eq!(
            (shown.rip, shown.rcx, to),
            (IMAGE + 0x12, IMAGE + 0x12, Step::Go)
        );
        // The block itself, as it is without.
        let (shown, to) = step(registers(57 + 99));
        assert_eq!((shown.rip, to), (IMAGE + 0x10, back(AREA + 57 + 99)));
        let (shown, to) = step(registers(57 + 4));
        assert_eq!((shown.rip, to), (IMAGE + 0x10, back(AREA + 57)));
    }

    #[test]
    fn the_call_is_named_between_its_hooks() {
        let went = went(false);
        let trampolines = Trampolines {
            start: AREA,
            origin: IMAGE,
            went: &went,
        };
        let saved = Saved {
            by_gate: SAVED,
            by_block: OWN,
        };
        let read = |at: u64| if at == AREA + 80 { 0xff_0000_0007 } else { 0 };
        let seen = |mut now: Registers| match trampolines.step(&mut now, saved, read) {
            Some(Step::Back { call, .. }) => call,
            _ => Seen::NONE,
        };
        let is = |what| Seen { id: 7, what };
        let again = Registers {
            rcx: AREA + 67,
            ..registers(65)
        };
        assert_eq!(seen(registers(65)), is(interrupted::BEFORE));
        assert_eq!(seen(again), is(interrupted::AGAIN));
        for offset in [67, 70, 79, 84] {
            let now = Registers {
                r11: STACK,
                ..registers(offset)
            };
            assert_eq!(seen(now), is(interrupted::ENDED));
        }
        // Not seen yet, seen by nobody, and over.
        for offset in [0, 31, 50, 99, 101] {
            assert_eq!(seen(registers(offset)), Seen::NONE);
        }
    }

    #[test]
    fn moved_instructions_are_shown_where_they_were() {
        let (shown, back) = step(true, registers(108));
        assert_eq!(shown.rip, IMAGE + 0x12);
        assert_eq!(back, Some((AREA + 108, STACK)));
        let (shown, back) = step(true, registers(112));
        assert_eq!((shown.rip, back), (AREA + 112 + 5 + 0x20, None));
        let (shown, back) = step(true, registers(261));
        assert_eq!((shown.rip, shown.rsp), (IMAGE + 0x100, STACK + 8));
        assert_eq!(back, Some((AREA + 261, STACK)));
    }
}
