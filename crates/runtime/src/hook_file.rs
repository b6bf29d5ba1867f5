//! A hook's file: an ELF shared object, taken apart without trusting a byte of it. What needs nobody is freestanding and
//! read to the end; what needs libraries is hosted, and the rest of it the loader's business.
//!
//! What is read here is the file; nothing is mapped and no pointer is followed. `load.rs` does that.

use alloc::vec::Vec;
use core::mem::offset_of;

#[cfg(doc)]
use hotpatch_abi::SYMBOL;
use hotpatch_abi::{ABI, ARGUMENTS_ONLY, Hook, NO_THREAD_STATE, READS_ONLY, SIGNALS};

use hotpatch_plan::addr::Va;
use hotpatch_plan::decode::first_of_vectors;

use crate::hook_refused::Refused;
use crate::hook_symbols::Word;
use crate::pages::{PAGE, Range};

/// More address space than this is a mistake, not a hook.
const MOST: u64 = 256 << 20;

type Result<'a, T> = core::result::Result<T, Refused<'a>>;

/// A part of the file that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Addresses as the file states them.
    pub span: Range,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many bytes the file has; zeros follow.
    pub file_len: u64,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
}

/// A file that can be a hook.
#[derive(Debug)]
pub struct HookFile<'a> {
    bytes: &'a [u8],
    /// In order of address; no two share a page.
    pub segments: Vec<Segment>,
    /// What becomes read-only when it is relocated; empty if nothing does.
    pub relro: Range,
    /// Of the address where the first segment's page goes.
    pub align: u64,
    /// The address of [`SYMBOL`], as the file states it.
    pub symbol: u64,
    /// It needs libraries: the program's loader has to load it.
    pub hosted: bool,
    pub(crate) dynamic: Dynamic,
}

/// What the dynamic section says, as addresses and lengths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Dynamic {
    pub(crate) strings: u64,
    pub(crate) symbols: u64,
    pub(crate) hash: u64,
    pub(crate) gnu_hash: u64,
    pub(crate) rela: (u64, u64),
    pub(crate) plt: (u64, u64),
    pub(crate) relr: (u64, u64),
}

pub(crate) fn bytes_at<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..)?.first_chunk().copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

impl<'a> HookFile<'a> {
    /// Reads and checks all but what the symbol points to.
    ///
    /// # Errors
    /// Why it is no hook.
    pub fn parse(bytes: &'a [u8]) -> Result<'a, Self> {
        header(bytes)?;
        let mut file = Self {
            bytes,
            segments: Vec::new(),
            relro: Range { start: 0, end: 0 },
            align: PAGE,
            symbol: 0,
            hosted: false,
            dynamic: Dynamic::default(),
        };
        let (dynamic, thread_local) = file.program_headers()?;
        file.read_dynamic(dynamic)?;
        if file.hosted {
            file.symbol = file.find_symbol()?.ok_or(Refused::NoSymbol)?;
            file.hook_values()?;
            return Ok(file);
        }
        file.check_segments()?;
        if thread_local {
            return Err(Refused::ThreadLocal);
        }
        // Before the symbol is looked for: that it needs a library says more than that something is missing.
        file.each_word(0, |_| {})?;
        file.symbol = file.find_symbol()?.ok_or(Refused::NoSymbol)?;
        file.hook()?;
        file.no_vectors()?;
        Ok(file)
    }

    /// What is mapped in all, in whole pages.
    #[must_use]
    pub fn span(&self) -> Range {
        let start = self.segments.first().map_or(0, |s| s.span.start);
        let end = self.segments.last().map_or(0, |s| s.span.end);
        Range { start, end }.pages()
    }

    /// The bytes that the file has for a segment, relocated for a file whose address 0 is at `bias`.
    #[must_use]
    pub fn data(&self, segment: &Segment, bias: u64) -> Vec<u8> {
        let (at, len) = (segment.offset as usize, segment.file_len as usize);
        let mut data = self.bytes.get(at..at + len).unwrap_or(&[]).to_vec();
        let put = |word: Word| {
            if let Some(from) = word.at.checked_sub(segment.span.start)
                && let Some(there) = data
                    .get_mut(from as usize..)
                    .and_then(<[u8]>::first_chunk_mut)
            {
                *there = word.value.to_le_bytes();
            }
        };
        // Checked when the file was parsed.
        let _ = self.each_word(bias, put);
        data
    }

    /// The hook's name as it states it: none where it has a null pointer or an empty name.
    #[must_use]
    pub fn name(&self) -> Option<&'a [u8]> {
        let at = self.word(self.symbol + offset_of!(Hook, name) as u64)?;
        self.text(at).filter(|name| at != 0 && !name.is_empty())
    }

