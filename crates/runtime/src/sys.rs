//! The system calls that start-up makes, with types.
//!
//! # Safety
//! Each wrapper passes the kernel memory that it borrows for the call, or whose validity its caller promises.

pub mod disk;

use core::ffi::CStr;
use core::fmt;
use core::sync::atomic::AtomicU32;

use linux_raw_sys::general as k;
use linux_raw_sys::{errno, prctl};

use crate::arch::syscall;
use crate::signal::disposition::Action;

/// An error number of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub u32);

impl Errno {
    /// No such file, or no such thing.
    pub const NOENT: Self = Self(errno::ENOENT);
    /// An address that is not mapped.
    pub const FAULT: Self = Self(errno::EFAULT);
    /// Interrupted by a signal.
    pub const INTR: Self = Self(errno::EINTR);
    /// Makes no sense.
    pub const INVAL: Self = Self(errno::EINVAL);
    /// Would block.
    pub const AGAIN: Self = Self(errno::EAGAIN);
    /// The reader is gone.
    pub const PIPE: Self = Self(errno::EPIPE);
    /// Refused.
    pub const PERM: Self = Self(errno::EPERM);
    /// It did not arrive.
    pub const IO: Self = Self(errno::EIO);
    /// No memory, or none is mapped there.
    pub const NOMEM: Self = Self(errno::ENOMEM);
    /// Something is mapped there.
    pub const EXIST: Self = Self(errno::EEXIST);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            errno::EPERM => "not permitted",
            errno::ENOENT => "no such file",
            errno::EIO => "refused by the kernel",
            errno::ENXIO => "nobody reads from it",
            errno::ENOMEM => "no memory",
            errno::EACCES => "access denied",
            errno::EEXIST => "in use",
            errno::ENOTDIR => "not a directory",
            errno::EISDIR => "a directory",
            errno::EINVAL => "not valid",
            errno::EMFILE | errno::ENFILE => "too many open files",
            errno::ENOSPC => "no space left",
            errno::EROFS => "read-only file system",
            errno::ENAMETOOLONG => "name too long",
            errno::ELOOP => "too many symbolic links",
            other => return write!(f, "error {other}"),
        };
        f.write_str(words)
    }
}

type Result<T> = core::result::Result<T, Errno>;

fn answer(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        Err(Errno(result.unsigned_abs() as u32))
    } else {
        Ok(result.cast_unsigned())
    }
}

/// A system call whose memory arguments are all borrowed by a wrapper of this file.
///
/// # Safety
/// As [`syscall`].
unsafe fn call<const N: usize>(number: u32, arguments: [usize; N]) -> Result<usize> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: as the caller promises.
    answer(unsafe { syscall(number, all) })
}

/// An open descriptor, closed when dropped.
#[derive(PartialEq, Eq, Debug)]
pub struct Fd(u32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: closes a descriptor that we opened.
        let _ = unsafe { call(k::__NR_close, [self.0 as usize]) };
    }
}

/// The program's own descriptor 2, borrowed.
pub const STDERR: u32 = 2;

/// How a file is opened. Each is closed on exec and never becomes the controlling terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// To read.
    Read,
    /// To read and write.
    ReadWrite,
    /// To append to, made if missing; never waits for the reader of a pipe.
    Append,
}

impl Fd {
    /// Opens `path`.
    pub fn open(path: &CStr, how: Open) -> Result<Self> {
        let flags = k::O_CLOEXEC
            | k::O_NOCTTY
            | match how {
                Open::Read => k::O_RDONLY | k::O_NONBLOCK,
                Open::ReadWrite => k::O_RDWR,
                Open::Append => k::O_WRONLY | k::O_APPEND | k::O_CREAT | k::O_NONBLOCK,
            };
        let at = k::AT_FDCWD as isize as usize;
        let arguments = [at, path.as_ptr().addr(), flags as usize, 0o666];
        // SAFETY: reads `path`.
        unsafe { call(k::__NR_openat, arguments) }.map(|fd| Self(fd as u32))
    }

    /// A descriptor that is ours: nobody else knows it.
    #[must_use]
    pub const fn own(number: u32) -> Self {
        Self(number)
    }

    /// Makes a file without a name, which an exec does not close.
    pub fn without_name(shown: &CStr) -> Result<Self> {
        // SAFETY: reads `shown`.
        unsafe { call(k::__NR_memfd_create, [shown.as_ptr().addr(), 0]) }.map(|fd| Self(fd as u32))
    }

