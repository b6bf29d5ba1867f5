//! Each hook of `examples/`, built as its README says, on real programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotpatch_tests::library::{library, plans};
use hotpatch_tests::{package, scratch};

fn examples() -> PathBuf {
    package().join("../examples").canonicalize().unwrap()
}

/// The hook that `examples/NAME` makes.
fn hook(name: &str) -> PathBuf {
    let project = examples().join(name);
    let out = scratch().join("examples");
    fs::create_dir_all(&out).unwrap();
    let rust = project.join("Cargo.toml").is_file();
    let mut command = Command::new(if rust { "cargo" } else { "make" });
    if rust {
        command.args(["build", "--release", "--quiet"]);
    } else {
        command.args(["--silent", &format!("OUT={}", out.display())]);
    }
    // As a person would start it: without what cargo has set for this test.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let kept = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].contains(&&*name);
        if !kept && (name.starts_with("CARGO") || name.starts_with("RUST")) {
            command.env_remove(name);
        }
    }
    let output = command
        .current_dir(&project)
        .env("CARGO_TARGET_DIR", &out)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    if rust {
        out.join("x86_64-unknown-none/release").join(name)
    } else {
        out.join(format!("{name}.so"))
    }
}

/// What a program printed and how it ended, and what the hook said.
struct Said {
    output: Output,
    lines: Vec<String>,
}

impl Said {
    fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// What follows the hook's name in its lines.
    fn words(&self, name: &str) -> Vec<&str> {
        let words = self.lines.iter().filter_map(|line| {
            line.split_once("]: ")?
                .1
                .strip_prefix(name)?
                .strip_prefix(": ")
        });
        words.collect()
    }
}

/// Runs a command in `dir` with a hook.
fn run(hook: &Path, dir: &Path, command: &[&str], settings: &[(&str, &str)]) -> Said {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let log = scratch().join(format!("examples-{}-{n}.log", std::process::id()));
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir)
        .env("LD_PRELOAD", library())
        .env("LIBHOTPATCH_CACHE", plans())
        .env("LIBHOTPATCH_HOOK", hook)
        .env("LIBHOTPATCH_LOGPATH", "/dev/null")
        .env("LIBHOTPATCH_HOOK_LOGPATH", &log)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let lines = fs::read_to_string(&log)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let _ = fs::remove_file(&log);
    Said { output, lines }
}

/// A directory for one test.
fn place(name: &str) -> PathBuf {
    let place = scratch().join(format!("examples-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    place.canonicalize().unwrap()
}

/// The lines of `words` that count something, by what they count.
fn counted<'a>(words: &[&'a str]) -> Vec<(u64, &'a str)> {
    let counts = words.iter().filter_map(|w| w.trim_start().split_once(' '));
    counts
        .filter_map(|(n, what)| Some((n.parse().ok()?, what)))
        .collect()
}

#[test]
fn count_and_its_twin_in_c_count_alike() {
    let dir = place("count");
    // The file is read by one byte at a time: as many calls as it has bytes, and one for its end.
    fs::write(dir.join("data"), [b'x'; 500]).unwrap();
    for (name, read) in [("count", "read"), ("in-c", "number 0")] {
        let said = run(
            &hook(name),
            &dir,
            &["dd", "if=data", "of=copy", "bs=1", "status=none"],
            &[],
        );
        assert!(said.output.status.success(), "{}", said.err());
        assert_eq!(fs::read(dir.join("copy")).unwrap(), [b'x'; 500]);
        let words = said.words(name);
        let split = words
            .iter()
            .position(|w| *w == "from these instructions:")
            .expect("the second part");
        let (numbers, sites) = (counted(&words[..split]), counted(&words[split..]));
        let (all, numbers) = numbers.split_first().unwrap();
        assert_eq!(all.1, "calls");
        assert_eq!(
            all.0,
            numbers.iter().map(|(n, _)| n).sum::<u64>(),
            "{words:?}"
        );
        let reads = numbers
            .iter()
            .find(|(_, what)| *what == read)
            .expect("reads")
            .0;
        assert!((501..520).contains(&reads), "{words:?}");
        assert!(numbers.windows(2).all(|w| w[0].0 >= w[1].0), "{words:?}");
        assert!(
            sites.len() == 10 && sites[0].0 >= 500 && sites[0].1.contains("/libc.so.6"),
            "{words:?}"
        );
        fs::remove_file(dir.join("copy")).unwrap();
    }
}

