//! Takes the library out of a process that goes on without it.

use std::fs;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use hotpatch_inject::{
    DETACH, Entry, FILES, HEAD, Held, NO_FILE, Ranges, Registers, START_LEN, Start, answer,
};
use nix::libc;

use super::apart::apart;
use super::refused::{self, Refused};
use super::threads::Threads;
use super::visit::{Visit, bytes_of, find_own_syscall, find_syscall};
use crate::cache;

/// How long threads may be inside of the library and its hooks.
const PATIENCE: Duration = Duration::from_secs(5);

/// What has become of the process: its code is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detached {
    /// Nothing of the library is left in it.
    Wholly,
    /// The library stays mapped, and does nothing: the program's loader has mapped it.
    Loaded,
    /// It stays mapped, and does nothing: a signal's handler has interrupted its code.
    LeadsBack,
}

impl std::fmt::Display for Detached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Wholly => f.write_str("its code is as it was, and nothing of hotpatch is left in it"),
            Self::Loaded => f.write_str(
                "its code is as it was; the library, which its loader has mapped, stays and does nothing",
            ),
            Self::LeadsBack => f.write_str(
                "its code is as it was; the library stays mapped and does nothing, as a signal's handler \
                 may return to it",
            ),
        }
    }
}

/// Takes it out.
///
/// # Errors
/// Why it cannot be; then nothing has changed.
pub fn detach(pid: i32) -> Result<Detached, Refused> {
    refused::look(pid)?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"));
    if maps.is_ok_and(|maps| !maps.lines().any(is_library)) {
        return Err(Refused::NotPatched);
    }
    let begin = Instant::now();
    // Longer and longer: where many processes run a thread may not get its turn between two stops.
    let mut nap = Duration::from_millis(1);
    loop {
        let last = begin.elapsed() > PATIENCE;
        match apart(|| try_to(pid, last))? {
            Some(done) => return Ok(done),
            None => std::thread::sleep(nap),
        }
        nap = (nap * 2).min(Duration::from_millis(200));
    }
}

/// Where the library is in a process: that of this very command.
fn library(maps: &str, visit: &Visit) -> Result<u64, Refused> {
    let lines = maps.lines().filter(|line| is_library(line));
    let parts = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let start = u64::from_str_radix(words.next()?.split('-').next()?, 16).ok()?;
        let executable = words.next()?.contains('x');
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((start, executable, offset))
    });
    let parts: Vec<(u64, bool, u64)> = parts.collect();
    // It may be mapped once more, to be carried along: but then none of it as code.
    let code = parts.iter().filter(|(_, executable, _)| *executable);
    let mut bases = code.map(|(at, _, offset)| at.wrapping_sub(*offset));
    let tracee = visit.threads.first()?;
    let is_ours = |base: &u64| {
        let mut head = [0; HEAD];
        let read = tracee.read(*base, &mut head);
        read.is_ok() && Some(&head[..]) == cache::LIBRARY.get(..HEAD)
    };
    bases.find(is_ours).ok_or(match parts[..] {
        [] => Refused::NotPatched,
        _ => Refused::OtherVersion,
    })
}

/// Whether a line of `/proc/PID/maps` is about the library.
pub fn is_library(line: &str) -> bool {
    let name = line.rsplit('/').next().unwrap_or_default();
    let file = name.starts_with("libhotpatch") && name.contains(".so");
    line.contains('/') && (file || name.starts_with("memfd:libhotpatch"))
}

