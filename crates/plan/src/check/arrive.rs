//! Where control ends up that arrives at an address of the patched image.

use super::copy::Copies;
use super::step::{LONGEST, branch_target, decode, instruction_at, is_nop};
use crate::addr::{Span, Va};
use crate::image::Image;
use crate::plan::{Change, Edit, Emission, Patch, Plan};

/// More hops than any chain of stones has.
pub(super) const MOST_HOPS: usize = 64;

/// The image with the patches over it, beside the trampolines.
pub(super) struct Patched<'p, 'i> {
    pub(super) image: &'p Image<'i>,
    pub(super) plan: &'p Plan,
    pub(super) emission: &'p Emission,
    pub(super) copies: &'p Copies,
}

pub(super) fn edit_span(edit: &Edit) -> Span {
    Span::new(edit.at, edit.change.size())
}

pub(super) fn is_retarget(edit: &Edit) -> bool {
    matches!(edit.change, Change::Retarget { .. })
}

impl<'p> Patched<'p, '_> {
    /// The edits that share a byte with `span`, with their patches.
    pub(super) fn over(&self, span: Span) -> impl Iterator<Item = (&'p Edit, &'p Patch)> + use<'p> {
        let edits = &self.plan.edits;
        let first = edits.partition_point(|e| edit_span(e).end <= span.start);
        let patches = &self.emission.patches[first..];
        edits[first..]
            .iter()
            .zip(patches)
            .take_while(move |(e, _)| e.at < span.end)
    }

    fn edit_at(&self, at: Va) -> Option<(&'p Edit, &'p Patch)> {
        self.over(Span::new(at, 1))
            .find(|(e, _)| e.at == at && !is_retarget(e))
    }

    /// What is written at `at`, branches with another displacement aside.
    pub(super) fn change_at(&self, at: Va) -> Option<Change> {
        self.edit_at(at).map(|(edit, _)| edit.change)
    }

    /// Whether an instruction with these bytes is no longer what it was.
    pub(super) fn changed(&self, span: Span) -> bool {
        self.over(span).any(|(e, _)| !is_retarget(e))
    }

    /// Follows the jumps that stand at `at` by decoding them, to the address of a trampoline's code.
    pub(super) fn follow(&self, mut at: Va) -> Result<Va, Va> {
        for _ in 0..MOST_HOPS {
            let (edit, patch) = self.edit_at(at).ok_or(at)?;
            let to = decode(&patch.bytes[..usize::from(patch.len)], at)
                .filter(|i| i.is_jmp_short_or_near() && i.len() == usize::from(patch.len))
                .and_then(|i| branch_target(&i))
                .ok_or(at)?;
            if matches!(edit.change, Change::Leap { .. }) {
                return Ok(to);
            }
            at = to;
        }
        Err(at)
    }

    /// Whether control that arrives at `at` does what it did before anything was changed, as far as
    /// the next instruction of the image.
    pub(super) fn means_the_same(&self, at: Va) -> bool {
        if let Some((edit, _)) = self.edit_at(at) {
            let copy = self.copies.of.get(&at).copied();
            if copy.is_some() && self.follow(at).ok() == copy {
                return true;
            }
            return match edit.change {
                Change::Hop { to } => self.is_nops(at, to) && self.means_the_same(to),
                _ => false,
            };
        }
        let Some(instruction) = instruction_at(self.image, at) else {
            return self.over(Span::new(at, 1)).next().is_none();
        };
        let span = Span::new(at, instruction.len() as u64);
        // Its own displacement may be another one now; where that leads is looked at elsewhere.
        self.over(span).all(|(edit, _)| {
            is_retarget(edit)
                && edit.at > at
                && edit_span(edit).end == span.end
                && branch_target(&instruction).is_some()
        })
    }

    /// Whether the original instructions from `from` up to `to` do nothing.
    fn is_nops(&self, from: Va, to: Va) -> bool {
        let mut at = from;
        while at < to {
            match instruction_at(self.image, at).filter(is_nop) {
                Some(nop) => at = Va(nop.next_ip()),
                None => return false,
            }
        }
        at == to
    }

    /// Whether a short jump that skips the rest of a live pad lands right.
    pub(super) fn skips_a_pad(&self, at: Va, to: Va) -> bool {
        at < to && self.is_nops(at, to) && self.means_the_same(to)
    }

    /// Whether the short jump to `to` lands on another change.
    pub(super) fn is_edit(&self, to: Va) -> bool {
        self.edit_at(to).is_some()
    }

    /// Every address where nobody may arrive any more, in order, some of them twice.
    pub(super) fn forbidden(&self) -> impl Iterator<Item = Va> + '_ {
        self.plan.edits.iter().flat_map(|edit| {
            let span = edit_span(edit);
            let before = span.start.0.saturating_sub(LONGEST - 1);
            (before..span.end.0)
                .map(Va)
                .filter(|&at| !self.means_the_same(at))
        })
    }
}
