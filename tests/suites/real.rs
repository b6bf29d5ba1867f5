//! Every script of `tests/real`, and starts of many programs in a loop.

use std::process::ExitCode;
use std::sync::Arc;

use hotpatch_tests::script::Script;
use hotpatch_tests::{library, starts};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    hotpatch_tests::sweep();
    let mut trials = Vec::new();
    for script in Script::all().into_iter().map(Arc::new) {
        for allowed in script.allowed() {
            let subject = Arc::clone(&script);
            trials.push(Trial::test(
                format!("{}::{}", script.name, allowed.name()),
                move || subject.check(allowed).map_err(Into::into),
            ));
        }
    }
    for command in starts::COMMANDS {
        let name = format!("starts::{}", command.split(' ').next().unwrap_or(command));
        trials.push(Trial::test(name, move || {
            starts::check(command).map_err(Into::into)
        }));
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    library::remove_copy();
    conclusion.exit_code()
}
