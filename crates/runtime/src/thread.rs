//! One block and one hook stack for each thread, found through its `gs` base.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: who owns a block; I13: what `gs` is.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hotpatch_abi::Context;

use crate::arch;
use crate::frame::{Entered, GIVEN};
use crate::hooks;
use crate::hosted::Hosted;
use crate::internal;
use crate::load::MOST;
use crate::pages::{PAGE, Range};
use crate::preload::Told;
use crate::signal::held::Queue;
use crate::signal::slots::Slots;
use crate::sys::{self, Errno, Protection};
use crate::trap::own::Own as Trap;

/// Bytes of a thread's region, which is aligned to it: a guard page, the hook stack, the block.
pub const REGION: usize = 1 << REGION_SHIFT;
/// Its logarithm.
pub const REGION_SHIFT: u32 = 16;
/// Regions mapped at once.
const SLAB: usize = 16;
/// Bytes of a slab, which is aligned to it.
const SLAB_LEN: usize = SLAB << REGION_SHIFT;

/// A thread's own. `gs` leads to it; its hook stack ends where it begins.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Block {
    /// Its own address: the top of the hook stack. Blocks in trampolines read it at `gs:0`.
    pub top: u64,
    /// The lowest address of the hook stack.
    pub base: u64,
    /// The base of this thread's `fs`, negated: whoever has another one has got this block's `gs` from a thread that
    /// began it by a call which nobody saw.
    pub minus_fs: u64,
    /// Each hook's own word.
    pub slots: [u64; MOST],
    /// The number of the page of the program's stack that was last found to be writable; all ones: none.
    pub writable: u64,
    /// For instructions that leave no register free.
    pub own: Own,
    /// What the only hook is told, where there is but one.
    pub context: Context,
    /// The call that made this thread, for whoever comes back from it.
    pub birth: Birth,
    /// How many still need it: the thread, and its parent until it has read `birth`.
    pub users: AtomicU32,
    /// The next free one's number.
    next: AtomicU32,
    /// The slab mapped before this one's, in the first block of a slab.
    slab: AtomicU64,
    /// Whether its guard page is there.
    guarded: bool,
    /// What hosted hooks of this thread run with.
    pub hosted: Hosted,
    /// What signal.rs keeps here.
    pub signal: Slots,
    /// What trap.rs keeps here.
    pub trap: Trap,
    /// Signals that wait where no call can raise them again.
    pub held: Queue,
    /// The environment of the program that it is about to become.
    pub told: Told,
}

/// Where [`Block::signal`] is.
pub const SLOTS: usize = core::mem::offset_of!(Block, signal);
/// Where [`Block::trap`] is.
pub const TRAP: usize = core::mem::offset_of!(Block, trap);
/// Where the length of [`Block::held`] is.
pub const HELD: usize = core::mem::offset_of!(Block, held);

/// What a gate keeps for which no register is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// The program's stack pointer, from the block to the gate.
    pub rsp: u64,
    /// Its `rax`.
    pub rax: u64,
    /// Where the gate goes on.
    pub to: u64,
    /// The hooks, by bit, that want to see the result of the instruction.
    pub afters: u64,
}

/// A call of the clone family. It stands in the block reserved for the child, whose address goes through the kernel in
/// `r9`, an argument that none of these calls has.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Birth {
    /// `rax rdi rsi rdx r10 r8 r9` as the program had them.
    pub given: [u64; GIVEN],
    /// Where parent and child go on.
    pub next: u64,
    /// The site.
    pub id: u32,
    /// The hooks, by bit, that want to see the result.
    pub afters: u32,
    /// The flags of `clone` that decide who shares what.
    pub flags: u64,
}

/// The block at the top of `entered`'s stack.
///
/// # Safety
/// I12: `entered` is what a gate of this thread has built.
#[must_use]
pub unsafe fn block<'a>(entered: *mut Entered) -> &'a mut Block {
    // SAFETY: as the caller promises, the block begins where the stack ends.
    unsafe { &mut *entered.wrapping_add(1).cast::<Block>() }
}

/// The next region of the last slab that has never been used; at the end of a slab: none.
static FRESH: AtomicU64 = AtomicU64::new(0);
/// The first free block's number, with a count of changes above it: so a block that was taken and given back
/// meanwhile is not mistaken for one that nobody touched.
pub static FREE: AtomicU64 = AtomicU64::new(0);
/// The last slab mapped.
static SLABS: AtomicU64 = AtomicU64::new(0);

