//! Random programs, run as they are and with each tactic's patches: registers, flags and memory agree.
//!
//! `HOTPATCH_PROGRAMS=100000` runs more than the few that every change must pass. A program that fails is made small, and
//! becomes a case below `tests/cases`.

mod agree;
mod generator;
mod minimise;
mod native;
mod synthetic;
mod trial;

use agree::{Count, agrees};

/// How many programs: the same in each run, so that a failure is the change's own. The fuzz target draws new ones.
const PROGRAMS: u64 = 400;

#[test]
fn patched_programs_do_what_they_did() {
    let mut count = Count::default();
    let programs = std::env::var("HOTPATCH_PROGRAMS");
    let programs = programs.map_or(PROGRAMS, |n| n.parse().expect("a number"));
    for n in 0..programs {
        // The upper half is what is drawn from, the lower how much.
        let seed = n.wrapping_mul(0x9e37_79b9_0000_0000) | 1 << (11 + n % 6);
        arbtest::arbtest(|u| agrees(u, &mut count)).seed(seed).run();
    }
    let share = count.patched as f64 / count.sites as f64;
    println!("{} of {} sites patched", count.patched, count.sites);
    assert!(count.sites > 1000, "programs have sites: {}", count.sites);
    assert!(share > 0.9, "the ladder refuses too many: {share}");
}

/// Padding that is dead up to a branch target, with a stone in either half: the judge took both for executed.
#[test]
fn padding_may_be_dead_before_a_branch_target() {
    let mut count = Count::default();
    arbtest::arbtest(|u| agrees(u, &mut count))
        .size_min(1 << 11)
        .seed(0xa060_2b23_0001_0000)
        .run();
    assert!(count.patched > 0, "the seed makes no program any more");
}
