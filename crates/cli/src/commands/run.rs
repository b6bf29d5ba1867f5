//! `hotpatch run`: a program with its system calls patched.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use hotpatch_inject::preload;
use nix::errno::Errno;

use crate::args::Run;
use crate::commands::attach;
use crate::hook::{self, NotUsed};
use crate::program::{self, NotRun, Reach};
use crate::report::Report;
use crate::start::{self, Injected};
use crate::{cache, style, supervise};

/// The exit status where hotpatch itself fails, as `env` and `timeout` have it.
pub const FAILED: i32 = 125;

/// What an exec takes.
pub struct Exec {
    /// The file.
    pub path: CString,
    /// The program's name as it was typed, and its arguments.
    pub args: Vec<CString>,
    /// `NAME=value` each.
    pub environment: Vec<CString>,
    /// What is started in it at its exec; where it cannot be, the program runs as it is.
    pub injected: Option<Injected>,
}

/// Runs the program; comes back only where it cannot be run, or with `-v`.
pub fn run(args: Run) -> anyhow::Result<i32> {
    if !args.attach.is_empty() {
        return attach::run(&args);
    }
    let name = args.program[0].clone();
    let path = match program::find(&name) {
        Ok(path) => path,
        Err(why) => return Ok(not_run(&why)),
    };
    let hooks = match hook::list(&args.hook) {
        Ok(hooks) => hooks,
        Err(why) => {
            style::error(&why.to_string());
            return Ok(NotUsed::STATUS);
        }
    };
    let reach = program::reach(&path);
    let private = cache::prepare()?;
    let report = match (&args.report, args.verbose) {
        (Some(path), true) => Some(Report::appended_to(&absolute(path)?)?),
        (None, true) => Some(Report::in_new_file(&private)?),
        (_, false) => None,
    };
    let settings = settings(&args, report.as_ref(), hooks.list)?;
    let library = private.path.join(cache::file_name());
    let environment = environment(&[]);
    let injected = match reach {
        Reach::Program => Some(Injected {
            by_loader: hooks.hosted,
            ..injected(&library, settings, &environment, args.verbose)?
        }),
        _ => None,
    };
    let exec = exec(&path, &args.program, environment, injected)?;
    if hooks.hosted && args.strict && !start::can_host(&exec.path) {
        style::error(
            "hosted hooks need a program whose loader can be told of them: it does not run",
        );
        return Ok(NotUsed::STATUS);
    }

    let hooks_speak = !args.hook.is_empty() && is_silent(args.log.as_deref());
    if report.is_none() && !hooks_speak {
        let errno = start::execute(&exec);
        return fall_back(exec, &path, errno, |exec| Err(start::execute(exec)))
            .or_else(|errno| Ok(not_run(&NotRun::from_exec(&name, &path, errno))));
    }
    let ended = supervise::run(&exec, |_| {})
        .or_else(|errno| fall_back(exec, &path, errno, |exec| supervise::run(exec, |_| {})));
    let ended = match ended {
        Ok(ended) => ended,
        Err(errno) => return Ok(not_run(&NotRun::from_exec(&name, &path, errno))),
    };
    if let Some(report) = report {
        report.print(&mut anstream::stderr().lock(), reach.why_native(), &name);
    }
    Ok(ended.follow())
}

/// The library, to be started at the exec with `settings`.
pub fn injected(
    library: &Path,
    settings: Vec<Variable>,
    environment: &[Variable],
    verbose: bool,
) -> anyhow::Result<Injected> {
    let (library, settings) = (c_string(library)?, block(settings));
    Ok(Injected {
        preloaded: preloaded(&library, &settings, environment)?,
        library,
        settings,
        by_loader: false,
        verbose,
    })
}

/// The exec of `program`, which is the file at `path`.
pub fn exec(
    path: &Path,
    program: &[OsString],
    environment: Vec<Variable>,
    injected: Option<Injected>,
) -> anyhow::Result<Exec> {
    Ok(Exec {
        path: c_string(path)?,
        args: c_strings(program.to_vec())?,
        environment: c_strings(environment.into_iter().map(assignment))?,
        injected,
    })
}

