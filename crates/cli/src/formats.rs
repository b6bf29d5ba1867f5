//! Calls for programs to read: lines of JSON, or a trace that Perfetto's viewer opens. docs/trace.md has the fields.

use std::io::{self, Write};
use std::time::Duration;

use hotpatch_decode::{Call, Style, line, signal};
use hotpatch_events::{Record, kind};
use serde::Serialize;

use crate::clock::Clock;
use crate::events::{Chunks, Event};
use crate::output::Sink;
use crate::pairs::{Begun, Pairs};
use crate::stacks::Stacks;
use crate::supervise::Ended;
use crate::trace::signals::{Info, info, sigreturn};
use crate::trace::{Choice, Listener, name};

/// Which form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// As strace prints it
    #[default]
    Text,
    /// A line of JSON for each call
    Json,
    /// A trace for ui.perfetto.dev and chrome://tracing: a track for each thread
    Perfetto,
}

/// One call as a line of JSON.
#[derive(Serialize)]
struct CallLine<'a> {
    /// When it began, in seconds since 1970.
    time: f64,
    pid: u32,
    tid: u32,
    call: &'a str,
    number: u64,
    args: [u64; 6],
    /// What it left in rax, signed; nothing if it never came back.
    result: Option<i64>,
    /// Seconds that it took.
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "is_false")]
    injected: bool,
    #[serde(skip_serializing_if = "is_false")]
    delayed: bool,
    /// As strace prints it.
    text: &'a str,
    /// Who has called whom, the innermost first.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<&'a [String]>,
}

/// A signal as a line of JSON.
#[derive(Serialize)]
struct SignalLine<'a> {
    /// When it came, in seconds since 1970.
    time: f64,
    pid: u32,
    tid: u32,
    signal: u32,
    text: &'a str,
}

/// One call, or a signal, as an event of the trace event format.
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    cat: &'static str,
    ph: &'static str,
    /// Microseconds since 1970.
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    args: Shown<'a>,
}

#[derive(Serialize)]
struct Shown<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<&'a [String]>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Writes calls when they have ended.
pub struct Writer {
    out: Sink,
    perfetto: bool,
    choice: Choice,
    stacks: Option<Stacks>,
    clock: Clock,
    begun: Pairs,
    /// Something stands ahead of the next event.
    any: bool,
}

impl Writer {
    /// For a program that has just been started.
    pub fn new(out: Sink, perfetto: bool, choice: Choice) -> Self {
        Self {
            out,
            perfetto,
            stacks: choice.stacks.then(Stacks::default),
            choice,
            clock: Clock::new(),
            begun: Pairs::default(),
            any: false,
        }
    }

    fn begin(&mut self, record: Record, chunks: &Chunks<'_>) {
        let kept = self.begun.keep(chunks);
        if self.choice.filter.tells(&record, &kept) {
            self.begun.begins(record, kept);
        }
    }

    /// Writes a call that has ended at `now`, or never will.
    fn end_of(
        &mut self,
        begun: &Begun,
        result: Option<u64>,
        now: u64,
        flags: u32,
    ) -> io::Result<()> {
        let Begun { record, kept, .. } = begun;
        if !self.choice.has_status(result) {
            return Ok(());
        }
        let call = Call {
            number: record.number,
            args: record.args,
            result,
        };
        let mut text = String::new();
        let style = Style {
            column: 0,
            ..self.choice.style(record.number)
        };
        line(&call, kept, &style, &mut text);
        let stacks = self.stacks.as_mut();
        let stack = stacks.map(|stacks| stacks.frames(record, kept));
        let name = &name(record.number);
        self.clock.goes_on();
        let (at, took) = (
            self.clock.at(record.time),
            self.clock.span(now.saturating_sub(record.time)),
        );
        if !self.perfetto {
            let line = CallLine {
                time: at.as_secs_f64(),
                pid: record.pid,
                tid: record.tid,
                call: name,
                number: record.number,
                args: record.args,
                result: result.map(u64::cast_signed),
                seconds: result.map(|_| took.as_secs_f64()),
                injected: flags & (kind::INJECTED | kind::POKED) != 0,
                delayed: flags & kind::DELAYED != 0,
                text: &text,
                stack: stack.as_deref(),
            };
            serde_json::to_writer(&mut self.out, &line)?;
            return self.out.write_all(b"\n");
        }
        self.event_of(&TraceEvent {
            name,
            cat: "syscall",
            ph: "X",
            ts: at.as_secs_f64() * 1e6,
            dur: Some(took.as_secs_f64() * 1e6),
            pid: record.pid,
            tid: record.tid,
            args: Shown {
                text: &text,
                stack: stack.as_deref(),
            },
        })
    }

