//! Sites that are not reached, and places that are reached and should not be.

use super::*;

#[test]
fn a_site_left_out_or_made_up() {
    let mut case = clobbered();
    case.plan.sites.clear();
    case.finds(Fault::MissingSite { at: at(5) });
    let mut case = clobbered();
    case.plan.sites[0].at = at(7);
    case.finds(Fault::NotASite { at: at(7) });
}

#[test]
fn a_site_of_another_kind_left_out_or_misnamed() {
    let rdtsc: &[u8] = &[0x0f, 0x31];
    let mut case = Case::new(&[MOV, rdtsc, MOV, rdtsc, RET], &[Tactic::Before]);
    case.plan.sites[0].kind = SiteKind::Cpuid;
    case.finds(Fault::NotASite { at: at(5) });
    let mut case = Case::new(&[MOV, rdtsc, MOV, rdtsc, RET], &[Tactic::Before]);
    case.plan.sites.remove(1);
    case.finds(Fault::MissingSite { at: at(12) });
    let mut case = Case::new(&[MOV, &[0x0f, 0x01, 0xf9], RET], &[Tactic::Before]);
    case.plan.sites[0].len = 2;
    case.finds(Fault::NotASite { at: at(5) });
}

#[test]
fn an_interrupt_moves_only_as_a_site() {
    let mut case = Case::new(&[MOV, &[0xcd, 0x80], RET], &[Tactic::Before]);
    case.plan.sites.clear();
    case.finds(Fault::Immovable { at: at(5) });
}

#[test]
fn a_site_that_is_in_no_trampoline_of_its_own() {
    let mut case = Case::new(
        &[MOV, SYSCALL, CMP, MOV, SYSCALL, CMP, RET],
        &[Tactic::Before],
    );
    let swapped = case.plan.sites[0].outcome.clone();
    case.plan.sites[1].outcome = swapped;
    case.finds(Fault::SiteNotMoved { site: at(18) });
}

#[test]
fn a_jump_to_the_wrong_trampoline() {
    let mut case = Case::new(
        &[MOV, SYSCALL, CMP, MOV, SYSCALL, CMP, RET],
        &[Tactic::Before],
    );
    let changes = [case.plan.edits[0].change, case.plan.edits[1].change];
    case.plan.edits[0].change = changes[1];
    case.plan.edits[1].change = changes[0];
    case.emit();
    case.finds_like(|f| matches!(f, Fault::NotReached { site, .. } if *site == at(5)));
    case.finds_like(|f| matches!(f, Fault::NotReached { site, .. } if *site == at(18)));
    case.finds_like(|f| matches!(f, Fault::FallsInto { .. } | Fault::ArrivesInside { .. }));
}

#[test]
fn a_site_that_nothing_leads_away_from() {
    let mut case = clobbered();
    case.plan.edits.clear();
    case.emit();
    let start = case.plan.trampolines[0].span.start;
    case.finds(Fault::NotReached {
        site: at(5),
        stuck: start,
    });
}

#[test]
fn a_native_or_refused_site_that_is_touched() {
    for outcome in [
        Outcome::Native(Native::Restorer),
        Outcome::Refused(Vec::new()),
    ] {
        let mut case = clobbered();
        case.plan.sites[0].outcome = outcome;
        case.finds(Fault::SiteTouched { site: at(5) });
    }
}

#[test]
fn a_hop_to_nowhere() {
    let mut case = stone();
    let hop = &mut case.plan.edits[0];
    assert_eq!(hop.change, Change::Hop { to: at(4) });
    hop.change = Change::Hop { to: at(5) };
    case.emit();
    case.finds(Fault::HopToNowhere {
        at: at(0),
        to: at(5),
    });
    case.finds_like(|f| matches!(f, Fault::NotReached { site, .. } if *site == at(0)));
}

#[test]
fn stones_that_lead_in_a_circle() {
    let mut case = stone();
    case.plan.edits[1].change = Change::Hop { to: at(0) };
    case.emit();
    case.finds_like(|f| matches!(f, Fault::NotReached { site, .. } if *site == at(0)));
}

#[test]
fn a_live_pad_that_is_not_skipped() {
    let mut case = live_stone();
    let skip = case
        .plan
        .edits
        .iter()
        .position(|e| e.at == at(4))
        .expect("the pad is opened");
    assert_eq!(case.plan.edits[skip].change, Change::Hop { to: at(13) });
    // Without the jump over it, whoever falls in executes half a no-op and the stone.
    let mut open = Case {
        plan: case.plan.clone(),
        ..live_stone()
    };
    open.plan.edits.remove(skip);
    open.emit();
    open.finds_like(|f| matches!(f, Fault::FallsInto { .. } | Fault::NoWayBack { .. }));
    // A jump that goes too far skips what counts.
    case.plan.edits[skip].change = Change::Hop { to: at(14) };
    case.emit();
    case.finds(Fault::HopToNowhere {
        at: at(4),
        to: at(14),
    });
}

