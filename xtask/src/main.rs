//! Build and maintenance commands of the repository: see its usage.

mod bench;
mod corpus;
mod package;
mod soak;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};

const USAGE: &str = "\
usage: cargo xtask build     leaves libhotpatch.so and hotpatch in target/release, through the gates
       cargo xtask package   the same, as a package for Debian, beside them
       cargo xtask soak --minutes N
                             loops what races, counts, and writes docs/reliability.md
       cargo xtask bench [--rounds N] [NAME=VALUE]...
                             what it costs, beside other ways and in whole programs; writes docs/benchmarks.md.
                             NAME: another interposer to be compared with, VALUE: its LD_PRELOAD
       cargo xtask header    makes include/hotpatch.h from crates/abi
       cargo xtask corpus    plans and checks every ELF file of the packages that xtask/corpus/packages.txt lists,
                             fetched below target/corpus (8 GB); rewrites docs/corpus.tsv and docs/corpus.md";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["build"] => build(),
        ["package"] => build().and_then(|()| {
            let deb = package::package(&workspace(), &target_dir()?.join("release"))?;
            println!("{}", deb.display());
            Ok(())
        }),
        ["soak", "--minutes", minutes] => build().and_then(|()| {
            soak::soak(
                &workspace(),
                &target_dir()?,
                minutes.parse().context("minutes")?,
            )
        }),
        ["bench", "--rounds", rounds, ref others @ ..] => bench(rounds, others),
        ["bench", ref others @ ..] => bench("8", others),
        ["header"] => header(),
        ["corpus"] => {
            target_dir().and_then(|dir| corpus::corpus(&workspace(), &dir.join("corpus")))
        }
        ["corpus-file", path] => corpus::corpus_file(Path::new(path)),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(rounds: &str, others: &[&str]) -> anyhow::Result<()> {
    let rounds = rounds.parse().context("rounds")?;
    ensure!(others.iter().all(|other| other.contains('=')), USAGE);
    build()?;
    bench::bench(&workspace(), &target_dir()?, rounds, others)
}

fn build() -> anyhow::Result<()> {
    let target = target_dir()?;
    let release = target.join("release");
    std::fs::create_dir_all(&release)?;
    let options = hotpatch_link::Options {
        workspace: workspace(),
        target_dir: target.join("runtime"),
    };
    let object = hotpatch_link::build(&options)?;
    let bytes = std::fs::read(&object).with_context(|| object.display().to_string())?;
    report(&object, &bytes)?;
    // Programs may have the old one mapped: replaced, never written over.
    let (library, temporary) = (
        release.join("libhotpatch.so"),
        release.join(".libhotpatch.so"),
    );
    std::fs::write(&temporary, &bytes)?;
    std::fs::rename(&temporary, &library)?;

    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "hotpatch-cli",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(workspace())
        .status()
        .context("cargo")?;
    ensure!(status.success(), "the command was not built");
    let command = release.join("hotpatch");
    let carrier = std::fs::read(&command).with_context(|| command.display().to_string())?;
    ensure!(
        memchr::memmem::find(&carrier, &bytes).is_some(),
        "{} carries another library than the one that passed the gate",
        command.display()
    );
    println!("{}\n{}", library.display(), command.display());
    Ok(())
}

fn header() -> anyhow::Result<()> {
    let text = xtask::header::header(&workspace())?;
    let path = workspace().join("include/hotpatch.h");
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}

fn report(object: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let violations = match xtask::gate::gate(bytes) {
        Ok(violations) => violations,
        Err(error) => bail!("{}: {error}", object.display()),
    };
    for violation in &violations {
        eprintln!("{}: {violation}", object.display());
    }
    ensure!(
        violations.is_empty(),
        "{} did not pass the gate",
        object.display()
    );
    Ok(())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// The directory this very program was built in, whatever named it.
fn target_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let dir = program.parent().and_then(Path::parent);
    dir.map(Path::to_owned).context("no target directory")
}
