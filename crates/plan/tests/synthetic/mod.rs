//! A small ELF shared object made of given code, for tests.

/// Where the code of [`elf`] is, as its file says.
pub const TEXT: u64 = 0x1_0000;

/// Bytes of writable data behind the code.
pub const DATA_LEN: u64 = 0x1000;

/// Where the data of an object with `text_len` bytes of code is.
pub fn data_at(text_len: usize) -> u64 {
    TEXT + (text_len as u64).next_multiple_of(0x1000)
}

const PAGE: u64 = 0x1000;

struct Section<'s> {
    name: &'s str,
    kind: u32,
    flags: u64,
    at: u64,
    bytes: &'s [u8],
    link: u32,
    entry: u64,
}

/// An `ET_DYN` file with `text` at [`TEXT`], a page of data behind it, and a FUNC symbol for each of
/// `functions` (offset in `text` and length).
pub fn elf(text: &[u8], functions: &[(usize, usize)]) -> Vec<u8> {
    let data = vec![0; DATA_LEN as usize];
    let mut symbols = vec![0; 24];
    for &(offset, len) in functions {
        symbols.extend_from_slice(&1_u32.to_le_bytes());
        symbols.extend_from_slice(&[0x12, 0, 1, 0]); // GLOBAL FUNC, section 1
        symbols.extend_from_slice(&(TEXT + offset as u64).to_le_bytes());
        symbols.extend_from_slice(&(len as u64).to_le_bytes());
    }
    let names = b"\0.text\0.data\0.symtab\0.strtab\0.shstrtab\0";
    let strings = b"\0f\0";
    let sections = [
        Section {
            name: ".text",
            kind: 1,
            flags: 6,
            at: TEXT,
            bytes: text,
            link: 0,
            entry: 0,
        },
        Section {
            name: ".data",
            kind: 1,
            flags: 3,
            at: data_at(text.len()),
            bytes: &data,
            link: 0,
            entry: 0,
        },
        Section {
            name: ".symtab",
            kind: 2,
            flags: 0,
            at: 0,
            bytes: &symbols,
            link: 4,
            entry: 24,
        },
        Section {
            name: ".strtab",
            kind: 3,
            flags: 0,
            at: 0,
            bytes: strings,
            link: 0,
            entry: 0,
        },
        Section {
            name: ".shstrtab",
            kind: 3,
            flags: 0,
            at: 0,
            bytes: names,
            link: 0,
            entry: 0,
        },
    ];
    let mut file = vec![0; PAGE as usize];
    let mut headers = vec![0; 64];
    for section in &sections {
        file.resize(file.len().next_multiple_of(PAGE as usize), 0);
        let offset = file.len() as u64;
        file.extend_from_slice(section.bytes);
        let name = find(names, section.name);
        headers.extend_from_slice(&name.to_le_bytes());
        headers.extend_from_slice(&section.kind.to_le_bytes());
        let words = [
            section.flags,
            section.at,
            offset,
            section.bytes.len() as u64,
        ];
        words
            .iter()
            .for_each(|word| headers.extend_from_slice(&word.to_le_bytes()));
        headers.extend_from_slice(&section.link.to_le_bytes());
        headers.extend_from_slice(&1_u32.to_le_bytes());
        [16, section.entry]
            .iter()
            .for_each(|w: &u64| headers.extend_from_slice(&w.to_le_bytes()));
    }
    file.resize(file.len().next_multiple_of(PAGE as usize), 0);
    let table = file.len() as u64;
    file.extend_from_slice(&headers);
    let text_pages = (text.len() as u64).next_multiple_of(PAGE);
    let segments = [
        (4, 0, 0, PAGE),
        (5, PAGE, TEXT, text.len() as u64),
        (6, PAGE + text_pages, data_at(text.len()), DATA_LEN),
    ];
    file[..64].copy_from_slice(&header(table, segments.len(), sections.len() + 1));
    for (i, &(flags, offset, at, len)) in segments.iter().enumerate() {
        let mut segment = Vec::new();
        segment.extend_from_slice(&1_u32.to_le_bytes()); // PT_LOAD
        segment.extend_from_slice(&u32::to_le_bytes(flags));
        let words = [offset, at, at, len, len, PAGE];
        words
            .iter()
            .for_each(|word| segment.extend_from_slice(&word.to_le_bytes()));
        file[64 + 56 * i..][..56].copy_from_slice(&segment);
    }
    file
}

fn header(sections_at: u64, segments: usize, sections: usize) -> [u8; 64] {
    let mut header = [0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16..18].copy_from_slice(&3_u16.to_le_bytes()); // ET_DYN
    header[18..20].copy_from_slice(&62_u16.to_le_bytes()); // EM_X86_64
    header[20..24].copy_from_slice(&1_u32.to_le_bytes());
    header[32..40].copy_from_slice(&64_u64.to_le_bytes());
    header[40..48].copy_from_slice(&sections_at.to_le_bytes());
    let small = [
        64,
        56,
        segments as u16,
        64,
        sections as u16,
        sections as u16 - 1,
    ];
    for (i, word) in small.iter().enumerate() {
        header[52 + 2 * i..][..2].copy_from_slice(&word.to_le_bytes());
    }
    header
}

fn find(names: &[u8], name: &str) -> u32 {
    names
        .windows(name.len())
        .position(|w| w == name.as_bytes())
        .unwrap_or(0) as u32
}
