//! What the runtime does for a hook.

use core::fmt::{self, Write as _};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use hotpatch_abi::Services;

use crate::{Errno, Plain, Text};

/// Set once, before the program runs; null where a hook's code runs without the library, in its tests.
static SERVICES: AtomicPtr<Services> = AtomicPtr::new(ptr::null_mut());

/// Remembers what the runtime passes.
///
/// # Safety
/// It lives as long as the process.
pub(crate) unsafe fn set(services: *const Services) {
    // Relaxed: written while there is one thread.
    SERVICES.store(services.cast_mut(), Ordering::Relaxed);
}

fn services() -> Option<&'static Services> {
    // SAFETY: null, or as `set` was promised.
    unsafe { SERVICES.load(Ordering::Relaxed).as_ref() }
}

/// A count of bytes, or an error.
fn count(answer: i64) -> Result<usize, Errno> {
    Errno::from_result(answer.cast_unsigned()).map(|n| n as usize)
}

/// Makes a system call that no hook sees: not this one, nor any other.
///
/// Every call can be one too many: a program with a strict seccomp filter is killed by one that it does not expect.
///
/// # Errors
/// The kernel's; `ENOSYS` without the library.
///
/// # Safety
/// The call must be one that the program bears: it may close its files and unmap its memory, the hook's too.
///
/// ```
/// use hotpatch_hook::{nr, syscall};
///
/// /// Nanoseconds of the monotonic clock.
/// fn now() -> Option<u64> {
///     let mut time = [0u64; 2];
///     // SAFETY: writes to `time`.
///     unsafe { syscall(nr::CLOCK_GETTIME, [1, time.as_mut_ptr().addr() as u64, 0, 0, 0, 0]) }.ok()?;
///     Some(time[0] * 1_000_000_000 + time[1])
/// }
/// # now();
/// ```
pub unsafe fn syscall(number: u32, arguments: [u64; 6]) -> Result<u64, Errno> {
    let call = services().and_then(|s| s.syscall).ok_or(Errno::ENOSYS)?;
    // SAFETY: the caller's promise; the array is read during the call.
    let answer = unsafe { call(u64::from(number), &raw const arguments) };
    Errno::from_result(answer.cast_unsigned())
}

/// Fills `buffer` from the program's memory: how many bytes could be read, at least one.
///
/// # Errors
/// `EFAULT` where none can.
pub fn read_bytes(address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let copy = services().and_then(|s| s.read).ok_or(Errno::ENOSYS)?;
    // SAFETY: writes to `buffer` alone; a wrong address is an error.
    count(unsafe { copy(buffer.as_mut_ptr(), address, buffer.len()) })
}

/// Reads a value of the program's.
///
/// # Errors
/// `EFAULT` where it cannot be read.
///
/// ```
/// use hotpatch_hook::{Errno, read};
///
/// /// The time that a `nanosleep` is asked for.
/// fn asked_for(argument: u64) -> Result<u64, Errno> {
///     let [seconds, nanoseconds] = read::<[u64; 2]>(argument)?;
///     Ok(seconds * 1_000_000_000 + nanoseconds)
/// }
/// # assert_eq!(asked_for(0), Err(Errno::ENOSYS));
/// ```
pub fn read<T: Plain>(address: u64) -> Result<T, Errno> {
    let copy = services().and_then(|s| s.read).ok_or(Errno::ENOSYS)?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: writes to `value` alone; a wrong address is an error.
    let done = count(unsafe { copy(value.as_mut_ptr().cast(), address, size_of::<T>()) })?;
    if done < size_of::<T>() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: all its bytes are written, and any bytes are a value.
    Ok(unsafe { value.assume_init() })
}

