//! What outlives start-up, for each image: the tables that its trampolines ask, and where its instructions went.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I14: an area is written before it is in the list, the tables also by [`unhook`], byte by byte.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use hotpatch_abi::{ARGUMENTS_ONLY, READS_ONLY};
use hotpatch_plan::emit::{Places, data};

use crate::entry;
use crate::hooks::{self, INTERNAL, NUMBERS};
use crate::internal::is_filtered;
use crate::load::MOST as MOST_HOOKS;
use crate::other;
use crate::pages::{PAGE, Range};
use crate::quick;
use crate::services;
use crate::sys::{Fd, Open};

/// Bytes of a data area, in whole pages: none of them shares one with code. `quiet`: with the second table.
#[must_use]
pub const fn len(quiet: bool) -> u64 {
    let len = if quiet { data::LEN } else { data::QUIET };
    len.next_multiple_of(PAGE)
}

/// Where one instruction of a file went.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Went {
    /// Offset of its copy in the trampolines; the top bits are set where that is a hooked block.
    pub offset: u32,
    /// Its original address, from [`Area::origin`] on.
    pub original: u32,
}

impl Went {
    /// In `offset`: a hooked block, of `hotpatch_plan::emit::at::LEN` bytes.
    pub const BLOCK: u32 = 1 << 31;
    /// In `offset`: a hooked block of another instruction, laid out as `hotpatch_plan::emit::Places` say.
    pub const OTHER: u32 = 1 << 30;

    /// In `offset`, with [`Self::BLOCK`]: what stands ahead of the block comes first.
    pub const AHEAD: u32 = 1 << 29;

    /// The offset alone.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.offset & !(Self::BLOCK | Self::OTHER | Self::AHEAD)
    }
}

/// Bytes that a patch has replaced.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undo {
    /// Where, from the start of [`Area::code`] on.
    pub at: u32,
    /// How many.
    pub len: u8,
    /// What was there.
    pub old: [u8; 8],
}

/// The trampolines of one image.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// The next image's; null ends the list.
    pub next: *const Area,
    /// Its number among all areas.
    pub number: u32,
    /// The id of its first block.
    pub first: u32,
    /// All that is mapped for it: trampolines and data area.
    pub mapped: Range,
    /// The program has generated the code, and may do so again.
    pub generated: bool,
    /// From the first byte of the image's code that was changed to the last.
    pub code: Range,
    /// What stood there, in the order in which it was replaced.
    pub undo: *const Undo,
    /// How many these are.
    pub undos: usize,
    /// The data area, right behind the trampolines' last page; 0 where there is none, as there are no blocks.
    pub data: u64,
    /// Whether it has the second table.
    pub quiet: bool,
    /// The first byte of the trampolines.
    pub start: u64,
    /// One past their last byte.
    pub end: u64,
    /// What `original` counts from.
    pub origin: u64,
    /// What moved, in order of offset.
    pub went: *const Went,
    /// How many these are.
    pub count: usize,
    /// The program's restorer of signal frames among the code, whose system call comes to hooks; 0: there is none.
    pub restorer: u64,
    /// Where each of its slots leads back to ([`trap::slots`](crate::trap::slots)), a word each; 0: it has none.
    pub words: u64,
}

pub(crate) static AREAS: AtomicPtr<Area> = AtomicPtr::new(ptr::null_mut());

/// No more images are patched.
pub const MOST: u32 = 64 * WORDS as u32;
const WORDS: usize = 64;

/// A bit for each area whose image is no longer there, or is as it was before. Its trampolines stay: a thread may sleep
/// in one.
static RETIRED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

impl Area {
    fn retired(&self) -> Option<(&'static AtomicU64, u64)> {
        let word = RETIRED.get(self.number as usize / 64)?;
        Some((word, 1 << (self.number % 64)))
    }

    /// Whether its image is there, patched.
    #[must_use]
    pub fn is_live(&self) -> bool {
        // Acquire: pairs with the Release below: whoever finds it retired may map something else there.
        self.retired()
            .is_none_or(|(word, bit)| word.load(Ordering::Acquire) & bit == 0)
    }

