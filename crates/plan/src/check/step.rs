//! Reads instructions, on its own: nothing of the planner's decoder is used.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

use crate::addr::{Span, Va};
use crate::image::Image;
use crate::plan::SiteKind;

/// The longest instruction there is.
pub(super) const LONGEST: u64 = 15;

/// The image's own bytes from `at` to the end of its segment.
pub(super) fn bytes_from<'i>(image: &Image<'i>, at: Va) -> &'i [u8] {
    image
        .segments
        .iter()
        .filter(|s| s.span.contains(at))
        .find_map(|s| s.bytes.get((at.0 - s.span.start.0) as usize..))
        .unwrap_or(&[])
}

/// The instruction that `bytes` begin with, if they were at `at`.
pub(super) fn decode(bytes: &[u8], at: Va) -> Option<Instruction> {
    let bytes = &bytes[..bytes.len().min(LONGEST as usize)];
    let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// The instruction of the image at `at`.
pub(super) fn instruction_at(image: &Image<'_>, at: Va) -> Option<Instruction> {
    decode(bytes_from(image, at), at)
}

/// What kind of site it can be.
pub(super) fn site_kind(instruction: &Instruction) -> Option<SiteKind> {
    let (kind, len) = match instruction.code() {
        Code::Syscall => (SiteKind::Syscall, 2),
        Code::Int_imm8 if instruction.immediate8() == 0x80 => (SiteKind::Int80, 2),
        Code::Sysenter => (SiteKind::Sysenter, 2),
        Code::Rdtsc => (SiteKind::Rdtsc, 2),
        Code::Cpuid => (SiteKind::Cpuid, 2),
        Code::Rdtscp => (SiteKind::Rdtscp, 3),
        Code::Xgetbv => (SiteKind::Xgetbv, 3),
        Code::Rdrand_r16 | Code::Rdrand_r32 | Code::Rdrand_r64 => (SiteKind::Rdrand, 5),
        Code::Rdseed_r16 | Code::Rdseed_r32 | Code::Rdseed_r64 => (SiteKind::Rdseed, 5),
        Code::Rdgsbase_r32 | Code::Rdgsbase_r64 => (SiteKind::Rdgsbase, 5),
        Code::Wrgsbase_r32 | Code::Wrgsbase_r64 => (SiteKind::Wrgsbase, 5),
        _ => return None,
    };
    (instruction.len() <= len).then_some(kind)
}

/// The address that a direct branch or call goes to.
pub(super) fn branch_target(instruction: &Instruction) -> Option<Va> {
    matches!(instruction.op0_kind(), OpKind::NearBranch64)
        .then(|| Va(instruction.near_branch_target()))
}

/// Whether it does nothing at all, on purpose.
pub(super) fn is_nop(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Nop
}

/// Whether control can go on behind it; a call is thought to return.
pub(super) fn falls_through(instruction: &Instruction) -> bool {
    !matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Exception
    ) && !matches!(instruction.code(), Code::Int3 | Code::Hlt)
}

/// The address a RIP-relative operand names.
pub(super) fn operand(instruction: &Instruction) -> Option<Va> {
    (instruction.is_ip_rel_memory_operand() && instruction.memory_base() == Register::RIP)
        .then(|| Va(instruction.ip_rel_memory_address()))
}

/// What a walk over the text needs to know of one instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) at: Va,
    pub(super) len: u8,
    /// A no-op, or `int3`.
    pub(super) pad: bool,
    pub(super) falls: bool,
    pub(super) call: bool,
    /// Where a direct branch or call goes.
    pub(super) branch: Option<Va>,
    /// The address a RIP-relative operand names.
    pub(super) names: Option<Va>,
    /// Somebody comes here through a pointer.
    pub(super) landing: bool,
}

impl Step {
    pub(super) fn span(&self) -> Span {
        Span::new(self.at, u64::from(self.len))
    }

    pub(super) fn end(&self) -> Va {
        self.at + u64::from(self.len)
    }

    pub(super) fn read(image: &Image<'_>, at: Va) -> Option<Self> {
        let i = instruction_at(image, at)?;
        Some(Self {
            at,
            len: i.len() as u8,
            pad: is_nop(&i) || i.code() == Code::Int3,
            falls: falls_through(&i),
            call: matches!(
                i.flow_control(),
                FlowControl::Call | FlowControl::IndirectCall
            ) && !matches!(i.code(), Code::Syscall | Code::Sysenter),
            branch: branch_target(&i),
            names: operand(&i),
            landing: i.code() == Code::Endbr64,
        })
    }
}
