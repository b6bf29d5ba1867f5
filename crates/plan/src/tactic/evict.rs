//! A stone in room made by moving an unrelated run of instructions out.

use alloc::vec::Vec;

use super::clobber::run_out;
use super::stone::{reach, stand_on};
use crate::code::{Insn, Kind};
use crate::draft::{Draft, Proposal};
use crate::ground::Ground;
use crate::plan::{LEAP, Refusal};

pub(super) fn evict(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    ground.free_to_take(draft, insn.span())?;
    let (own, _) = ground.place(insn.at)?;
    let mut refusal = None;
    // A function that jumps nobody knows where leaves its neighbours as they are.
    let neighbours = ground.regions_in(reach(insn.at));
    let regions = neighbours.iter().filter(|r| r.span != own.span);
    for region in [&own].into_iter().chain(regions) {
        if let Some(at) = ground.unknown_jump(region.span.start) {
            refusal = refusal.or(Some(Refusal::UnknownJump { at }));
            continue;
        }
        if let Some(proposal) = evict_from(ground, draft, insn, &region.insns) {
            return Ok([proposal].into());
        }
    }
    Err(refusal.unwrap_or(Refusal::NoRoom))
}

/// A stone for `insn` in place of some of `insns`.
fn evict_from(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
    insns: &[Insn],
) -> Option<Proposal> {
    let window = reach(insn.at);
    for (i, first) in insns.iter().enumerate() {
        let stone = first.at + LEAP;
        if stone < window.start || stone >= window.end {
            continue;
        }
        let Ok((mut proposal, room)) = run_out(ground, draft, &insns[i..], LEAP) else {
            continue;
        };
        if room.overlaps(insn.span()) || first.span().overlaps(insn.span()) {
            continue;
        }
        // No-ops in the middle of code, and a jump over them, are there for somebody who writes a call
        // over them later: tracing sleds, patchable function entries.
        let written_later = |i: &Insn| matches!(i.kind, Kind::Nop | Kind::Jmp { .. });
        if proposal
            .trampolines
            .iter()
            .flat_map(|t| t.insns.iter())
            .any(written_later)
        {
            continue;
        }
        let (trampoline, edits) = stand_on(insn, room.start, 1);
        proposal.trampolines.push(trampoline);
        proposal.edits.extend(edits);
        return Some(proposal);
    }
    None
}
