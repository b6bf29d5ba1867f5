//! What calls are counted by, besides their names.

use std::collections::HashMap;
use std::sync::Arc;

use hotpatch_decode::{Kept, Memory, When, peer};
use hotpatch_events::{Record, kind};
use hotpatch_names::{Kind, LINK, SOCKET, Socket, What, descriptors, place, signature};

use crate::count::sites::Sites;
use crate::events::Event;
use crate::pairs::{BIRTHS, EXECVE, EXECVEAT};
use crate::trace::name;

/// Bytes of a path at most.
const PATH: usize = 4096;

/// What calls are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// Processes, with the programs that they run
    Process,
    /// Threads
    Thread,
    /// Files that they are about
    File,
    /// Whom the sockets that they are about are connected to
    Peer,
    /// Where the calls come from
    Site,
}

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A call.
    Call(u64),
    /// A process.
    Process(u32),
    /// A thread, behind its process.
    Thread(u32, u32),
    /// Something that has a name.
    Named(Arc<str>),
}

/// Finds what a call belongs to.
#[derive(Default)]
pub struct Groups {
    by: Option<By>,
    /// What each process has run.
    programs: HashMap<u32, Vec<String>>,
    /// Files that processes are about to run.
    execs: HashMap<u32, String>,
    /// The names of files and peers, each of them once.
    names: HashMap<String, Arc<str>>,
    sites: Sites,
}

impl Groups {
    /// Calls are counted by this; by name if there is nothing.
    pub fn new(by: Option<By>) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// The exec that begins the program.
    pub fn begins(&mut self, exec: &Record, kept: &Kept) {
        let program = text(exec.args[0], kept).map(|path| last_part(&path));
        self.programs
            .insert(exec.pid, program.into_iter().collect());
    }

    /// Learns which process runs what.
    pub fn note(&mut self, event: &Event<'_>) {
        let record = &event.record;
        match (record.kind, record.number) {
            (kind::ENTRY, number @ (EXECVE | EXECVEAT)) => {
                let path = record.args[usize::from(number == EXECVEAT)];
                let chunk = event.kept.iter().find(|(at, _)| *at == path);
                let text = chunk.map(|(_, bytes)| until_zero(bytes));
                self.execs
                    .insert(record.pid, last_part(&text.unwrap_or_default()));
            }
            (kind::PROGRAM, _) => {
                self.sites.forget(record.pid);
                if let Some(program) = self.execs.remove(&record.pid) {
                    self.programs.entry(record.pid).or_default().push(program);
                }
            }
            (kind::EXIT, number) if BIRTHS.contains(&number) => {
                let child = u32::try_from(record.result.cast_signed()).unwrap_or(0);
                let parent = self.programs.get(&record.pid).and_then(|all| all.last());
                if let Some(program) = parent.filter(|_| child != 0).cloned() {
                    // It may have run something else by now.
                    self.programs.entry(child).or_default().insert(0, program);
                }
            }
            _ => {}
        }
    }

    /// What the call belongs to: as it has ended, with what was kept at both times.
    pub fn key(&mut self, record: &Record, kept: &Kept) -> Key {
        let named = match self.by {
            None => return Key::Call(record.number),
            Some(By::Process) => return Key::Process(record.pid),
            Some(By::Thread) => return Key::Thread(record.pid, record.tid),
            Some(By::File) => file(record, kept),
            Some(By::Peer) => connected(record, kept),
            Some(By::Site) => Some(self.sites.name(record.pid, record.site)),
        };
        let named = named.unwrap_or_else(|| "-".to_owned());
        let known = self.names.entry(named);
        Key::Named(Arc::clone(
            known.or_insert_with_key(|name| name.as_str().into()),
        ))
    }

    /// How a row is called.
    pub fn name(&self, key: &Key) -> String {
        let programs = |pid: &u32| self.programs.get(pid).map(|all| all.join(", "));
        match key {
            Key::Call(number) => name(*number).into_owned(),
            Key::Process(pid) => format!("{pid} {}", programs(pid).unwrap_or_default()),
            Key::Thread(pid, tid) if pid == tid => {
                format!("{pid} {}", programs(pid).unwrap_or_default())
            }
            Key::Thread(pid, tid) => {
                format!("{tid} of {pid} {}", programs(pid).unwrap_or_default())
            }
            Key::Named(name) => name.to_string(),
        }
    }

    /// What the column of names is called.
    pub fn title(&self) -> &'static str {
        match self.by {
            None => "syscall",
            Some(By::Process) => "process",
            Some(By::Thread) => "thread",
            Some(By::File) => "file",
            Some(By::Peer) => "peer",
            Some(By::Site) => "site",
        }
    }
}

/// The file that a call is about: the one that it opens, that its descriptor leads to, or that it names.
fn file(record: &Record, kept: &Kept) -> Option<String> {
    let link = |when: When, fd: i32| {
        let link = bytes(when, place(LINK, fd), PATH, kept);
        (fd >= 0 && !link.is_empty()).then(|| String::from_utf8_lossy(&link).into_owned())
    };
    let (number, args) = (record.number, &record.args);
    let opened = descriptors(number, args, When::Exit, record.result);
    let mut opened = opened.filter_map(|fd| link(When::Exit, fd));
    let said = || {
        let signature = signature(number, args)?;
        let mut arguments = signature.arguments().iter();
        let path = arguments.find(|argument| matches!(argument.kind, Kind::In(What::Path)))?;
        text(*args.get(usize::from(path.index))?, kept).filter(|path| !path.is_empty())
    };
    let found = opened.next().or_else(said).or_else(|| {
        let mut taken = descriptors(number, args, When::Entry, 0);
        taken.find_map(|fd| link(When::Entry, fd))
    })?;
    // Which of them matters to nobody.
    match found.split_once(":[") {
        Some((what @ ("socket" | "pipe"), _)) => Some(what.to_owned()),
        _ => Some(found),
    }
}

/// Whom the socket that a call is about is connected to.
fn connected(record: &Record, kept: &Kept) -> Option<String> {
    let socket = |when: When, fd: i32| {
        let known = bytes(when, place(SOCKET, fd), size_of::<Socket>(), kept);
        peer(&known)
    };
    let (number, args) = (record.number, &record.args);
    let mut opened = descriptors(number, args, When::Exit, record.result);
    let mut taken = descriptors(number, args, When::Entry, 0);
    opened
        .find_map(|fd| socket(When::Exit, fd))
        .or_else(|| taken.find_map(|fd| socket(When::Entry, fd)))
}

fn bytes(when: When, address: u64, most: usize, kept: &Kept) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let count = kept.read(when, address, &mut bytes);
    bytes.truncate(count);
    bytes
}

fn text(address: u64, kept: &Kept) -> Option<String> {
    let bytes = bytes(When::Entry, address, PATH, kept);
    (!bytes.is_empty()).then(|| until_zero(&bytes))
}

fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

fn last_part(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
