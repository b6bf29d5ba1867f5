//! Code that comes after start-up: it is planned and patched before the program knows that it is there.
//!
//! One thread at a time does this, with all signals blocked, on a stack of its own, with start-up's arena and by
//! start-up's own code.
//!
//! # Safety
//! I3 and I4: the lock's holder is the one thread that runs guarded work and allocates; I14: it adds what the hot path
//! reads.

use alloc::vec::Vec;
use core::alloc::GlobalAlloc as _;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hotpatch_plan::plan::{Kinds, SiteKind};
use hotpatch_plan::scan;
use hotpatch_plan::search::Search as _;

use crate::arch::Sse2;
use crate::areas::{self, Area};
use crate::cache::Cache;
use crate::config::{Config, Target};
use crate::environment::{Environment, read_all};
use crate::hooking::Hooking;
use crate::internal::is_filtered;
use crate::journal;
use crate::log::Sink;
use crate::maps::{self, Mapping};
use crate::memory::{self, Write, Writer};
use crate::object::{self, Object};
use crate::ours;
use crate::pages::{Range, Space};
use crate::patch::Threads;
use crate::process::Process;
use crate::report::Report;
use crate::rescue::{self, rescue};
use crate::services;
use crate::start::{ARENA, STACK};
use crate::sys::{self, Direction};
use crate::trap;

/// What start-up leaves behind for later.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The variables that are settings, a zero byte behind each.
    variables: &'static [u8],
    secure: bool,
    build: Option<[u8; 16]>,
    /// See [`Writer::again`].
    mem: bool,
    /// See [`Cache::again`].
    there: bool,
}

/// The variables that [`Config`] and [`Cache`] read, beside those that begin with `LIBHOTPATCH_`.
const ALSO: [&[u8]; 2] = [b"HOME=", b"XDG_CACHE_HOME="];

impl Settings {
    /// Keeps them.
    #[must_use]
    pub fn keep(
        hooking: &mut Hooking,
        environment: &Environment<'_>,
        build: Option<&[u8]>,
        writer: &Writer,
        cache: &Cache,
    ) -> Self {
        let is_setting = |variable: &&&[u8]| {
            variable.starts_with(b"LIBHOTPATCH_")
                || ALSO.iter().any(|name| variable.starts_with(name))
        };
        let mut text: Vec<u8> = Vec::new();
        for variable in environment.variables.iter().filter(is_setting) {
            text.extend_from_slice(variable);
            text.push(0);
        }
        Self {
            variables: hooking.keep(&text),
            secure: environment.secure,
            build: build.and_then(|id| id.first_chunk().copied()),
            mem: writer.is_mem(),
            there: cache.is_there(),
        }
    }

    /// How code is written to: see [`Writer::again`].
    #[must_use]
    pub fn mem(&self) -> bool {
        self.mem
    }

    /// The log and the report, as far as they are there.
    #[must_use]
    pub fn outputs(&self) -> (Sink, Report) {
        let (log, report) = outputs(&Config::read(&self.environment()));
        (log, Report::new(report, sys::process_id()))
    }

    fn environment(&self) -> Environment<'static> {
        let variables = self.variables.split(|&b| b == 0);
        Environment {
            variables: variables.filter(|v| !v.is_empty()).collect(),
            secure: self.secure,
            fsgsbase: true,
            ..Environment::default()
        }
    }
}

struct Later {
    hooking: Hooking,
    settings: Settings,
}

struct Shared(UnsafeCell<Option<Later>>);

// SAFETY: the lock's holder alone looks at it.
unsafe impl Sync for Shared {}

static LATER: Shared = Shared(UnsafeCell::new(None));

/// From here on code that comes is patched.
///
/// # Safety
/// I14: start-up's alone.
pub unsafe fn begin(hooking: Hooking, settings: Settings) {
    ours::keep(hooking.parts());
    PLAIN.store(
        !hooking.kinds().has_others(Kinds::SYSCALL.and(Kinds::GS)),
        Ordering::Relaxed,
    );
    // SAFETY: as the caller promises.
    unsafe { *LATER.0.get() = Some(Later { hooking, settings }) };
}

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const AWAITED: u32 = 2;

