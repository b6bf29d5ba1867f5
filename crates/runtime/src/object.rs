//! The mapped files that hold code, each as an image with its place in the process.

use alloc::ffi::CString;
use alloc::vec::Vec;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::image::{Image, Malformed, Segment, load_bias};
use linux_raw_sys::general::{S_IFMT, S_IFREG, stat};

use crate::maps::{self, Mapping};
use crate::memory;
use crate::pages::{PAGE, Range};
use crate::sys::{self, Fd, Open};
use crate::view::View;

/// A mapped file, or the vDSO, by the lines of the maps that speak of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Object<'m> {
    /// The mapping of its first byte.
    pub base: Mapping<'m>,
    /// A mapping with code.
    pub code: Mapping<'m>,
}

/// All objects with code that may be patched, in order of address.
///
/// Of the kernel's own mappings that is `[vdso]` alone. Code whose file's first byte is mapped nowhere below
/// it is no image.
#[must_use]
pub fn objects<'m>(maps: &[Mapping<'m>]) -> Vec<Object<'m>> {
    let mut found: Vec<Object<'m>> = Vec::new();
    for (index, code) in maps
        .iter()
        .enumerate()
        .filter(|(_, m)| m.executable && !m.shared)
    {
        if code.name == b"[vdso]" {
            found.push(Object {
                base: *code,
                code: *code,
            });
            continue;
        }
        if !code.is_file() {
            continue;
        }
        let is_base = |m: &Mapping<'_>| m.offset == 0 && m.same_file(code);
        let nearest = maps[..=index].iter().rposition(is_base);
        // A file of less than a page has its first page in each mapping: the lowest of them is the base.
        let base = nearest.map(|nearest| {
            let below = maps[..=nearest].windows(2).rev();
            let more = below
                .take_while(|w| w[0].end == w[1].start && is_base(&w[0]))
                .count();
            &maps[nearest - more]
        });
        if let Some(base) = base.filter(|b| found.last().is_none_or(|last| last.base != **b)) {
            found.push(Object {
                base: *base,
                code: *code,
            });
        }
    }
    found
}

/// The object that the code at `code`, one of `maps`, belongs to.
#[must_use]
pub fn holding<'m>(maps: &[Mapping<'m>], code: &Mapping<'m>) -> Option<Object<'m>> {
    let up_to = maps.partition_point(|m| m.start <= code.start);
    let objects = objects(maps.get(..up_to)?);
    let last = objects.last()?;
    last.base.same_file(code).then_some(*last)
}

impl<'m> Object<'m> {
    /// Whether it is memory that the program has filled itself, and made executable.
    #[must_use]
    pub fn is_generated(&self) -> bool {
        self.code.inode == 0 && (self.code.name.is_empty() || self.code.name.starts_with(b"[anon:"))
    }

    /// The file's name as its owner wrote it, a newline as a newline.
    ///
    /// The kernel writes `\012` for a newline, but nothing else for a name that holds these four characters: who
    /// of the two has the right inode number decides.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        if self.is_generated() {
            return b"[generated]".to_vec();
        }
        let raw = self.base.name;
        let plain = maps::unescape(raw);
        let is_it = |name: &[u8]| {
            CString::new(name)
                .is_ok_and(|n| sys::status(&n).is_ok_and(|s| s.st_ino == self.base.inode))
        };
        if plain != raw && !is_it(&plain) && is_it(raw) {
            raw.to_vec()
        } else {
            plain
        }
    }

    /// The name of the file that is mapped here, and what is known of the file that has it.
    #[must_use]
    pub fn status(&self) -> Option<(CString, stat)> {
        if self.is_generated() {
            return None;
        }
        let name = CString::new(self.path()).ok()?;
        let status = sys::status(&name).ok()?;
        let is_file = status.st_mode & S_IFMT == S_IFREG && status.st_size > 0;
        is_file.then_some((name, status))
    }

    /// Opens the file that is mapped here: not one that has taken its name since.
    #[must_use]
    pub fn open(&self) -> Option<File> {
        // Looked at before it is opened: to open a device is to do something to it.
        let (name, status) = self.status()?;
        let len = usize::try_from(status.st_size).ok()?;
        let same = status.st_ino == self.base.inode && device(status.st_dev) == self.base.device;
        let view = View::of(&Fd::open(&name, Open::Read).ok()?, len).ok()?;
        Some(File { view, same })
    }
}

