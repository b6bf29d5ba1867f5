//! Options of `hotpatch trace` beside strace's of the same names.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Place, compile, text};
use regex_lite::Regex;

/// What both print about the same program, ours first, without what differs from run to run.
fn both(place: &Place, options: &[&str], program: &[&str]) -> (Vec<String>, Vec<String>) {
    let dir = || tempfile::tempdir_in(place.dir.path()).expect("a directory");
    let (ours, theirs) = (dir(), dir());
    let mut command = place.hotpatch();
    command.arg("trace");
    let ours = traced(command, ours.path(), options, program);
    let mut command = Command::new("strace");
    command.env_remove("LD_PRELOAD").env("NO_COLOR", "1");
    command.env("XDG_CACHE_HOME", place.dir.path());
    let theirs = traced(command, theirs.path(), options, program);
    assert_eq!(ours.0.stdout, theirs.0.stdout, "{options:?} {program:?}");
    assert_eq!(ours.0.status, theirs.0.status, "{options:?} {program:?}");
    (ours.1, theirs.1)
}

fn traced(
    mut command: Command,
    dir: &Path,
    options: &[&str],
    program: &[&str],
) -> (Output, Vec<String>) {
    let output = command
        .args(["-o", "trace"])
        .args(options)
        .args(program)
        .current_dir(dir)
        .output()
        .expect("it starts (apt-get install strace)");
    let trace = std::fs::read(dir.join("trace")).unwrap_or_default();
    (output, normal(&text(&trace)))
}

fn normal(trace: &str) -> Vec<String> {
    let rules = [
        (r"0x[0-9a-f]{5,}", "ADDRESS"),
        (r#"getrandom\("(?:[^"\\]|\\.)*""#, "getrandom(RANDOM"),
        (
            r"^((?:\[ *\d+\] )?(?:set_tid_address|get\w+id|clone|vfork|wait4)\(.*) = .*",
            "$1",
        ),
        (r"/\* \d{4}-\d\d-\d\dT[^ ]+ \*/", "DATE"),
        (r"/\* \d+ vars \*/", "VARIABLES"),
        (r"(ROUTE:|nl_pid=)\d+", "${1}N"),
        (r"\b\d{4,}\b", "N"),
        (r"/tmp/\.?tmp[\w./]*", "PLACE"),
        (r"hotpatch[0-9a-f]{16}", "RANDOM"),
        (r"sysinfo\(.*", "sysinfo"),
        (r"\b\d\d:\d\d:\d\d\b", "TIME"),
        (r"\d+\.\d{3,}", "SECONDS"),
        (r" +\(\+ +", " (+"),
        (r"\s+= ", " = "),
    ];
    // Signals are not told; how much memory Python asks for depends on where it gets some.
    let other = Regex::new(r"--- SIG|rt_sigreturn\(|MAP_ANONYMOUS, -1|munmap\(").unwrap();
    let rules = rules.map(|(rule, with)| (Regex::new(rule).unwrap(), with));
    trace
        .lines()
        .filter(|line| !other.is_match(line))
        .map(|line| {
            rules.iter().fold(line.to_owned(), |line, (rule, with)| {
                rule.replace_all(&line, *with).into_owned()
            })
        })
        .collect()
}

fn same(place: &Place, options: &[&str], program: &[&str]) -> Vec<String> {
    let (ours, theirs) = both(place, options, program);
    equal(&ours, &theirs, options);
    ours
}

/// Says the first lines that differ, not all.
fn equal(ours: &[String], theirs: &[String], options: &[&str]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "{options:?}");
    }
    let least = ours.len().min(theirs.len());
    assert_eq!(ours[least..], theirs[least..], "{options:?}");
}

const LISTS: [&str; 3] = ["/bin/ls", "-l", "/etc/hostname"];
const FAILS: [&str; 2] = ["/bin/cat", "/nonexistent"];

