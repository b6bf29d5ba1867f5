//! The rings that a traced program tells its calls into, as the one who reads them.
//!
//! # Safety
//! I20. The file is ours, never shortened, and mapped as long as this lives. Every field that others write is an atomic; the
//! bytes between `tail` and `head` of a ring are left alone by its writer.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hotpatch_events::{
    COUNT, Chunk, DATA, FILE, FILE_WITH_SUMS, Header, MOST, MOST_RULES, MOST_SUMS, POOL, POOL_LEN,
    RING_LEN, RINGS, RULES, Record, Ring, Rule, Sum, Sums, kind, state, tell,
};
use memmap2::{MmapOptions, MmapRaw};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// What is kept, and what happens where there is no room.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Bytes of a text or a buffer.
    pub text: u32,
    /// Elements of an array.
    pub items: u32,
    /// Whether calls that find no room are dropped rather than waited with.
    pub drop: bool,
    /// What is told of calls: a value of [`tell`](hotpatch_events::tell).
    pub tell: u32,
    /// Whether the environments of execs are kept.
    pub environment: bool,
    /// Whether rules are for the program's first thread alone.
    pub alone: bool,
    /// What is kept of descriptors: bits of [`links`](hotpatch_events::links).
    pub links: u32,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened; its kind without flags.
    pub record: Record,
    /// The flags of its kind.
    pub flags: u32,
    /// What was kept of the program's memory: address and bytes.
    pub kept: Vec<(u64, Vec<u8>)>,
    /// What it is about is many calls.
    pub sum: Option<Box<Sum>>,
}

/// The file of rings.
#[derive(Debug)]
pub struct Events {
    file: OwnedFd,
    map: MmapRaw,
}

