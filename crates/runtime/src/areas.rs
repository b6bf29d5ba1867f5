//! What outlives start-up, for each image: the tables that its trampolines ask, and where its instructions went.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I14: written by start-up alone, the tables also by [`unhook`], byte by byte.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use hotpatch_plan::emit::{Places, data};

use crate::entry;
use crate::hooks::{self, INTERNAL, NUMBERS};
use crate::other;
use crate::pages::PAGE;
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

/// The trampolines of one image.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Area {
    /// The next image's; null ends the list.
    pub next: *const Area,
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
}

static AREAS: AtomicPtr<Area> = AtomicPtr::new(ptr::null_mut());

/// All areas.
pub fn all() -> impl Iterator<Item = &'static Area> {
    // Acquire: pairs with the Release in `add`.
    let mut next = AREAS.load(Ordering::Acquire).cast_const();
    core::iter::from_fn(move || {
        // SAFETY: I14: each stays as long as the process.
        let area = unsafe { next.as_ref() }?;
        next = area.next;
        Some(area)
    })
}

/// Adds an area, which must stay.
///
/// # Safety
/// I14: start-up's alone; `area` and what it points to stay and do not change.
pub unsafe fn add(area: *mut Area) {
    // SAFETY: as the caller promises.
    unsafe { (*area).next = AREAS.load(Ordering::Relaxed) };
    // Release: whoever finds it finds what it says.
    AREAS.store(area, Ordering::Release);
}

fn byte(at: u64) -> &'static AtomicU8 {
    // SAFETY: I14: `at` lies in a data area, which stays mapped and writable.
    unsafe { AtomicU8::from_ptr(ptr::with_exposed_provenance_mut(at as usize)) }
}

fn word(at: u64) -> &'static AtomicU64 {
    // SAFETY: as above, and 8-aligned.
    unsafe { AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(at as usize)) }
}

/// Fills the data area at `data`, which is zeros; with the second table if there are `quiet` sites.
///
/// # Safety
/// I14: start-up's alone, and [`len`] bytes are mapped there.
pub unsafe fn fill(data: u64, quiet: bool, arguments_only: bool, one: bool) {
    type Gate = unsafe extern "C" fn();
    let (gate, after): (Gate, Gate) = match (one, arguments_only) {
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
        let wanted = hooks::wanted(number as u32);
        if wanted != 0 {
            byte(data + data::TABLE + number).store(1, Ordering::Relaxed);
        }
        if quiet && wanted & INTERNAL != 0 {
            byte(data + data::QUIET + number).store(1, Ordering::Relaxed);
        }
    }
}

static UNHOOKED: AtomicBool = AtomicBool::new(false);

/// Whether [`unhook`] has been called.
#[must_use]
pub fn is_unhooked() -> bool {
    UNHOOKED.load(Ordering::Relaxed)
}

/// Lets every call pass by all hooks from now on: the tables say that nobody wants any.
pub fn unhook(why: &str) {
    if UNHOOKED.swap(true, Ordering::Relaxed) {
        return;
    }
    crate::signal::end();
    for area in all().filter(|area| area.data != 0) {
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
    if !pass_by_others() {
        services::say(b"hooks", b"code that uses gs cannot be changed any more");
    }
    if hooks::are_there() {
        services::say(b"no hook is called any more", why.as_bytes());
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
    let Ok(mem) = Fd::open(c"/proc/self/mem", Open::ReadWrite) else {
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