    /// The number.
    #[must_use]
    pub fn raw(&self) -> u32 {
        self.0
    }

    /// Reads into `buffer` from the file's own offset; 0 at the end.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        let arguments = [self.0 as usize, buffer.as_mut_ptr().addr(), buffer.len()];
        // SAFETY: writes to `buffer`.
        retry(|| unsafe { call(k::__NR_read, arguments) })
    }

    /// Writes `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        let arguments = [
            self.0 as usize,
            bytes.as_ptr().addr(),
            bytes.len(),
            offset as usize,
        ];
        // SAFETY: reads `bytes`. That `self` may be /proc/self/mem is the business of patch.rs (I5).
        retry(|| unsafe { call(k::__NR_pwrite64, arguments) })
    }

    /// Writes all of `bytes` at the file's start.
    pub fn write_all(&self, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            match self.write_at(rest, done as u64)? {
                0 => return Err(Errno::IO),
                count => done += count,
            }
        }
        Ok(())
    }

    /// Maps `len` bytes of the file to read, private; never written through.
    ///
    /// Far from where libraries are mapped: where they lie below nothing but the stack (addresses are not random), the
    /// one place that trampolines can have is where the kernel would put this.
    pub fn map(&self, len: usize) -> Result<*const u8> {
        self.map_near(0x18_0000_0000, len)
    }

    /// The same, at `hint` if nothing is there.
    pub fn map_near(&self, hint: usize, len: usize) -> Result<*const u8> {
        let arguments = [
            hint,
            len,
            k::PROT_READ as usize,
            k::MAP_PRIVATE as usize,
            self.0 as usize,
            0,
        ];
        // SAFETY: makes a new mapping where none was.
        unsafe { call(k::__NR_mmap, arguments) }.map(core::ptr::with_exposed_provenance)
    }

    /// Maps a part of the file over what is at `at`, private.
    ///
    /// # Safety
    /// Nobody needs what was there.
    pub unsafe fn map_at(
        &self,
        at: usize,
        len: usize,
        offset: u64,
        protection: Protection,
    ) -> Result<()> {
        let flags = k::MAP_PRIVATE | k::MAP_FIXED;
        let arguments = [
            at,
            len,
            protection.bits(),
            flags as usize,
            self.0 as usize,
            offset as usize,
        ];
        // SAFETY: as the caller promises.
        unsafe { call(k::__NR_mmap, arguments) }.map(drop)
    }
}

fn retry(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Writes `bytes` to descriptor `fd`, once.
pub fn write(fd: u32, bytes: &[u8]) -> Result<usize> {
    let arguments = [fd as usize, bytes.as_ptr().addr(), bytes.len()];
    // SAFETY: reads `bytes`.
    retry(|| unsafe { call(k::__NR_write, arguments) })
}

/// Whether `fd` is open.
#[must_use]
pub fn is_open(fd: u32) -> bool {
    // SAFETY: touches no memory.
    unsafe { call(k::__NR_fcntl, [fd as usize, k::F_GETFD as usize]) }.is_ok()
}

/// Whether `fd` takes bytes within `milliseconds`. Where it cannot be told, it is said to.
pub fn wait_writable(fd: u32, milliseconds: u32) -> bool {
    let mut poll = k::pollfd {
        fd: fd.cast_signed(),
        events: k::POLLOUT as i16,
        revents: 0,
    };
    let arguments = [(&raw mut poll).addr(), 1, milliseconds as usize];
    // SAFETY: writes to `poll`.
    let ready = unsafe { call(k::__NR_poll, arguments) };
    ready != Ok(0)
}

/// What memory may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protection {
    /// Nothing.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and executing.
    ReadExecute,
    /// Executing alone.
    Execute,
}

impl Protection {
    fn bits(self) -> usize {
        (match self {
            Self::None => 0,
            Self::Read => k::PROT_READ,
            Self::ReadWrite => k::PROT_READ | k::PROT_WRITE,
            Self::ReadExecute => k::PROT_READ | k::PROT_EXEC,
            Self::Execute => k::PROT_EXEC,
        }) as usize
    }
}

