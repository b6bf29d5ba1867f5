//! Which memory of a call has to be kept so that it can be printed.
//!
//! [`captures`] says what the arguments themselves lead to; what is kept may lead further ([`Request::nested`]): the
//! bytes of an `iovec`, the texts of `argv`. Lengths are what is worth keeping at most: whoever copies takes as much
//! as is there.

use crate::kind::{Count, Kind, What};
use crate::row;
use crate::signature::{depends, signature};

/// When memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the call.
    Entry,
    /// When it has ended.
    Exit,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a text or a buffer.
    pub text: usize,
    /// Elements of an array.
    pub items: usize,
    /// Whether an exec's environment is kept, not only how much of it there is.
    pub environment: bool,
}

/// What the kept bytes lead to.
///
/// (Whole words: odd bytes would be read back together with what lies beside them, before they have been written.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Shape {
    /// Nothing.
    Bytes,
    /// Nothing; they end with the first zero.
    Text,
    /// Texts, at each 8 bytes; they end with the first 8 zeros.
    Texts,
    /// Nothing; they end with the first 8 zeros, and only their number counts.
    Pointers,
    /// The bytes of `iovec`s, so many in all.
    Vectors {
        /// What all of them hold together.
        budget: u64,
    },
    /// What a `msghdr` leads to.
    Message {
        /// What its vectors hold together.
        budget: u64,
    },
    /// What `mmsghdr`s lead to.
    Messages,
    /// The threads and sets that `clone_args` names.
    CloneArgs,
    /// The set of signals of `pselect6`.
    Pselect,
    /// Nothing; a descriptor stands at the beginning of each so many bytes.
    Descriptors {
        /// Bytes from one to the next.
        stride: u64,
    },
    /// Nothing; each bit that is set stands for a descriptor.
    Bits,
    /// Nothing; control messages, which may pass descriptors.
    Control,
}

/// Memory to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it begins.
    pub address: u64,
    /// Bytes at most.
    pub length: usize,
    /// What it is.
    pub shape: Shape,
}

/// Hands to `each` what a call's arguments lead to. `result` is what it left in rax; at entry it is not looked at.
///
/// (No iterator: what it would have to hold takes as long to copy as all of this.)
#[inline]
pub fn captures(
    number: u64,
    args: &[u64; 6],
    when: When,
    result: u64,
    limits: Limits,
    mut each: impl FnMut(Request),
) {
    let call = Call {
        args,
        when,
        result,
        limits,
    };
    if !depends(number) {
        let kinds = row(number).map_or(&[][..], |row| row.arguments);
        for (index, kind) in kinds.iter().enumerate() {
            call.request(index, kind).into_iter().for_each(&mut each);
        }
    } else if let Some(signature) = signature(number, args) {
        for argument in signature.arguments() {
            let index = usize::from(argument.index);
            let request = call.request(index, &argument.kind);
            request.into_iter().for_each(&mut each);
        }
    }
}

/// One call at one time.
struct Call<'a> {
    args: &'a [u64; 6],
    when: When,
    result: u64,
    limits: Limits,
}

impl Call<'_> {
    /// What argument `index`, which is of this kind, leads to.
    fn request(&self, index: usize, kind: &Kind) -> Option<Request> {
        let what = *match (kind, self.when) {
            (Kind::In(what) | Kind::InOut(what), When::Entry) => what,
            // What a call fills is told by its addresses if it fails, and what it was asked for counts.
            (
                Kind::Out(what @ (What::Filled(_) | What::Message | What::Messages(_))),
                When::Entry,
            ) => what,
            // A failed call has written nothing but lengths.
            (Kind::Out(what), When::Exit)
                if !self.failed() || matches!(what, What::Remaining(_)) =>
            {
                what
            }
            (Kind::InOut(what), When::Exit) => what,
            _ => return None,
        };
        let address = self.args.get(index).copied().unwrap_or(0);
        let (length, shape) = self.extent(what);
        (address != 0 && length != 0).then_some(Request {
            address,
            length,
            shape,
        })
    }

    const fn failed(&self) -> bool {
        self.result > u64::MAX - 4096
    }

    fn count(&self, count: Count) -> usize {
        let arg = |index: u8| self.args.get(usize::from(index)).copied().unwrap_or(0);
        let count = match count {
            Count::Arg(index) => arg(index),
            Count::Result(index) => self.result.min(arg(index)),
            // What stands there is kept too, and says how much of this counts.
            Count::Behind(_) => 256,
            Count::Exactly(count) => u64::from(count),
        };
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn extent(&self, what: What) -> (usize, Shape) {
        let Limits { text, items, .. } = self.limits;
        let bytes = |length: usize| (length, Shape::Bytes);
        let arg = |index: u8| self.args.get(usize::from(index)).copied().unwrap_or(0);
        let many = |index: u8| {
            usize::try_from(arg(index))
                .unwrap_or(usize::MAX)
                .min(items + 1)
        };
        match what {
            What::Struct(of) if core::ptr::eq(of, &crate::structs::PSELECT) => (16, Shape::Pselect),
            What::Struct(of) | What::Remaining(of) => bytes(usize::from(of.size)),
            What::List(of, count) if core::ptr::eq(of, &crate::structs::POLLFD) => (
                self.count(count).min(items + 1) * 8,
                Shape::Descriptors { stride: 8 },
            ),
            What::List(of, count) => bytes(self.count(count).min(items + 1) * usize::from(of.size)),
            What::Number(kind) => bytes(kind.width()),
            What::Numbers(Kind::Fd, count) => (
                self.count(count).min(items + 1) * 4,
                Shape::Descriptors { stride: 4 },
            ),
            What::Numbers(kind, count) => bytes(self.count(count).min(items + 1) * kind.width()),
            What::Bytes(count) => bytes(self.count(count).min(text + 1)),
            What::Text => (text + 1, Shape::Text),
            What::Path => (4096, Shape::Text),
            What::Texts => ((items + 1) * 8, Shape::Texts),
            What::Environment if self.limits.environment => ((items + 1) * 8, Shape::Texts),
            What::Environment => (1 << 16, Shape::Pointers),
            What::Vectors(index) => (many(index) * 16, Shape::Vectors { budget: u64::MAX }),
            What::Filled(index) => {
                let budget = if self.when == When::Entry {
                    0
                } else {
                    self.result
                };
                (many(index) * 16, Shape::Vectors { budget })
            }
            What::Message if self.when == When::Entry => (56, Shape::Message { budget: u64::MAX }),
            What::Message => (
                56,
                Shape::Message {
                    budget: self.result,
                },
            ),
            What::Messages(index) => (many(index) * 64, Shape::Messages),
            What::Address(count) => bytes(self.count(count).min(128)),
            What::Length | What::Status => bytes(4),
            What::Signals => bytes(8),
            What::Action => bytes(32),
            What::Descriptors(index) => (many_bits(arg(index)), Shape::Bits),
            What::Processors(count) => bytes(self.count(count).min(128)),
            What::Stat => bytes(144),
            What::Statx => bytes(256),
            What::Capabilities => bytes(24),
            What::Terminal => bytes(36),
            What::Siginfo => bytes(128),
            What::Entries => bytes(usize::try_from(self.result).unwrap_or(0).min(1 << 20)),
            What::CloneArgs(index) => (
                usize::try_from(arg(index)).unwrap_or(0).min(128),
                Shape::CloneArgs,
            ),
            What::SocketOption(count) => bytes(self.count(count).min(256)),
        }
    }
}

