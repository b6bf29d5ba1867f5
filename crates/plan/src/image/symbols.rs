//! Symbols: of `.symtab` in a file that has it, else those that the loader sees.

use alloc::vec::Vec;

use super::bytes::{half, name, part, u16_at, u32_at, word};
use super::relocs::{
    DT_FINI, DT_FINI_ARRAY, DT_FINI_ARRAYSZ, DT_GNU_HASH, DT_HASH, DT_INIT, DT_INIT_ARRAY,
    DT_INIT_ARRAYSZ, DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ, DT_STRSZ, DT_STRTAB, DT_SYMTAB,
    R_IRELATIVE,
};
use super::{Image, bytes};
use crate::addr::{Span, Va};

const ENTRY: usize = 24;
const STT_NOTYPE: u8 = 0;
const STT_FUNC: u8 = 2;
const STT_GNU_IFUNC: u8 = 10;
const SHN_UNDEF: u16 = 0;
const SHN_ABS: u16 = 0xfff1;

/// Symbol entries and the strings that name them.
#[derive(Clone, Copy, Debug)]
pub(super) struct SymbolTable<'a> {
    entries: &'a [u8],
    names: &'a [u8],
}

/// One entry of a symbol table.
pub(super) struct Entry {
    name: u32,
    kind: u8,
    pub(super) defined: bool,
    pub(super) value: Va,
    size: u64,
}

impl Entry {
    fn of(entry: &[u8]) -> Self {
        let section = u16_at(entry, 6).unwrap_or(SHN_UNDEF);
        Self {
            name: half(entry, 0),
            kind: entry.get(4).map_or(STT_NOTYPE, |info| info & 0xf),
            defined: section != SHN_UNDEF && section != SHN_ABS,
            value: Va(word(entry, 8)),
            size: word(entry, 16),
        }
    }

    fn is_function(&self) -> bool {
        self.defined && matches!(self.kind, STT_FUNC | STT_GNU_IFUNC)
    }

    /// Whether it may name a place in code: a function, or a label of an assembler that states no type.
    pub(super) fn may_be_code(&self) -> bool {
        self.defined && matches!(self.kind, STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE)
    }
}

impl<'a> SymbolTable<'a> {
    pub(super) fn new(entries: &'a [u8], names: &'a [u8]) -> Self {
        Self { entries, names }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Entry> + 'a {
        self.entries.chunks_exact(ENTRY).map(Entry::of)
    }

    pub(super) fn get(self, index: u32) -> Option<Entry> {
        let at = usize::try_from(index).ok()?.checked_mul(ENTRY)?;
        self.entries.get(at..)?.get(..ENTRY).map(Entry::of)
    }

    fn name(self, entry: &Entry) -> Option<&'a str> {
        core::str::from_utf8(name(self.names, entry.name)?)
            .ok()
            .filter(|name| !name.is_empty())
    }

    /// The value of the symbol named `wanted`.
    pub(super) fn value_of(self, wanted: &[u8]) -> Option<Va> {
        let mut defined = self.iter().filter(|entry| entry.defined);
        defined
            .find(|entry| bytes::is_named(self.names, entry.name, wanted))
            .map(|entry| entry.value)
    }
}

/// A place in code where a function begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Start {
    pub(super) at: Va,
    /// 0 where nobody states it.
    pub(super) size: u32,
    /// In the table of [`Symbols::table`]; [`UNNAMED`] for a start that no symbol names.
    index: u32,
}

const UNNAMED: u32 = u32::MAX;

/// All known starts of functions other than FDEs and Go's table.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    table: Option<SymbolTable<'a>>,
    /// In order of address, then size.
    pub(super) starts: Vec<Start>,
}

impl Symbols<'_> {
    /// How many starts lie at `at` or before it.
    pub(super) fn until(&self, at: Va) -> usize {
        self.starts.partition_point(|start| start.at <= at)
    }

    /// The smallest sized symbol around `at`, among the few that begin nearest before it.
    pub(super) fn around(&self, at: Va) -> Option<Span> {
        let before = self.starts.get(..self.until(at))?;
        let spans = before
            .iter()
            .rev()
            .take(16)
            .map(|s| Span::new(s.at, u64::from(s.size)));
        spans
            .filter(|span| span.contains(at))
            .min_by_key(|span| (span.len(), span.start))
    }
}

