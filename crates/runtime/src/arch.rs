//! Every instruction that the runtime needs and Rust does not speak.
//!
//! # Safety
//! The assembly here holds what INVARIANTS.md says in I1 (the constructor's frame) and I2 (vector registers).

use core::arch::{asm, naked_asm};
use core::mem::offset_of;

use hotpatch_plan::search::{Marks, Scalar, Search};

/// The six arguments of a system call, and its number.
pub type Arguments = [usize; 6];

/// Executes `syscall`; answers what the kernel left in `rax`.
///
/// # Safety
/// The call must do nothing to memory that Rust believes to know: the caller says why.
#[inline(never)] // one instruction in the object, not a hundred
pub unsafe fn syscall(number: u32, a: Arguments) -> isize {
    let result;
    // SAFETY: the kernel changes rax, rcx and r11 alone; memory is the caller's promise.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// The same, for a call that the program has made: told apart by its address.
///
/// # Safety
/// As [`syscall`].
#[inline(never)]
pub unsafe fn program_syscall(number: u32, a: Arguments) -> isize {
    let result;
    // SAFETY: as in `syscall`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as usize => result,
            in("rdi") a[0],
            in("rsi") a[1],
            in("rdx") a[2],
            in("r10") a[3],
            in("r8") a[4],
            in("r9") a[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Whether valgrind translates this program's code, as the first of its client requests asks: a sequence that does
/// nothing on a processor (valgrind's manual, 3.1).
#[must_use]
pub fn runs_in_valgrind() -> bool {
    const RUNNING_ON_VALGRIND: usize = 0x1001;
    let request = [RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0];
    let depth: usize;
    // SAFETY: four rotations by 128 bits in all, an exchange of a register with itself; valgrind reads `request`.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") &raw const request,
            inlateout("rdx") 0_usize => depth,
            out("rdi") _,
            options(nostack),
        );
    }
    depth != 0
}

/// The base of `gs`.
///
/// # Safety
/// Kernel and processor let programs read it (`HWCAP2_FSGSBASE`).
#[must_use]
pub unsafe fn gs_base() -> u64 {
    let base;
    // SAFETY: as the caller promises; changes nothing.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nostack, nomem, preserves_flags)) };
    base
}

/// The base of `fs`.
///
/// # Safety
/// As [`gs_base`].
#[must_use]
pub unsafe fn fs_base() -> u64 {
    let base;
    // SAFETY: as the caller promises; changes nothing.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nostack, nomem, preserves_flags)) };
    base
}

/// Sets the base of `gs`.
///
/// # Safety
/// As [`gs_base`]; nobody uses `gs` for anything else.
pub unsafe fn set_gs_base(base: u64) {
    // SAFETY: as the caller promises.
    unsafe { asm!("wrgsbase {}", in(reg) base, options(nostack, preserves_flags)) };
}

/// Sets the base of `fs`.
///
/// # Safety
/// As [`gs_base`]; whoever runs with it finds there what it expects.
pub unsafe fn set_fs_base(base: u64) {
    // SAFETY: as the caller promises.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) };
}

/// What of the vector state programs may use, as bits of XCR0: without AVX-512 where masks of 64 bits are missing.
#[must_use]
pub fn vector_features() -> u64 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const BW: u32 = 1 << 30;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return 0;
    }
    let (low, high): (u32, u32);
    // SAFETY: the kernel has allowed it.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack))
    };
    let features = u64::from(high) << 32 | u64::from(low);
    if __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & BW != 0 {
        features
    } else {
        features & !(7 << 5)
    }
}

/// Saves the state of `features` (bits of XCR0) as the kernel does for a handler.
///
/// # Safety
/// At `at`, a multiple of 64, is room for it, and its header is zero.
#[inline(never)] // the gate knows it by its name
pub unsafe fn save_vectors(at: u64, features: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "xsave64 [{at}]",
            at = in(reg) at,
            in("eax") features as u32,
            in("edx") (features >> 32) as u32,
            options(nostack),
        );
    }
}

