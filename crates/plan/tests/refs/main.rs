//! References found in programs whose assembly says what they are: the compiler's own labels, kept as symbols.

mod guest;

use std::collections::BTreeSet;

use guest::{Guest, Use, compile};
use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::code::Code;
use hotpatch_plan::image::Image;
use hotpatch_plan::refs::{Ref, RefKind, refs};
use hotpatch_plan::search::Scalar;

const EVERYTHING: Span = Span {
    start: Va(0),
    end: Va(u64::MAX),
};

/// Whether a reference of `kind` is what the assembly's `used` looks like.
fn is_kind(used: Use, kind: RefKind) -> bool {
    match used {
        Use::Branch => kind == RefKind::Branch,
        Use::Address => matches!(kind, RefKind::Lea | RefKind::Absolute),
        Use::Word => matches!(kind, RefKind::Data | RefKind::JumpTable),
        Use::LandingPad => kind == RefKind::LandingPad,
    }
}

/// Checks that each use of a label in `windows` is found; how many uses there are.
fn all_found(guest: &Guest, windows: &[Span]) -> usize {
    let image = Image::from_file(&guest.file).unwrap();
    let mut code = Code::new(&image);
    let refs = refs(&image, &Scalar, &mut code, windows);
    for r in refs.to(EVERYTHING) {
        assert!(
            windows.iter().any(|w| w.contains(r.to)),
            "{}: {r:?} lies in no window",
            guest.name
        );
    }
    let mut uses = 0;
    for &(label, used, ref text) in &guest.uses {
        if !windows.iter().any(|w| w.contains(label)) {
            continue;
        }
        uses += 1;
        let here: &[Ref] = refs.to(Span::new(label, 1));
        let known = here.iter().any(|r| is_kind(used, r.kind));
        // A table of differences between labels cannot be told from numbers: then the jump is unknown.
        let open = used == Use::Word && refs.unknown_jump(&mut code, label).is_some();
        assert!(
            known || open,
            "{}: {label} is used by `{text}`, and only {here:?} was found",
            guest.name
        );
    }
    uses
}

fn windows_around(guest: &Guest, every: usize, reach: u64) -> Vec<Span> {
    let labels: BTreeSet<Va> = guest.uses.iter().map(|(label, ..)| *label).collect();
    let mut windows: Vec<Span> = Vec::new();
    for label in labels.into_iter().step_by(every) {
        let window = Span {
            start: label - reach,
            end: label + reach,
        };
        match windows.last_mut() {
            Some(last) if last.end >= window.start => last.end = window.end,
            _ => windows.push(window),
        }
    }
    windows
}

fn check(guest: &Guest, least: usize) {
    let image = Image::from_file(&guest.file).unwrap();
    let uses = all_found(guest, &image.code);
    assert!(uses >= least, "{}: {uses} uses of labels", guest.name);
    all_found(guest, &windows_around(guest, 3, 4));
    all_found(guest, &windows_around(guest, 1, 1));
}

#[test]
fn c_by_gcc_and_clang() {
    for compiler in ["gcc", "clang"] {
        for optimise in ["-O0", "-O1", "-O2", "-O3", "-Os"] {
            for place in [&["-fPIC", "-pie"][..], &["-fno-pic", "-no-pie"]] {
                for tables in [
                    &[][..],
                    &["-fno-asynchronous-unwind-tables", "-fcf-protection=none"],
                ] {
                    let flags = [&[optimise], place, tables].concat();
                    check(&compile(compiler, "switches.c", &flags), 40);
                }
            }
        }
    }
}

#[test]
fn exceptions_by_gcc_and_clang() {
    for compiler in ["g++", "clang++"] {
        for flags in [
            ["-O0", "-fPIC"],
            ["-O2", "-fPIC"],
            ["-Os", "-fPIC"],
            ["-O2", "-fno-pic"],
        ] {
            let last = if flags[1] == "-fPIC" {
                "-pie"
            } else {
                "-no-pie"
            };
            check(
                &compile(compiler, "throws.cc", &[flags[0], flags[1], last]),
                15,
            );
        }
    }
}

#[test]
fn a_branch_that_is_found_can_be_confirmed() {
    let guest = compile("gcc", "switches.c", &["-O2", "-fPIC", "-pie"]);
    let image = Image::from_file(&guest.file).unwrap();
    let mut code = Code::new(&image);
    let found = refs(&image, &Scalar, &mut code, &image.code);
    for &(label, used, ref text) in guest
        .uses
        .iter()
        .filter(|(_, used, _)| *used == Use::Branch)
    {
        let here = found
            .to(Span::new(label, 1))
            .iter()
            .filter(|r| is_kind(used, r.kind));
        let sure = here.filter_map(|r| r.insn(&mut code)).count();
        assert!(sure > 0, "{label}: `{text}` is no instruction");
    }
}

#[test]
fn only_a_goto_by_differences_is_unknown() {
    for compiler in ["gcc", "clang"] {
        for flags in [
            ["-O2", "-fPIC", "-pie"],
            ["-O3", "-fPIC", "-pie"],
            ["-O2", "-fno-pic", "-no-pie"],
        ] {
            let guest = compile(compiler, "switches.c", &flags);
            let image = Image::from_file(&guest.file).unwrap();
            let mut code = Code::new(&image);
            let found = refs(&image, &Scalar, &mut code, &image.code);
            for name in ["dense", "many", "threaded", "tail", "counts", "main"] {
                let at = guest.symbols[name];
                assert_eq!(
                    found.unknown_jump(&mut code, at),
                    None,
                    "{}: {name}",
                    guest.name
                );
            }
            let at = guest.symbols["relative"];
            assert!(
                found.unknown_jump(&mut code, at).is_some(),
                "{}: relative",
                guest.name
            );
        }
    }
}
