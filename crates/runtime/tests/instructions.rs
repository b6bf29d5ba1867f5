//! How many instructions a call takes on its way through block, gate and hook: counted one by one, so that one more is seen.
//!
//! `instructions.txt` has the counts, which may become less; `HOTPATCH_BLESS=1` rewrites it. Times are for `cargo xtask bench`: they differ from
//! one machine, and one minute, to the next, while these do not.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// Makes a call between two breakpoints of its own, often enough that all is warm; where what is kept on the stack does
/// not lie on two pages.
const GUEST: &str = r#"
__attribute__((noinline)) static long call(long number, long argument) {
	long result;
	__asm__ volatile(
		"mov %%rsp, %%rbx\n\t"
		"and $-4096, %%rsp\n\t"
		"sub $1024, %%rsp\n\t"
		"int3\n\t"
		"syscall\n\t"
		"nopl 0(%%rax)\n\t"
		"int3\n\t"
		"mov %%rbx, %%rsp"
		: "=a"(result) : "a"(number), "D"(argument) : "rbx", "rcx", "r11", "memory");
	return result;
}
int main(void) {
	for (int i = 0; i < 4; i++) call(110, 0);
	for (int i = 0; i < 4; i++) call(-1, 0);
	return 0;
}
"#;

const HOOK: &str = r#"
#include <hotpatch.h>
static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)context;
	if (VERDICT == HOTPATCH_ANSWER) frame->rax = 1;
	return VERDICT;
}
static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) { (void)context, (void)frame; }
const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .name = "counts", .flags = FLAGS,
	.syscalls = {{[NUMBER / 64] = 1ul << NUMBER % 64}, 0}, .before = before, .after = after,
};
"#;

