//! Short jumps from pad to pad, until one has room for a near jump.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::Insn;
use crate::draft::{Draft, Proposal};
use crate::ground::{Free, Ground};
use crate::plan::{Change, Edit, HOP, LEAP, Refusal, Trampoline};

/// Stones before the leap. Three serve all but a few in ten thousand sites.
const MAX_HOPS: usize = 4;

/// Where a short jump at `from` can land.
pub(super) fn reach(from: Va) -> Span {
    Span {
        start: from + HOP - 128,
        end: from + HOP + 128,
    }
}

/// A place on a pad.
#[derive(Clone, Copy)]
struct Step {
    at: Va,
    free: Free,
}

pub(super) fn stone(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
    live: bool,
) -> Result<Vec<Proposal>, Refusal> {
    if insn.len < HOP as u8 {
        return Err(Refusal::NoRoom);
    }
    ground.free_to_take(draft, insn.span())?;
    let steps = chain(ground, draft, insn.at, live).ok_or(Refusal::NoPad)?;
    Ok([along(insn, &steps)].into())
}

/// One stone for `insn` on one of `pads`, which nobody executes; and that pad.
pub(crate) fn one_stone(
    draft: &Draft,
    insn: &Insn,
    pads: impl Iterator<Item = Span>,
) -> Option<(Span, Proposal)> {
    let window = reach(insn.at);
    let near = pads.filter(|pad| pad.start < window.end && window.start < pad.end);
    let free = near.flat_map(|pad| draft.taken.free_in(pad).map(move |span| (pad, span)));
    let best = free.filter_map(|(pad, span)| {
        let free = Free { span, opens: None };
        Some((
            pad,
            Step {
                at: place(&free, window, LEAP)?,
                free,
            },
        ))
    });
    let (pad, step) = best.min_by_key(|(_, s)| (s.free.room(), s.at))?;
    Some((pad, along(insn, &[step])))
}

/// Breadth first, so that the shortest chain is found.
fn chain(ground: &mut Ground<'_, '_>, draft: &Draft, from: Va, live: bool) -> Option<Vec<Step>> {
    let mut seen = BTreeSet::new();
    let mut ends: Vec<Vec<Step>> = [Vec::new()].into();
    for _ in 0..=MAX_HOPS {
        let mut next = Vec::new();
        for path in ends {
            let here = path.last().map_or(from, |s| s.at);
            let window = reach(here);
            let free = ground.free_pads(draft, window, live);
            let room = |free: &Free, need| {
                Some(Step {
                    at: place(free, window, need)?,
                    free: *free,
                })
            };
            let leap = free
                .iter()
                .filter(|f| !path.iter().any(|s| s.free.span.overlaps(f.span)));
            let leap = leap
                .filter(|f| f.room() >= LEAP)
                .filter_map(|f| room(f, LEAP));
            if let Some(last) = leap.min_by_key(|s| (s.free.room(), s.at)) {
                let mut path = path;
                path.push(last);
                return Some(path);
            }
            for step in free.iter().filter_map(|f| room(f, HOP)) {
                if seen.insert(step.free.span.start) {
                    let mut path = path.clone();
                    path.push(step);
                    next.push(path);
                }
            }
        }
        ends = next;
    }
    None
}

/// The lowest address in `free` within `window` that `need` bytes fit behind.
fn place(free: &Free, window: Span, need: u64) -> Option<Va> {
    let at = free.span.start.max(window.start);
    (at < window.end && at + need <= free.span.end).then_some(at)
}

/// The edits for `insn` and the stones of `steps`, the last of which holds the leap.
fn along(insn: &Insn, steps: &[Step]) -> Proposal {
    let mut proposal = Proposal::default();
    let mut from = insn.at;
    for step in steps {
        proposal.edits.push(Edit {
            at: from,
            change: Change::Hop { to: step.at },
        });
        if let Some(pad) = step.free.opens {
            let skip = Change::Hop { to: pad.span.end };
            proposal.edits.push(Edit {
                at: pad.span.start,
                change: skip,
            });
            proposal.opened.push(pad);
        }
        from = step.at;
    }
    proposal.edits.push(Edit {
        at: from,
        change: Change::Leap { trampoline: 0 },
    });
    proposal.trampolines.push(Trampoline {
        span: insn.span(),
        insns: [*insn].into(),
    });
    proposal
}

/// A stone for `insn` on `at`, room for which another part of the proposal makes.
pub(super) fn stand_on(insn: &Insn, at: Va, trampoline: u32) -> (Trampoline, [Edit; 2]) {
    let hop = Edit {
        at: insn.at,
        change: Change::Hop { to: at },
    };
    let leap = Edit {
        at,
        change: Change::Leap { trampoline },
    };
    (
        Trampoline {
            span: insn.span(),
            insns: [*insn].into(),
        },
        [hop, leap],
    )
}
