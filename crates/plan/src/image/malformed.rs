//! What can be wrong with a file, in words.

use core::fmt;

use crate::addr::Va;

/// Why a file or mapping cannot be read as an image. Every `at` is an offset into the file (into the
/// first segment, for an image in memory).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Not an ELF file at all.
    NotElf,
    /// An ELF file, but not for x86-64, 64-bit, little-endian.
    OtherMachine,
    /// Not an executable or shared object: `e_type` is another.
    NotLoadable {
        /// The `e_type`.
        kind: u16,
    },
    /// A header points outside the file; `at` is the file offset of the header.
    Truncated {
        /// File offset of the header that points outside.
        at: u64,
    },
    /// A table whose entries have another size than the format gives them.
    EntrySize {
        /// File offset of the field that states it.
        at: u64,
    },
    /// No `PT_LOAD` segment: there is nothing to run.
    NoSegments,
    /// A segment with more bytes in the file than in memory, or beyond the user's half of the address space.
    BadSegment {
        /// File offset of its program header.
        at: u64,
    },
    /// A segment that begins before the one before it ends.
    Overlap {
        /// File offset of its program header.
        at: u64,
    },
    /// The segments map the file's bytes many times over, as no linker does.
    Inflated,
    /// The bytes of memory do not belong to the segments that the header describes.
    NotMapped {
        /// The segment that is not where it should be.
        at: Va,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF file"),
            Self::OtherMachine => write!(f, "an ELF file, but not a 64-bit one for x86-64"),
            Self::NotLoadable { kind: 1 } => {
                write!(f, "an object file that is not linked yet (ET_REL)")
            }
            Self::NotLoadable { kind: 4 } => write!(f, "a core dump (ET_CORE)"),
            Self::NotLoadable { kind } => {
                write!(
                    f,
                    "neither an executable nor a shared object (e_type is {kind})"
                )
            }
            Self::Truncated { at } => {
                write!(
                    f,
                    "truncated: the header at file offset {at:#x} points past the end of the file"
                )
            }
            Self::EntrySize { at } => {
                write!(
                    f,
                    "the table entry size at file offset {at:#x} is not what ELF says"
                )
            }
            Self::NoSegments => write!(f, "no segment to load (PT_LOAD)"),
            Self::BadSegment { at } => write!(
                f,
                "the segment described at file offset {at:#x} does not fit into a process's memory"
            ),
            Self::Overlap { at } => write!(
                f,
                "the segment described at file offset {at:#x} begins before the one before it ends"
            ),
            Self::Inflated => write!(f, "the segments map the file's bytes many times over"),
            Self::NotMapped { at } => {
                write!(f, "the segment at {at} is not in the memory that was given")
            }
        }
    }
}

impl core::error::Error for Malformed {}
