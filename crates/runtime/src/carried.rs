//! The library's and the hooks' files, for programs that cannot open them: in another root, or of another user.
//!
//! Where a process may become such a program these files stay mapped, and go with it as files without a name
//! (`memfd_create`): made by the helper, or, where nobody may trace it, by the process itself. Start-up of that
//! program gets their descriptors, and closes them.
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I8: what is kept mapped stays as it is.

use core::ffi::CStr;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hotpatch_inject::preload::{CARRIED, UNTRACED};
use hotpatch_inject::{Bytes, Carried, FILES, NO_FILE};

use crate::line::Line;
use crate::pages::Range;
use crate::sys::{self, Errno, Fd, Open};
use crate::view::View;

/// The library's number; hook `n` of the settings is `n + 1`.
pub(crate) const LIBRARY: usize = 0;

/// What a program may be given: descriptors, or [`NO_FILE`].
pub(crate) type Files = [u64; FILES];

// These are written by start-up, while one thread runs, and only read later: Relaxed is enough.
static KEEPS: AtomicBool = AtomicBool::new(false);
static GIVEN: [AtomicU64; FILES] = [const { AtomicU64::new(NO_FILE) }; FILES];
static MAPPED: [[AtomicUsize; 2]; FILES] = [const { [const { AtomicUsize::new(0) }; 2] }; FILES];

/// Start-up's: files are kept from now on, and these descriptors are ours.
pub(crate) fn begin(given: &Files) {
    KEEPS.store(true, Ordering::Relaxed);
    for (place, file) in GIVEN.iter().zip(given) {
        place.store(*file, Ordering::Relaxed);
    }
}

/// Start-up's: a file that has been given, if it has been.
pub(crate) fn take(number: usize) -> Option<Fd> {
    let file = GIVEN.get(number)?.swap(NO_FILE, Ordering::Relaxed);
    (file != NO_FILE).then(|| Fd::own(file as u32))
}

/// Start-up's end: what nobody has taken is closed.
pub(crate) fn end() {
    for number in 0..FILES {
        drop(take(number));
    }
}

/// Start-up's: a file that was needed may be needed again.
pub(crate) fn keep(number: usize, file: View) {
    if !KEEPS.load(Ordering::Relaxed) {
        return;
    }
    if let Some([at, len]) = MAPPED.get(number) {
        let range = file.leave();
        at.store(range.start as usize, Ordering::Relaxed);
        len.store((range.end - range.start) as usize, Ordering::Relaxed);
    }
}

/// The same for the library, where it is open as `file`.
pub(crate) fn keep_library(file: &Fd) {
    let len = sys::status_of(file.raw()).map_or(0, |status| status.st_size as usize);
    if let Some(view) = (len > 0)
        .then(|| View::to_stay(file, len, LIBRARY).ok())
        .flatten()
    {
        keep(LIBRARY, view);
    }
}

/// What is mapped.
pub(crate) fn mapped() -> impl Iterator<Item = Range> {
    files().into_iter().map(|Bytes { at, len }| Range {
        start: at as u64,
        end: (at + len) as u64,
    })
}

/// All files that are kept.
pub(crate) fn files() -> Carried {
    let mut files = Carried::default();
    for (file, mapped) in files.iter_mut().zip(&MAPPED) {
        let [at, len] =
            [0, 1].map(|n: usize| mapped.get(n).map_or(0, |w| w.load(Ordering::Relaxed)));
        *file = Bytes { at, len };
    }
    files
}

/// Whether the kernel lets this process make files of that length, and does not end it for trying.
pub(crate) fn can_be_made(files: &Carried) -> bool {
    let longest = files.iter().map(|file| file.len).max().unwrap_or(0);
    files.first().is_some_and(|library| library.len > 0) && longest as u64 <= sys::file_limit()
}

/// Whether each hook that has been loaded can be opened by who executes now. `settings`: as they are kept.
pub(crate) fn hooks_are_there(settings: &[u8]) -> bool {
    const NAME: &[u8] = b"LIBHOTPATCH_HOOK=";
    let mut settings = settings.split(|&byte| byte == 0);
    let Some(paths) = settings.find_map(|setting| setting.strip_prefix(NAME)) else {
        return true;
    };
    let loaded = files();
    let mut numbered = paths
        .split(|&byte| byte == b':')
        .filter(|path| !path.is_empty());
    loaded.iter().skip(1).all(|hook| {
        let Some(path) = numbered.next().filter(|_| hook.len > 0) else {
            return true;
        };
        let mut name = [0; 1024];
        let Some(place) = name.get_mut(..path.len()) else {
            return true; // too long to be asked about: the next program will
        };
        place.copy_from_slice(path);
        let is_there =
            |name: &CStr| sys::will_be_readable(name) && Fd::open(name, Open::Read).is_ok();
        CStr::from_bytes_until_nul(&name).is_ok_and(is_there)
    })
}

/// Files in this process's own table, which its next program inherits. Closed when dropped.
pub(crate) struct Made([Option<Fd>; FILES]);

impl Made {
    /// Makes `files`.
    ///
    /// # Errors
    /// The kernel's; then there are none.
    pub(crate) fn of(files: &Carried) -> Result<Self, Errno> {
        let mut made = Self([const { None }; FILES]);
        for (place, file) in made.0.iter_mut().zip(files) {
            if file.len > 0 {
                let new = Fd::without_name(c"libhotpatch")?;
                // SAFETY: kept, so it has been left.
                let bytes = unsafe { View::left(file.at, file.len) };
                new.write_all(bytes)?;
                *place = Some(new);
            }
        }
        Ok(made)
    }

    /// The library's path for the next program's loader.
    pub(crate) fn path(&self) -> Line<32> {
        let mut path = Line::new();
        if let Some(Some(library)) = self.0.first() {
            let _ = write!(path, "/proc/self/fd/{}", library.raw());
        }
        path
    }
}

/// What the next program's start-up is told: of files that have been made for it, and whether it may be traced.
pub(crate) fn word(made: Option<&Made>, untraced: bool) -> Line<256> {
    let mut word = Line::new();
    word.push(CARRIED);
    for file in made.into_iter().flat_map(|made| &made.0) {
        if let Some(file) = file {
            let _ = write!(word, "{}", file.raw());
        }
        word.push(b",");
    }
    if untraced {
        word.push(UNTRACED);
    }
    word
}
