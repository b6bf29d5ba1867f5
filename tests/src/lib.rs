//! Runs programs natively and patched, and compares what they did.
//!
//! A *guest* is a small program in `tests/guests` that would fail if one particular promise were
//! broken; a *real* case is a script in `tests/real` whose every program runs patched. Both run
//! without the library first: what they print then is what they must print with it.
#![forbid(unsafe_code)]

pub mod calls;
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

/// What `read` makes of each file in `folder` of this package with one of `extensions`, in order of file name.
///
/// # Panics
/// When a file cannot be read or states something that has no meaning: a typing error must not silence a test.
fn cases<T>(
    folder: &str,
    extensions: &[&str],
    read: impl Fn(PathBuf) -> Result<T, String>,
) -> Vec<T> {
    let entries = std::fs::read_dir(package().join(folder))
        .unwrap_or_else(|e| panic!("tests/{folder} is part of the source: {e}"));
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|e| extensions.iter().any(|wanted| e == *wanted))
        })
        .collect();
    files.sort();
    let read =
        |path: PathBuf| read(path.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    files.into_iter().map(read).collect()
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

/// Removes what earlier runs left behind to be looked at: all that ends with the id of a process
/// that is no more.
pub fn sweep() {
    let guests = scratch().join("guests");
    for entry in [scratch(), guests]
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .flatten()
    {
        let path = entry.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some((_, pid)) = name.rsplit_once('-') else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
        }
    }
}

/// The set of tactics a trial allows: the whole ladder, or one of them alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Everything, in the planner's own order.
    Ladder,
    /// This one only.
    Alone(&'static str),
    /// Everything, with hooks: `hook-` and their names in `tests/hooks`, with `+` between them.
    Hooked(&'static str),
}

/// The hooks that every program must bear: they are called for each call, change every register they may, and the
/// program notices nothing.
pub const BEARABLE: [&str; 9] = [
    "hook-run",
    "hook-run_arguments",
    "hook-after",
    "hook-after_arguments",
    "hook-run_reads",
    "hook-after_reads",
    "hook-record",
    "hook-hosted_run",
    "hook-hosted_after",
];

impl Allowed {
    /// Every set that is tried.
    pub fn all() -> impl Iterator<Item = Self> {
        let hooked = BEARABLE.into_iter().map(Self::Hooked);
        std::iter::once(Self::Ladder)
            .chain(TACTICS.into_iter().map(Self::Alone))
            .chain(hooked)
    }

    /// The hooks of a trial, by name.
    pub fn hooks(self) -> impl Iterator<Item = &'static str> {
        let names = match self {
            Self::Hooked(name) => name.strip_prefix("hook-").unwrap_or(name),
            _ => "",
        };
        names.split('+').filter(|name| !name.is_empty())
    }

    /// Whether plans are kept between trials: of each guest some run by kept plans, some by new ones.
    #[must_use]
    pub fn keeps_plans(self) -> bool {
        !matches!(self, Self::Alone("direct" | "stone" | "clobber"))
    }

    /// The name in a trial's title.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ladder => "ladder",
            Self::Alone(name) | Self::Hooked(name) => name,
        }
    }
}
