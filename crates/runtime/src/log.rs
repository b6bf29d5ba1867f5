//! The log: one `write` for each line, so that many processes can share it.

use core::ffi::CStr;
use core::fmt::{self, Write as _};

use crate::config::Target;
use crate::line::Line;
use crate::sys::{self, Errno, Fd, Open, Unharmed};

/// A line of the log. A pipe takes this many bytes at once or none, so lines of several processes never mix.
pub type LogLine = Line<4096>;

/// How long a reader that is slow may hold us up, for each line.
const PATIENCE_MS: u32 = 100;

/// Where lines are written, one write each.
///
/// A full disk, a reader that is gone or slow, a closed descriptor: the line is lost, nothing else happens.
#[derive(Debug, Default)]
pub struct Sink {
    descriptor: Descriptor,
    _quiet: Option<Unharmed>,
}

#[derive(Debug, Default)]
enum Descriptor {
    #[default]
    None,
    Stderr,
    Own(Fd),
}

impl Sink {
    /// Opens a file to append to.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_path(path: &CStr) -> Result<Self, Errno> {
        Fd::open(path, Open::Append).map(Self::own)
    }

    /// Writes to `file`.
    #[must_use]
    pub fn own(file: Fd) -> Self {
        Self {
            descriptor: Descriptor::Own(file),
            _quiet: Some(Unharmed::begin()),
        }
    }

    /// Opens `target`.
    ///
    /// # Errors
    /// The kernel's, where a file cannot be opened.
    pub fn open(target: &Target) -> Result<Self, Errno> {
        match target {
            Target::Nowhere => Ok(Self::default()),
            Target::Stderr => Ok(Self {
                descriptor: Descriptor::Stderr,
                _quiet: Some(Unharmed::begin()),
            }),
            Target::File(path) => Self::open_path(path),
        }
    }

    /// Whether anybody could read what is written: if not, it need not be made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.descriptor, Descriptor::None)
    }

    /// Writes whole lines.
    pub fn write(&self, lines: &[u8]) {
        let fd = match &self.descriptor {
            Descriptor::None => return,
            Descriptor::Stderr => sys::STDERR,
            Descriptor::Own(fd) => fd.raw(),
        };
        // The descriptor may block (it is the program's own): ask first.
        if sys::wait_writable(fd, PATIENCE_MS) {
            let _ = sys::write(fd, lines);
        }
    }

    /// Writes one line, which begins with our name and the process's id.
    pub fn say(&self, words: fmt::Arguments<'_>) {
        if self.is_open() {
            let mut line = begin();
            let _ = line.write_fmt(words);
            self.write(line.end());
        }
    }
}

/// A line that begins as all lines do.
#[must_use]
pub fn begin() -> LogLine {
    let mut line = LogLine::new();
    let _ = write!(line, "libhotpatch[{}]: ", sys::process_id());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;

    fn file(path: &str) -> Target {
        Target::File(CString::new(path).unwrap())
    }

    #[test]
    fn appends_whole_lines() {
        let path = std::env::temp_dir().join(format!("hotpatch-log-{}", std::process::id()));
        std::fs::write(&path, "before\n").unwrap();
        for n in 0..2 {
            Sink::open(&file(path.to_str().unwrap()))
                .unwrap()
                .say(format_args!("line {n}"));
        }
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let pid = std::process::id();
        assert_eq!(
            text,
            format!("before\nlibhotpatch[{pid}]: line 0\nlibhotpatch[{pid}]: line 1\n")
        );
    }

    #[test]
    fn what_cannot_be_opened_is_an_error() {
        assert_eq!(
            Sink::open(&file("/nonexistent/log"))
                .unwrap_err()
                .to_string(),
            "no such file"
        );
    }

    #[test]
    fn a_full_disk_or_a_gone_reader_only_costs_the_line() {
        Sink::open(&file("/dev/full"))
            .unwrap()
            .say(format_args!("x"));
        let (reader, writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let sink = Sink::open(&file(&path)).unwrap();
        drop(reader);
        sink.say(format_args!("x"));
    }

    #[test]
    fn a_full_pipe_only_costs_the_line() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        let sink = Sink::open(&file(&path)).unwrap();
        let long = "x".repeat(4000);
        for _ in 0..20 {
            sink.say(format_args!("{long}"));
        }
        drop((sink, writer));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(
            text.lines().count() >= 15
                && text
                    .lines()
                    .all(|l| l.starts_with("libhotpatch[") && l.len() > 4000)
        );
    }
}