/// Adds one to the count of changes.
const CHANGE: u64 = 1 << 32;

fn number(block: *const Block) -> u32 {
    (block.addr() >> REGION_SHIFT) as u32
}

fn of_number(number: u32) -> *mut Block {
    of_region((number as usize) << REGION_SHIFT)
}

fn of_region(region: usize) -> *mut Block {
    ptr::with_exposed_provenance_mut(region + REGION - size_of::<Block>())
}

/// Takes a free block; maps more where there is none.
///
/// # Errors
/// The kernel's, where there is no memory.
pub fn take() -> Result<*mut Block, Errno> {
    let taken = match pop().or_else(fresh) {
        Some(block) => block,
        None => grow()?,
    };
    // SAFETY: I12: taken from the list, so nobody else's.
    let block = unsafe { &mut *taken };
    // Code of ours knows how much stack it takes.
    if !block.guarded && hooks::are_there() && !internal::is_filtered() {
        let region = block.addr_of_region();
        // SAFETY: the region's first page, which nobody uses.
        unsafe { sys::protect(region, PAGE as usize, Protection::None) }?;
        block.guarded = true;
    }
    block.slots = [0; MOST];
    block.writable = u64::MAX;
    block.hosted = Hosted::NONE;
    block.signal = Slots::default();
    block.held.len = 0;
    block.trap.begin();
    block.context = hooks::context(block.slots.as_mut_ptr());
    block.users = AtomicU32::new(1);
    Ok(taken)
}

/// What the gate has built that this thread is in: where it runs on its hook stack.
///
/// # Safety
/// I13: `gs` is ours.
#[must_use]
pub unsafe fn entered() -> Option<*mut Entered> {
    let here = 0u8;
    // SAFETY: as the caller promises.
    let block = unsafe { arch::gs_base() };
    let block = ptr::with_exposed_provenance_mut::<Block>(block as usize);
    // SAFETY: as above; null before this thread has one.
    let base = unsafe { block.as_ref() }?.base as usize;
    // SAFETY: as above. A hosted hook is called on the hook stack, and runs elsewhere.
    let here = match unsafe { (*block).hosted.inside } {
        inside if inside.is_null() => ptr::from_ref(&here).addr(),
        inside => inside.addr(),
    };
    let inside = (base..block.addr()).contains(&here);
    inside.then(|| block.cast::<Entered>().wrapping_sub(1))
}

impl Block {
    /// Where its `next` lies, for the code that gives a block back without a stack.
    pub const NEXT: usize = core::mem::offset_of!(Self, next);

    fn addr_of_region(&self) -> usize {
        ptr::from_ref(self).addr() & !(REGION - 1)
    }
}

fn pop() -> Option<*mut Block> {
    // Acquire: pairs with the Release in `push`: what its last owner wrote is there.
    let mut head = FREE.load(Ordering::Acquire);
    loop {
        if head as u32 == 0 {
            return None;
        }
        let block = of_number(head as u32);
        // SAFETY: I12: blocks stay mapped; `next` may be anything by now, then the exchange fails.
        let next = unsafe { &(*block).next }.load(Ordering::Relaxed);
        let new = (head & !0xffff_ffff).wrapping_add(CHANGE) | u64::from(next);
        match FREE.compare_exchange_weak(head, new, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => return Some(block),
            Err(now) => head = now,
        }
    }
}

