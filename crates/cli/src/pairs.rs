//! Beginnings and ends of calls, put together.

use hotpatch_decode::{Kept, When};
use hotpatch_events::Record;
use rustc_hash::FxHashMap;

use crate::events::Chunks;

/// The number of `execve`.
pub const EXECVE: u64 = 59;
/// And of `execveat`.
pub const EXECVEAT: u64 = 322;

/// Calls of one thread that are kept while they have not come back.
const DEEPEST: usize = 16;

/// A call that has not come back.
#[derive(Debug)]
pub struct Begun {
    /// What was told when it began.
    pub record: Record,
    /// What was kept of its memory.
    pub kept: Kept,
    /// Its first part has been printed as unfinished.
    pub told: bool,
}

/// Calls that have not come back, by thread; a call of a signal's handler lies on the one that the signal has come to
/// the end of.
#[derive(Debug, Default)]
pub struct Pairs {
    calls: FxHashMap<u32, Vec<Begun>>,
    /// What calls that are over leave, to be filled again.
    spare: Vec<Kept>,
}

/// So many are enough where few threads run.
const SPARE: usize = 64;

impl Pairs {
    /// What has been kept of a call that begins.
    pub fn keep(&mut self, chunks: &Chunks<'_>) -> Kept {
        let mut kept = self.spare.pop().unwrap_or_default();
        kept.add(When::Entry, chunks.iter());
        kept
    }

    /// It is needed no more.
    pub fn leave(&mut self, mut kept: Kept) {
        if self.spare.len() < SPARE {
            kept.clear();
            self.spare.push(kept);
        }
    }

    /// A call begins.
    pub fn begins(&mut self, record: Record, kept: Kept) {
        let calls = self.calls.entry(record.tid).or_default();
        // Those that a handler has jumped out of stay for ever.
        if calls.len() == DEEPEST {
            calls.remove(0);
        }
        calls.push(Begun {
            record,
            kept,
            told: false,
        });
    }

    /// The call that ends with this; none if its beginning was not told. Those above it never come back.
    pub fn ends(&mut self, record: &Record, chunks: &Chunks<'_>) -> Option<Begun> {
        let calls = self.calls.get_mut(&record.tid)?;
        let at = calls
            .iter()
            .rposition(|begun| begun.record.number == record.number)?;
        calls.truncate(at + 1);
        let mut begun = calls.pop()?;
        begun.kept.add(When::Exit, chunks.iter());
        Some(begun)
    }

    /// A process has a new program: the exec that has come to an end by that.
    pub fn program(&mut self, record: &Record) -> Option<Begun> {
        let execs = |begun: &Begun| {
            begun.record.pid == record.pid && matches!(begun.record.number, EXECVE | EXECVEAT)
        };
        let tid = self
            .calls
            .iter()
            .find(|(_, calls)| calls.last().is_some_and(execs))
            .map(|(tid, _)| *tid)?;
        self.calls.remove(&tid)?.pop()
    }

    /// A thread is not there any more: what it was in.
    pub fn gone(&mut self, tid: u32) -> Option<Begun> {
        self.calls.remove(&tid)?.pop()
    }

    /// What a thread is in.
    pub fn last(&mut self, tid: u32) -> Option<&mut Begun> {
        self.calls.get_mut(&tid)?.last_mut()
    }

    /// Threads that are in a call.
    pub fn threads(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }
}
