//! The form of an instruction: prefixes, opcode, ModRM and what follows, and whether it is valid.
//!
//! An own decoder, because a general one spends longer on building its tables than this library may
//! spend on a whole start (0.5 ms against 0.3), decodes at half the speed, and takes ten times the
//! space. All it has to know is lengths, branches and RIP-relative operands; a general decoder is
//! its oracle in the tests, for every opcode and over whole libraries.
//!
//! Source: Intel SDM volume 2, chapter 2 and appendix A; AMD APM volume 3, appendix A.

use super::tables::{PATTERNS, VALID};

/// Longer instructions raise a fault.
const MAX_LEN: usize = 15;

/// Where an opcode is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Map {
    /// One byte.
    One,
    /// `0f`.
    Two,
    /// `0f 38`.
    Three38,
    /// `0f 3a`.
    Three3a,
    /// VEX with map 1 to 3.
    Vex(u8),
    /// EVEX with map 1, 2, 3, 5 or 6.
    Evex(u8),
    /// XOP with map 8 to 10.
    Xop(u8),
}

impl Map {
    /// Row of the validity table, given the mandatory prefix (0 none, 1 `66`, 2 `f3`, 3 `f2`).
    pub(crate) const fn row(self, prefix: u8) -> Option<usize> {
        let prefix = prefix as usize;
        Some(match self {
            Self::One => 0,
            Self::Two => 1 + prefix,
            Self::Three38 => 5 + prefix,
            Self::Three3a => 9 + prefix,
            Self::Vex(map @ 1..=3) => 13 + 4 * (map as usize - 1) + prefix,
            Self::Evex(map @ 1..=3) => 25 + 4 * (map as usize - 1) + prefix,
            Self::Evex(map @ 5..=6) => 37 + 4 * (map as usize - 5) + prefix,
            Self::Xop(map @ 8..=10) => 45 + (map as usize - 8),
            _ => return None,
        })
    }
}

/// Why there is no instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoForm {
    /// The bytes end inside it.
    CutOff,
    /// No processor executes it.
    Invalid,
}

/// What the bytes of one instruction are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Form {
    /// Length in bytes.
    pub(crate) len: u8,
    pub(crate) map: Map,
    pub(crate) opcode: u8,
    /// Offset of the opcode.
    pub(crate) opcode_at: u8,
    pub(crate) rex: u8,
    pub(crate) modrm: Option<u8>,
    /// The byte after ModRM, where there is one of that kind.
    pub(crate) sib: Option<u8>,
    /// Offset of the displacement of a memory operand, if it has one.
    pub(crate) disp_at: Option<u8>,
    /// `66` is among the prefixes.
    pub(crate) small: bool,
    /// `67` is among the prefixes.
    pub(crate) short_address: bool,
    /// `64` is among the prefixes, and no later segment prefix.
    pub(crate) fs: bool,
    /// `f3` or `f2`, whichever came last; 0 if neither.
    pub(crate) rep: u8,
}

impl Form {
    /// Nothing read yet.
    pub(super) const EMPTY: Self = Self {
        len: 0,
        map: Map::One,
        opcode: 0,
        opcode_at: 0,
        rex: 0,
        modrm: None,
        sib: None,
        disp_at: None,
        small: false,
        short_address: false,
        fs: false,
        rep: 0,
    };

    /// Reads the form of the instruction at the start of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NoForm> {
        let limited = &bytes[..bytes.len().min(MAX_LEN)];
        Bytes {
            bytes: limited,
            at: 0,
        }
        .form()
        .map_err(|why| {
            let too_long = why == NoForm::CutOff && limited.len() == MAX_LEN;
            if too_long { NoForm::Invalid } else { why }
        })
    }

    /// The `reg` field of ModRM.
    pub(crate) const fn reg(&self) -> u8 {
        match self.modrm {
            Some(modrm) => modrm >> 3 & 7,
            None => 0,
        }
    }

    /// Number of the register that the `reg` field and REX name.
    pub(crate) fn reg_extended(&self) -> u8 {
        self.reg() | (self.rex & 4) << 1
    }

    /// Number of the register that the `rm` field and REX name, where it names one.
    pub(crate) fn rm(&self) -> u8 {
        self.modrm.unwrap_or(0) & 7 | (self.rex & 1) << 3
    }

    /// Whether the operand that ModRM names is a register.
    pub(crate) fn is_register(&self) -> bool {
        self.modrm.is_some_and(|m| m >= 0xc0)
    }

    /// Whether a memory operand is relative to the address after the instruction.
    pub(crate) fn is_rip_relative(&self) -> bool {
        self.modrm.is_some_and(|m| m & 0xc7 == 0x05)
    }
}

