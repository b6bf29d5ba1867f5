//! How often each call is made, from exec to exit, in a whole tree of processes: `hotpatch count` beside `strace -f -c`.

mod common;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Place, text};
use nix::libc;

/// After so many runs of ours that agree with no run of strace's, calls are missed or made up.
const RUNS: usize = 5;

/// What two runs of one program under strace do not agree on either, or what LIMITS.md explains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum But {
    Nothing,
    /// Heaps of compilers depend on the addresses that `mmap` answers; names of temporary files on chance.
    Compilers,
    /// It reads its own `/proc/self/maps`, in steps that depend on how long that is.
    Maps,
    /// Threads that begin, wait and look for work when there is some or time has passed.
    Threads,
}

use But::{Compilers, Maps, Nothing, Threads};

/// What such threads call, more or less often.
const BY_TIME: [&str; 22] = [
    "total",
    "rt_sigreturn",
    "futex",
    "nanosleep",
    "clock_nanosleep",
    "sched_yield",
    "epoll_pwait",
    "tgkill",
    "getpid",
    // A thread more or less.
    "clone",
    "clone3",
    "gettid",
    "rseq",
    "set_robust_list",
    "rt_sigprocmask",
    "sigaltstack",
    "sched_getaffinity",
    // Its stack, and memory that is cut where addresses are multiples of something.
    "mmap",
    "munmap",
    "mprotect",
    "madvise",
    // node reads its own `/proc/self/maps` (LIMITS.md).
    "read",
];

