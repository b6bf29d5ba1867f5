//! The beginning in a program that is stopped at its exec: there is no loader, and nothing of the program has run.
//!
//! The injector has mapped the file in one piece, readable and executable, and given us a stack. Until [`link`] is done
//! no address that stands in memory is right, only those that code computes from its own.
//!
//! # Safety
//! I19: what is promised to the program; I4: start-up's life.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};

use hotpatch_inject::{ATTACH, DETACH, END, Held, Ranges, Registers, Start, Thread, answer};
use hotpatch_plan::addr::{Span, Va};
use linux_raw_sys::general as k;

use crate::arch;
use crate::detach;
use crate::environment::Passed;
use crate::start::{self, Given};
use crate::sys;

/// The file's entry point. rdi = &Start, rsp = the end of its mapping; nothing is below us on the stack.
///
/// # Safety
/// Entered by the injector alone.
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn hotpatch_entry() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "call {boot}", // rsp is 16-aligned: as at the entry of any function
        "ud2",
        ".cfi_endproc",
        boot = sym boot,
    )
}

/// Whether it is so: one thread, no handler of the program's, nothing but the kernel's defaults.
static AT_EXEC: AtomicBool = AtomicBool::new(false);

/// See [`AT_EXEC`]; start-up's.
pub(crate) fn at_exec() -> bool {
    // Relaxed: written by the one thread that there is.
    AT_EXEC.load(Ordering::Relaxed)
}

unsafe extern "C" fn boot(at: *const Start) -> ! {
    // SAFETY: I19: the injector has written it, for us alone.
    let given = unsafe { &*at };
    if given.what == DETACH {
        // SAFETY: I24: as the attacher promises.
        unsafe { detached(at) };
    }
    // SAFETY: I19: as the injector has mapped it.
    unsafe { link(given.base as usize, given.files[0] as usize) };
    let text = at.wrapping_add(1).cast::<u8>();
    // SAFETY: I19: mapped until `leave`, behind the structure.
    let path = unsafe { core::slice::from_raw_parts(text, given.path_len as usize) };
    let text = text.wrapping_add(path.len());
    let given_settings = Given {
        path: CStr::from_bytes_with_nul(path).unwrap_or_default(),
        // SAFETY: I19: as above, behind the path.
        settings: unsafe { core::slice::from_raw_parts(text, given.settings_len as usize) },
        follows: given.follows != 0,
        carried: given.carried != 0,
        untraced: false,
        files: given.files,
    };
    if given.what == ATTACH {
        // SAFETY: as the injector promises.
        unsafe { attached(at, given_settings) };
    }
    AT_EXEC.store(true, Ordering::Relaxed);
    let stack = given.registers.rsp as usize;
    let argv = stack + 8;
    // SAFETY: I19: the kernel has put the count there.
    let argc = unsafe { core::ptr::with_exposed_provenance::<usize>(stack).read() };
    let passed = Passed {
        argc,
        argv: core::ptr::with_exposed_provenance(argv),
        envp: core::ptr::with_exposed_provenance(argv + 8 * (argc + 1)),
    };
    // SAFETY: nothing of the program has run.
    unsafe { start::start(passed, Some(given_settings)) };
    MAPPED.store(true, Ordering::Relaxed);
    // As late as can be: what has been the program's memory goes with the helper, which takes a while.
    part_with(given.helper as usize);
    // SAFETY: this thread alone.
    unsafe { *REGISTERS.0.get() = given.registers };
    // SAFETY: I19: nobody needs the mapping any more.
    unsafe { leave(at.addr(), given.len as usize) }
}

/// The beginning in a program that runs already.
///
/// # Safety
/// I24: as the attacher promises, who maps what is at `at` and behind it.
unsafe fn attached(at: *const Start, settings: Given) -> ! {
    // SAFETY: I24: for us alone.
    let given = unsafe { &*at };
    let text = given.path_len as usize + given.settings_len as usize;
    let first = at.wrapping_add(1).addr() + text.next_multiple_of(8);
    let first = core::ptr::with_exposed_provenance_mut::<Thread>(first);
    // SAFETY: I24: as many as it says.
    let threads = unsafe { core::slice::from_raw_parts_mut(first, given.threads as usize) };
    // SAFETY: I24.
    let done = unsafe { start::attach(settings, threads) };
    MAPPED.store(true, Ordering::Relaxed);
    // SAFETY: I24.
    unsafe { end(at, if done { answer::DONE } else { answer::FAILED }) }
}

/// The end in a program that goes on without us.
///
/// # Safety
/// I24: as the attacher promises, who maps what is at `at` and behind it.
unsafe fn detached(at: *const Start) -> ! {
    // SAFETY: I24: for us alone.
    let count = unsafe { (*at).threads } as usize;
    let first = at.wrapping_add(1).cast::<Held>().cast_mut();
    // SAFETY: I24: as many as it says.
    let held = unsafe { core::slice::from_raw_parts_mut(first, count) };
    // SAFETY: I24: behind them.
    let ranges = unsafe { &mut *first.wrapping_add(count).cast::<Ranges>() };
    // SAFETY: I24.
    let mut done = unsafe { detach::detach(held, ranges) };
    if done == answer::DONE && !MAPPED.load(Ordering::Relaxed) {
        done = answer::LOADED;
    }
    // SAFETY: I24.
    unsafe { end(at, done) }
}

