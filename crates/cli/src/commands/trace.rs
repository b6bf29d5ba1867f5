//! `hotpatch trace`: a program, and each of its system calls as a line.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotpatch_events::{Record, kind, links};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{Pid, User, initgroups, setgid, setuid};

use crate::args::Trace;
use crate::cache::Private;
use crate::commands::attach::{Attached, Lend, NOT_ATTACHED};
use crate::commands::run::{Exec, Variable, environment, exec, fall_back, injected, logs, not_run};
use crate::events::{Chunks, Events, Wishes, ticks};
use crate::lender::Lender;
use crate::output::{self, Loss};
use crate::pairs::{BIRTHS, EXECVE};
use crate::program::{self, NotRun, Reach};
use crate::record::Recorder;
use crate::sockets::Sockets;
use crate::supervise::{self, Ended};
use crate::trace::Listener;
use crate::{cache, style};

use listener::Begin;

pub mod choice;
mod deeds;
pub mod listener;

/// Bytes of a text or a buffer that are kept at most.
const MOST_TEXT: u32 = 1 << 14;
/// Elements of an array that are kept at most.
const ITEMS: u32 = 1024;
/// How long nobody looks at empty rings, at least and at most.
const NAP: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(2));
/// How often it is asked whether threads are there still.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the program, or attaches to processes: the exit status.
pub fn run(args: &Trace) -> anyhow::Result<i32> {
    if !args.attach.is_empty() {
        return attached(args);
    }
    let name = args.program[0].clone();
    let path = match program::find(&name) {
        Ok(path) => path,
        Err(why) => return Ok(not_run(&why)),
    };
    let (traced, private) = prepare(args)?;
    let environment = environment(&args.start.environment);
    let reach = program::reach(&path);
    let injected = match reach {
        Reach::Program => {
            let settings = traced.settings(&private)?;
            let library = private.path.join(cache::file_name());
            Some(injected(&library, settings, &environment, true)?)
        }
        _ => {
            if let Some(why) = reach.why_native() {
                style::error(&format!("{}: {why}: not traced", path.display()));
            }
            None
        }
    };
    let exec = exec(&path, &args.program, environment, injected)?;
    let traced = Arc::new(Traced {
        first: Some(first_exec(&exec)),
        ..traced
    });
    let run = |exec: &Exec| supervise::run(exec, |child| traced.start(child));
    let ended = match run(&exec).or_else(|errno| fall_back(exec, &path, errno, run)) {
        Ok(ended) => ended,
        Err(errno) => return Ok(not_run(&NotRun::from_exec(&name, &path, errno))),
    };
    traced.finish(ended)?;
    Ok(ended.follow())
}

/// Traces processes that run already, until they end or we are told to.
fn attached(args: &Trace) -> anyhow::Result<i32> {
    let (traced, private) = prepare(args)?;
    let library = private.path.join(cache::file_name());
    let injected = injected(&library, traced.settings(&private)?, &[], true)?;
    // Signals wait from here on, in the reader too.
    let mut attached = Attached::new(args.look.quiet > 0)?;
    let traced = Arc::new(traced);
    let mut begun = false;
    let lend = Lend {
        injected: &injected,
        files: vec![cache::trace_hook(&private)?.to_string_lossy().into_owned()],
        shared: Some((traced.events.path(), traced.events.descriptor())),
    };
    for pid in &args.attach {
        if !begun {
            // The first may tell so much at once that it waits for its reader.
            traced.start(Pid::from_raw(pid.0));
            begun = true;
        }
        attached.add(*pid, &lend);
    }
    let any = !attached.is_empty();
    while any && attached.wait()? {}
    let told = || traced.events.writers().into_iter().map(|writer| writer.pid);
    let status = attached.detach(|| told().collect());
    // Whoever is there still tells nothing any more.
    traced.left.store(true, Ordering::Release);
    traced.finish(Ended::Unknown)?;
    Ok(if any { status } else { NOT_ATTACHED })
}

