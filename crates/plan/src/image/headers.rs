//! The fixed records of ELF: file header, program headers, section headers (gABI, chapters 4 and 5).

use alloc::vec::Vec;

use super::Malformed;
use super::bytes::{half, is_named, part, u16_at, word};
use super::symbols::SymbolTable;
use crate::addr::{Span, Va};

const FILE_HEADER: usize = 64;
pub(super) const PROGRAM_HEADER: u16 = 56;
pub(super) const SECTION_HEADER: u16 = 64;

const ET_EXEC: u16 = 2;
pub(super) const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;

pub(super) const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
pub(super) const PF_X: u32 = 1;
pub(super) const PF_W: u32 = 2;

/// What the headers say, apart from segments and code.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) entry: Va,
    /// What was added to the pointers in the bytes, where they are memory; 0 for a file.
    pub(super) bias: u64,
    pub(super) sections: bool,
    pub(super) dynamic: Option<Span>,
    pub(super) eh_frame_hdr: Option<Span>,
    pub(super) eh_frame: Option<Span>,
    pub(super) symtab: Option<SymbolTable<'a>>,
    pub(super) dynsym: Option<SymbolTable<'a>>,
    /// It was linked by Go, which leaves a section that says so.
    pub(super) go: bool,
    pub(super) gopclntab: Option<Span>,
    pub(super) text: Option<Va>,
    pub(super) restartable: Option<Span>,
    /// The notes of SystemTap's probes, in a file: they are not loaded.
    pub(super) probes: &'a [u8],
    /// Relocation sections that are loaded: what a static program, which has no `PT_DYNAMIC`, applies itself.
    pub(super) rela: Vec<Span>,
    program_headers: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Where notes lie. A file has three or four; sixteen bound what a hostile one can cost.
    pub(super) fn notes(&self) -> impl Iterator<Item = Span> + '_ {
        program_headers(self.program_headers)
            .filter(|p| p.kind == PT_NOTE)
            .map(|p| p.stored())
            .take(16)
    }

    /// Of bytes that have none, and are all code.
    pub(super) fn none() -> Self {
        Self {
            sections: true,
            ..Self::default()
        }
    }

    pub(super) fn of_file_header(
        header: &FileHeader,
        program_headers: &'a [u8],
        bias: u64,
    ) -> Self {
        let mut headers = Self {
            entry: header.entry,
            bias,
            program_headers,
            ..Self::default()
        };
        for p in self::program_headers(program_headers) {
            match p.kind {
                PT_DYNAMIC => headers.dynamic = Some(p.stored()),
                PT_GNU_EH_FRAME => headers.eh_frame_hdr = Some(p.stored()),
                _ => {}
            }
        }
        headers
    }
}

pub(super) struct FileHeader {
    pub(super) kind: u16,
    pub(super) entry: Va,
    pub(super) phoff: u64,
    pub(super) phnum: u16,
    pub(super) shoff: u64,
    pub(super) shnum: u16,
    pub(super) shstrndx: u16,
}

impl FileHeader {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Malformed::NotElf);
        }
        let header = bytes
            .get(..FILE_HEADER)
            .ok_or(Malformed::Truncated { at: 0 })?;
        let short = |at| u16_at(header, at).unwrap_or(0);
        // EI_CLASS 64-bit, EI_DATA little-endian
        if header[4] != 2 || header[5] != 1 || short(18) != EM_X86_64 {
            return Err(Malformed::OtherMachine);
        }
        let kind = short(16);
        if kind != ET_EXEC && kind != ET_DYN {
            return Err(Malformed::NotLoadable { kind });
        }
        if short(56) != 0 && short(54) != PROGRAM_HEADER {
            return Err(Malformed::EntrySize { at: 54 });
        }
        let shoff = word(header, 40);
        if shoff != 0 && short(58) != SECTION_HEADER {
            return Err(Malformed::EntrySize { at: 58 });
        }
        Ok(Self {
            kind,
            entry: Va(word(header, 24)),
            phoff: word(header, 32),
            phnum: short(56),
            shoff,
            shnum: short(60),
            shstrndx: short(62),
        })
    }

    pub(super) fn program_headers<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        part(
            bytes,
            self.phoff,
            u64::from(self.phnum) * u64::from(PROGRAM_HEADER),
        )
        .ok_or(Malformed::Truncated { at: 32 })
    }

    /// Section headers and the index of the one that holds their names. Counts that do not fit into the file
    /// header stand in the first section header (gABI, "ELF Header").
    pub(super) fn section_headers<'a>(
        &self,
        bytes: &'a [u8],
    ) -> Result<(&'a [u8], u32), Malformed> {
        let truncated = Malformed::Truncated { at: 40 };
        if self.shoff == 0 {
            return Ok((&[], 0));
        }
        let size = u64::from(SECTION_HEADER);
        let first = part(bytes, self.shoff, size).ok_or(truncated)?;
        let count = if self.shnum == 0 {
            word(first, 32)
        } else {
            u64::from(self.shnum)
        };
        let names = if self.shstrndx == u16::MAX {
            half(first, 40)
        } else {
            u32::from(self.shstrndx)
        };
        let len = count.checked_mul(size).ok_or(truncated)?;
        Ok((part(bytes, self.shoff, len).ok_or(truncated)?, names))
    }
}

pub(super) struct ProgramHeader {
    /// Offset in the table.
    pub(super) at: usize,
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) start: Va,
    pub(super) file_len: u64,
    pub(super) memory_len: u64,
}

impl ProgramHeader {
    pub(super) fn stored(&self) -> Span {
        Span::new(self.start, self.file_len)
    }
}

/// The program headers of a table.
pub(super) fn program_headers(table: &[u8]) -> impl Iterator<Item = ProgramHeader> {
    let size = usize::from(PROGRAM_HEADER);
    table
        .chunks_exact(size)
        .enumerate()
        .map(move |(index, p)| ProgramHeader {
            at: index * size,
            kind: half(p, 0),
            flags: half(p, 4),
            offset: word(p, 8),
            start: Va(word(p, 16)),
            file_len: word(p, 32),
            memory_len: word(p, 40),
        })
}

pub(super) struct Section<'t> {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) start: Va,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) link: u32,
    pub(super) names: &'t [u8],
}

impl<'t> Section<'t> {
    pub(super) fn of(header: &[u8], names: &'t [u8]) -> Self {
        Self {
            name: half(header, 0),
            kind: half(header, 4),
            flags: word(header, 8),
            start: Va(word(header, 16)),
            offset: word(header, 24),
            len: word(header, 32),
            link: half(header, 40),
            names,
        }
    }

    pub(super) fn span(&self) -> Span {
        Span::new(self.start, self.len)
    }

    pub(super) fn is(&self, name: &[u8]) -> bool {
        is_named(self.names, self.name, name)
    }
}
