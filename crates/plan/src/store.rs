//! A plan as bytes that can be kept, and back.
//!
//! What is kept are decisions alone: instructions are decoded again from the image that the plan is used for, and a
//! hash of all bytes that the plan relies on says whether that image still has them. Whose plan it is, and that the
//! bytes arrived whole, is the keeper's business; but whatever they are, reading them ends, does not panic, and
//! yields a plan whose parts fit together, or nothing.
//!
//! Numbers are LEB128: seven bits a byte, the low ones first; signed ones fold their sign into the lowest bit.
//!
//! ```text
//! hash                     8 bytes: of what the plan changes or moves
//! trampolines edits sites  how many
//! a trampoline             gap to the one before it, length, index in the plan
//! an edit                  gap to the one before it, what is written
//! a site                   gap to the one before it, kind, length, number if known, what became of it
//! ```

use alloc::vec::Vec;

use crate::Options;
use crate::addr::{Span, Va};
use crate::code::{Insn, Kind};
use crate::decode::Reader as Decoder;
use crate::emit::copy_len;
use crate::image::Image;
use crate::plan::{
    Change, Edit, Native, Outcome, Plan, Refusal, Site, SiteKind, Tactic, Trampoline,
};

mod bytes;
mod hash;

use bytes::{Reader, Writer};
pub use hash::hash;

/// `plan` as bytes that [`decode`] reads back, for an image with the same code as `image`. `None` where it could not.
#[must_use]
pub fn encode(plan: &Plan, image: &Image<'_>) -> Option<Vec<u8>> {
    let mut to = Writer::default();
    to.count(plan.trampolines.len() as u64);
    to.count(plan.edits.len() as u64);
    to.count(plan.sites.len() as u64);
    let mut ordered: Vec<(u32, Span)> =
        (0..).zip(plan.trampolines.iter().map(|t| t.span)).collect();
    ordered.sort_unstable_by_key(|(_, span)| *span);
    let (mut end, mut next) = (Va(0), 0);
    for (index, span) in ordered {
        to.count((span.start - end.0).0);
        to.count(span.len());
        to.from(next, index);
        (end, next) = (span.end, index + 1);
    }
    let mut end = Va(0);
    for edit in &plan.edits {
        to.count((edit.at - end.0).0);
        put_change(&mut to, edit, plan)?;
        end = edit.span().end;
    }
    let (mut end, mut next) = (Va(0), 0);
    for site in &plan.sites {
        to.count((site.at - end.0).0);
        put_site(&mut to, site, &mut next);
        end = site.at + 1;
    }
    // What reads back as something else would be kept in vain, or worse.
    let (again, sum) = parts(&to.bytes, image)?;
    (again == *plan).then(|| [&sum.to_le_bytes(), &to.bytes[..]].concat())
}

/// The plan that `bytes` hold, if `image` has all the bytes that it relies on.
#[must_use]
pub fn decode(bytes: &[u8], image: &Image<'_>) -> Option<Plan> {
    let (sum, rest) = bytes.split_first_chunk()?;
    let (plan, there) = parts(rest, image)?;
    (u64::from_le_bytes(*sum) == there).then_some(plan)
}

/// What was asked for, apart from forbidden bytes: a plan answers this question alone.
#[must_use]
pub fn question(options: &Options<'_>) -> u64 {
    let Options {
        tactics,
        search: _, // all ways of searching find the same
        forbidden: _,
        kinds,
        numbers,
        signals,
    } = *options;
    let tactics = Tactic::ALL.into_iter().filter(|&t| tactics.has(t));
    let kinds = SiteKind::ALL.into_iter().filter(|&k| kinds.has(k));
    tactics.map(|t| 1 << t as u8).sum::<u64>()
        | kinds.map(|k| 1 << (16 + k as u8)).sum::<u64>()
        | u64::from(numbers) << 48
        | u64::from(signals) << 49
}

/// The plan, and a hash of all bytes of `image` that it changes or moves.
fn parts(bytes: &[u8], image: &Image<'_>) -> Option<(Plan, u64)> {
    let from = &mut Reader { rest: bytes };
    let ground = &mut Ground::new(image);
    let (trampolines, edits, sites) = (from.len(3)?, from.len(2)?, from.len(2)?);
    let mut plan = Plan {
        trampolines: trampolines_of(from, trampolines, ground)?,
        ..Plan::default()
    };
    plan.edits.reserve_exact(edits);
    let mut end = Va(0);
    for _ in 0..edits {
        let at = from.after(end)?;
        let change = change(from, at, &plan)?;
        let edit = Edit { at, change };
        ground.rely_on(edit.span())?;
        end = edit.span().end;
        plan.edits.push(edit);
    }
    plan.sites.reserve_exact(sites);
    let (mut end, mut next) = (Va(0), 0);
    for _ in 0..sites {
        let at = from.after(end)?;
        let site = site(from, at, &mut next, &plan)?;
        let there = ground.tail(site.span())?;
        end = at + 1;
        mark(&site, &mut plan.trampolines, there)?;
        plan.sites.push(site);
    }
    let mut moved = plan.trampolines.iter().flat_map(|t| &t.insns);
    let movable = moved.all(|insn| copy_len(insn).is_some());
    (movable && from.rest.is_empty()).then_some((plan, ground.sum))
}