impl Events {
    /// A new file without a name, which this process reads.
    ///
    /// At most [`MOST_RULES`] of `rules` are heeded, and [`POOL_LEN`] bytes of `pool`, which holds parts.
    pub fn new(wishes: Wishes, rules: &[Rule], pool: &[u8]) -> io::Result<Self> {
        let rules = &rules[..rules.len().min(MOST_RULES)];
        let pool = &pool[..pool.len().min(POOL_LEN)];
        let file = memfd_create(c"hotpatch-events", MFdFlags::MFD_CLOEXEC)?;
        let len = if wishes.tell == tell::SUMS {
            FILE_WITH_SUMS
        } else {
            FILE
        };
        nix::unistd::ftruncate(&file, len as i64)?;
        let map = MmapOptions::new().len(len).map_raw(file.as_raw_fd())?;
        let header = Header {
            magic: Header::MAGIC,
            reader: std::process::id(),
            text: wishes.text,
            items: wishes.items,
            drop: u32::from(wishes.drop),
            next: 0,
            lost: 0,
            tell: wishes.tell,
            rules: rules.len() as u32,
            begun: 0,
            environment: u32::from(wishes.environment),
            links: wishes.links,
            pool: pool.len() as u32,
            first: 0,
            alone: u32::from(wishes.alone),
        };
        // SAFETY: mapped, aligned, and nobody else's yet.
        unsafe { map.as_mut_ptr().cast::<Header>().write(header) };
        let place = map.as_mut_ptr().wrapping_add(RULES).cast::<Rule>();
        // SAFETY: as above; there is room for so many.
        unsafe { std::ptr::copy_nonoverlapping(rules.as_ptr(), place, rules.len()) };
        let place = map.as_mut_ptr().wrapping_add(POOL);
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(pool.as_ptr(), place, pool.len()) };
        Ok(Self { file, map })
    }

    /// How a traced process finds it.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn ring(&self, index: usize) -> *const Ring {
        let offset = RINGS + index * size_of::<Ring>();
        self.map.as_ptr().wrapping_add(offset).cast()
    }

    fn word(&self, field: *const u32) -> &AtomicU32 {
        // SAFETY: in the mapping, aligned, and never accessed otherwise.
        unsafe { AtomicU32::from_ptr(field.cast_mut()) }
    }

    fn long(&self, field: *const u64) -> &AtomicU64 {
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(field.cast_mut()) }
    }

    /// Takes all that is in the rings, in order for each; whether there was anything.
    pub fn take(&self, into: &mut Vec<Event>) -> bool {
        let before = into.len();
        for index in 0..COUNT {
            self.take_from(index, into);
        }
        into.len() > before
    }

    fn take_from(&self, index: usize, into: &mut Vec<Event>) {
        let ring = self.ring(index);
        let field = |offset| ring.cast::<u8>().wrapping_add(offset);
        let state = self.word(field(std::mem::offset_of!(Ring, state)).cast());
        // Acquire: pairs with the writer's Release: the last head is seen with it.
        let is = state.load(Ordering::Acquire);
        if is == state::FREE {
            return;
        }
        let head = self.long(field(std::mem::offset_of!(Ring, head)).cast());
        let tail = self.long(field(std::mem::offset_of!(Ring, tail)).cast());
        // Acquire: pairs with the writer's Release: records up to it are complete.
        let end = head.load(Ordering::Acquire);
        let mut at = tail.load(Ordering::Relaxed);
        while at < end {
            let place = at as usize % RING_LEN;
            let start = DATA + index * RING_LEN + place;
            let room = (RING_LEN - place).min((end - at) as usize);
            let first = self.map.as_ptr().wrapping_add(start);
            // SAFETY: within the mapping; the writer leaves it alone until `tail` has passed it.
            let bytes = unsafe { std::slice::from_raw_parts(first, room) };
            let Some((event, len)) = read(bytes, MOST) else {
                // Nobody but the program itself can have written that.
                at = end;
                break;
            };
            into.extend(event);
            at += len as u64;
        }
        // SeqCst: the writer sets `waits`, then looks at `tail`.
        tail.store(at, Ordering::SeqCst);
        let waits = self.word(field(std::mem::offset_of!(Ring, waits)).cast());
        if waits.swap(0, Ordering::SeqCst) != 0 {
            let low = field(std::mem::offset_of!(Ring, tail));
            // SAFETY: wakes whoever sleeps on a word of ours.
            unsafe { libc::syscall(libc::SYS_futex, low, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
        }
        if is == state::DONE {
            if self.map.len() == FILE_WITH_SUMS {
                self.take_sums(index, into);
            }
            // Release: pairs with the Acquire of whoever takes it next.
            state.store(state::FREE, Ordering::Release);
        }
    }

    /// Takes the sums of a thread that has ended.
    fn take_sums(&self, index: usize, into: &mut Vec<Event>) {
        let ring = self.ring(index);
        let place = FILE + index * size_of::<Sums>();
        let sums = self.map.as_mut_ptr().wrapping_add(place).cast::<Sums>();
        // SAFETY: within the mapping; whoever wrote there has ended, and nobody takes the ring before it is free.
        let sums = unsafe { &mut *sums };
        let used = (sums.used as usize).min(MOST_SUMS);
        let word = |offset| {
            let field = ring.cast::<u8>().wrapping_add(offset).cast();
            self.word(field).load(Ordering::Relaxed)
        };
        let (pid, tid) = (
            word(std::mem::offset_of!(Ring, pid)),
            word(std::mem::offset_of!(Ring, tid)),
        );
        for (number, of) in sums.of.iter_mut().enumerate() {
            let of = std::mem::take(of);
            let Some(sum) = usize::from(of)
                .checked_sub(1)
                .and_then(|n| sums.sums[..used].get_mut(n))
            else {
                continue;
            };
            // SAFETY: it is numbers alone, for which zeros are zeros.
            let sum = std::mem::replace(sum, unsafe { std::mem::zeroed() });
            into.push(Event {
                record: Record {
                    kind: kind::SUM,
                    pid,
                    tid,
                    time: ticks(),
                    number: number as u64,
                    ..Record::default()
                },
                flags: 0,
                kept: Vec::new(),
                sum: Some(Box::new(sum)),
            });
        }
        sums.used = 0;
    }

    /// Threads that write, each with its process.
    pub fn writers(&self) -> Vec<Writer> {
        let taken = (0..COUNT).filter_map(|index| {
            let ring = self.ring(index);
            let field = |offset| {
                let field = ring.cast::<u8>().wrapping_add(offset).cast();
                self.word(field).load(Ordering::Acquire)
            };
            let taken = field(std::mem::offset_of!(Ring, state)) == state::TAKEN;
            taken.then(|| Writer {
                index,
                pid: field(std::mem::offset_of!(Ring, pid)),
                tid: field(std::mem::offset_of!(Ring, tid)),
            })
        });
        taken.collect()
    }

    /// Nobody writes to this ring any more.
    pub fn abandon(&self, writer: &Writer) {
        let state = self
            .ring(writer.index)
            .cast::<u8>()
            .wrapping_add(std::mem::offset_of!(Ring, state));
        self.word(state.cast())
            .store(state::DONE, Ordering::Release);
    }

    /// Records that found no room, and threads that found no ring.
    pub fn lost(&self) -> (u64, u32) {
        let dropped = (0..COUNT).map(|index| {
            let field = self
                .ring(index)
                .cast::<u8>()
                .wrapping_add(std::mem::offset_of!(Ring, dropped));
            self.long(field.cast()).load(Ordering::Relaxed)
        });
        let threads = self
            .map
            .as_ptr()
            .wrapping_add(std::mem::offset_of!(Header, lost));
        (
            dropped.sum(),
            self.word(threads.cast()).load(Ordering::Relaxed),
        )
    }
}

/// A thread that has a ring.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    index: usize,
    /// Its process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
}

