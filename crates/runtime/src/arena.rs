//! Memory for start-up: taken from large chunks, reused by size, unmapped as a whole.
//!
//! # Safety
//! I4: one thread allocates, start-up or whoever holds the lock of late.rs; nothing allocated outlives
//! [`Arena::destroy`].

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use crate::sys::{self, Protection};

/// The size of a chunk, unless one allocation needs more. Pages that are not touched cost nothing.
const CHUNK: usize = 64 << 20;
/// What a process with little room left (`ulimit -v`) is asked for instead.
const SMALL_CHUNK: usize = 4 << 20;
/// Far from where programs and libraries are mapped: the arena must not take the room that trampolines need. What
/// `-fsanitize` builds into a program allows that place too: it may begin, by a `malloc` of the loader's, while hosted hooks
/// are opened. [`SMALL`] bytes below where a huge page may begin.
const HINT: usize = 0x5500_4000_0000 - SMALL;
/// How much of a chunk comes in small pages: start-up's stack, and all that a start by kept plans needs. From there on
/// there is planning to do, and one huge page costs less than 512 small ones.
const SMALL: usize = (1 << 20) + (512 << 10);
/// How much the kernel is asked for at once, in small pages and later: a page fault for each page costs more, but so
/// does a page that nobody uses.
const BATCH: (usize, usize) = (16 << 10, 256 << 10);

/// Blocks are powers of two from this size on, so that what one list gives up the next can use.
const SMALLEST: usize = 32;
/// Blocks of all sizes are aligned to this; what needs more is not reused.
const ALIGN: usize = 16;
const CLASSES: usize = 32;

/// Stands at the start of each chunk.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// The chunk before it; 0 for the first.
    before: usize,
    len: usize,
}

#[derive(Debug)]
struct State {
    /// The current chunk's address; 0 before the first allocation.
    chunk: usize,
    next: usize,
    end: usize,
    /// Up to here the chunk has been asked for.
    populated: usize,
    /// The first free block of each class; each holds the address of the next. 0 ends a list.
    free: [usize; CLASSES],
}

/// The allocator.
#[derive(Debug)]
pub struct Arena(UnsafeCell<State>);

// SAFETY: I4: one thread at a time.
unsafe impl Sync for Arena {}

/// A moment in the arena's life, to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    chunk: usize,
    next: usize,
    end: usize,
    populated: usize,
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of blocks that hold `size` bytes, and their size.
fn class(size: usize) -> Option<(usize, usize)> {
    let block = size.max(SMALLEST).checked_next_power_of_two()?;
    Some(((block / SMALLEST).trailing_zeros() as usize, block))
        .filter(|&(class, _)| class < CLASSES)
}

impl State {
    /// Where the next chunk may be: behind the one that there is.
    fn hint(&self) -> usize {
        if self.chunk == 0 {
            return HINT;
        }
        // SAFETY: `grow` wrote it.
        let last = unsafe { *ptr::with_exposed_provenance::<Chunk>(self.chunk) };
        self.chunk + last.len
    }

    /// Takes a chunk that has room for `len` bytes.
    fn grow(&mut self, len: usize) -> Option<()> {
        let need = len
            .checked_add(size_of::<Chunk>())?
            .checked_next_multiple_of(4096)?;
        let sizes = [CHUNK, SMALL_CHUNK, need]
            .into_iter()
            .filter(|&len| len >= need);
        let (at, len) = sizes.into_iter().find_map(|len| {
            Some((
                sys::map_anywhere(self.hint(), len, Protection::ReadWrite).ok()?,
                len,
            ))
        })?;
        let chunk = Chunk {
            before: self.chunk,
            len,
        };
        // SAFETY: a fresh mapping, page-aligned and large enough.
        unsafe { ptr::with_exposed_provenance_mut::<Chunk>(at).write(chunk) };
        (self.chunk, self.next, self.end) = (at, at + size_of::<Chunk>(), at + len);
        self.populated = at;
        Some(())
    }

    /// A block of `block` bytes behind all others, aligned to `align`, which is a power of two. The first `len` of
    /// them will be written.
    fn bump(&mut self, len: usize, block: usize, align: usize) -> Option<usize> {
        for _ in 0..2 {
            let at = self.next.checked_next_multiple_of(align)?;
            let next = at.checked_add(block)?;
            if self.chunk != 0 && next <= self.end {
                self.next = next;
                self.populate(at, len);
                return Some(at);
            }
            self.grow(block.checked_add(align)?)?;
        }
        None
    }