    /// Answers where the dynamic section is, and whether there are thread-local variables.
    fn program_headers(&mut self) -> Result<'a, ((u64, u64), bool)> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its program headers");
        let (bytes, mut dynamic, mut thread_local) = (self.bytes, None, false);
        let table = u64_at(bytes, 32).ok_or(DAMAGED)?;
        let (size, count) = (
            u16_at(bytes, 54).ok_or(DAMAGED)?,
            u16_at(bytes, 56).ok_or(DAMAGED)?,
        );
        if size != 56 {
            return Err(DAMAGED);
        }
        for n in 0..u64::from(count) {
            let at = table.checked_add(n * 56).ok_or(DAMAGED)?;
            let kind = u32_at(bytes, at).ok_or(DAMAGED)?;
            let flags = u32_at(bytes, at + 4).ok_or(DAMAGED)?;
            let mut fields = [0; 6];
            for (field, n) in fields.iter_mut().zip(1..) {
                *field = at
                    .checked_add(n * 8)
                    .and_then(|at| u64_at(bytes, at))
                    .ok_or(DAMAGED)?;
            }
            let [offset, start, _, file_len, len, align] = fields;
            let end = start
                .checked_add(len)
                .filter(|end| *end <= MOST)
                .ok_or(DAMAGED)?;
            match kind {
                LOAD => {
                    self.align = self.align.max(align);
                    self.segments.push(Segment {
                        span: Range { start, end },
                        offset,
                        file_len,
                        writable: flags & 2 != 0,
                        executable: flags & 1 != 0,
                    });
                }
                DYNAMIC => dynamic = Some((start, len)),
                TLS => thread_local = len != 0,
                RELRO => self.relro = Range { start, end },
                _ => {}
            }
        }
        dynamic.map(|d| (d, thread_local)).ok_or(Refused::NoSymbol)
    }

    fn check_segments(&self) -> Result<'a, ()> {
        let mut before = 0;
        for s in &self.segments {
            let pages = s.span.pages();
            let in_file = s.offset.checked_add(s.file_len);
            if in_file.is_none_or(|end| end > self.bytes.len() as u64)
                || s.file_len > s.span.end - s.span.start
                || s.span.start % PAGE != s.offset % PAGE
            {
                return Err(Refused::Damaged("a segment outside of the file"));
            }
            if pages.start < before {
                return Err(Refused::Damaged("segments that share a page"));
            }
            if s.writable && s.executable {
                return Err(Refused::WriteExecute);
            }
            if !s.writable && s.file_len < s.span.end - s.span.start {
                return Err(Refused::Damaged("zeros in read-only memory"));
            }
            before = pages.end;
        }
        if !self.align.is_power_of_two() || self.align > 1 << 21 {
            return Err(Refused::Damaged("the alignment of its segments"));
        }
        let relro = self.relro;
        let whole = |s: &Segment| {
            s.writable && s.span.start <= relro.start && relro.end <= s.span.pages().end
        };
        if relro.start != relro.end && !self.segments.iter().any(whole) {
            return Err(Refused::Damaged("the range that is to be read-only"));
        }
        Ok(())
    }

    fn read_dynamic(&mut self, (mut at, len): (u64, u64)) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("its dynamic section");
        let end = at + len;
        let (mut d, mut needed, mut constructors) = (Dynamic::default(), false, false);
        while at < end {
            let (tag, value) = (
                self.word(at).ok_or(DAMAGED)?,
                self.word(at + 8).ok_or(DAMAGED)?,
            );
            at += 16;
            match tag {
                0 => break,
                1 => needed = true,
                2 => d.plt.1 = value,
                4 => d.hash = value,
                5 => d.strings = value,
                6 => d.symbols = value,
                7 => d.rela.0 = value,
                8 => d.rela.1 = value,
                // Sizes of entries, and the kind of those of the PLT: there is one in this ABI.
                9 | 11 if value != 24 => return Err(DAMAGED),
                20 if value != 7 => return Err(DAMAGED),
                37 if value != 8 => return Err(DAMAGED),
                17 => return Err(DAMAGED),
                12 | 13 => constructors |= value != 0,
                // Sizes of the arrays: linkers may leave empty ones.
                27 | 28 | 33 => constructors |= value != 0,
                23 => d.plt.0 = value,
                35 => d.relr.1 = value,
                36 => d.relr.0 = value,
                0x6fff_fef5 => d.gnu_hash = value,
                _ => {}
            }
        }
        self.dynamic = d;
        self.hosted = needed;
        if constructors && !needed {
            return Err(Refused::Constructors);
        }
        Ok(())
    }

    /// The bytes that the file has from an address on, to the end of their segment.
    pub(crate) fn from(&self, at: u64) -> Option<&'a [u8]> {
        let inside = |s: &&Segment| s.span.start <= at && at - s.span.start < s.file_len;
        let s = self.segments.iter().find(inside)?;
        let (from, end) = (s.offset + (at - s.span.start), s.offset + s.file_len);
        self.bytes.get(from as usize..end as usize)
    }

    /// A word as the file has it.
    pub(crate) fn raw(&self, at: u64) -> Option<u64> {
        u64_at(self.from(at)?, 0)
    }

    /// A word as it is after relocation at bias 0: pointers are addresses as the file states them.
    fn word(&self, at: u64) -> Option<u64> {
        let mut value = self.raw(at)?;
        // The dynamic section, which says where relocations are, is read without any.
        let _ = self.each_word(0, |word| {
            if word.at == at {
                value = word.value;
            }
        });
        Some(value)
    }

    pub(crate) fn text(&self, at: u64) -> Option<&'a [u8]> {
        let text = self.from(at)?;
        text.iter().position(|b| *b == 0).map(|end| &text[..end])
    }

    /// Vector registers are the program's, and nobody saves them. Where code is, only section headers say: segments may
    /// hold constants too.
    fn no_vectors(&self) -> Result<'a, ()> {
        let (table, size) = (u64_at(self.bytes, 40), u16_at(self.bytes, 58));
        let count = u16_at(self.bytes, 60).unwrap_or(0);
        let Some(table) = table.filter(|at| *at != 0 && size == Some(64)) else {
            return Ok(());
        };
        for n in 0..u64::from(count) {
            let field = |offset| u64_at(self.bytes, table.checked_add(n * 64 + offset)?);
            let (Some(flags), Some(at), Some(len)) = (field(8), field(16), field(32)) else {
                return Ok(());
            };
            let executable = flags & 4 != 0;
            if let Some(code) = self.from(at).filter(|_| executable) {
                let code = code.get(..len as usize).unwrap_or(code);
                if let Some(at) = first_of_vectors(code, Va(at)) {
                    return Err(Refused::Vectors { at: at.0 });
                }
            }
        }
        Ok(())
    }

    /// Checks what of [`SYMBOL`] no relocation changes.
    fn hook_values(&self) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("the place of its symbol");
        let half = |offset: usize| {
            let at = self.symbol.checked_add(offset as u64);
            at.and_then(|at| u32_at(self.from(at)?, 0)).ok_or(DAMAGED)
        };
        if !self.symbol.is_multiple_of(8) {
            return Err(DAMAGED);
        }
        match half(offset_of!(Hook, abi))? {
            ABI => {}
            other => return Err(Refused::Abi(other)),
        }
        match half(offset_of!(Hook, size))? {
            size if size as usize >= size_of::<Hook>() => {}
            size => return Err(Refused::Size(size)),
        }
        if half(offset_of!(Hook, vectors))? > 3 {
            return Err(Refused::Value("vectors"));
        }
        let meant = ARGUMENTS_ONLY | NO_THREAD_STATE | READS_ONLY | SIGNALS;
        if half(offset_of!(Hook, flags))? & !meant != 0 {
            return Err(Refused::Value("flags"));
        }
        Ok(())
    }

    /// Checks what [`SYMBOL`] holds.
    fn hook(&self) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("the place of its symbol");
        let field = |offset: usize| self.symbol.checked_add(offset as u64);
        let word = |offset| field(offset).and_then(|at| self.word(at)).ok_or(DAMAGED);
        self.hook_values()?;
        let name = word(offset_of!(Hook, name))?;
        if name != 0 && self.text(name).is_none() {
            return Err(Refused::Value("name"));
        }
        for (field, offset, needed) in [
            ("select", offset_of!(Hook, select), false),
            ("start", offset_of!(Hook, start), false),
            ("before", offset_of!(Hook, before), true),
            ("after", offset_of!(Hook, after), false),
            ("event", offset_of!(Hook, event), false),
        ] {
            let at = word(offset)?;
            let code = |s: &Segment| s.executable && s.span.start <= at && at < s.span.end;
            if (at != 0 || needed) && !self.segments.iter().any(code) {
                return Err(Refused::Pointer(field));
            }
        }
        // The last field: so the whole structure lies in bytes of the file.
        word(offset_of!(Hook, reserved)).map(drop)
    }
}

fn header(bytes: &[u8]) -> Result<'_, ()> {
    let ident: [u8; 16] = bytes_at(bytes, 0).ok_or(Refused::NotElf)?;
    if ident[..4] != *b"\x7fELF" {
        return Err(Refused::NotElf);
    }
    if ident[4] != 2 || ident[5] != 1 {
        return Err(Refused::NotElf64);
    }
    let (kind, machine) = (u16_at(bytes, 16), u16_at(bytes, 18));
    match (
        kind.ok_or(Refused::NotElf)?,
        machine.ok_or(Refused::NotElf)?,
    ) {
        (3, 62) => Ok(()),
        (_, machine) if machine != 62 => Err(Refused::Machine(machine)),
        (kind, _) => Err(Refused::NotShared(kind)),
    }
}

// Kinds of segments: System V ABI.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const TLS: u32 = 7;
const RELRO: u32 = 0x6474_e552;
