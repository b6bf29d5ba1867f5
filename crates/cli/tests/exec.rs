//! The start at exec: every kind of program, and every way to exec another.

#[path = "common/both.rs"]
mod both;
mod common;

use std::process::Command;

use both::{LOOKS, WAYS, agree, compile, log, path};
use common::{Place, text};

/// How often each is started: `HOTPATCH_STARTS`, or 5.
fn starts() -> u32 {
    let often = std::env::var("HOTPATCH_STARTS").map(|often| often.parse());
    often.map_or(5, |often| often.expect("HOTPATCH_STARTS is a number"))
}

#[test]
fn every_kind_of_program_starts_as_natively() {
    let place = Place::new();
    let kinds: [(&str, &[&str]); 9] = [
        ("dynamic", &["gcc"]),
        ("static", &["gcc", "-static", "-s"]),
        ("static-pie", &["gcc", "-static-pie"]),
        ("fixed", &["gcc", "-no-pie"]),
        ("musl", &["musl-gcc"]),
        ("musl-static", &["musl-gcc", "-static"]),
        // 200 MB of text; all of the low 4 GB.
        ("huge", &["gcc", "-DHUGE"]),
        ("huge-static", &["gcc", "-DHUGE", "-static"]),
        ("full", &["gcc", "-DFULL", "-no-pie", "-mcmodel=medium"]),
    ];
    for (name, compiler) in kinds {
        let program = compile(&place, name, LOOKS, compiler);
        for _ in 0..starts() {
            agree(&place, &[path(&program), "a", "", "b c"], 1);
        }
        std::fs::remove_file(program).unwrap();
    }
}

/// Unwinders find no tables of the library's there: nobody's loader knows it.
#[test]
fn handlers_are_left_by_exceptions_and_seen_by_backtraces() {
    let place = Place::new();
    let guest = |name| format!("{}/../../tests/guests/{name}", env!("CARGO_MANIFEST_DIR"));
    let options = ["-I", &guest(""), "-rdynamic", "-pthread", "-O1"];
    let unwinds = ["-fnon-call-exceptions", "-fasynchronous-unwind-tables"];
    let kinds: [(&str, &str, &[&str]); 3] = [
        ("leaves", "handler_leaves.cc", &["g++"]),
        ("leaves-static", "handler_leaves.cc", &["g++", "-static"]),
        ("backtrace", "backtrace.c", &["gcc"]),
    ];
    for (name, file, compiler) in kinds {
        let source = format!("#include \"{}\"\n", guest(file));
        let program = compile(
            &place,
            name,
            &source,
            &[compiler, &options, &unwinds].concat(),
        );
        agree(&place, &[path(&program)], 1);
        let output = place.output(&["trace", "-o", "/dev/null", path(&program)]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{name}: {}",
            text(&output.stderr)
        );
        assert!(!output.stdout.is_empty());
    }
}

