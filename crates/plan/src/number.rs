//! Which system call a site makes, where the instructions before it say so.

use alloc::vec::Vec;

use crate::addr::{Span, Va};
use crate::code::{Code, Insn, Kind, Region};
use crate::decode::{Form, Map, Reader};
use crate::ground::Ground;
use crate::image::Image;
use crate::plan::{Candidate, SiteKind};
use crate::refs::{Ref, RefKind};

/// How far back from a site its number is looked for, in instructions.
const BACK: usize = 32;

/// `rax`, and the register that would be `ah` without REX.
const RAX: u8 = 0;
const AH: u8 = 4;

/// Where a branch of a region goes, and from where.
type Join = (Va, Va);

/// A number that the instructions before a site say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    number: u32,
    /// The instruction that says it, and all that is executed between it and the site.
    by: Span,
}

impl Said {
    /// The bytes that nobody else may arrive in: from behind the start of that instruction to the site's start.
    pub(crate) fn window(&self) -> Span {
        Span {
            start: self.by.start + 1,
            end: self.by.end + 1,
        }
    }

    /// The number, if whoever comes to the site has come through all of that.
    pub(crate) fn proved(&self, ground: &mut Ground<'_, '_>) -> Option<u32> {
        let inside = |r: &Ref| r.kind == RefKind::Branch && self.by.contains(r.from);
        let refs = ground.refs_to(self.window());
        let alone = refs.iter().all(inside) && ground.unknown_jump(self.by.end).is_none();
        alone.then_some(self.number)
    }
}

/// The number of each of `sites` (in order of address) that has one, as far as its own function tells.
pub(crate) fn numbers<'i>(
    image: &'i Image<'i>,
    code: &mut Code<'i>,
    sites: &[Candidate],
) -> Vec<Option<Said>> {
    let mut joins: Option<(Va, Vec<Join>)> = None;
    let mut said = |site: &Candidate| {
        if !matches!(site.kind, SiteKind::Syscall | SiteKind::Int80) {
            return None;
        }
        let region = code.region(site.at)?;
        let start = region.span.start;
        if joins.as_ref().is_none_or(|(of, _)| *of != start) {
            joins = Some((start, joins_of(&region)));
        }
        let joins = joins.as_ref().map_or(&[][..], |(_, joins)| joins);
        number(image, &region, joins, site.at)
    };
    sites.iter().map(&mut said).collect()
}

/// The number of the call at `site`, as the instructions before it say.
pub(crate) fn at<'i>(image: &'i Image<'i>, code: &mut Code<'i>, site: Va) -> Option<u32> {
    let region = code.region(site)?;
    number(image, &region, &joins_of(&region), site).map(|said| said.number)
}

fn joins_of(region: &Region) -> Vec<Join> {
    let branches = region.insns.iter();
    let mut joins: Vec<Join> = branches
        .filter_map(|insn| Some((insn.branch_target()?, insn.at)))
        .filter(|(to, _)| region.span.contains(*to))
        .collect();
    joins.sort_unstable();
    joins
}

/// What `eax` holds at `site` for whoever falls into it through the instructions before.
fn number(image: &Image<'_>, region: &Region, joins: &[Join], site: Va) -> Option<Said> {
    let index = region.index_of(site)?;
    let bytes = image.bytes(region.span)?;
    let mut reader = Reader::new(bytes, region.span.start);
    let mut register = RAX;
    let mut popped = false;
    // Those who branch over some of the instructions looked at have come through those before.
    let mut first_branch = site;
    let mut next = site;
    for insn in region.insns[..index].iter().rev().take(BACK) {
        let here = joins.partition_point(|(to, _)| *to < next);
        let mut arrivals = joins[here..].iter().take_while(|(to, _)| *to == next);
        if image.is_function_start(next) || arrivals.clone().any(|(_, from)| *from >= site) {
            return None;
        }
        first_branch = arrivals
            .next()
            .map_or(first_branch, |(_, from)| first_branch.min(*from));
        next = insn.at;
        let passes = insn.falls_through() && insn.branch_target().is_none_or(|_| is_jcc(insn));
        if !passes || matches!(insn.kind, Kind::CallIndirect { .. } | Kind::Syscall) {
            return None;
        }
        let offset = usize::try_from(insn.at.distance_from(region.span.start)).ok()?;
        let form = reader.form_at(offset)?;
        let bytes = bytes.get(offset..offset + usize::from(insn.len))?;
        let effect = match popped {
            true => pushed(&form, bytes).map_or(Effect::Unknown, Effect::Set),
            false => effect(&form, bytes, register),
        };
        if first_branch < insn.at && !matches!(effect, Effect::None) {
            return None; // who branches misses it
        }
        match effect {
            Effect::None => {}
            Effect::Set(number) => {
                let by = Span {
                    start: insn.at,
                    end: site,
                };
                return Some(Said { number, by });
            }
            Effect::Copy(from) => register = from,
            Effect::Pop => popped = true,
            Effect::Unknown => return None,
        }
    }
    None
}

fn is_jcc(insn: &Insn) -> bool {
    matches!(insn.kind, Kind::Jcc { .. })
}

/// What `push imm` right before a `pop` leaves in its register.
fn pushed(form: &Form, bytes: &[u8]) -> Option<u32> {
    match (form.map, form.opcode, bytes) {
        (Map::One, 0x6a, [.., imm]) => Some(i32::from(imm.cast_signed()).cast_unsigned()),
        (Map::One, 0x68, [.., a, b, c, d]) if !form.small => {
            Some(u32::from_le_bytes([*a, *b, *c, *d]))
        }
        _ => None,
    }
}