/// Has the instruction that `site` is, whose bytes begin `there`, say so where it moves; a `syscall` does of itself.
fn mark(site: &Site, trampolines: &mut [Trampoline], there: &[u8]) -> Option<()> {
    let trampoline = match site.outcome {
        Outcome::Patched { trampoline, .. } if site.kind != SiteKind::Syscall => trampoline,
        _ => return Some(()),
    };
    let insns = &mut trampolines.get_mut(trampoline as usize)?.insns;
    let insn = insns.iter_mut().find(|insn| insn.at == site.at)?;
    let (kind, _) = Decoder::new(there, insn.at).site_at(0)?;
    if kind != site.kind || insn.len != site.len {
        return None;
    }
    insn.kind = Kind::Site(kind);
    Some(())
}

/// The image's code, as plans ask for it: mostly in order.
struct Ground<'g, 'i> {
    image: &'g Image<'i>,
    /// The code asked for last, and its bytes.
    code: Span,
    bytes: &'i [u8],
    /// A hash of all that is relied on so far.
    sum: u64,
}

impl<'g, 'i> Ground<'g, 'i> {
    fn new(image: &'g Image<'i>) -> Self {
        Self {
            image,
            code: Span::new(Va(0), 0),
            bytes: &[],
            sum: 0,
        }
    }

    /// The bytes from `span` on, if it is code and there is some of it.
    fn tail(&mut self, span: Span) -> Option<&'i [u8]> {
        if !self.code.covers(span) {
            self.code = self.image.code_at(span.start)?;
            self.bytes = self.image.bytes(self.code)?;
        }
        let fits = !span.is_empty() && self.code.covers(span);
        let from = usize::try_from((span.start - self.code.start.0).0).ok()?;
        self.bytes.get(from..).filter(|_| fits)
    }

    /// The same; the plan holds only while they stay what they are.
    fn rely_on(&mut self, span: Span) -> Option<&'i [u8]> {
        let tail = self.tail(span)?;
        let bytes = tail.get(..usize::try_from(span.len()).ok()?)?;
        self.sum = hash::next(self.sum ^ span.start.0, bytes);
        Some(tail)
    }
}

fn trampolines_of(
    from: &mut Reader<'_>,
    len: usize,
    ground: &mut Ground<'_, '_>,
) -> Option<Vec<Trampoline>> {
    let nobody = Span::new(Va(0), 0);
    let empty = || Trampoline {
        span: nobody,
        insns: Vec::new(),
    };
    let mut all: Vec<Trampoline> = core::iter::repeat_with(empty).take(len).collect();
    let (mut end, mut next) = (Va(0), 0);
    for _ in 0..len {
        let start = from.after(end)?;
        let span = Span::new(start, from.count()?);
        let insns = instructions(ground.rely_on(span)?, span)?;
        let index = from.near(next)?;
        let place = all.get_mut(index as usize).filter(|t| t.span == nobody)?;
        *place = Trampoline { span, insns };
        (end, next) = (span.end, index + 1);
    }
    Some(all)
}

/// The instructions that fill `span`, whose bytes begin `tail`.
fn instructions(tail: &[u8], span: Span) -> Option<Vec<Insn>> {
    let mut decoder = Decoder::new(tail, span.start);
    let mut insns: Vec<Insn> = Vec::with_capacity(1);
    let mut at = span.start;
    while at < span.end {
        if let Some(Kind::Call { .. }) = insns.last().map(|insn| insn.kind) {
            return None; // it would come back to the image
        }
        let insn = decoder.next_at((at - span.start.0).0 as usize)?;
        at = insn.end();
        insns.push(insn);
    }
    (at == span.end).then_some(insns)
}

const HOP: u8 = 0;
const LEAP: u8 = 1;
const RETARGET: u8 = 2;

fn put_change(to: &mut Writer, edit: &Edit, plan: &Plan) -> Option<()> {
    match edit.change {
        Change::Hop { to: target } => {
            to.byte(HOP);
            to.signed(target.distance_from(edit.at));
        }
        Change::Leap { trampoline } => {
            to.byte(LEAP);
            to.count(trampoline.into());
        }
        Change::Retarget { trampoline, insn } => {
            let start = plan.trampolines.get(trampoline as usize)?.span.start;
            to.byte(RETARGET);
            to.count(trampoline.into());
            to.count((insn - start.0).0);
        }
    }
    Some(())
}

fn change(from: &mut Reader<'_>, at: Va, plan: &Plan) -> Option<Change> {
    let kind = from.byte()?;
    if kind == HOP {
        let by = from.signed()?;
        return (-128..=129)
            .contains(&by)
            .then(|| Change::Hop { to: at.offset(by) });
    }
    let index = from.count()?;
    let there = plan.trampolines.get(usize::try_from(index).ok()?)?;
    let trampoline = index as u32;
    match kind {
        LEAP => Some(Change::Leap { trampoline }),
        RETARGET => {
            let insn = from.after(there.span.start)?;
            let known = there.insns.iter().any(|i| i.at == insn);
            known.then_some(Change::Retarget { trampoline, insn })
        }
        _ => None,
    }
}

