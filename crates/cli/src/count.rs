//! Calls counted: how often, how many failed, how long they took, what they moved.

mod by;
mod sites;

pub use by::By;

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hotpatch_decode::{Kept, When};
use hotpatch_events::{Record, Sum, kind};
use hotpatch_names::moves_bytes;
use nix::libc;
use serde::Serialize;

use crate::args::Table;
use crate::clock::Clock;
use crate::columns;
use crate::events::{Chunks, Event};
use crate::filter::Filter;
use crate::output::Sink;
use crate::pairs::{Begun, EINTR, Pairs};
use crate::supervise::Ended;
use crate::trace::signals::sigreturn;
use crate::trace::{Listener, Printer};

use by::{Groups, Key};

/// Counts by call.
pub struct Counter {
    /// Where the table goes; nowhere until it is asked for.
    out: Option<Sink>,
    filter: Filter,
    /// Whether all that is told of a call is its end.
    ends: bool,
    follow: bool,
    json: bool,
    table: Table,
    clock: Clock,
    rows: HashMap<Key, Row>,
    groups: Groups,
    /// How often the table is printed while the program runs.
    interval: Option<Duration>,
    printed: Instant,
    /// Calls that have not come back: all that are told, or where only ends are, execs.
    begun: Pairs,
}

struct Row {
    errors: u64,
    bytes: u64,
    /// In ticks.
    sum: u64,
    times: Histogram<u64>,
}

/// The counts as JSON.
#[derive(Serialize)]
pub struct Counts {
    /// Calls.
    pub total: u64,
    /// Those that failed.
    pub errors: u64,
    /// What they took together.
    pub seconds: f64,
    /// What they moved from and to files.
    pub bytes: u64,
    /// What a row is about.
    pub by: &'static str,
    /// A row for each name.
    pub calls: Vec<Line>,
}

/// One call's.
#[derive(Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// How often it was made.
    pub calls: u64,
    /// How often it failed.
    pub errors: u64,
    /// What it took in all.
    pub seconds: f64,
    /// What it moved from and to files.
    pub bytes: u64,
    /// Microseconds of one call on average.
    pub mean_us: f64,
    /// Of the shortest.
    pub min_us: f64,
    /// Of half of them at most.
    pub p50_us: f64,
    /// Of 99 % of them.
    pub p99_us: f64,
    /// Of all of them.
    pub max_us: f64,
}

impl Counts {
    /// All calls as one.
    pub fn sum(&self) -> Line {
        let of = |field: fn(&Line) -> f64| self.calls.iter().map(field);
        Line {
            name: "total".to_owned(),
            number: None,
            calls: self.total,
            errors: self.errors,
            seconds: self.seconds,
            bytes: self.bytes,
            mean_us: self.seconds * 1e6 / self.total.max(1) as f64,
            min_us: of(|line| line.min_us).reduce(f64::min).unwrap_or(0.0),
            p50_us: 0.0,
            p99_us: 0.0,
            max_us: of(|line| line.max_us).fold(0.0, f64::max),
        }
    }
}

impl Counter {
    /// For a program that has just been started.
    pub fn new(filter: Filter, ends: bool, follow: bool, json: bool, table: Table) -> Self {
        Self {
            out: None,
            filter,
            ends,
            follow,
            json,
            interval: table.interval.map(Duration::from_secs_f64),
            clock: Clock::new(),
            rows: HashMap::new(),
            groups: Groups::new(table.by),
            table,
            printed: Instant::now(),
            begun: Pairs::default(),
        }
    }

    /// The table goes there in the end.
    pub fn to(mut self, out: Sink) -> Self {
        self.out = Some(out);
        self
    }

    /// Prints what has been counted.
    fn report(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let counts = self.counts();
        self.print(&counts, out)
    }

