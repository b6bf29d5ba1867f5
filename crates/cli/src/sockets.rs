//! Whom sockets are connected to, where the program itself cannot say: the other ends of local sockets, and of
//! connections that are over.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{FromRawFd, OwnedFd};

use hotpatch_events::kind;
use hotpatch_names::{LINK, SOCKET, Socket};
use nix::libc;

use crate::events::Event;

const SOCKETPAIR: u64 = 53;
/// Sockets that are remembered at most.
const MOST: usize = 1 << 14;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;

// Where things stand in a `Socket`.
const FAMILY: usize = std::mem::offset_of!(Socket, family);
const PEER_LEN: usize = std::mem::offset_of!(Socket, peer_len);
const PEER: usize = std::mem::offset_of!(Socket, peer);
const PEER_NAME: usize = std::mem::offset_of!(Socket, peer_name);

/// What is known of sockets, by inode.
#[derive(Default)]
pub struct Sockets {
    /// The inodes of the other ends of local ones.
    local: HashMap<u32, u32>,
    /// The addresses that others were connected to, with their lengths.
    remote: HashMap<u32, Vec<u8>>,
    kernel: Option<File>,
}

impl Sockets {
    /// Asks the kernel where nobody else knows.
    pub fn new() -> Self {
        // SAFETY: asks for a descriptor.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                NETLINK_SOCK_DIAG,
            )
        };
        // SAFETY: a new one, which is nobody else's.
        let kernel = (fd >= 0).then(|| File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        Self {
            kernel,
            ..Self::default()
        }
    }

    /// Completes what was kept of sockets.
    pub fn complete(&mut self, event: &mut Event<'_>) {
        let mut links = HashMap::new();
        let mut found: Vec<(Range<usize>, u32)> = Vec::new();
        for (address, place) in event.kept.places() {
            if let Some(fd) = behind(LINK, address) {
                links.insert(fd, inode(&event.kept.0[place]));
            } else if let Some(fd) = behind(SOCKET, address) {
                let inode = links.get(&fd).copied().flatten();
                found.extend(inode.map(|inode| (place, inode)));
            }
        }
        let pair = event.record.number == SOCKETPAIR && event.record.kind == kind::EXIT;
        if let ([(_, one), (_, other)], true) = (&found[..], pair) {
            self.local.insert(*one, *other);
            self.local.insert(*other, *one);
        }
        for (place, inode) in found {
            self.know(inode, &mut event.kept.0[place]);
        }
    }

    fn know(&mut self, inode: u32, socket: &mut [u8]) {
        if socket.len() < size_of::<Socket>() {
            return;
        }
        if self.local.len() + self.remote.len() > MOST {
            self.local.clear();
            self.remote.clear();
        }
        let connected = socket[PEER_LEN..PEER_LEN + 4] != [0; 4];
        if socket[FAMILY] == libc::AF_UNIX as u8 {
            let known = self.local.get(&inode).copied();
            if let Some(peer) = known.or_else(|| self.ask(inode).filter(|_| connected)) {
                self.local.insert(inode, peer);
                socket[PEER..PEER + 4].copy_from_slice(&peer.to_le_bytes());
            }
            return;
        }
        if connected {
            let mut address = socket[PEER_LEN..PEER_LEN + 4].to_vec();
            address.extend_from_slice(&socket[PEER_NAME..]);
            self.remote.insert(inode, address);
        } else if let Some(address) = self.remote.get(&inode) {
            socket[PEER_LEN..PEER_LEN + 4].copy_from_slice(&address[..4]);
            socket[PEER_NAME..].copy_from_slice(&address[4..]);
        }
    }

    /// What the kernel says of a local socket.
    fn ask(&mut self, inode: u32) -> Option<u32> {
        let kernel = self.kernel.as_mut()?;
        let mut request = Vec::new();
        // struct nlmsghdr: its length, type, flags, number, sender.
        request.extend_from_slice(&40_u32.to_ne_bytes());
        request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request.extend_from_slice(&1_u16.to_ne_bytes());
        request.extend_from_slice(&[0; 8]);
        // struct unix_diag_req: family, states, inode, what is asked for, any cookie.
        request.extend_from_slice(&[libc::AF_UNIX as u8, 0, 0, 0]);
        for word in [u32::MAX, inode, UDIAG_SHOW_PEER, u32::MAX, u32::MAX] {
            request.extend_from_slice(&word.to_ne_bytes());
        }
        kernel.write_all(&request).ok()?;
        let mut answer = [0; 1024];
        let len = kernel.read(&mut answer).ok()?;
        peer(&answer[..len])
    }
}

/// The descriptor that a place behind `base` is about.
fn behind(base: u64, address: u64) -> Option<u64> {
    address.checked_sub(base).filter(|rest| rest >> 48 == 0)
}

/// The inode of the socket that a link leads to.
fn inode(link: &[u8]) -> Option<u32> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The inode that an answer names: attributes follow 16 bytes of netlink's and 16 of the socket's.
fn peer(answer: &[u8]) -> Option<u32> {
    let short = |at: usize| Some(u16::from_ne_bytes(*answer.get(at..)?.first_chunk()?));
    if short(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = 32;
    loop {
        let len = usize::from(short(at)?);
        if short(at + 2)? == UNIX_DIAG_PEER {
            return Some(u32::from_ne_bytes(*answer.get(at + 4..)?.first_chunk()?));
        }
        at += len.next_multiple_of(4).max(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_kernel_knows_whom_a_socket_is_connected_to() {
        let (one, other) = UnixStream::pair().unwrap();
        let inode = |socket: &UnixStream| -> u32 {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
            let link = link.to_str().unwrap().to_owned();
            link["socket:[".len()..link.len() - 1].parse().unwrap()
        };
        let mut sockets = Sockets::new();
        assert_eq!(sockets.ask(inode(&one)), Some(inode(&other)));
        let gone = inode(&other);
        drop((one, other));
        assert_eq!(sockets.ask(gone), None);
    }
}