/// Maps `len` bytes of zeros near `hint`, without reserving memory for them.
pub fn map_anywhere(hint: usize, len: usize, protection: Protection) -> Result<usize> {
    let flags = k::MAP_PRIVATE | k::MAP_ANONYMOUS | k::MAP_NORESERVE;
    let arguments = [hint, len, protection.bits(), flags as usize, usize::MAX, 0];
    // SAFETY: makes a new mapping where none was.
    unsafe { call(k::__NR_mmap, arguments) }
}

/// Maps `len` bytes of zeros at `at` exactly, which must be free.
pub fn map_at(at: usize, len: usize, protection: Protection) -> Result<()> {
    let flags = k::MAP_PRIVATE | k::MAP_ANONYMOUS | k::MAP_FIXED_NOREPLACE;
    let arguments = [at, len, protection.bits(), flags as usize, usize::MAX, 0];
    // SAFETY: replaces nothing: MAP_FIXED_NOREPLACE, and kernels before 4.17 take `at` as a hint.
    let got = unsafe { call(k::__NR_mmap, arguments) }?;
    if got == at {
        return Ok(());
    }
    // SAFETY: unmaps what was mapped just now.
    let _ = unsafe { unmap(got, len) };
    Err(Errno::EXIST)
}

/// Asks for the pages of memory that will be written soon. Kernels before 5.14 do not know how: then they come one
/// by one.
pub fn populate(at: usize, len: usize) {
    // SAFETY: changes nothing that can be read.
    let _ = unsafe { call(k::__NR_madvise, [at, len, k::MADV_POPULATE_WRITE as usize]) };
}

/// Says that memory may come in huge pages.
pub fn prefer_huge_pages(at: usize, len: usize) {
    // SAFETY: changes nothing that can be read.
    let _ = unsafe { call(k::__NR_madvise, [at, len, k::MADV_HUGEPAGE as usize]) };
}

/// Unmaps.
///
/// # Safety
/// Nobody uses those bytes any more.
pub unsafe fn unmap(at: usize, len: usize) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe { call(k::__NR_munmap, [at, len]) }.map(drop)
}

/// Changes what whole pages may be used for.
///
/// # Safety
/// Nobody uses those bytes for what is no longer allowed.
pub unsafe fn protect(at: usize, len: usize, protection: Protection) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe { call(k::__NR_mprotect, [at, len, protection.bits()]) }.map(drop)
}

/// Whether memory that was writable can never become executable (`PR_SET_MDWE`).
#[must_use]
pub fn denies_write_execute() -> bool {
    // SAFETY: reads no memory.
    matches!(unsafe { call(k::__NR_prctl, [prctl::PR_GET_MDWE as usize, 0, 0, 0, 0]) }, Ok(bits) if bits != 0)
}

/// Reads a word at an address that may not be mapped.
///
/// The kernel is asked first: it looks at a signal set before it finds that nothing is to be done with it. Unlike the
/// calls that are made for this, no sandbox forbids that one.
#[must_use]
pub fn peek(at: usize) -> Option<usize> {
    const NOTHING: usize = 99;
    // SAFETY: reads eight bytes; changes nothing, as `NOTHING` is no way to change a mask.
    let answer = unsafe { call(k::__NR_rt_sigprocmask, [NOTHING, at, 0, 8]) };
    // SAFETY: mapped, as the kernel has read it.
    (answer == Err(Errno::INVAL))
        .then(|| unsafe { core::ptr::with_exposed_provenance::<usize>(at).read_unaligned() })
}

/// Whether the eight bytes at `at` can be written, which changes them: the kernel leaves the thread's mask there.
#[must_use]
pub fn is_writable(at: u64) -> bool {
    // SAFETY: the caller has no use for what is there; the kernel answers EFAULT where nothing is mapped.
    unsafe {
        call(
            k::__NR_rt_sigprocmask,
            [k::SIG_BLOCK as usize, 0, at as usize, 8],
        )
    }
    .is_ok()
}

/// Blocks the signals of `set` too.
pub fn block(set: u64) {
    mask(k::SIG_BLOCK, set, &mut 0);
}

/// Blocks every signal of this thread, for good.
pub fn block_all_signals() {
    mask(k::SIG_BLOCK, u64::MAX, &mut 0);
}

/// Blocks every signal of this thread; answers the mask as it was.
#[must_use]
pub fn block_signals() -> u64 {
    let mut before = 0;
    mask(k::SIG_BLOCK, u64::MAX, &mut before);
    before
}