fn library() -> PathBuf {
    hotpatch_link::build(&hotpatch_link::Options {
        workspace: Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        target_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime"),
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn compile(name: &str, source: &str, flags: &[String]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    fs::create_dir_all(&dir).unwrap();
    let (file, output) = (dir.join(format!("{name}.c")), dir.join(name));
    fs::write(&file, source).unwrap();
    let status = Command::new("gcc")
        .args(["-O2", "-o"])
        .args([&output, &file])
        .args(flags)
        .status();
    assert!(status.expect("gcc (apt-get install gcc)").success());
    output
}

fn hook(number: u32, verdict: &str, flags: &str) -> PathBuf {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let mut words: Vec<String> = [
        "-fPIC",
        "-ffreestanding",
        "-fno-stack-protector",
        "-mgeneral-regs-only",
    ]
    .map(str::to_owned)
    .into();
    words.extend(["-shared", "-nostdlib", "-fcf-protection=none"].map(str::to_owned));
    words.push(format!("-I{}", include.display()));
    words.extend([
        format!("-DNUMBER={number}"),
        format!("-DVERDICT={verdict}"),
        format!("-DFLAGS={flags}"),
    ]);
    compile(
        &format!("{number}-{verdict}-{}.so", flags.replace([' ', '|'], "")),
        HOOK,
        &words,
    )
}

fn stop(child: &Child) -> Option<i32> {
    let mut status = 0;
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: writes to `status`.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
}

fn go(child: &Child, how: libc::c_uint, signal: i32) {
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: our child, which stands still; nothing of ours is read or written.
    let done = unsafe { libc::ptrace(how, pid, 0, signal) };
    assert_eq!(done, 0);
}

fn rip(child: &Child) -> u64 {
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: zeros are registers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: writes to `registers`.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) };
    assert_eq!(done, 0);
    registers.rip
}

/// Runs the guest; the instructions between each pair of breakpoints, both left out.
fn counts(library: Option<&Path>, hooks: &[PathBuf], guest: &Path) -> Vec<u64> {
    let mut command = Command::new(guest);
    if let Some(library) = library {
        command
            .env("LD_PRELOAD", library)
            .env("LIBHOTPATCH_CACHE", "off")
            .env("LIBHOTPATCH_LOGPATH", "/dev/null");
    }
    if !hooks.is_empty() {
        let paths: Vec<&str> = hooks.iter().map(|hook| hook.to_str().unwrap()).collect();
        command.env("LIBHOTPATCH_HOOK", paths.join(":"));
    }
    let traced = || {
        // SAFETY: asks to be traced, and touches nothing.
        match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: `ptrace` may be called between fork and exec.
    unsafe { command.pre_exec(traced) };
    #[allow(clippy::zombie_processes, reason = "`stop` waits for it")]
    let child = command.spawn().unwrap();
    assert_eq!(stop(&child), Some(libc::SIGTRAP), "at its exec");
    let mut all = Vec::new();
    loop {
        go(&child, libc::PTRACE_CONT, 0);
        match stop(&child) {
            Some(libc::SIGTRAP) => {}
            Some(other) => panic!("signal {other} at {:#x}", rip(&child)),
            None => return all,
        }
        // Behind the first breakpoint; at the second one it has come to its end.
        let mut steps = 0;
        let end = rip(&child) + 2 + 3;
        while {
            go(&child, libc::PTRACE_SINGLESTEP, 0);
            assert_eq!(stop(&child), Some(libc::SIGTRAP));
            rip(&child) != end
        } {
            steps += 1;
            assert!(steps < 100_000, "never comes to {end:#x}");
        }
        all.push(steps + 1);
        go(&child, libc::PTRACE_CONT, 0);
        assert_eq!(stop(&child), Some(libc::SIGTRAP), "the second breakpoint");
    }
}

#[test]
fn no_call_takes_an_instruction_more_than_it_did() {
    let guest = compile(
        "guest",
        GUEST,
        &["-no-pie".into(), "-fcf-protection=none".into()],
    );
    let library = library();
    let arguments = "HOTPATCH_ARGUMENTS_ONLY";
    let reads = "(HOTPATCH_ARGUMENTS_ONLY|HOTPATCH_READS_ONLY)";
    let (run, both, answer) = ("HOTPATCH_RUN", "HOTPATCH_RUN_AND_RETURN", "HOTPATCH_ANSWER");
    let mut text = String::new();
    for (name, hooks) in [
        ("no hook", vec![]),
        ("another call hooked", vec![hook(39, run, "0")]),
        ("run, reads only", vec![hook(110, run, reads)]),
        ("run, arguments only", vec![hook(110, run, arguments)]),
        ("run, full frame", vec![hook(110, run, "0")]),
        ("before and after, reads only", vec![hook(110, both, reads)]),
        (
            "before and after, arguments only",
            vec![hook(110, both, arguments)],
        ),
        ("before and after, full frame", vec![hook(110, both, "0")]),
        ("answered, reads only", vec![hook(110, answer, reads)]),
        ("answered, full frame", vec![hook(110, answer, "0")]),
        (
            "two hooks, run",
            vec![hook(110, run, "0"), hook(110, run, arguments)],
        ),
    ] {
        let all = counts(Some(&library), &hooks, &guest);
        assert_eq!(all.len(), 8, "{name}");
        // The first may be another: pages are looked at once.
        assert!(all[1..4].iter().all(|n| *n == all[1]), "{name}: {all:?}");
        assert!(all[5..].iter().all(|n| *n == all[5]), "{name}: {all:?}");
        text += &format!("{:>4} {:>4}  {name}\n", all[1], all[5]);
    }
    let bare = counts(None, &[], &guest);
    assert!(bare.iter().all(|n| *n == 2), "{bare:?}");
    let text = format!(
        "getppid, number -1: instructions, the call and a no-op behind it included\n\n{text}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions.txt");
    if std::env::var_os("HOTPATCH_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let then = fs::read_to_string(&path).unwrap();
    // By name: of each way the two counts.
    let counts = |text: &str| -> Vec<(String, [u64; 2])> {
        let lines = text.lines().skip(2).map(|line| {
            let mut words = line.split_whitespace();
            let mut number = || words.next().unwrap().parse().unwrap();
            let both = [number(), number()];
            (words.collect::<Vec<_>>().join(" "), both)
        });
        lines.collect()
    };
    let (was, is) = (counts(&then), counts(&text));
    assert_eq!(was.len(), is.len());
    for ((name, was), (other, is)) in was.iter().zip(&is) {
        assert_eq!(name, other);
        for (was, is) in was.iter().zip(is) {
            // What is assembly from end to end is what it is; compilers differ a little in what is not.
            let most = if *was > 200 { was + was / 20 } else { *was };
            assert!(
                *is <= most,
                "{name}: {was} instructions have become {is}\n{text}"
            );
        }
    }
}
