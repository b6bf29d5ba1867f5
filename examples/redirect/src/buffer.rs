//! Memory for the paths that the kernel is given in place of the program's: some of it for each thread.
//!
//! The kernel copies a path when the call begins, so a signal handler that makes such a call meanwhile does no harm.

use core::ptr;

use hotpatch_hook::{Errno, nr, path, syscall};

/// Two paths at most.
const LEN: u64 = 2 * path::MAX as u64;

/// Keeps `bytes` as path `n` of this thread's: where.
pub fn keep(slot: &mut u64, n: usize, bytes: &[u8]) -> Result<u64, Errno> {
    if *slot == 0 {
        const READ_WRITE: u64 = 3;
        const PRIVATE_ANONYMOUS: u64 = 0x22;
        // SAFETY: makes a new mapping.
        *slot = unsafe {
            syscall(
                nr::MMAP,
                [0, LEN, READ_WRITE, PRIVATE_ANONYMOUS, u64::MAX, 0],
            )
        }?;
    }
    let at = *slot + (n.min(1) * path::MAX) as u64;
    if bytes.len() > path::MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    // SAFETY: this thread's alone, and long enough.
    unsafe {
        ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            ptr::with_exposed_provenance_mut(at as usize),
            bytes.len(),
        )
    };
    Ok(at)
}

/// Gives it back.
pub fn free(slot: &mut u64) {
    if *slot != 0 {
        // SAFETY: nobody uses it any more.
        let _ = unsafe { syscall(nr::MUNMAP, [*slot, LEN, 0, 0, 0, 0]) };
        *slot = 0;
    }
}
