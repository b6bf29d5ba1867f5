//! What is kept of sites that cannot be patched, whose calls trap.rs catches.
//!
//! # Safety
//! I14: the lock's holder adds what the hot path reads; a slot's entry in the table changes before the slot is any site's.

use core::ffi::c_char;

use hotpatch_abi::Site;
use hotpatch_plan::addr::Va;
use hotpatch_plan::emit;
use hotpatch_plan::plan::SiteKind;

use super::{Hooking, Needs};
use crate::areas::{self, Area};
use crate::hooks::{self, Known};
use crate::pages::Range;
use crate::services::SERVICES;
use crate::sys::Errno;

impl Hooking {
    /// How slots are emitted, with their data area at `data`.
    #[must_use]
    pub fn style_of_slots(&self, data: Va) -> emit::Hooking<'static> {
        static NONE: Needs = Needs {
            plain: alloc::vec::Vec::new(),
            quiet: alloc::vec::Vec::new(),
            numbers: alloc::vec::Vec::new(),
            any: true,
        };
        self.style(0, data, &NONE)
    }

    /// Keeps `count` slots that have just been mapped, code first, then the data area and the words: `parts`.
    ///
    /// # Errors
    /// There is no room.
    pub fn add_slots(
        &mut self,
        mapped: Range,
        (data, words): (u64, u64),
        count: u32,
    ) -> Result<(), Errno> {
        let bytes = size_of::<Area>() + 64;
        if !self.store.has_room(count as usize, bytes) || areas::count() >= areas::MOST {
            return Err(Errno::NOMEM);
        }
        let opened = self.store.open(count as usize, bytes)?;
        // SAFETY: I14: zeros, mapped just now.
        unsafe { areas::fill(data, false, self.flags, self.only.is_some()) };
        let first = self.next();
        for n in 0..count {
            self.store.site(Known {
                site: Site {
                    id: first + n,
                    ..NOWHERE
                },
                chosen: 0,
                number: Known::ANY,
            });
        }
        let area = Area {
            next: core::ptr::null(),
            number: areas::count(),
            first,
            mapped,
            generated: false,
            code: Range { start: 0, end: 0 },
            undo: core::ptr::with_exposed_provenance(words as usize),
            undos: 0,
            data,
            quiet: false,
            start: mapped.start,
            end: mapped.start + u64::from(count) * u64::from(emit::SLOT),
            origin: 0,
            went: core::ptr::with_exposed_provenance(words as usize),
            count: 0,
            restorer: 0,
            words,
        };
        let area = self.store.keep(&[area]);
        hooks::grow(self.next());
        // SAFETY: I14: in the store.
        unsafe { areas::add(area) };
        drop(opened);
        Ok(())
    }

    /// Writes what is known of a slot's site.
    ///
    /// # Errors
    /// The kernel's.
    pub fn know(&mut self, id: u32, known: Known) -> Result<(), Errno> {
        self.store.replace(id, known)
    }

    /// Keeps the name of a file, the last of which is likely to be the next.
    pub fn text(&mut self, text: &[u8]) -> Option<*const c_char> {
        if !self.store.has_room(0, text.len() + 64) {
            return None;
        }
        let _opened = self.store.open(0, text.len() + 64).ok()?;
        Some(self.store.text(text))
    }

    /// The hooks that choose a site in memory that is no image, by bit.
    #[must_use]
    pub fn ask(&self, site: &Site) -> u32 {
        let of = self.wishes().iter().enumerate();
        of.fold(0, |chosen, (n, (kinds, ask))| {
            // SAFETY: I11: the hook's own function; what it is shown lives until it returns.
            let asked = |ask: unsafe extern "C" fn(_, _) -> _| unsafe {
                ask(&raw const SERVICES, core::ptr::from_ref(site))
            };
            let yes = kinds.has(SiteKind::Syscall) && ask.is_none_or(asked);
            chosen | u32::from(yes) << n
        })
    }
}

/// The site of a slot that is nobody's yet.
const NOWHERE: Site = Site {
    address: 0,
    offset: 0,
    file: c"[generated]".as_ptr(),
    symbol: core::ptr::null(),
    symbol_offset: 0,
    kind: hotpatch_abi::kind::SYSCALL,
    id: 0,
    bytes: [0; 15],
    len: 2,
};