/// Whether it was an injector who has mapped us, and not the program's loader.
static MAPPED: AtomicBool = AtomicBool::new(false);

/// # Safety
/// I24: `at` is the attacher's.
unsafe fn end(at: *const Start, done: u64) -> ! {
    let answer = at
        .cast_mut()
        .cast::<u8>()
        .wrapping_add(offset_of!(Start, answer));
    // SAFETY: I24: the attacher reads it when we have ended.
    unsafe { answer.cast::<u64>().write(done) };
    loop {
        // SAFETY: the kernel knows no such call; the attacher, who sees it, takes this thread from here.
        unsafe { arch::syscall(END, [0; 6]) };
    }
}

/// What a loader does: maps each segment as its header says, and makes addresses true.
///
/// # Safety
/// I19: the file is mapped at `base`, with room for all segments, and open as `descriptor`.
unsafe fn link(base: usize, descriptor: usize) {
    // SAFETY: I19: the file's header.
    let word = |at: usize| unsafe {
        core::ptr::with_exposed_provenance::<u64>(base + at).read_unaligned() as usize
    };
    let page = |at: usize| at & !4095;
    let count = word(56) & 0xffff;
    let (mut dynamic, mut constant) = (0, Span::new(Va(0), 0));
    for n in 0..count {
        let header = 64 + 56 * n;
        let (kind, flags) = (word(header) as u32, word(header) >> 32);
        let (offset, at, in_file, len) = (
            word(header + 8),
            word(header + 16),
            word(header + 32),
            word(header + 40),
        );
        match kind {
            PT_LOAD if flags & WRITABLE != 0 => {
                // SAFETY: I19: the segment's own room.
                unsafe { map_writable(base + at, in_file, len, descriptor, page(offset)) };
            }
            PT_LOAD if flags & EXECUTABLE == 0 => {
                let (from, to) = (page(base + at), base + at + len);
                // SAFETY: nothing is executed there.
                let _ = unsafe { sys::protect(from, to - from, sys::Protection::Read) };
            }
            PT_DYNAMIC => dynamic = base + at,
            PT_GNU_RELRO => constant = Span::new(Va((base + at) as u64), len as u64),
            _ => {}
        }
    }
    // SAFETY: I19: as its header says.
    unsafe { relocate(base, dynamic) };
    let from = page(constant.start.0 as usize);
    let to = page(constant.end.0 as usize);
    if from < to {
        // SAFETY: nothing of it changes any more.
        let _ = unsafe { sys::protect(from, to - from, sys::Protection::Read) };
    }
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_GNU_RELRO: u32 = 0x6474_e552;
const EXECUTABLE: usize = 1;
const WRITABLE: usize = 2;

/// # Safety
/// As [`link`]: `at..at + len` is the segment's room.
unsafe fn map_writable(at: usize, in_file: usize, len: usize, descriptor: usize, offset: usize) {
    let page = |at: usize| at & !4095;
    let protection = (k::PROT_READ | k::PROT_WRITE) as usize;
    let fixed = (k::MAP_PRIVATE | k::MAP_FIXED) as usize;
    let (start, file_end, end) = (page(at), at + in_file, page(at + len + 4095));
    let behind = if in_file > 0 {
        let arguments = [
            start,
            file_end - start,
            protection,
            fixed,
            descriptor,
            offset,
        ];
        // SAFETY: as the caller promises.
        unsafe { arch::syscall(k::__NR_mmap, arguments) };
        let behind = page(file_end + 4095);
        for at in file_end..behind {
            let byte = core::ptr::with_exposed_provenance_mut::<u8>(at);
            // Volatile: `memset` would be called through an address that is not right yet.
            // SAFETY: mapped just now.
            unsafe { byte.write_volatile(0) };
        }
        behind
    } else {
        start
    };
    if behind < end {
        let fixed = fixed | k::MAP_ANONYMOUS as usize;
        // SAFETY: as the caller promises.
        unsafe {
            arch::syscall(
                k::__NR_mmap,
                [behind, end - behind, protection, fixed, usize::MAX, 0],
            )
        };
    }
}

/// Adds the base to each address that stands in memory: the build allows no other relocation.
///
/// # Safety
/// As [`link`].
unsafe fn relocate(base: usize, dynamic: usize) {
    const RELA: usize = 7;
    const RELASZ: usize = 8;
    // SAFETY: I19: in a segment that is mapped.
    let word = |at: usize| unsafe { core::ptr::with_exposed_provenance::<usize>(at).read() };
    let (mut table, mut len) = (0, 0);
    let mut entry = dynamic;
    while word(entry) != 0 {
        match word(entry) {
            RELA => table = base + word(entry + 8),
            RELASZ => len = word(entry + 8),
            _ => {}
        }
        entry += 16;
    }
    for at in (table..table + len).step_by(24) {
        let place = core::ptr::with_exposed_provenance_mut::<usize>(base + word(at));
        // SAFETY: I19: in a writable segment.
        unsafe { place.write(base + word(at + 16)) };
    }
}

/// The helper is a child that the program has not made: it is waited for, and the SIGCHLD of its end is taken, if only
/// that has come. (Where SIGCHLD is not blocked it is not kept: nobody handles it yet.)
fn part_with(helper: usize) {
    let mut info = [0u32; 32];
    let wait = [helper, 0, k::__WALL as usize, 0, 0, 0];
    // SAFETY: reads and writes no memory.
    while unsafe { arch::syscall(k::__NR_wait4, wait) } == -(linux_raw_sys::errno::EINTR as isize) {
    }
    let set = 1u64 << (k::SIGCHLD - 1);
    let now = [0u64; 2];
    let place = info.as_mut_ptr().addr();
    let take = [
        (&raw const set).addr(),
        place,
        (&raw const now).addr(),
        8,
        0,
        0,
    ];
    // SAFETY: reads `set` and `now`, writes `info`.
    let taken = unsafe { arch::syscall(k::__NR_rt_sigtimedwait, take) };
    if taken != k::SIGCHLD as isize {
        return;
    }
    // Signals of one number are not queued: that of another child may have met the helper's.
    const P_ALL: usize = 0;
    let mut other = [0u32; 32];
    let options = (k::WNOHANG | k::WNOWAIT | k::WEXITED | k::WSTOPPED | k::WCONTINUED) as usize;
    // SAFETY: writes `other`.
    unsafe {
        arch::syscall(
            k::__NR_waitid,
            [P_ALL, 0, other.as_mut_ptr().addr(), options, 0, 0],
        )
    };
    let sender = |info: &[u32; 32]| info.get(4).copied().unwrap_or(0) as usize;
    let again = match (sender(&info), sender(&other)) {
        (pid, _) if pid != helper => &info,
        (_, 0) => return,
        _ => &other,
    };
    let process = sys::process_id() as usize;
    let arguments = [process, k::SIGCHLD as usize, again.as_ptr().addr(), 0, 0, 0];
    // SAFETY: reads `again`.
    unsafe { arch::syscall(k::__NR_rt_sigqueueinfo, arguments) };
}

/// The program's registers, for the last instructions of ours.
struct Kept(UnsafeCell<Registers>);

// SAFETY: one thread runs.
unsafe impl Sync for Kept {}

// SAFETY: all zeros are registers.
static REGISTERS: Kept = Kept(UnsafeCell::new(unsafe { core::mem::zeroed() }));

/// Unmaps the stack that we run on, and begins the program.
///
/// # Safety
/// I19: `REGISTERS` holds the program's.
#[unsafe(naked)]
unsafe extern "C" fn leave(block: usize, len: usize) -> ! {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov eax, {munmap}",
        "syscall",
        // A stack of 8 bytes: nothing is written to it, as no handler is the program's yet.
        "lea rsp, [rip + {kept} + {eflags}]",
        "popfq",
        "mov r15, [rip + {kept} + {r15}]",
        "mov r14, [rip + {kept} + {r14}]",
        "mov r13, [rip + {kept} + {r13}]",
        "mov r12, [rip + {kept} + {r12}]",
        "mov rbp, [rip + {kept} + {rbp}]",
        "mov rbx, [rip + {kept} + {rbx}]",
        "mov r11, [rip + {kept} + {r11}]",
        "mov r10, [rip + {kept} + {r10}]",
        "mov r9, [rip + {kept} + {r9}]",
        "mov r8, [rip + {kept} + {r8}]",
        "mov rax, [rip + {kept} + {rax}]",
        "mov rcx, [rip + {kept} + {rcx}]",
        "mov rdx, [rip + {kept} + {rdx}]",
        "mov rsi, [rip + {kept} + {rsi}]",
        "mov rdi, [rip + {kept} + {rdi}]",
        "mov rsp, [rip + {kept} + {rsp}]",
        "jmp [rip + {kept} + {rip_at}]",
        ".cfi_endproc",
        munmap = const k::__NR_munmap,
        kept = sym REGISTERS,
        eflags = const offset_of!(Registers, eflags),
        r15 = const offset_of!(Registers, r15),
        r14 = const offset_of!(Registers, r14),
        r13 = const offset_of!(Registers, r13),
        r12 = const offset_of!(Registers, r12),
        rbp = const offset_of!(Registers, rbp),
        rbx = const offset_of!(Registers, rbx),
        r11 = const offset_of!(Registers, r11),
        r10 = const offset_of!(Registers, r10),
        r9 = const offset_of!(Registers, r9),
        r8 = const offset_of!(Registers, r8),
        rax = const offset_of!(Registers, rax),
        rcx = const offset_of!(Registers, rcx),
        rdx = const offset_of!(Registers, rdx),
        rsi = const offset_of!(Registers, rsi),
        rdi = const offset_of!(Registers, rdi),
        rsp = const offset_of!(Registers, rsp),
        rip_at = const offset_of!(Registers, rip),
    )
}