/// All but what is about a program.
fn prepare(args: &Trace) -> anyhow::Result<(Traced, Private)> {
    let look = &args.look;
    let follow = args.follow > 0;
    let (choice, deeds) = choice::choice(look, follow, follow && look.output.is_some())?;
    let whole = choice.style.verbose || choice.whole.is_some_and(|calls| calls.has(EXECVE));
    let (tell, links) = (
        listener::told(look, &choice),
        listener::links(look, &choice),
    );
    let size = u32::try_from(look.size).unwrap_or(u32::MAX);
    let dumps = choice.read.is_some() || choice.written.is_some();
    let text = if dumps {
        MOST_TEXT
    } else {
        size.min(MOST_TEXT)
    };
    let loss = Arc::new(Loss::default());
    let stacks = choice.stacks;
    let begin = match &args.record {
        Some(path) => {
            let out = output::open(path, false, &loss)?;
            let calls = choice.filter.calls;
            Box::new(move |root| {
                let recorder = Recorder::new(out, calls, follow, text.into(), stacks, root);
                Box::new(recorder) as Box<dyn Listener + Send>
            }) as Begin
        }
        None => {
            let separately = args.follow > 1 || look.output_separately;
            listener::listener(look, choice, separately, Box::new(io::stderr()), &loss)?
        }
    };
    if let Some(user) = &args.start.user {
        become_user(user).with_context(|| format!("-u {user}"))?;
    }
    let private = cache::prepare()?;
    let events = Arc::new(
        Events::new(
            Wishes {
                text,
                items: if whole { ITEMS } else { size.min(ITEMS) },
                drop: args.drop,
                tell,
                environment: whole,
                links,
                alone: !follow,
                first: args.attach.first().map(|pid| pid.0.cast_unsigned()),
            },
            &deeds.rules,
            &deeds.pool,
        )
        .context("no memory to share with the program")?,
    );
    // Who is attached to has a way of its own to the file.
    let lender = Lender::new().ok().filter(|_| args.attach.is_empty());
    let roots = args.attach.iter().map(|pid| pid.0.cast_unsigned());
    let traced = Traced {
        events,
        first: None,
        roots: roots.collect(),
        listener: Mutex::new(Some(begin)),
        links,
        lender: Mutex::new(lender),
        recorded: args.record.is_some(),
        loss,
        ended: AtomicBool::new(false),
        left: AtomicBool::new(false),
        reader: Mutex::new(None),
    };
    Ok((traced, private))
}

/// From now on this process is that user's, as the program will be: what is open already stays so.
fn become_user(name: &str) -> anyhow::Result<()> {
    let user = User::from_name(name)?.context("no such user")?;
    initgroups(&CString::new(name)?, user.gid)?;
    setgid(user.gid)?;
    setuid(user.uid)?;
    // The program opens what this process shares with it.
    set_dumpable(true)?;
    Ok(())
}

/// The exec that begins the program, and the memory that it names.
type First = (Record, Vec<(u64, Vec<u8>)>);

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
    let environment = exec.environment.iter().map(|word| text(word)).collect();
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
    let environment = list(environment);
    let record = Record {
        kind: kind::ENTRY,
        number: EXECVE,
        args: [path, args, environment, 0, 0, 0],
        ..Record::default()
    };
    (record, kept)
}

/// Whoever was told, in the end.
type Told = io::Result<Box<dyn Listener + Send>>;

/// A traced program, from both its parent's and its reader's side.
struct Traced {
    events: Arc<Events>,
    /// The exec that begins the program, where one does.
    first: Option<First>,
    /// The first threads of those that run already.
    roots: Vec<u32>,
    /// Taken when the program starts.
    listener: Mutex<Option<Begin>>,
    /// What is kept of descriptors.
    links: u32,
    /// Taken when the program starts.
    lender: Mutex<Option<Lender>>,
    /// Whether it is a record that is written.
    recorded: bool,
    /// What could not be written.
    loss: Arc<Loss>,
    /// The first process has ended.
    ended: AtomicBool,
    /// Nobody tells anything any more, whether they are there still or not.
    left: AtomicBool,
    reader: Mutex<Option<JoinHandle<Told>>>,
}

impl Traced {
    /// What the library is told.
    fn settings(&self, private: &Private) -> anyhow::Result<Vec<Variable>> {
        let hook = cache::trace_hook(private)?;
        let lender = self.lender.lock().ok();
        let hint = lender.and_then(|lender| lender.as_ref().map(Lender::hint));
        let events = self.events.path() + &hint.unwrap_or_default();
        let mut settings = vec![
            ("LIBHOTPATCH_HOOK".into(), hook.into()),
            ("LIBHOTPATCH_EVENTS".into(), events.into()),
        ];
        settings.extend(logs(None, true)?);
        Ok(settings)
    }

