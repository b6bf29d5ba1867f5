//! Plans that are wrong in one way each: the judge finds that very fault.

mod arrivals;
mod copies;
mod protect;
mod shape;
#[path = "../synthetic/mod.rs"]
mod synthetic;

use hotpatch_plan::Options;
use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::check::{Fault, check};
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{
    Change, Edit, Emission, Kinds, Native, Outcome, Patch, Plan, SiteKind, Tactic, Tactics,
};
use hotpatch_plan::search::Scalar;
use synthetic::{TEXT, elf};

/// Where the object is loaded above what it says: return addresses with the upper bit of the low half set.
const BIAS: u64 = 0x7fff_8765_4000;

/// A function, its plan by some tactics, and the plan's bytes.
struct Case {
    file: Vec<u8>,
    plan: Plan,
    emission: Emission,
}

impl Case {
    fn new(code: &[&[u8]], tactics: &[Tactic]) -> Self {
        let mut text = code.concat();
        let function = text.len();
        text.resize(function.next_multiple_of(16) + 16, 0xcc);
        let file = elf(&text, &[(0, function), (text.len() - 16, 16)]);
        let tactics = tactics.iter().fold(Tactics::NONE, |set, &t| set.with(t));
        let (plan, emission) = planned(&file, tactics);
        let patched = |o: &Outcome| matches!(o, Outcome::Patched { .. });
        assert!(plan.sites.iter().all(|s| patched(&s.outcome)), "{plan:#?}");
        let case = Self {
            file,
            plan,
            emission,
        };
        assert_eq!(case.judge(), []);
        case
    }

    fn judge(&self) -> Vec<Fault> {
        let image = Image::from_file(&self.file).expect("the file is well-formed");
        check(&image, &self.plan, &self.emission, BIAS)
            .err()
            .unwrap_or_default()
    }

    /// Emits again what a changed plan says.
    fn emit(&mut self) {
        let image = Image::from_file(&self.file).expect("the file is well-formed");
        self.emission = self
            .plan
            .emit(&image, Va(0x4_0000), BIAS)
            .expect("near enough");
    }

    /// The offset in the trampolines of the copy of the instruction at `offset` in the text.
    fn copy_of(&self, offset: u64) -> usize {
        let moved = self
            .emission
            .moved
            .iter()
            .find(|m| m.original == at(offset));
        moved.expect("it moved").offset as usize
    }

    #[track_caller]
    fn finds(&self, fault: Fault) {
        let faults = self.judge();
        assert!(faults.contains(&fault), "{fault:?} is not among {faults:?}");
    }

    #[track_caller]
    fn finds_like(&self, like: fn(&Fault) -> bool) {
        let faults = self.judge();
        assert!(faults.iter().any(like), "none of {faults:?}");
    }
}

fn planned(file: &[u8], tactics: Tactics) -> (Plan, Emission) {
    let image = Image::from_file(file).expect("the file is well-formed");
    let options = Options {
        tactics,
        kinds: SiteKind::ALL.into_iter().fold(Kinds::NONE, Kinds::with),
        ..Options::new(&Scalar)
    };
    let plan = hotpatch_plan::plan(&image, &options);
    let emission = plan.emit(&image, Va(0x4_0000), BIAS).expect("near enough");
    (plan, emission)
}

fn at(offset: u64) -> Va {
    Va(TEXT + offset)
}

const MOV: &[u8] = &[0xb8, 0x6e, 0, 0, 0]; // mov $110,%eax
const SYSCALL: &[u8] = &[0x0f, 0x05];
const CMP: &[u8] = &[0x48, 0x3d, 0, 0xf0, 0xff, 0xff]; // cmp $-4096,%rax
const RET: &[u8] = &[0xc3];
const PUSH: &[u8] = &[0x53]; // push %rbx
const POP: &[u8] = &[0x5b]; // pop %rbx
const LOAD: &[u8] = &[0x48, 0x8b, 0x05, 0, 0x10, 0, 0]; // mov 0x1000(%rip),%rax
const NOP9: &[u8] = &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0];

/// `mov` at 0, the site at 5, `cmp` at 7, `ret` at 13.
fn clobbered() -> Case {
    Case::new(&[MOV, SYSCALL, CMP, RET], &[Tactic::Clobber])
}

/// The site at 0, a jump at 2 over what follows, a dead pad at 4, `ret` at 13.
fn stone() -> Case {
    let over_more: &[u8] = &[0xeb, 0x0a];
    Case::new(&[SYSCALL, over_more, NOP9, POP, RET], &[Tactic::Stone])
}

/// `push` at 0, the site at 1, `pop` at 3, a live pad at 4, `ret` at 13.
fn live_stone() -> Case {
    Case::new(&[PUSH, SYSCALL, POP, NOP9, RET], &[Tactic::LiveStone])
}

/// The site at 0, `je` at 2 to `ret` at 17, `loop` at 8 to it, a load at 10, `ret` at 17.
fn branches() -> Case {
    let je: &[u8] = &[0x0f, 0x84, 9, 0, 0, 0];
    Case::new(&[SYSCALL, je, &[0xe2, 7], LOAD, RET], &[Tactic::Clobber])
}
