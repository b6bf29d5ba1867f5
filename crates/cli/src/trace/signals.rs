//! Signals as lines, and what they make of the calls that they interrupt.

use std::io;

use hotpatch_decode::{Call, Kept, When, line, signal};
use hotpatch_events::{Record, kind};

use super::Printer;
use super::children::reaped;
use crate::events::Chunks;
use crate::pairs::RT_SIGRETURN;

/// What comes with a signal.
pub type Info = [u8; 128];

/// What the program was told of a signal: the first thing that was kept.
pub fn info(chunks: &Chunks<'_>) -> Option<Info> {
    chunks.iter().next()?.1.try_into().ok()
}

/// The call that a handler returns by.
pub fn sigreturn(record: &Record) -> (Call, Kept) {
    // Where the set of signals would be.
    const AT: u64 = 8;
    let call = Call {
        number: RT_SIGRETURN,
        args: [AT, 0, 0, 0, 0, 0],
        result: Some(record.result),
    };
    let mask = record.args[0].to_le_bytes();
    (call, Kept::new(When::Entry, [(AT, &mask[..])]))
}

impl Printer {
    /// A signal comes to a handler, or ends the process.
    pub(super) fn signal(
        &mut self,
        record: &Record,
        chunks: &Chunks<'_>,
        flags: u32,
    ) -> io::Result<()> {
        if flags & kind::ENDED != 0 {
            self.hears(record, chunks)?;
        }
        if self.open == Some(record.tid) && flags & kind::BEFORE != 0 {
            self.open = None;
        }
        if let Some((begun, result)) = self.pending.interrupted(record, chunks, flags) {
            self.ends(&begun, Some(result), record.time, 0)?;
        }
        match info(chunks) {
            Some(info) => {
                self.children.told(record, &info);
                self.tell_signal(record.tid, record.time, &info)
            }
            None => Ok(()),
        }
    }

    /// A call may have heard that a child was killed.
    pub(super) fn hears(&mut self, record: &Record, chunks: &Chunks<'_>) -> io::Result<()> {
        let Some(child) = reaped(record, chunks) else {
            return Ok(());
        };
        match child.signal() {
            Some((signal, core)) => self.was_killed(child.pid, signal, core),
            None => Ok(()),
        }
    }

    /// A process has died of a signal: what it was in, and the signal, as far as that can be told.
    pub(super) fn dies(&mut self, pid: u32, signal: u32) -> io::Result<()> {
        let (result, info) = (self.children).died(pid, signal, self.pending.last(pid).map(|b| &*b));
        let now = self.clock.now().0;
        if result.is_some()
            && let Some(begun) = self.pending.pop(pid)
        {
            self.ends(&begun, result, now, 0)?;
        }
        match info {
            Some(info) => self.tell_signal(pid, now, &info),
            None => Ok(()),
        }
    }

    /// Prints a signal, if it is one of those that are asked for.
    pub(super) fn tell_signal(&mut self, tid: u32, time: u64, info: &Info) -> io::Result<()> {
        if !self.choice.filter.tells_signal(info) {
            return Ok(());
        }
        self.interrupt(tid)?;
        let mut text = self.remark_at(tid, time);
        signal(info, &mut text);
        self.put(tid, text)
    }

    /// A handler has returned.
    pub(super) fn returns(&mut self, record: &Record, flags: u32) -> io::Result<()> {
        self.last.insert(record.tid, RT_SIGRETURN);
        let (call, kept) = sigreturn(record);
        let as_call = Record {
            number: call.number,
            args: call.args,
            ..*record
        };
        if self.choice.filter.tells(&as_call, &kept) && self.choice.has_status(call.result) {
            self.interrupt(record.tid)?;
            let mut text = self.prefix(record.tid, record.time);
            self.choice.whence(RT_SIGRETURN, 0, &mut text);
            line(&call, &kept, &self.choice.style(RT_SIGRETURN), &mut text);
            self.took(0, &mut text);
            self.put(record.tid, text)?;
        }
        if self.pending.goes_on(record, flags) {
            self.interrupt(record.tid)?;
            self.open = Some(record.tid);
        }
        Ok(())
    }
}