/// What this thread blocks.
#[must_use]
pub fn blocked() -> u64 {
    let mut now = 0;
    mask(k::SIG_BLOCK, 0, &mut now);
    now
}

/// Unblocks the signals of `set`; answers the mask as it was.
pub fn unblock(set: u64) -> u64 {
    let mut before = 0;
    mask(k::SIG_UNBLOCK, set, &mut before);
    before
}

/// Gives this thread the mask that it had.
pub fn restore_signals(before: u64) {
    mask(k::SIG_SETMASK, before, &mut 0);
}

/// Sleeps until somebody [wakes](wake) it, if `word` is `value`. May return for no reason.
pub fn wait(word: &AtomicU32, value: u32) {
    let arguments = [word.as_ptr().addr(), FUTEX_WAIT_PRIVATE, value as usize, 0];
    // SAFETY: reads `word`.
    let _ = unsafe { call(k::__NR_futex, arguments) };
}

/// Sleeps until the kernel changes `word`, if it is `value`, for so long at most.
pub fn wait_shared(word: &AtomicU32, value: u32, milliseconds: u32) {
    const FUTEX_WAIT: usize = 0;
    let time = [0, u64::from(milliseconds) * 1_000_000];
    let arguments = [
        word.as_ptr().addr(),
        FUTEX_WAIT,
        value as usize,
        time.as_ptr().addr(),
    ];
    // SAFETY: reads `word` and `time`.
    let _ = unsafe { call(k::__NR_futex, arguments) };
}

/// Wakes one thread that waits for `word`.
pub fn wake(word: &AtomicU32) {
    wake_at(word.as_ptr().addr());
}

/// The same for a word that may not be there any more.
pub fn wake_at(word: usize) {
    // SAFETY: touches no memory.
    let _ = unsafe { call(k::__NR_futex, [word, FUTEX_WAKE_PRIVATE, 1]) };
}

/// Sends `signal` to the process, with the `siginfo` at `info`.
///
/// # Safety
/// That is one.
pub unsafe fn pass_on(signal: u32, info: usize) -> Result<()> {
    let arguments = [process_id() as usize, signal as usize, info];
    // SAFETY: as the caller promises.
    unsafe { call(k::__NR_rt_sigqueueinfo, arguments) }.map(drop)
}

const FUTEX_WAIT_PRIVATE: usize = 128;
const FUTEX_WAKE_PRIVATE: usize = 129;

/// What is set for `signal`, and sets it.
pub fn disposition(signal: u32, new: Option<&Action>) -> Result<Action> {
    let mut old = Action::default();
    // SAFETY: `old` takes what is written.
    unsafe { disposition_at(signal, new, (&raw mut old).addr() as u64) }?;
    Ok(old)
}

/// The same, the present one written to `old`.
///
/// # Safety
/// Nobody relies on what is at `old`.
pub unsafe fn disposition_at(signal: u32, new: Option<&Action>, old: u64) -> Result<()> {
    let new = new.map_or(0, |new| core::ptr::from_ref(new).addr());
    // SAFETY: reads `new`; as the caller promises.
    unsafe {
        call(
            k::__NR_rt_sigaction,
            [signal as usize, new, old as usize, 8],
        )
    }
    .map(drop)
}

/// Registers an alternate stack: address, flags, bytes.
pub fn alternate_stack(new: Option<&[u64; 3]>) -> Result<()> {
    let new = new.map_or(0, |new| core::ptr::from_ref(new).addr());
    // SAFETY: reads `new`.
    unsafe { call(k::__NR_sigaltstack, [new, 0]) }.map(drop)
}

/// The flags of the alternate stack that is registered.
#[must_use]
pub fn alternate_flags() -> u32 {
    let mut now = [0u64; 3];
    // SAFETY: writes to `now`.
    let _ = unsafe { call(k::__NR_sigaltstack, [0, (&raw mut now).addr()]) };
    now[1] as u32
}

/// Which system calls of a thread become signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dispatch {
    /// None.
    Off,
    /// Those from outside of the range.
    Outside,
    /// Those from inside of it; kernels before 6.17 do not know that.
    Inside,
}

