//! `cargo xtask corpus`: plans every ELF file of many packages, checks every plan, and keeps what came out.
//!
//! Each file is planned by a process of its own (`cargo xtask corpus-file`), so that one that crashes, hangs or takes
//! all memory is a line of the result.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::Outcome;
use hotpatch_plan::search::Scalar;
use peak_alloc::PeakAlloc;
use table::{Planned, Row};
use wait_timeout::ChildExt;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The slowest file of the corpus takes a few seconds.
const LIMIT: Duration = Duration::from_secs(120);

/// Fetches what is missing below `corpus`, plans all of it, and writes `docs/corpus.tsv` and `docs/corpus.md`.
///
/// # Errors
/// Packages that cannot be had are said and left out. A plan that does not pass its check, and a file that cannot be
/// planned in time, is an error once all has been written.
pub fn corpus(workspace: &Path, corpus: &Path) -> anyhow::Result<()> {
    let fetched = Command::new(workspace.join("xtask/corpus/fetch"))
        .arg(workspace.join("xtask/corpus/packages.txt"))
        .arg(corpus)
        .status()
        .context("xtask/corpus/fetch")?;
    if !fetched.success() {
        eprintln!("some packages are not to be had: left out");
    }
    let files = files(corpus)?;
    ensure!(!files.is_empty(), "no ELF file below {}", corpus.display());
    let begin = Instant::now();
    let rows = rows(corpus, &files)?;
    let docs = workspace.join("docs");
    std::fs::write(docs.join("corpus.tsv"), table::tsv(&rows))?;
    std::fs::write(docs.join("corpus.md"), table::summary(&rows))?;
    let bad: Vec<&Row> = rows.iter().filter(|row| row.is_bad()).collect();
    eprintln!(
        "{} files in {:.0} s: docs/corpus.tsv, docs/corpus.md",
        rows.len(),
        begin.elapsed().as_secs_f64()
    );
    for row in &bad {
        eprintln!("{}: {}", row.file, row.complaint());
    }
    ensure!(bad.is_empty(), "{} files did not pass", bad.len());
    Ok(())
}

/// Every 64-bit x86 ELF program and library below `corpus`, each content once, under its first name.
fn files(corpus: &Path) -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let mut by_content = BTreeMap::new();
    let mut rest = vec![corpus.to_owned()];
    let mut paths = BTreeSet::new();
    while let Some(dir) = rest.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                rest.push(entry.path());
            } else if kind.is_file() {
                paths.insert(entry.path());
            }
        }
    }
    for path in paths {
        let mut header = [0; 20];
        let mut file = std::fs::File::open(&path)?;
        if file.read_exact(&mut header).is_err() || !is_elf(&header) {
            continue;
        }
        let bytes = std::fs::read(&path)?;
        by_content.entry(table::fnv(&bytes)).or_insert(path);
    }
    let mut files: Vec<_> = by_content
        .into_iter()
        .map(|(hash, path)| (path, hash))
        .collect();
    files.sort();
    Ok(files)
}

/// Whether an ELF header is that of an x86-64 program or library.
fn is_elf(header: &[u8; 20]) -> bool {
    header.starts_with(b"\x7fELF\x02\x01") && matches!(header[16], 2 | 3) && header[18] == 62
}

/// Plans the files, as many at once as there are processors.
fn rows(corpus: &Path, files: &[(PathBuf, u64)]) -> anyhow::Result<Vec<Row>> {
    let program = std::env::current_exe()?;
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let shows_progress = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                // Relaxed: a counter that nothing else depends on.
                while let Some((path, hash)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = planned_apart(&program, path).map_err(|e| format!("{e:#}"));
                    let file = path.strip_prefix(corpus).unwrap_or(path);
                    let mut rows = rows.lock().unwrap_or_else(|e| e.into_inner());
                    rows.push(Row {
                        file: file.display().to_string(),
                        content: *hash,
                        outcome,
                    });
                    if shows_progress {
                        eprint!("\r{} of {} files", rows.len(), files.len());
                    }
                }
            });
        }
    });
    if shows_progress {
        eprintln!();
    }
    let mut rows = rows.into_inner().unwrap_or_else(|e| e.into_inner());
    rows.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(rows)
}

/// Has a process of its own plan `path`.
fn planned_apart(program: &Path, path: &Path) -> anyhow::Result<Planned> {
    let mut child = Command::new(program)
        .arg("corpus-file")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let Some(status) = child.wait_timeout(LIMIT)? else {
        child.kill()?;
        child.wait()?;
        bail!("not planned in {} s", LIMIT.as_secs());
    };
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        status.success(),
        "{}",
        complaint.lines().last().unwrap_or("crashed").trim()
    );
    Planned::parse(&String::from_utf8(output.stdout)?)
}

/// Plans one file and prints a line for [`corpus`].
///
/// # Errors
/// If it is no image, or no trampoline behind it would be in reach.
pub fn corpus_file(path: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(path)?;
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let begin = Instant::now();
    let image = Image::from_file(&bytes)?;
    let options = Options {
        signals: true,
        ..Options::new(&Scalar)
    };
    let plan = hotpatch_plan::plan(&image, &options);
    let time = begin.elapsed();
    let memory = MEMORY.peak_usage() - before;
    let base = Va(image.span().end.0.next_multiple_of(4096));
    let emission = match plan.emit(&image, base, 0) {
        Ok(emission) => emission,
        Err(out) => bail!("no jump from behind the image reaches {}", out.to),
    };
    let faults = check(&image, &plan, &emission, 0).err().unwrap_or_default();
    let mut planned = Planned {
        time,
        memory,
        size: bytes.len(),
        faults: faults.iter().map(ToString::to_string).collect(),
        plan: table::fnv(format!("{plan:?}").as_bytes()),
        ..Planned::default()
    };
    for site in &plan.sites {
        match &site.outcome {
            Outcome::Patched { tactic, .. } => planned.tactics[*tactic as usize] += 1,
            Outcome::Native(_) => planned.native += 1,
            Outcome::Refused(_) => planned.refused += 1,
            Outcome::NotSelected => {}
        }
    }
    println!("{planned}");
    Ok(())
}
