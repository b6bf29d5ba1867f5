//! The symbols and relocations of a hook's file.

use hotpatch_abi::SYMBOL;

use crate::hook_file::{HookFile, Segment, bytes_at, u16_at, u32_at, u64_at};
use crate::hook_refused::Refused;

type Result<'a, T> = core::result::Result<T, Refused<'a>>;

/// A word that depends on where the file is mapped.
pub(crate) struct Word {
    pub(crate) at: u64,
    pub(crate) value: u64,
}

struct Symbol {
    name: u32,
    kind: u8,
    weak: bool,
    section: u16,
    value: u64,
}

impl<'a> HookFile<'a> {
    /// Visits the words that relocations make.
    pub(crate) fn each_word(&self, bias: u64, mut visit: impl FnMut(Word)) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its relocations");
        let d = &self.dynamic;
        for (table, len) in [d.rela, d.plt] {
            for n in 0..len / 24 {
                let at = table.checked_add(n * 24).ok_or(DAMAGED)?;
                let entry = self.from(at).ok_or(DAMAGED)?;
                let at = u64_at(entry, 0).ok_or(DAMAGED)?;
                let info = u64_at(entry, 8).ok_or(DAMAGED)?;
                let addend = u64_at(entry, 16).ok_or(DAMAGED)?;
                let kind = info as u32;
                let value = match kind {
                    NONE => continue,
                    RELATIVE => bias.wrapping_add(addend),
                    WORD => self
                        .resolve(info >> 32, bias, kind, at)?
                        .wrapping_add(addend),
                    GLOB_DAT | JUMP_SLOT => self.resolve(info >> 32, bias, kind, at)?,
                    _ => return Err(Refused::Relocation { kind, at }),
                };
                self.writable(at)?;
                visit(Word { at, value });
            }
        }
        self.each_relr(bias, visit)
    }

    /// DT_RELR: an address, then bitmaps of the 63 words behind it.
    fn each_relr(&self, bias: u64, mut visit: impl FnMut(Word)) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its packed relocations");
        let (table, len) = self.dynamic.relr;
        let mut next = 0u64;
        for n in 0..len / 8 {
            let entry = table
                .checked_add(n * 8)
                .and_then(|at| self.raw(at))
                .ok_or(DAMAGED)?;
            let (base, bitmap) = if entry & 1 == 0 {
                (entry, 1)
            } else {
                (next, entry >> 1)
            };
            for bit in (0..63).filter(|bit| bitmap >> bit & 1 != 0) {
                let at = base.checked_add(bit * 8).ok_or(DAMAGED)?;
                self.writable(at)?;
                let value = bias.wrapping_add(self.raw(at).ok_or(DAMAGED)?);
                visit(Word { at, value });
            }
            let words = if entry & 1 == 0 { 1 } else { 63 };
            next = base.checked_add(words * 8).ok_or(DAMAGED)?;
        }
        Ok(())
    }

    /// Whether a word that the file has can be changed.
    fn writable(&self, at: u64) -> Result<'a, ()> {
        let inside = |s: &Segment| {
            s.span.start <= at
                && at
                    .checked_add(8)
                    .is_some_and(|end| end <= s.span.start + s.file_len)
        };
        match self.segments.iter().find(|s| inside(s)) {
            Some(s) if s.writable => Ok(()),
            Some(_) => Err(Refused::TextRelocation { at }),
            None => Err(Refused::Damaged("a relocation outside of its segments")),
        }
    }

    /// The value of a symbol; 0 for a weak one that is not defined.
    fn resolve(&self, index: u64, bias: u64, kind: u32, at: u64) -> Result<'a, u64> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its symbols");
        if index == 0 {
            return Ok(0);
        }
        let symbol = self.symbol_at(index).ok_or(DAMAGED)?;
        match symbol.kind {
            IFUNC | THREAD_LOCAL => Err(Refused::Relocation { kind, at }),
            _ if symbol.section == ABSOLUTE => Ok(symbol.value),
            _ if symbol.section != 0 => Ok(bias.wrapping_add(symbol.value)),
            _ if symbol.weak => Ok(0),
            _ => Err(Refused::Undefined(
                self.symbol_name(&symbol).ok_or(DAMAGED)?,
            )),
        }
    }

    fn symbol_at(&self, index: u64) -> Option<Symbol> {
        let entry = self.from(self.dynamic.symbols.checked_add(index.checked_mul(24)?)?)?;
        let [info, _] = bytes_at(entry, 4)?;
        Some(Symbol {
            name: u32_at(entry, 0)?,
            kind: info & 15,
            weak: info >> 4 == 2,
            section: u16_at(entry, 6)?,
            value: u64_at(entry, 8)?,
        })
    }

    fn symbol_name(&self, symbol: &Symbol) -> Option<&'a [u8]> {
        self.text(self.dynamic.strings.checked_add(u64::from(symbol.name))?)
    }

    /// The address of [`SYMBOL`], through either hash table.
    pub(crate) fn find_symbol(&self) -> Result<'a, Option<u64>> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its symbol table");
        let d = &self.dynamic;
        let found = match (d.gnu_hash, d.hash) {
            (0, 0) => return Ok(None),
            (0, hash) => self.find_sysv(self.from(hash).ok_or(DAMAGED)?),
            (hash, _) => self.find_gnu(self.from(hash).ok_or(DAMAGED)?),
        };
        Ok(found
            .filter(|s| s.section != 0 && s.kind <= OBJECT)
            .map(|s| s.value))
    }

    fn is_hook(&self, index: u32) -> Option<Symbol> {
        let symbol = self.symbol_at(u64::from(index))?;
        (self.symbol_name(&symbol)? == SYMBOL.as_bytes()).then_some(symbol)
    }

    fn find_gnu(&self, table: &[u8]) -> Option<Symbol> {
        let hash = SYMBOL.bytes().fold(5381u32, |h, b| {
            h.wrapping_mul(33).wrapping_add(u32::from(b))
        });
        let (buckets, first) = (u32_at(table, 0)?, u32_at(table, 4)?);
        let heads = 16 + 8 * u64::from(u32_at(table, 8)?);
        let chains = heads + 4 * u64::from(buckets);
        let bucket = hash.checked_rem(buckets)?;
        let mut index = u32_at(table, heads + 4 * u64::from(bucket))?;
        loop {
            // An empty bucket is 0, below the first symbol of the table.
            let link = u32_at(table, chains + 4 * u64::from(index.checked_sub(first)?))?;
            if (link | 1) == (hash | 1)
                && let Some(symbol) = self.is_hook(index)
            {
                return Some(symbol);
            }
            if link & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
    }

    fn find_sysv(&self, table: &[u8]) -> Option<Symbol> {
        // As many symbols as there are chains; a hook has few, so the buckets are not worth their loop.
        (1..u32_at(table, 4)?.min(1 << 16)).find_map(|index| self.is_hook(index))
    }
}

// Kinds of relocations and symbols: the AMD64 supplement of the System V ABI.
const NONE: u32 = 0;
const WORD: u32 = 1;
const GLOB_DAT: u32 = 6;
const JUMP_SLOT: u32 = 7;
const RELATIVE: u32 = 8;
const OBJECT: u8 = 1;
const THREAD_LOCAL: u8 = 6;
const IFUNC: u8 = 10;
const ABSOLUTE: u16 = 0xfff1;
