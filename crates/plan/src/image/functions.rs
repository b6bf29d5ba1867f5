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

    /// Whether a function begins at `at`, by any source: an FDE, Go's table, a symbol (of any size), the entry,
    /// what the loader calls at start and exit, or an indirect function's resolver.
    #[must_use]
    pub fn is_function_start(&self, at: Va) -> bool {
        self.fde_at(at)
            .is_some_and(|fde| self.span_of(&fde).start == at)
            || self
                .pclntab()
                .and_then(|table| table.around(at))
                .is_some_and(|span| span.start == at)
            || self.symbols().contains(at)
    }

    /// The first address after `after` where a function begins, by any source.
    #[must_use]
    pub fn next_function_start(&self, after: Va) -> Option<Va> {
        let frames = self.frames();
        let next = frames.until(after);
        // the one before too: a restorer begins one byte after what its FDE says
        let fdes = [next.checked_sub(1), Some(next), next.checked_add(1)]
            .into_iter()
            .flatten();
        let fdes =
            fdes.filter_map(|index| Some(self.span_of(&self.fde(frames.get(index)?.1)?).start));
        let symbol = self.symbols().next(after);
        let go = self.pclntab().and_then(|table| table.next(after));
        fdes.filter(|&start| start > after)
            .chain(symbol)
            .chain(go)
            .min()
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