/// One run each in a directory of its own, by bash.
const PROGRAMS: [(&str, But, &str); 35] = [
    ("true", Nothing, "/bin/true"),
    ("ls", Nothing, "ls -l /usr"),
    (
        "coreutils",
        Nothing,
        "seq 1 500 | sort -rn | uniq | head -3 | wc; cp /etc/passwd a; cat a | tr a b | cut -c1-4 | sha256sum; stat a; rm a",
    ),
    (
        "many-execs",
        Nothing,
        "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; /bin/echo $i > f; x=$(cat f); done",
    ),
    (
        "dash",
        Nothing,
        "/bin/dash -c 'for i in 1 2 3; do /bin/true; (exit 3); done; ls | cat'",
    ),
    (
        "busybox",
        Nothing,
        "/bin/busybox sh -c 'for i in 1 2 3 4; do busybox true; busybox ls / | busybox wc; done'",
    ),
    (
        "musl",
        Compilers,
        "printf 'int puts(char*);int main(){puts(\"x\");return 0;}' > a.c; musl-gcc -w a.c -o a; ./a; musl-gcc -w -static a.c -o b; ./b",
    ),
    (
        "static",
        Compilers,
        "printf 'int puts(char*);int main(){puts(\"x\");return 0;}' > a.c; gcc -w -static-pie a.c -o a; ./a; gcc -w -static a.c -o b; ./b; gcc -w -no-pie a.c -o c; ./c",
    ),
    (
        "gcc",
        Compilers,
        "printf 'int main(){return 0;}' > a.c; gcc -O2 a.c -o a; ./a",
    ),
    (
        "make",
        Compilers,
        "printf 'all: a b c\\n%%: %%.c\\n\\tgcc -O0 $< -o $@\\n' > Makefile; for i in a b c; do printf 'int main(){return 0;}' > $i.c; done; make",
    ),
    (
        "configure",
        Compilers,
        "for f in stdio.h stdlib.h nope.h; do printf \"#include <$f>\\nint main(){return 0;}\" > c.c; gcc -c c.c && echo yes || echo no; done; expr 1 + 1; test -f c.c; uname",
    ),
    (
        "exec-in-thread",
        Compilers,
        "printf '#include <pthread.h>\\n#include <unistd.h>\\nvoid*f(void*p){execl(\"/bin/true\",\"true\",0);return 0;}int main(){pthread_t t;pthread_create(&t,0,f,0);pthread_join(t,0);}' > a.c; gcc a.c -o a; ./a",
    ),
    (
        "binutils",
        Compilers,
        "printf 'int f(){return 1;}' > f.c; gcc -c f.c; ar rcs f.a f.o; nm f.a; objdump -d f.o; ld -r f.o -o g.o; strip f.o",
    ),
    (
        "git",
        Nothing,
        "export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z HOME=$PWD; git init -q r; cd r; git config user.email a@b.c; git config user.name n; echo a > f; git add f; git commit -qm x; git status; git log",
    ),
    (
        "perl",
        Nothing,
        "perl -e 'system(\"/bin/true\") for 1..3; print `echo x`; open F,\"</etc/passwd\"; my @a=<F>; if(!fork){exit 2} wait'",
    ),
    (
        "python",
        Nothing,
        "/usr/bin/python3 -c 'import json,subprocess; subprocess.run([\"/bin/true\"]); print(json.dumps([1]))'",
    ),
    (
        "multiprocessing",
        Nothing,
        "/usr/bin/python3 -c 'import multiprocessing as m; p=m.Process(target=print,args=(1,)); p.start(); p.join()'",
    ),
    (
        "posix-spawn",
        Nothing,
        "/usr/bin/python3 -c 'import os; [os.waitpid(os.posix_spawn(\"/bin/true\",[\"true\"],{}),0) for _ in range(3)]'",
    ),
    (
        "vfork",
        Nothing,
        "/usr/bin/python3 -c 'import subprocess; [subprocess.run([\"/usr/bin/env\",\"-i\",\"/bin/true\"]) for _ in range(3)]'",
    ),
    (
        "find",
        Nothing,
        "find /etc/apt -type f -exec /bin/true {} \\;",
    ),
    ("xargs", Nothing, "seq 1 20 | xargs -n 2 /bin/echo"),
    (
        "archives",
        Nothing,
        "tar cf x.tar /etc/passwd /etc/group; tar xf x.tar; gzip x.tar; gunzip x.tar.gz; xz -T1 x.tar; bzip2 -k < /etc/services > s; bzip2 -dc s",
    ),
    (
        "sqlite",
        Nothing,
        "sqlite3 d.db 'create table t(a); insert into t values (1),(2); select * from t;'",
    ),
    (
        "awk",
        Nothing,
        "awk 'BEGIN { while ((getline line < \"/etc/passwd\") > 0) n++; print n; system(\"true\") }'",
    ),
    ("sed", Nothing, "echo a > x; sed -i s/a/b/ x; cat x"),
    (
        "openssl",
        Nothing,
        "openssl version; echo abc | openssl dgst -sha256",
    ),
    (
        "no-environment",
        Nothing,
        "env -i /bin/sh -c '/bin/true; env -i /bin/true'",
    ),
    (
        "scripts",
        Nothing,
        "printf '#!/bin/sh\\necho hi\\nexec /bin/true\\n' > s; chmod +x s; ./s; ./s; printf '#!/usr/bin/env python3\\nprint(1)\\n' > t; chmod +x t; ./t",
    ),
    (
        "diff",
        Maps,
        "diff /etc/passwd /etc/group; cmp /etc/passwd /etc/passwd",
    ),
    (
        "ssh-keygen",
        Nothing,
        "ssh-keygen -q -t ed25519 -N '' -C x -f k; ssh-keygen -lf k",
    ),
    ("go", Threads, "$GUESTS/go"),
    ("cgo", Threads, "$GUESTS/cgo"),
    (
        "java",
        Threads,
        // (What it asks of control groups it asks again after 20 ms.)
        "java -Xint -XX:+UseSerialGC -XX:-UsePerfData -XX:-UseContainerSupport -version",
    ),
    (
        "node",
        Threads,
        "node -e 'require(\"fs\").readFileSync(\"/etc/passwd\"); require(\"child_process\").spawnSync(\"/bin/true\")'",
    ),
    (
        "words",
        Nothing,
        "expr 3 + 4; printf '%s\\n' x | tee y | rev; date +%Y; id; env | wc -l",
    ),
];

type Calls = BTreeMap<String, u64>;

