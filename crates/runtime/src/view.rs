//! Files as memory, to be read.
//!
//! # Safety
//! I8: nobody shortens a file while a program that runs it starts.

use crate::labels;
use crate::pages::Range;
use crate::sys::{self, Errno, Fd};

/// A file, mapped to be read; unmapped when dropped.
#[derive(Debug)]
pub struct View {
    at: *const u8,
    len: usize,
}

impl View {
    /// The first `len` bytes of a file, which are not none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(file: &Fd, len: usize) -> Result<Self, Errno> {
        file.map(len).map(|at| Self { at, len })
    }

    /// The same for one that may stay, each with another `number`: not where views that come later want to be, nor where
    /// sanitizers keep their shadows.
    ///
    /// # Errors
    /// The kernel's.
    pub fn to_stay(file: &Fd, len: usize, number: usize) -> Result<Self, Errno> {
        const ROOM: usize = 1 << 28;
        let hint = (labels::own().start as usize).saturating_sub((1 + number) * ROOM);
        file.map_near(hint, len).map(|at| Self { at, len })
    }

    /// Leaves it mapped for good: where.
    #[must_use]
    pub fn leave(self) -> Range {
        let start = self.at.addr() as u64;
        let end = start + self.len as u64;
        core::mem::forget(self);
        Range { start, end }
    }

    /// The bytes of one that has been left, the first of which is at `at`.
    ///
    /// # Safety
    /// [`leave`](Self::leave) has said so.
    #[must_use]
    pub unsafe fn left(at: usize, len: usize) -> &'static [u8] {
        // SAFETY: as the caller promises; I8.
        unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(at), len) }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped until `self` is dropped; I8.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: what borrowed it is gone.
        let _ = unsafe { sys::unmap(self.at.addr(), self.len) };
    }
}
