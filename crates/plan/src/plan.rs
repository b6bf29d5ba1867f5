//! What a plan is made of: the border between those who decide, emit, check, show and apply.

use alloc::vec::Vec;

use crate::addr::{Span, Va};

pub use crate::site::{Candidate, Kinds, SiteKind};

/// How a site is reached from the image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tactic {
    /// `jmp rel32` in place, over the site and padding behind it.
    Direct,
    /// Short jumps through padding that is never executed.
    Stone,
    /// Short jumps through padding that is executed, and still acts as a no-op.
    LiveStone,
    /// `jmp rel32` over the one instruction before the site, which moves.
    Before,
    /// `jmp rel32` over the site and what follows or precedes it; all of it moves.
    Clobber,
    /// A stone in room made by moving an unrelated run of instructions out.
    Evict,
}

impl Tactic {
    /// All tactics, in the order of what they disturb.
    pub const ALL: [Self; 6] = [
        Self::Direct,
        Self::Stone,
        Self::Before,
        Self::LiveStone,
        Self::Clobber,
        Self::Evict,
    ];

    /// The name used in settings, logs and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Stone => "stone",
            Self::LiveStone => "live-stone",
            Self::Before => "before",
            Self::Clobber => "clobber",
            Self::Evict => "evict",
        }
    }
}

/// A set of tactics: the ladder a plan may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tactics(u8);

impl Tactics {
    /// The whole ladder.
    pub const ALL: Self = Self(0x3f);
    /// No tactic: every site is refused.
    pub const NONE: Self = Self(0);

    /// The set with `tactic` in it.
    #[must_use]
    pub const fn with(self, tactic: Tactic) -> Self {
        Self(self.0 | 1 << tactic as u8)
    }

    /// Whether `tactic` may be used.
    #[must_use]
    pub const fn has(self, tactic: Tactic) -> bool {
        self.0 & 1 << tactic as u8 != 0
    }

    /// Reads names separated by commas: `stone,before`.
    ///
    /// # Errors
    /// The first word that is no tactic's name.
    pub fn parse(words: &str) -> Result<Self, &str> {
        words
            .split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .try_fold(Self::NONE, |set, word| {
                Tactic::ALL
                    .iter()
                    .find(|t| t.name() == word)
                    .map(|&t| set.with(t))
                    .ok_or(word)
            })
    }
}

/// Why a site must keep its instruction where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Native {
    /// `mov $15,%rax; syscall` without tables: unwinders and debuggers know a signal frame by these bytes.
    Restorer,
    /// The address after it is taken at `from`: code decides by it whether a signal came in time.
    AddressTaken {
        /// Where the address is taken.
        from: Va,
    },
}

/// Why a tactic could not be used for a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Not in the set that the plan may use.
    NotAllowed,
    /// No pad within reach of a short jump leads to five free bytes.
    NoPad,
    /// Bytes it needs are taken by another site's change.
    Taken {
        /// The first such byte.
        at: Va,
    },
    /// Somebody may arrive inside the bytes that would become one instruction.
    TargetInside {
        /// The address arrived at.
        at: Va,
        /// Who goes there.
        from: Va,
    },
    /// An indirect jump in the function whose targets are not known.
    UnknownJump {
        /// The jump.
        at: Va,
    },
    /// An instruction that cannot run anywhere else.
    Immovable {
        /// The instruction.
        at: Va,
    },
    /// The function or section ends before there is room.
    NoRoom,
    /// Bytes that may not change: a relocation, a restartable sequence, a probe, a debugger's breakpoint.
    Forbidden {
        /// The first such byte.
        at: Va,
    },
    /// Nobody knows for sure where instructions begin here.
    Untrusted,
}

/// What became of a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Reached through `tactic`; executed in trampoline `trampoline`.
    Patched {
        /// How.
        tactic: Tactic,
        /// Index into [`Plan::trampolines`].
        trampoline: u32,
    },
    /// Left alone for good reason.
    Native(Native),
    /// Left alone because nobody asked for it.
    NotSelected,
    /// No tactic could take it: each with its reason, in the ladder's order.
    Refused(Vec<(Tactic, Refusal)>),
}

