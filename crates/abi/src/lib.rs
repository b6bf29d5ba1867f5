//! Types that cross a border: between the runtime and hooks, and between assembly and Rust.
//!
//! No logic, and no pointer is followed here. All of it is `repr(C)`: `include/hotpatch.h` is made from this file.
#![no_std]
#![forbid(unsafe_code)]

use core::ffi::{c_char, c_void};

/// The version of everything in this file. A hook of another version is refused.
pub const ABI: u32 = 1;

/// The symbol a hook exports: a [`Hook`].
pub const SYMBOL: &str = "hotpatch_hook";

/// The general registers of the program, as at the instruction (before) or right behind it (after).
///
/// A hook may change any of them; they are put back before the program goes on. Registers that a system call
/// takes its arguments from have the program's own values again when it returns, as the kernel's convention
/// promises.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Number of a system call; its result when it has returned.
    pub rax: u64,
    /// First argument.
    pub rdi: u64,
    /// Second argument.
    pub rsi: u64,
    /// Third argument.
    pub rdx: u64,
    /// Fourth argument.
    pub r10: u64,
    /// Fifth argument.
    pub r8: u64,
    /// Sixth argument.
    pub r9: u64,
    /// As the kernel leaves it: the address behind the instruction. Lost by a system call.
    pub rcx: u64,
    /// As the kernel leaves it: a copy of the flags. Lost by a system call.
    pub r11: u64,
    /// The flags.
    pub rflags: u64,
    /// The program's stack pointer.
    pub rsp: u64,
    /// Address of the instruction, or behind it after the call. Elsewhere means: go on there, nothing is executed.
    pub rip: u64,
    /// Not filled for hooks with [`ARGUMENTS_ONLY`], like all that follow.
    pub rbx: u64,
    /// See `rbx`.
    pub rbp: u64,
    /// See `rbx`.
    pub r12: u64,
    /// See `rbx`.
    pub r13: u64,
    /// See `rbx`.
    pub r14: u64,
    /// See `rbx`.
    pub r15: u64,
}

/// Which instruction a site is: a value of [`Site::kind`].
pub mod kind {
    /// `syscall`
    pub const SYSCALL: u32 = 0;
    /// `int $0x80`
    pub const INT80: u32 = 1;
    /// `sysenter`
    pub const SYSENTER: u32 = 2;
    /// `rdtsc`
    pub const RDTSC: u32 = 3;
    /// `rdtscp`
    pub const RDTSCP: u32 = 4;
    /// `cpuid`
    pub const CPUID: u32 = 5;
    /// `rdrand`
    pub const RDRAND: u32 = 6;
    /// `rdseed`
    pub const RDSEED: u32 = 7;
    /// `xgetbv`
    pub const XGETBV: u32 = 8;
    /// `rdgsbase`
    pub const RDGSBASE: u32 = 9;
    /// `wrgsbase`
    pub const WRGSBASE: u32 = 10;
}

/// An instruction of the program: a candidate, and later the place a call came from. Lives as long as the process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its address in this process.
    pub address: u64,
    /// Its place in the file in bytes; for `[vdso]` in the image.
    pub offset: u64,
    /// Absolute path of the file, or `[vdso]`. Ends with a zero byte.
    pub file: *const c_char,
    /// The function it is in, or null. Ends with a zero byte.
    pub symbol: *const c_char,
    /// Bytes from that function's start; 0 where `symbol` is null.
    pub symbol_offset: u64,
    /// See [`kind`].
    pub kind: u32,
    /// Counts the sites of the process from 0.
    pub id: u32,
    /// The instruction: the first `len` bytes.
    pub bytes: [u8; 15],
    /// Bytes of the instruction.
    pub len: u8,
}

/// What a hook's `before` answers.
pub mod verdict {
    /// Execute the instruction, with the registers as the frame has them.
    pub const RUN: u32 = 0;
    /// The same, and call `after` with the result. Means `RUN` for calls that do not come back.
    pub const RUN_AND_RETURN: u32 = 1;
    /// Do not execute it: the program goes on behind it with the registers as the frame has them.
    pub const ANSWER: u32 = 2;
}

