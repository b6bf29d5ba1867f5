//! `hotpatch trace`: a program, and each of its system calls as a line.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotpatch_decode::expression::{Answer, Expression, Inject};
use hotpatch_decode::{Call, Escapes, Style, exited, killed};
use hotpatch_events::{MOST_RULES, Record, Rule, kind};
use nix::unistd::Pid;

use crate::args::Trace;
use crate::clock::Stamp;
use crate::commands::run::{Exec, exec, fall_back, injected, not_run};
use crate::count::Counter;
use crate::events::{Event, Events, Wishes, ticks};
use crate::formats::{Format, Writer};
use crate::program::{self, NotRun, Reach};
use crate::supervise::{self, Ended};
use crate::trace::{Choice, EXECVE, Listener, Printer};
use crate::{cache, style};

/// `clone`, `fork`, `vfork`, `clone3`.
const BIRTHS: [u64; 4] = [56, 57, 58, 435];
/// Elements of an array that are kept.
const ITEMS: u32 = 32;
/// How long nobody looks at empty rings, at least and at most.
const NAP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));
/// How often it is asked whether threads are there still.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the program: its exit status.
pub fn run(args: &Trace) -> anyhow::Result<i32> {
    let name = args.program[0].clone();
    let path = match program::find(&name) {
        Ok(path) => path,
        Err(why) => return Ok(not_run(&why)),
    };
    let reach = program::reach(&path);
    let private = cache::prepare()?;
    let (choice, rules) = choice(args)?;
    let out: Box<dyn Write + Send> = match &args.output {
        Some(path) => Box::new(BufWriter::with_capacity(
            1 << 16,
            File::create(path).with_context(|| path.display().to_string())?,
        )),
        None => Box::new(BufWriter::with_capacity(1 << 16, io::stderr())),
    };
    let events = Arc::new(
        Events::new(
            Wishes {
                text: u32::try_from(args.size).unwrap_or(u32::MAX).min(1 << 14),
                items: ITEMS,
                drop: args.drop,
                ends: args.count,
            },
            &rules,
        )
        .context("no memory to share with the program")?,
    );
    let injected = match reach {
        Reach::Program => {
            let settings = settings(&cache::trace_hook(&private)?, &events);
            let library = private.path.join(cache::file_name());
            Some(injected(&library, settings, true)?)
        }
        _ => {
            if let Some(why) = reach.why_native() {
                style::error(&format!("{}: {why}: not traced", path.display()));
            }
            None
        }
    };
    let exec = exec(&path, &args.program, injected)?;
    let first = first_exec(&exec);
    let (count, json, format) = (args.count, args.json, args.format);
    let listener = move |root| -> Box<dyn Listener + Send> {
        let (calls, follow) = (choice.calls, choice.follow);
        let perfetto = format == Format::Perfetto;
        match (count, format) {
            (true, _) => Box::new(Counter::new(out, calls, follow, json)),
            (false, Format::Text) => Box::new(Printer::new(out, choice, root)),
            _ => Box::new(Writer::new(
                out,
                perfetto,
                choice.style,
                calls,
                follow,
                root,
            )),
        }
    };
    let traced = Traced {
        events,
        first,
        listener: Mutex::new(Some(Box::new(listener))),
        ended: AtomicBool::new(false),
        reader: Mutex::new(None),
    };
    let traced = Arc::new(traced);
    let run = |exec: &Exec| supervise::run(exec, |child| traced.start(child));
    let ended = match run(&exec).or_else(|errno| fall_back(exec, &path, errno, run)) {
        Ok(ended) => ended,
        Err(errno) => return Ok(not_run(&NotRun::from_exec(&name, &path, errno))),
    };
    traced.finish(ended)?;
    Ok(ended.follow())
}

/// The settings of the library in the program.
fn settings(hook: &Path, events: &Events) -> Vec<(OsString, OsString)> {
    let ours = format!("/proc/{}/fd/2", std::process::id());
    let mut settings: Vec<(OsString, OsString)> = vec![
        ("LIBHOTPATCH_HOOK".into(), hook.into()),
        ("LIBHOTPATCH_EVENTS".into(), events.path().into()),
    ];
    if std::env::var_os("LIBHOTPATCH_LOGPATH").is_none() {
        settings.push(("LIBHOTPATCH_LOGPATH".into(), "/dev/null".into()));
        settings.push(("LIBHOTPATCH_HOOK_LOGPATH".into(), ours.into()));
    }
    settings
}

