//! A stone in room made by moving an unrelated run of instructions out.

use alloc::vec::Vec;

use super::clobber::run_out;
use super::stone::{reach, stand_on};
use crate::code::{Insn, Kind};
use crate::draft::{Draft, Proposal};
use crate::ground::Ground;
use crate::plan::Refusal;

/// Bytes of the stone's `jmp rel32`.
const STONE: u64 = 5;

pub(super) fn evict(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    ground.free_to_take(draft, insn.span())?;
    let (region, _) = ground.place(insn.at)?;
    if let Some(at) = ground.unknown_jump(insn.at) {
        return Err(Refusal::UnknownJump { at });
    }
    let window = reach(insn.at);
    for (i, first) in region.insns.iter().enumerate() {
        let stone = first.at + STONE;
        if stone < window.start || stone >= window.end {
            continue;
        }
        let Ok((mut proposal, room)) = run_out(ground, draft, &region.insns[i..], STONE) else {
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
        return Ok([proposal].into());
    }
    Err(Refusal::NoRoom)
}
