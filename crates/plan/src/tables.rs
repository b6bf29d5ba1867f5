//! Jump tables: 4-byte entries relative to the table, whose address a `lea` takes.

use alloc::vec::Vec;

use iced_x86::{
    Code as Opcode, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register, UsedRegister,
};

use crate::addr::{Span, Va};
use crate::code::{Kind, Region};
use crate::decode::Reader;
use crate::image::Image;

/// How far back from an indirect jump its register is followed, in instructions.
const BACK: usize = 24;

/// Addresses that begin what looks like a jump table.
pub(crate) struct Tables<'i> {
    data: Vec<(Span, &'i [u8])>,
    code: Vec<Span>,
    /// Ascending once all are noted.
    bases: Vec<Va>,
}

impl<'i> Tables<'i> {
    pub(crate) fn new(image: &'i Image<'_>) -> Self {
        let data = image
            .segments
            .iter()
            .map(|s| (Span::new(s.span.start, s.bytes.len() as u64), s.bytes))
            .collect();
        Self {
            data,
            code: image.code.clone(),
            bases: Vec::new(),
        }
    }

    /// Notes `base`, whose address is taken, if its first word leads into code as that of a table would.
    pub(crate) fn note(&mut self, base: Va) {
        if base.0 & 3 == 0 && self.entry(base, base).is_some() {
            self.bases.push(base);
        }
    }

    /// Calls `found` with each entry's place and target. A table ends at the next one, or where an entry does
    /// not lead into code: what is read too far is only taken for a reference.
    pub(crate) fn entries(&mut self, mut found: impl FnMut(Va, Va)) {
        self.bases.sort_unstable();
        self.bases.dedup();
        for (i, &base) in self.bases.iter().enumerate() {
            let mut at = base;
            while self.bases.get(i + 1).is_none_or(|next| at < *next) {
                let Some(to) = self.entry(base, at) else {
                    break;
                };
                found(at, to);
                at = at + 4;
            }
        }
    }

    fn entry(&self, base: Va, at: Va) -> Option<Va> {
        let (span, bytes) = self.data.iter().find(|(span, _)| span.contains(at))?;
        let offset = usize::try_from(at.0 - span.start.0).ok()?;
        let word = i32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?);
        let to = base.offset(word.into());
        self.code.iter().any(|span| span.contains(to)).then_some(to)
    }

    /// Where tables begin, ascending, once their entries have been read.
    pub(crate) fn into_bases(self) -> Vec<Va> {
        self.bases
    }
}

/// A jump through a register in `region` whose targets no table and no word of data gives.
pub(crate) fn unknown_jump(image: &Image<'_>, region: &Region, tables: &[Va]) -> Option<Va> {
    let jumps = region
        .insns
        .iter()
        .enumerate()
        .filter(|(_, i)| matches!(i.kind, Kind::JmpIndirect { table: true, .. }));
    let mut found = None;
    for (index, jump) in jumps {
        if !goes_where_a_word_says(image, region, index) {
            found = found.or(Some(jump.at));
        }
    }
    let has_table = || {
        region.insns.iter().any(
            |i| matches!(i.kind, Kind::RipRelative { target, lea: true, .. } if tables.binary_search(&target).is_ok()),
        )
    };
    found.filter(|_| !has_table())
}

/// Whether the jump at `index` takes its target unchanged from memory, an immediate or a `lea`. Such an address
/// is a reference of its own, found where it is written down; only one that is computed is not.
///
/// A jump right after the frame was taken down is a tail call, wherever its register comes from.
fn goes_where_a_word_says(image: &Image<'_>, region: &Region, index: usize) -> bool {
    let Some(bytes) = image.bytes(region.span) else {
        return false;
    };
    let mut reader = Reader::new(bytes, region.span.start);
    let offset = |i: usize| {
        region.insns[i]
            .at
            .distance_from(region.span.start)
            .cast_unsigned() as usize
    };
    if reader.len_at(offset(index)).is_none() {
        return false;
    }
    if reader.last().op0_kind() == OpKind::Memory {
        return true;
    }
    let mut register = reader.last().op0_register();
    let mut tail_call = false;
    let mut factory = InstructionInfoFactory::new();
    for i in (index.saturating_sub(BACK)..index).rev() {
        let (insn, next) = (&region.insns[i], region.insns[i + 1].at);
        let calls = matches!(
            insn.kind,
            Kind::Call { .. } | Kind::CallIndirect { .. } | Kind::Syscall
        );
        let joined = region
            .insns
            .iter()
            .any(|other| other.branch_target() == Some(next));
        if calls || joined || !insn.falls_through() || reader.len_at(offset(i)).is_none() {
            break;
        }
        let last = reader.last();
        let used = factory.info(last).used_registers();
        let written = |used: &UsedRegister| {
            !matches!(
                used.access(),
                OpAccess::Read | OpAccess::CondRead | OpAccess::None
            )
        };
        if !used
            .iter()
            .any(|used| used.register().full_register() == register && written(used))
        {
            tail_call |= takes_down_frame(last);
            continue;
        }
        match last.code() {
            Opcode::Mov_r64_rm64 | Opcode::Mov_rm64_r64 if last.op1_kind() == OpKind::Register => {
                register = last.op1_register();
            }
            Opcode::Mov_r64_rm64
            | Opcode::Mov_r32_imm32
            | Opcode::Mov_r64_imm64
            | Opcode::Mov_rm64_imm32
            | Opcode::Pop_r64 => return true,
            // What `setjmp` keeps is mangled; below that is a return address.
            Opcode::Xor_r64_rm64 => return last.segment_prefix() == Register::FS,
            Opcode::Lea_r64_m => return last.memory_base() == Register::RIP,
            _ => return false,
        }
    }
    tail_call
}

fn takes_down_frame(insn: &Instruction) -> bool {
    match insn.code() {
        Opcode::Pop_r64 | Opcode::Leaveq => true,
        Opcode::Add_rm64_imm8 | Opcode::Add_rm64_imm32 => insn.op0_register() == Register::RSP,
        _ => false,
    }
}