    fn print(&self, counts: &Counts, out: &mut dyn Write) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, counts)?;
            return writeln!(out);
        }
        columns::table(counts, &self.table.columns, out)
    }

    /// Prints it if it is time to: over what was there before, or behind it where that is no screen.
    fn repaint(&mut self) -> io::Result<()> {
        if self
            .interval
            .is_none_or(|interval| self.printed.elapsed() < interval)
        {
            return Ok(());
        }
        self.printed = Instant::now();
        let Some(mut out) = self.out.take() else {
            return Ok(());
        };
        let screen = self.table.is_painted.then(screen_lines);
        let counts = self.counts();
        let printed = match screen {
            Some(most) if !self.json => {
                out.write_all(b"\x1b[H\x1b[2J")?;
                let mut counts = counts;
                counts.calls.truncate(most.saturating_sub(5));
                columns::table(&counts, &self.table.columns, &mut out)
            }
            _ => self.print(&counts, &mut out),
        };
        let printed = printed.and_then(|()| out.flush());
        self.out = Some(out);
        printed
    }

    /// The row of a call.
    fn row(&mut self, key: Key) -> &mut Row {
        self.rows.entry(key).or_insert_with(|| Row {
            errors: 0,
            bytes: 0,
            sum: 0,
            times: Histogram::new(2).unwrap_or_else(|_| unreachable!("2 digits are allowed")),
        })
    }

    /// Counts a call that has ended with `result`.
    fn count(&mut self, record: &Record, kept: &Kept, result: u64, took: u64) {
        let ended = Record { result, ..*record };
        let key = self.groups.key(&ended, kept);
        let row = self.row(key);
        if result > u64::MAX - 4096 {
            row.errors += 1;
        } else if moves_bytes(record.number) {
            row.bytes = row.bytes.saturating_add(result);
        }
        row.sum = row.sum.saturating_add(took);
        // It grows by itself up to what 64 bits hold.
        let _ = row.times.record(took);
    }

    /// Adds what a thread has summed up itself.
    fn add(&mut self, record: &Record, sum: &Sum) {
        let number = record.number;
        if self.filter.calls.is_some_and(|calls| !calls.has(number)) {
            return;
        }
        let key = self.groups.key(record, &Kept::default());
        let row = self.row(key);
        row.errors = row.errors.saturating_add(sum.errors);
        row.bytes = row.bytes.saturating_add(sum.bytes);
        row.sum = row.sum.saturating_add(sum.ticks);
        // The shortest and the longest are known to the tick.
        let mut least = Some(!sum.not_least);
        for (place, &count) in sum
            .times
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let first = least.take();
            let _ = first.map(|least| row.times.record(least));
            let at = Sum::most_at(place).min(sum.most);
            let _ = row
                .times
                .record_n(at, u64::from(count) - u64::from(first.is_some()));
        }
    }

    fn counts(&mut self) -> Counts {
        self.clock.goes_on();
        let seconds = |ticks| self.clock.span(ticks).as_secs_f64();
        let microseconds = |ticks| seconds(ticks) * 1e6;
        let mut calls: Vec<Line> = self
            .rows
            .iter()
            .map(|(key, row_of)| {
                let calls = row_of.times.len();
                let at = |quantile| microseconds(row_of.times.value_at_quantile(quantile));
                Line {
                    name: self.groups.name(key),
                    number: match key {
                        Key::Call(number) => Some(*number),
                        _ => None,
                    },
                    calls,
                    errors: row_of.errors,
                    seconds: seconds(row_of.sum),
                    bytes: row_of.bytes,
                    mean_us: microseconds(row_of.sum) / calls.max(1) as f64,
                    min_us: microseconds(row_of.times.min()),
                    p50_us: at(0.5),
                    p99_us: at(0.99),
                    max_us: at(1.0),
                }
            })
            .collect();
        calls.sort_by(|a, b| self.table.sort.compare(a, b));
        Counts {
            total: calls.iter().map(|line| line.calls).sum(),
            errors: calls.iter().map(|line| line.errors).sum(),
            // (The sum of no numbers would be -0.)
            seconds: calls.iter().fold(0.0, |sum, line| sum + line.seconds),
            bytes: calls
                .iter()
                .map(|line| line.bytes)
                .fold(0, u64::saturating_add),
            by: self.groups.title(),
            calls,
        }
    }
}

