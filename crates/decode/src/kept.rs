//! Memory that was kept of a call.

use std::borrow::Cow;

use crate::{Memory, When};

/// What was kept of a call: all bytes in one place, so that it can be filled again without asking for memory.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// Some of the bytes.
#[derive(Clone, Copy, Debug)]
struct Part {
    when: When,
    address: u64,
    start: usize,
    len: usize,
}

impl Kept {
    /// What was read at that time.
    #[must_use]
    pub fn new<'c>(when: When, chunks: impl IntoIterator<Item = (u64, &'c [u8])>) -> Self {
        let mut kept = Self::default();
        kept.add(when, chunks);
        kept
    }

    /// Adds what was read at that time: addresses and bytes.
    pub fn add<'c>(&mut self, when: When, chunks: impl IntoIterator<Item = (u64, &'c [u8])>) {
        for (address, bytes) in chunks {
            self.parts.push(Part {
                when,
                address,
                start: self.bytes.len(),
                len: bytes.len(),
            });
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
    }

    /// All of it: addresses and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (When, u64, &[u8])> {
        self.parts
            .iter()
            .map(|part| (part.when, part.address, self.bytes_of(part)))
    }

    /// The most that was kept of what lies at `address`.
    fn longest(&self, when: When, address: u64, most: usize) -> &[u8] {
        let mut longest: &[u8] = &[];
        for part in self.parts.iter().filter(|part| part.when == when) {
            let offset = address.checked_sub(part.address);
            let Some(offset) = offset.filter(|offset| *offset < part.len as u64) else {
                continue;
            };
            let rest = self.bytes_of(part).get(offset as usize..).unwrap_or(&[]);
            let rest = &rest[..rest.len().min(most)];
            if rest.len() > longest.len() {
                longest = rest;
            }
        }
        longest
    }

    fn bytes_of(&self, part: &Part) -> &[u8] {
        self.bytes
            .get(part.start..part.start + part.len)
            .unwrap_or(&[])
    }
}

impl Memory for Kept {
    fn read(&self, when: When, address: u64, into: &mut [u8]) -> usize {
        let bytes = self.longest(when, address, into.len());
        into[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    fn bytes(&self, when: When, address: u64, most: usize) -> Cow<'_, [u8]> {
        self.longest(when, address, most).into()
    }
}
