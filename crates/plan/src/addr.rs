//! Addresses as types.

use core::fmt;
use core::ops::{Add, Sub};

/// An address as the image's file states it: no load bias added.
///
/// A plan speaks in these alone, so that one file gives one plan wherever it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Va(pub u64);

impl Va {
    /// `self + by`, wrapping at 2^64 as the processor does.
    #[must_use]
    pub const fn offset(self, by: i64) -> Self {
        Self(self.0.wrapping_add_signed(by))
    }

    /// The signed distance in bytes from `from` to `self`.
    #[must_use]
    pub const fn distance_from(self, from: Self) -> i64 {
        self.0.wrapping_sub(from.0).cast_signed()
    }
}

impl Add<u64> for Va {
    type Output = Self;
    fn add(self, by: u64) -> Self {
        Self(self.0.wrapping_add(by))
    }
}

impl Sub<u64> for Va {
    type Output = Self;
    fn sub(self, by: u64) -> Self {
        Self(self.0.wrapping_sub(by))
    }
}

impl fmt::Debug for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The bytes `start..end`; `end` is the first byte after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Span {
    /// First byte.
    pub start: Va,
    /// One past the last byte.
    pub end: Va,
}

impl Span {
    /// `len` bytes from `start`.
    #[must_use]
    pub fn new(start: Va, len: u64) -> Self {
        Self {
            start,
            end: start + len,
        }
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether there is no byte in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.end.0 <= self.start.0
    }

    /// Whether `at` is one of its bytes.
    #[must_use]
    pub const fn contains(self, at: Va) -> bool {
        self.start.0 <= at.0 && at.0 < self.end.0
    }

    /// Whether `at` is one of its bytes other than the first: where nobody may arrive
    /// once the span has become one instruction.
    #[must_use]
    pub const fn contains_inside(self, at: Va) -> bool {
        self.start.0 < at.0 && at.0 < self.end.0
    }

    /// Whether every byte of `other` is one of its bytes.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.start.0 <= other.start.0 && other.end.0 <= self.end.0
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start.0 < other.end.0 && other.start.0 < self.end.0
    }
}
