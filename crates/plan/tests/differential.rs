//! Random programs, run as they are and with each tactic's patches: registers, flags and memory agree.

mod generator;
mod native;
mod synthetic;
mod trial;

use arbitrary::{Result, Unstructured};
use hotpatch_plan::plan::Tactics;
use native::Ended;
use trial::{Place, ladders, listing, outcome, patched, planned, state, summary};

/// Runs from so many states for each program.
const STATES: usize = 6;

/// Sites drawn and sites that the whole ladder patched.
#[derive(Default)]
struct Count {
    sites: usize,
    patched: usize,
}

fn agrees(u: &mut Unstructured<'_>, count: &mut Count) -> Result<()> {
    let program = generator::program(u)?;
    let place = Place::draw(u)?;
    let states = (0..STATES).map(|_| state(u)).collect::<Result<Vec<_>>>()?;
    let native = outcome(&program, place, None, &states);
    assert!(
        matches!(native, Ended::Well(_)),
        "ends natively: {native:?}\n{}",
        listing(&program)
    );
    let mut seen = Vec::new();
    for tactics in ladders() {
        let (plan, emission) = planned(&program, tactics, place);
        assert_eq!(
            plan.sites.len(),
            program.sites.len(),
            "finds all sites\n{}",
            listing(&program)
        );
        if tactics == Tactics::ALL {
            count.sites += plan.sites.len();
            count.patched += patched(&plan);
        }
        if emission.patches.is_empty() || seen.contains(&emission) {
            continue;
        }
        let moved = outcome(&program, place, Some(&emission), &states);
        compare(&native, &moved, &|| {
            format!("{tactics:?}\n{}{}", summary(&plan), listing(&program))
        });
        seen.push(emission);
    }
    Ok(())
}

fn compare(native: &Ended, moved: &Ended, case: &dyn Fn() -> String) {
    if native == moved {
        return;
    }
    if let (Ended::Well(native), Ended::Well(moved)) = (native, moved) {
        let differs = native.iter().zip(moved).find(|(n, m)| n != m);
        let (native, moved) = differs.expect("as many runs");
        let mut bytes = native.memory.iter().zip(&moved.memory);
        let at = bytes.position(|(n, m)| n != m);
        let (native, moved) = (native.state, moved.state);
        panic!(
            "differs, memory at {at:x?}\n{native:x?}\n{moved:x?}\n{}",
            case()
        );
    }
    panic!("{moved:?}\n{}", case());
}

#[test]
fn patched_programs_do_what_they_did() {
    let mut count = Count::default();
    arbtest::arbtest(|u| agrees(u, &mut count))
        .size_min(1 << 11)
        .budget_ms(8_000)
        .run();
    let share = count.patched as f64 / count.sites as f64;
    println!("{} of {} sites patched", count.patched, count.sites);
    assert!(count.sites > 100, "the budget is spent on programs");
    assert!(share > 0.9, "the ladder refuses too many: {share}");
}
