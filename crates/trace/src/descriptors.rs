//! What descriptors lead to, asked for at the time of the call: a moment later they may lead elsewhere.

use core::sync::atomic::{AtomicBool, Ordering};

use hotpatch_events::links;
use hotpatch_hook::{nr, syscall};
use hotpatch_names::{CURRENT_DIRECTORY, FILE, LINK, SOCKET, Socket, place};

use crate::pool::is_told;
use crate::ring::{Writer, links as wanted};

/// Whether the program has forbidden itself calls: what asks here is not to be among those.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Bytes of a path at most.
const PATH: usize = 4096;
const SOL_SOCKET: u64 = 1;
const SO_TYPE: u64 = 3;
const SO_PROTOCOL: u64 = 38;
const SO_DOMAIN: u64 = 39;
const PR_SET_SECCOMP: u64 = 22;

/// The program may have set a filter of calls.
pub fn watch(number: u32, arguments: &[u64; 6], result: u64) {
    let sets = match number {
        nr::SECCOMP => true,
        nr::PRCTL => arguments.first() == Some(&PR_SET_SECCOMP),
        _ => false,
    };
    if sets && result == 0 {
        // Relaxed: at worst another thread's next call still asks.
        SILENT.store(true, Ordering::Relaxed);
    }
}

/// Whether nobody asks the kernel anything any more.
pub fn are_silent() -> bool {
    SILENT.load(Ordering::Relaxed)
}

/// Whether anything is to be kept of the descriptors of that call.
pub fn are_asked_for(number: u64) -> bool {
    // Where code is mapped counts for all stacks.
    let maps = wanted() & links::STACKS != 0 && number == u64::from(nr::MMAP);
    wanted() != 0 && (maps || is_told(number))
}

/// Keeps what `fd` leads to.
pub fn keep(writer: &mut Writer<'_>, fd: i32) {
    let read = |into: &mut [u8]| link(fd, into).map(|link| link.len());
    let Some(link) = writer.fill(place(LINK, fd), PATH, read) else {
        return;
    };
    let is_socket = link.starts_with(b"socket:[");
    if is_socket && wanted() & links::SOCKETS != 0 {
        writer.fill(place(SOCKET, fd), size_of::<Socket>(), |into| {
            socket(fd, into)
        });
    }
    if link.first() == Some(&b'/') && wanted() & links::DEVICES != 0 {
        writer.fill(place(FILE, fd), 16, |into| file(fd, into));
    }
}

/// What `fd` leads to.
pub fn link(fd: i32, into: &mut [u8]) -> Option<&[u8]> {
    if are_silent() {
        return None;
    }
    let name = Name::of(fd)?;
    let args = [
        name.0.as_ptr().addr() as u64,
        into.as_mut_ptr().addr() as u64,
        into.len() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: reads the name and writes to `into`, which is as long.
    let done = unsafe { syscall(nr::READLINK, args) }.ok()?;
    into.get(..done as usize)
}

/// Where a descriptor's link is, ended by a zero.
struct Name([u8; 40]);

impl Name {
    fn of(fd: i32) -> Option<Self> {
        let mut name = [0; 40];
        if fd == CURRENT_DIRECTORY {
            put(&mut name, b"/proc/thread-self/cwd");
            return Some(Self(name));
        }
        let mut left = u32::try_from(fd).ok()?;
        let mut digits = [0; 10];
        let mut first = digits.len();
        loop {
            first = first.checked_sub(1)?;
            *digits.get_mut(first)? = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        let at = put(&mut name, b"/proc/thread-self/fd/");
        put(name.get_mut(at..)?, digits.get(first..)?);
        Some(Self(name))
    }
}

/// Copies as much as there is room for: how much.
fn put(into: &mut [u8], bytes: &[u8]) -> usize {
    for (to, from) in into.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len()
}

/// Writes a [`Socket`].
fn socket(fd: i32, into: &mut [u8]) -> Option<usize> {
    let fd = u64::from(fd.cast_unsigned());
    let option = |name: u64| {
        let (mut value, mut len) = (0_u32, 4_u32);
        let at = [
            fd,
            SOL_SOCKET,
            name,
            (&raw mut value).addr() as u64,
            (&raw mut len).addr() as u64,
            0,
        ];
        // SAFETY: writes to both.
        unsafe { syscall(nr::GETSOCKOPT, at) }.ok().map(|_| value)
    };
    let address = |number: u32| {
        let (mut name, mut len) = ([0_u8; 128], 128_u32);
        let at = [
            fd,
            name.as_mut_ptr().addr() as u64,
            (&raw mut len).addr() as u64,
            0,
            0,
            0,
        ];
        // SAFETY: writes to both.
        match unsafe { syscall(number, at) } {
            Ok(_) => (name, len.min(128)),
            Err(_) => (name, 0),
        }
    };
    let (name, name_len) = address(nr::GETSOCKNAME);
    let (peer_name, peer_len) = address(nr::GETPEERNAME);
    let words = [
        option(SO_DOMAIN)?,
        option(SO_TYPE)?,
        option(SO_PROTOCOL)?,
        name_len,
        peer_len,
        0,
    ];
    let mut at = 0;
    for word in words {
        at += put(into.get_mut(at..)?, &word.to_le_bytes());
    }
    at += put(into.get_mut(at..)?, &name);
    at += put(into.get_mut(at..)?, &peer_name);
    Some(at)
}

/// Writes the mode and the device.
fn file(fd: i32, into: &mut [u8]) -> Option<usize> {
    let mut stat = [0_u64; 18];
    let at = stat.as_mut_ptr().addr() as u64;
    let fd = u64::from(fd.cast_unsigned());
    // SAFETY: writes a `struct stat`, which is as large.
    unsafe { syscall(nr::FSTAT, [fd, at, 0, 0, 0, 0]) }.ok()?;
    let [_, _, _, mode, _, device, ..] = stat;
    let at = put(into, &(mode & 0xffff_ffff).to_le_bytes());
    Some(at + put(into.get_mut(at..)?, &device.to_le_bytes()))
}
