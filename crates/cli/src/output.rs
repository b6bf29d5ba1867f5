//! Where lines go: one place for all threads, or a file for each. Where one fills up, whoever writes goes on, and what is
//! lost is counted.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;

/// Files that are open at once.
const OPEN: usize = 64;
/// What is written at once, where all goes to one place.
const BUFFER: usize = 1 << 16;

/// What could not be written.
#[derive(Debug, Default)]
pub struct Loss {
    /// Lines that were not, to their end.
    missing: AtomicU64,
    why: Mutex<Option<io::Error>>,
    /// There is a reason.
    failed: AtomicBool,
}

impl Loss {
    /// Why nothing more is written, and how many lines are missing.
    pub fn is(&self) -> Option<(String, u64)> {
        let why = self.why.lock().ok()?;
        // Relaxed: whoever wrote has ended.
        let missing = self.missing.load(Ordering::Relaxed);
        why.as_ref().map(|why| (why.to_string(), missing))
    }

    /// Whether nobody reads on, which is not a loss.
    pub fn is_unread(&self) -> bool {
        if !self.has_failed() {
            return false;
        }
        let why = self.why.lock();
        why.is_ok_and(|why| {
            why.as_ref()
                .is_some_and(|why| why.kind() == io::ErrorKind::BrokenPipe)
        })
    }

    fn has_failed(&self) -> bool {
        // Relaxed: whoever writes has set it.
        self.failed.load(Ordering::Relaxed)
    }

    fn fail(&self, error: io::Error) {
        if let Ok(mut why) = self.why.lock() {
            why.get_or_insert(error);
        }
        self.failed.store(true, Ordering::Relaxed);
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Takes whatever it is given, and writes it as long as that can be done.
pub struct Sink {
    out: BufWriter<Box<dyn Write + Send>>,
    loss: Arc<Loss>,
}

impl Sink {
    fn new(to: Box<dyn Write + Send>, buffer: usize, loss: Arc<Loss>) -> Self {
        let out = BufWriter::with_capacity(buffer, to);
        Self { out, loss }
    }

    fn is_missing(&self, bytes: &[u8]) {
        self.loss.missing.fetch_add(lines(bytes), Ordering::Relaxed);
    }

    fn fails(&mut self, error: io::Error) {
        // What it had and could not write is there still.
        self.is_missing(self.out.buffer());
        self.loss.fail(error);
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.loss.has_failed() {
            self.is_missing(bytes);
        } else if let Err(error) = self.out.write_all(bytes) {
            self.fails(error);
            self.is_missing(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.loss.has_failed()
            && let Err(error) = self.out.flush()
        {
            self.fails(error);
        }
        Ok(())
    }
}

/// Where lines go.
pub enum Output {
    /// All to one place.
    One(Sink),
    /// Each thread's to a file of its own.
    Each(Files),
}

/// A file for each thread.
pub struct Files {
    /// A dot and the thread's number follow.
    base: PathBuf,
    append: bool,
    open: HashMap<u32, Sink>,
    /// Threads whose files are ours: they are opened again to go on.
    begun: HashSet<u32>,
    loss: Arc<Loss>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_separate() { "Each" } else { "One" })
    }
}

/// The file at `path`.
pub fn open(path: &Path, append: bool, loss: &Arc<Loss>) -> anyhow::Result<Sink> {
    let file = file(path, append).with_context(|| path.display().to_string())?;
    Ok(Sink::new(Box::new(file), BUFFER, Arc::clone(loss)))
}

/// What is open already.
pub fn to(out: Box<dyn Write + Send>, loss: &Arc<Loss>) -> Sink {
    Sink::new(out, BUFFER, Arc::clone(loss))
}

fn file(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    options.append(append).truncate(!append).open(path)
}

impl Output {
    /// Files whose names begin with `base`.
    pub fn each(base: PathBuf, append: bool, loss: &Arc<Loss>) -> Self {
        Self::Each(Files {
            base,
            append,
            open: HashMap::new(),
            begun: HashSet::new(),
            loss: Arc::clone(loss),
        })
    }

    /// Whether each thread has a file of its own.
    pub const fn is_separate(&self) -> bool {
        matches!(self, Self::Each(_))
    }

    /// Where the lines of that thread go.
    pub fn of(&mut self, tid: u32) -> io::Result<&mut dyn Write> {
        match self {
            Self::One(out) => Ok(out),
            Self::Each(files) => files.of(tid),
        }
    }

    /// Nothing more is to be said of that thread.
    pub fn gone(&mut self, tid: u32) -> io::Result<()> {
        match self {
            Self::One(_) => Ok(()),
            Self::Each(files) => files.open.remove(&tid).map_or(Ok(()), |mut f| f.flush()),
        }
    }

    /// All that has been written reaches its place.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::One(out) => out.flush(),
            Self::Each(files) => files.open.values_mut().try_for_each(Sink::flush),
        }
    }
}

impl Files {
    fn of(&mut self, tid: u32) -> io::Result<&mut dyn Write> {
        if !self.open.contains_key(&tid) {
            if self.open.len() >= OPEN {
                self.open.values_mut().try_for_each(Sink::flush)?;
                self.open.clear();
            }
            let mut path = self.base.clone().into_os_string();
            path.push(format!(".{tid}"));
            let append = self.append || !self.begun.insert(tid);
            let opened = file(Path::new(&path), append);
            let opened: Box<dyn Write + Send> = match opened {
                Ok(file) => Box::new(file),
                Err(error) => {
                    self.loss.fail(error);
                    Box::new(io::sink())
                }
            };
            let sink = Sink::new(opened, BUFFER / 8, Arc::clone(&self.loss));
            self.open.insert(tid, sink);
        }
        match self.open.get_mut(&tid) {
            Some(file) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let done = bytes.len().min(self.0);
            self.0 -= done;
            if done == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(done)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let loss = Arc::new(Loss::default());
        let mut sink = Sink::new(Box::new(Full(25)), 16, Arc::clone(&loss));
        for _ in 0..10 {
            writeln!(sink, "123456789").unwrap();
        }
        sink.flush().unwrap();
        let (why, missing) = loss.is().unwrap();
        assert_eq!((why.as_str(), missing), ("no storage space", 8));
        assert!(!loss.is_unread());
    }
}
