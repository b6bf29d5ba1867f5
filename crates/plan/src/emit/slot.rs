//! The block of a site that cannot be changed: a signal leads here, and the way back is in a word of memory.
//!
//! It is made before it is known for which site. Up to the way back it is what every hooked `syscall` has.

use alloc::vec::Vec;

use super::block::{Hooking, at, block};
use super::{OutOfReach, rel32};
use crate::addr::Va;

/// Bytes of a slot: the block, the jump back, and the same for `int $0x80`.
pub const SLOT: u8 = 128;
/// Where the jump back is, by `rcx`.
pub const BACK: u8 = at::LEN;
/// Executes `int $0x80`, which leaves no register free.
pub const INT80: u8 = BACK + 2;
/// That is done.
pub const INT80_DONE: u8 = INT80 + 2;

/// The slot at `start`, whose way back is in the word at `next`. `hooking` names no site.
///
/// # Errors
/// The data area or the word is not within 2 GB.
pub fn slot(start: Va, next: Va, id: u32, hooking: &Hooking<'_>) -> Result<Vec<u8>, OutOfReach> {
    let mut code = block(start, start, id, hooking)?;
    code.truncate(at::NEXT.into());
    let [n0, n1, n2, n3] = rel32(start + u64::from(BACK), next)?;
    let [i0, i1, i2, i3] = rel32(start + u64::from(INT80_DONE) + 6, next)?;
    #[rustfmt::skip]
    let rest = [
        0x48, 0x8b, 0x0d, n0, n1, n2, n3, // 101: mov next(%rip),%rcx
        0xff, 0xe1,                       // 108: jmp *%rcx
        0xcd, 0x80,                       // 110: int $0x80
        0xff, 0x25, i0, i1, i2, i3,       // 112: jmp *next(%rip)
    ];
    code.extend_from_slice(&rest);
    code.resize(SLOT.into(), super::FILL);
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

    #[test]
    fn ends_with_the_way_back() {
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
        let (start, next) = (Va(0x10_0000), Va(0x14_0008));
        let code = slot(start, next, 7, &hooking).unwrap();
        assert_eq!(code.len(), usize::from(SLOT));
        let decoder = Decoder::with_ip(64, &code, start.0, DecoderOptions::NONE);
        let all: Vec<Instruction> = decoder.into_iter().collect();
        let of = |offset: u8| {
            let at = all.iter().find(|i| i.ip() == start.0 + u64::from(offset));
            *at.unwrap()
        };
        assert_eq!(of(at::RUN).code(), Code::Syscall);
        let load = of(at::NEXT);
        assert_eq!(load.code(), Code::Mov_r64_rm64);
        assert_eq!(load.op0_register(), Register::RCX);
        assert_eq!(load.ip_rel_memory_address(), next.0);
        let back = of(BACK);
        assert_eq!(
            (back.code(), back.op0_register()),
            (Code::Jmp_rm64, Register::RCX)
        );
        assert_eq!(of(INT80).code(), Code::Int_imm8);
        assert_eq!(of(INT80).immediate8(), 0x80);
        let back = of(INT80_DONE);
        assert_eq!(
            (back.code(), back.ip_rel_memory_address()),
            (Code::Jmp_rm64, next.0)
        );
        let filled = &code[usize::from(INT80_DONE) + 6..];
        assert!(filled.iter().all(|&b| b == super::super::FILL));
    }
}
