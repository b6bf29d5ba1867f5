//! What a traced program tells: the file of rings that it shares with whoever reads, and the records in them.
//!
//! ```text
//! offset 0              Header
//! RULES                 Rule, Rule, ...          what is done to calls
//! POOL                  Part, Part, ...          what of that has no fixed length
//! RINGS                 Ring, Ring, ...          one for each thread that is traced
//! DATA                  RING_LEN bytes for each  records, each in one piece
//! SUMS                  Sums for each            only where calls are summed up rather than told
//! ```
//!
//! A ring has one writer, its thread, and one reader. `head` and `tail` count all bytes ever written and read; a record
//! is complete before `head` passes it. Everything lies in a shared mapping of a file: what was written outlives whoever
//! wrote it. No logic here but how times are put into [`Sum::times`].
#![no_std]
#![forbid(unsafe_code)]

/// Stands between the file's path and who lends it, in what traced programs are told.
pub const LENDER: &str = "@";

/// What a program says that asks for the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asks {
    /// Known to traced programs alone.
    pub token: u64,
    /// Its own id, as it sees it.
    pub pid: u32,
}

impl Asks {
    /// As it is sent.
    #[must_use]
    pub fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (token, rest) = bytes.split_at_mut(8);
        token.copy_from_slice(&self.token.to_le_bytes());
        rest.copy_from_slice(&u64::from(self.pid).to_le_bytes());
        bytes
    }

    /// As it was sent.
    #[must_use]
    pub fn of(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        Self {
            token: number as u64,
            pid: (number >> 64) as u32,
        }
    }
}

/// At the start of the file.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Header {
    /// [`Header::MAGIC`].
    pub magic: u64,
    /// The process that reads. Once it is gone nobody waits for it.
    pub reader: u32,
    /// Bytes of a text or a buffer that are kept.
    pub text: u32,
    /// Elements of an array that are kept.
    pub items: u32,
    /// Not 0: a record that finds its ring full is dropped and counted, rather than waited for.
    pub drop: u32,
    /// Where the search for a free ring begins.
    pub next: u32,
    /// Threads that have found none: their calls are not told.
    pub lost: u32,
    /// A value of [`tell`].
    pub tell: u32,
    /// Rules that there are.
    pub rules: u32,
    /// Not 0: the first program has begun.
    pub begun: u32,
    /// Not 0: the environments of execs are kept.
    pub environment: u32,
    /// What is kept of descriptors: bits of [`links`].
    pub links: u32,
    /// Bytes of the pool that hold [`Part`]s.
    pub pool: u32,
    /// The thread that the first program has begun with, once that is known, where there are rules.
    pub first: u32,
    /// Not 0: rules are for that thread alone.
    pub alone: u32,
}

/// Bits of [`Header::links`].
pub mod links {
    /// What they lead to.
    pub const PATHS: u32 = 1;
    /// Which device that is, where it is one.
    pub const DEVICES: u32 = 2;
    /// Addresses of sockets.
    pub const SOCKETS: u32 = 4;
    /// Of the thread itself: registers, and its stack. Who begins a process waits until that has been read.
    pub const STACKS: u32 = 8;
}

impl Header {
    /// Changes with anything in this file.
    pub const MAGIC: u64 = u64::from_le_bytes(*b"hotpatcb");
}

/// What is told of calls: values of [`Header::tell`].
pub mod tell {
    /// All.
    pub const ALL: u32 = 0;
    /// How it ended, and when it began; no memory is kept.
    pub const ENDS: u32 = 1;
    /// How many there were, in [`Sums`](super::Sums). Births, execs and whatever finds no place there are told as
    /// with [`ENDS`].
    pub const SUMS: u32 = 2;
}

/// What is done to which calls. Of several rules for a call the last one counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule {
    /// The calls: bit `n % 64` of `calls[n / 64]`.
    pub calls: [u64; 8],
    /// At which of a thread's calls it begins, counted from 1.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Every how many; 0 is once.
    pub step: u64,
    /// Of 2^64 chances how many, less one.
    pub rate: u64,
    /// What chance begins with.
    pub seed: u64,
    /// With [`Rule::ANSWERS`]: what the call leaves in rax in place of the kernel.
    pub answer: u64,
    /// Nanoseconds that are waited before it.
    pub delay_enter: u64,
    /// And behind it.
    pub delay_exit: u64,
    /// [`Rule::ANSWERS`].
    pub flags: u32,
    /// A signal that is sent to the thread when the call has ended, or 0.
    pub signal: u32,
}

impl Rule {
    /// In `flags`: the call is not made.
    pub const ANSWERS: u32 = 1;
}

