//! What hooks may ask of the library.
//!
//! After start-up: no heap, no lock, no panic. Each call is made by the thread that needs it, for itself.
//!
//! # Safety
//! I16: what is written here is written by start-up, before any hook is called; a hook's words about its own memory are
//! true; addresses of the program's are the kernel's to judge.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::fmt::Write as _;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hotpatch_abi::{ABI, Services};
use linux_raw_sys::general::{S_IFCHR, S_IFMT};

use crate::arch;
use crate::config::Target;
use crate::entry;
use crate::environment::Environment;
use crate::hooks;
use crate::hosted;
use crate::line::Line;
use crate::load::{Loaded, MOST};
use crate::log::{self, Sink};
use crate::pages::{PAGE, Range};
use crate::rescue;
use crate::signal;
use crate::sys::{self, Direction, Errno};
use crate::thread;

const RT_SIGPROCMASK: u32 = linux_raw_sys::general::__NR_rt_sigprocmask;

/// What every hook gets.
pub static SERVICES: Services = Services {
    abi: ABI,
    size: size_of::<Services>() as u32,
    syscall: Some(system_call),
    read: Some(read),
    read_string: Some(read_string),
    write: Some(write),
    log: Some(log_from),
    fail: Some(fail_from),
    environment: Some(environment),
};

/// The program has set a seccomp filter: from then on the library makes no call that nobody has asked for. Set by
/// whoever sees the call, before it is executed.
pub static FILTERED: AtomicBool = AtomicBool::new(false);

/// A hook, as far as it has to be named.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// All of its memory.
    pub span: Range,
    /// What to add to an address of its file.
    pub bias: u64,
    name: [u8; 64],
    len: usize,
}

impl Named {
    const NOBODY: Self = Self {
        span: Range { start: 0, end: 0 },
        bias: 0,
        name: [0; 64],
        len: 0,
    };

    /// Its name, printable.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.get(..self.len).unwrap_or(&[])
    }
}

/// What outlives start-up.
struct State {
    hooks: [Named; MOST],
    /// Where the log goes; empty for nowhere.
    log: [u8; 4096],
    /// The log is the program's descriptor 2, while that is this file: device and inode.
    stderr: Option<(u64, u64)>,
    /// What descriptor 2 was at the start.
    first: Option<(u64, u64)>,
    /// If that was a terminal, its name: it can be opened again, and nobody writes at a place of his own there.
    terminal: [u8; 64],
    /// What [`environment`] answers from; null but while hooks are started.
    environment: *const Environment<'static>,
}

struct Shared(UnsafeCell<State>);

// SAFETY: I16.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    hooks: [Named::NOBODY; MOST],
    log: [0; 4096],
    stderr: None,
    first: None,
    terminal: [0; 64],
    environment: ptr::null(),
}));

fn state() -> &'static State {
    // SAFETY: I16: nobody writes any more, or it is start-up that reads.
    unsafe { &*STATE.0.get() }
}

/// Remembers where the log goes.
///
/// # Safety
/// I16: start-up's alone.
pub unsafe fn log_to(target: &Target) {
    // SAFETY: as the caller promises.
    let state = unsafe { &mut *STATE.0.get() };
    state.first = identity(sys::STDERR);
    let len = state.terminal.len() - 1;
    // Its directory costs more than all else that is asked here.
    let name = if sys::status_of(sys::STDERR).is_ok_and(|s| s.st_mode & S_IFMT == S_IFCHR) {
        sys::link_of(c"/proc/self/fd/2", &mut state.terminal[..len])
    } else {
        Err(Errno::NOENT)
    };
    if !state.terminal.starts_with(b"/dev/pts/") && !state.terminal.starts_with(b"/dev/tty")
        || name.is_err()
    {
        state.terminal = [0; 64];
    }
    match target {
        Target::Nowhere => {}
        Target::Stderr => state.stderr = state.first,
        Target::File(path) => {
            // The program's own descriptor, while it is open: it shares its offset with the program.
            let there = sys::status(path).ok().map(|s| (s.st_dev, s.st_ino));
            state.stderr = state.first.filter(|own| there == Some(*own));
            let path = path.to_bytes_with_nul();
            if let Some(place) = state.log.get_mut(..path.len()) {
                place.copy_from_slice(path);
            }
        }
    }
}

/// Which file a descriptor is.
fn identity(fd: u32) -> Option<(u64, u64)> {
    let status = sys::status_of(fd).ok()?;
    Some((status.st_dev, status.st_ino))
}

/// What was standard error at the start, if it still is or can be opened again: the program may have put another file
/// in its place.
#[must_use]
pub fn standard_error() -> Option<Sink> {
    let state = state();
    let first = state.first?;
    if identity(sys::STDERR) == Some(first) {
        return Sink::open(&Target::Stderr).ok();
    }
    let name = CStr::from_bytes_until_nul(&state.terminal).ok()?;
    let there = sys::status(name).ok()?;
    ((there.st_dev, there.st_ino) == first)
        .then(|| Sink::open_path(name).ok())
        .flatten()
}

