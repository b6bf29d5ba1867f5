//! Beginnings and ends of calls, put together.

use std::collections::HashMap;

use hotpatch_decode::Kept;
use hotpatch_events::Record;

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
pub struct Pairs(HashMap<u32, Vec<Begun>>);

impl Pairs {
    /// A call begins.
    pub fn begins(&mut self, record: Record, kept: Kept) {
        let calls = self.0.entry(record.tid).or_default();
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
    pub fn ends(&mut self, record: &Record, kept: Kept) -> Option<Begun> {
        let calls = self.0.get_mut(&record.tid)?;
        let at = calls
            .iter()
            .rposition(|begun| begun.record.number == record.number)?;
        calls.truncate(at + 1);
        let mut begun = calls.pop()?;
        begun.kept.0.extend(kept.0);
        Some(begun)
    }

    /// A process has a new program: the exec that has come to an end by that.
    pub fn program(&mut self, record: &Record) -> Option<Begun> {
        let execs = |begun: &Begun| {
            begun.record.pid == record.pid && matches!(begun.record.number, EXECVE | EXECVEAT)
        };
        let tid = self
            .0
            .iter()
            .find(|(_, calls)| calls.last().is_some_and(execs))
            .map(|(tid, _)| *tid)?;
        self.0.remove(&tid)?.pop()
    }

    /// A thread is not there any more: what it was in.
    pub fn gone(&mut self, tid: u32) -> Option<Begun> {
        self.0.remove(&tid)?.pop()
    }

    /// What a thread is in.
    pub fn last(&mut self, tid: u32) -> Option<&mut Begun> {
        self.0.get_mut(&tid)?.last_mut()
    }

    /// Threads that are in a call.
    pub fn threads(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }
}
