//! What a process becomes: the runtime goes on in the program that it executes.
//!
//! Only where the runtime was started at an exec itself; where the user has set `LD_PRELOAD`, that says which programs get
//! it. An exec that nobody may trace is left to the loader ([`preload`]).
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I18: the helper's part; I14: what is kept is written by start-up alone.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, Ordering};

use hotpatch_abi::Frame;
use hotpatch_inject::{Carried, FILES, HEAD, Kind, NO_FILE, Runtime, begin, look_at};
use linux_raw_sys::general as k;

use crate::boot;
use crate::carried::{self, Made};
use crate::filter::Passes;
use crate::hooking::Hooking;
use crate::hooks::Call;
use crate::hosted;
use crate::internal::{Next, execute, is_filtered};
use crate::labels;
use crate::line::Line;
use crate::preload;
use crate::services;
use crate::start::Given;
use crate::sys;

struct Shared(UnsafeCell<Option<Given>>);

// SAFETY: I14: written by start-up, then only read.
unsafe impl Sync for Shared {}

/// A filter of the program's forbids to trace it, or to begin a helper: that may end either.
static UNTRACED: AtomicBool = AtomicBool::new(false);
/// Somebody may have said into which process namespace children come.
static NAMESPACES: AtomicBool = AtomicBool::new(false);

static KEPT: Shared = Shared(UnsafeCell::new(None));

/// Keeps what the next program's runtime will be given.
///
/// # Safety
/// I14: start-up.
pub(crate) unsafe fn keep(hooking: &mut Hooking, given: &Given) {
    let kept = Given {
        path: CStr::from_bytes_with_nul(hooking.keep(given.path.to_bytes_with_nul()))
            .unwrap_or_default(),
        settings: hooking.keep(given.settings),
        follows: true,
        carried: false,
        untraced: false,
        files: [NO_FILE; FILES],
    };
    // Why the loader has brought us is not known.
    NAMESPACES.store(!boot::at_exec(), Ordering::Relaxed);
    UNTRACED.store(given.untraced, Ordering::Relaxed);
    // SAFETY: as the caller promises.
    unsafe { *KEPT.0.get() = Some(kept) };
}

/// The look at an exec. Signals that come from the helper's beginning on are kept back by it, so that the call can be
/// made in place: none can find this thread here.
pub(crate) fn before(call: &mut Call<'_>) -> Next {
    // SAFETY: I14.
    let Some(given) = (unsafe { *KEPT.0.get() }).filter(|_| !is_filtered()) else {
        return Next::Run;
    };
    let Frame {
        rax, rdi, rsi, r8, ..
    } = *call.frame;
    let kind = if rax as u32 == k::__NR_execve {
        look_at(k::AT_FDCWD, rdi as usize, 0)
    } else {
        look_at(rdi as i32, rsi as usize, r8 as u32)
    };
    // A tracer takes privileges away without a word; the others cannot be helped.
    let native: &[u8] = match kind {
        Kind::Program { .. } => b"",
        Kind::Privileged => b"a program with privileges of its own runs natively",
        Kind::OtherMachine => b"a program that is not for 64-bit x86-64 runs natively",
        // Most of these are not there: shells try each directory.
        Kind::Unreadable => return Next::Run,
    };
    if !native.is_empty() {
        services::say(b"exec", native);
        return Next::Run;
    }
    let is_there = preload::is_there(given.path) && carried::hooks_are_there(given.settings);
    let files = carried::files();
    if !is_there && (hosted::are_there() || !carried::can_be_made(&files)) {
        services::say(
            b"exec",
            b"the library's file is not to be seen from here: the new program runs natively",
        );
        return Next::Run;
    }
    if hosted::are_there() {
        return by_loader(call, &given, kind);
    }
    let files = (!is_there).then_some(&files);
    let runtime = Runtime {
        path: given.path,
        head: head(),
        settings: given.settings,
        follows: true,
        // Relaxed: this thread's own call, or start-up, has stored it.
        namespaces: NAMESPACES.load(Ordering::Relaxed),
        carried: files,
    };
    // Relaxed: as above.
    let may_begin = !UNTRACED.load(Ordering::Relaxed);
    let helper = match may_begin.then(|| begin(&runtime)) {
        Some(Ok(helper)) => helper,
        _ => return untraced(call, &given, files, kind),
    };
    // A signal that waits already has been raised again, with everything blocked: let through, it is kept back too.
    // Relaxed: this thread's own.
    let waits = call.block.signal.state.load(Ordering::Relaxed) != 0;
    if waits {
        sys::restore_signals(call.block.signal.mask);
    }
    execute(call.frame);
    if waits {
        sys::block_all_signals();
    }
    helper.cancel();
    Next::Answered
}

