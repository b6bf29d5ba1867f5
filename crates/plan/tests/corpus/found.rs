//! Code that some plan got wrong, each seen in a real program.

use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Outcome, Plan, Tactics};

use super::files::{run, scratch};
use super::planned;

/// Assembles `source` into a shared object and plans it; the judge must accept the plan.
fn plan_of(name: &str, source: &str) -> Plan {
    let path = scratch().join(name);
    std::fs::write(path.with_extension("s"), source).unwrap();
    let (from, to) = (format!("{name}.s"), name);
    run("gcc", &["-nostdlib", "-shared", &from, "-o", to]);
    let bytes = std::fs::read(path).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    planned(name, &image, Tactics::ALL)
}

fn refused(plan: &Plan) -> usize {
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
    plan.sites.iter().filter(|s| refused(&s.outcome)).count()
}

/// Zig's standard library: in a long function, a short branch to the instruction behind a second site, far
/// from the first.
#[test]
fn branches_near_every_site_of_a_function_are_known() {
    let plan = plan_of(
        "far-apart",
        "
        .globl f
        .type f, @function
f:      .cfi_startproc
        push $3
        pop %rax
        syscall
        cmpb $3, -0x29(%rbp)
        .rept 200
        mov -0xc8(%rbp), %edi
        .endr
        jne 1f
        push $3
        pop %rax
        syscall
1:      cmpb $3, -0x2b(%rbp)
        .rept 200
        mov -0xc8(%rbp), %edi
        .endr
        ret
        .cfi_endproc
        .size f, . - f
",
    );
    assert_eq!(plan.sites.len(), 2);
    assert_eq!(refused(&plan), 0);
}
