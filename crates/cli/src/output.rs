//! Where lines go: one place for all threads, or a file for each.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Files that are open at once.
const OPEN: usize = 64;
/// What is written at once, where all goes to one place.
const BUFFER: usize = 1 << 16;

/// Where lines go.
pub enum Output {
    /// All to one place.
    One(Box<dyn Write + Send>),
    /// Each thread's to a file of its own.
    Each(Files),
}

/// A file for each thread.
pub struct Files {
    /// A dot and the thread's number follow.
    base: PathBuf,
    append: bool,
    open: HashMap<u32, BufWriter<File>>,
    /// Threads whose files are ours: they are opened again to go on.
    begun: HashSet<u32>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_separate() { "Each" } else { "One" })
    }
}

/// The file at `path`, or standard error.
pub fn open(path: Option<&Path>, append: bool) -> anyhow::Result<Box<dyn Write + Send>> {
    let Some(path) = path else {
        return Ok(Box::new(BufWriter::with_capacity(BUFFER, io::stderr())));
    };
    let file = file(path, append).with_context(|| path.display().to_string())?;
    Ok(Box::new(BufWriter::with_capacity(BUFFER, file)))
}

fn file(path: &Path, append: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true);
    options.append(append).truncate(!append).open(path)
}

impl Output {
    /// Files whose names begin with `base`.
    pub fn each(base: PathBuf, append: bool) -> Self {
        Self::Each(Files {
            base,
            append,
            open: HashMap::new(),
            begun: HashSet::new(),
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
            Self::Each(files) => files.open.values_mut().try_for_each(BufWriter::flush),
        }
    }
}

impl Files {
    fn of(&mut self, tid: u32) -> io::Result<&mut dyn Write> {
        if !self.open.contains_key(&tid) {
            if self.open.len() >= OPEN {
                self.open.values_mut().try_for_each(BufWriter::flush)?;
                self.open.clear();
            }
            let mut path = self.base.clone().into_os_string();
            path.push(format!(".{tid}"));
            let append = self.append || !self.begun.insert(tid);
            let opened = file(Path::new(&path), append)?;
            self.open.insert(tid, BufWriter::new(opened));
        }
        match self.open.get_mut(&tid) {
            Some(file) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