impl Writer {
    /// Whether it is there still.
    pub fn lives(&self) -> bool {
        lives(self.pid, self.tid)
    }
}

/// Whether a thread is there still.
pub fn lives(pid: u32, tid: u32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/task/{tid}/stat")) else {
        return false;
    };
    let name_ends = stat.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    !matches!(stat.get(name_ends + 2), Some(b'Z' | b'X') | None)
}

/// The record at the start of `bytes`, if it is one to be told, and its length, which is `most` at most.
pub fn read(bytes: &[u8], most: usize) -> Option<(Option<Event>, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (len, what, flags) = (
        word(0)? as usize,
        word(4)? & kind::MASK,
        word(4)? & !kind::MASK,
    );
    if len == 0 || len % 8 != 0 || len > bytes.len() {
        return None;
    }
    if what == kind::SKIP {
        return Some((None, len));
    }
    if len < size_of::<Record>() || len > most {
        return None;
    }
    let mut args = [0; 6];
    for (n, arg) in args.iter_mut().enumerate() {
        *arg = long(56 + 8 * n)?;
    }
    let record = Record {
        len: len as u32,
        kind: what,
        pid: word(8)?,
        tid: word(12)?,
        time: long(16)?,
        began: long(24)?,
        site: long(32)?,
        number: long(40)?,
        result: long(48)?,
        args,
    };
    let mut kept = Vec::new();
    let mut at = size_of::<Record>();
    while at < len {
        let (address, count) = (long(at)?, long(at + 8)? as usize);
        at += size_of::<Chunk>();
        kept.push((address, bytes.get(at..at.checked_add(count)?)?.to_vec()));
        at += count.next_multiple_of(8);
    }
    Some((
        Some(Event {
            record,
            flags,
            kept,
            sum: None,
        }),
        len,
    ))
}

/// Writes a record as [`read`] reads it.
pub fn write(record: &Record, kept: &[(u64, Vec<u8>)], out: &mut dyn Write) -> io::Result<()> {
    let chunk = |bytes: &[u8]| size_of::<Chunk>() + bytes.len().next_multiple_of(8);
    let len = size_of::<Record>() + kept.iter().map(|(_, bytes)| chunk(bytes)).sum::<usize>();
    for word in [len as u32, record.kind, record.pid, record.tid] {
        out.write_all(&word.to_le_bytes())?;
    }
    let words = [
        record.time,
        record.began,
        record.site,
        record.number,
        record.result,
    ];
    for word in words.iter().chain(&record.args) {
        out.write_all(&word.to_le_bytes())?;
    }
    for (address, bytes) in kept {
        out.write_all(&address.to_le_bytes())?;
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(bytes)?;
        let rest = bytes.len().next_multiple_of(8) - bytes.len();
        out.write_all(&[0; 8][..rest])?;
    }
    Ok(())
}

/// The counter that records are stamped with.
pub fn ticks() -> u64 {
    // SAFETY: every processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}