struct Bytes<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bytes<'_> {
    fn peek(&self) -> Result<u8, NoForm> {
        self.bytes.get(self.at).copied().ok_or(NoForm::CutOff)
    }

    fn take(&mut self) -> Result<u8, NoForm> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn skip(&mut self, len: usize) -> Result<(), NoForm> {
        self.at += len;
        if self.at > self.bytes.len() {
            Err(NoForm::CutOff)
        } else {
            Ok(())
        }
    }

    fn form(&mut self) -> Result<Form, NoForm> {
        let mut form = Form::EMPTY;
        let mut locked = false;
        loop {
            let byte = self.take()?;
            match byte {
                0x26 | 0x2e | 0x36 | 0x3e => {} // ignored in 64-bit mode
                0x64 | 0x65 => form.fs = byte == 0x64,
                0x66 => form.small = true,
                0x67 => form.short_address = true,
                0xf0 => locked = true,
                0xf2 | 0xf3 => form.rep = byte,
                0x40..=0x4f => {
                    form.rex = byte;
                    continue;
                }
                _ => {
                    form.opcode = byte;
                    break;
                }
            }
            form.rex = 0; // it counts only as the last prefix
        }
        let plain = !form.small && form.rep == 0 && form.rex == 0 && !locked;
        let prefix = self.opcode(&mut form, plain)?;
        if has_modrm(&form) {
            self.modrm(&mut form)?;
        }
        let row = form.map.row(prefix).ok_or(NoForm::Invalid)?;
        let pattern = PATTERNS[usize::from(VALID[row][usize::from(form.opcode)])];
        let bit = form.reg() + if form.is_register() { 8 } else { 0 };
        let rms = match form.map {
            Map::One if form.is_register() => valid_rms(form.opcode, form.reg()),
            _ => 0xff,
        };
        let rm_is_valid = rms >> (form.rm() & 7) & 1 != 0;
        if pattern >> bit & 1 == 0 || locked && !may_lock(&form) || !rm_is_valid {
            return Err(NoForm::Invalid);
        }
        self.skip(immediate_len(&form))?;
        form.len = self.at as u8;
        Ok(form)
    }

    /// Reads the opcode behind an escape or a VEX, EVEX or XOP prefix; says which mandatory prefix is in force.
    fn opcode(&mut self, form: &mut Form, plain: bool) -> Result<u8, NoForm> {
        let mut prefix = match (form.rep, form.small) {
            (0xf3, _) => 2,
            (0xf2, _) => 3,
            (_, true) => 1,
            _ => 0,
        };
        match form.opcode {
            0x0f => {
                form.map = Map::Two;
                form.opcode = self.take()?;
                let map = match form.opcode {
                    0x38 => Map::Three38,
                    0x3a => Map::Three3a,
                    _ => Map::Two,
                };
                if map != Map::Two {
                    form.map = map;
                    form.opcode = self.take()?;
                }
            }
            0xc5 => {
                let p = self.take()?;
                (form.map, prefix) = (Map::Vex(1), p & 3);
            }
            0xc4 => {
                let (p0, p1) = (self.take()?, self.take()?);
                (form.map, prefix) = (Map::Vex(p0 & 0x1f), p1 & 3);
                form.rex = p1 >> 4 & 8;
            }
            0x62 => {
                let (p0, p1, _) = (self.take()?, self.take()?, self.take()?);
                if p0 & 8 != 0 || p1 & 4 == 0 {
                    return Err(NoForm::Invalid);
                }
                (form.map, prefix) = (Map::Evex(p0 & 7), p1 & 3);
                form.rex = p1 >> 4 & 8;
            }
            0x8f if self.peek()? & 0x1f >= 8 => {
                let (p0, p1) = (self.take()?, self.take()?);
                (form.map, prefix) = (Map::Xop(p0 & 0x1f), p1 & 3);
                if prefix != 0 {
                    return Err(NoForm::Invalid);
                }
            }
            _ => {}
        }
        if matches!(form.map, Map::Vex(_) | Map::Evex(_) | Map::Xop(_)) {
            if !plain {
                return Err(NoForm::Invalid);
            }
            // `pp` counts 66, f3, f2: the order of the table's rows.
            form.opcode = self.take()?;
        }
        form.opcode_at = (self.at - 1) as u8;
        Ok(prefix)
    }

    fn modrm(&mut self, form: &mut Form) -> Result<(), NoForm> {
        let modrm = self.take()?;
        form.modrm = Some(modrm);
        let is_control = form.map == Map::Two && matches!(form.opcode, 0x20..=0x23);
        if modrm >= 0xc0 || is_control {
            return Ok(());
        }
        let mut base = modrm & 7;
        if base == 4 {
            let sib = self.take()?;
            form.sib = Some(sib);
            base = sib & 7;
        }
        let disp = match modrm >> 6 {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        if disp != 0 {
            form.disp_at = Some(self.at as u8);
        }
        self.skip(disp)
    }
}

