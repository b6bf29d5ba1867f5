//! What the library reports about the files it patched: collected from all processes, shown as a table.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anstyle::Style;
use anyhow::Context;
use hotpatch_plan::plan::Tactic;
use serde::Deserialize;

use crate::cache::Private;
use crate::style::{BAD, FAINT, GOOD, NAME, STRONG, Table, count, printable};

/// One line of the library's report, as far as the table needs it.
#[derive(Debug, Deserialize)]
struct Line {
    event: String,
    pid: u32,
    #[serde(default)]
    path: String,
    #[serde(default)]
    sites: u64,
    #[serde(default)]
    native: u64,
    #[serde(default)]
    refused: u64,
    #[serde(default)]
    us: u64,
    #[serde(default)]
    note: Option<String>,
    /// Counts by the tactics' names.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// One file, all processes that mapped it taken together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    /// How many times it was patched.
    times: u64,
    sites: u64,
    tactics: [u64; Tactic::ALL.len()],
    native: u64,
    refused: u64,
    /// Microseconds, of all times together.
    us: u64,
    note: Option<String>,
}

/// Where the library writes its report, and where in that file our part begins.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    begin: u64,
    /// Ours alone: removed when it has been read.
    temporary: bool,
}

impl Report {
    /// In a file that nobody else sees.
    pub fn in_new_file(private: &Private) -> anyhow::Result<Self> {
        let path = private.new_file(&format!("report-{}.jsonl", std::process::id()))?;
        Ok(Self {
            path,
            begin: 0,
            temporary: true,
        })
    }

    /// Behind what `path` holds already.
    pub fn appended_to(path: &Path) -> anyhow::Result<Self> {
        let begin = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            Ok(_) => anyhow::bail!(
                "{}: not a regular file, so -v cannot read it back",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Self {
            path: path.to_owned(),
            begin,
            temporary: false,
        })
    }

    /// The file the library writes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> io::Result<Summary> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.begin))?;
        summarize(BufReader::new(file))
    }

    /// Prints the table. That nobody can read it is no reason to change the program's status.
    pub fn print(&self, out: &mut dyn Write, why_native: Option<&str>, program: &OsStr) {
        let summary = self.read().unwrap_or_default();
        let program = printable(&program.to_string_lossy());
        let _ = match (summary.rows.is_empty(), why_native) {
            (false, None) => summary.write(out),
            (false, Some(why)) => writeln!(out, "hotpatch: {program} itself ran natively: {why}")
                .and_then(|()| summary.write(out)),
            (true, why) => {
                let why = why.unwrap_or("the library did not report from it");
                writeln!(
                    out,
                    "hotpatch: {BAD}nothing was patched{BAD:#}: {program}: {why}"
                )
            }
        };
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug, Default)]
struct Summary {
    rows: BTreeMap<String, Row>,
    processes: std::collections::BTreeSet<u32>,
}

/// Reads the lines that tell of files. A line cut short by a full disk or a kill is passed over.
fn summarize(mut lines: impl BufRead) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let mut bytes = Vec::new();
    while lines.read_until(b'\n', &mut bytes)? > 0 {
        if let Ok(line) = serde_json::from_slice::<Line>(&bytes)
            && line.event == "file"
        {
            summary.processes.insert(line.pid);
            summary
                .rows
                .entry(line.path.clone())
                .or_default()
                .add(&line);
        }
        bytes.clear();
    }
    Ok(summary)
}

impl Row {
    /// One more process that mapped the same file. Its plan is the same, so only time adds up; where
    /// it is not (the file was replaced meanwhile) the larger one is shown.
    fn add(&mut self, line: &Line) {
        self.times += 1;
        self.us += line.us;
        if line.sites >= self.sites {
            self.sites = line.sites;
            self.native = line.native;
            self.refused = line.refused;
            self.tactics = Tactic::ALL.map(|tactic| {
                line.rest
                    .get(tactic.name())
                    .and_then(serde_json::Value::as_u64)
                    .unwrap_or(0)
            });
        }
        if line.note.is_some() {
            self.note.clone_from(&line.note);
        }
    }
}

impl Summary {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut heads = vec!["file", "sites"];
        heads.extend(Tactic::ALL.map(Tactic::name));
        heads.extend(["native", "refused", "µs"]);
        let mut table = Table::new(&heads);
        let mut total = Row::default();
        for (path, row) in &self.rows {
            let mut name = printable(path);
            if row.times > 1 {
                name.push_str(&format!(" ({} times)", row.times));
            }
            table.row(row.cells((name, NAME), Style::new()));
            total.sites += row.sites;
            total.native += row.native;
            total.refused += row.refused;
            total.us += row.us;
            for (sum, n) in total.tactics.iter_mut().zip(row.tactics) {
                *sum += n;
            }
        }
        table.row(total.cells(("total".to_owned(), STRONG), STRONG));
        table.leave_out("0", &["sites", "refused"]);
        table.write(out)?;
        for (path, row) in &self.rows {
            // How a plan was come by changes nothing about what was done.
            let note = row
                .note
                .as_ref()
                .filter(|note| *note != "plan from the cache");
            if let Some(note) = note {
                writeln!(
                    out,
                    "{FAINT}{}: {}{FAINT:#}",
                    printable(path),
                    printable(note)
                )?;
            }
        }
        let (patched, processes) = (
            total.sites - total.native - total.refused,
            self.processes.len(),
        );
        let style = if total.refused == 0 { GOOD } else { BAD };
        writeln!(
            out,
            "hotpatch: {style}{patched} of {} system calls patched{style:#} in {} files, {processes} process{}",
            total.sites,
            self.rows.values().filter(|row| row.sites > 0).count(),
            if processes == 1 { "" } else { "es" },
        )
    }
}

impl Row {
    fn cells(&self, first: crate::style::Cell, style: Style) -> Vec<crate::style::Cell> {
        let mut cells = vec![first, count(self.sites, style)];
        cells.extend(self.tactics.map(|n| count(n, style)));
        cells.extend([
            count(self.native, style),
            count(self.refused, BAD),
            count(self.us, style),
        ]);
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{"event":"start","pid":7,"command":["ls"]}
{"event":"file","pid":7,"path":"/l/libc.so.6","sites":10,"direct":1,"stone":7,"native":1,"refused":1,"us":40}
{"event":"site","pid":7,"path":"/l/libc.so.6","at":"0x10","tactic":"stone"}
{"event":"file","pid":8,"path":"/l/libc.so.6","sites":10,"direct":1,"stone":7,"native":1,"refused":1,"us":50}
{"event":"file","pid":8,"path":"/bin/x","sites":0,"us":2,"note":"skipped"}
{"event":"file","pid":9,"pa"#;

    fn text() -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        summarize(REPORT.as_bytes())
            .unwrap()
            .write(&mut out)
            .unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn processes_share_a_row() {
        let summary = summarize(REPORT.as_bytes()).unwrap();
        let row = &summary.rows["/l/libc.so.6"];
        assert_eq!(
            (row.times, row.sites, row.us, row.tactics[0], row.tactics[1]),
            (2, 10, 90, 1, 7)
        );
        assert_eq!(summary.processes.len(), 2);
    }

    #[test]
    fn the_last_line_counts_what_was_patched() {
        let text = text();
        assert!(
            text.ends_with("hotpatch: 8 of 10 system calls patched in 1 files, 2 processes\n"),
            "{text}"
        );
        assert!(text.contains("\n/bin/x: skipped\n"), "{text}");
    }
}
