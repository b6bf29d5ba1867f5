//! Donors: threads of the hosted libc that do nothing. Each lends its thread pointer and its stack to one thread of the
//! program, so that the hosted libc finds there what it keeps for each thread.
//!
//! A donor's stack is ours, not the C library's: in the child of a fork the program's C library takes all stacks that it
//! knows to be of other threads for free ones, and it shares that list with the hosted one.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I22: a donor runs until it is told to end, and touches its stack only near the top until then.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use super::{Hosted, Service, THREADS};
use crate::arch;
use crate::hosted::namespace;
use crate::pages::PAGE;
use crate::sys::{self, Errno, Protection};
use crate::thread;

/// A donor, at the end of its stack's mapping.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Donor {
    state: AtomicU32,
    /// Its thread pointer, which is what the hosted libc calls it by, too.
    fs: u64,
    /// Where hooks' stack begins.
    stack: u64,
    /// Another was here before.
    used: bool,
    /// Its own id.
    thread: u32,
    /// Bytes of the mapping, a guard page at its start.
    len: usize,
    /// The next one that has ended.
    next: *mut Donor,
    /// What the program's C library has kept for the last thread that was here.
    variables: [u8; VARIABLES],
}

/// More thread-local variables no C library has.
const VARIABLES: usize = 512;
static VARIABLES_AT: AtomicU64 = AtomicU64::new(0);
static VARIABLES_LEN: AtomicU64 = AtomicU64::new(0);

/// Remembers where those of the program's C library are.
///
/// The loader allocates by that one, in donors too (thread-local variables of hooks). What it keeps of a thread for that is
/// given back when a thread of its own ends, which a donor is not: so the next donor goes on with it.
pub(super) fn keep_variables((at, len): (u64, u64)) {
    if len <= VARIABLES as u64 {
        VARIABLES_AT.store(at, Ordering::Relaxed);
        VARIABLES_LEN.store(len, Ordering::Relaxed);
    }
}

const BEGINS: u32 = 0;
const READY: u32 = 1;
const ENDS: u32 = 2;

/// How much of its stack a donor keeps to itself: for a signal's frame, and what it does in the end.
const OWN: u64 = 32 << 10;
/// What a mapping has, if thread-local variables do not need more.
const LEN: usize = 512 << 10;
/// The most.
const MOST: usize = 1 << 26;

/// The signal by which the C library tells all threads to change their ids. Nobody waits for a thread that blocks the others.
pub const SETXID: u64 = 1 << (33 - 1);

/// Those that have ended, or are about to.
static ENDED: AtomicPtr<Donor> = AtomicPtr::new(ptr::null_mut());

/// Begins a donor. `create` calls the hosted `pthread_create`.
///
/// # Errors
/// The kernel's, or the C library's.
///
/// # Safety
/// I23: the namespace is there.
pub unsafe fn begin(create: impl Fn([usize; 4]) -> usize) -> Result<Hosted, Errno> {
    let mask = sys::block_signals();
    sys::restore_signals(!SETXID);
    // SAFETY: as the caller promises.
    let begun = unsafe { begin_blocked(&create) };
    sys::restore_signals(mask);
    begun
}

unsafe fn begin_blocked(create: &impl Fn([usize; 4]) -> usize) -> Result<Hosted, Errno> {
    const EINVAL: usize = linux_raw_sys::errno::EINVAL as usize;
    let mut room = 0;
    loop {
        // SAFETY: as the caller promises.
        let donor = match unsafe { ended(room) } {
            Some(donor) => donor,
            None => map(LEN.max(room))?,
        };
        // SAFETY: ours alone.
        let this = unsafe { &mut *donor };
        this.state = AtomicU32::new(BEGINS);
        let mut attributes = namespace::attributes(this.start() + PAGE as usize, donor.addr());
        let mut name = 0usize;
        let failed = create([
            (&raw mut name).addr(),
            attributes.as_mut_ptr().addr(),
            run as *const () as usize,
            donor.addr(),
        ]);
        if failed == 0 {
            while this.state.load(Ordering::Acquire) == BEGINS {
                sys::wait(&this.state, BEGINS);
            }
            return Ok(Hosted {
                fs: this.fs,
                stack: this.stack,
                id: thread_at(this.fs, THREAD_AT.load(Ordering::Relaxed)),
                thread: this.thread,
                own: this.thread,
                donor,
                ..Hosted::NONE
            });
        }
        let len = this.len;
        // SAFETY: mapped by `map`, and nobody runs on it.
        let _ = unsafe { sys::unmap(this.start(), len) };
        // Too small for the thread-local variables of all that is loaded.
        if failed as u32 as usize != EINVAL || len >= MOST {
            return Err(Errno(failed as u32));
        }
        room = 4 * len;
    }
}

