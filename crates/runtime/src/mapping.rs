//! The looks at calls that change what is mapped: code that comes, code that goes, and pages of ours that stay.
//!
//! | the call | what is done |
//! |---|---|
//! | makes memory executable that nobody may write to | late.rs patches it before the program gets the result |
//! | makes memory executable that others may write to | trap.rs catches its calls |
//! | takes patched code away | its trampolines are retired: a thread may sleep in one |
//! | moves patched code, or takes a part of it away | the original bytes are put back first |
//! | names pages of ours | these are left out: to the program nothing is mapped there |
//! | anything else | is executed as any call is |
//!
//! After start-up: no heap, no panic; the lock of late.rs where code comes or goes.
//!
//! # Safety
//! I5: calls are the program's own, as far as they leave our pages alone.

use hotpatch_abi::Frame;
use linux_raw_sys::general as k;

use crate::areas;
use crate::internal::{Next, execute, is_filtered};
use crate::late::{self, Lock};
use crate::lazy;
use crate::ours;
use crate::pages::{PAGE, Range};
use crate::patch::Threads;
use crate::sys::{self, Errno};
use crate::trap;

/// The look at one of them.
pub fn before(frame: &mut Frame) -> Next {
    let Frame {
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        ..
    } = *frame;
    if lazy::left() != 0 {
        match frame.rax as u32 {
            k::__NR_mmap if r10 as u32 & k::MAP_FIXED == 0 => {}
            k::__NR_shmat => lazy::end(),
            _ => lazy::touch(pages(rdi, rsi)),
        }
        if frame.rax as u32 == k::__NR_mremap && r10 as u32 & k::MREMAP_FIXED != 0 {
            lazy::touch(pages(r8, rdx));
        }
    }
    match frame.rax as u32 {
        k::__NR_mmap => map(frame, pages(rdi, rsi), rdx as u32, r10 as u32),
        k::__NR_mprotect | k::__NR_pkey_mprotect => protect(frame, pages(rdi, rsi), rdx as u32),
        k::__NR_munmap => unmap(frame, pages(rdi, rsi)),
        k::__NR_mremap => {
            let to = (r10 as u32 & k::MREMAP_FIXED != 0).then_some(pages(r8, rdx));
            remap(frame, pages(rdi, rsi), to)
        }
        k::__NR_shmat if rdx as u32 & (SHM_REMAP | SHM_EXEC) != 0 => attach(frame, rsi),
        _ => Next::Run,
    }
}

/// Of `shmat`: what is mapped there may go.
const SHM_REMAP: u32 = 0o40000;
/// It may be executed.
const SHM_EXEC: u32 = 0o100000;

/// Whole pages; nothing where that is not what the kernel would take.
fn pages(start: u64, len: u64) -> Range {
    let end = start.saturating_add(len).checked_next_multiple_of(PAGE);
    Range {
        start,
        end: end.unwrap_or(u64::MAX),
    }
}

fn answer(frame: &mut Frame, error: Errno) -> Next {
    frame.rax = u64::from(error.0).wrapping_neg();
    Next::Answered
}

fn map(frame: &mut Frame, place: Range, protection: u32, flags: u32) -> Next {
    let fixed = flags & k::MAP_FIXED != 0;
    if fixed && ours::first_in(place).is_some() {
        return answer(frame, Errno::NOMEM);
    }
    let replaces = fixed && areas::touching(place).next().is_some();
    let executable = protection & k::PROT_EXEC != 0;
    let comes = is_code(protection) && flags & k::MAP_TYPE == k::MAP_PRIVATE;
    let unseen = executable && !comes;
    if !executable && !replaces {
        return Next::Run;
    }
    let lock = Lock::take();
    let threads = if replaces && sys::threads() > 1 {
        Threads::Many
    } else {
        Threads::One
    };
    if replaces {
        late::undo_parts(place, &lock);
    }
    let at = execute(frame);
    if replaces {
        gone(place, at, &lock);
    }
    if comes && !is_error(at) {
        let start = at as u64;
        let end = start + (place.end - place.start);
        let of_file = flags & k::MAP_ANONYMOUS == 0 && protection & k::PROT_READ != 0;
        if !(of_file && lazy::defer_mapped(Range { start, end })) {
            late::arrived(Range { start, end }, threads, &lock);
        }
    }
    if unseen && !is_error(at) {
        let start = at as u64;
        let end = start + (place.end - place.start);
        trap::came(Range { start, end }, &lock);
    }
    Next::Answered
}

fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

fn is_code(protection: u32) -> bool {
    protection & (k::PROT_EXEC | k::PROT_WRITE) == k::PROT_EXEC
}