#[test]
fn count_tells_processes_apart() {
    let script = "(for i in 1 2 3; do echo $i; done); exit 0";
    let said = run(
        &hook("count"),
        &place("processes"),
        &["bash", "-c", script],
        &[],
    );
    assert_eq!(said.out(), "1\n2\n3\n");
    let totals: Vec<_> = counted(&said.words("count"))
        .into_iter()
        .filter(|(_, what)| *what == "calls")
        .collect();
    assert_eq!(totals.len(), 2, "{:?}", said.lines);
    // The child's counts begin where it does.
    assert!(totals[0].0 < 40, "{:?}", said.lines);
}

#[test]
fn deny_refuses_what_is_named_however_it_is_written() {
    let (hook, dir) = (hook("deny"), place("deny"));
    fs::create_dir_all(dir.join("kept/inner")).unwrap();
    fs::write(dir.join("kept/inner/file"), "secret").unwrap();
    fs::write(dir.join("keptsake"), "open").unwrap();
    let denied = dir.join("kept").display().to_string();
    let whole = format!("{denied}/inner/file");
    for path in ["kept/inner/file", "./kept//inner/../inner/file", &whole] {
        let said = run(&hook, &dir, &["cat", path], &[("DENY", &denied)]);
        assert_eq!(said.output.status.code(), Some(1), "{path}");
        assert_eq!(said.err(), format!("cat: {path}: Permission denied\n"));
        assert!(
            said.words("deny")
                .contains(&&*format!("openat {whole} refused")),
            "{:?}",
            said.lines
        );
    }
    // Through a directory's descriptor, by other calls, in other processes.
    for (command, status, out) in [
        ("cat keptsake", 0, "open"),
        ("cd kept", 1, ""),
        ("exec 3< kept/inner/file", 1, ""),
        (
            "rm -f kept/inner/file; mv kept moved; ln kept/inner/file x; ls",
            0,
            "kept\nkeptsake\n",
        ),
        ("find . -name file 2>/dev/null; exit 0", 0, ""),
    ] {
        let said = run(&hook, &dir, &["bash", "-c", command], &[("DENY", &denied)]);
        assert_eq!(
            (said.output.status.code(), &*said.out()),
            (Some(status), out),
            "{command}: {}",
            said.err()
        );
    }
    let both = format!("/nonexistent:{denied}");
    let said = run(
        &hook,
        &dir,
        &["cat", "kept/inner/file"],
        &[("DENY", &both), ("DENY_ERRNO", "2")],
    );
    assert_eq!(
        said.err(),
        "cat: kept/inner/file: No such file or directory\n"
    );
}

#[test]
fn deny_refuses_io_uring() {
    let script = "import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(425, 1, 0), ctypes.get_errno())";
    let said = run(
        &hook("deny"),
        &place("uring"),
        &["/usr/bin/python3", "-c", script],
        &[("DENY", "/nonexistent")],
    );
    assert_eq!(said.out(), "-1 38\n", "{}", said.err());
    assert_eq!(said.words("deny"), ["io_uring_setup refused"]);
}

#[test]
fn a_setting_that_makes_no_sense_is_told() {
    let said = run(
        &hook("deny"),
        &place("setting"),
        &["true"],
        &[("DENY_ERRNO", "EPERM")],
    );
    assert!(said.output.status.success());
    assert!(
        said.lines
            .iter()
            .any(|l| l.contains("hook deny: cannot start: not valid")),
        "{:?}",
        said.lines
    );
}

