//! What the headers of the object say that is put into programs.

/// Where it begins, and how much room it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it begins, from its start on.
    pub at: u64,
    /// Bytes of it, in whole pages.
    pub len: u64,
}

impl Entry {
    /// What this file says, or the beginning of one that holds all its headers.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = file.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let count = word(56) as u16 as usize;
        let headers = (0..count).map(|n| 64 + 56 * n);
        let loads = headers.filter(|&at| word(at) as u32 == 1);
        let ends = loads.map(|at| word(at + 16).wrapping_add(word(at + 40)));
        Self {
            at: word(24),
            len: ends.max().unwrap_or(0).next_multiple_of(4096),
        }
    }
}