/// Gives a block back. `leave_thread` in entry.rs does the same without a stack.
///
/// # Safety
/// I12: nobody uses it any more.
pub unsafe fn push(block: *mut Block) {
    let mut head = FREE.load(Ordering::Relaxed);
    loop {
        // SAFETY: ours until the exchange.
        unsafe { &(*block).next }.store(head as u32, Ordering::Relaxed);
        let new = (head & !0xffff_ffff).wrapping_add(CHANGE) | u64::from(number(block));
        // Release: pairs with the Acquire in `pop`.
        match FREE.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// One user less; the last one gives the block back.
///
/// # Safety
/// I12: the caller is one of its users.
pub unsafe fn release(block: *mut Block) {
    // SAFETY: the caller is a user still. AcqRel: whoever is last sees what the others did before.
    let users = unsafe { &(*block).users }.fetch_sub(1, Ordering::AcqRel);
    if users == 1 {
        // SAFETY: nobody is left.
        unsafe { push(block) };
    }
}

/// A region of the last slab that has never been used.
fn fresh() -> Option<*mut Block> {
    // Relaxed: the slab's own pages come as zeros, whoever asks for them.
    let mut at = FRESH.load(Ordering::Relaxed);
    while !(at as usize).is_multiple_of(SLAB_LEN) {
        let next = at + REGION as u64;
        match FRESH.compare_exchange_weak(at, next, Ordering::Relaxed, Ordering::Relaxed) {
            // SAFETY: I12: nobody else gets this one.
            Ok(_) => return Some(unsafe { made(at as usize) }),
            Err(now) => at = now,
        }
    }
    None
}

/// The block of a region, with what never changes in it.
///
/// # Safety
/// I12: nobody uses it.
unsafe fn made(region: usize) -> *mut Block {
    let at = of_region(region);
    // SAFETY: it was zeros once, which every field may be.
    let block = unsafe { &mut *at };
    block.top = at.addr() as u64;
    block.base = region as u64 + PAGE;
    at
}

/// Maps a slab; answers one of its blocks. Pages of the others are not touched before they are needed.
fn grow() -> Result<*mut Block, Errno> {
    let mapped = sys::map_anywhere(0, 2 * SLAB_LEN, Protection::ReadWrite)?;
    let start = mapped.next_multiple_of(SLAB_LEN);
    for (from, to) in [(mapped, start), (start + SLAB_LEN, mapped + 2 * SLAB_LEN)] {
        if from < to {
            // SAFETY: mapped just now; outside of the slab.
            let _ = unsafe { sys::unmap(from, to - from) };
        }
    }
    // SAFETY: I12: mapped just now.
    let first = unsafe { made(start) };
    let mut before = SLABS.load(Ordering::Relaxed);
    loop {
        // SAFETY: nobody else knows the slab yet.
        unsafe { &(*first).slab }.store(before, Ordering::Relaxed);
        // Release: pairs with the Acquire in `forget_others`.
        match SLABS.compare_exchange_weak(
            before,
            start as u64,
            Ordering::Release,
            Ordering::Relaxed,
        ) {
            Ok(_) => break,
            Err(now) => before = now,
        }
    }
    // Another thread may have mapped a slab meanwhile: what is left of that is not forgotten.
    let mut left = FRESH.swap((start + REGION) as u64, Ordering::Relaxed) as usize;
    while !left.is_multiple_of(SLAB_LEN) {
        // SAFETY: I12: nobody has used it, and nobody else can take it any more.
        let block = unsafe { made(left) };
        // SAFETY: as above.
        unsafe { push(block) };
        left += REGION;
    }
    Ok(first)
}

/// All slabs.
pub fn slabs() -> impl Iterator<Item = Range> {
    // Acquire: pairs with the Release in `grow`.
    let mut slab = SLABS.load(Ordering::Acquire) as usize;
    core::iter::from_fn(move || {
        if slab == 0 {
            return None;
        }
        let (start, end) = (slab as u64, (slab + (SLAB << REGION_SHIFT)) as u64);
        // SAFETY: I12: a slab's first block, which stays.
        slab = unsafe { &(*of_region(slab)).slab }.load(Ordering::Relaxed) as usize;
        Some(Range { start, end })
    })
}

/// The stacks that trap.rs has mapped for threads.
pub fn trap_stacks() -> impl Iterator<Item = Range> {
    let fresh = FRESH.load(Ordering::Relaxed);
    slabs().flat_map(move |slab| {
        let end = if slab.start <= fresh && fresh < slab.end {
            fresh
        } else {
            slab.end
        };
        let regions = (slab.start..end).step_by(REGION);
        // SAFETY: I12: blocks stay mapped, and come as zeros.
        regions.filter_map(|region| unsafe { &(*of_region(region as usize)).trap }.memory())
    })
}

/// In the child of a fork: the other threads' blocks are free, as these threads are not here.
///
/// # Safety
/// I12: `own` is this thread's, and no other thread runs in this memory.
pub unsafe fn forget_others(own: *mut Block) {
    FREE.store(0, Ordering::Relaxed);
    let mut slab = SLABS.load(Ordering::Acquire) as usize;
    let fresh = FRESH.load(Ordering::Relaxed) as usize;
    while slab != 0 {
        let end = slab + SLAB_LEN;
        let used = if (slab..end).contains(&fresh) {
            fresh
        } else {
            end
        };
        for region in (slab..used).step_by(REGION) {
            if of_region(region) != own {
                // SAFETY: as the caller promises. The thread that took it may not have come to make it.
                let block = unsafe { made(region) };
                // SAFETY: as above.
                unsafe { push(block) };
            }
        }
        // SAFETY: a slab's first block.
        slab = unsafe { &(*of_region(slab)).slab }.load(Ordering::Relaxed) as usize;
    }
}

/// Gives this thread a block.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// I13: nothing uses `gs`, and the processor and the kernel let programs set it.
pub unsafe fn begin() -> Result<(), Errno> {
    let block = take()?;
    // SAFETY: I13: what lets programs set one base lets them read the other.
    let fs = unsafe { arch::fs_base() };
    // SAFETY: I12: taken just now.
    unsafe { (*block).minus_fs = fs.wrapping_neg() };
    // SAFETY: as the caller promises.
    unsafe { arch::set_gs_base(block.addr() as u64) };
    Ok(())
}

/// This thread's block.
///
/// # Safety
/// I13: it has been begun.
#[must_use]
pub unsafe fn own<'a>() -> &'a mut Block {
    // SAFETY: as the caller promises.
    let block = unsafe { arch::gs_base() };
    // SAFETY: I12: this thread's.
    unsafe { &mut *ptr::with_exposed_provenance_mut(block as usize) }
}

/// Whether this thread has a block.
///
/// # Safety
/// Kernel and processor let programs read the base of `gs`.
#[must_use]
pub unsafe fn has_begun() -> bool {
    // SAFETY: as the caller promises.
    let block = unsafe { arch::gs_base() };
    let block = ptr::with_exposed_provenance::<Block>(block as usize);
    slabs().any(|slab| slab.start <= block.addr() as u64 && (block.addr() as u64) < slab.end)
}

struct Nobody(UnsafeCell<Block>);

// SAFETY: never written.
unsafe impl Sync for Nobody {}

static NOBODY: Nobody = Nobody(UnsafeCell::new({
    // SAFETY: zeros are a block.
    let mut block: Block = unsafe { core::mem::zeroed() };
    (block.minus_fs, block.base) = (1, u64::MAX);
    block
}));

/// What `gs` leads to in threads that are not the program's: a block that is nobody's, as no thread pointer is -1.
#[must_use]
pub fn nobody() -> u64 {
    NOBODY.0.get().addr() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the list is the process's.
    #[test]
    fn blocks_are_distinct_and_come_back() {
        let mut taken: Vec<*mut Block> = (0..3 * SLAB).map(|_| take().unwrap()).collect();
        let mut regions: Vec<usize> = taken.iter().map(|b| b.addr()).collect();
        regions.sort_unstable();
        assert!(regions.windows(2).all(|w| w[0] + REGION <= w[1]));
        assert_eq!(SLABS.load(Ordering::Relaxed) as usize % SLAB_LEN, 0);
        let last = taken.pop().unwrap();
        // SAFETY: the test's own.
        unsafe { release(last) };
        assert_eq!(take().unwrap(), last);
        let own = taken[0];
        // SAFETY: no other thread uses blocks here.
        unsafe { forget_others(own) };
        let mut all: Vec<*mut Block> = std::iter::from_fn(pop).collect();
        all.sort_unstable();
        all.dedup();
        assert!(all.len() >= 3 * SLAB - 1 && !all.contains(&own));
        // SAFETY: its own address stands at its start.
        assert!(all.iter().all(|&b| unsafe { (*b).top } == b.addr() as u64));
        std::thread::scope(|scope| {
            for &block in &all {
                // SAFETY: popped above.
                unsafe { push(block) };
            }
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let block = take().unwrap();
                        // SAFETY: taken just now.
                        unsafe { release(block) };
                    }
                });
            }
        });
        let mut again: Vec<*mut Block> = std::iter::from_fn(pop).collect();
        again.sort_unstable();
        assert_eq!(again, all);
    }
}
