//! Refuses calls that name certain paths, and `io_uring_setup`, behind which files could be opened unseen.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use hotpatch_hook::{
    Context, Errno, Hook, Setting, SyscallSet, Verdict, export_hook, log, nr, path,
};

/// Files and directories, between colons.
static PATHS: Setting<4096> = Setting::new("DENY");
/// The number of the error that they get.
static ERRNO: Setting<8> = Setting::new("DENY_ERRNO");

struct Deny {
    errno: AtomicU32,
}

impl Hook for Deny {
    const SYSCALLS: SyscallSet = path::CALLS.with(&[nr::IO_URING_SETUP]);
    const ARGUMENTS_ONLY: bool = true;

    fn start(&self) -> Result<(), Errno> {
        PATHS.load()?;
        ERRNO.load()?;
        if let Some(text) = ERRNO.get() {
            let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            let errno = number.and_then(Errno::new).ok_or(Errno::EINVAL)?;
            self.errno.store(errno.number().into(), Relaxed);
        }
        Ok(())
    }

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        if context.number() == nr::IO_URING_SETUP {
            log!("io_uring_setup refused");
            // What a kernel without it says: programs know how to do without.
            return context.refuse(Errno::ENOSYS);
        }
        for &argument in path::arguments(context.number()) {
            // Where we cannot read it, the kernel cannot either.
            if let Ok(whole) = path::absolute(context, argument)
                && is_denied(whole.bytes())
            {
                let name = nr::name(context.number()).unwrap_or("?");
                log!("{name} {} refused", whole.bytes().escape_ascii());
                let errno = Errno::new(self.errno.load(Relaxed) as u16);
                return context.refuse(errno.unwrap_or(Errno::EACCES));
            }
        }
        Verdict::Run
    }
}

fn is_denied(path: &[u8]) -> bool {
    let mut all = PATHS.get().unwrap_or(b"").split(|b| *b == b':');
    all.any(|denied| !denied.is_empty() && path::below(path, denied).is_some())
}

export_hook! {
    static DENY: Deny = Deny {
        errno: AtomicU32::new(Errno::EACCES.number() as u32),
    };
}
