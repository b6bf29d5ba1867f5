//! A trace as a file: what threads have told, as they have told it, in the order of time. docs/record.md has the form.

use std::io::{self, Read, Write};
use std::time::Duration;

use hotpatch_decode::expression::CallSet;
use hotpatch_events::{Record, kind};

use crate::clock::Clock;
use crate::events::{self, Chunks, Event};
use crate::output::Sink;
use crate::supervise::Ended;
use crate::trace::Listener;

/// What such a file begins with; the last digit changes with anything in it.
pub const MAGIC: [u8; 16] = *b"hotpatch trace 1";
/// Bytes of one record at most: the exec that begins the program has its whole environment.
const MOST: usize = 1 << 24;

/// Calls that are written whichever are asked for: they tell of processes.
const ALWAYS: [u64; 6] = [60, 61, 231, 247, 59, 322];

// Kinds of records that only a file has, behind those of `kind`.
/// The exec that begins the program. `began` says how much of texts was kept, `site` whether all threads are told.
const FIRST: u32 = 0x80;
/// `time` was `number` nanoseconds after 1970.
const CLOCK: u32 = 0x81;
/// A thread is found not to be there any more.
const GONE: u32 = 0x82;
/// What a process has mapped: a chunk at address 0 holds its `/proc/PID/maps`.
const MAPS: u32 = 0x84;
/// The first process has ended: `number` 0 with status `result`, 1 by signal `result`, 2 in a way that nobody knows.
const FINISH: u32 = 0x83;
/// In what a signal is written as: a core file was left.
const CORE: i64 = 0x80;

/// Writes what it is told.
pub struct Recorder {
    out: Sink,
    calls: Option<CallSet>,
    follow: bool,
    text: u64,
    /// Stacks are kept.
    stacks: bool,
    root: u32,
    clock: Clock,
    /// The last time that was written, in ticks.
    stamped: u64,
}

impl Recorder {
    /// For the program whose first thread is `root`; `text` bytes of texts are kept.
    pub fn new(
        out: Sink,
        calls: Option<CallSet>,
        follow: bool,
        text: u64,
        stacks: bool,
        root: u32,
    ) -> Self {
        Self {
            out,
            calls,
            follow,
            text,
            stacks,
            root,
            clock: Clock::new(),
            stamped: 0,
        }
    }

    fn put(&mut self, record: Record, kept: &[u8]) -> io::Result<()> {
        events::write(&record, kept, &mut self.out)
    }

    /// Writes what time it is, ahead of what happened at `time`: that lies between times that are known, then.
    fn stamp(&mut self, time: u64) -> io::Result<()> {
        if time <= self.stamped {
            return Ok(());
        }
        self.clock.goes_on();
        let (ticks, now) = self.clock.now();
        self.stamped = ticks;
        let record = Record {
            kind: CLOCK,
            time: ticks,
            number: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            ..Record::default()
        };
        self.put(record, &[])
    }

    fn is_written(&self, record: &Record) -> bool {
        let call = matches!(record.kind, kind::ENTRY | kind::EXIT);
        let asked_for = |calls: CallSet| calls.has(record.number);
        // Where code is mapped, and by whom.
        let maps = self.stacks && matches!(record.number, 9 | 11 | 56..=58 | 435);
        !call || maps || self.calls.is_none_or(asked_for) || ALWAYS.contains(&record.number)
    }
}

impl Listener for Recorder {
    fn begins(&mut self, record: Record, kept: &Chunks<'_>) -> io::Result<()> {
        self.out.write_all(&MAGIC)?;
        self.stamp(u64::MAX)?;
        let record = Record {
            kind: FIRST,
            began: self.text,
            site: u64::from(self.follow),
            ..record
        };
        self.put(record, kept.0)
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if !self.is_written(&event.record) {
            return Ok(());
        }
        self.stamp(event.record.time)?;
        let record = Record {
            kind: event.record.kind | event.flags,
            ..event.record
        };
        self.put(record, event.kept.0)
    }

    fn gone(&mut self, pid: u32, tid: u32) -> io::Result<()> {
        self.stamp(u64::MAX)?;
        let record = Record {
            kind: GONE,
            pid,
            tid,
            time: self.clock.now().0,
            ..Record::default()
        };
        self.put(record, &[])
    }

