//! The byte searches that pass over all of an image's code.

use core::ops::Range;

/// Byte-search kernels. [`Scalar`] runs anywhere; a process that is being started may bring faster ones.
pub trait Search {
    /// Calls `found` with every offset of `0f 05` in `hay`, ascending.
    fn syscalls(&self, hay: &[u8], found: &mut dyn FnMut(usize));

    /// Calls `found` with every offset of `first` in `hay` that one of `seconds` follows, ascending.
    fn pairs(&self, hay: &[u8], first: u8, seconds: &[u8], found: &mut dyn FnMut(usize)) {
        let mut at = 0;
        let mut exact = |offset: usize| {
            if hay
                .get(offset + 1)
                .is_some_and(|second| seconds.contains(second))
            {
                found(offset);
            }
        };
        while let Some(eight) = word(hay, at) {
            let mut hits = zero_lanes(eight ^ lanes(first));
            while hits != 0 {
                exact(at + (hits.trailing_zeros() / 8) as usize);
                hits &= hits - 1;
            }
            at += 8;
        }
        (at..hay.len()).filter(|&i| hay[i] == first).for_each(exact);
    }

    /// Calls `found` with every offset in `hay` of what looks like the 4-byte displacement of a branch or operand:
    /// four bytes behind `e8`, `e9`, `0f 80` to `0f 8f`, or a ModRM byte that says RIP-relative.
    /// An opcode of one byte at the very start of `hay` is not reported: offsets begin at 2.
    /// In no particular order; hits need not be instructions.
    fn displacements(&self, hay: &[u8], found: &mut dyn FnMut(Marks));

    /// Calls `found` with every offset of four bytes that are, in little-endian order, a number in `within`, and
    /// with that number. In no particular order.
    fn words(&self, hay: &[u8], within: Range<u32>, found: &mut dyn FnMut(usize, u32)) {
        let Some(last) = within
            .end
            .checked_sub(1)
            .filter(|last| *last >= within.start)
        else {
            return;
        };
        let mut exact = |offset: usize| {
            if let Some(bytes) = hay.get(offset..).and_then(<[u8]>::first_chunk) {
                let value = u32::from_le_bytes(*bytes);
                if within.contains(&value) {
                    found(offset, value);
                }
            }
        };
        // The upper halves of the numbers rule out most offsets, four even ones and four odd ones at a time.
        let lowest = (within.start >> 16) as u16;
        let more = (last >> 16) as u16 - lowest;
        let mut at = 0;
        while let (Some(even), Some(odd)) = (word(hay, at + 2), word(hay, at + 3)) {
            let mut hits = halves_from(even, lowest, more) >> 8 | halves_from(odd, lowest, more);
            while hits != 0 {
                exact(at + (hits.trailing_zeros() / 8) as usize);
                hits &= hits - 1;
            }
            at += 8;
        }
        (at..hay.len()).for_each(exact);
    }
}

/// Places of displacements among 64 neighbours: bit i of a mask stands for the offset `at + i`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// The offset of bit 0.
    pub at: usize,
    /// Displacements of branches and calls.
    pub branches: u64,
    /// Displacements of RIP-relative `lea`.
    pub leas: u64,
    /// Displacements of all RIP-relative operands, those of `lea` among them.
    pub operands: u64,
}

impl Marks {
    /// Calls `found` with the offset of each bit of `mask`, which is one of these.
    pub fn each(self, mut mask: u64, mut found: impl FnMut(usize)) {
        while mask != 0 {
            found(self.at + mask.trailing_zeros() as usize);
            mask &= mask - 1;
        }
    }
}

/// The searches in plain Rust, eight bytes at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scalar;

/// `byte` in each of eight lanes.
const fn lanes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The top bit of each lane that is zero.
const fn zero_lanes(word: u64) -> u64 {
    const LOW: u64 = lanes(0x7f);
    !(((word & LOW) + LOW) | word | LOW)
}

/// The top bit of each of four lanes that is one of the `more + 1` numbers from `lowest` on.
const fn halves_from(word: u64, lowest: u16, more: u16) -> u64 {
    const TOP: u64 = 0x8000_8000_8000_8000;
    const EACH: u64 = 0x0001_0001_0001_0001;
    let (lowest, more) = (EACH * lowest as u64, EACH * more as u64);
    // each lane minus `lowest`, and whether `more` minus that borrows; no lane borrows from its neighbour
    let above = ((word | TOP) - (lowest & !TOP)) ^ ((word ^ !lowest) & TOP);
    let rest = (more | TOP) - (above & !TOP);
    ((more & !above) | (!(more ^ above) & rest)) & TOP
}

/// The top bits of the lanes, in the lowest eight bits.
const fn gathered(tops: u64) -> u64 {
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// The eight bytes of `hay` from `at`, the first in the lowest lane.
fn word(hay: &[u8], at: usize) -> Option<u64> {
    hay.get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

impl Search for Scalar {
    fn syscalls(&self, hay: &[u8], found: &mut dyn FnMut(usize)) {
        let mut at = 0;
        while let (Some(first), Some(second)) = (word(hay, at), word(hay, at + 1)) {
            let mut hits = zero_lanes((first ^ lanes(0x0f)) | (second ^ lanes(0x05)));
            while hits != 0 {
                found(at + (hits.trailing_zeros() / 8) as usize);
                hits &= hits - 1;
            }
            at += 8;
        }
        let rest = hay.get(at..).unwrap_or(&[]);
        for (i, pair) in rest.windows(2).enumerate() {
            if pair == [0x0f, 0x05] {
                found(at + i);
            }
        }
    }

    fn displacements(&self, hay: &[u8], found: &mut dyn FnMut(Marks)) {
        // `at` is the offset of the byte two before the first displacement looked at.
        let mut at = 0;
        while let (Some(before), Some(last)) = (word(hay, at), word(hay, at + 1)) {
            if at + 13 > hay.len() {
                break;
            }
            let near = (last & lanes(0xfe)) ^ lanes(0xe8);
            let jcc = (before ^ lanes(0x0f)) | ((last & lanes(0xf0)) ^ lanes(0x80));
            let operand = (last & lanes(0xc7)) ^ lanes(0x05);
            let lea = (before ^ lanes(0x8d)) | operand;
            let branches = zero_lanes(near) | zero_lanes(jcc);
            let leas = zero_lanes(lea);
            let operands = zero_lanes(operand);
            if branches | operands != 0 {
                found(Marks {
                    at: at + 2,
                    branches: gathered(branches),
                    leas: gathered(leas),
                    operands: gathered(operands),
                });
            }
            at += 8;
        }
        for at in at + 2..hay.len().saturating_sub(3) {
            let (before, last) = (hay[at - 2], hay[at - 1]);
            let is_branch = matches!(last, 0xe8 | 0xe9) || (before == 0x0f && last & 0xf0 == 0x80);
            let is_operand = last & 0xc7 == 0x05;
            let is_lea = before == 0x8d && is_operand;
            if is_branch || is_operand {
                found(Marks {
                    at,
                    branches: is_branch.into(),
                    leas: is_lea.into(),
                    operands: is_operand.into(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
