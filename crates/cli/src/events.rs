//! The rings that a traced program tells its calls into, as the one who reads them.
//!
//! # Safety
//! I20. The file is ours, never shortened, and mapped as long as this lives. Every field that others write is an atomic; the
//! bytes between `tail` and `head` of a ring are left alone by its writer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::mem::offset_of;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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
    /// The first thread, where it runs already.
    pub first: Option<u32>,
}

/// One event.
#[derive(Debug)]
pub struct Event<'r> {
    /// What happened; its kind without flags.
    pub record: Record,
    /// The flags of its kind.
    pub flags: u32,
    /// What was kept of the program's memory.
    pub kept: Chunks<'r>,
    /// What it is about is many calls.
    pub sum: Option<&'r Sum>,
}

/// What was kept of a program's memory, as it lies in a record: [`Chunk`]s.
#[derive(Debug)]
pub struct Chunks<'r>(pub &'r mut [u8]);

impl Chunks<'_> {
    /// The same bytes in a form of their own.
    pub fn from(chunks: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut all = Vec::new();
        for (address, bytes) in chunks {
            all.extend_from_slice(&address.to_le_bytes());
            all.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            all.extend_from_slice(bytes);
            all.resize(all.len().next_multiple_of(8), 0);
        }
        all
    }

    /// Addresses, and where in the record their bytes are.
    pub fn places(&self) -> impl Iterator<Item = (u64, Range<usize>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (address, len) = (long(self.0, at)?, long(self.0, at + 8)? as usize);
            let start = at + size_of::<Chunk>();
            let end = start.checked_add(len).filter(|end| *end <= self.0.len())?;
            at = end.next_multiple_of(8);
            Some((address, start..end))
        })
    }

    /// Addresses and bytes.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.places()
            .map(|(address, place)| (address, &self.0[place]))
    }
}

/// What a round has brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Something was told.
    pub any: bool,
    /// Something is there that is too young.
    pub left: bool,
}

/// The file of rings.
#[derive(Debug)]
pub struct Events {
    file: OwnedFd,
    map: MmapRaw,
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
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
            begun: u32::from(wishes.first.is_some()),
            environment: u32::from(wishes.environment),
            links: wishes.links,
            pool: pool.len() as u32,
            first: wishes.first.unwrap_or(0),
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

    /// Its descriptor.
    pub fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
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

