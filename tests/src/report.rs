//! What `LIBHOTPATCH_REPORT` says became of each site.

use std::fs;
use std::path::Path;

use serde::Deserialize;

/// One line of the report; of other events than `site` only the name counts here.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    path: String,
    /// The address as the file states it, in hexadecimal.
    #[serde(default)]
    at: String,
    /// A tactic's name, `native` or `refused`.
    #[serde(default)]
    tactic: String,
    #[serde(default)]
    why: String,
}

/// What became of a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    file: String,
    at: u64,
    tactic: String,
    why: String,
}

impl Outcome {
    /// A tactic's name, `native` or `refused`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.tactic
    }

    fn is_patched(&self) -> bool {
        self.tactic != "native" && self.tactic != "refused"
    }
}

/// All sites of all processes of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    sites: Vec<Outcome>,
}

/// Reads the report at `path`.
///
/// # Errors
/// When there is none, or a line of it is not what it should be.
pub fn read(path: &Path) -> Result<Report, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("no report: {e}"))?;
    let mut sites = Vec::new();
    for line in text.lines() {
        // A process that is killed while it writes leaves half a line, and the next one's stands behind it.
        let line = line.rfind("{\"event\":").map_or(line, |at| &line[at..]);
        let line: Line = serde_json::from_str(line)
            .map_err(|e| format!("bad line in the report: {e}: {line}"))?;
        if line.event != "site" {
            continue;
        }
        let at = u64::from_str_radix(line.at.trim_start_matches("0x"), 16)
            .map_err(|_| format!("bad address in the report: {}", line.at))?;
        sites.push(Outcome {
            file: line.path,
            at,
            tactic: line.tactic,
            why: line.why,
        });
    }
    Ok(Report { sites })
}

impl Report {
    /// What became of the site at `at` of `file`.
    #[must_use]
    pub fn at(&self, file: &Path, at: u64) -> Option<&Outcome> {
        self.sites
            .iter()
            .find(|s| s.at == at && Path::new(&s.file) == file)
    }

    /// How many different sites are patched of the files whose path contains `name`.
    #[must_use]
    pub fn patched_in(&self, name: &str) -> usize {
        let mut all: Vec<_> = self
            .sites
            .iter()
            .filter(|s| s.is_patched() && s.file.contains(name))
            .map(|s| (&s.file, s.at))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// How many sites are patched, of all files and processes.
    #[must_use]
    pub fn patched(&self) -> usize {
        self.sites.iter().filter(|s| s.is_patched()).count()
    }

    /// Whether nothing but `tactic` was used.
    ///
    /// # Errors
    /// A site for which something else was.
    pub fn uses_only(&self, tactic: &str) -> Result<(), String> {
        match self
            .sites
            .iter()
            .find(|s| s.is_patched() && s.tactic != tactic)
        {
            Some(other) => Err(format!("only {tactic} was allowed: {other:?}")),
            None => Ok(()),
        }
    }

    /// The sites that no tactic could take.
    pub fn refused(&self) -> impl Iterator<Item = &Outcome> {
        self.sites.iter().filter(|s| s.tactic == "refused")
    }
}