/// Major and minor number, as the kernel packs them into `st_dev`.
fn device(packed: u64) -> (u32, u32) {
    let major = (packed >> 8 & 0xfff) | (packed >> 32 & 0xffff_f000);
    let minor = (packed & 0xff) | (packed >> 12 & 0xffff_ff00);
    (major as u32, minor as u32)
}

/// A file, mapped to be read.
#[derive(Debug)]
pub struct File {
    view: View,
    /// Device and inode are those of the maps. Where not (some file systems show two faces), its code must be
    /// compared.
    same: bool,
}

impl File {
    fn bytes(&self) -> &[u8] {
        self.view.bytes()
    }
}

/// An image and where it is.
#[derive(Debug)]
pub struct Loaded<'a> {
    /// The image.
    pub image: Image<'a>,
    /// What to add to an address of the file for the address in the process.
    pub bias: u64,
    /// Code of the file that is not mapped as the file says: nothing there may change.
    pub forbidden: Vec<Span>,
    /// Read from memory, because its file cannot be had.
    pub from_memory: bool,
}

impl Loaded<'_> {
    /// The bytes of `span` in the process.
    #[must_use]
    pub fn range(&self, span: Span) -> Range {
        Range {
            start: span.start.0.wrapping_add(self.bias),
            end: span.end.0.wrapping_add(self.bias),
        }
    }
}

/// Reads the image: from its file, else from memory.
///
/// # Errors
/// What is wrong with it.
pub fn load<'a>(
    object: &Object<'_>,
    file: Option<&'a File>,
    maps: &[Mapping<'_>],
) -> Result<Loaded<'a>, Malformed> {
    if object.is_generated() {
        return generated(object, maps);
    }
    if let Some(file) = file
        && let Ok(image) = Image::from_file(file.bytes())
        && let Ok(bias) = load_bias(file.bytes(), object.base.start)
        && let Some(forbidden) = compare(object, &image, file, bias, maps)
    {
        return Ok(Loaded {
            image,
            bias,
            forbidden,
            from_memory: false,
        });
    }
    from_memory(object, maps)
}