    /// Asks for the pages of `at..at + len`, and for a few more, unless that has been done. What lies before `at` is
    /// left to page faults: it may be the end of a large block of which little is used.
    fn populate(&mut self, at: usize, len: usize) {
        let end = at + len;
        if end <= self.populated {
            return;
        }
        let small_end = self.chunk + SMALL;
        let batch = if end <= small_end {
            BATCH.0
        } else {
            if self.populated <= small_end && self.end > small_end {
                // One fault for 2 MB, where the kernel has such a page at hand.
                sys::prefer_huge_pages(small_end, self.end - small_end);
            }
            BATCH.1
        };
        // Of a very large block the end alone: that is how a stack is used.
        let used = if len > BATCH.1 { batch } else { len };
        let from = self.populated.max((end - used.min(len)) & !4095);
        let to = (end.next_multiple_of(4096).max(from + batch)).min(self.end);
        sys::populate(from, to - from);
        self.populated = to;
    }

    fn alloc(&mut self, layout: Layout) -> Option<usize> {
        if layout.align() > ALIGN {
            return self.bump(layout.size(), layout.size(), layout.align());
        }
        let Some((class, block)) = class(layout.size()) else {
            return self.bump(layout.size(), layout.size(), ALIGN);
        };
        let first = self.free[class];
        if first == 0 {
            return self.bump(layout.size(), block, ALIGN);
        }
        // SAFETY: `free` wrote it into a block that nobody owns.
        self.free[class] = unsafe { *ptr::with_exposed_provenance::<usize>(first) };
        Some(first)
    }

    fn free(&mut self, at: usize, layout: Layout) {
        let Some((class, _)) = class(layout.size()).filter(|_| layout.align() <= ALIGN) else {
            return;
        };
        // SAFETY: the block is the arena's again, and every block holds a word.
        unsafe { *ptr::with_exposed_provenance_mut::<usize>(at) = self.free[class] };
        self.free[class] = at;
    }

    /// Makes the last block larger without moving it.
    fn extend(&mut self, at: usize, layout: Layout, new_size: usize) -> bool {
        let (Some((_, old)), Some((_, new))) = (class(layout.size()), class(new_size)) else {
            return false;
        };
        if layout.align() > ALIGN {
            return false;
        }
        let last =
            at + old == self.next && at.checked_add(new).is_some_and(|next| next <= self.end);
        if last && new > old {
            self.next = at + new;
            self.populate(at + layout.size(), new_size - layout.size());
        }
        last || new == old
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
            populated: 0,
            free: [0; CLASSES],
        }))
    }

    #[allow(clippy::mut_from_ref)] // I4 stands for the borrow checker
    fn state(&self) -> &mut State {
        // SAFETY: I4, and no method keeps the reference.
        unsafe { &mut *self.0.get() }
    }

    /// Now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let State {
            chunk,
            next,
            end,
            populated,
            ..
        } = *self.state();
        Mark {
            chunk,
            next,
            end,
            populated,
        }
    }

    /// Goes back to `mark`. Blocks that were free then are forgotten.
    ///
    /// # Safety
    /// Nothing allocated since then is used any more.
    pub unsafe fn release(&self, mark: Mark) {
        let state = self.state();
        let mut populated = state.populated;
        while state.chunk != mark.chunk {
            // SAFETY: `grow` wrote it.
            let chunk = unsafe { *ptr::with_exposed_provenance::<Chunk>(state.chunk) };
            // SAFETY: the caller no longer uses it.
            let _ = unsafe { sys::unmap(state.chunk, chunk.len) };
            state.chunk = chunk.before;
            populated = mark.populated;
        }
        let Mark {
            chunk, next, end, ..
        } = mark;
        *state = State {
            chunk,
            next,
            end,
            populated,
            free: [0; CLASSES],
        };
    }

    /// Knows of nothing any more; what there was stays mapped.
    ///
    /// # Safety
    /// Nothing allocated is used any more; the state may have been left at any point.
    pub unsafe fn forget(&self) {
        // SAFETY: I4, and it has no destructor.
        unsafe { self.0.get().write(Self::new().0.into_inner()) };
    }

    /// Unmaps all but the part of the first chunk that comes in small pages, which what comes next takes again. Answers
    /// where that is.
    ///
    /// # Safety
    /// As [`destroy`](Self::destroy).
    pub unsafe fn rest(&self) -> (usize, usize) {
        let state = self.state();
        let (mut first, mut many) = (state.chunk, false);
        loop {
            if first == 0 {
                return (0, 0);
            }
            // SAFETY: `grow` wrote it.
            let chunk = unsafe { *ptr::with_exposed_provenance::<Chunk>(first) };
            if chunk.before != 0 {
                (first, many) = (chunk.before, true);
                continue;
            }
            let len = chunk.len.min(SMALL);
            let populated = if many { first } else { state.populated };
            // SAFETY: as the caller promises.
            unsafe {
                self.release(Mark {
                    chunk: first,
                    next: first + size_of::<Chunk>(),
                    end: first + len,
                    populated,
                })
            };
            if len < chunk.len {
                // SAFETY: as above.
                let _ = unsafe { sys::unmap(first + len, chunk.len - len) };
                // SAFETY: as above.
                unsafe { (*ptr::with_exposed_provenance_mut::<Chunk>(first)).len = len };
            }
            let state = self.state();
            state.populated = state.populated.min(first + len);
            return (first, first + len);
        }
    }

    /// Unmaps everything.
    ///
    /// # Safety
    /// Nothing allocated is used any more.
    pub unsafe fn destroy(&self) {
        // SAFETY: as the caller promises.
        unsafe {
            self.release(Mark {
                chunk: 0,
                next: 0,
                end: 0,
                populated: 0,
            })
        };
    }
}

