//! Lines that are no calls: signals and ends.

use crate::number::signal_name;
use std::fmt::Write as _;

/// Appends `--- SIGCHLD {…} ---`.
pub fn signal(info: &[u8; 128], out: &mut String) {
    out.push_str("--- ");
    let number = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
    signal_name(u64::from(number), out);
    out.push(' ');
    crate::signals::siginfo(info, out);
    out.push_str(" ---");
}

/// Appends `--- stopped by SIGSTOP ---`.
pub fn stopped(signal: u32, out: &mut String) {
    out.push_str("--- stopped by ");
    signal_name(u64::from(signal), out);
    out.push_str(" ---");
}

/// Appends `+++ exited with 0 +++`.
pub fn exited(status: i32, out: &mut String) {
    let _ = write!(out, "+++ exited with {status} +++");
}

/// Appends `+++ killed by SIGKILL +++`.
pub fn killed(signal: u32, core: bool, out: &mut String) {
    out.push_str("+++ killed by ");
    signal_name(u64::from(signal), out);
    out.push_str(if core { " (core dumped) +++" } else { " +++" });
}
