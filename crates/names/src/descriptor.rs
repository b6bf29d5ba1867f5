//! Descriptors that a call names, and how what is known of them stands among the memory that is kept of it.
//!
//! What a descriptor leads to is kept like memory, at addresses that no program can have bytes at: [`LINK`] and the
//! others, with the descriptor above their lowest 16 bits.

use crate::capture::{Request, Shape, When};
use crate::kind::{Answer, Kind};
use crate::signature::{Signature, signature};

/// Here lies what `/proc/self/fd` says of a descriptor, or the current directory of `AT_FDCWD`.
pub const LINK: u64 = 0xfff1_0000_0000_0000;
/// Here a [`Socket`].
pub const SOCKET: u64 = 0xfff2_0000_0000_0000;
/// Here the mode and the device of what is a file: 8 bytes each.
pub const FILE: u64 = 0xfff3_0000_0000_0000;

/// Here, of no descriptor, a thread's stack pointer and base pointer, 8 bytes each.
pub const REGISTERS: u64 = 0xfff4_0000_0000_0000;

/// The current directory among descriptors.
pub const CURRENT_DIRECTORY: i32 = -100;

/// Where what is known of a descriptor lies.
#[must_use]
pub const fn place(of: u64, fd: i32) -> u64 {
    of | (fd as u32 as u64) << 16
}

/// What is known of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Its address family.
    pub family: u32,
    /// Its type.
    pub kind: u32,
    /// Its protocol.
    pub protocol: u32,
    /// Bytes of its address; 0 if it has none.
    pub name_len: u32,
    /// Bytes of the address of whom it is connected to.
    pub peer_len: u32,
    /// The inode of that, in the family of local sockets, if somebody knows.
    pub peer: u32,
    /// Its address.
    pub name: [u8; 128],
    /// The address of whom it is connected to.
    pub peer_name: [u8; 128],
}

const _: () = assert!(size_of::<Socket>() == 280);

/// What of a call names descriptors: arguments at its beginning, its result in the end. Memory names more:
/// [`Request::descriptors`].
#[must_use]
pub fn descriptors(number: u64, args: &[u64; 6], when: When, result: u64) -> Descriptors {
    Descriptors {
        signature: signature(number, args),
        args: *args,
        when,
        result,
        at: 0,
    }
}

/// Descriptors of one call at one time.
#[derive(Debug)]
pub struct Descriptors {
    signature: Option<Signature>,
    args: [u64; 6],
    when: When,
    result: u64,
    at: usize,
}

impl Iterator for Descriptors {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        let signature = self.signature.as_ref()?;
        if self.when == When::Exit {
            let is = self.at == 0
                && self.result <= u64::MAX - 4096
                && signature.answer(&self.args) == Answer::Fd;
            self.at = 1;
            return is.then_some(self.result as i32);
        }
        loop {
            let argument = signature.arguments().get(self.at)?;
            self.at += 1;
            if matches!(argument.kind, Kind::Fd | Kind::DirFd) {
                return Some(*self.args.get(usize::from(argument.index))? as i32);
            }
        }
    }
}

impl Request {
    /// Descriptors among the bytes kept for this request.
    #[must_use]
    pub const fn descriptors<'a>(&self, bytes: &'a [u8]) -> Within<'a> {
        Within {
            shape: self.shape,
            bytes,
            at: 0,
        }
    }
}

/// Descriptors that kept bytes name.
#[derive(Debug)]
pub struct Within<'a> {
    shape: Shape,
    bytes: &'a [u8],
    at: usize,
}

impl Within<'_> {
    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The next one that control messages pass.
    fn passed(&mut self) -> Option<i32> {
        // What stands before it is looked through again: nothing says where a message ends.
        let (mut base, mut left) = (0, self.at);
        loop {
            let len = self.word(base)? as usize;
            if len < 16 {
                return None;
            }
            let rights = self.word(base + 8)? == 1 && self.word(base + 12)? == 1;
            let count = if rights { (len - 16) / 4 } else { 0 };
            if left < count {
                self.at += 1;
                return Some(self.word(base + 16 + left * 4)? as i32);
            }
            left -= count;
            base += len.next_multiple_of(8);
        }
    }
}

impl Iterator for Within<'_> {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        match self.shape {
            Shape::Descriptors { stride } => {
                let at = self.at;
                self.at += stride as usize;
                Some(self.word(at)? as i32)
            }
            Shape::Bits => loop {
                let byte = *self.bytes.get(self.at / 8)?;
                let bit = self.at;
                self.at += 1;
                if byte == 0 {
                    self.at = bit / 8 * 8 + 8;
                } else if byte >> (bit % 8) & 1 != 0 {
                    return Some(bit as i32);
                }
            },
            Shape::Control => self.passed(),
            _ => None,
        }
    }
}
