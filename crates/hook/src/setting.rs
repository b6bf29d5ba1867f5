//! Settings: variables of the environment, kept.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::{Errno, environment};

/// A variable of the environment, of at most `N` bytes: loaded in [`start`](crate::Hook::start), there for good.
///
/// ```
/// use hotpatch_hook::{Context, Errno, Hook, Setting, Verdict};
///
/// static PATHS: Setting<1024> = Setting::new("DENY_PATHS");
///
/// struct Deny;
///
/// impl Hook for Deny {
///     fn start(&self) -> Result<(), Errno> {
///         PATHS.load()
///     }
///
///     fn before(&self, context: &mut Context<'_>) -> Verdict {
///         let mut buffer = [0; 1024];
///         let path = context.read_string(context.argument(1), &mut buffer).unwrap_or(b"");
///         match PATHS.get().is_some_and(|paths| paths.split(|b| *b == b':').any(|p| p == path)) {
///             true => context.refuse(Errno::EACCES),
///             false => Verdict::Run,
///         }
///     }
/// }
/// # assert_eq!(PATHS.get(), None);
/// ```
#[derive(Debug)]
pub struct Setting<const N: usize> {
    name: &'static str,
    bytes: UnsafeCell<[u8; N]>,
    /// One more than the value's length; 0 while there is none.
    filled: AtomicUsize,
}

// SAFETY: the bytes are written by the one call of `load` that finds it empty, before `filled` says that they may be read.
unsafe impl<const N: usize> Sync for Setting<N> {}

/// Stands in `filled` while the bytes are written.
const LOADING: usize = usize::MAX;

impl<const N: usize> Setting<N> {
    /// The variable `name`, not yet loaded.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            bytes: UnsafeCell::new([0; N]),
            filled: AtomicUsize::new(0),
        }
    }

    /// Reads the variable. Not set is no error.
    ///
    /// # Errors
    /// `ENAMETOOLONG` where it has more than `N` bytes.
    pub fn load(&self) -> Result<(), Errno> {
        // Acquire: whoever loads again after a failure sees what the last one wrote.
        let empty = self
            .filled
            .compare_exchange(0, LOADING, Ordering::Acquire, Ordering::Relaxed);
        if empty.is_err() {
            return Ok(());
        }
        // SAFETY: the exchange above lets one in.
        let found = environment(self.name, unsafe { &mut *self.bytes.get() });
        let (filled, result) = match found {
            Ok(value) => (value.len() + 1, Ok(())),
            Err(Errno::ENOENT) => (0, Ok(())),
            Err(error) => (0, Err(error)),
        };
        // Release: pairs with the Acquire in `get`.
        self.filled.store(filled, Ordering::Release);
        result
    }

    /// Its value, if it is set.
    #[must_use]
    pub fn get(&self) -> Option<&[u8]> {
        // Acquire: pairs with the Release in `load`.
        match self.filled.load(Ordering::Acquire) {
            0 | LOADING => None,
            // SAFETY: written, and never again.
            filled => unsafe { (*self.bytes.get()).get(..filled - 1) },
        }
    }
}
