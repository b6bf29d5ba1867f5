//! Builds the runtime for `x86_64-unknown-none` and links it to `libhotpatch.so`, and the hook of `hotpatch trace`.
//!
//! Needs the Rust toolchain alone: its own `rust-lld` is the linker, so nobody needs a C compiler.
//! The command's `build.rs` and `cargo xtask build` call [`build`].

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The target whose code uses no vector register and knows no libc.
pub const TARGET: &str = "x86_64-unknown-none";

/// The file name of the object.
pub const OBJECT: &str = "libhotpatch.so";

/// The file name of the hook that `hotpatch trace` uses.
pub const TRACE: &str = "hotpatch-trace.so";

/// What a hook exports.
const HOOK: &str = "hotpatch_hook";

/// The constructor; the loader finds it by `DT_INIT`.
pub const CONSTRUCTOR: &str = "hotpatch_start";

/// Where a program begins that the runtime is mapped into at its exec; the injector finds it in the file's header.
pub const ENTRY: &str = "hotpatch_entry";

/// What tells debuggers where trampolines are: nothing in the library refers to it.
const DEBUG: &str = "hotpatch_debug";

const VERSION_SCRIPT: &str = include_str!("libhotpatch.map");

/// What to build, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the workspace's `Cargo.toml`.
    pub workspace: PathBuf,
    /// A directory of its own for this build; cargo holds a lock on it, so it must not be the one of
    /// the build that calls us.
    pub target_dir: PathBuf,
}

/// Why there is no object.
#[derive(Debug)]
pub enum Error {
    /// A program could not be started.
    Start {
        /// The program.
        program: OsString,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ran and failed.
    Failed {
        /// What it was to do.
        step: &'static str,
        /// What it printed.
        said: String,
    },
    /// A file could not be read or written.
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The target's standard library is not installed, and there is no rustup to add it.
    NoTarget {
        /// What rustup said, if there was one.
        said: String,
    },
    /// The toolchain does not carry its linker.
    NoLinker {
        /// Where it was looked for.
        path: PathBuf,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { program, source } => {
                write!(f, "cannot start {}: {source}", program.display())
            }
            Self::Failed { step, said } => write!(f, "cannot {step}:\n{}", said.trim_end()),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::NoTarget { said } => write!(
                f,
                "Rust's target {TARGET} is not installed, and rustup could not add it: run `rustup target add {TARGET}`\n{}",
                said.trim_end()
            ),
            Self::NoLinker { path } => write!(
                f,
                "the toolchain has no linker of its own at {}: run `rustup component add llvm-tools` or reinstall it",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Builds the object; answers where it is.
///
/// # Errors
/// What stood in the way: see [`Error`].
pub fn build(options: &Options) -> Result<PathBuf, Error> {
    let sysroot = sysroot()?;
    ensure_target(&sysroot)?;
    let archive = compile(options, "hotpatch-runtime")?;
    link(&sysroot, &archive, &options.target_dir)
}

/// Builds the hook of `hotpatch trace`; answers where it is.
///
/// # Errors
/// What stood in the way: see [`Error`].
pub fn build_trace(options: &Options) -> Result<PathBuf, Error> {
    let sysroot = sysroot()?;
    ensure_target(&sysroot)?;
    let archive = compile(options, "hotpatch-trace")?;
    let mut lld = linker(&sysroot)?;
    lld.args(["-flavor", "gnu", "-shared", "-nostdlib", "--gc-sections"])
        .args(["-z", "defs", "-z", "now", "-z", "text", "-z", "noexecstack"])
        .args(["-z", "max-page-size=4096", "--hash-style=gnu"])
        .args(["--strip-all", "-O2", "--pack-dyn-relocs=none"])
        .args(["-u", HOOK, "--export-dynamic-symbol", HOOK]);
    finish(lld, &archive, &options.target_dir, TRACE)
}

/// Where the compiler keeps its libraries and its linker.
fn sysroot() -> Result<PathBuf, Error> {
    let mut rustc = tool("RUSTC", "rustc");
    let output = run(
        "ask rustc for its sysroot",
        rustc.args(["--print", "sysroot"]),
    )?;
    Ok(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim_end(),
    ))
}

fn ensure_target(sysroot: &Path) -> Result<(), Error> {
    if sysroot
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib")
        .is_dir()
    {
        return Ok(());
    }
    // The toolchain rustup would pick here may be another one than the compiler in use.
    let toolchain = sysroot.file_name().unwrap_or_else(|| OsStr::new("stable"));
    let output = clean("rustup".into())
        .args(["target", "add", TARGET, "--toolchain"])
        .arg(toolchain)
        .output()
        .map_err(|error| Error::NoTarget {
            said: format!("rustup: {error}"),
        })?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::NoTarget {
            said: said(&output),
        })
    }
}

fn compile(options: &Options, package: &str) -> Result<PathBuf, Error> {
    let mut cargo = tool("CARGO", "cargo");
    cargo
        .current_dir(&options.workspace)
        .args(["rustc", "--quiet", "--lib", "--crate-type", "staticlib"])
        .args([
            "--package",
            package,
            "--profile",
            "runtime",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&options.target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&options.workspace));
    run("build for the library's target", &mut cargo)?;
    Ok(options
        .target_dir
        .join(TARGET)
        .join("runtime")
        .join(format!("lib{}.a", package.replace('-', "_"))))
}

/// Paths of the building machine would make the object differ from one machine to the next.
fn rust_flags(workspace: &Path) -> OsString {
    // Debuggers find the way from a hook to the program by unwind tables, which nobody else reads.
    let mut flags = OsString::from("-Cforce-unwind-tables=yes\u{1f}--remap-path-prefix=");
    flags.push(workspace);
    flags.push("=hotpatch");
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(home);
        flags.push("=cargo");
    }
    flags
}

