//! Calls counted: how often, how many failed, how long they took.

use std::collections::HashMap;
use std::io::{self, Write};

use hdrhistogram::Histogram;
use hotpatch_decode::Call;
use hotpatch_decode::expression::CallSet;
use hotpatch_events::kind;
use serde::Serialize;

use crate::clock::Clock;
use crate::events::Event;
use crate::trace::{EXECVE, Listener, name};

/// Counts by call.
pub struct Counter {
    out: Box<dyn Write + Send>,
    calls: Option<CallSet>,
    follow: bool,
    json: bool,
    clock: Clock,
    rows: HashMap<u64, Row>,
    /// Execs that have not come back, by process.
    execs: HashMap<u32, (u64, u64)>,
}

struct Row {
    errors: u64,
    /// In ticks.
    sum: u64,
    times: Histogram<u64>,
}

/// The counts as JSON.
#[derive(Serialize)]
struct Counts {
    total: u64,
    errors: u64,
    seconds: f64,
    calls: Vec<Line>,
}

/// One call's.
#[derive(Serialize)]
struct Line {
    name: String,
    number: u64,
    calls: u64,
    errors: u64,
    seconds: f64,
    /// Microseconds: of one call on average, of half of them at most, of 99 %, of all.
    mean_us: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Counter {
    /// For a program that has just been started.
    pub fn new(
        out: Box<dyn Write + Send>,
        calls: Option<CallSet>,
        follow: bool,
        json: bool,
    ) -> Self {
        Self {
            out,
            calls,
            follow,
            json,
            clock: Clock::new(),
            rows: HashMap::new(),
            execs: HashMap::new(),
        }
    }

    fn count(&mut self, number: u64, result: u64, took: u64) {
        if self.calls.is_some_and(|calls| !calls.has(number)) {
            return;
        }
        let row = self.rows.entry(number).or_insert_with(|| Row {
            errors: 0,
            sum: 0,
            times: Histogram::new(2).unwrap_or_else(|_| unreachable!("2 digits are allowed")),
        });
        row.errors += u64::from(result > u64::MAX - 4096);
        row.sum += took;
        // It grows by itself up to what 64 bits hold.
        let _ = row.times.record(took);
    }

    fn counts(&mut self) -> Counts {
        self.clock.goes_on();
        let seconds = |ticks| self.clock.span(ticks).as_secs_f64();
        let microseconds = |ticks| seconds(ticks) * 1e6;
        let mut calls: Vec<Line> = self
            .rows
            .iter()
            .map(|(&number, row_of)| {
                let calls = row_of.times.len();
                let at = |quantile| microseconds(row_of.times.value_at_quantile(quantile));
                Line {
                    name: name(number).into_owned(),
                    number,
                    calls,
                    errors: row_of.errors,
                    seconds: seconds(row_of.sum),
                    mean_us: microseconds(row_of.sum) / calls.max(1) as f64,
                    p50_us: at(0.5),
                    p99_us: at(0.99),
                    max_us: at(1.0),
                }
            })
            .collect();
        calls.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then(a.name.cmp(&b.name)));
        Counts {
            total: calls.iter().map(|line| line.calls).sum(),
            errors: calls.iter().map(|line| line.errors).sum(),
            seconds: calls.iter().map(|line| line.seconds).sum(),
            calls,
        }
    }

    fn table(&mut self, counts: &Counts) -> io::Result<()> {
        let out = &mut self.out;
        let rule = "------ ----------- ----------- --------- --------- --------- --------- --------- ----------------";
        writeln!(
            out,
            "{:>6} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9} {:>9} syscall\n{rule}",
            "% time", "seconds", "usecs/call", "p50", "p99", "max", "calls", "errors"
        )?;
        let errors = |n: u64| if n == 0 { String::new() } else { n.to_string() };
        for line in &counts.calls {
            let share = 100.0 * line.seconds / counts.seconds.max(f64::MIN_POSITIVE);
            writeln!(
                out,
                "{share:>6.2} {:>11.6} {:>11.1} {:>9.1} {:>9.1} {:>9.1} {:>9} {:>9} {}",
                line.seconds,
                line.mean_us,
                line.p50_us,
                line.p99_us,
                line.max_us,
                line.calls,
                errors(line.errors),
                line.name
            )?;
        }
        let mean = counts.seconds * 1e6 / counts.total.max(1) as f64;
        writeln!(
            out,
            "{rule}\n100.00 {:>11.6} {mean:>11.1} {:>29} {:>9} {:>9} total",
            counts.seconds,
            "",
            counts.total,
            errors(counts.errors)
        )
    }
}

impl Listener for Counter {
    fn begins(&mut self, _: Call, _: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        // As strace has it: the exec that begins the program is one of its calls.
        self.count(EXECVE, 0, 0);
        Ok(())
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        let record = event.record;
        match record.kind {
            kind::ENTRY => {
                self.execs.insert(record.pid, (record.number, record.time));
            }
            kind::EXIT => {
                let began = match self.execs.remove(&record.pid) {
                    Some((number, began)) if number == record.number => began,
                    _ => record.began,
                };
                self.count(
                    record.number,
                    record.result,
                    record.time.saturating_sub(began),
                );
            }
            kind::PROGRAM => {
                if let Some((number, began)) = self.execs.remove(&record.pid) {
                    self.count(number, 0, record.time.saturating_sub(began));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn gone(&mut self, _: u32, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &str) -> io::Result<()> {
        let counts = self.counts();
        if self.json {
            serde_json::to_writer(&mut self.out, &counts)?;
            writeln!(self.out)
        } else {
            self.table(&counts)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn follows(&self) -> bool {
        self.follow
    }
}
