//! A small tracer: it keeps of each call what the tables say, and nothing else, and prints it.

use hotpatch_decode::{
    Call, Kept, Style, When, begin, exited, killed, line, resume, signal, stopped,
};
use hotpatch_names::{Limits, Request, captures};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io::IoSliceMut;
use std::process::{Command, Stdio};

/// As many bytes as can be read.
fn peek(pid: Pid, address: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        // A page at a time: one that is not there must not cost the others.
        let at = address.wrapping_add(done as u64);
        let count = (4096 - at as usize % 4096).min(length - done);
        let remote = [RemoteIoVec {
            base: at as usize,
            len: count,
        }];
        match process_vm_readv(
            pid,
            &mut [IoSliceMut::new(&mut bytes[done..done + count])],
            &remote,
        ) {
            Ok(count) if count > 0 => done += count,
            _ => break,
        }
    }
    bytes.truncate(done);
    bytes
}

/// Keeps what a call leads to.
trait Keep {
    fn keep(&mut self, pid: Pid, call: &Call, when: When);
    fn follow(&mut self, pid: Pid, when: When, request: &Request, limits: Limits, depth: usize);
}

impl Keep for Kept {
    fn keep(&mut self, pid: Pid, call: &Call, when: When) {
        let limits = Limits {
            text: 32,
            items: 32,
            environment: false,
        };
        let result = call.result.unwrap_or(0);
        captures(call.number, &call.args, when, result, limits, |request| {
            self.follow(pid, when, &request, limits, 0);
        });
    }

    fn follow(&mut self, pid: Pid, when: When, request: &Request, limits: Limits, depth: usize) {
        assert!(depth < 4);
        let bytes = peek(pid, request.address, request.length);
        for nested in request.nested(&bytes, limits).collect::<Vec<_>>() {
            self.follow(pid, when, &nested, limits, depth + 1);
        }
        self.add(when, [(request.address, &bytes[..])]);
    }
}

/// A process that is being traced.
#[derive(Default)]
struct Process {
    call: Option<(Call, Kept)>,
}

/// Lines of all processes that a shell command starts, each with its process, from the command's first `execve` on.
pub fn trace(script: &str, directory: &std::path::Path) -> Vec<(i32, String)> {
    // Its end is awaited with everybody else's.
    #[allow(clippy::zombie_processes)]
    let child = Command::new("bash")
        .args([
            "-c",
            "kill -STOP $$; exec \"$@\"",
            "bash",
            "bash",
            "-c",
            script,
        ])
        .current_dir(directory)
        .env("PWD", directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let root = Pid::from_raw(child.id() as i32);
    while !matches!(
        waitpid(root, Some(WaitPidFlag::WUNTRACED)),
        Ok(WaitStatus::Stopped(..))
    ) {}
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(root, options).unwrap();
    kill(root, Signal::SIGCONT).unwrap();
    let mut processes: HashMap<i32, Process> = HashMap::new();
    processes.insert(root.as_raw(), Process::default());
    let mut lines = Vec::new();
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::__WALL)) {
        let Some(pid) = status.pid() else { continue };
        let process = processes.entry(pid.as_raw()).or_default();
        match status {
            WaitStatus::PtraceSyscall(_) => {
                if let Some(text) = syscall(pid, process) {
                    lines.push((pid.as_raw(), text));
                }
                let _ = ptrace::syscall(pid, None);
            }
            WaitStatus::PtraceEvent(_, signal, event) => {
                // PTRACE_EVENT_STOP with a stopping signal is a group stop, where one must not go on.
                let stop = event == 128
                    && matches!(
                        signal,
                        Signal::SIGSTOP | Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU
                    );
                if stop {
                    let mut text = String::new();
                    stopped(signal as u32, &mut text);
                    lines.push((pid.as_raw(), text));
                    listen(pid);
                } else {
                    let _ = ptrace::syscall(pid, None);
                }
            }
            WaitStatus::Stopped(_, number) => {
                if let Ok(info) = ptrace::getsiginfo(pid) {
                    // SAFETY: `siginfo_t` is 128 bytes, all of which the kernel has written.
                    let bytes: [u8; 128] = unsafe { std::mem::transmute(info) };
                    let mut text = String::new();
                    signal(&bytes, &mut text);
                    lines.push((pid.as_raw(), text));
                }
                let _ = ptrace::syscall(pid, number);
            }
            WaitStatus::Exited(_, status) => {
                let mut text = String::new();
                unfinished(process, &mut lines, pid);
                exited(status, &mut text);
                lines.push((pid.as_raw(), text));
                processes.remove(&pid.as_raw());
            }
            WaitStatus::Signaled(_, number, core) => {
                let mut text = String::new();
                unfinished(process, &mut lines, pid);
                killed(number as u32, core, &mut text);
                lines.push((pid.as_raw(), text));
                processes.remove(&pid.as_raw());
            }
            _ => {}
        }
        if processes.is_empty() {
            break;
        }
    }
    let first = lines
        .iter()
        .position(|(_, text)| text.starts_with("execve("))
        .unwrap();
    lines.drain(..first);
    lines
}

/// `nix` has no call for it: the process stays stopped, and tells when it goes on.
fn listen(pid: Pid) {
    // SAFETY: PTRACE_LISTEN takes no addresses.
    unsafe {
        nix::libc::ptrace(nix::libc::PTRACE_LISTEN, pid.as_raw(), 0, 0);
    }
}

/// A call that ended its process is told without a result.
fn unfinished(process: &mut Process, lines: &mut Vec<(i32, String)>, pid: Pid) {
    if let Some((call, kept)) = process.call.take() {
        let mut text = String::new();
        line(&call, &kept, &Style::default(), &mut text);
        lines.push((pid.as_raw(), text));
    }
}

fn syscall(pid: Pid, process: &mut Process) -> Option<String> {
    let registers = ptrace::getregs(pid).ok()?;
    let Some((mut call, mut kept)) = process.call.take() else {
        let args = [
            registers.rdi,
            registers.rsi,
            registers.rdx,
            registers.r10,
            registers.r8,
            registers.r9,
        ];
        let args = if registers.orig_rax == 15 {
            [registers.rsp + 296, 0, 0, 0, 0, 0]
        } else {
            args
        };
        // A new process is seen first at the end of the call that made it.
        if registers.rax as i64 != -38 {
            return None;
        }
        let call = Call {
            number: registers.orig_rax,
            args,
            result: None,
        };
        let mut kept = Kept::default();
        kept.keep(pid, &call, When::Entry);
        process.call = Some((call, kept));
        return None;
    };
    call.result = Some(registers.rax);
    kept.keep(pid, &call, When::Exit);
    let style = Style::default();
    let mut text = String::new();
    line(&call, &kept, &style, &mut text);
    // Told in two lines it is the same text.
    let (mut first, mut second) = (String::new(), String::new());
    begin(&call, &kept, &style, &mut first);
    resume(&call, &kept, &style, &mut second);
    let rest = second.split_once(" resumed>").unwrap().1;
    assert_eq!(
        super::squeeze(&format!("{first}{rest}")),
        super::squeeze(&text)
    );
    Some(text)
}