/// Beside a site's kind: its number follows.
const NUMBERED: u8 = 0x80;

fn put_site(to: &mut Writer, site: &Site, next: &mut u32) {
    let Site {
        at,
        kind,
        len,
        number,
        outcome,
    } = site;
    to.byte(*kind as u8 | if number.is_some() { NUMBERED } else { 0 });
    to.byte(*len);
    if let Some(number) = number {
        to.count((*number).into());
    }
    put_outcome(to, *at, outcome, next);
}

fn site(from: &mut Reader<'_>, at: Va, next: &mut u32, plan: &Plan) -> Option<Site> {
    let kind = from.byte()?;
    let len = from.byte()?;
    let number = match kind & NUMBERED {
        0 => None,
        _ => Some(u32::try_from(from.count()?).ok()?),
    };
    let mut kinds = SiteKind::ALL.into_iter();
    Some(Site {
        at,
        kind: kinds.find(|&k| k as u8 == kind & !NUMBERED)?,
        len,
        number,
        outcome: outcome(from, at, next, plan)?,
    })
}

// What became of a site: a tactic's number, or one of these.
const RESTORER: u8 = 32;
const ADDRESS_TAKEN: u8 = 33;
const REFUSED: u8 = 34;
const NOT_SELECTED: u8 = 35;

fn put_outcome(to: &mut Writer, at: Va, outcome: &Outcome, next: &mut u32) {
    match outcome {
        Outcome::Patched { tactic, trampoline } => {
            to.byte(*tactic as u8);
            to.from(*next, *trampoline);
            *next = trampoline + 1;
        }
        Outcome::Native(Native::Restorer) => to.byte(RESTORER),
        Outcome::Native(Native::AddressTaken { from }) => {
            to.byte(ADDRESS_TAKEN);
            to.signed(from.distance_from(at));
        }
        Outcome::NotSelected => to.byte(NOT_SELECTED),
        Outcome::Refused(reasons) => {
            to.byte(REFUSED);
            to.count(reasons.len() as u64);
            for (tactic, refusal) in reasons {
                to.byte(*tactic as u8);
                put_refusal(to, at, refusal);
            }
        }
    }
}

fn outcome(from: &mut Reader<'_>, at: Va, next: &mut u32, plan: &Plan) -> Option<Outcome> {
    Some(match from.byte()? {
        RESTORER => Outcome::Native(Native::Restorer),
        ADDRESS_TAKEN => Outcome::Native(Native::AddressTaken {
            from: at.offset(from.signed()?),
        }),
        NOT_SELECTED => Outcome::NotSelected,
        REFUSED => {
            let len = from.len(2)?;
            let mut reasons = Vec::with_capacity(len);
            for _ in 0..len {
                reasons.push((tactic(from.byte()?)?, refusal(from, at)?));
            }
            Outcome::Refused(reasons)
        }
        number => {
            let tactic = tactic(number)?;
            let trampoline = from.near(*next)?;
            *next = trampoline + 1;
            let insns = &plan.trampolines.get(trampoline as usize)?.insns;
            // Of a trampoline's many instructions the site is one.
            insns.iter().find(|insn| insn.at == at)?;
            Outcome::Patched { tactic, trampoline }
        }
    })
}

fn tactic(number: u8) -> Option<Tactic> {
    Tactic::ALL.into_iter().find(|&t| t as u8 == number)
}

fn put_refusal(to: &mut Writer, site: Va, refusal: &Refusal) {
    let (number, places): (u8, [Option<Va>; 2]) = match *refusal {
        Refusal::NotAllowed => (0, [None; 2]),
        Refusal::NoPad => (1, [None; 2]),
        Refusal::Taken { at } => (2, [Some(at), None]),
        Refusal::TargetInside { at, from } => (3, [Some(at), Some(from)]),
        Refusal::UnknownJump { at } => (4, [Some(at), None]),
        Refusal::Immovable { at } => (5, [Some(at), None]),
        Refusal::NoRoom => (6, [None; 2]),
        Refusal::Forbidden { at } => (7, [Some(at), None]),
        Refusal::Untrusted => (8, [None; 2]),
    };
    to.byte(number);
    for place in places.into_iter().flatten() {
        to.signed(place.distance_from(site));
    }
}

fn refusal(from: &mut Reader<'_>, site: Va) -> Option<Refusal> {
    let number = from.byte()?;
    let mut place = || Some(site.offset(from.signed()?));
    Some(match number {
        0 => Refusal::NotAllowed,
        1 => Refusal::NoPad,
        2 => Refusal::Taken { at: place()? },
        3 => Refusal::TargetInside {
            at: place()?,
            from: place()?,
        },
        4 => Refusal::UnknownJump { at: place()? },
        5 => Refusal::Immovable { at: place()? },
        6 => Refusal::NoRoom,
        7 => Refusal::Forbidden { at: place()? },
        8 => Refusal::Untrusted,
        _ => return None,
    })
}

#[cfg(test)]
mod files;
#[cfg(test)]
mod tests;
