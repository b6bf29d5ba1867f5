//! From bytes to an [`Image`].

use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};

use super::bytes::part;
use super::headers::{
    ET_DYN, FileHeader, Headers, PF_W, PF_X, PT_LOAD, ProgramHeader, SECTION_HEADER, Section,
    program_headers,
};
use super::symbols::SymbolTable;
use super::{Image, Malformed, Segment};
use crate::addr::{Span, Va};

/// The end of the half of the address space that programs live in.
const USER_END: u64 = 1 << 47;
const PAGE: u64 = 4096;

const SHT_PROGBITS: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
const SHT_DYNSYM: u32 = 11;
const SHT_X86_64_UNWIND: u32 = 0x7000_0001;
const SHT_NOTE: u32 = 7;
const SHF_ALLOC: u64 = 2;
const SHF_EXECINSTR: u64 = 4;

impl<'a> Image<'a> {
    /// Reads an ELF file: a program, a shared object, or the vDSO, which is a whole file in memory.
    ///
    /// # Errors
    /// What is wrong with the headers, and where. Tables that only describe the code (unwind information,
    /// symbols, relocations) are not looked at here: what is wrong in them is taken as not said.
    pub fn from_file(file: &'a [u8]) -> Result<Self, Malformed> {
        let header = FileHeader::read(file)?;
        let table = header.program_headers(file)?;
        let segments = segments(&header, table, |p| part(file, p.offset, p.file_len))?;
        let mapped: u64 = segments.iter().map(|s| s.bytes.len() as u64).sum();
        // linkers map the pages at the seams of segments twice, never a whole file
        if mapped > (file.len() as u64).saturating_mul(2) {
            return Err(Malformed::Inflated);
        }
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

    /// Reads the headers of a mapped image, for a plan that is known already.
    ///
    /// `header` begins with the file header. `code` answers with the bytes of an executable segment, when told where
    /// they lie in the image and in the file; others are left without bytes. All of an executable segment counts
    /// as code.
    ///
    /// # Errors
    /// What is wrong with the headers; [`Malformed::Truncated`] where `code` has no answer.
    pub fn from_headers(
        header: &'a [u8],
        mut code: impl FnMut(Span, u64) -> Option<&'a [u8]>,
    ) -> Result<Self, Malformed> {
        let file_header = FileHeader::read(header)?;
        let table = file_header.program_headers(header)?;
        let segments = segments(&file_header, table, |p| match p.flags & PF_X {
            0 => Some(&[][..]),
            _ => code(p.stored(), p.offset),
        })?;
        let headers = Headers::of_file_header(&file_header, table, 0);
        let mut image = Self::new(segments, headers, file_header.kind);
        let executable = image.segments.iter().filter(|s| s.executable);
        image.code = executable.map(Segment::stored).collect();
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

    /// Code that a program has generated, at `at` in the process: no headers, no names, no bounds of functions.
    #[must_use]
    pub fn generated(bytes: &'a [u8], at: Va) -> Self {
        let segment = Segment {
            span: Span::new(at, bytes.len() as u64),
            bytes,
            writable: false,
            executable: true,
        };
        let mut image = Self::new(alloc::vec![segment], Headers::none(), ET_DYN);
        image.code.push(segment.span);
        image.generated = true;
        image
    }

    fn new(segments: Vec<Segment<'a>>, headers: Headers<'a>, kind: u16) -> Self {
        let stored: u64 = segments.iter().map(|s| s.bytes.len() as u64).sum();
        Self {
            segments,
            code: Vec::new(),
            generated: false,
            relocatable: kind == ET_DYN,
            headers,
            recent_segment: Cell::new(0),
            recent_code: Cell::new(0),
            recent_cie: Cell::new(None),
            recent_fde: Cell::new(None),
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
                SHT_NOTE if s.is(b".note.stapsdt") => self.headers.probes = bytes,
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
        } else if s.is(b".go.buildinfo") {
            self.headers.go = true;
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

/// What is loaded, in order of address, without overlaps; `bytes` answers with what is stored of each.
fn segments<'a>(
    header: &FileHeader,
    table: &[u8],
    mut bytes: impl FnMut(&ProgramHeader) -> Option<&'a [u8]>,
) -> Result<Vec<Segment<'a>>, Malformed> {
    let mut segments = Vec::with_capacity(8);
    let mut free = Va(0);
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
        segments.push(Segment {
            span: Span {
                start: p.start,
                end,
            },
            bytes: bytes(&p).ok_or(Malformed::Truncated { at })?,
            writable: p.flags & PF_W != 0,
            executable: p.flags & PF_X != 0,
        });
    }
    if segments.is_empty() {
        return Err(Malformed::NoSegments);
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