#[test]
fn an_edit_over_a_live_instruction() {
    // Another clobber's jump, but its trampoline moves only the site.
    let mut case = clobbered();
    let trampoline = &mut case.plan.trampolines[0];
    trampoline.insns.retain(|i| i.at == at(5));
    trampoline.span = Span::new(at(5), 2);
    case.plan.edits[0].at = at(5);
    case.emit();
    case.finds(Fault::Destroyed { at: at(7) });
    case.finds(Fault::NoWayBack { end: at(7) });
}

#[test]
fn an_edit_over_a_jump_target() {
    // The target moves along, but the branch still goes to where it was.
    let jump_in: &[u8] = &[0x74, 0x02]; // je to cmp
    let mut case = Case::new(&[jump_in, SYSCALL, CMP, NOP9, RET], &[Tactic::LiveStone]);
    let mut plain = Case::new(&[PUSH, PUSH, SYSCALL, CMP, NOP9, RET], &[Tactic::Clobber]);
    let is_ours = plain.plan.trampolines[0].span.start == at(2);
    assert!(is_ours, "{:?}", plain.plan);
    std::mem::swap(&mut case.plan, &mut plain.plan);
    case.emit();
    case.finds(Fault::ArrivesInside {
        from: at(0),
        at: at(4),
    });
}

#[test]
fn a_pointer_to_the_middle_of_a_change() {
    // lea 2f(%rip),%rax, whose target the jump overwrites; planned as if it pointed elsewhere.
    let lea: &[u8] = &[0x48, 0x8d, 0x05, 2, 0, 0, 0];
    let away: &[u8] = &[0x48, 0x8d, 0x05, 0, 0x10, 0, 0];
    let plain = Case::new(&[away, SYSCALL, CMP, RET], &[Tactic::Clobber]);
    assert_eq!(plain.plan.trampolines[0].span.start, at(7));
    let mut text = [lea, SYSCALL, CMP, RET].concat();
    let function = text.len();
    text.resize(48, 0xcc);
    let case = Case {
        file: elf(&text, &[(0, function)]),
        ..plain
    };
    case.finds(Fault::ArrivesInside {
        from: at(0),
        at: at(9),
    });
}

#[test]
fn a_function_that_begins_inside_a_change() {
    let plain = clobbered();
    let mut text = [MOV, SYSCALL, CMP, RET].concat();
    text.resize(48, 0xcc);
    assert_eq!(plain.plan.trampolines[0].span.start, at(5));
    let case = Case {
        file: elf(&text, &[(0, 7), (7, 7)]),
        ..plain
    };
    case.finds(Fault::ArrivesInside {
        from: at(7),
        at: at(7),
    });
}

#[test]
fn a_fall_into_a_stone() {
    // The pad is dead behind a jump; without the jump it is not.
    let plain = stone();
    let mut text = [SYSCALL, &[0x89, 0xc0], NOP9, POP, RET].concat();
    text.resize(32, 0xcc);
    let case = Case {
        file: elf(&text, &[(0, 15)]),
        ..plain
    };
    case.finds_like(|f| matches!(f, Fault::FallsInto { at: a, .. } if *a == at(4)));
}

/// `je` at 0 to `cmp` at 10, a call that cannot move at 6, the site at 8: `je` is retargeted.
fn retargeted() -> Case {
    let je: &[u8] = &[0x0f, 0x84, 4, 0, 0, 0];
    let call_rax: &[u8] = &[0xff, 0xd0];
    Case::new(&[je, call_rax, SYSCALL, CMP, RET], &[Tactic::Clobber])
}

#[test]
fn a_branch_retargeted_to_another_place() {
    let mut case = retargeted();
    let is_retarget =
        |e: &Edit| matches!(e.change, Change::Retarget { insn, .. } if insn == at(10));
    let index = case
        .plan
        .edits
        .iter()
        .position(is_retarget)
        .expect("retargeted");
    assert_eq!(case.plan.edits[index].at, at(2));
    case.emission.patches[index].bytes[0] ^= 1;
    case.finds(Fault::RetargetAstray { at: at(2) });
    let mut case = retargeted();
    case.plan.edits.remove(index);
    case.emit();
    case.finds(Fault::ArrivesInside {
        from: at(0),
        at: at(10),
    });
    let mut case = retargeted();
    case.plan.edits[index].at = at(1);
    case.emit();
    case.finds(Fault::RetargetAstray { at: at(1) });
}

#[test]
fn a_site_that_can_be_reached_past_its_jump() {
    // The jump replaces `mov`; somebody else goes straight to the site.
    let over: &[u8] = &[0x74, 0x07];
    let plain = Case::new(&[over, MOV, SYSCALL, CMP, RET], &[Tactic::Before]);
    assert_eq!(plain.plan.trampolines[0].span.start, at(2));
    let mut text = [&[0x74, 0x05], MOV, SYSCALL, CMP, RET].concat();
    let function = text.len();
    text.resize(48, 0xcc);
    let case = Case {
        file: elf(&text, &[(0, function)]),
        ..plain
    };
    case.finds(Fault::Bypassed { site: at(7) });
}
