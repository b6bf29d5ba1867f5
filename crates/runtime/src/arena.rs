//! Memory for start-up: handed out in order, never given back one by one, unmapped as a whole.
//!
//! # Safety
//! I4: one thread allocates, and only while start-up runs; nothing allocated outlives [`Arena::destroy`].

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use crate::sys;

/// The size of a chunk, unless one allocation needs more. Pages that are not touched cost nothing.
const CHUNK: usize = 64 << 20;
/// What a process with little room left (`ulimit -v`) is asked for instead.
const SMALL_CHUNK: usize = 4 << 20;
/// Far from where libraries are mapped: the arena must not take the room that trampolines need.
const HINT: usize = 0x10_0000_0000;

/// Stands at the start of each chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// The chunk before it; 0 for the first.
    before: usize,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// The current chunk's address; 0 before the first allocation.
    chunk: usize,
    next: usize,
    end: usize,
}

/// The allocator.
#[derive(Debug)]
pub struct Arena(UnsafeCell<State>);

// SAFETY: I4: one thread at a time.
unsafe impl Sync for Arena {}

/// A moment in the arena's life, to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark(State);

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// An arena without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(State {
            chunk: 0,
            next: 0,
            end: 0,
        }))
    }

    fn state(&self) -> State {
        // SAFETY: I4.
        unsafe { *self.0.get() }
    }

    fn set(&self, state: State) {
        // SAFETY: I4.
        unsafe { *self.0.get() = state };
    }

    /// Takes a chunk that has room for `len` bytes. `false` where there is none.
    fn grow(&self, len: usize) -> bool {
        let Some(need) = len
            .checked_add(size_of::<Chunk>())
            .and_then(|n| n.checked_next_multiple_of(4096))
        else {
            return false;
        };
        let mapped = [CHUNK, SMALL_CHUNK, need]
            .into_iter()
            .filter(|&len| len >= need)
            .find_map(|len| sys::map_anywhere(HINT, len).ok().map(|at| (at, len)));
        let Some((at, len)) = mapped else {
            return false;
        };
        let before = self.state().chunk;
        // SAFETY: a fresh mapping, page-aligned and large enough.
        unsafe { ptr::with_exposed_provenance_mut::<Chunk>(at).write(Chunk { before, len }) };
        self.set(State {
            chunk: at,
            next: at + size_of::<Chunk>(),
            end: at + len,
        });
        true
    }

    /// `len` bytes aligned to `align`, which is a power of two.
    fn take(&self, len: usize, align: usize) -> Option<usize> {
        for _ in 0..2 {
            let state = self.state();
            let at = state.next.checked_next_multiple_of(align)?;
            let next = at.checked_add(len)?;
            if state.chunk != 0 && next <= state.end {
                self.set(State { next, ..state });
                return Some(at);
            }
            if !self.grow(len.checked_add(align)?) {
                return None;
            }
        }
        None
    }

    /// Now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.state())
    }

    /// Goes back to `mark`.
    ///
    /// # Safety
    /// Nothing allocated since then is used any more.
    pub unsafe fn release(&self, mark: Mark) {
        let mut at = self.state().chunk;
        while at != mark.0.chunk {
            // SAFETY: `grow` wrote it.
            let chunk = unsafe { *ptr::with_exposed_provenance::<Chunk>(at) };
            // SAFETY: the caller no longer uses it.
            let _ = unsafe { sys::unmap(at, chunk.len) };
            at = chunk.before;
        }
        self.set(mark.0);
    }

    /// Unmaps everything.
    ///
    /// # Safety
    /// Nothing allocated is used any more.
    pub unsafe fn destroy(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            self.release(Mark(State {
                chunk: 0,
                next: 0,
                end: 0,
            }))
        };
    }
}

// SAFETY: `take` hands out each byte once between two releases, aligned as asked.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout.size(), layout.align()) {
            Some(at) => ptr::with_exposed_provenance_mut(at),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // The last allocation comes back; the others wait for the end.
        let state = self.state();
        if at.addr() + layout.size() == state.next {
            self.set(State {
                next: at.addr(),
                ..state
            });
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let state = self.state();
        if at.addr() + layout.size() == state.next
            && let Some(next) = at.addr().checked_add(new_size)
            && next <= state.end
        {
            self.set(State { next, ..state });
            return at;
        }
        if new_size <= layout.size() {
            return at;
        }
        match self.take(new_size, layout.align()) {
            Some(new) => {
                let new = ptr::with_exposed_provenance_mut(new);
                // SAFETY: both are allocations, the new one the larger.
                unsafe { ptr::copy_nonoverlapping(at, new, layout.size()) };
                new
            }
            None => ptr::null_mut(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::multiple_unsafe_ops_per_block)] // one promise for a whole scene
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn hands_out_aligned_memory_that_does_not_overlap() {
        let arena = Arena::new();
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (100, 64), (5000, 4096)] {
            // SAFETY: sizes are not zero.
            let at = unsafe { arena.alloc(layout(size, align)) };
            assert!(!at.is_null() && at.addr() % align == 0 && at.addr() >= end);
            end = at.addr() + size;
        }
        // SAFETY: nothing of it is used any more.
        unsafe { arena.destroy() };
    }

    #[test]
    fn the_last_allocation_grows_in_place() {
        let arena = Arena::new();
        // SAFETY: sizes are not zero, and each pointer comes from the arena.
        unsafe {
            let a = arena.alloc(layout(16, 8));
            a.write_bytes(7, 16);
            assert_eq!(arena.realloc(a, layout(16, 8), 64), a);
            let b = arena.alloc(layout(8, 8));
            let moved = arena.realloc(a, layout(64, 8), 128);
            assert!(moved > b);
            assert_eq!(*moved.add(15), 7);
            arena.destroy();
        }
    }

    #[test]
    fn goes_back_to_a_mark_over_chunks() {
        let arena = Arena::new();
        // SAFETY: sizes are not zero; what was allocated is not used after its release.
        unsafe {
            arena.alloc(layout(16, 8));
            let mark = arena.mark();
            let first = arena.alloc(layout(16, 8));
            assert!(!arena.alloc(layout(CHUNK, 8)).is_null());
            assert!(!arena.alloc(layout(CHUNK, 8)).is_null());
            arena.release(mark);
            assert_eq!(arena.alloc(layout(16, 8)), first);
            arena.destroy();
        }
    }

    #[test]
    fn too_much_is_refused() {
        let arena = Arena::new();
        // SAFETY: the size is not zero.
        let at = unsafe { arena.alloc(layout(isize::MAX as usize - 4096, 8)) };
        assert!(at.is_null());
    }
}
