//! What a hook on every call sees, beside what strace sees of the same process.
//!
//! Both watch one run, so addresses, descriptors and process ids are the same. The hook's own calls, and the
//! runtime's, come from instructions of the runtime; the hook marks one by a call that has no number, and the others lie
//! as far from it as in the library's file, so strace's lines from there can be told from the program's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::process::{End, run};
use crate::{Allowed, library, scratch};

/// The programs: each does other calls, some in threads and children.
pub const COMMANDS: [(&str, &str); 25] = [
    ("true", "/bin/true"),
    ("ls", "/bin/ls -l /usr /nonexistent"),
    (
        "coreutils",
        "/bin/cp -a /etc/fstab a; /bin/dd if=/dev/zero bs=64k count=3 | /usr/bin/sort --parallel=2 | /usr/bin/tee b | /usr/bin/b2sum; /usr/bin/timeout 0.05 /bin/sleep 9; /usr/bin/seq 9 | /usr/bin/xargs -P3 -n1 /bin/echo",
    ),
    (
        "bash",
        "/bin/bash -c 'echo $(/bin/echo a; (exit 3)) | /bin/cat; /bin/sleep 0.01 & wait'",
    ),
    (
        "bash_traps",
        "/bin/bash -c 'trap \"echo trapped\" USR1; for i in 1 2 3; do kill -USR1 $$; done; (kill -TERM $BASHPID); coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} l; echo $l'",
    ),
    (
        "dash",
        "/bin/dash -c 'cd /; for i in 1 2; do /bin/true; done; kill -TERM $$'",
    ),
    (
        "tar",
        "/bin/tar cf - /etc/passwd /etc/group | /bin/tar tf -",
    ),
    (
        "gzip",
        "/bin/gzip -9 -c /etc/services | /bin/gzip -dc | /usr/bin/wc -c",
    ),
    (
        "find",
        "/usr/bin/find /etc/apt -type f -exec /bin/true {} +",
    ),
    (
        "perl",
        "/usr/bin/perl -e 'print `/bin/echo x`; kill 0, $$; open F, \"</nonexistent\"; print -s \"/etc/passwd\"'",
    ),
    (
        "python",
        "/usr/bin/python3 -S -c 'import threading,os; t=[threading.Thread(target=os.stat,args=(\"/\",)) for _ in range(4)]; [x.start() for x in t]; [x.join() for x in t]; os.waitpid(os.posix_spawn(\"/bin/true\",[\"true\"],{}),0)'",
    ),
    (
        "python_signals",
        "/usr/bin/python3 -S -c 'import signal,time; n=[]; signal.signal(signal.SIGALRM, lambda *a: n.append(1)); signal.setitimer(signal.ITIMER_REAL,.001,.001)\nwhile len(n)<20: time.sleep(9)\nsignal.setitimer(signal.ITIMER_REAL,0)'",
    ),
    (
        "sqlite",
        "/usr/bin/sqlite3 file.db 'create table t(x); insert into t values(1); select * from t'",
    ),
    ("git", "/usr/bin/git init -q repository"),
    (
        "git_clone",
        "/usr/bin/git init -q a; cd a; echo x > x; /usr/bin/git add x; /usr/bin/git -c user.name=a -c user.email=b commit -qm x; cd ..; /usr/bin/git clone -q --no-local a b; /usr/bin/git -C b gc -q; /usr/bin/git -C b log",
    ),
    (
        "xz",
        "/usr/bin/xz -T2 -c /etc/services | /usr/bin/xz -dc | /usr/bin/sha1sum",
    ),
    ("openssl", "/usr/bin/openssl rand -hex 8 -out random"),
    (
        "openssl_speed",
        "/usr/bin/openssl speed -seconds 1 -multi 2 -bytes 64 sha256",
    ),
    (
        "ssh_keygen",
        "/usr/bin/ssh-keygen -q -t ed25519 -N '' -C x -f k; /usr/bin/ssh-keygen -lf k",
    ),
    (
        "gcc",
        "echo 'int main() { return 3; }' > a.c; /usr/bin/gcc -pipe a.c -o a; ./a",
    ),
    (
        "gdb",
        "/usr/bin/gdb -nx -q -batch -ex 'info line main' /bin/true",
    ),
    (
        "redis",
        "/usr/bin/redis-server --port 0 --unixsocket ./s --save '' --daemonize no > said & until /usr/bin/redis-cli -s ./s ping; do /bin/sleep 0.05; done; /usr/bin/redis-benchmark -s ./s -n 200 -c 4 -q -t set,get; /usr/bin/redis-cli -s ./s bgsave; /usr/bin/redis-cli -s ./s shutdown nosave; wait",
    ),
    (
        "nginx",
        "printf 'daemon off; worker_processes 2; pid ./pid; error_log ./e; user root; events {} http { access_log off; server { listen unix:%s/s; root /; } }' $PWD > c; /usr/sbin/nginx -p $PWD -e ./e -c c & until /usr/bin/curl -s --unix-socket s http://x/etc/fstab; do /bin/sleep 0.05; done; kill -QUIT $!; wait",
    ),
    (
        "node",
        "/usr/bin/node -e 'const fs=require(\"fs\"); require(\"child_process\").execSync(\"/bin/true\"); fs.readFile(\"/etc/passwd\",()=>setTimeout(()=>{},5)); new (require(\"worker_threads\").Worker)(\"1\",{eval:true})'",
    ),
    ("java", "/usr/bin/java -Xshare:auto -version"),
];