/// What a rule needs that has no fixed length; so many bytes follow, and fill up to a multiple of 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// A value of [`part`].
    pub kind: u8,
    /// The rule that it belongs to; with some kinds all.
    pub rule: u8,
    /// The argument that it is about, from 0 on.
    pub argument: u8,
    /// Nothing.
    pub pad: u8,
    /// Bytes that follow.
    pub length: u32,
}

/// Values of [`Part::kind`].
pub mod part {
    /// Bytes that are written to where an argument points, before the call.
    pub const POKE_ENTER: u8 = 1;
    /// And behind it.
    pub const POKE_EXIT: u8 = 2;
    /// A file that calls have to name, this one or another, for any rule to apply.
    pub const PATH: u8 = 3;
    /// Descriptors, 4 bytes each, one of which calls have to take.
    pub const DESCRIPTORS: u8 = 4;
    /// Descriptors one besides which they have to take.
    pub const OTHER_DESCRIPTORS: u8 = 5;
    /// Calls that the reader tells: a bit for each number, 64 bytes. If there is one it is the first part. Of others
    /// nothing is kept that costs much.
    pub const TOLD: u8 = 6;
}

/// How far a ring is.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Ring {
    /// A value of [`state`].
    pub state: u32,
    /// Its process.
    pub pid: u32,
    /// Its thread, of which `pid` is the group.
    pub tid: u32,
    /// Not 0: the writer sleeps until `tail` changes.
    pub waits: u32,
    /// Records that found it full.
    pub dropped: u64,
    /// When the call began that ends, where only ends are told.
    pub began: u64,
    /// Nanoseconds to be waited when the present call has ended.
    pub delay: u64,
    /// Signals to be sent then, bit 0 for signal 1.
    pub signals: u64,
    /// Who the records are about: the ring's own thread, or the child of its `vfork`, which may be gone before the
    /// parent runs again.
    pub teller_pid: u32,
    /// The thread of that.
    pub teller_tid: u32,
    /// The rule that the present call is done something by, and one more; 0: none.
    pub rule: u32,
    /// Not 0: its memory has been written to.
    pub poked: u32,
    /// Calls that have not come back, where only ends are told: a signal's handler makes more of them.
    pub begun: [Begun; 4],
    /// Bytes written. On a line of its own, as the reader looks at it all the time.
    pub head: u64,
    pad_head: [u64; 7],
    /// Bytes read.
    pub tail: u64,
    pad_tail: [u64; 7],
    /// How often each call has been made that a rule is about.
    pub counts: [u32; NUMBERS],
}

/// A call that has not come back.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The stack pointer that it was made with; 0: none.
    pub rsp: u64,
    /// When it began.
    pub time: u64,
}

/// Values of [`Ring::state`].
pub mod state {
    /// Nobody's.
    pub const FREE: u32 = 0;
    /// A thread writes to it.
    pub const TAKEN: u32 = 1;
    /// The thread has ended; once all is read the ring is free.
    pub const DONE: u32 = 2;
    /// A thread has found it free, and has not said yet which it is.
    pub const CLAIMED: u32 = 3;
}

/// What a record is about: values of [`Record::kind`].
pub mod kind {
    /// Nothing: the rest of the ring is skipped.
    pub const SKIP: u32 = 0;
    /// A call begins.
    pub const ENTRY: u32 = 1;
    /// It has ended.
    pub const EXIT: u32 = 2;
    /// A program begins, in a process that was there before or has just been forked without being told of.
    pub const PROGRAM: u32 = 3;
    /// A thread begins, or a forked process.
    pub const THREAD: u32 = 4;
    /// A thread ends.
    pub const END: u32 = 5;
    /// A signal comes to a handler, or ends the process; the first chunk is its `siginfo`, and `number`, `args` and `result`
    /// are those of the call that it interrupts, if the flags say one.
    pub const SIGNAL: u32 = 6;
    /// A handler that was told of has returned: `result` is what it returns to in rax, the first argument what is
    /// blocked from now on. Flags are those of the signal.
    pub const RETURN: u32 = 7;
    /// The part of [`Record::kind`](super::Record::kind) that says it; above are flags.
    pub const MASK: u32 = 0xff;
    /// What the reader has found in a thread's [`Sums`](super::Sums); nobody writes it.
    pub const SUM: u32 = 8;
    /// An end that a rule has answered.
    pub const INJECTED: u32 = 1 << 8;
    /// One that a rule has delayed.
    pub const DELAYED: u32 = 1 << 9;
    /// One whose memory a rule has written to.
    pub const POKED: u32 = 1 << 10;
    /// A signal that has come before the last call that was told is made, which is when its handler returns.
    pub const BEFORE: u32 = 1 << 16;
    /// One that has come when that call had ended, which is told once more when the handler returns.
    pub const ENDED: u32 = 1 << 17;
    /// One that the kernel makes that call once more for, when its handler returns: it is told to begin again.
    pub const AGAIN: u32 = 1 << 18;
    /// The same, but that is not told.
    pub const AGAIN_UNSEEN: u32 = 1 << 19;
}