/// A place to come back to from [`guarded`] work that cannot go on.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Guard {
    /// The stack pointer below the saved registers; 0 while no work is guarded.
    rsp: usize,
}

impl Guard {
    /// Below this nothing of the stack is used that the work was begun on.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.rsp & !15
    }
}

/// How guarded work ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It returned.
    Returned,
    /// It called [`give_up`].
    GaveUp,
}

/// Calls `work(data)` on the stack that ends at `stack`, or on the present one where `stack` is 0.
///
/// If `work` calls [`give_up`] with this `guard`, its frames are forgotten without running destructors.
///
/// # Safety
/// `stack` is 0 or the 16-aligned end of writable memory that nobody else uses; whatever `work` owns when
/// it gives up may be leaked (I3); `guard` stays where it is until the call returns.
pub unsafe fn guarded(
    work: unsafe extern "C" fn(*mut u8),
    data: *mut u8,
    stack: usize,
    guard: *mut Guard,
) -> Ended {
    // SAFETY: as the caller promises.
    let gave_up = unsafe { call_on(data, work, stack, guard) };
    if gave_up == 0 {
        Ended::Returned
    } else {
        Ended::GaveUp
    }
}

/// rdi = data, rsi = work, rdx = stack or 0, rcx = &Guard. Answers 0 when `work` returned.
///
/// ```text
///   return address
///   rbx rbp r12 r13 r14 r15      <- Guard.rsp; also in rbx while `work` runs
/// ```
#[unsafe(naked)]
unsafe extern "C" fn call_on(
    data: *mut u8,
    work: unsafe extern "C" fn(*mut u8),
    stack: usize,
    guard: *mut Guard,
) -> usize {
    naked_asm!(
        ".cfi_startproc",
        "push rbx",
        ".cfi_adjust_cfa_offset 8",
        "push rbp",
        ".cfi_adjust_cfa_offset 8",
        "push r12",
        ".cfi_adjust_cfa_offset 8",
        "push r13",
        ".cfi_adjust_cfa_offset 8",
        "push r14",
        ".cfi_adjust_cfa_offset 8",
        "push r15",
        ".cfi_adjust_cfa_offset 8",
        "mov [rcx], rsp",
        "mov rbx, rsp", // the way back when `work` returns: it keeps rbx
        ".cfi_def_cfa rbx, 56",
        "test rdx, rdx",
        "cmovnz rsp, rdx",
        "and rsp, -16",
        "call rsi",
        "xor eax, eax",
        "mov rsp, rbx",
        ".cfi_def_cfa rsp, 56",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        ".cfi_endproc",
    )
}

/// Goes back to where `guard` was set.
///
/// # Safety
/// The [`guarded`] call that set `guard` has not returned, and runs on this thread (I3).
pub unsafe fn give_up(guard: &Guard) -> ! {
    // SAFETY: rsp is what `call_on` saved, and its frame is still there; it pops what it pushed.
    unsafe {
        asm!(
            "mov rsp, {rsp}",
            "mov eax, 1",
            "pop r15",
            "pop r14",
            "pop r13",
            "pop r12",
            "pop rbp",
            "pop rbx",
            "ret",
            rsp = in(reg) guard.rsp,
            options(noreturn),
        )
    }
}

/// The byte searches with SSE2, which every x86-64 processor has: sixteen offsets at a time.
///
/// Legacy-encoded instructions leave the upper parts of ymm and zmm registers alone, and the five xmm
/// registers used are put back (I2): nothing of the program's vector state changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sse2;

/// Room for five xmm registers, and the constants the searches compare with.
#[repr(C, align(16))]
struct Saved([u128; 5]);

const fn lanes(byte: u8) -> u128 {
    u128::from_ne_bytes([byte; 16])
}

