//! Sets of signals, actions, and what comes with a signal.

use crate::When;
use crate::memory::word;
use crate::number::{address, flags_of, signal_name};
use crate::print::Printer;
use hotpatch_names::{flags, signal};
use std::fmt::Write as _;

/// Appends a set of signals; its complement where more than half of them are in it.
pub(crate) fn set(bits: u64, out: &mut String) {
    let inverted = bits.count_ones() > 42;
    out.push_str(if inverted { "~[" } else { "[" });
    let bits = if inverted { !bits } else { bits };
    let mut told = false;
    for number in (1..=64u32).filter(|number| bits >> (number - 1) & 1 != 0) {
        if told {
            out.push(' ');
        }
        told = true;
        let _ = match signal::name(number) {
            Some(name) => write!(out, "{name}"),
            None if number == 32 => write!(out, "RTMIN"),
            None => write!(out, "RT_{}", number - 32),
        };
    }
    out.push(']');
}

/// Appends a `siginfo_t`.
pub(crate) fn siginfo(info: &[u8; 128], out: &mut String) {
    let number = |at: usize| word(&info[at..at + 4]) as i32;
    let long = |at: usize| word(&info[at..at + 8]);
    let (signo, errno, code) = (number(0) as u32, number(4), number(8));
    if signo == 0 && code == 0 {
        out.push_str("{}");
        return;
    }
    out.push_str("{si_signo=");
    signal_name(u64::from(signo), out);
    out.push_str(", si_code=");
    let _ = match signal::code(signo, code) {
        Some(name) => write!(out, "{name}"),
        None => write!(out, "{code:#x}"),
    };
    if errno != 0 {
        let _ = match hotpatch_names::error(errno as u16) {
            Some((name, _)) => write!(out, ", si_errno={name}"),
            None => write!(out, ", si_errno={errno}"),
        };
    }
    let _ = match (code, signo) {
        (0x80, _) => Ok(()),
        (0 | -6, _) => write!(out, ", si_pid={}, si_uid={}", number(16), number(20)),
        (-2, _) => {
            out.push_str(", si_timerid=");
            hex(number(16) as u32, out);
            let _ = write!(out, ", si_overrun={}", number(20));
            value(info, out)
        }
        (..0, _) => {
            let _ = write!(out, ", si_pid={}, si_uid={}", number(16), number(20));
            value(info, out)
        }
        (_, 17) => {
            let _ = write!(
                out,
                ", si_pid={}, si_uid={}, si_status=",
                number(16),
                number(20)
            );
            if code == 1 {
                let _ = write!(out, "{}", number(24));
            } else {
                signal_name(number(24) as u64, out);
            }
            ticks("si_utime", long(32), out);
            ticks("si_stime", long(40), out);
            Ok(())
        }
        (_, 4 | 7 | 8 | 11) => {
            out.push_str(", si_addr=");
            address(long(16), out);
            Ok(())
        }
        (_, 29) => write!(out, ", si_band={}", long(16) as i64),
        (_, 31) => {
            out.push_str(", si_call_addr=");
            address(long(16), out);
            match hotpatch_names::row(number(24) as u64) {
                Some(row) => write!(
                    out,
                    ", si_syscall=__NR_{}, si_arch=AUDIT_ARCH_X86_64",
                    row.name
                ),
                None => write!(
                    out,
                    ", si_syscall={}, si_arch=AUDIT_ARCH_X86_64",
                    number(24)
                ),
            }
        }
        _ => Ok(()),
    };
    out.push('}');
}

/// As C's `%#x` has it.
fn hex(value: u32, out: &mut String) {
    let _ = match value {
        0 => write!(out, "0"),
        _ => write!(out, "{value:#x}"),
    };
}

fn value(info: &[u8; 128], out: &mut String) -> std::fmt::Result {
    let _ = write!(out, ", si_int={}, si_ptr=", word(&info[24..28]) as i32);
    address(word(&info[24..32]), out);
    Ok(())
}

fn ticks(name: &str, value: u64, out: &mut String) {
    let _ = write!(out, ", {name}={value}");
    if value != 0 {
        let _ = write!(out, " /* {}.{:02} s */", value / 100, value % 100);
    }
}

impl Printer<'_> {
    pub(crate) fn signals(&mut self, when: When, at: u64) {
        match self.exact::<8>(when, at) {
            Some(bytes) => set(u64::from_le_bytes(bytes), self.out),
            None => address(at, self.out),
        }
    }

    pub(crate) fn action(&mut self, when: When, at: u64) {
        let Some(action) = self.exact::<32>(when, at) else {
            address(at, self.out);
            return;
        };
        let [handler, bits, restorer, mask] = [0, 8, 16, 24].map(|at| word(&action[at..at + 8]));
        self.out.push_str("{sa_handler=");
        match handler {
            0 => self.out.push_str("SIG_DFL"),
            1 => self.out.push_str("SIG_IGN"),
            u64::MAX => self.out.push_str("SIG_ERR"),
            _ => address(handler, self.out),
        }
        self.out.push_str(", sa_mask=");
        set(mask, self.out);
        self.out.push_str(", sa_flags=");
        flags_of(bits, &flags::SIGACTION, self.out);
        if bits & 0x400_0000 != 0 {
            self.out.push_str(", sa_restorer=");
            address(restorer, self.out);
        }
        self.out.push('}');
    }
}
