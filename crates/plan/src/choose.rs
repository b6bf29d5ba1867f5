//! From sites to a plan: which tactic serves which site.

use alloc::rc::Rc;
use alloc::vec::Vec;

use crate::Options;
use crate::addr::{Span, Va};
use crate::code::{Code, Insn, Kind, Region};
use crate::draft::{Draft, Proposal};
use crate::ground::{Ground, merged};
use crate::image::Image;
use crate::native::keep_native;
use crate::number::{Said, numbers};
use crate::pad::{self, Pad, pads as pads_of};
use crate::plan::{Candidate, HOP, LEAP, Native, Outcome, Plan, Refusal, Site, Tactic};
use crate::tactic::{one_stone, propose};

/// How far a chain of stones can lead.
const FAR: u64 = 560;

/// No short jump is longer.
const REACH: u64 = 130;

/// How far what moves along with a site can lie from it.
const NEAR: u64 = 64;

/// How many branches may have to move one because of the other.
const MAX_DEPTH: usize = 6;

/// Decides for each of `sites` (true instructions, in order of address).
///
/// Most sites find a stone in their own function. These are chosen first, as if nobody arrived in their
/// pads; then one search of the image tells who does, and what the other sites may use.
#[must_use]
pub fn choose<'i>(
    image: &'i Image<'i>,
    options: &Options<'_>,
    code: &mut Code<'i>,
    sites: &[Candidate],
) -> Plan {
    let early = match options.tactics.has(Tactic::Stone) {
        true => early_stones(image, options, code, sites),
        false => Vec::new(),
    };
    let said = match options.numbers {
        true => numbers(image, code, sites),
        false => Vec::new(),
    };
    let mut windows: Vec<Span> = early.iter().map(|e| e.pad).collect();
    windows.extend(said.iter().flatten().map(Said::window));
    let mut settled = early.iter().map(|e| e.site).peekable();
    let mut wide = Vec::new();
    for site in sites {
        let at = site.at;
        if settled.next_if_eq(&at).is_some() || !site.selected {
            windows.push(behind(site));
            continue;
        }
        let around = |far| Span {
            start: at - far,
            end: at + far,
        };
        windows.push(around(NEAR));
        wide.push(around(FAR));
    }
    let wide = merged(wide);
    for span in &wide {
        pad::may_pad(image, *span, |pad| windows.push(pad));
    }
    let mut ground = Ground::new(image, options, code, windows, &wide);
    let native = keep_native(image, options, &mut ground, sites);
    for site in sites.iter().filter(|site| !site.selected) {
        ground.forbid(site.span());
    }
    let mut draft = Draft::default();
    for stone in early {
        let site = stone.proposal.trampolines.first().map(|t| t.span);
        let site = site.unwrap_or(Span::new(stone.site, HOP));
        let is_free = ground.free_to_take(&draft, site).is_ok() && ground.entered(site).is_none();
        if is_free && ground.may_stand_on(stone.pad) {
            draft.apply(stone.proposal, Tactic::Stone);
        }
    }
    let mut open: Vec<Open> = Vec::new();
    for (site, native) in sites.iter().zip(&native) {
        if native.is_none() && site.selected {
            open.push(Open {
                at: site.at,
                refusals: Vec::new(),
            });
        }
    }
    for tactic in Tactic::ALL {
        climb(&mut ground, &mut draft, &mut open, tactic, options);
    }
    let mut plan = finish(draft, sites, &native, open);
    for (site, said) in plan.sites.iter_mut().zip(said) {
        site.number = said.and_then(|said| said.proved(&mut ground));
    }
    plan
}

/// The bytes of a longer `site` that somebody might arrive in, and the one after it.
fn behind(site: &Candidate) -> Span {
    let start = match u64::from(site.len) {
        HOP => site.end(),
        _ => site.at + 1,
    };
    Span {
        start,
        end: site.end() + 1,
    }
}

/// A site, the pad of its own function that holds its stone, and what that takes.
struct Early {
    site: Va,
    pad: Span,
    proposal: Proposal,
}

