//! The process's own memory, as maps say it is: read, compared, written.
//!
//! # Safety
//! I5: only bytes inside mappings that the maps call readable are read; only code of an image that is being
//! patched, and trampolines of ours, are written.

use alloc::ffi::CString;

use crate::maps::{self, Mapping};
use crate::pages::{PAGE, Range};
use crate::patch::Threads;
use crate::sys::{self, Errno, Fd, Open, Protection};

/// How pages that are mapped to be executed get new bytes.
#[derive(Debug)]
pub enum Writer {
    /// Through `/proc/self/mem`: permissions stay what they are.
    Mem(Fd),
    /// The same, if the first write shows that this kernel allows it.
    Untried(Fd),
    /// By making them writable, not executable, for a while.
    Protect,
    /// Not at all: what was writable can never become executable.
    Nothing,
}

impl Writer {
    /// The best way that may be possible.
    #[must_use]
    pub fn choose() -> Self {
        Fd::open(c"/proc/self/mem", Open::ReadWrite)
            .map_or_else(|_| Self::otherwise(), Self::Untried)
    }

    /// Whether it has shown that pages need not become writable.
    #[must_use]
    pub fn is_mem(&self) -> bool {
        matches!(self, Self::Mem(_))
    }

    /// The way that has been found before: `mem` is what [`Self::is_mem`] said then.
    #[must_use]
    pub fn again(mem: bool) -> Self {
        match Fd::open(c"/proc/self/mem", Open::ReadWrite) {
            Ok(fd) if mem => Self::Mem(fd),
            _ => Self::otherwise(),
        }
    }

    /// The best way that is possible: tries it on a page of our own.
    #[must_use]
    pub fn tried(self) -> Self {
        match self {
            Self::Untried(mem) if mem_writes(&mem) => Self::Mem(mem),
            Self::Untried(_) => Self::otherwise(),
            known => known,
        }
    }

    fn otherwise() -> Self {
        if sys::denies_write_execute() {
            Self::Nothing
        } else {
            Self::Protect
        }
    }
}

/// Whether a write through `mem` reaches a page that is not writable.
fn mem_writes(mem: &Fd) -> bool {
    let Ok(page) = sys::map_anywhere(0, PAGE as usize, Protection::Read) else {
        return false;
    };
    let range = Range {
        start: page as u64,
        end: page as u64 + 8,
    };
    let wrote = mem.write_at(b"hotpatch", range.start) == Ok(8);
    // SAFETY: readable as mapped.
    let arrived = wrote && unsafe { bytes(range) } == b"hotpatch";
    // SAFETY: nobody else knows the page.
    let _ = unsafe { sys::unmap(page, PAGE as usize) };
    arrived
}

/// The bytes of a range of the process.
///
/// # Safety
/// They are mapped readable, and stay so and the same for `'a`.
#[must_use]
pub unsafe fn bytes<'a>(range: Range) -> &'a [u8] {
    let at = core::ptr::with_exposed_provenance(range.start as usize);
    // SAFETY: as the caller promises.
    unsafe { core::slice::from_raw_parts(at, (range.end - range.start) as usize) }
}

/// The bytes of `range` where the maps say that they are private and readable.
///
/// The answer must not be kept across a change to them; `process.rs` compares and forgets.
#[must_use]
pub fn read<'a>(maps: &[Mapping<'_>], range: Range) -> Option<&'a [u8]> {
    let mut at = range.start;
    let first = maps.partition_point(|m| m.end <= at);
    for m in &maps[first..] {
        if m.start > at || !m.readable || m.shared {
            return None;
        }
        at = m.end;
        if at >= range.end {
            // SAFETY: I5: mapped readable, without a gap.
            return Some(unsafe { bytes(range) });
        }
    }
    None
}

