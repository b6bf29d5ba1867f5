//! What a debugger needs in order to see through trampolines and gates: where tables are, and how they are laid out.
//!
//! Read by crates/cli/src/commands/gdb.py, from outside: of a live process or of its core. Nothing here is executed.

use core::mem::{offset_of, size_of};
use core::sync::atomic::AtomicPtr;

use hotpatch_abi::Frame;
use hotpatch_plan::emit::{ahead, at};

use crate::areas::{self, Area, Undo, Went};
use crate::entry::in_frame;
use crate::frame::{Entered, Record};
use crate::labels::{GATES, Gate};
use crate::thread::{Birth, Block, Own, REGION};

/// The words of [`Layout::words`], in this order; the script names them alike.
const WORDS: usize = 37;

/// Found by its symbol, `hotpatch_debug`.
#[repr(C)]
#[derive(Debug)]
pub struct Layout {
    /// Changes where the meaning of what follows does.
    pub version: u32,
    /// How many words follow the pointers.
    pub count: u32,
    /// The first [`Area`].
    pub areas: &'static AtomicPtr<Area>,
    /// All gates.
    pub gates: &'static [Gate; GATES.len()],
    /// Offsets and sizes.
    pub words: [u32; WORDS],
}

/// The one there is.
#[cfg_attr(target_os = "none", unsafe(export_name = "hotpatch_debug"))]
pub static LAYOUT: Layout = Layout {
    version: 1,
    count: WORDS as u32,
    areas: &areas::AREAS,
    gates: &GATES,
    words: [
        offset_of!(Area, next) as u32,
        offset_of!(Area, start) as u32,
        offset_of!(Area, end) as u32,
        offset_of!(Area, origin) as u32,
        offset_of!(Area, went) as u32,
        offset_of!(Area, count) as u32,
        offset_of!(Area, code) as u32,
        offset_of!(Area, undo) as u32,
        offset_of!(Area, undos) as u32,
        size_of::<Undo>() as u32,
        Went::BLOCK >> 28,
        Went::OTHER >> 28,
        Went::AHEAD >> 28,
        ahead::LEN as u32,
        at::SWITCHED as u32,
        at::RETURN as u32,
        at::CALLED_SWITCHED as u32,
        at::AFTER_RETURN as u32,
        at::NEXT as u32,
        GATES.len() as u32,
        size_of::<Gate>() as u32,
        Entered::LEN as u32,
        offset_of!(Entered, ret) as u32,
        in_frame(offset_of!(Frame, rax)) as u32,
        in_frame(offset_of!(Frame, rbx)) as u32,
        in_frame(offset_of!(Frame, rbp)) as u32,
        in_frame(offset_of!(Frame, r12)) as u32,
        in_frame(offset_of!(Frame, r13)) as u32,
        in_frame(offset_of!(Frame, r14)) as u32,
        in_frame(offset_of!(Frame, r15)) as u32,
        in_frame(offset_of!(Frame, rsp)) as u32,
        REGION as u32,
        (offset_of!(Block, own) + offset_of!(Own, rsp)) as u32,
        offset_of!(Record, rsp) as u32,
        offset_of!(Record, next) as u32,
        offset_of!(Record, mark) as u32,
        (offset_of!(Block, birth) + offset_of!(Birth, next)) as u32,
    ],
};
