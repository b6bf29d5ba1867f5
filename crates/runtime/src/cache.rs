//! Plans kept from earlier starts, in a directory that is the user's alone.
//!
//! A plan decides which bytes are written over code, so nothing is read that somebody else could have written: the
//! directory, all directories above it and the file are looked at each time. Whatever goes wrong, the file is
//! planned as if there were no cache.

use alloc::ffi::CString;
use alloc::vec::Vec;

use hotpatch_plan::plan::Plan;
use hotpatch_plan::store;
use linux_raw_sys::general::{S_IFDIR, S_IFMT, S_IFREG, stat};

use crate::config::Keep;
use crate::environment::{Environment, read_all};
use crate::maps::Mapping;
use crate::object::{self, Loaded, Object};
use crate::sys::{self, Errno, Unharmed, disk};

mod key;

pub use key::Key;
use key::WORDS;

/// What a file of the cache begins with. Another layout has another number at its end.
const MAGIC: u64 = u64::from_le_bytes(*b"hpplan\0\x01");

/// Bytes before a plan: magic, checksum, key.
const HEADER: usize = (2 + WORDS) * 8;
/// No plan is longer; libc's has 9 kB.
const LONGEST: usize = 128 << 10;

/// More files than this are not kept: then the oldest go, until so many are left.
const MOST: usize = 512;
const LEFT: usize = 384;

/// No directory lies deeper.
const DEPTH: usize = 40;

/// What the cache has for one object.
#[derive(Debug)]
pub struct Entry {
    key: Key,
    /// The file's bytes, if there is one and it arrived whole.
    file: Option<Vec<u8>>,
}

impl Entry {
    /// The kept plan, and the image that it was made for as it is mapped now, which has all the bytes it relies on.
    #[must_use]
    pub fn plan<'a>(
        &self,
        object: &Object<'_>,
        maps: &[Mapping<'_>],
    ) -> Option<(Loaded<'a>, Plan)> {
        let file = self.file.as_ref()?;
        let loaded = object::mapped(object, maps)?;
        let plan = store::decode(file.get(HEADER..)?, &loaded.image)?;
        Some((loaded, plan))
    }
}

/// A directory for plans.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    path: Vec<u8>,
    /// How many directories at the path's end may be made.
    made: usize,
}

/// The cache of one start.
#[derive(Debug, Default)]
pub struct Cache {
    /// Which build of the library this is: another may plan otherwise.
    build: Option<[u64; 2]>,
    user: u32,
    /// Where plans may be kept. Not changed later: what is allocated while a file is patched does not outlive that
    /// (I4).
    place: Option<Place>,
    /// Whether the directory is there, and ours.
    is_there: bool,
    /// Nothing is written any more.
    closed: bool,
    wrote: bool,
}

impl Cache {
    /// The cache that the settings name, for the library whose build is `build` (a hash of its object, at least 16
    /// bytes). Nothing is made yet.
    #[must_use]
    pub fn open(keep: &Keep<'_>, environment: &Environment<'_>, build: Option<&[u8]>) -> Self {
        let mut cache = Self::named(keep, environment, build);
        let there = cache.place.as_ref().map(|place| cache.is_ours(&place.path));
        cache.is_there = there == Some(true);
        cache
    }

    fn named(keep: &Keep<'_>, environment: &Environment<'_>, build: Option<&[u8]>) -> Self {
        let build = build.and_then(|id| {
            let (a, rest) = id.split_first_chunk()?;
            Some([
                u64::from_le_bytes(*a),
                u64::from_le_bytes(*rest.first_chunk()?),
            ])
        });
        Self {
            build,
            user: disk::user(),
            place: place(keep, environment).filter(|_| build.is_some() && !environment.secure),
            ..Self::default()
        }
    }

    /// Nothing is written: the directory would be made where it was not asked for.
    pub fn only_read(&mut self) {
        self.closed = true;
    }

    /// Whether the directory is there, and nobody else can change it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// The same cache later, for a process that has found it `there` before: only whoever owns it could have opened it
    /// to others since.
    #[must_use]
    pub fn again(
        keep: &Keep<'_>,
        environment: &Environment<'_>,
        build: Option<&[u8]>,
        there: bool,
    ) -> Self {
        if !there {
            return Self::open(keep, environment, build);
        }
        Self {
            is_there: true,
            ..Self::named(keep, environment, build)
        }
    }

