//! Sites of real files, against objdump.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::code::{Code, Kind, Trust};
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::Kinds;
use hotpatch_plan::scan::scan;
use hotpatch_plan::search::{Scalar, Search};

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
const MUSL: &str = "/lib/x86_64-linux-musl/libc.so";
const BUSYBOX: &str = "/bin/busybox";

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A place for files that this test makes.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sites");
    std::fs::create_dir_all(&directory).unwrap();
    directory.join(name)
}

/// Addresses that objdump lists, each with whether it is a `syscall` or bytes it cannot read.
struct Listing {
    syscalls: BTreeSet<Va>,
    bad: BTreeSet<Va>,
}

fn objdump(path: &str) -> Listing {
    let mut listing = Listing {
        syscalls: BTreeSet::new(),
        bad: BTreeSet::new(),
    };
    for line in run("objdump", &["-d", "-w", "--no-show-raw-insn", path]).lines() {
        let Some((at, text)) = line.split_once(":\t") else {
            continue;
        };
        let Ok(at) = u64::from_str_radix(at.trim(), 16) else {
            continue;
        };
        if text.trim() == "syscall" {
            listing.syscalls.insert(Va(at));
        } else if text.contains("(bad)") {
            listing.bad.insert(Va(at));
        }
    }
    listing
}

/// Finds the sites of `path` and compares them with objdump's; how many there are, and how many of them lie
/// in functions with known bounds.
fn agrees_with_objdump(path: &str) -> (usize, usize) {
    let bytes = std::fs::read(path).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let mut code = Code::new(&image);
    let sites = scan(&image, &Scalar, Kinds::SYSCALL, &mut code);
    let listing = objdump(path);
    let ours: BTreeSet<Va> = sites.found.iter().map(|s| s.at).collect();
    for site in &ours {
        assert!(
            listing.syscalls.contains(site),
            "{path}: {site} is no syscall to objdump"
        );
    }
    for theirs in listing.syscalls.difference(&ours) {
        // objdump reads data as code: then bytes that are no instruction are near.
        let near = Span {
            start: *theirs - 64,
            end: *theirs + 64,
        };
        let bad = listing.bad.range(near.start..near.end).count();
        assert!(bad >= 2, "{path}: {theirs} is a syscall, and was not found");
        assert!(sites.rejected.contains(theirs));
    }
    let mut in_functions = 0;
    for site in &ours {
        let region = code.region(*site).unwrap();
        let kind = region.insn_at(*site).map(|insn| insn.kind);
        assert_eq!(
            kind,
            Some(Kind::Syscall),
            "{path}: {site} in {:?}",
            region.span
        );
        in_functions += usize::from(region.trust == Trust::Function);
    }
    (ours.len(), in_functions)
}

#[test]
fn glibc_has_function_bounds() {
    let (sites, in_functions) = agrees_with_objdump(LIBC);
    assert!(
        sites > 300 && in_functions + 5 > sites,
        "{in_functions} of {sites}"
    );
    let (sites, in_functions) = agrees_with_objdump(LOADER);
    assert!(
        sites > 20 && in_functions + 5 > sites,
        "{in_functions} of {sites}"
    );
}

#[test]
fn musl_and_stripped_static_files_have_few() {
    let (sites, in_functions) = agrees_with_objdump(MUSL);
    assert!(
        sites > 300 && in_functions + 50 < sites,
        "{in_functions} of {sites}"
    );
    let (sites, _) = agrees_with_objdump(BUSYBOX);
    assert!(sites > 200);
}

#[test]
fn programs_built_here() {
    let source = scratch("hello.c");
    std::fs::write(
        &source,
        "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n",
    )
    .unwrap();
    let source = source.to_str().unwrap();
    let builds: [(&str, &str, &[&str]); 4] = [
        ("static", "gcc", &["-O2", "-static"]),
        ("static-stripped", "gcc", &["-O2", "-static", "-s"]),
        ("static-pie", "gcc", &["-O2", "-static-pie"]),
        ("static-musl", "musl-gcc", &["-Os", "-static", "-s"]),
    ];
    for (name, compiler, flags) in builds {
        let program = scratch(name);
        let program = program.to_str().unwrap();
        run(compiler, &[flags, &["-o", program, source]].concat());
        let (sites, _) = agrees_with_objdump(program);
        assert!(sites >= 10, "{name}: {sites}");
    }
}

#[test]
fn a_go_program() {
    let source = scratch("hello.go");
    std::fs::write(
        &source,
        "package main\n\nfunc main() { println(\"hello\") }\n",
    )
    .unwrap();
    let program = scratch("hello-go");
    let program = program.to_str().unwrap();
    run("go", &["build", "-o", program, source.to_str().unwrap()]);
    let (sites, in_functions) = agrees_with_objdump(program);
    assert!(
        sites > 20 && in_functions == sites,
        "{in_functions} of {sites}"
    );
}

