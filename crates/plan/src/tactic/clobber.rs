//! A near jump over the instruction and its neighbours, all of which move.

use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind};
use crate::draft::{Draft, Proposal};
use crate::emit::copy_len;
use crate::ground::Ground;
use crate::plan::{Change, Edit, LEAP, Refusal, Trampoline};
use crate::refs::{Ref, RefKind};

/// Instructions before the site that may move along with it.
const MAX_BEFORE: usize = 5;

/// Instructions that would move, the site among them, and the jump that replaces the first bytes.
struct Window<'w> {
    insns: &'w [Insn],
    leap: Span,
    /// The instruction that is to be executed from a trampoline: its own bytes may stay.
    subject: Va,
}

impl Window<'_> {
    fn span(&self) -> Span {
        let first = self.insns.first().map_or(Va(0), |i| i.at);
        Span {
            start: first,
            end: self.insns.last().map_or(first, Insn::end),
        }
    }

    /// Whether whoever arrives at `at` would miss what has moved: the jump's inner bytes, and behind
    /// it whatever falls into the subject or a site.
    fn is_hazard(&self, at: Va) -> bool {
        let mut behind = self.insns.iter().skip(1).filter(|i| at <= i.at);
        self.leap.contains_inside(at) || behind.any(|i| i.is_site() || i.at == self.subject)
    }
}

/// The window that begins `before` instructions ahead of number `index`.
fn window(insns: &[Insn], index: usize, before: usize) -> Result<Window<'_>, Refusal> {
    let first = index.checked_sub(before).ok_or(Refusal::NoRoom)?;
    let leap = Span::new(insns[first].at, LEAP);
    let mut last = index;
    while insns[last].end() < leap.end {
        let next = insns.get(last + 1).ok_or(Refusal::NoRoom)?;
        let padding = matches!(next.kind, Kind::Nop | Kind::Int3);
        if padding && !insns[last].falls_through() {
            break; // the rest of the jump stands on dead padding; `admit` proves it
        }
        last += 1;
    }
    Ok(Window {
        insns: &insns[first..=last],
        leap,
        subject: insns[index].at,
    })
}

/// Proves that `window` may move; says which branches must follow it.
fn admit(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    window: &Window<'_>,
) -> Result<Proposal, Refusal> {
    let span = window.span();
    let end = span.end.max(window.leap.end);
    ground.free_to_take(
        draft,
        Span {
            start: span.start,
            end,
        },
    )?;
    movable(window.insns)?;
    if let Some(data) = window.insns.iter().find(|i| ground.is_zero(i)) {
        return Err(Refusal::Immovable { at: data.at });
    }
    // A function that begins inside may be called by those we do not see.
    if let Some(at) = ground
        .function_starts(span.start, end)
        .find(|&at| window.is_hazard(at))
    {
        return Err(Refusal::TargetInside { at, from: at });
    }
    if span.end < window.leap.end {
        ground.dead_padding(Span {
            start: span.end,
            end: window.leap.end,
        })?;
    }
    let mut proposal = Proposal::default();
    let leap = Change::Leap { trampoline: 0 };
    proposal.edits.push(Edit {
        at: span.start,
        change: leap,
    });
    let inside = Span {
        start: span.start + 1,
        end,
    };
    // No instruction of the file, so not among its references.
    if let Some((from, at)) = draft
        .skips_into(inside)
        .find(|&(_, to)| window.is_hazard(to))
    {
        return Err(Refusal::TargetInside { at, from });
    }
    for reference in ground.refs_to(inside) {
        if window.is_hazard(reference.to) {
            follow(ground, draft, window, &reference, &mut proposal)?;
        }
    }
    proposal.trampolines.push(Trampoline {
        span,
        insns: window.insns.to_vec(),
    });
    Ok(proposal)
}

/// All can run elsewhere; a call comes back to the image, so that it must be the last.
fn movable(insns: &[Insn]) -> Result<(), Refusal> {
    for (i, insn) in insns.iter().enumerate() {
        let last = i + 1 == insns.len();
        if copy_len(insn).is_none() || matches!(insn.kind, Kind::Call { .. }) && !last {
            return Err(Refusal::Immovable { at: insn.at });
        }
    }
    Ok(())
}

