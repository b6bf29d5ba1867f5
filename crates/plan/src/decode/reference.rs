//! What the general decoder says of an instruction's kind, in this crate's words.

use std::prelude::rust_2024::*;

use iced_x86::{
    Code as Opcode, Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register,
};

use crate::addr::Va;
use crate::code::{Insn, Kind};

/// The instruction at the start of `bytes`, as the oracle has it.
pub(super) fn reference(bytes: &[u8], at: Va) -> Option<Insn> {
    let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    decoder.decode_out(&mut insn);
    if insn.is_invalid() {
        return None;
    }
    let kind = kind(&decoder, &insn, &bytes[..insn.len()]);
    Some(Insn {
        at,
        len: insn.len() as u8,
        kind,
    })
}

fn kind(decoder: &Decoder<'_>, insn: &Instruction, bytes: &[u8]) -> Kind {
    match insn.flow_control() {
        FlowControl::Next => straight(decoder, insn),
        FlowControl::UnconditionalBranch
        | FlowControl::ConditionalBranch
        | FlowControl::XbeginXabortXend => branch(insn, bytes),
        FlowControl::IndirectBranch => match operand(decoder, insn) {
            Operand::Eip => Kind::Interrupt,
            Operand::Rip(target, disp_at) => Kind::JmpIndirect {
                rip: Some((target, disp_at)),
                table: false,
            },
            Operand::Other => Kind::JmpIndirect {
                rip: None,
                table: insn.op0_kind() == OpKind::Register || insn.memory_index() != Register::None,
            },
        },
        FlowControl::IndirectCall => match operand(decoder, insn) {
            _ if is_far_call(insn.code()) => Kind::Interrupt,
            Operand::Eip => Kind::Interrupt,
            Operand::Rip(target, disp_at) => Kind::CallIndirect {
                rip: Some((target, disp_at)),
            },
            Operand::Other => Kind::CallIndirect { rip: None },
        },
        FlowControl::Call => match insn.code() {
            // `48 0f 05` is a system call too, but what is written over it assumes two bytes.
            Opcode::Syscall if insn.len() == 2 => Kind::Syscall,
            Opcode::Call_rel32_64 if !is_16_bit(bytes) => Kind::Call {
                target: Va(insn.near_branch_target()),
            },
            _ => Kind::Interrupt,
        },
        FlowControl::Return => Kind::Ret,
        FlowControl::Interrupt if insn.code() == Opcode::Int3 && insn.len() == 1 => Kind::Int3,
        FlowControl::Interrupt => Kind::Interrupt,
        FlowControl::Exception => Kind::Stop,
    }
}

fn straight(decoder: &Decoder<'_>, insn: &Instruction) -> Kind {
    match insn.code() {
        Opcode::Nopw
        | Opcode::Nopd
        | Opcode::Nopq
        | Opcode::Nop_rm16
        | Opcode::Nop_rm32
        | Opcode::Nop_rm64 => {
            return Kind::Nop;
        }
        Opcode::Endbr64 => return Kind::Endbr,
        Opcode::Hlt => return Kind::Stop,
        _ => {}
    }
    match operand(decoder, insn) {
        Operand::Other => Kind::Plain,
        Operand::Eip => Kind::Interrupt,
        Operand::Rip(target, disp_at) => {
            let lea = matches!(
                insn.code(),
                Opcode::Lea_r16_m | Opcode::Lea_r32_m | Opcode::Lea_r64_m
            );
            Kind::RipRelative {
                target,
                disp_at,
                lea,
            }
        }
    }
}

/// What a memory operand is relative to.
enum Operand {
    /// The 64-bit address after the instruction: the target, and the offset of the displacement.
    Rip(Va, u8),
    /// The same cut to 32 bits by an address-size prefix: it cannot follow the instruction elsewhere.
    Eip,
    Other,
}

fn operand(decoder: &Decoder<'_>, insn: &Instruction) -> Operand {
    match insn.memory_base() {
        Register::RIP => {
            let at = decoder.get_constant_offsets(insn).displacement_offset();
            u8::try_from(at).map_or(Operand::Eip, |at| {
                Operand::Rip(Va(insn.ip_rel_memory_address()), at)
            })
        }
        Register::EIP => Operand::Eip,
        _ => Operand::Other,
    }
}

fn branch(insn: &Instruction, bytes: &[u8]) -> Kind {
    use FlowControl::{ConditionalBranch, UnconditionalBranch};
    let flow = insn.flow_control();
    if matches!(insn.code(), Opcode::Xend | Opcode::Xabort_imm8) {
        return Kind::Plain;
    }
    // Intel ignores an operand-size prefix on a near branch, AMD cuts the target to 16 bits.
    if is_16_bit(bytes) {
        return Kind::Interrupt;
    }
    let target = Va(insn.near_branch_target());
    let opcode = bytes
        .iter()
        .position(|b| !is_prefix(*b))
        .map_or(0, |i| bytes[i]);
    match (flow, opcode) {
        (UnconditionalBranch, 0xeb) => Kind::Jmp {
            target,
            disp_len: 1,
        },
        (UnconditionalBranch, 0xe9) => Kind::Jmp {
            target,
            disp_len: 4,
        },
        (ConditionalBranch, 0x70..=0x7f) => Kind::Jcc {
            target,
            disp_len: 1,
            cond: opcode & 15,
        },
        (ConditionalBranch, 0x0f) => Kind::Jcc {
            target,
            disp_len: 4,
            cond: bytes[bytes.len() - 5] & 15,
        },
        (ConditionalBranch, 0xe0..=0xe3) => Kind::Loop { target },
        (_, 0xc7) => Kind::Xbegin { target },
        _ => Kind::Interrupt,
    }
}

/// Whether an operand-size prefix is in force (REX.W overrules it).
fn is_16_bit(bytes: &[u8]) -> bool {
    let prefixes = bytes.iter().take_while(|b| is_prefix(**b));
    // REX counts only as the last prefix.
    let (small, wide) = prefixes.fold((false, false), |(small, _), b| {
        (small || *b == 0x66, b & 0xf8 == 0x48)
    });
    small && !wide
}

/// Legacy prefixes and REX.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

fn is_far_call(code: Opcode) -> bool {
    matches!(
        code,
        Opcode::Call_m1616 | Opcode::Call_m1632 | Opcode::Call_m1664
    )
}
