//! Start-up: what the loader calls before any constructor of the program.
//!
//! # Safety
//! This file keeps I4 (the arena's life) and I6 (what was passed).

mod outputs;
mod preloaded;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc as _, Layout};
use core::ffi::{CStr, c_char};
use core::sync::atomic::Ordering;

use hotpatch_inject::Thread;

use crate::arch;
use crate::arena::Arena;
use crate::attach;
use crate::boot;
use crate::cache::Cache;
use crate::carried::{self, Files, LIBRARY};
use crate::config::{Config, Target};
use crate::counts::Counts;
use crate::environment::{Environment, Passed, read_all};
use crate::exec;
use crate::hooking::Hooking;
use crate::hosted::{self, namespace};
use crate::late::{self, Settings};
use crate::lazy;
use crate::load::{self, Loaded as Hook};
use crate::log::Sink;
use crate::maps;
use crate::memory::Writer;
use crate::object::{self, Object};
use crate::pages::{PAGE, Space};
use crate::patch::Threads;
use crate::process::Process;
use crate::rescue::{LastWords, rescue};
use crate::services;
use crate::sys::{self, Fd, Open};
use crate::trap;
use outputs::{aloud, hook_log, log_header, open};

#[cfg_attr(target_os = "none", global_allocator)]
pub(crate) static ARENA: Arena = Arena::new();

/// Start-up's own stack: the program's may be small (`ulimit -s`).
pub(crate) const STACK: Layout = match Layout::from_size_align(1 << 20, PAGE as usize) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// The exit status of a program that must not run with a site unpatched.
const UNPATCHED_STATUS: u8 = 127;
/// The exit status of a program that must not run without a hook.
const UNHOOKED_STATUS: u8 = 126;

/// The constructor. glibc passes the three words, musl nothing.
///
/// # Safety
/// Called once, by the loader.
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
pub unsafe extern "C" fn hotpatch_start(
    argc: usize,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    // SAFETY: as the caller promises.
    unsafe { start(Passed { argc, argv, envp }, None) };
}

/// What the command, or the process that has become this one, gives to the runtime that it maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    /// Where the library's file is.
    pub(crate) path: &'static CStr,
    /// Settings, `NAME=value` each, a zero byte behind each.
    pub(crate) settings: &'static [u8],
    /// A runtime goes on here, rather than begins.
    pub(crate) follows: bool,
    /// Who asks to trace it may be ended for that.
    pub(crate) untraced: bool,
    /// What it needs has been carried here.
    pub(crate) carried: bool,
    /// Descriptors of the library and its hooks, where these have been carried; of the library alone where it has been
    /// opened here.
    pub(crate) files: Files,
}

/// Start-up, `given` where it is that of a program at its exec.
///
/// # Safety
/// Called once, before the program runs or by its loader.
pub(crate) unsafe fn start(passed: Passed, given: Option<Given>) {
    // SAFETY: as the caller promises.
    match unsafe { work(passed, given, None) } {
        Ok(Verdict::Run { .. }) => trap::arm_at_start(),
        Ok(Verdict::Refuse(status)) => sys::exit(status),
        Err(words) => last_line(&passed, words.as_str()),
    }
}

/// Start-up in a program that runs already: whether it is patched now. If not nothing has changed, and the log says why.
///
/// # Safety
/// Called once, by a thread with all signals blocked, while all others, `threads` but the first, are stopped.
pub(crate) unsafe fn attach(given: Given, threads: &mut [Thread]) -> bool {
    let passed = Passed {
        argc: 0,
        argv: core::ptr::null(),
        envp: core::ptr::null(),
    };
    attach::begin();
    // SAFETY: as the caller promises.
    match unsafe { work(passed, Some(given), Some(threads)) } {
        Ok(Verdict::Run { .. }) => true,
        Ok(Verdict::Refuse(_)) => false,
        Err(words) => {
            let mut settings = given.settings.split(|&b| b == 0);
            let path = settings.find_map(|s| s.strip_prefix(b"LIBHOTPATCH_LOGPATH="));
            let mut name = [0; 128];
            let (to, _) = name.split_at_mut(path.map_or(0, <[u8]>::len).min(127));
            to.copy_from_slice(path.unwrap_or_default().get(..to.len()).unwrap_or_default());
            if let Ok(path) = CStr::from_bytes_until_nul(&name)
                && let Ok(log) = Sink::open_path(path)
            {
                log.say(format_args!("{}", words.as_str()));
            }
            false
        }
    }
}

