//! Memory of one call, as it was kept.

use crate::{Memory, When};

/// When bytes were read, where they were, and the bytes.
#[derive(Clone, Debug, Default)]
pub struct Kept(pub Vec<(When, u64, Vec<u8>)>);

impl Kept {
    /// What was read at that time.
    #[must_use]
    pub fn new(when: When, chunks: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Self {
        let mut kept = Self::default();
        kept.add(when, chunks);
        kept
    }

    /// Adds what was read at that time.
    pub fn add(&mut self, when: When, chunks: impl IntoIterator<Item = (u64, Vec<u8>)>) {
        let chunks = chunks.into_iter();
        self.0.extend(chunks.map(|(at, bytes)| (when, at, bytes)));
    }
}

impl Memory for Kept {
    fn read(&self, when: When, address: u64, into: &mut [u8]) -> usize {
        let mut most = 0;
        for (kept_when, base, bytes) in &self.0 {
            let Some(offset) = address.checked_sub(*base).filter(|_| *kept_when == when) else {
                continue;
            };
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            let Some(rest) = bytes.get(offset..) else {
                continue;
            };
            let count = rest.len().min(into.len());
            if count > most {
                into[..count].copy_from_slice(&rest[..count]);
                most = count;
            }
        }
        most
    }
}