/// Where `pair` begins in `hay`, in order; one of `Scalar` finds them in the last few bytes.
fn pairs(hay: &[u8], pair: [u8; 2], found: &mut dyn FnMut(usize)) -> usize {
    let (start, end) = (hay.as_ptr(), hay.as_ptr_range().end);
    let constants = Pair(pair.map(lanes));
    let mut from = start;
    loop {
        // SAFETY: `from` and `end` bound a part of `hay`.
        let (block, mut mask) = unsafe { next_pairs(from, end, &constants) };
        let at = block.addr() - start.addr();
        if mask == 0 {
            return at;
        }
        while mask != 0 {
            found(at + mask.trailing_zeros() as usize);
            mask &= mask - 1;
        }
        from = block.wrapping_add(16);
    }
}

/// A pair of bytes, each in all lanes.
#[repr(C, align(16))]
struct Pair([u128; 2]);

/// Bit i of the mask is set where `pair` begins at `p + i`, in the block `p` that it answers.
///
/// Passes over 16-byte blocks from `from` while `from + 17 <= end`; stops at the first that holds a hit.
/// Answers the block's offset (or where it stopped) and the mask (0 when it stopped).
///
/// # Safety
/// `from..end` is readable.
#[inline(never)] // the build allows vector registers in it alone
unsafe fn next_pairs(mut from: *const u8, end: *const u8, pair: &Pair) -> (*const u8, u32) {
    let mut mask: u32;
    let mut saved = Saved([0; 5]);
    // SAFETY: reads 17 bytes from each block below `end`; xmm0 to xmm3 are put back.
    unsafe {
        asm!(
            "movaps [{saved}], xmm0",
            "movaps [{saved} + 16], xmm1",
            "movaps [{saved} + 32], xmm2",
            "movaps [{saved} + 48], xmm3",
            "movaps xmm2, [{constants}]",
            "movaps xmm3, [{constants} + 16]",
            "xor {mask:e}, {mask:e}",
            "2:",
            "lea {next}, [{from} + 17]",
            "cmp {next}, {end}",
            "ja 3f",
            "movups xmm0, [{from}]",
            "movups xmm1, [{from} + 1]",
            "pcmpeqb xmm0, xmm2",
            "pcmpeqb xmm1, xmm3",
            "pand xmm0, xmm1",
            "pmovmskb {mask:e}, xmm0",
            "test {mask:e}, {mask:e}",
            "jnz 3f",
            "add {from}, 16",
            "jmp 2b",
            "3:",
            "movaps xmm0, [{saved}]",
            "movaps xmm1, [{saved} + 16]",
            "movaps xmm2, [{saved} + 32]",
            "movaps xmm3, [{saved} + 48]",
            saved = in(reg) &raw mut saved,
            constants = in(reg) &raw const *pair,
            from = inout(reg) from,
            end = in(reg) end,
            mask = out(reg) mask,
            next = out(reg) _,
            options(nostack),
        );
    }
    (from, mask)
}

static DISPLACEMENTS: [u128; 8] = [
    lanes(0xfe),
    lanes(0xe8),
    lanes(0x0f),
    lanes(0xf0),
    lanes(0x80),
    lanes(0x8d),
    lanes(0xc7),
    lanes(0x05),
];

/// How many 16-byte blocks one call looks at: a multiple of 4, whose masks make one of 64 bits.
const BLOCKS: usize = 128;

/// Bit i of a block's masks is set where the byte `i + 2` behind its start begins the displacement of a branch
/// or call, of a `lea`, or of any operand relative to RIP.
#[repr(C)]
struct Masks {
    branches: [u16; BLOCKS],
    leas: [u16; BLOCKS],
    operands: [u16; BLOCKS],
}

