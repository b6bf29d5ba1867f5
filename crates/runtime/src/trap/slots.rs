//! Slots: what a block is to a site that is patched, for sites that are not.
//!
//! They are made many at once, before it is known for which sites: where each leads back to is a word of memory, found
//! by the address behind the instruction. A slot is never given back, as a thread may sleep in it; the same address finds it again.
//!
//! After start-up: no heap, no panic; new ones under the lock of late.rs.
//!
//! # Safety
//! I21: the words of slots. I14: what is kept of sites.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use hotpatch_abi::{Site, kind};
use hotpatch_plan::addr::Va;
use hotpatch_plan::emit::{self, at};

use crate::areas::{self, Area};
use crate::hooking::Hooking;
use crate::hooks::{self, Known};
use crate::late::Settings;
use crate::maps::Mapping;
use crate::memory::{self, Writer};
use crate::object;
use crate::pages::{PAGE, Range, Space};
use crate::sys::{self, Errno, Protection};

/// How many are made at once.
pub const COUNT: u32 = 128;
/// Bytes of their code.
const CODE: u64 = COUNT as u64 * emit::SLOT as u64;
/// Bytes of their words.
const WORDS: u64 = (COUNT as u64 * 8).next_multiple_of(PAGE);
/// What `syscall` and `int $0x80` have.
const LEN: u64 = 2;

/// One that is some site's.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    area: &'static Area,
    index: u32,
}

impl Slot {
    /// Where the site's calls go; `int80`: those that are made by that instruction.
    #[must_use]
    pub fn enter(self, int80: bool) -> u64 {
        let start = self.area.start + u64::from(self.index) * u64::from(emit::SLOT);
        // SAFETY: I14: an area's ids are in the table.
        let known = unsafe { hooks::known(self.area.first + self.index) };
        let inside = match known.chosen {
            _ if int80 => emit::INT80,
            0 => at::RUN,
            _ => 0,
        };
        start + u64::from(inside)
    }
}

fn word(area: &Area, index: u32) -> &'static AtomicU64 {
    let at = area.words + 8 * u64::from(index % COUNT);
    // SAFETY: I21: an area's words stay mapped and writable.
    unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(at as usize)) }
}

/// The address behind the site whose slot this is; 0: nobody's.
#[must_use]
pub fn next(area: &Area, index: u32) -> u64 {
    word(area, index).load(Ordering::Relaxed)
}

fn pools() -> impl Iterator<Item = &'static Area> {
    areas::all().filter(|area| area.words != 0)
}

/// The indices to look at, in turn.
fn probe(next: u64) -> impl Iterator<Item = u32> {
    let first = (next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32;
    (0..COUNT).map(move |n| first.wrapping_add(n) % COUNT)
}

/// The slot of the site before `next`.
#[must_use]
pub fn find(next: u64) -> Option<Slot> {
    pools().find_map(|area| {
        for index in probe(next) {
            // Acquire: pairs with the Release in `put`: what is known of the site is there.
            match word(area, index).load(Ordering::Acquire) {
                0 => return None,
                there if there == next => return Some(Slot { area, index }),
                _ => {}
            }
        }
        None
    })
}

fn free(next: u64) -> Option<Slot> {
    pools().find_map(|area| {
        let index = probe(next).find(|&index| word(area, index).load(Ordering::Relaxed) == 0)?;
        Some(Slot { area, index })
    })
}

/// Makes it that of the site before `next`, if it is still nobody's.
fn put(slot: Slot, next: u64) -> bool {
    let word = word(slot.area, slot.index);
    word.compare_exchange(0, next, Ordering::Release, Ordering::Relaxed)
        .is_ok()
}

/// A slot that shows its calls to nobody, where no call of ours may be made.
#[must_use]
pub fn take_plain(next: u64) -> Option<Slot> {
    loop {
        let slot = free(next)?;
        if put(slot, next) {
            return Some(slot);
        }
    }
}

/// Claims a slot for the site before `next`, and asks hooks whether they want it.
pub fn claim(hooking: &mut Hooking, maps: &[Mapping<'_>], settings: &Settings, next: u64) {
    if free(next).is_none() {
        more(hooking, maps, settings);
    }
    let Some(slot) = free(next) else { return };
    let id = slot.area.first + slot.index;
    let known = known(hooking, maps, next.wrapping_sub(LEN), id);
    if hooking.know(id, known).is_ok() {
        put(slot, next);
    }
}

fn known(hooking: &mut Hooking, maps: &[Mapping<'_>], address: u64, id: u32) -> Known {
    let mapping = maps.iter().find(|m| m.start <= address && address < m.end);
    let mut bytes = [0; 15];
    let mut file = None;
    if let Some(m) = mapping {
        let end = m.end.min(address + bytes.len() as u64);
        if m.readable {
            // SAFETY: I5: mapped readable; the program has just executed it.
            let code = unsafe {
                memory::bytes(Range {
                    start: address,
                    end,
                })
            };
            bytes
                .iter_mut()
                .zip(code)
                .for_each(|(to, from)| *to = *from);
        }
        let object = object::Object { base: *m, code: *m };
        if m.is_file() {
            file = hooking.text(&object.path());
        }
    }
    let site = Site {
        address,
        offset: object::file_offset(maps, address).unwrap_or(0),
        file: file.unwrap_or(GENERATED.as_ptr()),
        symbol: core::ptr::null(),
        symbol_offset: 0,
        kind: kind::SYSCALL,
        id,
        bytes,
        len: LEN as u8,
    };
    Known {
        site,
        chosen: hooking.ask(&site),
        number: Known::ANY,
    }
}

/// What sites in memory without a file are told to be in.
const GENERATED: &CStr = c"[generated]";

/// Makes more slots. Answers whether there was room.
pub fn more(hooking: &mut Hooking, maps: &[Mapping<'_>], settings: &Settings) -> bool {
    let len = CODE + areas::len(false) + WORDS;
    let mut writer = Writer::again(settings.mem()).tried();
    let mut space = Space::new(maps, sys::stack_limit());
    let ours = areas::all()
        .map(|area| area.mapped)
        .chain(super::reserved());
    ours.for_each(|range| space.take(range));
    let places = space.places_above(crate::labels::own(), len);
    places.into_iter().take(8).any(|start| {
        let mapped = Range {
            start,
            end: start + len,
        };
        map(hooking, mapped, &mut writer).is_ok()
    })
}

fn map(hooking: &mut Hooking, mapped: Range, writer: &mut Writer) -> Result<(), Errno> {
    let data = mapped.start + CODE;
    let words = mapped.end - WORDS;
    let data_len = (mapped.end - data) as usize;
    let first = hooking.next();
    let mut code = alloc::vec::Vec::with_capacity(CODE as usize);
    let style = hooking.style_of_slots(Va(data));
    for n in 0..COUNT {
        let start = Va(mapped.start + code.len() as u64);
        let next = Va(words + 8 * u64::from(n));
        code.extend(emit::slot(start, next, first + n, &style).map_err(|_| Errno::INVAL)?);
    }
    sys::map_at(data as usize, data_len, Protection::ReadWrite)?;
    let made = memory::map_code(writer, mapped.start, &code)
        .and_then(|()| hooking.add_slots(mapped, (data, words), COUNT));
    if made.is_err() {
        // SAFETY: nobody knows of it. Where the code could not be mapped there is none.
        let _ = unsafe { sys::unmap(data as usize, data_len) };
    }
    made
}