fn try_to(pid: i32, last: bool) -> Result<Option<Detached>, Refused> {
    let threads = Threads::stop(pid)?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(Refused::system("maps"))?;
    let mut visit = Visit::new(threads);
    let base = library(&maps, &visit)?;
    let Ok(()) = visit.choose() else {
        return Ok(None);
    };
    let tracee = visit.threads.first()?;
    visit.at = find_syscall(&maps, tracee)
        .or_else(|| find_own_syscall(base, cache::LIBRARY))
        .ok_or(Refused::NoVdso)?;
    let (read_write, private) = (
        (libc::PROT_READ | libc::PROT_WRITE) as u64,
        (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64,
    );
    let room = size_of::<Ranges>() + visit.threads.all.len() * size_of::<Held>();
    let len = (START_LEN + room).next_multiple_of(4096) as u64;
    let block = visit.own(libc::SYS_mmap, [0, len, read_write, private, u64::MAX, 0])?;
    let done = visit.leave(&maps, base, block, len);
    let after = match &done {
        Ok((answer::DONE, ranges)) => visit.clear(&maps, ranges, block),
        _ => Ok(()),
    };
    visit.call(0, libc::SYS_munmap, [block, len, 0, 0, 0, 0])?;
    after?;
    let inside = visit.inside;
    Ok(match done?.0 {
        answer::DONE => Some(Detached::Wholly),
        answer::LOADED => Some(Detached::Loaded),
        answer::LEADS_BACK => last.then_some(Detached::LeadsBack),
        answer::INSIDE if last => return Err(Refused::Inside(inside)),
        answer::INSIDE => None,
        answer::BUSY if last => return Err(Refused::Changing),
        answer::BUSY => None,
        answer::HOSTED => return Err(Refused::Hosted),
        answer::TRAPS => return Err(Refused::Traps),
        answer::STUCK => return Err(Refused::Stuck),
        _ => return Err(Refused::Unknown),
    })
}

impl Visit {
    /// Has the library put the program's code back: its answer, and what it has mapped.
    fn leave(
        &mut self,
        maps: &str,
        base: u64,
        block: u64,
        len: u64,
    ) -> Result<(u64, Vec<[u64; 2]>), Refused> {
        let tracee = self.threads.first()?;
        let count = self.threads.all.len();
        let held: Vec<Held> = (self.threads.all.iter())
            .map(|thread| Held {
                registers: thread.before,
                stack_end: end_of_mapping(maps, thread.before.rsp),
                ..Held::default()
            })
            .collect();
        let start = Start {
            registers: Registers::default(),
            base,
            files: [NO_FILE; FILES],
            follows: 0,
            carried: 0,
            len,
            helper: 0,
            path_len: 0,
            settings_len: 0,
            what: DETACH,
            threads: count as u64,
            answer: 0,
        };
        let list = block + size_of::<Start>() as u64;
        let write = |at, bytes: &[u8]| tracee.write(at, bytes).map_err(Refused::system("writing"));
        write(block, bytes_of(&[start]))?;
        write(list, bytes_of(&held))?;
        let done = self.run(base + Entry::of(cache::LIBRARY).at, block, len)?;
        let read = |at, to: &mut [u8]| tracee.read(at, to).map_err(Refused::system("reading"));
        let word = |bytes: &[u8], at: usize| {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        for (index, thread) in self.threads.all.iter_mut().enumerate() {
            let mut said = [0; size_of::<Held>()];
            read(list + (index * size_of::<Held>()) as u64, &mut said)?;
            if word(&said, offset_of!(Held, inside)) != 0 {
                self.inside = thread.tracee.tid;
            }
            let stack = offset_of!(Held, alternate);
            thread.alternate = [word(&said, stack), word(&said, stack + 8)];
            if matches!(done, answer::DONE | answer::LOADED | answer::LEADS_BACK) {
                thread.before = registers(&said);
            }
        }
        let mut ranges = vec![0; size_of::<Ranges>()];
        read(list + (count * size_of::<Held>()) as u64, &mut ranges)?;
        let pairs = (0..word(&ranges, 0) as usize).map(|n| {
            let at = offset_of!(Ranges, all) + 16 * n;
            [word(&ranges, at), word(&ranges, at + 8)]
        });
        Ok((done, pairs.collect()))
    }

    /// Nothing of the library is needed any more.
    fn clear(&mut self, maps: &str, ranges: &[[u64; 2]], block: u64) -> Result<(), Refused> {
        let tracee = self.threads.first()?;
        // Its code is as it was.
        self.at = find_syscall(maps, tracee).ok_or(Refused::NoVdso)?;
        for index in 0..self.threads.all.len() {
            let thread = self.threads.all.get_mut(index).ok_or(Refused::Ended)?;
            thread.before.gs_base = 0;
            let [at, len] = thread.alternate;
            if len != 0 {
                let written = tracee.write(block, bytes_of(&[at, 0, len]));
                written.map_err(Refused::system("writing"))?;
                self.call(index, libc::SYS_sigaltstack, [block, 0, 0, 0, 0, 0])?;
            }
        }
        let events = maps
            .lines()
            .filter(|line| line.contains("/memfd:hotpatch-events"));
        let events = events.filter_map(|line| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some([number(start)?, number(end)?])
        });
        for [start, end] in ranges.iter().copied().chain(events) {
            self.call(0, libc::SYS_munmap, [start, end - start, 0, 0, 0, 0])?;
        }
        Ok(())
    }
}

/// Where the mapping ends that holds this address; 0: there is none that can be read.
pub fn end_of_mapping(maps: &str, address: u64) -> u64 {
    let lines = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((number(start)?, number(end)?, rest.starts_with('r')))
    });
    let mut found = lines.filter(|(start, end, _)| *start < address && address <= *end);
    found
        .next()
        .map_or(0, |(_, end, read)| if read { end } else { 0 })
}

/// Those at the start of a [`Held`].
fn registers(bytes: &[u8; size_of::<Held>()]) -> Registers {
    const _: () = assert!(offset_of!(Held, registers) == 0);
    let at = bytes.as_ptr().cast::<Registers>();
    // SAFETY: that many bytes are there, and any are registers.
    unsafe { at.read_unaligned() }
}
