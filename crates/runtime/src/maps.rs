//! What is mapped: the text of `/proc/self/maps`.

use alloc::vec::Vec;

/// One line of the text. Its bytes may be gone by the time it is read: a start-up's own thread knows they are not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping<'a> {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// `r`
    pub readable: bool,
    /// `w`
    pub writable: bool,
    /// `x`
    pub executable: bool,
    /// `s`, not `p`.
    pub shared: bool,
    /// Where in the file it begins.
    pub offset: u64,
    /// The file system's device number: major, minor.
    pub device: (u32, u32),
    /// The file's inode number; 0 where there is no file.
    pub inode: u64,
    /// The name as the kernel writes it: a newline stands as `\012`, a deleted file ends in ` (deleted)`.
    pub name: &'a [u8],
}

impl Mapping<'_> {
    /// Whether it is of the same file.
    #[must_use]
    pub fn same_file(&self, other: &Self) -> bool {
        self.inode != 0
            && self.inode == other.inode
            && self.device == other.device
            && self.name == other.name
    }

    /// Whether it is of a file, whose name begins at the root.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.inode != 0 && self.name.first() == Some(&b'/')
    }
}

/// Reads all lines. A line that is not as it should be is passed over.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<Mapping<'_>> {
    text.split(|&b| b == b'\n').filter_map(line).collect()
}

// 55d0c6c5b000-55d0c6c5d000 r--p 00000000 fe:00 1234   /usr/bin/true
fn line(text: &[u8]) -> Option<Mapping<'_>> {
    let mut rest = text;
    let start = hex(field(&mut rest, b'-')?)?;
    let end = hex(field(&mut rest, b' ')?)?;
    let flags: &[u8; 4] = field(&mut rest, b' ')?.try_into().ok()?;
    let offset = hex(field(&mut rest, b' ')?)?;
    let major = hex(field(&mut rest, b':')?)?;
    let minor = hex(field(&mut rest, b' ')?)?;
    let inode_len = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
    let (inode, padded) = rest.split_at(inode_len);
    // Only the padding is skipped by kind: a name begins with `/` or `[`, never with a space.
    let name_at = padded
        .iter()
        .position(|&b| b != b' ')
        .unwrap_or(padded.len());
    (start < end).then_some(Mapping {
        start,
        end,
        readable: flags[0] == b'r',
        writable: flags[1] == b'w',
        executable: flags[2] == b'x',
        shared: flags[3] == b's',
        offset,
        device: (major as u32, minor as u32),
        inode: decimal(inode)?,
        name: &padded[name_at..],
    })
}

fn field<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = rest.iter().position(|&b| b == end)?;
    let (field, after) = rest.split_at(at);
    *rest = &after[1..];
    Some(field)
}

fn digits(text: &[u8], radix: u32) -> Option<u64> {
    text.iter().try_fold(0u64, |n, &b| {
        let digit = char::from(b).to_digit(radix)?;
        n.checked_mul(u64::from(radix))?
            .checked_add(u64::from(digit))
    })
}

fn hex(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        None
    } else {
        digits(text, 16)
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        None
    } else {
        digits(text, 10)
    }
}

/// The name with each `\012` read as the newline that the kernel wrote it for.
///
/// A file may truly be called so: who opens it tries both and compares inode numbers.
#[must_use]
pub fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(b"\\012") {
            plain.push(b'\n');
            rest = after;
        } else {
            plain.push(first);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line() {
        let text = b"7f77c1695000-7f77c16bb000 r-xp 00001000 fe:00 325843                     /lib/a b\\012 (deleted)\n";
        let maps = parse(text);
        assert_eq!(
            maps,
            [Mapping {
                start: 0x7f77_c169_5000,
                end: 0x7f77_c16b_b000,
                readable: true,
                writable: false,
                executable: true,
                shared: false,
                offset: 0x1000,
                device: (0xfe, 0),
                inode: 325_843,
                name: b"/lib/a b\\012 (deleted)",
            }]
        );
        assert_eq!(unescape(maps[0].name), b"/lib/a b\n (deleted)");
    }

    #[test]
    fn a_mapping_without_a_file_has_no_name() {
        let maps = parse(b"1000-2000 rw-p 00000000 00:00 0 \n3000-4000 ---s 00000000 00:00 0\n");
        assert_eq!(maps.len(), 2);
        assert!(maps.iter().all(|m| m.name.is_empty() && !m.is_file()));
        assert!(maps[1].shared && !maps[1].readable);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for text in [
            "",
            "-",
            "zz-2 r-xp 0 0:0 0",
            "2-1 r-xp 0 0:0 0",
            "1-2 r-x 0 0:0 0",
            "1-2 r-xp 0 0:0 x",
            "1-2",
        ] {
            assert_eq!(parse(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn reads_its_own_process() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let maps = parse(&text);
        assert_eq!(maps.len(), text.iter().filter(|&&b| b == b'\n').count());
        let here = reads_its_own_process as fn() as usize as u64;
        assert!(
            maps.iter()
                .any(|m| m.executable && m.is_file() && m.start <= here && here < m.end)
        );
    }
}
