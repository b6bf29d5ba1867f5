//! A guest: its source, what its first comment lines state, and how it is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use object::{Object as _, ObjectSymbol as _};

use crate::process::{Ran, run};
use crate::report::{self, Outcome, Report};
use crate::{Allowed, library, package, scratch};

/// What must become of one labelled site of a guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The global label of the `syscall` instruction.
    pub label: String,
    /// With the whole ladder: one of these (tactics, or `native`, or `refused`).
    pub ladder: Vec<String>,
    /// Tactics that must succeed alone.
    pub alone: Vec<String>,
    /// Tactics that must refuse alone.
    pub never: Vec<String>,
}

/// A guest program.
#[derive(Debug)]
pub struct Guest {
    /// File name without its extension.
    pub name: String,
    source: PathBuf,
    build: Vec<String>,
    /// A setting of the library's, and its value.
    setting: Option<(String, String)>,
    /// Runs with the C library that `tests/newer-libc` unpacks.
    newer_libc: bool,
    /// A file of `tests/guests/libraries` that is built beside it, as a shared library: `LIBRARY` is its path.
    library: Option<String>,
    sites: Vec<Expected>,
    /// Files, by a part of their path, of which at least this many sites must be patched by the ladder.
    files: Vec<(String, usize)>,
    modes: Vec<String>,
    /// What the log must say where hooks are called.
    says: Vec<String>,
    /// Sets of hooks that it is tried with besides those that every guest must bear.
    hooks: Vec<&'static str>,
    /// Lines that begin with one of these may differ: what LIMITS.md says.
    limits: Vec<String>,
    /// The same with one tactic alone.
    limits_alone: Vec<String>,
    args: Vec<String>,
    timeout: Duration,
    native: OnceLock<Result<Ran, String>>,
    built: OnceLock<Result<PathBuf, String>>,
}

impl Guest {
    /// Every guest of `tests/guests`, in order of name.
    ///
    /// # Panics
    /// When a guest states something that has no meaning: a typing error must not silence a test.
    #[must_use]
    pub fn all() -> Vec<Self> {
        crate::cases("guests", &["c", "cc", "s", "S"], Self::read)
    }