fn choice(args: &Trace) -> anyhow::Result<(Choice, Vec<Rule>)> {
    let mut rules = Vec::new();
    let mut choice = Choice {
        calls: None,
        status: Vec::new(),
        descriptors: None,
        whole: None,
        style: Style {
            text: args.size,
            verbose: args.verbose,
            escapes: match args.hexadecimal {
                0 => Escapes::Octal,
                1 => Escapes::Hex,
                _ => Escapes::AllHex,
            },
            column: args.column,
        },
        follow: args.follow,
        named: args.follow && args.output.is_some(),
        stamp: match (args.relative, args.time) {
            (true, _) => Some(Stamp::Relative),
            (false, 0) => None,
            (false, 1) => Some(Stamp::Seconds),
            (false, 2) => Some(Stamp::Microseconds),
            (false, _) => Some(Stamp::Epoch),
        },
        spans: args.spans,
        places: args.places,
        numbers: args.numbers,
    };
    for expression in &args.expressions {
        match expression {
            Expression::Trace(calls) => choice.calls = Some(*calls),
            Expression::Status(status) => choice.status.extend(status),
            Expression::Descriptors(others, fds) => {
                choice.descriptors = Some((*others, fds.clone()));
            }
            Expression::Whole(calls) => choice.whole = Some(*calls),
            // None is told, whichever is asked for.
            Expression::Signals(_) => {}
            Expression::Inject(inject) => rules.push(rule(inject)?),
            Expression::Raw(_) => anyhow::bail!("-e raw: not supported yet"),
        }
    }
    ensure!(
        rules.len() <= MOST_RULES,
        "-e inject: at most {MOST_RULES} of them"
    );
    Ok((choice, rules))
}

/// What the program's own hook does to calls.
fn rule(inject: &Inject) -> anyhow::Result<Rule> {
    ensure!(
        inject.syscall.is_none(),
        "-e inject: syscall= is not supported yet"
    );
    ensure!(
        inject.pokes.is_empty(),
        "-e inject: poke_enter= and poke_exit= are not supported yet"
    );
    let nanoseconds = |time: Option<Duration>| {
        let time = time.unwrap_or_default().as_nanos();
        u64::try_from(time).unwrap_or(u64::MAX)
    };
    // 2^64 chances; what is out of range is the nearest that is not.
    let rate = inject
        .probability
        .map_or(u64::MAX, |p| (p.rate * 2_f64.powi(64)) as u64);
    Ok(Rule {
        calls: inject.calls.0,
        first: inject.when.first,
        last: inject.when.last,
        step: inject.when.step,
        rate,
        seed: inject.probability.map_or(0, |p| p.seed),
        answer: match inject.answer {
            Some(Answer::Error(errno)) => u64::from(errno).wrapping_neg(),
            Some(Answer::Value(value)) => value,
            None => 0,
        },
        delay_enter: nanoseconds(inject.delay_enter),
        delay_exit: nanoseconds(inject.delay_exit),
        flags: if inject.answer.is_some() {
            Rule::ANSWERS
        } else {
            0
        },
        signal: inject.signal.unwrap_or(0),
    })
}

/// The exec that begins the program, and the memory that it names.
type First = (Call, Vec<(u64, Vec<u8>)>);

fn first_exec(exec: &Exec) -> First {
    let mut kept = Vec::new();
    // Addresses of our own: what the program has copies of.
    let mut text = |text: &std::ffi::CStr| {
        let at = text.as_ptr().addr() as u64;
        kept.push((at, text.to_bytes_with_nul().to_vec()));
        at
    };
    let path = text(&exec.path);
    let words: Vec<u64> = exec.args.iter().map(|word| text(word)).collect();
    let mut list = |words: Vec<u64>| {
        let bytes: Vec<u8> = words
            .iter()
            .chain([&0])
            .flat_map(|w| w.to_le_bytes())
            .collect();
        let at = bytes.as_ptr().addr() as u64;
        kept.push((at, bytes));
        at
    };
    let args = list(words);
    let environment = list(vec![1; exec.environment.len()]);
    let call = Call {
        number: EXECVE,
        args: [path, args, environment, 0, 0, 0],
        result: Some(0),
    };
    (call, kept)
}

/// Who is told, once the program's first thread is known.
type Begin = Box<dyn FnOnce(u32) -> Box<dyn Listener + Send> + Send>;

/// Whoever was told, in the end.
type Told = io::Result<Box<dyn Listener + Send>>;

/// A traced program, from both its parent's and its reader's side.
struct Traced {
    events: Arc<Events>,
    first: First,
    /// Taken when the program starts.
    listener: Mutex<Option<Begin>>,
    /// The first process has ended.
    ended: AtomicBool,
    reader: Mutex<Option<JoinHandle<Told>>>,
}

