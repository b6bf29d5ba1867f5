//! Sets of constants: flags that are or-ed, and enumerations.

mod file;
mod ioctls;
mod memory;
mod net;
mod process;
mod signals;
mod terminal;
mod time;

pub use file::*;
pub use ioctls::*;
pub use memory::*;
pub use net::*;
pub use process::*;
pub use signals::*;
pub use terminal::*;
pub use time::*;

/// Named values. Flags are printed in the order in which they stand here.
#[derive(Debug)]
pub struct Set {
    /// What is said behind a number that has no name.
    pub unknown: &'static str,
    /// The bits that are one value among `base` rather than flags.
    pub mask: u64,
    /// Names of the value in those bits.
    pub base: &'static [(u64, &'static str)],
    /// Names of the other bits; of whole values if this is an enumeration.
    pub names: &'static [(u64, &'static str)],
}

impl Set {
    /// Flags, or an enumeration.
    #[must_use]
    pub const fn new(unknown: &'static str, names: &'static [(u64, &'static str)]) -> Self {
        Self {
            unknown,
            mask: 0,
            base: &[],
            names,
        }
    }

    /// Flags over an enumeration in the bits of `mask`.
    #[must_use]
    pub const fn over(
        unknown: &'static str,
        mask: u64,
        base: &'static [(u64, &'static str)],
        names: &'static [(u64, &'static str)],
    ) -> Self {
        Self {
            unknown,
            mask,
            base,
            names,
        }
    }

    /// The name of a whole value.
    #[must_use]
    pub fn name(&self, value: u64) -> Option<&'static str> {
        let list = if self.mask == 0 {
            self.names
        } else {
            self.base
        };
        list.iter()
            .find(|(known, _)| *known == value)
            .map(|(_, name)| *name)
    }
}
