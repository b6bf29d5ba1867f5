//! Signals that no handler sees, as far as the program's calls tell of them: the SIGCHLD of a child that is waited for, where
//! nobody has set a handler, and what a process has died of.

use std::collections::BTreeMap;

use hotpatch_decode::{Kept, Memory, When};
use hotpatch_events::{Record, kind};
use hotpatch_names::interruption;
use rustc_hash::{FxHashMap, FxHashSet};

use super::signals::Info;
use super::{EXIT_GROUP, WAIT4, WAITID};
use crate::events::Chunks;
use crate::pairs::Begun;

const RT_SIGACTION: u64 = 13;
const RT_SIGPROCMASK: u64 = 14;
const KILL: u64 = 62;
const TKILL: u64 = 200;
const TGKILL: u64 = 234;
const RT_SIGTIMEDWAIT: u64 = 128;
const SIGNALFD: [u64; 2] = [282, 289];
const SENDTO: u64 = 44;
const SENDMSG: u64 = 46;
const MSG_NOSIGNAL: u64 = 0x4000;
/// `write`, `writev`, `splice`, `sendfile` and those.
const WRITES: [u64; 6] = [1, 20, 275, 40, SENDTO, SENDMSG];
/// `fork`, `vfork`, `clone`, `clone3`.
const BIRTHS: [u64; 4] = [57, 58, 56, 435];

const SIGKILL: u32 = 9;
const SIGPIPE: u32 = 13;
const SIGCHLD: u32 = 17;
/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOP: [u32; 4] = [19, 20, 21, 22];
const EPIPE: u64 = (-32_i64).cast_unsigned();

const SI_USER: i32 = 0;
const SI_TKILL: i32 = -6;
const CLD_EXITED: i32 = 1;
const CLD_KILLED: i32 = 2;
const CLD_DUMPED: i32 = 3;

/// The end of a child that has been waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Which.
    pub pid: u32,
    /// Its exit status, or the signal that has killed it.
    pub status: u32,
    /// A value of `CLD_*`.
    code: i32,
}

impl Reaped {
    /// By which signal it was killed, and whether it left a core file.
    pub fn signal(self) -> Option<(u32, bool)> {
        (self.code != CLD_EXITED).then_some((self.status, self.code == CLD_DUMPED))
    }
}

/// What a call has heard of the end of a child.
pub fn reaped(record: &Record, chunks: &Chunks<'_>) -> Option<Reaped> {
    if !matches!(record.number, WAIT4 | WAITID) {
        return None;
    }
    let kept = Kept::new(When::Exit, chunks.iter());
    let word = |address: u64| {
        let mut bytes = [0; 4];
        let done = kept.read(When::Exit, address, &mut bytes);
        (done == 4).then(|| u32::from_le_bytes(bytes))
    };
    if record.number == WAIT4 {
        let pid = u32::try_from(record.result.cast_signed()).ok()?;
        let status = word(record.args[1]).filter(|_| pid != 0)?;
        let (signal, exit) = (status & 0x7f, status >> 8 & 0xff);
        let (status, code) = match signal {
            0 => (exit, CLD_EXITED),
            0x7f => return None, // stopped, or goes on
            _ if status & 0x80 != 0 => (signal, CLD_DUMPED),
            _ => (signal, CLD_KILLED),
        };
        return Some(Reaped { pid, status, code });
    }
    let info = record.args[2];
    let code = word(info.checked_add(8)?)?.cast_signed();
    let died = matches!(code, CLD_EXITED | CLD_KILLED | CLD_DUMPED) && record.result == 0;
    died.then_some(Reaped {
        pid: word(info + 16)?,
        status: word(info + 24)?,
        code,
    })
}

/// A signal that was sent by a call.
#[derive(Clone, Copy, Debug)]
struct Sent {
    signal: u32,
    code: i32,
    by: u32,
}

/// What is known of processes and threads.
#[derive(Debug, Default)]
pub struct Children {
    /// Who they belong to.
    users: FxHashMap<u32, u32>,
    /// What processes took that said that they end: user and system, in ticks of 10 ms.
    times: FxHashMap<u32, (u64, u64)>,
    /// Processes and signals of theirs that a handler tells of, or a descriptor.
    handle: FxHashSet<(u32, u32)>,
    /// Processes that have begun a program.
    programs: FxHashSet<u32>,
    /// What threads block, where that is anything.
    masks: FxHashMap<u32, u64>,
    /// What threads are about to block.
    next: FxHashMap<u32, u64>,
    /// Signals that come when a thread does not block them any more.
    owed: BTreeMap<(u32, u32), Info>,
    /// Who has last sent which signal to a process.
    sent: FxHashMap<(u32, u32), Sent>,
    /// The signal that threads were last told of.
    told: FxHashMap<u32, u32>,
}

