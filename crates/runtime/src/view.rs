//! Files as memory, to be read.
//!
//! # Safety
//! I8: nobody shortens a file while a program that runs it starts.

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
