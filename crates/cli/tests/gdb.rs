//! What debuggers and profilers see of a patched program: real gdb, perf, strace and valgrind.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Place, text};

/// Compiles a file of tests/gdb.
fn compile(place: &Place, source: &str, output: &str, flags: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = place.dir.path().join(output);
    let status = Command::new("gcc")
        .args(["-g", "-O1", "-pthread", "-o"])
        .arg(&output)
        .arg(root.join("tests/gdb").join(source))
        .arg("-I")
        .arg(root.join("../../include"))
        .args(flags)
        .status();
    assert!(status.expect("gcc (apt-get install gcc)").success());
    output
}

fn guest(place: &Place) -> PathBuf {
    compile(place, "guest.c", "guest", &[])
}

/// The hook that waits, under a name.
fn hook(place: &Place, name: &str, more: &[&str]) -> PathBuf {
    let flags = ["-shared", "-nostdlib", "-fPIC", "-ffreestanding"];
    let flags = [&flags[..], &["-mgeneral-regs-only"], more].concat();
    compile(place, "waits.c", name, &flags)
}

/// A program that says `ready` and then waits for its input.
struct Waiting {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Waiting {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, out }
    }

    /// The guest: `hotpatch run` has it as its child.
    fn pid(&self) -> u32 {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
        children.trim().parse().unwrap_or(own)
    }

    /// Waits until the program's first thread is where `is_there` says.
    fn until(&self, is_there: impl Fn(&str) -> bool) {
        let path = format!("/proc/{}/syscall", self.pid());
        for _ in 0..6000 {
            if is_there(&fs::read_to_string(&path).unwrap_or_default()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{path}: {:?}", fs::read_to_string(&path));
    }

    fn until_it_reads(&self) {
        self.until(|text| text.starts_with("0 0x0 "));
    }

    /// Lets it end: what it printed.
    fn end(mut self) -> String {
        self.child.stdin.take().unwrap().write_all(b"x").unwrap();
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert!(self.child.wait().unwrap().success());
        line
    }
}

/// What `hotpatch gdb` prints for these arguments.
fn gdb(place: &Place, arguments: &[&str]) -> String {
    let output = place
        .hotpatch()
        .args(["gdb", "-q", "-nx", "-batch"])
        .args(["-iex", "set debuginfod enabled off"])
        .args(["-iex", "set print frame-arguments scalars"])
        .args(["-iex", "set print entry-values no"])
        .args(["-iex", "set width 0"])
        .args(arguments)
        .output()
        .expect("gdb (apt-get install gdb)");
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(!shown.contains("Python Exception"), "{shown}");
    shown
}

/// Asserts that a backtrace has these words in this order, each in a frame of its own, and no frame between is unknown. (A
/// function may have two frames: one is a part of it that is inlined.)
fn assert_calls(shown: &str, names: &[&str]) {
    let is_there = |backtrace: &str| {
        let mut wanted = names.iter().peekable();
        let frames = backtrace.lines().filter(|line| line.starts_with('#'));
        for frame in frames.take_while(|frame| !frame.contains(" ?? ")) {
            wanted.next_if(|name| frame.contains(**name));
        }
        wanted.next().is_none()
    };
    let numbered = shown.replace("#0 ", "\n\n#0 ");
    assert!(
        numbered.split("\n\n").any(is_there),
        "not {names:?} in\n{shown}"
    );
}

fn run(place: &Place, hooks: &[&PathBuf]) -> Waiting {
    let guest = guest(place);
    let mut command = place.hotpatch();
    command.args(["run", "--log", "/dev/null"]);
    for hook in hooks {
        command.arg("--hook").arg(hook);
    }
    Waiting::start({
        command.arg("--").arg(guest);
        command
    })
}

#[test]
fn gdb_attaches_to_a_program_that_sleeps_in_a_trampoline() {
    let place = Place::new();
    let waiting = run(&place, &[]);
    waiting.until_it_reads();
    let pid = waiting.pid().to_string();
    let shown = gdb(&place, &["-p", &pid, "-ex", "thread apply all bt"]);
    assert_calls(
        &shown,
        &[
            "[hotpatch: read]",
            "read",
            "inner (n=2",
            "outer (n=1",
            "main (",
        ],
    );
    assert_calls(
        &shown,
        &["[hotpatch: read]", "read", "other (none=", "start_thread"],
    );
    // It goes on as if nothing had happened.
    assert_eq!(waiting.end(), "4\n");
}

#[test]
fn gdb_sees_from_a_hook_to_the_program() {
    // One hook is called by assembly alone, several by Rust.
    for count in [1, 2] {
        let place = Place::new();
        let first = hook(&place, "first.so", &[]);
        let other = hook(&place, "other.so", &["-Dbefore=other"]);
        let hooks = [&first, &other];
        let waiting = run(&place, &hooks[..count]);
        waiting.until(|text| text.starts_with("running"));
        let pid = waiting.pid().to_string();
        let mut commands = vec!["-p", &pid, "-ex", "thread 1", "-ex", "bt"];
        let values = [
            "-ex",
            "set var waits = 0",
            "-ex",
            "finish",
            "-ex",
            "print depth",
        ];
        commands.extend(values);
        let shown = gdb(&place, &commands);
        let hook = ["(depth=0)", "(depth=1)", "(depth=2)", "before"];
        let program = ["hotpatch_", "read", "inner (n=2", "outer (n=1", "main ("];
        assert_calls(&shown, &[&hook[..], &program].concat());
        assert!(shown.contains("Value returned is $1 = 0"), "{shown}");
        assert!(shown.contains("$2 = 1"), "{shown}");
        if count == 1 {
            assert_eq!(waiting.end(), "4\n");
        } else {
            // The other hook waits now, and is let go the same way.
            waiting.until(|text| text.starts_with("running"));
            gdb(
                &place,
                &["-p", &pid, "-ex", "thread 1", "-ex", "set var waits = 0"],
            );
            assert_eq!(waiting.end(), "4\n");
        }
    }
}

#[test]
fn gdb_breaks_and_steps_through_a_trampoline() {
    let place = Place::new();
    let guest = guest(&place);
    let library = place.output(&["lib"]);
    let preload = format!(
        "set exec-wrapper env LIBHOTPATCH_LOGPATH=/dev/null LD_PRELOAD={}",
        text(&library.stdout).trim()
    );
    // From the first instruction of `read` to its last: each step is one instruction, or a whole trampoline.
    let script = "python
gdb.execute('break inner')
gdb.execute('run </dev/null')
gdb.execute('break read thread 1')
gdb.execute('continue')
gdb.execute('delete')
gdb.execute('set scheduler-locking step')
steps = trampolines = 0
while gdb.selected_frame().name() != 'inner' and steps < 300:
    names, frame = [], gdb.selected_frame()
    while frame:
        names.append(frame.name())
        frame = frame.older()
    steps += 1
    trampolines += names[0] is None
    # At the first and the last instruction of a function libc's own unwind tables are right too.
    if names[-3:] != ['inner', 'outer', 'main']:
        print('LOST', hex(gdb.selected_frame().pc()), names)
    gdb.execute('stepi', to_string=True)
print('steps', steps, 'in trampolines', trampolines)
gdb.execute('continue')
end
";
    let file = place.dir.path().join("steps.gdb");
    fs::write(&file, script).unwrap();
    let guest = guest.to_str().unwrap();
    let shown = gdb(
        &place,
        &["-ex", &preload, "-x", file.to_str().unwrap(), guest],
    );
    assert!(shown.contains("exited normally"), "{shown}");
    let steps = shown.split("in trampolines ").nth(1);
    let steps: u32 = steps
        .and_then(|rest| rest.lines().next()?.parse().ok())
        .expect(&shown);
    assert!(steps >= 3 && !shown.contains("LOST"), "{shown}");
}

#[test]
fn a_core_dump_reads_as_a_live_process() {
    let place = Place::new();
    let waiting = run(&place, &[]);
    waiting.until_it_reads();
    let pid = waiting.pid().to_string();
    let core = place.dir.path().join("core");
    let dump = format!("generate-core-file {}", core.display());
    gdb(&place, &["-p", &pid, "-ex", &dump]);
    assert_eq!(waiting.end(), "4\n");
    let program = place.dir.path().join("guest");
    let files = [program.to_str().unwrap(), core.to_str().unwrap()];
    let shown = gdb(&place, &[files[0], files[1], "-ex", "thread apply all bt"]);
    assert_calls(
        &shown,
        &[
            "[hotpatch: read]",
            "read",
            "inner (n=2",
            "outer (n=1",
            "main (",
        ],
    );
    assert_calls(&shown, &["[hotpatch: read]", "read", "other (none="]);
}

#[test]
fn perf_finds_names_for_trampolines() {
    let place = Place::new();
    let guest = guest(&place);
    let mut command = place.hotpatch();
    command
        .env("LIBHOTPATCH_PERF", "1")
        .args(["run", "--log", "/dev/null", "--"])
        .arg(&guest);
    let waiting = Waiting::start(command);
    waiting.until_it_reads();
    let pid = waiting.pid();
    let syscall = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    let pc = syscall
        .split_whitespace()
        .last()
        .unwrap()
        .trim_start_matches("0x");
    let pc = u64::from_str_radix(pc, 16).unwrap();
    let path = format!("/tmp/perf-{pid}.map");
    let map = fs::read_to_string(&path).unwrap();
    let number = |word: &str| u64::from_str_radix(word, 16).unwrap();
    let lines = map
        .lines()
        .map(|line| line.splitn(3, ' ').collect::<Vec<_>>());
    let lines: Vec<(u64, u64, &str)> = lines.map(|w| (number(w[0]), number(w[1]), w[2])).collect();
    let named = lines
        .iter()
        .find(|(start, len, _)| (*start..start + len).contains(&pc));
    assert!(named.unwrap().2.starts_with("hotpatch:"), "{named:?}");
    assert!(named.unwrap().2.contains("read"), "{named:?}");
    assert_eq!(waiting.end(), "4\n");
    fs::remove_file(path).unwrap();
}

#[test]
fn a_map_for_perf_is_asked_for_and_never_somebody_elses() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    fs::write(&target, "").unwrap();
    // The shell makes a link of its own name, then becomes a program that is patched.
    let script = format!(
        "ln -s {} /tmp/perf-$$.map; echo $$; exec /bin/true",
        target.display()
    );
    let status = place
        .hotpatch()
        .env("LIBHOTPATCH_PERF", "1")
        .args(["run", "--log", "/dev/null", "--", "/bin/sh", "-c"])
        .arg(format!("rm -f /tmp/perf-$$.map; {script}"))
        .output()
        .unwrap();
    let link = format!("/tmp/perf-{}.map", text(&status.stdout).trim());
    assert!(status.status.success() && fs::symlink_metadata(&link).unwrap().is_symlink());
    fs::remove_file(link).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "");

    let waiting = run(&place, &[]);
    assert!(!Path::new(&format!("/tmp/perf-{}.map", waiting.pid())).exists());
    waiting.end();
}

