//! `include/hotpatch.h` says in C what `crates/abi` says in Rust.

use std::fmt::Write as _;
use std::fs;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotpatch_abi::{Context, Frame, Hook, Services, Site, SyscallSet};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_header_is_up_to_date() {
    let made = xtask::header::header(&workspace()).unwrap();
    let there = fs::read_to_string(workspace().join("include/hotpatch.h")).unwrap();
    assert!(made == there, "run `cargo xtask header`");
}

#[test]
fn no_name_but_ours_is_taken() {
    let text = fs::read_to_string(workspace().join("include/hotpatch.h")).unwrap();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = match words[..] {
            ["#define", name, ..] => name,
            ["}", name] => name,
            _ => continue,
        };
        assert!(
            name.starts_with("HOTPATCH_") || name.starts_with("hotpatch_"),
            "{line}"
        );
    }
}

/// Freestanding C, as the header's first lines have it.
const FREESTANDING: &[&str] = &[
    "-O2",
    "-fPIC",
    "-ffreestanding",
    "-fno-stack-protector",
    "-mgeneral-regs-only",
    "-fvisibility=hidden",
];

fn compile(compiler: &str, language: &[&str], source: &str) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("source");
    fs::write(&file, source).unwrap();
    let mut command = Command::new(compiler);
    command
        .args(language)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "-o"])
        .arg(directory.path().join("object"))
        .arg("-I")
        .arg(workspace().join("include"))
        .arg(&file);
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{compiler}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(said)
    }
}

const HOOK: &str = r"
#include <asm/unistd.h>
#include <hotpatch.h>

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    hotpatch_line_t line;
    line.len = 0;
    hotpatch_put(&line, context->site->file);
    hotpatch_put_number(&line, context->number);
    hotpatch_log(context->services, &line);
    if (hotpatch_syscall(context->services, __NR_getpid, 0, 0, 0, 0, 0, 0) < 0)
        return hotpatch_refuse(frame, 1);
    return frame->rdi ? HOTPATCH_RUN : hotpatch_answer(frame, 5);
}

const hotpatch_hook_t hotpatch_hook = {
    HOTPATCH_ABI, sizeof(hotpatch_hook_t), 0, HOTPATCH_ARGUMENTS_ONLY, HOTPATCH_VECTORS_NONE,
    HOTPATCH_SYSCALLS(__NR_openat, __NR_read, 511), 0, 0, 0, before, 0, 0, 0,
};
";

#[test]
fn c_and_cxx_compile_without_a_warning() {
    for (compilers, language) in [
        (["gcc", "clang"], &["-xc", "-std=c11"][..]),
        (["g++", "clang++"], &["-xc++", "-std=c++17"]),
    ] {
        for compiler in compilers {
            for flags in [FREESTANDING, &[]] {
                let all: Vec<_> = language.iter().chain(flags).copied().collect();
                compile(compiler, &all, HOOK)
                    .unwrap_or_else(|said| panic!("{compiler} {all:?}\n{said}"));
            }
        }
    }
}

#[test]
fn vector_registers_are_refused_where_they_would_be_lost() {
    let said = compile("gcc", &["-xc", "-ffreestanding"], HOOK).unwrap_err();
    assert!(said.contains("-mgeneral-regs-only"), "{said}");
}

#[test]
fn both_languages_lay_everything_out_alike() {
    let mut source = "#include <hotpatch.h>\n".to_owned();
    let mut same = |what: &str, value: usize| {
        writeln!(source, "_Static_assert({what} == {value}, \"{what}\");").unwrap();
    };
    for (name, size) in [
        ("frame", size_of::<Frame>()),
        ("site", size_of::<Site>()),
        ("context", size_of::<Context>()),
        ("syscall_set", size_of::<SyscallSet>()),
        ("services", size_of::<Services>()),
        ("hook", size_of::<Hook>()),
    ] {
        same(&format!("sizeof(hotpatch_{name}_t)"), size);
    }
    for (field, offset) in [
        ("frame_t, r9", offset_of!(Frame, r9)),
        ("frame_t, rip", offset_of!(Frame, rip)),
        ("frame_t, r15", offset_of!(Frame, r15)),
        ("site_t, bytes", offset_of!(Site, bytes)),
        ("context_t, number", offset_of!(Context, number)),
        ("services_t, environment", offset_of!(Services, environment)),
        ("hook_t, syscalls", offset_of!(Hook, syscalls)),
        ("hook_t, before", offset_of!(Hook, before)),
        ("hook_t, reserved", offset_of!(Hook, reserved)),
    ] {
        same(&format!("offsetof(hotpatch_{field})"), offset);
    }
    same("HOTPATCH_ABI", hotpatch_abi::ABI as usize);
    same("HOTPATCH_KIND_XGETBV", hotpatch_abi::kind::XGETBV as usize);
    source.push_str(
        "static const hotpatch_syscall_set_t set = HOTPATCH_SYSCALLS(0, 63, 64, 257, 511);\n",
    );
    source.push_str("int main(void) { return !(set.low[0] == (1 | UINT64_C(1) << 63) && set.low[1] == 1 && set.low[4] == 2 && set.low[7] == UINT64_C(1) << 63 && !set.low[2] && !set.others); }\n");
    compile("gcc", &["-xc", "-std=c11"], &source).unwrap_or_else(|said| panic!("{said}"));

    let directory = tempfile::tempdir().unwrap();
    let (file, program) = (directory.path().join("set.c"), directory.path().join("set"));
    fs::write(&file, source).unwrap();
    let include = workspace().join("include");
    let status = Command::new("gcc")
        .arg("-I")
        .arg(include)
        .arg("-o")
        .args([&program, &file])
        .status()
        .unwrap();
    assert!(status.success() && Command::new(program).status().unwrap().success());
}
