//! What can be wrong with a plan.

use core::fmt;

use crate::addr::Va;

/// One reason why a plan must not be applied.
///
/// `offset` is an offset in [`Emission::code`](crate::plan::Emission::code); every other address is
/// one of the image's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The edit begins before the end of the one before it.
    EditsOverlap {
        /// First byte of the later edit.
        at: Va,
    },
    /// The edit writes outside executable sections.
    OutsideCode {
        /// Its first byte.
        at: Va,
    },
    /// A patch that is not what its edit says, or a patch or edit without its counterpart.
    PatchDiffers {
        /// Its first byte.
        at: Va,
    },
    /// An index of a trampoline that does not exist, or a trampoline without a start in the code.
    NoSuchTrampoline {
        /// The index.
        index: u32,
    },
    /// The trampolines' code would lie over the image.
    CodeOverImage {
        /// Where it is placed.
        base: Va,
    },
    /// Two trampolines move the same bytes, or a trampoline moves none.
    SpansOverlap {
        /// First byte of the later span.
        at: Va,
    },
    /// The span's bytes are no whole instructions, or not those that the trampoline lists.
    SpanDiffers {
        /// The first instruction that differs.
        at: Va,
    },
    /// The span moves an instruction that only works where it is.
    Immovable {
        /// The instruction.
        at: Va,
    },
    /// A call moves, and something follows it in its trampoline: it would never be executed.
    CallInside {
        /// The call.
        at: Va,
    },
    /// The bytes in the trampoline are no copy of the instruction.
    NotACopy {
        /// The instruction.
        original: Va,
        /// Where its copy should be.
        offset: u32,
    },
    /// The copy's RIP-relative operand names another address.
    OperandAstray {
        /// The instruction.
        original: Va,
        /// The address that the copy names.
        named: Va,
    },
    /// The copy of a branch goes somewhere else.
    BranchAstray {
        /// The branch.
        original: Va,
        /// Where its copy goes.
        to: Va,
    },
    /// After a moved `syscall`, `rcx` is not the address after the original.
    WrongRcx {
        /// The `syscall`.
        site: Va,
    },
    /// The copy of a call does not push the address after the original.
    WrongReturn {
        /// The call.
        at: Va,
    },
    /// A trampoline does not end with a jump to where its span ends.
    NoWayBack {
        /// The end of the span.
        end: Va,
    },
    /// Bytes of the code that belong to no copy and are not `int3`.
    Unaccounted {
        /// The first of them.
        offset: u32,
    },
    /// The list of moved instructions says something else than the code.
    MovedDiffers {
        /// The instruction.
        original: Va,
    },
    /// A `syscall` instruction that the plan does not mention.
    MissingSite {
        /// The instruction.
        at: Va,
    },
    /// There is no `syscall` instruction where the plan has a site, or sites are not ascending.
    NotASite {
        /// The place.
        at: Va,
    },
    /// The trampoline of a patched site does not move the site.
    SiteNotMoved {
        /// The site.
        site: Va,
    },
    /// The jumps from the site do not arrive at its copy.
    NotReached {
        /// The site.
        site: Va,
        /// Where they end.
        stuck: Va,
    },
    /// Somebody still executes the site where it is, past the jump to its copy.
    Bypassed {
        /// The site.
        site: Va,
    },
    /// A site that is to stay as it is has been changed or moved.
    SiteTouched {
        /// The site.
        site: Va,
    },
    /// A short jump that lands neither on an edit nor at the end of the no-ops it skips.
    HopToNowhere {
        /// The jump.
        at: Va,
        /// Where it lands.
        to: Va,
    },
    /// The edit destroys an instruction that is neither a no-op nor moved.
    Destroyed {
        /// The instruction.
        at: Va,
    },
    /// What is executed before it falls into bytes that have another meaning now.
    FallsInto {
        /// The instruction before.
        from: Va,
        /// The changed place.
        at: Va,
    },
    /// Somebody goes to a place that has another meaning now.
    ArrivesInside {
        /// The branch, pointer or function that leads there.
        from: Va,
        /// The changed place.
        at: Va,
    },
    /// Bytes that may not change or move: forbidden ones, a restartable sequence, a probe, what the loader writes.
    Protected {
        /// The first of them that is touched.
        at: Va,
    },
    /// Padding whose address is written down has become a jump.
    NamedPad {
        /// The padding.
        at: Va,
        /// Who names it.
        from: Va,
    },
    /// A site that claims dead padding alone stands on padding that is executed.
    LivePad {
        /// The site.
        site: Va,
        /// The stone.
        at: Va,
    },
    /// The start of an instruction is lost in a function that computes where it jumps.
    UnknownJump {
        /// The change.
        at: Va,
        /// The jump, or what takes the address of a label.
        jump: Va,
    },
    /// A branch is retargeted, but not to the copy of where it went.
    RetargetAstray {
        /// The displacement.
        at: Va,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EditsOverlap { at } => write!(f, "{at}: the edit overlaps the one before it"),
            Self::OutsideCode { at } => write!(f, "{at}: the edit lies outside the code"),
            Self::PatchDiffers { at } => write!(f, "{at}: patch and edit disagree"),
            Self::NoSuchTrampoline { index } => write!(f, "there is no trampoline {index}"),
            Self::CodeOverImage { base } => write!(f, "{base}: trampolines lie over the image"),
            Self::SpansOverlap { at } => write!(f, "{at}: moved by two trampolines"),
            Self::SpanDiffers { at } => write!(f, "{at}: not the instruction listed as moved"),
            Self::Immovable { at } => write!(f, "{at}: the instruction cannot move"),
            Self::CallInside { at } => write!(f, "{at}: a moved call is not the last of its span"),
            Self::NotACopy { original, offset } => {
                write!(f, "{original}: the bytes at +{offset:#x} are no copy of it")
            }
            Self::OperandAstray { original, named } => {
                write!(f, "{original}: its copy names {named}")
            }
            Self::BranchAstray { original, to } => write!(f, "{original}: its copy goes to {to}"),
            Self::WrongRcx { site } => write!(f, "{site}: its copy leaves another rcx"),
            Self::WrongReturn { at } => write!(f, "{at}: its copy pushes another return address"),
            Self::NoWayBack { end } => write!(f, "{end}: the trampoline does not come back here"),
            Self::Unaccounted { offset } => write!(f, "+{offset:#x}: bytes without an original"),
            Self::MovedDiffers { original } => {
                write!(
                    f,
                    "{original}: not where the list of moved instructions says"
                )
            }
            Self::MissingSite { at } => write!(f, "{at}: a site that the plan does not mention"),
            Self::NotASite { at } => write!(f, "{at}: no site"),
            Self::SiteNotMoved { site } => write!(f, "{site}: not in its own trampoline"),
            Self::NotReached { site, stuck } => {
                write!(f, "{site}: the jumps to its copy end at {stuck}")
            }
            Self::Bypassed { site } => write!(f, "{site}: still executed in place"),
            Self::SiteTouched { site } => write!(f, "{site}: touched, and should stay native"),
            Self::HopToNowhere { at, to } => write!(f, "{at}: hops to {to}, where nothing is"),
            Self::Destroyed { at } => write!(f, "{at}: destroyed, and not moved"),
            Self::FallsInto { from, at } => write!(f, "{from}: falls into the change at {at}"),
            Self::ArrivesInside { from, at } => write!(f, "{from}: leads into the change at {at}"),
            Self::Protected { at } => write!(f, "{at}: touched, and may not change"),
            Self::NamedPad { at, from } => write!(f, "{at}: padding that {from} names"),
            Self::LivePad { site, at } => {
                write!(
                    f,
                    "{site}: its stone at {at} stands on padding that is executed"
                )
            }
            Self::UnknownJump { at, jump } => {
                write!(
                    f,
                    "{at}: instructions begin here, and {jump} may lead to any"
                )
            }
            Self::RetargetAstray { at } => {
                write!(f, "{at}: retargeted, but not to the copy of its target")
            }
        }
    }
}
