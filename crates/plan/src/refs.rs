//! Who refers to which byte of the code: all that is known to lead, or to point, into given windows.
//!
//! Too much here costs a tactic, too little breaks a program: what looks like a reference counts as one, and
//! who wants to change it asks [`Ref::insn`] first.

mod short;
mod windows;

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Code, Insn, Kind, Trust};
use crate::image::Image;
use crate::search::Search;
use crate::tables::{self, Tables};
use windows::Windows;

/// How far around windows references are gathered, because the tactics ask for more of it later.
const NEIGHBOURHOOD: u64 = 64;

/// The same for a second search, so that there is hardly ever a third: one passes over all code, and a branch that
/// must move because of another may lie as far from it as that from its site.
const SECOND_NEIGHBOURHOOD: u64 = 2048;

/// What kind of reference it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RefKind {
    /// A direct jump, conditional or not, `loop` or `xbegin`.
    Branch,
    /// A direct call.
    Call,
    /// The address is taken by `lea`, or names an operand of an instruction near.
    Lea,
    /// Four bytes of code that equal the address, where code is not position-independent; or of data there, no aligned
    /// word but part of a table.
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
    /// Where jump tables begin, ascending.
    tables: Rc<[Va]>,
}

impl Refs {
    /// References to the bytes of `span`, in order of the byte.
    #[must_use]
    pub fn to(&self, span: Span) -> &[Ref] {
        let from = self.all.partition_point(|r| r.to < span.start);
        let len = self.all[from..].partition_point(|r| r.to < span.end);
        &self.all[from..from + len]
    }

    /// What may go anywhere in the region around `at`: an indirect jump, or the start of a function
    /// whose landing pads cannot be read.
    pub fn unknown_jump(&self, code: &mut Code<'_>, at: Va) -> Option<Va> {
        let region = code.region(at)?;
        if let Some(known) = code.unknown_jumps().get(&region.span.start) {
            return *known;
        }
        let image = code.image();
        let function = match region.trust {
            Trust::Function => image.function_at(at),
            Trust::Swept => None,
        };
        let unreadable = function.filter(|f| !image.landing_pads(f.span, &mut |_| {}));
        let jump = tables::unknown_jump(image, &region, &self.tables);
        let found = jump.or(unreadable.map(|f| f.span.start));
        code.unknown_jumps().insert(region.span.start, found);
        found
    }
}

/// Finds every known reference into `windows` (ascending, disjoint).
///
/// All code is searched once, for references into a wider neighbourhood, and again only when asked for
/// windows outside it.
pub fn refs(image: &Image<'_>, search: &dyn Search, code: &mut Code<'_>, windows: &[Span]) -> Refs {
    refs_near(image, search, code, windows, &[])
}

/// The same; a search of all code finds also what leads into `wide`, where later questions may lead.
pub(crate) fn refs_near(
    image: &Image<'_>,
    search: &dyn Search,
    code: &mut Code<'_>,
    windows: &[Span],
    wide: &[Span],
) -> Refs {
    let far = match code.far_refs() {
        Some(far) if windows.iter().all(|window| far.covers(*window)) => far,
        far => {
            let before = far.as_ref().map_or(&[][..], |far| &far.around);
            let by = match before.is_empty() {
                true => NEIGHBOURHOOD,
                false => SECOND_NEIGHBOURHOOD,
            };
            let around = widened(windows.iter().chain(wide), before, by);
            let far = Rc::new(Far::gather(image, search, around));
            code.set_far_refs(Rc::clone(&far));
            far
        }
    };
    let windows = Windows::new(windows);
    let mut found = Found {
        windows: &windows,
        bare: None,
        all: Vec::new(),
    };
    let near = far.refs.iter().filter(|r| windows.may_contain(r.to));
    found.all.extend(near);
    found.landing_pads(code);
    found.short(image, code);
    found.all.retain(|r| windows.contain(r.to));
    found.all.sort_unstable();
    found.all.dedup();
    Refs {
        all: found.all,
        tables: Rc::clone(&far.tables),
    }
}

/// What a search of the whole image finds, and no decoding is needed for.
pub(crate) struct Far {
    /// Where `refs` is complete; in order, disjoint.
    around: Vec<Span>,
    /// In no order; some lie near `around`, not in it.
    refs: Vec<Ref>,
    /// Where jump tables begin, ascending.
    tables: Rc<[Va]>,
}

