//! Sites that must stay where they are.

use alloc::vec::Vec;

use crate::Options;
use crate::addr::{Span, Va};
use crate::code::Insn;
use crate::decode::{Map, Reader};
use crate::ground::Ground;
use crate::image::{FunctionSource, Image};
use crate::plan::{Candidate, Native, SiteKind};
use crate::refs::{Ref, RefKind};

/// `mov $15,%rax` as the assembler writes it: with `syscall` behind it, what unwinders look for that have no tables.
pub const RESTORER: [u8; 7] = [0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00];

/// Pointers side by side into one function that make a jump table. Addresses that code compares with lie in a
/// GOT, the ends of a range at most beside each other.
const TABLE: usize = 4;

/// How far from a site the other targets of a jump table are looked for.
const TABLE_REACH: u64 = 16 << 10;

/// Finds those of `sites` that must stay where they are, and keeps everybody off them.
pub(crate) fn keep_native(
    image: &Image<'_>,
    options: &Options<'_>,
    ground: &mut Ground<'_, '_>,
    sites: &[Candidate],
) -> Vec<Option<Native>> {
    let native = |site: &Candidate| {
        if site.kind != SiteKind::Syscall {
            return None; // the kernel interrupts and restarts no other
        }
        let at = site.at;
        let before = at - RESTORER.len() as u64;
        if image.read(before, RESTORER.len()) == Some(&RESTORER) {
            let known = options.signals && image.is_signal_frame(at);
            ground.forbid(Span {
                start: before,
                end: at + if known { 0 } else { 2 },
            });
            return (!known).then_some(Native::Restorer);
        }
        if options.signals {
            return None;
        }
        let after = at + 2;
        let refs = ground.refs_to(Span::new(after, 1));
        if refs.is_empty() || image.is_function_start(after) {
            return None;
        }
        let taken = refs.iter().find(|r| is_taken(image, ground, r))?;
        // It may test for a range that begins well before the instruction.
        let start = image.function_at(at).map_or(at, |f| f.span.start);
        ground.forbid(Span { start, end: after });
        Some(Native::AddressTaken { from: taken.from })
    };
    sites.iter().map(native).collect()
}

/// Whether somebody takes the address for its own sake: not by bytes inside another instruction that look like
/// it, and not in order to jump there.
fn is_taken(image: &Image<'_>, ground: &mut Ground<'_, '_>, reference: &Ref) -> bool {
    match reference.kind {
        RefKind::Lea => ground.branch(reference).is_some(),
        RefKind::Absolute => ground
            .insn_around(reference.from)
            .is_some_and(|insn| is_immediate(image, &insn, reference.from)),
        RefKind::Data => !is_go(image, reference.to) && !in_jump_table(image, ground, reference),
        _ => false,
    }
}

/// Whether the four bytes at `from` are an immediate that `insn` loads, adds or compares with, or the low half of
/// one of 8 bytes. What it multiplies or masks with is no address.
fn is_immediate(image: &Image<'_>, insn: &Insn, from: Va) -> bool {
    let bytes = image.bytes(insn.span()).unwrap_or(&[]);
    let Some(form) = Reader::new(bytes, insn.at).form_at(0) else {
        return false;
    };
    if let (Map::One, 0xb8..=0xbf, [.., a, b, c, d]) = (form.map, form.opcode, bytes)
        && bytes.len() == 10
    {
        return insn.at + 2 == from && [a, b, c, d] == [&0; 4];
    }
    let takes = match (form.map, form.opcode) {
        // add, sub, cmp, push, mov
        (Map::One, 0x05 | 0x2d | 0x3d | 0x68 | 0xb8..=0xbf | 0xc7) => true,
        (Map::One, 0x81) => matches!(form.reg(), 0 | 5 | 7),
        (Map::One, 0x8d) => !form.is_rip_relative(), // lea
        _ => false,
    };
    takes && insn.at < from && insn.end() == from + 4
}

/// Whether `at` lies in a function of Go's table. Of those nothing but the start is ever written down as a word.
fn is_go(image: &Image<'_>, at: Va) -> bool {
    image
        .function_at(at)
        .is_some_and(|f| f.source == FunctionSource::Pclntab)
}

/// Whether the words beside the reference lead into the same function.
fn in_jump_table(image: &Image<'_>, ground: &mut Ground<'_, '_>, reference: &Ref) -> bool {
    let near = Span {
        start: reference.to - TABLE_REACH.min(reference.to.0),
        end: reference.to + TABLE_REACH,
    };
    let function = image.function_at(reference.to).map_or(near, |f| Span {
        start: f.span.start.max(near.start),
        end: f.span.end.min(near.end),
    });
    let mut words: Vec<Va> = ground
        .refs_to(function)
        .iter()
        .filter(|r| r.kind == RefKind::Data)
        .map(|r| r.from)
        .collect();
    words.sort_unstable();
    words.dedup();
    words
        .chunk_by(|a, b| *a + 8 == *b)
        .any(|run| run.len() >= TABLE && run.contains(&reference.from))
}
