//! A hosted hook: counts how often a program opens which file.
//!
//!     cargo build --release
//!     hotpatch run --hook target/release/libLIBRARY.so -- ls

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hotpatch_hook::{Context, Event, Hook, SyscallSet, Verdict, export_hook, log, nr};

struct Opens(Mutex<BTreeMap<String, u64>>);

impl Hook for Opens {
    // All other calls pass by at no cost.
    const SYSCALLS: SyscallSet = SyscallSet::of(&[nr::OPENAT]);

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        let mut buffer = [0; 4096];
        if let Ok(path) = context.read_string(context.argument(1), &mut buffer) {
            let path = String::from_utf8_lossy(path).into_owned();
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(path).or_default() += 1;
        }
        Verdict::Run
    }

    fn event(&self, event: Event, _: &mut u64) {
        if event == Event::Exit {
            let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (path, count) in counts.iter() {
                // Programs may have closed their standard error by now.
                log!("{count:6} {path}");
            }
        }
    }
}

export_hook! {
    static HOOK: Opens = Opens(Mutex::new(BTreeMap::new()));
}
