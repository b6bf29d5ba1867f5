//! The library's matcher against libc's.
#![no_main]

use std::ffi::CString;

use hotpatch_runtime::fnmatch::matches;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |&b| b == 0);
    let (pattern, text) = (parts.next().unwrap_or(&[]), parts.next().unwrap_or(&[]));
    // libc's takes exponential time for many stars.
    if pattern.iter().filter(|&&b| b == b'*').count() > 4 {
        return;
    }
    let as_string = |bytes| CString::new(bytes).expect("split at zeros");
    let (p, t) = (as_string(pattern), as_string(text));
    // SAFETY: both are strings.
    let theirs = unsafe { libc::fnmatch(p.as_ptr(), t.as_ptr(), 0) == 0 };
    assert_eq!(matches(pattern, text), theirs, "{p:?} {t:?}");
});
