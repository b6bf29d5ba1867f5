//! Unwind information: `.eh_frame_hdr`'s sorted table, searched in place, and `.eh_frame`'s records.
//!
//! Formats: Linux Standard Base Core 5.0, 10.6 "Exception Frames".

use alloc::vec::Vec;

use super::Image;
use super::bytes::{Reader, half};
use crate::addr::{Span, Va};

/// `DW_EH_PE_omit`: there is no pointer.
pub(super) const OMIT: u8 = 0xff;
const INDIRECT: u8 = 0x80;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`: the table every linker writes.
const DATAREL_SDATA4: u8 = 0x3b;

/// Where to look up FDEs.
#[derive(Debug)]
pub(super) enum Frames<'a> {
    /// The sorted table: pairs of 4-byte offsets from `base`, of a function's start and of its FDE.
    Table { base: Va, entries: &'a [u8] },
    /// What a walk over `.eh_frame` found, where there is no such table: start and FDE.
    Walked(Vec<(Va, Va)>),
}

/// One FDE.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fde {
    pub(super) span: Span,
    pub(super) lsda: Option<Va>,
    /// Its frames are those of signal handlers (augmentation `S`).
    pub(super) signal: bool,
}

/// What an FDE's CIE says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cie {
    pointer: u8,
    lsda: u8,
    signal: bool,
    augmented: bool,
}

impl Frames<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Table { entries, .. } => entries.len() / 8,
            Self::Walked(found) => found.len(),
        }
    }

    /// Start of the function and address of the FDE of entry `index`.
    pub(super) fn get(&self, index: usize) -> Option<(Va, Va)> {
        match self {
            Self::Table { base, entries } => {
                let entry = entries.get(index.checked_mul(8)?..)?.get(..8)?;
                let from_base = |at| base.offset(i64::from(half(entry, at).cast_signed()));
                Some((from_base(0), from_base(4)))
            }
            Self::Walked(found) => found.get(index).copied(),
        }
    }

    /// How many entries start at `at` or before it.
    pub(super) fn until(&self, at: Va) -> usize {
        match self {
            Self::Table { base, entries } => {
                let (pairs, _) = entries.as_chunks::<8>();
                let wanted = at.distance_from(*base);
                pairs.partition_point(|pair| i64::from(half(pair, 0).cast_signed()) <= wanted)
            }
            Self::Walked(found) => found.partition_point(|&(start, _)| start <= at),
        }
    }
}

impl<'a> Image<'a> {
    pub(super) fn frames(&self) -> &Frames<'a> {
        self.frames.get_or_init(|| {
            let header = self.headers.eh_frame_hdr;
            let mut eh_frame = self.headers.eh_frame;
            if let Some((table, start)) = header.and_then(|header| self.read_frame_header(header)) {
                if let Some(table) = table {
                    return table;
                }
                // without sections its end is not known: the walk ends at the terminator
                eh_frame = eh_frame.or(Some(Span { start, end: start }));
            }
            Frames::Walked(eh_frame.map_or_else(Vec::new, |span| self.walk_frames(span)))
        })
    }

    /// Whether tables say that a frame in which `at` is executed is a signal handler's caller.
    pub(crate) fn is_signal_frame(&self, at: Va) -> bool {
        self.fde_at(at).is_some_and(|fde| fde.signal)
    }

    /// The FDE that covers `at`.
    pub(super) fn fde_at(&self, at: Va) -> Option<Fde> {
        let recent = self.recent_fde.get().filter(|fde| fde.span.contains(at));
        let found = recent.or_else(|| self.find_fde(at));
        if found.is_some() {
            self.recent_fde.set(found);
        }
        found
    }

    fn find_fde(&self, at: Va) -> Option<Fde> {
        let frames = self.frames();
        let last = frames.until(at).checked_sub(1)?;
        let (start, _) = frames.get(last)?;
        // an empty function shares its start with the one after it
        let same = (0..=last)
            .rev()
            .take(4)
            .map_while(|i| frames.get(i).filter(|fde| fde.0 == start));
        same.filter_map(|(_, fde)| self.fde(fde))
            .find(|fde| fde.span.contains(at))
    }

    /// The table, if it is of the usual kind, and the address of `.eh_frame`.
    fn read_frame_header(&self, header: Span) -> Option<(Option<Frames<'a>>, Va)> {
        let tail = self.tail(header.start)?;
        let len = usize::try_from(header.len()).ok()?.min(tail.len());
        let mut reader = Reader::new(tail.get(..len)?, header.start);
        let [version, frame_encoding, count_encoding, table_encoding] =
            *reader.take(4)?.first_chunk::<4>()?;
        if version != 1 {
            return None;
        }
        let eh_frame = self.pointer(&mut reader, frame_encoding, header.start)?;
        let entries = self
            .pointer(&mut reader, count_encoding, header.start)
            .filter(|_| table_encoding == DATAREL_SDATA4)
            .and_then(|count| reader.take(count.0.checked_mul(8)?));
        Some((
            entries.map(|entries| Frames::Table {
                base: header.start,
                entries,
            }),
            eh_frame,
        ))
    }

    fn walk_frames(&self, eh_frame: Span) -> Vec<(Va, Va)> {
        let mut found = Vec::new();
        let Some(mut rest) = self.tail(eh_frame.start) else {
            return found;
        };
        let end_known = !eh_frame.is_empty();
        if end_known {
            rest = rest
                .get(..usize::try_from(eh_frame.len()).unwrap_or(usize::MAX))
                .unwrap_or(rest);
        }
        let mut reader = Reader::new(rest, eh_frame.start);
        while !reader.rest.is_empty() {
            let at = reader.at;
            let Some(record) = record(&mut reader) else {
                break;
            };
            if record.rest.is_empty() && !end_known {
                break;
            }
            if let Some(fde) = self.fde(at) {
                found.push((fde.span.start, at));
            }
        }
        found.sort_unstable();
        found
    }

    /// Reads the FDE at `at`; `None` for a CIE too.
    pub(super) fn fde(&self, at: Va) -> Option<Fde> {
        let mut reader = record(&mut Reader::new(self.tail(at)?, at))?;
        let cie_field = reader.at;
        let back = reader.u32()?;
        let cie = self.cie((back != 0).then(|| cie_field - u64::from(back))?)?;
        let start = self.pointer(&mut reader, cie.pointer, Va(0))?;
        let len = self.pointer(&mut reader, cie.pointer & 0x0f, Va(0))?;
        let span = Span {
            start,
            end: Va(start.0.checked_add(len.0)?),
        };
        let lsda = cie.augmented.then(|| {
            let len = reader.uleb()?;
            let at = reader.at;
            let mut augmentation = Reader::new(reader.take(len)?, at);
            (cie.lsda != OMIT).then(|| self.pointer(&mut augmentation, cie.lsda, Va(0)))?
        });
        Some(Fde {
            span,
            lsda: lsda.flatten().filter(|&lsda| lsda != Va(0)),
            signal: cie.signal,
        })
    }

    /// The CIE at `at`: nearly all FDEs of an image share two or three, and neighbours one.
    fn cie(&self, at: Va) -> Option<Cie> {
        match self.recent_cie.get() {
            Some((recent, cie)) if recent == at => Some(cie),
            _ => {
                let cie = self.read_cie(at)?;
                self.recent_cie.set(Some((at, cie)));
                Some(cie)
            }
        }
    }

    fn read_cie(&self, at: Va) -> Option<Cie> {
        let mut reader = record(&mut Reader::new(self.tail(at)?, at))?;
        if reader.u32()? != 0 {
            return None;
        }
        let version = reader.u8()?;
        // known augmentations have at most six letters; a bound keeps reading one CIE for each FDE linear
        let end = reader.rest.iter().take(16).position(|&b| b == 0)?;
        let letters = reader.take(end as u64)?;
        reader.u8()?;
        let mut cie = Cie {
            pointer: 0,
            lsda: OMIT,
            signal: false,
            augmented: false,
        };
        if letters == b"eh" {
            reader.u64()?;
        }
        if version >= 4 {
            reader.u16()?;
        }
        reader.uleb()?;
        reader.sleb()?;
        if version == 1 {
            reader.u8()?;
        } else {
            reader.uleb()?;
        }
        let Some((b'z', letters)) = letters.split_first() else {
            return Some(cie);
        };
        cie.augmented = true;
        reader.uleb()?;
        for letter in letters {
            match letter {
                b'R' => cie.pointer = reader.u8()?,
                b'L' => cie.lsda = reader.u8()?,
                b'P' => {
                    let encoding = reader.u8()?;
                    self.pointer(&mut reader, encoding & !INDIRECT, Va(0));
                }
                b'S' => cie.signal = true,
                b'B' => {}
                // its operand's length is not known, so nothing after it can be read
                _ => break,
            }
        }
        Some(cie)
    }

    /// Reads a pointer in the encoding of the LSB's table 10-2; `data` is what `DW_EH_PE_datarel` is relative to.
    /// A stored zero is "none".
    pub(super) fn pointer(&self, reader: &mut Reader, encoding: u8, data: Va) -> Option<Va> {
        let at = reader.at;
        let value = match encoding & 0x0f {
            0x00 | 0x04 | 0x0c => reader.u64()?,
            0x01 => reader.uleb()?,
            0x02 => u64::from(reader.u16()?),
            0x03 => u64::from(reader.u32()?),
            0x09 => reader.sleb()?.cast_unsigned(),
            0x0a => i64::from(reader.u16()?.cast_signed()).cast_unsigned(),
            0x0b => i64::from(reader.u32()?.cast_signed()).cast_unsigned(),
            _ => return None,
        };
        if encoding & 0xf0 != 0 && value == 0 {
            return None;
        }
        let va = match encoding & 0x70 {
            // an absolute word of 8 bytes is one that the loader relocates
            0x00 if matches!(encoding & 0x0f, 0x00 | 0x04) => self.unbiased(value),
            0x00 => Va(value),
            0x10 => at + value,
            0x30 => data + value,
            _ => return None,
        };
        if encoding & INDIRECT == 0 {
            Some(va)
        } else {
            Some(self.unbiased(self.word_at(va)?))
        }
    }
}

/// Takes the next record's contents, its length field left out.
fn record<'b>(reader: &mut Reader<'b>) -> Option<Reader<'b>> {
    let len = match reader.u32()? {
        u32::MAX => reader.u64()?,
        len => u64::from(len),
    };
    let at = reader.at;
    Some(Reader::new(reader.take(len)?, at))
}
