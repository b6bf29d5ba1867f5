//! Trampolines that are no faithful copy.

use super::*;

#[test]
fn a_copy_of_another_instruction() {
    let mut case = clobbered();
    let offset = case.copy_of(7);
    case.emission.code[offset + 2] ^= 1;
    case.finds(Fault::NotACopy {
        original: at(7),
        offset: offset as u32,
    });
}

#[test]
fn copies_in_another_order() {
    let mut case = Case::new(&[PUSH, MOV, SYSCALL, POP, RET], &[Tactic::Clobber]);
    case.plan.trampolines[0].insns.swap(0, 1);
    case.emit();
    case.finds_like(|f| matches!(f, Fault::SpanDiffers { .. }));
    // What the plan says is right, what stands there is not.
    let mut case = Case::new(&[SYSCALL, POP, &[0x5a], &[0x59], RET], &[Tactic::Clobber]);
    let offset = case.copy_of(2);
    case.emission.code.swap(offset, offset + 1);
    case.finds(Fault::NotACopy {
        original: at(2),
        offset: offset as u32,
    });
}

#[test]
fn an_operand_that_names_another_address() {
    let mut case = Case::new(&[SYSCALL, LOAD, RET], &[Tactic::Clobber]);
    let offset = case.copy_of(2);
    case.emission.code[offset + 3] ^= 8;
    case.finds_like(|f| matches!(f, Fault::OperandAstray { original, .. } if *original == at(2)));
}

#[test]
fn a_branch_that_goes_elsewhere() {
    let mut case = branches();
    let offset = case.copy_of(2);
    case.emission.code[offset + 2] ^= 1;
    case.finds_like(|f| matches!(f, Fault::BranchAstray { original, .. } if *original == at(2)));
    let mut case = branches();
    case.emission.code[offset + 1] ^= 1; // jne for je
    case.finds(Fault::NotACopy {
        original: at(2),
        offset: offset as u32,
    });
}

#[test]
fn a_counted_branch_that_goes_elsewhere() {
    let code: [&[u8]; 5] = [SYSCALL, &[0xe2, 7], LOAD, RET, RET];
    let fresh = || Case::new(&code, &[Tactic::Clobber]);
    let mut case = fresh();
    let offset = case.copy_of(2);
    case.emission.code[offset + 5] ^= 1;
    case.finds_like(|f| matches!(f, Fault::BranchAstray { original, .. } if *original == at(2)));
    for inner in [0, 1, 3] {
        let mut case = fresh();
        case.emission.code[offset + inner] ^= 1;
        case.finds(Fault::NotACopy {
            original: at(2),
            offset: offset as u32,
        });
    }
}

#[test]
fn rcx_that_the_kernel_would_not_leave() {
    let mut case = clobbered();
    let lea = case.copy_of(5) + 2;
    case.emission.code[lea + 3] ^= 1; // another address
    case.finds(Fault::WrongRcx { site: at(5) });
    let mut case = clobbered();
    case.emission.code[lea + 2] = 0x15; // rdx
    case.finds(Fault::WrongRcx { site: at(5) });
    let mut case = clobbered();
    case.emission.code.drain(lea..lea + 7);
    case.finds(Fault::WrongRcx { site: at(5) });
}

/// The site at 0, a call at 2 of the function at 32.
fn call() -> Case {
    Case::new(
        &[SYSCALL, &[0xe8, 25, 0, 0, 0], POP, RET, NOP9],
        &[Tactic::Clobber],
    )
}

#[test]
fn a_return_address_that_is_not_the_original() {
    for byte in [1, 9] {
        let mut case = call();
        let offset = case.copy_of(2);
        case.emission.code[offset + byte] ^= 1;
        case.finds(Fault::WrongReturn { at: at(2) });
    }
    let mut case = call();
    let offset = case.copy_of(2);
    case.emission.code[offset + 14] ^= 1;
    case.finds_like(|f| matches!(f, Fault::BranchAstray { original, .. } if *original == at(2)));
}

#[test]
fn a_call_before_the_end_of_its_span() {
    let mut case = call();
    let mut other = Case::new(&[SYSCALL, CMP, POP, RET], &[Tactic::Clobber]);
    let trampoline = &mut case.plan.trampolines[0];
    let mut pop = other.plan.trampolines[0].insns.swap_remove(0);
    pop.at = at(7);
    pop.len = 1;
    pop.kind = hotpatch_plan::code::Kind::Plain;
    trampoline.insns.push(pop);
    trampoline.span.end = at(8);
    case.emit();
    case.finds(Fault::CallInside { at: at(2) });
}

#[test]
fn an_instruction_that_cannot_move() {
    let call_rax: &[u8] = &[0xff, 0xd0];
    let mut case = Case::new(
        &[CMP, SYSCALL, call_rax, POP, RET],
        &[Tactic::Clobber, Tactic::Before],
    );
    let trampoline = &mut case.plan.trampolines[0];
    let mut call = trampoline.insns[0];
    call.at = at(8);
    call.len = 2;
    call.kind = hotpatch_plan::code::Kind::Plain;
    trampoline.insns.push(call);
    trampoline.span.end = at(10);
    case.emit();
    case.finds(Fault::Immovable { at: at(8) });
}

#[test]
fn no_way_back() {
    let mut case = clobbered();
    let jump = case.copy_of(7) + 6;
    case.emission.code[jump + 1] ^= 1; // back to another place
    case.finds(Fault::NoWayBack { end: at(13) });
    let mut case = clobbered();
    case.emission.code.truncate(jump);
    case.finds(Fault::NoWayBack { end: at(13) });
}

#[test]
fn code_without_an_original() {
    let mut case = clobbered();
    let len = case.emission.code.len();
    case.emission.code.push(0x90);
    case.finds(Fault::Unaccounted { offset: len as u32 });
}

#[test]
fn a_list_of_moves_that_is_wrong() {
    let mut case = clobbered();
    case.emission.moved[0].len += 1;
    let original = case.emission.moved[0].original;
    case.finds(Fault::MovedDiffers { original });
    let mut case = clobbered();
    case.emission.moved[0].offset += 1;
    case.finds(Fault::MovedDiffers { original });
    let mut case = clobbered();
    let last = case.emission.moved.pop().expect("not empty");
    case.finds(Fault::MovedDiffers {
        original: last.original,
    });
}