#[test]
fn options_mean_what_they_mean_to_strace() {
    let place = Place::new();
    let cases: [&[&str]; 19] = [
        &["-z"],
        &["-Z", "-n"],
        &["-z", "-Z"],
        &["--failed-only", "--trace=openat"],
        &["-q"],
        &["-qq", "-e", "trace=close"],
        &["-e", "quiet=exit", "-e", "trace=close"],
        &["--quiet=all", "--trace=%file"],
        &["-e", "raw=all"],
        &["-e", "raw=openat,close,exit_group", "-v"],
        &["-e", "verbose=none"],
        &["--verbose=newfstatat"],
        &["-e", "trace=read", "--trace=write"],
        &["--trace=read", "-e", "trace=write"],
        &["--strings-in-hex=non-ascii-chars", "--string-limit=50"],
        &["--strings-in-hex", "--trace=read,write"],
        &["-t", "-r", "--columns=20", "--seccomp-bpf", "-f"],
        &["--absolute-timestamps=unix,ns", "--syscall-times=ms"],
        &[
            "-E",
            "LC_ALL=C",
            "--env=LANG",
            "--no-abbrev",
            "--trace=!%memory",
        ],
    ];
    let mut lines = 0;
    for options in cases {
        for program in [&LISTS[..], &FAILS] {
            lines += same(&place, options, program).len();
        }
    }
    assert!(lines > 1000, "{lines}");
}

const SOCKETS: &str = r#"
import os, select, socket, time
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.listen()
client = socket.create_connection(tcp.getsockname()); server, _ = tcp.accept()
client.send(b"1"); server.recv(1)
six = socket.socket(socket.AF_INET6); six.bind(("::1", 0)); six.listen()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
udp.sendto(b"2", udp.getsockname())
far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); far.connect(udp.getsockname()); far.send(b"3")
for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET:
    one, other = socket.socketpair(socket.AF_UNIX, kind)
    one.send(b"4"); socket.send_fds(one, [b"5"], [0, client.fileno()]); other.recv(1); socket.recv_fds(other, 9, 9)
    one.close(); other.close()
named = socket.socket(socket.AF_UNIX); named.bind("named"); named.listen()
near = socket.socket(socket.AF_UNIX); near.connect("named"); far, _ = named.accept(); far.send(b"6"); near.recv(1)
hidden = socket.socket(socket.AF_UNIX); hidden.bind(b"\0hotpatch" + os.urandom(8).hex().encode()); hidden.listen()
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); link.bind((0, 0)); link.getsockname()
poll = select.poll(); poll.register(server, 1); poll.register(named, 1); poll.poll(0)
select.select([client, near], [client], [], 0)
epoll = select.epoll(); epoll.register(client, 1); epoll.poll(0); epoll.close()
# Whom local sockets are connected to is asked for from outside.
time.sleep(0.3)
client.close(); server.close(); tcp.close()
"#;

const FILES: &str = r#"
import os
for n in range(50):
    fd = os.open("/etc/passwd", 0); os.read(fd, 1); os.close(fd)
    fd = os.open("/etc/group", 0); os.dup2(fd, 9); os.close(fd); os.read(9, 1); os.close(9)
fd = os.open("gone", os.O_RDWR | os.O_CREAT); os.unlink("gone"); os.write(fd, b"1"); os.close(fd)
fd = os.open('odd<>"\\\n\xff', os.O_RDWR | os.O_CREAT); os.write(fd, b"1"); os.close(fd)
fd = os.open("/dev/null", os.O_RDWR); os.write(fd, b"1"); os.close(fd)
here = os.open(".", 0); os.stat("odd", dir_fd=here) if 0 else os.close(here)
os.chdir("/"); os.close(os.open("etc/passwd", 0)); os.close(os.memfd_create("name")); os.pipe()
try: os.read(77, 1)
except OSError: pass
"#;

