//! The bytes of a span of code, by address and by offset.

use alloc::vec::Vec;
use core::ops::Range;

use crate::addr::{Span, Va};
use crate::code::Insn;
use crate::decode::Reader;

/// A span of code and its bytes.
#[derive(Clone, Copy)]
pub(super) struct Section<'i> {
    pub(super) span: Span,
    pub(super) bytes: &'i [u8],
    /// All of the image, code and data.
    pub(super) image: Span,
}

impl<'i> Section<'i> {
    pub(super) fn reader(&self) -> Reader<'i> {
        Reader::new(self.bytes, self.span.start).within(self.image)
    }

    /// Offset of an address at or after the section's start.
    pub(super) fn offset(&self, at: Va) -> usize {
        usize::try_from(at.0.saturating_sub(self.span.start.0))
            .unwrap_or(usize::MAX)
            .min(self.bytes.len())
    }

    pub(super) fn offsets(&self, span: Span) -> Range<usize> {
        self.offset(span.start)..self.offset(span.end)
    }

    pub(super) fn va(&self, offset: usize) -> Va {
        self.span.start + offset as u64
    }
}

/// Decodes `range` into `insns` while `keep` says so; the offset reached. An instruction that would pass the
/// range's end is not kept.
pub(super) fn decode_run(
    reader: &mut Reader<'_>,
    range: Range<usize>,
    insns: &mut Vec<Insn>,
    mut keep: impl FnMut(&Insn) -> bool,
) -> usize {
    let mut at = range.start;
    while at < range.end {
        match reader.next_at(at) {
            Some(insn) if at + usize::from(insn.len) <= range.end && keep(&insn) => {
                at += usize::from(insn.len);
                insns.push(insn);
            }
            _ => break,
        }
    }
    at
}
