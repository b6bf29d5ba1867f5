//! Who refers to which byte of the code: all that is known to lead, or to point, into given windows.
//!
//! Too much here costs a tactic, too little breaks a program: what looks like a reference counts as one, and
//! who wants to change it asks [`Ref::insn`] first.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Code, Insn, Kind, Trust};
use crate::image::Image;
use crate::search::Search;
use crate::tables::{self, Tables};

/// How far a branch with a 1-byte displacement reaches, with its own length.
const SHORT: u64 = 130;

/// How far around windows references are gathered, because the tactics ask for more of it later.
const NEIGHBOURHOOD: u64 = 1024;

/// What kind of reference it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RefKind {
    /// A direct jump, conditional or not, `loop` or `xbegin`.
    Branch,
    /// A direct call.
    Call,
    /// The address is taken by `lea`.
    Lea,
    /// Four bytes of code that equal the address, where code is not position-independent.
    Absolute,
    /// A word of data, a relocation, a symbol that others may link to, or the entry point.
    Data,
    /// An entry of a jump table.
    JumpTable,
    /// Where an exception continues.
    LandingPad,
    /// Where an interrupted restartable sequence continues.
    Restartable,
}

/// A reference into a window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ref {
    /// The address referred to.
    pub to: Va,
    /// Where the reference is: for branches, calls and `lea` a byte of the instruction (its last opcode byte or
    /// its start), if it is one.
    pub from: Va,
    /// What it is.
    pub kind: RefKind,
}

impl Ref {
    /// The branch, call or `lea` that makes this reference, if the code around it decodes and there is one:
    /// only then may it be changed.
    pub fn insn(&self, code: &mut Code<'_>) -> Option<Insn> {
        let region = code.region(self.from)?;
        let insn = region.insns[region.index_around(self.from)?];
        let to = match insn.kind {
            Kind::RipRelative {
                target, lea: true, ..
            } => Some(target),
            _ => insn.branch_target(),
        };
        (to == Some(self.to)).then_some(insn)
    }
}

/// References into the windows asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refs {
    all: Vec<Ref>,
    unknown: Vec<(Span, Va)>,
}

impl Refs {
    /// References to the bytes of `span`, in order of the byte.
    #[must_use]
    pub fn to(&self, span: Span) -> &[Ref] {
        let from = self.all.partition_point(|r| r.to < span.start);
        let len = self.all[from..].partition_point(|r| r.to < span.end);
        &self.all[from..from + len]
    }

    /// An indirect jump that may go anywhere in the region around `at`.
    #[must_use]
    pub fn unknown_jump(&self, at: Va) -> Option<Va> {
        let after = self.unknown.partition_point(|(span, _)| span.start <= at);
        self.unknown[..after]
            .last()
            .filter(|(span, _)| span.contains(at))
            .map(|(_, jump)| *jump)
    }
}

/// Finds every known reference into `windows` (ascending, disjoint).
///
/// All code is searched once, for references into a wider neighbourhood, and again only when asked for
/// windows outside it.
pub fn refs(image: &Image<'_>, search: &dyn Search, code: &mut Code<'_>, windows: &[Span]) -> Refs {
    let far = match code.far_refs() {
        Some(far) if windows.iter().all(|window| far.covers(*window)) => far,
        far => {
            let before = far.as_ref().map_or(&[][..], |far| &far.around);
            let far = Rc::new(Far::gather(image, search, widened(windows, before)));
            code.set_far_refs(Rc::clone(&far));
            far
        }
    };
    let windows = Windows::new(windows);
    let mut found = Found {
        windows: &windows,
        all: Vec::new(),
    };
    far.refs
        .iter()
        .for_each(|r| found.push(r.to, r.from, r.kind));
    let mut unknown = Vec::new();
    found.regions(code, &far.tables, &mut unknown);
    found.all.sort_unstable();
    found.all.dedup();
    Refs {
        all: found.all,
        unknown,
    }
}

/// What a search of the whole image finds, and no decoding is needed for.
pub(crate) struct Far {
    /// Where `refs` is complete; in order, disjoint.
    around: Vec<Span>,
    /// In no order.
    refs: Vec<Ref>,
    /// Where jump tables begin, ascending.
    tables: Vec<Va>,
}

impl Far {
    fn gather(image: &Image<'_>, search: &dyn Search, around: Vec<Span>) -> Self {
        let windows = Windows::new(&around);
        let mut found = Found {
            windows: &windows,
            all: Vec::new(),
        };
        let mut tables = Tables::new(image);
        for span in &image.code {
            if let Some(bytes) = image.bytes(*span) {
                found.near(span.start, bytes, search, &mut tables);
                if !image.relocatable {
                    found.absolute(span.start, bytes, search);
                }
            }
        }
        tables.entries(|from, to| found.push(to, from, RefKind::JumpTable));
        found.pointers(image);
        let refs = found.all;
        Self {
            around,
            refs,
            tables: tables.into_bases(),
        }
    }

    fn covers(&self, window: Span) -> bool {
        let after = self
            .around
            .partition_point(|span| span.start <= window.start);
        self.around[..after]
            .last()
            .is_some_and(|span| span.covers(window))
    }
}