/// Maps `code` readable and executable at `at`, with zeros up to the end of its last page.
///
/// The first to be mapped shows whether an untried `writer` works; if not, that is replaced.
///
/// # Errors
/// The kernel's; nothing is mapped then.
pub fn map_code(writer: &mut Writer, at: u64, code: &[u8]) -> Result<(), Errno> {
    let len = code.len().next_multiple_of(PAGE as usize);
    let place = at as usize;
    if let Writer::Untried(_) = writer {
        let Writer::Untried(mem) = core::mem::replace(writer, Writer::Nothing) else {
            return Err(Errno::INVAL);
        };
        if let Err(error) = sys::map_at(place, len, Protection::ReadExecute) {
            *writer = Writer::Untried(mem);
            return Err(error);
        }
        let range = Range {
            start: at,
            end: at + code.len() as u64,
        };
        // SAFETY: readable as mapped.
        if write_all(&mem, code, at) == Ok(()) && unsafe { bytes(range) } == code {
            *writer = Writer::Mem(mem);
            return Ok(());
        }
        // SAFETY: mapped just now; nobody has jumped there.
        unsafe { sys::unmap(place, len) }?;
        *writer = Writer::otherwise();
    }
    let filled = match writer {
        Writer::Mem(mem) => {
            sys::map_at(place, len, Protection::ReadExecute)?;
            write_all(mem, code, at)
        }
        Writer::Protect => {
            sys::map_at(place, len, Protection::ReadWrite)?;
            copy(code, at);
            // SAFETY: ours, and nothing runs there yet.
            unsafe { sys::protect(place, len, Protection::ReadExecute) }
        }
        Writer::Untried(_) | Writer::Nothing => Err(Errno::PERM),
    };
    if filled.is_err() {
        // SAFETY: mapped just now; nobody has jumped there.
        let _ = unsafe { sys::unmap(place, len) };
    }
    filled
}

fn copy(code: &[u8], at: u64) {
    let to = core::ptr::with_exposed_provenance_mut::<u8>(at as usize);
    // SAFETY: I5: the caller has made these bytes writable.
    unsafe { core::ptr::copy(code.as_ptr(), to, code.len()) };
}

fn write_all(mem: &Fd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match mem.write_at(bytes, at)? {
            0 => return Err(Errno::IO),
            n => {
                bytes = &bytes[n..];
                at += n as u64;
            }
        }
    }
    Ok(())
}

/// Up to eight bytes to be written over code. Of a fixed size, as there are a thousand of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write {
    /// Where.
    pub at: u64,
    /// How many.
    pub len: u8,
    /// What is there now.
    pub old: [u8; 8],
    /// What shall be there.
    pub new: [u8; 8],
}

impl Write {
    fn before(&self) -> &[u8] {
        self.old.get(..self.len.into()).unwrap_or(&self.old)
    }

    /// The bytes that shall be there.
    #[must_use]
    pub fn after(&self) -> &[u8] {
        self.new.get(..self.len.into()).unwrap_or(&self.new)
    }

    /// One past the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at + u64::from(self.len)
    }
}

