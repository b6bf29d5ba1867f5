//! An ELF image: what is code, where functions begin, what points into code.
//!
//! Opening one reads its headers and nothing else. Tables are searched where they lie; what has to be
//! gathered first (symbols, relocations of code) is gathered when it is first asked for. All of it may
//! come from a hostile file: every table is bounded by the bytes that are really there.

mod bytes;
mod frames;
mod functions;
mod headers;
mod lsda;
mod malformed;
mod parse;
mod pclntab;
mod relocs;
mod symbols;

use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};

use crate::addr::{Span, Va};

pub use malformed::Malformed;
pub use parse::load_bias;

/// One `PT_LOAD` segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Where the file says it is mapped, and for how long.
    pub span: Span,
    /// Its first bytes (shorter than `span` where the rest is zero-filled).
    pub bytes: &'a [u8],
    /// `PF_W` is set.
    pub writable: bool,
    /// `PF_X` is set.
    pub executable: bool,
}

impl Segment<'_> {
    /// The bytes that are there, without the zero-filled rest.
    #[must_use]
    pub fn stored(&self) -> Span {
        Span::new(self.span.start, self.bytes.len() as u64)
    }
}

/// Where the bounds of a function come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FunctionSource {
    /// An FDE of `.eh_frame`.
    Fde,
    /// A symbol of type FUNC with a size.
    Symbol,
    /// Go's `pclntab`.
    Pclntab,
}

/// A function's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its bytes.
    pub span: Span,
    /// Who says so.
    pub source: FunctionSource,
}

/// An image, borrowed from a file or from the memory it is mapped in.
#[derive(Debug)]
pub struct Image<'a> {
    /// The segments in order of address; no two share a byte.
    pub segments: Vec<Segment<'a>>,
    /// Executable sections in order of address, no two sharing a byte; all bytes of an executable segment
    /// where no section headers speak of it.
    pub code: Vec<Span>,
    /// Whether it can be loaded anywhere (`ET_DYN`).
    pub relocatable: bool,
    headers: headers::Headers<'a>,
    /// The last answers of `segment_at`, `code_at` and `fde_at`: most questions come in runs about one place.
    recent_segment: Cell<usize>,
    recent_code: Cell<usize>,
    recent_fde: Cell<Option<frames::Fde>>,
    /// The last CIE that was read, and where.
    recent_cie: Cell<Option<(Va, frames::Cie)>>,
    frames: OnceCell<frames::Frames<'a>>,
    symbols: OnceCell<symbols::Symbols<'a>>,
    pclntab: OnceCell<Option<pclntab::Pclntab<'a>>>,
    text_relocations: OnceCell<Vec<Span>>,
    restartable: OnceCell<Vec<Restartable>>,
    far_pads: OnceCell<Option<Vec<Va>>>,
    /// What may still be spent on reading exception tables: a hostile file can point all of its functions
    /// at one long table.
    lsda_budget: Cell<u64>,
}

/// A restartable sequence: an interruption inside `span` continues at `abort`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restartable {
    /// The instructions that must run without interruption.
    pub span: Span,
    /// Where the kernel sends the thread otherwise; the four bytes before it are a signature, not code.
    pub abort: Va,
}

impl<'a> Image<'a> {
    /// From the first byte of the first segment to the last of the last.
    #[must_use]
    pub fn span(&self) -> Span {
        match (self.segments.first(), self.segments.last()) {
            (Some(first), Some(last)) => Span {
                start: first.span.start,
                end: last.span.end,
            },
            _ => Span::new(Va(0), 0),
        }
    }

    /// The segment that `at` lies in.
    #[must_use]
    pub fn segment_at(&self, at: Va) -> Option<&Segment<'a>> {
        let recent = self.segments.get(self.recent_segment.get());
        recent.filter(|s| s.span.contains(at)).or_else(|| {
            let index = self
                .segments
                .partition_point(|s| s.span.start <= at)
                .checked_sub(1)?;
            let segment = self.segments.get(index).filter(|s| s.span.contains(at))?;
            self.recent_segment.set(index);
            Some(segment)
        })
    }

    /// The stored bytes from `at` to the end of its segment.
    #[must_use]
    pub fn tail(&self, at: Va) -> Option<&'a [u8]> {
        let segment = self.segment_at(at)?;
        segment
            .bytes
            .get(usize::try_from((at - segment.span.start.0).0).ok()?..)
    }

    /// `len` stored bytes from `at`; `None` where not all of them lie in one segment's stored bytes.
    #[must_use]
    pub fn read(&self, at: Va, len: usize) -> Option<&'a [u8]> {
        self.tail(at)?.get(..len)
    }

    /// The bytes of `span`, as [`Image::read`].
    #[must_use]
    pub fn bytes(&self, span: Span) -> Option<&'a [u8]> {
        self.read(span.start, usize::try_from(span.len()).ok()?)
    }

    /// The element of [`Image::code`] that holds `at`.
    #[must_use]
    pub fn code_at(&self, at: Va) -> Option<Span> {
        let recent = self.code.get(self.recent_code.get());
        let code = recent.filter(|c| c.contains(at)).or_else(|| {
            let index = self
                .code
                .partition_point(|c| c.start <= at)
                .checked_sub(1)?;
            let code = self.code.get(index).filter(|c| c.contains(at))?;
            self.recent_code.set(index);
            Some(code)
        });
        code.copied()
    }

    /// Whether `at` lies in code.
    #[must_use]
    pub fn is_code(&self, at: Va) -> bool {
        self.code_at(at).is_some()
    }

    /// Whether section headers said what is code. Where not, code may hold data.
    #[must_use]
    pub fn has_section_headers(&self) -> bool {
        self.headers.sections
    }

    /// The address that the file's header names as its entry; 0 in many shared objects.
    #[must_use]
    pub fn entry(&self) -> Va {
        self.headers.entry
    }

    /// The description of the `NT_GNU_BUILD_ID` note, mostly 20 bytes.
    #[must_use]
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.headers.notes().find_map(|span| {
            let mut rest = bytes::Reader::new(self.bytes(span)?, span.start);
            loop {
                let (name, desc, kind) = (rest.u32()?, rest.u32()?, rest.u32()?);
                let name = rest.take(u64::from(name).next_multiple_of(4))?;
                let value = rest.rest.get(..usize::try_from(desc).ok()?)?;
                if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
                    return Some(value);
                }
                rest.take(u64::from(desc).next_multiple_of(4))?;
            }
        })
    }
}

const NT_GNU_BUILD_ID: u32 = 3;
