//! `memcpy` and `memset`, which the compiler calls for whatever it copies or clears.
//!
//! Those that come with the target take 80 cycles for a handful of bytes, and planning copies a handful of bytes some
//! ten thousand times.
//!
//! # Safety
//! The assembly reads and writes the bytes that its caller names, each at least once, and changes rax, rcx, rdx, rsi,
//! rdi, r8 to r11 and flags alone. No vector registers (I2); the direction flag is clear, as in all compiled code.

use core::arch::naked_asm;

/// Copies `len` bytes, which do not overlap. Answers `to`.
///
/// # Safety
/// As C has it.
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // rdi = to, rsi = from, rdx = len. What does not fill a step is covered by one that ends at the end.
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jae 4f",
        "cmp edx, 8",
        "jae 3f",
        "cmp edx, 4",
        "jae 2f",
        "test edx, edx",
        "jz 1f",
        // 1 to 3: the first, the middle and the last.
        "movzx ecx, byte ptr [rsi]",
        "mov r8, rdx",
        "shr r8, 1",
        "movzx r9d, byte ptr [rsi + r8]",
        "movzx r10d, byte ptr [rsi + rdx - 1]",
        "mov [rdi], cl",
        "mov [rdi + r8], r9b",
        "mov [rdi + rdx - 1], r10b",
        "1: ret",
        "2: mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "3: mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "4: cmp rdx, 512",
        "jae 6f",
        // Steps of 16, the last of which ends at the end.
        "lea r8, [rsi + rdx - 16]",
        "lea r9, [rdi + rdx - 16]",
        "5: mov rcx, [rsi]",
        "mov r10, [rsi + 8]",
        "mov [rdi], rcx",
        "mov [rdi + 8], r10",
        "add rsi, 16",
        "add rdi, 16",
        "cmp rdi, r9",
        "jb 5b",
        "mov rcx, [r8]",
        "mov r10, [r8 + 8]",
        "mov [r9], rcx",
        "mov [r9 + 8], r10",
        "ret",
        "6: mov r8, [rsi + rdx - 8]",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep movsq",
        "mov [rax + rdx - 8], r8",
        "ret",
    )
}

/// Fills `len` bytes with the lowest byte of `value`. Answers `to`.
///
/// # Safety
/// As C has it.
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    // rdi = to, esi = value, rdx = len.
    naked_asm!(
        "movzx eax, sil",
        "mov rcx, 0x0101010101010101",
        "imul rcx, rax",
        "mov rax, rdi",
        "cmp rdx, 16",
        "jae 4f",
        "cmp edx, 8",
        "jae 3f",
        "cmp edx, 4",
        "jae 2f",
        "test edx, edx",
        "jz 1f",
        // 1 to 3: the first, the middle and the last.
        "mov r8, rdx",
        "shr r8, 1",
        "mov [rdi], cl",
        "mov [rdi + r8], cl",
        "mov [rdi + rdx - 1], cl",
        "1: ret",
        "2: mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "3: mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        "4: lea r9, [rdi + rdx - 16]",
        "cmp rdx, 512",
        "jae 6f",
        "5: mov [rdi], rcx",
        "mov [rdi + 8], rcx",
        "add rdi, 16",
        "cmp rdi, r9",
        "jb 5b",
        "mov [r9], rcx",
        "mov [r9 + 8], rcx",
        "ret",
        "6: mov r8, rax",
        "mov rax, rcx",
        "mov rcx, rdx",
        "shr rcx, 3",
        "rep stosq",
        "mov [r9 + 8], rax",
        "mov rax, r8",
        "ret",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: [usize; 9] = [511, 512, 513, 519, 520, 1000, 4095, 4096, 5000];

    #[test]
    fn every_length_is_copied_and_nothing_else() {
        let from: Vec<u8> = (0..6000_u32).map(|n| (n % 251) as u8).collect();
        for len in (0..300).chain(LENGTHS) {
            for (a, b) in [(0, 0), (1, 3), (7, 2)] {
                let mut to = vec![0xee; len + 32];
                let there = to[8 + a..].as_mut_ptr();
                // SAFETY: both have room for `len` bytes.
                let answer = unsafe { memcpy(there, from[b..].as_ptr(), len) };
                assert_eq!(answer, there);
                assert_eq!(to[8 + a..8 + a + len], from[b..b + len]);
                assert!(
                    to[..8 + a]
                        .iter()
                        .chain(&to[8 + a + len..])
                        .all(|&x| x == 0xee)
                );
            }
        }
    }

    #[test]
    fn every_length_is_filled_and_nothing_else() {
        for len in (0..300).chain(LENGTHS) {
            for a in [0, 1, 7] {
                let mut to = vec![0xee; len + 32];
                let there = to[8 + a..].as_mut_ptr();
                // SAFETY: it has room for `len` bytes.
                let answer = unsafe { memset(there, 0x1234_56a5, len) };
                assert_eq!(answer, there);
                assert!(to[8 + a..8 + a + len].iter().all(|&x| x == 0xa5));
                assert!(
                    to[..8 + a]
                        .iter()
                        .chain(&to[8 + a + len..])
                        .all(|&x| x == 0xee)
                );
            }
        }
    }
}
