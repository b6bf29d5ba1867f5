//! `-p PID` and `hotpatch detach`: processes that run already.

#[path = "common/both.rs"]
mod both;
mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use both::{compile, path};
use common::{Place, text};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const BUSY: &str = include_str!("attach/busy.c");
const ODD: &str = include_str!("attach/odd.c");
const HANDLED: &str = include_str!("attach/handled.c");
const LIMITS: &str = include_str!("attach/limits.c");
const VFORK: &str = include_str!("attach/vfork.c");

/// A program that has said that it is ready, and ends when its standard input does.
struct Guest {
    child: Child,
    output: BufReader<ChildStdout>,
    /// The number that it has told.
    number: String,
}

impl Guest {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("ready"), "{line:?}");
        let number = line
            .split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        Self {
            child,
            output,
            number,
        }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap()
    }

    fn tracer(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("TracerPid"));
        line.unwrap().to_owned()
    }

    /// Its output, what it had to complain about, and its status.
    fn end(mut self) -> (String, String, Option<i32>) {
        drop(self.child.stdin.take());
        let (mut said, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut said).unwrap();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        (said, errors, self.child.wait().unwrap().code())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // One whose test has failed, that is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for something that comes soon.
fn wait_until(is: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is() {
        assert!(begin.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// The command, until it has said that it is attached; and what it says.
struct Attached {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hook that looks at each call and its result, and changes an argument that some which wait do not have: so that the
/// program's own have to be kept meanwhile.
fn hook(place: &Place) -> PathBuf {
    let source = place.dir.path().join("looks.c");
    let object = place.dir.path().join("looks.so");
    let code = "#include <hotpatch.h>
        static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
            switch (context->number) { // read, write, poll, rt_sigtimedwait, rt_sigsuspend, clock_nanosleep, epoll_wait
            case 0: case 1: case 7: case 128: case 130: case 230: case 232: frame->r9 ^= 0x5555;
            }
            return HOTPATCH_RUN_AND_RETURN;
        }
        static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) { }
        const hotpatch_hook_t hotpatch_hook = { .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t),
            .syscalls = HOTPATCH_ALL_SYSCALLS, .before = before, .after = after };";
    std::fs::write(&source, code).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let status = Command::new("gcc")
        .args([
            "-shared",
            "-fPIC",
            "-ffreestanding",
            "-nostdlib",
            "-mgeneral-regs-only",
            "-I",
        ])
        .arg(include)
        .args(["-o", path(&object), path(&source)])
        .status()
        .unwrap();
    assert!(status.success());
    object
}

fn attached(place: &Place, words: &[&str]) -> Attached {
    let mut command = place.hotpatch();
    let mut child = command.args(words).stderr(Stdio::piped()).spawn().unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    let mut attached = Attached { child, errors };
    let mut line = String::new();
    attached.errors.read_line(&mut line).unwrap();
    assert!(line.ends_with(" attached\n"), "{line:?}");
    attached
}

/// Interrupts the command: what else it has said.
fn interrupt(mut command: Attached) -> String {
    kill(
        Pid::from_raw(command.child.id().cast_signed()),
        Signal::SIGINT,
    )
    .unwrap();
    let mut said = String::new();
    command.errors.read_to_string(&mut said).unwrap();
    assert_eq!(command.child.wait().unwrap().code(), Some(0), "{said}");
    said
}

#[test]
fn threads_go_on_as_before_while_hooks_come_and_go() {
    let place = Place::new();
    let hook = hook(&place);
    let log = place.dir.path().join("log");
    let kinds: [(&str, &[&str]); 3] = [
        ("dynamic", &["gcc", "-O2", "-pthread"]),
        ("static", &["gcc", "-O2", "-static", "-pthread"]),
        ("musl", &["musl-gcc", "-O2"]),
    ];
    for (name, compiler) in kinds {
        let busy = compile(&place, name, BUSY, compiler);
        let guest = Guest::start(Command::new(busy));
        let _ = std::fs::remove_file(&log);
        for _ in 0..4 {
            let words = [
                "run",
                "--log",
                path(&log),
                "--hook",
                path(&hook),
                "-p",
                &guest.pid(),
            ];
            let command = attached(&place, &words);
            assert_eq!(guest.tracer(), "TracerPid:\t0");
            assert!(guest.maps().contains("/libhotpatch"));
            let said = interrupt(command);
            assert_eq!(
                said,
                format!("hotpatch: process {} detached\n", guest.pid())
            );
            assert!(!guest.maps().contains("hotpatch"), "{}", guest.maps());
            assert!(is_native(&guest) > 1 << 14);
        }
        let (said, errors, status) = guest.end();
        assert_eq!(
            (&*said, &*errors, status),
            ("as it should be\n", "", Some(0)),
            "{name}"
        );
        let log = std::fs::read_to_string(&log).unwrap();
        assert_eq!(log.matches("hooks are called at").count(), 4, "{log}");
    }
}

#[test]
fn a_process_that_was_started_patched_is_put_back() {
    let place = Place::new();
    let busy = compile(&place, "busy", BUSY, &["gcc", "-O2", "-pthread"]);
    let hook = hook(&place);
    let library = text(&place.output(&["lib"]).stdout);
    let mut run = place.hotpatch();
    // Its log keeps the command from staying beside it.
    run.args([
        "run",
        "--log",
        "/dev/null",
        "--hook",
        path(&hook),
        path(&busy),
    ]);
    let mut loaded = Command::new(&busy);
    loaded
        .env("LD_PRELOAD", library.trim_end())
        .env("LIBHOTPATCH_HOOK", &hook)
        .env("LIBHOTPATCH_LOGPATH", "/dev/null");
    let words = [
        "its code is as it was, and nothing of hotpatch is left in it",
        "its code is as it was; the library, which its loader has mapped, stays and does nothing",
    ];
    for (command, words) in [run, loaded].into_iter().zip(words) {
        let guest = Guest::start(command);
        let output = place.output(&["detach", &guest.pid()]);
        let said = text(&output.stderr);
        assert_eq!(
            said,
            format!("hotpatch: process {}: {words}\n", guest.pid())
        );
        assert!(output.status.success());
        assert!(is_native(&guest) > 1 << 20);
        let again = place.output(&["detach", &guest.pid()]);
        assert_eq!(
            again.status.code(),
            Some(i32::from(words.ends_with("in it")))
        );
        assert_eq!(
            guest.end(),
            ("as it should be\n".to_owned(), String::new(), Some(0))
        );
    }
}

/// Whether all code of files is in memory as it is in the files; how many bytes that is.
fn is_native(guest: &Guest) -> usize {
    use std::os::unix::fs::FileExt as _;
    let memory = std::fs::File::open(format!("/proc/{}/mem", guest.pid())).unwrap();
    let maps = guest.maps();
    let mut all = 0;
    for line in maps
        .lines()
        .filter(|line| line.contains(" r-xp ") && line.contains(" /"))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = words[0].split_once('-').unwrap();
        let len = (number(end) - number(start)) as usize;
        let (mut now, mut then) = (vec![0; len], vec![0; len]);
        memory.read_exact_at(&mut now, number(start)).unwrap();
        let file = std::fs::File::open(words[5]).unwrap();
        // The last page of a file may be mapped beyond its end.
        let got = file.read_at(&mut then, number(words[2])).unwrap();
        assert!(now[..got] == then[..got], "{line}");
        all += got;
    }
    all
}

/// Attaching fails, with these words.
fn refused(place: &Place, pid: &str, words: &str) {
    let output = place.output(&["run", "-p", pid]);
    let said = text(&output.stderr);
    assert_eq!(said, format!("hotpatch: process {pid}: {words}\n"));
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn what_cannot_be_attached_to_is_told_why() {
    let place = Place::new();
    let odd = compile(&place, "odd", ODD, &["gcc", "-pthread"]);
    let start = |what: &str| {
        let mut command = Command::new(&odd);
        command.arg(what);
        Guest::start(command)
    };
    for (what, words) in [
        (
            "filter",
            "it has set a seccomp filter, which may end it for the calls that attaching takes",
        ),
        (
            "gs",
            "it uses the segment register gs itself, which hooks need",
        ),
        (
            "zombie",
            "it has ended: its parent has not waited for it yet",
        ),
        (
            "leader",
            "its first thread has ended, so the kernel shows nothing of it under its own number",
        ),
        ("traced", ""),
        ("thread", ""),
        ("vfork", ""),
    ] {
        let guest = start(what);
        let (pid, parent) = (guest.number.clone(), guest.pid());
        match what {
            "traced" => refused(
                &place,
                &pid,
                &format!("process {parent} (odd) traces it already"),
            ),
            "thread" => refused(
                &place,
                &pid,
                &format!("it is a thread of process {parent}: attach to that"),
            ),
            "vfork" => {
                let shares = |other| {
                    format!(
                        "process {other} shares its memory, and would run code while it changes"
                    )
                };
                refused(&place, &pid, &shares(&parent));
                refused(&place, &parent, &shares(&pid));
            }
            "leader" => refused(&place, &parent, words),
            _ => refused(&place, &pid, words),
        }
        let (_, errors, status) = guest.end();
        assert_eq!((&*errors, status), ("", Some(0)), "{what}");
    }
    // No number of a process is as high.
    refused(&place, "4194999", "no such process");
    let output = place.output(&["run", "-p", "x"]);
    assert!(text(&output.stderr).contains("not the number of a process"));
    let guest = start("");
    let output = place.output(&["detach", &guest.pid()]);
    assert_eq!(
        text(&output.stderr),
        format!("hotpatch: process {}: it is not patched\n", guest.pid())
    );
    assert_eq!(output.status.code(), Some(1));
    let log = place.dir.path().join("log");
    let command = attached(&place, &["run", "--log", path(&log), "-p", &guest.pid()]);
    refused(
        &place,
        &guest.pid(),
        "it is patched already: hotpatch detach undoes that",
    );
    interrupt(command);
    if nix::unistd::geteuid().is_root() {
        // Where nobody else can be, only this is not tried.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(place.dir.path(), open).unwrap();
        // The one that was built may lie where only root comes.
        let own = place.dir.path().join("own-hotpatch");
        std::fs::copy(assert_cmd::cargo::cargo_bin!("hotpatch"), &own).unwrap();
        let output = Command::new(own)
            .args(["run", "-p", &guest.pid()])
            .env("XDG_CACHE_HOME", place.dir.path().join("nobody"))
            .env("NO_COLOR", "1")
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        let words = "it belongs to root: attach as that user, or as root";
        assert_eq!(
            text(&output.stderr),
            format!("hotpatch: process {}: {words}\n", guest.pid())
        );
    }
    assert_eq!(guest.end().2, Some(0));
}

#[test]
fn a_stopped_process_stays_stopped() {
    let place = Place::new();
    let odd = compile(&place, "odd", ODD, &["gcc", "-pthread"]);
    let guest = Guest::start(Command::new(odd));
    let pid = Pid::from_raw(guest.child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .chars()
            .next()
            .unwrap()
    };
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    unsafe { libc::waitpid(pid.as_raw(), &raw mut status, libc::WUNTRACED) };
    assert!(libc::WIFSTOPPED(status));
    let log = place.dir.path().join("log");
    let command = attached(&place, &["run", "--log", path(&log), "-p", &guest.pid()]);
    wait_until(|| state() == 'T');
    interrupt(command);
    wait_until(|| state() == 'T');
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(guest.end().2, Some(0));
}

/// What one thread does again and again, told by its descriptors; ends with standard input.
const LOOPS: &str = r#"
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
	struct pollfd end = {0, POLLIN, 0};
	puts("ready");
	fflush(stdout);
	while (poll(&end, 1, 1) == 0) {
		char byte;
		int fd = open("/dev/zero", O_RDONLY);
		if (read(fd, &byte, 1) != 1 || close(fd) != 0)
			return 2;
		int status;
		pid_t child = fork();
		if (child == 0) {
			chdir("/");
			_exit(3);
		}
		if (waitpid(child, &status, 0) != child || status != 3 << 8)
			return 3;
	}
	return 0;
}
"#;

/// The lines of a file once `is` holds of them.
fn lines(path: &Path, is: impl Fn(&str) -> bool) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until(|| is(&read()));
    read()
}

