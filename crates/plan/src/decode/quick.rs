//! The instructions that most code consists of, by one look into a table.
//!
//! The table is made from the rules of [`Form`]: it holds what these say of an opcode wherever that depends on
//! little else, and sends all the rest to them. What is not in it is not invalid.

use super::form::{Form, Map, has_modrm, immediate_len, valid_rms};
use super::tables::{PATTERNS, VALID};
use crate::addr::Va;
use crate::code::{Insn, Kind};

/// Bytes that must be there: the longest instruction that is looked at, and more.
pub(super) const NEED: usize = 32;

/// Legacy prefixes that are read.
const PREFIXES: usize = 6;

/// Longer instructions raise a fault, which is for the rules to say.
const MAX_LEN: usize = 15;

// An entry: in its upper half, for each `reg` field of ModRM a bit for a memory operand and 8 higher one for a
// register (all set where there is no ModRM); in its lower half these.
const MODRM: u32 = 1;
/// `26 2e 36 3e 64 65 66`.
const PREFIX: u32 = 1 << 1;
const REX: u32 = 1 << 2;
/// Ends with one byte; with an operand of the operand size, but never more than 4 bytes; with 4 bytes.
const BYTE: u32 = 1 << 3;
const SIZED: u32 = 1 << 4;
const WORD: u32 = 1 << 5;
const CLASS: u32 = 15 << 8;
const JCC: u32 = 1 << 8;
const JMP: u32 = 2 << 8;
const CALL: u32 = 3 << 8;
const LEA: u32 = 4 << 8;
const NOP: u32 = 5 << 8;
const RET: u32 = 6 << 8;
const SYSCALL: u32 = 7 << 8;
/// The other map.
const ESCAPE: u32 = 8 << 8;
/// `90`, which is an exchange of registers where REX says so.
const XCHG: u32 = 9 << 8;

/// By map: one byte; `0f`; `0f` behind `66`.
static ENTRIES: [[u32; 256]; 3] = {
    let mut all = [[0; 256]; 3];
    let mut row = 0;
    while row < 3 {
        let mut opcode = 0;
        while opcode < 256 {
            all[row][opcode] = entry(row, opcode as u8);
            opcode += 1;
        }
        row += 1;
    }
    all
};

/// The form of an opcode without prefixes, with `reg` in its ModRM.
const fn form(row: usize, opcode: u8, reg: u8) -> Form {
    let map = if row == 0 { Map::One } else { Map::Two };
    Form {
        map,
        opcode,
        modrm: Some(reg << 3),
        small: row == 2,
        ..Form::EMPTY
    }
}

/// What `row` of the table says of `opcode`; 0 for what is left to the rules.
const fn entry(row: usize, opcode: u8) -> u32 {
    match (row, opcode) {
        (0, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x66) => return PREFIX,
        (0, 0x40..=0x4f) => return REX,
        (0, 0x0f) => return ESCAPE | 0xffff << 16,
        // VEX, EVEX, XOP; loops, traps and what depends on more than is looked at here
        (0, 0x62 | 0x67 | 0x8f | 0xc4 | 0xc5 | 0xa0..=0xa3 | 0xb8..=0xbf | 0xc2 | 0xc8) => {
            return 0;
        }
        (0, 0x9a | 0xca..=0xcf | 0xe0..=0xe3 | 0xea | 0xf0..=0xf4) => return 0,
        (
            1..,
            0x00 | 0x01 | 0x07 | 0x0b | 0x0f | 0x20..=0x23 | 0x34 | 0x35 | 0x38 | 0x3a | 0x78,
        ) => return 0,
        (1.., 0xaa | 0xb9 | 0xff) => return 0,
        _ => {}
    }
    let mut pattern = PATTERNS[VALID[row][opcode as usize] as usize] as u32;
    let flags = match (row, opcode) {
        (0, 0x70..=0x7f) | (1, 0x80..=0x8f) => JCC,
        (0, 0xe9 | 0xeb) => JMP,
        (0, 0xe8) => CALL,
        (0, 0x8d) => LEA,
        (0, 0x90) => XCHG,
        (0, 0xc3) => RET,
        (1, 0x05) => SYSCALL,
        (1.., 0x1f) => NOP,
        (2, 0x05 | 0x80..=0x8f) => return 0,
        _ => 0,
    };
    let any = form(row, opcode, 0);
    if !has_modrm(&any) {
        return if pattern == 0xffff {
            flags | length(row, opcode, 0) | 0xffff << 16
        } else {
            0
        };
    }
    let mut reg = 0;
    while row == 0 && reg < 8 {
        if valid_rms(opcode, reg) != 0xff {
            pattern &= !(0x100 << reg);
        }
        reg += 1;
    }
    match (row, opcode) {
        (0, 0xf6 | 0xf7) => pattern &= !0x0303, // test: the others have no immediate
        (0, 0xff) => pattern &= 0x4343,         // inc, dec and push: the others pass control on
        (0, 0xc7) => pattern &= 0x0101,         // xbegin passes control on
        _ => {}
    }
    flags | MODRM | length(row, opcode, 2) | pattern << 16
}

/// The flag of what follows the operand.
const fn length(row: usize, opcode: u8, reg: u8) -> u32 {
    let mut form = form(row, opcode, reg);
    form.small = false;
    let len = immediate_len(&form);
    form.small = true;
    let short = immediate_len(&form);
    match (len, short) {
        (4, 2) => SIZED,
        (4, 4) => WORD,
        (1, 1) => BYTE,
        _ => 0,
    }
}