#[test]
fn redirect_shows_one_directory_as_another() {
    let (hook, dir) = (hook("redirect"), place("redirect"));
    let real = dir.join("real");
    fs::create_dir_all(real.join("sub")).unwrap();
    fs::write(real.join("data"), "here\n").unwrap();
    fs::write(real.join("script"), "#!/bin/sh\necho ran $0\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(real.join("script"), mode).unwrap();
    std::os::unix::fs::symlink(real.join("data"), real.join("link")).unwrap();
    let pairs = format!("/nowhere=/nothing:/no/such={}", real.display());
    let real = real.display();
    for (command, out) in [
        ("cat /no/such/data", "here\n"),
        ("cat /no/./such/sub/../data", "here\n"),
        ("ls /no/such", "data\nlink\nscript\nsub\n"),
        ("stat -c %s /no/such/data", "5\n"),
        (
            "test -d /no/such/sub/ && ! test -e /no/suchlike && echo yes",
            "yes\n",
        ),
        (
            "cd /no/such/sub && /bin/pwd && cat ../data",
            "/no/such/sub\nhere\n",
        ),
        ("readlink /no/such/link", "/no/such/data\n"),
        ("/no/such/script | sed s,^ran.*/,,", "script\n"),
        (
            "cd / && echo new > no/such/new && mv /no/such/new /no/such/moved && cat /no/such/moved && rm /no/such/moved",
            "new\n",
        ),
        (
            "mkdir /no/such/made && rmdir /no/such/made && echo gone",
            "gone\n",
        ),
    ] {
        let said = run(
            &hook,
            &dir,
            &["bash", "-c", command],
            &[("REDIRECT", &pairs)],
        );
        assert_eq!(
            (said.output.status.code(), &*said.out()),
            (Some(0), out),
            "{command}: {}",
            said.err()
        );
    }
    let script = format!(
        "import os, socket, threading\n\
         a = socket.socket(socket.AF_UNIX); a.bind('/no/such/s'); a.listen()\n\
         def client():\n    b = socket.socket(socket.AF_UNIX); b.connect('/no/such/s'); b.send(open('/no/such/data','rb').read())\n\
         t = threading.Thread(target=client); t.start(); c = a.accept()[0]; print(c.recv(9).decode(), end=''); t.join()\n\
         print(os.path.exists('{real}/s'))\n"
    );
    let said = run(
        &hook,
        &dir,
        &["/usr/bin/python3", "-c", &script],
        &[("REDIRECT", &pairs)],
    );
    assert_eq!(said.out(), "here\nTrue\n", "{}", said.err());
}

/// Prints how many microseconds each clock says that a second of `clock_nanosleep` takes, all asked by system calls, or
/// of the C library.
const CLOCKS: &str = r#"
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#ifdef ASK_LIBC
#define ASK(name, ...) name(__VA_ARGS__)
#else
#define ASK(name, ...) syscall(SYS_##name, __VA_ARGS__)
#endif
static double at(int clock) {
    struct timespec t;
    ASK(clock_gettime, clock, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static double day(void) {
    struct timeval t;
    ASK(gettimeofday, &t, 0);
    return t.tv_sec * 1e6 + t.tv_usec;
}
int main(void) {
    double real = at(CLOCK_REALTIME), monotonic = at(CLOCK_MONOTONIC), days = day();
    struct timespec second = {1, 0};
    nanosleep(&second, 0);
    printf("%.0f %.0f %.0f\n", at(CLOCK_REALTIME) - real, at(CLOCK_MONOTONIC) - monotonic, day() - days);
    struct timespec until;
    ASK(clock_gettime, CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    monotonic = at(CLOCK_MONOTONIC);
    if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, 0)) return 1;
    printf("%.0f\n", at(CLOCK_MONOTONIC) - monotonic);
    printf("%d\n", syscall(SYS_nanosleep, 8, 0) == -1);
    return 0;
}
"#;

#[test]
fn clock_makes_time_run_faster_and_slower() {
    let (hook, dir) = (hook("clock"), place("clock"));
    // Built before time is taken.
    library();
    fs::write(dir.join("clocks.c"), CLOCKS).unwrap();
    for arguments in [
        &["-o", "clocks", "clocks.c"][..],
        &["-DASK_LIBC", "-o", "libc_clocks", "clocks.c"],
    ] {
        let mut gcc = Command::new("gcc");
        let status = gcc.current_dir(&dir).args(arguments).status();
        assert!(status.unwrap().success());
    }
    // What the C library asks of the vDSO enters the kernel, and so the hook, only on demand.
    for (vdso, least, most) in [("", 0.0, 0.9e6), ("hook", 0.99e6, 30e6)] {
        let variables = [("CLOCK", "20"), ("LIBHOTPATCH_VDSO", vdso)];
        let said = run(&hook, &dir, &["./libc_clocks"], &variables);
        let out = said.out();
        let first: Vec<f64> = out.lines().next().map_or(Vec::new(), |line| {
            let times = line.split_whitespace();
            times.map(|t| t.parse().unwrap()).collect()
        });
        assert_eq!(first.len(), 3, "{}", said.err());
        assert!(
            first.iter().all(|t| (least..most).contains(t)),
            "{vdso}: {out}"
        );
    }
    for (speed, least, most) in [("20", 0.1, 1.9), ("0.5", 4.0, 9.0)] {
        let begin = std::time::Instant::now();
        let said = run(&hook, &dir, &["./clocks"], &[("CLOCK", speed)]);
        let took = begin.elapsed().as_secs_f64();
        assert!(said.output.status.success(), "{}", said.err());
        assert!((least..most).contains(&took), "{speed}: {took}");
        let out = said.out();
        let times: Vec<f64> = out.split_whitespace().map(|t| t.parse().unwrap()).collect();
        assert_eq!((times.len(), times[4]), (5, 1.0));
        // A busy machine sleeps longer than it is asked to, and that is multiplied.
        assert!(
            times[..4].iter().all(|t| (0.99e6..30e6).contains(t)),
            "{speed}: {out}"
        );
    }
    let begin = std::time::Instant::now();
    let said = run(&hook, &dir, &["sleep", "10"], &[("CLOCK", "20")]);
    assert!(said.output.status.success() && begin.elapsed().as_secs() < 5);
    let said = run(&hook, &dir, &["true"], &[("CLOCK", "fast")]);
    assert!(
        said.lines
            .iter()
            .any(|l| l.contains("hook clock: cannot start: not valid")),
        "{:?}",
        said.lines
    );
}

/// Forbids, at the price of its life, all that copies memory or opens a log; then opens files. A fault's end is a call
/// of its own, `rt_sigreturn`.
const FILTERED: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog filter = {sizeof rules / sizeof *rules, rules};
    static char text[64];
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) return 2;
    int denied = open(argv[1], O_RDONLY) < 0 ? errno : 0;
    int wild = open((char *)8, O_RDONLY) < 0 ? errno : 0;
    int free = open(argv[2], O_RDONLY) < 0;
    write(1, text, snprintf(text, sizeof text, "%d %d %d\n", denied, wild, free));
    _exit(0);
}
"#;

