//! Results, and what some calls tell behind theirs.

use crate::When;
use crate::number::{decimal, flags_of, hex, one_of};
use crate::print::Printer;
use crate::time::date;
use hotpatch_names::structs as st;
use hotpatch_names::{Answer, error, flags, restart};
use std::fmt::Write as _;

impl Printer<'_> {
    pub(crate) fn result(&mut self, answer: Answer) {
        let Some(result) = self.call.result else {
            self.out.push('?');
            return;
        };
        if let Some(number) = self.error() {
            let _ = match (error(number), restart(number)) {
                (Some((name, sentence)), _) => write!(self.out, "-1 {name} ({sentence})"),
                (None, Some((name, sentence))) => write!(self.out, "? {name} ({sentence})"),
                (None, None) => write!(self.out, "-1 (errno {number})"),
            };
            return;
        }
        if self.style.raw && answer != Answer::Never {
            hex_result(result, self.out);
            return;
        }
        match answer {
            Answer::Never => self.out.push('?'),
            Answer::Hex => hex_result(result, self.out),
            Answer::Octal => crate::number::octal(result, self.out),
            Answer::Fd => {
                decimal(result, self.out);
                self.descriptor(When::Exit, result as i32);
            }
            Answer::Number => decimal(result as i64, self.out),
        }
        self.remark(result);
    }

    fn remark(&mut self, result: u64) {
        match (
            self.call.number,
            self.call.args[0],
            self.call.args[1] & 0xffff_ffff,
        ) {
            (7 | 271, ..) => self.polled(result),
            (23 | 270, ..) => self.selected(result),
            (72, _, 1) if result != 0 => self.named_flags("flags", result, &flags::FD_FLAGS),
            (72, _, 3) => self.named_flags("flags", result, &flags::OPEN),
            (72, _, 0x40a) if result != 0 => self.named_flags("seals", result, &flags::SEALS),
            (145, ..) => self.named_value(result, &flags::SCHED),
            (159 | 305, ..) => self.named_value(result, &flags::CLOCK_STATE),
            (135, ..) => self.named_value(result, &flags::PERSONALITY),
            (201, ..) => {
                self.out.push_str(" (");
                date(result as i64, None, self.out);
                self.out.push(')');
            }
            (157, 3, _) => {
                let name =
                    ["SUID_DUMP_DISABLE", "SUID_DUMP_USER", "SUID_DUMP_ROOT"].get(result as usize);
                let _ = name.map(|name| write!(self.out, " ({name})"));
            }
            (324, 0, _) if result != 0 => {
                let at = self.out.len() - result.to_string().len();
                self.out.truncate(at);
                hex(result, self.out);
                self.out.push_str(" (");
                flags_of(result, &flags::MEMBARRIER, self.out);
                self.out.push(')');
            }
            _ => {}
        }
    }

    fn named_flags(&mut self, label: &str, value: u64, set: &flags::Set) {
        let _ = write!(self.out, " ({label} ");
        flags_of(value, set, self.out);
        self.out.push(')');
    }

    fn named_value(&mut self, value: u64, set: &flags::Set) {
        self.out.push_str(" (");
        one_of(value, set, self.out);
        self.out.push(')');
    }

    fn polled(&mut self, result: u64) {
        if result == 0 {
            self.out.push_str(" (Timeout)");
            return;
        }
        let [fds, count, timeout, ..] = self.call.args;
        let count = (count as u32 as usize).min(self.style.text + 1);
        let bytes = self.bytes(When::Exit, fds, count * 8);
        self.out.push_str(" ([");
        let mut told = 0;
        for fd in bytes.as_chunks::<8>().0 {
            let revents = u16::from_le_bytes([fd[6], fd[7]]);
            if revents == 0 {
                continue;
            }
            if told == self.style.text {
                break;
            }
            if told > 0 {
                self.out.push_str(", ");
            }
            told += 1;
            let number = i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]]);
            let _ = write!(self.out, "{{fd={number}");
            self.descriptor(When::Exit, number);
            self.out.push_str(", revents=");
            flags_of(u64::from(revents), &flags::POLL, self.out);
            self.out.push('}');
        }
        if result > told as u64 {
            self.out.push_str(", ...");
        }
        self.out.push(']');
        if self.call.number == 271 && timeout != 0 {
            self.out.push_str(", left ");
            self.structure(When::Exit, &st::TIMESPEC, timeout);
        }
        self.out.push(')');
    }

    fn selected(&mut self, result: u64) {
        if result == 0 {
            self.out.push_str(" (Timeout)");
            return;
        }
        let args = self.call.args;
        let mut told = false;
        let separate = |told: &mut bool, out: &mut String| {
            out.push_str(if *told { ", " } else { " (" });
            *told = true;
        };
        for (label, set) in ["in ", "out ", "except "]
            .into_iter()
            .zip([args[1], args[2], args[3]])
        {
            let bytes = self.bytes(
                When::Exit,
                set,
                (args[0] as u32 as usize).min(1 << 16).div_ceil(64) * 8,
            );
            if bytes.iter().all(|byte| *byte == 0) {
                continue;
            }
            separate(&mut told, self.out);
            self.out.push_str(label);
            self.bits(&bytes, args[0] as usize, None);
        }
        if args[4] != 0 {
            separate(&mut told, self.out);
            self.out.push_str("left ");
            let of = if self.call.number == 23 {
                &st::TIMEVAL
            } else {
                &st::TIMESPEC
            };
            self.structure(When::Exit, of, args[4]);
        }
        if told {
            self.out.push(')');
        }
    }
}

fn hex_result(value: u64, out: &mut String) {
    if value == 0 {
        out.push('0');
    } else {
        let _ = write!(out, "{value:#x}");
    }
}
