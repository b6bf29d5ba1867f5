//! The command with a cache of its own.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use nix::libc;
use tempfile::TempDir;

/// A place where the command keeps its library during one test.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// Where the library is to be.
    #[allow(
        dead_code,
        reason = "each file of tests is a program of its own and uses its part"
    )]
    pub fn cache(&self) -> PathBuf {
        self.dir
            .path()
            .canonicalize()
            .expect("a path")
            .join("hotpatch")
    }

    /// The command, ready to be given arguments.
    pub fn hotpatch(&self) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("hotpatch"));
        command
            .env("XDG_CACHE_HOME", self.dir.path())
            .env_remove("LD_PRELOAD")
            .env("NO_COLOR", "1");
        // A signal that whoever runs the tests ignores (`nohup`, a shell's background job) would be ignored by
        // the program too, as it is natively.
        let reset = || {
            for signal in 1..32 {
                // SAFETY: the default disposition runs no code; SIGKILL and SIGSTOP are refused.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: `signal` may be called between fork and exec.
        unsafe { command.pre_exec(reset) };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LIBHOTPATCH_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs it to its end.
    #[allow(dead_code, reason = "as above")]
    pub fn output(&self, args: &[&str]) -> Output {
        self.hotpatch()
            .args(args)
            .output()
            .expect("hotpatch starts")
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program or object `name` made of C by a compiler with these flags, with our header.
#[allow(
    dead_code,
    reason = "each file of tests is a program of its own and uses its part"
)]
pub fn compile(place: &Place, name: &str, source: &str, compiler: &[&str]) -> PathBuf {
    let program = place.dir.path().join(name);
    let file = place.dir.path().join(format!("{name}.c"));
    std::fs::write(&file, source).unwrap();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include");
    let output = Command::new(compiler[0])
        .args(&compiler[1..])
        .args(["-I", include, "-o"])
        .args([&program, &file])
        .output()
        .unwrap_or_else(|error| panic!("{} (apt-get install gcc): {error}", compiler[0]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    program
}