    /// Its image is gone, or back.
    pub fn set_live(&self, live: bool) {
        if let Some((word, bit)) = self.retired() {
            if live {
                word.fetch_and(!bit, Ordering::Release);
            } else {
                word.fetch_or(bit, Ordering::Release);
            }
        }
    }

    /// What its patches have replaced, in that order.
    #[must_use]
    pub fn replaced(&self) -> &'static [Undo] {
        // SAFETY: I14: the area says how many.
        unsafe { core::slice::from_raw_parts(self.undo, self.undos) }
    }
}

/// The areas whose images are there and have been changed within `range`.
pub fn touching(range: Range) -> impl Iterator<Item = &'static Area> {
    all().filter(move |area| area.code.overlaps(range) && area.is_live())
}

/// All areas.
pub fn all() -> impl Iterator<Item = &'static Area> {
    // SeqCst: see `add`.
    let mut next = AREAS.load(Ordering::SeqCst).cast_const();
    core::iter::from_fn(move || {
        // SAFETY: I14: each stays as long as the process.
        let area = unsafe { next.as_ref() }?;
        next = area.next;
        Some(area)
    })
}

/// How many images are gone, and how many bytes are mapped for them still.
#[must_use]
pub fn retired() -> (u32, u64) {
    let gone = all().filter(|area| !area.is_live());
    gone.fold((0, 0), |(count, bytes), area| {
        (count + 1, bytes + (area.mapped.end - area.mapped.start))
    })
}

/// Whether handlers may return to `restorer`, as its system call comes to us.
#[must_use]
pub fn is_restorer(restorer: u64) -> bool {
    let leads_here = |area: &Area| area.restorer == restorer && area.is_live();
    restorer != 0 && !is_unhooked() && all().any(leads_here)
}

/// Whether what is at `at` begins as it did: no jump of ours has it inside.
#[must_use]
pub fn begins_at(at: u64) -> bool {
    let inside = |area: &Area, undo: &Undo| {
        let start = area.code.start + u64::from(undo.at);
        // One that crosses pages is kept as two.
        let first = start + u64::from(!start.is_multiple_of(PAGE));
        first <= at && at < start + u64::from(undo.len)
    };
    all()
        .filter(|area| area.code.start <= at && at < area.code.end && area.is_live())
        .all(|area| !area.replaced().iter().any(|undo| inside(area, undo)))
}

/// The area whose trampolines begin at `start`.
#[must_use]
pub fn at(start: u64) -> Option<&'static Area> {
    all().find(|area| area.start == start)
}

/// How many there are.
#[must_use]
pub fn count() -> u32 {
    all().next().map_or(0, |last| last.number + 1)
}

/// Adds an area, which must stay.
///
/// # Safety
/// I14: start-up's, or the lock's holder's; `area` and what it points to stay and do not change.
pub unsafe fn add(area: *mut Area) {
    // SAFETY: as the caller promises.
    unsafe { (*area).next = AREAS.load(Ordering::Relaxed) };
    // SeqCst: whoever finds it finds what it says; and either `unhook` finds it, or it is seen here.
    AREAS.store(area, Ordering::SeqCst);
    if MASKS.load(Ordering::SeqCst) {
        // SAFETY: as the caller promises.
        look_at_masks_of(unsafe { &*area });
    }
    if ALL.load(Ordering::SeqCst) {
        // SAFETY: as the caller promises.
        look_at_all_of(unsafe { &*area });
    }
    if UNHOOKED.load(Ordering::SeqCst) {
        // SAFETY: as the caller promises.
        clear(unsafe { &*area });
    }
}

fn byte(at: u64) -> &'static AtomicU8 {
    // SAFETY: I14: `at` lies in a data area, which stays mapped and writable.
    unsafe { AtomicU8::from_ptr(ptr::with_exposed_provenance_mut(at as usize)) }
}

fn word(at: u64) -> &'static AtomicU64 {
    // SAFETY: as above, and 8-aligned.
    unsafe { AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(at as usize)) }
}

