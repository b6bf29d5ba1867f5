//! Events as lines, in the order and form of strace.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use hotpatch_decode::expression::{CallSet, Status};
use hotpatch_decode::{Call, Kept, Memory, Style, When, begin, exited, killed, line, resume};
use hotpatch_events::{Record, kind};
use hotpatch_names::{Kind, row, signature};

use crate::clock::{Clock, Stamp};
use crate::events::{Event, ticks};

/// Calls of one thread that are kept while they have not come back.
const DEEPEST: usize = 16;

const WAIT4: u64 = 61;
const WAITID: u64 = 247;
// How `waitid` says that a process was killed.
const CLD_KILLED: u32 = 2;
const CLD_DUMPED: u32 = 3;

const EXIT: u64 = 60;
const EXIT_GROUP: u64 = 231;
/// The number of `execve`.
pub const EXECVE: u64 = 59;
/// And of `execveat`.
pub const EXECVEAT: u64 = 322;

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
    /// Calls.
    pub calls: Option<CallSet>,
    /// How they ended; empty: however.
    pub status: Vec<Status>,
    /// Descriptors that they take; `true`: all others.
    pub descriptors: Option<(bool, Vec<i32>)>,
    /// Calls whose structures and arrays are printed whole.
    pub whole: Option<CallSet>,
    /// How lines look.
    pub style: Style,
    /// All threads and processes, not the first thread alone.
    pub follow: bool,
    /// The thread is named ahead of each line, not only where there are several.
    pub named: bool,
    /// The time is.
    pub stamp: Option<Stamp>,
    /// How long calls took stands behind them.
    pub spans: bool,
    /// Where a call came from stands ahead of it, as the address behind its instruction.
    pub places: bool,
    /// Its number does.
    pub numbers: bool,
}

impl Choice {
    /// Appends which call it is and where it came from, if that is asked for.
    fn whence(&self, pending: &Pending, out: &mut String) {
        if self.numbers {
            let _ = write!(out, "[{:>4}] ", pending.call.number);
        }
        match pending.site {
            _ if !self.places => {}
            0 => out.push_str("[????????????????] "),
            site => {
                let _ = write!(out, "[{:016x}] ", site.wrapping_add(2));
            }
        }
    }

    /// How a line about that call looks.
    fn style(&self, number: u64) -> Style {
        let whole = self.whole.is_some_and(|calls| calls.has(number));
        Style {
            verbose: self.style.verbose || whole,
            ..self.style
        }
    }
}

/// The process that a call has heard of the end of, if that was killed: by which signal, and whether it left a core file.
fn reaped(record: &Record, kept: &Kept) -> Option<(u32, u32, bool)> {
    let word = |address: u64| {
        let mut bytes = [0; 4];
        let done = kept.read(When::Exit, address, &mut bytes);
        (done == 4).then(|| u32::from_le_bytes(bytes))
    };
    let pid = u32::try_from(record.result.cast_signed()).ok()?;
    match record.number {
        WAIT4 if pid != 0 => {
            let status = word(record.args[1])?;
            let signal = status & 0x7f;
            let killed = status & 0xff != 0x7f && signal != 0 && status != 0xffff;
            killed.then_some((pid, signal, status & 0x80 != 0))
        }
        WAITID => {
            let info = record.args[2];
            let code = word(info.checked_add(8)?)?;
            let died = matches!(code, CLD_KILLED | CLD_DUMPED);
            died.then_some((word(info + 16)?, word(info + 24)?, code == CLD_DUMPED))
        }
        _ => None,
    }
}

/// Whoever is told of events, in the order of time.
pub trait Listener {
    /// The exec that begins the program, of which nobody in the program could tell.
    fn begins(&mut self, call: Call, kept: Vec<(u64, Vec<u8>)>) -> io::Result<()>;
    /// The next event.
    fn event(&mut self, event: Event) -> io::Result<()>;
    /// A thread is not there any more.
    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()>;
    /// The program's first process has ended: `how`, as a line.
    fn end(&mut self, how: &str) -> io::Result<()>;
    /// All that has been said reaches its reader.
    fn flush(&mut self) -> io::Result<()>;
    /// Whether all threads and processes are of interest.
    fn follows(&self) -> bool;
}

/// A call that has not come back.
#[derive(Debug)]
struct Pending {
    pid: u32,
    call: Call,
    kept: Kept,
    /// Its first part has been printed as unfinished.
    begun: bool,
    /// Address of its instruction; 0 if nobody knows.
    site: u64,
    /// When it began, in ticks.
    time: u64,
    /// What rules have done to it.
    flags: u32,
}