// SAFETY: a block has one owner between `alloc` and `free`, is at least as large as asked and aligned as asked.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.state()
            .alloc(layout)
            .map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.state().free(at.addr(), layout);
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let state = self.state();
        if state.extend(at.addr(), layout, new_size) {
            return at;
        }
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        let Some(new) = state.alloc(new_layout) else {
            return ptr::null_mut();
        };
        let new = ptr::with_exposed_provenance_mut(new);
        // SAFETY: two blocks, each at least as large as the smaller size.
        unsafe { ptr::copy_nonoverlapping(at, new, layout.size().min(new_size)) };
        state.free(at.addr(), layout);
        new
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
    fn what_has_rested_is_taken_again() {
        let arena = Arena::new();
        // SAFETY: what is written lies in blocks of that size, and none is used after its rest.
        unsafe {
            assert_eq!(arena.rest(), (0, 0));
            for large in [100, 1 << 20, 80 << 20, 100] {
                let one = arena.alloc(layout(large, 16));
                let two = arena.alloc(layout(5000, 16));
                one.write_bytes(1, large);
                two.write_bytes(2, 5000);
                assert_eq!(one.add(large - 1).read(), 1);
                let (start, end) = arena.rest();
                assert!(start > 0 && end == start + SMALL, "{start:x} {end:x}");
                assert!(sys::peek(end).is_none());
                assert!(sys::peek(start).is_some());
            }
            arena.destroy();
        }
    }

    #[test]
    fn hands_out_aligned_memory_that_does_not_overlap() {
        let arena = Arena::new();
        let mut blocks: Vec<(usize, Layout)> = Vec::new();
        let mut x = 1u64;
        for round in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = 1 + (x >> 40) as usize % if round % 50 == 0 { 300_000 } else { 300 };
            if x >> 62 == 0 && !blocks.is_empty() {
                let (at, layout) = blocks.swap_remove((x >> 33) as usize % blocks.len());
                // SAFETY: a block of the arena's, used no more.
                unsafe { arena.dealloc(std::ptr::with_exposed_provenance_mut(at), layout) };
            } else if x >> 62 == 1 && !blocks.is_empty() {
                let at = (x >> 33) as usize % blocks.len();
                let (old, l) = blocks[at];
                // SAFETY: a block of the arena's.
                let new =
                    unsafe { arena.realloc(std::ptr::with_exposed_provenance_mut(old), l, size) };
                blocks[at] = (new.addr(), layout(size, l.align()));
            } else {
                let layout = layout(size, 1 << (x >> 50 & 6));
                // SAFETY: the size is not zero.
                let at = unsafe { arena.alloc(layout) };
                assert!(!at.is_null() && at.addr() % layout.align() == 0);
                blocks.push((at.addr(), layout));
            }
        }
        blocks.sort_by_key(|b| b.0);
        assert!(blocks.windows(2).all(|w| w[0].0 + w[0].1.size() <= w[1].0));
        // SAFETY: nothing of it is used any more.
        unsafe { arena.destroy() };
    }

    #[test]
    fn the_last_allocation_grows_in_place_and_a_freed_one_is_used_again() {
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
            assert_eq!(arena.alloc(layout(50, 1)), a);
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