fn trace_a_running_process(place: &Place, start: impl Fn(Command) -> Command) {
    let loops = compile(place, "loops", LOOPS, &["gcc", "-O1"]);
    let out = place.dir.path().join("out");
    for follow in [false, true] {
        let _ = std::fs::remove_file(&out);
        let guest = Guest::start(start(Command::new(&loops)));
        let pid = guest.pid();
        let mut words = vec!["trace", "-o", path(&out), "-p", &pid];
        if follow {
            words.insert(1, "-f");
        }
        let command = attached(place, &words);
        lines(&out, |all| {
            all.matches("waitid(").count() + all.matches("wait4(").count() > 20
        });
        let said = interrupt(command);
        assert_eq!(said, format!("hotpatch: process {pid} detached\n"));
        assert!(!guest.maps().contains("hotpatch"));
        let all = std::fs::read_to_string(&out).unwrap();
        let own: Vec<&str> = all
            .lines()
            .filter(|line| !line.contains("resumed>"))
            .collect();
        let own = own.iter().filter(|line| !follow || line.starts_with(&*pid));
        let calls: Vec<&str> = own
            .map(|line| line.trim_start_matches(&*pid).trim_start())
            .map(|line| line.split('(').next().unwrap())
            .collect();
        // From the first of a turn on each call is told, in order.
        let first = calls.iter().position(|call| *call == "poll").unwrap();
        let turn = ["poll", "openat", "read", "close", "clone", "wait4"];
        let told: Vec<&&str> = calls[first..]
            .iter()
            .filter(|call| **call != "---")
            .collect();
        let told: Vec<&&str> = told
            .into_iter()
            .filter(|call| !call.starts_with("---"))
            .collect();
        assert!(told.len() > 60, "{all}");
        for (n, call) in told.iter().enumerate() {
            assert_eq!(**call, turn[n % turn.len()], "call {n} of\n{all}");
        }
        let children = all.matches("exit_group(3)").count();
        assert_eq!(children > 10, follow, "{all}");
        // One may have been underway at the end.
        let moved = all.matches("chdir(\"/\"").count();
        assert!(moved.abs_diff(children) <= 1, "{all}");
        assert_eq!(guest.end().2, Some(0));
    }
    let _ = std::fs::remove_file(&out);
    let guest = Guest::start(start(Command::new(&loops)));
    let words = ["count", "--json", "-o", path(&out), "-p", &guest.pid()];
    let command = attached(place, &words);
    let now = || std::fs::read_to_string(format!("/proc/{}/stat", guest.pid())).unwrap();
    // Its children's faults, of which each has some: a few of them have come and gone.
    let faults = || {
        now()
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .nth(8)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let before = faults();
    wait_until(|| faults() > before + 1000);
    interrupt(command);
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let of = |name: &str| {
        let calls = json["calls"].as_array().unwrap();
        let call = calls.iter().find(|call| call["name"] == name);
        call.map_or(0, |call| call["calls"].as_u64().unwrap())
    };
    assert!(of("openat") > 3, "{json}");
    assert!(
        of("openat").abs_diff(of("close")) <= 1 && of("chdir").abs_diff(of("clone")) <= 1,
        "{json}"
    );
    assert_eq!(guest.end().2, Some(0));
}

#[test]
fn a_running_process_is_traced_and_counted() {
    trace_a_running_process(&Place::new(), |command| command);
}

#[test]
fn the_end_of_a_traced_process_is_told_as_far_as_it_tells_it() {
    let place = Place::new();
    let odd = compile(&place, "odd", ODD, &["gcc", "-pthread"]);
    let out = place.dir.path().join("out");
    for killed in [false, true] {
        let mut guest = Guest::start(Command::new(&odd));
        let mut command = attached(&place, &["trace", "-o", path(&out), "-p", &guest.pid()]);
        if killed {
            guest.child.kill().unwrap();
        }
        guest.end();
        assert_eq!(command.child.wait().unwrap().code(), Some(0));
        let all = std::fs::read_to_string(&out).unwrap();
        assert_eq!(all.ends_with("+++ exited with 0 +++\n"), !killed, "{all}");
        assert!(killed || all.contains("exit_group(0) "), "{all}");
    }
}

#[test]
fn another_users_process_is_traced_by_root() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root may
    }
    let place = Place::new();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.dir.path(), open).unwrap();
    trace_a_running_process(&place, |mut command| {
        command.uid(65534).gid(65534);
        command
    });
}