/// Prints events.
#[derive(Debug)]
pub struct Printer<W: Write> {
    out: W,
    choice: Choice,
    /// The program's first thread.
    root: u32,
    /// By thread; a call of a signal's handler lies on the one that the signal has come to the end of.
    pending: HashMap<u32, Vec<Pending>>,
    /// Whose call stands last, without a line of its own yet.
    open: Option<u32>,
    /// Threads that have been seen and not ended, by process.
    threads: HashMap<u32, u32>,
    /// How processes said that they would end.
    leaving: HashMap<u32, i32>,
    clock: Clock,
    /// When what the last line is about happened.
    before: Duration,
}

impl<W: Write> Printer<W> {
    /// For the program whose first thread is `root`.
    pub fn new(out: W, choice: Choice, root: u32) -> Self {
        Self {
            out,
            choice,
            root,
            pending: HashMap::new(),
            open: None,
            threads: HashMap::from([(root, root)]),
            leaving: HashMap::new(),
            clock: Clock::new(),
            before: Duration::ZERO,
        }
    }

    fn entry(&mut self, record: Record, kept: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        self.threads.insert(record.tid, record.pid);
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
        if !self.tells(record.number, &record.args) {
            return Ok(());
        }
        self.interrupt()?;
        let pending = Pending {
            pid: record.pid,
            call: Call {
                number: record.number,
                args: record.args,
                result: None,
            },
            kept: Kept::new(When::Entry, kept),
            begun: false,
            site: record.site,
            time: record.time,
            flags: 0,
        };
        let calls = self.pending.entry(record.tid).or_default();
        // Those that a handler has jumped out of stay for ever.
        if calls.len() == DEEPEST {
            calls.remove(0);
        }
        calls.push(pending);
        self.open = Some(record.tid);
        Ok(())
    }

    fn exit(&mut self, record: Record, kept: Vec<(u64, Vec<u8>)>, flags: u32) -> io::Result<()> {
        let kept = Kept::new(When::Exit, kept);
        if let Some((pid, signal, core)) = reaped(&record, &kept) {
            self.was_killed(pid, signal, core)?;
        }
        let Some(calls) = self.pending.get_mut(&record.tid) else {
            return Ok(());
        };
        let this = calls.iter().rposition(|p| p.call.number == record.number);
        calls.truncate(this.map_or(calls.len(), |at| at + 1));
        let Some(mut pending) = this.and_then(|_| calls.pop()) else {
            return Ok(());
        };
        pending.kept.0.extend(kept.0);
        pending.flags = flags;
        self.ends(record.tid, pending, Some(record.result), record.time)
    }

    /// A process has a new program: its exec has come to an end.
    fn program(&mut self, record: Record) -> io::Result<()> {
        self.threads.retain(|_, pid| *pid != record.pid);
        self.threads.insert(record.tid, record.pid);
        let execs = |calls: &Vec<Pending>| {
            calls
                .last()
                .is_some_and(|p| p.pid == record.pid && matches!(p.call.number, EXECVE | EXECVEAT))
        };
        let who = self.pending.iter().find(|(_, calls)| execs(calls));
        let Some(tid) = who.map(|(tid, _)| *tid) else {
            return Ok(());
        };
        match self.pending.remove(&tid).and_then(|mut calls| calls.pop()) {
            Some(pending) => self.ends(tid, pending, Some(0), record.time),
            None => Ok(()),
        }
    }

    /// A process whose parent has just heard of its end, which it could not tell itself.
    fn was_killed(&mut self, pid: u32, signal: u32, core: bool) -> io::Result<()> {
        self.gone(pid, pid)?;
        self.interrupt()?;
        let mut text = self.prefix(pid, ticks());
        killed(signal, core, &mut text);
        self.put(text)
    }

    /// Prints a call that has ended, or never will.
    fn ends(
        &mut self,
        tid: u32,
        mut pending: Pending,
        result: Option<u64>,
        now: u64,
    ) -> io::Result<()> {
        pending.call.result = result;
        if !self.tells(pending.call.number, &pending.call.args) || !self.has_status(result) {
            self.open = self.open.filter(|open| *open != tid);
            return Ok(());
        }
        if self.open != Some(tid) {
            self.interrupt()?;
        }
        self.open = None;
        let from = if pending.begun { now } else { pending.time };
        let mut text = self.prefix(tid, from);
        self.choice.whence(&pending, &mut text);
        let print = if pending.begun { resume } else { line };
        let style = self.choice.style(pending.call.number);
        print(&pending.call, &pending.kept, &style, &mut text);
        for (flag, word) in [
            (kind::INJECTED, " (INJECTED)"),
            (kind::DELAYED, " (DELAYED)"),
        ] {
            if pending.flags & flag != 0 {
                text.push_str(word);
            }
        }
        if self.choice.spans && result.is_some() {
            let took = self.clock.span(now.saturating_sub(pending.time));
            let _ = write!(text, " <{}.{:06}>", took.as_secs(), took.subsec_micros());
        }
        self.put(text)
    }

