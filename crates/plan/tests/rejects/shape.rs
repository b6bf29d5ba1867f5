//! Edits, patches, trampolines and spans that do not fit together.

use super::*;

#[test]
fn edits_that_overlap() {
    let mut case = clobbered();
    let mut edit = case.plan.edits[0];
    edit.at = edit.at + 2;
    case.plan.edits.push(edit);
    case.emit();
    case.finds(Fault::EditsOverlap { at: edit.at });
}

#[test]
fn an_edit_outside_the_code() {
    let mut case = clobbered();
    let end = at(0x20);
    case.plan.edits.push(Edit {
        at: end,
        change: Change::Leap { trampoline: 0 },
    });
    case.emit();
    case.finds(Fault::OutsideCode { at: end });
}

#[test]
fn a_displacement_wrong_by_one() {
    let mut case = clobbered();
    case.emission.patches[0].bytes[1] ^= 1;
    case.finds(Fault::PatchDiffers {
        at: case.plan.edits[0].at,
    });
}

#[test]
fn a_patch_of_another_length_place_or_none() {
    for spoil in [
        |patch: &mut Patch| patch.len = 4,
        |patch: &mut Patch| patch.at = patch.at + 1,
        |patch: &mut Patch| patch.bytes[0] = 0xe8,
    ] {
        let mut case = clobbered();
        spoil(&mut case.emission.patches[0]);
        case.finds(Fault::PatchDiffers {
            at: case.plan.edits[0].at,
        });
    }
    let mut case = clobbered();
    let at = case.plan.edits[0].at;
    let patch = case.emission.patches.remove(0);
    case.finds(Fault::PatchDiffers { at });
    case.emission.patches = vec![patch, patch];
    case.finds(Fault::PatchDiffers { at });
}

#[test]
fn a_trampoline_that_does_not_exist() {
    let mut case = clobbered();
    case.emission.starts.clear();
    case.finds(Fault::NoSuchTrampoline { index: 0 });
    let mut case = clobbered();
    case.emission.starts.push(case.emission.code.len() as u32);
    case.finds(Fault::NoSuchTrampoline { index: 1 });
    let mut case = clobbered();
    case.plan.sites[0].outcome = Outcome::Patched {
        tactic: Tactic::Clobber,
        trampoline: 7,
    };
    case.finds(Fault::NoSuchTrampoline { index: 7 });
}

#[test]
fn trampolines_over_the_image() {
    let mut case = clobbered();
    case.emission.base = at(0x10);
    case.finds(Fault::CodeOverImage { base: at(0x10) });
}

#[test]
fn two_trampolines_for_the_same_bytes() {
    let mut case = clobbered();
    let again = case.plan.trampolines[0].clone();
    case.plan.trampolines.push(again.clone());
    case.emit();
    case.finds(Fault::SpansOverlap {
        at: again.span.start,
    });
}

#[test]
fn a_span_that_skips_an_instruction() {
    let mut case = clobbered();
    let skipped = case.plan.trampolines[0].insns.remove(0);
    case.emit();
    case.finds(Fault::SpanDiffers { at: skipped.at });
}

#[test]
fn a_span_that_ends_inside_an_instruction() {
    let mut case = clobbered();
    let trampoline = &mut case.plan.trampolines[0];
    let last = trampoline.insns.last().expect("not empty").at;
    trampoline.span.end = trampoline.span.end - 1;
    case.emit();
    case.finds(Fault::SpanDiffers { at: last });
}
