//! Files that are hooks, and files that are not: what is read from them, and that nothing is believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotpatch_abi::{ABI, Hook};
use hotpatch_runtime::hook_file::HookFile;
use hotpatch_runtime::hook_refused::Refused;

/// What each hook here is written with: the interface, spelled out.
const PRELUDE: &str = r#"
typedef unsigned long u64;
struct hook {
    unsigned abi, size; const char *name; unsigned flags, vectors; u64 low[8], others; u64 kinds;
    void *select, *start, *before, *after, *event; const void *reserved;
};
unsigned before(void *context, void *frame) { return 0; }
#define HOOK(...) __attribute__((visibility("default"))) \
    struct hook hotpatch_hook = { .abi = 1, .size = sizeof(struct hook), .name = "test", .before = before, __VA_ARGS__ };
"#;

const FREESTANDING: &[&str] = &[
    "-shared",
    "-fPIC",
    "-O2",
    "-ffreestanding",
    "-nostdlib",
    "-mgeneral-regs-only",
    "-fvisibility=hidden",
    "-fno-stack-protector",
];

fn build(name: &str, code: &str, flags: &[&str]) -> PathBuf {
    build_with("gcc", name, code, flags)
}

fn build_with(compiler: &str, name: &str, code: &str, flags: &[&str]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hooks");
    fs::create_dir_all(&directory).unwrap();
    let source = directory.join(format!("{name}.c"));
    let object = directory.join(format!("{name}.so"));
    fs::write(&source, format!("{PRELUDE}{code}\n")).unwrap();
    let mut command = Command::new(compiler);
    command.args(flags).arg("-o").arg(&object).arg(&source);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{compiler}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    object
}

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    FREESTANDING.iter().chain(more).copied().collect()
}

#[test]
fn every_linker_and_hash_table_is_read() {
    let code = "static const char *const words[] = { \"a\", \"b\" };
        const char *const *volatile table = words;
        HOOK(.after = (void *)before, .reserved = &table)";
    for (compiler, name, flags) in [
        ("gcc", "plain", &[][..]),
        ("gcc", "sysv", &["-Wl,--hash-style=sysv"]),
        (
            "gcc",
            "gnu",
            &["-Wl,--hash-style=gnu", "-Wl,-z,noseparate-code"],
        ),
        ("gcc", "relr", &["-Wl,-z,pack-relative-relocs"]),
        ("clang", "lld", &["-fuse-ld=lld"]),
        (
            "clang",
            "lld-relr",
            &["-fuse-ld=lld", "-Wl,--pack-dyn-relocs=relr"],
        ),
        (
            "clang",
            "lld-large",
            &["-fuse-ld=lld", "-Wl,-z,max-page-size=65536"],
        ),
        ("gcc", "lazy", &["-Wl,-z,lazy", "-Wl,-z,norelro"]),
    ] {
        let bytes = fs::read(build_with(compiler, name, code, &with(flags))).unwrap();
        let file = HookFile::parse(&bytes).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(file.name(), Some(&b"test"[..]), "{name}");
        // Two places differ by just what lies between them, in every word that is relocated.
        let data = |bias| -> Vec<u8> {
            let writable = file.segments.iter().filter(|s| s.writable);
            writable.flat_map(|s| file.data(s, bias)).collect()
        };
        let (low, high) = (data(0), data(0x7000_0000));
        let words = |data: &[u8]| -> Vec<u64> {
            data.chunks_exact(8)
                .map(|w| u64::from_le_bytes(w.try_into().unwrap()))
                .collect()
        };
        let moved = words(&low)
            .iter()
            .zip(words(&high))
            .filter(|(a, b)| **a + 0x7000_0000 == *b)
            .count();
        let same = words(&low)
            .iter()
            .zip(words(&high))
            .filter(|(a, b)| **a == *b)
            .count();
        assert!(
            moved >= 4 && moved + same == words(&low).len(),
            "{name}: {moved} {same}"
        );
    }
}

#[test]
fn what_is_no_hook_is_told_apart() {
    type Case<'a> = (&'a str, &'a str, &'a [&'a str], Refused<'static>);
    let cases: &[Case<'_>] = &[
        ("no-symbol", "", &[], Refused::NoSymbol),
        ("other-abi", "HOOK(.abi = 7)", &[], Refused::Abi(7)),
        ("short", "HOOK(.size = 24)", &[], Refused::Size(24)),
        (
            "no-before",
            "HOOK(.before = 0)",
            &[],
            Refused::Pointer("before"),
        ),
        (
            "data-before",
            "int x; HOOK(.before = &x)",
            &[],
            Refused::Pointer("before"),
        ),
        (
            "wild-after",
            "HOOK(.after = (void *)0x1234567)",
            &[],
            Refused::Pointer("after"),
        ),
        (
            "no-vectors",
            "HOOK(.vectors = 9)",
            &[],
            Refused::Value("vectors"),
        ),
        (
            "undefined",
            "int f(void); unsigned b(void *c, void *x) { return f(); } HOOK(.before = b)",
            &[],
            Refused::Undefined(b"f"),
        ),
        (
            "constructor",
            "volatile int x; __attribute__((constructor)) static void f(void) { x = 1; } HOOK()",
            &[],
            Refused::Constructors,
        ),
        (
            "executable-data",
            "HOOK()",
            &["-Wl,-N"],
            Refused::WriteExecute,
        ),
    ];
    for (name, code, flags, expected) in cases {
        let bytes = fs::read(build(name, code, &with(flags))).unwrap();
        let found = HookFile::parse(&bytes).map(|_| ());
        assert_eq!(found, Err(*expected), "{name}");
    }
}

