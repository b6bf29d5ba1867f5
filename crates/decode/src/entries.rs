//! Entries of directories.

use crate::When;
use crate::memory::word;
use crate::number::{address, one_of};
use crate::print::Printer;
use crate::text::quote;
use hotpatch_names::flags;
use std::fmt::Write as _;

impl Printer<'_> {
    /// `linux_dirent64`s: how many there are, or all.
    pub(crate) fn entries(&mut self, at: u64) {
        let filled = self.call.result.unwrap_or(0).min(1 << 20) as usize;
        let bytes = self.bytes(When::Exit, at, filled);
        let mut entries = Vec::new();
        let mut rest = &bytes[..];
        // struct linux_dirent64: inode, offset, length, type, name.
        while let Some(head) = rest.get(..19) {
            let length = word(&head[16..18]) as usize;
            let Some(entry) = rest.get(..length).filter(|_| length >= 19) else {
                break;
            };
            entries.push(entry);
            rest = &rest[length..];
        }
        if !self.style.verbose {
            address(at, self.out);
            let (count, end) = (entries.len(), if entries.len() == 1 { "y" } else { "ies" });
            let _ = write!(self.out, " /* {count} entr{end} */");
            return;
        }
        self.out.push('[');
        for (index, entry) in entries.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let [inode, offset, length] = [&entry[..8], &entry[8..16], &entry[16..18]].map(word);
            let _ = write!(
                self.out,
                "{comma}{{d_ino={inode}, d_off={}, d_reclen={length}, d_type=",
                offset as i64
            );
            one_of(word(&entry[18..19]), &flags::ENTRY_TYPE, self.out);
            self.out.push_str(", d_name=");
            let name = entry[19..].split(|byte| *byte == 0).next().unwrap_or(&[]);
            quote(name, self.style.escapes, self.out);
            self.out.push('}');
        }
        // There was no room to keep more.
        if bytes.len() < filled {
            self.out.push_str(", ...");
        }
        self.out.push(']');
    }
}
