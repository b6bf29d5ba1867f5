//! Events as lines, in the order and form of strace.

mod children;
pub mod signals;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use hotpatch_decode::expression::{CallSet, Status, quiet};
use hotpatch_decode::{Call, Style, begin, exited, go_on, killed, line, resume};
use hotpatch_events::{Record, kind};
use hotpatch_names::row;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::{Clock, Precision, Stamp};
use crate::dump::{self, Descriptors};
use crate::events::{Chunks, Event};
use crate::filter::Filter;
use crate::output::Output;
use crate::pairs::{Begun, EXECVE, Pairs};
use crate::stacks::Stacks;
use crate::supervise::Ended;
use children::Children;

const WAIT4: u64 = 61;
const WAITID: u64 = 247;

const EXIT: u64 = 60;
const EXIT_GROUP: u64 = 231;

/// The name of a call; of one that nobody knows its number.
pub fn name(number: u64) -> Cow<'static, str> {
    match row(number) {
        Some(row) => row.name.into(),
        None => format!("syscall_{number:#x}").into(),
    }
}

/// What is told, and how.
#[derive(Debug)]
pub struct Choice {
    /// Which calls, as far as that is known at their beginning.
    pub filter: Filter,
    /// How they ended; nothing: however.
    pub status: Option<Vec<Status>>,
    /// Calls whose structures and arrays are printed whole.
    pub whole: Option<CallSet>,
    /// Calls whose arguments are printed as numbers.
    pub raw: Option<CallSet>,
    /// Calls whose structures are printed.
    pub followed: Option<CallSet>,
    /// What is not said: bits of [`quiet`].
    pub quiet: u32,
    /// How lines look.
    pub style: Style,
    /// All threads and processes, not the first thread alone.
    pub follow: bool,
    /// The thread is named ahead of each line, not only where there are several.
    pub named: bool,
    /// The time is.
    pub stamp: Stamp,
    /// How long calls took stands behind them, this exactly.
    pub spans: Option<Precision>,
    /// Where a call came from stands ahead of it, as the address behind its instruction.
    pub places: bool,
    /// Its number does.
    pub numbers: bool,
    /// Who has called whom does, behind it.
    pub stacks: bool,
    /// Of which descriptors what has been read stands there.
    pub read: Option<Descriptors>,
    /// And what has been written.
    pub written: Option<Descriptors>,
}

impl Choice {
    /// Appends which call it is and where it came from, if that is asked for.
    fn whence(&self, number: u64, site: u64, out: &mut String) {
        if self.numbers {
            let _ = write!(out, "[{number:>4}] ");
        }
        match site {
            _ if !self.places => {}
            0 => out.push_str("[????????????????] "),
            site => {
                let _ = write!(out, "[{:016x}] ", site.wrapping_add(2));
            }
        }
    }

    /// Whether calls that ended so are told.
    pub fn has_status(&self, result: Option<u64>) -> bool {
        let is = match result {
            None => Status::Unfinished,
            Some(result) if result > u64::MAX - 4096 => Status::Failed,
            Some(_) => Status::Successful,
        };
        let status = self.status.as_ref();
        status.is_none_or(|status| status.contains(&is))
    }

    /// How a line about that call looks.
    pub fn style(&self, number: u64) -> Style {
        let has = |set: Option<CallSet>| set.is_some_and(|calls| calls.has(number));
        Style {
            verbose: self.style.verbose || has(self.whole),
            raw: has(self.raw),
            addresses: self.followed.is_some() && !has(self.followed),
            ..self.style
        }
    }
}

