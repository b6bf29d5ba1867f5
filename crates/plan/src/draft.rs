//! A plan in the making, and what the tactics propose to add to it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::Insn;
use crate::pad::Pad;
use crate::plan::{Change, Edit, Tactic, Trampoline};
use crate::space::Taken;

/// What a tactic would do for one instruction. Indices of trampolines count from the first of the
/// proposal's own.
#[derive(Default, Debug)]
pub(crate) struct Proposal {
    pub(crate) trampolines: Vec<Trampoline>,
    pub(crate) edits: Vec<Edit>,
    /// Live pads that begin with a jump over themselves from now on.
    pub(crate) opened: Vec<Pad>,
    /// Short branches that must move too, because they lead into bytes that this overwrites.
    pub(crate) branches: Vec<Insn>,
}

impl Proposal {
    /// How much it disturbs: less is better.
    pub(crate) fn cost(&self) -> usize {
        let moved: usize = self.trampolines.iter().map(|t| t.insns.len()).sum();
        let retargets = self
            .edits
            .iter()
            .filter(|e| matches!(e.change, Change::Retarget { .. }))
            .count();
        100 * self.branches.len() + 10 * retargets + moved
    }
}

/// Decisions made so far.
#[derive(Clone, Default, Debug)]
pub(crate) struct Draft {
    pub(crate) taken: Taken,
    /// Start and end of each live pad that begins with a jump over itself.
    opened: BTreeMap<Va, Va>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) trampolines: Vec<Trampoline>,
    /// The sites that are executed from a trampoline.
    pub(crate) patched: BTreeMap<Va, (Tactic, u32)>,
    /// Start and end of each moved span, with the end of its bytes that a jump replaced.
    moved: BTreeMap<Va, (Va, Va)>,
}

impl Draft {
    /// Adds `proposal`, made by `tactic`.
    pub(crate) fn apply(&mut self, proposal: Proposal, tactic: Tactic) {
        let base = self.trampolines.len() as u32;
        for mut edit in proposal.edits {
            self.taken.take(edit.span());
            match &mut edit.change {
                Change::Hop { .. } => {}
                Change::Leap { trampoline } | Change::Retarget { trampoline, .. } => {
                    *trampoline += base;
                }
            }
            self.edits.push(edit);
        }
        for pad in proposal.opened {
            self.opened.insert(pad.span.start, pad.span.end);
        }
        for (index, trampoline) in (base..).zip(proposal.trampolines) {
            let span = trampoline.span;
            self.taken.take(span);
            let replaced = self.edits.iter().rev().find(|e| e.at == span.start);
            let replaced = replaced.map_or(span.start, |e| e.at + e.change.size());
            self.moved.insert(span.start, (span.end, replaced));
            for insn in trampoline.insns.iter().filter(|i| i.is_site()) {
                self.patched.insert(insn.at, (tactic, index));
            }
            self.trampolines.push(trampoline);
        }
    }

    /// Whether the live pad at `start` begins with a jump over itself.
    pub(crate) fn is_open(&self, start: Va) -> bool {
        self.opened.contains_key(&start)
    }

    /// Jumps over a live pad that lead into `span`: where each stands, and where it goes.
    pub(crate) fn skips_into(&self, span: Span) -> impl Iterator<Item = (Va, Va)> {
        // Pads are disjoint: their ends are in order too.
        let near = self.opened.range(..span.end).rev();
        near.map(|(&from, &to)| (from, to))
            .take_while(move |&(_, to)| to >= span.start)
            .filter(move |&(_, to)| span.contains(to))
    }

    /// Whether the instruction at `at` runs from a trampoline alone: a jump has replaced its bytes.
    pub(crate) fn replaced(&self, at: Va) -> bool {
        self.moved
            .range(..=at)
            .next_back()
            .is_some_and(|(_, &(end, replaced))| at < end && at < replaced)
    }
}
