//! Where calls come from, by name: the file, and the nearest symbol before that place.

use std::collections::HashMap;
use std::path::Path;

use crate::symbols::{Mapped, Symbols};

/// Processes and files that are remembered at most.
const MOST: usize = 1024;

/// Names places.
#[derive(Default)]
pub struct Sites {
    maps: HashMap<u32, Vec<Mapped>>,
    files: HashMap<String, Symbols>,
    /// What has been found, by process and address.
    known: HashMap<(u32, u64), String>,
}

impl Sites {
    /// A process has another program now.
    pub fn forget(&mut self, pid: u32) {
        self.maps.remove(&pid);
        self.known.retain(|(of, _), _| *of != pid);
    }

    /// The place at `address`, as `libc.so.6 read+0x11`; the address alone if nobody knows more.
    pub fn name(&mut self, pid: u32, address: u64) -> String {
        if let Some(name) = self.known.get(&(pid, address)) {
            return name.clone();
        }
        if self.known.len() > 64 * MOST {
            self.known.clear();
        }
        let name = self.find(pid, address);
        let name = name.unwrap_or_else(|| format!("{address:#x}"));
        self.known.insert((pid, address), name.clone());
        name
    }

    fn find(&mut self, pid: u32, address: u64) -> Option<String> {
        if self.maps.len() > MOST {
            self.maps.clear();
        }
        let holds = |all: &Vec<Mapped>| all.iter().find(|m| m.at.contains(&address)).cloned();
        let mut found = self.maps.get(&pid).and_then(holds);
        if found.is_none() {
            // It may have mapped more since then.
            let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
            let maps = maps.lines().filter_map(Mapped::of).collect();
            found = holds(&maps);
            self.maps.insert(pid, maps);
        }
        let Mapped { at, offset, path } = found?;
        let offset = address - at.start + offset;
        let file = path.rsplit('/').next().unwrap_or(&path);
        if self.files.len() > MOST {
            self.files.clear();
        }
        let symbols = self.files.entry(path.clone());
        let symbols = symbols.or_insert_with(|| Symbols::of(Path::new(&path)).unwrap_or_default());
        Some(match symbols.function_at(offset) {
            Some((name, 0)) => format!("{file} {name}"),
            Some((name, more)) => format!("{file} {name}+{more:#x}"),
            None => format!("{file}+{offset:#x}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_ours_is_found() {
        let at = a_function_of_ours_is_found as *const () as u64;
        let mut sites = Sites::default();
        let name = sites.name(std::process::id(), at + 3);
        assert!(
            name.contains("a_function_of_ours") && name.ends_with("+0x3"),
            "{name}"
        );
        assert_eq!(sites.name(std::process::id(), 0x10), "0x10");
    }
}