/// The number of the call by which the hook marks the runtime's own instruction: see `tests/hooks/calls.c`.
const MARK: u64 = 9999;
/// Left out: the restorer of a signal frame stays native, so no hook sees `rt_sigreturn`; and the runtime makes
/// `rt_sigaction` and `sigaltstack` in the program's place, from its own instruction.
const LEFT_OUT: [u64; 3] = [15, 13, 131];
/// Calls that return in a child too, which made none: `clone`, `fork`, `vfork`, `clone3`.
const BIRTHS: [u64; 4] = [56, 57, 58, 435];
/// By which the kernel begins some calls again.
const RESTART: u64 = 219;
/// `rt_sigprocmask`.
const UNBLOCKS: u64 = 14;
const EINTR: i32 = 4;
const EXECS: [u64; 2] = [59, 322];

#[derive(Clone, PartialEq, Eq, Debug)]
enum Outcome {
    Value(u64),
    /// The error as text: strace does not print its number.
    Error(String),
    /// It did not come back, or was to be restarted.
    Nothing,
}

#[derive(Clone, Debug)]
struct Call {
    number: u64,
    arguments: Vec<u64>,
    outcome: Outcome,
    /// Address behind the instruction; 0 where the hook saw it.
    from: u64,
}

impl Call {
    /// Strace prints only arguments that the call has.
    fn has_arguments_of(&self, seen: &Self) -> bool {
        self.number == seen.number
            && self
                .arguments
                .iter()
                .zip(&seen.arguments)
                .all(|(a, b)| same(*a, *b))
    }

    /// Whether the kernel was about to begin it again: one of its own errors, which no program sees.
    fn restarts(&self) -> bool {
        let own = |n| self.outcome == Outcome::Error(format!("Unknown error {n}"));
        [512, 513, 514, 516].into_iter().any(own)
    }

    /// Whether `next` is this call, begun again by the kernel where no handler has run: neither program nor hook are told.
    fn goes_on_as(&self, next: &Self) -> bool {
        let same = self.number == next.number && self.arguments == next.arguments;
        self.restarts() && (same || next.number == RESTART)
    }

    /// Whether the hook saw what strace did.
    fn is_seen_as(&self, seen: &Self) -> bool {
        self.has_arguments_of(seen)
            && match (&self.outcome, &seen.outcome) {
                (Outcome::Value(a), Outcome::Value(b)) => same(*a, *b),
                // A call that comes back to a changed image or not at all has no result for the hook.
                (Outcome::Nothing, _) => true,
                // A handler has run. Then the call is made again, or says that it was interrupted.
                (Outcome::Error(_), Outcome::Nothing) if self.restarts() => true,
                (Outcome::Error(_), Outcome::Error(words)) if self.restarts() => {
                    *words == words_of(EINTR)
                }
                (Outcome::Value(0), Outcome::Nothing) => EXECS.contains(&self.number),
                (a, b) => a == b,
            }
    }
}

/// Strace prints no more than 32 bits of what the kernel takes as that.
fn same(traced: u64, seen: u64) -> bool {
    traced == seen || traced <= u64::from(u32::MAX) && traced == seen & u64::from(u32::MAX)
}

type Threads = BTreeMap<u64, Vec<Call>>;

