//! Numbers as bytes.

use alloc::vec::Vec;

use crate::addr::Va;

#[derive(Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn count(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.byte(n as u8 | 0x80);
            n >>= 7;
        }
        self.byte(n as u8);
    }

    pub(super) fn signed(&mut self, n: i64) {
        self.count((n << 1 ^ n >> 63).cast_unsigned());
    }

    /// An index that is mostly `expected`.
    pub(super) fn from(&mut self, expected: u32, index: u32) {
        self.signed(i64::from(index) - i64::from(expected));
    }
}

/// Reads what [`Writer`] wrote. Every method answers `None` where the bytes say nothing that it could have written.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl Reader<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn count(&mut self) -> Option<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let n = self.count()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// How many things follow, each of at least `least` bytes: never more than there is room for.
    pub(super) fn len(&mut self, least: usize) -> Option<usize> {
        let n = usize::try_from(self.count()?).ok()?;
        (n <= self.rest.len() / least).then_some(n)
    }

    /// An address that does not lie before `end`.
    pub(super) fn after(&mut self, end: Va) -> Option<Va> {
        end.0.checked_add(self.count()?).map(Va)
    }

    /// An index that is mostly `expected`.
    pub(super) fn near(&mut self, expected: u32) -> Option<u32> {
        let index = i64::from(expected).checked_add(self.signed()?)?;
        // One less than the greatest, so that the next can be named.
        u32::try_from(index).ok().filter(|&i| i < u32::MAX)
    }
}
