//! Decoded instructions around the places that matter.
//!
//! Where the bounds of a function are known, all of it is decoded from its start. Elsewhere a region is a
//! window around what was asked: decoding whole sections would cost more than all the rest of a plan.

mod mark;
mod section;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::addr::{Span, Va};
use crate::code::{Insn, Kind};
use crate::image::{Function, Image};
use crate::plan::SiteKind;
use crate::refs::Far;
use crate::vote;
use mark::{mark, others_in};
use section::{Section, decode_run};

/// How far a window reaches to either side of what was asked, in bytes.
const WINDOW: u64 = 512;
/// How far it may reach where sites with windows of their own are near.
const WINDOW_LIMIT: u64 = 8 * WINDOW;
/// Longer functions are decoded by windows: nobody's word is worth that much time and memory.
const FUNCTION_LIMIT: u64 = 256 << 10;

/// How sure we are of a region's instruction boundaries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Decoded from the start of a known function; the whole function decodes.
    Function,
    /// No function bounds known here: a sweep that the vote around each of its sites agrees with.
    Swept,
}

/// A run of instructions without a gap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Region {
    /// The bytes that `insns` cover.
    pub span: Span,
    /// In order of address, each beginning where the one before ends.
    pub insns: Vec<Insn>,
    /// How it was found.
    pub trust: Trust,
}

impl Region {
    /// Index of the instruction that begins at `at`.
    #[must_use]
    pub fn index_of(&self, at: Va) -> Option<usize> {
        self.insns.binary_search_by_key(&at, |insn| insn.at).ok()
    }

    /// Index of the instruction that `at` is a byte of.
    #[must_use]
    pub fn index_around(&self, at: Va) -> Option<usize> {
        if !self.span.contains(at) {
            return None;
        }
        self.insns
            .partition_point(|insn| insn.at <= at)
            .checked_sub(1)
    }

    /// The instruction that begins at `at`.
    #[must_use]
    pub fn insn_at(&self, at: Va) -> Option<&Insn> {
        self.index_of(at).map(|i| &self.insns[i])
    }

    /// The instructions from the boundary `at` on; empty where `at` is no boundary.
    #[must_use]
    pub fn from(&self, at: Va) -> &[Insn] {
        self.index_of(at).map_or(&[], |i| &self.insns[i..])
    }

    /// The instructions before the boundary `at`, which may be the region's end; empty where it is no boundary.
    #[must_use]
    pub fn before(&self, at: Va) -> &[Insn] {
        if at == self.span.end {
            return &self.insns;
        }
        self.index_of(at).map_or(&[], |i| &self.insns[..i])
    }
}

/// The regions of an image, decoded when first asked for. No two overlap.
pub struct Code<'i> {
    image: &'i Image<'i>,
    regions: BTreeMap<Va, Rc<Region>>,
    /// Boundaries that every sweep must respect, ascending.
    sites: Vec<Va>,
    /// Those of them that are no `syscall`, ascending.
    others: Vec<(Va, SiteKind)>,
    /// Starts of functions that hold bytes which are no instructions.
    mixed: BTreeSet<Va>,
    far_refs: Option<Rc<Far>>,
    /// By region start, for the tables that `far_refs` knows.
    unknown_jumps: BTreeMap<Va, Option<Va>>,
}

impl<'i> Code<'i> {
    /// Nothing decoded yet.
    #[must_use]
    pub fn new(image: &'i Image<'i>) -> Self {
        Self {
            image,
            regions: BTreeMap::new(),
            sites: Vec::new(),
            others: Vec::new(),
            mixed: BTreeSet::new(),
            far_refs: None,
            unknown_jumps: BTreeMap::new(),
        }
    }

    /// The image whose code this is.
    #[must_use]
    pub fn image(&self) -> &'i Image<'i> {
        self.image
    }

    /// Makes `sites`, ascending, boundaries that sweeps must respect.
    pub fn expect(&mut self, sites: impl Iterator<Item = (Va, SiteKind)>) {
        self.sites.clear();
        self.others.clear();
        for (at, kind) in sites {
            self.sites.push(at);
            if kind != SiteKind::Syscall {
                self.others.push((at, kind));
            }
        }
        if self.others.is_empty() {
            return;
        }
        for region in self.regions.values_mut() {
            if others_in(&self.others, region.span).next().is_some() {
                mark(&self.others, &mut Rc::make_mut(region).insns);
            }
        }
    }

