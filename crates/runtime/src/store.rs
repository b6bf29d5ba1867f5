//! Memory that outlives start-up: what stands in it does not change. Later images are added behind.
//!
//! # Safety
//! I14: one thread fills it: start-up, then whoever holds the lock of late.rs.

use core::ptr;

use crate::hooks::Known;
use crate::pages::{PAGE, Range};
use crate::sys::{self, Errno, Protection};

/// What is asked for where hooks name sites: pages that are not touched cost nothing, and the rest is given back. The
/// second where a process has little room (`ulimit -v`).
const SIZES: [usize; 2] = [64 << 20, 4 << 20];

/// The same without hooks: no more than this, so that it may stay as it is.
const SMALL: usize = 1 << 20;

/// What is not given back at either end: room for images that come later.
const LATER: usize = 512 << 10;

/// A range that is filled from both ends: the sites' table from its start, everything else from its end.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    start: usize,
    end: usize,
    sites: u32,
    /// The lowest byte taken from the end.
    low: usize,
    /// What has been given back, between the two.
    hole: (usize, usize),
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
                        hole: (start + len / 2, start + len / 2),
                    });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Where it is.
    #[must_use]
    pub fn range(&self) -> Range {
        Range {
            start: self.start as u64,
            end: self.end as u64,
        }
    }

    /// The same without what has been given back.
    #[must_use]
    pub fn parts(&self) -> [Range; 2] {
        let all = self.range();
        let (start, end) = (self.hole.0 as u64, self.hole.1 as u64);
        [Range { end: start, ..all }, Range { start: end, ..all }]
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
        let len = sites.checked_mul(size_of::<Known>());
        len.is_some_and(|len| len <= self.hole.0.saturating_sub(self.high()))
            && bytes.saturating_add(64) <= self.low.saturating_sub(self.hole.1)
    }

    /// Adds a site to the table; its id is the number of those before it.
    pub fn site(&mut self, known: Known) {
        assert!(self.has_room(1, 0), "no room for sites");
        let at = ptr::with_exposed_provenance_mut::<Known>(self.high());
        // SAFETY: I14: ours, aligned, and not taken yet.
        unsafe { at.write(known) };
        self.sites += 1;
    }

    /// Writes another site over that with this `id`, in a store that has been sealed.
    ///
    /// # Errors
    /// The kernel's; nothing has been done then.
    pub fn replace(&self, id: u32, known: Known) -> Result<(), Errno> {
        assert!(id < self.sites, "no such site");
        let page = PAGE as usize;
        let at = self.start + id as usize * size_of::<Known>();
        let (from, to) = (
            at & !(page - 1),
            (at + size_of::<Known>()).next_multiple_of(page),
        );
        let opened = Opened([(from, to), (to, to)]);
        Self::protect_room(opened.0, Protection::ReadWrite)?;
        // SAFETY: I14: ours, and nobody reads it before it is known whose it is.
        unsafe { ptr::with_exposed_provenance_mut::<Known>(at).write(known) };
        Ok(())
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

    /// Takes as used what others know of: so many sites, and from `kept`, where the last that was kept begins.
    pub fn recover(&mut self, sites: u32, kept: Option<usize>) {
        self.sites = self.sites.max(sites);
        let inside = kept.filter(|kept| (self.start..self.end).contains(kept));
        self.low = inside.map_or(self.low, |kept| kept.min(self.low));
    }

    /// Gives back what will not be used; what stands in it does not change from here on.
    ///
    /// # Safety
    /// I14: nobody writes to it any more, but while it is [open](Self::open).
    pub unsafe fn seal(&mut self) {
        if self.end - self.start <= SMALL {
            // SAFETY: as the caller promises. What stays writable is as good.
            let _ = unsafe { sys::protect(self.start, self.end - self.start, Protection::Read) };
            return;
        }
        let page = PAGE as usize;
        let high = self.high().next_multiple_of(page) + LATER;
        let low = (self.low & !(page - 1)).saturating_sub(LATER);
        // SAFETY: nothing has been kept there.
        if high < low && unsafe { sys::unmap(high, low - high) }.is_ok() {
            self.hole = (high, low);
        }
        for (from, to) in [(self.start, self.hole.0), (self.hole.1, self.end)] {
            // SAFETY: as the caller promises. What stays writable is as good.
            let _ = unsafe { sys::protect(from, to - from, Protection::Read) };
        }
    }

    /// The pages that this many more sites, and `bytes` of other things, may be written to.
    fn room(&self, sites: usize, bytes: usize) -> [(usize, usize); 2] {
        let page = PAGE as usize;
        let sites_end = self.high() + sites * size_of::<Known>();
        [
            (self.high() & !(page - 1), sites_end.next_multiple_of(page)),
            (
                self.low.saturating_sub(bytes) & !(page - 1),
                self.low.next_multiple_of(page),
            ),
        ]
    }

    fn protect_room(room: [(usize, usize); 2], protection: Protection) -> Result<(), Errno> {
        room.into_iter().try_for_each(|(from, to)| {
            if from == to {
                return Ok(());
            }
            // SAFETY: I14: pages of the store, which stay readable.
            unsafe { sys::protect(from, to - from, protection) }
        })
    }

    /// Makes a store that has been sealed take this many more sites, and `bytes` of other things, while the answer
    /// lives. Others go on reading.
    ///
    /// # Errors
    /// The kernel's; nothing has been done then.
    pub fn open(&self, sites: usize, bytes: usize) -> Result<Opened, Errno> {
        let room = self.room(sites, bytes + 64);
        Self::protect_room(room, Protection::ReadWrite)?;
        Ok(Opened(room))
    }
}

/// Part of a sealed store, open to be written to.
#[derive(Debug)]
pub struct Opened([(usize, usize); 2]);

impl Drop for Opened {
    fn drop(&mut self) {
        // What stays writable is as good.
        let _ = Store::protect_room(self.0, Protection::Read);
    }
}