/// Our own environment with these changes: `NAME=value`, or a name to be left out.
pub fn environment(changes: &[OsString]) -> Vec<Variable> {
    let mut variables: Vec<Variable> = std::env::vars_os().collect();
    for change in changes {
        let bytes = change.as_bytes();
        let end = bytes.iter().position(|&byte| byte == b'=');
        let name = OsStr::from_bytes(&bytes[..end.unwrap_or(bytes.len())]);
        let value = end.map(|end| OsStr::from_bytes(&bytes[end + 1..]));
        let old = variables.iter().position(|(n, _)| n == name);
        match (old, value) {
            (Some(at), Some(value)) => variables[at].1 = value.to_owned(),
            (Some(at), None) => drop(variables.remove(at)),
            (None, Some(value)) => variables.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
    }
    variables
}

/// A script without `#!` is run by the shell, as `execvp(3)` does; anything else stays refused.
pub fn fall_back<T>(
    mut exec: Exec,
    path: &Path,
    errno: Errno,
    run: impl Fn(&Exec) -> Result<T, Errno>,
) -> Result<T, Errno> {
    if errno != Errno::ENOEXEC || !program::is_plain_script(path) {
        return Err(errno);
    }
    exec.args.splice(..1, [c"sh".to_owned(), exec.path]);
    exec.path = c"/bin/sh".to_owned();
    run(&exec)
}

/// Says why the program does not run: the exit status.
pub fn not_run(why: &NotRun) -> i32 {
    style::error(&why.to_string());
    why.status
}

/// A name and its value.
pub type Variable = (OsString, OsString);

/// What the command line says, as the library reads it.
pub fn settings(
    args: &Run,
    report: Option<&Report>,
    hooks: OsString,
) -> anyhow::Result<Vec<Variable>> {
    let mut settings: Vec<Variable> = Vec::new();
    let mut set = |name: &str, value: OsString| settings.push((name.into(), value));
    if let Some(patterns) = &args.skip {
        set("LIBHOTPATCH_SKIP", patterns.clone());
    }
    if !hooks.is_empty() {
        set("LIBHOTPATCH_HOOK", hooks);
    }
    if let Some(list) = &args.tactics {
        set("LIBHOTPATCH_TACTICS", list.words.clone().into());
    }
    if args.strict {
        set("LIBHOTPATCH_STRICT", "1".into());
    }
    if let Some(report) = report {
        set("LIBHOTPATCH_REPORT", report.path().into());
    } else if let Some(path) = &args.report {
        set("LIBHOTPATCH_REPORT", absolute(path)?.into());
    }
    settings.extend(logs(args.log.as_deref(), !args.hook.is_empty())?);
    Ok(settings)
}

/// Where the library speaks, and hooks, if there are any.
pub fn logs(log: Option<&Path>, hooks: bool) -> anyhow::Result<Vec<Variable>> {
    let mut logs: Vec<Variable> = Vec::new();
    if let Some(path) = log {
        logs.push(("LIBHOTPATCH_LOGPATH".into(), absolute(path)?.into()));
    } else if is_silent(log) {
        logs.push(("LIBHOTPATCH_LOGPATH".into(), "/dev/null".into()));
        if hooks {
            let ours = format!("/proc/{}/fd/2", std::process::id());
            logs.push(("LIBHOTPATCH_HOOK_LOGPATH".into(), ours.into()));
        }
    }
    Ok(logs)
}

/// Whether nobody wants to have the library's own lines. What hooks say is why they are there: it comes to our own
/// standard error, as many programs close theirs before they end, and we have to stay for that.
fn is_silent(log: Option<&Path>) -> bool {
    log.is_none() && std::env::var_os("LIBHOTPATCH_LOGPATH").is_none()
}

fn assignment((mut name, value): Variable) -> OsString {
    name.push("=");
    name.push(value);
    name
}

/// The settings as they are mapped with the library.
fn block(settings: Vec<Variable>) -> Vec<u8> {
    let lines = settings.into_iter().map(|setting| {
        let mut line = assignment(setting).into_vec();
        line.push(0);
        line
    });
    lines.flatten().collect()
}

/// The environment where the program's loader has to bring the library, before others; nothing where it cannot be told.
fn preloaded(
    library: &CStr,
    settings: &[u8],
    environment: &[Variable],
) -> anyhow::Result<Option<Vec<CString>>> {
    let Some(told) = preload::variable(library.to_bytes(), b"", settings) else {
        return Ok(None);
    };
    let mut variables = environment.to_vec();
    let before = variables.iter_mut().find(|(name, _)| name == "LD_PRELOAD");
    let mut value = OsString::from(OsStr::from_bytes(library.to_bytes()));
    let first = match before {
        Some((_, before)) => {
            value.push(":");
            value.push(&*before);
            *before = value;
            CString::default()
        }
        None => c_string(assignment(("LD_PRELOAD".into(), value)).as_ref())?,
    };
    let mut words = c_strings(variables.into_iter().map(assignment))?;
    words.push(first);
    words.push(CString::from_vec_with_nul(told.collect())?);
    Ok(Some(words))
}

/// The program may change its directory before its children open the file.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

fn c_string(path: &Path) -> anyhow::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a zero byte in a path")
}

fn c_strings(words: impl IntoIterator<Item = OsString>) -> anyhow::Result<Vec<CString>> {
    let words = words.into_iter().map(|word| CString::new(word.into_vec()));
    words
        .collect::<Result<_, _>>()
        .context("a zero byte in an argument")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_changed_as_asked() {
        let of = |changes: &[&str]| {
            let changes: Vec<OsString> = changes.iter().map(Into::into).collect();
            let variables = environment(&changes);
            let value = |name: &str| {
                variables
                    .iter()
                    .find(|(n, _)| n == name)
                    .map(|v| &v.1)
                    .cloned()
            };
            (value("PATH").is_some(), value("HOTPATCH_X"))
        };
        assert_eq!(of(&["HOTPATCH_X=a=b"]), (true, Some("a=b".into())));
        assert_eq!(of(&["HOTPATCH_X=1", "HOTPATCH_X", "PATH"]), (false, None));
    }

    #[test]
    fn what_was_preloaded_stays_so() {
        let of = |before: Option<&str>| {
            let before = before.map(|before| ("LD_PRELOAD".into(), before.into()));
            let variables: Vec<Variable> = before.into_iter().collect();
            let words = preloaded(c"/l.so", b"A=1\0", &variables).unwrap().unwrap();
            let words = words.iter().map(|word| word.to_str().unwrap().to_owned());
            words.collect::<Vec<_>>()
        };
        let told = "LIBHOTPATCH_EXEC=/l.so\x01A=1";
        assert_eq!(of(None), ["LD_PRELOAD=/l.so", told]);
        assert_eq!(of(Some("")), ["LD_PRELOAD=/l.so:", "", told]);
        let both = "LD_PRELOAD=/l.so:/a.so /b.so";
        assert_eq!(of(Some("/a.so /b.so")), [both, "", told]);
    }
}