/// Makes system calls of this thread signals, by where they are made: from `start` on, `len` bytes.
pub fn dispatch(which: Dispatch, start: u64, len: u64) -> Result<()> {
    const PR_SET_SYSCALL_USER_DISPATCH: usize = 59;
    let mode = match which {
        Dispatch::Off => 0,
        Dispatch::Outside => 1,
        Dispatch::Inside => 2,
    };
    let arguments = [
        PR_SET_SYSCALL_USER_DISPATCH,
        mode,
        start as usize,
        len as usize,
        0,
    ];
    // SAFETY: touches no memory.
    unsafe { call(k::__NR_prctl, arguments) }.map(drop)
}

/// Writes words to the program's memory, if it can be written.
pub fn put(at: u64, words: &[u64; 3]) -> Result<()> {
    let place = |n: usize| at.wrapping_add(8 * n as u64);
    if !(0..3).all(|n| is_writable(place(n))) {
        return Err(Errno::FAULT);
    }
    for (n, word) in words.iter().enumerate() {
        let to = core::ptr::with_exposed_provenance_mut::<u64>(place(n) as usize);
        // SAFETY: the kernel has just written there, as the program has asked to have it written.
        unsafe { to.write_unaligned(*word) };
    }
    Ok(())
}

/// Raises `signal` for this thread, with the `siginfo` at `info`.
///
/// # Safety
/// That is one.
pub unsafe fn raise(signal: u32, info: usize) -> Result<()> {
    // SAFETY: touches no memory.
    let thread = unsafe { call(k::__NR_gettid, []) }?;
    let arguments = [process_id() as usize, thread, signal as usize, info];
    // SAFETY: as the caller promises.
    unsafe { call(k::__NR_rt_tgsigqueueinfo, arguments) }.map(drop)
}

/// This thread's id.
#[must_use]
pub fn thread_id() -> u32 {
    // SAFETY: reads no memory.
    unsafe { call(k::__NR_gettid, []) }.unwrap_or(0) as u32
}

/// The process's id.
#[must_use]
pub fn process_id() -> u32 {
    // SAFETY: reads no memory, as the two below.
    unsafe { call(k::__NR_getpid, []) }.unwrap_or(0) as u32
}

/// Whether the process got privileges by exec: the environment is then somebody else's word.
#[must_use]
pub fn is_privileged() -> bool {
    // SAFETY: as above.
    let id = |number| unsafe { call(number, []) };
    id(k::__NR_getuid) != id(k::__NR_geteuid) || id(k::__NR_getgid) != id(k::__NR_getegid)
}

