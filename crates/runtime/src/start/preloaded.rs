//! What the loader was told when it brought the library to a program at its exec: see `preload.rs`.
//!
//! # Safety
//! I6: the stack as the kernel has made it, before the program looks at it.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

use hotpatch_inject::preload::{CARRIED, LD_PRELOAD, NAME, SEPARATOR, UNTRACED};
use hotpatch_inject::{FILES, NO_FILE};
use linux_raw_sys::auxvec::AT_IGNORE;
use linux_raw_sys::general as k;
use linux_raw_sys::prctl::{PR_SET_MM, PR_SET_MM_MAP};

use super::Given;
use crate::arch;
use crate::carried::Files;
use crate::environment::{Passed, read_all};
use crate::sys;

/// The words of `/proc/self/stat` behind the program's name; the first is the third of the file.
fn status_words() -> Vec<u64> {
    let text = read_all(c"/proc/self/stat");
    let end = text.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let words = text[end..].split(|&byte| byte == b' ').skip(1);
    let number = |word: &[u8]| str::from_utf8(word).ok()?.trim_end().parse().ok();
    words.map(|word| number(word).unwrap_or(0)).collect()
}

/// Where a word of `/proc/self/stat` stands in [`status_words`], by its number in proc(5).
fn word(words: &[u64], number: usize) -> u64 {
    words.get(number - 3).copied().unwrap_or(0)
}

/// The words on the stack, if the loader has not passed them.
fn passed_by_kernel() -> Option<Passed> {
    let stack = word(&status_words(), 28) as usize;
    let argc = sys::peek(stack)?;
    let argv = stack.checked_add(8)?;
    let envp = argv.checked_add(argc.checked_add(1)?.checked_mul(8)?)?;
    let passed = Passed {
        argc,
        argv: core::ptr::with_exposed_provenance(argv),
        envp: core::ptr::with_exposed_provenance(envp),
    };
    passed.is_genuine().then_some(passed)
}

/// Whether these variables, of a program without privileges, end with ours.
#[must_use]
pub(super) fn is_told(variables: &[&[u8]]) -> bool {
    variables.len() >= 2 && variables.last().is_some_and(|last| last.starts_with(NAME))
}

/// Takes away what was added: what the runtime is given. Nothing is changed where it is not as it should be.
///
/// # Safety
/// I6: start-up, and the program has not looked at its environment yet.
pub(super) unsafe fn take(passed: &Passed) -> Option<Given> {
    let passed = if passed.is_genuine() {
        *passed
    } else {
        passed_by_kernel()?
    };
    let list = passed.envp.cast_mut();
    let at = |n: usize| list.wrapping_add(n);
    let mut count = 0;
    // SAFETY: I6: a null pointer ends the list.
    while !unsafe { *at(count) }.is_null() {
        count += 1;
    }
    let (first, second) = (count.checked_sub(2)?, count - 1);
    // SAFETY: I6.
    let [first, second] = [first, second].map(|n| unsafe { *at(n) });
    // SAFETY: I6.
    let told = unsafe { CStr::from_ptr(second) }.to_bytes();
    let value = told.strip_prefix(NAME)?;
    let mut parts = value.split(|&byte| byte == SEPARATOR);
    let path = CString::new(parts.next()?).ok()?;
    let mut settings = Vec::new();
    let (mut files, mut follows, mut untraced) = ([NO_FILE; FILES], false, false);
    for part in parts {
        if let Some(carried) = part.strip_prefix(CARRIED) {
            untraced = carried.ends_with(UNTRACED);
            (files, follows) = (descriptors(carried), true);
            continue;
        }
        settings.extend_from_slice(part);
        settings.push(0);
    }
    let end = second.addr() + told.len() + 1;
    (first.addr() < second.addr()).then_some(())?;
    for n in 0..count - 2 {
        // SAFETY: I6.
        let variable = unsafe { *at(n) };
        // SAFETY: I6.
        unsafe { restore(variable, path.to_bytes()) };
    }
    // The list ends two words earlier, and the pair before the auxiliary vector is to be ignored.
    for (n, word) in [0, AT_IGNORE as usize, 0].into_iter().enumerate() {
        // SAFETY: I6.
        unsafe { *at(count - 2 + n) = core::ptr::without_provenance(word) };
    }
    end_earlier(first.addr() as u64);
    for byte in first.addr()..end {
        // SAFETY: I6: between the two strings is nothing else.
        unsafe { core::ptr::with_exposed_provenance_mut::<u8>(byte).write(0) };
    }
    Some(Given {
        // In the arena: as long as start-up, which keeps what it needs.
        path: CStr::from_bytes_with_nul(Vec::leak(path.into_bytes_with_nul())).unwrap_or_default(),
        settings: Vec::leak(settings),
        follows,
        untraced,
        carried: files.iter().any(|&file| file != NO_FILE),
        files,
    })
}

/// Numbers, each before a comma.
fn descriptors(text: &[u8]) -> Files {
    let mut files = [NO_FILE; FILES];
    let words = text.split(|&byte| byte == b',');
    for (file, word) in files.iter_mut().zip(words) {
        let number = str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        *file = number.map_or(NO_FILE, |number: u32| number.into());
    }
    files
}

/// Gives `LD_PRELOAD` the value that the program is to see.
///
/// # Safety
/// I6: a string of the environment.
unsafe fn restore(variable: *const c_char, library: &[u8]) {
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
    let own = text
        .strip_prefix(LD_PRELOAD)
        .and_then(|value| value.strip_prefix(library)?.strip_prefix(b":"));
    let Some(own) = own.map(<[u8]>::len) else {
        return;
    };
    let (from, len) = (text.len() - own, text.len());
    let place = variable.cast_mut();
    for n in LD_PRELOAD.len()..len {
        let source = from + n - LD_PRELOAD.len();
        // SAFETY: the string ends with a zero byte, and `text` is not looked at any more.
        let byte = unsafe { place.wrapping_add(source.min(len)).read() };
        // SAFETY: as above.
        unsafe { place.wrapping_add(n).write(byte) };
    }
}

/// What `PR_SET_MM_MAP` takes.
#[repr(C)]
struct Map {
    bounds: [u64; 11],
    auxv: u64,
    auxv_size: u32,
    exe: u32,
}

/// The environment ends at `end` for `/proc/self/environ` too. Where the kernel does not let it, that shows empty
/// strings there.
fn end_earlier(end: u64) {
    let words = status_words();
    let w = |number| word(&words, number);
    // SAFETY: asks where it is.
    let brk = unsafe { arch::syscall(k::__NR_brk, [0; 6]) } as u64;
    let map = Map {
        // Code, data, the heap, the stack, arguments, environment.
        bounds: [
            w(26),
            w(27),
            w(45),
            w(46),
            w(47),
            brk,
            w(28),
            w(48),
            w(49),
            w(50),
            end,
        ],
        auxv: 0,
        auxv_size: 0,
        exe: u32::MAX,
    };
    if w(50) <= end && end < w(51) {
        let arguments = [
            PR_SET_MM as usize,
            PR_SET_MM_MAP as usize,
            (&raw const map).addr(),
            size_of::<Map>(),
            0,
            0,
        ];
        // SAFETY: reads `map`, and changes what the kernel prints.
        unsafe { arch::syscall(k::__NR_prctl, arguments) };
    }
}
