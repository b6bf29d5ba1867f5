//! Rings as their writers see them.
//!
//! # Safety
//! I20. The file is mapped once, before the program runs, and never unmapped by us. What lies in it is shared with the
//! reader: every field is an atomic, and the data of a ring that a thread has taken is written by that thread alone. A
//! signal cannot come in between: it waits until the hook returns.

use core::ffi::CStr;
use core::mem::offset_of;
use core::ptr;
use core::slice;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use hotpatch_events::{
    Begun, COUNT, Chunk, DATA, FILE, Header, LENDER, MOST, MOST_RULES, MOST_SUMS, POOL, POOL_LEN,
    RING_LEN, RINGS, RULES, Record, Ring as Shared, Rule, Sum, Sums, kind, state,
};
use hotpatch_hook::{Errno, nr, read_bytes, read_to_zero, syscall};
use hotpatch_names::{Limits, moves_bytes};

use crate::borrow::borrow;

/// Where the file is mapped.
static BASE: AtomicUsize = AtomicUsize::new(0);
/// Whether the program's beginning has been told.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// Whether there is nobody left to tell.
static DEAF: AtomicBool = AtomicBool::new(false);

/// How long a full ring is waited for before it is asked whether the reader is there still, in nanoseconds.
const PATIENCE: u64 = 100_000_000;

const O_RDWR: u64 = 2;
const O_CLOEXEC: u64 = 0o200_0000;
const AT_FDCWD: u64 = -100_i64 as u64;
const PROT_READ_WRITE: u64 = 3;
const MAP_SHARED: u64 = 1;
const FUTEX_WAIT: u64 = 0;
const SEEK_END: u64 = 2;

/// Maps the file that `setting` names: a path, and who lends it where that leads nowhere.
pub fn open(setting: &[u8]) -> Result<(), Errno> {
    let mut parts = setting.splitn(2, |byte| LENDER.as_bytes() == [*byte]);
    let path = parts.next().unwrap_or(setting);
    let fd = open_path(path).or_else(|errno| borrow(parts.next().ok_or(errno)?))?;
    map(fd)
}

fn open_path(path: &[u8]) -> Result<u64, Errno> {
    let mut name = [0; 257];
    name.get_mut(..path.len())
        .ok_or(Errno::ENAMETOOLONG)?
        .copy_from_slice(path);
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::EINVAL)?;
    let name = name.as_ptr().addr() as u64;
    // SAFETY: opens a file; the descriptor is ours.
    unsafe { syscall(nr::OPENAT, [AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0, 0, 0]) }
}

fn map(fd: u64) -> Result<(), Errno> {
    // SAFETY: asks for the file's length.
    let len = unsafe { syscall(nr::LSEEK, [fd, 0, SEEK_END, 0, 0, 0]) };
    let map = |len| {
        let map = [0, len, PROT_READ_WRITE, MAP_SHARED, fd, 0];
        // SAFETY: asks for new memory.
        unsafe { syscall(nr::MMAP, map) }
    };
    let mapped = match len {
        Ok(len) if len >= FILE as u64 => map(len),
        _ => Err(Errno::EINVAL),
    };
    // SAFETY: the descriptor that was just opened.
    let _ = unsafe { syscall(nr::CLOSE, [fd, 0, 0, 0, 0, 0]) };
    BASE.store(mapped? as usize, Ordering::Relaxed);
    if header().magic != Header::MAGIC {
        BASE.store(0, Ordering::Relaxed);
        return Err(Errno::EINVAL);
    }
    Ok(())
}

fn at(offset: usize) -> *mut u8 {
    ptr::with_exposed_provenance_mut(BASE.load(Ordering::Relaxed) + offset)
}

fn header() -> &'static Header {
    // SAFETY: mapped; what is read without atomics is written before the file is named to anybody.
    unsafe { &*at(0).cast() }
}

pub fn word(field: *const u32) -> &'static AtomicU32 {
    // SAFETY: in the mapping, aligned, and never accessed otherwise.
    unsafe { AtomicU32::from_ptr(field.cast_mut()) }
}

