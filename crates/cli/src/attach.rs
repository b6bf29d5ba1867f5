//! Starts the library in a process that runs already.
//!
//! All its threads are stopped. One of them is made to map the library and to start it, and comes back; then each gets what
//! hooks need for it, and goes on where it was. Nobody traces the process when that is done.
//!
//! What that relies on, and promises to the runtime, is I24 of INVARIANTS.md.

mod apart;
mod detach;
mod lend;
mod refused;
mod threads;
mod tracee;
mod visit;

use std::fs;
use std::time::{Duration, Instant};

use hotpatch_inject::{
    ATTACH, Entry, FILES, HEAD, NO_FILE, Registers, START_LEN, Start, Thread as Told, answer,
};
use nix::libc;

use crate::cache;
use crate::start::Injected;

use apart::apart;
pub use detach::{Detached, detach};
pub use lend::{Lender, Owner, has_own_numbers, is_elsewhere};
pub use refused::Refused;
use threads::Threads;
use tracee::Tracee;
use visit::{Visit, bytes_of, find_syscall};

/// How long threads may be where nothing can be changed under them.
const PATIENCE: Duration = Duration::from_secs(5);
/// The code segment of 64-bit programs.
const LONG: u64 = 0x33;

/// Starts the library in the process.
///
/// # Errors
/// Why not; then it runs on as it was.
pub fn attach(pid: i32, injected: &Injected) -> Result<(), Refused> {
    refused::look(pid)?;
    let begin = Instant::now();
    let mut nap = Duration::from_millis(1);
    loop {
        match apart(|| try_to(pid, injected)) {
            Err(Refused::Busy { .. }) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(nap);
                nap = (nap * 2).min(Duration::from_millis(200));
            }
            result => return result,
        }
    }
}

fn try_to(pid: i32, injected: &Injected) -> Result<(), Refused> {
    let threads = Threads::stop(pid)?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(Refused::system("maps"))?;
    if maps.lines().any(detach::is_library) {
        return Err(Refused::Patched);
    }
    for thread in &threads.all {
        if thread.before.cs != LONG {
            return Err(Refused::OtherMachine);
        }
        if thread.before.gs_base != 0 || thread.before.gs != 0 {
            return Err(Refused::Gs);
        }
    }
    let mut visit = Visit::new(threads);
    visit.choose()?;
    let tracee = visit.threads.first()?;
    visit.at = find_syscall(&maps, tracee).ok_or(Refused::NoVdso)?;
    visit.start(injected, &maps)
}

impl Visit {
    fn start(&mut self, injected: &Injected, maps: &str) -> Result<(), Refused> {
        let text = [injected.library.as_bytes_with_nul(), &injected.settings].concat();
        let list = text.len().next_multiple_of(8);
        let count = self.threads.all.len();
        let room = list + count * size_of::<Told>();
        let len = (START_LEN + room).next_multiple_of(4096) as u64;
        let (read_write, private) = (
            (libc::PROT_READ | libc::PROT_WRITE) as u64,
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64,
        );
        let block = self.own(libc::SYS_mmap, [0, len, read_write, private, u64::MAX, 0])?;
        let result = self.start_at(injected, &text, maps, block, len);
        // Where it has failed as well: nothing is left there that anybody needs.
        let unmapped = self.call(0, libc::SYS_munmap, [block, len, 0, 0, 0, 0]);
        result.and(unmapped.map(drop))
    }

    fn start_at(
        &mut self,
        injected: &Injected,
        text: &[u8],
        maps: &str,
        block: u64,
        len: u64,
    ) -> Result<(), Refused> {
        let tracee = self.threads.first()?;
        let behind = block + size_of::<Start>() as u64;
        let list = behind + text.len().next_multiple_of(8) as u64;
        let write = |at, bytes: &[u8]| tracee.write(at, bytes).map_err(Refused::system("writing"));
        write(behind, text)?;
        let stacks = self.alternate_stacks(block)?;
        let told: Vec<Told> = (self.threads.all.iter().zip(&stacks))
            .map(|(thread, stack)| Told {
                fs_base: thread.before.fs_base,
                alternate: *stack,
                gs_base: 0,
            })
            .collect();
        write(list, bytes_of(&told))?;
        let open = [
            libc::AT_FDCWD as u64,
            behind,
            (libc::O_RDONLY | libc::O_CLOEXEC) as u64,
            0,
            0,
            0,
        ];
        let descriptor = self.call(0, libc::SYS_openat, open)?;
        let Ok(descriptor) = u64::try_from(descriptor) else {
            return Err(Refused::NoLibrary(
                injected.library.to_string_lossy().into_owned(),
            ));
        };
        let entry = Entry::of(cache::LIBRARY);
        let protection = (libc::PROT_READ | libc::PROT_EXEC) as u64;
        let map = [
            0,
            entry.len,
            protection,
            libc::MAP_PRIVATE as u64,
            descriptor,
            0,
        ];
        let base = self.own(libc::SYS_mmap, map)?;
        let mut head = [0; HEAD];
        let read = tracee.read(base, &mut head);
        if read.is_err() || Some(&head[..]) != cache::LIBRARY.get(..HEAD) {
            self.call(0, libc::SYS_munmap, [base, entry.len, 0, 0, 0, 0])?;
            self.call(0, libc::SYS_close, [descriptor, 0, 0, 0, 0, 0])?;
            return Err(Refused::NoLibrary(
                injected.library.to_string_lossy().into_owned(),
            ));
        }
        let mut files = [NO_FILE; FILES];
        files[0] = descriptor;
        let start = Start {
            registers: Registers::default(),
            base,
            files,
            follows: 0,
            carried: 0,
            len,
            helper: 0,
            path_len: injected.library.as_bytes_with_nul().len() as u64,
            settings_len: injected.settings.len() as u64,
            what: ATTACH,
            threads: told.len() as u64,
            answer: 0,
        };
        write(block, bytes_of(&[start]))?;
        let done = self.run(base + entry.at, block, len)?;
        if done != answer::DONE {
            return Err(Refused::Failed(String::new()));
        }
        self.settle(maps, list, &stacks, block)
    }

