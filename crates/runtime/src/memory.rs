//! The process's own memory, as maps say it is: read, compared, written.
//!
//! # Safety
//! I5: only bytes inside mappings that the maps call readable are read; only code of an image that is being
//! patched, and trampolines of ours, are written.

use alloc::ffi::CString;
use alloc::vec::Vec;

use crate::maps::{self, Mapping};
use crate::pages::{PAGE, Range};
use crate::sys::{self, Errno, Fd, Open, Protection};

/// How pages that are mapped to be executed get new bytes.
#[derive(Debug)]
pub enum Writer {
    /// Through `/proc/self/mem`: permissions stay what they are.
    Mem(Fd),
    /// By making them writable, not executable, for a while.
    Protect,
    /// Not at all: what was writable can never become executable.
    Nothing,
}

impl Writer {
    /// Chooses the best way this kernel allows, by trying it on a page of our own.
    #[must_use]
    pub fn choose() -> Self {
        if let Ok(mem) = Fd::open(c"/proc/self/mem", Open::ReadWrite)
            && mem_writes(&mem)
        {
            return Self::Mem(mem);
        }
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
/// The answer must not be kept across a change to them; `start.rs` compares and forgets.
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
/// # Errors
/// The kernel's; nothing is mapped then.
pub fn map_code(writer: &Writer, at: u64, code: &[u8]) -> Result<(), Errno> {
    let len = code.len().next_multiple_of(PAGE as usize);
    let place = at as usize;
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
        Writer::Nothing => Err(Errno::PERM),
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

/// Bytes to be written over code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// Where.
    pub at: u64,
    /// What is there now.
    pub old: Vec<u8>,
    /// What shall be there.
    pub new: Vec<u8>,
}

impl Write {
    fn range(&self) -> Range {
        Range {
            start: self.at,
            end: self.at + self.new.len() as u64,
        }
    }
}

/// Writes all or, where the kernel refuses one, nothing.
///
/// # Errors
/// The kernel's; the bytes are as before then.
///
/// # Safety
/// I5: `writes` are in order of address and lie in code that nobody is executing right now, or each lies in one
/// aligned word (I7).
pub unsafe fn apply(writer: &Writer, maps: &[Mapping<'_>], writes: &[Write]) -> Result<(), Errno> {
    match writer {
        Writer::Mem(mem) => {
            for (done, write) in writes.iter().enumerate() {
                if let Err(error) = write_all(mem, &write.new, write.at) {
                    for write in &writes[..=done] {
                        // These pages are our own copies by now: nothing is left that could fail.
                        let _ = write_all(mem, &write.old, write.at);
                    }
                    return Err(error);
                }
            }
            Ok(())
        }
        // SAFETY: as the caller promises.
        Writer::Protect => unsafe { apply_protected(maps, writes) },
        Writer::Nothing => Err(Errno::PERM),
    }
}

/// # Safety
/// As [`apply`].
unsafe fn apply_protected(maps: &[Mapping<'_>], writes: &[Write]) -> Result<(), Errno> {
    for (done, m) in maps.iter().enumerate() {
        // SAFETY: as the caller promises.
        if let Err(error) = unsafe { write_mapping(m, writes, |w| &w.new) } {
            for m in &maps[..done] {
                // SAFETY: as above. It went well a moment ago.
                let _ = unsafe { write_mapping(m, writes, |w| &w.old) };
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
    bytes: fn(&Write) -> &Vec<u8>,
) -> Result<(), Errno> {
    let inside = |w: &&Write| m.start <= w.at && w.at < m.end;
    let (Some(first), Some(last)) = (writes.iter().find(inside), writes.iter().rfind(inside))
    else {
        return Ok(());
    };
    let span = Range {
        start: first.at,
        end: last.range().end,
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
        for writer in [Writer::choose(), Writer::Protect] {
            let at = code_page();
            let text = std::fs::read("/proc/self/maps").unwrap();
            let maps = maps::parse(&text);
            let writes: Vec<Write> = [(at + 1, 2), (at + PAGE - 2, 5)]
                .map(|(at, len)| Write {
                    at,
                    old: vec![0x90; len],
                    new: vec![0xcc; len],
                })
                .into();
            // SAFETY: nobody executes the page.
            unsafe { apply(&writer, &maps, &writes) }.unwrap();
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
            old: vec![before[4095]],
            new: vec![before[4095] ^ 1],
        };
        // SAFETY: the last byte of the last page is padding.
        unsafe { apply(&Writer::choose(), &maps, std::slice::from_ref(&byte)) }.unwrap();
        assert_ne!(read(&maps, page).unwrap(), before);
        // SAFETY: the same.
        unsafe { map_again(code, page) }.unwrap();
        assert_eq!(read(&maps, page).unwrap(), before);
    }

    #[test]
    fn trampolines_can_be_called() {
        for writer in [Writer::choose(), Writer::Protect] {
            let at = code_page();
            // SAFETY: the test's own pages, to have an address that is free.
            unsafe { sys::unmap(at as usize, PAGE as usize) }.unwrap();
            map_code(&writer, at, &[0xb8, 42, 0, 0, 0, 0xc3]).unwrap();
            // SAFETY: mov $42,%eax; ret
            let f: extern "C" fn() -> u32 = unsafe { std::mem::transmute(at as usize) };
            assert_eq!(f(), 42);
            assert_eq!(map_code(&writer, at, &[0xc3]), Err(Errno::EXIST));
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
