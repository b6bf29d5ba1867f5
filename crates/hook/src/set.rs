//! Sets of system calls.

use hotpatch_abi as abi;

/// A set of system call numbers, made at compile time.
///
/// ```
/// use hotpatch_hook::{SyscallSet, nr};
///
/// const OPENS: SyscallSet = SyscallSet::of(&[nr::OPEN, nr::OPENAT, nr::OPENAT2]);
/// assert!(OPENS.has(nr::OPENAT) && !OPENS.has(nr::READ));
///
/// const MOST: SyscallSet = SyscallSet::all().without(&[nr::FUTEX]);
/// assert!(MOST.has(nr::READ) && MOST.has(100_000) && !MOST.has(nr::FUTEX));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallSet(abi::SyscallSet);

impl SyscallSet {
    /// No number.
    #[must_use]
    pub const fn none() -> Self {
        Self(abi::SyscallSet {
            low: [0; 8],
            others: 0,
        })
    }

    /// Every number, those that no call has too.
    #[must_use]
    pub const fn all() -> Self {
        Self(abi::SyscallSet {
            low: [u64::MAX; 8],
            others: 1,
        })
    }

    /// These numbers.
    ///
    /// # Panics
    /// At compile time, for a number of 512 or more: these are in a set all together or not at all.
    #[must_use]
    pub const fn of(numbers: &[u32]) -> Self {
        Self::none().with(numbers)
    }

    /// These numbers too.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    #[must_use]
    pub const fn with(mut self, numbers: &[u32]) -> Self {
        let mut i = 0;
        while i < numbers.len() {
            let n = numbers[i] as usize;
            assert!(n < 512, "numbers from 512 on cannot be chosen one by one");
            self.0.low[n / 64] |= 1 << (n % 64);
            i += 1;
        }
        self
    }

    /// All but these numbers.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    #[must_use]
    pub const fn without(mut self, numbers: &[u32]) -> Self {
        let mut i = 0;
        while i < numbers.len() {
            let n = numbers[i] as usize;
            assert!(n < 512, "numbers from 512 on cannot be chosen one by one");
            self.0.low[n / 64] &= !(1 << (n % 64));
            i += 1;
        }
        self
    }

    /// Whether a number is in it.
    #[must_use]
    pub const fn has(&self, number: u32) -> bool {
        match number {
            0..512 => self.0.low[number as usize / 64] >> (number % 64) & 1 != 0,
            _ => self.0.others != 0,
        }
    }

    pub(crate) const fn as_abi(self) -> abi::SyscallSet {
        self.0
    }
}
