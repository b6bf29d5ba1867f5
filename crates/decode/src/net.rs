//! Addresses, messages and options of sockets.

use crate::memory::word;
use crate::number::{address, flags_of, hex, one_of};
use crate::print::Printer;
use crate::text::quote;
use crate::{Escapes, When};
use hotpatch_names::{Count, flags};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Appends the protocol of a packet socket, which is kept in the order of the network.
pub(crate) fn ether(value: u64, out: &mut String) {
    let protocol = (value as u16).swap_bytes();
    out.push_str("htons(");
    match protocol {
        3 => out.push_str("ETH_P_ALL"),
        0x800 => out.push_str("ETH_P_IP"),
        0x806 => out.push_str("ETH_P_ARP"),
        0x86dd => out.push_str("ETH_P_IPV6"),
        other => {
            hex(u64::from(other), out);
            out.push_str(" /* ETH_P_??? */");
        }
    }
    out.push(')');
}

fn big(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl Printer<'_> {
    pub(crate) fn socket_address(&mut self, when: When, at: u64, count: Count) {
        // The kernel says how long the address is, and fills what there is room for.
        let room = match count {
            Count::Behind(index) => {
                let length = self.call.args.get(usize::from(index)).copied().unwrap_or(0);
                self.exact::<4>(When::Entry, length)
                    .map_or(0, |bytes| word(&bytes))
            }
            _ => u64::MAX,
        };
        let length = (self.count(count) & 0xffff_ffff).min(room);
        self.address_of(when, at, length as usize);
    }

    fn address_of(&mut self, when: When, at: u64, length: usize) {
        let length = length.min(128);
        let bytes = self.bytes(when, at, length);
        if length < 2 || bytes.len() < length {
            address(at, self.out);
            return;
        }
        let (family, rest) = (word(&bytes[..2]), &bytes[2..]);
        self.out.push_str("{sa_family=");
        one_of(family, &flags::FAMILY, self.out);
        match (family, rest.len()) {
            (1, 0) => {}
            (1, _) => {
                self.out.push_str(", sun_path=");
                if rest[0] == 0 && rest.len() > 1 {
                    self.out.push('@');
                    quote(&rest[1..], self.style.escapes, self.out);
                } else {
                    let path = rest.split(|byte| *byte == 0).next().unwrap_or(rest);
                    quote(path, self.style.escapes, self.out);
                }
            }
            (2, 14..) => {
                let ip = Ipv4Addr::new(rest[2], rest[3], rest[4], rest[5]);
                let _ = write!(
                    self.out,
                    ", sin_port=htons({}), sin_addr=inet_addr(\"{ip}\")",
                    big(&rest[..2])
                );
            }
            (10, 22..) => {
                let ip = Ipv6Addr::from(*rest[6..].first_chunk::<16>().unwrap_or(&[0; 16]));
                let (port, flow) = (big(&rest[..2]), big(&rest[2..6]));
                let _ = write!(
                    self.out,
                    ", sin6_port=htons({port}), sin6_flowinfo=htonl({flow})"
                );
                let _ = write!(self.out, ", inet_pton(AF_INET6, \"{ip}\", &sin6_addr)");
                if rest.len() >= 26 {
                    let _ = write!(self.out, ", sin6_scope_id={}", word(&rest[22..26]));
                }
            }
            (16, 10..) => {
                let (pid, groups) = (word(&rest[2..6]), word(&rest[6..10]));
                let _ = write!(self.out, ", nl_pid={pid}, nl_groups={groups:#08x}");
                // The groups have eight digits and no 0x where there are none.
                if groups == 0 {
                    self.out.truncate(self.out.len() - 8);
                    self.out.push_str("00000000");
                }
            }
            _ => {
                self.out.push_str(", sa_data=");
                quote(rest, self.style.escapes, self.out);
            }
        }
        self.out.push('}');
    }

    /// `[16]`, or `[128 => 16]` where the kernel has changed it.
    pub(crate) fn length(&mut self, at: u64) {
        let before = self.exact::<4>(When::Entry, at).map(i32::from_le_bytes);
        let after = self
            .exact::<4>(When::Exit, at)
            .map(i32::from_le_bytes)
            .filter(|_| self.error().is_none());
        match (before, after) {
            (None, _) => address(at, self.out),
            (Some(before), Some(after)) if before != after => {
                let _ = write!(self.out, "[{before} => {after}]");
            }
            (Some(before), _) => {
                let _ = write!(self.out, "[{before}]");
            }
        }
    }

    pub(crate) fn message(&mut self, when: When, at: u64) {
        if when == When::Exit && self.error().is_some() {
            match self
                .exact::<56>(When::Entry, at)
                .or_else(|| self.exact::<56>(When::Exit, at))
            {
                Some(header) => {
                    let _ = write!(self.out, "{{msg_namelen={}}}", word(&header[8..12]) as i32);
                }
                None => address(at, self.out),
            }
            return;
        }
        let budget = if when == When::Exit {
            self.call.result.unwrap_or(0)
        } else {
            u64::MAX
        };
        match self.exact::<56>(when, at) {
            Some(header) => {
                let before = self
                    .exact::<12>(When::Entry, at)
                    .map(|header| word(&header[8..]));
                self.header(when, &header, budget, before);
            }
            None => address(at, self.out),
        }
    }

    fn header(&mut self, when: When, header: &[u8; 56], budget: u64, before: Option<u64>) {
        let [name, _, vectors, count, control, room, _] =
            [0, 8, 16, 24, 32, 40, 48].map(|at| word(&header[at..at + 8]));
        let length = word(&header[8..12]);
        self.out.push_str("{msg_name=");
        self.address_of(when, name, length as usize);
        let _ = match before.filter(|before| *before != length && when == When::Exit) {
            Some(before) => write!(self.out, ", msg_namelen={before} => {length}"),
            None => write!(self.out, ", msg_namelen={length}"),
        };
        self.out.push_str(", msg_iov=");
        if vectors == 0 {
            self.out.push_str("NULL");
        } else {
            self.vectors(when, vectors, count, Some(budget));
        }
        let _ = write!(self.out, ", msg_iovlen={count}");
        if room > 0 {
            self.out.push_str(", msg_control=");
            self.control(when, control, room as usize);
        }
        let _ = write!(self.out, ", msg_controllen={room}, msg_flags=");
        flags_of(word(&header[48..52]), &flags::MSG, self.out);
        self.out.push('}');
    }

    fn control(&mut self, when: When, at: u64, room: usize) {
        let bytes = self.bytes(when, at, room.min(4096));
        if bytes.len() < 16 {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        let mut offset = 0;
        while let Some(message) = bytes.get(offset..).filter(|rest| rest.len() >= 16) {
            if offset > 0 {
                self.out.push_str(", ");
            }
            let length = word(&message[..8]) as usize;
            let (level, kind) = (word(&message[8..12]), word(&message[12..16]));
            let _ = write!(self.out, "{{cmsg_len={length}, cmsg_level=");
            one_of(level, &flags::LEVEL, self.out);
            self.out.push_str(", cmsg_type=");
            if level == 1 {
                one_of(kind, &flags::SCM, self.out)
            } else {
                hex(kind, self.out)
            }
            if let Some(data) = message
                .get(16..length.min(message.len()))
                .filter(|data| !data.is_empty())
            {
                self.out.push_str(", cmsg_data=");
                match (level, kind) {
                    (1, 1) => self.passed(when, data),
                    (1, 2) if data.len() >= 12 => {
                        let [pid, uid, gid] = [0, 4, 8].map(|at| word(&data[at..at + 4]));
                        let _ = write!(self.out, "{{pid={pid}, uid={uid}, gid={gid}}}");
                    }
                    _ => quote(data, self.style.escapes, self.out),
                }
            }
            self.out.push('}');
            if length < 16 {
                break;
            }
            offset += length.next_multiple_of(8);
        }
        self.out.push(']');
    }

    fn passed(&mut self, when: When, data: &[u8]) {
        self.out.push('[');
        for (index, fd) in data.as_chunks::<4>().0.iter().enumerate() {
            let fd = i32::from_le_bytes(*fd);
            let _ = write!(self.out, "{}{fd}", if index > 0 { ", " } else { "" });
            self.descriptor(when, fd);
        }
        self.out.push(']');
    }

    pub(crate) fn messages(&mut self, when: When, at: u64, index: u8) {
        let asked = self.call.args.get(usize::from(index)).copied().unwrap_or(0) & 0xffff_ffff;
        // Lengths of what was sent stand there when the call has ended.
        let done = self.error().is_none();
        let count = if when == When::Exit {
            self.call.result.unwrap_or(0).min(asked)
        } else {
            asked
        };
        let bytes = self.bytes(when, at, count.min(self.most() as u64) as usize * 64);
        if bytes.len() < 64 {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        for (index, message) in bytes.as_chunks::<64>().0.iter().enumerate() {
            let after = self.exact::<64>(When::Exit, at + index as u64 * 64);
            let length = word(&after.as_ref().unwrap_or(message)[56..60]);
            self.out.push_str(if index > 0 {
                ", {msg_hdr="
            } else {
                "{msg_hdr="
            });
            let budget = if when == When::Exit { length } else { u64::MAX };
            if let Some(header) = message.first_chunk::<56>() {
                self.header(when, header, budget, None);
            }
            if done && (index as u64) < self.call.result.unwrap_or(0) {
                let _ = write!(self.out, ", msg_len={length}");
            }
            self.out.push('}');
        }
        self.out.push(']');
    }

    pub(crate) fn option(&mut self, when: When, at: u64, count: Count) {
        let length = self.count(count) & 0xffff_ffff;
        let bytes = self.bytes(when, at, length.min(256) as usize);
        let (level, name) = (self.call.args[1] as u32, self.call.args[2] as u32);
        if bytes.is_empty() {
            address(at, self.out);
            return;
        }
        let number = |at: usize| word(&bytes[at..at + 4]) as i32;
        let _ = match (level, name, bytes.len()) {
            (1, 13, 8) => write!(
                self.out,
                "{{l_onoff={}, l_linger={}}}",
                number(0),
                number(4)
            ),
            (1, 17, 12) => write!(
                self.out,
                "{{pid={}, uid={}, gid={}}}",
                number(0),
                number(4),
                number(8)
            ),
            (1, 25, _) => {
                self.buffer(when, at, length, self.style.escapes);
                Ok(())
            }
            (1, 4, 4) if when == When::Exit && number(0) != 0 => {
                self.out.push('[');
                let _ = match hotpatch_names::error(number(0) as u16) {
                    Some((name, _)) => write!(self.out, "{name}"),
                    None => write!(self.out, "{}", number(0)),
                };
                self.out.push(']');
                Ok(())
            }
            (_, _, 4) => write!(self.out, "[{}]", number(0)),
            _ => {
                let escapes = if when == When::Exit {
                    Escapes::AllHex
                } else {
                    self.style.escapes
                };
                self.buffer(when, at, length, escapes);
                Ok(())
            }
        };
    }
}
