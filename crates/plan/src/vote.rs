//! Where instructions begin, when nobody says: chains of decoding from many starts soon agree.
//!
//! Of the chains that begin 12 to 64 bytes before a true `syscall` and meet nothing but likely instructions, at
//! least 0.77 land on it; of those before a pair inside other instructions hardly any. Random bytes with a pair
//! in them pass one time in a thousand; without the demand for likely instructions it was one in seven.

use alloc::vec;
use alloc::vec::Vec;

use crate::code::Kind;
use crate::decode::Reader;

/// The farthest start of a chain before the place that is asked for, in bytes.
const FAR: usize = 64;
/// The nearest.
const NEAR: usize = 12;
/// The share of chains that settles a question, midway between the worst true and the best false one.
const SHARE: (u32, u32) = (16, 25);
/// The share of chains that must be left to settle anything: of those before a true site at least 0.4 are,
/// of those in random bytes mostly none.
const QUORUM: (u32, u32) = (3, 10);
/// How many instructions from the place on must decode.
const FOLLOWING: usize = 8;

/// Chains that begin at each of a run of offsets, and how many of them pass each offset behind.
struct Chains {
    /// The first offset counted.
    first: usize,
    /// For each offset from `first`: chains that have an instruction there.
    passing: Vec<u32>,
    /// For each offset from `first`: chains that have not met bytes that are no likely instruction. The others
    /// have no say: many starts lie in the middle of an instruction.
    alive: Vec<u32>,
    /// How many chains there were.
    starts: u32,
    /// For each offset from `first`: length of the instruction, 0 where none decodes or no chain arrives.
    len: Vec<u8>,
}

impl Chains {
    /// Chains from each offset of `first..first + starts`, followed to `last`.
    fn follow(reader: &mut Reader<'_>, first: usize, starts: usize, last: usize) -> Self {
        let mut passing = vec![0u32; last - first + 1];
        let mut alive = vec![0u32; last - first + 1];
        let mut len = vec![0u8; last - first + 1];
        passing.iter_mut().take(starts).for_each(|n| *n = 1);
        let starts: u32 = u32::try_from(starts).unwrap_or(u32::MAX);
        let mut living = starts;
        for i in 0..=last - first {
            alive[i] = living;
            if passing[i] == 0 || i == last - first {
                continue;
            }
            match reader.likely_len_at(first + i) {
                Some(length) => {
                    len[i] = u8::try_from(length).unwrap_or(0);
                    let here = passing[i];
                    if let Some(next) = passing.get_mut(i + length) {
                        *next += here;
                    }
                }
                None => living -= passing[i],
            }
        }
        Self {
            first,
            passing,
            alive,
            starts,
            len,
        }
    }

    /// Chains from 64 to 12 bytes before `offset`, followed to it; `None` too near the start of the bytes.
    fn to(reader: &mut Reader<'_>, offset: usize) -> Option<Self> {
        let nearest = offset.checked_sub(NEAR)?;
        let first = offset.saturating_sub(FAR);
        Some(Self::follow(reader, first, nearest - first + 1, offset))
    }

    /// Chains that pass `offset`, and those that could have.
    fn poll(&self, offset: usize) -> (u32, u32) {
        let i = offset - self.first;
        (
            self.passing.get(i).copied().unwrap_or(0),
            self.alive.get(i).copied().unwrap_or(0),
        )
    }

    /// Whether enough chains pass `offset` to believe that an instruction begins there.
    fn agree_on(&self, offset: usize) -> bool {
        let (passing, alive) = self.poll(offset);
        alive > 0
            && alive * QUORUM.1 >= self.starts * QUORUM.0
            && passing * SHARE.1 >= alive * SHARE.0
    }
}

/// Whether an instruction begins at `offset`, and decoding goes on from there; the first `known` bytes are an
/// instruction already.
///
/// The start of the bytes counts as a known boundary: a place too near it for a poll is decoded from there.
#[must_use]
pub fn begins_at(reader: &mut Reader<'_>, offset: usize, known: usize) -> bool {
    let landed = match Chains::to(reader, offset) {
        Some(chains) if offset >= 2 * NEAR => chains.agree_on(offset),
        _ => {
            let mut at = 0;
            while at < offset {
                let Some(len) = reader.len_at(at) else {
                    return false;
                };
                at += len;
            }
            at == offset
        }
    };
    landed && decodes_on(reader, offset + known)
}

/// Whether likely instructions follow for as long as control is known to go on.
fn decodes_on(reader: &mut Reader<'_>, mut offset: usize) -> bool {
    for _ in 0..FOLLOWING {
        let Some(len) = reader.likely_len_at(offset) else {
            // The bytes may end here: that is no sign of data.
            return reader.is_cut_off();
        };
        let Some(insn) = reader.next_at(offset) else {
            return false;
        };
        offset = match insn.kind {
            Kind::Jmp { target, .. } => match reader.offset_of(target) {
                Some(there) => there,
                None => return true,
            },
            _ if !insn.falls_through() => return true,
            _ => offset + len,
        };
    }
    true
}

/// The first offset from `from` on, past what it takes to settle, where most chains that begin at `from` and
/// the bytes after it agree that an instruction begins; none before `limit`, nothing.
#[must_use]
pub fn settle(reader: &mut Reader<'_>, from: usize, limit: usize) -> Option<usize> {
    let last = limit.min(from + 2 * FAR);
    let starts = (FAR - NEAR + 1).min(last.checked_sub(from)?);
    let chains = Chains::follow(reader, from, starts, last);
    (from + FAR..=last).find(|&offset| chains.agree_on(offset))
}

/// The earliest offset of the chain that most of those landing on `offset` have in common; `None` where they
/// do not agree that an instruction begins there.
#[must_use]
pub fn lead_in(reader: &mut Reader<'_>, offset: usize) -> Option<usize> {
    let chains = Chains::to(reader, offset).filter(|chains| chains.agree_on(offset))?;
    let mut at = offset;
    loop {
        let before = (chains.first.max(at.saturating_sub(15))..at)
            .filter(|&p| p + usize::from(chains.len[p - chains.first]) == at)
            .max_by_key(|&p| chains.passing[p - chains.first]);
        match before {
            Some(p) if chains.agree_on(p) => at = p,
            _ => return Some(at),
        }
    }
}
