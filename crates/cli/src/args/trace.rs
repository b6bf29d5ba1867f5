//! What can be said to `hotpatch trace` and `count`: strace's options, in its spelling.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::ArgAction;
use hotpatch_decode::expression::{self, Expression};

use super::Pid;
use crate::clock::Precision;
use crate::columns::{Column, Sort};
use crate::count::By;
use crate::formats::Format;

const TRACE_EXAMPLES: &str = "\
Examples:
  hotpatch trace ls -l
  hotpatch trace -f -o make.trace make
  hotpatch trace -e trace=%file -s 200 git status
  hotpatch trace -e status=failed python3 -c pass
  hotpatch trace -y -k -P /etc/passwd id    the calls about a file, and who has made them
  hotpatch trace -e inject=write:error=ENOSPC:when=5 make
  hotpatch trace -f -p 4711                 what a process does that runs already, until Ctrl-C

Exit status: the program's own; a program that was killed by a signal ends hotpatch by the same
signal. 127 if the program is not found, 126 if it cannot be run, 125 if hotpatch itself fails.
With -p: 0, or 1 if no process could be attached to, or one not detached from.";

const VIEW_EXAMPLES: &str = "\
Examples:
  hotpatch view make.trace    what hotpatch trace -f --record make.trace make has written
  hotpatch view -e trace=%file -e status=failed make.trace
  hotpatch view -c -S calls make.trace
  hotpatch view --format perfetto -o make.json make.trace

Exit status: 1 if the file is cut, damaged or none of these; what it holds up to there is printed.";

const COUNT_EXAMPLES: &str = "\
Examples:
  hotpatch count make
  hotpatch count -e trace=%file git status
  hotpatch count --by file --interval 1 make
  hotpatch count --json -o counts.json ls    total is the number of calls
  hotpatch count -p $(pidof redis-server)    until Ctrl-C

Exit status: as that of `hotpatch trace`.";

/// Run a program and print each system call, as strace does.
#[derive(clap::Args, Debug, Default)]
#[command(after_help = TRACE_EXAMPLES)]
pub struct Trace {
    /// Tell of all threads and processes that the program starts, not of its first thread alone; twice, with -o: each
    /// thread in a file of its own, FILE.TID
    #[arg(short, long = "follow-forks", action = ArgAction::Count)]
    pub follow: u8,
    #[command(flatten)]
    pub look: Look,
    /// Write what is told to this file as it is, for `hotpatch view`, and print nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "count", "summary", "format"])]
    pub record: Option<PathBuf>,
    /// Never let the program wait for what is printed: calls that find no room are counted
    #[arg(long)]
    pub drop: bool,
    /// Of no effect: calls that are not asked for cost little as it is
    #[arg(long)]
    pub seccomp_bpf: bool,
    #[command(flatten)]
    pub start: Start,
    /// Trace these processes, which run already, until they end or hotpatch is interrupted; with -f all their threads
    /// and what they start, else their first threads
    #[arg(short = 'p', long, value_name = "PID", value_delimiter = ',', conflicts_with_all = ["environment", "user"])]
    pub attach: Vec<Pid>,
    /// The program and its arguments
    #[arg(
        required_unless_present = "attach",
        conflicts_with = "attach",
        trailing_var_arg = true
    )]
    #[arg(value_names = ["PROGRAM", "ARGS"])]
    pub program: Vec<OsString>,
}

