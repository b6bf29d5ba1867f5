//! What a hook on every call sees, beside what strace sees of the same process.
//!
//! Both watch one run, so addresses, descriptors and process ids are the same. The hook's own calls, and the
//! runtime's, come from instructions of the runtime; the hook marks one by a call that has no number, and the others lie
//! as far from it as in the library's file, so strace's lines from there can be told from the program's.

mod programs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

pub use programs::COMMANDS;

use crate::process::{End, run};
use crate::{Allowed, library, scratch};

/// The number of the call by which the hook marks the runtime's own instruction: see `tests/hooks/calls.c`.
const MARK: u64 = 9999;
/// Left out, as the runtime makes them from its own instruction: `rt_sigreturn`, `rt_sigaction` and `sigaltstack`.
const LEFT_OUT: [u64; 3] = [15, 13, 131];
/// Calls that return in a child too, which made none: `clone`, `fork`, `vfork`, `clone3`.
const BIRTHS: [u64; 4] = [56, 57, 58, 435];
/// By which the kernel begins some calls again.
const RESTART: u64 = 219;
/// `rt_sigprocmask`.
const UNBLOCKS: u64 = 14;
/// `mmap`, `mprotect`, `munmap`, `mremap`, `pkey_mprotect`: the runtime makes those that concern code in the program's place.
const MEMORY: [u64; 5] = [9, 10, 11, 25, 329];
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
    /// A signal arrived since the last call of the thread.
    signalled: bool,
    /// By an instruction of the runtime's, in the program's place or for itself.
    own: bool,
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
        .args(["-f", "-n", "-i", "-e", "raw=all", "-qqq", "-o"])
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
    let mut traced = programs_own(traced(&trace)?, first_thread(&trace)?, &distances()?);
    let log = read(&log)?;
    let mut seen = seen(&log)?;
    if log.contains("calls from there are caught") {
        // Where calls become signals the runtime changes masks in the program's place.
        let others = |calls: &mut Vec<Call>| calls.retain(|call| call.number != UNBLOCKS);
        traced
            .values_mut()
            .chain(seen.values_mut())
            .for_each(others);
    }
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
        let calls = traced.get(thread).unwrap_or(&none);
        count += calls.len();
        same_calls(calls, hooked).map_err(|e| format!("thread {thread}, {e}"))?;
    }
    Ok(count)
}

fn same_calls(calls: &[Call], hooked: &[Call]) -> Result<(), String> {
    // Calls in whose hook a signal arrived, before they were made: its handler's come first.
    let mut put_off: Vec<&Call> = Vec::new();
    let (mut traced, mut seen) = (
        calls.iter().enumerate().peekable(),
        hooked.iter().peekable(),
    );
    // Begun again by the kernel itself: the hook saw one call, with the last result.
    let mut begun: Option<Call> = None;
    while let Some((at, call)) = traced.next() {
        let whole = begun
            .take()
            .filter(|_| call.number == RESTART)
            .map(|first| Call {
                outcome: call.outcome.clone(),
                ..first
            });
        let call = whole.as_ref().unwrap_or(call);
        let last = traced
            .peek()
            .is_none_or(|(_, next): &(usize, &Call)| next.signalled);
        match seen.peek().copied() {
            Some(hooked) if call.is_seen_as(hooked) => {
                seen.next();
            }
            _ if put_off.last().is_some_and(|first| call.is_seen_as(first)) => {
                put_off.pop();
            }
            _ if call.own => {}
            _ if traced.peek().is_some_and(|(_, next)| call.goes_on_as(next)) => {
                begun = Some(call.clone());
            }
            // The kernel had begun the last one again when the process was ended.
            None if at > 0
                && call.outcome == Outcome::Nothing
                && calls[at - 1].goes_on_as(call) => {}
            // The process was ended, by this call or another thread's, or a handler did not come back, before the hook was
            // told.
            Some(hooked)
                if last && hooked.outcome == Outcome::Nothing && call.has_arguments_of(hooked) =>
            {
                seen.next();
            }
            Some(first) if call.signalled => {
                put_off.push(first);
                seen.next();
                if !seen.next().is_some_and(|hooked| call.is_seen_as(hooked)) {
                    return Err(format!(
                        "call {at}:\n  strace: {call:x?}\n  hook:   {first:x?}"
                    ));
                }
            }
            first => {
                return Err(format!(
                    "call {at}:\n  strace: {call:x?}\n  hook:   {first:x?}"
                ));
            }
        }
    }
    // The handler, or another thread, has ended the process before these were made.
    match put_off
        .into_iter()
        .chain(seen)
        .find(|c| c.outcome != Outcome::Nothing)
    {
        Some(more) => Err(format!("at its end:\n  hook:   {more:x?}")),
        None => Ok(()),
    }
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
    let mut signalled = BTreeSet::new();
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
            // Where strace knows no name: the thread is no more.
            (Some(_), None) => continue,
            _ => call.to_owned(),
        };
        if is_nothing(&whole) || call.contains("<... ??? resumed>") {
            continue;
        }
        if whole.contains("] --- SIG") {
            signalled.insert(thread);
        } else if whole.starts_with('[') && !whole.contains("] +++ ") {
            let call = traced_call(&whole).map_err(|e| format!("{line}: {e}"))?;
            let signalled = signalled.remove(&thread);
            threads
                .entry(thread)
                .or_default()
                .push(Call { signalled, ..call });
        }
    }
    // Calls in which a thread was when its process ended.
    for (thread, first) in begun.into_iter().filter(|(_, first)| !is_nothing(first)) {
        let call = traced_call(&(first.clone() + ") = ?")).map_err(|e| format!("{first}: {e}"))?;
        threads.entry(thread).or_default().push(call);
    }
    Ok(threads)
}

/// A thread that was killed before strace could look at its call.
fn is_nothing(call: &str) -> bool {
    call.contains("] ???(")
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
        signalled: false,
        own: false,
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
        let mut signalled = false;
        for call in calls {
            signalled |= call.signalled;
            if call.number == MARK {
                loading = false;
            }
            let executed = EXECS.contains(&call.number) && call.outcome == Outcome::Value(0);
            let own = is_own(&call);
            let told = !own || MEMORY.contains(&call.number);
            if !loading && told && !LEFT_OUT.contains(&call.number) {
                kept.push(Call {
                    signalled,
                    own,
                    ..call
                });
                signalled = false;
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
                signalled: false,
                own: false,
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
