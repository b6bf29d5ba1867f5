//! Memory that outlives start-up: filled once, then only read.
//!
//! # Safety
//! I14: start-up's alone until it is sealed, then nobody writes to it.

use core::ptr;

use crate::hooks::Known;
use crate::pages::PAGE;
use crate::sys::{self, Errno, Protection};

/// What is asked for where hooks name sites: pages that are not touched cost nothing, and the rest is given back. The
/// second where a process has little room (`ulimit -v`).
const SIZES: [usize; 2] = [64 << 20, 4 << 20];

/// The same without hooks: no more than this, so that it may stay as it is.
const SMALL: usize = 1 << 20;

/// A range that is filled from both ends: the sites' table from its start, everything else from its end.
#[derive(Debug)]
pub struct Store {
    start: usize,
    end: usize,
    sites: u32,
    /// The lowest byte taken from the end.
    low: usize,
}

impl Store {
    /// An empty one, where there are `hooks` or none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(hooks: bool) -> Result<Self, Errno> {
        let mut failure = Errno::IO;
        let sizes = if hooks { &SIZES[..] } else { &[SMALL] };
        for &len in sizes {
            match sys::map_anywhere(0, len, Protection::ReadWrite) {
                Ok(start) => {
                    return Ok(Self {
                        start,
                        end: start + len,
                        sites: 0,
                        low: start + len,
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where it is.
    #[must_use]
    pub fn range(&self) -> crate::pages::Range {
        crate::pages::Range {
            start: self.start as u64,
            end: self.end as u64,
        }
    }

    fn high(&self) -> usize {
        self.start + self.sites as usize * size_of::<Known>()
    }

    /// How many sites the table has.
    #[must_use]
    pub fn sites(&self) -> u32 {
        self.sites
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> *const Known {
        ptr::with_exposed_provenance(self.start)
    }

    /// Whether there is room for this many more sites, and `bytes` of other things.
    #[must_use]
    pub fn has_room(&self, sites: usize, bytes: usize) -> bool {
        sites
            .checked_mul(size_of::<Known>())
            .and_then(|len| len.checked_add(bytes))
            .is_some_and(|len| len + 64 < self.low - self.high())
    }

    /// Adds a site to the table; its id is the number of those before it.
    pub fn site(&mut self, known: Known) {
        assert!(self.has_room(1, 0), "no room for sites");
        let at = ptr::with_exposed_provenance_mut::<Known>(self.high());
        // SAFETY: I14: ours, aligned, and not taken yet.
        unsafe { at.write(known) };
        self.sites += 1;
    }

    /// Keeps `values`.
    pub fn keep<T: Copy>(&mut self, values: &[T]) -> *mut T {
        self.keep_all(values.iter().copied())
    }

    /// Keeps all that comes.
    pub fn keep_all<T: Copy>(&mut self, values: impl ExactSizeIterator<Item = T>) -> *mut T {
        let count = values.len();
        let len = count * size_of::<T>();
        assert!(self.has_room(0, len + align_of::<T>()), "no room");
        self.low = (self.low - len) & !(align_of::<T>() - 1);
        let at = ptr::with_exposed_provenance_mut::<T>(self.low);
        for (n, value) in values.take(count).enumerate() {
            let to = at.wrapping_add(n);
            // SAFETY: I14: ours, aligned, and not taken before.
            unsafe { to.write(value) };
        }
        at
    }

    /// Keeps `text` with a zero byte behind it.
    pub fn text(&mut self, text: &[u8]) -> *const core::ffi::c_char {
        self.keep(&[0u8]);
        let end = self.low;
        self.low = end - text.len();
        let at = ptr::with_exposed_provenance_mut::<u8>(self.low);
        // SAFETY: I14: right below the zero byte; `has_room` was asked by whoever has the text.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), at, text.len()) };
        at.cast()
    }

    /// Gives back what is not used; nothing changes from here on.
    ///
    /// # Safety
    /// I14: nobody writes to it any more.
    pub unsafe fn seal(&self) {
        if self.end - self.start <= SMALL {
            // SAFETY: as the caller promises. What stays writable is as good.
            let _ = unsafe { sys::protect(self.start, self.end - self.start, Protection::Read) };
            return;
        }
        let page = PAGE as usize;
        let (high, low) = (self.high().next_multiple_of(page), self.low & !(page - 1));
        if high < low {
            // SAFETY: nothing has been kept there.
            let _ = unsafe { sys::unmap(high, low - high) };
        }
        for (from, to) in [(self.start, high.min(low)), (low, self.end)] {
            if from < to {
                // SAFETY: as the caller promises. What stays writable is as good.
                let _ = unsafe { sys::protect(from, to - from, Protection::Read) };
            }
        }
    }
}
