//! Starts of one program over and over: each at other addresses, so that what depends on them shows.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::process::run;
use crate::{Allowed, library, scratch};

/// What is started: cheap, and each with other libraries.
pub const COMMANDS: [&str; 24] = [
    "/bin/true",
    "/bin/bash -c :",
    "/bin/dash -c :",
    "/bin/ls /",
    "/bin/cat /dev/null",
    "/bin/tar --version",
    "/bin/gzip --version",
    "/usr/bin/xz --version",
    "/usr/bin/find /dev/null",
    "/usr/bin/perl -e 1",
    "/usr/bin/python3 -c pass",
    "/usr/bin/git --version",
    "/usr/bin/gcc --version",
    "/usr/bin/ld --version",
    "/usr/bin/sqlite3 -batch :memory: 'select 1'",
    "/usr/bin/redis-server --version",
    "/usr/sbin/nginx -v",
    "/usr/lib/postgresql/15/bin/postgres --version",
    "/usr/bin/node -e 0",
    "/usr/bin/java -version",
    "/usr/bin/gdb --version",
    "/usr/bin/ssh-keygen -l -f /nonexistent",
    "/usr/bin/openssl version",
    "/usr/bin/busybox true",
];

/// How often, when `HOTPATCH_STARTS` does not say.
const STARTS: u32 = 5;

/// Starts `line` again and again, patched, and compares each with the one native start.
///
/// # Errors
/// The first start that differs.
pub fn check(line: &str) -> Result<(), String> {
    let count = match std::env::var("HOTPATCH_STARTS") {
        Ok(count) => count
            .parse()
            .map_err(|_| format!("HOTPATCH_STARTS={count} is no number"))?,
        Err(_) => STARTS,
    };
    let name = line.split(' ').next().unwrap_or(line).replace('/', "_");
    let dir = scratch().join(format!("starts{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let command = || {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("exec {line}"))
            .current_dir(&dir);
        command
    };
    let timeout = Duration::from_secs(60);
    let native = run(&mut command(), &dir, timeout).map_err(|e| format!("{line}: {e}"))?;
    if native.end == crate::process::End::Exit(127) {
        return Err(format!(
            "{line} is missing: run .ci/run once, it installs what the tests need"
        ));
    }
    let log = dir.join("log");
    for turn in 1..=count {
        let mut command = command();
        library::preload(&mut command, Allowed::Ladder, &log, &dir.join("report"));
        let patched = run(&mut command, &dir, timeout).map_err(|e| format!("{line}: {e}"))?;
        if let Some(difference) = patched.differs_from(&native) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(format!("start {turn} of {count}: {difference}log:\n{log}"));
        }
    }
    let _ = fs::remove_dir_all(&dir);
    Ok(())
}
