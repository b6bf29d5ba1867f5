//! A freestanding hook's file: an ELF shared object that needs nobody, taken apart without trusting a byte of it.
//!
//! What is read here is the file; nothing is mapped and no pointer is followed. `load.rs` does that.

use alloc::vec::Vec;
use core::fmt;
use core::mem::offset_of;

use hotpatch_abi::{ABI, Hook, SYMBOL};

use crate::pages::{PAGE, Range};

/// More address space than this is a mistake, not a hook.
const MOST: u64 = 256 << 20;

/// Why a file is no hook for this library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused<'a> {
    /// Not an ELF file.
    NotElf,
    /// ELF, but not for 64 bits.
    NotElf64,
    /// For another machine: its number.
    Machine(u16),
    /// Not a shared object: `e_type`.
    NotShared(u16),
    /// Contradicts itself.
    Damaged(&'static str),
    /// Needs a library: a hosted hook.
    Needs(&'a [u8]),
    /// Needs a symbol that it does not define.
    Undefined(&'a [u8]),
    /// Has thread-local variables.
    ThreadLocal,
    /// Has functions to be run before or after all others.
    Constructors,
    /// A segment is writable and executable.
    WriteExecute,
    /// A relocation changes what is not writable.
    TextRelocation {
        /// The address it changes.
        at: u64,
    },
    /// A relocation of a kind that freestanding code does not have.
    Relocation {
        /// Its number in the processor's ABI.
        kind: u32,
        /// The address it changes.
        at: u64,
    },
    /// Does not export [`SYMBOL`].
    NoSymbol,
    /// Speaks another version of the interface.
    Abi(u32),
    /// Its [`Hook`] is shorter than this version has it.
    Size(u32),
    /// A field of its [`Hook`] is null or points to no code.
    Pointer(&'static str),
    /// A field of its [`Hook`] has a value without meaning.
    Value(&'static str),
}

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("not an ELF file"),
            Self::NotElf64 => f.write_str("not a 64-bit ELF file"),
            Self::Machine(number) => write!(f, "for another machine (number {number})"),
            Self::NotShared(1) => f.write_str("an object file, to be linked with -shared"),
            Self::NotShared(2) => f.write_str("a program, not a shared object"),
            Self::NotShared(kind) => write!(f, "not a shared object (type {kind})"),
            Self::Damaged(what) => write!(f, "damaged: {what}"),
            Self::Needs(name) => write!(
                f,
                "needs the library {}: hosted hooks are not supported yet",
                name.escape_ascii()
            ),
            Self::Undefined(name) => write!(
                f,
                "needs the symbol `{}`, which it does not define: hosted hooks are not supported yet",
                name.escape_ascii()
            ),
            Self::ThreadLocal => f.write_str("has thread-local variables; a hook has its slot"),
            Self::Constructors => {
                f.write_str("has constructors or destructors; a hook has `start` and `event`")
            }
            Self::WriteExecute => f.write_str("has a segment that is writable and executable"),
            Self::TextRelocation { at } => {
                write!(
                    f,
                    "has a relocation in read-only memory, at {at:#x}: compile it with -fPIC"
                )
            }
            Self::Relocation { kind, at } => {
                write!(f, "has a relocation of unknown kind {kind}, at {at:#x}")
            }
            Self::NoSymbol => write!(f, "exports no symbol `{SYMBOL}`"),
            Self::Abi(found) => write!(f, "for version {found} of the interface; this is {ABI}"),
            Self::Size(found) => write!(
                f,
                "its `{SYMBOL}` has {found} bytes of {}",
                size_of::<Hook>()
            ),
            Self::Pointer(field) => write!(
                f,
                "`{field}` of its `{SYMBOL}` points to no code of its own"
            ),
            Self::Value(field) => {
                write!(f, "`{field}` of its `{SYMBOL}` has a value without meaning")
            }
        }
    }
}

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
    dynamic: Dynamic,
}

