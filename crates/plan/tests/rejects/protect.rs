//! What a plan must leave alone for others than those who execute it.

use hotpatch_plan::check::check_within;
use hotpatch_plan::emit::Style;

use super::*;

/// Offset in the file of the first byte of the text.
const TEXT_AT: usize = 0x1000;

impl Case {
    /// Puts `bytes` in place of what the file has at `offset` of the text: the plan is that of another file now.
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.file[TEXT_AT + offset..][..bytes.len()].copy_from_slice(bytes);
    }
}

#[test]
fn bytes_that_may_not_change() {
    let case = stone();
    let image = Image::from_file(&case.file).expect("the file is well-formed");
    let judge = |forbidden: &[Span]| {
        check_within(
            &image,
            &case.plan,
            &case.emission,
            BIAS,
            Style::Plain,
            forbidden,
        )
    };
    assert_eq!(judge(&[Span::new(at(12), 20)]), Ok(()));
    for forbidden in [at(1), at(6)] {
        let faults = judge(&[Span::new(forbidden, 1)]).expect_err("it is written");
        assert!(
            faults.contains(&Fault::Protected { at: forbidden }),
            "{faults:?}"
        );
    }
    let case = clobbered();
    let image = Image::from_file(&case.file).expect("the file is well-formed");
    let start = case.plan.trampolines[0].span.start;
    let last = Span::new(case.plan.trampolines[0].span.end - 1, 1);
    let faults = check_within(
        &image,
        &case.plan,
        &case.emission,
        BIAS,
        Style::Plain,
        &[last],
    );
    let faults = faults.expect_err("it is moved");
    assert!(
        faults.contains(&Fault::Protected { at: last.start }),
        "{start}: {faults:?}"
    );
}

#[test]
fn a_live_pad_that_an_operand_names() {
    let mut case = Case::new(&[CMP, PUSH, SYSCALL, POP, NOP9, RET], &[Tactic::LiveStone]);
    let read: &[u8] = &[0x8b, 0x3d, 4, 0, 0, 0]; // mov 10(pad),%edi
    case.put(0, read);
    case.finds(Fault::NamedPad {
        at: at(10),
        from: at(0),
    });
}

#[test]
fn a_live_pad_that_calls_itself_dead() {
    let mut case = live_stone();
    let Outcome::Patched { tactic, .. } = &mut case.plan.sites[0].outcome else {
        panic!("it is patched")
    };
    *tactic = Tactic::Stone;
    case.finds_like(|f| matches!(f, Fault::LivePad { site, .. } if *site == at(1)));
}

#[test]
fn a_computed_jump_beside_a_clobbered_site() {
    let mut case = Case::new(&[MOV, PUSH, SYSCALL, CMP, RET], &[Tactic::Clobber]);
    let change = case.plan.edits[0].at;
    assert_ne!(change, at(0));
    let jump: &[u8] = &[0x48, 0x01, 0xf2, 0xff, 0xe2]; // add %rsi,%rdx; jmp *%rdx
    case.put(0, jump);
    case.finds(Fault::UnknownJump {
        at: change,
        jump: at(3),
    });
}

#[test]
fn a_label_beside_an_opened_pad() {
    let load: &[u8] = &[0x48, 0x8b, 0x05, 0, 0x10, 0, 0];
    let mut case = Case::new(&[load, PUSH, SYSCALL, POP, NOP9, RET], &[Tactic::LiveStone]);
    case.put(0, &[0x48, 0x8d, 0x05, 1, 0, 0, 0]); // lea of the site, to which distances may be added
    case.finds(Fault::UnknownJump {
        at: at(11),
        jump: at(0),
    });
}

#[test]
fn a_stone_on_what_is_read_from_afar() {
    let over_more: &[u8] = &[0xeb, 0x0a];
    let far = [CMP; 40].concat();
    let mut case = Case::new(
        &[SYSCALL, over_more, NOP9, POP, RET, &far, RET],
        &[Tactic::Stone],
    );
    let stone = case.plan.edits[1].at;
    let from = 15 + 39 * 6_u32;
    let distance = i32::try_from(stone.distance_from(at(u64::from(from) + 6))).expect("near");
    case.put(from as usize, &[0x8b, 0x3d]); // mov stone,%edi
    case.put(from as usize + 2, &distance.to_le_bytes());
    case.finds_like(|f| matches!(f, Fault::ArrivesInside { .. }));
}
