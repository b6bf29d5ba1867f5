//! The ladder: each tactic reads the ground and the draft, and proposes or refuses.

mod clobber;
mod evict;
mod stone;

use alloc::vec::Vec;

use crate::code::Insn;
use crate::draft::{Draft, Proposal};
use crate::ground::Ground;
use crate::plan::{Refusal, Tactic};

pub(crate) use stone::one_stone;

/// What `tactic` could do to have `insn` executed from a trampoline, best first.
///
/// # Errors
/// Why it can do nothing.
pub(crate) fn propose(
    tactic: Tactic,
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    match tactic {
        Tactic::Direct => clobber::direct(ground, draft, insn),
        Tactic::Stone => stone::stone(ground, draft, insn, false),
        Tactic::LiveStone => stone::stone(ground, draft, insn, true),
        Tactic::Before => clobber::before(ground, draft, insn),
        Tactic::Clobber => clobber::clobber(ground, draft, insn),
        Tactic::Evict => evict::evict(ground, draft, insn),
    }
}