/// One event; what was kept of the program's memory follows as [`Chunk`]s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Bytes, with all chunks: a multiple of 8.
    pub len: u32,
    /// See [`kind`].
    pub kind: u32,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The processor's time stamp counter.
    pub time: u64,
    /// Where only ends are told: when the call began.
    pub began: u64,
    /// Address of the instruction.
    pub site: u64,
    /// Number of the call.
    pub number: u64,
    /// Its result; 0 at its beginning.
    pub result: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Bytes of the program's memory; they follow, and fill up to a multiple of 8.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Where they were.
    pub address: u64,
    /// How many.
    pub len: u64,
}

/// A thread's calls of one number.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// How many came back.
    pub calls: u64,
    /// Of these, how many failed.
    pub errors: u64,
    /// What they took together, in ticks of the time stamp counter.
    pub ticks: u64,
    /// What the shortest took, inverted: so that it begins with 0.
    pub not_least: u64,
    /// What the longest took.
    pub most: u64,
    /// Bytes that they have moved.
    pub bytes: u64,
    /// How many took how long: see [`Sum::place`].
    pub times: [u32; TIMES],
}

impl Sum {
    /// Where in `times` a call counts that took so many ticks: 16 places for each power of 2.
    #[must_use]
    pub const fn place(ticks: u64) -> usize {
        let Some(log) = ticks.checked_ilog2() else {
            return 0;
        };
        if log < 4 {
            return ticks as usize;
        }
        let place = (log as usize - 3) * 16 + (ticks >> (log - 4)) as usize % 16;
        if place < TIMES { place } else { TIMES - 1 }
    }

    /// The most ticks that count there.
    #[must_use]
    pub const fn most_at(place: usize) -> u64 {
        if place < 16 {
            return place as u64;
        }
        let shift = place / 16 - 1;
        ((place as u64 % 16 + 17) << shift) - 1
    }
}

/// A thread's calls, summed up by number.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// How many of `sums` are in use.
    pub used: u32,
    /// For each number which of `sums` it has, counted from 1; 0: none yet.
    pub of: [u8; NUMBERS],
    pad: [u8; 60],
    /// In the order of their first calls.
    pub sums: [Sum; MOST_SUMS],
}

/// Places in [`Sum::times`]: up to 2^44 ticks, which are hours.
pub const TIMES: usize = 41 * 16;
/// Numbers that one thread can sum up.
pub const MOST_SUMS: usize = 96;

/// Where the first [`Rule`] lies.
pub const RULES: usize = 64;
/// Numbers of calls that rules can be about: those below.
pub const NUMBERS: usize = 512;
/// Rules that there can be.
pub const MOST_RULES: usize = 16;
/// Where the first [`Part`] lies.
pub const POOL: usize = 4096;
/// Bytes for parts.
pub const POOL_LEN: usize = 4 * 4096;
/// Where the first [`Ring`] lies.
pub const RINGS: usize = POOL + POOL_LEN;
/// Rings in a file.
pub const COUNT: usize = 512;
/// Where the data of the first ring lies.
pub const DATA: usize = RINGS + COUNT * size_of::<Ring>();
/// Bytes of data of a ring.
pub const RING_LEN: usize = 1 << 19;
/// Bytes of a record at most.
pub const MOST: usize = 1 << 15;
/// Bytes of the file without sums: where those begin.
pub const FILE: usize = DATA + COUNT * RING_LEN;
/// Bytes of a file with sums.
pub const FILE_WITH_SUMS: usize = FILE + COUNT * size_of::<Sums>();

const _: () = assert!(size_of::<Header>() == 64 && size_of::<Ring>() == 256 + 4 * NUMBERS);
const _: () = assert!(RULES + MOST_RULES * size_of::<Rule>() <= POOL);
const _: () =
    assert!(size_of::<Record>() == 104 && size_of::<Chunk>() == 16 && size_of::<Part>() == 8);
const _: () = assert!(DATA.is_multiple_of(4096) && RING_LEN.is_power_of_two());
const _: () = assert!(MOST_SUMS < 256 && Sum::place(u64::MAX) == TIMES - 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_in_their_places() {
        for place in 0..TIMES - 1 {
            let most = Sum::most_at(place);
            assert_eq!((Sum::place(most), Sum::place(most + 1)), (place, place + 1));
        }
        assert_eq!(Sum::place(u64::MAX), TIMES - 1);
    }
}
