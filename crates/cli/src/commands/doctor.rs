//! `hotpatch doctor`: what this kernel and container allow, and what follows.

use std::fs;
use std::io::{self, Write as _};

use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::Serialize;

use crate::args::Doctor;
use crate::cache;
use crate::style::{BAD, FAINT, GOOD, STRONG};

/// How something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Good,
    /// Not there, and something follows.
    Limits,
    /// Not there, and nothing follows.
    Absent,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// What follows.
    follows: &'static str,
}

/// Looks at everything: 1 if something limits what programs can be patched, or how.
pub fn run(args: &Doctor) -> anyhow::Result<i32> {
    let findings = [
        kernel(),
        ptrace(),
        yama(),
        fsgsbase(),
        forced_writes(),
        copies(),
        memfd(),
        seccomp(),
        deny_write_execute(),
        selinux(),
        dispatch(),
        vdso(),
        library(),
    ];
    let limited = findings.iter().any(|f| f.state == State::Limits);
    let mut out = anstream::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &findings)?;
        writeln!(out)?;
    } else {
        table(&mut out, &findings)?;
        let all = "everything that hotpatch can do, it can do here";
        let some = "some things are limited here: see above";
        writeln!(out, "{}", if limited { some } else { all })?;
    }
    out.flush()?;
    Ok(i32::from(limited))
}

fn table(out: &mut dyn io::Write, findings: &[Finding]) -> io::Result<()> {
    let width = findings.iter().map(|f| f.name.len()).max().unwrap_or(0);
    for Finding {
        name,
        state,
        found,
        follows,
    } in findings
    {
        let (colour, word) = match state {
            State::Good => (GOOD, "yes"),
            State::Limits => (BAD, "NO"),
            State::Absent => (FAINT, "no"),
        };
        writeln!(
            out,
            "{STRONG}{name:<width$}{STRONG:#}  {colour}{word:<3}{colour:#}  {found}"
        )?;
        if *state != State::Good {
            writeln!(out, "{:width$}       {follows}", "")?;
        }
    }
    Ok(())
}

fn finding(name: &'static str, good: bool, found: String, follows: &'static str) -> Finding {
    let state = if good { State::Good } else { State::Limits };
    Finding {
        name,
        state,
        found,
        follows,
    }
}

/// What the kernel answered.
fn answer(errno: Result<(), Errno>) -> String {
    match errno {
        Ok(()) => "allowed".to_owned(),
        Err(errno) => errno.to_string(),
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn kernel() -> Finding {
    let release = read("/proc/sys/kernel/osrelease");
    finding(
        "kernel, /proc",
        release.is_some(),
        release.unwrap_or_else(|| "no /proc".to_owned()),
        "without /proc no program is patched: it runs natively",
    )
}

/// Whether a child can be traced, as `hotpatch run` does it for a moment.
fn ptrace() -> Finding {
    // SAFETY: the child only waits for its end.
    let traced = match unsafe { fork() } {
        Ok(ForkResult::Child) => loop {
            nix::unistd::pause();
        },
        Ok(ForkResult::Parent { child }) => {
            let traced = seize(child);
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(child, None);
            traced
        }
        Err(errno) => Err(errno),
    };
    finding(
        "ptrace of a child",
        traced.is_ok(),
        answer(traced),
        "`hotpatch run` uses LD_PRELOAD: static programs, the loader's own calls and programs with a cleared \
         environment run natively",
    )
}

fn seize(child: Pid) -> Result<(), Errno> {
    // SAFETY: no memory is named.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child.as_raw(), 0, 0) };
    Errno::result(seized).map(drop)
}

fn yama() -> Finding {
    let scope = read("/proc/sys/kernel/yama/ptrace_scope");
    // 0: any of the same user; 1: descendants, and who allows it, which is all that is needed.
    let allows = scope
        .as_deref()
        .is_none_or(|scope| matches!(scope, "0" | "1"));
    finding(
        "later execs",
        allows,
        match scope {
            Some(scope) => format!("ptrace_scope {scope}"),
            None => "no Yama".to_owned(),
        },
        "a program that a patched one executes is not followed: only root may trace, or nobody",
    )
}

fn fsgsbase() -> Finding {
    // SAFETY: reads the auxiliary vector.
    let bits = unsafe { libc::getauxval(libc::AT_HWCAP2) };
    let there = bits & 2 != 0;
    finding(
        "FSGSBASE",
        there,
        if there {
            "processor and kernel"
        } else {
            "not there"
        }
        .to_owned(),
        "no hook is called and no call is traced: programs are patched, and that is all",
    )
}

/// Whether the kernel lets a process write to its own code through `/proc/self/mem`.
fn forced_writes() -> Finding {
    static READ_ONLY: [u8; 4096] = [7; 4096];
    let written = (|| {
        let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
        let place = std::hint::black_box(&READ_ONLY).as_ptr().addr() as u64 + 2048;
        // The byte that is there already.
        std::os::unix::fs::FileExt::write_all_at(&memory, &[7], place)
    })();
    finding(
        "writes to code",
        written.is_ok(),
        written.map_or_else(|error| error.to_string(), |()| "/proc/self/mem".to_owned()),
        "code is made writable for a moment, and what comes later is patched only while there is one thread",
    )
}

fn copies() -> Finding {
    let (from, mut to) = ([1_u8], [0_u8]);
    let remote = libc::iovec {
        iov_base: from.as_ptr().cast_mut().cast(),
        iov_len: 1,
    };
    let local = libc::iovec {
        iov_base: to.as_mut_ptr().cast(),
        iov_len: 1,
    };
    // SAFETY: one byte of ours to another.
    let done = unsafe {
        libc::process_vm_readv(
            std::process::id().cast_signed(),
            &raw const local,
            1,
            &raw const remote,
            1,
            0,
        )
    };
    let copied = Errno::result(done).map(drop);
    finding(
        "process_vm_readv",
        copied.is_ok(),
        answer(copied),
        "hooks and traces cannot copy the program's memory",
    )
}

fn memfd() -> Finding {
    let made = memfd_create(c"doctor", MFdFlags::MFD_CLOEXEC).map(drop);
    finding(
        "memfd_create",
        made.is_ok(),
        answer(made),
        "`hotpatch trace` and `count` have no memory to share with the program",
    )
}

fn seccomp() -> Finding {
    let status = read("/proc/self/status").unwrap_or_default();
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))
        .map_or("0", str::trim)
        .to_owned();
    let free = mode == "0";
    Finding {
        name: "no seccomp filter",
        state: if free { State::Good } else { State::Absent },
        found: if free {
            "none".to_owned()
        } else {
            format!("mode {mode}, set from outside")
        },
        follows: "what the filter forbids is forbidden to the library too",
    }
}