/// The table's rows: the count stands in column `at`, the name in the last.
fn calls(table: &str, at: usize, but: But) -> Calls {
    let rows = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first()?.parse::<f64>().ok()?;
        let count = words.get(at)?.parse().ok()?;
        Some(((*words.last()?).to_owned(), count))
    });
    // How often a handler returns depends on whether two signals met (LIMITS.md).
    let chance: &[&str] = match but {
        Threads => &BY_TIME,
        Nothing => &["total", "rt_sigreturn"],
        Maps => &["total", "rt_sigreturn", "lseek", "mmap", "munmap", "read"],
        Compilers => &["total", "rt_sigreturn", "brk", "getrandom"],
    };
    rows.filter(|(name, _)| !chance.contains(&name.as_str()))
        .collect()
}

/// Writes a file, reads it, and executes a program.
const GO: &str = r#"package main

//CGO // #include <unistd.h>
//CGO import "C"
import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	os.WriteFile("x", []byte("a"), 0o600)
	text, _ := os.ReadFile("x")
	fmt.Println(string(text))
	//CGO fmt.Println(C.getppid() > 0)
	exec.Command("/bin/true").Run()
}
"#;

/// Builds the programs that are compiled for this.
fn guests(place: &Place) -> PathBuf {
    let dir = place.dir.path().join("guests");
    std::fs::create_dir(&dir).unwrap();
    for (name, cgo) in [("go", false), ("cgo", true)] {
        let source = dir.join(format!("{name}.go"));
        std::fs::write(&source, GO.replace("//CGO ", if cgo { "" } else { "// " })).unwrap();
        let mut go = Command::new("go");
        go.args(["build", "-o"]).args([&dir.join(name), &source]);
        go.env("CGO_ENABLED", if cgo { "1" } else { "0" });
        go.env("GOFLAGS", "-mod=mod")
            .env("GOCACHE", dir.join("cache"));
        assert!(go.status().expect("go (apt-get install golang)").success());
    }
    dir
}

/// Runs `line` in a directory of its own, with addresses that are the same each time.
fn run(mut command: Command, guests: &Path, out: &Path, line: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    command.args(["/bin/bash", "-c", line]).current_dir(&dir);
    command.env_remove("LD_PRELOAD").env("LC_ALL", "C");
    command.env("GUESTS", guests).env("GOMAXPROCS", "1");
    // No wrappers that a user keeps in front of the distribution's programs.
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let same = || {
        // SAFETY: one system call, which touches no memory.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: that may be done between fork and exec.
    unsafe { command.pre_exec(same) };
    let output = command.output().unwrap();
    let table = std::fs::read_to_string(out).unwrap_or_default();
    assert!(!table.is_empty(), "{line}: {}", text(&output.stderr));
    (output.status.code(), table)
}

#[test]
fn every_call_of_many_programs_is_seen() {
    let place = Place::new();
    let out = place.dir.path().join("table");
    let guests = guests(&place);
    let strace = |line: &str, but| {
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(&out);
        let (status, table) = run(command, &guests, &out, line);
        (status, calls(&table, 3, but))
    };
    let mut wrong = Vec::new();
    for (name, but, line) in PROGRAMS {
        // Natively too a run may do other than the last one (a name that is taken, a pipe that is read in two pieces), so
        // any of ours may equal any of strace's. What is missed or seen twice each time agrees with none.
        let (mut theirs, mut ours) = (vec![strace(line, but)], Vec::new());
        assert!(theirs[0].1.len() > 10, "{name}: {theirs:?}");
        while !ours.iter().any(|seen| theirs.contains(seen)) {
            if ours.len() == RUNS {
                wrong.push(format!("{name}: strace {theirs:?}\n  ours {ours:?}\n"));
                break;
            }
            let mut command = place.hotpatch();
            command.args(["count", "-o"]).arg(&out);
            let (status, table) = run(command, &guests, &out, line);
            ours.push((status, calls(&table, 7, but)));
            if !theirs.contains(&ours[ours.len() - 1]) {
                theirs.push(strace(line, but));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}