    /// What is known of `object`, for whom the planner is asked `question`. `None` where no plan may be kept.
    #[must_use]
    pub fn entry(&self, object: &Object<'_>, question: u64, maps: &[Mapping<'_>]) -> Option<Entry> {
        let build = self.build.filter(|_| self.place.is_some())?;
        let status = if object.base.is_file() {
            Some(object.status()?.1)
        } else {
            None
        };
        let key = Key::new(build, question, object, status.as_ref(), maps)?;
        let file = self.path_of(key.name(), b"", b".plan");
        let file = file.and_then(|path| self.read(&path, &key));
        Some(Entry { key, file })
    }

    fn directory(&self) -> Option<&[u8]> {
        let place = self.place.as_ref().filter(|_| self.is_there);
        place.map(|place| &place.path[..])
    }

    fn path_of(&self, name: u64, before: &[u8], after: &[u8]) -> Option<CString> {
        let directory = self.directory()?;
        let digit = |shift| b"0123456789abcdef"[(name >> shift) as usize & 15];
        let mut path = Vec::with_capacity(directory.len() + 32);
        path.extend_from_slice(directory);
        path.push(b'/');
        path.extend_from_slice(before);
        path.extend((0..64).step_by(4).rev().map(digit));
        path.extend_from_slice(after);
        CString::new(path).ok()
    }

    /// The bytes of a file of the cache, if they are all there and about `key`.
    fn read(&self, path: &CString, key: &Key) -> Option<Vec<u8>> {
        let file = disk::open_to_read(path).ok()?;
        let status = disk::status_of(&file).ok()?;
        let unshared = status.st_nlink == 1 && self.is_private(&status, S_IFREG);
        let len = usize::try_from(status.st_size).ok()?;
        if !unshared || !(HEADER..=LONGEST).contains(&len) {
            return None;
        }
        let mut bytes = Vec::new();
        // Nothing may give up here: the descriptor would stay open.
        bytes.try_reserve_exact(len).ok()?;
        bytes.resize(len, 0);
        let mut have = 0;
        while have < len {
            match file.read(bytes.get_mut(have..)?) {
                Ok(0) | Err(_) => return None,
                Ok(n) => have += n,
            }
        }
        is_whole(&bytes, key).then_some(bytes)
    }

    /// Keeps `plan`, which has been made for the object of `entry`.
    pub fn keep(&mut self, entry: &Entry, plan: &[u8]) {
        if self.closed || !entry.key.is_settled(disk::today()) || plan.len() > LONGEST - HEADER {
            return;
        }
        if !self.wrote && !self.can_write() {
            self.closed = true;
            return;
        }
        self.wrote = true;
        let mut rest: Vec<u8> = entry.key.bytes().collect();
        rest.extend_from_slice(plan);
        let mut bytes = Vec::with_capacity(rest.len() + 16);
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&store::hash(MAGIC, &rest).to_le_bytes());
        bytes.append(&mut rest);
        let nobody_elses = store::hash(sys::process_id().into(), &sys::now().to_le_bytes());
        let paths = self.path_of(nobody_elses, b".", b".new").zip(self.path_of(
            entry.key.name(),
            b"",
            b".plan",
        ));
        if let Some((new, path)) = paths {
            let _quiet = Unharmed::begin();
            // A disk that is full once is not tried again for each file.
            self.closed = write(&new, &path, &bytes).is_err();
        }
    }

    /// Whether there is a directory to write to, which is made if need be. A program that is confined makes no calls
    /// but those it would make without us: some filters kill for a call that they do not know.
    fn can_write(&mut self) -> bool {
        let status = read_all(c"/proc/self/status");
        let confined = status
            .split(|&b| b == b'\n')
            .filter_map(|line| line.strip_prefix(b"Seccomp:"))
            .any(|value| value.trim_ascii() != b"0");
        if confined || status.is_empty() {
            return false;
        }
        if !self.is_there {
            let made = self.place.as_ref().map(|place| self.make(place));
            self.is_there = made == Some(true);
        }
        self.is_there
    }

    fn make(&self, place: &Place) -> bool {
        let mut ends: Vec<usize> = Vec::new();
        let mut rest = &place.path[..];
        for _ in 0..place.made {
            ends.push(rest.len());
            let slash = rest.iter().rposition(|&b| b == b'/').unwrap_or(0);
            rest = &rest[..slash];
        }
        // Nothing is made where others could exchange it.
        if !self.is_trusted(rest) {
            return false;
        }
        for &end in ends.iter().rev() {
            let made = CString::new(&place.path[..end]).map(|path| disk::make_directory(&path));
            if !matches!(made, Ok(Ok(()) | Err(Errno::EXIST))) {
                return false;
            }
        }
        self.is_ours(&place.path)
    }

    /// Whether it belongs to us, is of that type, and others cannot write to it.
    fn is_private(&self, status: &stat, kind: u32) -> bool {
        status.st_mode & S_IFMT == kind && status.st_uid == self.user && status.st_mode & 0o022 == 0
    }

    /// Whether `path` is a directory that nobody else can change or exchange.
    fn is_ours(&self, path: &[u8]) -> bool {
        let status = CString::new(path).map(|path| disk::status(&path));
        matches!(status, Ok(Ok(status)) if self.is_private(&status, S_IFDIR))
            && self.is_trusted(path)
    }

    /// Whether nobody but us and root can exchange what lies in the directory at `path`, or in one above it.
    ///
    /// Who owns the topmost counts as root: in a user namespace that is not always 0.
    fn is_trusted(&self, path: &[u8]) -> bool {
        let mut path = path.to_vec();
        path.extend_from_slice(b"/.");
        let (mut stranger, mut below) = (None, None);
        for _ in 0..DEPTH {
            let Some(Ok(s)) = CString::new(&path[..]).ok().map(|path| disk::status(&path)) else {
                return false;
            };
            let top = below == Some((s.st_dev, s.st_ino));
            if top {
                return stranger.is_none_or(|stranger| stranger == s.st_uid);
            }
            // In a sticky directory nobody can rename or remove what is not his own.
            let open = s.st_mode & 0o022 != 0 && s.st_mode & 0o1000 == 0;
            if open || s.st_mode & S_IFMT != S_IFDIR {
                return false;
            }
            if s.st_uid != 0 && s.st_uid != self.user {
                if stranger.is_some_and(|stranger| stranger != s.st_uid) {
                    return false;
                }
                stranger = Some(s.st_uid);
            }
            below = Some((s.st_dev, s.st_ino));
            path.extend_from_slice(b"/..");
        }
        false
    }

    /// Ends the start's use of it: removes the oldest plans where they have become too many.
    pub fn close(&mut self) {
        let directory = self.directory().filter(|_| self.wrote);
        if let Some(path) = directory.and_then(|path| CString::new(path).ok()) {
            let _ = self.tidy(&path);
        }
        self.closed = true;
    }

    fn tidy(&self, directory: &CString) -> Result<(), Errno> {
        let mut buffer = alloc::vec![0; 32 << 10];
        let mut names: Vec<u64> = Vec::new();
        let mut unfinished: Vec<u64> = Vec::new();
        disk::names(directory, &mut buffer, |name| match name.to_bytes() {
            [b'.', name @ .., b'.', b'n', b'e', b'w'] => unfinished.extend(number(name)),
            [name @ .., b'.', b'p', b'l', b'a', b'n'] => names.extend(number(name)),
            _ => {}
        })?;
        if names.len() + unfinished.len() <= MOST {
            return Ok(());
        }
        let dated = |path: CString| Some((disk::status(&path).ok()?.st_mtime, path));
        let plans = names.iter().filter_map(|&n| self.path_of(n, b"", b".plan"));
        let left_over = unfinished
            .iter()
            .filter_map(|&n| self.path_of(n, b".", b".new"));
        let mut all: Vec<_> = plans.chain(left_over).filter_map(dated).collect();
        all.sort_unstable();
        for (_, path) in &all[..all.len().saturating_sub(LEFT)] {
            let _ = disk::remove(path);
        }
        Ok(())
    }
}