fn map(len: usize) -> Result<*mut Donor, Errno> {
    let start = sys::map_anywhere(0, len, Protection::ReadWrite)?;
    // SAFETY: mapped just now.
    let _ = unsafe { sys::protect(start, PAGE as usize, Protection::None) };
    let donor = ptr::with_exposed_provenance_mut::<Donor>(start + len - size_of::<Donor>());
    // SAFETY: as above; zeros are a donor.
    unsafe { (*donor).len = len };
    Ok(donor)
}

/// The stack of one that has ended, of at least `room` bytes.
///
/// # Safety
/// I23: as [`begin`].
unsafe fn ended(room: usize) -> Option<*mut Donor> {
    // Acquire: pairs with the Release in `push`.
    let mut list = ENDED.swap(ptr::null_mut(), Ordering::Acquire);
    let mut found = None;
    let mut link = &raw mut list;
    // SAFETY: taken from the list, so ours, all of them.
    while let Some(mut next) = ptr::NonNull::new(unsafe { *link }) {
        // SAFETY: as above.
        let donor = unsafe { next.as_mut() };
        if donor.next.is_null() {
            // The one that was told first: better wait than take more memory for each thread of a busy program.
            donor.expect_end();
        }
        // SAFETY: as the caller promises. Busy: it still runs.
        let over = donor.len >= room
            && unsafe { Service::Join.call([donor.fs as usize, 0, 0, 0]) } as u32 == 0;
        if over {
            found = Some(&raw mut *donor);
            // SAFETY: as above.
            unsafe { *link = donor.next };
            break;
        }
        link = &raw mut donor.next;
    }
    if !list.is_null() {
        // SAFETY: as above.
        unsafe { push(list) };
    }
    found
}

