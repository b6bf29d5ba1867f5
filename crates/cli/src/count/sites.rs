//! Where calls come from, by name: the file, and the nearest symbol before that place.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use object::LittleEndian as LE;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};

/// Processes and files that are remembered at most.
const MOST: usize = 1024;

/// A file that is mapped: where, from which offset on, and its path.
#[derive(Clone, Debug)]
struct Mapped {
    at: Range<u64>,
    offset: u64,
    path: String,
}

/// Names places.
#[derive(Default)]
pub struct Sites {
    maps: HashMap<u32, Vec<Mapped>>,
    files: HashMap<String, Symbols>,
    /// What has been found, by process and address.
    known: HashMap<(u32, u64), String>,
}

/// A file's symbols, by address.
#[derive(Default)]
struct Symbols {
    /// Where parts of the file are mapped, relative to each other: offset, length, address.
    segments: Vec<(u64, u64, u64)>,
    /// Address, length and name of each function.
    functions: Vec<(u64, u64, String)>,
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
            let maps = maps.lines().filter_map(mapped).collect();
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
        Some(match symbols.at(offset) {
            Some((name, 0)) => format!("{file} {name}"),
            Some((name, more)) => format!("{file} {name}+{more:#x}"),
            None => format!("{file}+{offset:#x}"),
        })
    }
}

/// A line of `/proc/PID/maps`, if code is mapped there.
fn mapped(line: &str) -> Option<Mapped> {
    let mut words = line.splitn(6, ' ');
    let (from, to) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let at = number(from)?..number(to)?;
    let executable = words.next()?.contains('x');
    let offset = number(words.next()?)?;
    let path = words.nth(2)?.trim_start().to_owned();
    (executable && !path.is_empty()).then_some(Mapped { at, offset, path })
}

impl Symbols {
    fn of(path: &Path) -> Option<Self> {
        let file = std::fs::File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        // SAFETY: who changes a program's file while it runs gets wrong names here, at worst an end by SIGBUS.
        let bytes = unsafe { Mmap::map(&file) }.ok()?;
        let elf = ElfFile64::<LE>::parse(&*bytes).ok()?;
        let segments = elf.segments().map(|segment| {
            let (offset, length) = segment.file_range();
            (offset, length, segment.address())
        });
        let symbols = elf.symbols().chain(elf.dynamic_symbols());
        let functions = symbols.filter(|symbol| {
            symbol.kind() == SymbolKind::Text && !symbol.is_undefined() && symbol.address() != 0
        });
        let mut functions: Vec<(u64, u64, String)> = functions
            .filter_map(|f| Some((f.address(), f.size(), f.name().ok()?.to_owned())))
            .collect();
        // Of several names the shortest, which is mostly the one that is known.
        functions.sort_by(|a, b| (a.0, a.2.len(), &a.2).cmp(&(b.0, b.2.len(), &b.2)));
        functions.dedup_by_key(|function| function.0);
        Some(Self {
            segments: segments.collect(),
            functions,
        })
    }

    /// The function at that offset of the file, and how far behind its beginning.
    fn at(&self, offset: u64) -> Option<(&str, u64)> {
        let holds =
            |&&(from, length, _): &&(u64, u64, u64)| (from..from + length).contains(&offset);
        let (from, _, address) = *self.segments.iter().find(holds)?;
        let address = offset - from + address;
        let behind = self.functions.partition_point(|f| f.0 <= address);
        let (begin, length, name) = self.functions.get(behind.checked_sub(1)?)?;
        let more = address - begin;
        (more < *length || *length == 0).then_some((name.as_str(), more))
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
