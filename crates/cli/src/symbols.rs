//! Files that are mapped, and the functions in them.

use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use object::LittleEndian as LE;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};

/// Code of a file that is mapped.
#[derive(Clone, Debug)]
pub struct Mapped {
    /// Where.
    pub at: Range<u64>,
    /// From which offset of the file on.
    pub offset: u64,
    /// The file.
    pub path: String,
}

/// A file's symbols, by address.
#[derive(Default)]
pub struct Symbols {
    /// Where parts of the file are mapped, relative to each other: offset, length, address.
    segments: Vec<(u64, u64, u64)>,
    /// Address, length and name of each function.
    functions: Vec<(u64, u64, String)>,
}

impl Mapped {
    /// A line of `/proc/PID/maps`, if code is mapped there.
    pub fn of(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (from, to) = words.next()?.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let at = number(from)?..number(to)?;
        let executable = words.next()?.contains('x');
        let offset = number(words.next()?)?;
        let path = words.nth(2)?.trim_start().to_owned();
        (executable && !path.is_empty()).then_some(Self { at, offset, path })
    }
}

impl Symbols {
    /// Those of the file.
    pub fn of(path: &Path) -> Option<Self> {
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

    /// The address that the file gives to that offset.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let holds = |&&(from, length, _): &&(u64, u64, u64)| {
            (from..from.saturating_add(length)).contains(&offset)
        };
        let (from, _, address) = *self.segments.iter().find(holds)?;
        Some((offset - from).wrapping_add(address))
    }

    /// The function at that offset of the file, and how far behind its beginning.
    pub fn function_at(&self, offset: u64) -> Option<(&str, u64)> {
        let (name, length, more) = self.before(offset)?;
        (more < length || length == 0).then_some((name, more))
    }

    /// The last function that begins at or before that offset, and how far before.
    pub fn function_before(&self, offset: u64) -> Option<(&str, u64)> {
        self.before(offset).map(|(name, _, more)| (name, more))
    }

    fn before(&self, offset: u64) -> Option<(&str, u64, u64)> {
        let address = self.address(offset)?;
        let behind = self.functions.partition_point(|f| f.0 <= address);
        let (begin, length, name) = self.functions.get(behind.checked_sub(1)?)?;
        Some((name, *length, address - begin))
    }
}
