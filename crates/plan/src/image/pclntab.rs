//! Go's table of functions, which every Go program has, stripped or not.
//!
//! Layouts: Go's `runtime/symtab.go` and `debug/gosym/pclntab.go`, versions 1.2, 1.16, 1.18 and 1.20.

use super::Image;
use super::bytes::{half, name, u32_at, u64_at, word};
use crate::addr::{Span, Va};

const GO_1_2: u32 = 0xffff_fffb;
const GO_1_16: u32 = 0xffff_fffa;
const GO_1_18: u32 = 0xffff_fff0;
const GO_1_20: u32 = 0xffff_fff1;
/// The linker aligns the table to this.
const ALIGN: u64 = 32;

/// The table: `count` functions, then the end of the last.
#[derive(Debug)]
pub(super) struct Pclntab<'a> {
    functions: &'a [u8],
    /// What functions are described by; offsets in `functions` count from its start.
    records: &'a [u8],
    names: &'a [u8],
    count: usize,
    /// What entries count from, where they are 4-byte offsets; else they are 8-byte addresses.
    text: Option<Va>,
    /// Taken off an entry that is an address.
    bias: u64,
}

impl<'a> Pclntab<'a> {
    fn width(&self) -> usize {
        if self.text.is_some() { 4 } else { 8 }
    }

    /// Where function `index` begins; for `count`, where the last one ends.
    fn start(&self, index: usize) -> Option<Va> {
        let at = index.checked_mul(self.width() * 2)?;
        match self.text {
            Some(text) => u32_at(self.functions, at).map(|offset| text + u64::from(offset)),
            None => u64_at(self.functions, at).map(|pc| Va(pc.wrapping_sub(self.bias))),
        }
    }

    /// How many functions begin at `at` or before it.
    fn until(&self, at: Va) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle).is_some_and(|start| start <= at) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The function that `at` lies in, with the padding after it.
    pub(super) fn around(&self, at: Va) -> Option<Span> {
        let index = self.until(at).checked_sub(1)?;
        let span = Span {
            start: self.start(index)?,
            end: self.start(index + 1)?,
        };
        span.contains(at).then_some(span)
    }

    /// The first start after `after`.
    pub(super) fn next(&self, after: Va) -> Option<Va> {
        let index = self.until(after);
        self.start(index)
            .filter(|&start| index < self.count && start > after)
    }

    /// The name of the function that `at` lies in, and the distance from its start.
    pub(super) fn name_at(&self, at: Va) -> Option<(&'a str, u64)> {
        let start = self.around(at)?.start;
        let index = self.until(at).checked_sub(1)?;
        let (width, entry) = (self.width(), index * self.width() * 2 + self.width());
        let record = match width {
            4 => u64::from(u32_at(self.functions, entry)?),
            _ => u64_at(self.functions, entry)?,
        };
        let record = self.records.get(usize::try_from(record).ok()?..)?;
        let text = name(self.names, u32_at(record, width)?)?;
        Some((core::str::from_utf8(text).ok()?, (at - start.0).0))
    }
}

impl<'a> Image<'a> {
    pub(super) fn pclntab(&self) -> Option<&Pclntab<'a>> {
        let table = self.pclntab.get_or_init(|| match self.headers.gopclntab {
            Some(section) => self.read_pclntab(section.start),
            None if self.headers.sections && !self.headers.go => None,
            // GNU ld makes it part of .data.rel.ro
            None => self.find_pclntab(),
        });
        table.as_ref()
    }

    /// Looks where the linker can have put it, by its first eight bytes.
    fn find_pclntab(&self) -> Option<Pclntab<'a>> {
        self.segments
            .iter()
            .filter(|segment| !segment.executable)
            .find_map(|segment| {
                let start = segment.span.start.0.next_multiple_of(ALIGN);
                let rows = self.tail(Va(start))?.chunks_exact(8).step_by(4).enumerate();
                let rows = rows.filter(|(_, row)| {
                    matches!(half(row, 0), GO_1_2 | GO_1_16 | GO_1_18 | GO_1_20) && is_amd64(row)
                });
                // more than a few that are not it are there to cost time
                rows.take(4)
                    .find_map(|(index, _)| self.read_pclntab(Va(start) + index as u64 * ALIGN))
            })
    }

    fn read_pclntab(&self, at: Va) -> Option<Pclntab<'a>> {
        let bytes = self.tail(at)?;
        if !is_amd64(bytes) {
            return None;
        }
        let from = |field| bytes.get(usize::try_from(u64_at(bytes, field)?).ok()?..);
        let count = usize::try_from(u64_at(bytes, 8)?).ok()?;
        let (functions, records, names, text) = match half(bytes, 0) {
            GO_1_2 => (bytes.get(16..)?, bytes, bytes, None),
            GO_1_16 => (from(56)?, from(56)?, from(24)?, None),
            GO_1_18 | GO_1_20 => (
                from(64)?,
                from(64)?,
                from(32)?,
                Some(self.go_text(at + 24)?),
            ),
            _ => return None,
        };
        let mut table = Pclntab {
            functions,
            records,
            names,
            count,
            text,
            bias: 0,
        };
        // one more entry than functions: where the last ends
        let len = count
            .checked_add(1)?
            .checked_mul(table.width() * 2)?
            .checked_sub(table.width())?;
        table.functions = functions.get(..len)?;
        if text.is_none() {
            let first = table.start(0)?.0;
            table.bias = first.wrapping_sub(self.unbiased(first).0);
        }
        // entries of a PIE of before Go 1.18 are zero in the file: the loader writes them
        let known =
            count != 0 && self.is_code(table.start(0)?) && self.is_code(table.start(count)? - 1);
        known.then_some(table)
    }

    /// What function entries count from: stated at `field`, or by a relocation of it, or (where a linker left
    /// both out) by a symbol or the start of the section.
    fn go_text(&self, field: Va) -> Option<Va> {
        let stated = self.unbiased(self.word_at(field)?);
        if self.is_code(stated) {
            return Some(stated);
        }
        let mut relocated = None;
        self.relocations(&mut |relocation| {
            if relocation.at == field {
                relocated = relocation.target;
            }
        });
        relocated
            .or_else(|| self.headers.symtab?.value_of(b"runtime.text"))
            // code of other languages comes first where an external linker joined them; that has unwind information
            .or_else(|| {
                self.headers
                    .text
                    .filter(|&text| self.fde_at(text).is_none())
            })
            .filter(|&text| self.is_code(text))
    }
}

/// Whether the header that `bytes` begin with is that of a table for instructions of any length and 8-byte
/// pointers.
fn is_amd64(bytes: &[u8]) -> bool {
    word(bytes, 0) >> 32 == 0x0801_0000
}
