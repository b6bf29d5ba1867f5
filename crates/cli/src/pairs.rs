//! Beginnings and ends of calls, put together.

use hotpatch_decode::{Kept, When};
use hotpatch_events::{Record, kind};
use hotpatch_names::{interruption, restarted};
use rustc_hash::FxHashMap;

use crate::events::Chunks;

/// The number of `execve`.
pub const EXECVE: u64 = 59;
/// Those of `clone`, `fork`, `vfork`, `clone3`.
pub const BIRTHS: [u64; 4] = [56, 57, 58, 435];
/// That of `execveat`.
pub const EXECVEAT: u64 = 322;

/// And of `rt_sigreturn`.
pub const RT_SIGRETURN: u64 = 15;

/// The number that stands for all those that are not told apart where a signal comes.
const ODD: u64 = 0xffff;

/// What a call leaves in rax that a signal has interrupted.
pub const EINTR: u64 = (-4_i64).cast_unsigned();

/// Calls of one thread that are kept while they have not come back.
const DEEPEST: usize = 16;

/// A call that has not come back.
#[derive(Clone, Debug)]
pub struct Begun {
    /// What was told when it began.
    pub record: Record,
    /// What was kept of its memory.
    pub kept: Kept,
    /// Its first part has been printed as unfinished.
    pub told: bool,
}

/// Calls that have not come back, by thread.
#[derive(Debug, Default)]
pub struct Pairs {
    calls: FxHashMap<u32, Calls>,
    /// What calls that are over leave, to be filled again.
    spare: Vec<Kept>,
}

/// So many are enough where few threads run.
const SPARE: usize = 64;

/// Those of a thread.
#[derive(Debug, Default)]
struct Calls {
    /// What it is in; a handler's call lies on one that has been printed as unfinished.
    open: Vec<Begun>,
    /// What it goes on with when handlers return.
    held: Vec<Begun>,
}

/// Pushes a call; those that nobody comes back to stay for ever.
fn push(calls: &mut Vec<Begun>, begun: Begun) {
    if calls.len() == DEEPEST {
        calls.remove(0);
    }
    calls.push(begun);
}

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
        let begun = Begun {
            record,
            kept,
            told: false,
        };
        push(&mut self.calls.entry(record.tid).or_default().open, begun);
    }

    /// The call that ends with this; none if its beginning was not told. Those above it never come back.
    pub fn ends(&mut self, record: &Record, chunks: &Chunks<'_>) -> Option<Begun> {
        let calls = &mut self.calls.get_mut(&record.tid)?.open;
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
            .find(|(_, calls)| calls.open.last().is_some_and(execs))
            .map(|(tid, _)| *tid)?;
        self.gone(tid)
    }

    /// A thread is not there any more: what it was in.
    pub fn gone(&mut self, tid: u32) -> Option<Begun> {
        self.calls.remove(&tid)?.open.pop()
    }

    /// What a thread is in.
    pub fn last(&mut self, tid: u32) -> Option<&mut Begun> {
        self.calls.get_mut(&tid)?.open.last_mut()
    }

    /// What a thread is in, which has come to its end.
    pub fn pop(&mut self, tid: u32) -> Option<Begun> {
        self.calls.get_mut(&tid)?.open.pop()
    }

    /// A signal has come: the call that has come to an end by that, and how, as a tracer sees it.
    pub fn interrupted(
        &mut self,
        signal: &Record,
        chunks: &Chunks<'_>,
        flags: u32,
    ) -> Option<(Begun, u64)> {
        let calls = self.calls.get_mut(&signal.tid)?;
        let last = &calls.open.last()?.record;
        let number = last.number.min(ODD);
        const CALL: u32 = kind::BEFORE | kind::ENDED | kind::AGAIN | kind::AGAIN_UNSEEN;
        if number != signal.number || flags & CALL == 0 {
            return None;
        }
        if flags & kind::BEFORE != 0 {
            if let Some(begun) = calls.open.pop_if(|begun| !begun.told) {
                push(&mut calls.held, begun);
            }
            return None;
        }
        let mut begun = calls.open.pop()?;
        let Record { number, args, .. } = &begun.record;
        let negative = |number: u16| u64::from(number).wrapping_neg();
        let result = match signal.result {
            _ if flags & (kind::AGAIN | kind::AGAIN_UNSEEN) != 0 => {
                negative(restarted(*number, args))
            }
            EINTR => negative(interruption(*number, args)),
            result => result,
        };
        if flags & kind::AGAIN_UNSEEN != 0 {
            let again = Begun {
                told: false,
                ..begun.clone()
            };
            push(&mut calls.held, again);
        }
        // The first tells of the signal.
        begun.kept.add(When::Exit, chunks.iter().skip(1));
        Some((begun, result))
    }

    /// A handler returns, whose signal had these flags: whether the thread begins the call again that it was in.
    pub fn goes_on(&mut self, record: &Record, flags: u32) -> bool {
        if flags & (kind::BEFORE | kind::AGAIN_UNSEEN) == 0 {
            return false;
        }
        let Some(calls) = self.calls.get_mut(&record.tid) else {
            return false;
        };
        let is = |begun: &mut Begun| begun.record.number.min(ODD) == record.number;
        let Some(mut begun) = calls.held.pop_if(is) else {
            return false;
        };
        begun.record.time = record.time;
        push(&mut calls.open, begun);
        true
    }

    /// Threads that are in a call.
    pub fn threads(&self) -> Vec<u32> {
        self.calls.keys().copied().collect()
    }
}