/// Fills the masks of the blocks of `from..end`: at least one, at most [`BLOCKS`].
///
/// # Safety
/// `from..end + 1` is readable, and its length is a positive multiple of 16.
#[inline(never)] // the build allows vector registers in it alone
unsafe fn mark_displacements(from: *const u8, end: *const u8, masks: &mut Masks) {
    let mut saved = Saved([0; 5]);
    // SAFETY: reads 17 bytes from each block; writes two bytes for each block to each third of `masks`;
    // xmm0 to xmm4 are put back.
    unsafe {
        asm!(
            "movaps [{saved}], xmm0",
            "movaps [{saved} + 16], xmm1",
            "movaps [{saved} + 32], xmm2",
            "movaps [{saved} + 48], xmm3",
            "movaps [{saved} + 64], xmm4",
            "2:",
            "movups xmm0, [{from}]",     // the byte two before
            "movups xmm1, [{from} + 1]", // the byte before
            // e8, e9
            "movaps xmm2, xmm1",
            "pand xmm2, [{constants}]",
            "pcmpeqb xmm2, [{constants} + 16]",
            // 0f 80 to 0f 8f
            "movaps xmm3, xmm0",
            "pcmpeqb xmm3, [{constants} + 32]",
            "movaps xmm4, xmm1",
            "pand xmm4, [{constants} + 48]",
            "pcmpeqb xmm4, [{constants} + 64]",
            "pand xmm3, xmm4",
            "por xmm2, xmm3",
            // RIP-relative; 8d before it
            "pcmpeqb xmm0, [{constants} + 80]",
            "pand xmm1, [{constants} + 96]",
            "pcmpeqb xmm1, [{constants} + 112]",
            "pand xmm0, xmm1",
            "pmovmskb {mask:e}, xmm1",
            "mov [{masks} + {operands}], {mask:x}",
            "pmovmskb {mask:e}, xmm2",
            "mov [{masks}], {mask:x}",
            "pmovmskb {mask:e}, xmm0",
            "mov [{masks} + {leas}], {mask:x}",
            "add {masks}, 2",
            "add {from}, 16",
            "cmp {from}, {end}",
            "jb 2b",
            "movaps xmm0, [{saved}]",
            "movaps xmm1, [{saved} + 16]",
            "movaps xmm2, [{saved} + 32]",
            "movaps xmm3, [{saved} + 48]",
            "movaps xmm4, [{saved} + 64]",
            saved = in(reg) &raw mut saved,
            constants = in(reg) &raw const DISPLACEMENTS,
            from = inout(reg) from => _,
            end = in(reg) end,
            masks = inout(reg) &raw mut *masks => _,
            leas = const offset_of!(Masks, leas),
            operands = const offset_of!(Masks, operands),
            mask = out(reg) _,
            options(nostack),
        );
    }
}

/// Four masks of 16 bits as one of 64, the first in the lowest bits.
fn joined(masks: &[u16; 4]) -> u64 {
    let [a, b, c, d] = masks.map(u64::from);
    a | b << 16 | c << 32 | d << 48
}

impl Search for Sse2 {
    fn syscalls(&self, hay: &[u8], found: &mut dyn FnMut(usize)) {
        let at = pairs(hay, [0x0f, 0x05], found);
        Scalar.syscalls(&hay[at..], &mut |i| found(at + i));
    }

    fn pairs(&self, hay: &[u8], first: u8, seconds: &[u8], found: &mut dyn FnMut(usize)) {
        let at = match seconds {
            &[second] => pairs(hay, [first, second], found),
            _ => 0,
        };
        Scalar.pairs(&hay[at..], first, seconds, &mut |i| found(at + i));
    }

    fn displacements(&self, hay: &[u8], found: &mut dyn FnMut(Marks)) {
        let mut masks = Masks {
            branches: [0; BLOCKS],
            leas: [0; BLOCKS],
            operands: [0; BLOCKS],
        };
        let mut at = 0;
        // Behind the last block there are the byte it looks at and the four of its last displacement.
        while let Some(room) = hay.len().checked_sub(at + 5).filter(|room| *room >= 64) {
            let len = (room & !63).min(16 * BLOCKS);
            let part = &hay[at..at + len];
            let ends = part.as_ptr_range();
            // SAFETY: `len` is a multiple of 16 and not 0, and five more bytes of `hay` follow it.
            unsafe { mark_displacements(ends.start, ends.end, &mut masks) };
            let (branches, leas) = (masks.branches.as_chunks().0, masks.leas.as_chunks().0);
            let operands = masks.operands.as_chunks().0;
            let blocks = branches.iter().zip(leas).zip(operands).take(len / 64);
            for (i, ((branches, leas), operands)) in blocks.enumerate() {
                let marks = Marks {
                    at: at + 64 * i + 2,
                    branches: joined(branches),
                    leas: joined(leas),
                    operands: joined(operands),
                };
                if marks.branches | marks.operands != 0 {
                    found(marks);
                }
            }
            at += len;
        }
        Scalar.displacements(&hay[at..], &mut |marks| {
            found(Marks {
                at: at + marks.at,
                ..marks
            });
        });
    }
}

