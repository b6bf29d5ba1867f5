//! Loops around one system call, each with surroundings that let one tactic in.
//!
//! Every figure is a ratio to the bare loop measured in the same process by turns, the minimum of many bursts: what a
//! call costs differs more between two processes than a patch adds.

use std::arch::global_asm;
use std::ptr;
use std::time::Instant;

// Each loop makes %rdi calls of getppid (110), which the kernel answers without looking at memory.
global_asm!(
    ".text",
    ".macro bench name",
    ".p2align 6",
    ".globl \\name",
    ".type \\name, @function",
    "\\name:",
    ".cfi_startproc",
    ".endm",
    ".macro bench_end name",
    ".cfi_endproc",
    ".size \\name, . - \\name",
    ".endm",
    // No-ops behind the site: `direct`. An instruction of 3 bytes behind it: `clobber`.
    // Dead padding behind `ret`: `stone`. The `mov` of 5 bytes before it: `before`.
    "bench hotpatch_bench_plain",
    "1: mov $110, %eax",
    "syscall",
    "dec %rdi",
    "jnz 1b",
    "ret",
    "bench_end hotpatch_bench_plain",
    ".p2align 6",
    "bench hotpatch_bench_direct",
    "1: mov $110, %eax",
    "syscall",
    "nopl 0(%rax)",
    "dec %rdi",
    "jnz 1b",
    "ret",
    "bench_end hotpatch_bench_direct",
    // Padding inside the loop, executed each time round.
    "bench hotpatch_bench_live",
    "1: mov $110, %eax",
    "syscall",
    "dec %rdi",
    "nopw 0(%rax,%rax,1)",
    "jnz 1b",
    "ret",
    "bench_end hotpatch_bench_live",
    ".p2align 6, 0xf4",
    // A straight run of 10 bytes that has nothing to do with the site.
    "bench hotpatch_bench_evict",
    "xor %eax, %eax",
    "mov $1, %esi",
    "mov $2, %edx",
    "1: mov $110, %eax",
    "syscall",
    "dec %rdi",
    "jnz 1b",
    "ret",
    "bench_end hotpatch_bench_evict",
    ".p2align 6",
    options(att_syntax)
);

unsafe extern "C" {
    fn hotpatch_bench_plain(calls: u64);
    fn hotpatch_bench_direct(calls: u64);
    fn hotpatch_bench_live(calls: u64);
    fn hotpatch_bench_evict(calls: u64);
    fn getppid() -> i32;
}

/// The plain loop where nothing is patched: in memory that is writable and executable at once.
pub struct Bare(unsafe extern "C" fn(u64));

impl Bare {
    /// Writes the loop, whose copy in the file is patched.
    ///
    /// # Errors
    /// If no memory is to be had that is writable and executable.
    pub fn new() -> std::io::Result<Self> {
        #[rustfmt::skip]
        const CODE: [u8; 13] = [
            0xb8, 110, 0, 0, 0, // mov $110,%eax
            0x0f, 0x05,         // syscall
            0x48, 0xff, 0xcf,   // dec %rdi
            0x75, 0xf4,         // jnz to the start
            0xc3,               // ret
        ];
        let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: asks for new memory, wherever there is room.
        let copy = unsafe { libc::mmap(ptr::null_mut(), CODE.len(), rights, flags, -1, 0) };
        if copy == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: new memory of at least that size.
        unsafe { copy.cast::<[u8; 13]>().write(CODE) };
        // SAFETY: the loop follows the C convention wherever it stands, and is never unmapped.
        Ok(Self(unsafe {
            std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn(u64)>(copy)
        }))
    }

    /// Nanoseconds for each of `calls` calls.
    #[must_use]
    pub fn time(&self, calls: u64) -> f64 {
        let start = Instant::now();
        // SAFETY: the loop touches rax, rcx, rdi, r11 and flags.
        unsafe { (self.0)(calls) };
        start.elapsed().as_nanos() as f64 / calls as f64
    }
}

/// A loop that can be timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loop {
    /// `mov; syscall; dec; jnz`.
    Plain,
    /// No-ops behind the site.
    Direct,
    /// A live pad in the loop.
    Live,
    /// A run that can be evicted ahead of it.
    Evict,
    /// `getppid()` of the C library.
    Libc,
}

impl Loop {
    /// All of them, by the names of the command line.
    pub const ALL: [(&'static str, Self); 5] = [
        ("plain", Self::Plain),
        ("direct", Self::Direct),
        ("live", Self::Live),
        ("evict", Self::Evict),
        ("libc", Self::Libc),
    ];

    /// Nanoseconds for each of `calls` calls.
    #[must_use]
    pub fn time(self, calls: u64) -> f64 {
        let start = Instant::now();
        match self {
            // SAFETY: the loops follow the C convention and touch rax, rcx, rdx, rsi, rdi, r11 and flags.
            Self::Plain => unsafe { hotpatch_bench_plain(calls) },
            // SAFETY: as above.
            Self::Direct => unsafe { hotpatch_bench_direct(calls) },
            // SAFETY: as above.
            Self::Live => unsafe { hotpatch_bench_live(calls) },
            // SAFETY: as above.
            Self::Evict => unsafe { hotpatch_bench_evict(calls) },
            Self::Libc => {
                for _ in 0..calls {
                    // SAFETY: takes nothing and changes nothing.
                    std::hint::black_box(unsafe { getppid() });
                }
            }
        }
        start.elapsed().as_nanos() as f64 / calls as f64
    }
}