/// Calls pass by hooks from then on, the one by which handlers return too.
#[test]
fn a_handler_returns_to_a_moved_instruction_when_another_thread_has_set_gs() {
    const SOURCE: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static atomic_int thread_id, inside, over;
static long there[8];
long waits(void);
__asm__(".text\nwaits: mov $34, %eax\n syscall\n cmp $-4, %rax\n sete %cl\n movzbl %cl, %eax\n ret\n");
static void handler(int signal) { inside = signal; while (!over) usleep(1000); }
static void *other(void *argument) { thread_id = (int)syscall(186); return (void *)waits(); }
int main(void) {
	struct sigaction action = {.sa_handler = handler};
	pthread_t thread; void *got;
	sigaction(SIGUSR1, &action, 0);
	pthread_create(&thread, 0, other, 0);
	for (char now[4] = ""; memcmp(now, "34 ", 3) != 0;) {
		char name[64];
		snprintf(name, sizeof name, "/proc/self/task/%d/syscall", thread_id);
		int file = open(name, O_RDONLY);
		if (file >= 0 && read(file, now, 3) < 0) return 2;
		close(file);
	}
	syscall(234, getpid(), thread_id, SIGUSR1);
	while (!inside) usleep(1000);
	syscall(158, 0x1001, there);
	over = 1;
	pthread_join(thread, &got);
	return got == (void *)1 ? 0 : 1;
}
"#;
    let place = Place::new();
    let program = compile(&place, "sets", SOURCE, &["gcc", "-O1", "-pthread", "-w"]);
    let mut command = place.hotpatch();
    command.args(["trace", "-f", "-o", "/dev/null", path(&program)]);
    command.env("LIBHOTPATCH_TACTICS", "clobber");
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_handler_that_sets_gs_returns_to_the_call_that_it_has_interrupted() {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
static long there[8];
static void handler(int signal) { syscall(SYS_arch_prctl, 0x1001, there); }
long waits(void);
__asm__(".text\nwaits: mov $34, %eax\n syscall\n cmp $-4, %rax\n sete %cl\n movzbl %cl, %eax\n ret\n .skip 32, 0x90\n");
int main(void) {
	struct sigaction action = {.sa_handler = handler};
	int ends[2];
	sigaction(SIGUSR1, &action, 0);
	if (pipe(ends) != 0) return 2;
	pid_t own = getpid();
	if (fork() == 0) {
		char name[32] = "", now[4] = "";
		for (int n = own, at = 20; n; n /= 10) name[--at] = '0' + n % 10;
		char *digits = name; while (!*digits) digits++;
		chdir("/proc"); chdir(digits);
		while (now[0] != '3' || now[1] != '4' || now[2] != ' ') {
			int file = syscall(SYS_open, "syscall", 0);
			if (read(file, now, 3) < 0) _exit(2);
			close(file);
		}
		kill(own, SIGUSR1);
		_exit(0);
	}
	return waits() != 1;
}
"#;
    let place = Place::new();
    for compiler in ["gcc", "musl-gcc"] {
        let program = compile(&place, compiler, SOURCE, &[compiler, "-O1", "-w"]);
        let mut command = place.hotpatch();
        command.args(["trace", "-o", "/dev/null", path(&program)]);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{compiler}: {said}");
    }
}

#[test]
fn go_programs_start_as_natively() {
    let place = Place::new();
    let source = include_str!("common/looks.go");
    for (name, cgo) in [("go", false), ("cgo", true)] {
        let text = source.replace("//CGO ", if cgo { "" } else { "// " });
        let file = place.dir.path().join(format!("{name}.go"));
        std::fs::write(&file, text).unwrap();
        let program = place.dir.path().join(name);
        let mut go = Command::new("go");
        go.args(["build", "-o", path(&program), path(&file)]);
        go.env("CGO_ENABLED", if cgo { "1" } else { "0" });
        go.env("GOFLAGS", "-mod=mod")
            .env("GOCACHE", place.dir.path().join("go-cache"));
        assert!(go.status().expect("go runs").success());
        for _ in 0..starts() {
            agree(&place, &[path(&program), "a", "", "b c"], 1);
        }
    }
}

#[test]
fn each_way_to_exec_is_followed() {
    let place = Place::new();
    let program = compile(&place, "looks", LOOKS, &["gcc", "-static"]);
    let looks = path(&program);
    agree(&place, &["/bin/sh", "-c", &format!("exec {looks}")], 2);
    agree(&place, &["/usr/bin/env", "-i", looks, "x"], 2);
    agree(
        &place,
        &["/bin/sh", "-c", &format!("trap '' CHLD; {looks}; {looks}")],
        3,
    );
    let script = place.dir.path().join("script");
    std::fs::write(&script, format!("#!{looks} -x\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    agree(&place, &[path(&script), "y"], 1);
    agree(
        &place,
        &["/bin/busybox", "sh", "-c", &format!("{looks}; {looks}")],
        3,
    );
    for (way, programs) in [
        ("spawn", 2),
        ("vfork", 2),
        ("thread", 2),
        ("fexecve", 2),
        ("blocked", 2),
        ("failing", 1),
    ] {
        let ways = compile(&place, "ways", WAYS, &["gcc", "-pthread"]);
        for _ in 0..10 {
            agree(&place, &[path(&ways), way, looks], programs);
        }
    }
}

#[test]
fn privileged_programs_run_as_they_would() {
    let place = Place::new();
    let program = compile(&place, "looks", "int main(void) { return 5; }", &["gcc"]);
    let owner = Command::new("chown")
        .arg("1234")
        .arg(&program)
        .status()
        .unwrap();
    let mode = Command::new("chmod")
        .arg("4755")
        .arg(&program)
        .status()
        .unwrap();
    if !owner.success() || !mode.success() {
        return; // nobody but root can make one
    }
    agree(&place, &[path(&program)], 0);
    agree(
        &place,
        &["/bin/sh", "-c", &format!("{}; exit $?", path(&program))],
        1,
    );
    let log = log(&place);
    assert!(log.contains(": exec: a program with privileges"), "{log}");
}

#[test]
fn signals_that_come_all_the_time_stop_no_exec_from_being_followed() {
    let place = Place::new();
    let storm = compile(
        &place,
        "storm",
        include_str!("common/storm.c"),
        &["gcc", "-O1"],
    );
    agree(&place, &[path(&storm), "50"], 52);
}