/// # Safety
/// As those of [`start`] and [`attach`].
#[allow(clippy::result_large_err)] // as for `rescue`
unsafe fn work(
    passed: Passed,
    given: Option<Given>,
    threads: Option<&mut [Thread]>,
) -> Result<Verdict, LastWords> {
    // SAFETY: the layout is not empty; I4.
    let stack = unsafe { ARENA.alloc(STACK) };
    let ended = if stack.is_null() {
        let mut words = LastWords::new();
        words.push(b"no memory");
        Err(words)
    } else {
        // SAFETY: I3, and the stack is ours alone.
        unsafe { rescue(stack.addr() + STACK.size(), || run(passed, given, threads)) }
    };
    let waits = boot::at_exec() && matches!(ended, Ok(Verdict::Run { loader: true }));
    // SAFETY: I4: what `run` allocated is gone with it.
    unsafe { late::end_of_start(waits) };
    carried::end();
    ended
}

/// What is missed in a process where the runtime itself sees no call.
const LOST: &str = "signal handlers see addresses in trampolines";

/// Whether the program may go on.
enum Verdict {
    /// It may. Whether a loader begins it, which will map more.
    Run { loader: bool },
    /// It ends with this status.
    Refuse(u8),
}

/// Says without memory that start-up came to nothing.
fn last_line(passed: &Passed, words: &str) {
    const NAME: &[u8] = b"LIBHOTPATCH_LOGPATH=";
    let mut target = Sink::open(&Target::Stderr);
    if passed.is_genuine() && !sys::is_privileged() {
        let mut variable = passed.envp;
        loop {
            // SAFETY: I6: a null pointer ends the list.
            let text = unsafe { *variable };
            if text.is_null() {
                break;
            }
            // SAFETY: I6.
            let text = unsafe { CStr::from_ptr(text) };
            if let Some(path) = text.to_bytes_with_nul().strip_prefix(NAME)
                && let Ok(path) = CStr::from_bytes_with_nul(path)
                && path.to_bytes() != b"/proc/self/fd/2"
                && !path.is_empty()
            {
                target = Sink::open_path(path);
            }
            variable = variable.wrapping_add(1);
        }
    }
    if let Ok(log) = target {
        log.say(format_args!(
            "the program runs unpatched from here on: {words}"
        ));
    }
}

