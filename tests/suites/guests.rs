//! Every guest of `tests/guests`, with the whole ladder and with each tactic alone.

use std::process::ExitCode;
use std::sync::Arc;

use hotpatch_tests::guest::Guest;
use hotpatch_tests::library;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    hotpatch_tests::sweep();
    let mut trials = Vec::new();
    for guest in Guest::all().into_iter().map(Arc::new) {
        for allowed in guest.allowed() {
            let subject = Arc::clone(&guest);
            trials.push(Trial::test(
                format!("{}::{}", guest.name, allowed.name()),
                move || subject.check(allowed).map_err(Into::into),
            ));
        }
    }
    // Two of one name would share a directory.
    let mut names: Vec<&str> = trials.iter().map(Trial::name).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        eprintln!(
            "{} is there twice: a `hook:` that is tried anyway",
            twice[0]
        );
        return ExitCode::FAILURE;
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    library::remove_copy();
    conclusion.exit_code()
}
