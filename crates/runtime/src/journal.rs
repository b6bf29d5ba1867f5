//! What is being written over code, so that a child that is forked meanwhile can finish it: in its memory the thread
//! that writes does not exist.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I7: the writes stay where they are until the journal is closed; a child has its own copy of them.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::memory::Write;
use crate::sys::{Fd, Open};

static WRITES: AtomicPtr<Write> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Open while it lives.
#[derive(Debug)]
pub struct Journal(());

impl Drop for Journal {
    fn drop(&mut self) {
        COUNT.store(0, Ordering::Release);
    }
}

/// Opens the journal: all of `writes` will be made, or none will be left.
#[must_use]
pub fn begin(writes: &[Write]) -> Journal {
    WRITES.store(writes.as_ptr().cast_mut(), Ordering::Relaxed);
    // Release: a fork that finds the count finds the writes.
    COUNT.store(writes.len(), Ordering::Release);
    Journal(())
}

/// In the child of a fork: finishes what was being written.
///
/// # Safety
/// No other thread runs in this memory, and the thread that wrote is not in it.
pub unsafe fn finish() {
    let count = COUNT.swap(0, Ordering::Acquire);
    if count == 0 {
        return;
    }
    // SAFETY: I7.
    let writes = unsafe { core::slice::from_raw_parts(WRITES.load(Ordering::Relaxed), count) };
    if let Ok(mem) = Fd::open(c"/proc/self/mem", Open::ReadWrite) {
        for write in writes {
            let _ = mem.write_at(write.after(), write.at);
        }
    }
}
