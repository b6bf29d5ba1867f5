//! Code that some plan got wrong, each seen in a real program.

use hotpatch_plan::addr::Va;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Native, Outcome, Plan, Tactic, Tactics};

use super::files::{run, scratch};
use super::planned;

/// Assembles `source` into a shared object and plans it; the judge must accept the plan.
fn plan_of(name: &str, source: &str) -> Plan {
    plan_linked(name, source, "-shared")
}

fn plan_linked(name: &str, source: &str, how: &str) -> Plan {
    let path = scratch().join(name);
    std::fs::write(path.with_extension("s"), source).unwrap();
    let (from, to) = (format!("{name}.s"), name);
    run("gcc", &["-nostdlib", how, &from, "-o", to]);
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

fn natives(plan: &Plan) -> Vec<Native> {
    plan.sites
        .iter()
        .filter_map(|s| match s.outcome {
            Outcome::Native(native) => Some(native),
            _ => None,
        })
        .collect()
}

/// The cancellation stubs of musl and glibc 2.41: code asks whether a signal came before the end of it.
#[test]
fn an_address_taken_by_an_instruction_keeps_a_site() {
    let plan = plan_of(
        "cancellation",
        "
        .globl f
        .type f, @function
f:      .cfi_startproc
        mov $1, %eax
        syscall
after:  nop
        ret
        .cfi_endproc
        .size f, . - f
        .globl g
g:      lea after(%rip), %rax
        ret
",
    );
    assert!(matches!(natives(&plan)[..], [Native::AddressTaken { .. }]));
}

/// Go programs of 300 MB: bytes inside another instruction that look like a `lea`, a call of no account.
#[test]
fn an_address_by_chance_keeps_no_site() {
    let plan = plan_of(
        "chance",
        "
        .globl f
        .type f, @function
f:      .cfi_startproc
        mov $1, %eax
        syscall
after:  cmp $-4095, %rax
        ret
        .cfi_endproc
        .size f, . - f
        .globl g
        .type g, @function
g:      .cfi_startproc
        .byte 0x48, 0xb8, 0x8d, 0x05
        .long after - (. + 4)
        .byte 0, 0
        ret
        .cfi_endproc
        .size g, . - g
",
    );
    assert_eq!(natives(&plan), []);
    assert_eq!(refused(&plan), 0);
}

/// Programs that are loaded where the file says: a distance that equals the address.
#[test]
fn a_distance_by_chance_keeps_no_site() {
    let source = "
        .globl _start
        .type _start, @function
_start: .cfi_startproc
        mov $1, %eax
        syscall
after:  cmp $-4095, %rax
        .byte 0x48, 0x8b, 0x15 # mov rel(%rip), %rdx
        .long HERE
        mov $60, %eax
        syscall
        hlt
        .cfi_endproc
        .size _start, . - _start
";
    // The linker puts the code at 0x401000, `after` 7 bytes behind.
    let plan = plan_linked("distance", &source.replace("HERE", "0x401007"), "-static");
    assert_eq!(plan.sites[0].at + 2, Va(0x401007));
    assert_eq!(natives(&plan), []);
    // As an immediate it is the address.
    let immediate = source
        .replace("0x48, 0x8b, 0x15", "0x48, 0x81, 0xfa")
        .replace("HERE", "0x401007");
    let plan = plan_linked("immediate", &immediate, "-static");
    assert!(matches!(natives(&plan)[..], [Native::AddressTaken { .. }]));
    // Nobody multiplies with an address: 0x01010101 is a constant of its own.
    let factor = immediate.replace("0x48, 0x81, 0xfa", "0x48, 0x69, 0xd2");
    let plan = plan_linked("factor", &factor, "-static");
    assert_eq!(natives(&plan), []);
}

/// Zig programs, which are loaded where the file says: the words of a jump table lead to what follows a site.
#[test]
fn a_jump_table_of_words_keeps_no_site() {
    let plan = plan_linked(
        "words",
        "
        .globl _start
        .type _start, @function
_start: .cfi_startproc
        cmp $5, %rdi
        ja  1f
        jmp *table(,%rdi,8)
1:      mov $1, %eax
        syscall
2:      cmp $-4095, %rax
3:      mov %rax, %rdi
4:      mov $60, %eax
        syscall
        hlt
        .cfi_endproc
        .size _start, . - _start
        .section .rodata
        .balign 8
table:  .quad 1b, 2b, 3b, 4b, 2b, 2b
",
        "-static",
    );
    assert_eq!(natives(&plan), []);
    assert_eq!(refused(&plan), 0);
}

/// Zig's debug builds: data before a function that would swallow its first instruction.
#[test]
fn data_before_a_function_does_not_fall_into_it() {
    let plan = plan_of(
        "data-before",
        "
        .byte 1, 2, 0x40, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0xf6
        .globl restore
        .type restore, @function
restore:
        mov $0xf, %eax
        syscall
        ud2
        .size restore, . - restore
",
    );
    assert_eq!(plan.sites.len(), 1);
    assert_eq!(refused(&plan), 0);
}

/// Rust programs with musl: `clock_gettime` looks its way through the vDSO up and jumps there for good.
#[test]
fn a_jump_behind_the_frame_leaves_the_function() {
    let plan = plan_of(
        "tail-call",
        "
        .text
        .globl f
f:      push %rbp
        push %r12
        mov %rdi, %rbp
        mov %rsi, %r12
        mov %rax, %rcx
        lock cmpxchg %rcx, word(%rip)
        test %rcx, %rcx
        je 1f
        mov %r12, %rsi
        mov %rbp, %rdi
        pop %r12
        pop %rbp
        jmp *%rcx
1:      mov %rbp, %rsi
        xor %edi, %edi
        push $228
        pop %rax
        syscall
        pop %r12
        pop %rbp
        ret
        .data
word:   .quad 0
",
    );
    assert_eq!(plan.sites.len(), 1);
    assert_eq!(refused(&plan), 0);
}

/// A pattern matcher in a Rust program: its function jumps nobody knows where, so that no code of it may move,
/// but the next one's may.
#[test]
fn a_neighbour_makes_room_for_a_function_that_jumps_anywhere() {
    let plan = plan_of(
        "neighbour",
        "
        .globl f
        .type f, @function
f:      .cfi_startproc
        lea 1f(%rip), %rax
2:      inc %ecx
        imul %rcx, %rax
        jmp *%rax
        .rept 20
        lea 1(%r15), %r12
        .endr
1:      xor %r10d, %r10d
        syscall
        jmp 2b
        .cfi_endproc
        .size f, . - f
        .globl g
        .type g, @function
g:      .cfi_startproc
        mov %rdi, %rax
        mov %rsi, %rbx
        mov %rdx, %rcx
        mov %rdi, %rsi
        ret
        .cfi_endproc
        .size g, . - g
",
    );
    assert!(matches!(
        plan.sites[0].outcome,
        Outcome::Patched {
            tactic: Tactic::Evict,
            ..
        }
    ));
}