    /// Begins to read: the program is the process `child`.
    fn start(self: &Arc<Self>, child: Pid) {
        let Some(begin) = self.listener.lock().ok().and_then(|mut b| b.take()) else {
            return;
        };
        let lender = self.lender.lock().ok().and_then(|mut lender| lender.take());
        if let Some(lender) = lender {
            lender.serve(Arc::clone(&self.events));
        }
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
        // What the program has left behind may run for ever; who has been let go tells nothing more.
        if self.roots.is_empty() {
            supervise::released();
        }
        let reader = self.reader.lock().ok().and_then(|mut place| place.take());
        let Some(reader) = reader else {
            return Ok(());
        };
        let told = reader.join();
        let mut listener = told.map_err(|_| anyhow::anyhow!("the reader failed"))??;
        listener.end(ended)?;
        listener.flush()?;
        if let Some((why, lines)) = self.loss.is().filter(|_| !self.loss.is_unread()) {
            style::error(&match self.recorded {
                true => format!("{why}: the record is cut"),
                false => format!("{why}: {lines} lines could not be written"),
            });
        }
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
        if let Some((exec, kept)) = self.first.clone() {
            let exec = Record {
                pid: root,
                tid: root,
                time: ticks(),
                ..exec
            };
            listener.begins(exec, &Chunks(&mut Chunks::from(&kept)))?;
        }
        let mut roots = self.roots.clone();
        if roots.is_empty() {
            roots.push(root);
        }
        let only = (!listener.follows()).then_some(roots);
        let mut sockets = (self.links & links::SOCKETS != 0).then(Sockets::new);
        let stacks = self.links & links::STACKS != 0;
        let mut births = Births::default();
        let mut tell = |until, births: &mut Births, listener: &mut dyn Listener| {
            self.events.tell(until, &mut |mut event| {
                births.note(&event.record);
                if let Some(sockets) = &mut sockets {
                    sockets.complete(&mut event);
                }
                let is_told = (only.as_ref()).is_none_or(|roots| roots.contains(&event.record.tid));
                if is_told && stacks && begins(&event.record) {
                    // It waits until this has been done.
                    let pid = event.record.pid;
                    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"));
                    listener.maps(pid, &maps.unwrap_or_default())?;
                }
                match is_told {
                    true => listener.event(&event),
                    false => Ok(()),
                }
            })
        };
        let mut rounds = Rounds::default();
        let mut nap = NAP.0;
        let mut looked = Instant::now();
        loop {
            let ended = self.ended.load(Ordering::Acquire);
            let told = tell(rounds.until(), &mut births, &mut *listener)?;
            if told.any {
                nap = NAP.0;
                continue;
            }
            if nap == NAP.1 {
                listener.waits()?;
            }
            listener.flush()?;
            if looked.elapsed() > if ended { LOOK / 20 } else { LOOK } {
                looked = Instant::now();
                let left = self.left.load(Ordering::Acquire);
                let writers = self.events.writers().into_iter();
                let (alive, dead): (Vec<_>, Vec<_>) =
                    writers.partition(|writer| !left && writer.lives());
                if ended
                    && dead.is_empty()
                    && !told.left
                    && (alive.is_empty() && !births.expects() || only.is_some())
                {
                    return Ok(listener);
                }
                for writer in &dead {
                    self.events.abandon(writer);
                }
                // Once more for what they have left.
                for writer in dead {
                    tell(ticks(), &mut births, &mut *listener)?;
                    if !left || !writer.lives() {
                        listener.gone(writer.pid, writer.tid)?;
                    }
                }
            }
            if told.left {
                std::thread::yield_now();
                continue;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(NAP.1);
        }
    }
}

/// Whether a process begins to tell, or has a new program.
fn begins(record: &Record) -> bool {
    record.kind == kind::PROGRAM || record.kind == kind::THREAD && record.pid == record.tid
}

/// Up to when all is known. Who notes an event takes the time first: some are told a little later than they happened.
#[derive(Default)]
struct Rounds {
    last: u64,
    before: u64,
}

impl Rounds {
    /// Ticks that a round is apart from the next at least: tens of microseconds.
    const APART: u64 = 1 << 17;

    /// For a round that begins now.
    fn until(&mut self) -> u64 {
        let now = ticks();
        if now.saturating_sub(self.last) > Self::APART {
            self.before = std::mem::replace(&mut self.last, now);
        }
        self.before
    }
}

/// Threads and processes that others have said to have begun, and that have not told anything yet.
#[derive(Default)]
struct Births {
    expected: BTreeSet<u32>,
    /// Those that have told of themselves before the call was over that has made them.
    early: BTreeSet<u32>,
}

impl Births {
    fn note(&mut self, record: &Record) {
        if record.kind == kind::THREAD && !self.expected.remove(&record.tid) {
            self.early.insert(record.tid);
        }
        let born = record.kind == kind::EXIT && BIRTHS.contains(&record.number);
        let child = u32::try_from(record.result.cast_signed()).ok();
        let child = child.filter(|child| born && !self.early.remove(child));
        self.expected.extend(child);
    }

    /// Whether any of them may tell something yet.
    fn expects(&mut self) -> bool {
        self.expected.retain(|tid| crate::events::lives(*tid, *tid));
        !self.expected.is_empty()
    }
}