impl Far {
    fn gather(image: &Image<'_>, search: &dyn Search, around: Vec<Span>) -> Self {
        let windows = Windows::new(&around);
        let is_bare = |span: &&Span| {
            let middle = span.start + span.len() / 2;
            [span.start, middle, span.end]
                .iter()
                .all(|&at| image.function_at(at).is_none())
        };
        let bare: Vec<Span> = around.iter().filter(is_bare).copied().collect();
        let bare_windows = Windows::new(&bare);
        let mut found = Found {
            windows: &windows,
            bare: (!bare.is_empty()).then_some(&bare_windows),
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
        if !image.relocatable {
            found.written(image, search);
        }
        tables.entries(|from, to| found.push(to, from, RefKind::JumpTable));
        found.pointers(image);
        let refs = found.all;
        Self {
            around,
            refs,
            tables: tables.into_bases().into(),
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
fn widened<'s>(windows: impl Iterator<Item = &'s Span>, before: &[Span], by: u64) -> Vec<Span> {
    let wide = |span: &Span| Span {
        start: Va(span.start.0.saturating_sub(by)),
        end: Va(span.end.0.saturating_add(by)),
    };
    let mut all: Vec<Span> = windows.map(wide).chain(before.iter().copied()).collect();
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
    /// Windows outside known functions, where constants may lie among the code.
    bare: Option<&'w Windows<'w>>,
    all: Vec<Ref>,
}

impl Found<'_> {
    fn push(&mut self, to: Va, from: Va, kind: RefKind) {
        if self.windows.may_contain(to) {
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
        let target = |offset: usize| {
            let disp = bytes.get(offset..offset + 4)?.first_chunk()?;
            let end = base + offset as u64 + 4;
            Some((end, end.offset(i32::from_le_bytes(*disp).into())))
        };
        search.displacements(bytes, &mut |marks| {
            marks.each(marks.branches, |offset| {
                if let Some((end, to)) = target(offset)
                    && self.windows.may_contain(to)
                {
                    let (kind, len) = match bytes[offset - 1] {
                        0xe8 => (RefKind::Call, 5),
                        0xe9 => (RefKind::Branch, 5),
                        _ => (RefKind::Branch, 6),
                    };
                    self.push(to, end - len, kind);
                }
            });
            marks.each(marks.leas, |offset| {
                if let Some((end, to)) = target(offset) {
                    tables.note(to);
                    self.push(to, end - 6, RefKind::Lea);
                }
            });
            let Some(bare) = self.bare else { return };
            marks.each(marks.operands & !marks.leas, |offset| {
                let Some((end, to)) = target(offset) else {
                    return;
                };
                // What an immediate behind the displacement adds is no more than a neighbouring block away.
                if bare.may_contain(to) || bare.may_contain(to + 4) {
                    for immediate in [0, 1, 2, 4] {
                        self.push(to + immediate, end - 5, RefKind::Lea);
                    }
                }
            });
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

    /// Addresses in the data of an image that is loaded where the file says, wherever they lie in it and however long
    /// they are: 8 bytes, or 4 in a table. Whole aligned words are looked at elsewhere.
    fn written(&mut self, image: &Image<'_>, search: &dyn Search) {
        let (Some(first), Some(last)) = (self.windows.spans.first(), self.windows.spans.last())
        else {
            return;
        };
        let limit = |at: Va| u32::try_from(at.0).unwrap_or(u32::MAX);
        let code = (image.code.first(), image.code.last());
        let is_code = |word: &[u8; 4]| {
            let at = Va(u32::from_le_bytes(*word).into());
            code.0.is_some_and(|c| c.start <= at) && code.1.is_some_and(|c| at < c.end)
        };
        for segment in image.segments.iter().filter(|s| !s.executable) {
            let bytes = segment.bytes;
            let word_at = |at: Option<usize>| bytes.get(at?..)?.first_chunk::<4>();
            let range = limit(first.start)..limit(last.end);
            search.words(bytes, range, &mut |offset, value| {
                let to = Va(value.into());
                if !self.windows.may_contain(to) {
                    return;
                }
                // One such number alone may be anything.
                let (before, after) = (word_at(offset.checked_sub(4)), word_at(Some(offset + 4)));
                if after == Some(&[0; 4])
                    || before.is_some_and(is_code)
                    || after.is_some_and(is_code)
                {
                    self.push(to, segment.span.start + offset as u64, RefKind::Absolute);
                }
            });
        }
    }

    /// What the image itself knows to point into code.
    fn pointers(&mut self, image: &Image<'_>) {
        image.code_pointers(&mut |to, from| self.push(to, from, RefKind::Data));
        for sequence in image.restartable() {
            self.push(sequence.abort, sequence.span.start, RefKind::Restartable);
        }
    }

    /// Landing pads of the functions that windows lie in.
    fn landing_pads(&mut self, code: &Code<'_>) {
        let mut done = Va(0);
        for window in self.windows.spans {
            let mut at = done.max(window.start);
            while at < window.end {
                let Some(function) = code.image().function_at(at).map(|f| f.span) else {
                    // a window may begin in the gap between two functions
                    let Some(next) = code.image().next_function_start(at) else {
                        break;
                    };
                    at = next;
                    continue;
                };
                let pad = &mut |pad| self.push(pad, function.start, RefKind::LandingPad);
                code.image().landing_pads(function, pad);
                done = function.end;
                at = function.end.max(at + 1);
            }
        }
    }
}