#[test]
fn a_handler_that_has_begun_returns_to_an_alternate_stack_that_hooks_can_bear() {
    let place = Place::new();
    let frames = compile(
        &place,
        "frames",
        include_str!("attach/frames.c"),
        &["gcc", "-O1"],
    );
    let native = Guest::start(Command::new(&frames)).end();
    assert_eq!(native, ("0 1 0\n".to_owned(), String::new(), Some(0)));
    let hook = hook(&place);
    let guest = Guest::start(Command::new(&frames));
    let skip = ["run", "--skip", "*/frames", "--log", "/dev/null"];
    let pid = guest.pid();
    let words = [&skip[..], &["--hook", path(&hook), "-p", &pid]].concat();
    let mut command = attached(&place, &words);
    assert_eq!(
        guest.end(),
        ("0 1 80000000\n".to_owned(), String::new(), Some(0))
    );
    // The process has ended, and so does the command.
    assert_eq!(command.child.wait().unwrap().code(), Some(0));
}

/// Sends a program a signal, whose handler says these words.
fn signalled(guest: &mut Guest, words: &str) {
    let pid = Pid::from_raw(guest.child.id().cast_signed());
    kill(pid, Signal::SIGUSR1).unwrap();
    let mut line = String::new();
    guest.output.read_line(&mut line).unwrap();
    assert_eq!(line, words);
}