    /// Forgets what was decoded without knowing the bounds of functions, and not yet all sites.
    pub(crate) fn forget_sweeps(&mut self) {
        self.regions
            .retain(|_, region| region.trust == Trust::Function);
    }

    /// The region that `at` is a byte of; `None` outside code and where nothing decodes.
    pub fn region(&mut self, at: Va) -> Option<Rc<Region>> {
        if let Some(known) = self.known(at) {
            return Some(known);
        }
        let section = self.section(at)?;
        if let Some(region) = self.function_region(at, section) {
            return Some(region);
        }
        self.sweep(at, section);
        self.known(at)
    }

    /// The instruction that begins at `at`.
    pub fn insn_at(&mut self, at: Va) -> Option<Insn> {
        self.region(at)?.insn_at(at).copied()
    }

    /// The function around `at`, if all of it decodes and it is no longer than a function should be.
    #[must_use]
    pub fn function(&self, at: Va) -> Option<Function> {
        let function = self.image.function_at(at)?;
        if self.mixed.contains(&function.span.start) || function.span.len() > FUNCTION_LIMIT {
            return None;
        }
        Some(function)
    }

    pub(crate) fn far_refs(&self) -> Option<Rc<Far>> {
        self.far_refs.clone()
    }

    pub(crate) fn set_far_refs(&mut self, far: Rc<Far>) {
        self.far_refs = Some(far);
        self.unknown_jumps.clear();
    }

    pub(crate) fn unknown_jumps(&mut self) -> &mut BTreeMap<Va, Option<Va>> {
        &mut self.unknown_jumps
    }

    /// Where the first region behind `at` that is decoded already begins.
    pub(crate) fn next_known(&self, at: Va) -> Option<Va> {
        let next = self
            .regions
            .range((Bound::Excluded(at), Bound::Unbounded))
            .next();
        next.map(|(start, _)| *start)
    }

    /// The region that `at` is a byte of, if it is decoded already.
    pub(crate) fn known(&self, at: Va) -> Option<Rc<Region>> {
        let (_, region) = self.regions.range(..=at).next_back()?;
        region.span.contains(at).then(|| Rc::clone(region))
    }

