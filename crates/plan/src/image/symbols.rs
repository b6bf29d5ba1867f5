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
const STT_OBJECT: u8 = 1;
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
    fn of(entry: &[u8; ENTRY]) -> Self {
        let section = u16_at(entry, 6).unwrap_or(SHN_UNDEF);
        Self {
            name: half(entry, 0),
            kind: entry[4] & 0xf,
            defined: section != SHN_UNDEF && section != SHN_ABS,
            value: Va(word(entry, 8)),
            size: word(entry, 16),
        }
    }

    fn is_function(&self) -> bool {
        self.defined && matches!(self.kind, STT_FUNC | STT_GNU_IFUNC)
    }

    /// The bytes of a table or another thing that is no code.
    fn data(&self) -> Option<Span> {
        let is_data = self.defined && self.kind == STT_OBJECT && self.size > 0;
        is_data.then(|| Span {
            start: self.value,
            end: Va(self.value.0.saturating_add(self.size)),
        })
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
        self.entries.as_chunks().0.iter().map(Entry::of)
    }

    pub(super) fn get(self, index: u32) -> Option<Entry> {
        self.entries
            .as_chunks()
            .0
            .get(usize::try_from(index).ok()?)
            .map(Entry::of)
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

/// All known starts of functions other than FDEs and Go's table.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    table: Option<SymbolTable<'a>>,
    /// What `keys` count from.
    base: Va,
    /// Ascending. The high half is a start's distance from `base`, the low half its index in `table`, or
    /// [`UNNAMED`]: plain words sort twice as fast as records, and this happens while a program starts.
    keys: Vec<u64>,
    /// What symbols call data although it lies in code; hand-written assembly has such tables. Ascending.
    data: Vec<Span>,
}

/// The index of a start that no symbol names.
const UNNAMED: u32 = u32::MAX;

/// A function's start.
#[derive(Clone, Copy)]
struct Start {
    at: Va,
    /// 0 where nobody states it.
    size: u64,
    symbol: Option<u32>,
}

impl<'a> Symbols<'a> {
    fn push(&mut self, at: Va, index: u32) {
        // code more than 4 GB long cannot call itself; nobody looks for functions there
        if let Ok(distance) = u32::try_from((at - self.base.0).0) {
            self.keys.push(u64::from(distance) << 32 | u64::from(index));
        }
    }

    /// How many starts lie at `at` or before it.
    fn until(&self, at: Va) -> usize {
        match at.0.checked_sub(self.base.0) {
            Some(distance) => self.keys.partition_point(|&key| key >> 32 <= distance),
            None => 0,
        }
    }

    fn at(&self, key: u64) -> Va {
        self.base + (key >> 32)
    }

    /// Starts at `at` or before it, the nearest first; sixteen are enough to see past nested ones.
    fn before(&self, at: Va) -> impl Iterator<Item = Start> + '_ {
        let before = self.keys.get(..self.until(at)).unwrap_or(&[]);
        before.iter().rev().take(16).map(|&key| {
            let symbol = Some(key as u32).filter(|&index| index != UNNAMED);
            let entry = symbol.and_then(|index| self.table?.get(index));
            Start {
                at: self.at(key),
                size: entry.map_or(0, |entry| entry.size),
                symbol,
            }
        })
    }

    /// The smallest sized symbol around `at`.
    pub(super) fn around(&self, at: Va) -> Option<Span> {
        let spans = self.before(at).map(|s| Span {
            start: s.at,
            end: Va(s.at.0.saturating_add(s.size)),
        });
        spans
            .filter(|span| span.contains(at))
            .min_by_key(|span| (span.len(), span.start))
    }

    /// Whether one of them is `at`.
    pub(super) fn contains(&self, at: Va) -> bool {
        self.until(at)
            .checked_sub(1)
            .and_then(|last| self.keys.get(last))
            .is_some_and(|&key| self.at(key) == at)
    }

    /// The first after `after`.
    pub(super) fn next(&self, after: Va) -> Option<Va> {
        self.keys.get(self.until(after)).map(|&key| self.at(key))
    }

    fn name(&self, start: &Start) -> Option<&'a str> {
        let table = self.table?;
        table.name(&table.get(start.symbol?)?)
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
            let base = self.code.first().map_or(Va(0), |first| first.start);
            let count = table.map_or(0, |table| table.entries.len() / ENTRY);
            let mut symbols = Symbols {
                table,
                base,
                keys: Vec::with_capacity(count),
                data: Vec::new(),
            };
            for (index, entry) in (0_u32..).zip(table.into_iter().flat_map(SymbolTable::iter)) {
                if entry.is_function() && self.is_code(entry.value) {
                    symbols.push(entry.value, index);
                } else if let Some(data) = entry.data().filter(|data| self.is_code(data.start)) {
                    symbols.data.push(data);
                }
            }
            self.each_unnamed_start(&mut |at| {
                if self.is_code(at) {
                    symbols.push(at, UNNAMED);
                }
            });
            symbols.keys.sort_unstable();
            symbols.data.sort_unstable();
            symbols
        })
    }

    /// Whether a symbol calls the byte at `at` data.
    #[must_use]
    pub fn is_data(&self, at: Va) -> bool {
        let data = &self.symbols().data;
        let before = data.partition_point(|span| span.start <= at);
        before.checked_sub(1).is_some_and(|i| data[i].contains(at))
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
        let named = || symbols.before(at).filter(|start| start.symbol.is_some());
        let nearest = named().next().map(|start| start.at);
        let covers = |s: &Start| match s.size {
            0 => Some(s.at) == nearest && self.code_at(s.at) == self.code_at(at),
            size => (at - s.at.0).0 < size,
        };
        let names = named()
            .filter(covers)
            .filter_map(|s| Some((symbols.name(&s)?, (at - s.at.0).0)));
        let underscores = |name: &str| name.bytes().take_while(|&b| b == b'_').count();
        names
            .min_by_key(|&(name, offset)| (offset, underscores(name), name))
            .or_else(|| self.pclntab()?.name_at(at))
    }
}
