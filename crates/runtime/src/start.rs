//! Start-up: what the loader calls before any constructor of the program.
//!
//! # Safety
//! This file keeps I3 (what guarded work owns), I4 (the arena's life) and I6 (what was passed).

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc as _, Layout};
use core::ffi::{CStr, c_char};
use core::fmt::Write as _;

use hotpatch_plan::addr::Va;
use hotpatch_plan::emit::{OutOfReach, Style};
use hotpatch_plan::plan::Emission;
use hotpatch_plan::store;

use crate::areas;
use crate::arena::Arena;
use crate::cache::{self, Cache};
use crate::config::{Config, Target};
use crate::counts::Counts;
use crate::environment::{Environment, Passed, read_all};
use crate::hooking::{Hooking, Settled};
use crate::load::{self, Loaded as Hook};
use crate::log::Sink;
use crate::maps::{self, Mapping};
use crate::memory::{self, Writer};
use crate::object::{self, Loaded, Object};
use crate::pages::{PAGE, Range, Space};
use crate::patch::{self, Fitting, Threads};
use crate::report::{self, Report, Subject, Times};
use crate::rescue::{LastWords, rescue};
use crate::services;
use crate::sys::{self, Errno, Protection};

#[cfg_attr(target_os = "none", global_allocator)]
static ARENA: Arena = Arena::new();

/// Start-up's own stack: the program's may be small (`ulimit -s`).
const STACK: Layout = match Layout::from_size_align(1 << 20, PAGE as usize) {
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
    let passed = Passed { argc, argv, envp };
    // SAFETY: the layout is not empty; I4.
    let stack = unsafe { ARENA.alloc(STACK) };
    let ended = if stack.is_null() {
        let mut words = LastWords::new();
        words.push(b"no memory");
        Err(words)
    } else {
        // SAFETY: I3, and the stack is ours alone.
        unsafe { rescue(stack.addr() + STACK.size(), || run(passed)) }
    };
    // SAFETY: I4: what `run` allocated is gone with it.
    unsafe { ARENA.destroy() };
    match ended {
        Ok(Verdict::Run) => {}
        Ok(Verdict::Refuse(status)) => sys::exit(status),
        Err(words) => last_line(&passed, words.as_str()),
    }
}

