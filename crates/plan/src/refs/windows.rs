//! Whether an address lies in one of many windows, asked of every branch of an image.

use alloc::vec::Vec;

use crate::addr::{Span, Va};

/// Spans of code, and for each 64-byte block from the first to the last whether one of them touches it.
pub(super) struct Windows<'w> {
    pub(super) spans: &'w [Span],
    first: u64,
    blocks: Vec<u64>,
}

impl<'w> Windows<'w> {
    pub(super) fn new(spans: &'w [Span]) -> Self {
        let first = spans.first().map_or(0, |span| span.start.0 >> 6);
        let last = spans.last().map_or(0, |span| span.end.0 >> 6);
        let mut blocks = alloc::vec![0u64; usize::try_from((last - first) / 64 + 1).unwrap_or(0)];
        for span in spans.iter().filter(|span| !span.is_empty()) {
            for block in span.start.0 >> 6..=(span.end.0 - 1) >> 6 {
                let bit = block - first;
                if let Some(word) = usize::try_from(bit / 64)
                    .ok()
                    .and_then(|i| blocks.get_mut(i))
                {
                    *word |= 1 << (bit % 64);
                }
            }
        }
        Self {
            spans,
            first,
            blocks,
        }
    }

    /// False for most addresses outside, at little cost.
    pub(super) fn may_contain(&self, at: Va) -> bool {
        let bit = (at.0 >> 6).wrapping_sub(self.first);
        // 58 bits: no address is too large for an index
        let word = self.blocks.get((bit / 64) as usize);
        word.is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    pub(super) fn contain(&self, at: Va) -> bool {
        self.may_contain(at)
            && self
                .spans
                .get(self.spans.partition_point(|span| span.end <= at))
                .is_some_and(|span| span.contains(at))
    }
}
