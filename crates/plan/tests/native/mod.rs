//! Runs code natively, in a child process that can do no harm, from a state to a state.
//!
//! # Safety
//! All of it is about code that may do anything to its own process. The child lives until it has
//! written what it found to shared memory; a filter refuses it every system call that has an effect.
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise covers each block: what was mapped for a run is the run's"
)]

mod enter;

use std::ptr::{copy_nonoverlapping, null_mut};

pub use enter::State;

/// Bytes of stack that a run may see.
pub const STACK_LEN: usize = 0x1000;

/// Where the stack of a run is: away from everything else.
const STACK: usize = 0x6000_0000_0000;

/// Memory to be mapped for a run.
pub struct Mapping {
    /// Where, on a page boundary.
    pub at: u64,
    /// What it holds when the run begins.
    pub bytes: Vec<u8>,
    /// It is code; else it is data, and compared.
    pub code: bool,
}

/// What a run leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// Registers and flags.
    pub state: State,
    /// Data and stack, one after the other.
    pub memory: Vec<u8>,
}

/// How a child ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Every run came back.
    Well(Vec<Left>),
    /// A signal ended run `run`.
    Signal {
        /// Index of the run.
        run: usize,
        /// Its number.
        signal: i32,
    },
}

fn page_up(len: usize) -> usize {
    len.next_multiple_of(0x1000)
}

fn map(at: usize, len: usize, shared: bool) -> *mut u8 {
    let kind = if shared {
        libc::MAP_SHARED
    } else {
        libc::MAP_PRIVATE
    };
    let fixed = if at == 0 {
        0
    } else {
        libc::MAP_FIXED_NOREPLACE
    };
    // SAFETY: NOREPLACE takes only what is free, so nothing that exists is touched.
    let mapped = unsafe {
        libc::mmap(
            at as *mut libc::c_void,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            kind | fixed | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        null_mut()
    } else {
        mapped.cast()
    }
}

/// What parent and child share: how far the child came, and what its runs left.
struct Board {
    at: *mut u8,
    len: usize,
}

impl Board {
    const HEAD: usize = 64;

    fn new(runs: usize, left_len: usize) -> Self {
        let len = page_up(Self::HEAD + runs * left_len);
        let at = map(0, len, true);
        assert!(!at.is_null(), "no shared memory");
        Self { at, len }
    }

    fn progress(&self) -> *mut u64 {
        self.at.cast()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // SAFETY: this maps nothing but the board, and nobody borrows from it.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// Calls `entry` once for each of `states`, with all of `mappings` as they are given each time.
pub fn run(mappings: &[Mapping], entry: u64, states: &[State]) -> Ended {
    let data: usize = mappings
        .iter()
        .filter(|m| !m.code)
        .map(|m| m.bytes.len())
        .sum();
    let left_len = size_of::<State>() + data + STACK_LEN;
    let board = Board::new(states.len(), left_len);
    // SAFETY: the child uses no lock and no heap: it maps, copies, runs and exits.
    match unsafe { libc::fork() } {
        0 => child(mappings, entry, states, &board, left_len),
        pid => {
            assert!(pid > 0, "no process");
            ended(pid, &board, states.len(), left_len)
        }
    }
}

fn ended(pid: i32, board: &Board, runs: usize, left_len: usize) -> Ended {
    let mut status = 0;
    // SAFETY: `pid` is this process's own child.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    // SAFETY: the child is gone, so nobody writes; the board begins with this word.
    let progress = unsafe { board.progress().read() } as usize;
    if libc::WIFSIGNALED(status) {
        return Ended::Signal {
            run: progress,
            signal: libc::WTERMSIG(status),
        };
    }
    assert_eq!(
        (libc::WEXITSTATUS(status), progress),
        (0, runs),
        "the child did not come to its end"
    );
    let left = (0..runs).map(|run| {
        let mut bytes = vec![0; left_len];
        // SAFETY: `Board::new` made room for `runs` of them.
        unsafe {
            let from = board.at.add(Board::HEAD + run * left_len);
            copy_nonoverlapping(from, bytes.as_mut_ptr(), left_len);
        }
        let memory = bytes.split_off(size_of::<State>());
        Left {
            state: State::from_bytes(&bytes),
            memory,
        }
    });
    Ended::Well(left.collect())
}

fn child(mappings: &[Mapping], entry: u64, states: &[State], board: &Board, left_len: usize) -> ! {
    let stack = map(STACK, STACK_LEN, false);
    let mut fine = !stack.is_null();
    for mapping in mappings {
        let at = map(mapping.at as usize, page_up(mapping.bytes.len()), false);
        fine &= !at.is_null();
        if fine && mapping.code {
            // SAFETY: just mapped, this long, and nobody else knows of it.
            unsafe {
                copy_nonoverlapping(mapping.bytes.as_ptr(), at, mapping.bytes.len());
                let len = page_up(mapping.bytes.len());
                libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_EXEC);
            }
        }
    }
    if !fine {
        // SAFETY: ends the child, whose parent sees the status.
        unsafe { libc::_exit(3) };
    }
    // A loop that should not be there ends with SIGALRM rather than never.
    // SAFETY: concerns this process alone.
    unsafe { libc::alarm(2) };
    enter::forbid_system_calls();
    for (i, state) in states.iter().enumerate() {
        let mut out = board.at.wrapping_add(Board::HEAD + i * left_len);
        // SAFETY: all of it was mapped above for `state.len` bytes, the board by the parent for all
        // runs; the code that is called is confined to them and comes back with its stack balanced.
        unsafe {
            board.progress().write_volatile(i as u64);
            stack.write_bytes(0x5a, STACK_LEN);
            for mapping in mappings.iter().filter(|m| !m.code) {
                copy_nonoverlapping(
                    mapping.bytes.as_ptr(),
                    mapping.at as *mut u8,
                    mapping.bytes.len(),
                );
            }
            let mut state = *state;
            // Room above it for what a leaf reads, below it for pushes and the red zone.
            state.set_rsp((STACK + STACK_LEN - 256) as u64);
            enter::enter(&mut state, entry);
            copy_nonoverlapping((&raw const state).cast(), out, size_of::<State>());
            out = out.add(size_of::<State>());
            for mapping in mappings.iter().filter(|m| !m.code) {
                copy_nonoverlapping(mapping.at as *const u8, out, mapping.bytes.len());
                out = out.add(mapping.bytes.len());
            }
            copy_nonoverlapping(stack, out, STACK_LEN);
        }
    }
    // SAFETY: as above; the filter knows this call by its status.
    unsafe {
        board.progress().write_volatile(states.len() as u64);
        libc::syscall(libc::SYS_exit_group, 0, enter::PASSWORD, enter::PASSWORD);
    }
    std::process::abort()
}