/// The whole of start-up.
fn run(passed: Passed, given: Option<Given>, mut attached: Option<&mut [Thread]>) -> Verdict {
    let begin = sys::now();
    // 1. What is mapped. First of all, so that nothing of ours is among it but the arena.
    let mut stderr = sys::is_open(sys::STDERR);
    let text = read_all(c"/proc/self/maps");
    let maps = maps::parse(&text);
    // 2. How we were called, and the settings.
    let mut texts = texts(&passed);
    // SAFETY: I6: the program has not run yet.
    let mut environment = unsafe { environment_of(&passed, texts.as_ref()) };
    let mut given = given;
    if given.is_none() && !environment.secure && preloaded::is_told(&environment.variables) {
        // SAFETY: as above; nothing of the stack is borrowed.
        given = unsafe { preloaded::take(&passed) };
        texts = self::texts(&passed);
        // SAFETY: as above.
        environment = unsafe { environment_of(&passed, texts.as_ref()) };
    }
    if passed.is_genuine() {
        namespace::VARIABLES.store(passed.envp.cast_mut(), Ordering::Relaxed);
    }
    if let Some(given) = given {
        // First, as the first of a name counts.
        let settings = given.settings.split(|&b| b == 0);
        environment
            .variables
            .splice(0..0, settings.filter(|v| !v.is_empty()));
        stderr &= !given.files.contains(&sys::STDERR.into());
        carried::begin(&given.files);
        let library = carried::take(LIBRARY).or_else(|| Fd::open(given.path, Open::Read).ok());
        if let Some(library) = library {
            carried::keep_library(&library);
        }
    }
    let follows = given.is_some_and(|given| given.follows);
    let config = Config::read(&environment);
    // 3. The log and the report.
    let (log, mut report) = open(&config, stderr, follows);
    log_header(&log, &environment);
    for complaint in &config.complaints {
        log.say(format_args!("{complaint}"));
    }
    report.start(&environment.arguments);
    let obstacle = if maps.is_empty() {
        Some("/proc/self/maps cannot be read")
    } else if arch::runs_in_valgrind() || environment.get("VALGRIND_LAUNCHER").is_some() {
        // The second: valgrind itself, before it loads a program.
        Some("valgrind translates code, and would not see it change")
    } else {
        None
    };
    if let Some(obstacle) = obstacle {
        log.say(format_args!("{obstacle}: the program runs unpatched"));
        return if config.strict || attached.is_some() {
            Verdict::Refuse(UNPATCHED_STATUS)
        } else {
            Verdict::Run { loader: false }
        };
    }
    // 4. The hooks.
    let own_log = hook_log(&config, stderr);
    let hook_log = own_log.as_ref().unwrap_or(&log);
    // Before there are threads of hosted hooks, which execute nothing of the program.
    let threads = if attached.is_some() {
        Threads::Stopped
    } else if !boot::at_exec() && sys::threads() > 1 {
        Threads::Many
    } else {
        Threads::One
    };
    let (hooks, refused) = load_hooks(&config, &environment, hook_log, stderr);
    carried::end();
    if refused > 0 && (config.strict || attached.is_some()) {
        return Verdict::Refuse(UNHOOKED_STATUS);
    }
    // 5. Each file with code: plan it, make its trampolines, write. What hosted hooks have mapped is not patched.
    let text = if hosted::are_there() {
        namespace::mapped()
    } else {
        Vec::new()
    };
    let now = maps::parse(&text);
    let objects = object::objects(&maps);
    let own = hotpatch_start as *const () as u64;
    let is_own = |o: &&Object<'_>| (o.base.start..o.code.end).contains(&own);
    let build = objects
        .iter()
        .find(is_own)
        .and_then(|own| object::build_id(own, &maps));
    let mut process = Process {
        config: &config,
        cache: Cache::open(&config.keep, &environment, build),
        space: Space::new(
            if now.is_empty() { &maps } else { &now },
            sys::stack_limit(),
        ),
        maps: &maps,
        writer: if threads == Threads::Many {
            Writer::choose().tried()
        } else {
            Writer::choose()
        },
        threads,
        late: false,
        hooking: None,
    };
    if given.is_some_and(|given| given.carried) {
        process.cache.only_read();
    }
    for hook in &hooks {
        process.space.take(hook.span);
    }
    match Hooking::begin(&hooks, environment.fsgsbase, threads, &config) {
        Ok(hooking) => {
            process.space.take(hooking.range());
            process.hooking = Some(hooking);
            if attached.is_none() {
                trap::allow(config.trap);
            }
        }
        Err(why) if attached.is_some() => {
            log.say(format_args!("{why}"));
            return Verdict::Refuse(UNHOOKED_STATUS);
        }
        Err(why) if hooks.is_empty() => log.say(format_args!("{why}: {LOST}")),
        Err(why) => {
            hook_log.say(format_args!("{why}: no hook is called"));
            if config.strict {
                return Verdict::Refuse(UNHOOKED_STATUS);
            }
        }
    }
    if threads == Threads::Many {
        log.say(format_args!(
            "other threads run already: only stone and before are used"
        ));
    }
    // Before anything is changed, as it may fail.
    if let Some(threads) = &mut attached {
        // SAFETY: I12: as `attach` is promised.
        if let Err(error) = unsafe { attach::give_blocks(threads) } {
            log.say(format_args!("no memory for hook stacks: {error}"));
            return Verdict::Refuse(UNHOOKED_STATUS);
        }
    }
    let mut sum = Sum::default();
    // Whoever is strict wants to know before the program runs.
    let may_wait = process.hooking.as_ref().is_some_and(Hooking::asks) && !config.strict;
    // Hosted hooks have threads.
    let alone = threads == Threads::One && !hosted::are_there();
    let lazy = config.lazy && may_wait && alone && lazy::begin();
    for object in &objects {
        let waits = lazy && !is_own(&object) && !config.skip.skips(&object.path());
        if waits && lazy::defer_file(object, &maps) {
            continue;
        }
        if !is_own(&object) {
            let done = process.file(object, &log, &mut report);
            sum.files += 1;
            sum.failed += u32::from(done.failed);
            sum.counts.add(&done.counts);
            if let Some(range) = done.trampolines {
                process.space.take(range);
            }
        }
    }
    process.cache.close();
    // 6. Calls are seen from here on.
    if let Some(threads) = &attached {
        // SAFETY: I13: `Hooking::begin` has seen that gs is free.
        unsafe { attach::take_own(threads) };
    }
    let finished = process.hooking.take().map(|mut hooking| {
        let settings = Settings::keep(
            &mut hooking,
            &environment,
            build,
            &process.writer,
            &process.cache,
        );
        if let Some(given) = &given {
            // SAFETY: I14: start-up.
            unsafe { exec::keep(&mut hooking, given) };
        }
        hooking.finish(&log).map(|hooking| {
            // SAFETY: I14: start-up.
            unsafe { late::begin(hooking, settings) };
            // What is mapped by now is as it was, but for what is ours.
            if attached.is_none() && (trap::pieces_left() > 0 || maps.iter().any(trap::is_unseen)) {
                // SAFETY: as above.
                unsafe { trap::begin_at_start() };
            }
        })
    });
    if let Some(threads) = &attached {
        // SAFETY: I12: as above.
        unsafe { attach::complete(threads) };
    }
    if lazy && !matches!(finished, Some(Ok(()))) {
        // SAFETY: I5: start-up, before the program runs.
        unsafe { lazy::abandon() };
    }
    if lazy::left() > 0 {
        log.say(format_args!(
            "{} files wait for being executed",
            lazy::left()
        ));
    }
    if let Some(Err(why)) = finished {
        let lost = if hooks.is_empty() {
            LOST
        } else {
            "no hook is called"
        };
        hook_log.say(format_args!("{why}: {lost}"));
    }
    // 7. The total.
    let us = (sys::now() - begin) / 1000;
    if log.is_open() {
        log.say(format_args!("{} files, {}; {us} us", sum.files, sum.counts));
    }
    report.total(sum.files, &sum.counts, us);
    if config.strict && attached.is_none() && (sum.counts.refusals() > 0 || sum.failed > 0) {
        let own = aloud(&log, stderr);
        let aloud = own.as_ref().unwrap_or(&log);
        aloud.say(format_args!(
            "LIBHOTPATCH_STRICT: {} sites refused, {} files left native: the program does not run",
            sum.counts.refusals(),
            sum.failed
        ));
        return Verdict::Refuse(UNPATCHED_STATUS);
    }
    Verdict::Run {
        loader: environment.loader,
    }
}

