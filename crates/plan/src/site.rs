//! Which instructions are sites, and what is known of one before it is decided how it is reached.

use crate::addr::{Span, Va};

/// What a site's instruction is. The numbers are those of `hotpatch_abi::kind`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum SiteKind {
    /// `syscall`
    Syscall = 0,
    /// `int $0x80`
    Int80 = 1,
    /// `sysenter`
    Sysenter = 2,
    /// `rdtsc`
    Rdtsc = 3,
    /// `rdtscp`
    Rdtscp = 4,
    /// `cpuid`
    Cpuid = 5,
    /// `rdrand`
    Rdrand = 6,
    /// `rdseed`
    Rdseed = 7,
    /// `xgetbv`
    Xgetbv = 8,
    /// `rdgsbase`
    Rdgsbase = 9,
    /// `wrgsbase`
    Wrgsbase = 10,
}

impl SiteKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
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

    /// The two bytes that its opcode begins with.
    #[must_use]
    pub const fn pair(self) -> (u8, u8) {
        match self {
            Self::Syscall => (0x0f, 0x05),
            Self::Int80 => (0xcd, 0x80),
            Self::Sysenter => (0x0f, 0x34),
            Self::Rdtsc => (0x0f, 0x31),
            Self::Rdtscp | Self::Xgetbv => (0x0f, 0x01),
            Self::Cpuid => (0x0f, 0xa2),
            Self::Rdrand | Self::Rdseed => (0x0f, 0xc7),
            Self::Rdgsbase | Self::Wrgsbase => (0x0f, 0xae),
        }
    }

    /// The name used in settings and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Int80 => "int80",
            Self::Sysenter => "sysenter",
            Self::Rdtsc => "rdtsc",
            Self::Rdtscp => "rdtscp",
            Self::Cpuid => "cpuid",
            Self::Rdrand => "rdrand",
            Self::Rdseed => "rdseed",
            Self::Xgetbv => "xgetbv",
            Self::Rdgsbase => "rdgsbase",
            Self::Wrgsbase => "wrgsbase",
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u16);

impl Kinds {
    /// `syscall` alone.
    pub const SYSCALL: Self = Self::NONE.with(SiteKind::Syscall);
    /// What tells a program where `gs` leads, or changes it.
    pub const GS: Self = Self::NONE.with(SiteKind::Rdgsbase).with(SiteKind::Wrgsbase);
    /// No kind.
    pub const NONE: Self = Self(0);

    /// The set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: SiteKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set whose kinds are the bits `1 << kind` of `bits`; other bits mean nothing.
    #[must_use]
    pub fn of_bits(bits: u64) -> Self {
        SiteKind::ALL
            .into_iter()
            .filter(|&kind| bits >> kind as u8 & 1 != 0)
            .fold(Self::NONE, Self::with)
    }

    /// Whether `kind` is in it.
    #[must_use]
    pub const fn has(self, kind: SiteKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether a kind other than those of `but` is in it.
    #[must_use]
    pub const fn has_others(self, but: Self) -> bool {
        self.0 & !but.0 != 0
    }

    /// Reads names separated by commas: `rdtsc,cpuid`.
    ///
    /// # Errors
    /// The first word that is no kind's name.
    pub fn parse(words: &str) -> Result<Self, &str> {
        words
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .try_fold(Self::NONE, |set, word| {
                let kind = SiteKind::ALL.iter().find(|kind| kind.name() == word);
                kind.map(|&kind| set.with(kind)).ok_or(word)
            })
    }
}

/// An instruction that can become a site.
///
/// Its symbol and its bytes are [`Image::symbol_at`](crate::image::Image::symbol_at) and
/// [`Image::bytes`](crate::image::Image::bytes): looked up only for those who ask.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// Its address.
    pub at: Va,
    /// What it is.
    pub kind: SiteKind,
    /// Length in bytes: 2 to 5.
    pub len: u8,
    /// Whether it is to be patched.
    pub selected: bool,
}

impl Candidate {
    /// Its bytes' place.
    #[must_use]
    pub fn span(&self) -> Span {
        Span::new(self.at, u64::from(self.len))
    }

    /// The address after it.
    #[must_use]
    pub fn end(&self) -> Va {
        self.at + u64::from(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_numbers_of_the_border() {
        use hotpatch_abi::kind;
        let border = [
            kind::SYSCALL,
            kind::INT80,
            kind::SYSENTER,
            kind::RDTSC,
            kind::RDTSCP,
            kind::CPUID,
            kind::RDRAND,
            kind::RDSEED,
            kind::XGETBV,
            kind::RDGSBASE,
            kind::WRGSBASE,
        ];
        assert_eq!(SiteKind::ALL.map(|kind| kind as u32), border);
    }

    #[test]
    fn sets_are_read_from_names_and_bits() {
        let set = Kinds::parse("rdtsc, cpuid").unwrap();
        assert_eq!(set, Kinds::of_bits(1 << 3 | 1 << 5 | 1 << 60));
        assert!(set.has(SiteKind::Cpuid) && !set.has(SiteKind::Syscall));
        assert_eq!(Kinds::parse("rdtsc,ud2"), Err("ud2"));
    }
}
