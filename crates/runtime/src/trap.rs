//! Calls from memory that cannot be patched: the kernel makes signals of them (Syscall User Dispatch).
//!
//! | memory | |
//! |---|---|
//! | writable and executable at once | what is patched there would be seen, and overwritten |
//! | shared and executable | another mapping of it may be writable |
//! | code that was left native when it came | |
//!
//! Where there is such memory, and hooks, each thread has the calls that are made there become SIGSYS. The handler sends
//! the thread on to the site's own slot (`slots.rs`), which from then on is what a block is to a patched site: the
//! program's registers are those of the call, nothing has happened yet. A slot is claimed when a site is first seen.
//!
//! That costs every call of the process something, so it does not begin before there is such memory. `own.rs` has what
//! each thread needs for it: SIGSYS must never be blocked then, and there must be a stack for its frame.
//!
//! After start-up: no heap, no lock but that of late.rs, no panic.
//!
//! # Safety
//! I21: a slot's words; I14: what is written under the lock.

pub mod own;
pub mod range;
pub mod slots;

use alloc::vec::Vec;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use hotpatch_plan::search::Search as _;

use crate::arch::Sse2;
use crate::areas;
use crate::config::Trap;
use crate::hooking::Hooking;
use crate::hooks;
use crate::hosted;
use crate::internal::is_filtered;
use crate::labels;
use crate::late::{self, Lock, Settings};
use crate::lazy;
use crate::line::Line;
use crate::maps::Mapping;
use crate::memory;
use crate::pages::Range;
use crate::services;
use crate::signal;
use crate::signal::disposition::{IGNORE, SYSTEM};
use crate::sys::{self, Dispatch};
use crate::thread::Block;
use range::{Code, Content};

/// No call becomes a signal in this process.
const NEVER: u32 = 0;
/// Any may.
const READY: u32 = 1;
/// Some do.
const ON: u32 = 2;
/// None does any more; threads that have not been asked since still have it so.
const OVER: u32 = 3;

// Relaxed wherever it is read: it says what is to be done, not what is there.
static STATE: AtomicU32 = AtomicU32::new(NEVER);
/// Counts the ranges, by twos; odd while one is being written.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static RANGE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
/// The range is what is not caught.
static OUTSIDE: AtomicU32 = AtomicU32::new(0);

/// Start-up: what the setting and the hooks allow.
pub fn allow(setting: Trap) {
    // The calls of a hosted libc, on the program's threads, would become signals too.
    let ready = setting != Trap::Off && hooks::are_there() && !hosted::are_there();
    STATE.store(if ready { READY } else { NEVER }, Ordering::Relaxed);
}

/// Whether SIGSYS may have to reach the runtime.
#[must_use]
pub fn is_possible() -> bool {
    matches!(STATE.load(Ordering::Relaxed), READY | ON)
}

/// Whether calls have become signals, in this thread or in another.
#[must_use]
pub fn has_begun() -> bool {
    STATE.load(Ordering::Relaxed) >= ON
}

fn is_on() -> bool {
    STATE.load(Ordering::Relaxed) == ON
}

/// Whether this thread has not what it should have.
#[must_use]
pub fn is_stale(block: &Block) -> bool {
    block.trap.armed != GENERATION.load(Ordering::Relaxed)
}

/// What the kernel is to be told: the generation, which calls, from where on, how many bytes.
fn told() -> Option<(u32, Dispatch, u64, u64)> {
    // Acquire: pairs with the Release in `publish`; the fence with the one there.
    let generation = GENERATION.load(Ordering::Acquire);
    let [start, end] = [0, 1].map(|n| RANGE.get(n).map_or(0, |w| w.load(Ordering::Relaxed)));
    let outside = OUTSIDE.load(Ordering::Relaxed) != 0;
    fence(Ordering::Acquire);
    let same = GENERATION.load(Ordering::Relaxed) == generation;
    let which = if outside {
        Dispatch::Outside
    } else {
        Dispatch::Inside
    };
    (is_on() && same && generation != 0 && generation.is_multiple_of(2)).then_some((
        generation,
        which,
        start,
        end - start,
    ))
}