/// Fills the data area at `data`, which is zeros; with the second table if there are `quiet` sites. `flags`: those of
/// [`Hook`](hotpatch_abi::Hook) that all hooks have; `one`: that there is one alone.
///
/// # Safety
/// I14: nobody else knows it, and [`len`] bytes are mapped there.
pub unsafe fn fill(data: u64, quiet: bool, flags: u32, one: bool) {
    type Gate = unsafe extern "C" fn();
    let arguments_only = flags & ARGUMENTS_ONLY != 0;
    let (gate, after): (Gate, Gate) = match (one, arguments_only) {
        (true, _) if flags & READS_ONLY != 0 => (quick::quick_reads, quick::quick_after_reads),
        (false, false) => (entry::gate_full, entry::after_full),
        (false, true) => (entry::gate_arguments, entry::after_arguments),
        (true, false) => (quick::quick_full, quick::quick_after_full),
        (true, true) => (quick::quick_arguments, quick::quick_after_arguments),
    };
    word(data + data::GATE).store(gate as *const () as u64, Ordering::Relaxed);
    word(data + data::AFTER).store(after as *const () as u64, Ordering::Relaxed);
    word(data + data::OTHER).store(other::other_gate as *const () as u64, Ordering::Relaxed);
    let after = other::other_after as *const () as u64;
    word(data + data::OTHER_AFTER).store(after, Ordering::Relaxed);
    for number in 0..=data::OTHERS {
        if number > NUMBERS as u64 && hooks::wanted(NUMBERS as u32) == 0 {
            break;
        }
        let mut wanted = hooks::wanted(number as u32);
        if number == MASK_CALL {
            wanted &= !INTERNAL; // until `look_at_masks`
        }
        if wanted != 0 {
            byte(data + data::TABLE + number).store(1, Ordering::Relaxed);
        }
        if quiet && wanted & INTERNAL != 0 {
            byte(data + data::QUIET + number).store(1, Ordering::Relaxed);
        }
    }
}

/// The call that programs with signals make most often.
const MASK_CALL: u64 = linux_raw_sys::general::__NR_rt_sigprocmask as u64;
/// Whether the runtime looks at it: only alternate stacks and copies for hooks make that necessary.
static MASKS: AtomicBool = AtomicBool::new(false);

/// Calls that change the mask are looked at from now on.
pub fn look_at_masks() {
    if MASKS.load(Ordering::Relaxed) || MASKS.swap(true, Ordering::SeqCst) {
        return;
    }
    all().for_each(look_at_masks_of);
    if UNHOOKED.load(Ordering::SeqCst) {
        all().for_each(clear);
    }
}

fn look_at_masks_of(area: &'static Area) {
    if area.data == 0 {
        return;
    }
    byte(area.data + data::TABLE + MASK_CALL).store(1, Ordering::Relaxed);
    if area.quiet {
        byte(area.data + data::QUIET + MASK_CALL).store(1, Ordering::Relaxed);
    }
}

/// Whether every call is looked at.
static ALL: AtomicBool = AtomicBool::new(false);

/// Every call of a hooked site is looked at from now on, whoever wants it: threads that run already have something to
/// do.
pub fn look_at_all() {
    if ALL.swap(true, Ordering::SeqCst) {
        return;
    }
    all().for_each(look_at_all_of);
    if UNHOOKED.load(Ordering::SeqCst) {
        all().for_each(clear);
    }
}

fn look_at_all_of(area: &'static Area) {
    if area.data == 0 {
        return;
    }
    // It asks who wants a call; those for one hook alone rely on the table.
    let gate = entry::gate_full as *const () as u64;
    // SeqCst, both: whoever finds the byte finds the gate.
    word(area.data + data::GATE).store(gate, Ordering::SeqCst);
    for number in 0..NUMBERS as u64 {
        byte(area.data + data::TABLE + number).store(1, Ordering::SeqCst);
        if area.quiet {
            byte(area.data + data::QUIET + number).store(1, Ordering::SeqCst);
        }
    }
}

static SETS_GS: AtomicBool = AtomicBool::new(false);