    fn section(&self, at: Va) -> Option<Section<'i>> {
        let i = self.image.code.partition_point(|span| span.end <= at);
        let span = *self.image.code.get(i).filter(|span| span.contains(at))?;
        let bytes = self
            .image
            .read(span.start, usize::try_from(span.len()).ok()?)?;
        Some(Section {
            span,
            bytes,
            image: self.image.span(),
        })
    }

    /// Decodes the function around `at` from its start, and the padding behind it.
    fn function_region(&mut self, at: Va, section: Section<'_>) -> Option<Rc<Region>> {
        let function = self.function(at)?.span;
        if !section.span.covers(function) {
            return None;
        }
        let mut reader = section.reader();
        // Instructions of compiled code are 4 bytes long on average.
        let about = section.offsets(function).len() / 4 + 8;
        let mut insns = Vec::with_capacity(about);
        let end = decode_run(&mut reader, section.offsets(function), &mut insns, |_| true);
        if end != section.offset(function.end) {
            self.mixed.insert(function.start);
            return None;
        }
        let next = self
            .image
            .next_function_start(function.end - 1)
            .unwrap_or(section.span.end);
        let gap = Span {
            start: function.end,
            end: next.min(section.span.end),
        };
        let padding = insns.len();
        let end = decode_run(&mut reader, section.offsets(gap), &mut insns, |insn| {
            matches!(insn.kind, Kind::Nop | Kind::Int3)
        });
        if end != section.offset(gap.end) {
            insns.truncate(padding);
        }
        self.insert(insns, Trust::Function);
        self.known(at)
    }

    /// Decodes a window around `at`, up to known functions and regions.
    fn sweep(&mut self, at: Va, section: Section<'_>) {
        let window = self.window(at, section.span);
        let (start, settled) = self.last_known_boundary(window.start, at, section.span);
        let mut reader = section.reader();
        let last = section.offset(window.end);
        let mut from = if settled {
            section.offset(start)
        } else {
            let near = section.offset(at);
            let begin = vote::settle(&mut reader, section.offset(start), near);
            match begin.or_else(|| vote::lead_in(&mut reader, near)) {
                Some(offset) => offset,
                None => return,
            }
        };
        let mut runs: Vec<Vec<Insn>> = Vec::new();
        while from < last {
            let mut run = Vec::new();
            let mut next = self.sites.partition_point(|s| *s < section.va(from));
            let mut missed = None;
            let end = decode_run(&mut reader, from..last, &mut run, |insn| {
                while self.sites.get(next).is_some_and(|site| *site <= insn.at) {
                    next += 1;
                }
                missed = self.sites.get(next).copied();
                missed = missed.filter(|site| insn.span().contains_inside(*site));
                missed.is_none()
            });
            // Bytes that are no code end a run: the next begins where chains agree, at the next site at the latest.
            let settled = vote::settle(&mut reader, end + 1, last);
            let site = self.sites.get(next).map(|site| section.offset(*site));
            let lead = site.filter(|site| *site < last && settled.is_none_or(|s| s > *site));
            let lead = lead.filter(|_| end < last);
            let next_run = match (missed, lead) {
                (Some(_), _) | (None, Some(_)) => {
                    let site = site.unwrap_or(last);
                    let lead = vote::lead_in(&mut reader, site);
                    // Sites in data can contradict each other: every run begins behind the one before.
                    lead.filter(|lead| *lead > from).unwrap_or(site)
                }
                (None, None) => settled.unwrap_or(last),
            };
            // A site that does not fit before the next region cannot be decoded: on, or this would not end.
            from = next_run.max(from + 1);
            while run
                .last()
                .is_some_and(|insn| section.offset(insn.end()) > from)
            {
                run.pop();
            }
            runs.push(run);
        }
        for run in runs {
            self.insert(run, Trust::Swept);
        }
    }

    /// The window around `at`: wider where the windows of sites overlap it, so that they share one region.
    fn window(&self, at: Va, section: Span) -> Span {
        let reach = |at: Va| Span {
            start: Va(at.0.saturating_sub(WINDOW)),
            end: Va(at.0.saturating_add(WINDOW)),
        };
        let mut window = reach(at);
        let behind = self.sites.partition_point(|site| *site <= at);
        for site in &self.sites[behind..] {
            if reach(*site).start >= window.end
                || site.distance_from(at) > WINDOW_LIMIT.cast_signed()
            {
                break;
            }
            window.end = reach(*site).end;
        }
        for site in self.sites[..behind].iter().rev() {
            if reach(*site).end <= window.start
                || at.distance_from(*site) > WINDOW_LIMIT.cast_signed()
            {
                break;
            }
            window.start = window.start.min(reach(*site).start);
        }
        let after = self
            .regions
            .range(at..)
            .next()
            .map_or(section.end, |(start, _)| *start);
        let function = self.image.next_function_start(at).unwrap_or(section.end);
        Span {
            start: window.start.max(section.start),
            end: window
                .end
                .max(at + 1)
                .min(after)
                .min(function)
                .min(section.end),
        }
    }

    /// The last place in `from..=at` where an instruction is known to begin, and true; else `from` and false.
    fn last_known_boundary(&self, from: Va, at: Va, section: Span) -> (Va, bool) {
        let mut found = (from, from == section.start);
        if let Some((_, region)) = self.regions.range(..=at).next_back()
            && region.span.end >= from
        {
            found = (region.span.end, true);
        }
        // The starts of functions, and their ends.
        let mut probe = found.0;
        loop {
            if let Some(function) = self.image.function_at(probe).map(|f| f.span) {
                if function.start >= from && function.start >= found.0 {
                    found = (function.start, true);
                }
                if function.end <= at {
                    found = (function.end, true);
                }
            }
            match self.image.next_function_start(probe) {
                Some(next) if next <= at && next > probe => probe = next,
                _ => return found,
            }
        }
    }

    /// Keeps those of `insns` that no region holds yet.
    fn insert(&mut self, mut insns: Vec<Insn>, trust: Trust) {
        mark(&self.others, &mut insns);
        let (Some(first), Some(last)) = (insns.first(), insns.last()) else {
            return;
        };
        let span = Span {
            start: first.at,
            end: last.end(),
        };
        let before = self.regions.range(..span.end).next_back();
        if before.is_none_or(|(_, region)| region.span.end <= span.start) {
            let region = Region { span, insns, trust };
            self.regions.insert(span.start, Rc::new(region));
            return;
        }
        let is_free = |insn: &Insn| {
            let before = self.regions.range(..insn.end()).next_back();
            before.is_none_or(|(_, region)| region.span.end <= insn.at)
        };
        let free: Vec<Vec<Insn>> = insns
            .chunk_by(|a, b| is_free(a) == is_free(b))
            .filter(|run| is_free(&run[0]))
            .map(<[Insn]>::to_vec)
            .collect();
        for run in free {
            self.insert(run, trust);
        }
    }
}