/// The program says into which namespaces it or its children come.
pub(crate) fn namespaces() {
    NAMESPACES.store(true, Ordering::Relaxed);
}

/// A filter is about to be set. What is said before it would forbid it.
pub(crate) fn filters(passes: Passes) {
    if passes < Passes::All {
        UNTRACED.store(true, Ordering::Relaxed);
    }
    // SAFETY: I14.
    if passes == Passes::Less && unsafe { *KEPT.0.get() }.is_some() {
        services::say(
            b"exec",
            b"the program sets a seccomp filter: what it executes from here on runs natively",
        );
    }
}

/// Hosted hooks are loaded by the program's loader, so that has to bring the library too.
fn by_loader(call: &mut Call<'_>, given: &Given, kind: Kind) -> Next {
    let told = bring(call, given, None, kind);
    if !told {
        services::say(
            b"exec",
            b"hosted hooks need a loader that can be told of them: the new program runs natively",
        );
    }
    Next::Run
}

/// Tells the next program's loader of the library, if there is one, and it can be told: of the file that has been
/// `made`, or of the library's own.
fn bring(call: &mut Call<'_>, given: &Given, made: Option<&Made>, kind: Kind) -> bool {
    let Frame { rax, rdx, r10, .. } = *call.frame;
    let plain = rax as u32 == k::__NR_execve;
    let environment = if plain { rdx } else { r10 };
    let told = match kind {
        Kind::Program { loader: true } => {
            let told = &mut call.block.told;
            let path = made.map(Made::path);
            let path = path.as_ref().map_or(given.path.to_bytes(), Line::bytes);
            let word = carried::word(made, UNTRACED.load(Ordering::Relaxed));
            told.bring(environment, path, word.bytes(), given.settings)
        }
        _ => None,
    };
    let Some(told) = told else { return false };
    if plain {
        call.frame.rdx = told;
    } else {
        call.frame.r10 = told;
    }
    true
}

/// What can be done for a program that nobody may trace; with `files` where it cannot open the library.
fn untraced(call: &mut Call<'_>, given: &Given, files: Option<&Carried>, kind: Kind) -> Next {
    if kind != (Kind::Program { loader: true }) {
        say_untraced(b"and has no loader: the new program runs natively");
        return Next::Run;
    }
    let made = match files.map(made) {
        None => None,
        Some(Some(made)) => Some(made),
        Some(None) => {
            say_untraced(b"and cannot open the library: the new program runs natively");
            return Next::Run;
        }
    };
    let before = *call.frame;
    if !bring(call, given, made.as_ref(), kind) {
        say_untraced(b"and has more variables than can be added to: the new program runs natively");
        return Next::Run;
    }
    say_untraced(b"so LD_PRELOAD brings the library: what the loader itself calls is not seen");
    if made.is_none() {
        return Next::Run;
    }
    execute(call.frame);
    (call.frame.rdx, call.frame.r10) = (before.rdx, before.r10);
    Next::Answered
}

/// The files that this process's next program inherits, if its loader can find them. While other threads run they could
/// come to a child that knows nothing of them.
fn made(files: &Carried) -> Option<Made> {
    let made = (sys::threads() == 1)
        .then(|| Made::of(files).ok())
        .flatten()?;
    let mut path = made.path();
    path.push(b"\0");
    let path = CStr::from_bytes_with_nul(path.bytes()).ok()?;
    preload::is_there(path).then_some(made)
}

/// The first bytes of our file.
pub(crate) fn head() -> &'static [u8] {
    let start = core::ptr::with_exposed_provenance(labels::own().start as usize);
    // SAFETY: our own headers, mapped readable.
    unsafe { core::slice::from_raw_parts(start, HEAD) }
}

fn say_untraced(what: &[u8]) {
    let mut line = Line::<160>::new();
    line.push(b"cannot be traced, ");
    line.push(what);
    services::say(b"exec", line.bytes());
}