static LOCK: AtomicU32 = AtomicU32::new(FREE);

/// One thread maps code at a time; no signal reaches it meanwhile.
#[derive(Debug)]
pub struct Lock {
    mask: Option<u64>,
}

impl Lock {
    /// Waits for it. Whoever holds it waits for nobody, and no signal handler runs on a thread that waits here.
    #[must_use]
    pub fn take() -> Self {
        // A filter may forbid even that; then nothing is done that a signal could find half done.
        let mask = (!is_filtered()).then(sys::block_signals);
        // Acquire: pairs with the Release in `drop`.
        let free = LOCK.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed);
        if free.is_err() {
            while LOCK.swap(AWAITED, Ordering::Acquire) != FREE {
                sys::wait(&LOCK, AWAITED);
            }
        }
        Self { mask }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if LOCK.swap(FREE, Ordering::Release) == AWAITED {
            sys::wake(&LOCK);
        }
        if let Some(mask) = self.mask {
            sys::restore_signals(mask);
        }
    }
}

/// In the child of a fork: what another thread of the parent was about to do is finished or forgotten.
///
/// # Safety
/// No other thread runs in this memory.
pub unsafe fn forked() {
    // Relaxed: this thread alone.
    if LOCK.load(Ordering::Relaxed) == FREE {
        return;
    }
    // SAFETY: as the caller promises; this thread does not hold the lock, or it could not have forked.
    unsafe { journal::finish() };
    // SAFETY: the work that used it is not in this process. Its memory is lost to the child.
    unsafe { ARENA.forget() };
    RESTING
        .iter()
        .for_each(|word| word.store(0, Ordering::Relaxed));
    rescue::forget();
    // SAFETY: as above: nobody else looks at it.
    if let Some(later) = unsafe { &mut *LATER.0.get() } {
        later.hooking.recover();
    }
    LOCK.store(FREE, Ordering::Relaxed);
}

/// Patches what has become executable in `range`, which `threads` may be executing.
#[inline(never)]
pub fn arrived(range: Range, threads: Threads, _lock: &Lock) {
    if is_filtered() || areas::is_unhooked() || !may_hold_sites(range) {
        return;
    }
    // SAFETY: the lock's holder.
    let Some(later) = (unsafe { &mut *LATER.0.get() }) else {
        return;
    };
    on_own_stack(|| {
        if let Some(hooking) = work(later.hooking, &later.settings, range, threads) {
            later.hooking = hooking;
        }
    });
}