/// The `rm` fields that are valid where ModRM names a register behind a one-byte opcode and the table says that some
/// are, as a set: what takes no operand is told apart by all of ModRM (x87, `xabort`, `xbegin`).
pub(super) const fn valid_rms(opcode: u8, reg: u8) -> u8 {
    match (opcode, reg) {
        (0xc6 | 0xc7, 7) | (0xd9, 2) | (0xdf, 4) => 0b0000_0001,
        (0xd9, 4) => 0b0011_0011,
        (0xd9, 5) => 0b0111_1111,
        (0xda, 5) | (0xde, 3) => 0b0000_0010,
        (0xdb, 4) => 0b0001_1111,
        _ => 0xff,
    }
}

/// Whether a `lock` prefix is valid: what reads, changes and writes memory.
fn may_lock(form: &Form) -> bool {
    if form.modrm.is_none() || form.is_register() {
        return false;
    }
    match (form.map, form.opcode) {
        (Map::One, 0x00..=0x37) => form.opcode & 7 < 2,
        (Map::One, 0x80 | 0x81 | 0x83) => form.reg() != 7,
        (Map::One, 0xf6 | 0xf7) => matches!(form.reg(), 2 | 3),
        (Map::One, 0xfe | 0xff) => form.reg() < 2,
        (Map::One, 0x86 | 0x87) => true,
        (Map::Two, 0xab | 0xb0 | 0xb1 | 0xb3 | 0xbb | 0xc0 | 0xc1) => true,
        (Map::Two, 0xba) => form.reg() > 4,
        (Map::Two, 0xc7) => form.reg() == 1,
        _ => false,
    }
}

pub(super) const fn has_modrm(form: &Form) -> bool {
    let opcode = form.opcode;
    match form.map {
        Map::One => match opcode {
            0x00..=0x3f => opcode & 7 < 4,
            0x62 | 0x63 | 0x69 | 0x6b | 0x80..=0x8f | 0xc0 | 0xc1 | 0xc6 | 0xc7 => true,
            0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => true,
            _ => false,
        },
        Map::Two => !matches!(
            opcode,
            0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0x80..=0x8f | 0xa0..=0xa2
                | 0xa8..=0xaa | 0xc8..=0xcf
        ),
        Map::Vex(1) => opcode != 0x77,
        _ => true,
    }
}

/// Bytes behind the operand: immediates, branch displacements, absolute addresses.
pub(super) const fn immediate_len(form: &Form) -> usize {
    let opcode = form.opcode;
    let wide = form.rex & 8 != 0;
    // An operand of the operand size, but never more than 4 bytes.
    let z = if form.small && !wide { 2 } else { 4 };
    match form.map {
        Map::One => match opcode {
            0x00..=0x3f => match opcode & 7 {
                4 => 1,
                5 => z,
                _ => 0,
            },
            0x68 | 0x69 | 0x81 | 0xa9 | 0xc7 => z,
            0x6a | 0x6b | 0x70..=0x7f | 0x80 | 0x83 | 0xa8 | 0xb0..=0xb7 | 0xc0 | 0xc1 => 1,
            0xc6 | 0xcd | 0xe0..=0xe7 | 0xeb => 1,
            0xa0..=0xa3 if form.short_address => 4,
            0xa0..=0xa3 => 8,
            0xb8..=0xbf if wide => 8,
            0xb8..=0xbf => z,
            0xc2 | 0xca => 2,
            0xc8 => 3,
            0xe8 | 0xe9 => 4, // Intel ignores the operand size here
            0xf6 if form.reg() < 2 => 1,
            0xf7 if form.reg() < 2 => z,
            _ => 0,
        },
        Map::Two => match opcode {
            0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => 1,
            0x78 if form.small || form.rep == 0xf2 => 2, // extrq, insertq
            0x80..=0x8f => 4,
            _ => 0,
        },
        Map::Vex(1) | Map::Evex(1) => match opcode {
            0x70..=0x73 | 0xc2 | 0xc4..=0xc6 => 1,
            _ => 0,
        },
        Map::Three3a | Map::Vex(3) | Map::Evex(3) | Map::Xop(8) => 1,
        Map::Xop(10) => 4,
        _ => 0,
    }
}
