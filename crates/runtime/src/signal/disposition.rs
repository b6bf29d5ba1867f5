//! What a program has set for its signals.
//!
//! The kernel keeps it, as it always did: who shares dispositions, who gets a copy and what an exec resets is its own
//! business. Only the handler's address is replaced by the address of one of our entries, and each entry stands for
//! one handler for good. So nothing here must be kept in step with the kernel, and whoever reads what is installed
//! can tell what the program had set.
//!
//! No heap, no lock: entries are words that are written once.

use core::sync::atomic::{AtomicU64, Ordering};

/// How many handlers a process can have; those that come later are installed as they are.
pub const ENTRIES: usize = 512;

/// The default action.
pub const DEFAULT: u64 = 0;
/// Nothing happens.
pub const IGNORE: u64 = 1;

/// Of the signal that calls become.
pub const SYSTEM: u32 = 31;

/// The handler runs on the alternate stack.
const ON_STACK: u64 = 0x0800_0000;
/// The handler wants to know more than the number.
pub const SIGINFO: u64 = 4;
/// `restorer` is set.
pub const RESTORER: u64 = 0x0400_0000;
/// The disposition becomes the default one when the handler begins.
pub const RESET: u64 = 0x8000_0000;

/// Ours, in a bit that x86 has no use for: the kernel keeps it. With a handler of ours it says that `restorer` is ours
/// too; without one, that [`SIGINFO`] is.
const OURS: u64 = 0x800;

/// What processors raise: SIGILL, SIGBUS, SIGFPE and SIGSEGV, as bits of a mask.
pub const FAULTS: u64 = 1 << (4 - 1) | 1 << (7 - 1) | 1 << (8 - 1) | 1 << (11 - 1);

/// The bit of `signal` in a mask.
#[must_use]
pub const fn bit(signal: u32) -> u64 {
    1 << ((signal - 1) & 63)
}

/// The kernel's `sigaction`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Action {
    /// What is called.
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Where it returns to.
    pub restorer: u64,
    /// What is blocked meanwhile.
    pub mask: u64,
}

/// What an entry stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// The program's handler, or [`DEFAULT`].
    pub handler: u64,
    /// Whether the program asked for [`SIGINFO`]. The kernel is always asked for it: a signal that must wait for a
    /// hook's end is raised again with it.
    pub siginfo: bool,
    /// What else the program has set, where the kernel is told otherwise: of [`SYSTEM`] alone.
    pub system: Option<System>,
}

/// What the program has set for [`SYSTEM`] while calls become signals of that number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct System {
    /// [`ON_STACK`].
    pub on_stack: bool,
    /// [`RESET`].
    pub resets: bool,
    /// [`RESTORER`].
    pub restorer: bool,
}

/// The entry is taken: tells the default action from a word that nobody has written.
const TAKEN: u64 = 1 << 62;
const WITH_INFO: u64 = 1 << 63;
/// There is a [`System`], of which these are true.
const WITH_SYSTEM: u64 = 1 << 61;
const WITH_STACK: u64 = 1 << 60;
const WITH_RESET: u64 = 1 << 59;
const WITH_RESTORER: u64 = 1 << 58;
/// All that is no part of an address.
const MARKS: u64 = !0 << 58;

impl Meaning {
    fn word(self) -> u64 {
        let when = |is, mark| if is { mark } else { 0 };
        let system = self.system.map_or(0, |system| {
            WITH_SYSTEM
                | when(system.on_stack, WITH_STACK)
                | when(system.resets, WITH_RESET)
                | when(system.restorer, WITH_RESTORER)
        });
        self.handler | TAKEN | when(self.siginfo, WITH_INFO) | system
    }

    fn of(word: u64) -> Option<Self> {
        (word & TAKEN != 0).then_some(Self {
            handler: word & !MARKS,
            siginfo: word & WITH_INFO != 0,
            system: (word & WITH_SYSTEM != 0).then_some(System {
                on_stack: word & WITH_STACK != 0,
                resets: word & WITH_RESET != 0,
                restorer: word & WITH_RESTORER != 0,
            }),
        })
    }
}

/// The entries of a process.
#[derive(Debug)]
pub struct Entries {
    words: [AtomicU64; ENTRIES],
}

/// Where the code of entries is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// A restorer, for who has none.
    pub restorer: u64,
    /// That of the first.
    pub start: u64,
    /// Bytes of each.
    pub stride: u64,
}

impl Code {
    /// Where entry `index` begins.
    #[must_use]
    pub fn of(self, index: usize) -> u64 {
        self.start + self.stride * index as u64
    }

    /// Which entry begins at `address`.
    #[must_use]
    pub fn index(self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.start)?;
        let index = offset.checked_div(self.stride)? as usize;
        (index < ENTRIES && offset.is_multiple_of(self.stride)).then_some(index)
    }
}

