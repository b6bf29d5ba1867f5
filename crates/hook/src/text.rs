//! Text of a bounded length.

use core::fmt;

/// Up to `N` bytes of text, made by `write!` without a heap; what does not fit is dropped.
///
/// ```
/// use core::fmt::Write;
/// use hotpatch_hook::Text;
///
/// let mut path = Text::<16>::new();
/// write!(path, "/proc/{}", 17).unwrap();
/// assert_eq!(path.bytes(), b"/proc/17");
/// assert!(write!(path, "/and/so/on").is_err());
/// assert_eq!(path.bytes(), b"/proc/17/and/so/");
/// ```
#[derive(Clone, Debug)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            len: 0,
        }
    }

    /// What is in it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Adds bytes: whether all of them fitted.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.bytes.get_mut(self.len..).unwrap_or(&mut []);
        let taken = bytes.len().min(room.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len += taken;
        taken == bytes.len()
    }
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).then_some(()).ok_or(fmt::Error)
    }
}
