//! The command `hotpatch`, as the system starts it.
#![no_main]

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// Rust's own start-up ignores SIGPIPE and opens `/dev/null` in place of a closed descriptor.
/// `run` would hand both on to the program, which must be started as if by the shell itself.
///
/// # Safety
/// To be called by the C start-up alone: `argv` holds `argc` strings that live as long as the process.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let words: Vec<OsString> = (0..usize::try_from(argc).unwrap_or(0))
        .map(|i| {
            // SAFETY: the C start-up promises `argc` pointers at `argv`.
            let at = unsafe { argv.add(i) };
            // SAFETY: as above.
            let word = unsafe { *at };
            // SAFETY: and that each is a string which is never freed.
            OsStr::from_bytes(unsafe { CStr::from_ptr(word) }.to_bytes()).to_owned()
        })
        .collect();
    let status = std::panic::catch_unwind(|| hotpatch_cli::run(words)).unwrap_or(101);
    // Not a return: nobody but `exit` flushes Rust's standard output here.
    std::process::exit(status)
}
