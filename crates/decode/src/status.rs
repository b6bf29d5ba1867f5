//! What is told of files, terminals and children.

use crate::When;
use crate::memory::word;
use crate::number::{address, device, flags_of, mode, signal_name};
use crate::print::Printer;
use crate::time::date;
use hotpatch_names::flags;
use std::fmt::Write as _;

const CHARACTER: u64 = 0o020_000;
const BLOCK: u64 = 0o060_000;

/// Appends what `wait4` says of a child.
pub(crate) fn wait_status(status: u32, out: &mut String) {
    let (low, high) = (status & 0x7f, status >> 8 & 0xff);
    out.push_str("{WIF");
    match (low, status) {
        (_, 0xffff) => out.push_str("CONTINUED(s)"),
        (0, _) => {
            let _ = write!(out, "EXITED(s) && WEXITSTATUS(s) == {high}");
        }
        (0x7f, _) => {
            out.push_str("STOPPED(s) && WSTOPSIG(s) == ");
            signal_name(u64::from(high & 0x7f), out);
            if high & 0x80 != 0 {
                out.push_str(" | 0x80");
            }
        }
        _ => {
            out.push_str("SIGNALED(s) && WTERMSIG(s) == ");
            signal_name(u64::from(low), out);
            if status & 0x80 != 0 {
                out.push_str(" && WCOREDUMP(s)");
            }
        }
    }
    out.push('}');
}

