//! What calls have read and written, byte by byte (`-e read=`, `-e write=`).

use std::fmt::Write as _;

use hotpatch_decode::{Kept, Memory, When};
use hotpatch_events::Record;

/// Descriptors: these, or with `true` all others.
pub type Descriptors = (bool, Vec<i32>);

/// Buffers of one call that are told.
const MOST: u64 = 1024;

/// Where the bytes of a call are.
enum Buffers {
    /// In one place, as many as that argument says or as it has read.
    One,
    /// In `iovec`s.
    Vectors,
    /// In what a `msghdr` names.
    Message,
}

/// How a call moves bytes, and whether it writes.
const fn way(number: u64) -> Option<(Buffers, bool)> {
    Some(match number {
        // read, pread64, recvfrom; write, pwrite64, sendto
        0 | 17 | 45 => (Buffers::One, false),
        1 | 18 | 44 => (Buffers::One, true),
        // readv, preadv, preadv2; writev, pwritev, pwritev2
        19 | 295 | 327 => (Buffers::Vectors, false),
        20 | 296 | 328 => (Buffers::Vectors, true),
        // recvmsg; sendmsg
        47 => (Buffers::Message, false),
        46 => (Buffers::Message, true),
        _ => return None,
    })
}

/// Appends the bytes that a call has moved, if they are asked for: those read from, and those written to.
pub fn put(
    read: Option<&Descriptors>,
    written: Option<&Descriptors>,
    record: &Record,
    result: Option<u64>,
    kept: &Kept,
    out: &mut String,
) {
    let Some((buffers, writes)) = way(record.number) else {
        return;
    };
    let fd = record.args[0] as i32;
    let wanted = if writes { written } else { read };
    if wanted.is_none_or(|(others, fds)| fds.contains(&fd) == *others) {
        return;
    }
    let done = result.filter(|result| *result <= u64::MAX - 4096);
    let (when, mut left) = match (writes, done) {
        (true, _) => (When::Entry, u64::MAX),
        (false, Some(done)) => (When::Exit, done),
        (false, None) => return,
    };
    let word = |at: u64| {
        let mut bytes = [0; 8];
        (kept.read(when, at, &mut bytes) == 8).then(|| u64::from_le_bytes(bytes))
    };
    let [_, second, third, ..] = record.args;
    let (vectors, count) = match buffers {
        Buffers::One => {
            let length = if writes { third } else { third.min(left) };
            dump(&bytes(kept, when, second, length), out);
            return;
        }
        Buffers::Vectors => (second, third),
        Buffers::Message => match (word(second.wrapping_add(16)), word(second.wrapping_add(24))) {
            (Some(vectors), Some(count)) => (vectors, count),
            _ => return,
        },
    };
    for n in 0..count.min(MOST) {
        let vector = vectors.wrapping_add(n * 16);
        let (Some(base), Some(length)) = (word(vector), word(vector.wrapping_add(8))) else {
            return;
        };
        let length = length.min(left);
        left -= length;
        // As strace has it: what is behind an empty one is not told.
        if length == 0 {
            return;
        }
        let _ = write!(out, "\n * {length} bytes in buffer {n}");
        dump(&bytes(kept, when, base, length), out);
    }
}

fn bytes(kept: &Kept, when: When, at: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length.min(1 << 16) as usize];
    let count = kept.read(when, at, &mut bytes);
    bytes.truncate(count);
    bytes
}

fn dump(bytes: &[u8], out: &mut String) {
    for (n, row) in bytes.chunks(16).enumerate() {
        let _ = write!(out, "\n | {:05x} ", n * 16);
        for at in 0..16 {
            if at % 8 == 0 {
                out.push(' ');
            }
            let _ = match row.get(at) {
                Some(byte) => write!(out, "{byte:02x} "),
                None => write!(out, "   "),
            };
        }
        let text = row.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        });
        let text: String = text.collect();
        let _ = write!(out, " {text:<16} |");
    }
}