/// Stones on the pads of the sites' own functions, as if nobody arrived in them.
fn early_stones<'i>(
    image: &'i Image<'i>,
    options: &Options<'_>,
    code: &mut Code<'i>,
    sites: &[Candidate],
) -> Vec<Early> {
    let mut draft = Draft::default();
    let mut early = Vec::with_capacity(sites.len());
    let mut pads: Option<(Rc<Region>, Vec<Pad>)> = None;
    for site in sites.iter().filter(|site| site.selected) {
        let site = site.at;
        if !pads
            .as_ref()
            .is_some_and(|(region, _)| region.span.contains(site))
        {
            pads = code.region(site).map(|region| {
                let pads = pads_of(image, &region, None);
                (region, pads)
            });
        }
        let Some((region, pads)) = &pads else {
            continue;
        };
        let insns = region.from(site);
        let Some(insn) = insns.first().filter(|i| i.is_site()) else {
            continue;
        };
        let padded = insns.get(1).is_some_and(|next| next.kind == Kind::Nop);
        if padded || u64::from(insn.len) >= LEAP {
            continue; // perhaps no stone is needed
        }
        let near = pads.partition_point(|pad| pad.span.end + REACH < site);
        let near = pads[near..]
            .iter()
            .take_while(|pad| pad.span.start < site + REACH);
        let dead = near.filter(|pad| !pad.live).map(|pad| pad.span);
        let Some((pad, proposal)) = one_stone(&draft, insn, dead) else {
            continue;
        };
        if options.forbidden.iter().any(|span| span.overlaps(pad)) {
            continue;
        }
        proposal
            .edits
            .iter()
            .for_each(|e| draft.taken.take(e.span()));
        early.push(Early {
            site,
            pad,
            proposal,
        });
    }
    early
}

/// A site that no tactic has taken yet.
struct Open {
    at: Va,
    refusals: Vec<(Tactic, Refusal)>,
}

/// Tries `tactic` on every open site.
fn climb(
    ground: &mut Ground<'_, '_>,
    draft: &mut Draft,
    open: &mut Vec<Open>,
    tactic: Tactic,
    options: &Options<'_>,
) {
    open.retain_mut(|site| {
        if draft.patched.contains_key(&site.at) {
            return false; // moved along with a neighbour
        }
        let refusal = match ground.insn(site.at) {
            None => Refusal::Untrusted,
            Some(insn) => match ground.entered(insn.span()) {
                Some(refusal) => refusal,
                None => match settle(ground, draft, &insn, tactic, options, 0) {
                    Ok(()) => return false,
                    Err(refusal) => refusal,
                },
            },
        };
        site.refusals.push((tactic, refusal));
        true
    });
}

/// Has `insn` executed from a trampoline by `tactic`, along with whatever that makes necessary.
fn settle(
    ground: &mut Ground<'_, '_>,
    draft: &mut Draft,
    insn: &Insn,
    tactic: Tactic,
    options: &Options<'_>,
    depth: usize,
) -> Result<(), Refusal> {
    if !options.tactics.has(tactic) {
        return Err(Refusal::NotAllowed);
    }
    let mut refusal = Refusal::NoRoom;
    for proposal in propose(tactic, ground, draft, insn)? {
        match commit(ground, draft, proposal, tactic, options, depth) {
            Ok(()) => return Ok(()),
            Err(why) => refusal = why,
        }
    }
    Err(refusal)
}

/// Applies `proposal` and settles the branches that must follow it; all of it or nothing.
fn commit(
    ground: &mut Ground<'_, '_>,
    draft: &mut Draft,
    proposal: Proposal,
    tactic: Tactic,
    options: &Options<'_>,
    depth: usize,
) -> Result<(), Refusal> {
    let branches = proposal.branches.clone();
    if branches.is_empty() {
        draft.apply(proposal, tactic);
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Err(Refusal::NoRoom);
    }
    let mut trial = draft.clone();
    trial.apply(proposal, tactic);
    for branch in branches {
        if trial.replaced(branch.at) {
            continue; // moved meanwhile, and its copy goes to the copy
        }
        let mut refusal = Refusal::NotAllowed;
        let settled = Tactic::ALL.into_iter().any(|tactic| {
            settle(ground, &mut trial, &branch, tactic, options, depth + 1)
                .map_err(|why| {
                    if why != Refusal::NotAllowed {
                        refusal = why;
                    }
                })
                .is_ok()
        });
        if !settled {
            return Err(refusal);
        }
    }
    *draft = trial;
    Ok(())
}

fn finish(
    mut draft: Draft,
    sites: &[Candidate],
    native: &[Option<Native>],
    open: Vec<Open>,
) -> Plan {
    draft.edits.sort_unstable_by_key(|e| e.at);
    let mut open = open.into_iter().peekable();
    let site = |(site, native): (&Candidate, &Option<Native>)| {
        let refused = open.next_if(|o| o.at == site.at);
        let outcome = match (native, draft.patched.get(&site.at), refused) {
            _ if !site.selected => Outcome::NotSelected,
            (Some(native), ..) => Outcome::Native(*native),
            (_, Some(&(tactic, trampoline)), _) => Outcome::Patched { tactic, trampoline },
            (.., Some(open)) => Outcome::Refused(open.refusals),
            (.., None) => Outcome::Refused(Vec::new()),
        };
        Site {
            at: site.at,
            kind: site.kind,
            len: site.len,
            number: None,
            outcome,
        }
    };
    let sites = sites.iter().zip(native).map(site).collect();
    Plan {
        sites,
        trampolines: draft.trampolines,
        edits: draft.edits,
    }
}