/// What an instruction does to the low half of a register.
enum Effect {
    /// It leaves it alone.
    None,
    /// It puts a number there.
    Set(u32),
    /// It puts there what the low half of that register holds.
    Copy(u8),
    /// It takes it from the stack.
    Pop,
    /// Something else, or nobody knows.
    Unknown,
}

fn effect(form: &Form, bytes: &[u8], register: u8) -> Effect {
    let low = form.opcode & 7 | (form.rex & 1) << 3;
    let (reg, rm) = (form.reg_extended(), form.rm());
    let is_register = form.is_register();
    let word = || bytes.last_chunk().map(|imm| u32::from_le_bytes(*imm));
    let set = |number: Option<u32>| number.map_or(Effect::Unknown, Effect::Set);
    match (form.map, form.opcode) {
        (Map::One, 0xb8..=0xbf) if low == register => match bytes {
            _ if form.small && form.rex & 8 == 0 => Effect::Unknown,
            [.., a, b, c, d, _, _, _, _] if form.rex & 8 != 0 => {
                Effect::Set(u32::from_le_bytes([*a, *b, *c, *d]))
            }
            _ => set(word()),
        },
        (Map::One, 0xc7) if is_register && rm == register && !form.small => set(word()),
        // xor and sub of a register and itself
        (Map::One, 0x31 | 0x33 | 0x29 | 0x2b)
            if is_register && reg == rm && rm == register && !form.small =>
        {
            Effect::Set(0)
        }
        (Map::One, 0x89) if is_register && rm == register && !form.small => Effect::Copy(reg),
        (Map::One, 0x8b) if is_register && reg == register && !form.small => Effect::Copy(rm),
        (Map::One, 0x58..=0x5f) if low == register => Effect::Pop,
        _ => match written(form) {
            Written::Nothing => Effect::None,
            Written::Register(to) if !is_same(form, to, register) => Effect::None,
            _ => Effect::Unknown,
        },
    }
}

/// Whether writing to what number `to` names changes `register`: a byte register 4 to 7 may be the second byte
/// of 0 to 3.
fn is_same(form: &Form, to: u8, register: u8) -> bool {
    to == register || form.rex == 0 && to.checked_sub(AH) == Some(register)
}

/// The one general register that an instruction changes.
enum Written {
    Nothing,
    Register(u8),
    Unknown,
}

/// Says `Unknown` of all that compilers do not put between a number and its system call.
fn written(form: &Form) -> Written {
    let low = form.opcode & 7 | (form.rex & 1) << 3;
    let into_rm = match form.is_register() {
        true => Written::Register(form.rm()),
        false => Written::Nothing,
    };
    let into_reg = Written::Register(form.reg_extended());
    match (form.map, form.opcode) {
        (Map::One, 0x00..=0x3f) => match form.opcode & 7 {
            _ if form.opcode & 0x38 == 0x38 => Written::Nothing, // cmp
            0 | 1 => into_rm,
            2 | 3 => into_reg,
            4 | 5 => Written::Register(RAX),
            _ => Written::Unknown,
        },
        (Map::One, 0x50..=0x57 | 0x68 | 0x6a | 0x70..=0x7f) => Written::Nothing,
        (Map::One, 0x84 | 0x85 | 0xa8 | 0xa9) => Written::Nothing, // test
        (Map::One, 0x90) if form.rex & 1 == 0 => Written::Nothing,
        (Map::One, 0x58..=0x5f | 0xb0..=0xbf) => Written::Register(low),
        (Map::One, 0x63 | 0x69 | 0x6b | 0x8a | 0x8b | 0x8d) => into_reg,
        (Map::One, 0x80 | 0x81 | 0x83) if form.reg() == 7 => Written::Nothing, // cmp
        (Map::One, 0x80 | 0x81 | 0x83 | 0x88 | 0x89 | 0xc6 | 0xc7) => into_rm,
        (Map::One, 0xc0 | 0xc1 | 0xd0..=0xd3) => into_rm, // shifts
        (Map::One, 0xf6 | 0xf7) if form.reg() < 2 => Written::Nothing, // test
        (Map::One, 0xf6 | 0xf7) if form.reg() < 4 => into_rm, // not, neg
        (Map::One, 0xfe | 0xff) if form.reg() < 2 => into_rm, // inc, dec
        (Map::One, 0xff) if form.reg() == 6 => Written::Nothing, // push
        (Map::Two, 0x1e | 0x1f | 0x80..=0x8f) => Written::Nothing, // endbr, nop, jcc
        (Map::Two, 0x40..=0x4f | 0xaf | 0xb6 | 0xb7 | 0xbe | 0xbf) => into_reg,
        (Map::Two, 0x90..=0x9f) => into_rm, // setcc
        // moves, logic and shuffles of vector registers
        (Map::Two | Map::Vex(1), 0x10..=0x17 | 0x28 | 0x29 | 0x54..=0x57 | 0x60..=0x62) => {
            Written::Nothing
        }
        (Map::Two | Map::Vex(1), 0x6c..=0x70 | 0xd6 | 0xdb | 0xe7 | 0xeb | 0xef) => {
            Written::Nothing
        }
        _ => Written::Unknown,
    }
}
