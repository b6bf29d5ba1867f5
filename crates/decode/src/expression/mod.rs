//! Expressions of `-e`: which calls, which results, which descriptors, and what is injected.

mod calls;
mod inject;
#[cfg(test)]
mod tests;

pub use calls::CallSet;
pub use inject::{Answer, Inject, Poke, Probability, When};

use crate::details;
use std::fmt;

/// Why an expression cannot be used, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The whole expression.
    pub text: String,
    /// The byte at which the wrong part begins.
    pub at: usize,
    /// Bytes of the wrong part.
    pub length: usize,
    /// What is wrong, with the nearest names.
    pub message: String,
}

impl fmt::Display for Error {
    /// The expression, a caret under the place, and the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self
            .text
            .get(..self.at)
            .map_or(self.at, |text| text.chars().count());
        let marks = "^".repeat(self.length.max(1));
        writeln!(f, "{}\n{:before$}{marks}", self.text, "")?;
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A part of an expression that knows where it stands.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    whole: &'a str,
    at: usize,
    text: &'a str,
}

impl<'a> Part<'a> {
    pub(crate) const fn new(whole: &'a str) -> Self {
        Self {
            whole,
            at: 0,
            text: whole,
        }
    }

    pub(crate) fn error(self, message: impl Into<String>) -> Error {
        Error {
            text: self.whole.into(),
            at: self.at,
            length: self.text.chars().count(),
            message: message.into(),
        }
    }

    /// The same without its first bytes.
    fn skip(self, count: usize) -> Self {
        Self {
            at: self.at + count,
            text: self.text.get(count..).unwrap_or(""),
            ..self
        }
    }

    fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let part = Self { at, text, ..self };
            at += text.len() + separator.len_utf8();
            part
        })
    }

    /// What stands before and behind the first separator.
    fn split_once(self, separator: &str) -> Option<(Self, Self)> {
        let end = self.text.find(separator)?;
        Some((
            Self {
                text: &self.text[..end],
                ..self
            },
            self.skip(end + separator.len()),
        ))
    }
}

/// How a call ended (`-e status=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Without an error.
    Successful,
    /// With an error.
    Failed,
    /// Not at all.
    Unfinished,
    /// The tracer was not there when it did.
    Unavailable,
    /// The tracer was detached.
    Detached,
}

const STATUSES: [(&str, Status); 5] = [
    ("successful", Status::Successful),
    ("failed", Status::Failed),
    ("unfinished", Status::Unfinished),
    ("unavailable", Status::Unavailable),
    ("detached", Status::Detached),
];

/// What one `-e` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Calls to be told.
    Trace(CallSet),
    /// Ends of calls to be told.
    Status(Vec<Status>),
    /// Descriptors whose calls are to be told; `true` means all others.
    Descriptors(bool, Vec<i32>),
    /// Signals to be told, bit 0 for signal 1.
    Signals(u64),
    /// Calls that are printed without short forms.
    Whole(CallSet),
    /// Descriptors whatever is read from is dumped of; `true` means all others.
    Read(bool, Vec<i32>),
    /// The same of what is written.
    Written(bool, Vec<i32>),
    /// Calls whose arguments are printed as numbers.
    Raw(CallSet),
    /// Calls whose structures are printed; others' are told by their addresses.
    Followed(CallSet),
    /// What is told of descriptors: bits of [`details`](crate::details).
    Details(u32),
    /// Messages that are not printed, a bit of [`quiet`] for each.
    Quiet(u32),
    /// Something to be done to calls.
    Inject(Inject),
}

/// Bits of [`Expression::Quiet`].
pub mod quiet {
    /// That a process is attached to.
    pub const ATTACH: u32 = 1;
    /// That a process has exited.
    pub const EXIT: u32 = 2;
    /// What a path leads to.
    pub const PATH_RESOLUTION: u32 = 4;
    /// That a process runs in another mode.
    pub const PERSONALITY: u32 = 8;
    /// That a thread's exec has ended the others.
    pub const THREAD_EXECVE: u32 = 16;
    /// All of them.
    pub const ALL: u32 = 31;

    pub(super) const NAMES: [(&str, u32); 7] = [
        ("attach", ATTACH),
        ("exit", EXIT),
        ("path-resolution", PATH_RESOLUTION),
        ("personality", PERSONALITY),
        ("thread-execve", THREAD_EXECVE),
        ("all", ALL),
        ("none", 0),
    ];
}

const DETAILS: [(&str, u32); 6] = [
    ("path", details::PATH),
    ("dev", details::DEVICE),
    ("socket", details::SOCKET),
    ("pidfd", details::PIDFD),
    ("all", 15),
    ("none", 0),
];

const QUALIFIERS: [&str; 22] = [
    "trace",
    "t",
    "status",
    "fd",
    "fds",
    "signal",
    "signals",
    "s",
    "abbrev",
    "a",
    "verbose",
    "v",
    "raw",
    "x",
    "inject",
    "fault",
    "quiet",
    "silent",
    "q",
    "decode-fds",
    "read",
    "write",
];

