//! What the log and the report say: a line for each file, and in the report one for each site.

use alloc::string::String;
use core::fmt::{self, Write as _};

use hotpatch_plan::plan::{Outcome, Refusal, Site, Tactic};

use crate::counts::{Counts, NOT_APPLIED, native_name, refusal_name};
use crate::line::Line;
use crate::log::{LogLine, Sink, begin};

/// Microseconds that a file took, by step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// Opening it and finding its sites.
    pub find: u64,
    /// Choosing tactics.
    pub plan: u64,
    /// Making the bytes.
    pub emit: u64,
    /// Mapping trampolines and writing.
    pub apply: u64,
}

impl Times {
    /// All steps.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.find + self.plan + self.emit + self.apply
    }
}

/// A file as both reports name it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its absolute path, or `[vdso]`.
    pub path: &'a [u8],
    /// What is special about it, empty where nothing is.
    pub note: &'a str,
}

/// The log's line for a file.
#[must_use]
pub fn file_line(subject: Subject<'_>, counts: &Counts, times: &Times) -> LogLine {
    let mut line = begin();
    line.push_printable(subject.path);
    let _ = write!(line, ": {counts}");
    if !subject.note.is_empty() {
        line.push(b"; ");
        line.push_printable(subject.note.as_bytes());
    }
    let Times {
        find,
        plan,
        emit,
        apply,
    } = times;
    let _ = write!(
        line,
        "; {} us (find {find}, plan {plan}, emit {emit}, apply {apply})",
        times.sum()
    );
    line
}

/// The report: JSON lines, written some at a time.
#[derive(Debug)]
pub struct Report {
    sink: Sink,
    pid: u32,
    lines: String,
}

/// Whole lines up to this many bytes go into one write.
const BLOCK: usize = 32 << 10;

impl Report {
    /// Writes to `sink` from now on.
    #[must_use]
    pub fn new(sink: Sink, pid: u32) -> Self {
        Self {
            sink,
            pid,
            lines: String::new(),
        }
    }

