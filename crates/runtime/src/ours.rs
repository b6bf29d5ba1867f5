//! What is mapped of ours: to the program nothing is there.
//!
//! After start-up: no heap, no lock, no panic.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::areas;
use crate::carried;
use crate::labels;
use crate::late;
use crate::pages::Range;
use crate::services;
use crate::thread;
use crate::trap;

/// The store, once start-up is over.
static STORE: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// Remembers where the store is.
pub fn keep(store: [Range; 2]) {
    let words = store.iter().flat_map(|part| [part.start, part.end]);
    for (word, value) in STORE.iter().zip(words) {
        word.store(value, Ordering::Relaxed);
    }
}

/// All ranges of ours.
pub fn all() -> impl Iterator<Item = Range> {
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| STORE.get(n).map_or(0, |w| w.load(Ordering::Relaxed)));
    let store = [Range { start: a, end: b }, Range { start: c, end: d }];
    let own = [labels::own()].into_iter().chain(store);
    own.filter(|part| part.start < part.end)
        .chain(services::hooks().map(|hook| hook.span))
        .chain(areas::all().map(|area| area.mapped))
        .chain(thread::slabs())
        .chain(carried::mapped())
        .chain([late::resting()])
        .chain(
            trap::has_begun()
                .then(thread::trap_stacks)
                .into_iter()
                .flatten(),
        )
}

/// The lowest range of ours that overlaps `range`.
#[must_use]
pub fn first_in(range: Range) -> Option<Range> {
    all()
        .filter(|ours| ours.overlaps(range))
        .min_by_key(|ours| ours.start)
}
