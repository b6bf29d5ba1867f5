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
pub mod preload;
mod remote;
mod sys;

pub use helper::{Helper, Refused, begin};
pub use look::{Kind, look, look_at};
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
}

/// In the place of a descriptor: there is none.
pub const NO_FILE: u64 = u64::MAX;

/// Bytes of the mapping that begins with a [`Start`].
pub const START_LEN: usize = 128 << 10;