/// Bytes of ModRM and what it says of its operand; where there is a SIB byte, as if that named a base.
static OPERANDS: [u8; 256] = {
    let mut all = [1; 256];
    let mut modrm = 0;
    while modrm < 0xc0 {
        let sib = if modrm & 7 == 4 { 1 } else { 0 };
        all[modrm] += sib
            + match modrm >> 6 {
                0 if modrm & 7 == 5 => 4,
                1 => 1,
                2 => 4,
                _ => 0,
            };
        modrm += 1;
    }
    all
};

/// The instruction at the start of `bytes`, which lies at `at`; `None` where the rules must be asked.
#[inline]
pub(super) fn decode(bytes: &[u8; NEED], at: Va) -> Option<Insn> {
    let byte = |i: usize| bytes[i % NEED];
    let word = |i: usize| {
        let four = bytes.get(i..)?.first_chunk()?;
        Some(i64::from(i32::from_le_bytes(*four)))
    };
    let mut i = 0;
    let mut small = false;
    let mut entry = ENTRIES[0][usize::from(byte(0))];
    while entry & PREFIX != 0 {
        small |= byte(i) == 0x66;
        i += 1;
        if i > PREFIXES {
            return None;
        }
        entry = ENTRIES[0][usize::from(byte(i))];
    }
    let mut rex = 0;
    if entry & REX != 0 {
        rex = byte(i);
        i += 1;
        entry = ENTRIES[0][usize::from(byte(i))];
    }
    if entry & CLASS == ESCAPE {
        i += 1;
        entry = ENTRIES[1 + usize::from(small)][usize::from(byte(i))];
    }
    let opcode = byte(i);
    i += 1;
    let mut modrm = 0xc0;
    let operand = i;
    if entry & MODRM != 0 {
        modrm = byte(i);
        i += usize::from(OPERANDS[usize::from(modrm)]);
        if modrm & 0xc7 == 4 && byte(operand + 1) & 7 == 5 {
            i += 4;
        }
    }
    let bit = 16 + (modrm >> 3 & 7) + if modrm >= 0xc0 { 8 } else { 0 };
    if entry >> bit & 1 == 0 {
        return None;
    }
    let tail = i;
    if entry & (BYTE | SIZED | WORD) != 0 {
        let cut = small && rex & 8 == 0;
        i += match entry & (BYTE | SIZED | WORD) {
            BYTE => 1,
            SIZED if cut => 2,
            _ => 4,
        };
    }
    if i > MAX_LEN {
        return None;
    }
    let end = at + i as u64;
    let short = entry & BYTE != 0;
    let target = || {
        Some(end.offset(if short {
            i64::from(byte(tail).cast_signed())
        } else {
            word(tail)?
        }))
    };
    let disp_len = if short { 1 } else { 4 };
    let kind = match entry & CLASS {
        0 | LEA if modrm & 0xc7 == 5 => Kind::RipRelative {
            target: end.offset(word(operand + 1)?),
            disp_at: operand as u8 + 1,
            lea: entry & CLASS == LEA,
        },
        0 | LEA => Kind::Plain,
        // processors differ on what the prefix does to a branch
        JCC | JMP | CALL if small => return None,
        JCC => Kind::Jcc {
            target: target()?,
            disp_len,
            cond: opcode & 15,
        },
        JMP => Kind::Jmp {
            target: target()?,
            disp_len,
        },
        CALL => Kind::Call { target: target()? },
        NOP if modrm >> 3 & 7 == 0 => Kind::Nop,
        XCHG if rex & 1 == 0 => Kind::Nop,
        RET => Kind::Ret,
        SYSCALL if i == 2 => Kind::Syscall,
        _ => return None,
    };
    Some(Insn {
        at,
        len: i as u8,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    /// Compares with the rules, which an instruction at the end of all bytes is read by.
    fn agree(bytes: &[u8; NEED]) -> bool {
        let at = Va(0x40_0000);
        let quick = decode(bytes, at);
        if let Some(insn) = quick {
            let by_rules = Reader::new(&bytes[..NEED - 1], at).next_at(0);
            assert_eq!(by_rules, Some(insn), "{bytes:02x?}");
        }
        quick.is_some()
    }

    #[test]
    fn says_what_the_rules_say() {
        const BEFORE: [&[u8]; 9] = [
            &[],
            &[0x66],
            &[0x48],
            &[0x4f],
            &[0x66, 0x41],
            &[0x64, 0x48],
            &[0x48, 0x66],
            &[0x3e, 0x65, 0x66, 0x44],
            &[0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2e],
        ];
        let mut quick = 0;
        for before in BEFORE {
            for escape in [&[][..], &[0x0f]] {
                for opcode in 0..=255 {
                    for modrm in (0..=255).filter(|modrm| matches!(modrm & 7, 0 | 4 | 5)) {
                        let sibs: &[u8] = if modrm & 7 == 4 {
                            &[0x24, 0x25]
                        } else {
                            &[0x11]
                        };
                        for &sib in sibs {
                            let mut bytes = [0x11; NEED];
                            let head = [before, escape, &[opcode, modrm, sib]].concat();
                            bytes[..head.len()].copy_from_slice(&head);
                            quick += usize::from(agree(&bytes));
                        }
                    }
                }
            }
        }
        assert!(quick > 250_000, "{quick}");
    }
}
