//! What start-up does for the threads of a program that runs already.
//!
//! All of them are stopped, but the one that start-up runs on: nobody executes code that changes, and whoever comes back to
//! it finds what it expects, as only `stone` and `before` are used. A thread sees calls from when the attacher has set its
//! `gs` to what is answered here.
//!
//! # Safety
//! I24: what the attacher promises; I12: whose blocks are.

use core::sync::atomic::{AtomicBool, Ordering};

use hotpatch_inject::Thread;

use crate::arch;
use crate::areas;
use crate::hooks;
use crate::signal::alternate::Alternate;
use crate::signal::context;
use crate::sys::{self, Errno};
use crate::thread::{self, Block};

static ATTACHED: AtomicBool = AtomicBool::new(false);

/// The program ran before start-up.
pub(crate) fn begin() {
    ATTACHED.store(true, Ordering::Relaxed);
    context::mark_anew(sys::now());
}

/// Whether the program ran before start-up: sites that begin threads may have been left native.
#[must_use]
pub fn is_attached() -> bool {
    // Relaxed: start-up writes it, before anything is patched.
    ATTACHED.load(Ordering::Relaxed)
}

fn block(thread: &Thread) -> *mut Block {
    core::ptr::with_exposed_provenance_mut(thread.gs_base as usize)
}

/// Gives each thread a block.
///
/// # Safety
/// I12: they are stopped, and have none.
pub(crate) unsafe fn give_blocks(threads: &mut [Thread]) -> Result<(), Errno> {
    for given in threads {
        let taken = thread::take()?;
        // SAFETY: I12: taken just now.
        let block = unsafe { &mut *taken };
        block.minus_fs = given.fs_base.wrapping_neg();
        block.signal.alternate = Alternate::of(given.alternate);
        given.gs_base = taken.addr() as u64;
    }
    Ok(())
}

/// Gives this thread, which is the first, its own.
///
/// # Safety
/// I13: nobody uses gs.
pub(crate) unsafe fn take_own(threads: &[Thread]) {
    if let Some(own) = threads.first() {
        // SAFETY: as the caller promises.
        unsafe { arch::set_gs_base(own.gs_base) };
    }
}

/// Tells the blocks what hooks are told, which is known now.
///
/// # Safety
/// I12: their threads are stopped.
pub(crate) unsafe fn complete(threads: &[Thread]) {
    for given in threads {
        // SAFETY: I12: as the caller promises.
        let block = unsafe { &mut *block(given) };
        block.context = hooks::context(block.slots.as_mut_ptr());
    }
    if threads.iter().any(|thread| thread.alternate[1] != 0) {
        areas::look_at_masks();
    }
}
