//! Asks the command for the file of rings, where it cannot be opened below `/proc`: in another root or mount namespace.
//!
//! # Safety
//! The calls read and write what is on this stack.

use hotpatch_events::Asks;
use hotpatch_hook::{Errno, nr, syscall};

const PR_GET_SECCOMP: u64 = 21;
const AF_UNIX: u16 = 1;
const STREAM_CLOEXEC: u64 = 0o200_0001;
const SOL_SOCKET: u64 = 1;
const SO_RCVTIMEO: u64 = 20;
const SO_SNDTIMEO: u64 = 21;
const MSG_NOSIGNAL: u64 = 0x4000;
const MSG_CMSG_CLOEXEC: u64 = 0x4000_0000;
const SCM_RIGHTS: i32 = 1;

/// A socket's address: a zero byte begins a name that no file has.
#[repr(C)]
struct Address {
    family: u16,
    zero: u8,
    name: [u8; 107],
}

#[repr(C)]
struct Piece {
    base: *mut u8,
    len: u64,
}

/// `struct msghdr`.
#[repr(C)]
struct Message {
    name: u64,
    name_len: u64,
    pieces: *const Piece,
    count: u64,
    control: *mut Control,
    control_len: u64,
    flags: u64,
}

/// A message of the kernel's that brings one descriptor.
#[repr(C)]
#[derive(Default)]
struct Control {
    len: u64,
    level: i32,
    kind: i32,
    file: i32,
    pad: i32,
}

/// The file's descriptor. `hint`: 16 digits that only traced programs know, and the socket's name.
pub fn borrow(hint: &[u8]) -> Result<u64, Errno> {
    let (token, name) = hint.split_at_checked(16).ok_or(Errno::ENOENT)?;
    let token = str::from_utf8(token).ok();
    let token = token.and_then(|text| u64::from_str_radix(text, 16).ok());
    let token = token.ok_or(Errno::ENOENT)?;
    // A filter may end who makes these calls.
    // SAFETY: asks for a number.
    if unsafe { syscall(nr::PRCTL, [PR_GET_SECCOMP, 0, 0, 0, 0, 0]) } != Ok(0) {
        return Err(Errno::EACCES);
    }
    let socket = [u64::from(AF_UNIX), STREAM_CLOEXEC, 0, 0, 0, 0];
    // SAFETY: the descriptor is ours.
    let socket = unsafe { syscall(nr::SOCKET, socket) }?;
    let file = ask(socket, name, token);
    // SAFETY: as above.
    let _ = unsafe { syscall(nr::CLOSE, [socket, 0, 0, 0, 0, 0]) };
    file
}

fn ask(socket: u64, name: &[u8], token: u64) -> Result<u64, Errno> {
    // Seconds: it may have been stopped.
    let patience = [5u64, 0];
    let at = patience.as_ptr().addr() as u64;
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
        // SAFETY: reads `patience`.
        unsafe { syscall(nr::SETSOCKOPT, [socket, SOL_SOCKET, option, at, 16, 0]) }?;
    }
    let mut address = Address {
        family: AF_UNIX,
        zero: 0,
        name: [0; 107],
    };
    address
        .name
        .get_mut(..name.len())
        .ok_or(Errno::ENAMETOOLONG)?
        .copy_from_slice(name);
    let (at, len) = ((&raw const address).addr() as u64, 3 + name.len() as u64);
    // SAFETY: reads `address`.
    unsafe { syscall(nr::CONNECT, [socket, at, len, 0, 0, 0]) }?;
    // SAFETY: asks for a number.
    let pid = unsafe { syscall(nr::GETPID, [0; 6]) }? as u32;
    let asks = Asks { token, pid }.bytes();
    let (at, len) = (asks.as_ptr().addr() as u64, asks.len() as u64);
    // SAFETY: reads `asks`.
    unsafe { syscall(nr::SENDTO, [socket, at, len, MSG_NOSIGNAL, 0, 0]) }?;
    let (mut byte, mut control) = ([0u8], Control::default());
    let piece = Piece {
        base: byte.as_mut_ptr(),
        len: 1,
    };
    let message = Message {
        name: 0,
        name_len: 0,
        pieces: &raw const piece,
        count: 1,
        control: &raw mut control,
        control_len: size_of::<Control>() as u64,
        flags: 0,
    };
    let at = (&raw const message).addr() as u64;
    // SAFETY: writes to what `message` names.
    let got = unsafe { syscall(nr::RECVMSG, [socket, at, MSG_CMSG_CLOEXEC, 0, 0, 0]) }?;
    // SAFETY: the kernel has written it.
    let control = unsafe { (&raw const control).read_volatile() };
    let is_file = got == 1 && control.level == SOL_SOCKET as i32 && control.kind == SCM_RIGHTS;
    match u64::try_from(control.file) {
        Ok(file) if is_file => Ok(file),
        _ => Err(Errno::EACCES),
    }
}