/// The neighbourhood of `windows`, and what was known `before`.
fn widened(windows: &[Span], before: &[Span]) -> Vec<Span> {
    let wide = |span: &Span| Span {
        start: Va(span.start.0.saturating_sub(NEIGHBOURHOOD)),
        end: Va(span.end.0.saturating_add(NEIGHBOURHOOD)),
    };
    let mut all: Vec<Span> = windows
        .iter()
        .map(wide)
        .chain(before.iter().copied())
        .collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| {
        let meets = next.start <= kept.end;
        if meets {
            kept.end = kept.end.max(next.end);
        }
        meets
    });
    all
}

struct Found<'w> {
    windows: &'w Windows<'w>,
    all: Vec<Ref>,
}

impl Found<'_> {
    fn push(&mut self, to: Va, from: Va, kind: RefKind) {
        if self.windows.contain(to) {
            self.all.push(Ref { to, from, kind });
        }
    }

    /// Branches, calls and `lea` with a 4-byte displacement; notes what may be the base of a jump table.
    fn near(&mut self, base: Va, bytes: &[u8], search: &dyn Search, tables: &mut Tables<'_>) {
        // The one place that the search does not report.
        if let [0xe8 | 0xe9, a, b, c, d, ..] = *bytes {
            let kind = if bytes[0] == 0xe8 {
                RefKind::Call
            } else {
                RefKind::Branch
            };
            self.push(
                (base + 5).offset(i32::from_le_bytes([a, b, c, d]).into()),
                base,
                kind,
            );
        }
        search.displacements(bytes, &mut |offset| {
            let Some(&[before, last, a, b, c, d]) =
                offset.checked_sub(2).and_then(|i| bytes[i..].first_chunk())
            else {
                return;
            };
            let end = base + offset as u64 + 4;
            let to = end.offset(i32::from_le_bytes([a, b, c, d]).into());
            let is_lea = before == 0x8d && last & 0xc7 == 5;
            if is_lea {
                tables.note(to);
            }
            if self.windows.may_contain(to) {
                let kind = match last {
                    _ if is_lea => RefKind::Lea,
                    0xe8 => RefKind::Call,
                    _ => RefKind::Branch,
                };
                let opcode = if matches!(last, 0xe8 | 0xe9) { 5 } else { 6 };
                self.push(to, end - opcode, kind);
            }
        });
    }

    /// Addresses as they are, in code that is loaded where the file says.
    fn absolute(&mut self, base: Va, bytes: &[u8], search: &dyn Search) {
        let (Some(first), Some(last)) = (self.windows.spans.first(), self.windows.spans.last())
        else {
            return;
        };
        let limit = |at: Va| u32::try_from(at.0).unwrap_or(u32::MAX);
        search.words(
            bytes,
            limit(first.start)..limit(last.end),
            &mut |offset, value| {
                let to = Va(value.into());
                if self.windows.may_contain(to) {
                    self.push(to, base + offset as u64, RefKind::Absolute);
                }
            },
        );
    }

    /// What the image itself knows to point into code.
    fn pointers(&mut self, image: &Image<'_>) {
        image.code_pointers(&mut |to, from| self.push(to, from, RefKind::Data));
        for sequence in image.restartable() {
            self.push(sequence.abort, sequence.span.start, RefKind::Restartable);
        }
    }

    /// Branches with a 1-byte displacement, and jumps that may go anywhere.
    fn regions(&mut self, code: &mut Code<'_>, tables: &[Va], unknown: &mut Vec<(Span, Va)>) {
        let mut at = Va(0);
        for window in self.windows.spans {
            let end = window.end + SHORT;
            at = at.max(window.start - SHORT);
            while at < end {
                let Some(region) = code.region(at) else {
                    // Bytes that are no code: their end is found in steps no longer than an instruction.
                    at = at + 16;
                    continue;
                };
                if let Some(jump) = tables::unknown_jump(code.image(), &region, tables) {
                    unknown.push((region.span, jump));
                }
                if let (Trust::Function, Some(function)) =
                    (region.trust, code.image().function_at(at))
                {
                    let function = function.span;
                    let pad = &mut |pad| self.push(pad, function.start, RefKind::LandingPad);
                    if !code.image().landing_pads(function, pad) {
                        unknown.push((region.span, function.start));
                    }
                }
                for insn in &region.insns[region.index_around(at).unwrap_or(0)..] {
                    if insn.at >= end {
                        break;
                    }
                    let near = matches!(
                        insn.kind,
                        Kind::Jcc { disp_len: 1, .. }
                            | Kind::Jmp { disp_len: 1, .. }
                            | Kind::Loop { .. }
                            | Kind::Xbegin { .. }
                    );
                    if let (true, Some(to)) = (near, insn.branch_target()) {
                        self.push(to, insn.at, RefKind::Branch);
                    }
                }
                at = region.span.end;
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
    }
}

/// Spans of code, and for each 64-byte block from the first to the last whether one of them touches it.
struct Windows<'w> {
    spans: &'w [Span],
    first: u64,
    blocks: Vec<u64>,
}

impl<'w> Windows<'w> {
    fn new(spans: &'w [Span]) -> Self {
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
    fn may_contain(&self, at: Va) -> bool {
        let bit = (at.0 >> 6).wrapping_sub(self.first);
        usize::try_from(bit / 64)
            .ok()
            .and_then(|i| self.blocks.get(i))
            .is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }

    fn contain(&self, at: Va) -> bool {
        self.may_contain(at)
            && self
                .spans
                .get(self.spans.partition_point(|span| span.end <= at))
                .is_some_and(|span| span.contains(at))
    }
}
