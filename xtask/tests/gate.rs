//! Each rule of the gate, against objects that break it and nothing else.

use std::path::Path;
use std::process::Command;

use xtask::gate::{Violation, gate};

/// A shared object made of `source` (C or assembly by `name`), without a library.
fn object(name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join(name);
    let output = dir.path().join("object.so");
    std::fs::write(&input, source).unwrap();
    gcc(&input, &output, flags);
    std::fs::read(&output).unwrap()
}

fn gcc(input: &Path, output: &Path, flags: &[&str]) {
    let made = Command::new("gcc")
        .args([
            "-shared",
            "-fPIC",
            "-nostdlib",
            "-O1",
            "-fvisibility=hidden",
            "-Wl,-z,noexecstack",
        ])
        .args([
            "-mgeneral-regs-only",
            "-fcf-protection=none",
            "-Wl,--no-warn-rwx-segments",
        ])
        .args(flags)
        .args([Path::new("-o"), output, input])
        .output()
        .expect("gcc is needed for this test");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn violations(name: &str, source: &str, flags: &[&str]) -> Vec<Violation> {
    gate(&object(name, source, flags)).unwrap()
}

const QUIET: &str = "static int x; int f(int y) { x += y; return x; }";

#[test]
fn an_object_without_fault_passes() {
    assert_eq!(violations("a.c", QUIET, &[]), []);
}

#[test]
fn a_pointer_in_data_is_a_relative_relocation_and_passes() {
    assert_eq!(
        violations(
            "a.c",
            "static int x; static int *p = &x; int f(void) { return *p++; }",
            &[]
        ),
        []
    );
}

#[test]
fn a_needed_library_is_named() {
    let found = violations("a.c", QUIET, &["-Wl,--no-as-needed", "-lc"]);
    assert_eq!(found, [Violation::Needed("libc.so.6".into())]);
}

#[test]
fn an_undefined_symbol_is_named() {
    let found = violations(
        "a.c",
        "__attribute__((visibility(\"default\"))) int g(void); int f(void) { return g(); }",
        &[],
    );
    assert!(
        found.contains(&Violation::Undefined("g".into())),
        "{found:?}"
    );
}

#[test]
fn an_export_is_named() {
    let found = violations(
        "a.c",
        "__attribute__((visibility(\"default\"))) int malloc(void) { return 1; }",
        &[],
    );
    assert_eq!(found, [Violation::Export("malloc".into())]);
}

/// Each instruction alone in a function, and what it uses.
#[test]
fn vector_state_of_every_kind_is_found() {
    let cases = [
        ("movaps %xmm1,%xmm2", "xmm"),
        ("vpxor %ymm1,%ymm2,%ymm9", "zmm9"),
        ("vmovdqu64 %zmm17,%zmm3", "zmm"),
        ("kmovq %k1,%rax", "k1"),
        ("movq %mm3,%mm4", "mm"),
        ("fld %st(1)", "st"),
        ("fninit", "x87"),
        ("emms", "mm"),
        ("vzeroupper", ""),
        ("fxsave (%rdi)", ""),
        ("xrstor (%rdi)", ""),
    ];
    for (instruction, kind) in cases {
        let source =
            format!(".text\n.type f,@function\nf: nop\n {instruction}\n ret\n.size f,.-f\n");
        let found = violations("a.s", &source, &[]);
        let [Violation::Vector { function, at, uses }] = &found[..] else {
            panic!("{instruction}: {found:?}");
        };
        assert_eq!((function.as_str(), at & 0xf), ("f", 1), "{instruction}");
        assert!(uses.starts_with(kind), "{instruction}: {uses}");
    }
}

#[test]
fn only_the_named_function_may_use_vectors() {
    let name = &format!(
        "_RNvNtCs1_16hotpatch_runtime{}",
        xtask::gate::VECTOR_FUNCTIONS[0]
    );
    let function = |name: &str| {
        format!(".type {name},@function\n{name}: movaps %xmm1,%xmm2\n ret\n.size {name},.-{name}\n")
    };
    assert_eq!(violations("a.s", &function(name), &[]), []);
    let found = violations("a.s", &(function(name) + &function("other")), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(matches!(&found[0], Violation::Vector { function, .. } if function == "other"));
}

#[test]
fn general_registers_and_flags_are_no_vectors() {
    let source = ".text\nf: lock cmpxchg16b (%rdi)\n cpuid\n rdtsc\n rep movsb\n syscall\n shlx %rax,%rbx,%rcx\n popcnt %rax,%rbx\n ret\n";
    assert_eq!(violations("a.s", source, &[]), []);
}

#[test]
fn a_text_relocation_is_found() {
    let found = violations("a.s", ".text\nf: nop\n.quad f\n", &["-Wl,-z,notext"]);
    assert!(
        found.contains(&Violation::TextRelocation { at: None }),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|v| matches!(v, Violation::TextRelocation { at: Some(_) })),
        "{found:?}"
    );
}

#[test]
fn a_relocation_by_symbol_is_found() {
    let found = violations(
        "a.c",
        "__attribute__((weak)) extern int g; int *f(void) { return &g; }",
        &[],
    );
    assert!(
        found
            .iter()
            .any(|v| matches!(v, Violation::Relocation { kind: 6, .. })),
        "{found:?}"
    );
}

#[test]
fn an_executable_stack_is_found() {
    assert_eq!(
        violations("a.c", QUIET, &["-Wl,-z,execstack"]),
        [Violation::ExecutableStack]
    );
}

#[test]
fn a_thread_local_is_found() {
    let found = violations(
        "a.c",
        "static __thread int x; int f(void) { return x++; }",
        &[],
    );
    assert!(found.contains(&Violation::ThreadLocal), "{found:?}");
}

#[test]
fn writable_code_is_found() {
    let source = ".section .both,\"awx\",@progbits\nf: ret\n";
    let found = violations("a.s", source, &[]);
    assert!(
        matches!(found[..], [Violation::WritableCode { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_mangled_object_is_an_error_and_no_panic() {
    let good = object("a.c", QUIET, &[]);
    assert!(gate(b"no object").is_err());
    for cut in 0..good.len().min(2000) {
        let _ = gate(&good[..cut]);
    }
    let mut bad = good.clone();
    for at in 0..good.len().min(1024) {
        bad[at] ^= 0xff;
        let _ = gate(&bad);
        bad[at] ^= 0xff;
    }
    assert_eq!(gate(&good).unwrap(), []);
}

#[test]
fn a_panic_after_start_up_is_found() {
    let source = |caller: &str| {
        format!(
            ".text\n.type {caller}, @function\n{caller}: call _ZN4core9panicking5panicE\n ret\n.size {caller}, .-{caller}\n\
             .type _ZN4core9panicking5panicE, @function\n_ZN4core9panicking5panicE: hlt\n.size _ZN4core9panicking5panicE, 1\n"
        )
    };
    let found = violations("a.s", &source("_ZN16hotpatch_runtime5hooks8dispatchE"), &[]);
    assert!(
        matches!(&found[..], [Violation::Panic { function, .. }] if function.contains("dispatch")),
        "{found:?}"
    );
    // Start-up may: there it is caught.
    let found = violations("a.s", &source("_ZN16hotpatch_runtime5start3runE"), &[]);
    assert_eq!(found, []);
}
