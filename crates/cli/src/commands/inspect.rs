//! `hotpatch inspect`: plans files without running them.

mod json;
mod progress;
mod text;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Emission, Kinds, Outcome, Plan, Tactic, Tactics};
use hotpatch_plan::search::Scalar;
use memmap2::Mmap;

use crate::args::Inspect;
use crate::style::{self, printable};
use progress::Progress;

/// A file and its plan.
struct Planned<'i> {
    path: &'i Path,
    image: &'i Image<'i>,
    plan: Plan,
    emission: Emission,
    /// What the independent check says against the plan.
    faults: Vec<String>,
    microseconds: u64,
}

/// How many sites each outcome has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    sites: u64,
    tactics: [u64; Tactic::ALL.len()],
    native: u64,
    refused: u64,
}

/// Plans each file; a bad one does not keep the others from being planned.
pub fn run(args: &Inspect) -> anyhow::Result<i32> {
    let progress = Progress::new(args.files.len());
    let mut out = anstream::stdout().lock();
    let mut summary = text::Summary::new(args);
    let mut status = 0;
    for path in &args.files {
        progress.next(path);
        let mut shown = Ok(());
        let planned = with_plan(path, args, |planned| {
            let bad = !planned.faults.is_empty();
            shown = if args.json {
                json::write(&mut out, &planned)
            } else {
                summary.file(&mut out, &progress, &planned)
            };
            bad
        });
        // Nobody reads on: no reason to plan on.
        shown?;
        match planned {
            Ok(bad) => status = status.max(i32::from(bad)),
            Err(error) => {
                status = 1;
                progress.pause();
                if args.json {
                    json::write_error(&mut out, path, &error)?;
                }
                style::error(&format!(
                    "{}: {error:#}",
                    printable(&path.display().to_string())
                ));
            }
        }
    }
    progress.pause();
    if !args.json {
        summary.end(&mut out)?;
    }
    out.flush()?;
    Ok(status)
}

/// Opens, plans, emits and checks one file, and hands it to `show`.
fn with_plan<T>(
    path: &Path,
    args: &Inspect,
    show: impl FnOnce(Planned<'_>) -> T,
) -> anyhow::Result<T> {
    let file = map(path)?;
    let begin = Instant::now();
    let image = Image::from_file(&file)?;
    let options = Options {
        tactics: args.tactics.as_ref().map_or(Tactics::ALL, |list| list.set),
        kinds: args.kinds.unwrap_or(Kinds::SYSCALL),
        numbers: args.json,
        // As the library does where it has the whole ladder.
        signals: args.tactics.is_none(),
        ..Options::new(&Scalar)
    };
    let mut plan = hotpatch_plan::plan(&image, &options);
    let microseconds = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    // Where the trampolines would lie: behind the image, as far as that can be said without a process.
    let base = Va(image.span().end.0.next_multiple_of(4096));
    let emission = match plan.emit(&image, base, 0) {
        Ok(emission) => emission,
        Err(out) => bail!("no jump from behind the image reaches {}", out.to),
    };
    let faults = check(&image, &plan, &emission, 0).err().unwrap_or_default();
    let faults = faults.iter().map(ToString::to_string).collect();
    // A `syscall` that was not asked for.
    plan.sites
        .retain(|site| site.outcome != Outcome::NotSelected);
    Ok(show(Planned {
        path,
        image: &image,
        plan,
        emission,
        faults,
        microseconds,
    }))
}

fn map(path: &Path) -> anyhow::Result<Mmap> {
    // Opening a FIFO would wait for somebody to write to it.
    let metadata = std::fs::metadata(path)?;
    ensure!(!metadata.is_dir(), "Is a directory");
    ensure!(metadata.is_file(), "not a regular file");
    let file = File::open(path)?;
    // SAFETY: a file that changes meanwhile gives a wrong plan, which nobody applies; one that is
    // cut short ends this process, which holds nothing of value.
    unsafe { Mmap::map(&file) }.context("cannot be mapped")
}

impl Counts {
    fn of(plan: &Plan) -> Self {
        let mut counts = Self::default();
        for site in &plan.sites {
            counts.sites += 1;
            match &site.outcome {
                Outcome::Patched { tactic, .. } => counts.tactics[*tactic as usize] += 1,
                Outcome::Native(_) => counts.native += 1,
                Outcome::Refused(_) => counts.refused += 1,
                Outcome::NotSelected => {}
            }
        }
        counts
    }

    /// The count of one tactic.
    fn by(&self, tactic: Tactic) -> u64 {
        self.tactics[tactic as usize]
    }

    fn add(&mut self, other: &Self) {
        self.sites += other.sites;
        self.native += other.native;
        self.refused += other.refused;
        for (sum, n) in self.tactics.iter_mut().zip(other.tactics) {
            *sum += n;
        }
    }
}
