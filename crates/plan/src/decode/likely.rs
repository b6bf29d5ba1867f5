//! Whether an instruction that decodes is one that programs contain.

use super::form::{Form, Map};
use super::{branch_target, rip_operand};
use crate::addr::{Span, Va};

/// Whether the instruction may be executed by a program, is one that compilers and people write, and refers to
/// nothing outside `bounds`.
pub(super) fn is_likely(form: &Form, bytes: &[u8], at: Va, bounds: Span) -> bool {
    if rip_operand(form, bytes, at).is_some_and(|(to, _)| !bounds.contains(to)) {
        return false;
    }
    let opcode_at = usize::from(form.opcode_at);
    match form.map {
        Map::One => {
            let prefixes = &bytes[..opcode_at];
            is_likely_opcode(form, bytes, at, bounds)
                && (may_hint(form)
                    || !prefixes
                        .iter()
                        .any(|b| matches!(b, 0x26 | 0x2e | 0x36 | 0x3e)))
        }
        Map::Two => {
            let is_jcc = matches!(form.opcode, 0x80..=0x8f);
            !is_privileged(form) && (!is_jcc || bounds.contains(branch_target(bytes, at, 4)))
        }
        _ => true,
    }
}

/// Branches, on which an old segment prefix is a hint, and `nop`.
fn may_hint(form: &Form) -> bool {
    matches!(
        form.opcode,
        0x70..=0x7f | 0xe8 | 0xe9 | 0xeb | 0xff | 0xc3 | 0x90
    )
}

fn is_likely_opcode(form: &Form, bytes: &[u8], at: Va, bounds: Span) -> bool {
    match form.opcode {
        0xe8 | 0xe9 => bounds.contains(branch_target(bytes, at, 4)),
        0x70..=0x7f | 0xeb | 0xe3 => bounds.contains(branch_target(bytes, at, 1)),
        // ins and outs; in and out; cli and sti
        0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef | 0xfa | 0xfb => false,
        // loop, far returns, int1, enter, xlat, cmc, wait, sahf and lahf, moves of absolute addresses
        0xe0..=0xe2 | 0xca | 0xcb | 0xcf | 0xf1 | 0xc8 | 0xd7 | 0xf5 | 0x9b | 0x9e | 0x9f => false,
        0xa0..=0xa3 => false,
        0xcd => bytes.last() == Some(&3),
        // far calls and jumps
        0xff => !matches!(form.reg(), 3 | 5),
        _ => true,
    }
}

fn is_privileged(form: &Form) -> bool {
    match form.opcode {
        0x01 => !matches!(
            form.modrm,
            Some(0xd0 | 0xd5 | 0xd6 | 0xe8 | 0xee | 0xef | 0xf9)
        ),
        0x00 | 0x06..=0x09 | 0x20..=0x23 | 0x30 | 0x32..=0x35 => true,
        0xaa | 0xb2 | 0xb4 | 0xb5 => true,
        _ => false,
    }
}