#[test]
fn strace_sees_the_same_calls() {
    let place = Place::new();
    let guest = guest(&place);
    let calls = |preload: &str| -> Vec<String> {
        let out = place.dir.path().join("strace.txt");
        let mut command = Command::new("strace");
        command.args(["-f", "-a1", "-o"]).arg(&out);
        command.args(["-e", "raw=all", "-E", "LIBHOTPATCH_LOGPATH=/dev/null"]);
        if !preload.is_empty() {
            command.args(["-E", &format!("LD_PRELOAD={preload}")]);
        }
        let status = command
            .arg(&guest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("strace (apt-get install strace)").success());
        let seen = fs::read_to_string(&out).unwrap();
        let name = |line: &str| {
            line.split_whitespace()
                .nth(1)?
                .split('(')
                .next()
                .map(str::to_owned)
        };
        seen.lines().filter_map(name).collect()
    };
    // From `pipe` on; before it the loader and the library are at work.
    let own = |calls: Vec<String>| -> Vec<String> {
        let begin = calls.iter().position(|name| name.starts_with("pipe"));
        let mut own: Vec<String> = calls[begin.unwrap()..].to_vec();
        // Which of two threads is first, and whether a lock is waited for, is not the same twice.
        own.retain(|name| !name.starts_with("futex") && name != "<..." && name != "+++");
        own.sort();
        own
    };
    let native = own(calls(""));
    let library = place.output(&["lib"]);
    let mut patched = own(calls(text(&library.stdout).trim()));
    // The runtime's own: signals are blocked while it looks at a birth, an end or a mapping.
    let count = |calls: &[String]| {
        calls
            .iter()
            .filter(|name| *name == "rt_sigprocmask")
            .count()
    };
    assert!(count(&patched) >= count(&native));
    patched.dedup_by(|a, b| a == "rt_sigprocmask" && a == b);
    let mut native = native;
    native.dedup_by(|a, b| a == "rt_sigprocmask" && a == b);
    assert!(native.len() > 10, "{native:?}");
    assert_eq!(native, patched);
}

#[test]
fn under_valgrind_a_program_runs_unpatched_and_the_log_says_so() {
    let place = Place::new();
    let log = place.dir.path().join("log");
    let output = place
        .hotpatch()
        .args(["run", "--log"])
        .arg(&log)
        .args([
            "--",
            "valgrind",
            "-q",
            "--error-exitcode=9",
            "/bin/echo",
            "hello",
        ])
        .output()
        .unwrap();
    let said = fs::read_to_string(&log).unwrap();
    let shown = text(&output.stdout) + &text(&output.stderr) + &said;
    assert!(
        output.status.success(),
        "valgrind (apt-get install valgrind): {shown}"
    );
    assert_eq!(text(&output.stdout), "hello\n");
    let words = "valgrind translates code, and would not see it change: the program runs unpatched";
    assert!(said.contains(words), "{shown}");

    let library = place.output(&["lib"]);
    let output = Command::new("valgrind")
        .args(["-q", "/bin/echo", "hello"])
        .env("LD_PRELOAD", text(&library.stdout).trim())
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "hello\n");
    assert!(
        text(&output.stderr).contains("/bin/echo hello\nlibhotpatch["),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(text(&output.stderr).matches(words).count(), 1);
}