impl<'a> Image<'a> {
    /// The symbols the loader sees.
    pub(super) fn dynamic_symbols(&self) -> Option<SymbolTable<'a>> {
        self.headers.dynsym.or_else(|| {
            let entries = self.tail(self.unbiased(self.dynamic(DT_SYMTAB)?))?;
            let names = self.tail(self.unbiased(self.dynamic(DT_STRTAB)?))?;
            let names = part(names, 0, self.dynamic(DT_STRSZ)?).unwrap_or(names);
            let count = self
                .dynamic_symbol_count()
                .unwrap_or(0)
                .saturating_mul(ENTRY as u64);
            Some(SymbolTable::new(
                part(entries, 0, count).unwrap_or(entries),
                names,
            ))
        })
    }

    /// No tag states it: hash tables do, as the length of the chains they lead through.
    fn dynamic_symbol_count(&self) -> Option<u64> {
        if let Some(hash) = self.dynamic(DT_HASH) {
            return u32_at(self.tail(self.unbiased(hash))?, 4).map(u64::from);
        }
        let hash = self.tail(self.unbiased(self.dynamic(DT_GNU_HASH)?))?;
        let (buckets, first, bloom) = (u32_at(hash, 0)?, u32_at(hash, 4)?, u32_at(hash, 8)?);
        let rest =
            hash.get(16_usize.checked_add(usize::try_from(bloom).ok()?.checked_mul(8)?)?..)?;
        let (buckets, chains) =
            rest.split_at_checked(usize::try_from(buckets).ok()?.checked_mul(4)?)?;
        let last = buckets
            .chunks_exact(4)
            .map(|bucket| half(bucket, 0))
            .max()
            .unwrap_or(0);
        let Some(skipped) = last.checked_sub(first) else {
            return Some(u64::from(first));
        };
        let chain = chains.chunks_exact(4).skip(usize::try_from(skipped).ok()?);
        // the lowest bit ends a chain
        let more = chain.take_while(|link| half(link, 0) & 1 == 0).count() as u64;
        Some(u64::from(last) + more + 1)
    }

    pub(super) fn symbols(&self) -> &Symbols<'a> {
        self.symbols.get_or_init(|| {
            // a linker's .symtab holds the functions of .dynsym too
            let table = self.headers.symtab.or_else(|| self.dynamic_symbols());
            let mut starts = Vec::new();
            for (index, entry) in table.into_iter().flat_map(SymbolTable::iter).enumerate() {
                if entry.is_function() && self.is_code(entry.value) {
                    let size = u32::try_from(entry.size).unwrap_or(0);
                    starts.push(Start {
                        at: entry.value,
                        size,
                        index: u32::try_from(index).unwrap_or(UNNAMED),
                    });
                }
            }
            self.each_unnamed_start(&mut |at| {
                if self.is_code(at) {
                    starts.push(Start {
                        at,
                        size: 0,
                        index: UNNAMED,
                    });
                }
            });
            starts.sort_unstable();
            Symbols { table, starts }
        })
    }

    /// What the loader calls without a name.
    fn each_unnamed_start(&self, found: &mut dyn FnMut(Va)) {
        found(self.entry());
        for tag in [DT_INIT, DT_FINI] {
            self.dynamic(tag)
                .into_iter()
                .for_each(|value| found(self.unbiased(value)));
        }
        let arrays = [
            (DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ),
            (DT_INIT_ARRAY, DT_INIT_ARRAYSZ),
            (DT_FINI_ARRAY, DT_FINI_ARRAYSZ),
        ]
        .map(|(start, len)| self.table(start, len));
        for array in arrays.iter().flatten() {
            let words = self.bytes(*array).unwrap_or(&[]).chunks_exact(8);
            words.for_each(|entry| found(self.unbiased(word(entry, 0))));
        }
        self.relocations(&mut |relocation| {
            if relocation.kind == R_IRELATIVE
                || arrays
                    .iter()
                    .flatten()
                    .any(|array| array.contains(relocation.at))
            {
                relocation.target.into_iter().for_each(&mut *found);
            }
        });
    }

    /// The function symbol that `at` belongs to and the distance from it in bytes: one whose size covers
    /// `at`, or the nearest before it if that states no size. Of several names the one with the fewest
    /// leading underscores.
    #[must_use]
    pub fn symbol_at(&self, at: Va) -> Option<(&'a str, u64)> {
        let symbols = self.symbols();
        let before = symbols.starts.get(..symbols.until(at))?;
        let named = before
            .iter()
            .rev()
            .filter(|start| start.index != UNNAMED)
            .take(16);
        let nearest = named.clone().next().map(|start| start.at);
        let covers = |s: &&Start| match s.size {
            0 => Some(s.at) == nearest && self.code_at(s.at) == self.code_at(at),
            size => at - s.at.0 < Va(u64::from(size)),
        };
        let names = named.filter(covers).filter_map(|s| {
            let table = symbols.table?;
            Some((table.name(&table.get(s.index)?)?, (at - s.at.0).0))
        });
        let underscores = |name: &str| name.bytes().take_while(|&b| b == b'_').count();
        names
            .min_by_key(|&(name, offset)| (offset, underscores(name), name))
            .or_else(|| self.pclntab()?.name_at(at))
    }
}
