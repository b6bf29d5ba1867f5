//! Mangled ELF files: no panic, no hang, and no plan that is wrong.

#[expect(dead_code, reason = "nothing is run here")]
mod generator;
mod mangle;
mod synthetic;

use std::time::{Duration, Instant};

/// The longest that one of these small files may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(4);

#[test]
fn mangled_programs_are_planned_or_refused() {
    let mut sites = 0;
    arbtest::arbtest(|u| {
        let program = generator::program(u)?;
        let mut file = synthetic::elf(&program.text, &program.functions);
        mangle::mangle(&mut file, u)?;
        let start = Instant::now();
        sites += mangle::survives(&file);
        assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    })
    .size_min(1 << 11)
    .budget_ms(3_000)
    .run();
    assert!(sites > 50, "most are still programs: {sites}");
}

#[test]
fn mangled_files_with_unwind_tables_are_planned_or_refused() {
    let Ok(whole) = std::fs::read("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2") else {
        return;
    };
    let mut files = 0;
    arbtest::arbtest(|u| {
        let mut file = whole.clone();
        mangle::mangle(&mut file, u)?;
        mangle::survives(&file);
        files += 1;
        Ok(())
    })
    .size_min(1 << 9)
    .budget_ms(3_000)
    .run();
    assert!(files > 3, "the budget is spent on files");
}