/// Remembers the hooks: number `n` here is `hooks[n]`.
///
/// # Safety
/// I16: start-up's alone.
pub unsafe fn know(hooks: &[Loaded]) {
    // SAFETY: as the caller promises.
    let state = unsafe { &mut *STATE.0.get() };
    state.hooks = [Named::NOBODY; MOST];
    for (named, hook) in state.hooks.iter_mut().zip(hooks) {
        (named.span, named.bias) = (hook.span, hook.bias);
        named.len = hook.name.bytes().len().min(named.name.len());
        for (to, from) in named.name.iter_mut().zip(hook.name.bytes()) {
            *to = *from;
        }
    }
}

/// While `work` runs, hooks can ask for the environment.
///
/// # Safety
/// I16: start-up's alone.
pub unsafe fn with_environment<T>(environment: &Environment<'_>, work: impl FnOnce() -> T) -> T {
    let state = STATE.0.get();
    // SAFETY: as the caller promises. The lifetime is forgotten for the time of this call.
    unsafe { (*state).environment = ptr::from_ref(environment).cast() };
    let result = work();
    // SAFETY: as above.
    unsafe { (*state).environment = ptr::null() };
    result
}

/// The hook whose memory holds `address`, and its number.
#[must_use]
pub fn hook_at(address: u64) -> Option<(usize, &'static Named)> {
    let inside = |hook: &Named| hook.span.start <= address && address < hook.span.end;
    let mut hooks = state().hooks.iter().enumerate();
    hooks.find(|(_, hook)| inside(hook))
}

/// All hooks.
pub fn hooks() -> impl Iterator<Item = &'static Named> {
    // They stand at the front.
    state().hooks.iter().take_while(|hook| hook.span.start != 0)
}

/// Says once of hook `n` that it has answered something that means nothing, and what becomes of the call.
#[cold]
#[inline(never)]
pub fn nonsense(n: usize, said: u32) {
    static TOLD: AtomicU32 = AtomicU32::new(0);
    let bit = 1_u32.checked_shl(n as u32).unwrap_or(0);
    // Relaxed: it guards nothing but the line.
    if TOLD.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return;
    }
    let mut line = Line::<96>::new();
    let _ = write!(
        line,
        "answered {said}, which means nothing: the call is made"
    );
    say(state().hooks.get(n).map_or(b"?", Named::name), line.bytes());
}

/// Writes a line to the log, if there is one and the program can bear it. `who` stands before it.
pub fn say(who: &[u8], text: &[u8]) {
    // Relaxed: the thread that sets it has stored it before its filter holds.
    if FILTERED.load(Ordering::Relaxed) {
        return;
    }
    let state = state();
    let own = CStr::from_bytes_until_nul(&state.log).unwrap_or_default();
    let sink =
        if state.stderr.is_some() && (own.is_empty() || identity(sys::STDERR) == state.stderr) {
            standard_error()
        } else if own.is_empty() {
            None
        } else {
            Sink::open_path(own).ok()
        };
    if let Some(sink) = sink {
        let mut line = log::begin();
        line.push(who);
        line.push(b": ");
        line.push_printable(text);
        sink.write(line.end());
    }
}

unsafe extern "C" fn system_call(number: u64, arguments: *const [u64; 6]) -> i64 {
    // SAFETY: I16: the hook's own array.
    let arguments = unsafe { arguments.read() };
    if number as u32 == RT_SIGPROCMASK {
        signal::mask_changes();
    }
    // SAFETY: I16: the hook has said what it wants.
    let answer = unsafe { arch::syscall(number as u32, arguments.map(|a| a as usize)) };
    answer as i64
}

/// A count of bytes, or a negative error number.
fn answer(result: Result<usize, Errno>) -> i64 {
    match result {
        Ok(count) => count as i64,
        Err(Errno(number)) => -i64::from(number),
    }
}

