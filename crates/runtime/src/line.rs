//! Text of a bounded length, made without allocating.

use core::fmt;

/// Up to `N` bytes of text; what does not fit is dropped, and the line says so at its end.
#[derive(Clone)]
pub struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

/// Stands at the end of a line that was cut.
const CUT: &[u8] = b"...";

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Line<N> {
    /// An empty line.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
            cut: false,
        }
    }

    /// The text so far.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The text so far; empty where it is not UTF-8 (cut inside a character).
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or("")
    }

    /// Adds `text` as it is.
    pub fn push(&mut self, text: &[u8]) {
        let room = N.saturating_sub(self.len + CUT.len() + 1);
        if self.cut {
            return;
        }
        let taken = &text[..text.len().min(room)];
        let places = self.bytes.iter_mut().skip(self.len);
        places.zip(taken).for_each(|(place, byte)| *place = *byte);
        self.len += taken.len();
        self.cut = taken.len() < text.len();
    }

    /// Adds `text` with what is not printable escaped, so that it stays one line.
    pub fn push_printable(&mut self, text: &[u8]) {
        for &byte in text {
            match byte {
                b'\n' => self.push(b"\\n"),
                b'\t' => self.push(b"\\t"),
                b'\\' => self.push(b"\\\\"),
                0..0x20 | 0x7f => {
                    const HEX: &[u8; 16] = b"0123456789abcdef";
                    self.push(&[
                        b'\\',
                        b'x',
                        HEX[usize::from(byte >> 4)],
                        HEX[usize::from(byte & 15)],
                    ]);
                }
                _ => self.push(&[byte]),
            }
        }
    }

    /// Ends the line.
    #[must_use]
    pub fn end(&mut self) -> &[u8] {
        if self.cut {
            self.bytes[self.len..self.len + CUT.len()].copy_from_slice(CUT);
            self.len += CUT.len();
        }
        self.bytes[self.len] = b'\n';
        self.len += 1;
        self.bytes()
    }
}

impl<const N: usize> fmt::Write for Line<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Line<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn stays_one_line() {
        let mut line = Line::<64>::new();
        line.push_printable(b"a\nb\x01c\\d");
        assert_eq!(line.end(), b"a\\nb\\x01c\\\\d\n");
    }

    #[test]
    fn says_where_it_was_cut() {
        for len in 0..40 {
            let mut line = Line::<16>::new();
            let _ = line.write_str(&"x".repeat(len));
            let end = line.end();
            assert_eq!(end.ends_with(b"...\n"), len > 12, "{len}");
            assert!(end.len() <= 16);
        }
    }
}