const fn bit(signal: u32) -> u64 {
    1 << ((signal - 1) & 63)
}

fn value(chunks: &Chunks<'_>, address: u64) -> Option<u64> {
    let mut chunks = chunks.iter();
    let (_, bytes) = chunks.find(|(at, _)| *at == address && address != 0)?;
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

impl Children {
    /// A thread begins, or a program.
    pub fn begins(&mut self, record: &Record) {
        self.users.insert(record.pid, record.args[0] as u32);
        self.sent.retain(|(pid, _), _| *pid != record.pid);
        self.told.remove(&record.tid);
        if record.kind == kind::PROGRAM {
            self.programs.insert(record.pid);
            self.handle.retain(|(pid, _)| *pid != record.pid);
        }
    }

    /// A thread is about to end its process, or itself.
    pub fn ends(&mut self, record: &Record) {
        let [user, own, kernel, ..] = record.args;
        if record.number == EXIT_GROUP {
            self.users.insert(record.pid, user as u32);
            self.times.insert(record.pid, (own, kernel));
        }
    }

    /// A call begins.
    pub fn entry(&mut self, record: &Record, chunks: &Chunks<'_>) {
        self.told.remove(&record.tid);
        let Record { pid, tid, args, .. } = record;
        match record.number {
            RT_SIGACTION => match (args[0] as u32, value(chunks, args[1])) {
                (signal, Some(0 | 1)) => drop(self.handle.remove(&(*pid, signal))),
                (signal, Some(_)) => drop(self.handle.insert((*pid, signal))),
                (_, None) => {}
            },
            RT_SIGPROCMASK => {
                let now = self.masks.get(tid).copied().unwrap_or(0);
                let next = value(chunks, args[1]).and_then(|set| match args[0] as u32 {
                    0 => Some(now | set),
                    1 => Some(now & !set),
                    2 => Some(set),
                    _ => None,
                });
                if let Some(next) = next {
                    self.next.insert(*tid, next);
                }
            }
            KILL | TKILL | TGKILL => {
                let (to, sent) = sends(record);
                if sent.signal != 0 && to as i32 > 0 {
                    self.sent.insert((to as u32, sent.signal), sent);
                }
            }
            number if SIGNALFD.contains(&number) => {
                self.handle.extend((1..65).map(|signal| (*pid, signal)));
            }
            _ => {}
        }
    }

    /// A call has ended: signals that come now, of those that no handler sees.
    pub fn exit(&mut self, record: &Record, chunks: &Chunks<'_>) -> Vec<Info> {
        let Record { pid, tid, .. } = *record;
        if let Some(child) = reaped(record, chunks) {
            self.masks.remove(&child.pid);
            if pid == tid {
                return self.comes(record, SIGCHLD, self.sigchld(child, pid));
            }
            return Vec::new();
        }
        let user = self.users.get(&pid).copied().unwrap_or(0);
        match record.number {
            RT_SIGPROCMASK => {
                let next = self.next.remove(&tid).filter(|_| record.result == 0);
                let Some(next) = next else {
                    return Vec::new();
                };
                self.masks.insert(tid, next);
                if !self.owed.is_empty() {
                    return self.unblocked(tid, next);
                }
            }
            RT_SIGTIMEDWAIT => drop(self.owed.remove(&(tid, record.result as u32))),
            KILL | TKILL | TGKILL if record.result == 0 => {
                let (to, sent) = sends(record);
                let own = if record.number == KILL {
                    pid == tid && to as u32 == pid
                } else {
                    to as u32 == tid
                };
                if own && sent.signal != 0 {
                    return self.comes(record, sent.signal, sender(sent, user));
                }
            }
            number if record.result == EPIPE && WRITES.contains(&number) => {
                let flags = match number {
                    SENDTO => record.args[3],
                    SENDMSG => record.args[2],
                    _ => 0,
                };
                let own = Sent {
                    signal: SIGPIPE,
                    code: SI_USER,
                    by: pid,
                };
                if flags & MSG_NOSIGNAL == 0 {
                    return self.comes(record, SIGPIPE, sender(own, user));
                }
            }
            number if BIRTHS.contains(&number) && record.result.cast_signed() > 0 => {
                let child = record.result as u32;
                if !self.programs.contains(&child) {
                    let handled = self.handle.iter().filter(|(of, _)| *of == pid);
                    let handled: Vec<u32> = handled.map(|(_, signal)| *signal).collect();
                    (self.handle).extend(handled.iter().map(|signal| (child, *signal)));
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// A signal comes behind that call, unless a handler has told of it. If it has not ended the process, it is ignored.
    fn comes(&mut self, call: &Record, signal: u32, info: Info) -> Vec<Info> {
        if self.handle.contains(&(call.pid, signal)) || STOP.contains(&signal) {
            return Vec::new();
        }
        let mask = self.masks.get(&call.tid).copied().unwrap_or(0);
        if mask & bit(signal) != 0 {
            self.owed.entry((call.tid, signal)).or_insert(info);
            return Vec::new();
        }
        vec![info]
    }

    /// A thread blocks these signals now: those that come by that.
    fn unblocked(&mut self, tid: u32, mask: u64) -> Vec<Info> {
        let owed = self.owed.range((tid, 0)..=(tid, u32::MAX));
        let free = owed.filter(|((_, signal), _)| mask & bit(*signal) == 0);
        let free: Vec<(u32, u32)> = free.map(|(at, _)| *at).collect();
        free.iter().filter_map(|at| self.owed.remove(at)).collect()
    }

    /// A handler is told of a signal.
    pub fn told(&mut self, record: &Record, info: &Info) {
        let number = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        self.told.insert(record.tid, number);
        self.handle.insert((record.pid, number));
        self.owed.remove(&(record.tid, number));
    }

    /// A process that was in this call has died of a signal: how the call ended, and what comes with the signal, as far as
    /// that can be told.
    pub fn died(
        &self,
        pid: u32,
        signal: u32,
        begun: Option<&Begun>,
    ) -> (Option<u64>, Option<Info>) {
        if signal == SIGKILL || self.told.get(&pid) == Some(&signal) {
            return (None, None);
        }
        let user = self.users.get(&pid).copied().unwrap_or(0);
        let own = Sent {
            signal,
            code: SI_USER,
            by: pid,
        };
        let call = begun.map(|begun| &begun.record);
        let number = call.map_or(u64::MAX, |call| call.number);
        let sent = self.sent.get(&(pid, signal));
        if signal == SIGPIPE && WRITES.contains(&number) {
            return (Some(EPIPE), Some(sender(own, user)));
        }
        let result = match (number, call) {
            (KILL | TKILL | TGKILL, _) if sent.is_some_and(|sent| sent.by == pid) => Some(0),
            (_, Some(call)) => match interruption(number, &call.args) {
                4 => None,
                error => Some(u64::from(error).wrapping_neg()),
            },
            _ => None,
        };
        let info = sent.map(|sent| {
            let by = self.users.get(&sent.by).copied().unwrap_or(0);
            sender(*sent, by)
        });
        // Without a signal there would be no interruption.
        (result.filter(|_| info.is_some()), info)
    }

    fn sigchld(&self, child: Reaped, parent: u32) -> Info {
        let mut info = [0; 128];
        let (own, kernel) = self.times.get(&child.pid).copied().unwrap_or((0, 0));
        let user = self.users.get(&child.pid).or(self.users.get(&parent));
        let user = user.copied().unwrap_or(0);
        put(&mut info, 0, SIGCHLD);
        put(&mut info, 8, child.code.cast_unsigned());
        put(&mut info, 16, child.pid);
        put(&mut info, 20, user);
        put(&mut info, 24, child.status);
        info[32..40].copy_from_slice(&own.to_le_bytes());
        info[40..48].copy_from_slice(&kernel.to_le_bytes());
        info
    }
}

/// Whom a call sends a signal, and which.
fn sends(call: &Record) -> (u64, Sent) {
    let args = &call.args;
    let (to, signal, code) = match call.number {
        KILL => (args[0], args[1], SI_USER),
        TKILL => (args[0], args[1], SI_TKILL),
        _ => (args[1], args[2], SI_TKILL),
    };
    let sent = Sent {
        signal: signal as u32,
        code,
        by: call.pid,
    };
    (to, sent)
}

fn sender(sent: Sent, user: u32) -> Info {
    let mut info = [0; 128];
    put(&mut info, 0, sent.signal);
    put(&mut info, 8, sent.code.cast_unsigned());
    put(&mut info, 16, sent.by);
    put(&mut info, 20, user);
    info
}

fn put(info: &mut Info, at: usize, word: u32) {
    info[at..at + 4].copy_from_slice(&word.to_le_bytes());
}
