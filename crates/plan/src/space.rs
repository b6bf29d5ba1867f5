//! Which bytes of the image are spoken for: one map for all tactics.

use alloc::collections::BTreeMap;

use crate::addr::{Span, Va};

/// Bytes that are edited, moved or must not change. Spans in it may touch and overlap.
#[derive(Clone, Default, Debug)]
pub(crate) struct Taken {
    /// Disjoint spans, start to end.
    spans: BTreeMap<Va, Va>,
}

impl Taken {
    /// Takes `span`, which may overlap what is taken already.
    pub(crate) fn take(&mut self, span: Span) {
        let mut merged = span;
        while let Some(old) = self.overlap(merged) {
            if old.covers(merged) {
                return;
            }
            self.spans.remove(&old.start);
            merged = Span {
                start: merged.start.min(old.start),
                end: merged.end.max(old.end),
            };
        }
        if !merged.is_empty() {
            self.spans.insert(merged.start, merged.end);
        }
    }

    /// A taken span that shares a byte with `span`.
    pub(crate) fn overlap(&self, span: Span) -> Option<Span> {
        let (&start, &end) = self.spans.range(..span.end).next_back()?;
        let found = Span { start, end };
        found.overlaps(span).then_some(found)
    }

    /// The parts of `span` that are free, in order of address.
    pub(crate) fn free_in(&self, span: Span) -> impl Iterator<Item = Span> {
        let first = self
            .spans
            .range(..=span.start)
            .next_back()
            .map_or(span.start, |(_, &end)| end.max(span.start));
        let taken = self
            .spans
            .range(span.start..span.end)
            .map(|(&s, &e)| (s, e));
        let mut at = first;
        taken
            .chain([(span.end, span.end)])
            .filter_map(move |(start, end)| {
                let free = Span {
                    start: at,
                    end: start.min(span.end),
                };
                at = at.max(end);
                (!free.is_empty()).then_some(free)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn span(start: u64, end: u64) -> Span {
        Span {
            start: Va(start),
            end: Va(end),
        }
    }

    #[test]
    fn overlapping_spans_become_one() {
        let mut taken = Taken::default();
        taken.take(span(10, 12));
        taken.take(span(20, 25));
        taken.take(span(11, 21));
        assert_eq!(taken.overlap(span(0, 100)), Some(span(10, 25)));
        assert_eq!(taken.overlap(span(25, 30)), None);
        assert_eq!(taken.overlap(span(5, 10)), None);
    }

    #[test]
    fn free_parts_are_what_is_left() {
        let mut taken = Taken::default();
        taken.take(span(10, 12));
        taken.take(span(20, 25));
        let free = |s| taken.free_in(s).collect::<Vec<_>>();
        assert_eq!(free(span(0, 30)), [span(0, 10), span(12, 20), span(25, 30)]);
        assert_eq!(free(span(11, 22)), [span(12, 20)]);
        assert_eq!(free(span(20, 25)), []);
        assert_eq!(free(span(13, 15)), [span(13, 15)]);
    }

    /// Against a byte map, over all small spans.
    #[test]
    fn agrees_with_a_byte_map() {
        let mut seed = 1_u64;
        let mut random = |n: u64| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let mut taken = Taken::default();
            let mut bytes = [false; 64];
            for _ in 0..random(8) {
                let start = random(60);
                let end = start + 1 + random(64 - start - 1).min(9);
                taken.take(span(start, end));
                bytes[start as usize..end as usize].fill(true);
            }
            let mut seen = [true; 64];
            for free in taken.free_in(span(0, 64)) {
                assert!(taken.overlap(free).is_none());
                seen[free.start.0 as usize..free.end.0 as usize].fill(false);
            }
            assert_eq!(seen, bytes);
        }
    }
}
