//! What the tactics stand on: code, references, padding, and bytes that may not change.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::Options;
use crate::addr::{Span, Va};
use crate::code::{Code, Insn, Region};
use crate::decode::decode;
use crate::draft::Draft;
use crate::image::Image;
use crate::pad::{self, Pad};
use crate::plan::{HOP, Refusal};
use crate::refs::{Ref, Refs, refs, refs_near};
use crate::space::Taken;

/// Room on a pad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Free {
    /// Bytes that may be written.
    pub(crate) span: Span,
    /// A live pad that must begin with a jump over itself first (not counted in `span`).
    pub(crate) opens: Option<Pad>,
}

impl Free {
    pub(crate) fn room(&self) -> u64 {
        self.span.len()
    }
}

pub(crate) struct Ground<'c, 'i> {
    image: &'i Image<'i>,
    options: &'c Options<'c>,
    code: &'c mut Code<'i>,
    refs: Refs,
    /// Where `refs` is complete: disjoint, in order.
    windows: Vec<Span>,
    /// By region start; right for the pads that lie in `windows`.
    pads: BTreeMap<Va, Rc<[Pad]>>,
    forbidden: Taken,
}

impl<'c, 'i> Ground<'c, 'i> {
    pub(crate) fn new(
        image: &'i Image<'i>,
        options: &'c Options<'c>,
        code: &'c mut Code<'i>,
        windows: Vec<Span>,
        wide: &[Span],
    ) -> Self {
        let mut forbidden = Taken::default();
        options
            .forbidden
            .iter()
            .for_each(|&span| forbidden.take(span));
        for sequence in image.restartable() {
            forbidden.take(sequence.span);
            forbidden.take(Span {
                start: sequence.abort - 4,
                end: sequence.abort,
            });
        }
        image.probes(&mut |at| {
            let probe = image.tail(at).and_then(|bytes| decode(bytes, at));
            forbidden.take(probe.map_or(Span::new(at, 1), |insn| insn.span()));
        });
        let windows = merged(windows);
        let refs = refs_near(image, options.search, code, &windows, wide);
        Self {
            image,
            options,
            code,
            refs,
            windows,
            pads: BTreeMap::new(),
            forbidden,
        }
    }

    /// Makes the references into `more` known.
    pub(crate) fn cover(&mut self, more: impl IntoIterator<Item = Span>) {
        let mut windows = self.windows.clone();
        windows.extend(more);
        self.windows = merged(windows);
        self.refs = refs(self.image, self.options.search, self.code, &self.windows);
        self.pads.clear();
    }

    fn covers(&self, span: Span) -> bool {
        let after = self.windows.partition_point(|w| w.start <= span.start);
        after
            .checked_sub(1)
            .is_some_and(|i| self.windows[i].covers(span))
    }

    /// Every known reference into `span`.
    pub(crate) fn refs_to(&mut self, span: Span) -> Vec<Ref> {
        if !self.covers(span) {
            self.cover([Span {
                start: span.start - 128,
                end: span.end + 128,
            }]);
        }
        self.refs.to(span).to_vec()
    }

    /// Who arrives inside the instruction at `site`, if it is longer than a hop: behind a prefix, or by chance.
    pub(crate) fn entered(&mut self, site: Span) -> Option<Refusal> {
        if site.len() <= HOP {
            // Chance hits are no reason to look further; a branch of its own function is.
            let inside = site.start + 1;
            let region = self.code.region(site.start)?;
            let from = region
                .insns
                .iter()
                .find(|insn| insn.branch_target() == Some(inside))?;
            return Some(Refusal::TargetInside {
                at: inside,
                from: from.at,
            });
        }
        let refs = self.refs_to(Span {
            start: site.start + 1,
            end: site.end,
        });
        let enters = refs.first();
        enters.map(|Ref { to, from, .. }| Refusal::TargetInside {
            at: *to,
            from: *from,
        })
    }

    /// The branch or call that makes `reference`, if there is one for sure.
    pub(crate) fn branch(&mut self, reference: &Ref) -> Option<Insn> {
        reference.insn(self.code)
    }

    /// An indirect jump that may go anywhere in the function around `at`.
    pub(crate) fn unknown_jump(&mut self, at: Va) -> Option<Va> {
        self.refs.unknown_jump(self.code, at)
    }

    /// `span` may not be written, moved or stood on from now on.
    pub(crate) fn forbid(&mut self, span: Span) {
        self.forbidden.take(span);
    }

    /// Whether every byte of `span` may change and is not spoken for.
    pub(crate) fn free_to_take(&self, draft: &Draft, span: Span) -> Result<(), Refusal> {
        if let Some(taken) = draft.taken.overlap(span) {
            return Err(Refusal::Taken {
                at: taken.start.max(span.start),
            });
        }
        if let Some(forbidden) = self.forbidden.overlap(span) {
            return Err(Refusal::Forbidden {
                at: forbidden.start.max(span.start),
            });
        }
        if let Some(at) = self.image.text_relocated(span) {
            return Err(Refusal::Forbidden { at });
        }
        Ok(())
    }

