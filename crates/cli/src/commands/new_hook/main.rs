//! A hook: says which files a program opens.
//!
//!     cargo build --release
//!     hotpatch run --hook target/x86_64-unknown-none/release/NAME -- ls
#![no_std]
#![no_main]

use hotpatch_hook::{Context, Hook, SyscallSet, Verdict, export_hook, log, nr};

struct Opens;

impl Hook for Opens {
    // All other calls pass by at no cost.
    const SYSCALLS: SyscallSet = SyscallSet::of(&[nr::OPENAT]);

    fn before(&self, _: &mut Context<'_>) -> Verdict {
        // The kernel opens the file; then show us how that went.
        Verdict::RunAndReturn
    }

    fn after(&self, context: &mut Context<'_>) {
        let mut buffer = [0; 1024];
        let path = context.read_string(context.argument(1), &mut buffer).unwrap_or(b"?");
        match context.result() {
            Ok(descriptor) => log!("{} is descriptor {descriptor}", path.escape_ascii()),
            Err(errno) => log!("{}: {errno}", path.escape_ascii()),
        }
    }
}

export_hook! {
    static HOOK: Opens = Opens;
}
