//! Whose plan it is.

use alloc::vec::Vec;

use hotpatch_plan::store;
use linux_raw_sys::general::stat;

use crate::maps::Mapping;
use crate::object::{self, Object};

/// Words of [`Key`].
pub(super) const WORDS: usize = 13;
/// A file that changed within so many seconds may change again without showing it: clocks of file systems are coarse.
pub(super) const SETTLED: u64 = 3;

/// Whose plan it is: the library's build, what was asked of the planner, and the file. Everything that a plan depends
/// on, apart from the bytes that it changes or moves, which it knows itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(pub(super) [u64; WORDS]);

impl Key {
    /// For a file that is mapped as `object`; `None` for one that cannot be told from others.
    pub(super) fn new(
        build: [u64; 2],
        question: u64,
        object: &Object<'_>,
        status: Option<&stat>,
        maps: &[Mapping<'_>],
    ) -> Option<Self> {
        let first = object::first_bytes(object, maps)?;
        let content = store::hash(0, first);
        let [a, b] = build;
        let Some(s) = status else {
            // The vDSO: all of it has been hashed.
            let len = first.len() as u64;
            return Some(Self([a, b, question, len, content, 0, 0, 0, 0, 0, 0, 0, 0]));
        };
        let (major, minor) = object.base.device;
        let mapped = u64::from(major) << 32 | u64::from(minor);
        let times = [s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec];
        let [modified, modified_ns, changed, changed_ns] = times;
        Some(Self([
            a,
            b,
            question,
            mapped,
            object.base.inode,
            s.st_dev,
            s.st_ino,
            s.st_size as u64,
            modified,
            modified_ns,
            changed,
            changed_ns,
            content,
        ]))
    }

    /// The file's name in the cache: the same for all states of one file, so that the new plan replaces the old.
    pub(super) fn name(&self) -> u64 {
        let identity: Vec<u8> = self.0[..7].iter().flat_map(|w| w.to_le_bytes()).collect();
        store::hash(0, &identity)
    }

    /// Whether the file has not been touched for a while.
    pub(super) fn is_settled(&self, today: u64) -> bool {
        self.0[8].max(self.0[10]).saturating_add(SETTLED) < today
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.into_iter().flat_map(u64::to_le_bytes)
    }
}
