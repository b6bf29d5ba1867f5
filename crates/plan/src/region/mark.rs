//! Instructions that are sites, but no `syscall`, say so themselves.

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind};
use crate::plan::SiteKind;

/// Those of `others` that lie in `span`.
pub(super) fn others_in(
    others: &[(Va, SiteKind)],
    span: Span,
) -> impl Iterator<Item = &(Va, SiteKind)> {
    let first = others.partition_point(|(at, _)| *at < span.start);
    others[first..]
        .iter()
        .take_while(move |(at, _)| *at < span.end)
}

/// Says of those `insns` that are sites which kind they are.
pub(super) fn mark(others: &[(Va, SiteKind)], insns: &mut [Insn]) {
    let (Some(first), Some(last)) = (insns.first(), insns.last()) else {
        return;
    };
    let span = Span {
        start: first.at,
        end: last.end(),
    };
    for &(at, kind) in others_in(others, span) {
        if let Ok(index) = insns.binary_search_by_key(&at, |insn| insn.at) {
            insns[index].kind = Kind::Site(kind);
        }
    }
}
