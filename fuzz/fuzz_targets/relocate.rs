//! Random programs, planned by each tactic: the judge accepts every plan. Nothing is run.
#![no_main]

#[path = "../../crates/plan/tests/generator/mod.rs"]
#[expect(dead_code, reason = "nothing is run here")]
mod generator;
#[path = "../../crates/plan/tests/synthetic/mod.rs"]
mod synthetic;
#[path = "../../crates/plan/tests/trial/mod.rs"]
#[expect(dead_code, reason = "nothing is run here")]
mod trial;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use trial::{Place, ladders, planned};

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let Ok(program) = generator::program(&mut u, generator::Kind::Any) else {
        return;
    };
    let Ok(place) = Place::draw(&mut u) else {
        return;
    };
    for tactics in ladders() {
        let (plan, _) = planned(&program, tactics, place);
        assert!(!place.bounds || plan.sites.len() == program.sites.len());
    }
});