/// Puts a list of them back.
///
/// # Safety
/// I22: nobody else has them.
unsafe fn push(list: *mut Donor) {
    let mut last = list;
    // SAFETY: as the caller promises.
    while let Some(next) = ptr::NonNull::new(unsafe { (*last).next }) {
        last = next.as_ptr();
    }
    let mut head = ENDED.load(Ordering::Relaxed);
    loop {
        // SAFETY: as the caller promises.
        unsafe { (*last).next = head };
        // Release: pairs with the Acquire in `ended`.
        match ENDED.compare_exchange_weak(head, list, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// In the child of a fork: none of them is a thread here. Their memory is lost to the child.
pub fn forget() {
    ENDED.store(ptr::null_mut(), Ordering::Relaxed);
}

impl Donor {
    fn start(&self) -> usize {
        ptr::from_ref(self).addr() + size_of::<Self>() - self.len
    }

    /// Waits for its end, but not for long: destructors of a hook's may wait for others.
    fn expect_end(&self) {
        const MILLISECONDS: u32 = 100;
        let at = thread_at(self.fs, THREAD_AT.load(Ordering::Relaxed));
        // SAFETY: I22: there as long as nobody has joined it; the kernel changes it.
        sys::wait_shared(
            unsafe { AtomicU32::from_ptr(at) },
            self.thread,
            MILLISECONDS,
        );
    }

    /// Has it end, as any thread of the hosted libc does.
    pub fn end(&self) {
        let donor = ptr::from_ref(self).cast_mut();
        // Release: what hooks have done on its stack is done.
        self.state.store(ENDS, Ordering::Release);
        sys::wake(&self.state);
        // SAFETY: I22: whoever takes it from the list joins it first.
        unsafe { (*donor).next = ptr::null_mut() };
        // SAFETY: as above.
        unsafe { push(donor) };
    }
}

/// Where a thread's id is, from its thread pointer on.
static THREAD_AT: AtomicU64 = AtomicU64::new(0);

fn thread_at(fs: u64, at: u64) -> *mut u32 {
    ptr::with_exposed_provenance_mut(fs.wrapping_add(at) as usize)
}

/// Finds out where the C library keeps a thread's id: where the donor's is in its, and this thread's in its own.
///
/// # Safety
/// I23: both have thread pointers of the same C library.
pub(super) unsafe fn find_thread_id(hosted: &mut Hosted) -> bool {
    // SAFETY: I22: begun just now.
    let thread = unsafe { (*hosted.donor).thread };
    // SAFETY: I13: what lets programs set one base lets them read the other.
    let (own_fs, own) = (unsafe { arch::fs_base() }, sys::thread_id());
    // A page behind either thread pointer is its thread's.
    let mut offsets = (0..2048).step_by(4);
    // SAFETY: as the caller promises.
    let is = |fs, at, id| unsafe { thread_at(fs, at).read() } == id;
    let found = offsets.find(|&at| is(hosted.fs, at, thread) && is(own_fs, at, own));
    let at = found.unwrap_or(0);
    THREAD_AT.store(at, Ordering::Relaxed);
    hosted.id = thread_at(hosted.fs, at);
    hosted.adopt();
    found.is_some()
}

/// The donor's thread.
unsafe extern "C" fn run(donor: *mut Donor) -> *mut c_void {
    let here = 0u64;
    // SAFETY: I13: the processor lets programs set it; this thread's is that of whoever began it.
    unsafe { arch::set_gs_base(thread::nobody()) };
    // SAFETY: I22: whoever began it waits.
    let this = unsafe { &mut *donor };
    // SAFETY: as above.
    this.fs = unsafe { arch::fs_base() };
    this.thread = sys::thread_id();
    this.stack = (ptr::from_ref(&here).addr() as u64 - OWN) & !63;
    let len = VARIABLES_LEN.load(Ordering::Relaxed) as usize;
    let at = this.fs.wrapping_add(VARIABLES_AT.load(Ordering::Relaxed));
    let theirs = ptr::with_exposed_provenance_mut::<u8>(at as usize);
    let ours = this.variables.as_mut_ptr();
    if this.used {
        // SAFETY: I23: this thread's, and it has called nothing yet.
        unsafe { ptr::copy_nonoverlapping(ours, theirs, len) };
    }
    this.stack = namespace::make_variables(this.fs, this.stack);
    let state = &this.state;
    // Release: pairs with the Acquire of whoever waits.
    state.store(READY, Ordering::Release);
    sys::wake(state);
    while state.load(Ordering::Acquire) == READY {
        sys::wait(state, READY);
    }
    // SAFETY: as above.
    unsafe { ptr::copy_nonoverlapping(theirs, ours, len) };
    this.used = true;
    ptr::null_mut()
}

/// What a thread that a hook begins is to do.
#[repr(C)]
#[derive(Debug)]
struct Begun {
    function: usize,
    argument: usize,
    taken: AtomicU32,
}

/// `pthread_create`, as hooks call it: no signal of the program's reaches their threads.
pub(super) unsafe extern "C" fn create(
    name: usize,
    attributes: usize,
    function: usize,
    argument: usize,
) -> u32 {
    THREADS.store(true, Ordering::Relaxed);
    let begun = Begun {
        function,
        argument,
        taken: AtomicU32::new(0),
    };
    let mask = sys::block_signals();
    sys::restore_signals(!SETXID);
    let place = (&raw const begun).addr();
    // SAFETY: I23: what the hook has asked for, but for where the thread begins.
    let failed =
        unsafe { namespace::create([name, attributes, enter as *const () as usize, place]) };
    sys::restore_signals(mask);
    while failed == 0 && begun.taken.load(Ordering::Acquire) == 0 {
        sys::wait(&begun.taken, 0);
    }
    failed
}

/// Where such a thread begins: goes on at its own function, with no frame of ours below it. rdi = &Begun.
#[unsafe(naked)]
unsafe extern "C" fn enter(begun: *const c_void) {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 24",
        "mov rax, [rdi]",
        "mov rdx, [rdi + 8]",
        "mov [rsp], rax",
        "mov [rsp + 8], rdx",
        "call {taken}",
        "mov rax, [rsp]",
        "mov rdi, [rsp + 8]",
        "add rsp, 24",
        "jmp rax",
        ".cfi_endproc",
        taken = sym taken,
    )
}

unsafe extern "C" fn taken(begun: *const Begun) {
    // SAFETY: as in `run`.
    unsafe { arch::set_gs_base(thread::nobody()) };
    // SAFETY: whoever began it waits for that.
    let taken = unsafe { &(*begun).taken };
    let word = taken.as_ptr().addr();
    // Release: it has been read.
    taken.store(1, Ordering::Release);
    // The word may be gone already: its address is all that the kernel looks at.
    sys::wake_at(word);
}
