//! Bytes to [`Insn`]: what one instruction does to control flow, and what in it depends on its place.

mod form;
mod likely;
mod quick;
mod tables;
mod vectors;

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind};
use crate::plan::SiteKind;

use form::NoForm;
pub(crate) use form::{Form, Map};
pub use vectors::first_of_vectors;

/// Decodes the instruction at the start of `bytes`, which lies at `at`.
///
/// `None` where there is no valid instruction or `bytes` ends inside it.
#[must_use]
pub fn decode(bytes: &[u8], at: Va) -> Option<Insn> {
    Reader::new(bytes, at).next_at(0)
}

/// Decodes at any offset of one run of bytes.
pub struct Reader<'a> {
    bytes: &'a [u8],
    base: Va,
    bounds: Span,
    cut_off: bool,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, whose first byte lies at `base`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], base: Va) -> Self {
        Self {
            bytes,
            base,
            bounds: Span {
                start: Va(0),
                end: Va(u64::MAX),
            },
            cut_off: false,
        }
    }

    /// The same reader, to which no instruction is likely that refers to a place outside `bounds`.
    #[must_use]
    pub const fn within(self, bounds: Span) -> Self {
        Self { bounds, ..self }
    }

    /// Length of the instruction at `offset`, if programs contain such. Data often decodes, but seldom to
    /// instructions that are allowed, in use, and refer to places that exist.
    pub fn likely_len_at(&mut self, offset: usize) -> Option<usize> {
        let form = self.form_at(offset)?;
        let len = usize::from(form.len);
        let bytes = &self.bytes[offset..offset + len];
        likely::is_likely(&form, bytes, self.base + offset as u64, self.bounds).then_some(len)
    }

    /// Length of the instruction at `offset`; `None` where there is no valid one.
    pub fn len_at(&mut self, offset: usize) -> Option<usize> {
        self.form_at(offset).map(|form| usize::from(form.len))
    }

    /// The instruction at `offset`; `None` where there is no valid one.
    pub fn next_at(&mut self, offset: usize) -> Option<Insn> {
        let at = self.base + offset as u64;
        let ahead = self.bytes.get(offset..).and_then(<[u8]>::first_chunk);
        if let Some(insn) = ahead.and_then(|bytes| quick::decode(bytes, at)) {
            self.cut_off = false;
            return Some(insn);
        }
        let form = self.form_at(offset)?;
        let bytes = &self.bytes[offset..offset + usize::from(form.len)];
        Some(Insn {
            at,
            len: form.len,
            kind: kind(&form, bytes, at),
        })
    }

    /// The kind of site that the instruction at `offset` can be, and the offset in it of the two bytes that all
    /// of that kind have. With other prefixes than it needs, it is none.
    pub fn site_at(&mut self, offset: usize) -> Option<(SiteKind, usize)> {
        let form = self.form_at(offset)?;
        let bytes = &self.bytes[offset..offset + usize::from(form.len)];
        site(&form, bytes)
    }

    /// The address of the byte at `offset`.
    #[must_use]
    pub fn va(&self, offset: usize) -> Va {
        self.base + offset as u64
    }

    /// The offset of the byte at `at`, if it is one of these.
    #[must_use]
    pub fn offset_of(&self, at: Va) -> Option<usize> {
        let offset = usize::try_from(at.0.checked_sub(self.base.0)?).ok()?;
        (offset < self.bytes.len()).then_some(offset)
    }

    /// Whether the last attempt failed because the bytes end.
    #[must_use]
    pub const fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    /// The form of the instruction at `offset`; `None` where there is no valid one.
    pub(crate) fn form_at(&mut self, offset: usize) -> Option<Form> {
        let form = Form::read(self.bytes.get(offset..)?);
        self.cut_off = form == Err(NoForm::CutOff);
        form.ok()
    }
}

fn kind(form: &Form, bytes: &[u8], at: Va) -> Kind {
    match form.map {
        Map::One => one_byte(form, bytes, at),
        Map::Two => two_byte(form, bytes, at),
        _ => straight(form, bytes, at),
    }
}

