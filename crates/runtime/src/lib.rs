//! What becomes `libhotpatch.so`: patches the program it is loaded into, while that starts.
//!
//! Built for `x86_64-unknown-none` it is the library; on the host it is an ordinary crate, for its tests.
//! `start.rs` numbers the steps; INVARIANTS.md says what the `unsafe` of the files that have some relies on.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

pub mod arch;
pub mod areas;
pub mod arena;
pub mod attach;
pub mod boot;
pub mod cache;
mod carried;
pub mod config;
pub mod copy;
pub mod counts;
pub mod debug;
pub mod detach;
pub mod dispatch;
pub mod entry;
pub mod environment;
pub mod exec;
pub mod filter;
pub mod fnmatch;
pub mod frame;
pub mod hook_file;
pub mod hook_refused;
mod hook_symbols;
pub mod hooking;
pub mod hooks;
pub mod hosted;
pub mod internal;
pub mod journal;
pub mod labels;
pub mod late;
pub mod lazy;
pub mod line;
pub mod load;
pub mod log;
pub mod mapping;
pub mod maps;
pub mod memory;
pub mod object;
pub mod other;
pub mod ours;
pub mod pages;
pub mod patch;
pub mod perf;
pub mod preload;
pub mod process;
pub mod quick;
pub mod report;
pub mod rescue;
pub mod services;
pub mod signal;
pub mod start;
pub mod store;
pub mod sys;
pub mod thread;
pub mod trap;
pub mod vdso;
pub mod view;
