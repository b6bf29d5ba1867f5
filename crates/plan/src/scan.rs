//! Which byte pairs are instructions that sites can be: `0f 05` for `syscall`, and those of other kinds.

use alloc::vec::Vec;

use crate::addr::Va;
use crate::code::{Code, Trust};
use crate::decode::Reader;
use crate::image::Image;
use crate::number;
use crate::plan::{Candidate, Kinds, SiteKind};
use crate::search::Search;
use crate::vote;

/// What became of every byte pair looked for in the code of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sites {
    /// The instructions, ascending; no two share a byte.
    pub found: Vec<Candidate>,
    /// The pairs that lie inside other instructions or in data, ascending.
    pub rejected: Vec<Va>,
}

impl Sites {
    /// Keeps selected what `select` says yes to; it is asked once for each.
    pub fn select(&mut self, mut select: impl FnMut(&Candidate) -> bool) {
        for candidate in self.found.iter_mut().filter(|site| site.selected) {
            candidate.selected = select(candidate);
        }
    }
}

/// Finds every instruction of `kinds` in `image`, and every `syscall`: who changes code has to know of these.
///
/// Only the byte pairs are looked at. Inside a known function that decodes from its start to its end, the pair
/// is a site if that decoding has such an instruction there; elsewhere the vote decides, unless a symbol calls it data.
/// Without section headers nobody says which bytes of a segment are code at all (older links put read-only data
/// there, of which the vote takes one pair in a thousand for a site), so there only known functions have sites. In code
/// that a program has generated the vote decides, and only calls whose number is known are sites.
pub fn scan<'i>(
    image: &'i Image<'i>,
    search: &dyn Search,
    kinds: Kinds,
    code: &mut Code<'i>,
) -> Sites {
    let mut sites = Sites::default();
    for span in &image.code {
        let Some(bytes) = usize::try_from(span.len())
            .ok()
            .and_then(|len| image.read(span.start, len))
        else {
            continue;
        };
        let mut reader = Reader::new(bytes, span.start).within(image.span());
        let mut look = |offset: usize| {
            let at = span.start + offset as u64;
            let found = match in_function(code, at) {
                Some(decided) => decided,
                None => by_vote(image, &mut reader, offset),
            };
            match found {
                Some((at, kind, len)) => sites.found.push(Candidate {
                    at,
                    kind,
                    len,
                    selected: kinds.has(kind),
                }),
                None => sites.rejected.push(at),
            }
        };
        search.syscalls(bytes, &mut look);
        for (first, seconds) in pairs_of(kinds) {
            search.pairs(bytes, first, &seconds, &mut look);
        }
        if kinds.has(SiteKind::Rdgsbase) || kinds.has(SiteKind::Wrgsbase) {
            let (first, second) = SiteKind::Wrgsbase.pair();
            search.pairs(bytes, first, &[second], &mut |offset| {
                if is_gs_base(bytes, offset) {
                    look(offset);
                }
            });
        }
    }
    if kinds.has_others(Kinds::SYSCALL) {
        sites
            .found
            .retain(|site| kinds.has(site.kind) || site.kind == SiteKind::Syscall);
        sites.found.sort_unstable();
        // Where the vote contradicts itself, one of the two is data.
        sites.found.dedup_by(|next, kept| next.at < kept.end());
        sites.rejected.sort_unstable();
    }
    if kinds.has(SiteKind::Int80) || kinds.has(SiteKind::Sysenter) {
        sites.found.retain(|site| makes_a_call(image, code, site));
        code.forget_sweeps();
    }
    if image.is_generated() {
        // Data among it has no sections. That a number below the most that there can be is put into `eax` right before
        // is not by chance.
        sites.found.retain(|site| has_number(image, code, site));
        code.forget_sweeps();
    }
    code.expect(sites.found.iter().map(|site| (site.at, site.kind)));
    sites
}

