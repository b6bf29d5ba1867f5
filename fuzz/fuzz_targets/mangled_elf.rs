//! Files that are no good: opened, planned, emitted and judged without panic.
//!
//! Half of the inputs are files as they are, half say what program to make and how to mangle it.
#![no_main]

#[path = "../../crates/plan/tests/generator/mod.rs"]
#[expect(dead_code, reason = "nothing is run here")]
mod generator;
#[path = "../../crates/plan/tests/mangle/mod.rs"]
mod mangle;
#[path = "../../crates/plan/tests/synthetic/mod.rs"]
mod synthetic;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"\x7fELF") {
        mangle::survives(data);
        return;
    }
    let mut u = Unstructured::new(data);
    let Ok(program) = generator::program(&mut u, generator::Kind::Any) else {
        return;
    };
    let mut file = synthetic::elf(&program.text, &program.functions);
    if mangle::mangle(&mut file, &mut u).is_ok() {
        mangle::survives(&file);
    }
});
