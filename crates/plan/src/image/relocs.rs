//! What the loader writes: relocations, and through them the places that point into code.

use alloc::vec::Vec;

use super::bytes::{half, u64_at, word};
use super::{Image, Restartable, bytes};
use crate::addr::{Span, Va};

pub(super) const DT_HASH: u64 = 4;
pub(super) const DT_STRTAB: u64 = 5;
pub(super) const DT_SYMTAB: u64 = 6;
pub(super) const DT_STRSZ: u64 = 10;
pub(super) const DT_INIT: u64 = 12;
pub(super) const DT_FINI: u64 = 13;
pub(super) const DT_INIT_ARRAY: u64 = 25;
pub(super) const DT_FINI_ARRAY: u64 = 26;
pub(super) const DT_INIT_ARRAYSZ: u64 = 27;
pub(super) const DT_FINI_ARRAYSZ: u64 = 28;
pub(super) const DT_PREINIT_ARRAY: u64 = 32;
pub(super) const DT_PREINIT_ARRAYSZ: u64 = 33;
pub(super) const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_NULL: u64 = 0;
const DT_PLTRELSZ: u64 = 2;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_TEXTREL: u64 = 22;
const DT_JMPREL: u64 = 23;
const DT_FLAGS: u64 = 30;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DF_TEXTREL: u64 = 4;

const R_64: u32 = 1;
const R_PC32: u32 = 2;
const R_COPY: u32 = 5;
const R_GLOB_DAT: u32 = 6;
const R_JUMP_SLOT: u32 = 7;
const R_RELATIVE: u32 = 8;
const R_32: u32 = 10;
const R_32S: u32 = 11;
const R_PC64: u32 = 24;
const R_TLSDESC: u32 = 36;
pub(super) const R_IRELATIVE: u32 = 37;
const R_RELATIVE64: u32 = 38;
const RELA: usize = 24;

/// One word that the loader writes.
pub(super) struct Relocation {
    pub(super) at: Va,
    pub(super) kind: u32,
    /// The address it makes the word point to, where that lies in this image.
    pub(super) target: Option<Va>,
}

impl Relocation {
    /// What it writes over.
    fn span(&self) -> Span {
        let len = match self.kind {
            R_PC32 | R_32 | R_32S => 4,
            // two words; and a copied object's size is not looked up: it never lies in code
            R_TLSDESC | R_COPY => 16,
            _ => 8,
        };
        Span::new(self.at, len)
    }
}