    /// The region around `at`, and the number of the instruction there.
    pub(crate) fn place(&mut self, at: Va) -> Result<(Rc<Region>, usize), Refusal> {
        let region = self.code.region(at).ok_or(Refusal::Untrusted)?;
        let index = region.insns.binary_search_by_key(&at, |i| i.at);
        index.map(|i| (region, i)).map_err(|_| Refusal::Untrusted)
    }

    /// The instruction that begins at `at`.
    pub(crate) fn insn(&mut self, at: Va) -> Option<Insn> {
        let (region, index) = self.place(at).ok()?;
        region.insns.get(index).copied()
    }

    /// Where functions begin between `after` and `end`, both left out.
    pub(crate) fn function_starts(&self, after: Va, end: Va) -> impl Iterator<Item = Va> {
        starts_between(self.image, after, end)
    }

    /// Whether an instruction is `add %al,(%rax)`, two bytes of zero: what data reads as, and no compiler writes.
    pub(crate) fn is_zero(&self, insn: &Insn) -> bool {
        insn.len == 2 && self.image.bytes(insn.span()) == Some(&[0, 0])
    }

    /// The regions that have a byte in `span`.
    pub(crate) fn regions_in(&mut self, span: Span) -> Vec<Rc<Region>> {
        let mut regions = Vec::new();
        let mut at = span.start;
        while at < span.end {
            match self.code.region(at) {
                Some(region) => {
                    at = region.span.end.max(at + 1);
                    regions.push(region);
                }
                None => at = at + 1,
            }
        }
        regions
    }

    /// The instruction that `at` is a byte of.
    pub(crate) fn insn_around(&mut self, at: Va) -> Option<Insn> {
        let region = self.code.region(at)?;
        region.insns.get(region.index_around(at)?).copied()
    }

    /// The pads that overlap `window`, as far as references into them are known.
    fn pads_in(&mut self, window: Span) -> Vec<Pad> {
        let mut found = Vec::new();
        let mut at = window.start;
        while at < window.end {
            let Some(region) = self.code.region(at) else {
                let Some(next) = self.image.next_function_start(at) else {
                    break;
                };
                at = next.max(at + 1);
                continue;
            };
            at = region.span.end.max(at + 1);
            let pads = match self.pads.get(&region.span.start) {
                Some(pads) => Rc::clone(pads),
                None => {
                    let pads: Rc<[Pad]> = pad::pads(self.image, &region, Some(&self.refs)).into();
                    self.pads.insert(region.span.start, Rc::clone(&pads));
                    pads
                }
            };
            let first = pads.partition_point(|p| p.span.end <= window.start);
            let near = pads[first..]
                .iter()
                .take_while(|p| p.span.start < window.end);
            found.extend(near.copied().filter(|p| self.covers(p.span)));
        }
        found
    }

    /// Room on the pads around `window`; on live pads only if `live`.
    pub(crate) fn free_pads(&mut self, draft: &Draft, window: Span, live: bool) -> Vec<Free> {
        let mut found = Vec::new();
        for pad in self.pads_in(window) {
            let skip = if pad.live { 2 } else { 0 };
            let span = Span {
                start: pad.span.start + skip,
                end: pad.span.end,
            };
            if !pad.live && self.may_be_slot(pad.span) {
                continue;
            }
            if !pad.live || draft.is_open(pad.span.start) {
                found.extend(
                    draft
                        .taken
                        .free_in(span)
                        .map(|span| Free { span, opens: None }),
                );
            } else if live
                && !span.is_empty()
                && draft.taken.overlap(pad.span).is_none()
                && self.unknown_jump(pad.span.start).is_none()
            {
                found.push(Free {
                    span,
                    opens: Some(pad),
                });
            }
        }
        found.retain(|f| {
            let span = f.opens.map_or(f.span, |p| p.span);
            self.forbidden.overlap(span).is_none() && self.image.text_relocated(span).is_none()
        });
        found
    }

    /// Whether `pad` lies in the middle of code that jumps nobody knows where: then it may be an empty one of the
    /// places, all of one size, that a computed jump chooses from.
    fn may_be_slot(&mut self, pad: Span) -> bool {
        let own = self.image.function_at(pad.start);
        let inside = own.map_or(!self.image.is_function_start(pad.end), |f| {
            f.span.end > pad.end
        });
        inside && self.unknown_jump(pad.start).is_some()
    }

    /// Whether `pad`, dead as far as its own function goes, is so for all others.
    pub(crate) fn may_stand_on(&mut self, pad: Span) -> bool {
        self.refs.to(pad).is_empty()
            && !self.may_be_slot(pad)
            && self.forbidden.overlap(pad).is_none()
            && self.image.text_relocated(pad).is_none()
    }

    /// Whether `span` is padding that nobody executes.
    pub(crate) fn dead_padding(&mut self, span: Span) -> Result<(), Refusal> {
        let dead = self
            .pads_in(span)
            .into_iter()
            .any(|p| !p.live && p.span.covers(span));
        if dead { Ok(()) } else { Err(Refusal::NoRoom) }
    }
}

/// The same bytes as disjoint spans, in order.
pub(crate) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Where functions begin between `after` and `end`, both left out.
pub(crate) fn starts_between(image: &Image<'_>, after: Va, end: Va) -> impl Iterator<Item = Va> {
    let next = move |&at: &Va| image.next_function_start(at);
    core::iter::successors(image.next_function_start(after), next).take_while(move |&at| at < end)
}
