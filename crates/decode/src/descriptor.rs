//! What stands behind descriptors (`-y`, `-yy`).

use crate::print::Printer;
use crate::text::{escape_path, quote};
use crate::{Escapes, When, details};
use hotpatch_names::{FILE, LINK, SOCKET, Socket, flags, place};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of a path at most.
const PATH: usize = 4096;

impl Printer<'_> {
    /// Appends what was known of a descriptor at that time, brackets included.
    pub(crate) fn descriptor(&mut self, when: When, fd: i32) {
        let wanted = self.style.descriptors;
        if wanted == 0 {
            return;
        }
        let mut link = [0; PATH];
        let len = self.memory.read(when, place(LINK, fd), &mut link);
        let link = &link[..len];
        if link.is_empty() {
            return;
        }
        if wanted & details::SOCKET != 0 && self.socket(when, fd, link) {
            return;
        }
        let mut file = [0; 16];
        let known = self.memory.read(when, place(FILE, fd), &mut file) == file.len();
        let device = if known && wanted & details::DEVICE != 0 {
            device(file)
        } else {
            None
        };
        let is_socket = wanted & details::SOCKET != 0 && link.starts_with(b"socket:[");
        if wanted & details::PATH == 0 && device.is_none() && !is_socket {
            return;
        }
        let (path, deleted) = match link.strip_suffix(b" (deleted)") {
            Some(path) => (path, "(deleted)"),
            None => (link, ""),
        };
        self.out.push('<');
        escape_path(path, self.style.escapes, self.out);
        if let Some(device) = device {
            self.out.push_str(&device);
        }
        self.out.push('>');
        self.out.push_str(deleted);
    }

    /// The same of a socket, if it is one that there is more to say of.
    fn socket(&mut self, when: When, fd: i32, link: &[u8]) -> bool {
        let inode = link
            .strip_prefix(b"socket:[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let mut known = [0; size_of::<Socket>()];
        let is_known = self.memory.read(when, place(SOCKET, fd), &mut known) == known.len();
        let Some(inode) = inode.filter(|_| is_known) else {
            return false;
        };
        let Known {
            family,
            kind,
            protocol,
            peer,
            name,
            peer_name,
        } = Known::of(&known);
        let Some(what) = what(family, kind, protocol) else {
            return false;
        };
        let inside = match family {
            1 => local(inode, peer, name, self.style.escapes),
            16 => match (name.get(4..8), flags::NETLINK.name(u64::from(protocol))) {
                (Some(&[a, b, c, d]), Some(protocol)) if [a, b, c, d] != [0; 4] => {
                    let port = u32::from_le_bytes([a, b, c, d]);
                    let protocol = protocol.trim_start_matches("NETLINK_");
                    format!("{protocol}:{port}")
                }
                _ => inode.to_owned(),
            },
            // What has no port has not been bound.
            _ => match (address(name), address(peer_name)) {
                _ if kind == 3 => inode.to_owned(),
                (Some(name), Some(peer)) => format!("{name}->{peer}"),
                (Some(name), None) => name.to_string(),
                (None, _) => inode.to_owned(),
            },
        };
        let _ = write!(self.out, "<{what}:[{inside}]>");
        true
    }
}

/// A [`Socket`]'s parts.
struct Known<'a> {
    family: u32,
    kind: u32,
    protocol: u32,
    peer: u32,
    name: &'a [u8],
    peer_name: &'a [u8],
}

impl<'a> Known<'a> {
    fn of(bytes: &'a [u8; size_of::<Socket>()]) -> Self {
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|n| bytes[at + n]));
        let part = |from: usize, len: u32| &bytes[from..from + (len as usize).min(128)];
        Self {
            family: word(0),
            kind: word(4),
            protocol: word(8),
            peer: word(20),
            name: part(24, word(12)),
            peer_name: part(152, word(16)),
        }
    }
}

/// How sockets of that kind are called.
const fn what(family: u32, kind: u32, protocol: u32) -> Option<&'static str> {
    Some(match (family, kind, protocol) {
        (1, 1, _) => "UNIX-STREAM",
        (1, ..) => "UNIX",
        (2, 3, _) => "RAW",
        (10, 3, _) => "RAWv6",
        (2, _, 6) => "TCP",
        (10, _, 6) => "TCPv6",
        (2, _, 17) => "UDP",
        (10, _, 17) => "UDPv6",
        (2, _, 136) => "UDPLITE",
        (10, _, 136) => "UDPLITEv6",
        (16, ..) => "NETLINK",
        _ => return None,
    })
}

/// Whom a [`Socket`] is connected to: its kind, and an address, a path, or the inode of the other end.
#[must_use]
pub fn peer(socket: &[u8]) -> Option<String> {
    let known = Known::of(socket.first_chunk()?);
    let what = what(known.family, known.kind, known.protocol)?;
    if known.family != 1 {
        return address(known.peer_name).map(|address| format!("{what} {address}"));
    }
    let path = known.peer_name.get(2..).unwrap_or(&[]);
    let mut text = format!("{what} ");
    match path {
        [] if known.peer == 0 => return None,
        [] => text.push_str(&known.peer.to_string()),
        [0, hidden @ ..] => {
            text.push('@');
            escape_path(hidden, Escapes::Octal, &mut text);
        }
        path => {
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            escape_path(path, Escapes::Octal, &mut text);
        }
    }
    Some(text)
}

/// A local socket: its inode, that of whom it is connected to, its name.
fn local(inode: &str, peer: u32, name: &[u8], escapes: Escapes) -> String {
    let mut text = inode.to_owned();
    if peer != 0 {
        let _ = write!(text, "->{peer}");
    }
    match name.get(2..) {
        None | Some([]) => {}
        Some([0, rest @ ..]) => {
            text.push_str(",@");
            quote(rest, escapes, &mut text);
        }
        Some(path) => {
            text.push(',');
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            quote(path, escapes, &mut text);
        }
    }
    text
}

/// An internet address that has a port.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_le_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    let ip = match family {
        2 => Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?).into(),
        10 => Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?).into(),
        _ => return None,
    };
    (port != 0).then(|| SocketAddr::new(ip, port))
}

/// `<char 1:3>`, if it is a device: of its mode and number.
fn device(bytes: [u8; 16]) -> Option<String> {
    let [mode, number] =
        [0, 8].map(|at| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| bytes[at + n])));
    let what = match mode & 0o170_000 {
        0o020_000 => "char",
        0o060_000 => "block",
        _ => return None,
    };
    let major = number >> 8 & 0xfff | number >> 32 & 0xffff_f000;
    let minor = number & 0xff | number >> 12 & 0xffff_ff00;
    Some(format!("<{what} {major}:{minor}>"))
}
