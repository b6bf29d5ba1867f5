//! Plans of this machine's files, kept and read back.

use super::tests::ladders;
use super::*;
use crate::plan::{Kinds, Tactics};
use crate::search::Scalar;

/// Files whose plans have every kind of part: all tactics, both natives, refusals where tactics are few.
const FILES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-musl/libc.so",
    "/bin/busybox",
];

fn plan_of<'i>(image: &'i Image<'i>, tactics: Tactics) -> Plan {
    let options = Options {
        tactics,
        numbers: tactics == Tactics::ALL,
        ..Options::new(&Scalar)
    };
    crate::plan(image, &options)
}

/// What every plan promises to those who emit, check and apply it.
fn holds_together(plan: &Plan, image: &Image<'_>) {
    assert!(plan.sites.windows(2).all(|w| w[0].at < w[1].at));
    assert!(plan.edits.windows(2).all(|w| w[0].span().end <= w[1].at));
    let mut spans: Vec<Span> = plan.trampolines.iter().map(|t| t.span).collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|w| w[0].end <= w[1].start));
    for t in &plan.trampolines {
        assert_eq!(t.insns.first().map(|i| i.at), Some(t.span.start));
        assert_eq!(t.insns.last().map(Insn::end), Some(t.span.end));
        assert!(t.insns.windows(2).all(|w| w[0].end() == w[1].at));
        assert!(image.bytes(t.span).is_some());
    }
    for site in &plan.sites {
        if let Outcome::Patched { trampoline, .. } = site.outcome {
            let insns = &plan.trampolines[trampoline as usize].insns;
            assert!(insns.iter().any(|i| i.at == site.at));
        }
    }
    // Out of reach or not: it must not panic.
    let _ = plan.emit(image, image.span().end + 0x1000, 0);
}

#[test]
fn what_is_read_is_what_was_written() {
    let mut plans = 0;
    for file in FILES {
        let Ok(file) = std::fs::read(file) else {
            continue;
        };
        let image = Image::from_file(&file).unwrap();
        for tactics in ladders() {
            let plan = plan_of(&image, tactics);
            let bytes = encode(&plan, &image).expect("every plan can be kept");
            assert_eq!(decode(&bytes, &image).as_ref(), Some(&plan));
            holds_together(&plan, &image);
            plans += 1;
        }
    }
    assert!(plans >= 8, "libc and the loader are everywhere");
}

#[test]
fn a_plan_without_sites_is_small() {
    let file = std::fs::read(FILES[1]).unwrap();
    let image = Image::from_file(&file).unwrap();
    let bytes = encode(&Plan::default(), &image).unwrap();
    assert_eq!(bytes.len(), 11);
    assert_eq!(decode(&bytes, &image), Some(Plan::default()));
}

#[test]
fn sites_nobody_selected_and_other_kinds_are_kept() {
    let file = std::fs::read(FILES[1]).unwrap();
    let image = Image::from_file(&file).unwrap();
    let options = Options {
        kinds: Kinds::of_bits(0x1ff),
        ..Options::new(&Scalar)
    };
    let mut n = 0;
    let plan = crate::plan_selected(&image, &options, |_| {
        n += 1;
        n % 3 != 0
    });
    let bytes = encode(&plan, &image).unwrap();
    assert_eq!(decode(&bytes, &image), Some(plan));
}

#[test]
fn a_changed_byte_of_the_image_refuses_the_plan() {
    let file = std::fs::read(FILES[1]).unwrap();
    let image = Image::from_file(&file).unwrap();
    let plan = plan_of(&image, Tactics::ALL);
    let bytes = encode(&plan, &image).unwrap();
    let spans = plan.edits.iter().map(Edit::span);
    for span in spans.chain(plan.trampolines.iter().map(|t| t.span)) {
        for at in [span.start, span.end - 1] {
            let there = image.tail(at).unwrap().as_ptr().addr() - file.as_ptr().addr();
            let mut changed = file.clone();
            changed[there] ^= 1;
            let image = Image::from_file(&changed).unwrap();
            assert_eq!(decode(&bytes, &image), None, "{at}");
        }
    }
}

#[test]
fn a_shortened_or_lengthened_plan_is_refused() {
    let file = std::fs::read(FILES[1]).unwrap();
    let image = Image::from_file(&file).unwrap();
    let mut bytes = encode(&plan_of(&image, Tactics::ALL), &image).unwrap();
    for len in 0..bytes.len() {
        assert_eq!(decode(&bytes[..len], &image), None, "{len}");
    }
    bytes.push(0);
    assert_eq!(decode(&bytes, &image), None);
}

#[test]
fn mangled_plans_hold_together_or_are_refused() {
    let file = std::fs::read(FILES[1]).unwrap();
    let image = Image::from_file(&file).unwrap();
    let whole: Vec<Vec<u8>> = ladders()
        .map(|tactics| encode(&plan_of(&image, tactics), &image).unwrap())
        .collect();
    let (mut read, mut refused) = (0_u32, 0_u32);
    let mut mangle = |u: &mut arbitrary::Unstructured<'_>| {
        let mut bytes = u.choose(&whole)?.clone();
        for _ in 0..u.int_in_range(1..=4)? {
            let at = u.choose_index(bytes.len())?;
            match u.int_in_range(0..=3)? {
                0 => bytes[at] = u.arbitrary()?,
                1 => {
                    bytes[at] = bytes[at]
                        .wrapping_add(u.int_in_range(0..=2)?)
                        .wrapping_sub(1)
                }
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, u.arbitrary()?),
            }
        }
        // The hash would refuse nearly all of them: past it is where they must be understood.
        match parts(bytes.get(8..).unwrap_or(&[]), &image) {
            Some((plan, _)) => {
                holds_together(&plan, &image);
                read += 1;
            }
            None => refused += 1,
        }
        Ok(())
    };
    arbtest::arbtest(&mut mangle).budget_ms(3_000);
    assert!(read > 10 && refused > 10, "{read} read, {refused} refused");
}
