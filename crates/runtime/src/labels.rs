//! What addresses in entry.rs mean to somebody who finds a thread there.
//!
//! # Safety
//! Labels are addresses of code that stays; nothing is read there.

use core::ops;

use crate::pages::Range;
use crate::{entry, other, quick};

/// The address of a label.
macro_rules! label {
    ($symbol:ident) => {{
        unsafe extern "C" {
            safe static $symbol: u8;
        }
        (&raw const $symbol).addr() as u64
    }};
}
pub(crate) use label;

/// A gate: between a block and the hooks.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    begin: *const u8,
    leave: *const u8,
    again: *const u8,
    restored: *const u8,
    odd: *const u8,
    even: *const u8,
    end: *const u8,
    /// What is left when all registers are back is a jump by `Own::to`, not a return.
    pub jumps: bool,
}

// SAFETY: addresses of code.
unsafe impl Sync for Gate {}

impl Gate {
    /// Whether `rip` is in it.
    #[must_use]
    pub fn contains(&self, rip: u64) -> bool {
        (self.begin.addr()..self.end.addr()).contains(&(rip as usize))
    }

    /// Here it asks whether a signal waits.
    #[must_use]
    pub fn leave(&self) -> u64 {
        self.again.addr() as u64
    }

    /// All registers are back; the return is left.
    #[must_use]
    pub fn restored(&self) -> u64 {
        self.restored.addr() as u64
    }

    /// Whether it has asked, and can ask again: rcx and the frame at the top of the hook stack say all.
    #[must_use]
    pub fn leaves(&self, rip: u64) -> bool {
        let rip = rip as usize;
        (self.leave.addr()..self.restored.addr()).contains(&rip)
            || (self.odd.addr()..self.even.addr()).contains(&rip)
    }
}

macro_rules! gate {
    ($begin:path, $leave:ident, $restored:ident, $odd:ident, $even:ident, $end:ident) => {{
        unsafe extern "C" {
            safe static $leave: u8;
            safe static $restored: u8;
            safe static $odd: u8;
            safe static $even: u8;
            safe static $end: u8;
        }
        Gate {
            begin: $begin as *const u8,
            leave: &raw const $leave,
            again: &raw const $leave,
            restored: &raw const $restored,
            odd: &raw const $odd,
            even: &raw const $even,
            end: &raw const $end,
            jumps: false,
        }
    }};
}

/// A gate of quick.rs: what it was about to do as it left, `hotpatch_full_leave` does as well.
macro_rules! quick {
    ($begin:path, $leave:ident, $restored:ident, $end:ident) => {{
        unsafe extern "C" {
            safe static $leave: u8;
            safe static $restored: u8;
            safe static $end: u8;
            safe static hotpatch_full_leave: u8;
        }
        Gate {
            begin: $begin as *const u8,
            leave: &raw const $leave,
            again: &raw const hotpatch_full_leave,
            restored: &raw const $restored,
            odd: &raw const $end,
            even: &raw const $end,
            end: &raw const $end,
            jumps: false,
        }
    }};
}

/// All gates.
#[rustfmt::skip]
pub static GATES: [Gate; 14] = [
    Gate { jumps: true, ..gate!(other::other_gate, hotpatch_other_leave, hotpatch_other_restored, hotpatch_other_odd, hotpatch_other_even, hotpatch_other_end) },
    Gate { jumps: true, ..gate!(other::other_after, hotpatch_other_after_leave, hotpatch_other_after_restored, hotpatch_other_after_odd, hotpatch_other_after_even, hotpatch_other_after_end) },
    quick!(quick::quick_full, hotpatch_quick_full_leave, hotpatch_quick_full_restored, hotpatch_quick_full_end),
    quick!(quick::quick_arguments, hotpatch_quick_arguments_leave, hotpatch_quick_arguments_restored, hotpatch_quick_arguments_end),
    quick!(quick::quick_reads, hotpatch_quick_reads_leave, hotpatch_quick_reads_restored, hotpatch_quick_reads_end),
    quick!(quick::quick_after_reads, hotpatch_quick_after_reads_leave, hotpatch_quick_after_reads_restored, hotpatch_quick_after_reads_end),
    quick!(quick::quick_after_full, hotpatch_quick_after_full_leave, hotpatch_quick_after_full_restored, hotpatch_quick_after_full_end),
    quick!(quick::quick_after_arguments, hotpatch_quick_after_arguments_leave, hotpatch_quick_after_arguments_restored, hotpatch_quick_after_arguments_end),
    gate!(entry::gate_full, hotpatch_full_leave, hotpatch_full_restored, hotpatch_full_odd, hotpatch_full_even, hotpatch_full_end),
    gate!(entry::gate_arguments, hotpatch_arguments_leave, hotpatch_arguments_restored, hotpatch_arguments_odd, hotpatch_arguments_even, hotpatch_arguments_end),
    gate!(entry::after_full, hotpatch_after_full_leave, hotpatch_after_full_restored, hotpatch_after_full_odd, hotpatch_after_full_even, hotpatch_after_full_end),
    gate!(entry::after_arguments, hotpatch_after_arguments_leave, hotpatch_after_arguments_restored, hotpatch_after_arguments_odd, hotpatch_after_arguments_even, hotpatch_after_arguments_end),
    gate!(entry::after_record, hotpatch_after_record_leave, hotpatch_after_record_restored, hotpatch_after_record_odd, hotpatch_after_record_even, hotpatch_after_record_end),
    gate!(entry::after_birth, hotpatch_after_birth_leave, hotpatch_after_birth_restored, hotpatch_after_birth_odd, hotpatch_after_birth_even, hotpatch_after_birth_end),
];

/// Code that executes a call for blocks, and asks hooks behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// All of it: from the instruction on.
    pub span: ops::Range<u64>,
    /// Behind the instruction.
    pub called: u64,
    /// The hook stack is in rsp, the program's in r11.
    pub switched: u64,
    /// The gate has returned.
    pub returned: u64,
    /// Only the jump to rcx is left.
    pub left: u64,
    /// In a new thread, its own block can be found from here on.
    pub begun: u64,
}

/// `record_call`.
#[must_use]
pub fn record() -> Caller {
    Caller {
        span: crate::entry::record_call as *const () as u64..label!(hotpatch_record_end),
        called: label!(hotpatch_record_called),
        switched: label!(hotpatch_record_switched),
        returned: label!(hotpatch_record_returned),
        left: label!(hotpatch_record_left),
        begun: 0,
    }
}

/// `birth_call`.
#[must_use]
pub fn birth() -> Caller {
    Caller {
        span: crate::entry::birth_call as *const () as u64..label!(hotpatch_birth_end),
        called: label!(hotpatch_birth_called),
        switched: label!(hotpatch_birth_switched),
        returned: label!(hotpatch_birth_returned),
        left: label!(hotpatch_birth_left),
        begun: label!(hotpatch_birth_begun),
    }
}

/// All that is mapped of the library's file.
#[must_use]
pub fn own() -> Range {
    Range {
        start: label!(__ehdr_start),
        end: label!(_end),
    }
    .pages()
}

/// Whether `rip` is in the library's own code.
#[must_use]
pub fn is_own(rip: u64) -> bool {
    (label!(__ehdr_start)..label!(etext)).contains(&rip)
}