/// Whether the program may go on.
enum Verdict {
    Run,
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
fn run(passed: Passed) -> Verdict {
    let begin = sys::now();
    // 1. What is mapped. First of all, so that nothing of ours is among it but the arena.
    let stderr = sys::is_open(sys::STDERR);
    let text = read_all(c"/proc/self/maps");
    let maps = maps::parse(&text);
    // 2. How we were called, and the settings.
    let proc = if passed.is_genuine() {
        None
    } else {
        Some(
            [
                c"/proc/self/cmdline",
                c"/proc/self/environ",
                c"/proc/self/auxv",
            ]
            .map(read_all),
        )
    };
    let environment = match &proc {
        // SAFETY: I6: genuine, and the program has not run yet.
        None => unsafe { Environment::from_stack(&passed) },
        Some([cmdline, environ, auxv]) => Environment::from_proc(cmdline, environ, auxv),
    };
    let config = Config::read(&environment);
    // 3. The log and the report.
    let (log, mut report) = open(&config, stderr);
    log_header(&log, &environment);
    for complaint in &config.complaints {
        log.say(format_args!("{complaint}"));
    }
    report.start(&environment.arguments);
    if maps.is_empty() {
        log.say(format_args!(
            "/proc/self/maps cannot be read: the program runs unpatched"
        ));
        return if config.strict {
            Verdict::Refuse(UNPATCHED_STATUS)
        } else {
            Verdict::Run
        };
    }
    // 4. The hooks.
    let own_log = hook_log(&config, stderr);
    let hook_log = own_log.as_ref().unwrap_or(&log);
    let (hooks, refused) = load_hooks(&config, &environment, hook_log, stderr);
    if refused > 0 && config.strict {
        return Verdict::Refuse(UNHOOKED_STATUS);
    }
    // 5. Each file with code: plan it, make its trampolines, write.
    let threads = if sys::threads() > 1 {
        Threads::Many
    } else {
        Threads::One
    };
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
        space: Space::new(&maps, sys::stack_limit()),
        maps: &maps,
        writer: if threads == Threads::Many {
            Writer::choose().tried()
        } else {
            Writer::choose()
        },
        threads,
        hooking: None,
    };
    for hook in &hooks {
        process.space.take(hook.span);
    }
    if !hooks.is_empty() {
        match Hooking::begin(&hooks, environment.fsgsbase, threads) {
            Ok(hooking) => {
                process.space.take(hooking.range());
                process.hooking = Some(hooking);
            }
            Err(why) => {
                hook_log.say(format_args!("{why}: no hook is called"));
                if config.strict {
                    return Verdict::Refuse(UNHOOKED_STATUS);
                }
            }
        }
    }
    if threads == Threads::Many {
        log.say(format_args!(
            "other threads run already: only stone and before are used"
        ));
    }
    let mut sum = Sum::default();
    for object in &objects {
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
    // 6. Hooks are called from here on.
    if let Some(hooking) = process.hooking.take()
        && let Err(why) = hooking.finish(&log)
    {
        hook_log.say(format_args!("{why}: no hook is called"));
    }
    // 7. The total.
    let us = (sys::now() - begin) / 1000;
    if log.is_open() {
        log.say(format_args!("{} files, {}; {us} us", sum.files, sum.counts));
    }
    report.total(sum.files, &sum.counts, us);
    if config.strict && (sum.counts.refusals() > 0 || sum.failed > 0) {
        let own = aloud(&log, stderr);
        let aloud = own.as_ref().unwrap_or(&log);
        aloud.say(format_args!(
            "LIBHOTPATCH_STRICT: {} sites refused, {} files left native: the program does not run",
            sum.counts.refusals(),
            sum.failed
        ));
        return Verdict::Refuse(UNPATCHED_STATUS);
    }
    Verdict::Run
}

/// Where a program that ends before it began says why, if the log is silenced.
fn aloud(log: &Sink, stderr: bool) -> Option<Sink> {
    (stderr && !log.is_open())
        .then(|| Sink::open(&Target::Stderr).ok())
        .flatten()
}

/// Where hooks speak, if not in the log.
fn hook_log(config: &Config<'_>, stderr: bool) -> Option<Sink> {
    match config.hook_log.as_ref()? {
        // As for the log.
        Target::Stderr if !stderr => None,
        target => Sink::open(target).ok(),
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
    let (hooks, refused) = load::load(&config.hooks, config.strict, log_lines);
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

fn open(config: &Config<'_>, stderr: bool) -> (Sink, Report) {
    let open = |target: &Target| match target {
        // One of our own descriptors may get its number.
        Target::Stderr if !stderr => Ok(Sink::default()),
        target => Sink::open(target),
    };
    let mut complaints: Vec<String> = Vec::new();
    let mut try_open = |name: &str, target: &Target| match (open(target), target) {
        (Ok(sink), _) => sink,
        (Err(error), Target::File(path)) => {
            complaints.push(format!(
                "{name}: {}: {error}",
                String::from_utf8_lossy(path.as_bytes())
            ));
            Sink::default()
        }
        (Err(_), _) => Sink::default(),
    };
    let log = try_open("LIBHOTPATCH_LOGPATH", &config.log);
    let report = try_open("LIBHOTPATCH_REPORT", &config.report);
    for complaint in complaints {
        // The log may be what cannot be opened.
        if let Ok(sink) = open(if log.is_open() {
            &config.log
        } else {
            &Target::Stderr
        }) {
            sink.say(format_args!("{complaint}"));
        }
    }
    (log, Report::new(report, sys::process_id()))
}

fn log_header(log: &Sink, environment: &Environment<'_>) {
    if log.is_open() {
        let mut line = crate::log::begin();
        for (n, argument) in environment.arguments.iter().enumerate() {
            line.push(if n == 0 { b"" } else { b" " });
            line.push_printable(argument);
        }
        log.write(line.end());
    }
}

#[derive(Default)]
struct Sum {
    files: u32,
    failed: u32,
    counts: Counts,
}

/// What is the same for all files.
struct Process<'a> {
    config: &'a Config<'a>,
    cache: Cache,
    maps: &'a [Mapping<'a>],
    space: Space,
    writer: Writer,
    threads: Threads,
    /// Where hooks are to be called.
    hooking: Option<Hooking>,
}

/// What was done with a file. Nothing in it is allocated: it outlives the arena's memory for the file.
#[derive(Debug, Default)]
struct Done {
    counts: Counts,
    times: Times,
    bias: u64,
    note: LastWords,
    failed: bool,
    /// Its trampolines.
    trampolines: Option<Range>,
}

impl Done {
    fn left_native(self, why: core::fmt::Arguments<'_>) -> Self {
        let mut note = LastWords::new();
        let _ = write!(note, "left native: {why}");
        Self {
            counts: Counts::not_applied(self.counts.sites),
            note,
            failed: true,
            ..self
        }
    }
}

impl Process<'_> {
    /// Patches one file. Whatever goes wrong stays with it.
    fn file(&mut self, object: &Object<'_>, log: &Sink, report: &mut Report) -> Done {
        let mark = ARENA.mark();
        let done = self.file_in_arena(object, log, report);
        // SAFETY: I4: neither `Done` nor the cache holds what was allocated, and the report has been flushed.
        unsafe { ARENA.release(mark) };
        done
    }

