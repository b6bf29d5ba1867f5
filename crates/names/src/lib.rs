//! The system calls of x86-64 Linux as data: names, classes, what each argument is, named constants, structures,
//! errors and signals.
//!
//! One table says both which memory of a call has to be kept ([`captures`]) and how the call is printed
//! ([`signature()`]). Nothing here allocates.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod calls;
mod capture;
mod class;
mod descriptor;
mod errors;
pub mod flags;
mod kind;
pub mod signal;
mod signature;
pub mod structs;

pub use calls::{ROWS, Row, moves_bytes};
pub use capture::{Limits, Nested, Request, Shape, When, captures};
pub use class::{CLASSES, Class};
pub use descriptor::{
    CURRENT_DIRECTORY, Descriptors, FILE, LINK, REGISTERS, SOCKET, Socket, Within, descriptors,
    place,
};
pub use errors::{ERRORS, RESTARTS, error, interruption, restart, restarted};
pub use kind::{Answer, Count, Field, Kind, Struct, What};
pub use signature::{Argument, Signature, signature};

/// What is known of the system call with this number.
///
/// ```
/// assert_eq!(hotpatch_names::row(0).unwrap().name, "read");
/// assert!(hotpatch_names::row(400).is_none());
/// ```
#[must_use]
pub fn row(number: u64) -> Option<&'static Row> {
    // The first few hundred stand where their numbers say.
    let first = ROWS.get(usize::try_from(number).ok()?);
    if let Some(row) = first.filter(|row| u64::from(row.number) == number) {
        return Some(row);
    }
    let index = ROWS
        .binary_search_by_key(&number, |row| u64::from(row.number))
        .ok()?;
    ROWS.get(index)
}

/// What is known of the system call with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}