/// Whoever is told of events, in the order of time.
pub trait Listener {
    /// The exec that begins the program, of which nobody in the program could tell.
    fn begins(&mut self, exec: Record, kept: &Chunks<'_>) -> io::Result<()>;
    /// The next event.
    fn event(&mut self, event: &Event<'_>) -> io::Result<()>;
    /// A thread is not there any more.
    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()>;
    /// The program's first process has ended.
    fn end(&mut self, how: Ended) -> io::Result<()>;
    /// Nobody knows how it goes on.
    fn break_off(&mut self) -> io::Result<()> {
        self.end(Ended::Unknown)
    }
    /// All that has been said reaches its reader.
    fn flush(&mut self) -> io::Result<()>;
    /// Nothing has happened for some milliseconds.
    fn waits(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Whether all threads and processes are of interest.
    fn follows(&self) -> bool;
    /// What a process has mapped, as `/proc/PID/maps` says it.
    fn maps(&mut self, pid: u32, maps: &str) -> io::Result<()> {
        let _ = (pid, maps);
        Ok(())
    }
    /// What is told now happened about then, `time` after 1970: it was recorded.
    fn at(&mut self, ticks: u64, time: Duration);
}

/// Prints events.
#[derive(Debug)]
pub struct Printer {
    out: Output,
    choice: Choice,
    /// The program's first thread.
    root: u32,
    pending: Pairs,
    /// Whose call stands last, without a whole line of its own yet.
    open: Option<u32>,
    /// The beginnings of lines about calls that take long: by thread, what has been written.
    begun: FxHashMap<u32, String>,
    /// Threads that have been seen and not ended, by process.
    threads: FxHashMap<u32, u32>,
    stacks: Option<Stacks>,
    /// The last call of each thread.
    last: FxHashMap<u32, u64>,
    /// How processes said that they would end.
    leaving: FxHashMap<u32, i32>,
    /// Processes that have been killed, and that has been printed.
    killed: FxHashSet<u32>,
    /// Those that are not there any more, and nobody has said why.
    lost: FxHashSet<u32>,
    children: Children,
    clock: Clock,
    /// When what the last line is about happened.
    before: Duration,
    /// The last line, to be written over.
    line: String,
}

impl Printer {
    /// For the program whose first thread is `root`.
    pub fn new(out: Output, choice: Choice, root: u32) -> Self {
        Self {
            stacks: choice.stacks.then(Stacks::default),
            out,
            choice,
            root,
            pending: Pairs::default(),
            open: None,
            begun: FxHashMap::default(),
            threads: FxHashMap::from_iter([(root, root)]),
            last: FxHashMap::default(),
            leaving: FxHashMap::default(),
            killed: FxHashSet::default(),
            lost: FxHashSet::default(),
            children: Children::default(),
            clock: Clock::new(),
            before: Duration::ZERO,
            line: String::new(),
        }
    }

    /// Where the lines of the program's first thread go.
    pub fn out(&mut self) -> io::Result<&mut dyn Write> {
        self.out.of(self.root)
    }

    fn entry(&mut self, record: Record, chunks: &Chunks<'_>) -> io::Result<()> {
        self.threads.insert(record.tid, record.pid);
        self.last.insert(record.tid, record.number);
        let status = record.args[0] as i32;
        match record.number {
            EXIT_GROUP => {
                self.leaving.insert(record.pid, status & 0xff);
            }
            EXIT if record.pid == record.tid || !self.leaving.contains_key(&record.pid) => {
                self.leaving.insert(record.tid, status & 0xff);
            }
            _ => {}
        }
        self.children.entry(&record, chunks);
        let kept = self.pending.keep(chunks);
        if !self.choice.filter.tells(&record, &kept) {
            self.pending.leave(kept);
            return Ok(());
        }
        self.interrupt(record.tid)?;
        self.open = Some(record.tid);
        self.pending.begins(record, kept);
        Ok(())
    }

    fn exit(&mut self, record: Record, chunks: &Chunks<'_>, flags: u32) -> io::Result<()> {
        self.hears(&record, chunks)?;
        if let Some(begun) = self.pending.ends(&record, chunks) {
            self.ends(&begun, Some(record.result), record.time, flags)?;
            self.pending.leave(begun.kept);
        }
        for info in self.children.exit(&record, chunks) {
            self.tell_signal(record.tid, record.time, &info)?;
        }
        Ok(())
    }

    /// A process has a new program: its exec has come to an end.
    fn program(&mut self, record: Record) -> io::Result<()> {
        self.children.begins(&record);
        self.threads.retain(|_, pid| *pid != record.pid);
        self.threads.insert(record.tid, record.pid);
        match self.pending.program(&record) {
            Some(begun) => self.ends(&begun, Some(0), record.time, 0),
            None => Ok(()),
        }
    }

    /// A process whose parent has just heard of its end, which it could not tell itself.
    fn was_killed(&mut self, pid: u32, signal: u32, core: bool) -> io::Result<()> {
        // A wait that a signal has come to the end of tells it twice.
        if !self.killed.insert(pid) {
            return Ok(());
        }
        self.dies(pid, signal)?;
        self.gone(pid, pid)?;
        self.interrupt(pid)?;
        let mut text = self.remark(pid);
        killed(signal, core, &mut text);
        self.put(pid, text)
    }

    /// Prints a call that has ended, or never will.
    fn ends(&mut self, begun: &Begun, result: Option<u64>, now: u64, flags: u32) -> io::Result<()> {
        let record = &begun.record;
        let (tid, number) = (record.tid, record.number);
        let written = self.begun.remove(&tid);
        if !self.choice.has_status(result) {
            self.open = self.open.filter(|open| *open != tid);
            return Ok(());
        }
        if self.open != Some(tid) {
            self.interrupt(tid)?;
        }
        self.open = None;
        let before = written.as_ref().map_or(0, String::len);
        let mut text = written.unwrap_or_else(|| {
            let from = if begun.told { now } else { record.time };
            let mut text = self.prefix(tid, from);
            self.choice.whence(record.number, record.site, &mut text);
            text
        });
        let print = match (before, begun.told) {
            (1.., _) => go_on,
            (0, true) => resume,
            (0, false) => line,
        };
        let style = self.choice.style(number);
        let call = Call {
            number,
            args: record.args,
            result,
        };
        print(&call, &begun.kept, &style, &mut text);
        text.push_str(
            match (flags & kind::POKED != 0, flags & kind::INJECTED != 0) {
                (false, false) => "",
                (false, true) => " (INJECTED)",
                (true, false) => " (INJECTED: args)",
                (true, true) => " (INJECTED: args, retval)",
            },
        );
        if flags & kind::DELAYED != 0 {
            text.push_str(" (DELAYED)");
        }
        if result.is_some() {
            self.took(now.saturating_sub(record.time), &mut text);
        }
        let (read, written) = (self.choice.read.as_ref(), self.choice.written.as_ref());
        dump::put(read, written, record, result, &begun.kept, &mut text);
        if let Some(stacks) = &mut self.stacks {
            for frame in stacks.frames(record, &begun.kept) {
                let _ = write!(text, "\n > {frame}");
            }
        }
        self.put_behind(before, tid, text)
    }

    /// Appends how long a call took, if that is asked for.
    fn took(&self, ticks: u64, text: &mut String) {
        if let Some(precision) = self.choice.spans {
            text.push_str(" <");
            precision.put(self.clock.span(ticks), text);
            text.push('>');
        }
    }

    /// A line about `by` comes behind a call that has not come back.
    fn interrupt(&mut self, by: u32) -> io::Result<()> {
        let open = if self.out.is_separate() {
            Some(by)
        } else {
            self.open.take()
        };
        let Some(tid) = open else {
            return Ok(());
        };
        let written = self.begun.remove(&tid);
        let before = written.as_ref().map_or(0, String::len);
        let Some(mut text) = written.or_else(|| self.beginning(tid)) else {
            return Ok(());
        };
        if let Some(begun) = self.pending.last(tid) {
            begun.told = true;
        }
        text.push_str(" <unfinished ...>");
        self.put_behind(before, tid, text)
    }

    /// The beginning of the line about the call that a thread is in, if there is one that is to be told and has none.
    fn beginning(&mut self, tid: u32) -> Option<String> {
        // Whether it will be told is known only when it ends.
        if self.choice.status.is_some() {
            return None;
        }
        let last = self.pending.last(tid).filter(|begun| !begun.told);
        let time = last.map(|begun| begun.record.time)?;
        let mut text = self.prefix(tid, time);
        let begun = self.pending.last(tid)?;
        let record = &begun.record;
        let call = Call {
            number: record.number,
            args: record.args,
            result: None,
        };
        self.choice.whence(record.number, record.site, &mut text);
        let style = self.choice.style(record.number);
        begin(&call, &begun.kept, &style, &mut text);
        Some(text)
    }

    /// Whoever has ended maps nothing.
    fn forget(&mut self, pid: u32) {
        let lives = self.threads.values().any(|other| *other == pid);
        if let Some(stacks) = self.stacks.as_mut().filter(|_| !lives) {
            stacks.gone(pid);
        }
    }

    /// What stands ahead of a line about what `tid` did at that time.
    fn prefix(&mut self, tid: u32, time: u64) -> String {
        let mut text = std::mem::take(&mut self.line);
        text.clear();
        let several = self.choice.follow && self.threads.len() > 1;
        if self.choice.named && !self.out.is_separate() {
            let _ = write!(text, "{tid:<5} ");
        } else if several && !self.out.is_separate() {
            let _ = write!(text, "[pid {tid:>5}] ");
        }
        if self.choice.stamp.is_asked_for() {
            let at = self.clock.at(time);
            let before = std::mem::replace(&mut self.before, at);
            self.choice
                .stamp
                .put(at, if before.is_zero() { at } else { before }, &mut text);
        }
        text
    }

    /// The same of what is no call.
    fn remark(&mut self, tid: u32) -> String {
        self.remark_at(tid, self.clock.now().0)
    }

    fn remark_at(&mut self, tid: u32, time: u64) -> String {
        let mut text = self.prefix(tid, time);
        let last = self.last.get(&tid).copied();
        self.choice.whence(last.unwrap_or(0), 0, &mut text);
        text
    }

    fn put(&mut self, tid: u32, text: String) -> io::Result<()> {
        self.put_behind(0, tid, text)
    }

    /// Ends a line, of which so many bytes have been written.
    fn put_behind(&mut self, before: usize, tid: u32, mut text: String) -> io::Result<()> {
        text.push('\n');
        let written = self.out.of(tid)?.write_all(&text.as_bytes()[before..]);
        self.line = text;
        written
    }
}

impl Listener for Printer {
    fn begins(&mut self, exec: Record, kept: &Chunks<'_>) -> io::Result<()> {
        self.entry(exec, kept)
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let record = event.record;
        if self.choice.stamp.is_asked_for() || self.choice.spans.is_some() {
            self.clock.goes_on();
        }
        if let Some(stacks) = &mut self.stacks {
            stacks.note(event);
        }
        match record.kind {
            kind::ENTRY => self.entry(record, &event.kept),
            kind::EXIT => self.exit(record, &event.kept, event.flags),
            kind::PROGRAM => self.program(record),
            kind::THREAD => {
                self.children.begins(&record);
                self.killed.remove(&record.pid);
                self.threads.insert(record.tid, record.pid);
                Ok(())
            }
            kind::SIGNAL => self.signal(&record, &event.kept, event.flags),
            kind::RETURN => self.returns(&record, event.flags),
            kind::END => {
                self.children.ends(&record);
                self.gone(record.pid, record.tid)
            }
            _ => Ok(()),
        }
    }

    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        // What a process was killed by may be known when its parent has waited for it, and says how its call ended.
        let killed = pid == tid && !self.leaving.contains_key(&pid) && !self.killed.contains(&pid);
        if killed && self.pending.last(tid).is_some() {
            self.lost.insert(tid);
            return Ok(());
        }
        self.lost.remove(&tid);
        if let Some(begun) = self.pending.gone(tid) {
            self.ends(&begun, None, self.clock.now().0, 0)?;
        }
        // The thread that ends a process is the first to tell.
        let Some(status) = self
            .leaving
            .get(&pid)
            .or_else(|| self.leaving.get(&tid))
            .copied()
        else {
            self.threads.remove(&tid);
            self.last.remove(&tid);
            self.forget(pid);
            return self.out.gone(tid);
        };
        if self.threads.contains_key(&tid) && tid != self.root {
            self.interrupt(tid)?;
            if self.choice.quiet & quiet::EXIT == 0 {
                let mut text = self.remark(tid);
                exited(status, &mut text);
                self.put(tid, text)?;
            }
            self.last.remove(&tid);
            self.forget(pid);
            self.out.gone(tid)?;
        }
        self.threads.remove(&tid);
        Ok(())
    }

    fn end(&mut self, how: Ended) -> io::Result<()> {
        self.killed.insert(self.root);
        for pid in std::mem::take(&mut self.lost) {
            if self.killed.insert(pid) {
                self.gone(pid, pid)?;
            }
        }
        if let Ended::Signal(signal, _) = how {
            self.dies(self.root, signal.cast_unsigned())?;
        }
        if let Some(begun) = self.pending.gone(self.root) {
            // Where nobody tells anything, the exec is all that is known.
            let first = begun.record.number == EXECVE && begun.record.site == 0;
            self.ends(&begun, first.then_some(0), self.clock.now().0, 0)?;
        }
        self.interrupt(self.root)?;
        // One that is no child of ours has said how it would end.
        let said = self.leaving.get(&self.root).copied();
        let how = match (how, said) {
            (Ended::Unknown, Some(status)) => Ended::Exit(status),
            (how, _) => how,
        };
        let mut text = self.remark(self.root);
        match how {
            Ended::Exit(_) if self.choice.quiet & quiet::EXIT != 0 => return Ok(()),
            Ended::Exit(status) => exited(status, &mut text),
            Ended::Signal(signal, core) => killed(signal.cast_unsigned(), core, &mut text),
            Ended::Unknown => return Ok(()),
        }
        self.threads.remove(&self.root);
        self.put(self.root, text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn waits(&mut self) -> io::Result<()> {
        let threads = match self.out.is_separate() {
            true => self.pending.threads(),
            false => self.open.into_iter().collect(),
        };
        for tid in threads {
            if self.begun.contains_key(&tid) {
                continue;
            }
            if let Some(text) = self.beginning(tid) {
                self.out.of(tid)?.write_all(text.as_bytes())?;
                self.begun.insert(tid, text);
            }
        }
        self.out.flush()
    }

    fn follows(&self) -> bool {
        self.choice.follow
    }

    fn at(&mut self, ticks: u64, time: Duration) {
        self.clock.tell(ticks, time);
    }

    fn maps(&mut self, pid: u32, maps: &str) -> io::Result<()> {
        if let Some(stacks) = &mut self.stacks {
            stacks.maps(pid, maps);
        }
        Ok(())
    }
}
