//! A quick hash, to tell accidents from what was written. Nobody is kept out by it.

/// Odd, and half of its bits set: the golden ratio's fraction.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of `bytes`, which differs for each `seed`.
#[must_use]
pub fn hash(seed: u64, mut bytes: &[u8]) -> u64 {
    // The length counts, or zeros at the end would not.
    let mut sum = mix(seed ^ SPREAD, bytes.len() as u64);
    while let Some((word, rest)) = bytes.split_first_chunk() {
        sum = mix(sum, u64::from_le_bytes(*word));
        bytes = rest;
    }
    let last = |word, &byte: &u8| word << 8 | u64::from(byte);
    mix(sum, bytes.iter().rev().fold(0, last))
}

/// `sum` with a few more bytes in it: not so good a hash as [`hash`], but one step for eight bytes.
pub(super) fn next(sum: u64, bytes: &[u8]) -> u64 {
    // What plans change has these lengths.
    let word = match *bytes {
        [a, b] => u64::from(u16::from_le_bytes([a, b])) | 2 << 56,
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])) | 4 << 56,
        [a, b, c, d, e] => u64::from_le_bytes([a, b, c, d, e, 0, 0, 5]),
        _ => hash(sum, bytes),
    };
    mix(sum, word)
}

/// Both halves of a product depend on all bits of both factors.
fn mix(sum: u64, word: u64) -> u64 {
    let product = u128::from(sum ^ word ^ SPREAD.rotate_left(32)) * u128::from(SPREAD);
    product as u64 ^ (product >> 64) as u64 ^ sum.rotate_left(29)
}