    /// Tells what happened before `until`, in the order of time; a thread's own events stay as they are. What `each`
    /// fails with ends it.
    pub fn tell(
        &self,
        until: u64,
        each: &mut dyn FnMut(Event<'_>) -> io::Result<()>,
    ) -> io::Result<Told> {
        // No ring is taken beyond the last that a search began with, before all have been.
        let header = self.map.as_ptr();
        let next = header.wrapping_add(offset_of!(Header, next));
        let known = self.word(next.cast()).load(Ordering::Acquire) as usize;
        let mut told = Told::default();
        let mut tales: Vec<Tale<'_>> = (0..known.min(COUNT))
            .filter_map(|index| Tale::of(self, index))
            .collect();
        // The next of each, the earliest on top.
        let mut heads: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        for (n, tale) in tales.iter_mut().enumerate() {
            heads.extend(tale.time().map(|time| Reverse((time, n))));
        }
        let mut failed = Ok(());
        while let Some(Reverse((time, n))) = heads.pop() {
            if time >= until || failed.is_err() {
                told.left = true;
                break;
            }
            let others = heads.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
            let tale = &mut tales[n];
            let mut now = Some(time);
            while let Some(time) = now.filter(|time| *time < until && *time <= others) {
                told.any = true;
                failed = tale.event().map_or(Ok(()), &mut *each);
                if failed.is_err() {
                    break;
                }
                now = tale.time().map(|next| next.max(time));
            }
            heads.extend(now.map(|time| Reverse((time, n))));
        }
        for tale in tales {
            let index = tale.index;
            if tale.ends() && failed.is_ok() {
                if self.map.len() == FILE_WITH_SUMS {
                    failed = self.tell_sums(index, each);
                }
                let state = self
                    .ring(index)
                    .cast::<u8>()
                    .wrapping_add(offset_of!(Ring, state));
                // Release: pairs with the Acquire of whoever takes it next.
                self.word(state.cast())
                    .store(state::FREE, Ordering::Release);
            }
        }
        failed.map(|()| told)
    }

    /// Tells the sums of a thread that has ended, and clears them.
    fn tell_sums(
        &self,
        index: usize,
        each: &mut dyn FnMut(Event<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
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
        let (pid, tid) = (word(offset_of!(Ring, pid)), word(offset_of!(Ring, tid)));
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
            each(Event {
                record: Record {
                    kind: kind::SUM,
                    pid,
                    tid,
                    time: ticks(),
                    number: number as u64,
                    ..Record::default()
                },
                flags: 0,
                kept: Chunks(&mut []),
                sum: Some(&sum),
            })?;
        }
        sums.used = 0;
        Ok(())
    }

    /// Threads that write, each with its process.
    pub fn writers(&self) -> Vec<Writer> {
        let taken = (0..COUNT).filter_map(|index| {
            let ring = self.ring(index);
            let field = |offset| {
                let field = ring.cast::<u8>().wrapping_add(offset).cast();
                self.word(field).load(Ordering::Acquire)
            };
            let taken = field(offset_of!(Ring, state)) == state::TAKEN;
            taken.then(|| Writer {
                index,
                pid: field(offset_of!(Ring, pid)),
                tid: field(offset_of!(Ring, tid)),
            })
        });
        taken.collect()
    }

    /// Nobody writes to this ring any more.
    pub fn abandon(&self, writer: &Writer) {
        let state = self
            .ring(writer.index)
            .cast::<u8>()
            .wrapping_add(offset_of!(Ring, state));
        self.word(state.cast())
            .store(state::DONE, Ordering::Release);
    }

    /// Records that found no room, and threads that found no ring.
    pub fn lost(&self) -> (u64, u32) {
        let dropped = (0..COUNT).map(|index| {
            let field = self
                .ring(index)
                .cast::<u8>()
                .wrapping_add(offset_of!(Ring, dropped));
            self.long(field.cast()).load(Ordering::Relaxed)
        });
        let threads = self.map.as_ptr().wrapping_add(offset_of!(Header, lost));
        (
            dropped.fold(0, u64::saturating_add),
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

/// What a ring holds, from its reader's side.
struct Tale<'e> {
    events: &'e Events,
    index: usize,
    /// Its thread had ended before `end` was read.
    done: bool,
    at: u64,
    end: u64,
    /// Up to here the writer knows that it may write.
    given: u64,
    /// When `end` was read.
    now: u64,
}

impl<'e> Tale<'e> {
    /// What the ring `index` holds now, unless nobody has it.
    fn of(events: &'e Events, index: usize) -> Option<Self> {
        let mut tale = Self {
            events,
            index,
            done: false,
            at: 0,
            end: 0,
            given: 0,
            now: 0,
        };
        // Acquire: pairs with the writer's Release: the last head is seen with it.
        let state = events
            .word(tale.field(offset_of!(Ring, state)).cast())
            .load(Ordering::Acquire);
        if state == state::FREE {
            return None;
        }
        tale.done = state == state::DONE;
        // Acquire: pairs with the writer's Release: records up to it are complete.
        tale.end = events
            .long(tale.field(offset_of!(Ring, head)).cast())
            .load(Ordering::Acquire);
        tale.at = events
            .long(tale.field(offset_of!(Ring, tail)).cast())
            .load(Ordering::Relaxed);
        tale.given = tale.at;
        tale.now = ticks();
        if tale.end.wrapping_sub(tale.at) > RING_LEN as u64 {
            // Nobody but the program itself can have written that; there would be no end to it.
            tale.at = tale.end;
        }
        Some(tale)
    }

    fn field(&self, offset: usize) -> *const u8 {
        self.events
            .ring(self.index)
            .cast::<u8>()
            .wrapping_add(offset)
    }

    /// What lies from here to the end, or to where the ring ends.
    fn rest(&mut self) -> &'e mut [u8] {
        let place = self.at as usize % RING_LEN;
        let start = DATA + self.index * RING_LEN + place;
        let room = (RING_LEN - place).min((self.end - self.at) as usize);
        let first = self.events.map.as_mut_ptr().wrapping_add(start);
        // SAFETY: within the mapping; the writer leaves it alone until `tail` has passed it, and there is one reader.
        unsafe { std::slice::from_raw_parts_mut(first, room) }
    }

    /// When the next event happened.
    fn time(&mut self) -> Option<u64> {
        while self.at < self.end {
            let rest = self.rest();
            let (len, kind) = (word(rest, 0)? as usize, word(rest, 4)? & kind::MASK);
            let record = size_of::<Record>()..=MOST;
            let fits = len % 8 == 0 && len <= rest.len();
            if fits && kind == kind::SKIP && len > 0 {
                self.at += len as u64;
            } else if fits && record.contains(&len) {
                let time = long(rest, offset_of!(Record, time))?;
                // What the program has written there itself may lie in the future, which would never be over.
                return Some(if time > self.now { 0 } else { time });
            } else {
                // Nobody but the program itself can have written that.
                self.at = self.end;
            }
        }
        None
    }

    /// The next event, where [`time`](Self::time) has said that there is one.
    fn event(&mut self) -> Option<Event<'e>> {
        // What the last one borrowed is free by now.
        if self.at - self.given > RING_LEN as u64 / 16 {
            self.give();
        }
        let Some(event) = read(self.rest()) else {
            // The program has changed it since.
            self.at = self.end;
            return None;
        };
        self.at = self.end.min(self.at + u64::from(event.record.len));
        Some(event)
    }

    /// The writer may write to where we have been.
    fn give(&mut self) {
        self.given = self.at;
        let tail = self.field(offset_of!(Ring, tail));
        // SeqCst: the writer sets `waits`, then looks at `tail`.
        self.events
            .long(tail.cast())
            .store(self.at, Ordering::SeqCst);
        let waits = self.events.word(self.field(offset_of!(Ring, waits)).cast());
        // Whoever sleeps is woken once there is room for many.
        if waits.load(Ordering::SeqCst) != 0 && waits.swap(0, Ordering::SeqCst) != 0 {
            // SAFETY: wakes whoever sleeps on a word of ours.
            unsafe { libc::syscall(libc::SYS_futex, tail, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
        }
    }

    /// Gives back what has been told; whether its thread has ended and all is.
    fn ends(mut self) -> bool {
        if self.at != self.given {
            self.give();
        }
        self.done && self.at >= self.end
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The record at the start of `bytes`.
pub fn read(bytes: &mut [u8]) -> Option<Event<'_>> {
    let (record, rest) = bytes.split_first_chunk_mut::<{ size_of::<Record>() }>()?;
    let mut args = [0; 6];
    for (n, arg) in args.iter_mut().enumerate() {
        *arg = long(record, offset_of!(Record, args) + 8 * n)?;
    }
    let kind = word(record, 4)?;
    let record = Record {
        len: word(record, 0)?,
        kind: kind & kind::MASK,
        pid: word(record, 8)?,
        tid: word(record, 12)?,
        time: long(record, 16)?,
        began: long(record, 24)?,
        site: long(record, 32)?,
        number: long(record, 40)?,
        result: long(record, 48)?,
        args,
    };
    let kept = (record.len as usize).checked_sub(size_of::<Record>())?;
    Some(Event {
        record,
        flags: kind & !kind::MASK,
        kept: Chunks(rest.get_mut(..kept)?),
        sum: None,
    })
}

/// Writes a record as [`read`] reads it.
pub fn write(record: &Record, kept: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let len = size_of::<Record>() + kept.len();
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
    out.write_all(kept)
}

/// The counter that records are stamped with.
pub fn ticks() -> u64 {
    // SAFETY: every processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}