fn protect(frame: &mut Frame, range: Range, protection: u32) -> Next {
    if let Some(ours) = ours::first_in(range) {
        // As where nothing is mapped: what lies before it has changed.
        if range.start < ours.start {
            frame.rsi = ours.start - range.start;
            if is_error(execute(frame)) {
                return Next::Answered;
            }
        }
        return answer(frame, Errno::NOMEM);
    }
    let writable = protection & k::PROT_WRITE != 0;
    let executable = protection & k::PROT_EXEC != 0;
    if !(executable || writable && late::rewrites(range)) {
        if !writable {
            late::all_is_mapped();
        }
        return Next::Run;
    }
    let lock = Lock::take();
    if writable {
        late::undo_generated(range, &lock);
    }
    if !is_error(execute(frame)) && executable {
        if !writable {
            late::arrived(range, Threads::One, &lock);
        }
        if writable {
            trap::came(range, &lock);
        }
    }
    Next::Answered
}

fn unmap(frame: &mut Frame, range: Range) -> Next {
    if ours::first_in(range).is_some() {
        return unmap_around(frame, range);
    }
    if areas::touching(range).next().is_none() {
        return Next::Run;
    }
    let lock = Lock::take();
    late::undo_parts(range, &lock);
    let result = execute(frame);
    gone(range, result, &lock);
    Next::Answered
}

/// Unmaps all but our own pages.
fn unmap_around(frame: &mut Frame, range: Range) -> Next {
    if !range.start.is_multiple_of(PAGE) {
        return Next::Run; // an error, whatever is there
    }
    let lock = Lock::take();
    late::undo_parts(range, &lock);
    let mut at = range.start;
    while at < range.end {
        let ours = ours::first_in(Range { start: at, ..range });
        let end = ours.map_or(range.end, |ours| ours.start);
        if at < end {
            (frame.rdi, frame.rsi) = (at, end - at);
            frame.rax = u64::from(k::__NR_munmap);
            let result = execute(frame);
            gone(Range { start: at, end }, result, &lock);
            if is_error(result) {
                return Next::Answered;
            }
        }
        at = ours.map_or(range.end, |ours| ours.end);
    }
    frame.rax = 0;
    Next::Answered
}

fn remap(frame: &mut Frame, from: Range, to: Option<Range>) -> Next {
    if ours::first_in(from).is_some() {
        return answer(frame, Errno::FAULT);
    }
    if to.is_some_and(|to| ours::first_in(to).is_some()) {
        return answer(frame, Errno::NOMEM);
    }
    let replaces = to.filter(|&to| areas::touching(to).next().is_some());
    let moves = areas::touching(from).next().is_some();
    if replaces.is_none() && !moves && !trap::has_begun() {
        return Next::Run;
    }
    if moves && is_filtered() {
        // Its own bytes cannot be put back, and its jumps lead astray elsewhere.
        return answer(frame, Errno::NOMEM);
    }
    let len = pages(0, frame.rdx).end;
    let lock = Lock::take();
    if moves {
        late::undo(from, &lock);
    }
    if let Some(to) = replaces {
        late::undo_parts(to, &lock);
    }
    let at = execute(frame);
    if let Some(to) = replaces {
        gone(to, at, &lock);
    }
    if moves && is_error(at) {
        late::stay(from, &lock);
    } else if !is_error(at) {
        let start = at as u64;
        let there = Range {
            start,
            end: start + len,
        };
        if moves {
            late::arrived(there, Threads::One, &lock);
        } else if trap::has_begun() {
            trap::moved(there, &lock);
        }
    }
    Next::Answered
}

/// How much a segment of shared memory covers only the kernel knows: the page where it begins is looked at.
fn attach(frame: &mut Frame, at: u64) -> Next {
    let place = pages(at & !(PAGE - 1), 1);
    let flags = frame.rdx as u32;
    if flags & SHM_REMAP != 0 && at != 0 && ours::first_in(place).is_some() {
        return answer(frame, Errno::INVAL);
    }
    if flags & SHM_EXEC == 0 {
        return Next::Run;
    }
    let lock = Lock::take();
    let at = execute(frame);
    if !is_error(at) {
        trap::came(pages(at as u64, 1), &lock);
    }
    Next::Answered
}

/// What was in `range` has been taken away, if `result` says so: its trampolines are retired.
fn gone(range: Range, result: i64, lock: &Lock) {
    if is_error(result) {
        late::stay(range, lock);
        return;
    }
    for area in areas::touching(range) {
        area.set_live(false);
    }
}
