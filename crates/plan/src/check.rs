//! Proves that a plan, as bytes, changes nothing but who executes the moved instructions.
//!
//! An independent judge: of the planner's code it uses the types and the image's segments and
//! function bounds, and decodes everything else again. What it proves:
//!
//! * each trampoline is a faithful copy of its span, each way out of it leads where the original led;
//! * the jumps at each patched site arrive at its copy, and sites that stay are untouched;
//! * only no-ops and moved instructions lose bytes, and nothing else in the image changes;
//! * whoever arrives at a changed place, by falling into it, by a branch or through a pointer,
//!   finds there what was there before, or the way to its copy;
//! * functions that compute where they jump keep every instruction's start, and what others rely on
//!   (restartable sequences, probes, padding whose address is written down) stays.

mod arrive;
mod computed;
mod copy;
mod fault;
mod known;
mod protect;
mod step;
mod window;

use alloc::vec::Vec;

pub use fault::Fault;

use crate::addr::{Span, Va};
use crate::emit::Style;
use crate::image::{FunctionSource, Image};
use crate::plan::{Change, Emission, Outcome, Plan, SiteKind};
use arrive::{Patched, edit_span, is_retarget};
use copy::Copies;
use known::{Known, Wanted};
use step::{Step, bytes_from, decode, instruction_at, site_kind};
use window::{Window, window_at, windows};

/// Looks for a reason why `emission`, the bytes of `plan`, must not be applied to `image` when that
/// is loaded `bias` higher than it says.
///
/// # Errors
/// Every fault found. Where the plan's parts do not fit together, nothing that relies on them is looked at.
pub fn check(
    image: &Image<'_>,
    plan: &Plan,
    emission: &Emission,
    bias: u64,
) -> Result<(), Vec<Fault>> {
    check_as(image, plan, emission, bias, Style::Plain)
}

/// The same for an emission in another style. What a hooked block does before its `syscall` is compared with what
/// it should be byte for byte, and not understood.
///
/// # Errors
/// As [`check`].
pub fn check_as(
    image: &Image<'_>,
    plan: &Plan,
    emission: &Emission,
    bias: u64,
    style: Style<'_>,
) -> Result<(), Vec<Fault>> {
    check_within(image, plan, emission, bias, style, &[])
}