#[test]
fn vector_registers_are_found() {
    let code = "static char zeros[64]; unsigned b(void *c, void *f) { __builtin_memset(zeros, 0, 64); return 0; } HOOK(.before = b)";
    let flags: Vec<_> = FREESTANDING
        .iter()
        .filter(|f| **f != "-mgeneral-regs-only")
        .copied()
        .collect();
    let bytes = fs::read(build("vectors", code, &flags)).unwrap();
    let why = HookFile::parse(&bytes).unwrap_err();
    assert!(matches!(why, Refused::Vectors { at: 1.. }), "{why}");
    assert!(why.to_string().contains("-mgeneral-regs-only"), "{why}");
}

#[test]
fn hosted_hooks_are_known_by_the_library_they_need() {
    let object = build(
        "hosted",
        "#include <stdio.h>\nunsigned b(void *c, void *f) { return puts(\"x\"); } HOOK(.before = b)",
        &["-shared", "-fPIC"],
    );
    let bytes = fs::read(object).unwrap();
    assert!(HookFile::parse(&bytes).unwrap().hosted);
    let object = build(
        "another",
        "#include <stdio.h>\nunsigned b(void *c, void *f) { return puts(\"x\"); } HOOK(.before = b, .abi = 7)",
        &["-shared", "-fPIC"],
    );
    let bytes = fs::read(object).unwrap();
    assert_eq!(HookFile::parse(&bytes).unwrap_err(), Refused::Abi(7));
    let bytes = fs::read("/bin/true").unwrap();
    assert_eq!(HookFile::parse(&bytes).unwrap_err(), Refused::NoSymbol);
}

#[test]
fn other_machines_and_kinds_of_files_are_named() {
    assert_eq!(HookFile::parse(b"").unwrap_err(), Refused::NotElf);
    assert_eq!(
        HookFile::parse(b"#!/bin/sh\nexit 0\n").unwrap_err(),
        Refused::NotElf
    );
    let bytes = fs::read(build("kinds", "HOOK()", FREESTANDING)).unwrap();
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        HookFile::parse(&bytes).unwrap_err().to_string()
    };
    assert_eq!(changed(4, &[1]), "not a 64-bit ELF file");
    assert_eq!(changed(18, &[183, 0]), "for another machine (number 183)");
    assert_eq!(
        changed(16, &[1, 0]),
        "an object file, to be linked with -shared"
    );
    assert_eq!(changed(16, &[2, 0]), "a program, not a shared object");
    let headers = |bytes: &[u8], kind: u32| {
        let count = u16::from_le_bytes([bytes[56], bytes[57]]);
        let at = (0..usize::from(count)).map(|n| 64 + 56 * n);
        at.into_iter()
            .find(|at| bytes[*at..at + 4] == kind.to_le_bytes())
    };
    // A segment of notes becomes one of thread-local variables.
    let note = headers(&bytes, 4).expect("a note: the build id");
    assert_eq!(changed(note, &[7]), Refused::ThreadLocal.to_string());
}

/// xorshift: the same files in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn mangled_files_are_refused_or_read_but_never_believed() {
    let code = "static const char *const words[] = { \"a\", \"b\" };
        const char *const *volatile table = words; HOOK(.after = (void *)before, .reserved = &table)";
    for flags in [
        &["-Wl,--hash-style=gnu"][..],
        &["-Wl,-z,pack-relative-relocs", "-Wl,--hash-style=sysv"],
    ] {
        let whole = fs::read(build(
            &format!("mangled{}", flags.len()),
            code,
            &with(flags),
        ))
        .unwrap();
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ flags.len() as u64;
        let mut read = 0;
        for round in 0..40_000 {
            let mut bytes = whole.clone();
            // Headers, dynamic section and tables are where it hurts: half of the changes go there.
            for _ in 0..1 + random(&mut state) % 4 {
                let place = random(&mut state);
                let most = if place & 1 == 0 {
                    0x400.min(bytes.len())
                } else {
                    bytes.len()
                };
                let at = (place >> 8) as usize % most;
                let value =
                    [0, 1, 0x7f, 0x80, 0xff, (place >> 56) as u8][(place >> 1) as usize % 6];
                bytes[at] = value;
            }
            if round % 5 == 0 {
                bytes.truncate(random(&mut state) as usize % whole.len());
            }
            if let Ok(file) = HookFile::parse(&bytes) {
                read += 1;
                let span = file.span();
                for segment in &file.segments {
                    let data = file.data(segment, 0x7fff_0000_0000);
                    assert!(span.start <= segment.span.start && segment.span.end <= span.end);
                    assert!(data.len() as u64 <= segment.span.end - segment.span.start);
                }
                assert!(file.symbol + size_of::<Hook>() as u64 <= span.end);
            }
        }
        assert!(
            read > 1000,
            "{read}: the changes hit too much to say anything"
        );
    }
    assert_eq!(ABI, 1, "the prelude above speaks version 1");
}