/// The kernel takes no more than 1024 * 1024 descriptors; 1024 are what a set usually holds.
fn many_bits(descriptors: u64) -> usize {
    (descriptors.min(1 << 16) as usize).div_ceil(64) * 8
}

impl Request {
    /// What the bytes kept for this request lead to.
    #[must_use]
    pub const fn nested<'a>(&self, bytes: &'a [u8], limits: Limits) -> Nested<'a> {
        let budget = match self.shape {
            Shape::Vectors { budget } | Shape::Message { budget } => budget,
            _ => u64::MAX,
        };
        Nested {
            shape: self.shape,
            bytes,
            at: 0,
            budget,
            limits,
        }
    }
}

/// Requests that kept bytes lead to.
#[derive(Debug)]
pub struct Nested<'a> {
    shape: Shape,
    bytes: &'a [u8],
    at: usize,
    budget: u64,
    limits: Limits,
}

impl Nested<'_> {
    fn word(&self, offset: usize) -> Option<u64> {
        let bytes = self.bytes.get(offset..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    }

    /// What the `part`th pointer of the `msghdr` at `base` leads to.
    fn message(&self, base: usize, part: usize, budget: u64) -> Option<Request> {
        let length = |offset: usize| {
            self.word(base + offset)
                .map(|n| usize::try_from(n).unwrap_or(usize::MAX))
        };
        Some(match part {
            0 => Request {
                address: self.word(base)?,
                length: (self.word(base + 8)? as u32 as usize).min(128),
                shape: Shape::Bytes,
            },
            1 => Request {
                address: self.word(base + 16)?,
                length: length(24)?.min(self.limits.items + 1) * 16,
                shape: Shape::Vectors { budget },
            },
            _ => Request {
                address: self.word(base + 32)?,
                length: length(40)?.min(4096),
                shape: Shape::Control,
            },
        })
    }
}

impl Iterator for Nested<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        loop {
            let at = self.at;
            self.at += 1;
            let request = match self.shape {
                Shape::Bytes
                | Shape::Text
                | Shape::Pointers
                | Shape::Descriptors { .. }
                | Shape::Bits
                | Shape::Control => return None,
                Shape::Texts => match self.word(at * 8)? {
                    0 => return None,
                    address => Request {
                        address,
                        length: self.limits.text + 1,
                        shape: Shape::Text,
                    },
                },
                Shape::Vectors { .. } => {
                    let (address, length) = (
                        self.word(at * 16)?,
                        self.word(at * 16 + 8)?.min(self.budget),
                    );
                    self.budget -= length;
                    let length = usize::try_from(length)
                        .unwrap_or(usize::MAX)
                        .min(self.limits.text + 1);
                    Request {
                        address,
                        length,
                        shape: Shape::Bytes,
                    }
                }
                Shape::Message { budget } if at < 3 => self.message(0, at, budget)?,
                Shape::Message { .. } => return None,
                Shape::Messages => {
                    let base = at / 3 * 64;
                    let filled = self.word(base + 56)? & 0xffff_ffff;
                    let budget = if filled == 0 { u64::MAX } else { filled };
                    self.message(base, at % 3, budget)?
                }
                Shape::CloneArgs => match at {
                    // pidfd, parent_tid; the child's is in the child's memory
                    0 => Request {
                        address: self.word(8)?,
                        length: 4,
                        shape: Shape::Bytes,
                    },
                    1 => Request {
                        address: self.word(24)?,
                        length: 4,
                        shape: Shape::Bytes,
                    },
                    2 => Request {
                        address: self.word(64)?,
                        length: (self.word(72)? as usize).min(32) * 4,
                        shape: Shape::Bytes,
                    },
                    _ => return None,
                },
                Shape::Pselect if at == 0 => Request {
                    address: self.word(0)?,
                    length: 8,
                    shape: Shape::Bytes,
                },
                Shape::Pselect => return None,
            };
            if request.address != 0 && request.length != 0 {
                return Some(request);
            }
        }
    }
}
