//! `repr(C)` types that cross a border between the runtime, hooks and the command.
#![no_std]
#![forbid(unsafe_code)]
