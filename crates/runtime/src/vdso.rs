//! The vDSO's functions as system calls: for hooks that want to see what else never enters the kernel.

use alloc::vec::Vec;

use hotpatch_plan::addr::Va;
use hotpatch_plan::decode::decode;
use linux_raw_sys::general as k;

use crate::memory::Write;
use crate::object::Loaded;

/// `mov $number,%eax; syscall; ret`
const fn call(number: u32) -> [u8; 8] {
    let [a, b, c, d] = number.to_le_bytes();
    [0xb8, a, b, c, d, 0x0f, 0x05, 0xc3]
}

/// `getrandom` has a state of its own there. Whoever asks for its size is told that there is none.
#[rustfmt::skip]
const GETRANDOM: [u8; 22] = {
    let [a, b, c, d] = k::__NR_getrandom.to_le_bytes();
    [
        0x49, 0x83, 0xf8, 0xff,                   //  0: cmp $-1,%r8
        0x74, 0x08,                               //  4: je 14
        0xb8, a, b, c, d,                         //  6: mov $getrandom,%eax
        0x0f, 0x05,                               // 11: syscall
        0xc3,                                     // 13: ret
        0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, // 14: mov $-ENOSYS,%rax
        0xc3,                                     // 21: ret
    ]
};

/// Each function, and what takes its place.
const FUNCTIONS: [(&str, &[u8]); 6] = [
    ("clock_gettime", &call(k::__NR_clock_gettime)),
    ("clock_getres", &call(k::__NR_clock_getres)),
    ("gettimeofday", &call(k::__NR_gettimeofday)),
    ("time", &call(k::__NR_time)),
    ("getcpu", &call(k::__NR_getcpu)),
    ("getrandom", &GETRANDOM),
];

/// What to write over the vDSO so that its functions are system calls, in order of address; and how many of them there
/// are. What is left of each is no longer reached.
#[must_use]
pub fn as_calls(loaded: &Loaded<'_>) -> (Vec<Write>, usize) {
    let image = &loaded.image;
    let mut writes = Vec::new();
    let mut count = 0;
    let starts = core::iter::successors(image.next_function_start(Va(0)), |&at| {
        image.next_function_start(at)
    });
    for start in starts {
        let Some((name, 0)) = image.symbol_at(start) else {
            continue;
        };
        let name = name.strip_prefix("__vdso_").unwrap_or(name);
        let Some((_, code)) = FUNCTIONS.iter().find(|(function, _)| *function == name) else {
            continue;
        };
        if let Some(more) = write(loaded, start, code) {
            writes.extend(more);
            count += 1;
        }
    }
    (writes, count)
}

/// `code` over what begins at `start`, up to the next instruction; `None` where it ends before.
fn write(loaded: &Loaded<'_>, start: Va, code: &[u8]) -> Option<Vec<Write>> {
    let image = &loaded.image;
    let span = image.function_at(start)?.span;
    let mut end = start;
    while end.distance_from(start) < code.len() as i64 {
        end = decode(image.tail(end)?, end)?.end();
    }
    let len = usize::try_from(end.distance_from(start)).ok()?;
    if end > span.end {
        return None;
    }
    let old = image.read(start, len)?;
    let new = code.iter().copied().chain(core::iter::repeat(0xcc)); // int3
    let mut writes: Vec<Write> = Vec::new();
    let first = start.0.wrapping_add(loaded.bias);
    for ((at, &old), new) in (first..).zip(old).zip(new) {
        // One aligned word at a time.
        let last = writes.last_mut().filter(|_| at % 8 != 0);
        let write = match last {
            Some(write) => write,
            None => {
                writes.push(Write {
                    at,
                    len: 0,
                    old: [0; 8],
                    new: [0; 8],
                });
                writes.last_mut()?
            }
        };
        let n = usize::from(write.len);
        (write.old[n], write.new[n]) = (old, new);
        write.len += 1;
    }
    Some(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;
    use crate::object;

    #[test]
    fn every_function_of_this_kernels_vdso_becomes_a_call() {
        let text = std::fs::read("/proc/self/maps").unwrap();
        let maps = maps::parse(&text);
        let objects = object::objects(&maps);
        let vdso = objects.iter().find(|o| o.base.name == b"[vdso]").unwrap();
        let loaded = object::load(vdso, None, &maps).unwrap();
        let (writes, count) = as_calls(&loaded);
        assert!(count >= 5, "{count}");
        let mut after = 0;
        for write in writes {
            assert!(write.at >= after && write.at / 8 == (write.at + u64::from(write.len) - 1) / 8);
            after = write.at + u64::from(write.len);
        }
    }

    #[test]
    fn what_takes_their_place_decodes() {
        for (name, code) in FUNCTIONS {
            let mut at = 0;
            let mut calls = 0;
            while at < code.len() {
                let insn = decode(&code[at..], Va(at as u64)).unwrap();
                calls += usize::from(insn.is_site());
                at += usize::from(insn.len);
            }
            assert_eq!((at, calls), (code.len(), 1), "{name:?}");
        }
    }
}