/// Random bytes and text in the middle of code hold pairs that are no sites, and desynchronise a sweep.
#[test]
fn pairs_in_data_are_rejected_and_the_code_around_them_is_found() {
    let source = scratch("data.s");
    let mut text = String::from(".globl _start\n_start:\n");
    let mut state = 0x1234_5678_9abc_def1u64;
    for block in 0..200 {
        text.push_str(&format!("jmp after{block}\n.byte "));
        for i in 0..96 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let byte = if i % 24 == 10 {
                0x0f
            } else if i % 24 == 11 {
                0x05
            } else {
                state >> 56
            };
            text.push_str(&format!("{}{byte}", if i == 0 { "" } else { ", " }));
        }
        text.push_str(&format!(
            "\nafter{block}:\npush %rbp\nmov %rsp,%rbp\nsub $32,%rsp\nmov %rdi,-8(%rbp)\nmov %esi,-12(%rbp)\n\
             mov -8(%rbp),%rdi\nmov %rsi,%rdx\nlea 1(%rdi,%rdx,4),%rsi\nxor %r10d,%r10d\ntest %rdi,%rdi\n\
             jne skip{block}\nmov $0x1000,%esi\nadd %rsi,%rdi\nmov 16(%rbp),%r8\nskip{block}: mov ${},%eax\n\
             site{block}: syscall\ncmp $-4095,%rax\njae out{block}\nmov %rax,(%rdi)\nout{block}: leave\nnop\n",
            block + 1
        ));
    }
    text.push_str("ret\n");
    std::fs::write(&source, text).unwrap();
    let program = scratch("data");
    let program = program.to_str().unwrap();
    run(
        "gcc",
        &[
            "-nostdlib",
            "-static",
            "-o",
            program,
            source.to_str().unwrap(),
        ],
    );
    let labels: BTreeMap<String, Va> = run("nm", &[program])
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let at = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?.to_owned(), Va(at)))
        })
        .collect();
    let expected: Vec<Va> = (0..200)
        .map(|block| labels[&format!("site{block}")])
        .collect();
    let bytes = std::fs::read(program).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let mut code = Code::new(&image);
    let sites = scan(&image, &Scalar, Kinds::SYSCALL, &mut code);
    let found: BTreeSet<Va> = sites.found.iter().map(|s| s.at).collect();
    let lost = expected.iter().find(|site| !found.contains(site));
    assert_eq!(lost, None, "a true site that was not found");
    // 800 pairs were planted in data. No vote can tell all of them: some random bytes are likely code.
    let wrong = found.len() - expected.len();
    assert!(
        wrong <= 8 && sites.rejected.len() >= 792,
        "{wrong} of 800 pairs in data were taken for sites"
    );
    for (block, site) in expected.iter().enumerate() {
        let region = code.region(*site).unwrap();
        assert_eq!(
            region.insn_at(*site).map(|insn| insn.kind),
            Some(Kind::Syscall)
        );
        let behind = region
            .insn_at(labels[&format!("out{block}")])
            .map(|insn| insn.len);
        assert_eq!(behind, Some(1), "leave is where the region says");
    }
}

#[test]
fn regions_never_overlap_however_they_are_asked_for() {
    for path in [MUSL, LIBC] {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let mut code = Code::new(&image);
        let sites = scan(&image, &Scalar, Kinds::SYSCALL, &mut code);
        let span = image.code_at(sites.found[0].at).unwrap();
        let mut regions = BTreeMap::new();
        let mut at = 0;
        for step in 0..20_000u64 {
            at = (at + step * 7919) % span.len();
            let Some(region) = code.region(span.start + at) else {
                continue;
            };
            assert!(region.span.contains(span.start + at));
            assert_eq!(region.span, code.region(region.span.start).unwrap().span);
            for pair in region.insns.windows(2) {
                assert_eq!(pair[0].end(), pair[1].at);
            }
            regions.insert(region.span.start, region.span.end);
        }
        assert!(regions.len() > 500);
        let spans: Vec<_> = regions.into_iter().collect();
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{path}: {pair:?}");
        }
    }
}

#[test]
fn every_pair_is_accounted_for() {
    let bytes = std::fs::read(LIBC).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let mut pairs = BTreeSet::new();
    for span in &image.code {
        let code = image.bytes(*span).unwrap();
        Scalar.syscalls(code, &mut |offset| {
            pairs.insert(span.start + offset as u64);
        });
    }
    let sites = scan(&image, &Scalar, Kinds::SYSCALL, &mut Code::new(&image));
    assert_eq!(
        sites
            .found
            .iter()
            .map(|site| site.at)
            .chain(sites.rejected.iter().copied())
            .collect::<BTreeSet<_>>(),
        pairs
    );
    assert!(sites.found.is_sorted() && sites.rejected.is_sorted());
}