/// The toolchain's own linker.
fn linker(sysroot: &Path) -> Result<Command, Error> {
    let linker = sysroot.join("lib/rustlib").join(HOST).join("bin/rust-lld");
    match linker.is_file() {
        true => Ok(clean(linker.into_os_string())),
        false => Err(Error::NoLinker { path: linker }),
    }
}

fn link(sysroot: &Path, archive: &Path, target_dir: &Path) -> Result<PathBuf, Error> {
    let mut lld = linker(sysroot)?;
    let script = target_dir.join("libhotpatch.map");
    fs::write(&script, VERSION_SCRIPT).map_err(|source| Error::File {
        path: script.clone(),
        source,
    })?;
    lld.args(["-flavor", "gnu", "-shared", "-nostdlib", "--gc-sections"])
        // A name that is not defined here would be looked for in the program's own libraries.
        .args(["-z", "defs"])
        // No relocation may be left for later: the first call through it would enter the loader.
        .args([
            "-z",
            "now",
            "-z",
            "relro",
            "-z",
            "text",
            "-z",
            "noexecstack",
        ])
        // Unwinders find out how to pass a signal's frame by it.
        .arg("--eh-frame-hdr")
        // Before the constructors of the other libraries.
        .args([
            "-z",
            "initfirst",
            "-soname",
            OBJECT,
            "-init",
            CONSTRUCTOR,
            "-u",
            CONSTRUCTOR,
        ])
        // Each byte lies as far from the file's start as from the first in memory: one mapping brings all code.
        .args(["-e", ENTRY, "-u", ENTRY, "-u", DEBUG])
        .args(["-z", "separate-loadable-segments"])
        // One page of padding less for each segment; nothing is ever mapped on huge pages here.
        .args([
            "-z",
            "max-page-size=4096",
            "--hash-style=gnu",
            "--build-id=sha1",
        ])
        .args([
            "--icf=all",
            "--strip-debug",
            "-O2",
            "--pack-dyn-relocs=none",
        ])
        .arg("--version-script")
        .arg(&script);
    finish(lld, archive, target_dir, OBJECT)
}

/// Links `archive` to `name`.
fn finish(
    mut lld: Command,
    archive: &Path,
    target_dir: &Path,
    name: &str,
) -> Result<PathBuf, Error> {
    // Another build may be reading the object that is there.
    let object = target_dir.join(name);
    let fresh = target_dir.join(format!("{name}.{}", std::process::id()));
    lld.arg("-o").arg(&fresh).arg(archive);
    run("link for the library's target", &mut lld)?;
    fs::rename(&fresh, &object).map_err(|source| Error::File {
        path: object.clone(),
        source,
    })?;
    Ok(object)
}

/// Where the toolchain keeps its programs: the host is always this one.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// The tool that cargo names, else the one on the path.
fn tool(variable: &str, name: &str) -> Command {
    clean(env::var_os(variable).unwrap_or_else(|| name.into()))
}

/// A command that does not see what the build around us set for itself: flags, wrappers (clippy,
/// a coverage tool), target directory and profile would change the object.
fn clean(program: OsString) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let kept = [
            "CARGO_HOME",
            "CARGO_NET_",
            "CARGO_HTTP_",
            "CARGO_REGISTR",
            "CARGO_SOURCE_",
        ];
        let cargo = text.starts_with("CARGO") && !kept.iter().any(|k| text.starts_with(k));
        let rust = [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTDOCFLAGS",
            "TARGET",
        ];
        if cargo || rust.contains(&text) || text.starts_with("DEP_") {
            command.env_remove(&name);
        }
    }
    command
}

fn run(step: &'static str, command: &mut Command) -> Result<Output, Error> {
    let output = command.output().map_err(|source| Error::Start {
        program: command.get_program().to_owned(),
        source,
    })?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(Error::Failed {
            step,
            said: said(&output),
        })
    }
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}
