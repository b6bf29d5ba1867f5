//! Jumps whose target is computed, where nobody can say which places it may be.

use alloc::vec::Vec;

use iced_x86::{
    Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};

use super::arrive::Patched;
use super::fault::Fault;
use super::protect::swallowed;
use super::step::{Step, bytes_from, instruction_at};
use super::window::{Window, window_at};
use crate::addr::{Span, Va};
use crate::image::Image;

/// How many instructions back the register of a jump is followed.
const BACK: usize = 24;

/// Of longer functions nobody has decoded all.
const LONGEST: u64 = 256 << 10;

/// No function that surely computes where it jumps has lost the beginning of an instruction.
pub(super) fn unknown_jumps(patched: &Patched<'_, '_>, windows: &[Window]) -> Vec<Fault> {
    let image = patched.image;
    let mut asked: Option<(Span, Option<Va>)> = None;
    let mut faults = Vec::new();
    for edit in swallowed(patched, windows) {
        let Some(function) = image.function_at(edit.at).map(|f| f.span) else {
            continue;
        };
        let jump = match asked {
            Some((span, jump)) if span == function => jump,
            _ => window_at(windows, edit.at).and_then(|w| unknown_jump(image, w, function)),
        };
        asked = Some((function, jump));
        faults.extend(jump.map(|jump| Fault::UnknownJump { at: edit.at, jump }));
    }
    faults
}

/// An address or a jump in `function` that others may be computed from, or that is computed itself.
fn unknown_jump(image: &Image<'_>, window: &Window, function: Span) -> Option<Va> {
    let steps = window.over(function);
    let whole = steps.first()?.at == function.start && steps.last()?.end() == function.end;
    let joined = steps.windows(2).all(|pair| pair[0].end() == pair[1].at);
    if !whole || !joined || function.len() > LONGEST {
        return None; // it holds more than instructions
    }
    let named = |s: &Step| s.names.filter(|_| is_lea(image, s.at));
    let label = steps.iter().find(|s| {
        named(s).is_some_and(|at| {
            let begins = steps.binary_search_by_key(&at, |s| s.at).is_ok();
            begins && !image.is_function_start(at) && !is_table(image, at)
        })
    });
    if let Some(label) = label {
        return Some(label.at);
    }
    if steps.iter().filter_map(named).any(|at| is_table(image, at)) {
        return None;
    }
    let ends = steps.iter().enumerate();
    let mut ends = ends.filter(|(_, s)| !s.falls && s.branch.is_none());
    let computed = ends.find(|(index, _)| is_computed(image, steps, *index));
    computed.map(|(_, step)| step.at)
}

fn is_lea(image: &Image<'_>, at: Va) -> bool {
    instruction_at(image, at).is_some_and(|i| i.mnemonic() == Mnemonic::Lea)
}

/// Whether the first word at `at` is the distance to some code.
fn is_table(image: &Image<'_>, at: Va) -> bool {
    let word = bytes_from(image, at).first_chunk();
    word.is_some_and(|word| image.is_code(at.offset(i32::from_le_bytes(*word).into())))
}

/// Whether the instruction at `index` surely jumps to a sum.
fn is_computed(image: &Image<'_>, steps: &[Step], index: usize) -> bool {
    let Some(jump) = instruction_at(image, steps[index].at) else {
        return false;
    };
    if jump.flow_control() != FlowControl::IndirectBranch || jump.op0_kind() != OpKind::Register {
        return false;
    }
    let mut register = jump.op0_register();
    let mut factory = InstructionInfoFactory::new();
    // To the sum of the distance in `register` and of this, the address that the distance counts from.
    let mut table = None;
    let before = steps[index.saturating_sub(BACK)..index].iter().rev();
    for step in before.take_while(|s| s.falls && !s.call) {
        let Some(i) = instruction_at(image, step.at) else {
            return table.is_some();
        };
        if takes_down_frame(&i) {
            return false; // a tail call, wherever its register comes from
        }
        let used = factory.info(&i).used_registers();
        let writes =
            |access| !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead);
        let mut written = used.iter().filter(|u| writes(u.access()));
        let Some(written) = written.find_map(|u| {
            let full = u.register().full_register();
            (full == register || Some(full) == table).then_some(full)
        }) else {
            continue;
        };
        if let Some(table) = table {
            // An entry of the table itself: whoever took its address is another's business.
            return written != register
                || i.code() != Code::Movsxd_r64_rm32
                || (i.memory_base(), i.memory_index_scale()) != (table, 4)
                || i.memory_displacement64() != 0;
        }
        match i.code() {
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if i.op1_kind() == OpKind::Register => {
                register = i.op1_register();
            }
            Code::Add_r64_rm64 | Code::Add_rm64_r64 if i.op1_kind() == OpKind::Register => {
                table = Some(i.op1_register());
            }
            Code::Add_r64_rm64 | Code::Sub_r64_rm64 | Code::Sub_rm64_r64 => return true,
            Code::Lea_r64_m => return i.memory_index() != Register::None,
            _ => return false,
        }
    }
    table.is_some()
}

fn takes_down_frame(i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Pop | Mnemonic::Leave)
        || i.mnemonic() == Mnemonic::Add && i.op0_register() == Register::RSP
}
