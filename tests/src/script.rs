//! A real case: a script whose every program runs patched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::{Ran, run};
use crate::{Allowed, BEARABLE, TACTICS, library, report, scratch};

/// A script of `tests/real`.
#[derive(Debug)]
pub struct Script {
    /// File name without its extension.
    pub name: String,
    source: PathBuf,
    /// Programs it cannot do without, each with the Debian package that brings it.
    needs: Vec<(String, String)>,
    /// Programs that the log must name as patched.
    patches: Vec<String>,
    /// Names of the tactics it is tried with alone, if it says so.
    alone: Option<Vec<String>>,
    /// Its place among all.
    turn: usize,
    timeout: Duration,
    native: OnceLock<Result<Ran, String>>,
}

/// Only the distribution's own programs: what a user has in front of them may be a wrapper.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/postgresql/15/bin";

impl Script {
    /// Every script of `tests/real`, in order of name.
    ///
    /// # Panics
    /// When a script states something that has no meaning: a typing error must not silence a test.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = crate::cases("real", &["sh"], Self::read);
        for (turn, script) in all.iter_mut().enumerate() {
            script.turn = turn;
        }
        all
    }

    fn read(source: PathBuf) -> Result<Self, String> {
        let text = fs::read_to_string(&source).map_err(|e| e.to_string())?;
        // The first line names the shell.
        let mut script = Self {
            name: source.file_stem().unwrap_or_default().display().to_string(),
            source,
            needs: Vec::new(),
            patches: Vec::new(),
            alone: None,
            turn: 0,
            timeout: Duration::from_secs(60),
            native: OnceLock::new(),
        };
        let head = text.lines().skip(1).map_while(|l| l.strip_prefix("# "));
        for (key, value) in head.filter_map(|l| l.split_once(": ")) {
            let words = || value.split_whitespace().map(str::to_owned);
            match key {
                "needs" => {
                    let (program, package) =
                        value.split_once(' ').ok_or("needs: PROGRAM PACKAGE")?;
                    script.needs.push((program.to_owned(), package.to_owned()));
                }
                "patches" => script.patches = words().collect(),
                "alone" => {
                    let known = |tactic: &String| crate::TACTICS.contains(&tactic.as_str());
                    script.alone = Some(words().filter(|w| w != "none").collect());
                    if !script.alone.iter().flatten().all(known) {
                        return Err("alone: TACTIC… or none".to_owned());
                    }
                }
                "timeout" => {
                    script.timeout =
                        Duration::from_secs(value.parse().map_err(|_| "timeout: SECONDS")?);
                }
                // Anything else is prose.
                _ => {}
            }
        }
        if script.patches.is_empty() {
            return Err("does not say `patches:`; it would pass with nothing patched".to_owned());
        }
        Ok(script)
    }

    /// What this script is tried with: the whole ladder, and by turns one of the freestanding and one of the hosted hooks that every program
    /// must bear, and two of the tactics alone, unless it names these. All of them when `HOTPATCH_ALL` is set.
    pub fn allowed(&self) -> impl Iterator<Item = Allowed> + '_ {
        let every = std::env::var_os("HOTPATCH_ALL").is_some();
        let own = move |allowed: &Allowed| match *allowed {
            Allowed::Ladder => true,
            Allowed::Hooked(name) => {
                let (hosted, own): (Vec<&str>, Vec<&str>) =
                    BEARABLE.iter().partition(|name| name.contains("hosted"));
                [hosted, own]
                    .iter()
                    .any(|hooks| name == hooks[self.turn % hooks.len()])
            }
            Allowed::Alone(tactic) => match &self.alone {
                Some(alone) => alone.iter().any(|own| own == tactic),
                None => [self.turn, self.turn + TACTICS.len() / 2]
                    .iter()
                    .any(|turn| tactic == TACTICS[turn % TACTICS.len()]),
            },
        };
        Allowed::all().filter(move |allowed| every || own(allowed))
    }

    fn missing(&self) -> Result<(), String> {
        for (program, package) in &self.needs {
            let found = program.starts_with('/') && Path::new(program).exists()
                || PATH
                    .split(':')
                    .any(|dir| Path::new(dir).join(program).exists());
            if !found {
                return Err(format!(
                    "{program} is missing: apt-get install {package}, or run .ci/run once"
                ));
            }
        }
        Ok(())
    }

    fn command(&self, dir: &Path) -> Result<Command, String> {
        self.missing()?;
        let work = dir.join("work");
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(&work).map_err(|e| e.to_string())?;
        // Some programs give up root before they work here.
        fs::set_permissions(&work, fs::Permissions::from_mode(0o777)).map_err(|e| e.to_string())?;
        let mut command = Command::new("/bin/bash");
        command
            .arg(&self.source)
            .current_dir(&work)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", &work)
            .env("TMPDIR", &work)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        Ok(command)
    }

    fn dir(&self, mode: &str) -> PathBuf {
        // Of equal length natively and patched, as the path appears in what programs print.
        scratch().join(format!(
            "real-{}-{:04x}-{}",
            self.name,
            mode.bytes()
                .fold(0_u16, |sum, b| sum.wrapping_mul(31) ^ u16::from(b)),
            std::process::id()
        ))
    }

    /// What the script does without the library, run once for all its trials.
    ///
    /// # Errors
    /// When a program it needs is missing, or it fails without us.
    pub fn native(&self) -> Result<&Ran, String> {
        let native = self.native.get_or_init(|| {
            let dir = self.dir("native");
            let mut command = self.command(&dir)?;
            let ran = run(&mut command, &dir, self.timeout).map_err(|e| e.to_string())?;
            let _ = fs::remove_dir_all(dir.join("work"));
            if ran.end != crate::process::End::Exit(0) {
                return Err(format!(
                    "fails without the library: {}\n{}\n{}",
                    ran.end, ran.stdout, ran.stderr
                ));
            }
            Ok(normal(ran, &dir))
        });
        native.as_ref().map_err(Clone::clone)
    }

    /// Runs the script patched and says what differs, or which program was not patched.
    ///
    /// # Errors
    /// The difference, and where the log is.
    pub fn check(&self, allowed: Allowed) -> Result<(), String> {
        let native = self.native()?;
        let dir = self.dir(allowed.name());
        let mut command = self.command(&dir)?;
        let (log, sites) = (dir.join("log"), dir.join("report"));
        library::preload(&mut command, allowed, &log, &sites);
        let patched = run(&mut command, &dir, self.timeout * 2).map_err(|e| e.to_string())?;
        let patched = normal(patched, &dir);
        if let Some(difference) = patched.differs_from(native) {
            return Err(format!("{difference}files: {}", dir.display()));
        }
        let said = fs::read_to_string(&log).map_err(|e| format!("no log: {e}"))?;
        for program in &self.patches {
            if !said.contains(program) {
                return Err(format!(
                    "the log does not name {program}: {}",
                    dir.display()
                ));
            }
        }
        if allowed == Allowed::Ladder {
            let report = report::read(&sites)?;
            if report.patched() == 0 {
                return Err(format!("nothing was patched: {}", dir.display()));
            }
            if let Some(site) = report.refused().next() {
                return Err(format!("refused: {site:?}: {}", dir.display()));
            }
        }
        let _ = fs::remove_dir_all(&dir);
        Ok(())
    }
}

/// With the path of the working directory taken out, and the number of a process that a shell names.
fn normal(ran: Ran, dir: &Path) -> Ran {
    let plain = |text: String| {
        let text = text.replace(&*dir.to_string_lossy(), "DIR");
        text.lines().map(without_process).collect::<String>()
    };
    Ran {
        stdout: plain(ran.stdout),
        stderr: plain(ran.stderr),
        end: ran.end,
    }
}

/// `script: line 5: 123 Killed` without the 123.
fn without_process(line: &str) -> String {
    if let Some((before, after)) = line.split_once(": line ")
        && let Some((number, after)) = after.split_once(": ")
        && let Some((process, after)) = after.trim_start().split_once(' ')
        && process.bytes().all(|b| b.is_ascii_digit())
    {
        return format!("{before}: line {number}: {}\n", after.trim_start());
    }
    format!("{line}\n")
}
