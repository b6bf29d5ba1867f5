//! An exec that nobody may trace: the loader brings the library, and the program does not find what told it to.
//!
//! What stands in the environment is described in `crates/inject/src/preload.rs`; `start/preloaded.rs` takes it away
//! again. After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: a block is its thread's own.

use core::ffi::CStr;

use hotpatch_inject::HEAD;
use hotpatch_inject::preload::{LD_PRELOAD, variable};

use crate::exec;
use crate::sys::{self, Direction, Fd, Open};

/// The most variables that a program is given with ours.
const MOST: usize = 768;
/// Bytes of ours, with what the program preloads itself.
const TEXT: usize = 6 << 10;

/// The environment of the next program, in the block of the thread that execs: the kernel reads it when the hook stack
/// may be another hook's already.
#[repr(C)]
#[derive(Debug)]
pub struct Told {
    variables: [u64; MOST],
    text: [u8; TEXT],
}

/// Copies from the program: how many bytes are there.
fn read(to: &mut [u8], from: u64) -> usize {
    // SAFETY: `to` is our own.
    unsafe { sys::copy(to.as_mut_ptr(), from, to.len(), Direction::FromProgram) }.unwrap_or(0)
}

impl Told {
    /// Copies the program's list. Answers how many there are, if they and two more have room.
    fn list(&mut self, program: u64) -> Option<usize> {
        let mut count = 0;
        if program == 0 {
            return Some(count);
        }
        loop {
            let at = program.wrapping_add(8 * count as u64);
            let word = sys::peek(at as usize)? as u64;
            if word == 0 {
                return Some(count);
            }
            *self.variables.get_mut(..MOST - 3)?.get_mut(count)? = word;
            count += 1;
        }
    }

    fn put(&mut self, at: &mut usize, text: impl IntoIterator<Item = u8>) -> Option<u64> {
        let place = self.text.get(*at..)?.as_ptr().addr() as u64;
        for byte in text {
            *self.text.get_mut(*at)? = byte;
            *at += 1;
        }
        Some(place)
    }

    /// Which of the first `count` the loader reads; nothing where it is more than one.
    fn preloaded(&self, count: usize) -> Option<Option<usize>> {
        let is_it = |&n: &usize| {
            let mut start = [0u8; LD_PRELOAD.len()];
            let from = self.variables.get(n).copied().unwrap_or(0);
            read(&mut start, from) == start.len() && start == *LD_PRELOAD
        };
        let mut found = (0..count).filter(is_it);
        let first = found.next();
        found.next().is_none().then_some(first)
    }

    /// The program's own value of `LD_PRELOAD`, behind what is at `at`.
    fn own_value(&mut self, at: &mut usize, variable: u64) -> Option<()> {
        let mut from = variable.wrapping_add(LD_PRELOAD.len() as u64);
        loop {
            let mut byte = [0u8];
            (read(&mut byte, from) == 1).then_some(())?;
            self.put(at, byte)?;
            if byte == [0] {
                return Some(());
            }
            from = from.wrapping_add(1);
        }
    }

    /// The environment at `program` with what brings the library: its address, if it can be made.
    /// `word`: what the runtime is told there beside its settings.
    pub(crate) fn bring(
        &mut self,
        program: u64,
        path: &[u8],
        word: &[u8],
        settings: &[u8],
    ) -> Option<u64> {
        let count = self.list(program)?;
        let own = self.preloaded(count)?;
        let mut at = 0;
        let library = || LD_PRELOAD.iter().chain(path).copied();
        let first = if let Some(n) = own {
            let before = *self.variables.get(n)?;
            let together = self.put(&mut at, library().chain(*b":"))?;
            self.own_value(&mut at, before)?;
            *self.variables.get_mut(n)? = together;
            self.put(&mut at, [0])?
        } else {
            self.put(&mut at, library().chain([0]))?
        };
        let second = self.put(&mut at, variable(path, word, settings)?)?;
        let places = self.variables.iter_mut().skip(count);
        for (place, value) in places.zip([first, second, 0]) {
            *place = value;
        }
        Some(self.variables.as_ptr().addr() as u64)
    }
}

/// Whether what would be opened in the next program is the library.
pub(crate) fn is_there(path: &CStr) -> bool {
    if !sys::will_be_readable(path) {
        return false;
    }
    let mut start = [0u8; HEAD];
    let read = Fd::open(path, Open::Read).and_then(|file| file.read(&mut start));
    read == Ok(start.len()) && start == *exec::head()
}