impl Entries {
    /// None is taken.
    #[must_use]
    #[allow(clippy::new_without_default)] // a default could not be const
    pub const fn new() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; ENTRIES],
        }
    }

    /// What entry `index` stands for.
    #[must_use]
    pub fn meaning(&self, index: usize) -> Option<Meaning> {
        // Relaxed: the word is all there is to see.
        Meaning::of(self.words.get(index)?.load(Ordering::Relaxed))
    }

    /// The entry that stands for `meaning`, taken if there was none.
    fn entry(&self, meaning: Meaning) -> Option<usize> {
        if meaning.handler & MARKS != 0 {
            return None; // no address of a program
        }
        let word = meaning.word();
        // Handlers are mostly aligned to 16.
        let first = (word >> 4 ^ word >> 13) as usize;
        (0..ENTRIES).map(|n| (first + n) % ENTRIES).find(|&index| {
            // Relaxed: as above, and a word that is written stays.
            match self.words[index].compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => true,
                Err(there) => there == word,
            }
        })
    }

    /// The same for [`SYSTEM`], once calls become signals of that number: these must reach us whatever the program has
    /// set, on a stack that has room, and leave the disposition as it is.
    #[must_use]
    pub fn system_to_kernel(&self, action: Action, code: Code) -> Action {
        let has = |flag| action.flags & flag != 0;
        let meaning = Meaning {
            handler: action.handler,
            siginfo: has(SIGINFO),
            system: Some(System {
                on_stack: has(ON_STACK),
                resets: has(RESET),
                restorer: has(RESTORER),
            }),
        };
        let Some(index) = self.entry(meaning) else {
            return action;
        };
        Action {
            handler: code.of(index),
            flags: action.flags & !RESET | SIGINFO | ON_STACK | RESTORER,
            restorer: if has(RESTORER) {
                action.restorer
            } else {
                code.restorer
            },
            mask: action.mask,
        }
    }

    /// What the kernel is given where the program gives `action` for `signal`.
    #[must_use]
    pub fn to_kernel(&self, signal: u32, action: Action, code: Code) -> Action {
        // The default action of a fault: a hook at fault must be named first.
        let is_fault = (1..=64).contains(&signal) && bit(signal) & FAULTS != 0;
        if action.handler == IGNORE || action.handler == DEFAULT && !is_fault {
            return action;
        }
        let meaning = Meaning {
            handler: action.handler,
            siginfo: action.flags & SIGINFO != 0,
            system: None,
        };
        let Some(index) = self.entry(meaning) else {
            return action;
        };
        let ours = Action {
            handler: code.of(index),
            flags: action.flags | SIGINFO,
            ..action
        };
        if meaning.handler == DEFAULT && action.flags & RESTORER == 0 {
            // Nobody could return from a handler.
            return Action {
                flags: ours.flags | RESTORER | OURS,
                restorer: code.restorer,
                ..ours
            };
        }
        if action.flags & RESET != 0 && !meaning.siginfo {
            return Action {
                flags: ours.flags | OURS,
                ..ours
            };
        }
        ours
    }

    /// What the program is told where the kernel says `action`.
    #[must_use]
    pub fn to_program(&self, action: Action, code: Code) -> Action {
        let ours = action.flags & OURS != 0;
        let known = code.index(action.handler);
        let Some(meaning) = known.and_then(|index| self.meaning(index)) else {
            // Reset when its handler began.
            let flags = if ours && action.handler == DEFAULT {
                action.flags & !(OURS | SIGINFO)
            } else {
                action.flags
            };
            return Action { flags, ..action };
        };
        if let Some(system) = meaning.system {
            let of = |is, flag| if is { flag } else { 0 };
            return Action {
                handler: meaning.handler,
                flags: action.flags & !(SIGINFO | ON_STACK | RESET | RESTORER)
                    | of(meaning.siginfo, SIGINFO)
                    | of(system.on_stack, ON_STACK)
                    | of(system.resets, RESET)
                    | of(system.restorer, RESTORER),
                restorer: if system.restorer { action.restorer } else { 0 },
                mask: action.mask,
            };
        }
        let mut told = Action {
            handler: meaning.handler,
            flags: action.flags & !OURS,
            ..action
        };
        if !meaning.siginfo {
            told.flags &= !SIGINFO;
        }
        if ours && meaning.handler == DEFAULT && action.restorer == code.restorer {
            told.flags &= !RESTORER;
            told.restorer = 0;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: Code = Code {
        restorer: 0x7f00_0000_0000,
        start: 0x7f00_0000_1000,
        stride: 16,
    };

    fn action(handler: u64, flags: u64) -> Action {
        Action {
            handler,
            flags,
            restorer: 0x1234,
            mask: 0xff00,
        }
    }

    #[test]
    fn the_program_reads_what_it_has_set() {
        let entries = Entries::new();
        for signal in 1..=64 {
            for flags in [
                0,
                SIGINFO,
                RESTORER,
                RESTORER | SIGINFO,
                RESET | RESTORER,
                RESET,
            ] {
                for handler in [DEFAULT, IGNORE, 0x5555_0000, 0x7fff_ffff_fff0] {
                    let mut set = action(handler, flags);
                    if flags & RESTORER == 0 {
                        set.restorer = 0;
                    }
                    let kernel = entries.to_kernel(signal, set, CODE);
                    assert_eq!(entries.to_program(kernel, CODE), set);
                    assert_eq!(kernel.mask, set.mask);
                    if handler > IGNORE {
                        assert!(CODE.index(kernel.handler).is_some());
                        assert_eq!(kernel.restorer, set.restorer);
                        assert_eq!(kernel.flags & !OURS, set.flags | SIGINFO);
                    }
                    if flags & RESET != 0 && handler > IGNORE {
                        // as the kernel leaves it when the handler begins
                        let reset = Action {
                            handler: DEFAULT,
                            ..kernel
                        };
                        let told = Action {
                            handler: DEFAULT,
                            ..set
                        };
                        assert_eq!(entries.to_program(reset, CODE), told);
                    }
                    if handler == IGNORE {
                        // Ignored signals stay so across an exec: the kernel must know.
                        assert_eq!(kernel, set);
                    }
                }
            }
        }
    }

    #[test]
    fn the_signal_of_calls_reaches_us_whatever_is_set() {
        let entries = Entries::new();
        for handler in [DEFAULT, IGNORE, 0x5555_0000] {
            for n in 0..16 {
                let all = [SIGINFO, RESTORER, RESET, ON_STACK];
                let chosen = all.iter().enumerate().filter(|(i, _)| n >> i & 1 != 0);
                let mut set = action(handler, chosen.fold(0, |flags, (_, flag)| flags | flag));
                if set.flags & RESTORER == 0 {
                    set.restorer = 0;
                }
                let kernel = entries.system_to_kernel(set, CODE);
                assert!(CODE.index(kernel.handler).is_some());
                let must = SIGINFO | RESTORER | ON_STACK;
                assert_eq!(kernel.flags & (must | RESET), must);
                assert!(kernel.restorer != 0 && kernel.mask == set.mask);
                assert_eq!(entries.to_program(kernel, CODE), set);
            }
        }
    }

    #[test]
    fn only_faults_are_taken_from_the_default() {
        let entries = Entries::new();
        for signal in 1..=64 {
            let kernel = entries.to_kernel(signal, action(DEFAULT, RESTORER), CODE);
            let ours = CODE.index(kernel.handler).is_some();
            assert_eq!(ours, [4, 7, 8, 11].contains(&signal), "{signal}");
        }
        let unset = Action::default();
        let kernel = entries.to_kernel(11, unset, CODE);
        assert_eq!(kernel.restorer, CODE.restorer, "there must be a way back");
        assert_eq!(entries.to_program(kernel, CODE), unset);
    }

    #[test]
    fn a_full_table_installs_handlers_as_they_are() {
        let entries = Entries::new();
        for n in 0..ENTRIES as u64 {
            let set = action(0x1_0000 + n * 8, 0);
            assert!(
                CODE.index(entries.to_kernel(10, set, CODE).handler)
                    .is_some()
            );
        }
        let late = action(0x9_0000, 0);
        assert_eq!(entries.to_kernel(10, late, CODE), late);
        assert_eq!(entries.to_program(late, CODE), late);
        let known = action(0x1_0000, 0);
        assert!(
            CODE.index(entries.to_kernel(10, known, CODE).handler)
                .is_some()
        );
    }

    #[test]
    fn what_is_no_address_is_left_to_the_kernel() {
        let entries = Entries::new();
        let odd = action(u64::MAX, SIGINFO);
        assert_eq!(entries.to_kernel(10, odd, CODE), odd);
    }

    #[test]
    fn threads_agree_on_entries() {
        let entries = Entries::new();
        let all: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        (1..200)
                            .map(|n| {
                                entries
                                    .to_kernel(10, action(n * 0x1_0010, SIGINFO), CODE)
                                    .handler
                            })
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(all.iter().all(|seen| *seen == all[0]));
        for (n, &code) in (1..200).zip(&all[0]) {
            let back = entries.to_program(action(code, SIGINFO), CODE);
            assert_eq!(back.handler, n * 0x1_0010);
        }
    }

    #[test]
    fn addresses_between_entries_are_none() {
        assert_eq!(CODE.index(CODE.start), Some(0));
        assert_eq!(CODE.index(CODE.start + 17), None);
        assert_eq!(CODE.index(CODE.start + 16 * ENTRIES as u64), None);
        assert_eq!(CODE.index(CODE.start - 16), None);
    }
}