/// What stands before the dot of a name that we gave.
fn number(name: &[u8]) -> Option<u64> {
    let text = str::from_utf8(name).ok().filter(|text| text.len() == 16)?;
    u64::from_str_radix(text, 16).ok()
}

fn is_whole(bytes: &[u8], key: &Key) -> bool {
    let word = |at: usize| {
        let word = bytes.get(at..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    };
    let (head, rest) = bytes.split_at(bytes.len().min(16));
    head.len() == 16
        && word(0) == Some(MAGIC)
        && word(8) == Some(store::hash(MAGIC, rest))
        && rest
            .get(..WORDS * 8)
            .is_some_and(|k| k.iter().copied().eq(key.bytes()))
}

/// Makes `new`, complete, and gives it the name `path`: whoever reads sees the old file or the new one.
fn write(new: &CString, path: &CString, bytes: &[u8]) -> Result<(), Errno> {
    let file = disk::create(new)?;
    let done = file.write_all(bytes).and_then(|()| disk::rename(new, path));
    if done.is_err() {
        let _ = disk::remove(new);
    }
    done
}

/// Where plans may be kept: beside the library that the command keeps.
fn place(keep: &Keep<'_>, environment: &Environment<'_>) -> Option<Place> {
    let absolute = |name| environment.get(name).filter(|v| v.starts_with(b"/"));
    let below = |base: &[u8], names: &[u8], made| {
        let base = base.strip_suffix(b"/").unwrap_or(base);
        Some(Place {
            path: [base, names].concat(),
            made,
        })
    };
    match keep {
        Keep::Nowhere => None,
        Keep::In(path) => below(path, b"", 1),
        Keep::Usual => match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
            (Some(cache), _) => below(cache, b"/hotpatch/plans", 3),
            (None, Some(home)) => below(home, b"/.cache/hotpatch/plans", 3),
            (None, None) => None,
        },
    }
}

#[cfg(test)]
mod tests;
