//! Where start-up writes to: the log, the report, and where hooks speak.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::config::{Config, Target};
use crate::environment::Environment;
use crate::log::Sink;
use crate::report::Report;
use crate::sys;

/// Where a program that ends before it began says why, if the log is silenced.
pub(super) fn aloud(log: &Sink, stderr: bool) -> Option<Sink> {
    (stderr && !log.is_open())
        .then(|| Sink::open(&Target::Stderr).ok())
        .flatten()
}

/// Where hooks speak, if not in the log.
pub(super) fn hook_log(config: &Config<'_>, stderr: bool) -> Option<Sink> {
    match config.hook_log.as_ref()? {
        // As for the log.
        Target::Stderr if !stderr => None,
        target => Sink::open(target).ok(),
    }
}

/// The log and the report. Where the runtime `follows` an exec it is not new that one cannot be opened, but that it
/// cannot be opened here (another root, another user), which is no word to put among the program's.
pub(super) fn open(config: &Config<'_>, stderr: bool, follows: bool) -> (Sink, Report) {
    let open = |target: &Target| match target {
        // One of our own descriptors may get its number.
        Target::Stderr if !stderr => Ok(Sink::default()),
        target => Sink::open(target),
    };
    let mut complaints: Vec<String> = Vec::new();
    let mut try_open = |name: &str, target: &Target| match (open(target), target) {
        (Ok(sink), _) => sink,
        (Err(error), Target::File(path)) => {
            complaints.push(format!(
                "{name}: {}: {error}",
                String::from_utf8_lossy(path.as_bytes())
            ));
            Sink::default()
        }
        (Err(_), _) => Sink::default(),
    };
    let log = try_open("LIBHOTPATCH_LOGPATH", &config.log);
    let report = try_open("LIBHOTPATCH_REPORT", &config.report);
    for complaint in complaints.into_iter().filter(|_| !follows) {
        // The log may be what cannot be opened.
        if let Ok(sink) = open(if log.is_open() {
            &config.log
        } else {
            &Target::Stderr
        }) {
            sink.say(format_args!("{complaint}"));
        }
    }
    (log, Report::new(report, sys::process_id()))
}

/// What the log says first: who is patched.
pub(super) fn log_header(log: &Sink, environment: &Environment<'_>) {
    if log.is_open() {
        let mut line = crate::log::begin();
        for (n, argument) in environment.arguments.iter().enumerate() {
            line.push(if n == 0 { b"" } else { b" " });
            line.push_printable(argument);
        }
        log.write(line.end());
    }
}
