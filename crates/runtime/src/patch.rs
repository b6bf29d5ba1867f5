//! From an image in the process to the bytes to be written over it.

use alloc::vec::Vec;
use core::ffi::CStr;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::choose::choose;
use hotpatch_plan::code::Code;
use hotpatch_plan::plan::{Kinds, Patch, Plan, SiteKind, Tactic, Tactics};
use hotpatch_plan::{Options, scan, store};

use crate::arch::Sse2;
use crate::hooking::Hooking;
use crate::maps::Mapping;
use crate::memory::{self, Write};
use crate::object::{Loaded, page};
use crate::pages::Range;
use crate::sys;

/// Whether somebody may be executing the code that changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// We alone: any bytes may change in any order.
    One,
    /// Others are stopped, anywhere: any bytes may change in any order, but nobody can be inside of what becomes one
    /// instruction, or come back there.
    Stopped,
    /// Others run: each change lies in one aligned word, and nobody can be inside of what becomes one instruction.
    Many,
}

impl Threads {
    /// The tactics that are safe. A thread may be about to return to the address after a site, or be between
    /// two instructions of a window: only tactics under which both stay where they are remain.
    #[must_use]
    pub fn allow(self, tactics: Tactics) -> Tactics {
        match self {
            Self::One => tactics,
            Self::Stopped | Self::Many => [Tactic::Stone, Tactic::Before]
                .into_iter()
                .filter(|&t| tactics.has(t))
                .fold(Tactics::NONE, Tactics::with),
        }
    }
}

/// A plan that fits the memory as it is, and what it cost in nanoseconds.
#[derive(Debug, Default)]
pub struct Fitting {
    /// The plan.
    pub plan: Plan,
    /// Finding sites.
    pub find: u64,
    /// Choosing tactics.
    pub choose: u64,
    /// Nothing but the file decided: it would be the same in another process.
    pub general: bool,
    /// Where hooks have been asked: the sites in order of address, each with those that have chosen it, by bit.
    pub chosen: Vec<(Va, u32)>,
}

/// More rounds than this mean that memory changes while we look.
const ROUNDS: usize = 8;

/// What the planner is asked.
fn options<'o>(tactics: Tactics, hooking: Option<&Hooking>, forbidden: &'o [Span]) -> Options<'o> {
    Options {
        tactics,
        forbidden,
        kinds: hooking.map_or(Kinds::SYSCALL, Hooking::kinds),
        numbers: hooking.is_some(),
        signals: hooking.is_some_and(Hooking::handlers),
        ..Options::new(&Sse2)
    }
}

/// The same, as the cache knows it: whatever the planner is asked must be in it. `None` where the answer is for this
/// process alone.
#[must_use]
pub fn question(tactics: Tactics, threads: Threads, hooking: Option<&Hooking>) -> Option<u64> {
    (threads != Threads::Many && hooking.is_none_or(Hooking::takes_all))
        .then(|| store::question(&options(threads.allow(tactics), hooking, &[])))
}

/// Plans until no byte that the plan relies on differs between image and memory: a difference may be a debugger's
/// breakpoint, or another rewriter's work. With hooks, sites are what these choose of the file at that path, and state
/// the numbers of their calls; and handlers are shown original addresses.
#[must_use]
pub fn plan<'a>(
    loaded: &'a Loaded<'a>,
    tactics: Tactics,
    threads: Threads,
    maps: &[Mapping<'_>],
    hooks: Option<(&Hooking, &CStr)>,
) -> Fitting {
    let hooking = hooks.map(|(hooking, _)| hooking);
    let mut times = [sys::now(), 0, 0];
    let mut code = Code::new(&loaded.image);
    let kinds = hooking.map_or(Kinds::SYSCALL, Hooking::kinds);
    let mut sites = scan::scan(&loaded.image, &Sse2, kinds, &mut code);
    let mut chosen = Vec::new();
    if let Some((hooking, path)) = hooks.filter(|(hooking, _)| hooking.asks()) {
        for site in sites.found.iter_mut().filter(|site| site.selected) {
            let by = hooking.choose(loaded, path, maps, site);
            chosen.push((site.at, by));
            site.selected = by != 0 || runtime_sees(site.kind);
        }
    }
    times[1] = sys::now();
    if sites.found.is_empty() {
        return Fitting {
            plan: Plan::default(),
            find: times[1] - times[0],
            choose: 0,
            general: true,
            chosen,
        };
    }
    let mut forbidden = loaded.forbidden.clone();
    let mut allowed = threads.allow(tactics);
    let mut round = 0;
    let plan = loop {
        forbidden.sort_unstable();
        let options = options(allowed, hooking, &forbidden);
        let plan = choose(&loaded.image, &options, &mut code, &sites.found);
        let before = forbidden.len();
        add_conflicts(loaded, &plan, threads, maps, &mut forbidden);
        if forbidden.len() == before {
            break plan;
        }
        round += 1;
        if round == ROUNDS {
            allowed = Tactics::NONE;
        }
    };
    times[2] = sys::now();
    Fitting {
        plan,
        find: times[1] - times[0],
        choose: times[2] - times[1],
        general: forbidden.is_empty(),
        chosen,
    }
}