    fn event_of(&mut self, event: &TraceEvent<'_>) -> io::Result<()> {
        self.out.write_all(if self.any {
            b",\n"
        } else {
            b"{\"traceEvents\":[\n"
        })?;
        self.any = true;
        Ok(serde_json::to_writer(&mut self.out, event)?)
    }

    /// Writes a signal.
    fn signal(&mut self, record: &Record, info: &Info) -> io::Result<()> {
        let [a, b, c, d, ..] = *info;
        let number = u32::from_le_bytes([a, b, c, d]);
        if !self.choice.filter.tells_signal(info) {
            return Ok(());
        }
        let mut text = String::new();
        signal(info, &mut text);
        self.clock.goes_on();
        let at = self.clock.at(record.time).as_secs_f64();
        let Record { pid, tid, .. } = *record;
        if self.perfetto {
            let words = text.split(' ');
            let name = words.clone().nth(1).unwrap_or_default();
            return self.event_of(&TraceEvent {
                name,
                cat: "signal",
                ph: "i",
                ts: at * 1e6,
                dur: None,
                pid,
                tid,
                args: Shown {
                    text: &text,
                    stack: None,
                },
            });
        }
        let line = SignalLine {
            time: at,
            pid,
            tid,
            signal: number,
            text: &text,
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }
}

impl Listener for Writer {
    fn begins(&mut self, exec: Record, kept: &Chunks<'_>) -> io::Result<()> {
        self.begin(exec, kept);
        Ok(())
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let record = event.record;
        if let Some(stacks) = &mut self.stacks {
            stacks.note(event);
        }
        match record.kind {
            kind::ENTRY => self.begin(record, &event.kept),
            kind::EXIT => {
                if let Some(begun) = self.begun.ends(&record, &event.kept) {
                    self.end_of(&begun, Some(record.result), record.time, event.flags)?;
                    self.begun.leave(begun.kept);
                }
            }
            kind::PROGRAM => {
                if let Some(begun) = self.begun.program(&record) {
                    self.end_of(&begun, Some(0), record.time, 0)?;
                }
            }
            kind::SIGNAL => {
                let info = info(&event.kept);
                let over = self.begun.interrupted(&record, &event.kept, event.flags);
                if let Some((begun, result)) = over {
                    self.end_of(&begun, Some(result), record.time, 0)?;
                }
                if let Some(info) = info {
                    self.signal(&record, &info)?;
                }
            }
            kind::RETURN => {
                let (call, kept) = sigreturn(&record);
                let begun = Begun {
                    record: Record {
                        number: call.number,
                        args: call.args,
                        ..record
                    },
                    kept,
                    told: false,
                };
                if self.choice.filter.tells(&begun.record, &begun.kept) {
                    self.end_of(&begun, call.result, record.time, 0)?;
                }
                self.begun.goes_on(&record, event.flags);
            }
            kind::END => self.gone(record.pid, record.tid)?,
            _ => {}
        }
        Ok(())
    }

    fn gone(&mut self, _: u32, tid: u32) -> io::Result<()> {
        match self.begun.gone(tid) {
            Some(begun) => self.end_of(&begun, None, self.clock.now().0, 0),
            None => Ok(()),
        }
    }

    fn end(&mut self, _: Ended) -> io::Result<()> {
        for tid in self.begun.threads() {
            self.gone(0, tid)?;
        }
        if self.perfetto {
            let begin: &[u8] = if self.any { b"" } else { b"{\"traceEvents\":[" };
            self.out.write_all(begin)?;
            self.out.write_all(b"\n],\"displayTimeUnit\":\"ns\"}\n")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn follows(&self) -> bool {
        self.choice.follow
    }

    fn maps(&mut self, pid: u32, maps: &str) -> io::Result<()> {
        if let Some(stacks) = &mut self.stacks {
            stacks.maps(pid, maps);
        }
        Ok(())
    }

    fn at(&mut self, ticks: u64, time: Duration) {
        self.clock.tell(ticks, time);
    }
}