#[cfg(test)]
#[allow(clippy::multiple_unsafe_ops_per_block)] // one promise for a whole scene
mod tests {
    use super::*;

    /// A small generator, so that every run sees the same bytes.
    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        const LIKELY: [u8; 8] = [0x0f, 0x05, 0xe8, 0xe9, 0x84, 0x8d, 0x15, 0x48];
        let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                if x & 0x30 == 0 {
                    (x >> 20) as u8
                } else {
                    LIKELY[(x >> 30) as usize & 7]
                }
            })
            .collect()
    }

    #[test]
    fn agrees_with_plain_rust() {
        for seed in 0..20_000 {
            let len = if seed % 500 == 0 { 5000 } else { seed % 197 };
            let all = bytes(seed, len as usize);
            for hay in [&all[..], all.get(3..).unwrap_or(&[])] {
                let (mut a, mut b) = (Vec::new(), Vec::new());
                Scalar.syscalls(hay, &mut |i| a.push(i));
                Sse2.syscalls(hay, &mut |i| b.push(i));
                assert_eq!(a, b, "syscalls in {hay:02x?}");
                for seconds in [&[0x84][..], &[0x84, 0x05]] {
                    a.clear();
                    b.clear();
                    Scalar.pairs(hay, 0x0f, seconds, &mut |i| a.push(i));
                    Sse2.pairs(hay, 0x0f, seconds, &mut |i| b.push(i));
                    assert_eq!(a, b, "pairs in {hay:02x?}");
                }
                a.clear();
                b.clear();
                let all = |search: &dyn Search| {
                    let mut found = Vec::new();
                    search.displacements(hay, &mut |marks| {
                        marks.each(marks.branches, |i| found.push((i, false)));
                        marks.each(marks.leas, |i| found.push((i, true)));
                        marks.each(marks.operands, |i| found.push((i + (1 << 32), true)));
                    });
                    found.sort_unstable();
                    found
                };
                assert_eq!(all(&Scalar), all(&Sse2), "displacements in {hay:02x?}");
            }
        }
    }

    unsafe extern "C" fn count_up(data: *mut u8) {
        // SAFETY: the test passes a byte of its own.
        unsafe { *data += 1 };
    }

    #[test]
    fn guarded_work_returns_on_either_stack() {
        let mut stack = vec![0u128; 4096];
        let mut count = 0u8;
        for end in [0, stack.as_mut_ptr_range().end.addr()] {
            let mut guard = Guard::default();
            // SAFETY: `stack` is nobody else's, and `count_up` owns nothing.
            let ended = unsafe { guarded(count_up, &raw mut count, end, &raw mut guard) };
            assert_eq!(ended, Ended::Returned);
        }
        assert_eq!(count, 2);
    }

    unsafe extern "C" fn stop(data: *mut u8) {
        // SAFETY: the test passes its guard, whose call is under way.
        unsafe { give_up(&*data.cast::<Guard>()) }
    }

    #[test]
    fn guarded_work_may_give_up() {
        let mut stack = vec![0u128; 4096];
        for end in [0, stack.as_mut_ptr_range().end.addr()] {
            let mut guard = Guard::default();
            let data = (&raw mut guard).cast();
            // SAFETY: `stack` is nobody else's, and `stop` owns nothing.
            let ended = unsafe { guarded(stop, data, end, &raw mut guard) };
            assert_eq!(ended, Ended::GaveUp);
        }
    }
}