/// Runs `line` under strace with the hook, and compares.
///
/// # Errors
/// The first call of a thread that one of them saw otherwise than the other.
pub fn check(name: &str, line: &str) -> Result<(), String> {
    let dir = scratch().join(format!("calls-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let (log, trace) = (dir.join("log"), dir.join("trace"));
    let mut settings = Command::new("strace");
    library::preload(
        &mut settings,
        Allowed::Hooked("hook-calls"),
        &log,
        &dir.join("report"),
    );
    let mut command = Command::new("/usr/bin/strace");
    command
        .args([
            "-f",
            "-n",
            "-i",
            "-e",
            "raw=all",
            "-e",
            "signal=none",
            "-qqq",
            "-o",
        ])
        .arg(&trace)
        .current_dir(&dir);
    for (key, value) in settings.get_envs() {
        let value = value.unwrap_or_default();
        command
            .arg("-E")
            .arg(format!("{}={}", key.display(), value.display()));
    }
    command.args(["--", "/bin/sh", "-c"]).arg(line);
    let ran = run(&mut command, &dir, Duration::from_secs(120))
        .map_err(|e| format!("strace: {e}; run .ci/run once, it installs what the tests need"))?;
    if let End::TimedOut(doing) = &ran.end {
        return Err(format!("no end: {doing}"));
    }
    let read = |path| fs::read_to_string(path).map_err(|e| format!("{e}\n{}", ran.stderr));
    let trace = read(&trace)?;
    let traced = programs_own(traced(&trace)?, first_thread(&trace)?, &distances()?);
    let seen = seen(&read(&log)?)?;
    let count = compare(&traced, &seen).map_err(|e| format!("{e}\nfiles: {}", dir.display()))?;
    if count < 10 {
        return Err(format!(
            "only {count} calls were compared: {}",
            dir.display()
        ));
    }
    let _ = fs::remove_dir_all(&dir);
    Ok(())
}

fn compare(traced: &Threads, seen: &Threads) -> Result<usize, String> {
    let none = Vec::new();
    let mut count = 0;
    for thread in traced.keys().chain(seen.keys()).collect::<BTreeSet<_>>() {
        let hooked = seen.get(thread).unwrap_or(&none);
        let calls = &told(traced.get(thread).unwrap_or(&none), hooked);
        count += calls.len();
        for at in 0..calls.len().max(hooked.len()) {
            match (calls.get(at), hooked.get(at)) {
                (Some(a), Some(b)) if a.is_seen_as(b) => {}
                // The process was ended, by this call or another thread's, before the hook was told.
                (Some(a), Some(b))
                    if at + 1 == calls.len()
                        && at + 1 == hooked.len()
                        && b.outcome == Outcome::Nothing
                        && a.has_arguments_of(b) => {}
                // Another thread has ended the process before this call was made.
                (None, Some(b)) if at + 1 == hooked.len() && b.outcome == Outcome::Nothing => {}
                (a, b) => {
                    return Err(format!(
                        "thread {thread}, call {at}:\n  strace: {a:x?}\n  hook:   {b:x?}"
                    ));
                }
            }
        }
    }
    Ok(count)
}

/// The calls of a thread, without those that the kernel has begun again itself: the hook saw one call, with the last
/// result.
fn told(calls: &[Call], hooked: &[Call]) -> Vec<Call> {
    let mut told: Vec<Call> = Vec::new();
    for call in calls {
        if let Some(before) = told.last()
            && before.goes_on_as(call)
            && !hooked
                .get(told.len() - 1)
                .is_some_and(|hooked| before.is_seen_as(hooked))
        {
            let begun = told.pop().expect("there is one");
            told.push(Call {
                outcome: call.outcome.clone(),
                ..begun
            });
        } else {
            told.push(call.clone());
        }
    }
    told
}

fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    }
    .map_err(|e| format!("`{text}`: {e}"))
}

/// The lines of strace: `THREAD [NUMBER] [FROM] NAME(ARGUMENTS) = RESULT`, some in two parts.
fn traced(text: &str) -> Result<Threads, String> {
    let mut threads = Threads::new();
    let mut begun: BTreeMap<u64, String> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let thread = number(thread)?;
        let call = call.trim_start();
        if let Some(first) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, first.trim_end().to_owned());
            continue;
        }
        let whole = match (call.split_once(" resumed>"), begun.remove(&thread)) {
            (Some((_, rest)), Some(first)) => first + rest,
            _ => call.to_owned(),
        };
        if whole.starts_with('[') {
            let call = traced_call(&whole).map_err(|e| format!("{line}: {e}"))?;
            threads.entry(thread).or_default().push(call);
        }
    }
    // Calls in which a thread was when its process ended.
    for (thread, first) in begun {
        let call = traced_call(&(first.clone() + ") = ?")).map_err(|e| format!("{first}: {e}"))?;
        threads.entry(thread).or_default().push(call);
    }
    Ok(threads)
}