    fn read(source: PathBuf) -> Result<Self, String> {
        let text = fs::read_to_string(&source).map_err(|e| e.to_string())?;
        let mut guest = Self {
            name: source.file_stem().unwrap_or_default().display().to_string(),
            source,
            build: Vec::new(),
            setting: None,
            newer_libc: false,
            library: None,
            sites: Vec::new(),
            files: Vec::new(),
            modes: Vec::new(),
            says: Vec::new(),
            hooks: Vec::new(),
            limits: Vec::new(),
            limits_alone: Vec::new(),
            args: Vec::new(),
            timeout: Duration::from_secs(20),
            native: OnceLock::new(),
            built: OnceLock::new(),
        };
        let head = text
            .lines()
            .map_while(|l| l.strip_prefix("// ").or_else(|| l.strip_prefix("# ")));
        for (key, value) in head.filter_map(|l| l.split_once(": ")) {
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "build" => guest.build = words().collect(),
                "library" => guest.library = Some(value.to_owned()),
                "setting" => {
                    let (name, value) = value.split_once('=').ok_or("setting: NAME=VALUE")?;
                    guest.setting = Some((name.to_owned(), value.to_owned()));
                }
                "libc" if value == "newer" => guest.newer_libc = true,
                "site" => guest.sites.push(expected(value)?),
                "patched" => {
                    let (file, count) = value.split_once(' ').ok_or("patched: FILE COUNT")?;
                    guest.files.push((
                        file.to_owned(),
                        count.parse().map_err(|_| "patched: FILE COUNT")?,
                    ));
                }
                "log" => guest.says.push(value.to_owned()),
                "only" => guest.modes = words().collect(),
                "hook" => {
                    let names: Vec<String> = words().collect();
                    let name = format!("hook-{}", names.join("+"));
                    guest.hooks.push(Box::leak(name.into_boxed_str()));
                }
                "limit-alone" => guest.limits_alone = words().collect(),
                "limit" => guest.limits = words().collect(),
                "args" => guest.args = words().collect(),
                "timeout" => {
                    guest.timeout =
                        Duration::from_secs(value.parse().map_err(|_| "timeout: SECONDS")?);
                }
                // Anything else is prose.
                _ => {}
            }
        }
        if guest.build.is_empty() {
            return Err("the first comment line must be `build: COMPILER FLAGS`".to_owned());
        }
        if guest.files.is_empty() && guest.sites.is_empty() {
            return Err(
                "says neither `site:` nor `patched:`; it would pass with nothing patched"
                    .to_owned(),
            );
        }
        Ok(guest)
    }

    /// The sets of tactics and hooks this guest is tried with.
    pub fn allowed(&self) -> impl Iterator<Item = Allowed> + '_ {
        let named = |a: &Allowed| {
            let name = match a {
                // Hooks stand on the whole ladder.
                Allowed::Hooked(_) if self.modes.iter().all(|m| !m.starts_with("hook-")) => {
                    Allowed::Ladder.name()
                }
                a => a.name(),
            };
            self.modes.is_empty() || self.modes.iter().any(|m| m == name)
        };
        let own = self.hooks.iter().copied().map(Allowed::Hooked);
        Allowed::all().filter(named).chain(own)
    }

    /// The compiled guest.
    ///
    /// # Errors
    /// What the compiler said, or which package brings a missing one.
    pub fn binary(&self) -> Result<&Path, String> {
        let built = self.built.get_or_init(|| self.compile());
        built.as_deref().map_err(Clone::clone)
    }

    fn compile(&self) -> Result<PathBuf, String> {
        let dir = scratch().join("guests");
        fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        let binary = dir.join(format!("{}-{}", self.name, std::process::id()));
        let (compiler, flags) = self.build.split_first().ok_or("no compiler named")?;
        let libc = if self.newer_libc {
            newer_libc()?
        } else {
            Vec::new()
        };
        let output = Command::new(compiler)
            .args(libc)
            .arg("-o")
            .arg(&binary)
            .arg("-I")
            .arg(package().join("guests"))
            .arg(&self.source)
            .args(flags)
            .args(self.library(&dir)?)
            .output()
            .map_err(|e| {
                let package = if compiler == "musl-gcc" {
                    "musl-tools"
                } else {
                    compiler
                };
                format!(
                    "cannot run {compiler} ({e}): apt-get install {package}, or run .ci/run once"
                )
            })?;
        if !output.status.success() {
            return Err(format!(
                "{:?} failed:\n{}",
                self.build,
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        Ok(binary)
    }

    /// Builds the library that it opens; answers how it is told where that is.
    fn library(&self, dir: &Path) -> Result<Option<String>, String> {
        let Some(name) = &self.library else {
            return Ok(None);
        };
        let library = dir.join(format!(
            "{}-{name}-library-{}",
            self.name,
            std::process::id()
        ));
        let output = Command::new("gcc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(package().join(format!("guests/libraries/{name}.c")))
            .output()
            .map_err(|e| format!("cannot run gcc ({e}): apt-get install gcc"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(Some(format!("-DLIBRARY=\"{}\"", library.display())))
    }

    /// What the guest does without the library, run once for all its trials.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub fn native(&self) -> Result<&Ran, String> {
        let native = self.native.get_or_init(|| {
            let dir = self.dir("native")?;
            run(
                Command::new(self.binary()?)
                    .args(&self.args)
                    .current_dir(&dir),
                &dir,
                self.timeout,
            )
            .map_err(|e| e.to_string())
        });
        native.as_ref().map_err(Clone::clone)
    }

    fn dir(&self, mode: &str) -> Result<PathBuf, String> {
        let dir = scratch().join(format!("run-{}-{}-{mode}", self.name, std::process::id()));
        fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        Ok(dir)
    }

    /// Runs the guest patched and says what differs, or which site did not become what it should.
    ///
    /// # Errors
    /// The difference, with the log of the run.
    pub fn check(&self, allowed: Allowed) -> Result<(), String> {
        let native = self.native()?;
        let dir = self.dir(allowed.name())?;
        let (log, report) = (dir.join("log"), dir.join("report"));
        let mut command = Command::new(self.binary()?);
        command.args(&self.args).current_dir(&dir);
        library::preload(&mut command, allowed, &log, &report);
        if let Some((name, value)) = &self.setting {
            command.env(name, value);
        }
        let patched = run(&mut command, &dir, self.timeout).map_err(|e| e.to_string())?;
        let [native, patched] = [native, &patched].map(|ran| self.within_limits(ran, allowed));
        let log = || fs::read_to_string(&log).unwrap_or_default();
        if let Some(difference) = patched.differs_from(&native) {
            return Err(format!(
                "{difference}files: {}\nlog:\n{}",
                dir.display(),
                log()
            ));
        }
        let unsaid = |says: &&String| !log().contains(says.as_str());
        if let Allowed::Hooked(_) = allowed
            && let Some(unsaid) = self.says.iter().find(unsaid)
        {
            return Err(format!("the log does not say `{unsaid}`:\n{}", log()));
        }
        // Without `dlmopen` a hosted hook cannot be had, nor any without descriptors or memory.
        let why = ["no dlmopen", "too many open files", "failed to map segment"];
        let is_missed = |line: &&str| {
            line.ends_with("the program runs without it") && !why.iter().any(|w| line.contains(w))
        };
        if let Some(missed) = log().lines().find(is_missed) {
            return Err(format!("a hook is not used: {missed}"));
        }
        let report = report::read(&report)?;
        self.judge(allowed, &report)
            .map_err(|e| format!("{e}\nfiles: {}\nlog:\n{}", dir.display(), log()))?;
        let _ = fs::remove_dir_all(&dir);
        Ok(())
    }

    fn within_limits(&self, ran: &Ran, allowed: Allowed) -> Ran {
        let alone = match allowed {
            Allowed::Alone(_) => &self.limits_alone[..],
            _ => &[],
        };
        let kept = |line: &&str| {
            let mut limits = self.limits.iter().chain(alone);
            !limits.any(|limit| line.starts_with(limit.as_str()))
        };
        let stdout = ran.stdout.split_inclusive('\n').filter(kept).collect();
        Ran {
            stdout,
            ..ran.clone()
        }
    }

    fn judge(&self, allowed: Allowed, report: &Report) -> Result<(), String> {
        if let Allowed::Alone(tactic) = allowed {
            report.uses_only(tactic)?;
        } else {
            for (file, count) in &self.files {
                let patched = report.patched_in(file);
                if patched < *count {
                    return Err(format!(
                        "{patched} sites of {file} are patched, not {count}"
                    ));
                }
            }
        }
        let labels = labels(self.binary()?)?;
        for site in &self.sites {
            let at = labels
                .iter()
                .find(|(name, _)| *name == site.label)
                .map(|&(_, at)| at);
            let at = at.ok_or_else(|| format!("the guest has no label {}", site.label))?;
            let became = report
                .at(self.binary()?, at)
                .ok_or_else(|| format!("{} at {at:#x} is not in the report", site.label))?;
            verdict(site, allowed, became)
                .map_err(|e| format!("{} at {at:#x}: {e}", site.label))?;
        }
        Ok(())
    }
}

/// What links a program with the C library that `tests/newer-libc` unpacks.
fn newer_libc() -> Result<Vec<String>, String> {
    let root = package().join("../target/newer-libc/usr/lib/x86_64-linux-gnu");
    let root = root
        .canonicalize()
        .map_err(|_| "no newer C library: run tests/newer-libc, or .ci/run once")?;
    let root = root.display();
    Ok(vec![
        format!("-Wl,--dynamic-linker={root}/ld-linux-x86-64.so.2"),
        format!("-Wl,-rpath={root}"),
    ])
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(Ok(binary)) = self.built.get() {
            let _ = fs::remove_file(binary);
        }
        let _ = fs::remove_dir_all(scratch().join(format!(
            "run-{}-{}-native",
            self.name,
            std::process::id()
        )));
    }
}

/// Reads `LABEL = TACTIC,… [+TACTIC…] [-TACTIC…]`.
fn expected(text: &str) -> Result<Expected, String> {
    let (label, rest) = text
        .split_once(" = ")
        .ok_or("site: LABEL = TACTIC,... +ALONE -NEVER")?;
    let mut words = rest.split_whitespace();
    let ladder = words
        .next()
        .ok_or("site: no tactic")?
        .split(',')
        .map(str::to_owned)
        .collect();
    let mut site = Expected {
        label: label.trim().to_owned(),
        ladder,
        alone: Vec::new(),
        never: Vec::new(),
    };
    for word in words {
        let (list, tactic) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(tactic), _) => (&mut site.alone, tactic),
            (_, Some(tactic)) => (&mut site.never, tactic),
            _ => return Err(format!("site: `{word}` begins with neither + nor -")),
        };
        if !crate::TACTICS.contains(&tactic) {
            return Err(format!("site: no tactic {tactic}"));
        }
        list.push(tactic.to_owned());
    }
    Ok(site)
}

fn verdict(site: &Expected, allowed: Allowed, became: &Outcome) -> Result<(), String> {
    let name = became.name();
    let expected = &site.ladder;
    match allowed {
        Allowed::Ladder | Allowed::Hooked(_) if !expected.iter().any(|t| t == name) => {
            Err(format!("became {became:?}, not one of {expected:?}"))
        }
        Allowed::Alone(tactic) => {
            let taken = name == tactic;
            if !taken && site.alone.iter().any(|t| t == tactic) {
                Err(format!("became {became:?} with {tactic} alone"))
            } else if taken && site.never.iter().any(|t| t == tactic) {
                Err(format!("was patched by {tactic}, which is not safe here"))
            } else {
                Ok(())
            }
        }
        Allowed::Ladder | Allowed::Hooked(_) => Ok(()),
    }
}

/// All symbols of an ELF file with their addresses.
fn labels(file: &Path) -> Result<Vec<(String, u64)>, String> {
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let elf = object::File::parse(&*bytes).map_err(|e| e.to_string())?;
    Ok(elf
        .symbols()
        .filter_map(|s| Some((s.name().ok()?.to_owned(), s.address())))
        .collect())
}