/// What the dynamic section says, as addresses and lengths.
#[derive(Clone, Copy, Debug, Default)]
struct Dynamic {
    strings: u64,
    symbols: u64,
    hash: u64,
    gnu_hash: u64,
    rela: (u64, u64),
    plt: (u64, u64),
    relr: (u64, u64),
}

/// A word that depends on where the file is mapped.
struct Word {
    at: u64,
    value: u64,
}

fn bytes_at<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    let at = usize::try_from(at).ok()?;
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: u64) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: u64) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: u64) -> Option<u64> {
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
            dynamic: Dynamic::default(),
        };
        let (dynamic, thread_local) = file.program_headers()?;
        file.read_dynamic(dynamic)?;
        if thread_local {
            return Err(Refused::ThreadLocal);
        }
        // Before the symbol is looked for: that it needs a library says more than that something is missing.
        file.each_word(0, |_| {})?;
        file.symbol = file.find_symbol()?.ok_or(Refused::NoSymbol)?;
        file.hook()?;
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
        self.check_segments()?;
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
        let (mut d, mut needed, mut constructors) = (Dynamic::default(), None, false);
        while at < end {
            let (tag, value) = (
                self.word(at).ok_or(DAMAGED)?,
                self.word(at + 8).ok_or(DAMAGED)?,
            );
            at += 16;
            match tag {
                0 => break,
                1 => needed = needed.or(Some(value)),
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
        if let Some(name) = needed {
            let name = d.strings.checked_add(name).and_then(|at| self.text(at));
            return Err(Refused::Needs(name.unwrap_or(b"?")));
        }
        if constructors {
            return Err(Refused::Constructors);
        }
        Ok(())
    }

    /// The bytes that the file has from an address on, to the end of their segment.
    fn from(&self, at: u64) -> Option<&'a [u8]> {
        let inside = |s: &&Segment| s.span.start <= at && at - s.span.start < s.file_len;
        let s = self.segments.iter().find(inside)?;
        let (from, end) = (s.offset + (at - s.span.start), s.offset + s.file_len);
        self.bytes.get(from as usize..end as usize)
    }

    /// A word as the file has it.
    fn raw(&self, at: u64) -> Option<u64> {
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

    fn text(&self, at: u64) -> Option<&'a [u8]> {
        let text = self.from(at)?;
        text.iter().position(|b| *b == 0).map(|end| &text[..end])
    }

    /// Visits the words that relocations make.
    fn each_word(&self, bias: u64, mut visit: impl FnMut(Word)) -> Result<'a, ()> {
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
    fn find_symbol(&self) -> Result<'a, Option<u64>> {
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

    /// Checks what [`SYMBOL`] holds.
    fn hook(&self) -> Result<'a, ()> {
        const DAMAGED: Refused<'static> = Refused::Damaged("the place of its symbol");
        let field = |offset: usize| self.symbol.checked_add(offset as u64);
        let word = |offset| field(offset).and_then(|at| self.word(at)).ok_or(DAMAGED);
        let half = |offset| {
            field(offset)
                .and_then(|at| u32_at(self.from(at)?, 0))
                .ok_or(DAMAGED)
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
        let name = word(offset_of!(Hook, name))?;
        if name != 0 && self.text(name).is_none() {
            return Err(Refused::Value("name"));
        }
        if half(offset_of!(Hook, vectors))? > 3 {
            return Err(Refused::Value("vectors"));
        }
        if half(offset_of!(Hook, flags))? > 3 {
            return Err(Refused::Value("flags"));
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

struct Symbol {
    name: u32,
    kind: u8,
    weak: bool,
    section: u16,
    value: u64,
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

// Kinds of segments, relocations and symbols: System V ABI and its AMD64 supplement.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const TLS: u32 = 7;
const RELRO: u32 = 0x6474_e552;
const NONE: u32 = 0;
const WORD: u32 = 1;
const GLOB_DAT: u32 = 6;
const JUMP_SLOT: u32 = 7;
const RELATIVE: u32 = 8;
const OBJECT: u8 = 1;
const THREAD_LOCAL: u8 = 6;
const IFUNC: u8 = 10;
const ABSOLUTE: u16 = 0xfff1;
