//! A hook sees the calls that strace sees.

use std::process::ExitCode;

use hotpatch_tests::{calls, library};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    hotpatch_tests::sweep();
    let trial = |(name, line): (&'static str, &'static str)| {
        Trial::test(name, move || calls::check(name, line).map_err(Into::into))
    };
    let trials = calls::COMMANDS.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    library::remove_copy();
    conclusion.exit_code()
}