/// Print a recorded trace.
#[derive(clap::Args, Debug)]
#[command(after_help = VIEW_EXAMPLES)]
pub struct View {
    #[command(flatten)]
    pub look: Look,
    /// What `hotpatch trace --record` has written; `-`: standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What is printed, and how.
#[derive(clap::Args, Debug, Default)]
pub struct Look {
    /// With -o: each thread in a file of its own, FILE.TID
    #[arg(long, requires = "output")]
    pub output_separately: bool,
    /// Write to this file rather than to standard error, or output where a record is viewed
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Append to that file
    #[arg(short = 'A', long = "output-append-mode", requires = "output")]
    pub append: bool,
    #[command(flatten)]
    pub choice: Choice,
    /// Print no message that is asked not to be: once and twice, those about the ends of processes; three times, all
    #[arg(short, action = ArgAction::Count)]
    pub quiet: u8,
    /// Print so many bytes of a text at most
    #[arg(
        short,
        long = "string-limit",
        value_name = "BYTES",
        default_value_t = 32
    )]
    pub size: usize,
    /// Print structures and arrays whole
    #[arg(short, long = "no-abbrev")]
    pub verbose: bool,
    /// Print texts with unprintable bytes in hexadecimal; twice: all texts
    #[arg(short = 'x', action = ArgAction::Count)]
    pub hexadecimal: u8,
    /// Print texts in hexadecimal: `all`, `non-ascii`, or `non-ascii-chars` for those bytes alone
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub strings_in_hex: Option<Hexadecimal>,
    /// Print what descriptors lead to; twice: also the addresses of sockets, and devices
    #[arg(short = 'y', action = ArgAction::Count)]
    pub descriptors: u8,
    /// Print only calls that name this file, or a descriptor that leads to it
    #[arg(short = 'P', long = "trace-path", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Put results into this column
    #[arg(
        short = 'a',
        long = "columns",
        value_name = "COLUMN",
        default_value_t = 40
    )]
    pub column: usize,
    /// Print the time ahead of each line; twice: with microseconds; three times: as seconds since 1970
    #[arg(short = 't', action = ArgAction::Count)]
    pub time: u8,
    /// The same in words: `time`, `unix`, or `none`, and `s`, `ms`, `us` or `ns`
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', num_args = 0..=2, require_equals = true, default_missing_value = "time")]
    pub absolute_timestamps: Vec<Moment>,
    /// Print the time since the line before
    #[arg(short = 'r')]
    pub relative: bool,
    /// The same, this exactly
    #[arg(long, value_name = "PRECISION", num_args = 0..=1, require_equals = true, default_missing_value = "us")]
    pub relative_timestamps: Option<Precision>,
    /// Print how long each call took
    #[arg(short = 'T')]
    pub spans: bool,
    /// The same, this exactly
    #[arg(long, value_name = "PRECISION", num_args = 0..=1, require_equals = true, default_missing_value = "us")]
    pub syscall_times: Option<Precision>,
    /// Print the address that each call came from
    #[arg(short = 'i', long = "instruction-pointer")]
    pub places: bool,
    /// Print the number of each call
    #[arg(short = 'n', long = "syscall-number")]
    pub numbers: bool,
    /// Print who has called whom, behind each call
    #[arg(short = 'k', long = "stack-traces")]
    pub stacks: bool,
    /// Print only calls that succeed
    #[arg(short = 'z', long, overrides_with = "failed_only")]
    pub successful_only: bool,
    /// Print only calls that fail
    #[arg(short = 'Z', long, overrides_with = "successful_only")]
    pub failed_only: bool,
    /// The form of what is told; of the other options only -f, -o, -s, -v, -x, `trace=` and `inject=` count in all
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Count calls, errors and time instead
    #[arg(short, long = "summary-only")]
    pub count: bool,
    /// Count them as well
    #[arg(short = 'C', long, conflicts_with = "count")]
    pub summary: bool,
    #[command(flatten)]
    pub table: Table,
    /// With -c: as one line of JSON
    #[arg(long, requires = "count")]
    pub json: bool,
}

/// Which calls.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Choice {
    /// Which calls are told: `trace=open,close`, `trace=%file`, `trace=!read`, `trace=/^get`, `status=failed`;
    /// or what is done to them: `inject=openat:error=EACCES:when=3+1`, `inject=read:delay_exit=10ms`
    #[arg(short, value_name = "EXPRESSION", value_parser = expression)]
    expressions: Vec<Placed>,
    /// As -e trace=SET
    #[arg(long, value_name = "SET", value_parser = qualified("trace"))]
    trace: Vec<Placed>,
    /// As -e status=SET
    #[arg(long, value_name = "SET", value_parser = qualified("status"))]
    status: Vec<Placed>,
    /// As -e signal=SET
    #[arg(long, value_name = "SET", value_parser = qualified("signal"))]
    signal: Vec<Placed>,
    /// As -e abbrev=SET
    #[arg(long, value_name = "SET", value_parser = qualified("abbrev"))]
    abbrev: Vec<Placed>,
    /// As -e verbose=SET
    #[arg(long = "verbose", value_name = "SET", value_parser = qualified("verbose"))]
    followed: Vec<Placed>,
    /// As -e raw=SET
    #[arg(long, value_name = "SET", value_parser = qualified("raw"))]
    raw: Vec<Placed>,
    /// As -e decode-fds=SET
    #[arg(long, value_name = "SET", value_parser = qualified("decode-fds"), num_args = 0..=1, require_equals = true, default_missing_value = "path")]
    decode_fds: Vec<Placed>,
    /// As -e read=SET
    #[arg(long, value_name = "SET", value_parser = qualified("read"))]
    read: Vec<Placed>,
    /// As -e write=SET
    #[arg(long, value_name = "SET", value_parser = qualified("write"))]
    write: Vec<Placed>,
    /// As -e quiet=SET
    #[arg(long = "quiet", value_name = "SET", value_parser = qualified("quiet"))]
    silent: Vec<Placed>,
    /// As -e inject=SET:…
    #[arg(long, value_name = "WHAT", value_parser = qualified("inject"))]
    inject: Vec<Placed>,
    /// As -e fault=SET:…
    #[arg(long, value_name = "WHAT", value_parser = qualified("fault"))]
    fault: Vec<Placed>,
}

impl Choice {
    /// What all of them say, in the order in which it was said.
    pub fn all(&self) -> Vec<Expression> {
        let parts = [
            &self.expressions,
            &self.trace,
            &self.status,
            &self.signal,
            &self.abbrev,
            &self.followed,
            &self.raw,
            &self.decode_fds,
            &self.read,
            &self.write,
            &self.silent,
            &self.inject,
            &self.fault,
        ];
        let mut all: Vec<&Placed> = parts.into_iter().flatten().collect();
        all.sort_by_key(|placed| placed.at);
        all.into_iter().map(|placed| placed.is.clone()).collect()
    }
}

