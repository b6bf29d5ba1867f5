//! The start at exec: every kind of program, and every way to exec another.

mod common;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Place, text};

/// Prints what a program may look at, and waits for children that it has not made.
const LOOKS: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv) {
    char comm[32] = {0}, link[512] = {0};
    sigset_t blocked, pending;
    int fd = open("/proc/self/comm", O_RDONLY);
    if (read(fd, comm, sizeof comm - 1) < 0 || readlink("/proc/self/exe", link, sizeof link - 1) < 0) return 99;
    printf("fd %d comm %sexe %s\n", fd, comm, link);
    close(fd);
    for (int n = 0; n < argc; n++) printf("arg %s\n", argv[n]);
    for (char **e = environ; *e; e++) printf("env %s\n", *e);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigpending(&pending);
    for (int n = 1; n < 32; n++) {
        struct sigaction now;
        sigaction(n, NULL, &now);
        printf("%d%d%d ", sigismember(&blocked, n), sigismember(&pending, n), now.sa_handler == SIG_IGN);
    }
    int child = waitpid(-1, NULL, __WALL | WNOHANG);
    printf("\nchild %d %s\n", child, strerror(errno));
    return 7;
}
"#;

fn compile(place: &Place, name: &str, source: &str, compiler: &[&str]) -> PathBuf {
    let (file, program) = (
        place.dir.path().join(format!("{name}.c")),
        place.dir.path().join(name),
    );
    std::fs::write(&file, source).unwrap();
    let output = Command::new(compiler[0])
        .args(&compiler[1..])
        .arg("-o")
        .args([&program, &file])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", compiler[0]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    program
}

fn log(place: &Place) -> String {
    std::fs::read_to_string(place.dir.path().join("log")).unwrap_or_default()
}

fn patched(place: &Place, words: &[&str]) -> Output {
    let _ = std::fs::remove_file(place.dir.path().join("log"));
    let mut command = place.hotpatch();
    let path = place.dir.path().join("log");
    command
        .args(["run", "--log", path.to_str().unwrap(), "--"])
        .args(words);
    command.output().unwrap()
}

fn native(place: &Place, words: &[&str]) -> Output {
    // The command's own environment, set by the same hand.
    let mut command = Command::new(words[0]);
    let ours = place.hotpatch();
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(&words[1..]).output().unwrap()
}

/// Runs it both ways: they must agree, and `programs` programs be patched.
fn agree(place: &Place, words: &[&str], programs: usize) {
    let (native, patched) = (native(place, words), patched(place, words));
    let log = log(place);
    assert_eq!(
        text(&patched.stdout),
        text(&native.stdout),
        "{words:?}\n{log}"
    );
    assert_eq!(
        text(&patched.stderr),
        text(&native.stderr),
        "{words:?}\n{log}"
    );
    assert_eq!(
        patched.status.code(),
        native.status.code(),
        "{words:?}\n{log}"
    );
    assert_eq!(
        patched.status.signal(),
        native.status.signal(),
        "{words:?}\n{log}"
    );
    let totals = log.lines().filter(|line| line.contains(" files, "));
    assert_eq!(totals.count(), programs, "{words:?}\n{log}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_kind_of_program_starts_as_natively() {
    let place = Place::new();
    let kinds: [(&str, &[&str]); 6] = [
        ("dynamic", &["gcc"]),
        ("static", &["gcc", "-static", "-s"]),
        ("static-pie", &["gcc", "-static-pie"]),
        ("fixed", &["gcc", "-no-pie"]),
        ("musl", &["musl-gcc"]),
        ("musl-static", &["musl-gcc", "-static"]),
    ];
    for (name, compiler) in kinds {
        let program = compile(&place, name, LOOKS, compiler);
        for _ in 0..5 {
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

/// Execs in the way that its first argument says.
const WAYS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static char *args[] = {"looks", "arg", NULL}, *environment[] = {"A=b", NULL};
static void *from_thread(void *path) { execve(path, args, environment); return NULL; }
int main(int argc, char **argv) {
    char *way = argv[1], *path = argv[2];
    int status = 0;
    pid_t child = 0;
    if (!strcmp(way, "spawn")) {
        if (posix_spawn(&child, path, NULL, NULL, args, environment)) return 98;
    } else if (!strcmp(way, "vfork")) {
        if (!(child = vfork())) { execve(path, args, environment); _exit(97); }
    } else if (!strcmp(way, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, from_thread, path);
        pthread_join(thread, NULL);
    } else if (!strcmp(way, "fexecve")) {
        fexecve(open(path, O_RDONLY | O_CLOEXEC), args, environment);
    } else if (!strcmp(way, "blocked")) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        execve(path, args, environment);
    } else if (!strcmp(way, "failing")) {
        char *paths[] = {"/nonexistent", "/etc/passwd", "/", NULL};
        for (char **p = paths; p == paths || p[-1]; p++) {
            int result = execve(*p, args, environment);
            printf("%d %s\n", result, strerror(errno));
        }
        printf("child %d\n", waitpid(-1, NULL, __WALL));
        return 3;
    }
    if (child > 0 && waitpid(child, &status, 0) == child) printf("status %x\n", status);
    return 4;
}
"#;

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
