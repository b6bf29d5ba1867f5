//! Signals that wait for a hook's end where the program has set a filter: no call can raise them again, so they are
//! kept here, and delivered as the kernel does it, with a frame on the program's stack. The only system call is the one
//! that handlers return by, which whoever has handlers allows.
//!
//! The vector registers are saved then: hooks keep them.
//!
//! No heap, no lock, no panic.
//!
//! # Safety
//! I17: frames and the program's stack; this thread's block is used by this thread alone.

use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};

use super::asm::code;
use super::context::{Context, Info, Registers, SignalFrame};
use super::disposition::{Action, IGNORE, bit};
use crate::arch;

/// How many can wait: more come at once only if as many different ones arrive between two instructions.
const MOST: usize = 3;
/// The kernel's `stack_t` while there is no alternate stack: `SS_DISABLE`.
const DISARMED: [u64; 3] = [0, 2, 0];
/// Where the kernel describes the saved vector registers, in their first 512 bytes (`struct _fpx_sw_bytes`).
const DESCRIBED: u64 = 464;
const FIRST_MAGIC: u32 = 0x4650_5853;
const LAST_MAGIC: u32 = 0x4650_5845;
/// The header of an XSAVE area.
const HEADER: (u64, usize) = (512, 64);
/// Of the flags: trap, direction and resume, which the kernel clears for a handler.
const NOT_FOR_HANDLERS: u64 = 1 << 8 | 1 << 10 | 1 << 16;

/// `struct _fpx_sw_bytes`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Described {
    magic: u32,
    /// Bytes in all, with the last magic word.
    len: u32,
    features: u64,
    /// Bytes of the area.
    area: u32,
    reserved: [u32; 7],
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Held {
    frame: SignalFrame,
    vectors: Described,
    entry: u64,
    /// On the alternate stack, or not.
    alternate: u64,
}

/// Those of a thread.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Queue {
    /// How many there are; the code in asm.rs looks.
    pub len: u64,
    held: [Held; MOST],
    /// What the first handler is entered by.
    launch: SignalFrame,
}

/// What each signal's handler has blocked, as last set in this memory. Only the kernel knows for sure, and cannot be
/// asked any more.
static MASKS: [AtomicU64; 65] = [const { AtomicU64::new(0) }; 65];

/// Notes what is blocked while the handler of `signal` runs.
pub fn note(signal: u32, action: &Action) {
    const NODEFER: u64 = 0x4000_0000;
    if action.handler > IGNORE
        && let Some(mask) = MASKS.get(signal as usize)
    {
        let own = if action.flags & NODEFER == 0 {
            bit(signal)
        } else {
            0
        };
        // Relaxed: a word for itself.
        mask.store(action.mask | own, Ordering::Relaxed);
    }
}

/// How many bytes of vector registers the kernel has saved at `at`.
#[must_use]
pub fn len_of_vectors(at: u64) -> Option<u64> {
    if at == 0 {
        return None;
    }
    let described = ptr::with_exposed_provenance::<Described>(at.wrapping_add(DESCRIBED) as usize);
    // SAFETY: I17: the kernel has put it there.
    let vectors = unsafe { described.read_unaligned() };
    (vectors.magic == FIRST_MAGIC).then_some(u64::from(vectors.len))
}

impl Queue {
    /// Keeps a signal. Answers whether it could; its frame is done with then.
    pub fn keep(&mut self, frame: &SignalFrame, entry: usize, alternate: bool) -> bool {
        let at = frame.context.vectors;
        let Some(held) = self.held.get_mut(self.len as usize) else {
            return false;
        };
        if at == 0 {
            return false;
        }
        let described =
            ptr::with_exposed_provenance::<Described>(at.wrapping_add(DESCRIBED) as usize);
        // SAFETY: I17: the kernel has put it there.
        let vectors = unsafe { described.read_unaligned() };
        if vectors.magic != FIRST_MAGIC {
            return false;
        }
        *held = Held {
            frame: *frame,
            vectors,
            entry: entry as u64,
            alternate: u64::from(alternate),
        };
        self.len += 1;
        true
    }

    /// Delivers all to a thread with these registers, and the signals of `mask` blocked. Answers what to return from
    /// as from a handler, to enter the first one. `top`: where the alternate stack ends.
    ///
    /// # Safety
    /// The thread's own queue and registers, the vector registers are the program's, and nothing but faults arrives.
    pub unsafe fn deliver(
        &mut self,
        mut registers: Registers,
        mut mask: u64,
        is_alternate: impl Fn(u64) -> bool,
        top: u64,
    ) -> *const SignalFrame {
        let len = core::mem::take(&mut self.len) as usize;
        let mut disarmed = false;
        for held in self.held.iter().take(len) {
            let moves = held.alternate != 0 && !is_alternate(registers.rsp);
            let stack = if moves {
                top
            } else {
                registers.rsp.wrapping_sub(128)
            };
            let vectors = stack.wrapping_sub(u64::from(held.vectors.len)) & !63;
            let at = (vectors.wrapping_sub(size_of::<SignalFrame>() as u64) & !15).wrapping_sub(8);
            let mut frame = held.frame;
            (frame.context.registers, frame.context.mask) = (registers, mask);
            frame.context.vectors = vectors;
            if disarmed {
                frame.context.stack = DISARMED; // it interrupts a handler there
            }
            disarmed |= moves;
            // SAFETY: I17: below what the program uses of its stack, as the kernel would.
            unsafe { put(at, &frame, vectors, &held.vectors) };
            let number = frame.info.signal;
            registers.rip = code().of(held.entry as usize);
            registers.rsp = at;
            registers.rax = 0;
            registers.rdi = u64::from(number);
            registers.rsi = at + offset_of!(SignalFrame, info) as u64;
            registers.rdx = at + offset_of!(SignalFrame, context) as u64;
            registers.flags &= !NOT_FOR_HANDLERS;
            // Relaxed: as in `note`.
            mask |= MASKS
                .get(number as usize)
                .map_or(0, |mask| mask.load(Ordering::Relaxed));
            self.launch = frame;
            let context = &mut self.launch.context;
            (context.registers, context.mask) = (registers, mask);
            if disarmed {
                // The kernel disarms it for the handler. Armed, the next signal's frame would lie over this one's.
                context.stack = DISARMED;
            }
        }
        &raw const self.launch
    }
}

/// Writes a frame as the kernel does: what its own words say, and the vector registers.
///
/// # Safety
/// The memory is the program's to be written.
unsafe fn put(at: u64, frame: &SignalFrame, vectors: u64, described: &Described) {
    let to = |at: u64| ptr::with_exposed_provenance_mut::<u8>(at as usize);
    // SAFETY: as the caller promises.
    unsafe { to(at).cast::<SignalFrame>().write_unaligned(*frame) };
    // SAFETY: as above.
    unsafe { to(vectors).write_bytes(0, HEADER.0 as usize + HEADER.1) };
    // SAFETY: as above; the header is zero.
    unsafe { arch::save_vectors(vectors, described.features) };
    let words = to(vectors + DESCRIBED).cast::<Described>();
    // SAFETY: as above.
    unsafe { words.write_unaligned(*described) };
    let last = to(vectors + u64::from(described.area)).cast::<u32>();
    // SAFETY: as above.
    unsafe { last.write_unaligned(LAST_MAGIC) };
}

/// The words that a frame and its copy have in common are these.
const _: () = assert!(size_of::<Described>() == 48 && size_of::<Info>() == 128);
const _: () = assert!(offset_of!(Queue, len) == 0 && size_of::<Context>() == 304);