/// Sends whoever goes to a hazard of `window` to the moved copy instead.
fn follow(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    window: &Window<'_>,
    reference: &Ref,
    proposal: &mut Proposal,
) -> Result<(), Refusal> {
    let Ref { to, from, kind } = *reference;
    let refusal = Refusal::TargetInside { at: to, from };
    let lands_on_insn = window.insns.iter().any(|i| i.at == to);
    if !lands_on_insn || !matches!(kind, RefKind::Branch | RefKind::Call) {
        return Err(refusal);
    }
    let insn = ground.branch(reference).ok_or(refusal)?;
    let from = insn.at;
    if window.insns.iter().any(|i| i.at == from) {
        // Its copy goes to the copy. Its own bytes must not be reachable any more.
        return if window.leap.contains(from) {
            Ok(())
        } else {
            Err(refusal)
        };
    }
    if draft.replaced(from) {
        return Ok(()); // it runs from a trampoline alone, and there it goes to the copy
    }
    match insn.kind {
        Kind::Jcc { disp_len: 4, .. } | Kind::Jmp { disp_len: 4, .. } | Kind::Call { .. } => {
            let at = insn.end() - 4;
            ground.free_to_take(draft, insn.span())?;
            let change = Change::Retarget {
                trampoline: 0,
                insn: to,
            };
            proposal.edits.push(Edit { at, change });
        }
        Kind::Jcc { .. } | Kind::Jmp { .. } | Kind::Loop { .. } => proposal.branches.push(insn),
        _ => return Err(refusal),
    }
    Ok(())
}

/// The bytes after the instruction are no-ops that nobody jumps to.
pub(super) fn direct(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    let (region, index) = ground.place(insn.at)?;
    let window = window(&region.insns, index, 0)?;
    if window.insns.iter().skip(1).any(|i| i.kind != Kind::Nop) {
        return Err(Refusal::NoRoom);
    }
    if let Some(at) = ground.unknown_jump(insn.at) {
        return Err(Refusal::UnknownJump { at });
    }
    let proposal = admit(ground, draft, &window)?;
    exact(proposal, insn.at)
}

/// The one instruction before is long enough to hold the jump.
pub(super) fn before(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    let (region, index) = ground.place(insn.at)?;
    let window = window(&region.insns, index, 1)?;
    if u64::from(window.insns[0].len) < LEAP {
        return Err(Refusal::NoRoom);
    }
    let proposal = admit(ground, draft, &window)?;
    exact(proposal, insn.at)
}

/// Accepts `proposal` only if no branch elsewhere must change for it.
fn exact(proposal: Proposal, at: Va) -> Result<Vec<Proposal>, Refusal> {
    let other = proposal
        .edits
        .iter()
        .find(|e| matches!(e.change, Change::Retarget { .. }));
    let other = other
        .map(|e| e.at)
        .or(proposal.branches.first().map(|b| b.at));
    match other {
        Some(from) => Err(Refusal::TargetInside { at, from }),
        None => Ok([proposal].into()),
    }
}

/// Any window of neighbours, those that disturb least first.
pub(super) fn clobber(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insn: &Insn,
) -> Result<Vec<Proposal>, Refusal> {
    let (region, index) = ground.place(insn.at)?;
    if let Some(at) = ground.unknown_jump(insn.at) {
        return Err(Refusal::UnknownJump { at });
    }
    let mut refusal = None;
    let mut found = Vec::new();
    for before in 0..=MAX_BEFORE {
        match window(&region.insns, index, before).and_then(|w| admit(ground, draft, &w)) {
            Ok(proposal) => found.push(proposal),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    found.sort_by_key(Proposal::cost);
    match (found.is_empty(), refusal) {
        (true, Some(why)) => Err(why),
        _ => Ok(found),
    }
}

/// A straight run from `first` on that leaves at least `room` bytes behind the jump to its copy.
///
/// # Errors
/// Why it cannot move.
pub(super) fn run_out(
    ground: &mut Ground<'_, '_>,
    draft: &Draft,
    insns: &[Insn],
    room: u64,
) -> Result<(Proposal, Span), Refusal> {
    let first = insns.first().ok_or(Refusal::NoRoom)?;
    let need = first.at + LEAP + room;
    let len = insns
        .iter()
        .position(|i| i.end() >= need)
        .ok_or(Refusal::NoRoom)?
        + 1;
    let run = &insns[..len];
    if let Some(call) = run.iter().find(|i| i.is_site()) {
        return Err(Refusal::Taken { at: call.at });
    }
    // Every byte but the first becomes part of the jump or of the room behind it.
    let span = Span {
        start: first.at,
        end: run[len - 1].end(),
    };
    let proposal = admit(
        ground,
        draft,
        &Window {
            insns: run,
            leap: span,
            subject: first.at,
        },
    )?;
    exact(proposal, first.at)?
        .pop()
        .map(|p| {
            (
                p,
                Span {
                    start: first.at + LEAP,
                    end: span.end,
                },
            )
        })
        .ok_or(Refusal::NoRoom)
}