fn traced_call(line: &str) -> Result<Call, String> {
    let odd = || "not a line of strace".to_owned();
    let mut brackets = line.splitn(3, ']');
    let mut bracket = || {
        Some(
            brackets
                .next()?
                .trim_start()
                .strip_prefix('[')?
                .trim()
                .to_owned(),
        )
    };
    let (nr, from) = (bracket().ok_or_else(odd)?, bracket().ok_or_else(odd)?);
    let rest = brackets.next().ok_or_else(odd)?;
    let (_, rest) = rest.split_once('(').ok_or_else(odd)?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or_else(odd)?;
    let arguments = arguments.trim_end().trim_end_matches(')');
    let outcome = match result.split_once('(') {
        _ if result.starts_with('?') => Outcome::Nothing,
        Some((_, words)) => Outcome::Error(words.trim_end_matches(')').to_owned()),
        None => Outcome::Value(number(result)?),
    };
    Ok(Call {
        number: number(&nr)?,
        arguments: arguments
            .split(',')
            .map(str::trim)
            .filter(|a| !a.is_empty())
            .map(number)
            .collect::<Result<_, _>>()?,
        outcome,
        from: u64::from_str_radix(&from, 16).map_err(|e| e.to_string())?,
    })
}

/// The thread that strace itself has started: that of its first line.
fn first_thread(trace: &str) -> Result<u64, String> {
    let (thread, _) = trace.split_once(' ').ok_or("strace saw nothing")?;
    number(thread)
}

/// How far the library's system call instructions lie from each other.
fn distances() -> Result<BTreeSet<u64>, String> {
    let file = fs::read(library::library()).map_err(|e| e.to_string())?;
    let pairs = file.windows(2).enumerate();
    let at: Vec<u64> = pairs
        .filter(|(_, pair)| *pair == [0x0f, 0x05])
        .map(|(at, _)| at as u64)
        .collect();
    Ok(at
        .iter()
        .flat_map(|a| at.iter().map(|b| a.wrapping_sub(*b)))
        .collect())
}

/// Leaves out what no hook can see: calls before the library has started in an image, the runtime's own, and
/// [`LEFT_OUT`].
fn programs_own(threads: Threads, first: u64, distances: &BTreeSet<u64>) -> Threads {
    let mark = |call: &&Call| call.number == MARK;
    let marked: BTreeSet<u64> = threads
        .values()
        .flatten()
        .filter(mark)
        .map(|c| c.from)
        .collect();
    // Others of its instructions are executed for the program (births), or unblock signals that had to wait.
    let unblocks = |call: &Call| {
        let of = |mark: &u64| distances.contains(&call.from.wrapping_sub(*mark));
        call.number == UNBLOCKS && marked.iter().any(of)
    };
    let is_own = |call: &Call| marked.contains(&call.from) || unblocks(call);
    let keep = |(thread, calls): (u64, Vec<Call>)| {
        let mut loading = thread == first;
        let mut kept = Vec::new();
        for call in calls {
            if call.number == MARK {
                loading = false;
            }
            let executed = EXECS.contains(&call.number) && call.outcome == Outcome::Value(0);
            if !loading && !is_own(&call) && !LEFT_OUT.contains(&call.number) {
                kept.push(call);
            }
            loading |= executed;
        }
        (thread, kept)
    };
    threads.into_iter().map(keep).collect()
}

/// The lines of the hook.
fn seen(log: &str) -> Result<Threads, String> {
    let mut threads = Threads::new();
    for line in log.lines() {
        let Some((_, line)) = line.split_once(": calls: ") else {
            continue;
        };
        let mut words = line.split(' ');
        let event = words.next().unwrap_or_default();
        let numbers = words.map(number).collect::<Result<Vec<_>, _>>()?;
        let [thread, nr, values @ ..] = &numbers[..] else {
            return Err(format!("not a line of the hook: {line}"));
        };
        let calls = threads.entry(*thread).or_default();
        match (event, values) {
            ("call", _) => calls.push(Call {
                number: *nr,
                arguments: values.to_vec(),
                outcome: Outcome::Nothing,
                from: 0,
            }),
            ("result", [value]) => {
                // A handler may have run, and made calls, between the call and its result.
                let open = calls
                    .iter_mut()
                    .rfind(|c| c.number == *nr && c.outcome == Outcome::Nothing);
                let outcome = match (*value as i64).checked_neg() {
                    Some(error @ 1..4096) => Outcome::Error(words_of(error as i32)),
                    _ => Outcome::Value(*value),
                };
                match open {
                    Some(call) => call.outcome = outcome,
                    None if BIRTHS.contains(nr) && outcome == Outcome::Value(0) => {}
                    None => return Err(format!("a result without its call: {line}")),
                }
            }
            _ => return Err(format!("not a line of the hook: {line}")),
        }
    }
    for calls in threads.values_mut() {
        calls.retain(|call| !LEFT_OUT.contains(&call.number));
    }
    Ok(threads)
}

/// `No such file or directory`.
fn words_of(error: i32) -> String {
    let text = std::io::Error::from_raw_os_error(error).to_string();
    text.rsplit_once(" (os error")
        .map_or(text.clone(), |(words, _)| words.to_owned())
}