/// Instructions that a pair of bytes has been found to be part of: address, kind, length.
type Found = (Va, SiteKind, u8);

/// Whether the bytes around the pair at `offset` of `bytes` are those of `rdgsbase` or `wrgsbase`: fences, which are
/// what that pair mostly is, are not even decoded.
#[must_use]
pub fn is_gs_base(bytes: &[u8], offset: usize) -> bool {
    let Some((before, [_, _, modrm, ..])) = bytes.split_at_checked(offset) else {
        return false;
    };
    matches!(before, [.., 0xf3] | [.., 0xf3, 0x40..=0x4f])
        && matches!(modrm, 0xc8..=0xcf | 0xd8..=0xdf)
}

/// The bytes that instructions of `kinds` other than `syscall` are recognised by: the first, and all seconds. Those of
/// [`is_gs_base`] are not among them.
fn pairs_of(kinds: Kinds) -> impl Iterator<Item = (u8, Vec<u8>)> {
    let seconds = move |first: u8| -> Vec<u8> {
        let pairs = SiteKind::ALL
            .into_iter()
            .filter(|&kind| kinds.has(kind) && !Kinds::GS.has(kind));
        let pairs = pairs
            .map(SiteKind::pair)
            .filter(|pair| pair.0 == first && pair.1 != 0x05);
        let mut seconds: Vec<u8> = pairs.map(|pair| pair.1).collect();
        seconds.dedup();
        seconds
    };
    [0x0f, 0xcd]
        .into_iter()
        .map(move |first| (first, seconds(first)))
        .filter(|(_, seconds)| !seconds.is_empty())
}

/// What the decoding of the function around `at`, the first byte of a pair, says: the instruction, or that there is
/// none. `None` where there is no function to be trusted.
fn in_function(code: &mut Code<'_>, at: Va) -> Option<Option<Found>> {
    code.function(at)?;
    let region = code.region(at)?;
    if region.trust != Trust::Function {
        return None;
    }
    let found = region.index_around(at).and_then(|index| {
        let insn = region.insns[index];
        let mut reader = Reader::new(code.image().bytes(insn.span())?, insn.at);
        let (kind, pair_at) = reader.site_at(0)?;
        (insn.at + pair_at as u64 == at).then_some((insn.at, kind, insn.len))
    });
    Some(found)
}

/// What chains of decoding say of the pair at `offset`.
fn by_vote(image: &Image<'_>, reader: &mut Reader<'_>, offset: usize) -> Option<Found> {
    if !image.has_section_headers() || image.is_data(reader.va(offset)) {
        return None;
    }
    // Of prefixes there are two at most; with one left out it would be another instruction.
    let starts = (0..=2)
        .rev()
        .filter_map(|before| offset.checked_sub(before));
    for start in starts {
        let Some((kind, pair_at)) = reader.site_at(start) else {
            continue;
        };
        if start + pair_at != offset {
            continue;
        }
        let len = reader.len_at(start)?;
        // Compilers do not write the others, so that what they are does not speak against them.
        let known = if kind == SiteKind::Syscall { 0 } else { len };
        if vote::begins_at(reader, start, known) {
            return Some((reader.va(start), kind, len as u8));
        }
    }
    None
}

/// Whether `site` is not one of the old ways into the kernel, or the instructions before it say which call it makes:
/// such bytes are data far more often than code.
fn makes_a_call<'i>(image: &'i Image<'i>, code: &mut Code<'i>, site: &Candidate) -> bool {
    match site.kind {
        SiteKind::Int80 | SiteKind::Sysenter => has_number(image, code, site),
        _ => true,
    }
}

/// Whether the instructions before `site` say which call it makes.
fn has_number<'i>(image: &'i Image<'i>, code: &mut Code<'i>, site: &Candidate) -> bool {
    const MOST: u32 = 1024;
    number::at(image, code, site.at).is_some_and(|number| number < MOST)
}
