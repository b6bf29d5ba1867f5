//! The program's arguments and environment, as the kernel gave them.
//!
//! # Safety
//! I6: what the loader passes to the constructor is used only after the kernel has confirmed that it is what it
//! claims to be.

use alloc::vec::Vec;
use core::ffi::{CStr, c_char};

use linux_raw_sys::auxvec::{AT_BASE, AT_HWCAP2, AT_NULL, AT_SECURE};

use crate::sys::{self, Fd, Open};

/// What a constructor may get: glibc passes it, musl passes nothing, so that these hold what the registers held.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Passed {
    /// Number of arguments.
    pub argc: usize,
    /// The arguments, then a null pointer.
    pub argv: *const *const c_char,
    /// The environment, then a null pointer, then the auxiliary vector.
    pub envp: *const *const c_char,
}

impl Passed {
    /// Whether these are the words that the kernel put on the stack: the count before the arguments, the
    /// environment right behind their null pointer.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        let word = size_of::<usize>();
        let (argv, envp) = (self.argv.addr(), self.envp.addr());
        let follows = self
            .argc
            .checked_add(1)
            .and_then(|n| n.checked_mul(word))
            .and_then(|len| argv.checked_add(len))
            == Some(envp);
        argv > word
            && argv % word == 0
            && follows
            && sys::peek(argv - word) == Some(self.argc)
            && sys::peek(envp - word) == Some(0)
    }
}

/// The arguments and environment, wherever they come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Environment<'a> {
    /// The arguments.
    pub arguments: Vec<&'a [u8]>,
    /// Each `NAME=value`.
    pub variables: Vec<&'a [u8]>,
    /// The process has more rights than who started it: its environment must not decide where files are written.
    pub secure: bool,
    /// Programs may set the base of `gs`.
    pub fsgsbase: bool,
    /// A loader begins the program.
    pub loader: bool,
}

/// The bit of `AT_HWCAP2` that says so.
const FSGSBASE: usize = 1 << 1;

impl<'a> Environment<'a> {
    /// Reads what was passed.
    ///
    /// # Safety
    /// `passed` [is genuine](Passed::is_genuine), and its strings live and stay the same for `'a`.
    #[must_use]
    pub unsafe fn from_stack(passed: &Passed) -> Self {
        let mut end = passed.envp;
        // SAFETY: the caller's promise: a null pointer ends the list.
        let (arguments, _) = unsafe { strings(passed.argv) };
        // SAFETY: as above; the auxiliary vector follows it.
        let variables = unsafe { strings(passed.envp) };
        end = end.wrapping_add(variables.1 + 1);
        let mut secure = sys::is_privileged();
        let (mut fsgsbase, mut loader) = (false, false);
        let mut entry: *const [usize; 2] = end.cast();
        loop {
            // SAFETY: AT_NULL ends the vector.
            let [key, value] = unsafe { *entry };
            match u32::try_from(key) {
                Ok(AT_NULL) => break,
                Ok(AT_SECURE) => secure |= value != 0,
                Ok(AT_BASE) => loader = value != 0,
                Ok(AT_HWCAP2) => fsgsbase = value & FSGSBASE != 0,
                _ => {}
            }
            entry = entry.wrapping_add(1);
        }
        Self {
            arguments,
            variables: variables.0,
            secure,
            fsgsbase,
            loader,
        }
    }