/// There is code that sets `gs` without asking the kernel.
pub fn has_set_gs() {
    SETS_GS.store(true, Ordering::Relaxed);
}

/// Whether there is such code.
#[must_use]
pub fn sets_gs() -> bool {
    SETS_GS.load(Ordering::Relaxed)
}

/// There is such code that runs natively.
static LOSES_GS: AtomicBool = AtomicBool::new(false);
/// Why no hook is called then.
pub const UNSEEN_GS: &str = "code that sets gs cannot be patched";

/// There is such code that runs natively: nothing of ours must rely on `gs` when the program runs.
pub fn will_lose_gs(late: bool) {
    LOSES_GS.store(true, Ordering::Relaxed);
    if late {
        unhook(UNSEEN_GS);
    }
}

/// Whether [`will_lose_gs`] has been called.
#[must_use]
pub fn loses_gs() -> bool {
    LOSES_GS.load(Ordering::Relaxed)
}

static UNHOOKED: AtomicBool = AtomicBool::new(false);

/// Whether [`unhook`] has been called.
#[must_use]
pub fn is_unhooked() -> bool {
    UNHOOKED.load(Ordering::Relaxed)
}

/// Lets every call pass by all hooks from now on: the tables say that nobody wants any.
pub fn unhook(why: &str) {
    let again = UNHOOKED.swap(true, Ordering::SeqCst);
    crate::signal::end();
    // Where another thread is about to do this, this one does not wait for it: what it does is the same.
    for area in all() {
        clear(area);
    }
    let passed = pass_by_others();
    if again {
        return;
    }
    if !passed {
        services::say(b"hooks", b"code that uses gs cannot be changed any more");
    }
    if hooks::are_there() {
        services::say(b"no hook is called any more", why.as_bytes());
    }
}

/// Has no hook called any more, and every call pass by that the runtime itself need not see.
pub(crate) fn silence() {
    (0..MOST_HOOKS).for_each(hooks::give_up);
    for area in all().filter(|area| area.data != 0) {
        for number in (0..NUMBERS as u64).filter(|&n| hooks::wanted(n as u32) & INTERNAL == 0) {
            byte(area.data + data::TABLE + number).store(0, Ordering::Relaxed);
        }
    }
    pass_by_others();
}

/// Lets the calls of one image pass by.
fn clear(area: &Area) {
    if area.data == 0 {
        return;
    }
    for number in 0..NUMBERS as u64 {
        byte(area.data + data::TABLE + number).store(0, Ordering::Relaxed);
        if area.quiet {
            byte(area.data + data::QUIET + number).store(0, Ordering::Relaxed);
        }
    }
    if hooks::wanted(NUMBERS as u32) != 0 {
        for number in NUMBERS as u64..=data::OTHERS {
            byte(area.data + data::TABLE + number).store(0, Ordering::Relaxed);
        }
    }
}

/// Makes the blocks that ask no table begin with a jump to the instruction. Answers whether that was possible.
fn pass_by_others() -> bool {
    let others = |area: &'static Area| {
        // SAFETY: I14: the area says how many.
        let went = unsafe { core::slice::from_raw_parts(area.went, area.count) };
        let others = went.iter().filter(|went| went.offset & Went::OTHER != 0);
        others.map(|went| area.start + u64::from(went.start()))
    };
    if all().flat_map(others).next().is_none() {
        return true;
    }
    let mem = if is_filtered() {
        None
    } else {
        Fd::open(c"/proc/self/mem", Open::ReadWrite).ok()
    };
    let Some(mem) = mem else {
        return false;
    };
    let mut passed = true;
    for block in all().flat_map(others) {
        let word = block + u64::from(Places::ID);
        let word = core::ptr::with_exposed_provenance::<u32>(word as usize);
        // SAFETY: I14: in a block.
        let places = Places::of((unsafe { word.read_unaligned() } >> Places::LENGTH_AT) as u8);
        let jump = [0xeb, places.run() - 2]; // jmp rel8
        // Who has passed the first instruction has `gs` as it was: another thread, whose own is ours.
        passed &= mem.write_at(&jump, block) == Ok(2);
    }
    passed
}
