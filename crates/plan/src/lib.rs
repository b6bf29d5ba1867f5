//! Decides how each `syscall` instruction of an ELF image becomes a jump to a trampoline.
//!
//! Bytes in, [`Plan`] out. Nothing here knows of a running process: the same file gives the same
//! plan offline and in the program that is being started.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod addr;
pub mod check;
pub mod code;
pub mod decode;
pub mod image;
pub mod plan;
pub mod refs;
mod region;
pub mod scan;
pub mod search;
mod tables;
mod vote;
