//! Instructions of the program.

use core::ffi::CStr;

use hotpatch_abi::{self as abi, kind};

/// Which instruction a site is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[repr(u32)]
pub enum Kind {
    /// `syscall`
    Syscall = kind::SYSCALL,
    /// `int $0x80`
    Int80 = kind::INT80,
    /// `sysenter`
    Sysenter = kind::SYSENTER,
    /// `rdtsc`
    Rdtsc = kind::RDTSC,
    /// `rdtscp`
    Rdtscp = kind::RDTSCP,
    /// `cpuid`
    Cpuid = kind::CPUID,
    /// `rdrand`
    Rdrand = kind::RDRAND,
    /// `rdseed`
    Rdseed = kind::RDSEED,
    /// `xgetbv`
    Xgetbv = kind::XGETBV,
    /// `rdgsbase`
    Rdgsbase = kind::RDGSBASE,
    /// `wrgsbase`: what it has set is the program's, and no hook is called behind it.
    Wrgsbase = kind::WRGSBASE,
    /// One that this version does not know.
    Other = u32::MAX,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Syscall,
        Self::Int80,
        Self::Sysenter,
        Self::Rdtsc,
        Self::Rdtscp,
        Self::Cpuid,
        Self::Rdrand,
        Self::Rdseed,
        Self::Xgetbv,
        Self::Rdgsbase,
        Self::Wrgsbase,
    ];
}

/// A set of kinds of instruction.
///
/// ```
/// use hotpatch_hook::{Kind, Kinds};
/// const CLOCKS: Kinds = Kinds::of(&[Kind::Syscall, Kind::Rdtsc, Kind::Rdtscp]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u64);

impl Kinds {
    /// `syscall` alone.
    pub const SYSCALL: Self = Self::of(&[Kind::Syscall]);

    /// These kinds.
    ///
    /// # Panics
    /// At compile time, for [`Kind::Other`].
    #[must_use]
    pub const fn of(kinds: &[Kind]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < kinds.len() {
            assert!((kinds[i] as u32) < 64, "not a kind that can be chosen");
            bits |= 1 << kinds[i] as u32;
            i += 1;
        }
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }
}

/// An instruction of the program, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a>(&'a abi::Site);

impl<'a> Site<'a> {
    /// From the interface's.
    #[must_use]
    pub const fn new(site: &'a abi::Site) -> Self {
        Self(site)
    }

    /// As the interface has it: a pointer to it can be kept in a static.
    #[must_use]
    pub const fn as_abi(self) -> &'a abi::Site {
        self.0
    }

    /// Its address in this process.
    #[must_use]
    pub fn address(self) -> u64 {
        self.0.address
    }

    /// Its place in the file, in bytes.
    #[must_use]
    pub fn offset(self) -> u64 {
        self.0.offset
    }

    /// Absolute path of the file, or `[vdso]`.
    #[must_use]
    pub fn file(self) -> &'a [u8] {
        Self::text(self.0.file).unwrap_or(b"")
    }

    /// The function it is in, and how many bytes behind its start.
    #[must_use]
    pub fn symbol(self) -> Option<(&'a [u8], u64)> {
        Self::text(self.0.symbol).map(|name| (name, self.0.symbol_offset))
    }

    fn text(text: *const core::ffi::c_char) -> Option<&'a [u8]> {
        // SAFETY: the runtime's strings end with a zero and live as long as their site.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
    }

    /// Which instruction it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        let this = |kind: &Kind| *kind as u32 == self.0.kind;
        Kind::ALL.into_iter().find(this).unwrap_or(Kind::Other)
    }

    /// Counts the sites of the process from 0.
    #[must_use]
    pub fn id(self) -> u32 {
        self.0.id
    }

    /// The instruction.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0.bytes.get(..usize::from(self.0.len)).unwrap_or(&[])
    }
}