/// What descriptors lead to, however soon that is over.
#[test]
fn descriptors_lead_where_they_do() {
    let place = Place::new();
    let cases: [&[&str]; 8] = [
        &["-y"],
        &["-yy"],
        &["-y", "-n"],
        &["-yy", "--strings-in-hex=non-ascii-chars", "-s", "3"],
        &["--decode-fds=socket"],
        &["-e", "decode-fds=!path", "-v"],
        &["--decode-fds=dev,path", "-e", "raw=read"],
        &["-f", "-y", "-Z"],
    ];
    let mut lines = Vec::new();
    for options in cases {
        for script in [SOCKETS, FILES] {
            lines.extend(same(&place, options, &["/usr/bin/python3", "-c", script]));
        }
    }
    for part in [
        "</etc/passwd>",
        "(deleted)",
        "\\74\\76",
        "<TCP:[127.0.0.1:N->127.0.0.1:N]>",
        "<TCPv6:[[::1]:N]>",
        "<UDP:[127.0.0.1:N]>",
        "<UNIX-STREAM:[N->N,\"named\"]>",
        "<UNIX:[N->N]>",
        "<NETLINK:[ROUTE:",
        "<char 1:3>",
        "AT_FDCWD</>",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}");
    }
}

/// Calls that name a file, and those whose descriptors lead to it.
#[test]
fn a_file_s_calls_alone() {
    let place = Place::new();
    let links = place.dir.path().join("link");
    std::os::unix::fs::symlink("/etc/passwd", &links).unwrap();
    let script = format!("{FILES}\nos.read(os.open({links:?}, 0), 1)");
    let mut lines = 0;
    for path in [
        "/etc/passwd",
        "/dev/null",
        links.to_str().unwrap(),
        "/",
        "/nowhere",
    ] {
        for more in [&["-y"][..], &["-qq", "-e", "trace=!close"]] {
            let options = [&["-P", path][..], more].concat();
            lines += same(&place, &options, &["/usr/bin/python3", "-c", &script]).len();
        }
    }
    assert!(lines > 500, "{lines}");
    let said = place.output(&["trace", "-P", links.to_str().unwrap(), "/bin/true"]);
    assert!(text(&said.stderr).contains("resolved into \"/etc/passwd\""));
    let silent = place.output(&["trace", "-qqq", "-P", links.to_str().unwrap(), "/bin/true"]);
    assert!(!text(&silent.stderr).contains("resolved"));
    let counts = [
        "-c",
        "-P",
        "/etc/passwd",
        "-S",
        "name",
        "-U",
        "calls,errors,name",
    ];
    same(&place, &counts, &["/usr/bin/python3", "-c", FILES]);
}