impl Printer<'_> {
    pub(crate) fn status(&mut self, at: u64) {
        match self
            .exact::<4>(When::Exit, at)
            .filter(|_| self.call.result != Some(0))
        {
            Some(status) => {
                self.out.push('[');
                wait_status(u32::from_le_bytes(status), self.out);
                self.out.push(']');
            }
            None => address(at, self.out),
        }
    }

    fn time_field(&mut self, name: &str, seconds: u64, nanoseconds: u64) {
        let _ = write!(self.out, ", {name}={} /* ", seconds as i64);
        date(seconds as i64, Some((nanoseconds, 9)), self.out);
        let _ = write!(self.out, " */, {name}_nsec={nanoseconds}");
    }

    pub(crate) fn stat(&mut self, when: When, at: u64) {
        let Some(bytes) = self.exact::<144>(when, at) else {
            address(at, self.out);
            return;
        };
        let long = |at: usize| word(&bytes[at..at + 8]);
        let int = |at: usize| word(&bytes[at..at + 4]);
        let kind = int(24) & 0o170_000;
        self.out.push('{');
        if self.style.verbose {
            self.out.push_str("st_dev=");
            device(long(0), self.out);
            let _ = write!(self.out, ", st_ino={}, ", long(8));
        }
        self.out.push_str("st_mode=");
        mode(int(24), self.out);
        if self.style.verbose {
            let _ = write!(
                self.out,
                ", st_nlink={}, st_uid={}, st_gid={}",
                long(16),
                int(28),
                int(32)
            );
            let _ = write!(
                self.out,
                ", st_blksize={}, st_blocks={}",
                long(56),
                long(64)
            );
        }
        if kind == CHARACTER || kind == BLOCK {
            self.out.push_str(", st_rdev=");
            device(long(40), self.out);
        } else {
            let _ = write!(self.out, ", st_size={}", long(48) as i64);
        }
        if self.style.verbose {
            for (name, at) in [("st_atime", 72), ("st_mtime", 88), ("st_ctime", 104)] {
                self.time_field(name, long(at), long(at + 8));
            }
            self.out.push('}');
        } else {
            self.out.push_str(", ...}");
        }
    }

    pub(crate) fn statx(&mut self, when: When, at: u64) {
        let Some(bytes) = self.exact::<256>(when, at) else {
            address(at, self.out);
            return;
        };
        let long = |at: usize| word(&bytes[at..at + 8]);
        let int = |at: usize| word(&bytes[at..at + 4]);
        let verbose = self.style.verbose;
        self.out.push_str("{stx_mask=");
        flags_of(int(0), &flags::STATX_MASK, self.out);
        if verbose {
            let _ = write!(self.out, ", stx_blksize={}", int(4));
        }
        self.out.push_str(", stx_attributes=");
        flags_of(long(8), &flags::STATX_ATTR, self.out);
        if verbose {
            let _ = write!(
                self.out,
                ", stx_nlink={}, stx_uid={}, stx_gid={}",
                int(16),
                int(20),
                int(24)
            );
        }
        self.out.push_str(", stx_mode=");
        mode(word(&bytes[28..30]), self.out);
        if verbose {
            let _ = write!(self.out, ", stx_ino={}", long(32));
        }
        let _ = write!(self.out, ", stx_size={}", long(40));
        if !verbose {
            self.out.push_str(", ...}");
            return;
        }
        let _ = write!(self.out, ", stx_blocks={}, stx_attributes_mask=", long(48));
        flags_of(long(56), &flags::STATX_ATTR, self.out);
        let times = [
            ("stx_atime", 64, 0x20),
            ("stx_btime", 80, 0x800),
            ("stx_ctime", 96, 0x80),
            ("stx_mtime", 112, 0x40),
        ];
        // Not every file system keeps them all.
        for (name, at, _) in times.into_iter().filter(|(.., bit)| int(0) & bit != 0) {
            let _ = write!(
                self.out,
                ", {name}={{tv_sec={}, tv_nsec={}}}",
                long(at) as i64,
                int(at + 8)
            );
            self.out.push_str(" /* ");
            date(long(at) as i64, Some((int(at + 8), 9)), self.out);
            self.out.push_str(" */");
        }
        for (name, at) in [("stx_rdev", 128), ("stx_dev", 136)] {
            let _ = write!(
                self.out,
                ", {name}_major={}, {name}_minor={}",
                int(at),
                int(at + 4)
            );
        }
        let _ = write!(self.out, ", stx_mnt_id={:#x}}}", long(144));
    }

    /// Three sets, the lower halves of which come first.
    pub(crate) fn capabilities(&mut self, when: When, at: u64) {
        let Some(bytes) = self.exact::<24>(when, at) else {
            address(at, self.out);
            return;
        };
        for (index, name) in ["{effective=", ", permitted=", ", inheritable="]
            .into_iter()
            .enumerate()
        {
            self.out.push_str(name);
            let half = |at: usize| word(&bytes[at..at + 4]);
            let bits = half(index * 4) | half(index * 4 + 12) << 32;
            let mut told = false;
            for bit in (0..64).filter(|bit| bits >> bit & 1 != 0) {
                self.out.push_str(if told { "|1<<" } else { "1<<" });
                told = true;
                crate::number::one_of(bit, &flags::CAPABILITY, self.out);
            }
            if !told {
                self.out.push('0');
            }
        }
        self.out.push('}');
    }

    pub(crate) fn terminal(&mut self, when: When, at: u64) {
        let Some(bytes) = self.exact::<36>(when, at) else {
            address(at, self.out);
            return;
        };
        let [iflag, oflag, cflag, lflag] = [0, 4, 8, 12].map(|at| word(&bytes[at..at + 4]));
        self.out.push_str("{c_iflag=");
        if iflag != 0 {
            flags_of(iflag, &flags::IFLAG, self.out);
        }
        let _ = write!(
            self.out,
            ", c_oflag=NL{}|CR{}|TAB",
            oflag >> 8 & 1,
            oflag >> 9 & 3
        );
        match oflag >> 11 & 3 {
            3 => self.out.push('3'),
            tab => {
                let _ = write!(self.out, "{tab}");
            }
        }
        let _ = write!(
            self.out,
            "|BS{}|VT{}|FF{}",
            oflag >> 13 & 1,
            oflag >> 14 & 1,
            oflag >> 15 & 1
        );
        if oflag & 0xff != 0 {
            self.out.push('|');
            flags_of(oflag & 0xff, &flags::OFLAG, self.out);
        }
        self.out.push_str(", c_cflag=");
        crate::number::one_of(cflag & 0o10017, &flags::BAUD, self.out);
        let _ = write!(self.out, "|CS{}", 5 + (cflag >> 4 & 3));
        if cflag & !0o10077 != 0 {
            self.out.push('|');
            flags_of(cflag & !0o10077, &flags::CFLAG, self.out);
        }
        self.out.push_str(", c_lflag=");
        if lflag != 0 {
            flags_of(lflag, &flags::LFLAG, self.out);
        }
        if !self.style.verbose {
            self.out.push_str(", ...}");
            return;
        }
        let _ = write!(self.out, ", c_line={}, c_cc=[", bytes[16]);
        for (index, byte) in bytes[17..36].iter().enumerate() {
            let _ = write!(self.out, "{}{byte:#x}", if index > 0 { ", " } else { "" });
        }
        self.out.push_str("]}");
    }

    pub(crate) fn clone_args(&mut self, at: u64) {
        let size = (self.call.args[1] as usize).min(88);
        let bytes = self.bytes(When::Entry, at, size);
        if size < 64 || bytes.len() < size {
            address(at, self.out);
            return;
        }
        let long = |index: usize| bytes.get(index * 8..index * 8 + 8).map_or(0, word);
        let bits = long(0);
        self.out.push_str("{flags=");
        flags_of(bits, &flags::CLONE, self.out);
        let pointers = [
            (0x1000, "pidfd", 1),
            (0x120_0000, "child_tid", 2),
            (0x10_0000, "parent_tid", 3),
        ];
        for (_, name, index) in pointers.into_iter().filter(|(bit, ..)| bits & bit != 0) {
            let _ = write!(self.out, ", {name}=");
            address(long(index), self.out);
        }
        self.out.push_str(", exit_signal=");
        signal_name(long(4), self.out);
        self.out.push_str(", stack=");
        address(long(5), self.out);
        self.out.push_str(", stack_size=");
        crate::number::hex(long(6), self.out);
        if bits & 0x8_0000 != 0 {
            self.out.push_str(", tls=");
            address(long(7), self.out);
        }
        if bits & 0x2_0000_0000 != 0 && size >= 88 {
            let _ = write!(self.out, ", cgroup={}", long(10));
        }
        self.out.push('}');
        if self.at.is_none() && self.call.result.is_some() {
            self.clone_answer();
        }
    }

    /// What `clone3` has written.
    pub(crate) fn clone_answer(&mut self) {
        let Some(bytes) = self
            .exact::<64>(When::Entry, self.call.args[0])
            .filter(|_| self.error().is_none())
        else {
            return;
        };
        let bits = word(&bytes[..8]);
        let mut told = false;
        for (bit, name, at) in [(0x1000, "pidfd", 8), (0x10_0000, "parent_tid", 24)] {
            let pointer = word(&bytes[at..at + 8]);
            let Some(value) = self
                .exact::<4>(When::Exit, pointer)
                .filter(|_| bits & bit != 0)
            else {
                continue;
            };
            self.out.push_str(if told { ", " } else { " => {" });
            told = true;
            let _ = write!(self.out, "{name}=[{}]", i32::from_le_bytes(value));
        }
        if told {
            self.out.push('}');
        }
    }
}
