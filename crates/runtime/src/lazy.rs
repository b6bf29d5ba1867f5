//! Files that are not patched before they are executed (`LIBHOTPATCH_LAZY=1`): their code may be read, not executed, and
//! the first fault in it has it patched, as code that comes late.
//!
//! The kernel ends a process that cannot take a fault: one that blocks SIGSEGV. So whatever could lead to that has all
//! files patched that still wait: a change of the mask, a handler with a mask, a thread, a filter. Until then there is
//! one thread, and no handler but ours. The fault's frame lies on a stack of ours (`trap/own.rs`), as the program's may have
//! no room for it.
//!
//! After start-up: no heap, no lock but that of late.rs, no panic.
//!
//! # Safety
//! I5: what is protected is code of a file that no thread executes before it is given back.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::late::{self, Lock};
use crate::maps::Mapping;
use crate::object::Object;
use crate::pages::{PAGE, Range};
use crate::patch::Threads;
use crate::signal::disposition::{DEFAULT, bit};
use crate::sys::{self, Protection};

/// SIGSEGV.
pub const FAULT: u32 = 11;

/// How many files can wait, those that have been patched since included.
const MOST: usize = 512;
static WAITING: [[AtomicU64; 2]; MOST] = [const { [const { AtomicU64::new(0) }; 2] }; MOST];
/// How many there have been.
static COUNT: AtomicU32 = AtomicU32::new(0);
/// How many still wait.
static LEFT: AtomicU32 = AtomicU32::new(0);
/// More may come.
static OPEN: AtomicBool = AtomicBool::new(false);

// Relaxed, all of these: there is one thread.

/// Start-up: whether files may wait in this process.
#[must_use]
pub fn begin() -> bool {
    let usual = sys::disposition(FAULT, None).is_ok_and(|now| now.handler == DEFAULT);
    let open = usual && sys::blocked() & bit(FAULT) == 0 && gives_back();
    OPEN.store(open, Ordering::Relaxed);
    open
}

/// Whether the kernel gives back what has been taken away: some policies do not.
fn gives_back() -> bool {
    let page = PAGE as usize;
    let Ok(at) = sys::map_anywhere(0, page, Protection::ReadExecute) else {
        return false;
    };
    let ways = [Protection::Read, Protection::ReadExecute];
    // SAFETY: a page that nobody else knows.
    let gives = ways
        .into_iter()
        .all(|way| unsafe { sys::protect(at, page, way) }.is_ok());
    // SAFETY: as above.
    let _ = unsafe { sys::unmap(at, page) };
    gives && !sys::denies_write_execute()
}

/// Whether files wait, or may come to.
#[must_use]
pub fn is_on() -> bool {
    OPEN.load(Ordering::Relaxed)
}

fn waiting() -> impl Iterator<Item = (&'static AtomicU64, Range)> {
    let count = COUNT.load(Ordering::Relaxed) as usize;
    WAITING.iter().take(count).filter_map(|[start, end]| {
        let range = Range {
            start: start.load(Ordering::Relaxed),
            end: end.load(Ordering::Relaxed),
        };
        (range.end != 0).then_some((end, range))
    })
}

/// Has a file wait that start-up has found, if all of its code is one mapping.
#[must_use]
pub fn defer_file(object: &Object<'_>, maps: &[Mapping<'_>]) -> bool {
    let code = &object.code;
    let parts = maps.iter().filter(|m| m.executable && m.same_file(code));
    let range = Range {
        start: code.start,
        end: code.end,
    };
    is_on()
        && object.base.is_file()
        && code.readable
        && !code.writable
        && parts.count() == 1
        && defer(range)
}

/// Has code in `range` wait, which is readable and of a file.
fn defer(range: Range) -> bool {
    let count = COUNT.load(Ordering::Relaxed);
    let Some([start, end]) = WAITING.get(count as usize) else {
        return false;
    };
    let len = (range.end - range.start) as usize;
    // SAFETY: I5: nobody executes it before it is given back.
    if unsafe { sys::protect(range.start as usize, len, Protection::Read) }.is_err() {
        return false;
    }
    start.store(range.start, Ordering::Relaxed);
    end.store(range.end, Ordering::Relaxed);
    COUNT.store(count + 1, Ordering::Relaxed);
    LEFT.fetch_add(1, Ordering::Relaxed);
    true
}

/// How many files wait.
#[must_use]
pub fn left() -> u32 {
    LEFT.load(Ordering::Relaxed)
}

/// Whether a thread that has met a fault at `rip` has been about to execute code that waits.
#[must_use]
pub fn holds(rip: u64) -> bool {
    left() != 0 && waiting().any(|(_, range)| range.start <= rip && rip < range.end)
}

/// Patches what waits in `range`.
#[cold]
#[inline(never)]
pub fn arrive(range: Range, lock: &Lock) {
    for (end, code) in waiting().filter(|(_, code)| code.overlaps(range)) {
        end.store(0, Ordering::Relaxed);
        LEFT.fetch_sub(1, Ordering::Relaxed);
        let len = (code.end - code.start) as usize;
        // SAFETY: I5: as it was mapped.
        let _ = unsafe { sys::protect(code.start as usize, len, Protection::ReadExecute) };
        // This is the only thread, and it is here.
        late::arrived(code, Threads::One, lock);
    }
}

/// Patches all that waits: faults may not come to us from here on.
pub fn end() {
    if !OPEN.swap(false, Ordering::Relaxed) || left() == 0 {
        return;
    }
    let lock = Lock::take();
    let all = Range {
        start: 0,
        end: u64::MAX,
    };
    arrive(all, &lock);
}

/// Start-up could not begin with hooks: nothing waits, and nothing is patched.
///
/// # Safety
/// The program has not run yet.
pub unsafe fn abandon() {
    OPEN.store(false, Ordering::Relaxed);
    for (end, code) in waiting() {
        end.store(0, Ordering::Relaxed);
        let len = (code.end - code.start) as usize;
        // SAFETY: I5: as it was mapped.
        let _ = unsafe { sys::protect(code.start as usize, len, Protection::ReadExecute) };
    }
    LEFT.store(0, Ordering::Relaxed);
}

/// Has code wait that a file has just been mapped to, if it may.
#[must_use]
pub fn defer_mapped(range: Range) -> bool {
    is_on() && defer(range)
}

/// The program is about to change what is mapped in `range`.
pub fn touch(range: Range) {
    if left() != 0 && waiting().any(|(_, code)| code.overlaps(range)) {
        let lock = Lock::take();
        arrive(range, &lock);
    }
}

/// Ends it where a mask has SIGSEGV.
pub fn blocks(mask: u64) {
    if is_on() && mask & bit(FAULT) != 0 {
        end();
    }
}