pub fn long(field: *const u64) -> &'static AtomicU64 {
    // SAFETY: as above.
    unsafe { AtomicU64::from_ptr(field.cast_mut()) }
}

/// What the reader wants to be kept.
pub fn limits() -> Limits {
    let header = header();
    Limits {
        text: header.text as usize,
        items: header.items as usize,
        environment: header.environment != 0,
    }
}

/// What the reader wants to be kept of descriptors.
pub fn links() -> u32 {
    header().links
}

/// Bytes of [`Part`](hotpatch_events::Part)s.
pub fn pool_used() -> usize {
    header().pool as usize
}

/// Where they lie.
pub fn pool() -> &'static [u8] {
    // SAFETY: mapped, and written before the file is named to anybody.
    unsafe { slice::from_raw_parts(at(POOL), POOL_LEN) }
}

/// The rules.
pub fn rules() -> &'static [Rule] {
    let count = (header().rules as usize).min(MOST_RULES);
    // SAFETY: mapped, and written before the file is named to anybody.
    unsafe { slice::from_raw_parts(at(RULES).cast(), count) }
}

/// What is told of calls: a value of [`tell`](hotpatch_events::tell).
pub fn tell() -> u32 {
    header().tell
}

/// A ring that the calling thread has taken.
pub struct Ring(usize);

impl Ring {
    /// In a slot: the thread has no ring and gets none.
    pub const NONE: u64 = u64::MAX;

    /// What a slot says, which is not 0.
    pub fn of(slot: u64) -> Option<Self> {
        (slot != Self::NONE).then(|| Self(slot as usize - 1))
    }

    /// What a slot says of it.
    pub fn slot(&self) -> u64 {
        self.0 as u64 + 1
    }

    /// Takes a ring for the calling thread; also whether it is the program's first.
    pub fn take() -> (Option<Self>, bool) {
        let first = !BEGUN.swap(true, Ordering::Relaxed);
        let header = header();
        let begin = word(&raw const header.next).fetch_add(1, Ordering::Relaxed) as usize;
        let ring = (0..COUNT).map(|n| Self((begin + n) % COUNT)).find(|ring| {
            // Acquire: pairs with the reader's Release, which has read all of it.
            let state = word(&raw const ring.shared().state);
            let free = state.load(Ordering::Relaxed) == state::FREE;
            free && state
                .compare_exchange(
                    state::FREE,
                    state::CLAIMED,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                )
                .is_ok()
        });
        match &ring {
            Some(ring) => {
                let (pid, tid) = ring.tells_of_caller();
                let shared = ring.shared();
                word(&raw const shared.pid).store(pid, Ordering::Relaxed);
                word(&raw const shared.tid).store(tid, Ordering::Relaxed);
                for begun in &shared.begun {
                    long(&raw const begun.rsp).store(0, Ordering::Relaxed);
                }
                word(&raw const shared.rule).store(0, Ordering::Relaxed);
                ring.counts_on(first);
                // Release: pairs with the reader's Acquire: it knows whose it is.
                word(&raw const shared.state).store(state::TAKEN, Ordering::Release);
            }
            None => {
                word(&raw const header.lost).fetch_add(1, Ordering::Relaxed);
            }
        }
        (ring, first)
    }