/// What [`Hook::event`] is told.
pub mod event {
    /// A thread is about to run its first instruction of the program's. It has its slot already.
    pub const THREAD_START: u32 = 1;
    /// The thread ends; its slot goes with it.
    pub const THREAD_END: u32 = 2;
    /// A process has been forked: told in the child, before it does anything. Not where the child runs in its
    /// parent's memory (`vfork`): there a hook's state, slots too, is the parent's until it execs or exits.
    pub const FORK_CHILD: u32 = 3;
    /// An exec follows. It may fail: then the next call of the thread says that it did.
    pub const BEFORE_EXEC: u32 = 4;
    /// The process ends by `exit_group`.
    pub const EXIT: u32 = 5;
    /// A signal's handler is about to run, or its default action, which ends the process, to be taken:
    /// the context says which. Told to hooks that ask for it alone.
    pub const SIGNAL: u32 = 6;
    /// A handler has come to its end, and the program goes on where it was interrupted. That of one that interrupted no
    /// call is told where the program's own call for it is seen. Told to hooks that ask for it alone.
    pub const SIGNAL_RETURN: u32 = 7;
}

/// Where in a system call a signal has come.
pub mod interrupted {
    /// In none that the hook has been asked about and not been told the end of.
    pub const NOWHERE: u32 = 0;
    /// The hook has been asked about it, and it has not been made yet. It is when the handler returns.
    pub const BEFORE: u32 = 1;
    /// It has ended, `rax` says how, and the hook's `after` has not been called yet.
    pub const ENDED: u32 = 2;
    /// The kernel will make it once more when the handler returns; then the hook is asked again.
    pub const AGAIN: u32 = 3;
    /// The same, but the hook is not asked again.
    pub const AGAIN_UNSEEN: u32 = 4;
}

/// What is told of a signal.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The kernel's `siginfo_t`: 128 bytes. Null when a handler has come to its end.
    pub info: *const c_void,
    /// The handler; 0 for the default action.
    pub handler: u64,
    /// The signals, bit 0 for signal 1, that are blocked when the handler has returned.
    pub mask: u64,
    /// A value of [`interrupted`].
    pub call: u32,
    /// 0.
    pub reserved: u32,
    /// The program's registers where it was interrupted, as the handler can see them. What is written there has no meaning.
    pub frame: Frame,
}

/// Who called, and where: what a hook's functions get besides the frame. Valid during the call.
#[repr(C)]
#[derive(Debug)]
pub struct Context {
    /// What a hook may ask of the runtime.
    pub services: *const Services,
    /// The instruction; null in events that are about none.
    pub site: *const Site,
    /// Eight bytes of the hook's own for each thread: 0 when the thread starts.
    pub slot: *mut u64,
    /// Number of the system call, as the program gave it (its low 32 bits), also after the call.
    pub number: u32,
    /// For the runtime's use.
    pub reserved: u32,
    /// Null, but in events about a signal. Then `site` and `number` are those of the call that it interrupted, or null and 0.
    pub signal: *const Signal,
}

/// System call numbers of interest: bit `n % 64` of `low[n / 64]` for numbers below 512.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallSet {
    /// Numbers 0 to 511.
    pub low: [u64; 8],
    /// Not 0: also every number from 512 on, which only odd or failing programs use.
    pub others: u64,
}

/// [`Hook::flags`]: `rbx`, `rbp` and `r12` to `r15` are neither read nor changed, which saves their way.
pub const ARGUMENTS_ONLY: u32 = 1;

/// [`Hook::flags`]: the frame is never written to, but for `rax` where the hook answers, which saves the comparison with
/// what it was. What a hook with this flag writes there nevertheless has no meaning.
pub const READS_ONLY: u32 = 4;

/// [`Hook::flags`], hosted: nothing that lives in a thread's own storage of libc is used (`errno`, locale, `malloc`'s
/// caches), so that the thread pointer need not change.
pub const NO_THREAD_STATE: u32 = 2;

/// [`Hook::flags`]: the hook's `event` is told of signals.
pub const SIGNALS: u32 = 8;

