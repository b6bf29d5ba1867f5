//! Starts the runtime in a program before its first instruction.
//!
//! A *helper*, a process that shares the memory of the thread that is about to exec, traces that thread through its
//! exec, maps the runtime into the new program, sends it there and is gone. The command uses it for the program that it
//! runs, the runtime for each later exec.
//!
//! No heap, no libc, no panic, no thread-local: it runs inside of any program, and while the helper runs its thread's
//! state is the program's.
#![cfg_attr(not(test), no_std)]

mod helper;
mod look;
mod object;
pub mod preload;
mod remote;
mod sys;

pub use helper::{Helper, Refused, begin};
pub use look::{Kind, look, look_at};
pub use object::Entry;
pub use sys::{Registers, Signals};

use core::ffi::CStr;

/// What is started in the new program.
#[derive(Clone, Copy, Debug)]
pub struct Runtime<'a> {
    /// Where its file is.
    pub path: &'a CStr,
    /// The first bytes of that file: its headers, by which it is known again in the new program.
    pub head: &'a [u8],
    /// Settings, `NAME=value` each, a zero byte behind each.
    pub settings: &'a [u8],
    /// Whether it goes on there, rather than begins.
    pub follows: bool,
    /// Whether this thread's children may come into another process namespace, which is to be looked at.
    pub namespaces: bool,
    /// Where the new program cannot open the library and its hooks: these.
    pub carried: Option<&'a Carried>,
}

/// Files as the caller has them in memory: the library, then hooks, by number. Those without bytes are none.
pub type Carried = [Bytes; FILES];

/// How many files can be carried: as many as there can be hooks, and the library.
pub const FILES: usize = 17;

/// A part of the caller's memory, which stays as it is.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bytes {
    /// Its first byte.
    pub at: usize,
    /// How many.
    pub len: usize,
}

/// Bytes of [`Runtime::head`].
pub const HEAD: usize = 0x298;
/// The longest path and settings together.
pub const LONGEST: usize = 24 << 10;

/// What the runtime finds in the new program, at the start of a mapping whose end is its first stack.
#[repr(C)]
#[derive(Debug)]
pub struct Start {
    /// The program's registers, as the kernel left them.
    pub registers: Registers,
    /// Where the runtime's file is mapped, readable and executable, from its first byte on.
    pub base: u64,
    /// Descriptors of the library and, if they have been carried, of hooks.
    pub files: [u64; FILES],
    /// Whether the runtime goes on here, rather than begins.
    pub follows: u64,
    /// Whether the files have been carried.
    pub carried: u64,
    /// Bytes of this mapping.
    pub len: u64,
    /// The helper: a child of the program until it is waited for.
    pub helper: u64,
    /// Bytes of the path behind this structure, its zero byte included.
    pub path_len: u64,
    /// Bytes of the settings behind the path.
    pub settings_len: u64,
    /// What is to be done: [`START`], [`ATTACH`] or [`DETACH`].
    pub what: u64,
    /// How many [`Thread`]s follow, at the next multiple of 8 behind the settings; or how many [`Held`], right behind
    /// this, and then room for [`Ranges`].
    pub threads: u64,
    /// What has become of it: 0 until then, then a value of [`answer`].
    pub answer: u64,
}

/// In [`Start::what`]: a program begins.
pub const START: u64 = 0;
/// In [`Start::what`]: a program runs already. All its threads are stopped but the first of those that follow, which is
/// sent to the runtime with all signals blocked, and comes to its end at a system call of the number [`END`].
pub const ATTACH: u64 = 1;
/// In [`Start::what`]: the runtime is there already, at its base, and is to go. Threads are stopped as with [`ATTACH`].
pub const DETACH: u64 = 2;

/// Values of [`Start::answer`].
pub mod answer {
    /// It is done: nothing of the runtime is needed any more.
    pub const DONE: u64 = 1;
    /// It cannot be done, as the log says; nothing has been changed.
    pub const FAILED: u64 = 2;
    /// Threads are inside of the runtime's code, and have to come out of it first. No hook is called any more.
    pub const INSIDE: u64 = 3;
    /// It is done, but the memory of a thread may lead back to the runtime's code, as handlers that it has begun do.
    pub const LEADS_BACK: u64 = 4;
    /// It is done, but the program's loader has mapped the library.
    pub const LOADED: u64 = 5;
    /// A thread is changing code. Nothing has been changed.
    pub const BUSY: u64 = 6;
    /// Threads of hosted hooks are there. Nothing has been changed.
    pub const HOSTED: u64 = 7;
    /// Calls are signals. Nothing has been changed.
    pub const TRAPS: u64 = 8;
    /// Nothing is known of what has been changed.
    pub const UNKNOWN: u64 = 9;
    /// Code could not be written to.
    pub const STUCK: u64 = 10;
}

/// A thread that is to be parted from the runtime.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// Its registers; the answer: those that it goes on with, without us.
    pub registers: Registers,
    /// Where the mapping ends that its stack pointer is in, before ours for this: 0: in none that can be read.
    pub stack_end: u64,
    /// The answer: it is inside of the runtime's code, and its registers are as they were.
    pub inside: u64,
    /// The answer: address and bytes of the alternate signal stack that it has registered, 0 bytes: none.
    pub alternate: [u64; 2],
}

/// The runtime's memory, as far as it has mapped it: where each part begins and ends.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// How many.
    pub count: u64,
    /// Them.
    pub all: [[u64; 2]; 511],
}
/// No call of the kernel's has this number.
pub const END: u32 = 0x6870;

/// A thread of a program that runs already.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    /// The base of its `fs`.
    pub fs_base: u64,
    /// Address and bytes of its alternate signal stack; 0 bytes: it has none.
    pub alternate: [u64; 2],
    /// The runtime's answer: the base that its `gs` is to have.
    pub gs_base: u64,
}

/// In the place of a descriptor: there is none.
pub const NO_FILE: u64 = u64::MAX;

/// Bytes of the mapping that begins with a [`Start`].
pub const START_LEN: usize = 128 << 10;
