use super::*;
use crate::plan::{Kinds, Tactics};
use crate::search::Scalar;

/// The whole ladder, none of it, and each tactic alone.
pub(super) fn ladders() -> impl Iterator<Item = Tactics> {
    let alone = Tactic::ALL.map(|t| Tactics::NONE.with(t));
    [Tactics::ALL, Tactics::NONE].into_iter().chain(alone)
}

#[test]
fn each_question_has_its_own_number() {
    let mut all: Vec<u64> = Vec::new();
    for tactics in ladders() {
        for (numbers, signals) in [(false, false), (true, false), (false, true)] {
            for kinds in [Kinds::NONE, Kinds::SYSCALL, Kinds::of_bits(0x1ff)] {
                all.push(question(&Options {
                    tactics,
                    numbers,
                    signals,
                    kinds,
                    ..Options::new(&Scalar)
                }));
            }
        }
    }
    let asked = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), asked);
}

#[test]
fn numbers_of_all_sizes_come_back() {
    let numbers = [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::MAX >> 1, u64::MAX];
    let mut to = Writer::default();
    for n in numbers {
        to.count(n);
        to.signed(n.cast_signed());
        to.signed(n.cast_signed().wrapping_neg());
    }
    let mut from = Reader { rest: &to.bytes };
    for n in numbers {
        assert_eq!(from.count(), Some(n));
        assert_eq!(from.signed(), Some(n.cast_signed()));
        assert_eq!(from.signed(), Some(n.cast_signed().wrapping_neg()));
    }
    assert_eq!(from.byte(), None);
    assert_eq!(Reader { rest: &[0x80; 11] }.count(), None);
}

#[test]
fn every_byte_counts_in_a_hash() {
    let bytes: Vec<u8> = (0..40).collect();
    for len in 0..bytes.len() {
        let whole = hash(0, &bytes[..len]);
        assert_ne!(whole, hash(1, &bytes[..len]));
        assert_ne!(whole, hash(0, &bytes[..=len]));
        for at in 0..len {
            let mut other = bytes[..len].to_vec();
            other[at] ^= 0x80;
            assert_ne!(whole, hash(0, &other));
            assert_ne!(hash::next(0, &bytes[..len]), hash::next(0, &other));
        }
    }
}