/// Code that the program has generated, in the mapping that is the object's base and its code.
fn generated<'a>(object: &Object<'_>, maps: &[Mapping<'_>]) -> Result<Loaded<'a>, Malformed> {
    let code = memory::read(maps, range_of(&object.code)).ok_or(Malformed::NotElf)?;
    Ok(Loaded {
        image: Image::generated(code, Va(object.code.start)),
        bias: 0,
        forbidden: Vec::new(),
        from_memory: true,
    })
}

/// The image as it is mapped, all of whose code is mapped as its file says. `None` for any other.
#[must_use]
pub fn mapped<'a>(object: &Object<'_>, maps: &[Mapping<'_>]) -> Option<Loaded<'a>> {
    if !object.base.is_file() {
        return from_memory(object, maps).ok();
    }
    let header = memory::read(maps, range_of(&object.base))?;
    let bias = load_bias(header, object.base.start).ok()?;
    let code = |span: Span, offset: u64| {
        let there = Range {
            start: span.start.0.wrapping_add(bias),
            end: span.end.0.wrapping_add(bias),
        };
        let m = maps.get(maps.partition_point(|m| m.end <= there.start))?;
        let as_stated = m.start <= there.start
            && there.end <= m.end
            && m.executable
            && !m.writable
            && m.same_file(&object.base)
            && m.offset + (there.start - m.start) == offset;
        memory::read(maps, there).filter(|_| as_stated)
    };
    Some(Loaded {
        image: Image::from_headers(header, code).ok()?,
        bias,
        forbidden: Vec::new(),
        from_memory: false,
    })
}

/// The first page of a file as it is mapped, all of the vDSO: they tell files apart that look alike from outside.
#[must_use]
pub fn first_bytes<'a>(object: &Object<'_>, maps: &[Mapping<'_>]) -> Option<&'a [u8]> {
    let mut range = range_of(&object.base);
    if object.base.is_file() {
        range.end = range.end.min(range.start + PAGE);
    }
    // What may be written to says nothing about the file.
    memory::read(maps, range).filter(|_| !object.base.writable)
}

/// The build id of an object that is mapped.
#[must_use]
pub fn build_id<'a>(object: &Object<'_>, maps: &[Mapping<'_>]) -> Option<&'a [u8]> {
    let bytes = memory::read(maps, range_of(&object.base))?;
    let bias = load_bias(bytes, object.base.start).ok()?;
    let start = Va(object.base.start.wrapping_sub(bias));
    let headers = Segment {
        span: Span::new(start, bytes.len() as u64),
        bytes,
        writable: false,
        executable: false,
    };
    let image = Image::from_memory(alloc::vec![headers], bias).ok()?;
    image.build_id()
}

fn range_of(m: &Mapping<'_>) -> Range {
    Range {
        start: m.start,
        end: m.end,
    }
}

/// Where the executable segments of `image` are not mapped from this file. `None` where it is another file.
fn compare(
    object: &Object<'_>,
    image: &Image<'_>,
    file: &File,
    bias: u64,
    maps: &[Mapping<'_>],
) -> Option<Vec<Span>> {
    let mut missing = Vec::new();
    let mut seen = false;
    for segment in image.segments.iter().filter(|s| s.executable) {
        let offset = (segment.bytes.as_ptr().addr() - file.bytes().as_ptr().addr()) as u64;
        let mut at = segment.span.start;
        let end = segment.span.start + segment.bytes.len() as u64;
        while at < end {
            let here = at.0.wrapping_add(bias);
            let next = maps.iter().find(|m| m.end > here)?;
            let stop = Va(next.end.wrapping_sub(bias)).min(end);
            let as_stated = next.start <= here
                && next.same_file(&object.base)
                && next.executable
                && !next.shared
                && next.offset + (here - next.start) == offset + (at.0 - segment.span.start.0);
            let covered = next.start > here;
            let stop = if covered {
                Va(next.start.wrapping_sub(bias)).min(end)
            } else {
                stop
            };
            if as_stated {
                seen = true;
                if !file.same
                    && !is_equal(
                        segment,
                        Span {
                            start: at,
                            end: stop,
                        },
                        bias,
                        maps,
                    )
                {
                    return None;
                }
            } else {
                missing.push(Span {
                    start: at,
                    end: stop,
                });
            }
            at = stop;
        }
    }
    seen.then_some(missing)
}

fn is_equal(segment: &Segment<'_>, span: Span, bias: u64, maps: &[Mapping<'_>]) -> bool {
    let from = (span.start.0 - segment.span.start.0) as usize;
    let there = Range {
        start: span.start.0.wrapping_add(bias),
        end: span.end.0.wrapping_add(bias),
    };
    memory::read(maps, there)
        .is_some_and(|now| segment.bytes.get(from..from + now.len()) == Some(now))
}

fn from_memory<'a>(object: &Object<'_>, maps: &[Mapping<'_>]) -> Result<Loaded<'a>, Malformed> {
    let base = Range {
        start: object.base.start,
        end: object.base.end,
    };
    let header: &[u8] = memory::read(maps, base).ok_or(Malformed::NotElf)?;
    let bias = load_bias(header, base.start)?;
    if object.base.name == b"[vdso]" {
        let image = Image::from_file(header)?;
        return Ok(Loaded {
            image,
            bias,
            forbidden: Vec::new(),
            from_memory: true,
        });
    }
    let first = maps.partition_point(|m| m.start < base.start);
    let mut segments: Vec<Segment<'a>> = Vec::new();
    for m in maps[first..]
        .iter()
        .take_while(|m| m.start - base.start < 1 << 31)
    {
        if !m.same_file(&object.base) || (m.offset == 0 && m.start >= object.code.end) {
            continue;
        }
        let range = Range {
            start: m.start,
            end: m.end,
        };
        let Some(bytes) = memory::read(maps, range) else {
            continue;
        };
        // What other threads may write is copied: planning must see one state of it.
        let bytes = if m.writable {
            bytes.to_vec().leak()
        } else {
            bytes
        };
        let span = Span {
            start: Va(m.start.wrapping_sub(bias)),
            end: Va(m.end.wrapping_sub(bias)),
        };
        segments.push(Segment {
            span,
            bytes,
            writable: m.writable,
            executable: m.executable,
        });
    }
    let image = Image::from_memory(segments, bias)?;
    Ok(Loaded {
        image,
        bias,
        forbidden: Vec::new(),
        from_memory: true,
    })
}

/// The file offset of an address of the process.
#[must_use]
pub fn file_offset(maps: &[Mapping<'_>], at: u64) -> Option<u64> {
    let m = maps.get(maps.partition_point(|m| m.end <= at))?;
    (m.start <= at).then(|| m.offset + (at - m.start))
}

/// The page that an address lies in.
#[must_use]
pub fn page(at: u64) -> u64 {
    at & !(PAGE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_maps() -> Vec<u8> {
        std::fs::read("/proc/self/maps").unwrap()
    }

    #[test]
    fn finds_libc_and_the_vdso_but_no_other_special_mapping() {
        let text = own_maps();
        let maps = maps::parse(&text);
        let names: Vec<_> = objects(&maps)
            .iter()
            .map(|o| String::from_utf8(o.path()).unwrap())
            .collect();
        assert!(names.iter().any(|n| n.contains("libc.so")), "{names:?}");
        assert_eq!(
            names
                .iter()
                .filter(|n| n.starts_with('['))
                .collect::<Vec<_>>(),
            ["[vdso]"]
        );
    }

    #[test]
    fn a_file_and_its_memory_are_the_same_code() {
        let text = own_maps();
        let maps = maps::parse(&text);
        let libc = objects(&maps)
            .into_iter()
            .find(|o| o.path().windows(7).any(|w| w == b"libc.so"))
            .unwrap();
        let file = libc.open().unwrap();
        assert!(file.same);
        let a = load(&libc, Some(&file), &maps).unwrap();
        let b = load(&libc, None, &maps).unwrap();
        assert!(!a.from_memory && b.from_memory && a.bias == b.bias);
        assert_eq!(a.forbidden, []);
        for code in &a.image.code {
            assert_eq!(a.image.bytes(*code), b.image.bytes(*code));
        }
    }

    #[test]
    fn a_deleted_file_is_read_from_memory() {
        let text = b"1000-2000 r-xp 00000000 fe:00 12 /nonexistent/x (deleted)\n";
        let maps = maps::parse(text);
        assert!(objects(&maps)[0].open().is_none());
    }

    #[test]
    fn code_that_the_file_does_not_state_is_forbidden() {
        let text = own_maps();
        let text = String::from_utf8(text).unwrap();
        let line = text
            .lines()
            .find(|l| l.contains("r-xp") && l.contains("libc.so"))
            .unwrap();
        let other = line.replace("r-xp", "r--p");
        let changed = text.replace(line, &other);
        // The same process, but its code is not executable: no file to be patched at all.
        let (maps, real) = (
            maps::parse(changed.as_bytes()),
            maps::parse(text.as_bytes()),
        );
        let libc = objects(&real)
            .into_iter()
            .find(|o| o.path().windows(7).any(|w| w == b"libc.so"))
            .unwrap();
        let file = libc.open().unwrap();
        let image = Image::from_file(file.bytes()).unwrap();
        let bias = load_bias(file.bytes(), libc.base.start).unwrap();
        assert_eq!(compare(&libc, &image, &file, bias, &maps), None);
        assert_eq!(compare(&libc, &image, &file, bias, &real), Some(vec![]));
    }
}