    /// Whether anybody could read it: if not, nothing need be said.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sink.is_open()
    }

    fn open(&mut self, event: &str) -> bool {
        if self.sink.is_open() {
            let _ = write!(self.lines, r#"{{"event":"{event}","pid":{}"#, self.pid);
        }
        self.sink.is_open()
    }

    fn close(&mut self) {
        self.lines.push_str("}\n");
        if self.lines.len() >= BLOCK {
            self.flush();
        }
    }

    /// Writes what is held back.
    pub fn flush(&mut self) {
        if !self.lines.is_empty() {
            self.sink.write(self.lines.as_bytes());
            // Given back, not kept: its memory may belong to the file that is done.
            self.lines = String::new();
        }
    }

    /// Forgets what is held back: who was writing it has given up, perhaps inside a line.
    pub fn discard(&mut self) {
        core::mem::forget(core::mem::take(&mut self.lines));
    }

    /// The program and its arguments.
    pub fn start(&mut self, arguments: &[&[u8]]) {
        if self.open("start") {
            self.lines.push_str(r#","command":["#);
            for (n, argument) in arguments.iter().enumerate() {
                self.lines.push_str(if n == 0 { "" } else { "," });
                quote(&mut self.lines, argument);
            }
            self.lines.push(']');
            self.close();
        }
    }

    /// What became of a file.
    pub fn file(&mut self, subject: Subject<'_>, bias: u64, counts: &Counts, times: &Times) {
        if self.open("file") {
            self.path(subject.path);
            let _ = write!(self.lines, r#","bias":{bias},"sites":{}"#, counts.sites);
            for tactic in Tactic::ALL {
                let _ = write!(
                    self.lines,
                    r#","{}":{}"#,
                    tactic.name(),
                    counts.tactics[tactic as usize]
                );
            }
            let (native, refused) = (counts.native.iter().sum::<u32>(), counts.refusals());
            let _ = write!(
                self.lines,
                r#","native":{native},"refused":{refused},"us":{}"#,
                times.sum()
            );
            let Times {
                find,
                plan,
                emit,
                apply,
            } = times;
            let _ = write!(
                self.lines,
                r#","find":{find},"plan":{plan},"emit":{emit},"apply":{apply}"#
            );
            if !subject.note.is_empty() {
                self.lines.push_str(r#","note":"#);
                quote(&mut self.lines, subject.note.as_bytes());
            }
            self.close();
        }
    }

    /// What became of a site, at `offset` of the file; a plan that was not `applied` left it as it was.
    pub fn site(&mut self, path: &[u8], site: &Site, offset: Option<u64>, applied: bool) {
        if self.open("site") {
            self.path(path);
            let _ = write!(self.lines, r#","at":"{}""#, site.at);
            if let Some(offset) = offset {
                let _ = write!(self.lines, r#","offset":"{offset:#x}""#);
            }
            let _ = match &site.outcome {
                _ if !applied => write!(self.lines, r#","tactic":"refused","why":"{NOT_APPLIED}""#),
                Outcome::Patched { tactic, .. } => {
                    write!(self.lines, r#","tactic":"{}""#, tactic.name())
                }
                Outcome::Native(native) => {
                    write!(
                        self.lines,
                        r#","tactic":"native","why":"{}""#,
                        native_name(native)
                    )
                }
                Outcome::NotSelected => write!(self.lines, r#","tactic":"not-selected""#),
                Outcome::Refused(reasons) => self.refused(reasons),
            };
            self.close();
        }
    }

    fn refused(&mut self, reasons: &[(Tactic, Refusal)]) -> fmt::Result {
        write!(self.lines, r#","tactic":"refused","why":""#)?;
        for (n, (tactic, refusal)) in reasons.iter().enumerate() {
            let separator = if n == 0 { "" } else { ", " };
            write!(
                self.lines,
                "{separator}{}: {}",
                tactic.name(),
                refusal_name(refusal)
            )?;
        }
        self.lines.write_str("\"")
    }

    /// Code that cannot be patched, in bytes, and of how much of it no call is caught either.
    pub fn unseen(&mut self, bytes: u64, missed: u64) {
        if self.open("unseen") {
            let _ = write!(self.lines, r#","bytes":{bytes},"missed":{missed}"#);
            self.close();
        }
        self.flush();
    }

    /// All files together.
    pub fn total(&mut self, files: u32, counts: &Counts, us: u64) {
        if self.open("total") {
            let _ = write!(
                self.lines,
                r#","files":{files},"sites":{},"us":{us}"#,
                counts.sites
            );
            self.close();
        }
        self.flush();
    }

    fn path(&mut self, path: &[u8]) {
        self.lines.push_str(r#","path":"#);
        quote(&mut self.lines, path);
    }
}

/// A JSON string; bytes that are no UTF-8 become U+FFFD.
fn quote(to: &mut String, text: &[u8]) {
    to.push('"');
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => to.push_str("\\\""),
                '\\' => to.push_str("\\\\"),
                c if u32::from(c) < 0x20 => {
                    let mut escape = Line::<16>::new();
                    let _ = write!(escape, "\\u{:04x}", u32::from(c));
                    to.push_str(escape.as_str());
                }
                c => to.push(c),
            }
        }
        if !chunk.invalid().is_empty() {
            to.push('\u{fffd}');
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Target;
    use crate::counts::tests::plan;

    #[test]
    fn a_file_has_one_line() {
        let counts = Counts::of(&plan());
        let times = Times {
            find: 1,
            plan: 2,
            emit: 3,
            apply: 4,
        };
        let line = file_line(
            Subject {
                path: b"/a\nb",
                note: "from memory",
            },
            &counts,
            &times,
        );
        let expected = "/a\\nb: 3 sites: 1 stone, 1 native (restorer 1), 1 refused (no-pad 1); from memory; \
                        10 us (find 1, plan 2, emit 3, apply 4)";
        assert!(line.as_str().ends_with(expected), "{line:?}");
    }

    #[test]
    fn the_report_is_json_lines() {
        let path = std::env::temp_dir().join(format!("hotpatch-report-{}", std::process::id()));
        let target = Target::File(std::ffi::CString::new(path.to_str().unwrap()).unwrap());
        let mut report = Report::new(Sink::open(&target).unwrap(), 7);
        let plan = plan();
        report.start(&[b"ls", b"a\"\x01\xff"]);
        report.file(
            Subject {
                path: b"/x",
                note: "",
            },
            4096,
            &Counts::of(&plan),
            &Times::default(),
        );
        for site in &plan.sites {
            report.site(b"/x", site, Some(8), true);
        }
        report.unseen(4096, 0);
        report.total(1, &Counts::of(&plan), 5);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[0],
            "{\"event\":\"start\",\"pid\":7,\"command\":[\"ls\",\"a\\\"\\u0001\u{fffd}\"]}"
        );
        assert_eq!(
            lines[2],
            r#"{"event":"site","pid":7,"path":"/x","at":"0x10","offset":"0x8","tactic":"stone"}"#
        );
        assert!(lines[3].ends_with(r#""tactic":"native","why":"restorer"}"#));
        assert!(
            lines[4].ends_with(r#""tactic":"refused","why":"stone: no-pad, evict: not-allowed"}"#)
        );
        assert_eq!(
            lines[5],
            r#"{"event":"unseen","pid":7,"bytes":4096,"missed":0}"#
        );
        assert_eq!(lines.len(), 7);
    }
}
