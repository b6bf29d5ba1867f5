//! Copies that may meet memory that is not there, without a system call.
//!
//! # Safety
//! What is copied to or from is the caller's, or the program's.

use core::arch::naked_asm;

use super::context::Registers;

/// Copies `len` bytes; answers how many it could not, because the first of them is not mapped.
///
/// Only where faults come to [`recover`]: while the program has not blocked or ignored them.
///
/// # Safety
/// Whichever of `to` and `from` is the caller's holds `len` bytes; the other is the program's.
#[unsafe(naked)]
pub unsafe extern "C" fn copy(to: *mut u8, from: *const u8, len: usize) -> usize {
    naked_asm!(
        "mov rcx, rdx",
        "rep movsb", // rcx = how many are left, at any time
        "mov rax, rcx",
        "ret",
    )
}

/// Bytes of `mov rcx, rdx`, and of `rep movsb`.
const LENGTHS: (u64, u64) = (3, 2);

/// Ends a copy that met a fault. Answers whether it was one.
pub fn recover(registers: &mut Registers) -> bool {
    let copies = copy as *const () as u64 + LENGTHS.0;
    let recovered = registers.rip == copies;
    if recovered {
        registers.rip = copies + LENGTHS.1;
    }
    recovered
}