    fn file_in_arena(&mut self, object: &Object<'_>, log: &Sink, report: &mut Report) -> Done {
        let path = object.path();
        let begin = sys::now();
        let mut done = Done::default();
        if self.config.skip.skips(&path) {
            done.note.push(b"skipped");
        } else {
            done = self.planned(object, &path, report).unwrap_or_else(|words| {
                report.discard();
                Done::default().left_native(format_args!("{}", words.as_str()))
            });
            let all = (sys::now() - begin) / 1000;
            done.times.find += all.saturating_sub(done.times.sum());
        }
        let subject = Subject {
            path: &path,
            note: done.note.as_str(),
        };
        if log.is_open() {
            log.write(report::file_line(subject, &done.counts, &done.times).end());
        }
        report.file(subject, done.bias, &done.counts, &done.times);
        report.flush();
        done
    }

    /// Patches by the plan that has been kept, else by a new one, which is kept.
    #[allow(clippy::result_large_err)] // as for `rescue`
    fn planned(
        &mut self,
        object: &Object<'_>,
        path: &[u8],
        report: &mut Report,
    ) -> Result<Done, LastWords> {
        let question = patch::question(self.config.tactics, self.threads, self.hooking.as_ref());
        let entry = question.and_then(|q| self.cache.entry(object, q, self.maps));
        if let Some(entry) = &entry {
            let kept = || self.patch_by(entry, object, path, report);
            // SAFETY: as below.
            if let Some(done) = unsafe { rescue(0, kept) }? {
                return Ok(done);
            }
        }
        // Opened here, so that it is unmapped whatever happens.
        let file = object.open();
        let work = || self.patch(object, file.as_ref(), entry.as_ref(), path, report);
        // SAFETY: I3: the work owns arena memory alone. Trampolines that it has mapped are not reached from
        // anywhere if it gives up before it writes, and writing does not give up.
        let (done, plan) = unsafe { rescue(0, work) }?;
        if let Some((entry, plan)) = entry.as_ref().zip(plan) {
            self.cache.keep(entry, &plan);
        }
        Ok(done)
    }

    /// `None` where nothing fitting has been kept.
    fn patch_by(
        &mut self,
        entry: &cache::Entry,
        object: &Object<'_>,
        path: &[u8],
        report: &mut Report,
    ) -> Option<Done> {
        let begin = sys::now();
        let (loaded, plan) = entry.plan(object, self.maps)?;
        let fitting = Fitting {
            plan,
            choose: sys::now() - begin,
            ..Fitting::default()
        };
        let mut done = self.carry_out(&loaded, &fitting, path, report);
        if !done.failed {
            done.note.push(b"plan from the cache");
        }
        Some(done)
    }

    /// Also answers with the plan as bytes, if it is worth keeping.
    fn patch(
        &mut self,
        object: &Object<'_>,
        file: Option<&object::File>,
        entry: Option<&cache::Entry>,
        path: &[u8],
        report: &mut Report,
    ) -> (Done, Option<Vec<u8>>) {
        let loaded = match object::load(object, file, self.maps) {
            Ok(loaded) => loaded,
            Err(malformed) => {
                let done = Done::default().left_native(format_args!("{malformed}"));
                return (done, None);
            }
        };
        let name = CString::new(path).unwrap_or_default();
        let hooks = self.hooking.as_ref().map(|hooking| (hooking, &*name));
        let fitting = patch::plan(&loaded, self.config.tactics, self.threads, self.maps, hooks);
        let instead = loaded.from_memory && object.base.is_file();
        let kept = entry
            .filter(|_| fitting.general && !instead)
            .and_then(|_| store::encode(&fitting.plan, &loaded.image));
        let mut done = self.carry_out(&loaded, &fitting, path, report);
        if instead && !done.failed {
            done.note.push(b"read from memory");
        }
        (done, kept)
    }