/// Does what adds to what start-up has kept, knowing what is mapped and what start-up has found. What panics is forgotten.
pub fn with(_lock: &Lock, work: impl FnOnce(&mut Hooking, &[Mapping<'_>], &Settings)) {
    // SAFETY: the lock's holder.
    let Some(later) = (unsafe { &mut *LATER.0.get() }) else {
        return;
    };
    on_own_stack(|| {
        let text = read_all(c"/proc/self/maps");
        let maps = maps::parse(&text);
        let mut hooking = later.hooking;
        work(&mut hooking, &maps, &later.settings);
        later.hooking = hooking;
    });
}

/// The same at start-up's end, in its own arena.
///
/// # Safety
/// I14: start-up's alone, when [`begin`] has been called.
pub unsafe fn with_at_start(work: impl FnOnce(&mut Hooking, &[Mapping<'_>], &Settings)) {
    // SAFETY: as the caller promises.
    if let Some(later) = unsafe { &mut *LATER.0.get() } {
        let text = read_all(c"/proc/self/maps");
        work(&mut later.hooking, &maps::parse(&text), &later.settings);
    }
}

/// More is not looked through beforehand.
const SMALL: u64 = 256 << 10;

/// The longest instruction of these.
const LONGEST: u64 = 5;

/// Sites are `syscall`, `rdgsbase` and `wrgsbase` instructions alone.
static PLAIN: AtomicBool = AtomicBool::new(true);

/// Whether there may be a site in `range`, which the kernel reads: it may end before it does.
#[inline(never)]
fn may_hold_sites(range: Range) -> bool {
    // Relaxed: written by start-up.
    if range.end - range.start > SMALL || !PLAIN.load(Ordering::Relaxed) {
        return true;
    }
    let mut buffer = [0; 8 << 10];
    let mut at = range.start;
    while at < range.end {
        let want = buffer.len().min((range.end - at) as usize);
        // SAFETY: the buffer is ours.
        let got = unsafe { sys::copy(buffer.as_mut_ptr(), at, want, Direction::FromProgram) };
        let Some(bytes) = got.ok().and_then(|got| buffer.get(..got)) else {
            return true;
        };
        let mut found = false;
        Sse2.syscalls(bytes, &mut |_| found = true);
        let (first, second) = SiteKind::Wrgsbase.pair();
        Sse2.pairs(bytes, first, &[second], &mut |offset| {
            found |= scan::is_gs_base(bytes, offset);
        });
        if found || bytes.is_empty() {
            return true;
        }
        let got = bytes.len() as u64;
        // An instruction may lie across two pieces.
        at += if at + got < range.end {
            got.saturating_sub(LONGEST - 1).max(1)
        } else {
            got
        };
    }
    false
}

/// Runs `work` where there is room for it. What panics is forgotten.
pub(crate) fn on_own_stack(work: impl FnOnce()) {
    // SAFETY: the layout is not empty; I4.
    let stack = unsafe { ARENA.alloc(STACK) };
    if !stack.is_null() {
        // SAFETY: I3, and the stack is ours alone.
        let _ = unsafe { rescue(stack.addr() + STACK.size(), work) };
    }
    // Relaxed: the lock's holder alone.
    let waits = RESTING.iter().any(|word| word.load(Ordering::Relaxed) != 0);
    // SAFETY: I4: what the work allocated is gone with it.
    unsafe { clear(waits) };
}

/// Where the arena rests between start-up and what the loader maps then, so that its pages are there already. Zeros
/// where it does not.
static RESTING: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// The arena that rests.
pub fn resting() -> Range {
    let [start, end] =
        [0, 1].map(|n: usize| RESTING.get(n).map_or(0, |w| w.load(Ordering::Relaxed)));
    Range { start, end }
}

/// Ends start-up's use of the arena. `more`: a loader is about to map files.
///
/// # Safety
/// I4: nothing allocated is used any more.
pub(crate) unsafe fn end_of_start(more: bool) {
    // SAFETY: as the caller promises.
    unsafe { clear(more) };
}

/// # Safety
/// I4: nothing allocated is used any more.
unsafe fn clear(rest: bool) {
    let (start, end) = if rest {
        // SAFETY: as the caller promises.
        unsafe { ARENA.rest() }
    } else {
        // SAFETY: as the caller promises.
        unsafe { ARENA.destroy() };
        (0, 0)
    };
    for (word, value) in RESTING.iter().zip([start, end]) {
        // Relaxed: one thread runs, or the lock is held.
        word.store(value as u64, Ordering::Relaxed);
    }
}

/// A loader protects what it has relocated: it has mapped all that the program begins with.
pub fn all_is_mapped() {
    if resting().end != 0 && !is_filtered() {
        let _lock = Lock::take();
        // SAFETY: I4: the lock's holder, and no work goes on.
        unsafe { clear(false) };
    }
}

fn work(
    mut hooking: Hooking,
    settings: &Settings,
    range: Range,
    threads: Threads,
) -> Option<Hooking> {
    let text = read_all(c"/proc/self/maps");
    let maps = maps::parse(&text);
    let left = trap::pieces_left();
    let in_range = |m: &&Mapping<'_>| m.start < range.end && range.start < m.end;
    let unseen = maps.iter().filter(in_range).any(trap::is_unseen);
    if unseen && trap::is_possible() {
        trap::look(&mut hooking, &maps, settings);
    }
    let objects = objects(&maps, range);
    if objects.is_empty() {
        return unseen.then_some(hooking);
    }
    let environment = settings.environment();
    let config = Config::read(&environment);
    let (log, report) = outputs(&config);
    let build = settings.build.as_ref().map(|b| &b[..]);
    let mut process = Process {
        config: &config,
        cache: Cache::again(&config.keep, &environment, build, settings.there),
        space: Space::new(&maps, sys::stack_limit()),
        maps: &maps,
        writer: Writer::again(settings.mem),
        threads,
        late: true,
        hooking: Some(hooking),
    };
    // Trampolines execute calls, which must not be caught.
    if let Some(range) = trap::reserved() {
        process.space.take(range);
    }
    let mut report = Report::new(report, sys::process_id());
    for object in &objects {
        if object.is_generated() {
            // It may be running already.
            process.threads = Threads::Many;
        }
        let done = process.file(object, &log, &mut report);
        if let Some(range) = done.trampolines {
            process.space.take(range);
        }
        if object.is_generated() && trap::is_possible() && has_more(&maps, object) {
            trap::leave(Range {
                start: object.code.start,
                end: object.code.end,
            });
        }
        process.threads = threads;
    }
    process.cache.close();
    say_retired(&log);
    if let Some(hooking) = &mut process.hooking
        && trap::pieces_left() > left
    {
        trap::look(hooking, &maps, settings);
    }
    process.hooking
}

/// Whether there may be sites still, which nothing has proved to be any.
fn has_more(maps: &[Mapping<'_>], object: &Object<'_>) -> bool {
    let range = Range {
        start: object.code.start,
        end: object.code.end,
    };
    let mut found = false;
    if let Some(bytes) = memory::read(maps, range) {
        Sse2.syscalls(bytes, &mut |_| found = true);
    }
    found
}

/// Says how much is kept for images that are gone, when that has become more.
fn say_retired(log: &Sink) {
    static SAID: AtomicU32 = AtomicU32::new(0);
    let (count, bytes) = areas::retired();
    // Relaxed: the lock's holder alone.
    if count > SAID.swap(count, Ordering::Relaxed) && log.is_open() {
        log.say(format_args!(
            "{count} images are gone; {bytes} bytes of trampolines stay, as threads may sleep in them"
        ));
    }
}

/// What has become executable in `range`, and has not been patched.
fn objects<'m>(maps: &[Mapping<'m>], range: Range) -> Vec<Object<'m>> {
    let first = maps.partition_point(|m| m.end <= range.start);
    let arrived = maps.get(first..).unwrap_or(&[]).iter();
    let arrived = arrived.take_while(|m| m.start < range.end);
    let mut found: Vec<Object<'m>> = Vec::new();
    for m in arrived.filter(|m| m.executable && !m.writable && !m.shared) {
        if m.is_file() {
            found.extend(object::holding(maps, m).filter(|object| !is_patched(object)));
            continue;
        }
        let part = Mapping {
            start: m.start.max(range.start),
            end: m.end.min(range.end),
            ..*m
        };
        let object = Object {
            base: part,
            code: part,
        };
        found.extend(Some(object).filter(Object::is_generated));
    }
    found.dedup_by(|next, kept| next.base == kept.base);
    found
}

fn is_patched(object: &Object<'_>) -> bool {
    let code = Range {
        start: object.code.start,
        end: object.code.end,
    };
    areas::touching(code).next().is_some()
}

/// The log and the report. The program's descriptor 2 may be something else by now.
fn outputs(config: &Config<'_>) -> (Sink, Sink) {
    let open = |target: &Target| match target {
        Target::File(_) => Sink::open(target).unwrap_or_default(),
        Target::Stderr => services::standard_error().unwrap_or_default(),
        Target::Nowhere => Sink::default(),
    };
    (open(&config.log), open(&config.report))
}

/// Whether there is generated code in `range` that has been patched.
#[must_use]
pub fn rewrites(range: Range) -> bool {
    areas::touching(range).any(|area| area.generated)
}

/// Puts the original bytes of generated code in `range` back: the program may read them and write others.
#[inline(never)]
pub fn undo_generated(range: Range, _lock: &Lock) {
    if rewrites(range) {
        put_back(|area| area.generated && area.code.overlaps(range));
    }
}

/// Puts the original bytes back of all images that have been changed in `range`.
#[inline(never)]
pub fn undo(range: Range, _lock: &Lock) {
    put_back(|area| area.code.overlaps(range));
}

/// Puts the original bytes back of all images of which `range` holds a part.
pub fn undo_parts(range: Range, _lock: &Lock) {
    // Where the rest could not be written to it stays patched.
    let in_part = |area: &Area| area.code.overlaps(range) && !range.holds(area.code);
    if areas::touching(range).any(in_part) {
        put_back(in_part);
    }
}

#[inline(never)]
fn put_back(which: impl Fn(&Area) -> bool) {
    if is_filtered() {
        return;
    }
    on_own_stack(|| {
        let threads = if sys::threads() > 1 {
            Threads::Many
        } else {
            Threads::One
        };
        let text = read_all(c"/proc/self/maps");
        let maps = maps::parse(&text);
        let writer = Writer::choose().tried();
        for area in areas::all().filter(|area| area.is_live() && which(area)) {
            restore(area, &maps, &writer, threads);
            area.set_live(false);
        }
    });
}

/// Whether there is anything that code of ours could be put back from.
#[must_use]
pub(crate) fn has_begun() -> bool {
    // SAFETY: written by start-up, and only looked at.
    unsafe { (*LATER.0.get()).is_some() }
}

/// Whether a thread is changing code.
#[must_use]
pub(crate) fn is_locked() -> bool {
    LOCK.load(Ordering::Acquire) != FREE
}

/// Puts the original bytes of all images back, while all other threads are stopped: whether they are there now.
pub(crate) fn put_all_back(maps: &[Mapping<'_>]) -> bool {
    let writer = Writer::choose().tried();
    let mut back = true;
    for area in areas::all().filter(|area| area.is_live()) {
        restore(area, maps, &writer, Threads::Stopped);
        area.set_live(false);
        back &= is_back(area, maps);
    }
    back
}

/// Whether all of an image is as it was, as far as it is mapped still.
fn is_back(area: &Area, maps: &[Mapping<'_>]) -> bool {
    let all = area.replaced();
    let mut before = 0..;
    all.iter().all(|undo| {
        // What several changes have met was first what the first of them has replaced.
        let (from, to) = (undo.at, undo.at + u32::from(undo.len));
        let earlier = all.iter().take(before.next().unwrap_or(0));
        let mut met = earlier.map(|e| e.at < to && from < e.at + u32::from(e.len));
        let at = area.code.start + u64::from(from);
        let end = area.code.start + u64::from(to);
        let now = memory::read(maps, Range { start: at, end });
        now.is_none_or(|now| undo.old.starts_with(now)) || met.any(|met| met)
    })
}

/// Puts the bytes back, where they are still mapped: sites before the stones that they lead to.
fn restore(area: &Area, maps: &[Mapping<'_>], writer: &Writer, threads: Threads) {
    let mut writes: Vec<Write> = Vec::new();
    for undo in area.replaced().iter().rev() {
        let at = area.code.start + u64::from(undo.at);
        let end = at + u64::from(undo.len);
        let Some(now) = memory::read(maps, Range { start: at, end }) else {
            continue;
        };
        let mut old = [0; 8];
        old.get_mut(..now.len())
            .unwrap_or(&mut [])
            .copy_from_slice(now);
        writes.push(Write {
            at,
            len: undo.len,
            old,
            new: undo.old,
        });
    }
    if threads != Threads::Many {
        writes.sort_unstable_by_key(|write| write.at);
    }
    let _finished = journal::begin(&writes);
    // SAFETY: I5: bytes of the image, in order; I7: what lies in one word is written as one.
    let _ = unsafe { memory::apply(writer, maps, &writes, threads) };
}

/// The images of `range` are still there: the call that was to take them away has failed. Those that have got their
/// original bytes back are patched again.
#[inline(never)]
pub fn stay(range: Range, lock: &Lock) {
    for area in areas::all().filter(|area| !area.is_live() && area.code.overlaps(range)) {
        arrived(area.code, Threads::One, lock);
    }
}
