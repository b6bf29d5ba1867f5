//! One file for each command; each returns the exit status.

pub mod attach;
pub mod doctor;
pub mod gdb;
pub mod inspect;
pub mod lib;
pub mod new_hook;
pub mod run;
pub mod shell;
pub mod trace;
pub mod view;