    /// The alternate signal stack of each thread.
    fn alternate_stacks(&mut self, block: u64) -> Result<Vec<[u64; 2]>, Refused> {
        (0..self.threads.all.len())
            .map(|index| {
                let got = self.call(index, libc::SYS_sigaltstack, [0, block, 0, 0, 0, 0])?;
                let thread = self.threads.all.get(index).ok_or(Refused::Ended)?;
                let mut stack = [0; 24];
                let read = thread.tracee.read(block, &mut stack);
                read.map_err(Refused::system("reading"))?;
                let (words, _) = stack.as_chunks::<8>();
                let [at, flags, len] =
                    [0, 1, 2].map(|n| words.get(n).map_or(0, |w| u64::from_le_bytes(*w)));
                match (got, flags as u32) {
                    (0, 0) => Ok([at, len]),
                    (0, flags) if flags & libc::SS_ONSTACK as u32 != 0 => Err(Refused::Busy {
                        tid: thread.tracee.tid,
                        why: "handles a signal on its alternate stack",
                    }),
                    // None, or one that it knows to be disarmed: as the library leaves it.
                    _ => Ok([0; 2]),
                }
            })
            .collect()
    }

    /// Each thread gets what hooks need for it.
    fn settle(
        &mut self,
        maps: &str,
        list: u64,
        stacks: &[[u64; 2]],
        block: u64,
    ) -> Result<(), Refused> {
        let tracee = self.threads.first()?;
        for (index, stack) in stacks.iter().enumerate() {
            let mut gs = [0; 8];
            let at =
                list + (index * size_of::<Told>() + std::mem::offset_of!(Told, gs_base)) as u64;
            tracee
                .read(at, &mut gs)
                .map_err(Refused::system("reading"))?;
            let thread = self.threads.all.get_mut(index).ok_or(Refused::Ended)?;
            thread.before.gs_base = u64::from_le_bytes(gs);
            if stack[1] != 0 {
                let words = [stack[0], AUTO_DISARM, stack[1]];
                tracee
                    .write(block, bytes_of(&words))
                    .map_err(Refused::system("writing"))?;
                self.call(index, libc::SYS_sigaltstack, [block, 0, 0, 0, 0, 0])?;
                let rsp = self
                    .threads
                    .all
                    .get(index)
                    .map_or(0, |thread| thread.before.rsp);
                let end = detach::end_of_mapping(maps, rsp);
                disarm(tracee, rsp, end, *stack)?;
            }
        }
        Ok(())
    }
}

/// Of an alternate stack: a handler that begins there disarms it.
const AUTO_DISARM: u64 = 1 << 31;

/// Handlers that run on a thread's other stack, from `rsp` to `end`, return to an alternate stack that their frames describe: it
/// is to be one that handlers disarm.
fn disarm(tracee: Tracee, rsp: u64, end: u64, [at, len]: [u64; 2]) -> Result<(), Refused> {
    // More is not on any thread's stack.
    const MOST: u64 = 1 << 30;
    /// Words of the kernel's `ucontext` from its start: the alternate stack; the code segment behind 18 registers.
    const STACK: usize = 2;
    const SEGMENTS: usize = 5 + 18;
    let start = rsp.next_multiple_of(8);
    if end <= start || end - start > MOST {
        return Ok(());
    }
    let mut bytes = vec![0; (end - start) as usize];
    tracee
        .read(start, &mut bytes)
        .map_err(Refused::system("reading a stack"))?;
    let (words, _) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    for (n, frame) in words.windows(SEGMENTS + 1).enumerate() {
        let flags = frame[STACK + 1];
        let is_stack = frame[STACK] == at && flags as u32 == 0 && frame[STACK + 2] == len;
        // No link, and a 64-bit program's segment.
        if is_stack && frame[1] == 0 && u64::from(frame[SEGMENTS] as u16) == LONG {
            let place = start + 8 * (n + STACK + 1) as u64;
            let armed = AUTO_DISARM.to_le_bytes();
            let written = tracee.write(place, armed.get(..4).unwrap_or(&armed));
            written.map_err(Refused::system("writing"))?;
        }
    }
    Ok(())
}
