//! `hotpatch trace -k` beside `strace -k`: who has called whom.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, compile, text};
use regex_lite::Regex;

const DEEP: &str = r#"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#define KEEP __attribute__((noinline)) __attribute__((noclone))
#define END __asm__ volatile("")
static void KEEP innermost(void) { getppid(); END; }
static void KEEP middle(int n) { volatile char big[5000]; big[n] = n; innermost(); END; }
void KEEP outer(int n) { volatile char *more = __builtin_alloca(n * 64 + 64); *more = 1; middle(n); END; }
void KEEP recurse(int n) { if (n) recurse(n - 1); else outer(1); END; }
static int KEEP compare(const void *a, const void *b) { outer(2); return 0; }
static void *KEEP thread(void *arg) { outer(3); return arg; }
int main(void) {
    int pair[2] = {1, 2};
    pthread_t other;
    outer(0);
    recurse(10);
    qsort(pair, 2, sizeof *pair, compare);
    pthread_create(&other, 0, thread, 0);
    pthread_join(other, 0);
    void *math = dlopen("libm.so.6", RTLD_NOW);
    outer(4);
    dlclose(math);
    if (fork() == 0) { outer(5); _exit(0); }
    wait(0);
    outer(6);
    return 0;
}
"#;

fn deep(place: &Place, options: &[&str], name: &str) -> PathBuf {
    let compiler = [&["gcc", "-pthread"], options].concat();
    compile(place, name, DEEP, &compiler)
}

/// What each thread did, in the order of threads; the exec and signals apart, whose stacks are nobody's here.
fn normal(trace: &str) -> Vec<String> {
    let rules = [
        (r"^\d+ +", ""),
        (r"\)\s+= .*", ")"),
        (r"0x[0-9a-f]{7,}", "ADDRESS"),
        (r"\b\d{5,}\b", "N"),
        // Which of a function's names is told is nobody's choice.
        (
            r"(libc|libm|ld-linux-x86-64)\.so\.(\d)\([^)]*\)",
            "$1.so.$2()",
        ),
    ];
    let rules = rules.map(|(rule, with)| (Regex::new(rule).unwrap(), with));
    let mut lines = Vec::new();
    let mut is_left_out = false;
    for line in trace.lines() {
        if !line.starts_with(" > ") {
            is_left_out = line.contains("--- SIG") || line.contains("execve(");
        }
        if !is_left_out {
            lines.push(rules.iter().fold(line.to_owned(), |line, (rule, with)| {
                rule.replace_all(&line, *with).into_owned()
            }));
        }
    }
    lines
}

fn traced(mut command: Command, place: &Place, program: &Path) -> Vec<String> {
    let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
    let base = dir.path().join("lines");
    let output = command
        .args(["-ff", "-k", "-e", "trace=getppid,openat,mmap,wait4", "-o"])
        .arg(&base)
        .arg(program)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    gather(dir.path())
}

/// The lines of all threads; which of them has which number is nobody's choice.
fn gather(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let mut threads: Vec<Vec<String>> = files
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|lines| normal(&lines))
        .collect();
    threads.sort();
    threads.concat()
}

fn equal(ours: &[String], theirs: &[String], what: &str) {
    for (n, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours, theirs, "{what}: line {n}");
    }
    assert_eq!(ours.len(), theirs.len(), "{what}");
}

#[test]
fn stacks_are_those_of_strace() {
    let place = Place::new();
    let ways: [(&str, &[&str]); 4] = [
        ("optimized", &["-O2"]),
        ("plain", &["-O0", "-no-pie"]),
        ("framed", &["-O1", "-fno-omit-frame-pointer"]),
        ("stripped", &["-O2", "-s"]),
    ];
    for (name, options) in ways {
        let program = deep(&place, options, name);
        let mut command = place.hotpatch();
        command.arg("trace");
        let ours = traced(command, &place, &program);
        let mut command = Command::new("strace");
        command.env_remove("LD_PRELOAD");
        let theirs = traced(command, &place, &program);
        equal(&ours, &theirs, name);
        let frames = |part: &str| ours.iter().filter(|line| line.contains(part)).count();
        assert!(frames(" > ") > 150, "{ours:?}");
        if name == "plain" {
            assert_eq!(frames("(recurse+"), 11, "{ours:?}");
        }
        if name != "stripped" {
            assert_eq!(
                (frames("(innermost+"), frames("(thread+")),
                (7, 1),
                "{ours:?}"
            );
        }
    }
}

/// Later, when the program has long been gone.
#[test]
fn recorded_stacks_are_the_same() {
    let place = Place::new();
    let program = deep(&place, &["-O2"], "recorded");
    let record = place.dir.path().join("record");
    let output = place
        .hotpatch()
        .args(["trace", "-f", "-k", "-e", "trace=getppid", "--record"])
        .arg(&record)
        .arg(&program)
        .output()
        .unwrap();
    assert!(output.status.success());
    let viewed = |options: &[&str]| {
        let mut command = place.hotpatch();
        text(
            &command
                .arg("view")
                .args(options)
                .arg(&record)
                .output()
                .unwrap()
                .stdout,
        )
    };
    let lines = viewed(&["-k", "-e", "trace=getppid"]);
    let count = |part: &str| lines.lines().filter(|line| line.contains(part)).count();
    let calls = count("getppid()");
    assert!(calls >= 7, "{lines}");
    assert_eq!(
        (count("(innermost+"), count("(main+")),
        (calls, calls - 1),
        "{lines}"
    );
    assert!(!viewed(&[]).contains(" > "));
    let json = viewed(&["-k", "-e", "trace=getppid", "--format", "json"]);
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let frame = line["stack"][1].as_str().unwrap();
        assert!(frame.contains("/recorded(innermost+0x"), "{line}");
    }
    assert_eq!(json.lines().count(), calls);
}

/// A stack that cannot be read, or that leads nowhere, ends no trace.
#[test]
fn a_wrong_stack_is_told_as_far_as_it_goes() {
    let place = Place::new();
    let source = place.dir.path().join("wrong.c");
    std::fs::write(
        &source,
        r#"
int main(void) {
    __asm__ volatile(
        "mov %%rsp, %%r12\n mov %%rbp, %%r13\n xor %%esp, %%esp\n mov $0x1234, %%ebp\n"
        "mov $110, %%eax\n syscall\n"
        "mov $-8, %%rsp\n mov $110, %%eax\n syscall\n"
        "mov %%r12, %%rsp\n mov %%r13, %%rbp\n"
        ::: "rax", "rcx", "r11", "r12", "r13", "memory");
    return 7;
}
"#,
    )
    .unwrap();
    let program = place.dir.path().join("wrong");
    let gcc = Command::new("gcc")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .status();
    assert!(gcc.unwrap().success());
    let trace = place.dir.path().join("trace");
    let output = place
        .hotpatch()
        .args(["trace", "-k", "-o"])
        .arg(&trace)
        .arg(&program)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(trace.matches("getppid()").count(), 2, "{trace}");
    assert!(trace.matches("/wrong(main+").count() >= 2, "{trace}");
}