/// Nanoseconds since boot. By a system call: the vDSO's own code may be about to change.
#[must_use]
pub fn now() -> u64 {
    let mut time = k::__kernel_timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [k::CLOCK_MONOTONIC as usize, (&raw mut time).addr()];
    // SAFETY: writes to `time`.
    let _ = unsafe { call(k::__NR_clock_gettime, arguments) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// What is known of the file at `path`, without opening it.
pub fn status(path: &CStr) -> Result<k::stat> {
    // SAFETY: all zeros is a `stat`.
    let mut stat: k::stat = unsafe { core::mem::zeroed() };
    let at = k::AT_FDCWD as isize as usize;
    let arguments = [at, path.as_ptr().addr(), (&raw mut stat).addr(), 0];
    // SAFETY: reads the path, writes to `stat`.
    unsafe { call(k::__NR_newfstatat, arguments) }?;
    Ok(stat)
}

/// Whether what this process executes next can read `path`: that loses capabilities which another user than root has.
#[must_use]
pub fn will_be_readable(path: &CStr) -> bool {
    const R_OK: usize = 4;
    let at = k::AT_FDCWD as isize as usize;
    // SAFETY: reads the path.
    unsafe { call(k::__NR_faccessat, [at, path.as_ptr().addr(), R_OK]) }.is_ok()
}

/// What a symbolic link says, as far as there is room: how many bytes.
pub fn link_of(path: &CStr, to: &mut [u8]) -> Result<usize> {
    let arguments = [path.as_ptr().addr(), to.as_mut_ptr().addr(), to.len()];
    // SAFETY: reads the path, writes to `to`.
    unsafe { call(k::__NR_readlink, arguments) }
}

/// What is known of an open file.
pub fn status_of(fd: u32) -> Result<k::stat> {
    // SAFETY: all zeros is a `stat`.
    let mut stat: k::stat = unsafe { core::mem::zeroed() };
    // SAFETY: writes to `stat`.
    unsafe { call(k::__NR_fstat, [fd as usize, (&raw mut stat).addr()]) }?;
    Ok(stat)
}

/// Which way bytes are copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To our own memory.
    FromProgram,
    /// From our own memory.
    ToProgram,
}

/// Copies between our own memory and memory that may not be there: how many bytes.
///
/// The process's id is asked each time: a child of `vfork` runs in this memory under another.
///
/// # Safety
/// `len` bytes at `own` are ours.
pub unsafe fn copy(own: *mut u8, program: u64, len: usize, direction: Direction) -> Result<usize> {
    let number = match direction {
        Direction::FromProgram => k::__NR_process_vm_readv,
        Direction::ToProgram => k::__NR_process_vm_writev,
    };
    let (ours, theirs) = ([own.addr(), len], [program as usize, len]);
    let (ours, theirs) = ((&raw const ours).addr(), (&raw const theirs).addr());
    let arguments = [process_id() as usize, ours, 1, theirs, 1, 0];
    // SAFETY: as the caller promises; the kernel judges the program's addresses.
    unsafe { call(number, arguments) }
}

/// How many threads the process has, 1 where it cannot be told.
#[must_use]
pub fn threads() -> u32 {
    // `.`, `..` and one directory for each thread
    status(c"/proc/self/task").map_or(1, |stat| (stat.st_nlink as u32).saturating_sub(2).max(1))
}

/// The soft limit of the stack's size in bytes.
#[must_use]
pub fn stack_limit() -> u64 {
    limit(k::RLIMIT_STACK)
}

/// The longest file that may be written; a longer one would end the program.
#[must_use]
pub fn file_limit() -> u64 {
    limit(k::RLIMIT_FSIZE)
}

fn limit(of: u32) -> u64 {
    let mut limit = k::rlimit64 {
        rlim_cur: 8 << 20,
        rlim_max: 0,
    };
    let arguments = [0, of as usize, 0, (&raw mut limit).addr()];
    // SAFETY: writes to `limit`.
    let _ = unsafe { call(k::__NR_prlimit64, arguments) };
    limit.rlim_cur
}

/// Ends this thread.
pub fn end_thread() -> ! {
    loop {
        // SAFETY: does not come back.
        let _ = unsafe { call(k::__NR_exit, [0]) };
    }
}

/// Ends the process.
pub fn exit(status: u8) -> ! {
    loop {
        // SAFETY: does not come back.
        let _ = unsafe { call(k::__NR_exit_group, [status as usize]) };
    }
}

/// What a write may raise: nobody reads the pipe, or the file may not grow (`ulimit -f`).
const RAISED: u64 = 1 << (k::SIGPIPE - 1) | 1 << (k::SIGXFSZ - 1);

/// While it lives, a write that fails does not kill the program.
#[derive(Debug)]
pub struct Unharmed {
    before: u64,
    were_pending: u64,
}

impl Unharmed {
    /// Blocks in this thread what a write may raise.
    #[must_use]
    pub fn begin() -> Self {
        let mut before = 0u64;
        mask(k::SIG_BLOCK, RAISED, &mut before);
        // What is not blocked cannot be pending for long.
        let were_pending = if before & RAISED == 0 {
            0
        } else {
            before & pending() & RAISED
        };
        Self {
            before,
            were_pending,
        }
    }
}

impl Drop for Unharmed {
    fn drop(&mut self) {
        let ours = RAISED & !self.were_pending;
        let zero = k::__kernel_timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let arguments = [(&raw const ours).addr(), 0, (&raw const zero).addr(), 8];
        for _ in 0..ours.count_ones() {
            // SAFETY: reads `ours` and `zero`; takes a signal that our own writes raised.
            let _ = unsafe { call(k::__NR_rt_sigtimedwait, arguments) };
        }
        mask(k::SIG_SETMASK, self.before, &mut 0);
    }
}

fn mask(how: u32, set: u64, before: &mut u64) {
    let arguments = [
        how as usize,
        (&raw const set).addr(),
        core::ptr::from_mut(before).addr(),
        8,
    ];
    // SAFETY: reads `set`, writes to `before`.
    let _ = unsafe { call(k::__NR_rt_sigprocmask, arguments) };
}

/// The signals that wait for being unblocked.
#[must_use]
pub fn pending() -> u64 {
    let mut set = 0u64;
    // SAFETY: writes to `set`.
    let _ = unsafe { call(k::__NR_rt_sigpending, [(&raw mut set).addr(), 8]) };
    set
}
