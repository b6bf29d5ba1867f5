//! Random programs, run before and after patching by each tactic.
#![no_main]

#[path = "../../crates/plan/tests/agree/mod.rs"]
mod agree;
#[path = "../../crates/plan/tests/generator/mod.rs"]
mod generator;
#[path = "../../crates/plan/tests/minimise/mod.rs"]
mod minimise;
#[path = "../../crates/plan/tests/native/mod.rs"]
mod native;
#[path = "../../crates/plan/tests/synthetic/mod.rs"]
mod synthetic;
#[path = "../../crates/plan/tests/trial/mod.rs"]
mod trial;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut count = agree::Count::default();
    // Too few bytes for a program are no fault.
    let _ = agree::agrees(&mut arbitrary::Unstructured::new(data), &mut count);
});
