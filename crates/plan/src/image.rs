//! An ELF image: what is code, where functions begin, what points into code.

use alloc::vec::Vec;

use crate::addr::{Span, Va};

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

/// Why a file or mapping cannot be read as an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Not an ELF file at all.
    NotElf,
    /// An ELF file, but not for x86-64, 64-bit, little-endian.
    OtherMachine,
    /// A header points outside the file; `at` is the file offset of the header.
    Truncated {
        /// File offset of the header that points outside.
        at: u64,
    },
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
    /// The segments in order of address.
    pub segments: Vec<Segment<'a>>,
    /// Executable sections in order of address; whole executable segments where there are no section headers.
    pub code: Vec<Span>,
    /// Whether it can be loaded anywhere (`ET_DYN`).
    pub relocatable: bool,
}
