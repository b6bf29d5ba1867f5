//! What SECURITY.md claims.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, compile, text};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const SHARED: [&str; 7] = [
    "gcc",
    "-O1",
    "-shared",
    "-nostdlib",
    "-fPIC",
    "-ffreestanding",
    "-mgeneral-regs-only",
];

/// A hook that says that everybody's parent is 42.
const FORTY_TWO: &str = r#"
#include <asm/unistd.h>
#include "hotpatch.h"
static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (context->number != __NR_getppid) return HOTPATCH_RUN;
	frame->rax = 42;
	return HOTPATCH_ANSWER;
}
const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .name = "forty-two",
	.syscalls = HOTPATCH_ALL_SYSCALLS, .before = before,
};
"#;

#[test]
fn every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let claims = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let limits = fs::read_to_string(root.join("LIMITS.md")).unwrap();
    let sources = |dir: &str| -> String {
        let found = Command::new("find")
            .arg(root.join(dir))
            .args([
                "-name",
                "*.rs",
                "-not",
                "-path",
                "*/target/*",
                "-exec",
                "cat",
                "{}",
                "+",
            ])
            .output();
        text(&found.unwrap().stdout)
    };
    let code = sources("crates") + &sources("xtask") + &sources("tests");
    let mut named = 0;
    for word in claims.split('`').chain(limits.split('`')).skip(1) {
        let is_test = word.matches('_').count() >= 3
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        if is_test {
            assert!(
                code.contains(&format!("fn {word}()")),
                "there is no test {word}"
            );
            named += 1;
        }
    }
    assert!(named > 25, "{named}");
    for word in claims.split("guest `").skip(1) {
        let guest = word.split('`').next().unwrap();
        assert!(
            root.join(format!("tests/guests/{guest}.c")).exists(),
            "{guest}"
        );
    }
}

#[test]
fn hostile_code_gets_past_a_hook() {
    let place = Place::new();
    let hook = compile(&place, "hook.so", FORTY_TWO, &SHARED);
    // It takes gs, by which threads find their hooks: then nobody is asked any more.
    let source = r#"
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
	int before = getppid() == 42;
	syscall(SYS_arch_prctl, 0x1001, 8);
	printf("%d %d\n", before, getppid() == 42);
	return 0;
}
"#;
    let program = compile(&place, "escapes", source, &["gcc", "-O1"]);
    let (hook, program) = (hook.to_str().unwrap(), program.to_str().unwrap());
    let output = place.output(&["run", "--log", "/dev/null", "--hook", hook, program]);
    assert_eq!(text(&output.stdout), "1 0\n");
}

#[test]
fn no_page_is_writable_and_executable() {
    let place = Place::new();
    let hook = compile(&place, "hook.so", FORTY_TWO, &SHARED);
    let hook = hook.to_str().unwrap();
    let library = text(&place.output(&["lib"]).stdout).trim().to_owned();
    // As the program sees it, started in each way.
    let preload = format!("LD_PRELOAD={library}");
    let settings = format!("LIBHOTPATCH_HOOK={hook}");
    let cat = ["/bin/cat", "/proc/self/maps"];
    let preloaded = Command::new("env")
        .args([&preload, &settings, "LIBHOTPATCH_LOGPATH=/dev/null"])
        .args(cat)
        .output();
    let run = [&["run", "--log", "/dev/null", "--hook", hook][..], &cat].concat();
    for maps in [
        text(&preloaded.unwrap().stdout),
        text(&place.output(&run).stdout),
    ] {
        assert!(
            maps.contains("libhotpatch") && maps.contains("hook.so"),
            "{maps}"
        );
        let both = maps.lines().find(|line| line.contains("wx"));
        assert_eq!(both, None, "{maps}");
    }
    // And it never was for a moment.
    let calls = place.dir.path().join("calls");
    let status = Command::new("strace")
        .args(["-f", "-e", "trace=mmap,mprotect,pkey_mprotect", "-o"])
        .arg(&calls)
        .args([
            "-E",
            &preload,
            "-E",
            &settings,
            "-E",
            "LIBHOTPATCH_LOGPATH=/dev/null",
        ])
        .arg("/bin/true")
        .status();
    assert!(status.expect("strace (apt-get install strace)").success());
    let calls = fs::read_to_string(calls).unwrap();
    assert!(calls.contains("PROT_EXEC"), "{calls}");
    let both = calls
        .lines()
        .find(|line| line.contains("PROT_WRITE") && line.contains("PROT_EXEC"));
    assert_eq!(both, None);
}

#[test]
fn another_user_cannot_open_the_rings() {
    let place = Place::new();
    let mut child = place
        .hotpatch()
        .args([
            "trace",
            "-o",
            "/dev/null",
            "/bin/sh",
            "-c",
            "echo ready; read line",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let rings: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let target = fs::read_link(path).unwrap_or_default();
            target.to_string_lossy().contains("hotpatch-events")
        })
        .collect();
    assert_eq!(rings.len(), 1, "{rings:?}");
    assert!(fs::File::open(&rings[0]).is_ok());
    // The name that it has in the file system is in /proc alone, which asks whether one may trace the process.
    if nix::unistd::geteuid().is_root() {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"])
            .arg(&rings[0])
            .output()
            .expect("setpriv (apt-get install util-linux)");
        assert!(
            text(&output.stderr).contains("Permission denied"),
            "{output:?}"
        );
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_program_that_scribbles_over_its_rings_harms_itself_alone() {
    let place = Place::new();
    let source = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static uint64_t seed;
static uint64_t next(void) {
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
	return seed;
}
int main(int argc, char **argv) {
	(void)argc;
	seed = 0x9e3779b97f4a7c15u * (unsigned)atoi(argv[1]) + 1;
	char line[4096];
	uint64_t *start = 0, *end = 0;
	FILE *maps = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, maps)) {
		unsigned long from, to;
		if (strstr(line, "hotpatch-events") && strstr(line, "rw-s") && sscanf(line, "%lx-%lx", &from, &to) == 2)
			start = (uint64_t *)from, end = (uint64_t *)to;
	}
	if (!start) return 9;
	alarm(1); // it may wait for room that nobody makes
	for (int round = 0; round < 200; round++) {
		for (uint64_t *word = start; word < start + 4096 && word < end; word++)
			if (*word && next() % 4 == 0) *word = next() % 3 ? next() % 5000 : next();
		write(-1, "x", 1);
	}
	return 0;
}
"#;
    let program = compile(&place, "scribbles", source, &["gcc", "-O1"]);
    for seed in 0..20 {
        let begin = Instant::now();
        let mut child = place
            .hotpatch()
            .args(["trace", "-o", "/dev/null"])
            .arg(&program)
            .arg(seed.to_string())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > Duration::from_secs(5) {
                // Among what it has written may be that it is to be sent SIGSTOP.
                let _ = killpg(group, Signal::SIGCONT);
            }
            if begin.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("seed {seed}: the command does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(!said.contains("panicked"), "seed {seed}: {said}");
        // Its own end, or the alarm; the library in it may find nothing to stand on.
        let own =
            status.code() == Some(0) || [Some(14), Some(11), Some(7)].contains(&status.signal());
        assert!(own, "seed {seed}: {status:?} {said}");
    }
}
