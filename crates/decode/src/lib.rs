//! System calls as lines of text, as strace prints them, whoever has observed them.
//!
//! Whoever observes a call keeps the memory that `hotpatch_names::captures` names and hands it back as a [`Memory`].
//! What is not there is printed as its address. Nothing is remembered from one call to the next.

#![forbid(unsafe_code)]

mod descriptor;
mod entries;
mod events;
pub mod expression;
mod kept;
mod memory;
mod net;
mod number;
mod print;
mod result;
mod signals;
mod status;
mod text;
mod time;

use std::borrow::Cow;

use hotpatch_names::signature;

pub use descriptor::peer;
pub use events::{exited, killed, signal, stopped};
pub use hotpatch_names::When;
pub use kept::Kept;

/// One system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its number.
    pub number: u64,
    /// Its arguments. `rt_sigreturn` has none; its first says where the set of signals stands in the frame that it
    /// leaves, which is the stack pointer + 296.
    pub args: [u64; 6],
    /// What it left in rax; nothing if it never came back or has not yet.
    pub result: Option<u64>,
}

/// What was kept of the memory that a call's arguments lead to.
pub trait Memory {
    /// Copies what is known from `address` on as it was then; how many bytes.
    fn read(&self, when: When, address: u64, into: &mut [u8]) -> usize;

    /// The same bytes, `most` at most, without a copy where they lie together.
    fn bytes(&self, when: When, address: u64, most: usize) -> Cow<'_, [u8]> {
        let mut bytes = vec![0; most];
        let count = self.read(when, address, &mut bytes);
        bytes.truncate(count);
        bytes.into()
    }
}

/// Nothing was kept: every address is printed as such.
impl Memory for () {
    fn read(&self, _: When, _: u64, _: &mut [u8]) -> usize {
        0
    }
}

/// How bytes of texts are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Escapes {
    /// What is not printable in octal.
    #[default]
    Octal,
    /// A text with unprintable bytes in hexadecimal (`-x`).
    Hex,
    /// What is not printable in hexadecimal (`--strings-in-hex=non-ascii-chars`).
    HexChars,
    /// All in hexadecimal (`-xx`).
    AllHex,
}

/// What there is to say of descriptors.
pub mod details {
    /// What they lead to.
    pub const PATH: u32 = 1;
    /// Which device that is.
    pub const DEVICE: u32 = 2;
    /// The addresses of sockets.
    pub const SOCKET: u32 = 4;
    /// Which process a descriptor of one stands for. (Nobody tells.)
    pub const PIDFD: u32 = 8;
}

/// How lines are printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Bytes of a text that are printed (`-s`).
    pub text: usize,
    /// Whether structures and arrays are printed whole (`-v`).
    pub verbose: bool,
    /// How bytes of texts are printed.
    pub escapes: Escapes,
    /// The column of the result (`-a`).
    pub column: usize,
    /// Whether arguments are numbers, all of them (`-e raw=`).
    pub raw: bool,
    /// Whether structures are told by their addresses (not in `-e verbose=`).
    pub addresses: bool,
    /// What is told of descriptors (`-y`): bits of [`details`].
    pub descriptors: u32,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            text: 32,
            verbose: false,
            escapes: Escapes::Octal,
            column: 40,
            raw: false,
            addresses: false,
            descriptors: 0,
        }
    }
}

/// Appends the whole line of a call that has ended, without a line break. What stands behind the last line break of
/// `out` counts for the column.
///
/// ```
/// use hotpatch_decode::{Call, Style, line};
/// let mut out = String::new();
/// line(&Call { number: 3, args: [3, 0, 0, 0, 0, 0], result: Some(0) }, &(), &Style::default(), &mut out);
/// assert_eq!(out, "close(3)                                = 0");
/// ```
pub fn line(call: &Call, memory: &dyn Memory, style: &Style, out: &mut String) {
    let signature = signature(call.number, &call.args);
    let mut printer = print::Printer {
        call,
        signature: signature.as_ref(),
        memory,
        style,
        out,
        at: None,
    };
    printer.name();
    printer.arguments(print::Part::Whole);
    printer.close();
}

/// Appends what is known of a call before it has ended.
pub fn begin(call: &Call, memory: &dyn Memory, style: &Style, out: &mut String) {
    let signature = signature(call.number, &call.args);
    let mut printer = print::Printer {
        call,
        signature: signature.as_ref(),
        memory,
        style,
        out,
        at: Some(When::Entry),
    };
    printer.name();
    printer.arguments(print::Part::Begin);
}

/// Appends the rest of a call that [`begin`] has begun, in the same line.
pub fn go_on(call: &Call, memory: &dyn Memory, style: &Style, out: &mut String) {
    rest(call, memory, style, out, |_| ());
}

/// The same in a line of its own, from `<... name resumed>` on.
pub fn resume(call: &Call, memory: &dyn Memory, style: &Style, out: &mut String) {
    rest(call, memory, style, out, |printer| {
        printer.out.push_str("<... ");
        printer.bare_name();
        printer.out.push_str(" resumed>");
    });
}

fn rest(
    call: &Call,
    memory: &dyn Memory,
    style: &Style,
    out: &mut String,
    name: impl FnOnce(&mut print::Printer<'_>),
) {
    let signature = signature(call.number, &call.args);
    let mut printer = print::Printer {
        call,
        signature: signature.as_ref(),
        memory,
        style,
        out,
        at: None,
    };
    name(&mut printer);
    printer.arguments(print::Part::Rest);
    printer.close();
}
