//! Numbers, flags and names of constants.

use crate::When;
use crate::print::Printer;
use hotpatch_names::flags::{self, Set};
use hotpatch_names::{CURRENT_DIRECTORY, Kind, signal};
use std::fmt::Write as _;

/// Appends a number in decimal. Most of what is printed are numbers, and `write!` takes three times as long for one.
pub(crate) fn decimal(value: impl itoa::Integer, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Appends a number in hexadecimal; 0 as it is.
pub(crate) fn hex(value: u64, out: &mut String) {
    if value == 0 {
        out.push('0');
        return;
    }
    out.push_str("0x");
    let digits = (u64::BITS - value.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let digit = (value >> (4 * digit) & 15) as u8;
        out.push(char::from(
            if digit < 10 { b'0' } else { b'a' - 10 } + digit,
        ));
    }
}

/// Appends an address.
pub(crate) fn address(value: u64, out: &mut String) {
    if value == 0 {
        out.push_str("NULL");
    } else {
        hex(value, out);
    }
}

/// Appends flags.
pub(crate) fn flags_of(value: u64, set: &Set, out: &mut String) {
    let begun = out.len();
    let mut rest = value;
    let bar = |out: &mut String| {
        if out.len() > begun {
            out.push('|');
        }
    };
    if set.mask != 0 {
        let low = value & set.mask;
        match set.name(low) {
            Some(name) => out.push_str(name),
            None if low == 0 => {}
            None => {
                hex(low, out);
                if !std::ptr::eq(set, &flags::SOCK) {
                    let _ = write!(out, " /* {} */", set.unknown);
                }
            }
        }
        rest &= !set.mask;
    } else if value == 0 {
        let zero = set
            .names
            .iter()
            .find(|(value, _)| *value == 0)
            .map_or("0", |(_, name)| name);
        out.push_str(zero);
        return;
    }
    let mut known = set.mask != 0 && !std::ptr::eq(set, &flags::SOCK);
    // The size of huge pages stands in the highest bits.
    let huge = if std::ptr::eq(set, &flags::MAP) {
        value >> 26 & 63
    } else {
        0
    };
    rest &= !(huge << 26);
    for (bits, name) in set.names {
        if *bits != 0 && rest & bits == *bits {
            bar(out);
            out.push_str(name);
            rest &= !bits;
            known = true;
        }
    }
    if rest != 0 || out.len() == begun && huge == 0 {
        bar(out);
        hex(rest, out);
        if !known && rest != 0 {
            let _ = write!(out, " /* {} */", set.unknown);
        }
    }
    if huge != 0 {
        bar(out);
        let _ = write!(out, "{huge}<<MAP_HUGE_SHIFT");
    }
}

/// Appends one value of an enumeration.
pub(crate) fn one_of(value: u64, set: &Set, out: &mut String) {
    match set.name(value) {
        Some(name) => out.push_str(name),
        None if set.mask != 0 => flags_of(value, set, out),
        None => {
            hex(value, out);
            if !set.unknown.is_empty() {
                let _ = write!(out, " /* {} */", set.unknown);
            }
        }
    }
}

/// Appends a signal.
pub(crate) fn signal_name(number: u64, out: &mut String) {
    let _ = match (number as u32, signal::name(number as u32)) {
        (_, Some(name)) => write!(out, "SIG{name}"),
        (32, _) => write!(out, "SIGRTMIN"),
        (real_time @ 33..=64, _) => write!(out, "SIGRT_{}", real_time - 32),
        (other, _) => write!(out, "{}", other as i32),
    };
}

/// Appends the permission bits of a file.
pub(crate) fn octal(value: u64, out: &mut String) {
    let digits = format!("0{:o}", value as u32);
    let _ = if value == 0 {
        write!(out, "000")
    } else {
        write!(out, "{digits:0>3}")
    };
}

/// Appends type and permissions of a file.
pub(crate) fn mode(value: u64, out: &mut String) {
    let kind = value & 0o170_000;
    match flags::FILE_TYPE.name(kind) {
        Some(name) if kind != 0 => {
            out.push_str(name);
            for (bit, name) in [
                (0o4000, "S_ISUID"),
                (0o2000, "S_ISGID"),
                (0o1000, "S_ISVTX"),
            ] {
                if value & bit != 0 {
                    out.push('|');
                    out.push_str(name);
                }
            }
            out.push('|');
            octal(value & 0o777, out);
        }
        _ => octal(value, out),
    }
}

/// Appends a device.
pub(crate) fn device(value: u64, out: &mut String) {
    let major = value >> 8 & 0xfff | value >> 32 & 0xffff_f000;
    let minor = value & 0xff | value >> 12 & 0xffff_ff00;
    out.push_str("makedev(");
    hex(major, out);
    out.push_str(", ");
    hex(minor, out);
    out.push(')');
}

fn limit(value: u64, out: &mut String) {
    let _ = match value {
        u64::MAX => write!(out, "RLIM64_INFINITY"),
        value if value > 1024 && value.is_multiple_of(1024) => write!(out, "{}*1024", value / 1024),
        value => write!(out, "{value}"),
    };
}

fn clone_flags(value: u64, out: &mut String) {
    let (signal, bits) = (value & 0xff, value & 0xffff_ff00);
    if bits != 0 {
        flags_of(bits, &flags::CLONE, out);
        if signal != 0 {
            out.push('|');
        }
    }
    if signal != 0 {
        signal_name(signal, out);
    } else if bits == 0 {
        out.push('0');
    }
}

fn futex(value: u64, out: &mut String) {
    let operation = value & 0x7f;
    match flags::FUTEX.name(operation) {
        Some(name) => {
            out.push_str(name);
            if value & 0x80 != 0 {
                out.push_str("_PRIVATE");
            }
            if value & 0x100 != 0 {
                out.push_str("|FUTEX_CLOCK_REALTIME");
            }
        }
        None => {
            hex(value & 0xffff_ffff, out);
            out.push_str(" /* FUTEX_??? */");
        }
    }
}

fn futex_op(value: u64, out: &mut String) {
    const OPS: [&str; 5] = ["SET", "ADD", "OR", "ANDN", "XOR"];
    const COMPARISONS: [&str; 6] = ["EQ", "NE", "LT", "LE", "GT", "GE"];
    let (op, comparison) = (value >> 28 & 7, value >> 24 & 15);
    if value >> 31 & 1 != 0 {
        out.push_str("FUTEX_OP_OPARG_SHIFT<<28|");
    }
    let _ = write!(
        out,
        "FUTEX_OP_{}<<28|",
        OPS.get(op as usize).unwrap_or(&"???")
    );
    hex(value >> 12 & 0xfff, out);
    let _ = write!(
        out,
        "<<12|FUTEX_OP_CMP_{}<<24|",
        COMPARISONS.get(comparison as usize).unwrap_or(&"???")
    );
    hex(value & 0xfff, out);
}

/// Codes of requests that have no name say how they were made.
fn request(value: u64, out: &mut String) {
    let value = value & 0xffff_ffff;
    if let Some(name) = flags::IOCTL.name(value) {
        // The sound timers share these numbers.
        let other = match value {
            0x5402 => "SNDCTL_TMR_START or ",
            0x5403 => "SNDCTL_TMR_STOP or ",
            0x5404 => "SNDCTL_TMR_CONTINUE or ",
            // The request of one file system became everybody's.
            0x4004_9409 => "BTRFS_IOC_CLONE or ",
            _ => "",
        };
        let name = if value == 0x4004_9409 {
            "FICLONE"
        } else {
            name
        };
        let _ = write!(out, "{other}{name}");
        return;
    }
    const WAYS: [&str; 4] = [
        "_IOC_NONE",
        "_IOC_WRITE",
        "_IOC_READ",
        "_IOC_READ|_IOC_WRITE",
    ];
    let _ = write!(out, "_IOC({}, ", WAYS[(value >> 30) as usize]);
    for (part, end) in [
        (value >> 8 & 0xff, ", "),
        (value & 0xff, ", "),
        (value >> 16 & 0x3fff, ")"),
    ] {
        let _ = write!(out, "{part:#x}{end}");
    }
}

impl Printer<'_> {
    /// Appends a number of this kind, as it was at that time.
    pub(crate) fn scalar(&mut self, when: When, kind: &Kind, value: u64) {
        let out = &mut *self.out;
        match kind {
            Kind::DirFd if value as i32 == CURRENT_DIRECTORY => {
                out.push_str("AT_FDCWD");
                self.descriptor(when, CURRENT_DIRECTORY);
            }
            Kind::Fd | Kind::DirFd => {
                decimal(value as i32, out);
                self.descriptor(when, value as i32);
            }
            Kind::Int => decimal(value as i32, out),
            Kind::Uint => decimal(value as u32, out),
            Kind::Long => decimal(value as i64, out),
            Kind::Ulong => decimal(value, out),
            Kind::Short => decimal(value as i16, out),
            Kind::Ushort => decimal(value as u16, out),
            Kind::Byte => decimal(value as u8, out),
            Kind::Id if value as u32 == u32::MAX => out.push_str("-1"),
            Kind::Id => decimal(value as u32, out),
            Kind::Hex => hex(value, out),
            Kind::Hex32 => hex(value & 0xffff_ffff, out),
            _ => self.named(kind, value),
        }
    }

    fn named(&mut self, kind: &Kind, value: u64) {
        let out = &mut *self.out;
        let narrow = value & 0xffff_ffff;
        match kind {
            Kind::Octal => octal(narrow, out),
            Kind::Mode => mode(narrow, out),
            Kind::Device => device(value, out),
            Kind::Signal => signal_name(value, out),
            Kind::Limit => limit(value, out),
            Kind::Enum(set) if std::ptr::eq(*set, &flags::IOCTL) => request(value, out),
            Kind::Flags(set) if std::ptr::eq(*set, &flags::FUTEX) => futex(value, out),
            Kind::Flags(set) => flags_of(narrow, set, out),
            Kind::Flags64(set) => flags_of(value, set, out),
            Kind::Flags16(set) => flags_of(value & 0xffff, set, out),
            Kind::Enum(set) if narrow == 0xffff_ffff && std::ptr::eq(*set, &flags::PERSONALITY) => {
                hex(narrow, out)
            }
            Kind::Enum(set) => one_of(narrow, set, out),
            Kind::Enum64(set) => one_of(value, set, out),
            Kind::Enum16(set) => one_of(value & 0xffff, set, out),
            Kind::Clone => clone_flags(value, out),
            Kind::Mask => crate::signals::set(value, out),
            Kind::Key if narrow == 0 => out.push_str("IPC_PRIVATE"),
            Kind::Key => hex(narrow, out),
            Kind::Ipc(set) => {
                if narrow & !0o777 != 0 {
                    flags_of(narrow & !0o777, set, out);
                    out.push('|');
                }
                octal(narrow & 0o777, out);
            }
            Kind::FutexOp => futex_op(narrow, out),
            Kind::Protocol => match self.call.args[0] {
                2 | 10 => one_of(narrow, &flags::IPPROTO, out),
                16 => one_of(narrow, &flags::NETLINK, out),
                17 => crate::net::ether(narrow, out),
                _ => {
                    let _ = write!(out, "{}", value as i32);
                }
            },
            _ => address(value, out),
        }
    }
}