#[test]
fn deny_holds_behind_a_filter_that_forbids_to_look() {
    let (hook, dir) = (hook("deny"), place("filtered"));
    fs::write(dir.join("filtered.c"), FILTERED).unwrap();
    let status = Command::new("gcc")
        .current_dir(&dir)
        .args(["-w", "-o", "filtered", "filtered.c"])
        .status();
    assert!(status.unwrap().success());
    let said = run(
        &hook,
        &dir,
        &["./filtered", "/etc/passwd", "/etc/hostname"],
        &[("DENY", "/etc/passwd")],
    );
    assert_eq!(
        (said.output.status.code(), &*said.out()),
        (Some(0), "13 14 0\n"),
        "{}",
        said.err()
    );
}

#[test]
fn clock_makes_the_processors_counter_run_along() {
    const TICKS: &str = "#include <stdio.h>\n#include <time.h>\n#include <x86intrin.h>\n\
        int main(void) {\n    struct timespec second = {1, 0};\n    unsigned processor;\n\
        unsigned long long before = __rdtsc();\n    nanosleep(&second, 0);\n\
        unsigned long long middle = __rdtscp(&processor);\n    nanosleep(&second, 0);\n\
        printf(\"%llu %llu\\n\", middle - before, __rdtscp(&processor) - middle);\n}\n";
    let (hook, dir) = (hook("clock"), place("ticks"));
    fs::write(dir.join("ticks.c"), TICKS).unwrap();
    let status = Command::new("gcc")
        .current_dir(&dir)
        .args(["-O1", "-o", "ticks", "ticks.c"])
        .status();
    assert!(status.unwrap().success());
    let numbers =
        |out: &str| -> Vec<f64> { out.split_whitespace().map(|n| n.parse().unwrap()).collect() };
    let native = Command::new(dir.join("ticks")).output().unwrap();
    let native = numbers(&String::from_utf8_lossy(&native.stdout));
    let said = run(&hook, &dir, &["./ticks"], &[("CLOCK", "20")]);
    let hooked = numbers(&said.out());
    // Without the hook a twentieth would have passed.
    for (hooked, native) in hooked.iter().zip(&native) {
        assert!(
            (0.5..30.0).contains(&(hooked / native)),
            "{}: {native}",
            said.out()
        );
    }
    assert_eq!(hooked.len(), 2);
}
