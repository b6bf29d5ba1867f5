//! Hosted hooks: files that need a C library, in a link namespace of their own.
//!
//! | file | what it does |
//! |---|---|
//! | `namespace.rs` | finds the loader's functions in the program, and opens the namespace and the hooks with them |
//! | `donor.rs` | a thread of the hosted libc for each thread of the program, whose thread pointer hooks run with |
//! | `stubs.rs` | what stands before each function of a hook |
//! | this file | what the rest of the runtime asks for |
//!
//! After start-up: no heap, no lock, no panic. (The hosted libc has both; it is its own, and shares no lock with the
//! program but those of the loader.)
//!
//! # Safety
//! I22: a donor is one thread's; I23: what is called in the namespace is there for good.

pub mod donor;
pub mod namespace;
pub mod stubs;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hotpatch_abi::{
    AfterFn, BeforeFn, EventFn, Frame, Hook, NO_THREAD_STATE, SelectFn, StartFn, vectors,
};
use linux_raw_sys::general as k;

use crate::arch;
use crate::internal::is_filtered;
use crate::load::MOST;
use crate::services;
use crate::sys::{self, Errno};
use crate::thread::{self, Block};
use donor::Donor;
use stubs::{FUNCTIONS, Kept, OWN_THREAD, Width};

/// What a thread's block says of its donor.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hosted {
    /// The donor's thread pointer; 0 where there is none, and no hosted hook is called.
    pub fs: u64,
    /// Where hooks' stack begins.
    pub stack: u64,
    /// What a stub keeps while this thread is in a hosted function; null while it is not.
    pub inside: *const Kept,
    /// Where the C library keeps the donor's thread id.
    ///
    /// While a hook runs it is that of the thread which the hook runs on: the loader's locks are the same for all
    /// namespaces and know their owner by it, and the program's thread may hold one, as hooks are called while a library
    /// is opened.
    pub id: *mut u32,
    /// This thread's id.
    pub thread: u32,
    /// The donor's own.
    pub own: u32,
    /// The last signal that told this thread to change its ids was answered for its donor.
    pub turn: bool,
    /// The donor, to be ended with this thread; null where it is another thread's, or not there any more.
    pub donor: *mut Donor,
}

impl Hosted {
    /// No donor.
    pub const NONE: Self = Self {
        fs: 0,
        stack: 0,
        inside: core::ptr::null(),
        id: core::ptr::null_mut(),
        thread: 0,
        own: 0,
        turn: false,
        donor: core::ptr::null_mut(),
    };

    /// This thread takes it for its own.
    pub fn adopt(&mut self) {
        if self.fs != 0 {
            self.thread = sys::thread_id();
        }
    }

    /// The same donor, for a thread that this one waits for, or becomes.
    #[must_use]
    pub const fn lent(&self) -> Self {
        Self {
            donor: core::ptr::null_mut(),
            inside: core::ptr::null(),
            ..*self
        }
    }
}

/// The functions of the hosted libc that the runtime calls, by their stubs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// `pthread_create`
    Create,
    /// `pthread_tryjoin_np`
    Join,
    /// `fflush`
    Flush,
    /// `fork`
    Fork,
    /// `__errno_location`
    Errno,
    /// The loader's `dlmopen`.
    Open,
    /// Its `dlsym`.
    Symbol,
    /// Its `dlerror`.
    Error,
    /// `pthread_attr_init`
    Attributes,
    /// `pthread_attr_setstack`
    Stack,
    /// The loader's `__tls_get_addr`.
    Variable,
}

impl Service {
    const fn index(self) -> usize {
        MOST * FUNCTIONS + self as usize
    }

    /// Calls it as this thread's donor; but `fork`, what says why it failed, what allocates for a thread, and what keeps
    /// nothing, as this thread.
    ///
    /// # Safety
    /// I23: the arguments are what it takes.
    pub unsafe fn call(self, arguments: [usize; 4]) -> usize {
        type Function = unsafe extern "C" fn(usize, usize, usize, usize) -> usize;
        let stub = core::ptr::with_exposed_provenance::<()>(stubs::at(self.index()) as usize);
        // SAFETY: a stub is code of that convention.
        let stub = unsafe { core::mem::transmute::<*const (), Function>(stub) };
        let [a, b, c, d] = arguments;
        // SAFETY: as the caller promises.
        unsafe { stub(a, b, c, d) }
    }
}

