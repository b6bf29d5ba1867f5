//! Work that may fail anywhere without taking the program along.
//!
//! A panic (out of memory, a bug in the planner) ends the work that is guarded here, not the process.
//!
//! # Safety
//! I3: guarded work owns nothing but arena memory and what its caller closes; one thread at a time runs it.

use core::cell::UnsafeCell;
use core::fmt::{self, Write as _};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::arch::{self, Ended, Guard};
use crate::line::Line;
use crate::start::STACK;

/// What a panic said.
pub type LastWords = Line<240>;

struct State {
    words: LastWords,
}

struct Shared(UnsafeCell<State>);

// SAFETY: I3: one thread uses it.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    words: LastWords::new(),
}));

/// The innermost guard; null while nothing is guarded.
static GUARD: AtomicPtr<Guard> = AtomicPtr::new(ptr::null_mut());

/// Where the stack of the guarded work ends.
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` on the stack that ends at `stack` (0: the present one).
///
/// # Errors
/// What the panic said that ended it.
///
/// # Safety
/// I3; `stack` is 0 or as for [`arch::guarded`].
// The words cannot be allocated: they may say that there is no memory.
#[allow(clippy::result_large_err)]
pub unsafe fn rescue<T, F: FnOnce() -> T>(stack: usize, work: F) -> Result<T, LastWords> {
    struct Job<T, F> {
        work: Option<F>,
        result: MaybeUninit<T>,
    }
    unsafe extern "C" fn run<T, F: FnOnce() -> T>(job: *mut u8) {
        // SAFETY: `rescue` passes its own `Job`, which outlives the call.
        let job = unsafe { &mut *job.cast::<Job<T, F>>() };
        if let Some(work) = job.work.take() {
            job.result.write(work());
        }
    }
    let mut job = Job {
        work: Some(work),
        result: MaybeUninit::uninit(),
    };
    let mut guard = Guard::default();
    if stack != 0 {
        STACK_END.store(stack, Ordering::Relaxed);
        OUTSIDE.store(&raw mut guard, Ordering::Relaxed);
    }
    let outer = swap_guard((&raw const guard).cast_mut());
    // SAFETY: as the caller promises; `guard` and `job` live until it returns.
    let ended = unsafe { arch::guarded(run::<T, F>, (&raw mut job).cast(), stack, &raw mut guard) };
    swap_guard(outer);
    match ended {
        // SAFETY: `run` has written the result before it returned.
        Ended::Returned => Ok(unsafe { job.result.assume_init() }),
        // SAFETY: I3.
        Ended::GaveUp => Err(unsafe { (*STATE.0.get()).words.clone() }),
    }
}

fn swap_guard(guard: *mut Guard) -> *mut Guard {
    // Relaxed, and STACK_END too: what other threads find here is not theirs.
    GUARD.swap(guard, Ordering::Relaxed)
}

/// The guard of work that has a stack of its own.
static OUTSIDE: AtomicPtr<Guard> = AtomicPtr::new(ptr::null_mut());

/// Calls `work(data)`, which is not ours, on the stack from which guarded work was begun.
///
/// # Safety
/// The caller is guarded work with a stack of its own, on this thread.
pub unsafe fn outside(work: unsafe extern "C" fn(*mut u8), data: *mut u8) {
    // SAFETY: as the caller promises: the guard is there, and of its stack nothing below is used.
    let stack = unsafe { OUTSIDE.load(Ordering::Relaxed).as_ref() }.map_or(0, Guard::free);
    let mut guard = Guard::default();
    // SAFETY: as above; nobody gives up to that guard.
    unsafe { arch::guarded(work, data, stack, &raw mut guard) };
}

/// In the child of a fork: work that another thread was doing has nobody to come back to.
pub fn forget() {
    GUARD.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Whether it is guarded work that asks.
#[must_use]
pub fn is_guarded() -> bool {
    let here = 0u8;
    guards(ptr::from_ref(&here).addr())
}

/// Whether `address` is on the stack of guarded work.
#[must_use]
pub fn guards(address: usize) -> bool {
    let below = STACK_END.load(Ordering::Relaxed).wrapping_sub(address);
    !GUARD.load(Ordering::Relaxed).is_null() && below < STACK.size()
}

/// Ends the innermost guarded work with these words.
///
/// Outside of it there is nobody to go back to. Nothing of ours runs there, so this is never seen.
pub fn end_work(words: fmt::Arguments<'_>) -> ! {
    let state = STATE.0.get();
    // SAFETY: I3.
    let state = unsafe { &mut *state };
    state.words = LastWords::new();
    let _ = state.words.write_fmt(words);
    // SAFETY: a guard is there only while its call is under way.
    if let Some(guard) = unsafe { GUARD.load(Ordering::Relaxed).as_ref() } {
        // SAFETY: as above.
        unsafe { arch::give_up(guard) }
    }
    crate::sys::exit(127)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    match info.location() {
        // A place in the standard library says nothing: mostly it is an allocation that failed.
        Some(place) if !place.file().starts_with("/rustc/") => end_work(format_args!(
            "{} ({}:{})",
            info.message(),
            place.file(),
            place.line()
        )),
        _ => end_work(format_args!("{}", info.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the state is the process's, as it is where it is used.
    #[test]
    fn the_innermost_guard_takes_it() {
        let outer = || {
            // SAFETY: only this test uses `rescue`.
            let inner: Result<(), _> =
                unsafe { rescue(0, || end_work(format_args!("no room at {:#x}", 64))) };
            assert_eq!(inner.unwrap_err().as_str(), "no room at 0x40");
            5
        };
        // SAFETY: as above.
        let outer = unsafe { rescue(0, outer) };
        assert_eq!(outer.unwrap(), 5);
    }
}
