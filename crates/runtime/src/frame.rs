//! What lies on a hook stack and below the program's: layouts that assembly and Rust share.
//!
//! ```text
//!   gs base ->  Block                 one for each thread
//!               return address        pushed by the block's `call`: `Entered::ret`
//!               flags                 pushed by the gate
//!               Frame                 what hooks see
//!               ...                   the rest of `Entered`
//!               frames of `dispatch` and of the hooks
//! ```

use core::mem::offset_of;

use hotpatch_abi::Frame;

/// The registers that a system call reads: its number and its arguments.
pub const GIVEN: usize = 7;

/// What a gate builds at the top of the hook stack.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Entered {
    /// `rax rdi rsi rdx r10 r8 r9` as the program had them.
    pub given: [u64; GIVEN],
    /// The site; above it what becomes of the instruction if a hook fails: nothing more than that it is executed as
    /// given, [`Entered::DONE`] or [`Entered::ELSEWHERE`].
    pub id: u64,
    /// With [`Entered::ELSEWHERE`]: where to go on.
    pub otherwise: u64,
    /// A copy of `ret`, for when a hook enters the program and so this gate again.
    pub back: u64,
    /// What hooks see.
    pub frame: Frame,
    /// The flags, as pushed.
    pub flags: u64,
    /// The address in the block that the gate returns to.
    pub ret: u64,
}

impl Entered {
    /// In `id`: the instruction is no system call.
    pub const OTHER: u64 = 1 << 32;
    /// In `id`: the call has been made, and the block knows how to go on.
    pub const DONE: u64 = 1 << 33;
    /// In `id`: the instruction is not executed any more; `otherwise` says where to go on.
    pub const ELSEWHERE: u64 = 1 << 34;
    /// In `id`: `given` is not filled, as a hook with [`READS_ONLY`](hotpatch_abi::READS_ONLY) leaves the frame alone.
    pub const READ: u64 = 1 << 35;
    /// Bytes between its start and the top of the hook stack.
    pub const LEN: usize = size_of::<Self>();
    /// The program's stack pointer, relative to the top of the hook stack: within the 128 bytes below it, which the
    /// kernel spares when it puts a signal's frame there.
    pub const SAVED_RSP: i8 = saved_rsp();
}

impl Entered {
    /// The registers of the call as the program had them, where only the frame has them.
    pub const fn given_by_frame(&self) -> [u64; GIVEN] {
        let frame = &self.frame;
        [
            frame.rax, frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9,
        ]
    }

    /// If a hook fails from now on, the thread goes on at `at`.
    pub fn goes_on_at(&mut self, at: u64) {
        self.otherwise = at;
        self.id |= Self::ELSEWHERE;
    }
}

const fn saved_rsp() -> i8 {
    let from_top = size_of::<Entered>() - offset_of!(Entered, frame) - offset_of!(Frame, rsp);
    assert!(from_top <= 128);
    -(from_top as i8)
}

/// A call whose arguments a hook has changed, or whose number the site does not tell: kept below the red zone of the
/// program's own stack while the kernel has it, with the stack pointer at its start. So a signal's frame lies below
/// it, and whoever leaves the call by `siglongjmp` leaves it behind.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// `rax rdi rsi rdx r10 r8 r9` as the program had them, and gets them back.
    pub given: [u64; GIVEN],
    /// The program's stack pointer.
    pub rsp: u64,
    /// Where the program goes on: a block's `NEXT`.
    pub next: u64,
    /// The hooks, by bit, that want to see the result. 0: none.
    pub afters: u64,
    /// The site.
    pub id: u64,
    /// [`Record::MARK`].
    pub mark: u64,
}

impl Record {
    /// Stands in every record.
    pub const MARK: u64 = 0x6863_7461_7074_6f68;
    /// Bytes below the stack pointer that are the program's.
    pub const RED_ZONE: u64 = 128;
    /// Where the record of a program with this stack pointer lies.
    #[must_use]
    pub const fn below(rsp: u64) -> u64 {
        rsp.wrapping_sub(Self::RED_ZONE + size_of::<Self>() as u64) & !15
    }
}

/// The direction flag, the alignment check and the nested task: a hook runs with them clear.
pub const ODD_FLAGS: u32 = 1 << 10 | 1 << 14 | 1 << 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_fills_the_stack_to_its_top() {
        assert_eq!(offset_of!(Entered, ret) + 8, Entered::LEN);
        assert_eq!(offset_of!(Entered, flags) + 16, Entered::LEN);
        assert_eq!(Entered::SAVED_RSP, -80);
    }

    #[test]
    fn a_record_lies_below_the_red_zone() {
        for rsp in [0x7fff_0000_1000, 0x7fff_0000_1007, 0] {
            let at = Record::below(rsp);
            assert_eq!(at % 16, 0);
            let end = at.wrapping_add(size_of::<Record>() as u64);
            assert!(rsp.wrapping_sub(end) >= 128 && rsp.wrapping_sub(end) < 144);
        }
    }
}
