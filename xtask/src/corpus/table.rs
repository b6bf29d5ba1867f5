//! What came of each file: as a line between two processes, as the table that is kept, as a summary.

use std::fmt::{self, Write as _};
use std::time::Duration;

use anyhow::Context;
use hotpatch_plan::plan::Tactic;

const TACTICS: usize = Tactic::ALL.len();

/// One file of the corpus.
pub(super) struct Row {
    /// Its path below the corpus: where it comes from, the package, the path in there.
    pub(super) file: String,
    /// Hash of its content.
    pub(super) content: u64,
    /// Its plan, or why there is none.
    pub(super) outcome: Result<Planned, String>,
}

/// What planning one file gave.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) time: Duration,
    /// Peak of the memory that planning allocated, in bytes.
    pub(super) memory: usize,
    /// Of the file, in bytes.
    pub(super) size: usize,
    /// Sites by tactic.
    pub(super) tactics: [u64; TACTICS],
    pub(super) native: u64,
    pub(super) refused: u64,
    /// Hash of the whole plan.
    pub(super) plan: u64,
    /// What the independent check says against it.
    pub(super) faults: Vec<String>,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.time.as_micros(), self.memory, self.size)?;
        for n in self.tactics {
            write!(f, " {n}")?;
        }
        write!(f, " {} {} {:x}", self.native, self.refused, self.plan)?;
        self.faults
            .iter()
            .try_for_each(|fault| write!(f, "\n{fault}"))
    }
}

impl Planned {
    /// Reads what `Display` writes.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let mut word = || words.next().context("a line that is too short");
        let mut planned = Self {
            time: Duration::from_micros(word()?.parse()?),
            memory: word()?.parse()?,
            size: word()?.parse()?,
            ..Self::default()
        };
        for n in &mut planned.tactics {
            *n = word()?.parse()?;
        }
        planned.native = word()?.parse()?;
        planned.refused = word()?.parse()?;
        planned.plan = u64::from_str_radix(word()?, 16)?;
        planned.faults = lines.map(str::to_owned).collect();
        Ok(planned)
    }

    fn sites(&self) -> u64 {
        self.tactics.iter().sum::<u64>() + self.native + self.refused
    }
}

impl Row {
    /// Whether something is wrong with the planner, rather than with the file.
    pub(super) fn is_bad(&self) -> bool {
        self.outcome.as_ref().map_or(true, |p| !p.faults.is_empty())
    }

    /// What is wrong.
    pub(super) fn complaint(&self) -> String {
        match &self.outcome {
            Ok(planned) => planned.faults.join("; "),
            Err(error) => error.clone(),
        }
    }

    /// Distribution or registry and package.
    fn package(&self) -> &str {
        let end = self.file.match_indices('/').nth(1);
        &self.file[..end.map_or(self.file.len(), |(at, _)| at)]
    }
}

/// The table that is kept: files with sites, and those that are bad.
pub(super) fn tsv(rows: &[Row]) -> String {
    let mut text = String::from("file\tcontent\tsites");
    for tactic in Tactic::ALL {
        let _ = write!(text, "\t{}", tactic.name());
    }
    text.push_str("\tnative\trefused\tplan\n");
    for row in rows {
        let _ = match &row.outcome {
            Ok(planned) if planned.sites() == 0 && !row.is_bad() => continue,
            Ok(planned) => {
                let counts = planned
                    .tactics
                    .iter()
                    .chain([&planned.native, &planned.refused]);
                let counts: Vec<_> = counts.map(ToString::to_string).collect();
                writeln!(
                    text,
                    "{}\t{:016x}\t{}\t{}\t{:016x}{}",
                    row.file,
                    row.content,
                    planned.sites(),
                    counts.join("\t"),
                    planned.plan,
                    if row.is_bad() { "\tFAULTS" } else { "" }
                )
            }
            Err(error) => writeln!(text, "{}\t{:016x}\t{error}", row.file, row.content),
        };
    }
    text
}

/// The summary that is kept.
pub(super) fn summary(rows: &[Row]) -> String {
    let planned: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row, row.outcome.as_ref().ok()?)))
        .collect();
    let with_sites: Vec<_> = planned.iter().filter(|(_, p)| p.sites() > 0).collect();
    let sites: u64 = planned.iter().map(|(_, p)| p.sites()).sum();
    let sum = |of: &dyn Fn(&Planned) -> u64| planned.iter().map(|(_, p)| of(p)).sum::<u64>();
    let faults = rows.iter().filter(|row| row.is_bad()).count();
    let mut text = format!(
        "# The corpus\n\n\
         Printed by `cargo xtask corpus`, which fetches the packages of `xtask/corpus/packages.txt`, plans every 64-bit\n\
         x86 ELF file in them, and has every plan checked by the independent judge. `docs/corpus.tsv` has a line for each\n\
         file with sites; its last column changes with anything in the plan.\n\n\
         {} files, {} of them with {sites} sites; {faults} that could not be planned or did not pass the check.\n\n\
         | what became of the sites | sites | share |\n|---|--:|--:|\n",
        rows.len(),
        with_sites.len(),
    );
    let mut share = |name: &str, n: u64| {
        let percent = 100.0 * n as f64 / sites.max(1) as f64;
        let _ = writeln!(text, "| {name} | {n} | {percent:.2} % |");
    };
    for (i, tactic) in Tactic::ALL.iter().enumerate() {
        share(&format!("`{}`", tactic.name()), sum(&|p| p.tactics[i]));
    }
    share("native: stay as they are", sum(&|p| p.native));
    share("refused", sum(&|p| p.refused));

    text.push_str("\n## Files with refused sites\n\n| file | sites | refused |\n|---|--:|--:|\n");
    for (row, p) in with_sites.iter().filter(|(_, p)| p.refused > 0) {
        let _ = writeln!(text, "| `{}` | {} | {} |", row.file, p.sites(), p.refused);
    }

    let time: Duration = planned.iter().map(|(_, p)| p.time).sum();
    let bytes: usize = planned.iter().map(|(_, p)| p.size).sum();
    let _ = write!(
        text,
        "\n## Time and memory\n\n\
         {:.1} s for {:.1} GB, on one processor each. The ten files that take longest, and what planning them allocates at most:\n\n\
         | file | MB | sites | ms | MB allocated |\n|---|--:|--:|--:|--:|\n",
        time.as_secs_f64(),
        bytes as f64 / 1e9
    );
    let mut slowest = planned.clone();
    slowest.sort_by_key(|(_, p)| std::cmp::Reverse(p.time));
    for (row, p) in slowest.iter().take(10) {
        let _ = writeln!(
            text,
            "| `{}` | {:.1} | {} | {:.0} | {:.1} |",
            row.file,
            p.size as f64 / 1e6,
            p.sites(),
            p.time.as_secs_f64() * 1e3,
            p.memory as f64 / 1e6
        );
    }

    text.push_str("\n## By package\n\n| package | files | sites | patched | native | refused |\n|---|--:|--:|--:|--:|--:|\n");
    for of_package in with_sites.chunk_by(|a, b| a.0.package() == b.0.package()) {
        let total =
            |of: &dyn Fn(&Planned) -> u64| of_package.iter().map(|(_, p)| of(p)).sum::<u64>();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            of_package[0].0.package(),
            of_package.len(),
            total(&Planned::sites),
            total(&|p| p.tactics.iter().sum()),
            total(&|p| p.native),
            total(&|p| p.refused),
        );
    }
    text
}

/// FNV-1a, 64 bits: the same in every version of everything.
pub(super) fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
