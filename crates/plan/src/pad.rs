//! Padding: the bytes that stepping stones may stand on.

use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind, Region, Trust};
use crate::ground::starts_between;
use crate::image::{FunctionSource, Image};
use crate::refs::{Ref, RefKind, Refs};

/// A run of padding with one entry at most: its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pad {
    /// Its bytes.
    pub(crate) span: Span,
    /// Control passes through it, so that it must still be a no-op when entered at its start.
    pub(crate) live: bool,
}

/// The pads of a region, in order of address; without `refs`, as if nobody arrived from elsewhere.
pub(crate) fn pads(image: &Image<'_>, region: &Region, refs: Option<&Refs>) -> Vec<Pad> {
    let targets = inner_targets(region);
    let mut found = Vec::new();
    let mut at = 0;
    while at < region.insns.len() {
        let run = region.insns[at..]
            .iter()
            .take_while(|i| is_padding(image, i))
            .count();
        if run == 0 {
            at += 1;
            continue;
        }
        let before = at.checked_sub(1).map(|i| &region.insns[i]);
        let run = &region.insns[at..at + run];
        at += run.len();
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let span = Span {
            start: first.at,
            end: last.end(),
        };
        if region.trust == Trust::Swept && !span.end.0.is_multiple_of(16) {
            continue; // a sweep may have read data; what pads for alignment ends aligned
        }
        if let Some(before) = before
            && matches!(before.kind, Kind::Jmp { target, .. } if target == span.end)
        {
            continue; // a jump over no-ops: an XRay sled, or another that is patched at run time
        }
        let mut dead = before.is_some_and(|b| never_returns(image, b, span.end));
        // Whoever arrives inside divides the pad: from there on it is live.
        let mut start = span.start;
        let inner = targets.partition_point(|t| *t < span.start);
        let inner = targets[inner..].iter().take_while(|t| **t < span.end);
        let outer = refs.map_or(&[][..], |refs| refs.to(span));
        let arrivals = inner.copied().chain(outer.iter().map(|r| r.to));
        // A no-op whose address is written down is there to be changed while the program runs.
        let is_named = |at: Va| {
            let refs = refs.map_or(&[][..], |refs| refs.to(Span::new(at, 1)));
            let written =
                |r: &Ref| matches!(r.kind, RefKind::Lea | RefKind::Data | RefKind::Absolute);
            refs.iter().any(written)
        };
        let mut cuts: Vec<Va> = arrivals.collect();
        if region.trust == Trust::Swept {
            cuts.extend(starts_between(image, span.start - 1, span.end));
        }
        cuts.sort_unstable();
        cuts.dedup();
        for cut in cuts.into_iter().chain([span.end]) {
            if dead || !is_named(start) {
                push(&mut found, run, Span { start, end: cut }, !dead);
            }
            dead = false;
            start = cut;
        }
    }
    found
}

/// Calls `found` with spans that hold every pad in `window`, without decoding: wherever a byte is `int3` or the
/// opcode of a no-op, all that such an instruction could cover.
pub(crate) fn may_pad(image: &Image<'_>, window: Span, mut found: impl FnMut(Span)) {
    const LONGEST: u64 = 15;
    let first = image.code.partition_point(|code| code.end <= window.start);
    let near = image.code[first..].iter();
    for code in near.take_while(|code| code.start < window.end) {
        let part = Span {
            start: window.start.max(code.start),
            end: window.end.min(code.end),
        };
        let bytes = image.bytes(part).unwrap_or(&[]);
        let mut open: Option<Span> = None;
        for (i, &byte) in bytes.iter().enumerate() {
            if !matches!(byte, 0x90 | 0xcc | 0x1f) {
                continue;
            }
            let behind = match byte {
                0x1f if i > 0 && bytes[i - 1] != 0x0f => continue,
                0x1f => behind_nop(bytes.get(i + 1)),
                _ => 1,
            };
            let end = part.start + i as u64 + behind;
            let start = end - LONGEST;
            match &mut open {
                Some(span) if start <= span.end => span.end = span.end.max(end),
                _ => open
                    .replace(Span { start, end })
                    .into_iter()
                    .for_each(&mut found),
            }
        }
        open.into_iter().for_each(&mut found);
    }
}

/// Bytes from the last of a long no-op's opcode to its end, as its ModRM says.
fn behind_nop(modrm: Option<&u8>) -> u64 {
    let Some(&modrm) = modrm else { return 8 };
    let sib = u64::from(modrm & 7 == 4 && modrm < 0xc0);
    let disp = match modrm >> 6 {
        1 => 1,
        2 => 4,
        _ => 0,
    };
    2 + sib + disp
}

/// Adds `span` as a pad; a live one ends where something in it is not a no-op.
fn push(found: &mut Vec<Pad>, run: &[Insn], mut span: Span, live: bool) {
    if live {
        let first = run.partition_point(|i| i.at < span.start);
        if run.get(first).is_none_or(|i| i.at != span.start) {
            return; // entered in the middle of an instruction: not ours to judge
        }
        let stop = run[first..].iter().find(|i| i.kind != Kind::Nop);
        span.end = stop.map_or(span.end, |i| i.at.min(span.end));
        // Whoever falls in jumps over the rest, and a short jump goes no further.
        let reach = span.start + 2 + 127;
        let ends = run[first..].iter().map(Insn::end);
        span.end = ends
            .take_while(|&end| end <= span.end.min(reach))
            .last()
            .unwrap_or(span.start);
    }
    if !span.is_empty() {
        found.push(Pad { span, live });
    }
}

/// Where the region's own branches go, sorted.
fn inner_targets(region: &Region) -> Vec<Va> {
    let inside = |t: &Va| region.span.contains(*t);
    let mut targets: Vec<Va> = region
        .insns
        .iter()
        .filter_map(Insn::branch_target)
        .filter(inside)
        .collect();
    targets.sort_unstable();
    targets
}

/// Whether an instruction is there to fill room. A no-op with a displacement says something to
/// somebody (XRay's exit sleds do), so it is not.
fn is_padding(image: &Image<'_>, insn: &Insn) -> bool {
    match insn.kind {
        Kind::Int3 => true,
        Kind::Nop => {
            let bytes = image.read(insn.at, usize::from(insn.len)).unwrap_or(&[]);
            let opcode = bytes.windows(2).position(|w| w == [0x0f, 0x1f]);
            let operand = opcode.and_then(|i| bytes.get(i + 3..)).unwrap_or(&[]);
            // After ModRM: a SIB byte (00 in all padding) and a displacement.
            operand.iter().all(|&b| b == 0)
        }
        _ => false,
    }
}

/// Whether nothing falls from `before` into the pad that ends at `end`.
fn never_returns(image: &Image<'_>, before: &Insn, end: Va) -> bool {
    match before.kind {
        // A call that does not return ends its function, so the next one starts behind the pad. No-ops that the
        // function counts as its own are executed; Go counts up to the next function.
        Kind::Call { .. } | Kind::CallIndirect { .. } => {
            let own = image.function_at(before.end());
            image.is_function_start(end) && own.is_none_or(|f| f.source == FunctionSource::Pclntab)
        }
        // A handler may skip it, and what follows in the same function is executed then.
        Kind::Stop => image.is_function_start(end),
        _ => !before.falls_through(),
    }
}
