//! Why a file is no hook.

use core::fmt;

use hotpatch_abi::{ABI, Hook, SYMBOL};

/// Why a file is no hook for this library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused<'a> {
    /// Not an ELF file.
    NotElf,
    /// ELF, but not for 64 bits.
    NotElf64,
    /// For another machine: its number.
    Machine(u16),
    /// Not a shared object: `e_type`.
    NotShared(u16),
    /// Contradicts itself.
    Damaged(&'static str),
    /// Needs a symbol that it does not define.
    Undefined(&'a [u8]),
    /// Has thread-local variables.
    ThreadLocal,
    /// Has functions to be run before or after all others.
    Constructors,
    /// A segment is writable and executable.
    WriteExecute,
    /// A relocation changes what is not writable.
    TextRelocation {
        /// The address it changes.
        at: u64,
    },
    /// A relocation of a kind that freestanding code does not have.
    Relocation {
        /// Its number in the processor's ABI.
        kind: u32,
        /// The address it changes.
        at: u64,
    },
    /// An instruction touches vector or floating-point registers.
    Vectors {
        /// Its address.
        at: u64,
    },
    /// Does not export [`SYMBOL`].
    NoSymbol,
    /// Speaks another version of the interface.
    Abi(u32),
    /// Its [`Hook`] is shorter than this version has it.
    Size(u32),
    /// A field of its [`Hook`] is null or points to no code.
    Pointer(&'static str),
    /// A field of its [`Hook`] has a value without meaning.
    Value(&'static str),
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::NotElf64 => f.write_str("not a 64-bit ELF file"),
            Self::Machine(number) => write!(f, "for another machine (number {number})"),
            Self::NotShared(1) => f.write_str("an object file, to be linked with -shared"),
            Self::NotShared(2) => f.write_str("a program, not a shared object"),
            Self::NotShared(kind) => write!(f, "not a shared object (type {kind})"),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Undefined(name) => write!(
                f,
                "needs the symbol `{}`, which it does not define, nor does it name a library that could",
                name.escape_ascii()
            ),
            Self::ThreadLocal => f.write_str("has thread-local variables; a hook has its slot"),
            Self::Constructors => {
                f.write_str("has constructors or destructors; a hook has `start` and `event`")
            }
            Self::WriteExecute => f.write_str("has a segment that is writable and executable"),
            Self::TextRelocation { at } => {
                write!(
                    f,
                    "has a relocation in read-only memory, at {at:#x}: compile it with -fPIC"
                )
            }
            Self::Relocation { kind, at } => {
                write!(f, "has a relocation of unknown kind {kind}, at {at:#x}")
            }
            Self::Vectors { at } => write!(
                f,
                "uses vector registers, which are the program's, at {at:#x}: compile it with -mgeneral-regs-only"
            ),
            Self::NoSymbol => write!(f, "exports no symbol `{SYMBOL}`"),
            Self::Abi(found) => write!(f, "for version {found} of the interface; this is {ABI}"),
            Self::Size(found) => write!(
                f,
                "its `{SYMBOL}` has {found} bytes of {}",
                size_of::<Hook>()
            ),
            Self::Pointer(field) => write!(
                f,
                "`{field}` of its `{SYMBOL}` points to no code of its own"
            ),
            Self::Value(field) => {
                write!(f, "`{field}` of its `{SYMBOL}` has a value without meaning")
            }
        }
    }
}
