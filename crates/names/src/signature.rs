//! What the arguments of one call are, once they are known: the command of `fcntl` decides what its third one is.

use crate::calls::Row;
use crate::flags as set;
use crate::kind::{
    Answer, Count,
    Kind::{self, *},
    What::*,
};
use crate::structs as st;

/// One argument as it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Which of the six it is.
    pub index: u8,
    /// What stands before it, if anything.
    pub label: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// The arguments of one call, in the order in which they are printed.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// What is known of the call.
    pub row: &'static Row,
    arguments: [Argument; 7],
    count: u8,
}

impl Signature {
    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> &[Argument] {
        self.arguments.get(..usize::from(self.count)).unwrap_or(&[])
    }

    fn set(&mut self, index: u8, kind: Kind) {
        if let Some(slot) = self.arguments.get_mut(usize::from(index)) {
            *slot = Argument {
                index,
                label: "",
                kind,
            };
            self.count = self.count.max(index + 1);
        }
    }

    fn only(&mut self, count: u8) {
        self.count = count;
    }

    fn push(&mut self, index: u8, label: &'static str, kind: Kind) {
        if let Some(slot) = self.arguments.get_mut(usize::from(self.count)) {
            *slot = Argument { index, label, kind };
            self.count += 1;
        }
    }
}

/// Whether [`signature`] says more than the call's row.
pub(crate) const fn depends(number: u64) -> bool {
    matches!(
        number,
        2 | 16 | 25 | 54..=56 | 72 | 103 | 133 | 157 | 158 | 202 | 240 | 257 | 259 | 327 | 328
    )
}

/// What the arguments of a call are; none if no call has this number.
#[must_use]
pub fn signature(number: u64, args: &[u64; 6]) -> Option<Signature> {
    let row = crate::row(number)?;
    let mut answer = Signature {
        row,
        arguments: [Argument {
            index: 0,
            label: "",
            kind: Hex,
        }; 7],
        count: 0,
    };
    for (index, kind) in row.arguments.iter().enumerate() {
        answer.set(index as u8, *kind);
    }
    let [first, second, third, fourth, ..] = *args;
    match number {
        2 if !creates(second) => answer.only(2),
        240 if second & 0x40 == 0 => answer.only(2),
        257 if !creates(third) => answer.only(3),
        16 => ioctl(&mut answer, second),
        25 if fourth & 6 == 0 => answer.only(4),
        54 | 55 => option(&mut answer, second),
        56 => clone(&mut answer, first),
        72 => fcntl(&mut answer, second),
        157 => prctl(&mut answer, first),
        158 => match first {
            0x1001 | 0x1002 | 0x1012 => answer.set(1, Pointer),
            0x1003 | 0x1004 => answer.set(1, Out(Number(&Pointer))),
            _ => {}
        },
        202 => futex(&mut answer, second),
        103 if matches!(first, 5..=7 | 9 | 10 | 0 | 1) => answer.only(1),
        259 if !is_device(third) => answer.only(3),
        133 if !is_device(second) => answer.only(2),
        327 | 328 => skip(&mut answer, 4),
        _ => {}
    }
    Some(answer)
}

const fn creates(flags: u64) -> bool {
    flags & 0x40 != 0 || flags & 0x41_0000 == 0x41_0000
}

const fn is_device(mode: u64) -> bool {
    matches!(mode & 0o170_000, 0o020_000 | 0o060_000)
}

/// The upper half of an offset is not told where the lower half holds it all.
fn skip(answer: &mut Signature, index: u8) {
    answer.set(index, answer.arguments[usize::from(index) + 1].kind);
    answer.arguments[usize::from(index)].index = index + 1;
    answer.only(answer.count - 1);
}

fn fcntl(answer: &mut Signature, command: u64) {
    match command & 0xffff_ffff {
        1 | 3 | 9 | 11 | 0x401 | 0x408 | 0x40a => answer.only(2),
        0 | 0x406 | 0x407 | 8 => answer.set(2, Int),
        2 => answer.set(2, Flags(&set::FD_FLAGS)),
        4 => answer.set(2, Flags(&set::OPEN)),
        5 | 0x24 => answer.set(2, Out(Struct(&st::FLOCK_OUT))),
        6 | 7 | 0x25 | 0x26 => answer.set(2, In(Struct(&st::FLOCK))),
        10 => answer.set(2, Signal),
        15 => answer.set(2, In(Struct(&st::OWNER))),
        16 => answer.set(2, Out(Struct(&st::OWNER))),
        0x400 => answer.set(2, Enum(&set::LEASE)),
        0x409 => answer.set(2, Flags(&set::SEALS)),
        _ => {}
    }
}

fn ioctl(answer: &mut Signature, request: u64) {
    let request = request & 0xffff_ffff;
    match request {
        0x5401 => answer.set(2, Out(Terminal)),
        0x5402..=0x5404 => answer.set(2, In(Terminal)),
        0x5413 => answer.set(2, Out(Struct(&st::WINSIZE))),
        0x5414 => answer.set(2, In(Struct(&st::WINSIZE))),
        // TIOCGPGRP, TIOCGSID, FIONREAD, TIOCOUTQ, TIOCGPTN, TIOCGETD
        0x540f | 0x5429 | 0x541b | 0x5411 | 0x8004_5430 | 0x5424 => {
            answer.set(2, Out(Number(&Int)))
        }
        // TIOCSPGRP, FIONBIO, FIOASYNC, TIOCSPTLCK
        0x5410 | 0x5421 | 0x5452 | 0x4004_5431 => answer.set(2, In(Number(&Int))),
        // FIOCLEX, FIONCLEX, TIOCNOTTY, TIOCEXCL, TIOCNXCL
        0x5451 | 0x5450 | 0x5422 | 0x540c | 0x540d => answer.only(2),
        // TCSBRK, TCXONC, TCFLSH, TIOCSCTTY
        0x5409 | 0x540a | 0x540e => answer.set(2, Int),
        0x540b => answer.set(2, Enum(&FLUSH)),
        // BLKGETSIZE64
        0x8008_1272 => answer.set(2, Out(Number(&Ulong))),
        // FICLONE
        0x4004_9409 => answer.set(2, Fd),
        _ => {}
    }
}

