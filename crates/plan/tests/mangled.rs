//! Mangled ELF files: no panic, no hang, and no plan that is wrong.

#[expect(dead_code, reason = "nothing is run here")]
mod generator;
mod mangle;
mod synthetic;

use std::time::{Duration, Instant};

/// Draws `count` times, the same in each run, so that a failure is the change's own. The fuzz target draws anew.
fn draw(
    count: u64,
    mut property: impl FnMut(&mut arbitrary::Unstructured<'_>) -> arbitrary::Result<()>,
) {
    for n in 0..count {
        // The upper half is what is drawn from, the lower how much.
        let seed = n.wrapping_mul(0x9e37_79b9_0000_0000) | 1 << (9 + n % 6);
        arbtest::arbtest(&mut property).seed(seed).run();
    }
}

/// The longest that one of these small files may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(4);

#[test]
fn mangled_programs_are_planned_or_refused() {
    let mut sites = 0;
    draw(800, |u| {
        let program = generator::program(u, generator::Kind::Any)?;
        let mut file = synthetic::elf(&program.text, &program.functions);
        mangle::mangle(&mut file, u)?;
        let start = Instant::now();
        sites += mangle::survives(&file);
        assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    });
    assert!(sites > 50, "most are still programs: {sites}");
}

#[test]
fn mangled_files_with_unwind_tables_are_planned_or_refused() {
    let Ok(whole) = std::fs::read("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2") else {
        return;
    };
    let mut files = 0;
    draw(12, |u| {
        let mut file = whole.clone();
        mangle::mangle(&mut file, u)?;
        mangle::survives(&file);
        files += 1;
        Ok(())
    });
    assert!(files > 3, "the budget is spent on files");
}

/// Text with too many sites to be code, and none of it known: what a sweep believes contradicts itself.
#[test]
fn noise_is_planned_or_refused() {
    let mut sites = 0;
    draw(600, |u| {
        let mut text = Vec::new();
        for _ in 0..u.int_in_range(20..=300)? {
            match u.int_in_range(0..=3)? {
                0 => text.extend_from_slice(&[0x0f, 0x05]),
                1 => text.extend_from_slice(&[0x74, u.arbitrary()?]),
                2 => text.extend_from_slice(&[0x48, 0x89, 0xc0 | u.int_in_range(0..=63)?]),
                _ => text.push(u.arbitrary()?),
            }
        }
        let start = Instant::now();
        sites += mangle::survives(&synthetic::elf(&text, &[]));
        assert!(start.elapsed() < LONGEST, "took {:?}", start.elapsed());
        Ok(())
    });
    assert!(sites > 50, "some of it looks like code: {sites}");
}
