//! The files.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A file to plan for.
pub struct File {
    /// What the tables call it.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// No fewer sites than this are in it.
    pub least: usize,
    /// `objdump` takes some of its tables, which lie among the code, for instructions. There are no sites in those files.
    pub tables: bool,
    /// Sites that stay: restorers of signal frames, and those whose end decides whether a cancelled thread was in time.
    pub natives: (usize, usize),
}

impl File {
    /// Its bytes.
    pub fn read(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }
}

const PROGRAM: &str = r#"
#include <aio.h>
#include <netdb.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static void *thread(void *argument) {
    pthread_testcancel();
    return argument;
}

int main(int argc, char **argv, char **environment) {
    pthread_t id;
    pthread_create(&id, 0, thread, argv);
    pthread_join(id, 0);
    pid_t pid;
    posix_spawn(&pid, "/bin/true", 0, 0, argv, environment);
    struct addrinfo *addresses;
    timer_t timer;
    struct aiocb request = {0};
    if (argc > 5)
        return getaddrinfo("127.0.0.1", "80", 0, &addresses) + system("true") + epoll_create1(0)
             + timer_create(CLOCK_MONOTONIC, 0, &timer) + aio_read(&request);
    printf("%d\n", getpid());
    return 0;
}
"#;

const GO: &str = r#"
package main

import (
	"fmt"
	"net"
	"os/exec"
)

func main() {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	fmt.Println(listener, exec.Command("true").Run())
}
"#;

/// A directory for this test's own files.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<PathBuf> = OnceLock::new();
    SCRATCH.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus");
        std::fs::create_dir_all(&path).unwrap();
        path
    })
}

/// Runs a tool in the scratch directory; it must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env("GOCACHE", scratch().join("go-cache"))
        .env("CGO_ENABLED", "0")
        .current_dir(scratch())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn build() -> Vec<File> {
    std::fs::write(scratch().join("program.c"), PROGRAM).unwrap();
    std::fs::write(scratch().join("program.go"), GO).unwrap();
    run(
        "gcc",
        &["-w", "-O2", "-static", "program.c", "-o", "glibc-static"],
    );
    run(
        "gcc",
        &[
            "-w",
            "-O2",
            "-static-pie",
            "program.c",
            "-o",
            "glibc-static-pie",
        ],
    );
    run(
        "gcc",
        &[
            "-w",
            "-O2",
            "-static",
            "-s",
            "-Wl,-z,noseparate-code",
            "program.c",
            "-o",
            "glibc-stripped",
        ],
    );
    run(
        "musl-gcc",
        &["-w", "-Os", "-static", "program.c", "-o", "musl-static"],
    );
    run("go", &["build", "-o", "go", "program.go"]);
    run(
        "go",
        &[
            "build",
            "-ldflags",
            "-s -w",
            "-o",
            "go-stripped",
            "program.go",
        ],
    );
    let file = |name, path: &str, least, natives| File {
        name,
        path: scratch().join(path),
        least,
        tables: matches!(name, "libcrypto" | "node"),
        natives,
    };
    vec![
        file("libc", "/lib/x86_64-linux-gnu/libc.so.6", 400, (1, 0)),
        file("ld.so", "/lib64/ld-linux-x86-64.so.2", 20, (1, 0)),
        file(
            "libcrypto",
            "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
            0,
            (0, 0),
        ),
        file("python3", "/usr/bin/python3", 0, (0, 0)),
        file("bash", "/bin/bash", 0, (0, 0)),
        file("node", "/usr/bin/node", 0, (0, 0)),
        file("musl libc.so", "/lib/ld-musl-x86_64.so.1", 400, (1, 1)),
        file("busybox-static", "/bin/busybox", 200, (1, 0)),
        file("glibc-static", "glibc-static", 200, (1, 0)),
        file("glibc-static-pie", "glibc-static-pie", 200, (1, 0)),
        file("glibc-stripped", "glibc-stripped", 200, (1, 0)),
        file("musl-static", "musl-static", 100, (1, 1)),
        file("go", "go", 30, (1, 0)),
        file("go-stripped", "go-stripped", 30, (1, 0)),
    ]
}

/// All files, built when first asked for.
pub fn corpus() -> &'static [File] {
    static CORPUS: OnceLock<Vec<File>> = OnceLock::new();
    CORPUS.get_or_init(build)
}
