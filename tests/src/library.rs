//! Where the library under test is.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::Allowed;

/// The library under test: what `HOTPATCH_LIB` names, else the one built from this source.
///
/// It is copied to where every user can read it, because some programs give up root first.
///
/// # Panics
/// When it cannot be built or copied; no test makes sense without it.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let built = match std::env::var_os("HOTPATCH_LIB") {
            Some(path) => PathBuf::from(path),
            None => build(),
        };
        let copy = crate::scratch().join(format!("libhotpatch-{}.so", std::process::id()));
        let _ = fs::remove_file(&copy);
        fs::copy(&built, &copy).unwrap_or_else(|e| panic!("cannot copy {}: {e}", built.display()));
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("our own file");
        copy
    })
}

/// Where the trials keep plans: not among the user's.
#[must_use]
pub fn plans() -> PathBuf {
    crate::scratch().join(format!("plans-{}", std::process::id()))
}

/// Removes the copy that [`library`] made, once all trials are over.
pub fn remove_copy() {
    let _ =
        fs::remove_file(crate::scratch().join(format!("libhotpatch-{}.so", std::process::id())));
    let _ = fs::remove_dir_all(plans());
    let _ = fs::remove_dir_all(hooks());
}

fn build() -> PathBuf {
    let exe = std::env::current_exe().expect("the kernel knows what it runs");
    // target/debug/deps/guests-0123: a directory of its own beside `debug`, as cargo locks the other.
    let target = exe
        .ancestors()
        .nth(3)
        .expect("cargo put it there")
        .join("libhotpatch");
    let workspace = crate::package()
        .parent()
        .expect("the package lies in the workspace")
        .to_owned();
    match hotpatch_link::build(&hotpatch_link::Options {
        workspace,
        target_dir: target,
    }) {
        Ok(built) => built,
        Err(e) => panic!("{e}"),
    }
}

/// Where compiled hooks are.
fn hooks() -> PathBuf {
    crate::scratch().join(format!("hooks-{}", std::process::id()))
}

/// The hook of `tests/hooks/NAME.c`, compiled.
///
/// # Panics
/// When it cannot be: a mistake in a hook must not silence a test.
fn hook(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&'static str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let compile = || {
        fs::create_dir_all(hooks()).expect("a place for hooks");
        let object = hooks().join(format!("{name}.so"));
        let freestanding = [
            "-ffreestanding",
            "-fno-stack-protector",
            "-mgeneral-regs-only",
            "-nostdlib",
        ];
        let hosted = name.starts_with("hosted");
        let kind = if hosted {
            &["-pthread"][..]
        } else {
            &freestanding
        };
        let output = Command::new("gcc")
            .args(["-O2", "-fPIC", "-fvisibility=hidden", "-shared"])
            .args(kind)
            .args(["-Wl,-z,defs", "-Wall", "-Werror", "-I"])
            .arg(crate::package().join("../include"))
            .arg("-o")
            .arg(&object)
            .arg(crate::package().join("hooks").join(format!("{name}.c")))
            .output()
            .expect("gcc is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the hook {name}:\n{said}");
        object
    };
    built.entry(name).or_insert_with(compile).clone()
}

/// Sets the environment under which `command` runs patched.
pub fn preload(command: &mut Command, allowed: Allowed, log: &Path, report: &Path) {
    command
        .env("LD_PRELOAD", library())
        .env("LIBHOTPATCH_LOGPATH", log)
        .env("LIBHOTPATCH_REPORT", report);
    if let Allowed::Alone(tactic) = allowed {
        command.env("LIBHOTPATCH_TACTICS", tactic);
    }
    let hooks: Vec<PathBuf> = allowed.hooks().map(hook).collect();
    if !hooks.is_empty() {
        let paths: Vec<String> = hooks.iter().map(|p| p.display().to_string()).collect();
        command.env("LIBHOTPATCH_HOOK", paths.join(":"));
    }
    if allowed.keeps_plans() {
        command.env("LIBHOTPATCH_CACHE", plans());
    } else {
        command.env("LIBHOTPATCH_CACHE", "off");
    }
    for path in [log, report] {
        // Made here, for everyone: the program may have become another user when it writes.
        let made = fs::File::create(path)
            .and_then(|f| f.set_permissions(fs::Permissions::from_mode(0o666)));
        made.unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
    }
}
