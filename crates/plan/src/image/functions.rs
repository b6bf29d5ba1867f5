//! Where functions begin and end, asked in the order of what the answer costs: the sorted table of FDEs and
//! Go's table are searched where they lie; symbols have to be gathered and sorted first.

use super::frames::Fde;
use super::{Function, FunctionSource, Image};
use crate::addr::{Span, Va};

/// `mov $15,%rax` and `mov $15,%eax`: how a signal restorer begins.
const RESTORERS: [&[u8]; 2] = [&[0x48, 0xc7, 0xc0, 15, 0, 0, 0], &[0xb8, 15, 0, 0, 0]];

impl Image<'_> {
    /// The function that `at` lies in.
    ///
    /// An FDE's word counts first. That of a signal restorer may state one byte too many at its front (unwinders
    /// look one byte before a return address); the span given here is without it.
    #[must_use]
    pub fn function_at(&self, at: Va) -> Option<Function> {
        let fde = self
            .fde_at(at)
            .map(|fde| self.span_of(&fde))
            .filter(|span| span.contains(at));
        fde.map(|span| Function {
            span,
            source: FunctionSource::Fde,
        })
        .or_else(|| {
            let span = self.pclntab()?.around(at)?;
            Some(Function {
                span,
                source: FunctionSource::Pclntab,
            })
        })
        .or_else(|| {
            let span = self.symbols().around(at)?;
            Some(Function {
                span,
                source: FunctionSource::Symbol,
            })
        })
    }

    /// Whether a function begins at `at`, as an FDE, Go's table, a symbol (of any size), the entry, what the
    /// loader calls at start and exit, or an indirect function's resolver says. What an FDE covers is one
    /// function: further starts inside are not looked for.
    #[must_use]
    pub fn is_function_start(&self, at: Va) -> bool {
        if let Some(fde) = self.fde_at(at) {
            return self.span_of(&fde).start == at;
        }
        let go = self.pclntab().and_then(|table| table.around(at));
        go.is_some_and(|span| span.start == at) || self.symbols().contains(at)
    }

    /// The first address after `after` where a function begins, in the sense of [`Image::is_function_start`].
    #[must_use]
    pub fn next_function_start(&self, after: Va) -> Option<Va> {
        if after >= self.span().end {
            return None;
        }
        let frames = self.frames();
        let around = self.fde_at(after).map(|fde| self.span_of(&fde));
        let next = || {
            self.fde(frames.get(frames.until(after))?.1)
                .map(|fde| self.span_of(&fde))
        };
        // a restorer may begin one byte after what the table says, and a table may disagree with what it leads to
        let start = around
            .filter(|span| span.start > after)
            .or_else(next)
            .map(|span| span.start);
        let start = start.filter(|&start| start > after);
        let uncovered = around.map_or(after + 1, |span| span.end);
        if start.is_some_and(|start| {
            self.is_padding(Span {
                start: uncovered,
                end: start,
            })
        }) {
            return start;
        }
        let go = self.pclntab().and_then(|table| table.next(after));
        let symbol = self.symbols().next(uncovered - 1);
        [start, go, symbol].into_iter().flatten().min()
    }

    /// Whether `gap` is short and holds only bytes that padding is made of. No function fits into such a gap, so
    /// symbols need not be gathered to know that none begins there.
    fn is_padding(&self, gap: Span) -> bool {
        const PADDING: [u8; 11] = [
            0x00, 0x0f, 0x1f, 0x2e, 0x40, 0x44, 0x66, 0x80, 0x84, 0x90, 0xcc,
        ];
        gap.is_empty()
            || gap.len() <= 64
                && self
                    .bytes(gap)
                    .is_some_and(|bytes| bytes.iter().all(|b| PADDING.contains(b)))
    }

    fn span_of(&self, fde: &Fde) -> Span {
        let Span { start, end } = fde.span;
        let restorer_at = |at| {
            self.tail(at)
                .is_some_and(|bytes| RESTORERS.iter().any(|restorer| bytes.starts_with(restorer)))
        };
        if fde.signal && restorer_at(start + 1) {
            Span {
                start: start + 1,
                end,
            }
        } else {
            fde.span
        }
    }
}
