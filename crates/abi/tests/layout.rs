//! The interface between the library and hooks, byte by byte: what a hook was built against stays true.
//!
//! `layout.txt` changes only together with [`ABI`]: docs/versioning.md. `HOTPATCH_BLESS=1` rewrites it.

use std::fmt::Write as _;
use std::mem::{align_of, offset_of, size_of};
use std::path::Path;

use hotpatch_abi::{
    ABI, ARGUMENTS_ONLY, Context, Frame, Hook, NO_THREAD_STATE, READS_ONLY, SIGNALS, SYMBOL,
    Services, Signal, Site, SyscallSet, event, interrupted, kind, vectors, verdict,
};

/// Each field with its offset; a field that is not named does not compile.
macro_rules! layout {
    ($text:ident, $($name:ident { $($field:ident),* $(,)? })*) => {$(
        #[allow(dead_code)]
        fn _all(value: $name) {
            let $name { $($field: _),* } = value;
        }
        writeln!($text, "{} size {} align {}", stringify!($name), size_of::<$name>(), align_of::<$name>()).unwrap();
        $(
            let size = size_of_field(|value: &$name| &value.$field);
            let at = offset_of!($name, $field);
            writeln!($text, "{}.{} at {at} size {size}", stringify!($name), stringify!($field)).unwrap();
        )*
    )*};
}

macro_rules! structures {
    ($text:ident, $($name:ident $fields:tt)*) => {$({
        layout!($text, $name $fields);
    })*};
}

macro_rules! values {
    ($text:ident, $($path:path),* $(,)?) => {
        $(writeln!($text, "{} = {}", stringify!($path), $path).unwrap();)*
    };
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

fn layout() -> String {
    let mut text = String::new();
    values!(
        text,
        ABI,
        SYMBOL,
        ARGUMENTS_ONLY,
        READS_ONLY,
        NO_THREAD_STATE,
        SIGNALS,
        kind::SYSCALL,
        kind::INT80,
        kind::SYSENTER,
        kind::RDTSC,
        kind::RDTSCP,
        kind::CPUID,
        kind::RDRAND,
        kind::RDSEED,
        kind::XGETBV,
        kind::RDGSBASE,
        kind::WRGSBASE,
        verdict::RUN,
        verdict::RUN_AND_RETURN,
        verdict::ANSWER,
        event::THREAD_START,
        event::THREAD_END,
        event::FORK_CHILD,
        event::BEFORE_EXEC,
        event::EXIT,
        event::SIGNAL,
        event::SIGNAL_RETURN,
        interrupted::NOWHERE,
        interrupted::BEFORE,
        interrupted::ENDED,
        interrupted::AGAIN,
        interrupted::AGAIN_UNSEEN,
        vectors::ALL,
        vectors::NONE,
        vectors::XMM,
        vectors::YMM,
    );
    structures! { text,
        Frame { rax, rdi, rsi, rdx, r10, r8, r9, rcx, r11, rflags, rsp, rip, rbx, rbp, r12, r13, r14, r15 }
        Site { address, offset, file, symbol, symbol_offset, kind, id, bytes, len }
        Context { services, site, slot, number, reserved, signal }
        Signal { info, handler, mask, call, reserved, frame }
        SyscallSet { low, others }
        Services { abi, size, syscall, read, read_string, write, log, fail, environment }
        Hook { abi, size, name, flags, vectors, syscalls, kinds, select, start, before, after, event, reserved }
    }
    text
}

#[test]
fn what_hooks_were_built_against_stays_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt");
    let now = layout();
    if std::env::var_os("HOTPATCH_BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap();
    let gone: Vec<&str> = then
        .lines()
        .filter(|line| !now.lines().any(|l| l == *line))
        .collect();
    let new: Vec<&str> = now
        .lines()
        .filter(|line| !then.lines().any(|l| l == *line))
        .collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the interface is another one (docs/versioning.md)\nwas: {gone:#?}\nis: {new:#?}"
    );
}