/// How a table of counts looks.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Table {
    /// In the table: the time between a call's beginning and its end, as it always is here
    #[arg(short = 'w', long)]
    pub summary_wall_clock: bool,
    /// What the table is sorted by
    #[arg(
        short = 'S',
        long = "summary-sort-by",
        value_name = "COLUMN",
        default_value = "time"
    )]
    pub sort: Sort,
    /// Its columns, separated by commas
    #[arg(
        short = 'U',
        long = "summary-columns",
        value_name = "COLUMNS",
        value_delimiter = ','
    )]
    pub columns: Vec<Column>,
    /// What its rows are about, rather than calls
    #[arg(long, value_enum, value_name = "WHAT")]
    pub by: Option<By>,
    /// Print it each so many seconds while the program runs: on a terminal in place of what was there
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub interval: Option<f64>,
    /// It is printed to a terminal.
    #[arg(skip)]
    pub is_painted: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..1e6).contains(&seconds) => Ok(seconds),
        _ => Err("not a number of seconds from 0.01 on".into()),
    }
}

/// How the program is started.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Start {
    /// Set a variable in the program's environment, or without a value remove it
    #[arg(short = 'E', long = "env", value_name = "VAR[=VALUE]")]
    pub environment: Vec<OsString>,
    /// Run the program, and this command with it, as that user
    #[arg(short = 'u', long, value_name = "USER")]
    pub user: Option<String>,
}

/// Run a program and count its system calls.
#[derive(clap::Args, Debug)]
#[command(after_help = COUNT_EXAMPLES)]
pub struct Count {
    /// Write to this file rather than to standard error
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which calls are counted: `trace=open,close`, `trace=%file`, `trace=!read`
    #[arg(short, value_name = "EXPRESSION", value_parser = expression)]
    pub expressions: Vec<Placed>,
    #[command(flatten)]
    pub table: Table,
    /// As one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub start: Start,
    /// Accepted, as all that the program starts is counted anyway
    #[arg(short, action = clap::ArgAction::Count, hide_short_help = true)]
    pub follow: u8,
    /// Count in these processes, which run already, until they end or hotpatch is interrupted
    #[arg(short = 'p', long, value_name = "PID", value_delimiter = ',', conflicts_with_all = ["environment", "user"])]
    pub attach: Vec<Pid>,
    /// The program and its arguments; what it starts is counted too
    #[arg(
        required_unless_present = "attach",
        conflicts_with = "attach",
        trailing_var_arg = true
    )]
    #[arg(value_names = ["PROGRAM", "ARGS"])]
    pub program: Vec<OsString>,
}

impl Count {
    /// The same as a trace that counts.
    pub fn as_trace(&self) -> Trace {
        Trace {
            follow: 1,
            look: Look {
                output: self.output.clone(),
                size: 0,
                choice: Choice {
                    expressions: self.expressions.clone(),
                    ..Choice::default()
                },
                count: true,
                table: self.table.clone(),
                json: self.json,
                ..Look::default()
            },
            start: self.start.clone(),
            attach: self.attach.clone(),
            program: self.program.clone(),
            ..Trace::default()
        }
    }
}

/// An expression, and how many were read before it: the last of several counts, however they are spelled.
#[derive(Clone, Debug)]
pub struct Placed {
    at: usize,
    is: Expression,
}

fn expression(text: &str) -> Result<Placed, String> {
    static READ: AtomicUsize = AtomicUsize::new(0);
    // On a line of its own, so that its marks stand below it.
    let is = expression::expression(text).map_err(|error| format!("\n{error}"))?;
    // Relaxed: one thread reads them.
    let at = READ.fetch_add(1, Ordering::Relaxed);
    Ok(Placed { at, is })
}

/// What stands behind `--trace=` and the like.
fn qualified(name: &'static str) -> impl Fn(&str) -> Result<Placed, String> + Clone {
    move |text| expression(&format!("{name}={text}"))
}

/// Which bytes of texts are printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hexadecimal {
    /// All texts
    All,
    /// Texts with bytes that are not printable
    NonAscii,
    /// Such bytes alone
    NonAsciiChars,
    /// None
    None,
}

/// A word of `--absolute-timestamps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    None,
    Time,
    Unix,
    Precision(Precision),
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, only) = match text.split_once(':') {
            Some(("format", word)) => (word, Some(false)),
            Some(("precision", word)) => (word, Some(true)),
            _ => (text, None),
        };
        let precision = <Precision as clap::ValueEnum>::from_str(word, false);
        match (word, precision, only) {
            (_, Ok(precision), None | Some(true)) => Ok(Self::Precision(precision)),
            ("none", _, None | Some(false)) => Ok(Self::None),
            ("time", _, None | Some(false)) => Ok(Self::Time),
            ("unix", _, None | Some(false)) => Ok(Self::Unix),
            _ => Err("not one of none, time, unix; s, ms, us, ns".into()),
        }
    }
}