    fn end(&mut self, how: Ended) -> io::Result<()> {
        self.stamp(u64::MAX)?;
        let (number, result) = match how {
            Ended::Exit(status) => (0, i64::from(status)),
            Ended::Signal(signal, core) => (1, i64::from(signal) | if core { CORE } else { 0 }),
            Ended::Unknown => (2, 0),
        };
        let record = Record {
            kind: FINISH,
            pid: self.root,
            tid: self.root,
            time: self.clock.now().0,
            number,
            result: result.cast_unsigned(),
            ..Record::default()
        };
        self.put(record, &[])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn follows(&self) -> bool {
        self.follow
    }

    fn at(&mut self, _: u64, _: Duration) {}

    fn maps(&mut self, pid: u32, maps: &str) -> io::Result<()> {
        self.stamp(u64::MAX)?;
        let record = Record {
            kind: MAPS,
            pid,
            tid: pid,
            time: self.clock.now().0,
            ..Record::default()
        };
        let chunk = Chunks::from(&[(0, maps.as_bytes().to_vec())]);
        self.put(record, &chunk)
    }
}

/// What the exec that begins a recorded program says.
pub struct First {
    /// The exec.
    pub record: Record,
    /// The memory that it names, as [`Chunks`].
    pub kept: Vec<u8>,
    /// Bytes of texts that were kept.
    pub text: usize,
    /// Whether all threads are told.
    pub follow: bool,
}

/// Why a file cannot be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// It does not begin like one.
    #[error("is not a record of hotpatch trace, or of another version")]
    Foreign,
    /// It ends too early.
    #[error("is cut: what stands here is all that it holds")]
    Cut,
    /// It holds what no trace tells.
    #[error("is damaged at byte {0}: what stands here is all before that")]
    Damaged(u64),
    /// The kernel says so.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
}

/// Reads a file, record by record.
pub struct Reader<R> {
    from: R,
    /// Bytes that have been read.
    at: u64,
    bytes: Vec<u8>,
    /// The time that was written first.
    clock: Option<(u64, Duration)>,
}

impl<R: Read> Reader<R> {
    /// Looks at what the file begins with.
    pub fn new(mut from: R) -> Result<Self, Broken> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Ok(()) => return Err(Broken::Foreign),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Broken::Foreign);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            from,
            at: magic.len() as u64,
            bytes: Vec::new(),
            clock: None,
        })
    }

    /// The next record; nothing where the file ends.
    fn next(&mut self) -> Result<Event<'_>, Broken> {
        let cut = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Broken::Cut,
            _ => Broken::Unreadable(error),
        };
        let mut len = [0; 4];
        self.from.read_exact(&mut len).map_err(cut)?;
        let count = u32::from_le_bytes(len) as usize;
        if count < size_of::<Record>() || count > MOST {
            return Err(Broken::Damaged(self.at));
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&len);
        self.bytes.resize(count, 0);
        self.from.read_exact(&mut self.bytes[4..]).map_err(cut)?;
        let at = self.at;
        self.at += count as u64;
        events::read(&mut self.bytes).ok_or(Broken::Damaged(at))
    }

    /// The exec that everything begins with.
    pub fn first(&mut self) -> Result<First, Broken> {
        loop {
            let event = self.next()?;
            match event.record.kind {
                CLOCK => self.clock = Some((event.record.time, since(&event.record))),
                FIRST => {
                    return Ok(First {
                        text: usize::try_from(event.record.began).unwrap_or(usize::MAX),
                        follow: event.record.site != 0,
                        record: Record {
                            kind: kind::ENTRY,
                            began: 0,
                            site: 0,
                            ..event.record
                        },
                        kept: event.kept.0.to_vec(),
                    });
                }
                _ => return Err(Broken::Damaged(self.at)),
            }
        }
    }

    /// Tells all of the rest, until `stop` says that nobody listens any more.
    pub fn tell(
        &mut self,
        listener: &mut dyn Listener,
        stop: impl Fn() -> bool,
    ) -> Result<(), Broken> {
        if let Some((ticks, time)) = self.clock {
            listener.at(ticks, time);
        }
        while !stop() {
            let event = self.next()?;
            let record = event.record;
            match record.kind {
                CLOCK => listener.at(record.time, since(&record)),
                GONE => listener.gone(record.pid, record.tid)?,
                MAPS => {
                    let maps = event.kept.iter().next().map_or(&[][..], |(_, text)| text);
                    listener.maps(record.pid, &String::from_utf8_lossy(maps))?;
                }
                FINISH => {
                    listener.end(how(&record))?;
                    return Ok(());
                }
                _ => listener.event(&event)?,
            }
        }
        Ok(())
    }
}

fn since(record: &Record) -> Duration {
    Duration::from_nanos(record.number)
}

fn how(record: &Record) -> Ended {
    let value = record.result as i32;
    match record.number {
        0 => Ended::Exit(value),
        1 => Ended::Signal(value & !(CORE as i32), i64::from(value) & CORE != 0),
        _ => Ended::Unknown,
    }
}