/// The same where no byte of `forbidden` may change or move.
///
/// # Errors
/// As [`check`].
pub fn check_within(
    image: &Image<'_>,
    plan: &Plan,
    emission: &Emission,
    bias: u64,
    style: Style<'_>,
    forbidden: &[Span],
) -> Result<(), Vec<Fault>> {
    let shape = edits(image, plan, emission);
    let (copies, faults) = copy::walk(image, plan, emission, bias, style);
    let mut faults = [shape, faults].concat();
    if faults.is_empty() {
        let patched = Patched {
            image,
            plan,
            emission,
            copies: &copies,
        };
        faults = sites(&patched);
        faults.extend(exits(&patched));
        let windows = windows(image, plan.edits.iter().map(edit_span));
        faults.extend(destroyed(&patched, &windows));
        faults.extend(arrivals(&patched, &windows));
        faults.extend(protect::protected(&patched, forbidden));
        faults.extend(protect::live_stones(&patched, &windows));
        faults.extend(computed::unknown_jumps(&patched, &windows));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// Edits are in order, in code, and the patches are what they say.
fn edits(image: &Image<'_>, plan: &Plan, emission: &Emission) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut free = Va(0);
    for edit in &plan.edits {
        let (at, span) = (edit.at, edit_span(edit));
        if at < free {
            faults.push(Fault::EditsOverlap { at });
        }
        free = span.end;
        if !image.code.iter().any(|code| code.covers(span)) {
            faults.push(Fault::OutsideCode { at });
        }
    }
    let spare_edit = plan.edits.get(emission.patches.len()).map(|e| e.at);
    let spare_patch = emission.patches.get(plan.edits.len()).map(|p| p.at);
    faults.extend(
        spare_edit
            .or(spare_patch)
            .map(|at| Fault::PatchDiffers { at }),
    );
    for (edit, patch) in plan.edits.iter().zip(&emission.patches) {
        let start = |trampoline: u32| emission.starts.get(trampoline as usize);
        let target = match edit.change {
            Change::Hop { to } => Some(to),
            Change::Leap { trampoline } => start(trampoline).map(|&s| emission.base + u64::from(s)),
            Change::Retarget { .. } => None,
        };
        let jump = decode(
            patch.bytes.get(..usize::from(patch.len)).unwrap_or(&[]),
            edit.at,
        )
        .filter(|i| i.is_jmp_short_or_near() && i.len() as u64 == edit.change.size())
        .and_then(|i| step::branch_target(&i));
        let agrees = is_retarget(edit) || target.is_some() && jump == target;
        if patch.at != edit.at || u64::from(patch.len) != edit.change.size() || !agrees {
            faults.push(Fault::PatchDiffers { at: edit.at });
        }
    }
    faults
}

/// Patched sites arrive at their copies, others are as they were, and none is missing.
fn sites(patched: &Patched<'_, '_>) -> Vec<Fault> {
    let plan = patched.plan;
    let mut faults = Vec::new();
    let mut least = Va(0);
    for site in &plan.sites {
        let at = site.at;
        let is_site = instruction_at(patched.image, at)
            .is_some_and(|i| site_kind(&i) == Some(site.kind) && i.len() == usize::from(site.len));
        if at < least || !is_site {
            faults.push(Fault::NotASite { at });
        }
        least = site.end();
        match &site.outcome {
            Outcome::Patched { trampoline, .. } => {
                faults.extend(reached(patched, at, *trampoline));
            }
            Outcome::Native(_) | Outcome::Refused(_) | Outcome::NotSelected => {
                if patched.changed(site.span()) || patched.copies.moves(at) {
                    faults.push(Fault::SiteTouched { site: at });
                }
            }
        }
    }
    faults.extend(missing(patched));
    faults
}

/// Every `syscall` in a known function, unless there is data ahead of it, is a site, and of the other kinds all or none (but for those that are no way
/// into the kernel unless somebody means to use them as such).
fn missing(patched: &Patched<'_, '_>) -> Vec<Fault> {
    let image = patched.image;
    let sites = &patched.plan.sites;
    let mut kinds: Vec<SiteKind> = sites.iter().map(|site| site.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.retain(|kind| !matches!(kind, SiteKind::Int80 | SiteKind::Sysenter));
    let asked = |kind: SiteKind| kind == SiteKind::Syscall || kinds.contains(&kind);
    let mut faults = Vec::new();
    for &code in &image.code {
        let bytes = bytes_from(image, code.start);
        let bytes = &bytes[..bytes.len().min(code.len() as usize)];
        let begins = |i: &usize| match bytes[*i..] {
            [0x0f, 0x05, ..] => true,
            [0x0f | 0x66 | 0xf3 | 0x40..=0x4f, ..] => !kinds.is_empty(),
            _ => false,
        };
        let places = (0..bytes.len()).filter(begins).filter(|&i| {
            let found = decode(&bytes[i..], code.start + i as u64);
            found.and_then(|i| site_kind(&i)).is_some_and(asked)
        });
        faults.extend(
            places
                .map(|i| code.start + i as u64)
                .filter(|at| sites.binary_search_by_key(at, |s| s.at).is_err())
                .filter(|&at| {
                    let function = image.function_at(at);
                    function.is_some_and(|f| window::decodes_to(image, f.span.start, at))
                })
                .map(|at| Fault::MissingSite { at }),
        );
    }
    faults
}

fn reached(patched: &Patched<'_, '_>, site: Va, trampoline: u32) -> Option<Fault> {
    let Some(moved) = patched.plan.trampolines.get(trampoline as usize) else {
        return Some(Fault::NoSuchTrampoline { index: trampoline });
    };
    if !moved.span.contains(site) || !patched.copies.of.contains_key(&site) {
        return Some(Fault::SiteNotMoved { site });
    }
    // The site itself, or what is executed before it and takes its place.
    match patched.follow(moved.span.start) {
        Ok(at) if Some(&at) == patched.copies.of.get(&moved.span.start) => None,
        Ok(stuck) | Err(stuck) => Some(Fault::NotReached { site, stuck }),
    }
}

/// Every way out of a trampoline leads where the original led.
fn exits(patched: &Patched<'_, '_>) -> Vec<Fault> {
    let Copies { of, exits, .. } = patched.copies;
    let astray = exits.iter().filter(|exit| {
        let moved = of.get(&exit.meant) == Some(&exit.to);
        let unmoved = exit.to == exit.meant && patched.means_the_same(exit.meant);
        !moved && !unmoved
    });
    astray
        .map(|exit| match exit.back {
            true => Fault::NoWayBack { end: exit.meant },
            false => Fault::BranchAstray {
                original: exit.original,
                to: exit.to,
            },
        })
        .collect()
}

/// Only no-ops and moved instructions lose bytes; hops land; retargeted branches go to copies.
fn destroyed(patched: &Patched<'_, '_>, windows: &[Window]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (edit, patch) in patched.over(Span {
        start: Va(0),
        end: Va(u64::MAX),
    }) {
        let (at, span) = (edit.at, edit_span(edit));
        let window = window_at(windows, at);
        if is_retarget(edit) {
            let branch = window.and_then(|w| w.ending_at(span.end));
            if !branch.is_some_and(|step| retargets(patched, step, &patch.bytes)) {
                faults.push(Fault::RetargetAstray { at });
            }
            continue;
        }
        if let Change::Hop { to } = edit.change
            && !patched.is_edit(to)
            && !patched.skips_a_pad(at, to)
        {
            faults.push(Fault::HopToNowhere { at, to });
        }
        let mut kept = at;
        for step in window.map_or(&[][..], |w| w.over(span)) {
            if step.at <= kept && (step.pad || patched.copies.moves(step.at)) {
                kept = step.end();
            }
        }
        if kept < span.end {
            faults.push(Fault::Destroyed { at: kept });
        }
    }
    faults
}

fn retargets(patched: &Patched<'_, '_>, branch: &Step, displacement: &[u8; 5]) -> bool {
    let [a, b, c, d, _] = *displacement;
    let to = branch
        .end()
        .offset(i64::from(i32::from_le_bytes([a, b, c, d])));
    branch.len >= 5
        && branch
            .branch
            .is_some_and(|meant| patched.copies.of.get(&meant) == Some(&to))
}

/// Nobody arrives where something else stands now.
fn arrivals(patched: &Patched<'_, '_>, windows: &[Window]) -> Vec<Fault> {
    let mut forbidden: Vec<Va> = patched.forbidden().collect();
    forbidden.sort_unstable();
    forbidden.dedup();
    let steps = || windows.iter().flat_map(|w| &w.steps);
    let mut wanted: Vec<Va> = steps()
        .filter(|s| may_be_dead(patched, s))
        .map(|s| s.at)
        .collect();
    wanted.extend(&forbidden);
    wanted.sort_unstable();
    let mut known = known::known(patched.image, &Wanted(&wanted), windows);
    known.retain(|k| !is_retargeted(patched, k));
    // What a trampoline comes back to is alive, whatever stands before it.
    let exits = patched.copies.exits.iter();
    known.extend(exits.map(|e| Known::pointer(e.to, patched.copies.of[&e.original])));
    known.sort_unstable();

    let mut dead: Vec<Va> = steps()
        .filter(|s| may_be_dead(patched, s))
        .map(|s| s.at)
        .collect();
    dead.sort_unstable();
    // Whoever is found to be alive may bring others to life.
    loop {
        let mut still = Vec::with_capacity(dead.len());
        for window in windows {
            let alive = alive(patched, window, &known, &dead);
            let steps = window.steps.iter().zip(alive);
            still.extend(steps.filter(|(_, alive)| !alive).map(|(step, _)| step.at));
        }
        still.sort_unstable();
        if still == dead {
            break;
        }
        dead = still;
    }
    let mut faults: Vec<Fault> = windows
        .iter()
        .flat_map(|window| {
            let falls = |step: &&Step| falls(patched.image, window, step);
            window.steps.iter().filter(falls)
        })
        .filter(|step| dead.binary_search(&step.at).is_err())
        .filter(|step| !patched.means_the_same(step.end()))
        .filter(|step| !is_cut_by_function(patched.image, step.end()))
        .map(|step| Fault::FallsInto {
            from: step.at,
            at: step.end(),
        })
        .collect();
    let astray = known
        .iter()
        .filter(|k| forbidden.binary_search(&k.to).is_ok() && k.counts(&dead));
    faults.extend(astray.map(|k| Fault::ArrivesInside {
        from: k.from,
        at: k.to,
    }));
    faults.extend(protect::named_pads(patched, &known));
    let patched_sites = patched
        .plan
        .sites
        .iter()
        .filter(|site| patched.copies.moves(site.at) && !patched.changed(site.span()))
        .map(|site| site.at);
    faults.extend(
        patched_sites
            .filter(|site| dead.binary_search(site).is_err())
            .map(|site| Fault::Bypassed { site }),
    );
    faults
}

/// Whether the branch `known` is one whose displacement an edit changes.
fn is_retargeted(patched: &Patched<'_, '_>, known: &Known) -> bool {
    let Some(branch) = Step::read(patched.image, known.from) else {
        return false;
    };
    let mut edits = patched.over(branch.span());
    branch.branch == Some(known.to)
        && edits.any(|(e, _)| is_retarget(e) && edit_span(e).end == branch.end())
}

/// Whether `step` could be one that nobody executes where it is: only no-ops and moved instructions
/// are ever thought to be.
fn may_be_dead(patched: &Patched<'_, '_>, step: &Step) -> bool {
    step.pad || patched.copies.moves(step.at)
}

/// For each step of `window`, whether it may be executed where it is and as it was, if those at `dead` are not.
fn alive(patched: &Patched<'_, '_>, window: &Window, known: &[Known], dead: &[Va]) -> Vec<bool> {
    let mut alive = Vec::with_capacity(window.steps.len());
    let mut flows = (true, window.steps.first().map(|s| s.at));
    for step in &window.steps {
        let falls_here = flows == (true, Some(step.at));
        let first = known.partition_point(|k| k.to < step.at);
        let mut here = known[first..].iter().take_while(|k| k.to == step.at);
        let arrives = falls_here || here.any(|k| k.counts(dead));
        let lives = !patched.changed(step.span()) && (!may_be_dead(patched, step) || arrives);
        alive.push(lives);
        let goes_on = lives && falls(patched.image, window, step);
        flows = (goes_on, Some(step.end()));
    }
    alive
}

/// Whether a function starts inside what would be the instruction at `at`: then it is data.
fn is_cut_by_function(image: &Image<'_>, at: Va) -> bool {
    let start = image.next_function_start(at);
    Step::read(image, at).is_some_and(|step| start.is_some_and(|start| start < step.end()))
}

/// Whether control goes on behind `step`: a call with nothing but padding between it and the next
/// function is one that never returns.
fn falls(image: &Image<'_>, window: &Window, step: &Step) -> bool {
    if !step.call {
        return step.falls;
    }
    let after = window.steps.partition_point(|s| s.at < step.end());
    let rest = &window.steps[after..];
    let code = rest.iter().find(|s| !s.pad).map_or(step.end(), |s| s.at);
    let own = image.function_at(step.end());
    let counted =
        own.is_some_and(|f| f.source != FunctionSource::Pclntab && f.span.start <= step.at);
    counted || !image.is_function_start(code)
}
