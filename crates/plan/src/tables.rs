//! Jump tables: 4-byte entries relative to the table, whose address a `lea` takes.

use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind, Region, Trust};
use crate::decode::{Form, Map, Reader};
use crate::image::Image;

/// How far back from an indirect jump its register is followed, in instructions.
const BACK: usize = 24;

/// Addresses that begin what looks like a jump table.
pub(crate) struct Tables<'i> {
    data: Vec<(Span, &'i [u8])>,
    code: Vec<Span>,
    /// From the first of `code` to the last.
    around: Span,
    /// Ascending once all are noted.
    bases: Vec<Va>,
}

impl<'i> Tables<'i> {
    pub(crate) fn new(image: &'i Image<'_>) -> Self {
        // Read-only data first: that is where most addresses point, and most tables are.
        let mut segments: Vec<_> = image.segments.iter().collect();
        segments.sort_by_key(|s| (s.executable, s.writable));
        let data = segments.iter().map(|s| (s.stored(), s.bytes)).collect();
        let (first, last) = (image.code.first(), image.code.last());
        let around = Span {
            start: first.map_or(Va(0), |span| span.start),
            end: last.map_or(Va(0), |span| span.end),
        };
        Self {
            data,
            code: image.code.clone(),
            around,
            bases: Vec::new(),
        }
    }