/// Waits until the only thread of a program is in this system call.
fn is_in(guest: &Guest, number: i64) {
    let at = format!("/proc/{}/syscall", guest.pid());
    let number = format!("{number} ");
    wait_until(|| std::fs::read_to_string(&at).is_ok_and(|now| now.starts_with(&number)));
}

#[test]
fn handlers_that_have_begun_before_come_to_their_end_behind() {
    let place = Place::new();
    let hook = hook(&place);
    let kinds: [(&str, &[&str]); 3] = [
        // All bound at the start, so that nothing overwrites what earlier frames have left.
        ("dynamic", &["gcc", "-O2", "-Wl,-z,now"]),
        ("static", &["gcc", "-O2", "-static"]),
        ("musl", &["musl-gcc", "-O2"]),
    ];
    let ended = |guest: Guest, name: &str| {
        let as_natively = ("ended\n".to_owned(), String::new(), Some(0));
        assert_eq!(guest.end(), as_natively, "{name}");
    };
    for (name, compiler) in kinds {
        let program = compile(&place, name, HANDLED, compiler);
        let hooked = |guest: &Guest| {
            is_in(guest, libc::SYS_pause);
            let words = ["run", "--log", "/dev/null", "--hook", path(&hook), "-p"];
            let command = attached(&place, &[&words[..], &[&guest.pid()]].concat());
            is_in(guest, libc::SYS_pause);
            command
        };
        // A handler that has begun under us ends natively.
        let mut guest = Guest::start(Command::new(&program));
        let command = hooked(&guest);
        signalled(&mut guest, "first\n");
        is_in(&guest, libc::SYS_pause);
        signalled(&mut guest, "inside\n");
        is_in(&guest, libc::SYS_read);
        interrupt(command);
        ended(guest, name);
        // One that has begun natively, where one of ours has left its frame, ends under another that is laid out otherwise.
        let mut guest = Guest::start(Command::new(&program));
        let command = hooked(&guest);
        signalled(&mut guest, "first\n");
        is_in(&guest, libc::SYS_pause);
        interrupt(command);
        signalled(&mut guest, "inside\n");
        is_in(&guest, libc::SYS_read);
        let command = attached(&place, &["run", "--log", "/dev/null", "-p", &guest.pid()]);
        ended(guest, name);
        drop(command);
    }
}