impl Listener for Counter {
    fn begins(&mut self, exec: Record, kept: &Chunks<'_>) -> io::Result<()> {
        // As strace has it: the exec that begins the program is one of its calls.
        let kept = Kept::new(When::Entry, kept.iter());
        self.groups.begins(&exec, &kept);
        if self.filter.tells(&exec, &kept) {
            self.count(&exec, &kept, 0, 0);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.groups.note(event);
        let record = event.record;
        match record.kind {
            kind::ENTRY => {
                let kept = self.begun.keep(&event.kept);
                if self.filter.tells(&record, &kept) {
                    self.begun.begins(record, kept);
                } else {
                    self.begun.leave(kept);
                }
            }
            kind::EXIT => {
                let nothing = Kept::default();
                let begun = match self.begun.ends(&record, &event.kept) {
                    Some(begun) => begun,
                    None if self.ends && self.filter.tells(&record, &nothing) => Begun {
                        record: Record {
                            time: record.began,
                            ..record
                        },
                        kept: nothing,
                        told: false,
                    },
                    None => return Ok(()),
                };
                let took = record.time.saturating_sub(begun.record.time);
                self.count(&begun.record, &begun.kept, record.result, took);
                self.begun.leave(begun.kept);
            }
            kind::PROGRAM => {
                if let Some(begun) = self.begun.program(&record) {
                    let took = record.time.saturating_sub(begun.record.time);
                    self.count(&begun.record, &begun.kept, 0, took);
                }
            }
            kind::SIGNAL => {
                let over = (self.begun).interrupted(&record, &event.kept, event.flags);
                if let Some((begun, result)) = over {
                    let took = record.time.saturating_sub(begun.record.time);
                    self.count(&begun.record, &begun.kept, result, took);
                } else if self.ends
                    && event.flags & (kind::AGAIN | kind::AGAIN_UNSEEN) != 0
                    && self.filter.tells(&record, &Kept::default())
                {
                    let took = record.time.saturating_sub(record.began);
                    self.count(&record, &Kept::default(), EINTR, took);
                }
            }
            kind::RETURN => {
                let (call, kept) = sigreturn(&record);
                let as_call = Record {
                    number: call.number,
                    args: call.args,
                    ..record
                };
                if self.filter.tells(&as_call, &kept) {
                    self.count(&as_call, &kept, record.result, 0);
                }
                self.begun.goes_on(&record, event.flags);
            }
            kind::END => {
                self.begun.gone(record.tid);
            }
            kind::SUM => {
                if let Some(sum) = event.sum {
                    self.add(&record, sum);
                }
            }
            _ => {}
        }
        self.repaint()
    }

    fn gone(&mut self, _: u32, tid: u32) -> io::Result<()> {
        self.begun.gone(tid);
        Ok(())
    }

    fn end(&mut self, _: Ended) -> io::Result<()> {
        let Some(mut out) = self.out.take() else {
            return Ok(());
        };
        let reported = self.report(&mut out);
        self.out = Some(out);
        reported
    }

    fn flush(&mut self) -> io::Result<()> {
        self.repaint()?;
        self.out.as_mut().map_or(Ok(()), |out| out.flush())
    }

    fn follows(&self) -> bool {
        self.follow
    }

    fn at(&mut self, ticks: u64, time: Duration) {
        self.clock.tell(ticks, time);
    }
}

/// Lines, and behind them the table.
pub struct Both(pub Printer, pub Counter);

impl Listener for Both {
    fn begins(&mut self, exec: Record, kept: &Chunks<'_>) -> io::Result<()> {
        self.1.begins(exec, kept)?;
        self.0.begins(exec, kept)
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.1.event(event)?;
        self.0.event(event)
    }

    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        self.0.gone(pid, tid)?;
        self.1.gone(pid, tid)
    }

    fn end(&mut self, how: Ended) -> io::Result<()> {
        self.0.end(how)?;
        self.1.report(self.0.out()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn waits(&mut self) -> io::Result<()> {
        self.0.waits()
    }

    fn maps(&mut self, pid: u32, maps: &str) -> io::Result<()> {
        self.0.maps(pid, maps)
    }

    fn follows(&self) -> bool {
        self.0.follows()
    }

    fn at(&mut self, ticks: u64, time: Duration) {
        self.0.at(ticks, time);
        self.1.at(ticks, time);
    }
}

/// Lines of the terminal.
fn screen_lines() -> usize {
    // SAFETY: numbers alone, for which zeros are a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: writes to it.
    unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    match size.ws_row {
        0 => 24,
        lines => lines.into(),
    }
}
