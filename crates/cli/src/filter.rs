//! Which calls are told, as far as it is known when they begin.

use std::path::{Path, PathBuf};

use hotpatch_decode::expression::CallSet;
use hotpatch_decode::{Kept, Memory, When};
use hotpatch_events::Record;
use hotpatch_names::{Kind, LINK, What, place, signature};

/// Bytes of a path at most.
const PATH: usize = 4096;

/// What has to be so of a call.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// It is one of these.
    pub calls: Option<CallSet>,
    /// It takes one of these descriptors; `true`: one of all others.
    pub descriptors: Option<(bool, Vec<i32>)>,
    /// It names one of these files, or a descriptor leads there; none: whatever it names.
    pub paths: Vec<Vec<u8>>,
    /// Signals that are not told, bit 0 for signal 1.
    pub no_signals: u64,
}

impl Filter {
    /// Whether the call's number decides alone.
    pub fn needs_numbers_alone(&self) -> bool {
        self.paths.is_empty() && self.descriptors.is_none()
    }

    /// Whether its number and arguments do.
    pub fn needs_no_memory(&self) -> bool {
        self.paths.is_empty()
    }

    /// Calls that name this file; what it leads to, if that has another name.
    pub fn add_path(&mut self, path: &Path) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let mut add = |path: &Path| self.paths.push(path.as_os_str().as_bytes().to_vec());
        add(path);
        let real = path.canonicalize().ok().filter(|real| real != path)?;
        add(&real);
        Some(real)
    }

    /// Whether a signal is told that comes with this.
    pub fn tells_signal(&self, info: &[u8; 128]) -> bool {
        let number = u32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        self.no_signals >> (number.wrapping_sub(1) & 63) & 1 == 0
    }

    /// Whether the call that begins with this is told.
    pub fn tells(&self, record: &Record, kept: &Kept) -> bool {
        self.calls.is_none_or(|calls| calls.has(record.number))
            && self.descriptors.as_ref().is_none_or(|(others, fds)| {
                let told = |fd: i32| fd >= 0 && fds.contains(&fd) != *others;
                named(record).any(told)
            })
            && (self.paths.is_empty() || self.names_path(record, kept))
    }

    fn names_path(&self, record: &Record, kept: &Kept) -> bool {
        let mut links = kept.iter().filter(|(_, at, _)| is_link(*at));
        if links.any(|(.., link)| self.paths.iter().any(|path| path == link)) {
            return true;
        }
        let signature = signature(record.number, &record.args);
        let arguments = signature.as_ref().map_or(&[][..], |s| s.arguments());
        arguments.iter().any(|argument| {
            let address = record.args.get(usize::from(argument.index)).copied();
            let Some(address) = address.filter(|_| matches!(argument.kind, Kind::In(What::Path)))
            else {
                return false;
            };
            let mut text = [0; PATH];
            let done = kept.read(When::Entry, address, &mut text);
            let text = &text[..done];
            let end = text.iter().position(|&byte| byte == 0);
            end.is_some_and(|end| self.paths.iter().any(|path| path == &text[..end]))
        })
    }
}

/// Descriptors among a call's arguments.
fn named(record: &Record) -> impl Iterator<Item = i32> {
    let (number, args) = (record.number, &record.args);
    hotpatch_names::descriptors(number, args, When::Entry, 0)
}

/// Whether what a descriptor leads to lies there. (Not the current directory: no call is about that alone.)
fn is_link(address: u64) -> bool {
    (place(LINK, 0)..place(LINK, i32::MAX)).contains(&address)
}