static FLUSH: set::Set = set::Set::new(
    "TC???",
    &[(0, "TCIFLUSH"), (1, "TCOFLUSH"), (2, "TCIOFLUSH")],
);

fn option(answer: &mut Signature, level: u64) {
    let names = match level & 0xffff_ffff {
        0 => &set::IP_OPT,
        1 => &set::SO,
        6 => &set::TCP_OPT,
        17 => &set::UDP_OPT,
        41 => &set::IPV6_OPT,
        270 => &set::NETLINK_OPT,
        _ => return,
    };
    answer.set(2, Enum(names));
}

fn clone(answer: &mut Signature, flags: u64) {
    answer.only(0);
    answer.push(1, "child_stack=", Pointer);
    answer.push(0, "flags=", Kind::Clone);
    if flags & 0x10_1000 != 0 {
        answer.push(2, "parent_tid=", Out(Number(&Int)));
    }
    if flags & 0x8_0000 != 0 {
        answer.push(4, "tls=", Pointer);
    }
    if flags & 0x120_0000 != 0 {
        answer.push(3, "child_tidptr=", Pointer);
    }
}

fn prctl(answer: &mut Signature, option: u64) {
    match option {
        1 => answer.set(1, Signal),
        2 => answer.set(1, Out(Number(&Signal))),
        37 => answer.set(1, Out(Number(&Int))),
        3 | 7 | 21 | 27 | 30 => answer.only(1),
        4 | 8 | 14 | 28 | 36 | 29 => {
            answer.set(1, if option == 4 { Enum(&DUMPABLE) } else { Ulong });
            answer.only(2);
        }
        15 => answer.set(1, In(Text)),
        16 => answer.set(1, Out(Bytes(Count::Exactly(16)))),
        22 => answer.set(1, Enum(&set::SECCOMP_MODE)),
        23 | 24 => answer.set(1, Enum(&set::CAPABILITY)),
        39 => {
            for index in 1..5 {
                answer.set(index, Ulong);
            }
        }
        38 => {
            for index in 1..5 {
                answer.set(index, Ulong);
            }
        }
        _ => {}
    }
    match option {
        1 | 2 | 15 | 16 | 23 | 24 | 37 => answer.only(2),
        _ => {}
    }
}

static DUMPABLE: set::Set = set::Set::new(
    "SUID_DUMP_???",
    &[
        (0, "SUID_DUMP_DISABLE"),
        (1, "SUID_DUMP_USER"),
        (2, "SUID_DUMP_ROOT"),
    ],
);

fn futex(answer: &mut Signature, operation: u64) {
    let timeout = In(Struct(&st::TIMESPEC));
    match operation & 0x7f {
        0 => {
            answer.set(2, Uint);
            answer.set(3, timeout);
            answer.only(4);
        }
        1 => {
            answer.set(2, Int);
            answer.only(3);
        }
        6 | 13 => {
            answer.set(2, timeout);
            answer.arguments[2].index = 3;
            answer.only(3);
        }
        7 | 8 => answer.only(2),
        9 => {
            answer.set(3, timeout);
            answer.set(4, Pointer);
            answer.arguments[4] = Argument {
                index: 5,
                label: "",
                kind: Enum(&BITSET),
            };
            answer.only(5);
        }
        10 => {
            answer.set(2, Int);
            answer.arguments[3] = Argument {
                index: 5,
                label: "",
                kind: Enum(&BITSET),
            };
            answer.only(4);
        }
        3 => {
            answer.set(2, Int);
            answer.set(3, Int);
            answer.only(5);
        }
        4 | 12 => {
            answer.set(2, Int);
            answer.set(3, Int);
            answer.set(5, Uint);
        }
        5 => {
            answer.set(2, Int);
            answer.set(3, Int);
            answer.set(5, FutexOp);
        }
        11 => {
            answer.set(3, timeout);
            answer.only(5);
        }
        _ => {}
    }
}

static BITSET: set::Set = set::Set::new("", &[(0xffff_ffff, "FUTEX_BITSET_MATCH_ANY")]);

/// What a call with this number answers.
impl Signature {
    /// How its result is printed.
    #[must_use]
    pub fn answer(&self, args: &[u64; 6]) -> Answer {
        match (self.row.number, args[1]) {
            (72, 0 | 0x406) => Answer::Fd,
            (72, 1 | 3 | 0x40a) => Answer::Hex,
            _ => self.row.answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_depend_is_the_row() {
        let samples = [
            0,
            1,
            3,
            5,
            16,
            0x40,
            0x100,
            0x1001,
            0x5401,
            0x2000_0000,
            u64::MAX,
        ];
        for number in (0..512).filter(|number| !depends(*number)) {
            for args in samples.map(|sample| [sample; 6]) {
                let said = signature(number, &args);
                let said = said.iter().flat_map(|said| said.arguments());
                let said = said.map(|a| (usize::from(a.index), format!("{:?}", a.kind)));
                let kinds = crate::row(number).map_or(&[][..], |row| row.arguments);
                let row = kinds.iter().map(|kind| format!("{kind:?}")).enumerate();
                assert!(said.eq(row), "{number}");
            }
        }
    }
}