    fn carry_out(
        &mut self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        path: &[u8],
        report: &mut Report,
    ) -> Done {
        let mut done = Done {
            counts: Counts::of(&fitting.plan),
            times: Times {
                find: fitting.find / 1000,
                plan: fitting.choose / 1000,
                emit: 0,
                apply: 0,
            },
            bias: loaded.bias,
            ..Done::default()
        };
        let mut applied = true;
        if !fitting.plan.edits.is_empty() {
            match self.apply(loaded, fitting, path, &mut done.times) {
                Ok(trampolines) => done.trampolines = Some(trampolines),
                Err(failure) => {
                    applied = false;
                    done = done.left_native(format_args!("{failure}"));
                }
            }
        }
        let reported = if report.is_open() {
            &fitting.plan.sites[..]
        } else {
            &[]
        };
        for site in reported {
            let offset = object::file_offset(self.maps, site.at.0.wrapping_add(loaded.bias));
            report.site(path, site, offset, applied);
        }
        done
    }

    fn apply(
        &mut self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        path: &[u8],
        times: &mut Times,
    ) -> Result<Range, Failure> {
        if self.threads == Threads::Many && !matches!(self.writer, Writer::Mem(_)) {
            return Err(Failure::Threads);
        }
        let plan = &fitting.plan;
        let image = loaded.range(loaded.image.span()).pages();
        let hooking = self.hooking.as_ref().map(|h| h.style(Va(0), &[]));
        let code_len = plan.code_len_as(hooking.as_ref().map_or(Style::Plain, Style::Hooked));
        let code_len = (code_len as u64).next_multiple_of(PAGE);
        let data_len = if hooking.is_some() { areas::LEN } else { 0 };
        let mut failure = Failure::NoPlace;
        for at in self.space.places(image, code_len + data_len) {
            let begin = sys::now();
            let Ok(emission) = self.emit(loaded, fitting, at, at + code_len) else {
                continue;
            };
            if let Some(hooking) = &self.hooking
                && !hooking.has_room(path, &emission)
            {
                return Err(Failure::TooManySites);
            }
            let writes = patch::writes(loaded, plan, &emission.patches, self.threads, self.maps)
                .ok_or(Failure::Unreadable)?;
            let emitted = sys::now();
            times.emit += (emitted - begin) / 1000;
            let range = Range {
                start: at,
                end: at + code_len + data_len,
            };
            match self.map(&emission, range, data_len) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => {
                    failure = Failure::Trampolines(error);
                    break;
                }
            }
            if let Some(hooking) = &mut self.hooking {
                let data = at + code_len;
                let settled = Settled { loaded, path, data };
                // SAFETY: I14: mapped just now.
                unsafe { hooking.settle(&settled, fitting, &emission, self.maps) };
            }
            // SAFETY: I5: in order, in code of the image; alone, or by words.
            let applied = unsafe { memory::apply(&self.writer, self.maps, &writes, self.threads) };
            times.apply += (sys::now() - emitted) / 1000;
            if applied.is_err() && data_len == 0 {
                // SAFETY: no jump to them has been left.
                let _ = unsafe { sys::unmap(at as usize, (range.end - range.start) as usize) };
            }
            return applied.map(|()| range).map_err(Failure::Code);
        }
        Err(failure)
    }

    fn emit(
        &self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        at: u64,
        data: u64,
    ) -> Result<Emission, OutOfReach> {
        let here = |address: u64| Va(address.wrapping_sub(loaded.bias));
        let quiet = fitting.quiet();
        let hooking = self.hooking.as_ref();
        let hooking = hooking.map(|h| h.style(here(data), &quiet));
        let style = hooking.as_ref().map_or(Style::Plain, Style::Hooked);
        fitting
            .plan
            .emit_as(&loaded.image, here(at), loaded.bias, style)
    }

    /// Maps trampolines at the start of `range`, and a data area of `data_len` bytes at its end.
    fn map(&mut self, emission: &Emission, range: Range, data_len: u64) -> Result<(), Errno> {
        let data = (range.end - data_len) as usize;
        if data_len > 0 {
            sys::map_at(data, data_len as usize, Protection::ReadWrite)?;
        }
        let mapped = memory::map_code(&mut self.writer, range.start, &emission.code);
        if mapped.is_err() && data_len > 0 {
            // SAFETY: mapped just now.
            let _ = unsafe { sys::unmap(data, data_len as usize) };
        }
        mapped
    }
}

/// Why a plan could not be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    NoPlace,
    Threads,
    Unreadable,
    TooManySites,
    Trampolines(Errno),
    Code(Errno),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoPlace => f.write_str("no free range for trampolines in reach"),
            Self::Threads => f.write_str("other threads run, and /proc/self/mem cannot be written"),
            Self::TooManySites => f.write_str("no room for its sites' names"),
            Self::Unreadable => f.write_str("its code cannot be read"),
            Self::Trampolines(error) => write!(f, "mapping trampolines: {error}"),
            Self::Code(error) => write!(f, "writing to its code: {error}"),
        }
    }
}