/// Writes all or, where the kernel refuses one, nothing.
///
/// # Errors
/// The kernel's; the bytes are as before then.
///
/// # Safety
/// I5: `writes` lie in code that nobody is executing right now, are in order of address, and none crosses a page; or
/// there are other `threads`, and each lies in one aligned word (I7).
pub unsafe fn apply(
    writer: &Writer,
    maps: &[Mapping<'_>],
    writes: &[Write],
    threads: Threads,
) -> Result<(), Errno> {
    match writer {
        Writer::Mem(mem) => {
            let written = match threads {
                Threads::One | Threads::Stopped => write_pages(mem, maps, writes),
                Threads::Many => writes
                    .iter()
                    .try_for_each(|w| write_all(mem, w.after(), w.at)),
            };
            if written.is_err() {
                for write in writes {
                    // Pages that were written to are our own copies by now: nothing is left that could fail. Of the
                    // others this changes nothing.
                    let _ = write_all(mem, write.before(), write.at);
                }
            }
            written
        }
        // SAFETY: as the caller promises.
        Writer::Protect => unsafe { apply_protected(maps, writes) },
        Writer::Untried(_) | Writer::Nothing => Err(Errno::PERM),
    }
}

/// How many pages are written by one call at most.
const PAGES: u64 = 4;

/// One call for pages side by side, by which what lies between two writes is written as it is. The kernel goes on by
/// steps of a page's length: from the start of a page on, or it would look up each page twice.
fn write_pages(mem: &Fd, maps: &[Mapping<'_>], mut writes: &[Write]) -> Result<(), Errno> {
    let mut buffer = [0; (PAGES * PAGE) as usize];
    while let Some(first) = writes.first() {
        let begin = first.at / PAGE;
        let mut last = first;
        let mut count = 0;
        for write in writes {
            let page = write.at / PAGE;
            if page > last.at / PAGE + 1 || page >= begin + PAGES {
                break;
            }
            last = write;
            count += 1;
        }
        let one_page = last.at / PAGE == begin;
        let range = Range {
            start: if one_page { first.at } else { begin * PAGE },
            end: last.end(),
        };
        let now = read(maps, range).ok_or(Errno::IO)?;
        let bytes = buffer.get_mut(..now.len()).ok_or(Errno::INVAL)?;
        bytes.copy_from_slice(now);
        let (group, rest) = writes.split_at_checked(count).ok_or(Errno::INVAL)?;
        for write in group {
            let at = (write.at - range.start) as usize;
            let there = bytes.get_mut(at..at + write.after().len());
            there.ok_or(Errno::INVAL)?.copy_from_slice(write.after());
        }
        write_all(mem, bytes, range.start)?;
        writes = rest;
    }
    Ok(())
}

/// # Safety
/// As [`apply`].
unsafe fn apply_protected(maps: &[Mapping<'_>], writes: &[Write]) -> Result<(), Errno> {
    for (done, m) in maps.iter().enumerate() {
        // SAFETY: as the caller promises.
        if let Err(error) = unsafe { write_mapping(m, writes, Write::after) } {
            for m in &maps[..done] {
                // SAFETY: as above. It went well a moment ago.
                let _ = unsafe { write_mapping(m, writes, Write::before) };
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Writes those of `writes` that begin in `m`, which is not executable meanwhile.
///
/// # Safety
/// As [`apply`].
unsafe fn write_mapping(
    m: &Mapping<'_>,
    writes: &[Write],
    bytes: fn(&Write) -> &[u8],
) -> Result<(), Errno> {
    let inside = |w: &&Write| m.start <= w.at && w.at < m.end;
    let (Some(first), Some(last)) = (writes.iter().find(inside), writes.iter().rfind(inside))
    else {
        return Ok(());
    };
    let span = Range {
        start: first.at,
        end: last.end(),
    }
    .pages();
    if m.writable || !m.readable || span.end > m.end {
        return Err(Errno::PERM);
    }
    let (at, len) = (span.start as usize, (span.end - span.start) as usize);
    // SAFETY: single-threaded, and our own code lies in another mapping (I5).
    unsafe { sys::protect(at, len, Protection::ReadWrite) }?;
    for write in writes.iter().filter(inside) {
        copy(bytes(write), write.at);
    }
    // SAFETY: as it was before.
    let restored = unsafe { sys::protect(at, len, Protection::ReadExecute) };
    restored.or_else(|error| {
        // Some policies let nobody execute what was written to: then the file's own pages come back.
        // SAFETY: as above.
        unsafe { map_again(m, span) }.and(Err(error))
    })
}

/// Replaces changed pages of a file's mapping by the file's.
///
/// # Safety
/// I5: `span` lies in `m`, and nobody executes it right now.
unsafe fn map_again(m: &Mapping<'_>, span: Range) -> Result<(), Errno> {
    let name = CString::new(maps::unescape(m.name)).map_err(|_| Errno::IO)?;
    let file = Fd::open(&name, Open::Read)?;
    let (at, len) = (span.start as usize, (span.end - span.start) as usize);
    // SAFETY: as the caller promises; I8: the file still holds what was mapped.
    unsafe {
        file.map_at(
            at,
            len,
            m.offset + (span.start - m.start),
            Protection::ReadExecute,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_page() -> u64 {
        let at = sys::map_anywhere(0, 2 * PAGE as usize, Protection::ReadWrite).unwrap() as u64;
        copy(&[0x90; 2 * PAGE as usize], at);
        // SAFETY: the test's own pages.
        unsafe { sys::protect(at as usize, 2 * PAGE as usize, Protection::ReadExecute) }.unwrap();
        at
    }

    #[test]
    fn either_way_writes_and_leaves_permissions() {
        for writer in [Writer::choose().tried(), Writer::Protect] {
            let at = code_page();
            let text = std::fs::read("/proc/self/maps").unwrap();
            let maps = maps::parse(&text);
            let writes: Vec<Write> = [(at + 1, 2), (at + PAGE - 2, 2), (at + PAGE, 3)]
                .map(|(at, len)| Write {
                    at,
                    len,
                    old: [0x90; 8],
                    new: [0xcc; 8],
                })
                .into();
            // SAFETY: nobody executes the page.
            unsafe { apply(&writer, &maps, &writes, Threads::One) }.unwrap();
            let now = read(
                &maps,
                Range {
                    start: at,
                    end: at + 2 * PAGE,
                },
            )
            .unwrap();
            let changed = now
                .iter()
                .enumerate()
                .filter(|(_, b)| **b == 0xcc)
                .map(|(i, _)| i as u64);
            assert_eq!(
                changed.collect::<Vec<_>>(),
                [1, 2, 4094, 4095, 4096, 4097, 4098]
            );
            let after = std::fs::read("/proc/self/maps").unwrap();
            assert!(
                maps::parse(&after).iter().any(|m| m.start <= at
                    && at + 2 * PAGE <= m.end
                    && m.executable
                    && !m.writable)
            );
        }
    }

    #[test]
    fn the_files_own_pages_can_come_back() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let maps = maps::parse(&text);
        let code = maps
            .iter()
            .find(|m| m.name.ends_with(b"/libm.so.6") && m.executable);
        let code = code
            .or_else(|| {
                maps.iter()
                    .find(|m| m.name.ends_with(b"ld-linux-x86-64.so.2") && m.executable)
            })
            .unwrap();
        let page = Range {
            start: code.end - PAGE,
            end: code.end,
        };
        let before = read(&maps, page).unwrap().to_vec();
        let byte = Write {
            at: page.end - 1,
            len: 1,
            old: [before[4095]; 8],
            new: [before[4095] ^ 1; 8],
        };
        // SAFETY: the last byte of the last page is padding.
        unsafe { apply(&Writer::choose().tried(), &maps, &[byte], Threads::Many) }.unwrap();
        assert_ne!(read(&maps, page).unwrap(), before);
        // SAFETY: the same.
        unsafe { map_again(code, page) }.unwrap();
        assert_eq!(read(&maps, page).unwrap(), before);
    }

    #[test]
    fn trampolines_can_be_called() {
        for mut writer in [Writer::choose(), Writer::choose().tried(), Writer::Protect] {
            let at = code_page();
            // SAFETY: the test's own pages, to have an address that is free.
            unsafe { sys::unmap(at as usize, PAGE as usize) }.unwrap();
            map_code(&mut writer, at, &[0xb8, 42, 0, 0, 0, 0xc3]).unwrap();
            // SAFETY: mov $42,%eax; ret
            let f: extern "C" fn() -> u32 = unsafe { std::mem::transmute(at as usize) };
            assert_eq!(f(), 42);
            assert!(!matches!(writer, Writer::Untried(_)));
            assert_eq!(map_code(&mut writer, at, &[0xc3]), Err(Errno::EXIST));
        }
    }

    #[test]
    fn reads_only_what_is_mapped() {
        let maps = maps::parse(b"1000-2000 r-xp 0 0:0 1 /a\n2000-3000 ---p 0 0:0 1 /a\n");
        for (start, end) in [(0x500, 0x1500), (0x1800, 0x2001), (0x4000, 0x4001)] {
            assert_eq!(read(&maps, Range { start, end }), None);
        }
    }
}
