//! Landing pads: where a C++ or Rust exception continues.
//!
//! The language-specific data area has no standard of its own; this reads what GCC and LLVM write
//! (Itanium C++ ABI, "Exception Handling Tables").

use alloc::vec::Vec;

use super::Image;
use super::bytes::Reader;
use super::frames::{Fde, OMIT};
use crate::addr::{Span, Va};

impl Image<'_> {
    /// Whether exceptions can continue inside the function that begins at `function.start`.
    #[must_use]
    pub fn has_lsda(&self, function: Span) -> bool {
        self.fde_at(function.start)
            .is_some_and(|fde| fde.lsda.is_some())
    }

    /// Every landing pad of the function that begins at `function.start`, and those inside `function` that belong
    /// to the other parts of a function that was split. Whether the tables could be read: if not, there may be more.
    pub fn landing_pads(&self, function: Span, found: &mut dyn FnMut(Va)) -> bool {
        let Some(fde) = self.fde_at(function.start) else {
            return true;
        };
        if fde.lsda.is_none() {
            return true;
        }
        let Some(split) = self.read_lsda(&fde, found) else {
            return false;
        };
        if split {
            let Some(pads) = self.far_pads.get_or_init(|| self.gather_far_pads()) else {
                return false;
            };
            pads.iter()
                .copied()
                .filter(|&pad| function.contains(pad))
                .for_each(found);
        }
        true
    }

    /// Landing pads of all functions that state a place of their own for them; `None` where a table cannot be
    /// read (LLVM 14 writes such ones for basic-block sections: each is as long as all that follow it).
    fn gather_far_pads(&self) -> Option<Vec<Va>> {
        let frames = self.frames();
        let mut pads = Vec::new();
        let mut own = Vec::new();
        for index in 0..frames.len() {
            if let Some(fde) = frames.get(index).and_then(|(_, fde)| self.fde(fde)) {
                own.clear();
                if self.read_lsda(&fde, &mut |pad| own.push(pad))? {
                    pads.append(&mut own);
                }
            }
        }
        Some(pads)
    }

    /// Reads the call-site table of `fde`. Whether it states where landing pads are counted from, as only parts
    /// of a split function do; `None` where it cannot be read.
    fn read_lsda(&self, fde: &Fde, found: &mut dyn FnMut(Va)) -> Option<bool> {
        let Some(lsda) = fde.lsda else {
            return Some(false);
        };
        let mut reader = Reader::new(self.tail(lsda)?, lsda);
        let base_encoding = reader.u8()?;
        let split = base_encoding != OMIT;
        let base = if split {
            self.pointer(&mut reader, base_encoding, Va(0))?
        } else {
            fde.span.start
        };
        if reader.u8()? != OMIT {
            reader.uleb()?;
        }
        // call sites are offsets: whatever an address would be relative to does not count
        let encoding = reader.u8()? & 0x0f;
        let len = reader.uleb()?;
        let at = reader.at;
        let mut sites = Reader::new(reader.take(len)?, at);
        while !sites.rest.is_empty() {
            self.lsda_budget.set(self.lsda_budget.get().checked_sub(4)?);
            self.pointer(&mut sites, encoding, Va(0))?;
            self.pointer(&mut sites, encoding, Va(0))?;
            let pad = self.pointer(&mut sites, encoding, Va(0))?;
            sites.uleb()?;
            if pad != Va(0) {
                found(base + pad.0);
            }
        }
        Some(split)
    }
}