/// Arguments, environment and auxiliary vector as `/proc` has them, where they were not passed.
fn texts(passed: &Passed) -> Option<[Vec<u8>; 3]> {
    let paths = [
        c"/proc/self/cmdline",
        c"/proc/self/environ",
        c"/proc/self/auxv",
    ];
    (!passed.is_genuine()).then(|| paths.map(read_all))
}

/// # Safety
/// I6: they stay as they are while the answer is used.
unsafe fn environment_of<'a>(passed: &Passed, texts: Option<&'a [Vec<u8>; 3]>) -> Environment<'a> {
    match texts {
        // SAFETY: genuine, and as the caller promises.
        None => unsafe { Environment::from_stack(passed) },
        Some([cmdline, environ, auxv]) => Environment::from_proc(cmdline, environ, auxv),
    }
}

/// The hooks that can be used, and how many cannot.
fn load_hooks(
    config: &Config<'_>,
    environment: &Environment<'_>,
    log: &Sink,
    stderr: bool,
) -> (Vec<Hook>, u32) {
    let own = config.strict.then(|| aloud(log, stderr)).flatten();
    let log_lines = own.as_ref().unwrap_or(log);
    let (hooks, refused) = load::load(
        &config.hooks,
        environment.fsgsbase,
        config.strict,
        log_lines,
    );
    let says = config.hook_log.as_ref().unwrap_or(&config.log);
    // A descriptor 2 that is not open may become the program's file.
    if stderr || *says != Target::Stderr {
        // SAFETY: I16: start-up, and no hook has been called.
        unsafe { services::log_to(says) };
    }
    // SAFETY: I3 and I16: start-up.
    let (hooks, unwilling) = unsafe { load::start(hooks, environment, config.strict, log_lines) };
    (hooks, refused + unwilling)
}

#[derive(Default)]
struct Sum {
    files: u32,
    failed: u32,
    counts: Counts,
}