fn site(form: &Form, bytes: &[u8]) -> Option<(SiteKind, usize)> {
    let kind = match bytes {
        [0x0f, 0x05] => SiteKind::Syscall,
        [0x0f, 0x31] => SiteKind::Rdtsc,
        [0x0f, 0xa2] => SiteKind::Cpuid,
        [0x0f, 0x34] => SiteKind::Sysenter,
        [0xcd, 0x80] => SiteKind::Int80,
        [0x0f, 0x01, 0xf9] => SiteKind::Rdtscp,
        [0x0f, 0x01, 0xd0] => SiteKind::Xgetbv,
        // a repetition prefix and the register, in this order and no more
        [0xf3, .., 0x0f, 0xae, modrm] if *modrm >= 0xc0 && !form.small => {
            if bytes.len() != 4 + usize::from(form.rex != 0) {
                return None;
            }
            match form.reg() {
                1 => SiteKind::Rdgsbase,
                3 => SiteKind::Wrgsbase,
                _ => return None,
            }
        }
        // operand size and register, in this order and no more
        [.., 0x0f, 0xc7, modrm] if *modrm >= 0xc0 && form.rep == 0 => {
            let prefixes = usize::from(form.small) + usize::from(form.rex != 0);
            if bytes.len() != prefixes + 3 {
                return None;
            }
            match form.reg() {
                6 => SiteKind::Rdrand,
                7 => SiteKind::Rdseed,
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((
        kind,
        usize::from(form.opcode_at).saturating_sub(usize::from(form.map == Map::Two)),
    ))
}

/// Where the displacement that ends a branch leads.
fn branch_target(bytes: &[u8], at: Va, disp_len: usize) -> Va {
    let end = at + bytes.len() as u64;
    let disp = match bytes[bytes.len() - disp_len..] {
        [a] => i64::from(a.cast_signed()),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        _ => 0,
    };
    end.offset(disp)
}

/// Where a RIP-relative operand leads, and the offset of its displacement.
fn rip_operand(form: &Form, bytes: &[u8], at: Va) -> Option<(Va, u8)> {
    let disp_at = form.disp_at.filter(|_| form.is_rip_relative())?;
    let disp = bytes.get(usize::from(disp_at)..)?.first_chunk()?;
    let end = at + bytes.len() as u64;
    Some((end.offset(i32::from_le_bytes(*disp).into()), disp_at))
}

/// An address-size prefix cuts the address after the instruction to 32 bits: it cannot run elsewhere.
fn is_eip_relative(form: &Form) -> bool {
    form.short_address && form.is_rip_relative()
}

fn straight(form: &Form, bytes: &[u8], at: Va) -> Kind {
    if is_eip_relative(form) {
        return Kind::Interrupt;
    }
    match rip_operand(form, bytes, at) {
        Some((target, disp_at)) => {
            let lea = form.map == Map::One && form.opcode == 0x8d;
            Kind::RipRelative {
                target,
                disp_at,
                lea,
            }
        }
        None => Kind::Plain,
    }
}

fn one_byte(form: &Form, bytes: &[u8], at: Va) -> Kind {
    // Intel ignores an operand-size prefix on a near branch, AMD cuts the target to 16 bits.
    let cut = form.small && form.rex & 8 == 0;
    match form.opcode {
        0x70..=0x7f | 0xe0..=0xe3 | 0xe8 | 0xe9 | 0xeb if cut => Kind::Interrupt,
        0x70..=0x7f => {
            let target = branch_target(bytes, at, 1);
            Kind::Jcc {
                target,
                disp_len: 1,
                cond: form.opcode & 15,
            }
        }
        0xe0..=0xe3 => Kind::Loop {
            target: branch_target(bytes, at, 1),
        },
        0xe8 => Kind::Call {
            target: branch_target(bytes, at, 4),
        },
        0xe9 => Kind::Jmp {
            target: branch_target(bytes, at, 4),
            disp_len: 4,
        },
        0xeb => Kind::Jmp {
            target: branch_target(bytes, at, 1),
            disp_len: 1,
        },
        0x90 if form.rex & 1 == 0 && form.rep != 0xf3 => Kind::Nop,
        0xc2 | 0xc3 | 0xca | 0xcb | 0xcf => Kind::Ret,
        0xcc if bytes.len() == 1 => Kind::Int3,
        0xcc | 0xcd | 0xf1 => Kind::Interrupt,
        0xc7 if form.reg() == 7 && cut => Kind::Interrupt,
        0xc7 if form.reg() == 7 => Kind::Xbegin {
            target: branch_target(bytes, at, 4),
        },
        0xf4 => Kind::Stop,
        0xff => indirect(form, bytes, at),
        _ => straight(form, bytes, at),
    }
}

fn indirect(form: &Form, bytes: &[u8], at: Va) -> Kind {
    let rip = rip_operand(form, bytes, at);
    match form.reg() {
        2 | 4 | 5 if is_eip_relative(form) => Kind::Interrupt,
        2 => Kind::CallIndirect { rip },
        3 => Kind::Interrupt, // a far call
        4 | 5 => {
            let has_index = form
                .sib
                .is_some_and(|sib| sib & 0x38 != 0x20 || form.rex & 2 != 0);
            Kind::JmpIndirect {
                rip,
                table: form.is_register() || has_index,
            }
        }
        _ => straight(form, bytes, at),
    }
}

fn two_byte(form: &Form, bytes: &[u8], at: Va) -> Kind {
    match form.opcode {
        // A prefixed one is a system call too, but what is written over a site assumes two bytes.
        0x05 if bytes.len() == 2 => Kind::Syscall,
        0x05 | 0x34 => Kind::Interrupt,
        0x07 | 0x35 | 0xaa => Kind::Ret,
        0x0b | 0xb9 | 0xff => Kind::Stop,
        0x80..=0x8f if form.small && form.rex & 8 == 0 => Kind::Interrupt,
        0x80..=0x8f => {
            let target = branch_target(bytes, at, 4);
            Kind::Jcc {
                target,
                disp_len: 4,
                cond: form.opcode & 15,
            }
        }
        0x1f if form.reg() == 0 => Kind::Nop,
        0x1e if form.rep == 0xf3 && form.modrm == Some(0xfa) => Kind::Endbr,
        // vmcall and its relatives leave for a hypervisor; uiret returns.
        0x01 if matches!(form.modrm, Some(0xc1..=0xc3 | 0xd8 | 0xd9)) => Kind::Interrupt,
        0x01 if form.modrm == Some(0xec) && form.rep == 0xf3 => Kind::Ret,
        _ => straight(form, bytes, at),
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