/// A program that has forbidden itself `readlink` is not killed for asking what a descriptor leads to.
#[test]
fn nobody_asks_behind_a_filter() {
    let place = Place::new();
    let script = r#"
import ctypes, os, struct
fd = os.open("/etc/passwd", 0)
libc = ctypes.CDLL(None)
steps = [(0x20, 0, 0, 0), (0x15, 1, 0, 89), (0x06, 0, 0, 0x7fff0000), (0x06, 0, 0, 0x80000000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("H6xQ", len(steps), ctypes.addressof(code)))
libc.prctl(38, 1, 0, 0, 0)
if libc.prctl(22, 2, program, 0, 0): os._exit(3)
os.read(fd, 1)
os._exit(5)
"#;
    let trace = place.dir.path().join("filtered");
    let output = place
        .hotpatch()
        .args(["trace", "-yy", "-o"])
        .arg(&trace)
        .args(["/usr/bin/python3", "-c", script])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert!(
        trace.contains("</etc/passwd>") || trace.contains("passwd\""),
        "{trace}"
    );
    let read = trace.lines().rev().find(|line| line.starts_with("read("));
    assert!(
        read.is_some_and(|line| line.contains("(3, \"r\", 1)")),
        "{read:?}"
    );
}

/// How texts look that tell apart the ways to print bytes.
#[test]
fn bytes_are_printed_in_each_way() {
    let place = Place::new();
    let program = ["/usr/bin/printf", r"\001a\377\n\t\\\x1f7"];
    for option in [
        "-x",
        "-xx",
        "--strings-in-hex=all",
        "--strings-in-hex=non-ascii",
        "--strings-in-hex=non-ascii-chars",
        "--strings-in-hex=none",
    ] {
        let lines = same(&place, &[option, "--trace=write"], &program);
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}

/// With -ff each thread has a file, where nothing interrupts anything.
#[test]
fn each_thread_in_a_file_of_its_own() {
    let place = Place::new();
    let script = "/bin/echo 1; /bin/cat /nonexistent; exec /bin/true";
    let files = |command: &mut Command| {
        let dir = tempfile::tempdir_in(place.dir.path()).unwrap();
        let output = command
            .args(["-ff", "-o", "all", "/bin/sh", "-c", script])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let files = std::fs::read_dir(dir.path()).unwrap();
        let mut threads: Vec<Vec<String>> = files
            .map(|entry| entry.unwrap().path())
            .inspect(|path| {
                let tid = path.extension().and_then(|end| end.to_str()).unwrap();
                tid.parse::<u32>().unwrap();
            })
            .map(|path| normal(&std::fs::read_to_string(path).unwrap()))
            .collect();
        // Which of them has which number is nobody's choice.
        threads.sort();
        threads
    };
    let ours = files(place.hotpatch().arg("trace"));
    let theirs = files(
        Command::new("strace")
            .env_remove("LD_PRELOAD")
            .env("NO_COLOR", "1")
            .env("XDG_CACHE_HOME", place.dir.path()),
    );
    assert_eq!(ours.len(), 3);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let plain = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter().filter(|line| !line.starts_with("brk("));
            lines.cloned().collect()
        };
        equal(&plain(ours), &plain(theirs), &[]);
    }
}

#[test]
fn a_file_can_be_appended_to() {
    let place = Place::new();
    let file = place.dir.path().join("appended");
    std::fs::write(&file, "before\n").unwrap();
    let output = place
        .hotpatch()
        .args(["trace", "-A", "-e", "trace=exit_group", "-o"])
        .arg(&file)
        .arg("/bin/true")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        normal(&std::fs::read_to_string(&file).unwrap()),
        ["before", "exit_group(0) = ?", "+++ exited with 0 +++"]
    );
}

/// The table behind the lines, and alone, with strace's columns.
#[test]
fn tables_have_strace_s_columns() {
    let place = Place::new();
    for options in [
        &["-C", "-S", "name", "-U", "name,calls,errors"][..],
        &[
            "-C",
            "-e",
            "trace=%file",
            "-S",
            "name",
            "-U",
            "errors,calls",
        ],
        &["-c", "-w", "-S", "name", "-U", "calls,errors,name"],
        &["-c", "-S", "calls", "--summary-columns=calls"],
        &[
            "-c",
            "-S",
            "errors",
            "-U",
            "errors,calls,name",
            "-e",
            "trace=openat,access,read",
        ],
        &["-c", "-f", "-S", "nothing", "-U", "syscall,count"],
    ] {
        let sorted = |mut lines: Vec<String>| {
            // Which of two equal rows comes first is nobody's choice.
            if options.contains(&"calls") {
                lines.sort();
            }
            lines
        };
        let (ours, theirs) = both(&place, options, &FAILS);
        assert!(ours.len() > 4, "{ours:?}");
        equal(&sorted(ours), &sorted(theirs), options);
    }
    let output = place.output(&["count", "-U", "max-time,min-time,avg-time,p50", "/bin/true"]);
    let table = text(&output.stderr);
    assert!(
        table.starts_with(" longest shortest  usecs/call       p50 syscall\n-------- "),
        "{table}"
    );
    let wrong = place.output(&["count", "-S", "tme", "/bin/true"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("'time'"),
        "{}",
        text(&wrong.stderr)
    );
}

/// The place of an error is marked below it, and the nearest name is said.
#[test]
fn errors_are_marked() {
    let place = Place::new();
    for (expression, marked, near) in [
        ("trace=read,opne", "           ^^^^", "did you mean open"),
        ("trace=/op(", "       ^^^", "regular expression"),
        (
            "inject=openat:eror=EIO",
            "              ^^^^",
            "did you mean error?",
        ),
        (
            "inject=read:syscall=getpid",
            "       ^^^^^^^^^^^^^^^^^^^",
            "error= or retval=",
        ),
        (
            "inject=read:poke_exit=@arg7=00",
            "                      ^^^^^^^^",
            "N from 1 to 6",
        ),
        ("quiet=exti", "      ^^^^", "did you mean exit?"),
        ("stauts=failed", "^^^^^^", "did you mean status?"),
    ] {
        let output = place.output(&["trace", "-e", expression, "/bin/true"]);
        assert_eq!(output.status.code(), Some(2));
        let error = text(&output.stderr);
        let marks = format!("\n{expression}\n{marked}\n");
        assert!(error.contains(&marks) && error.contains(near), "{error}");
    }
}

const POKED: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    char path[32] = "/etc/passwd", buffer[8] = "";
    for (int n = 0; n < 3; n++) {
        int fd = open(path, O_RDONLY);
        long done = read(fd, buffer, 4);
        printf("%s %ld %.4s\n", path, done, buffer);
        close(fd);
    }
    fflush(stdout);
    if (fork() == 0) { read(open("/etc/group", O_RDONLY), buffer, 4); printf("%.4s\n", buffer); return 0; }
    int status;
    return wait(&status), 0;
}
"#;