/// Reads a string of the program's that ends with a zero byte: without that byte.
///
/// # Errors
/// `EFAULT` where it cannot be read, `ENAMETOOLONG` where `buffer` does not hold it and its zero.
pub fn read_string(address: u64, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let copy = services()
        .and_then(|s| s.read_string)
        .ok_or(Errno::ENOSYS)?;
    // SAFETY: writes to `buffer` alone; a wrong address is an error.
    let done = count(unsafe { copy(buffer.as_mut_ptr(), address, buffer.len()) })?;
    match buffer.get(..done).and_then(<[u8]>::split_last) {
        Some((0, text)) => Ok(text),
        _ => Err(Errno::ENAMETOOLONG),
    }
}

/// The same up to and including the first zero byte: how many bytes could be read, at least one. Without a zero byte
/// among them `buffer` is full, or the memory ends there.
///
/// # Errors
/// `EFAULT` where none can be read.
pub fn read_to_zero(address: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let copy = services()
        .and_then(|s| s.read_string)
        .ok_or(Errno::ENOSYS)?;
    // SAFETY: writes to `buffer` alone; a wrong address is an error.
    count(unsafe { copy(buffer.as_mut_ptr(), address, buffer.len()) })
}

/// Copies bytes into the program's memory: how many could be written, at least one.
///
/// # Errors
/// `EFAULT` where none can.
pub fn write_bytes(address: u64, bytes: &[u8]) -> Result<usize, Errno> {
    let copy = services().and_then(|s| s.write).ok_or(Errno::ENOSYS)?;
    // SAFETY: reads `bytes` alone; a wrong address is an error.
    count(unsafe { copy(bytes.as_ptr().cast_mut(), address, bytes.len()) })
}

/// Writes a value into the program's memory.
///
/// # Errors
/// `EFAULT` where it cannot be written; a part of it may be.
pub fn write<T: Plain>(address: u64, value: &T) -> Result<(), Errno> {
    // SAFETY: plain values have no padding.
    let bytes = unsafe { core::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) };
    match write_bytes(address, bytes)? {
        done if done == bytes.len() => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Reads a variable of the environment that the program was started with. Answers in
/// [`start`](crate::Hook::start) alone: later the program may have changed it. [`Setting`](crate::Setting) keeps it.
///
/// # Errors
/// `ENOENT` where it is not set, `ENAMETOOLONG` where `buffer` does not hold it.
pub fn environment<'b>(name: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    let look_up = services()
        .and_then(|s| s.environment)
        .ok_or(Errno::ENOSYS)?;
    // SAFETY: reads `name`, writes to `buffer`.
    let answer = unsafe { look_up(name.as_ptr(), name.len(), buffer.as_mut_ptr(), buffer.len()) };
    buffer.get(..count(answer)?).ok_or(Errno::ENAMETOOLONG)
}

/// Ends the hook's call at once, as a panic does: the text goes to the log and the hook is not called again.
pub fn fail(why: fmt::Arguments<'_>) -> ! {
    let mut text = Text::<480>::new();
    let _ = text.write_fmt(why);
    let bytes = text.bytes();
    if let Some(fail) = services().and_then(|s| s.fail) {
        // SAFETY: reads the text.
        unsafe { fail(bytes.as_ptr(), bytes.len()) }
    }
    // Without the library there is nobody to tell.
    loop {
        core::hint::spin_loop();
    }
}

/// Writes a line to the log. See [`log!`](crate::log!).
#[doc(hidden)]
pub fn log_line(words: fmt::Arguments<'_>) {
    if let Some(log) = services().and_then(|s| s.log) {
        let mut text = Text::<480>::new();
        let _ = text.write_fmt(words);
        let bytes = text.bytes();
        // SAFETY: reads the text.
        unsafe { log(bytes.as_ptr(), bytes.len()) }
    }
}

/// Writes a line to the library's log, formatted as by `format!`, at most 480 bytes. Takes no memory from the heap.
///
/// ```
/// use hotpatch_hook::log;
/// log!("{} calls", 5);
/// ```
#[macro_export]
macro_rules! log {
    ($($words:tt)*) => {
        $crate::log_line(::core::format_args!($($words)*))
    };
}