#[test]
fn a_process_that_cannot_be_stopped_runs_on_whatever_else_is_attached_to() {
    let place = Place::new();
    let stuck = compile(&place, "stuck", VFORK, &["gcc", "-pthread"]);
    let odd = compile(&place, "odd", ODD, &["gcc", "-pthread"]);
    let (guest, other) = (
        Guest::start(Command::new(stuck)),
        Guest::start(Command::new(odd)),
    );
    let mut command = place.hotpatch();
    command.args(["run", "--log", "/dev/null"]);
    command.args(["-p", &guest.pid(), "-p", &other.pid()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let (mut first, mut second) = (String::new(), String::new());
    errors.read_line(&mut first).unwrap();
    errors.read_line(&mut second).unwrap();
    let command = Attached { child, errors };
    assert!(first.contains(" cannot be stopped: "), "{first}");
    assert!(second.ends_with(" attached\n"), "{second}");
    assert_eq!(guest.tracer(), "TracerPid:\t0");
    let as_natively = ("as it should be\n".to_owned(), String::new(), Some(0));
    assert_eq!(guest.end(), as_natively);
    interrupt(command);
    assert_eq!(other.end().2, Some(0));
}

#[test]
fn a_process_that_sees_other_directories_is_traced_by_root() {
    if !nix::unistd::geteuid().is_root() {
        return; // only root may make one
    }
    let place = Place::new();
    trace_a_running_process(&place, |command| {
        let mut other = Command::new("unshare");
        let hides = "cp \"$0\" /tmp/$$ && mount -t tmpfs none \"$1\" && exec 3</tmp/$$ && rm /tmp/$$ && exec /proc/self/fd/3";
        other.args(["-m", "sh", "-c", hides]);
        other.arg(command.get_program()).arg(place.dir.path());
        other
    });
    let mut command = Command::new("unshare");
    command
        .args(["-p", "-f", "--kill-child"])
        .arg(place.dir.path().join("loops"));
    let guest = Guest::start(command);
    let children = format!("/proc/{0}/task/{0}/children", guest.pid());
    let child = std::fs::read_to_string(children).unwrap().trim().to_owned();
    let output = place.output(&["trace", "-p", &child]);
    let why =
        "it is in a PID namespace of its own, where its numbers are others: run hotpatch there";
    assert_eq!(
        text(&output.stderr),
        format!("hotpatch: process {child}: {why}\n")
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(guest.end().2, Some(0));
}

#[test]
fn calls_with_a_limit_of_time_are_not_cut_off() {
    let place = Place::new();
    let limits = compile(&place, "limits", LIMITS, &["gcc", "-pthread", "-w"]);
    let guest = Guest::start(Command::new(limits));
    let hook = hook(&place);
    let words = ["run", "--log", "/dev/null", "--hook", path(&hook)];
    for _ in 0..2 {
        let command = attached(&place, &[&words[..], &["-p", &guest.pid()]].concat());
        interrupt(command);
    }
    let as_natively = ("ended\n".to_owned(), String::new(), Some(0));
    assert_eq!(guest.end(), as_natively);
}

#[test]
fn a_command_that_is_killed_leaves_the_process_whole() {
    let place = Place::new();
    let busy = compile(&place, "busy", BUSY, &["gcc", "-O2", "-pthread"]);
    let hook = hook(&place);
    let guest = Guest::start(Command::new(busy));
    let pid = guest.pid();
    let run = ["run", "--log", "/dev/null", "--hook", path(&hook), "-p"];
    let detach = ["detach"];
    let mut met = 0;
    for round in 0..16 {
        let mut command = place.hotpatch();
        // What detaches takes longer to be met in the middle.
        let words = if round % 2 == 0 {
            &run[..]
        } else {
            &detach[..]
        };
        let mut child = command
            .args(words)
            .arg(&pid)
            .process_group(0)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let traced = || guest.tracer() != "TracerPid:\t0";
        let mut ended = false;
        while !traced() && !ended {
            // Attached, or it has ended already.
            ended = child.try_wait().unwrap().is_some()
                || words.len() > 1 && guest.maps().contains("/libhotpatch");
        }
        met += u32::from(!ended);
        let group = Pid::from_raw(-child.id().cast_signed());
        let _ = kill(group, Signal::SIGKILL);
        child.wait().unwrap();
        wait_until(|| !traced());
    }
    assert!(met > 4, "{met}");
    let as_natively = ("as it should be\n".to_owned(), String::new(), Some(0));
    assert_eq!(guest.end(), as_natively);
}
