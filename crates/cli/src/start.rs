//! Becomes the program, with the runtime started before its first instruction.

use std::ffi::CString;

use hotpatch_inject::{HEAD, Kind, Runtime, begin, look};
use nix::errno::Errno;

use crate::cache;
use crate::commands::run::Exec;

/// What is started in a program at its exec.
#[derive(Debug)]
pub struct Injected {
    /// The library's file.
    pub library: CString,
    /// Its settings, `NAME=value` each, a zero byte behind each.
    pub settings: Vec<u8>,
    /// The program's environment where nobody may trace it, so that its loader has to bring the library, if it can be
    /// told to.
    pub preloaded: Option<Vec<CString>>,
    /// It has to, as what is started needs the loader.
    pub by_loader: bool,
    /// Whether to say so.
    pub verbose: bool,
}

const NOT_TRACED: &str = "the program cannot be traced, so LD_PRELOAD brings the library: what the \
    loader itself calls is not seen";
const NATIVE: &str =
    "the program cannot be traced, and no loader brings the library: it runs natively";

const UNHOSTED: &str =
    "hosted hooks need a program whose loader can be told of them: it runs natively";

/// Whether the loader of the program at `path` can bring the library.
pub fn can_host(path: &std::ffi::CStr) -> bool {
    look(path) == Kind::Program { loader: true }
}

/// Becomes the program; comes back only where that fails.
pub fn execute(exec: &Exec) -> Errno {
    let Some(injected) = &exec.injected else {
        return become_it(exec, &exec.environment);
    };
    // To the others the variables would only be visible.
    let heeds = || can_host(&exec.path);
    if injected.by_loader {
        let preloaded = injected.preloaded.as_ref().filter(|_| heeds());
        if preloaded.is_none() {
            crate::style::error(UNHOSTED);
        }
        return become_it(exec, preloaded.unwrap_or(&exec.environment));
    }
    let runtime = Runtime {
        path: &injected.library,
        head: cache::LIBRARY.get(..HEAD).unwrap_or(&[]),
        settings: &injected.settings,
        follows: false,
        namespaces: true,
        carried: None,
    };
    match begin(&runtime) {
        Ok(helper) => {
            let errno = become_it(exec, &exec.environment);
            helper.cancel();
            errno
        }
        Err(_) => {
            let preloaded = injected.preloaded.as_ref().filter(|_| heeds());
            if injected.verbose {
                let brought = preloaded.is_some();
                crate::style::error(if brought { NOT_TRACED } else { NATIVE });
            }
            become_it(exec, preloaded.unwrap_or(&exec.environment))
        }
    }
}

fn become_it(exec: &Exec, environment: &[CString]) -> Errno {
    let Err(errno) = nix::unistd::execve(&exec.path, &exec.args, environment);
    errno
}
