//! The block that stands for a hooked instruction other than `syscall`: no register is free here.
//!
//! The program's stack pointer goes to the thread's own memory; the gate that is called puts all registers back and
//! leaves by a jump, to the copy of the instruction that it says or behind it.

use alloc::vec::Vec;

use crate::addr::Va;

use super::block::{Hooking, data};
use super::{OutOfReach, rel32};

/// Offsets in the block of an instruction of `len` bytes.
///
/// Up to [`SWITCH`](Self::SWITCH) and a copy of the instruction, every register is the program's and nothing has
/// happened; between them a signal finds the program's stack pointer in the thread's own memory. Behind the copies it
/// is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Places {
    len: u8,
}

impl Places {
    /// The hook stack is in `rsp` from behind this instruction on, until the gate has left.
    pub const SWITCH: u8 = 9;
    /// The gate is called.
    pub const CALL: u8 = 18;
    /// Where the gate finds id and length: what its return address would be.
    pub const ID: u8 = 24;
    /// The copy that is executed for hooks that want to see its result.
    pub const SEEN: u8 = 28;
    /// From this bit on, the word with the id holds the length of the instruction.
    pub const LENGTH_AT: u32 = 28;
    /// From the end of one copy to the other, which is executed for the rest.
    pub const BETWEEN: u8 = 28;

    /// Those for an instruction of `len` bytes.
    #[must_use]
    pub const fn of(len: u8) -> Self {
        Self { len }
    }

    /// Behind the first copy: asks the hooks again.
    #[must_use]
    pub const fn done(self) -> u8 {
        Self::SEEN + self.len
    }

    /// The other copy.
    #[must_use]
    pub const fn run(self) -> u8 {
        self.done() + Self::BETWEEN
    }

    /// The end: where the program goes on.
    #[must_use]
    pub const fn next(self) -> u8 {
        self.run() + self.len
    }
}

/// The block for `instruction`, for `start`.
///
/// # Errors
/// The data area is not within 2 GB.
pub fn other_block(
    start: Va,
    instruction: &[u8],
    id: u32,
    hooking: &Hooking<'_>,
) -> Result<Vec<u8>, OutOfReach> {
    let mut bytes = Vec::with_capacity(64 + 2 * instruction.len());
    let [a, b, c, d] = hooking.own_rsp.to_le_bytes();
    for slot in [data::OTHER, data::OTHER_AFTER] {
        if slot == data::OTHER_AFTER {
            bytes.extend_from_slice(instruction);
        }
        bytes.extend_from_slice(&[0x65, 0x48, 0x89, 0x24, 0x25, a, b, c, d]); // mov %rsp,%gs:own_rsp
        bytes.extend_from_slice(&[0x65, 0x48, 0x8b, 0x24, 0x25, 0, 0, 0, 0]); // mov %gs:0,%rsp
        let end = start + bytes.len() as u64 + 6;
        let [e, f, g, h] = rel32(end, hooking.data + slot)?;
        bytes.extend_from_slice(&[0xff, 0x15, e, f, g, h]); // call *slot(%rip)
        let word = id | (instruction.len() as u32) << Places::LENGTH_AT;
        bytes.extend_from_slice(&word.to_le_bytes()); // never executed
    }
    bytes.extend_from_slice(instruction);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Code, Decoder, DecoderOptions};

    #[test]
    fn decodes_to_the_intended_assembly() {
        let hooking = Hooking {
            data: Va(0x12_0000),
            first: 0,
            saved_rsp: -80,
            own_rsp: 0x158,
            minus_fs: None,
            quiet: &[],
            plain: &[],
            numbers: &[],
        };
        for instruction in [
            &[0x0f, 0x31][..],
            &[0x0f, 0x01, 0xf9],
            &[0x49, 0x0f, 0xc7, 0xf1],
        ] {
            let start = Va(0x10_0000);
            let code = other_block(start, instruction, 7, &hooking).unwrap();
            let places = Places::of(instruction.len() as u8);
            assert_eq!(code.len(), usize::from(places.next()));
            let at = |offset: u8| {
                let from = usize::from(offset);
                let ip = start.0 + u64::from(offset);
                Decoder::with_ip(64, &code[from..], ip, DecoderOptions::NONE).decode()
            };
            for (begin, slot) in [(0, data::OTHER), (places.done(), data::OTHER_AFTER)] {
                let save = at(begin);
                assert_eq!(save.code(), Code::Mov_rm64_r64);
                assert_eq!(save.memory_displacement64(), 0x158);
                assert_eq!(save.next_ip(), at(begin + Places::SWITCH).ip());
                assert_eq!(at(begin + Places::SWITCH).code(), Code::Mov_r64_rm64);
                let call = at(begin + Places::CALL);
                assert_eq!(call.code(), Code::Call_rm64);
                assert_eq!(call.memory_displacement64(), 0x12_0000 + slot);
                assert_eq!(call.next_ip(), start.0 + u64::from(begin + Places::ID));
                let id = usize::from(begin + Places::ID);
                let length = (instruction.len() as u8) << 4;
                assert_eq!(code[id..id + 4], [7, 0, 0, length]);
            }
            for copy in [Places::SEEN, places.run()] {
                let copy = usize::from(copy);
                assert!(code[copy..].starts_with(instruction));
            }
        }
    }
}