fn deny_write_execute() -> Finding {
    const PR_GET_MDWE: libc::c_int = 66;
    // SAFETY: asks for a number.
    let bits = unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) };
    let denied = bits > 0 && bits & 1 != 0;
    finding(
        "writable, then executable",
        !denied,
        if denied {
            "memory-deny-write-execute"
        } else {
            "allowed"
        }
        .to_owned(),
        "code is patched through /proc/self/mem alone: where that is refused too, programs run natively",
    )
}

fn selinux() -> Finding {
    let enforces = read("/sys/fs/selinux/enforce").as_deref() == Some("1");
    Finding {
        name: "no SELinux",
        state: if enforces { State::Absent } else { State::Good },
        found: if enforces {
            "enforcing"
        } else {
            "none, or permissive"
        }
        .to_owned(),
        follows: "its policy may forbid code to be changed (execmod): see the log",
    }
}

fn dispatch() -> Finding {
    const PR_SET_SYSCALL_USER_DISPATCH: libc::c_int = 59;
    // SAFETY: switches off what is not on.
    let off = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) };
    if off != 0 {
        return Finding {
            name: "syscall user dispatch",
            state: State::Absent,
            found: answer(Errno::result(off).map(drop)),
            follows: "hooks do not see calls from memory that is writable and executable at once",
        };
    }
    // SAFETY: calls from addresses where nothing is mapped, then off again.
    let inside = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 2, 1, 1, 0) };
    // SAFETY: as above.
    unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) };
    Finding {
        name: "syscall user dispatch",
        state: State::Good,
        found: if inside == 0 {
            "of a range"
        } else {
            "of all but a range"
        }
        .to_owned(),
        follows: "",
    }
}

fn vdso() -> Finding {
    // SAFETY: reads the auxiliary vector.
    let at = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    finding(
        "vDSO",
        at != 0,
        if at == 0 { "none" } else { "mapped" }.to_owned(),
        "`hotpatch run` has no instruction to start the library by: programs run natively, but for LD_PRELOAD",
    )
}

fn library() -> Finding {
    match cache::library() {
        Ok(path) => finding("the library's place", true, path.display().to_string(), ""),
        Err(error) => finding(
            "the library's place",
            false,
            format!("{error:#}").replace('\n', " "),
            "nothing can be patched",
        ),
    }
}