impl Traced {
    /// Begins to read: the program is the process `child`.
    fn start(self: &Arc<Self>, child: Pid) {
        let Some(begin) = self.listener.lock().ok().and_then(|mut b| b.take()) else {
            return;
        };
        let root = child.as_raw().cast_unsigned();
        let listener = begin(root);
        let this = Arc::clone(self);
        let reader = std::thread::spawn(move || this.read(root, listener));
        if let Ok(mut place) = self.reader.lock() {
            *place = Some(reader);
        }
    }

    /// Waits for what is left to be printed.
    fn finish(&self, ended: Ended) -> anyhow::Result<()> {
        // Release: pairs with the reader's Acquire.
        self.ended.store(true, Ordering::Release);
        // What the program has left behind may run for ever.
        supervise::released();
        let reader = self.reader.lock().ok().and_then(|mut place| place.take());
        let Some(reader) = reader else {
            return Ok(());
        };
        let printer = reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader failed"))?;
        let mut printer = match printer {
            Ok(printer) => printer,
            // Nobody reads on: the program has run to its end all the same.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error).context("what was traced cannot be written"),
        };
        let mut text = String::new();
        match ended {
            Ended::Exit(status) => exited(status, &mut text),
            Ended::Signal(signal) => killed(signal.cast_unsigned(), false, &mut text),
            Ended::Unknown => {}
        }
        printer.end(&text)?;
        printer.flush()?;
        let (dropped, threads) = self.events.lost();
        if dropped > 0 {
            style::error(&format!("{dropped} events found no room and are missing"));
        }
        if threads > 0 {
            style::error(&format!("{threads} threads found no room and are missing"));
        }
        Ok(())
    }

    fn read(&self, root: u32, mut listener: Box<dyn Listener + Send>) -> Told {
        let (call, kept) = self.first.clone();
        listener.begins(call, kept)?;
        let only = (!listener.follows()).then_some(root);
        let mut held: Vec<Event> = Vec::new();
        let mut births = Births::default();
        let mut before = 0;
        let mut nap = NAP.0;
        let mut looked = Instant::now();
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let now = ticks();
            let from = held.len();
            let any = self.events.take(&mut held);
            births.note(&held[from..]);
            // What was noted before the last round began is there by now.
            hand_on(&mut held, before, only, &mut *listener)?;
            before = now;
            if any {
                nap = NAP.0;
                continue;
            }
            listener.flush()?;
            if looked.elapsed() > if ended { LOOK / 20 } else { LOOK } {
                looked = Instant::now();
                let (alive, dead): (Vec<_>, Vec<_>) = self
                    .events
                    .writers()
                    .into_iter()
                    .partition(crate::events::Writer::lives);
                for writer in &dead {
                    self.events.abandon(writer);
                }
                // Once more for what they have left.
                if ended
                    && dead.is_empty()
                    && held.is_empty()
                    && (alive.is_empty() && !births.expects() || only.is_some())
                {
                    return Ok(listener);
                }
                for writer in dead {
                    let from = held.len();
                    self.events.take(&mut held);
                    births.note(&held[from..]);
                    hand_on(&mut held, u64::MAX, only, &mut *listener)?;
                    listener.gone(writer.pid, writer.tid)?;
                }
            }
            if !held.is_empty() {
                continue;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(NAP.1);
        }
    }
}

/// Tells what happened before `until`, in the order of time; a thread's own events stay as they are. With `only`: what
/// that thread did.
fn hand_on(
    held: &mut Vec<Event>,
    until: u64,
    only: Option<u32>,
    listener: &mut dyn Listener,
) -> io::Result<()> {
    held.sort_by_key(|event| event.record.time);
    let known = held.partition_point(|event| event.record.time < until);
    for event in held.drain(..known) {
        if only.is_none_or(|tid| event.record.tid == tid) {
            listener.event(event)?;
        }
    }
    Ok(())
}

/// Threads and processes that others have said to have begun, and that have not told anything yet.
#[derive(Default)]
struct Births {
    expected: BTreeSet<u32>,
    /// Those that have told of themselves before the call was over that has made them.
    early: BTreeSet<u32>,
}

impl Births {
    fn note(&mut self, events: &[Event]) {
        for Record {
            kind: what,
            tid,
            number,
            result,
            ..
        } in events.iter().map(|event| event.record)
        {
            if what == kind::THREAD && !self.expected.remove(&tid) {
                self.early.insert(tid);
            }
            let born = what == kind::EXIT && BIRTHS.contains(&number);
            let child = u32::try_from(result.cast_signed()).ok().filter(|_| born);
            if let Some(child) = child.filter(|child| !self.early.remove(child)) {
                self.expected.insert(child);
            }
        }
    }

    /// Whether any of them may tell something yet.
    fn expects(&mut self) -> bool {
        self.expected.retain(|tid| crate::events::lives(*tid, *tid));
        !self.expected.is_empty()
    }
}
