//! What the rules need that has no fixed length: what is written to a call's memory, and the files and descriptors that
//! a call has to name.

use hotpatch_events::{POOL_LEN, Part, part};
use hotpatch_hook::{read_bytes, write_bytes};
use hotpatch_names::{Kind, What, When, descriptors, signature};

use crate::descriptors::link;
use crate::ring::{pool, pool_used};

/// Bytes that are compared at once.
const STEP: usize = 256;

/// The parts, each with its bytes.
fn parts() -> impl Iterator<Item = (Part, &'static [u8])> {
    let used = pool_used().min(POOL_LEN);
    let mut rest = pool().get(..used).unwrap_or(&[]);
    core::iter::from_fn(move || {
        let (head, bytes) = rest.split_first_chunk::<8>()?;
        let [kind, rule, argument, _, length @ ..] = *head;
        let length = u32::from_le_bytes(length);
        let len = length as usize;
        let part = Part {
            kind,
            rule,
            argument,
            pad: 0,
            length,
        };
        rest = bytes.get(len.checked_next_multiple_of(8)?..)?;
        Some((part, bytes.get(..len)?))
    })
}

/// Whether the reader tells calls of that number.
pub fn is_told(number: u64) -> bool {
    match parts().next() {
        Some((part, bits)) if part.kind == part::TOLD => {
            let byte = usize::try_from(number / 8).ok().and_then(|at| bits.get(at));
            byte.is_none_or(|byte| byte >> (number % 8) & 1 != 0)
        }
        _ => true,
    }
}

/// Writes what rule `index` wants to be written then: whether anything was.
pub fn poke(index: u8, when: When, args: &[u64; 6]) -> bool {
    let wanted = match when {
        When::Entry => part::POKE_ENTER,
        When::Exit => part::POKE_EXIT,
    };
    let mut any = false;
    for (part, bytes) in parts().filter(|(part, _)| part.kind == wanted && part.rule == index) {
        let address = args.get(usize::from(part.argument)).copied().unwrap_or(0);
        any |= write_bytes(address, bytes) == Ok(bytes.len());
    }
    any
}

/// Whether the call names what it has to.
pub fn names(number: u64, args: &[u64; 6]) -> bool {
    let (mut paths, mut path) = (false, false);
    for (part, bytes) in parts() {
        match part.kind {
            part::PATH => {
                paths = true;
                path = path || names_path(number, args, bytes);
            }
            part::DESCRIPTORS | part::OTHER_DESCRIPTORS => {
                let others = part.kind == part::OTHER_DESCRIPTORS;
                let (fds, _) = bytes.as_chunks::<4>();
                let told = |fd: i32| {
                    let named = fds.iter().any(|bytes| i32::from_le_bytes(*bytes) == fd);
                    fd >= 0 && named != others
                };
                if !descriptors(number, args, When::Entry, 0).any(told) {
                    return false;
                }
            }
            _ => {}
        }
    }
    !paths || path
}

fn names_path(number: u64, args: &[u64; 6], path: &[u8]) -> bool {
    let Some(signature) = signature(number, args) else {
        return false;
    };
    let said = signature.arguments().iter().any(|argument| {
        let address = args.get(usize::from(argument.index)).copied();
        matches!(argument.kind, Kind::In(What::Path)) && address.is_some_and(|at| is_at(path, at))
    });
    said || descriptors(number, args, When::Entry, 0).any(|fd| {
        let mut buffer = [0; 4096];
        fd >= 0 && link(fd, &mut buffer).is_some_and(|link| link == path)
    })
}

/// Whether the program has that text there, and a zero behind it.
fn is_at(path: &[u8], address: u64) -> bool {
    let mut at = address;
    let mut buffer = [0_u8; STEP];
    for wanted in path.chunks(STEP) {
        let Some(into) = buffer.get_mut(..wanted.len()) else {
            return false;
        };
        if read_bytes(at, into) != Ok(wanted.len()) || into != wanted {
            return false;
        }
        at = at.wrapping_add(wanted.len() as u64);
    }
    let mut end = [1];
    read_bytes(at, &mut end) == Ok(1) && end == [0]
}
