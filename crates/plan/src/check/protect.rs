//! What a plan must leave alone, though it could be moved and written: for others than those who execute it.

use alloc::vec::Vec;

use super::arrive::{MOST_HOPS, Patched, edit_span, is_retarget};
use super::fault::Fault;
use super::known::Known;
use super::step::{Step, instruction_at};
use super::window::{Window, window_at};
use crate::addr::{Span, Va};
use crate::plan::{Change, Edit, Outcome, Tactic};

/// The signature before the place where an interrupted sequence continues, which the kernel compares.
const SIGNATURE: u64 = 4;

/// Nothing lies over bytes that may not change: `forbidden` ones, restartable sequences, probes, and what the loader
/// writes itself.
pub(super) fn protected(patched: &Patched<'_, '_>, forbidden: &[Span]) -> Vec<Fault> {
    let image = patched.image;
    let mut kept = forbidden.to_vec();
    for sequence in image.restartable() {
        kept.push(sequence.span);
        kept.push(Span::new(sequence.abort - SIGNATURE, SIGNATURE));
    }
    image.probes(&mut |at| {
        let len = instruction_at(image, at).map_or(1, |i| i.len() as u64);
        kept.push(Span::new(at, len));
    });
    let plan = patched.plan;
    let edits = plan.edits.iter().map(edit_span);
    let touched = edits.chain(plan.trampolines.iter().map(|t| t.span));
    let faults = touched.filter_map(|span| {
        let kept = kept.iter().find(|kept| kept.overlaps(span));
        kept.map(|kept| kept.start.max(span.start))
            .or_else(|| image.text_relocated(span))
    });
    faults.map(|at| Fault::Protected { at }).collect()
}

/// Padding that somebody's word of data or operand names is there to be written to while the program runs: it does
/// not become a jump over a stone.
pub(super) fn named_pads(patched: &Patched<'_, '_>, known: &[Known]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for edit in opened(patched) {
        let first = known.partition_point(|k| k.to < edit.at);
        let here = known[first..].iter().take_while(|k| k.to == edit.at);
        let named = here.filter(|k| k.is_written_down());
        faults.extend(named.map(|k| Fault::NamedPad {
            at: edit.at,
            from: k.from,
        }));
    }
    faults
}

/// Sites that say they change no live code but their own two bytes do not stand on padding that is executed.
pub(super) fn live_stones(patched: &Patched<'_, '_>, windows: &[Window]) -> Vec<Fault> {
    let opened: Vec<&Edit> = opened(patched).collect();
    let mut faults = Vec::new();
    for site in &patched.plan.sites {
        if !matches!(
            site.outcome,
            Outcome::Patched {
                tactic: Tactic::Stone,
                ..
            }
        ) {
            continue;
        }
        let mut at = site.at;
        // Hops that go round in a circle are somebody else's fault.
        for _ in 0..MOST_HOPS {
            let Some(Change::Hop { to }) = patched.change_at(at) else {
                break;
            };
            // Somebody may branch into the middle of padding: what lies before the jump over the rest is dead.
            let pad = window_at(windows, to).map(|w| pad_around(w, to));
            if opened
                .iter()
                .any(|edit| edit.at <= to && pad.is_some_and(|pad| pad.contains(edit.at)))
            {
                faults.push(Fault::LivePad {
                    site: site.at,
                    at: to,
                });
            }
            at = to;
        }
    }
    faults
}

/// The jumps over stones in padding that is executed.
fn opened<'p>(patched: &'p Patched<'_, '_>) -> impl Iterator<Item = &'p Edit> {
    patched.plan.edits.iter().filter(|edit| {
        matches!(edit.change, Change::Hop { to }
            if !patched.copies.moves(edit.at) && patched.skips_a_pad(edit.at, to))
    })
}

/// The run of padding that `at` lies in.
fn pad_around(window: &Window, at: Va) -> Span {
    let here = window.steps.partition_point(|s| s.end() <= at);
    let is_pad = |s: &&Step| s.pad;
    let before = window.steps[..here].iter().rev().take_while(is_pad).last();
    let after = window.steps[here..].iter().take_while(is_pad).last();
    Span {
        start: before.or(window.steps.get(here)).map_or(at, |s| s.at),
        end: after.map_or(at + 1, Step::end),
    }
}

/// Where instructions begin that a jump has swallowed, and whoever computes an address might go: edit by edit.
pub(super) fn swallowed<'p>(
    patched: &'p Patched<'_, '_>,
    windows: &'p [Window],
) -> impl Iterator<Item = &'p Edit> {
    patched.plan.edits.iter().filter(move |edit| {
        let span = edit_span(edit);
        let inside = window_at(windows, edit.at).map_or(&[][..], |w| w.over(span));
        let skips = matches!(edit.change, Change::Hop { to }
            if !patched.copies.moves(edit.at) && patched.skips_a_pad(edit.at, to));
        let moves = |s: &Step| span.contains_inside(s.at) && patched.copies.moves(s.at);
        !is_retarget(edit) && (skips || inside.iter().any(moves))
    })
}