/// Memory that is written to, files that calls have to name, calls that stand in.
#[test]
fn what_is_done_to_calls() {
    let place = Place::new();
    let program = compile(&place, "poked", POKED, &["gcc"]);
    let program = [program.to_str().unwrap()];
    let cases: [&[&str]; 12] = [
        &["-e", "inject=read:poke_exit=@arg2=41424344:when=2"],
        &[
            "-e",
            "inject=read:poke_exit=@arg2=414243:when=2+2:delay_exit=10",
        ],
        &[
            "-e",
            "inject=openat:poke_enter=@arg2=2f6465762f6e756c6c00:when=4",
        ],
        &["-e", "inject=write:poke_enter=@arg2=41424344:error=EIO"],
        &["-e", "inject=read:retval=4:poke_exit=@arg2=41424344"],
        &["-e", "inject=read:poke_exit=@arg3=41424344"],
        &[
            "-e",
            "inject=read:poke_enter=@arg2=4142,@arg1=00:poke_exit=@arg2=61:when=3",
        ],
        &["-e", "inject=read:syscall=getppid:error=EIO:when=2"],
        &["-e", "inject=read:syscall=getppid:retval=3:when=2..3"],
        &[
            "-P",
            "/etc/passwd",
            "-e",
            "inject=openat:error=EACCES:when=2",
        ],
        &["-P", "/etc/passwd", "-e", "inject=read:retval=1:when=2+"],
        &[
            "-P",
            "/etc/group",
            "-P",
            "/nowhere",
            "-f",
            "-qq",
            "-e",
            "inject=%file,read:error=EIO",
        ],
    ];
    let mut done = 0;
    for options in cases {
        let options = [&["-e", "trace=openat,read,write"], options].concat();
        let lines = same(&place, &options, &program);
        done += lines
            .iter()
            .filter(|line| line.contains("INJECTED"))
            .count();
    }
    assert!(done > 20, "{done}");

    // Of descriptors strace says nothing.
    let trace = place.dir.path().join("descriptor");
    let output = place
        .hotpatch()
        .args([
            "trace",
            "-e",
            "fd=3",
            "-e",
            "inject=read:error=EIO:when=2",
            "-o",
        ])
        .arg(&trace)
        .args(program)
        .output()
        .unwrap();
    assert!(output.status.success());
    let trace = std::fs::read_to_string(&trace).unwrap();
    let reads: Vec<&str> = trace
        .lines()
        .filter(|line| line.starts_with("read(3"))
        .collect();
    assert!(
        reads.len() > 3 && reads[1].contains("(INJECTED)"),
        "{reads:?}"
    );
    assert_eq!(
        reads
            .iter()
            .filter(|line| line.contains("INJECTED"))
            .count(),
        1
    );
}