/// Vector registers a hosted hook may touch, with all that it calls: values of [`Hook::vectors`]. Freestanding hooks touch none.
pub mod vectors {
    /// Whatever the processor has.
    pub const ALL: u32 = 0;
    /// None at all.
    pub const NONE: u32 = 1;
    /// xmm0 to xmm15.
    pub const XMM: u32 = 2;
    /// ymm0 to ymm15.
    pub const YMM: u32 = 3;
}

/// Executes a system call that no hook sees: number, arguments; the kernel's answer.
pub type SyscallFn = Option<unsafe extern "C" fn(number: u64, arguments: *const [u64; 6]) -> i64>;

/// Copies `len` bytes between a hook and the program's memory: how many, or a negative errno if none.
pub type CopyFn = Option<unsafe extern "C" fn(own: *mut u8, program: u64, len: usize) -> i64>;

/// Writes a line to the log.
pub type LogFn = Option<unsafe extern "C" fn(text: *const u8, len: usize)>;

/// Ends the hook's call at once, reports the text and calls the hook no more.
pub type FailFn = Option<unsafe extern "C" fn(text: *const u8, len: usize) -> !>;

/// Copies the value of a variable of the environment that the program was started with, without a zero byte behind it:
/// how many bytes, more than `size` if that was too few, or -ENOENT. Answers while [`Hook::start`] runs; later -ENOENT.
pub type EnvironmentFn =
    Option<unsafe extern "C" fn(name: *const u8, len: usize, value: *mut u8, size: usize) -> i64>;

/// What a hook may ask of the runtime. The same address in all calls, as long as the process lives.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Services {
    /// [`ABI`].
    pub abi: u32,
    /// Bytes of this structure: later versions append.
    pub size: u32,
    /// See [`SyscallFn`].
    pub syscall: SyscallFn,
    /// Program to hook. See [`CopyFn`].
    pub read: CopyFn,
    /// Program to hook, up to and with the first zero byte: what was copied ends in one unless `len` was too small.
    pub read_string: CopyFn,
    /// Hook to program.
    pub write: CopyFn,
    /// See [`LogFn`].
    pub log: LogFn,
    /// See [`FailFn`].
    pub fail: FailFn,
    /// See [`EnvironmentFn`].
    pub environment: EnvironmentFn,
}

/// Whether the hook is called at an instruction. Asked once for each candidate, before the program runs; the site has
/// no `id` yet.
pub type SelectFn =
    Option<unsafe extern "C" fn(services: *const Services, site: *const Site) -> bool>;

/// Called once, before the program runs and before all else. Not 0 (an errno): the hook is not used.
pub type StartFn = Option<unsafe extern "C" fn(services: *const Services) -> i32>;

/// Called at each hooked instruction. Answers a [`verdict`].
pub type BeforeFn = Option<unsafe extern "C" fn(context: *mut Context, frame: *mut Frame) -> u32>;

/// Called when an instruction with [`verdict::RUN_AND_RETURN`] is done.
pub type AfterFn = Option<unsafe extern "C" fn(context: *mut Context, frame: *mut Frame)>;

/// Told what happens to threads and processes: an [`event`].
pub type EventFn = Option<unsafe extern "C" fn(context: *mut Context, event: u32)>;

/// What a hook file exports as [`SYMBOL`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// [`ABI`].
    pub abi: u32,
    /// Bytes of this structure: later versions append.
    pub size: u32,
    /// Its name in the log. Ends with a zero byte.
    pub name: *const c_char,
    /// [`ARGUMENTS_ONLY`] and the like.
    pub flags: u32,
    /// See [`vectors`].
    pub vectors: u32,
    /// Which system calls it is called for. All others pass untouched.
    pub syscalls: SyscallSet,
    /// The kinds of instruction it is asked about: bit `1 << kind`. 0 means `syscall` alone.
    pub kinds: u64,
    /// Without it, every candidate of its kinds is chosen.
    pub select: SelectFn,
    /// Optional.
    pub start: StartFn,
    /// Needed.
    pub before: BeforeFn,
    /// Needed where `before` answers `RUN_AND_RETURN`.
    pub after: AfterFn,
    /// Optional.
    pub event: EventFn,
    /// Null.
    pub reserved: *const c_void,
}