/// Reads what stands behind `-e`.
///
/// # Errors
///
/// If it is no expression: where, why, and which names come near.
pub fn expression(text: &str) -> Result<Expression, Error> {
    let whole = Part::new(text);
    let Some((qualifier, value)) = whole.split_once("=") else {
        return CallSet::parse(whole).map(Expression::Trace);
    };
    Ok(match qualifier.text {
        "trace" | "t" => Expression::Trace(CallSet::parse(value)?),
        "status" => Expression::Status(statuses(value)?),
        "fd" | "fds" => {
            let (others, fds) = descriptors(value)?;
            Expression::Descriptors(others, fds)
        }
        "read" | "reads" | "r" => {
            let (others, fds) = descriptors(value)?;
            Expression::Read(others, fds)
        }
        "write" | "writes" | "w" => {
            let (others, fds) = descriptors(value)?;
            Expression::Written(others, fds)
        }
        "signal" | "signals" | "s" => Expression::Signals(signals(value)?),
        "abbrev" | "a" => {
            let CallSet(calls) = CallSet::parse(value)?;
            Expression::Whole(CallSet(calls.map(|word| !word)))
        }
        "verbose" | "v" => Expression::Followed(CallSet::parse(value)?),
        "decode-fds" | "decode-fd" => Expression::Details(names(value, &DETAILS, "detail")?),
        "quiet" | "silent" | "silence" | "q" => {
            Expression::Quiet(names(value, &quiet::NAMES, "message")?)
        }
        "raw" | "x" => Expression::Raw(CallSet::parse(value)?),
        "inject" => Expression::Inject(Inject::parse(value, false)?),
        "fault" => Expression::Inject(Inject::parse(value, true)?),
        // A regular expression may hold an equals sign.
        _ if text.starts_with(['/', '!']) => Expression::Trace(CallSet::parse(whole)?),
        unknown => {
            let near = nearest(
                unknown,
                QUALIFIERS.iter().copied().filter(|name| name.len() > 1),
            );
            return Err(qualifier.error(format!("no such qualifier{near}")));
        }
    })
}

fn inverted(value: Part<'_>) -> (bool, Part<'_>) {
    if value.text.starts_with('!') {
        (true, value.skip(1))
    } else {
        (false, value)
    }
}

fn statuses(value: Part<'_>) -> Result<Vec<Status>, Error> {
    let (not, value) = inverted(value);
    let mut named = Vec::new();
    for part in value.split(',') {
        match STATUSES.iter().find(|(name, _)| *name == part.text) {
            Some((_, status)) => named.push(*status),
            None if part.text == "all" => named.extend(STATUSES.map(|(_, status)| status)),
            None if part.text == "none" => named.clear(),
            None => {
                let near = nearest(part.text, STATUSES.iter().map(|(name, _)| *name));
                return Err(part.error(format!("no such status{near}")));
            }
        }
    }
    if not {
        named = STATUSES
            .map(|(_, status)| status)
            .into_iter()
            .filter(|status| !named.contains(status))
            .collect();
    }
    Ok(named)
}

/// The bits of names; `!` for all others.
fn names(value: Part<'_>, known: &[(&str, u32)], what: &str) -> Result<u32, Error> {
    let (not, value) = inverted(value);
    let mut bits = 0;
    for part in value.split(',') {
        match known.iter().find(|(name, _)| *name == part.text) {
            Some((_, 0)) => bits = 0,
            Some((_, bit)) => bits |= bit,
            None => {
                let near = nearest(part.text, known.iter().map(|(name, _)| *name));
                return Err(part.error(format!("no such {what}{near}")));
            }
        }
    }
    let all = known.iter().fold(0, |all, (_, bit)| all | bit);
    Ok(if not { all & !bits } else { bits })
}

fn descriptors(value: Part<'_>) -> Result<(bool, Vec<i32>), Error> {
    let (not, value) = inverted(value);
    let mut fds = Vec::new();
    for part in value.split(',') {
        match part.text.parse::<i32>() {
            Ok(fd) if fd >= 0 => fds.push(fd),
            _ if part.text == "all" => return Ok((!not, Vec::new())),
            _ if part.text == "none" => {}
            _ => return Err(part.error("not a descriptor: a number from 0 on, `all` or `none`")),
        }
    }
    Ok((not, fds))
}

fn signals(value: Part<'_>) -> Result<u64, Error> {
    let (not, value) = inverted(value);
    let mut bits = 0u64;
    for part in value.split(',') {
        match part.text {
            "all" => bits = u64::MAX,
            "none" => bits = 0,
            _ => bits |= 1 << (signal(part)? - 1),
        }
    }
    Ok(if not { !bits } else { bits })
}

/// A signal by name, in any case, with or without `SIG`, or by number.
pub(crate) fn signal(part: Part<'_>) -> Result<u32, Error> {
    use hotpatch_names::signal;
    let upper = part.text.to_ascii_uppercase();
    let found = part.text.parse().ok().or_else(|| signal::number(&upper));
    found
        .filter(|number| (1..=64).contains(number))
        .ok_or_else(|| {
            let names: Vec<String> = (1..32)
                .filter_map(signal::name)
                .map(|name| format!("SIG{name}"))
                .collect();
            let near = nearest(&upper, names.iter().map(String::as_str));
            part.error(format!("no such signal{near}"))
        })
}

/// `: did you mean read, readv?`, or nothing if no name comes near.
pub(crate) fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> String {
    let most = (text.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .filter(|name| name.len().abs_diff(text.len()) <= most)
        .map(|name| (distance(text, name), name))
        .filter(|(distance, _)| *distance <= most)
        .collect();
    near.sort_unstable();
    near.dedup();
    let least = near.first().map_or(0, |(distance, _)| *distance);
    near.retain(|(distance, _)| *distance == least);
    let names: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(": did you mean {}?", names.join(", "))
    }
}

/// How many letters have to be put in, left out, exchanged or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut above = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut next = vec![i + 1];
        for j in 0..to.len() {
            let exchanged = row[j] + usize::from(from[i] != to[j]);
            let mut least = exchanged.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                let above: &Vec<usize> = &above;
                least = least.min(above[j - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}