const MOVES: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
int main(void) {
    char b[64] = "hello\n\x01\xff end of a longer line 0123456789";
    int p[2], s[2], f = open("/dev/full", O_WRONLY);
    pipe2(p, O_NONBLOCK);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    struct iovec v[2] = {{b, 3}, {b + 3, 20}}, w[3] = {{b, 5}, {b + 8, 0}, {b + 8, 50}}, u[2] = {{b, 7}, {b + 8, 50}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    write(f, b, 10); write(p[1], b, 40); read(p[0], b, 64); read(p[0], b, 0); read(p[0], b, 5);
    writev(p[1], v, 2); readv(p[0], w, 3); writev(p[1], v, 2); readv(p[0], u, 2);
    write(p[1], b, 0); write(p[1], (void *)8, 4); pwrite(f, b, 3, 0);
    send(s[0], b, 5, 0); recv(s[1], b, 50, 0); sendmsg(s[0], &m, 0);
    m.msg_iov = u; recvmsg(s[1], &m, 0);
    dup2(p[0], 20); write(p[1], b, 17); read(20, b, 33);
    return 0;
}
"#;

/// Bytes that calls move, as strace dumps them.
#[test]
fn what_is_moved_is_dumped() {
    let place = Place::new();
    let program = place.dir.path().join("moves");
    let source = program.with_extension("c");
    std::fs::write(&source, MOVES).unwrap();
    let status = Command::new("gcc")
        .args(["-w", "-o"])
        .arg(&program)
        .arg(&source)
        .status();
    assert!(status.unwrap().success());
    let cases: [&[&str]; 6] = [
        &["-e", "read=all", "-e", "write=all"],
        &["-e", "read=4,20"],
        &["--write=5,3", "-s", "2"],
        &["-e", "read=!3", "-e", "raw=all"],
        &["-e", "write=!5", "--read=none", "-T"],
        &["-e", "read=20", "-e", "trace=read", "-Z"],
    ];
    let mut dumped = 0;
    for options in cases {
        let lines = same(&place, options, &[program.to_str().unwrap()]);
        dumped += lines.iter().filter(|line| line.starts_with(" | ")).count();
    }
    assert!(dumped > 200, "{dumped}");
    let wrong = place.output(&["trace", "-e", "read=x", "/bin/true"]);
    assert!(text(&wrong.stderr).contains("\nread=x\n     ^\nnot a descriptor"));
}

/// With -u the program is another user's, children and all; who may not do that is told so.
#[test]
fn programs_run_as_another_user() {
    let place = Place::new();
    let trace = place.dir.path().join("user");
    let output = place
        .hotpatch()
        .args([
            "trace",
            "-f",
            "-u",
            "nobody",
            "-e",
            "trace=getuid,exit_group",
            "-o",
        ])
        .arg(&trace)
        .args(["/bin/sh", "-c", "/usr/bin/id -u; /usr/bin/id -G"])
        .current_dir("/")
        .output()
        .unwrap();
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        assert_eq!(
            text(&output.stdout),
            format!("{}\n{}\n", nobody.uid, nobody.gid)
        );
        let trace = std::fs::read_to_string(&trace).unwrap();
        assert_eq!(trace.matches("exit_group(0)").count(), 3, "{trace}");
        let _ = std::fs::remove_dir_all(format!("/tmp/hotpatch-{}", nobody.uid));
    } else {
        assert_eq!(output.status.code(), Some(125));
        assert!(
            text(&output.stderr).contains("-u nobody: EPERM"),
            "{}",
            text(&output.stderr)
        );
    }
    let output = place.output(&["trace", "-u", "no-such-user", "/bin/true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("no such user"));
}