/// The runtime itself must see some system calls, wherever they are made, and who uses `gs`.
fn runtime_sees(kind: SiteKind) -> bool {
    Kinds::SYSCALL.and(Kinds::GS).has(kind)
}

/// Adds what the plan may not touch after all.
fn add_conflicts(
    loaded: &Loaded<'_>,
    plan: &Plan,
    threads: Threads,
    maps: &[Mapping<'_>],
    forbidden: &mut Vec<Span>,
) {
    let edits = plan.edits.iter().map(|e| Span::new(e.at, e.change.size()));
    let moved = plan.trampolines.iter().map(|t| t.span);
    for span in edits.clone().chain(moved) {
        let range = loaded.range(span);
        match (memory::read(maps, range), loaded.image.bytes(span)) {
            (Some(now), Some(file)) if now == file => {}
            _ => forbidden.push(span),
        }
    }
    if threads == Threads::Many {
        let live = Live::of(plan);
        forbidden.extend(edits.filter(|&s| live.holds(s.start) && crosses_word(loaded.range(s))));
    }
}

/// Where a plan of `stone` and `before` changes code that is executed: at the start of what moves. All its other
/// edits lie in padding that nobody reaches yet.
struct Live(Vec<Va>);

impl Live {
    fn of(plan: &Plan) -> Self {
        let mut starts: Vec<Va> = plan.trampolines.iter().map(|t| t.span.start).collect();
        starts.sort_unstable();
        Self(starts)
    }

    fn holds(&self, at: Va) -> bool {
        self.0.binary_search(&at).is_ok()
    }
}

fn crosses_word(range: Range) -> bool {
    range.start / 8 != (range.end - 1) / 8
}

/// What to write, in the order to write it in. `None` where memory cannot be read (which `plan` has seen it can).
#[must_use]
pub fn writes(
    loaded: &Loaded<'_>,
    plan: &Plan,
    patches: &[Patch],
    threads: Threads,
    maps: &[Mapping<'_>],
) -> Option<Vec<Write>> {
    match threads {
        Threads::One | Threads::Stopped => by_page(loaded, patches),
        Threads::Many => by_word(loaded, plan, patches, maps),
    }
}

/// Nothing that crosses a page. The image has the bytes that memory has: `plan` has compared them.
fn by_page(loaded: &Loaded<'_>, patches: &[Patch]) -> Option<Vec<Write>> {
    let mut writes = Vec::with_capacity(patches.len() + patches.len() / 64 + 1);
    for patch in patches {
        let span = Span::new(patch.at, u64::from(patch.len));
        let range = loaded.range(span);
        let (old, new) = (loaded.image.bytes(span)?, bytes(patch));
        let below = page(range.end - 1).saturating_sub(range.start) as usize;
        if below > 0 {
            let (first, second) = (old.split_at(below), new.split_at(below));
            writes.push(change(range.start, first.0, second.0)?);
            writes.push(change(range.start + below as u64, first.1, second.1)?);
        } else {
            writes.push(change(range.start, old, new)?);
        }
    }
    Some(writes)
}

fn bytes(patch: &Patch) -> &[u8] {
    patch.bytes.get(..patch.len.into()).unwrap_or(&patch.bytes)
}

/// `new` in place of `old`; `new` may be shorter.
fn change(at: u64, old: &[u8], new: &[u8]) -> Option<Write> {
    let padded = |bytes: &[u8]| {
        let mut all = [0; 8];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(all)
    };
    Some(Write {
        at,
        len: old.len() as u8,
        old: padded(old)?,
        new: padded(new)?,
    })
}

/// One aligned word for each patch of live code, and these last: nobody reaches a stone before it is complete (I7).
fn by_word(
    loaded: &Loaded<'_>,
    plan: &Plan,
    patches: &[Patch],
    maps: &[Mapping<'_>],
) -> Option<Vec<Write>> {
    let live = Live::of(plan);
    let (sites, stones): (Vec<&Patch>, Vec<&Patch>) =
        patches.iter().partition(|p| live.holds(p.at));
    let mut writes: Vec<Write> = Vec::new();
    let ordered = stones
        .into_iter()
        .map(|p| (p, false))
        .chain(sites.into_iter().map(|p| (p, true)));
    for (patch, is_live) in ordered {
        let mut range = loaded.range(Span::new(patch.at, u64::from(patch.len)));
        let offset = if is_live { range.start % 8 } else { 0 };
        if is_live {
            range = Range {
                start: range.start - offset,
                end: range.start - offset + 8,
            };
        }
        let mut write = change(range.start, memory::read(maps, range)?, &[])?;
        // What was written before this is part of it now.
        for earlier in &writes {
            for (at, byte) in (earlier.at..).zip(earlier.after()) {
                if range.start <= at && at < range.end {
                    write.old[(at - range.start) as usize] = *byte;
                }
            }
        }
        write.new = write.old;
        write.new[offset as usize..][..patch.len.into()].copy_from_slice(bytes(patch));
        writes.push(write);
    }
    Some(writes)
}