    /// Cuts the texts of `/proc/self/cmdline`, `environ` and `auxv`.
    #[must_use]
    pub fn from_proc(cmdline: &'a [u8], environ: &'a [u8], auxv: &[u8]) -> Self {
        let words = |text: &'a [u8]| {
            let text = text.strip_suffix(b"\0").unwrap_or(text);
            if text.is_empty() {
                Vec::new()
            } else {
                text.split(|&b| b == 0).collect()
            }
        };
        let value = |wanted: u32| {
            auxv.chunks_exact(16)
                .map(|entry| entry.split_at(8))
                .find(|(key, _)| *key == u64::from(wanted).to_ne_bytes())
                .map_or(0, |(_, value)| {
                    usize::from_ne_bytes(value.try_into().unwrap_or([0; 8]))
                })
        };
        let secure = value(AT_SECURE) != 0;
        Self {
            arguments: words(cmdline),
            variables: words(environ),
            secure: secure || sys::is_privileged(),
            fsgsbase: value(AT_HWCAP2) & FSGSBASE != 0,
            loader: value(AT_BASE) != 0,
        }
    }

    /// The value of a variable: the first, as `getenv` has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.variables
            .iter()
            .find_map(|v| v.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}

/// The strings of a list, and how many they are.
///
/// # Safety
/// A null pointer ends the list.
unsafe fn strings<'a>(list: *const *const c_char) -> (Vec<&'a [u8]>, usize) {
    let mut found = Vec::new();
    loop {
        // SAFETY: the caller's promise; the end has not been passed.
        let string = unsafe { *list.wrapping_add(found.len()) };
        if string.is_null() {
            let count = found.len();
            return (found, count);
        }
        // SAFETY: the caller's promise.
        found.push(unsafe { CStr::from_ptr(string) }.to_bytes());
    }
}

/// Reads a whole file of `/proc`; empty where it cannot be read.
#[must_use]
pub fn read_all(path: &CStr) -> Vec<u8> {
    let Ok(file) = Fd::open(path, Open::Read) else {
        return Vec::new();
    };
    let mut text = Vec::new();
    let mut len = 0;
    loop {
        // The kernel fills a page at a time, whatever room there is.
        text.resize(len + 4096, 0);
        match file.read(&mut text[len..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => len += n,
        }
    }
    text.truncate(len);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_texts_of_proc() {
        let mut auxv = [0u8; 32];
        auxv[..8].copy_from_slice(&u64::from(AT_SECURE).to_ne_bytes());
        let e = Environment::from_proc(b"ls\0-l\0\0", b"A=1\0LIBHOTPATCH_SKIP=a b\0A=2\0", &auxv);
        assert_eq!(e.arguments, [&b"ls"[..], b"-l", b""]);
        assert_eq!(e.get("A"), Some(&b"1"[..]));
        assert_eq!(e.get("LIBHOTPATCH_SKIP"), Some(&b"a b"[..]));
        assert_eq!(e.get("LIBHOTPATCH"), None);
        assert!(!e.secure);
        auxv[8] = 1;
        assert!(Environment::from_proc(b"", b"", &auxv).secure);
    }

    #[test]
    fn what_musl_passes_is_not_taken_for_arguments() {
        for (argc, argv, envp) in [
            (0, 0, 0),
            (1, 8, 24),
            (usize::MAX, 4096, 4096),
            (2, 0x1000, 0x1018),
        ] {
            let passed = Passed {
                argc,
                argv: core::ptr::without_provenance(argv),
                envp: core::ptr::without_provenance(envp),
            };
            assert!(!passed.is_genuine(), "{passed:?}");
        }
    }

    #[test]
    fn reads_a_stack_as_the_kernel_makes_it() {
        let (a, v) = (c"ls".as_ptr(), c"A=1".as_ptr());
        let null = core::ptr::null();
        let auxv = [AT_SECURE as usize, 1, AT_NULL as usize, 0].map(core::ptr::without_provenance);
        let mut stack = vec![core::ptr::without_provenance(1), a, null, v, null];
        stack.extend(auxv);
        let passed = Passed {
            argc: 1,
            argv: &raw const stack[1],
            envp: &raw const stack[3],
        };
        assert!(passed.is_genuine());
        // SAFETY: `stack` is what a genuine one is.
        let e = unsafe { Environment::from_stack(&passed) };
        assert_eq!(
            (e.arguments, e.variables, e.secure),
            (vec![&b"ls"[..]], vec![&b"A=1"[..]], true)
        );
    }
}