    /// Notes `base`, whose address is taken, if its first word leads into code as that of a table would.
    pub(crate) fn note(&mut self, base: Va) {
        if self.entry(base, base).is_some() {
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
        // Most words of data lead nowhere near.
        let leads_on = self.around.contains(to) && self.code.iter().any(|span| span.contains(to));
        leads_on.then_some(to)
    }

    /// Where tables begin, ascending, once their entries have been read.
    pub(crate) fn into_bases(self) -> Vec<Va> {
        self.bases
    }
}

/// A jump in `region` whose targets no table and no word of data gives, or one that leads inside an instruction;
/// or what takes the address of a label, which others may be computed from.
pub(crate) fn unknown_jump(image: &Image<'_>, region: &Region, tables: &[Va]) -> Option<Va> {
    // Far aborts are not searched for.
    let is_abort = |insn: &Insn| matches!(insn.kind, Kind::Xbegin { .. });
    let mut insns = region.insns.iter();
    if let Some(jump) = insns.find(|i| is_abort(i) || cuts(image, region, i)) {
        return Some(jump.at);
    }
    let is_jump = |insn: &Insn| matches!(insn.kind, Kind::JmpIndirect { table: true, .. });
    // An instruction's bytes can read as the first entry of a table; but where one begins, there is none.
    let is_table = |insn: &Insn| {
        matches!(insn.kind, Kind::RipRelative { target, lea: true, .. }
            if tables.binary_search(&target).is_ok() && region.index_of(target).is_none())
    };
    // Distances may be added to a label, and the sum jumped to, called, or returned to.
    let is_label = |insn: &Insn| {
        named_label(image, insn)
            .is_some_and(|at| region.index_of(at).is_some() && !image.is_function_start(at))
    };
    let label = region.insns.iter().find(|i| is_label(i) && !is_table(i));
    if let (Some(label), Trust::Function) = (label, region.trust) {
        return Some(label.at);
    }
    if !region.insns.iter().any(is_jump) || label.is_none() && region.insns.iter().any(is_table) {
        return None;
    }
    let mut joins: Vec<Va> = region
        .insns
        .iter()
        .filter_map(Insn::branch_target)
        .collect();
    joins.sort_unstable();
    let jumps = region
        .insns
        .iter()
        .enumerate()
        .filter(|(_, insn)| is_jump(insn));
    let mut unknown = jumps.filter(|(index, _)| {
        !goes_where_a_word_says(image, region, &joins, *index, &is_table, label.is_some())
    });
    unknown.next().map(|(_, jump)| jump.at)
}

/// The address that `insn` may be taking: by a `lea`, or as an immediate where code knows its own addresses.
fn named_label(image: &Image<'_>, insn: &Insn) -> Option<Va> {
    match insn.kind {
        Kind::RipRelative {
            target, lea: true, ..
        } => Some(target),
        Kind::Plain if !image.relocatable && insn.len >= 5 => {
            let immediate = image.bytes(insn.span())?.last_chunk()?;
            Some(Va(u32::from_le_bytes(*immediate).into()))
        }
        _ => None,
    }
}

/// Whether `branch` leads inside an instruction: one of the two has been read wrongly, as behind data that
/// decodes. Only a `lock` prefix is jumped over on purpose.
fn cuts(image: &Image<'_>, region: &Region, branch: &Insn) -> bool {
    let Some(to) = branch.branch_target() else {
        return false;
    };
    let around = region.index_around(to).map(|i| &region.insns[i]);
    around.is_some_and(|insn| {
        let skips_lock = || insn.at + 1 == to && image.read(insn.at, 1) == Some(&[0xf0]);
        insn.at != to && !skips_lock()
    })
}

/// Whether the jump at `index` takes its target unchanged from memory, an immediate or a `lea`. Such an address
/// is a reference of its own, found where it is written down; only one that is computed is not.
///
/// A jump right after the frame was taken down is a tail call, wherever its register comes from. With `labels`, the region
/// takes addresses that others may be computed from.
fn goes_where_a_word_says(
    image: &Image<'_>,
    region: &Region,
    joins: &[Va],
    index: usize,
    is_table: &dyn Fn(&Insn) -> bool,
    labels: bool,
) -> bool {
    let Some(bytes) = image.bytes(region.span) else {
        return false;
    };
    let mut reader = Reader::new(bytes, region.span.start);
    let mut form = |insn: &Insn| {
        let offset = insn.at.distance_from(region.span.start);
        reader.form_at(usize::try_from(offset).ok()?)
    };
    let Some(jump) = form(&region.insns[index]) else {
        return false;
    };
    if !jump.is_register() {
        return true;
    }
    let mut register = jump.rm();
    // If the jump goes to a sum: those of its summands that have not been followed to something else than a table.
    let mut summands: Option<Vec<u8>> = None;
    let mut tail_call = false;
    for i in (index.saturating_sub(BACK)..index).rev() {
        let (insn, next) = (&region.insns[i], region.insns[i + 1].at);
        let calls = matches!(
            insn.kind,
            Kind::Call { .. } | Kind::CallIndirect { .. } | Kind::Syscall
        );
        let joined = joins.binary_search(&next).is_ok();
        let lost = insn.kind != Kind::Syscall && is_lost_in_calls(register);
        if calls && !joined && lost && summands.is_none() && !labels {
            return true; // the call does not return: a function starts behind it, and jumps to where it was told
        }
        if calls || joined || !insn.falls_through() {
            break;
        }
        let Some(form) = form(insn) else { break };
        if let Some(summands) = &mut summands {
            if is_table(insn) && summands.contains(&form.reg_extended()) {
                return true; // the other is an entry of it
            }
            if is_entry_of(&form, summands) {
                return true; // wherever the table's address was taken, it has been noted
            }
            summands.retain(|&summand| matches!(source(&form, summand), Source::Other));
            if summands.is_empty() {
                break;
            }
            continue;
        }
        if let (Map::One, 0x01 | 0x03, true) = (form.map, form.opcode, form.is_register()) {
            let (to, from) = match form.opcode {
                0x01 => (form.rm(), form.reg_extended()),
                _ => (form.reg_extended(), form.rm()),
            };
            if to == register && form.rex & 8 != 0 {
                summands = Some([register, from].into());
                continue;
            }
        }
        match source(&form, register) {
            Source::Other => tail_call |= takes_down_frame(&form),
            Source::Register(from) => register = from,
            Source::Word => return true,
            Source::Stack => break,
            Source::Unknown => break,
        }
    }
    tail_call
}

/// Whether a call leaves nothing in the register that its caller could know: `rcx`, `rsi`, `rdi`, `r8` to `r11`.
const fn is_lost_in_calls(register: u8) -> bool {
    matches!(register, 1 | 6 | 7 | 8..=11)
}

/// Whether this is `movslq (%base,%index,4),%entry`, where the two summands are `base` and `entry`.
fn is_entry_of(form: &Form, summands: &[u8]) -> bool {
    let (Map::One, 0x63, Some(sib), false) = (form.map, form.opcode, form.sib, form.is_register())
    else {
        return false;
    };
    let base = sib & 7 | (form.rex & 1) << 3;
    let entry = form.reg_extended();
    sib >> 6 == 2
        && form.rex & 8 != 0
        && form.disp_at.is_none()
        && base != entry
        && summands.len() == 2
        && summands.contains(&base)
        && summands.contains(&entry)
}

/// `pop`, `leave` and `add $n,%rsp`.
fn takes_down_frame(form: &Form) -> bool {
    match (form.map, form.opcode) {
        (Map::One, 0x58..=0x5f | 0xc9) => true,
        (Map::One, 0x81 | 0x83) => form.modrm == Some(0xc4) && form.rex & 1 == 0,
        _ => false,
    }
}

/// Whether a memory operand is relative to `rsp` or `rbp`.
fn on_stack(form: &Form) -> bool {
    let mode = form.modrm.unwrap_or(0) >> 6;
    let base = form.sib.or(form.modrm).unwrap_or(0) & 7;
    form.rex & 1 == 0 && (base == 4 || base == 5 && mode != 0)
}

/// Where an instruction takes the value of a register from.
enum Source {
    /// It leaves the register alone.
    Other,
    /// From that register, unchanged.
    Register(u8),
    /// From memory, an immediate or the address of an operand.
    Word,
    /// From the stack, where it may have been put after it was computed.
    Stack,
    /// Computed, or not known.
    Unknown,
}

fn source(form: &Form, register: u8) -> Source {
    let low = form.opcode & 7 | (form.rex & 1) << 3;
    match (form.map, form.opcode) {
        // mov %reg,%rm and mov %rm,%reg
        (Map::One, 0x89) if form.is_register() && form.rm() == register => {
            if form.rex & 8 != 0 {
                Source::Register(form.reg_extended())
            } else {
                Source::Unknown
            }
        }
        (Map::One, 0x8b) if form.reg_extended() == register => match form.is_register() {
            true if form.rex & 8 != 0 => Source::Register(form.rm()),
            false if on_stack(form) => Source::Stack,
            // A 4-byte word may be an entry of a table that nobody knows of.
            false if form.rex & 8 != 0 => Source::Word,
            _ => Source::Unknown,
        },
        (Map::One, 0x8d) if form.reg_extended() == register => {
            if form.is_rip_relative() {
                Source::Word
            } else {
                Source::Unknown
            }
        }
        (Map::One, 0xc7) if form.is_register() && form.rm() == register => Source::Word,
        (Map::One, 0xb8..=0xbf | 0x58..=0x5f) if low == register => Source::Word,
        // Compares and tests, moves and pushes of other registers, stores.
        (Map::One, 0x38..=0x3d | 0x84 | 0x85 | 0xa8 | 0xa9 | 0x50..=0x57 | 0x68 | 0x6a) => {
            Source::Other
        }
        (Map::One, 0xb8..=0xbf | 0x58..=0x5f | 0x70..=0x7f | 0x90 | 0xc9) => Source::Other,
        (Map::One, 0x88 | 0x89 | 0xc6 | 0xc7) if !form.is_register() || form.rm() != register => {
            Source::Other
        }
        (Map::One, 0x8b | 0x8d | 0x63) if form.reg_extended() != register => Source::Other,
        (Map::Two, 0x80..=0x8f | 0x1f) => Source::Other,
        (Map::Two, 0xb6 | 0xb7 | 0xbe | 0xbf | 0x40..=0x4f) if form.reg_extended() != register => {
            Source::Other
        }
        (Map::One, 0x80 | 0x81 | 0x83) if form.reg() == 7 => Source::Other,
        // What `setjmp` keeps is mangled; below that is a return address.
        (Map::One, 0x33) if form.fs && form.reg_extended() == register => Source::Word,
        // Arithmetic on other registers.
        (Map::One, 0x00..=0x37) if form.modrm.is_some() => {
            let written = if form.opcode & 2 == 0 {
                form.rm()
            } else {
                form.reg_extended()
            };
            let in_memory = form.opcode & 2 == 0 && !form.is_register();
            if in_memory || written != register {
                Source::Other
            } else {
                Source::Unknown
            }
        }
        (Map::One, 0x80 | 0x81 | 0x83 | 0xc0 | 0xc1 | 0xd0 | 0xd1)
            if !form.is_register() || form.rm() != register =>
        {
            Source::Other
        }
        _ => Source::Unknown,
    }
}