/// There is a hosted hook.
static THERE: AtomicBool = AtomicBool::new(false);
/// A hook has begun threads of its own.
static THREADS: AtomicBool = AtomicBool::new(false);
/// What the processor has, as bits of XCR0.
static FEATURES: AtomicU64 = AtomicU64::new(0);

/// Whether there are hosted hooks: then not every thread that comes to a trampoline is the program's.
#[must_use]
pub fn are_there() -> bool {
    THERE.load(Ordering::Relaxed)
}

/// Whether there is anything of theirs in this process.
fn begun() -> bool {
    namespace::is_open()
}

const AVX: u64 = 1 << 2;
const AVX512: u64 = 7 << 5;

fn has(features: u64) -> bool {
    FEATURES.load(Ordering::Relaxed) & features == features
}

/// What has to be kept for a hook that says so.
fn width(declared: u32) -> Width {
    match declared {
        vectors::NONE => Width::Nothing,
        vectors::YMM if has(AVX) => Width::Ymm,
        vectors::YMM | vectors::XMM => Width::Xmm,
        _ if has(AVX512) => Width::AllZmm,
        _ if has(AVX) => Width::AllYmm,
        _ => Width::AllXmm,
    }
}

/// Lets service `service` lead to `function`.
///
/// # Safety
/// I14: start-up's alone.
unsafe fn serve(service: Service, function: u64) {
    let flags = match service {
        Service::Fork | Service::Errno | Service::Attributes | Service::Stack => OWN_THREAD,
        // They allocate by the program's `malloc`, which may keep something for each thread that calls it.
        Service::Create | Service::Join => OWN_THREAD,
        _ => 0,
    };
    let width = width(vectors::ALL);
    // SAFETY: as the caller promises.
    unsafe { stubs::lead(service.index(), function, width, flags, u32::MAX) };
}

/// Puts stubs before the functions of a hosted hook, number `n`.
///
/// # Safety
/// I14: start-up's alone.
pub unsafe fn wrap(hook: &mut Hook, n: usize) {
    let width = width(hook.vectors);
    let flags = if hook.flags & NO_THREAD_STATE != 0 {
        OWN_THREAD
    } else {
        0
    };
    // SAFETY: as the caller promises.
    let stub = |function: u64, k: usize| unsafe {
        stubs::lead(n * FUNCTIONS + k, function, width, flags, n as u32) as usize
    };
    macro_rules! wrap {
        ($field:ident, $type:ty, $k:literal) => {
            if let Some(function) = hook.$field {
                let at = stub(function as *const () as u64, $k);
                let at = core::ptr::with_exposed_provenance::<()>(at);
                // SAFETY: a stub passes everything on.
                hook.$field = unsafe { core::mem::transmute::<*const (), $type>(at) };
            }
        };
    }
    wrap!(select, SelectFn, 0);
    wrap!(start, StartFn, 1);
    wrap!(before, BeforeFn, 2);
    wrap!(after, AfterFn, 3);
    wrap!(event, EventFn, 4);
    THERE.store(true, Ordering::Relaxed);
}

/// What this thread's stub keeps, where it is in a hosted function.
///
/// # Safety
/// I13: `gs` leads to a block, or is 0.
#[must_use]
pub unsafe fn inside<'a>() -> Option<&'a Kept> {
    // SAFETY: as the caller promises.
    let block = unsafe { arch::gs_base() };
    let block = core::ptr::with_exposed_provenance::<Block>(block as usize);
    // SAFETY: as above.
    let kept = unsafe { block.as_ref() }?.hosted.inside;
    // SAFETY: I22: what a stub keeps is there while it says so.
    unsafe { kept.as_ref() }
}

