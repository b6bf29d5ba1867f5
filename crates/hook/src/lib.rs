//! Write hooks for libhotpatch: your code in place of a program's system calls.
//!
//! A hook is a value with a [`Hook`] implementation, exported once from a `no_std` binary for
//! `x86_64-unknown-none` (`hotpatch new-hook NAME` writes such a project):
//!
//! ```
//! # #![allow(dead_code)]
//! use hotpatch_hook::{Context, Errno, Hook, SyscallSet, Verdict, export_hook, log, nr};
//!
//! /// Nobody makes directories.
//! struct NoDirectories;
//!
//! impl Hook for NoDirectories {
//!     const SYSCALLS: SyscallSet = SyscallSet::of(&[nr::MKDIR, nr::MKDIRAT]);
//!
//!     fn before(&self, context: &mut Context<'_>) -> Verdict {
//!         log!("{} refused", nr::name(context.number()).unwrap_or("?"));
//!         context.refuse(Errno::EPERM)
//!     }
//! }
//!
//! export_hook! {
//!     static HOOK: NoDirectories = NoDirectories;
//! }
//! # fn main() {}
//! ```
//!
//! ```text
//! $ cargo build --release
//! $ hotpatch run --hook target/x86_64-unknown-none/release/no-directories -- mkdir x
//! mkdir: cannot create directory 'x': Operation not permitted
//! ```
//!
//! # What a hook may do
//!
//! It runs in the program, on any of its threads and on several at once, in the middle of whatever the program was doing. So it
//!
//! - has no libc, no heap and no threads of its own: state is in statics (atomics) and in the
//!   eight bytes that each thread has ([`Context::slot`]); it must not wait for a lock,
//! - uses no vector registers: the target has none,
//! - reads and writes the program's memory by [`Context::read`] and [`Context::write`], which answer
//!   [`Errno::EFAULT`] where a pointer dereferenced would crash,
//! - makes system calls by [`Context::syscall`], which no hook sees,
//! - has about 64 KiB of stack.
//!
//! A panic ends the hook, not the program: its message goes to the log, the call that it was asked about runs
//! as the program made it, and the hook is not called again.
#![no_std]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod context;
mod errno;
#[doc(hidden)]
pub mod export;
pub mod nr;
pub mod path;
mod plain;
mod runtime;
mod set;
mod setting;
mod signal;
mod site;
mod text;

pub use context::{Context, Verdict};
pub use errno::Errno;
pub use hotpatch_abi as abi;
pub use hotpatch_abi::Frame;
pub use plain::Plain;
#[doc(hidden)]
pub use runtime::log_line;
pub use runtime::{
    environment, fail, read, read_bytes, read_string, read_to_zero, syscall, write, write_bytes,
};
pub use set::SyscallSet;
pub use setting::Setting;
pub use signal::{Interrupted, Signal};
pub use site::{Kind, Kinds, Site};
pub use text::Text;

/// What happens to threads and processes besides their calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A thread is about to run its first instruction.
    ThreadStart,
    /// The thread ends.
    ThreadEnd,
    /// The process has just been forked; this is the child.
    ForkChild,
    /// An exec follows, which may fail.
    BeforeExec,
    /// The process ends by `exit_group`.
    Exit,
}

/// A hook. One value of it serves all threads.
pub trait Hook: Sync + 'static {
    /// The system calls it is called for; all others pass at no cost.
    const SYSCALLS: SyscallSet = SyscallSet::all();

    /// The kinds of instruction it is called for.
    const KINDS: Kinds = Kinds::SYSCALL;

    /// [`Frame::rbx`] and what follows it are neither read nor changed, which makes calls a little cheaper.
    const ARGUMENTS_ONLY: bool = false;

    /// The registers are read and never changed, but by [`Verdict::Answer`], which makes calls cheaper. What is changed
    /// nevertheless has no meaning.
    const READS_ONLY: bool = false;

    /// Hosted hooks: the vector registers that they touch, with all that they call: of [`abi::vectors`].
    const VECTORS: u32 = abi::vectors::ALL;

    /// Hosted hooks: something is used that libc or std keeps for each thread (`errno`, `malloc`'s caches, a panic's count).
    /// Without it calls are cheaper, and the stack is that of freestanding hooks.
    const THREAD_STATE: bool = true;

    /// Called once, before the program runs and before all others: the place to read settings.
    ///
    /// # Errors
    /// Whatever makes the hook useless: it is then not called again, and the log says so.
    fn start(&self) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether [`select`](Self::select) is asked; a hook that is not is called a little faster.
    const SELECTS: bool = false;

    /// Whether the hook is called at this instruction. Asked once for each candidate, before the program runs, if
    /// [`SELECTS`](Self::SELECTS) says so. A candidate has no [`id`](Site::id) yet.
    fn select(&self, site: Site<'_>) -> bool {
        let _ = site;
        true
    }

    /// An instruction is about to be executed.
    fn before(&self, context: &mut Context<'_>) -> Verdict;

    /// An instruction has been executed, for which `before` said [`Verdict::RunAndReturn`].
    fn after(&self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Something else happened. `slot` is the thread's, as [`Context::slot`].
    fn event(&self, event: Event, slot: &mut u64) {
        let _ = (event, slot);
    }

    /// Whether [`signal`](Self::signal) is called.
    const SIGNALS: bool = false;

    /// A signal comes to the program, if [`SIGNALS`](Self::SIGNALS) says so: its handler is about to run, or has come to
    /// its end. What no handler of the program sees is not told, but for faults that end the process.
    fn signal(&self, signal: &mut Signal<'_>) {
        let _ = signal;
    }
}
