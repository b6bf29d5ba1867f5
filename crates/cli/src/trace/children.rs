//! Signals that no handler sees, as far as the program's calls tell of them: the SIGCHLD of a child that is waited for, where
//! nobody has set a handler, and what a process has died of.

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
/// `write`, `writev`, `sendto`, `sendmsg`, `pwrite64`, `splice`, `sendfile`.
const WRITES: [u64; 7] = [1, 20, 44, 46, 18, 275, 40];
/// `fork`, `vfork`, `clone`, `clone3`.
const BIRTHS: [u64; 4] = [57, 58, 56, 435];

const SIGKILL: u32 = 9;
const SIGPIPE: u32 = 13;
const SIGCHLD: u32 = 17;
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
    /// Processes that a handler tells of SIGCHLD, or a descriptor.
    handle: FxHashSet<u32>,
    /// Processes that have begun a program.
    programs: FxHashSet<u32>,
    /// What threads block, where that is anything.
    masks: FxHashMap<u32, u64>,
    /// What threads are about to block.
    next: FxHashMap<u32, u64>,
    /// A SIGCHLD that comes when a thread does not block it any more.
    owed: FxHashMap<u32, Info>,
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
            self.handle.remove(&record.pid);
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
            RT_SIGACTION if args[0] as u32 == SIGCHLD => match value(chunks, args[1]) {
                Some(0 | 1) => drop(self.handle.remove(pid)),
                Some(_) => drop(self.handle.insert(*pid)),
                None => {}
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
                let (to, signal, code) = match record.number {
                    KILL => (args[0], args[1], SI_USER),
                    TKILL => (args[0], args[1], SI_TKILL),
                    _ => (args[0], args[2], SI_TKILL),
                };
                let sent = Sent {
                    signal: signal as u32,
                    code,
                    by: *pid,
                };
                if sent.signal != 0 && to as i32 > 0 {
                    self.sent.insert((to as u32, sent.signal), sent);
                }
            }
            number if SIGNALFD.contains(&number) => drop(self.handle.insert(*pid)),
            _ => {}
        }
    }

    /// A call has ended. A SIGCHLD that comes now.
    pub fn exit(&mut self, record: &Record, chunks: &Chunks<'_>) -> Option<Info> {
        let Record { pid, tid, .. } = *record;
        if let Some(child) = reaped(record, chunks) {
            let info = self.sigchld(child, pid);
            self.masks.remove(&child.pid);
            if self.handle.contains(&pid) || pid != tid {
                return None;
            }
            if self
                .masks
                .get(&tid)
                .is_some_and(|mask| mask & bit(SIGCHLD) != 0)
            {
                self.owed.entry(tid).or_insert(info);
                return None;
            }
            return Some(info);
        }
        match record.number {
            RT_SIGPROCMASK => {
                let next = self.next.remove(&tid).filter(|_| record.result == 0)?;
                self.masks.insert(tid, next);
                let comes = next & bit(SIGCHLD) == 0;
                return comes.then(|| self.owed.remove(&tid)).flatten();
            }
            RT_SIGTIMEDWAIT => drop(self.owed.remove(&tid)),
            number if BIRTHS.contains(&number) && self.handle.contains(&pid) => {
                let child = record.result as u32;
                if record.result.cast_signed() > 0 && !self.programs.contains(&child) {
                    self.handle.insert(child);
                }
            }
            _ => {}
        }
        None
    }

    /// A handler is told of a signal.
    pub fn told(&mut self, record: &Record, info: &Info) {
        let number = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        self.told.insert(record.tid, number);
        if number == SIGCHLD {
            self.handle.insert(record.pid);
        }
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