fn publish(range: Range) {
    // Relaxed: the lock's holder alone writes.
    let generation = GENERATION.load(Ordering::Relaxed);
    GENERATION.store(generation | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    for (word, value) in RANGE.iter().zip([range.start, range.end]) {
        word.store(value, Ordering::Relaxed);
    }
    // Release: pairs with the Acquire in `told`.
    GENERATION.store((generation | 1).wrapping_add(1).max(2), Ordering::Release);
}

/// The range that is caught, or that is not.
fn published() -> Option<Range> {
    (GENERATION.load(Ordering::Relaxed) != 0).then(|| Range {
        start: RANGE.first().map_or(0, |w| w.load(Ordering::Relaxed)),
        end: RANGE.last().map_or(0, |w| w.load(Ordering::Relaxed)),
    })
}

/// Where no trampolines may be put.
#[must_use]
pub fn reserved() -> Option<Range> {
    published().filter(|_| is_on() && OUTSIDE.load(Ordering::Relaxed) == 0)
}

fn is_caught(range: Range) -> bool {
    let outside = OUTSIDE.load(Ordering::Relaxed) != 0;
    is_on()
        && published().is_some_and(|published| match outside {
            true => !published.overlaps(range),
            false => published.holds(range),
        })
}

/// What is said where they are not caught.
const NATIVE: &[u8] = b"calls from code that cannot be patched run natively";

/// Says why they are not, if they were.
pub fn say_native(why: &[u8]) {
    if is_on() {
        services::say(NATIVE, why);
    }
}

/// Ends it for all threads that begin from now on.
pub fn end() {
    let state = if is_on() { OVER } else { NEVER };
    if STATE.load(Ordering::Relaxed) != OVER {
        STATE.store(state, Ordering::Relaxed);
    }
}

/// Ends it, for this thread too: the program does something that leaves it no room.
#[cold]
pub fn give_up(block: Option<&mut Block>, why: &[u8]) {
    let was_on = is_on();
    end();
    if !was_on {
        return;
    }
    services::say(NATIVE, why);
    if let Some(block) = block
        && block.trap.armed != 0
    {
        own::leave(block);
    }
}

/// How many times such memory has come.
static CAME: AtomicU32 = AtomicU32::new(0);

/// Memory whose calls cannot be seen is in `range` from now on.
#[inline(never)]
pub fn came(range: Range, lock: &Lock) {
    let first = CAME.fetch_add(1, Ordering::Relaxed) == 0;
    if is_caught(range) || is_filtered() {
        return;
    }
    if is_possible() {
        late::with(lock, look);
    } else if first {
        let mut line: Line<64> = Line::new();
        let bytes = range.end.saturating_sub(range.start);
        let _ = write!(line, "the first of it has {bytes} bytes");
        services::say(NATIVE, line.bytes());
    }
}

/// The same for what start-up finds.
///
/// # Safety
/// I14: start-up's alone, when late.rs has begun.
pub unsafe fn begin_at_start() {
    CAME.fetch_add(1, Ordering::Relaxed);
    if !is_possible() {
        return;
    }
    // SAFETY: as the caller promises.
    unsafe { late::with_at_start(look) };
}

/// Start-up's end: signals are blocked as the program will have them.
pub fn arm_at_start() {
    let lazy = lazy::is_on();
    if (is_on() || lazy)
        && let Some(block) = signal::own_block()
    {
        if lazy {
            areas::look_at_masks();
            own::take_stack(block);
        }
        if is_on() {
            own::arm(block);
        }
    }
}

/// Memory has moved to `range`: such memory, or other.
pub fn moved(range: Range, lock: &Lock) {
    if is_on() && !is_caught(range) && !is_filtered() {
        late::with(lock, |hooking, maps, settings| {
            let there = |m: &Mapping<'_>| m.start < range.end && range.start < m.end;
            if maps.iter().any(|m| there(m) && is_unseen(m)) {
                look(hooking, maps, settings);
            }
        });
    }
}

/// Looks at what is mapped, and begins or goes on accordingly. Threads learn of it when they next make a call.
pub(crate) fn look(hooking: &mut Hooking, maps: &[Mapping<'_>], settings: &Settings) {
    let code = code(maps);
    if !code.iter().any(|code| code.content == Content::Unseen) {
        return;
    }
    if STATE.load(Ordering::Relaxed) == READY && !begin(hooking, maps, settings) {
        return;
    }
    // The first slots are ours too.
    let code = self::code(maps);
    let outside = OUTSIDE.load(Ordering::Relaxed) != 0;
    let range = match outside {
        true => range::outside(&code),
        false => range::inside(&code),
    };
    if let Some(range) = range {
        publish(range);
        if sys::threads() > 1 {
            areas::look_at_all();
        }
    }
    say(&code, settings);
}

/// How many pieces of code that stay native are known.
const LEFT: usize = 64;
static PIECES: [[AtomicU64; 2]; LEFT] = [const { [const { AtomicU64::new(0) }; 2] }; LEFT];
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Code in `range` stays native, and calls from there are to be caught. By start-up, or the lock's holder.
pub fn leave(range: Range) {
    let known = |piece: Range| piece.holds(range);
    if !is_possible() || range.start >= range.end || pieces().any(known) {
        return;
    }
    // Where there are more they run natively.
    let count = COUNT.load(Ordering::Relaxed);
    if let Some([start, end]) = PIECES.get(count as usize) {
        start.store(range.start, Ordering::Relaxed);
        end.store(range.end, Ordering::Relaxed);
        COUNT.store(count + 1, Ordering::Relaxed);
    }
}

/// How often there has been more of it.
#[must_use]
pub fn pieces_left() -> u32 {
    COUNT.load(Ordering::Relaxed)
}

fn pieces() -> impl Iterator<Item = Range> {
    let count = COUNT.load(Ordering::Relaxed) as usize;
    PIECES.iter().take(count).map(|[start, end]| Range {
        start: start.load(Ordering::Relaxed),
        end: end.load(Ordering::Relaxed),
    })
}

/// What can be executed, in order of address.
fn code(maps: &[Mapping<'_>]) -> Vec<Code> {
    let executable = maps.iter().filter(|m| m.executable);
    let mapped = executable.map(|m| Code {
        range: Range {
            start: m.start,
            end: m.end,
        },
        content: if is_unseen(m) {
            Content::Unseen
        } else {
            Content::Seen
        },
    });
    let own = [labels::own()].into_iter();
    // Hooks have the library make their calls, as a rule.
    let makes_calls = |range: &Range| {
        let mut found = false;
        if let Some(bytes) = memory::read(maps, *range) {
            Sse2.syscalls(bytes, &mut |_| found = true);
        }
        found
    };
    let in_hook = |m: &&Mapping<'_>| m.executable && services::hook_at(m.start).is_some();
    let hooks = maps.iter().filter(in_hook).map(|m| Range {
        start: m.start,
        end: m.end,
    });
    let ours = own
        .chain(hooks.filter(makes_calls))
        .chain(areas::all().map(|area| area.mapped));
    let mut all: Vec<Code> = ours
        .map(|range| Code {
            range,
            content: Content::Ours,
        })
        .collect();
    // Something else may have come where such code was.
    let there = |piece: &Range| {
        let executed = |m: &Mapping<'_>| m.executable && m.start < piece.end && piece.start < m.end;
        maps.iter().any(executed) && !all.iter().any(|ours| ours.range.overlaps(*piece))
    };
    let left: Vec<Range> = pieces().filter(there).collect();
    let left = left.into_iter().map(|range| Code {
        range,
        content: Content::Unseen,
    });
    all.extend(left.chain(mapped));
    range::in_order(all)
}

/// Whether what is called there cannot be patched.
#[must_use]
pub fn is_unseen(m: &Mapping<'_>) -> bool {
    let kernels = m.name.starts_with(b"[v") || m.name.starts_with(b"[uprobes");
    m.executable && (m.writable || m.shared) && !kernels
}

/// The first such memory has come. Answers whether its calls can be caught.
fn begin(hooking: &mut Hooking, maps: &[Mapping<'_>], settings: &Settings) -> bool {
    let refuse = |why: &[u8]| {
        STATE.store(NEVER, Ordering::Relaxed);
        services::say(NATIVE, why);
        false
    };
    let Ok(now) = sys::disposition(SYSTEM, None) else {
        return refuse(b"its signal cannot be had");
    };
    if now.handler == IGNORE {
        return refuse(b"the program ignores SIGSYS");
    }
    // Nothing is called there.
    let outside = match sys::dispatch(Dispatch::Inside, 1, 1) {
        Ok(()) => false,
        Err(_) => true,
    };
    if sys::dispatch(Dispatch::Off, 0, 0).is_err() {
        return refuse(b"the kernel has no system call user dispatch");
    }
    if !slots::more(hooking, maps, settings) {
        return refuse(b"no memory for their way back");
    }
    OUTSIDE.store(u32::from(outside), Ordering::Relaxed);
    STATE.store(ON, Ordering::Relaxed);
    signal::renew(SYSTEM);
    areas::look_at_masks();
    true
}

/// Says how much there is, when that has become more.
fn say(code: &[Code], settings: &Settings) {
    static SAID: AtomicU64 = AtomicU64::new(0);
    let all = range::missed(code, |_| false);
    if all <= SAID.swap(all, Ordering::Relaxed) {
        return;
    }
    let missed = range::missed(code, is_caught);
    let (log, mut report) = settings.outputs();
    report.unseen(all, missed);
    let mut line: Line<160> = Line::new();
    let _ = write!(
        line,
        "{all} bytes of code cannot be patched; calls from there are caught"
    );
    if missed > 0 {
        // What hooks miss is said where hooks speak.
        let _ = write!(line, ", but for {missed} bytes, where they run natively");
        services::say(b"trap", line.bytes());
        return;
    }
    if log.is_open() {
        log.say(format_args!("{}", line.as_str()));
    }
}

/// There is no room for another site.
#[cold]
pub fn full() {
    STATE.store(OVER, Ordering::Relaxed);
    services::say(NATIVE, b"there is no room for more of them");
}

/// The word that tells a call made by `int $0x80` from others.
const OLD_CALLS: u32 = 0x4000_0003;

/// The instruction before `next` is a call that has become a signal. Answers where it goes on.
///
/// `architecture` as the kernel states it.
#[must_use]
pub fn way(next: u64, architecture: u32) -> Option<u64> {
    let slot = slots::find(next).or_else(|| claim(next))?;
    Some(slot.enter(architecture == OLD_CALLS))
}

/// A slot for a site that has not been seen before.
#[cold]
#[inline(never)]
fn claim(next: u64) -> Option<slots::Slot> {
    if is_filtered() || areas::is_unhooked() {
        return slots::take_plain(next);
    }
    // This thread is at an instruction of the program, so it does not hold the lock.
    let lock = Lock::take();
    if slots::find(next).is_none() {
        late::with(&lock, |hooking, maps, settings| {
            slots::claim(hooking, maps, settings, next)
        });
    }
    slots::find(next)
}