    /// Another line comes behind a call that has not come back.
    fn interrupt(&mut self) -> io::Result<()> {
        let Some(tid) = self.open.take() else {
            return Ok(());
        };
        // Whether it will be told is known only when it ends.
        if !self.choice.status.is_empty() {
            return Ok(());
        }
        let last = self.pending.get(&tid).and_then(|calls| calls.last());
        let Some(time) = last.map(|pending| pending.time) else {
            return Ok(());
        };
        let mut text = self.prefix(tid, time);
        let calls = self.pending.get_mut(&tid);
        if let Some(pending) = calls.and_then(|calls| calls.last_mut()) {
            let style = self.choice.style(pending.call.number);
            self.choice.whence(pending, &mut text);
            begin(&pending.call, &pending.kept, &style, &mut text);
            pending.begun = true;
        }
        self.put(text)
    }

    /// What stands ahead of a line about what `tid` did at that time.
    fn prefix(&mut self, tid: u32, time: u64) -> String {
        let mut text = if self.choice.named {
            format!("{tid:<5} ")
        } else if self.choice.follow && self.threads.len() > 1 {
            format!("[pid {tid:>5}] ")
        } else {
            String::new()
        };
        if let Some(stamp) = self.choice.stamp {
            let at = self.clock.at(time);
            let before = std::mem::replace(&mut self.before, at);
            stamp.put(at, if before.is_zero() { at } else { before }, &mut text);
        }
        text
    }

    fn put(&mut self, mut text: String) -> io::Result<()> {
        text.push('\n');
        self.out.write_all(text.as_bytes())
    }

    fn tells(&self, number: u64, args: &[u64; 6]) -> bool {
        let takes = |(others, fds): &(bool, Vec<i32>)| {
            let told = |fd: i32| fd >= 0 && fds.contains(&fd) != *others;
            let signature = signature(number, args);
            let arguments = signature.as_ref().map_or(&[][..], |s| s.arguments());
            arguments.iter().any(|argument| {
                let value = args.get(usize::from(argument.index)).copied().unwrap_or(0);
                matches!(argument.kind, Kind::Fd | Kind::DirFd) && told(value as i32)
            })
        };
        self.choice.calls.is_none_or(|calls| calls.has(number))
            && self.choice.descriptors.as_ref().is_none_or(takes)
    }

    fn has_status(&self, result: Option<u64>) -> bool {
        let is = match result {
            None => Status::Unfinished,
            Some(result) if result > u64::MAX - 4096 => Status::Failed,
            Some(_) => Status::Successful,
        };
        self.choice.status.is_empty() || self.choice.status.contains(&is)
    }
}

impl<W: Write> Listener for Printer<W> {
    fn begins(&mut self, call: Call, kept: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let pending = Pending {
            pid: self.root,
            call,
            kept: Kept::new(When::Entry, kept),
            begun: false,
            site: 0,
            time: ticks(),
            flags: 0,
        };
        self.threads.insert(self.root, self.root);
        self.open = Some(self.root);
        self.pending.insert(self.root, vec![pending]);
        Ok(())
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        let record = event.record;
        if self.choice.stamp.is_some() || self.choice.spans {
            self.clock.goes_on();
        }
        match record.kind {
            kind::ENTRY => self.entry(record, event.kept),
            kind::EXIT => self.exit(record, event.kept, event.flags),
            kind::PROGRAM => self.program(record),
            kind::THREAD => {
                self.threads.insert(record.tid, record.pid);
                Ok(())
            }
            kind::END => self.gone(record.pid, record.tid),
            _ => Ok(()),
        }
    }

    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        if let Some(pending) = self.pending.remove(&tid).and_then(|mut calls| calls.pop()) {
            self.ends(tid, pending, None, ticks())?;
        }
        // The thread that ends a process is the first to tell.
        let Some(status) = self
            .leaving
            .get(&pid)
            .or_else(|| self.leaving.get(&tid))
            .copied()
        else {
            self.threads.remove(&tid);
            return Ok(());
        };
        if self.threads.contains_key(&tid) && tid != self.root {
            self.interrupt()?;
            let mut text = self.prefix(tid, ticks());
            exited(status, &mut text);
            self.put(text)?;
        }
        self.threads.remove(&tid);
        Ok(())
    }

    fn end(&mut self, how: &str) -> io::Result<()> {
        let last = self
            .pending
            .remove(&self.root)
            .and_then(|mut calls| calls.pop());
        if let Some(pending) = last {
            // Where nobody tells anything, the exec is all that is known.
            let first = pending.call.number == EXECVE && pending.call.result == Some(0);
            self.ends(self.root, pending, first.then_some(0), ticks())?;
        }
        self.interrupt()?;
        if how.is_empty() {
            return Ok(());
        }
        let text = self.prefix(self.root, ticks()) + how;
        self.threads.remove(&self.root);
        self.put(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn follows(&self) -> bool {
        self.choice.follow
    }
}
