//! From bytes to an [`Image`]: the file header, program headers and section headers.

use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};

use super::bytes::{half, is_named, part, u16_at, word};
use super::symbols::SymbolTable;
use super::{Image, Malformed, Segment};
use crate::addr::{Span, Va};

const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: u16 = 56;
const SECTION_HEADER: u16 = 64;
/// The end of the half of the address space that programs live in.
const USER_END: u64 = 1 << 47;
const PAGE: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;
const PF_W: u32 = 2;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHT_DYNSYM: u32 = 11;
const SHT_X86_64_UNWIND: u32 = 0x7000_0001;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;

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
    pub(super) gopclntab: Option<Span>,
    pub(super) text: Option<Va>,
    pub(super) restartable: Option<Span>,
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

    fn of_file_header(header: &FileHeader, program_headers: &'a [u8], bias: u64) -> Self {
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

struct FileHeader {
    kind: u16,
    entry: Va,
    phoff: u64,
    phnum: u16,
    shoff: u64,
    shnum: u16,
    shstrndx: u16,
}

impl FileHeader {
    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
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

    fn program_headers<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        part(
            bytes,
            self.phoff,
            u64::from(self.phnum) * u64::from(PROGRAM_HEADER),
        )
        .ok_or(Malformed::Truncated { at: 32 })
    }

    /// Section headers and the index of the one that holds their names. Counts that do not fit into the file
    /// header stand in the first section header (gABI, "ELF Header").
    fn section_headers<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], u32), Malformed> {
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

struct ProgramHeader {
    /// Offset in the table.
    at: usize,
    kind: u32,
    flags: u32,
    offset: u64,
    start: Va,
    file_len: u64,
    memory_len: u64,
}

impl ProgramHeader {
    fn stored(&self) -> Span {
        Span::new(self.start, self.file_len)
    }
}

fn program_headers(table: &[u8]) -> impl Iterator<Item = ProgramHeader> {
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

struct Section<'t> {
    name: u32,
    kind: u32,
    flags: u64,
    start: Va,
    offset: u64,
    len: u64,
    link: u32,
    names: &'t [u8],
}

impl<'t> Section<'t> {
    fn of(header: &[u8], names: &'t [u8]) -> Self {
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

    fn span(&self) -> Span {
        Span::new(self.start, self.len)
    }

    fn is(&self, name: &[u8]) -> bool {
        is_named(self.names, self.name, name)
    }
}

impl<'a> Image<'a> {
    /// Reads an ELF file: a program, a shared object, or the vDSO, which is a whole file in memory.
    ///
    /// # Errors
    /// What is wrong with the headers, and where. Tables that only describe the code (unwind information,
    /// symbols, relocations) are not looked at here: what is wrong in them is taken as not said.
    pub fn from_file(file: &'a [u8]) -> Result<Self, Malformed> {
        let header = FileHeader::read(file)?;
        let table = header.program_headers(file)?;
        let segments = segments_of_file(file, &header, table)?;
        let headers = Headers::of_file_header(&header, table, 0);
        let mut image = Self::new(segments, headers, header.kind);
        image.read_sections(file, &header)?;
        image.add_undescribed_code(|image, code| {
            code.extend(
                image
                    .segments
                    .iter()
                    .filter(|s| s.executable)
                    .map(Segment::stored),
            );
        });
        Ok(image)
    }

    /// Reads an image from the memory it is mapped in.
    ///
    /// `segments` are its readable mappings in order of address, their spans less `bias`, which [`load_bias`]
    /// tells; the first begins with the file header. The loader may or may not have relocated the bytes yet:
    /// a pointer counts as relocated where it makes sense in the image only after `bias` is taken off.
    /// Section headers are not mapped, so all of an executable segment counts as code.
    ///
    /// # Errors
    /// What is wrong with the headers, or with `segments`.
    pub fn from_memory(segments: Vec<Segment<'a>>, bias: u64) -> Result<Self, Malformed> {
        let first = segments.first().ok_or(Malformed::NoSegments)?;
        let header = FileHeader::read(first.bytes)?;
        let table = header.program_headers(first.bytes)?;
        let start = first_page(table)?;
        if first.span.start != start {
            return Err(Malformed::NotMapped { at: start });
        }
        let mut free = Va(0);
        for segment in &segments {
            let Span { start, end } = segment.span;
            if start < free
                || end < start
                || end.0 > USER_END
                || segment.bytes.len() as u64 > segment.span.len()
            {
                return Err(Malformed::NotMapped { at: start });
            }
            free = end;
        }
        let headers = Headers::of_file_header(&header, table, bias);
        let mut image = Self::new(segments, headers, header.kind);
        image.add_undescribed_code(|image, code| {
            for p in program_headers(table).filter(|p| p.kind == PT_LOAD && p.flags & PF_X != 0) {
                // a mapping ends at a page: what follows in its last page is not the segment's
                code.extend(
                    image
                        .segments
                        .iter()
                        .filter(|s| s.executable)
                        .filter_map(|s| {
                            let start = s.span.start.max(p.start);
                            let end = s.stored().end.min(Va(p.start.0.saturating_add(p.file_len)));
                            (start < end).then_some(Span { start, end })
                        }),
                );
            }
        });
        Ok(image)
    }

    fn new(segments: Vec<Segment<'a>>, headers: Headers<'a>, kind: u16) -> Self {
        let stored: u64 = segments.iter().map(|s| s.bytes.len() as u64).sum();
        Self {
            segments,
            code: Vec::new(),
            relocatable: kind == ET_DYN,
            headers,
            frames: OnceCell::new(),
            symbols: OnceCell::new(),
            pclntab: OnceCell::new(),
            text_relocations: OnceCell::new(),
            restartable: OnceCell::new(),
            far_pads: OnceCell::new(),
            lsda_budget: Cell::new(stored.saturating_mul(16).saturating_add(1 << 16)),
        }
    }

    fn read_sections(&mut self, file: &'a [u8], header: &FileHeader) -> Result<(), Malformed> {
        let (table, names) = header.section_headers(file)?;
        let size = usize::from(SECTION_HEADER);
        let section = |index: u32| {
            let at = usize::try_from(index).ok()?.checked_mul(size)?;
            let header = table.get(at..at.checked_add(size)?)?;
            let section = Section::of(header, &[]);
            part(file, section.offset, section.len)
        };
        let names = section(names).unwrap_or(&[]);
        self.headers.sections = !table.is_empty();
        for (index, header) in table.chunks_exact(size).enumerate() {
            let s = Section::of(header, names);
            if s.kind == 0 || s.kind == SHT_NOBITS {
                continue;
            }
            let bytes = part(file, s.offset, s.len).ok_or(Malformed::Truncated {
                // a sum of two values that were both found to lie in the file
                at: (table.as_ptr().addr() - file.as_ptr().addr() + index * size) as u64,
            })?;
            match s.kind {
                SHT_SYMTAB => {
                    self.headers.symtab =
                        section(s.link).map(|names| SymbolTable::new(bytes, names));
                }
                SHT_DYNSYM => {
                    self.headers.dynsym =
                        section(s.link).map(|names| SymbolTable::new(bytes, names));
                }
                // ascending alone: the same table a thousand times would cost a thousand times
                SHT_RELA
                    if s.flags & SHF_ALLOC != 0
                        && self
                            .headers
                            .rela
                            .last()
                            .is_none_or(|last| last.end <= s.start) =>
                {
                    self.headers.rela.push(s.span());
                }
                SHT_PROGBITS | SHT_X86_64_UNWIND if s.flags & SHF_ALLOC != 0 => {
                    self.read_section(&s)
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_section(&mut self, s: &Section) {
        if s.flags & SHF_EXECINSTR != 0 {
            if s.is(b".text") {
                self.headers.text = Some(s.start);
            }
            // the segment says what is mapped; a section only says what in it is code
            if let Some(segment) = self
                .segment_at(s.start)
                .filter(|segment| segment.executable)
            {
                let end = segment
                    .stored()
                    .end
                    .min(Va(s.start.0.saturating_add(s.len)));
                if s.start < end {
                    self.code.push(Span {
                        start: s.start,
                        end,
                    });
                }
            }
        } else if s.is(b".eh_frame") {
            self.headers.eh_frame = Some(s.span());
        } else if s.is(b".gopclntab") || s.is(b".data.rel.ro.gopclntab") {
            self.headers.gopclntab = Some(s.span());
        } else if s.is(b"__rseq_cs") {
            self.headers.restartable = Some(s.span());
        }
    }

    /// Adds executable segments that no section speaks of, as `describe` lists them, and brings all code into
    /// order without overlaps.
    fn add_undescribed_code(&mut self, describe: impl Fn(&Self, &mut Vec<Span>)) {
        self.code.sort_unstable();
        let mut undescribed = Vec::new();
        describe(self, &mut undescribed);
        undescribed.retain(|whole| {
            let first = self.code.partition_point(|c| c.start < whole.start);
            !whole.is_empty() && self.code.get(first).is_none_or(|c| c.start >= whole.end)
        });
        if !undescribed.is_empty() {
            self.code.append(&mut undescribed);
            self.code.sort_unstable();
        }
        self.code.dedup_by(|next, kept| {
            let overlap = next.start < kept.end;
            if overlap {
                kept.end = kept.end.max(next.end);
            }
            overlap
        });
    }
}

fn segments_of_file<'a>(
    file: &'a [u8],
    header: &FileHeader,
    table: &[u8],
) -> Result<Vec<Segment<'a>>, Malformed> {
    let mut segments = Vec::with_capacity(8);
    let mut free = Va(0);
    let mut mapped = 0_u64;
    for p in program_headers(table).filter(|p| p.kind == PT_LOAD && p.memory_len != 0) {
        let at = header.phoff.saturating_add(p.at as u64);
        let end = p
            .start
            .0
            .checked_add(p.memory_len)
            .filter(|&end| end <= USER_END);
        let end = Va(end
            .filter(|_| p.file_len <= p.memory_len)
            .ok_or(Malformed::BadSegment { at })?);
        if p.start < free {
            return Err(Malformed::Overlap { at });
        }
        free = end;
        let bytes = part(file, p.offset, p.file_len).ok_or(Malformed::Truncated { at })?;
        mapped = mapped.saturating_add(p.file_len);
        segments.push(Segment {
            span: Span {
                start: p.start,
                end,
            },
            bytes,
            writable: p.flags & PF_W != 0,
            executable: p.flags & PF_X != 0,
        });
    }
    if segments.is_empty() {
        return Err(Malformed::NoSegments);
    }
    // linkers map the pages at the seams of segments twice, never a whole file
    if mapped > (file.len() as u64).saturating_mul(2) {
        return Err(Malformed::Inflated);
    }
    Ok(segments)
}

/// The address that the file's first page is linked for.
fn first_page(table: &[u8]) -> Result<Va, Malformed> {
    program_headers(table)
        .find(|p| p.kind == PT_LOAD && p.offset < PAGE)
        .map(|p| Va((p.start - p.offset).0 & !(PAGE - 1)))
        .ok_or(Malformed::NoSegments)
}

/// What to take off addresses of an image that is mapped at `mapped_at` (where its file's first byte lies),
/// to get those its file states. `header` is the start of that mapping.
///
/// # Errors
/// What is wrong with the headers.
pub fn load_bias(header: &[u8], mapped_at: u64) -> Result<u64, Malformed> {
    let file_header = FileHeader::read(header)?;
    Ok(mapped_at.wrapping_sub(first_page(file_header.program_headers(header)?)?.0))
}