/// An instruction that was looked for, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its address.
    pub at: Va,
    /// What it is.
    pub kind: SiteKind,
    /// Its length in bytes.
    pub len: u8,
    /// Number of the system call that it makes, whoever comes to it; `None` where the instructions before it do not
    /// say, where somebody may arrive behind them, and where nobody asked
    /// ([`Options::numbers`](crate::Options::numbers)).
    pub number: Option<u32>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Site {
    /// Its bytes' place.
    #[must_use]
    pub fn span(&self) -> Span {
        Span::new(self.at, u64::from(self.len))
    }

    /// The address after it.
    #[must_use]
    pub fn end(&self) -> Va {
        self.at + u64::from(self.len)
    }
}

/// A run of the image's instructions that is executed elsewhere, and then jumps back to `span.end`
/// (unless the last of them passes control on itself).
///
/// The jump that leads here may overwrite dead padding behind `span`, never anything else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trampoline {
    /// The original instructions, none left out.
    pub span: Span,
    /// Each of them as decoded in place. No-ops are listed, but their copies are empty.
    pub insns: Vec<crate::code::Insn>,
}

/// Bytes of `jmp rel8`.
pub const HOP: u64 = 2;

/// Bytes of `jmp rel32`.
pub const LEAP: u64 = 5;

/// What is written at one place of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// `jmp rel8`, 2 bytes: to the next stone, or over the rest of a live pad.
    Hop {
        /// Where to.
        to: Va,
    },
    /// `jmp rel32`, 5 bytes, to the start of a trampoline.
    Leap {
        /// Index into [`Plan::trampolines`].
        trampoline: u32,
    },
    /// The 4-byte displacement of a direct branch, so that it goes to the moved copy of `insn`;
    /// `at` of the edit is the displacement itself, which ends the branch.
    Retarget {
        /// Index into [`Plan::trampolines`].
        trampoline: u32,
        /// Original address of the instruction it went to.
        insn: Va,
    },
}

impl Change {
    /// How many bytes it writes.
    #[must_use]
    pub const fn size(self) -> u64 {
        match self {
            Self::Hop { .. } => HOP,
            Self::Leap { .. } => LEAP,
            Self::Retarget { .. } => 4,
        }
    }
}

/// A change and its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edit {
    /// First byte written.
    pub at: Va,
    /// What is written.
    pub change: Change,
}

impl Edit {
    /// The bytes written.
    #[must_use]
    pub fn span(&self) -> Span {
        Span::new(self.at, self.change.size())
    }
}

/// Everything decided about one image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// All sites in order of address.
    pub sites: Vec<Site>,
    /// All trampolines; their order is the order of their code.
    pub trampolines: Vec<Trampoline>,
    /// All edits in order of address; no two share a byte.
    pub edits: Vec<Edit>,
}

/// Bytes to be written over the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch {
    /// First byte.
    pub at: Va,
    /// How many of `bytes` count: 2, 4 or 5.
    pub len: u8,
    /// The bytes.
    pub bytes: [u8; 5],
}

/// Where one original instruction went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Offset in [`Emission::code`] of the first byte of its copy.
    pub offset: u32,
    /// Its original address.
    pub original: Va,
    /// Length of the copy in bytes, all of its translation counted.
    pub len: u8,
}

/// A plan as bytes, for trampolines at `base`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Emission {
    /// Where `code` must be placed, in the image's own address space.
    pub base: Va,
    /// The trampolines.
    pub code: Vec<u8>,
    /// Offset in `code` of each trampoline's start.
    pub starts: Vec<u32>,
    /// What to write over the image, in order of address.
    pub patches: Vec<Patch>,
    /// Every instruction that moved, in order of offset.
    pub moved: Vec<Moved>,
    /// Where hooked sites have their blocks, in order of offset; none in the plain style.
    pub blocks: Vec<crate::emit::Block>,
}
