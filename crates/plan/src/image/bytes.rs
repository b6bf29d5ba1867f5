//! Reads little-endian fields out of bytes that nobody vouches for.

use crate::addr::Va;

/// The `N` bytes at `at`, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The 2-byte word at `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// The 4-byte word at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// The 8-byte word at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// A field of 8 bytes at `at` of a record whose length is known to suffice.
pub(super) fn word(record: &[u8], at: usize) -> u64 {
    u64_at(record, at).unwrap_or(0)
}

/// A field of 4 bytes at `at` of a record whose length is known to suffice.
pub(super) fn half(record: &[u8], at: usize) -> u32 {
    u32_at(record, at).unwrap_or(0)
}

/// `len` bytes from `at`, both as a header states them.
pub(super) fn part(bytes: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(at).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// A NUL-terminated name at `at` of a string table.
pub(super) fn name(table: &[u8], at: u32) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    rest.get(..rest.iter().position(|&b| b == 0)?)
}

/// Whether the name at `at` of a string table is `wanted`; looks no further than `wanted` is long.
pub(super) fn is_named(table: &[u8], at: u32, wanted: &[u8]) -> bool {
    usize::try_from(at)
        .ok()
        .and_then(|at| table.get(at..))
        .is_some_and(|rest| rest.starts_with(wanted) && rest.get(wanted.len()) == Some(&0))
}

/// A place in bytes whose address is known, moving forward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// What is left.
    pub(super) rest: &'a [u8],
    /// The address of the first byte of `rest`.
    pub(super) at: Va,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8], at: Va) -> Self {
        Self { rest, at }
    }

    pub(super) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        self.at = self.at + len;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        u16_at(self.take(2)?, 0)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        u32_at(self.take(4)?, 0)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        u64_at(self.take(8)?, 0)
    }

    /// Unsigned LEB128 of at most 64 bits; `None` for a longer one, so that no field costs more than 10 bytes.
    pub(super) fn uleb(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Signed LEB128, as [`Reader::uleb`].
    pub(super) fn sleb(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..70_u32).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                let sign = u64::MAX.checked_shl(shift + 7).unwrap_or(0);
                return Some(
                    (if byte & 0x40 == 0 {
                        value
                    } else {
                        value | sign
                    })
                    .cast_signed(),
                );
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, Va(0x1000))
    }

    /// DWARF 5, section 7.6, tables 7.1 and 7.2.
    #[test]
    fn leb128_is_read_as_dwarf_says() {
        let unsigned: [(&[u8], u64); 6] = [
            (&[2], 2),
            (&[127], 127),
            (&[0x80, 1], 128),
            (&[0x81, 1], 129),
            (&[0xb9, 0x64], 12857),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                u64::MAX,
            ),
        ];
        for (bytes, value) in unsigned {
            let mut reader = reader(bytes);
            assert_eq!(reader.uleb(), Some(value));
            assert_eq!(
                (reader.rest, reader.at),
                (&[][..], Va(0x1000 + bytes.len() as u64))
            );
        }
        let signed: [(&[u8], i64); 7] = [
            (&[2], 2),
            (&[0x7e], -2),
            (&[0xff, 0], 127),
            (&[0x81, 0x7f], -127),
            (&[0x80, 1], 128),
            (&[0x80, 0x7f], -128),
            (
                &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f],
                i64::MIN,
            ),
        ];
        for (bytes, value) in signed {
            assert_eq!(reader(bytes).sleb(), Some(value), "{bytes:x?}");
        }
    }

    #[test]
    fn leb128_without_an_end_is_not_read() {
        assert_eq!(reader(&[0x80; 9]).uleb(), None);
        assert_eq!(reader(&[0x80; 64]).uleb(), None);
        assert_eq!(reader(&[0xff; 64]).sleb(), None);
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut short = reader(&[1, 2, 3]);
        assert_eq!(
            (short.u32(), short.u64(), short.take(u64::MAX)),
            (None, None, None)
        );
        assert_eq!(
            (short.u16(), short.u8(), short.u8()),
            (Some(0x201), Some(3), None)
        );
        assert_eq!(part(&[0; 8], u64::MAX, u64::MAX), None);
        assert_eq!(part(&[0; 8], 4, 5), None);
        assert_eq!(u64_at(&[0; 8], usize::MAX), None);
    }

    #[test]
    fn names_end_at_their_nul() {
        let table = b"\0read\0readv";
        assert!(is_named(table, 1, b"read") && !is_named(table, 6, b"read"));
        assert_eq!((name(table, 1), name(table, 6)), (Some(&b"read"[..]), None));
        assert!(!is_named(table, 99, b"read") && name(table, 99).is_none());
    }
}