/// Copies as far as there is memory. A fault ends the copy where it is sure to come to us; else the kernel copies, which
/// is right whatever the program has done to its signals. Once the program has set a filter it cannot be asked.
fn copy(own: *mut u8, program: u64, len: usize, direction: Direction) -> Result<usize, Errno> {
    // Relaxed: as in `say`.
    if FILTERED.load(Ordering::Relaxed) || signal::faults_come() {
        let there = ptr::with_exposed_provenance_mut::<u8>(program as usize);
        let (to, from) = match direction {
            Direction::FromProgram => (own, there.cast_const()),
            Direction::ToProgram => (there, own.cast_const()),
        };
        // SAFETY: I16: `len` bytes at `own` are the hook's.
        let left = unsafe { signal::copy::copy(to, from, len) };
        if left > 0 {
            signal::copied();
        }
        return match len - left {
            0 if len > 0 => Err(Errno::FAULT),
            done => Ok(done),
        };
    }
    let mut done = 0;
    while done < len {
        let at = program.wrapping_add(done as u64);
        let part = (len - done).min((PAGE - at % PAGE) as usize);
        // SAFETY: I16: `len` bytes at `own` are the hook's.
        let copied = unsafe { sys::copy(own.wrapping_add(done), at, part, direction) };
        match copied {
            Ok(count) if count > 0 => done += count,
            Ok(_) => break,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

unsafe extern "C" fn read(own: *mut u8, program: u64, len: usize) -> i64 {
    answer(copy(own, program, len, Direction::FromProgram))
}

/// What lies at `at` in the program's memory, if it can be read.
///
/// # Safety
/// Any bytes are a `T`.
pub unsafe fn value_at<T: Default>(at: u64) -> Option<T> {
    let mut value = T::default();
    let len = size_of::<T>();
    let copied = copy((&raw mut value).cast(), at, len, Direction::FromProgram);
    (copied == Ok(len)).then_some(value)
}

unsafe extern "C" fn write(own: *mut u8, program: u64, len: usize) -> i64 {
    answer(copy(own, program, len, Direction::ToProgram))
}

unsafe extern "C" fn read_string(own: *mut u8, program: u64, len: usize) -> i64 {
    // A path is mostly shorter than this, and the rest of its page mostly of no interest.
    const PART: usize = 256;
    let mut done = 0;
    while done < len {
        let (to, at) = (own.wrapping_add(done), program.wrapping_add(done as u64));
        let page = (PAGE - at % PAGE) as usize;
        let part = PART.min(page).min(len - done);
        let count = match copy(to, at, part, Direction::FromProgram) {
            Ok(0) => return answer(Err(Errno::FAULT)),
            Ok(count) => count,
            Err(error) => return answer(Err(error)),
        };
        for n in 0..count {
            // SAFETY: I16: written just now.
            if unsafe { to.wrapping_add(n).read() } == 0 {
                return (done + n + 1) as i64;
            }
        }
        done += count;
    }
    done as i64
}

unsafe extern "C" fn environment(name: *const u8, len: usize, value: *mut u8, size: usize) -> i64 {
    // SAFETY: I16: valid while it is not null.
    let Some(environment) = (unsafe { state().environment.as_ref() }) else {
        return answer(Err(Errno::NOENT));
    };
    // SAFETY: I16: the hook's own.
    let name = unsafe { core::slice::from_raw_parts(name, len) };
    let found = str::from_utf8(name)
        .ok()
        .and_then(|name| environment.get(name));
    let Some(found) = found else {
        return answer(Err(Errno::NOENT));
    };
    // SAFETY: I16: as much as there is room for; neither overlaps the other.
    unsafe { ptr::copy_nonoverlapping(found.as_ptr(), value, found.len().min(size)) };
    found.len() as i64
}

/// rdi, rsi = the text. Who calls is seen by the return address: the hook need not say.
#[unsafe(naked)]
unsafe extern "C" fn log_from(text: *const u8, len: usize) {
    naked_asm!("mov rdx, [rsp]", "jmp {}", sym log_text)
}

unsafe extern "C" fn log_text(text: *const u8, len: usize, caller: u64) {
    // SAFETY: I16: the hook's own.
    let text = unsafe { core::slice::from_raw_parts(text, len) };
    say(hook_at(caller).map_or(b"?", |(_, hook)| hook.name()), text);
}

/// As [`log_from`].
#[unsafe(naked)]
unsafe extern "C" fn fail_from(text: *const u8, len: usize) -> ! {
    naked_asm!("mov rdx, [rsp]", "jmp {}", sym fail)
}

unsafe extern "C" fn fail(text: *const u8, len: usize, caller: u64) -> ! {
    let mut words = Line::<480>::new();
    // SAFETY: I16: the hook's own, on a stack that is about to be left.
    words.push_printable(unsafe { core::slice::from_raw_parts(text, len) });
    // SAFETY: I13.
    let inside = unsafe { hosted::inside() };
    if inside.is_some_and(|kept| rescue::guards(ptr::from_ref(kept).addr())) {
        // SAFETY: I22: start-up is what called it.
        unsafe { hosted::stubs::abandon() };
        rescue::end_work(format_args!("{}", words.as_str()))
    }
    if rescue::is_guarded() {
        // Start-up, which says who it was.
        rescue::end_work(format_args!("{}", words.as_str()))
    }
    let number = inside.map(hosted::stubs::Kept::hook);
    let who = hook_at(caller).or_else(|| Some((number?, state().hooks.get(number?)?)));
    if let Some((n, _)) = who {
        hooks::give_up(n);
    }
    let mut line = Line::<640>::new();
    let _ = write!(line, "failed and is called no more: {}", words.as_str());
    say(who.map_or(b"?", |(_, hook)| hook.name()), line.bytes());
    if hosted::is_own_thread() {
        // A thread of the hook's own.
        sys::end_thread();
    }
    // SAFETY: I13: hooks are called, so `gs` is ours.
    match unsafe { thread::entered() } {
        // SAFETY: I12: this thread is in a hook, on its hook stack.
        Some(entered) => unsafe { entry::leave_hook(entered) },
        // Called from where no hook is: there is nothing to go back to.
        None => sys::exit(127),
    }
}
