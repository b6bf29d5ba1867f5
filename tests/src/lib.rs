//! Runs programs natively and patched, and compares what they did.
//!
//! A *guest* is a small program in `tests/guests` that would fail if one particular promise were
//! broken; a *real* case is a script in `tests/real` whose every program runs patched. Both run
//! without the library first: what they print then is what they must print with it.
#![forbid(unsafe_code)]

pub mod guest;
pub mod library;
pub mod process;
pub mod report;
pub mod script;
pub mod starts;

use std::path::{Path, PathBuf};

/// The tactics that are also tried alone, under the names `LIBHOTPATCH_TACTICS` knows.
pub const TACTICS: [&str; 6] = [
    "direct",
    "stone",
    "live-stone",
    "before",
    "clobber",
    "evict",
];

/// The directory of this package.
#[must_use]
pub fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for what the suites build and leave behind, readable by every user because some
/// programs give up root before they load anything.
#[must_use]
pub fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!(
        "hotpatch-tests-{}",
        rustix::process::getuid().as_raw()
    ));
    if let Err(e) = std::fs::create_dir_all(&dir) {
        panic!("cannot make {}: {e}", dir.display());
    }
    dir
}

/// The set of tactics a trial allows: the whole ladder, or one of them alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Everything, in the planner's own order.
    Ladder,
    /// This one only.
    Alone(&'static str),
}

impl Allowed {
    /// Every set that is tried.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Ladder).chain(TACTICS.into_iter().map(Self::Alone))
    }

    /// The name in a trial's title.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ladder => "ladder",
            Self::Alone(tactic) => tactic,
        }
    }
}