/// Gives the child of a thread that shares its memory with it a donor.
///
/// # Errors
/// There is none to be had: the child must not be.
///
/// # Safety
/// I12: `child` is reserved, and the parent calls.
pub unsafe fn give(parent: &Hosted, child: &mut Block) -> Result<(), Errno> {
    if parent.fs == 0 || is_filtered() {
        return Ok(());
    }
    // SAFETY: I23: as pthread_create(3) says.
    let create = |arguments| unsafe { Service::Create.call(arguments) };
    // SAFETY: I23: the namespace is there, as this thread has a donor.
    child.hosted = unsafe { donor::begin(create) }?;
    Ok(())
}

/// Ends a thread's donor, if that is its own.
pub fn end(hosted: &mut Hosted) {
    // SAFETY: I22: nobody uses it any more.
    if let Some(donor) = unsafe { hosted.donor.as_ref() } {
        *hosted = Hosted::NONE;
        donor.end();
    }
}

/// Writes out what hooks have printed.
pub fn flush(hosted: &Hosted) {
    if begun() && hosted.fs != 0 && !is_filtered() {
        // SAFETY: I23: all streams.
        unsafe { Service::Flush.call([0; 4]) };
    }
}

/// The flags of the C library's `fork`.
const FORK: u64 = (k::CLONE_CHILD_SETTID | k::CLONE_CHILD_CLEARTID | k::SIGCHLD) as u64;

/// Executes a fork by the hosted libc, which sees to it that none of its locks is held by a thread that the child does
/// not have; `None` where it is another call than the C library's.
///
/// It is called as the program's thread, not as its donor: the list of threads is the loader's, and of all threads that
/// it holds the one that calls stays in the child.
pub fn fork(frame: &mut Frame, hosted: &Hosted) -> Option<i64> {
    // Where the kernel writes the child's id: in what the thread pointer leads to.
    const NEAR: u64 = 4096;
    let Frame {
        rax,
        rdi: flags,
        rsi: stack,
        r10: id,
        ..
    } = *frame;
    let own = is_clone(rax) && flags == FORK && stack == 0;
    // SAFETY: I13: what lets programs set one base lets them read the other.
    let fs = unsafe { arch::fs_base() };
    if hosted.fs == 0 || is_filtered() || !own || id.wrapping_sub(fs) >= NEAR {
        return None;
    }
    flush(hosted);
    // SAFETY: I23: as any program may.
    let mut result = i64::from(unsafe { Service::Fork.call([0; 4]) } as i32);
    if result < 0 {
        // SAFETY: I23: answers where the number is.
        let number = unsafe { Service::Errno.call([0; 4]) };
        // SAFETY: as above.
        result = -i64::from(unsafe { core::ptr::with_exposed_provenance::<i32>(number).read() });
    }
    if result == 0 {
        // SAFETY: writes no memory; the kernel will write there when the process ends, as it was asked to.
        let thread =
            unsafe { arch::syscall(k::__NR_set_tid_address, [id as usize, 0, 0, 0, 0, 0]) };
        let there = core::ptr::with_exposed_provenance_mut::<u32>(id as usize);
        // SAFETY: the program has asked for that.
        unsafe { there.write(thread as u32) };
    }
    frame.rax = result as u64;
    Some(result)
}

const fn is_clone(number: u64) -> bool {
    number as u32 == k::__NR_clone
}

/// What a child that has a copy of its parent's memory has of its donor, if the fork is not the hosted libc's.
#[must_use]
pub fn copied(parent: &Hosted) -> Hosted {
    if parent.fs == 0 {
        return Hosted::NONE;
    }
    // This thread and its donor: then nobody else can hold a lock.
    if !THREADS.load(Ordering::Relaxed) && sys::threads() <= 2 {
        return parent.lent();
    }
    services::say(
        b"fork",
        b"other threads may be in hosted hooks, which are not called in this child",
    );
    Hosted::NONE
}

/// In the child of a fork: no other thread's donor is there.
///
/// # Safety
/// I22: no other thread runs in this memory.
pub unsafe fn forked(own: &mut Hosted) {
    *own = own.lent();
    own.adopt();
    donor::forget();
}

/// Whether this is a thread of the hosted libc's, which the program does not know.
#[must_use]
pub fn is_own_thread() -> bool {
    // SAFETY: I13.
    are_there() && unsafe { arch::gs_base() } == thread::nobody()
}