    /// What of it only its thread looks at.
    pub fn shared(&self) -> &'static Shared {
        // SAFETY: one of `COUNT`; its fields are accessed as atomics alone.
        unsafe { &*at(RINGS + self.0 * size_of::<Shared>()).cast() }
    }

    /// Whoever calls this is who the records from now on are about: process and thread.
    pub fn tells_of_caller(&self) -> (u32, u32) {
        // SAFETY: asks for a number.
        let ask = |number| unsafe { syscall(number, [0; 6]) }.unwrap_or(0) as u32;
        let (pid, tid) = (ask(nr::GETPID), ask(nr::GETTID));
        let shared = self.shared();
        word(&raw const shared.teller_pid).store(pid, Ordering::Relaxed);
        word(&raw const shared.teller_tid).store(tid, Ordering::Relaxed);
        (pid, tid)
    }

    /// What has been counted of the thread's calls: a new program's thread is its old one's.
    fn counts_on(&self, program: bool) {
        if rules().is_empty() {
            return;
        }
        let tid = word(&raw const self.shared().tid).load(Ordering::Relaxed);
        let is_old = |ring: &Self| {
            let shared = ring.shared();
            ring.0 != self.0
                && word(&raw const shared.tid).load(Ordering::Relaxed) == tid
                && word(&raw const shared.state).load(Ordering::Relaxed) == state::TAKEN
        };
        let old = (0..COUNT).map(Self).filter(|_| program).find(is_old);
        let is_first = program && word(&raw const header().begun).swap(1, Ordering::Relaxed) == 0;
        if is_first {
            word(&raw const header().first).store(tid, Ordering::Relaxed);
        }
        for (n, count) in self.shared().counts.iter().enumerate() {
            let counted = match &old {
                Some(old) => word(&raw const old.shared().counts[n]).load(Ordering::Relaxed),
                // The exec that has begun the program is one of its calls.
                None => u32::from(is_first && n == nr::EXECVE as usize),
            };
            word(count).store(counted, Ordering::Relaxed);
        }
    }

    /// Whether rules are for this thread.
    pub fn is_ruled(&self) -> bool {
        let first = word(&raw const header().first).load(Ordering::Relaxed);
        header().alone == 0
            || word(&raw const self.shared().teller_tid).load(Ordering::Relaxed) == first
    }

    /// A call begins, with this stack pointer.
    pub fn begins(&self, rsp: u64, time: u64) {
        let begun = &self.shared().begun;
        // Relaxed: this thread's alone.
        let of = |n: &&Begun| long(&raw const n.rsp).load(Ordering::Relaxed);
        let when = |n: &&Begun| long(&raw const n.time).load(Ordering::Relaxed);
        // Those that a handler has jumped out of stay until there is no other room.
        let place = (begun.iter())
            .find(|n| matches!(of(n), 0) || of(n) == rsp)
            .or_else(|| begun.iter().min_by_key(when));
        if let Some(place) = place {
            long(&raw const place.rsp).store(rsp, Ordering::Relaxed);
            long(&raw const place.time).store(time, Ordering::Relaxed);
        }
    }

    /// The call that was made with this stack pointer ends: when it began.
    pub fn ends(&self, rsp: u64, now: u64) {
        let shared = self.shared();
        let is = |n: &&Begun| long(&raw const n.rsp).load(Ordering::Relaxed) == rsp;
        let began = match shared.begun.iter().find(is) {
            None => now,
            Some(place) => {
                long(&raw const place.rsp).store(0, Ordering::Relaxed);
                long(&raw const place.time).load(Ordering::Relaxed)
            }
        };
        long(&raw const shared.began).store(began, Ordering::Relaxed);
    }

    /// A call has [ended](Self::ends): adds it to the sums. Not where all of them are taken, nor for the
    /// child of a `vfork`: they are its parent's.
    pub fn sums_up(&self, number: u32, result: u64, now: u64) -> bool {
        let (tid, teller) = {
            let shared = self.shared();
            (
                word(&raw const shared.tid),
                word(&raw const shared.teller_tid),
            )
        };
        if tid.load(Ordering::Relaxed) != teller.load(Ordering::Relaxed) {
            return false;
        }
        let sums: *mut Sums = at(FILE + self.0 * size_of::<Sums>()).cast();
        // SAFETY: in the mapping, which is that long where sums are asked for, and never accessed but as atomics.
        let sums = unsafe { &*sums };
        let Some(of) = sums.of.get(number as usize) else {
            return false;
        };
        // SAFETY: as above.
        let of = unsafe { AtomicU8::from_ptr(ptr::from_ref(of).cast_mut()) };
        let mut n = usize::from(of.load(Ordering::Relaxed));
        if n == 0 {
            let used = word(&raw const sums.used);
            n = used.load(Ordering::Relaxed) as usize + 1;
            if n > MOST_SUMS {
                return false;
            }
            used.store(n as u32, Ordering::Relaxed);
            of.store(n as u8, Ordering::Relaxed);
        }
        let Some(sum) = sums.sums.get(n - 1) else {
            return false;
        };
        // Relaxed, and no exchange: nobody else writes, and the reader's last look comes behind the thread's end.
        let add = |field: *const u64, more: u64| {
            let field = long(field);
            field.store(
                field.load(Ordering::Relaxed).wrapping_add(more),
                Ordering::Relaxed,
            );
        };
        let raise = |field: *const u64, to: u64| {
            let field = long(field);
            if to > field.load(Ordering::Relaxed) {
                field.store(to, Ordering::Relaxed);
            }
        };
        let took = now.saturating_sub(long(&raw const self.shared().began).load(Ordering::Relaxed));
        add(&raw const sum.calls, 1);
        add(&raw const sum.ticks, took);
        raise(&raw const sum.not_least, !took);
        raise(&raw const sum.most, took);
        if result > u64::MAX - 4096 {
            add(&raw const sum.errors, 1);
        } else if moves_bytes(number.into()) {
            add(&raw const sum.bytes, result);
        }
        if let Some(time) = sum.times.get(Sum::place(took)) {
            let time = word(time);
            time.store(
                time.load(Ordering::Relaxed).wrapping_add(1),
                Ordering::Relaxed,
            );
        }
        true
    }

    /// Its thread writes nothing more. The child of a `vfork`, whose parent's it is, leaves it to that.
    pub fn done(&self) {
        let shared = self.shared();
        let of = |field| word(field).load(Ordering::Relaxed);
        if of(&raw const shared.teller_tid) != of(&raw const shared.tid) {
            return;
        }
        // Release: pairs with the reader's Acquire: it has seen the last head.
        word(&raw const shared.state).store(state::DONE, Ordering::Release);
    }

    /// Room for a record; none where nobody reads, or a full ring is not waited for.
    pub fn write(&self, time: u64) -> Option<Writer<'_>> {
        if DEAF.load(Ordering::Relaxed) {
            return None;
        }
        let shared = self.shared();
        let mut head = long(&raw const shared.head).load(Ordering::Relaxed);
        let to_end = RING_LEN - head as usize % RING_LEN;
        let skip = if to_end < MOST { to_end } else { 0 };
        if !self.has_room(head, skip + MOST) && !self.wait(head, skip + MOST) {
            long(&raw const shared.dropped).fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if skip != 0 {
            let record = Record {
                len: skip as u32,
                kind: kind::SKIP,
                ..Record::default()
            };
            // SAFETY: ours to write: the reader has left it. A record's first words fit wherever one may begin.
            unsafe {
                self.data(head)
                    .cast::<[u32; 2]>()
                    .write([record.len, record.kind])
            };
            head += skip as u64;
        }
        let writer = Writer {
            ring: self,
            head,
            record: self.data(head).cast(),
            len: size_of::<Record>(),
        };
        let teller = |field| word(field).load(Ordering::Relaxed);
        writer.put(
            offset_of!(Record, pid),
            teller(&raw const shared.teller_pid),
        );
        writer.put(
            offset_of!(Record, tid),
            teller(&raw const shared.teller_tid),
        );
        writer.put(offset_of!(Record, time), time);
        let began = long(&raw const shared.began).load(Ordering::Relaxed);
        writer.put(offset_of!(Record, began), began);
        Some(writer)
    }

    /// Waits until all of it has been read.
    pub fn is_read(&self) {
        let head = long(&raw const self.shared().head).load(Ordering::Relaxed);
        if !DEAF.load(Ordering::Relaxed) && !self.has_room(head, RING_LEN) {
            self.wait(head, RING_LEN);
        }
    }

    fn has_room(&self, head: u64, need: usize) -> bool {
        // Acquire: pairs with the reader's Release: what it has read may be overwritten.
        let tail = long(&raw const self.shared().tail).load(Ordering::Acquire);
        head - tail + need as u64 <= RING_LEN as u64
    }

    /// Waits until there is room; not where records are dropped, or once the reader is gone.
    #[cold]
    fn wait(&self, head: u64, need: usize) -> bool {
        let shared = self.shared();
        if header().drop != 0 {
            return false;
        }
        let waits = word(&raw const shared.waits);
        loop {
            // SeqCst: the reader stores `tail`, then looks at `waits`.
            waits.store(1, Ordering::SeqCst);
            let low = (&raw const shared.tail).cast::<u32>();
            let seen = word(low).load(Ordering::SeqCst);
            if self.has_room(head, need) {
                waits.store(0, Ordering::Relaxed);
                return true;
            }
            let patience = [0, PATIENCE];
            let futex = [
                low.addr() as u64,
                FUTEX_WAIT,
                u64::from(seen),
                patience.as_ptr().addr() as u64,
                0,
                0,
            ];
            // SAFETY: reads the word and the time.
            let woken = unsafe { syscall(nr::FUTEX, futex) };
            if woken == Err(Errno::ETIMEDOUT) {
                let reader = u64::from(header().reader);
                // SAFETY: signal 0 is none.
                let alive = unsafe { syscall(nr::KILL, [reader, 0, 0, 0, 0, 0]) };
                if alive == Err(Errno::ESRCH) {
                    DEAF.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
    }

    /// Where byte `head` of the ring lies.
    fn data(&self, head: u64) -> *mut u8 {
        at(DATA + self.0 * RING_LEN + head as usize % RING_LEN)
    }
}

/// A record that is being written: nobody sees it before [`finish`](Writer::finish).
pub struct Writer<'r> {
    ring: &'r Ring,
    head: u64,
    /// Where it lies.
    record: *mut Record,
    len: usize,
}

impl Writer<'_> {
    /// Writes a field. (One at a time: a copy of all takes as long as the rest of this.)
    fn put<T>(&self, offset: usize, value: T) {
        let field = self.record.wrapping_byte_add(offset).cast::<T>();
        // SAFETY: within the `MOST` bytes that are ours, which do not wrap; aligned as in a `Record`.
        unsafe { field.write(value) };
    }

    /// What call it is about.
    pub fn call(&mut self, site: u64, number: u64, args: &[u64; 6], result: u64) {
        self.put(offset_of!(Record, site), site);
        self.put(offset_of!(Record, number), number);
        self.put(offset_of!(Record, args), *args);
        self.put(offset_of!(Record, result), result);
    }

    /// Adds up to `len` bytes of the program's memory, as far as they can be read and there is room.
    pub fn chunk<'b>(&mut self, address: u64, len: usize, to_zero: bool) -> Option<&'b [u8]> {
        let read = |into: &mut [u8]| {
            let done = match to_zero {
                true => read_to_zero(address, into),
                false => read_bytes(address, into),
            };
            done.ok()
        };
        self.fill(address, len, read)
    }

    /// Adds what `read` puts into up to `len` bytes: it says how many. The answer lives as long as the ring: nobody
    /// overwrites it before the record is finished and read.
    pub fn fill<'b>(
        &mut self,
        address: u64,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<&'b [u8]> {
        let room = MOST.checked_sub(self.len + size_of::<Chunk>())?;
        let len = len.min(room & !7);
        let start = self.ring.data(self.head).wrapping_add(self.len);
        let bytes = start.wrapping_add(size_of::<Chunk>());
        // SAFETY: within the `MOST` bytes that are ours, which do not wrap.
        let into = unsafe { slice::from_raw_parts_mut(bytes, len) };
        let done = read(into)?.min(len);
        let chunk = Chunk {
            address,
            len: done as u64,
        };
        // SAFETY: as above; 8-aligned like every part of a record.
        unsafe { start.cast::<Chunk>().write(chunk) };
        self.len += size_of::<Chunk>() + done.next_multiple_of(8);
        // SAFETY: as above, and just written.
        Some(unsafe { slice::from_raw_parts(bytes, done) })
    }

    /// Shows it to the reader.
    pub fn finish(self, kind: u32) {
        self.put(offset_of!(Record, len), self.len as u32);
        self.put(offset_of!(Record, kind), kind);
        // Release: pairs with the reader's Acquire: the record is complete.
        long(&raw const self.ring.shared().head)
            .store(self.head + self.len as u64, Ordering::Release);
    }
}