impl Image<'_> {
    /// The value of a dynamic tag.
    pub(super) fn dynamic(&self, wanted: u64) -> Option<u64> {
        let entries = self.bytes(self.headers.dynamic?)?.chunks_exact(16);
        let mut entries = entries.take_while(|entry| word(entry, 0) != DT_NULL);
        entries
            .find(|entry| word(entry, 0) == wanted)
            .map(|entry| word(entry, 8))
    }

    /// The bytes of a table whose start and length two dynamic tags state.
    pub(super) fn table(&self, start: u64, len: u64) -> Option<Span> {
        let start = self.unbiased(self.dynamic(start)?);
        Some(Span::new(
            start,
            self.dynamic(len)?.min(self.tail(start)?.len() as u64),
        ))
    }

    /// The address in the image's own terms that a stored pointer means, relocated or not.
    pub(super) fn unbiased(&self, pointer: u64) -> Va {
        let span = self.span();
        let moved_back = Va(pointer.wrapping_sub(self.headers.bias));
        if !span.contains(Va(pointer)) && span.contains(moved_back) {
            moved_back
        } else {
            Va(pointer)
        }
    }

    /// The 8-byte word stored at `at`.
    pub(super) fn word_at(&self, at: Va) -> Option<u64> {
        u64_at(self.tail(at)?, 0)
    }

    /// Every dynamic relocation.
    pub(super) fn relocations(&self, found: &mut dyn FnMut(Relocation)) {
        if self.headers.dynamic.is_some() {
            for table in [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)] {
                self.table(table.0, table.1)
                    .into_iter()
                    .for_each(|span| self.read_rela(span, found));
            }
            self.table(DT_RELR, DT_RELRSZ)
                .into_iter()
                .for_each(|span| self.read_relr(span, found));
        } else {
            self.headers
                .rela
                .iter()
                .for_each(|&span| self.read_rela(span, found));
        }
    }

    fn read_rela(&self, table: Span, found: &mut dyn FnMut(Relocation)) {
        let symbols = self.dynamic_symbols();
        for entry in self.bytes(table).unwrap_or(&[]).as_chunks::<RELA>().0 {
            let (at, kind, symbol) = (Va(word(entry, 0)), half(entry, 8), half(entry, 12));
            let addend = word(entry, 16);
            let defined = || symbols?.get(symbol).filter(|s| s.defined).map(|s| s.value);
            let target = match kind {
                R_RELATIVE | R_RELATIVE64 | R_IRELATIVE => Some(Va(addend)),
                R_64 | R_32 | R_32S | R_PC32 | R_PC64 => defined().map(|value| value + addend),
                R_GLOB_DAT | R_JUMP_SLOT => defined(),
                _ => None,
            };
            found(Relocation { at, kind, target });
        }
    }

    /// Relative relocations in the packed form: an even word is an address, an odd one a bitmap of the
    /// 63 words after the last address (gABI, "Relative Relocation Table").
    fn read_relr(&self, table: Span, found: &mut dyn FnMut(Relocation)) {
        let mut next = Va(0);
        let mut one = |at| {
            let target = self.word_at(at).map(|pointer| self.unbiased(pointer));
            found(Relocation {
                at,
                kind: R_RELATIVE,
                target,
            });
        };
        for entry in self
            .bytes(table)
            .unwrap_or(&[])
            .chunks_exact(8)
            .map(|entry| word(entry, 0))
        {
            if entry & 1 == 0 {
                one(Va(entry));
                next = Va(entry) + 8;
            } else {
                let mut bits = entry >> 1;
                while bits != 0 {
                    one(next + u64::from(bits.trailing_zeros()) * 8);
                    bits &= bits - 1;
                }
                next = next + 63 * 8;
            }
        }
    }

    /// Every place outside the code that is known to hold or to stand for an address in code: `found(to, from)`.
    ///
    /// Relocations of all kinds, the entry, exported symbols (`from` is then the symbol's own address), and in
    /// an image that cannot be moved every aligned 8-byte word that lies in code, since there the linker left
    /// no trace of where it put addresses. In no order, and some more than once.
    pub fn code_pointers(&self, found: &mut dyn FnMut(Va, Va)) {
        let mut found = |to: Va, from| {
            if self.is_code(to) {
                found(to, from);
            }
        };
        found(self.entry(), self.entry());
        for tag in [DT_INIT, DT_FINI] {
            self.dynamic(tag)
                .into_iter()
                .map(|value| self.unbiased(value))
                .for_each(|at| found(at, at));
        }
        for symbol in self
            .dynamic_symbols()
            .into_iter()
            .flat_map(super::symbols::SymbolTable::iter)
        {
            if symbol.may_be_code() {
                found(symbol.value, symbol.value);
            }
        }
        self.relocations(&mut |relocation| {
            relocation
                .target
                .into_iter()
                .for_each(|to| found(to, relocation.at));
        });
        if !self.relocatable {
            self.scan_words(&mut found);
        }
        for sequence in self.restartable() {
            found(sequence.abort, sequence.abort);
        }
    }

    /// Aligned words of all that is not known to be code.
    fn scan_words(&self, found: &mut dyn FnMut(Va, Va)) {
        let (Some(first), Some(last)) = (self.code.first(), self.code.last()) else {
            return;
        };
        let mut scan = |span: Span| {
            let start = span.start.0.next_multiple_of(8);
            let Some(len) = span.end.0.checked_sub(start) else {
                return;
            };
            let bytes = self.bytes(Span::new(Va(start), len)).unwrap_or(&[]);
            for (index, bytes) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let value = u64::from_le_bytes(*bytes);
                if value.wrapping_sub(first.start.0) < last.end.0 - first.start.0 {
                    found(Va(value), Va(start + index as u64 * 8));
                }
            }
        };
        for segment in &self.segments {
            let mut rest = segment.stored();
            if segment.executable && self.headers.sections {
                let first = self
                    .code
                    .partition_point(|code| code.start < segment.span.start);
                let inside = self.code.iter().skip(first);
                for code in inside.take_while(|code| code.start < segment.span.end) {
                    scan(Span {
                        start: rest.start,
                        end: code.start,
                    });
                    rest.start = code.end;
                }
            }
            scan(rest);
        }
    }

    /// The first byte of `span` that a dynamic relocation writes: such bytes differ between file and memory,
    /// and may be written again.
    #[must_use]
    pub fn text_relocated(&self, span: Span) -> Option<Va> {
        let written = self
            .text_relocations
            .get_or_init(|| self.read_text_relocations());
        let after = written.partition_point(|w| w.start < span.end);
        // none is longer than 16 bytes, so few can reach here from before
        let near = written.get(after.saturating_sub(16)..after)?;
        near.iter()
            .find(|w| w.overlaps(span))
            .map(|w| w.start.max(span.start))
    }

    fn read_text_relocations(&self) -> Vec<Span> {
        // without the mark, a relocation of unwritable text is a crash in the loader
        let marked = self.dynamic(DT_TEXTREL).is_some()
            || self
                .dynamic(DT_FLAGS)
                .is_some_and(|flags| flags & DF_TEXTREL != 0);
        if !marked && !self.segments.iter().any(|s| s.executable && s.writable) {
            return Vec::new();
        }
        let mut written = Vec::new();
        self.relocations(&mut |relocation| {
            if self.is_code(relocation.at) {
                written.push(relocation.span());
            }
        });
        written.sort_unstable();
        written.dedup();
        written
    }

    /// Calls `found` with the address of each probe that the file states (`.note.stapsdt`): a no-op that a tracer
    /// has the kernel write a breakpoint over, by what the file says and whatever stands there in memory.
    pub fn probes(&self, found: &mut dyn FnMut(Va)) {
        let mut rest = bytes::Reader::new(self.headers.probes, Va(0));
        let mut next = || {
            let (name, desc, _) = (rest.u32()?, rest.u32()?, rest.u32()?);
            rest.take(u64::from(name).next_multiple_of(4))?;
            u64_at(rest.take(u64::from(desc).next_multiple_of(4))?, 0)
        };
        while let Some(at) = next() {
            found(Va(at));
        }
    }

    /// The restartable sequences that the file states (`__rseq_cs`, as the kernel's `struct rseq_cs` lays it out).
    /// Their section has no other mark, so an image in memory states none.
    #[must_use]
    pub fn restartable(&self) -> &[Restartable] {
        self.restartable.get_or_init(|| {
            let Some(section) = self.headers.restartable else {
                return Vec::new();
            };
            let bytes = self.bytes(section).unwrap_or(&[]);
            let mut words: Vec<u64> = bytes.chunks_exact(8).map(|bytes| word(bytes, 0)).collect();
            self.relocations(&mut |relocation| {
                if let (true, Some(to)) = (section.contains(relocation.at), relocation.target) {
                    let index = usize::try_from((relocation.at - section.start.0).0 / 8)
                        .unwrap_or(usize::MAX);
                    words
                        .get_mut(index)
                        .into_iter()
                        .for_each(|word| *word = to.0);
                }
            });
            let sequences = words
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&[_, start, len, abort]| Restartable {
                    span: Span::new(Va(start), len),
                    abort: Va(abort),
                });
            sequences
                .filter(|s| self.is_code(s.span.start) && self.is_code(s.abort))
                .collect()
        })
    }
}
