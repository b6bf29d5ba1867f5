//! Start-up's part in hooks: whether they can be called here, and what their sites are.
//!
//! # Safety
//! I13: looks at `gs` before it takes it; I14: fills what the hot path reads.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::offset_of;

use hotpatch_abi::{ARGUMENTS_ONLY, Hook, SelectFn, Site};
use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::emit;
use hotpatch_plan::plan::{Candidate, Emission, Kinds, SiteKind};

use crate::arch;
use crate::areas::{self, Area, Went};
use crate::frame::Entered;
use crate::hooks::{self, Known};
use crate::load;
use crate::log::Sink;
use crate::maps::Mapping;
use crate::object::{self, Loaded};
use crate::pages::Range;
use crate::patch::{Fitting, Threads};
use crate::quick;
use crate::services::SERVICES;
use crate::signal;
use crate::store::Store;
use crate::thread::{self, Block, Own};

/// Why no hook is called in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Impossible {
    /// Processor or kernel do not let programs set the base of `gs`.
    NoGs,
    /// Somebody uses `gs` already.
    GsTaken,
    /// Threads run that have no hook stack.
    Threads,
    /// No memory.
    Memory,
}

impl core::fmt::Display for Impossible {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoGs => "processor or kernel do not let programs set gs",
            Self::GsTaken => "gs is in use",
            Self::Threads => "other threads run already",
            Self::Memory => "no memory",
        })
    }
}

/// What start-up gathers for the hot path.
#[derive(Debug)]
pub struct Hooking {
    store: Store,
    arguments_only: bool,
    /// The hook, if it is the only one.
    only: Option<Hook>,
    /// For each hook, the kinds that it wants and whom to ask about a candidate.
    wishes: Vec<(Kinds, SelectFn)>,
    /// All of these kinds, and `syscall`.
    kinds: Kinds,
}

impl Hooking {
    /// Begins, if hooks can be called here at all.
    ///
    /// # Errors
    /// Why they cannot.
    pub fn begin(
        loaded: &[load::Loaded],
        fsgsbase: bool,
        threads: Threads,
    ) -> Result<Self, Impossible> {
        if !fsgsbase {
            return Err(Impossible::NoGs);
        }
        // SAFETY: I13: the kernel has said that it may be read.
        if unsafe { arch::gs_base() } != 0 {
            return Err(Impossible::GsTaken);
        }
        if threads == Threads::Many {
            return Err(Impossible::Threads);
        }
        let store = Store::new().map_err(|_| Impossible::Memory)?;
        let hooks: Vec<Hook> = loaded.iter().map(|l| l.hook).collect();
        // SAFETY: I14: this is start-up, and the loader has looked at each hook.
        unsafe { hooks::install(&hooks, &raw const SERVICES) };
        let bits = |hook: &Hook| if hook.kinds == 0 { 1 } else { hook.kinds };
        let wishes: Vec<(u64, SelectFn)> = hooks.iter().map(|h| (bits(h), h.select)).collect();
        Ok(Self {
            store,
            arguments_only: hooks.iter().all(|h| h.flags & ARGUMENTS_ONLY != 0),
            only: <[Hook; 1]>::try_from(&hooks[..]).ok().map(|[hook]| hook),
            kinds: Kinds::of_bits(wishes.iter().fold(1, |all, wish| all | wish.0)),
            wishes: wishes
                .into_iter()
                .map(|(bits, ask)| (Kinds::of_bits(bits), ask))
                .collect(),
        })
    }

    /// What it has mapped, which trampolines must not take.
    #[must_use]
    pub fn range(&self) -> Range {
        self.store.range()
    }

    /// The kinds of instruction that sites are.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether every candidate of a hook's kinds is chosen by it.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.wishes.iter().all(|(_, ask)| ask.is_none())
    }

    /// The hooks that choose a candidate, by bit. Each is asked once.
    #[must_use]
    pub fn choose(
        &self,
        loaded: &Loaded<'_>,
        path: &CStr,
        maps: &[Mapping<'_>],
        candidate: &Candidate,
    ) -> u32 {
        let mut chosen = 0;
        for (n, (kinds, ask)) in self.wishes.iter().enumerate() {
            let yes = kinds.has(candidate.kind)
                && ask.is_none_or(|ask| {
                    let symbol = loaded.image.symbol_at(candidate.at);
                    let name = symbol.and_then(|(name, _)| CString::new(name).ok());
                    let mut site = describe(loaded, maps, candidate.at, candidate.len);
                    site.kind = candidate.kind as u32;
                    site.file = path.as_ptr();
                    if let (Some(name), Some((_, offset))) = (&name, symbol) {
                        (site.symbol, site.symbol_offset) = (name.as_ptr(), offset);
                    }
                    // SAFETY: I11: the hook's own function; what it is shown lives until it returns.
                    unsafe { ask(&raw const SERVICES, &raw const site) }
                });
            chosen |= u32::from(yes) << n;
        }
        chosen
    }

    /// The hooks that choose a site of this kind where nobody has been asked.
    fn all_of(&self, kind: SiteKind) -> u32 {
        let of = self.wishes.iter().enumerate();
        of.filter(|(_, (kinds, _))| kinds.has(kind))
            .fold(0, |all, (n, _)| all | 1 << n)
    }

    /// How the sites of the next image are emitted, with its data area at `data`.
    #[must_use]
    pub fn style<'q>(&self, data: Va, quiet: &'q [Va]) -> emit::Hooking<'q> {
        emit::Hooking {
            data,
            first: self.store.sites(),
            saved_rsp: Entered::SAVED_RSP,
            own_rsp: (offset_of!(Block, own) + offset_of!(Own, rsp)) as u32,
            quiet,
        }
    }

    /// Whether there is room for what an emission leaves behind.
    #[must_use]
    pub fn has_room(&self, path: &[u8], emission: &Emission) -> bool {
        let bytes = path.len() + size_of_val(&emission.moved[..]) + size_of::<Area>() + 256;
        self.store.has_room(emission.blocks.len(), bytes)
    }

    /// Fills the data area at `data`, just mapped, and keeps what the hot path and signals need of the image.
    ///
    /// # Safety
    /// I14: [`areas::LEN`] bytes of zeros are mapped at `data`.
    pub unsafe fn settle(
        &mut self,
        of: &Settled<'_, '_>,
        fitting: &Fitting,
        emission: &Emission,
        maps: &[Mapping<'_>],
    ) {
        let (plan, chosen) = (&fitting.plan, &fitting.chosen);
        // SAFETY: as the caller promises.
        unsafe { areas::fill(of.data, self.arguments_only, self.only.is_some()) };
        let file = self.store.text(of.path);
        for block in &emission.blocks {
            let site = plan.sites.binary_search_by_key(&block.site, |s| s.at);
            let site = site.ok().and_then(|n| plan.sites.get(n));
            let kind = site.map_or(SiteKind::Syscall, |s| s.kind);
            let asked = chosen.binary_search_by_key(&block.site, |&(at, _)| at);
            self.store.site(Known {
                site: Site {
                    file,
                    kind: kind as u32,
                    id: block.id,
                    ..describe(of.loaded, maps, block.site, site.map_or(2, |s| s.len))
                },
                chosen: asked.map_or_else(|_| self.all_of(kind), |n| chosen[n].1),
                number: site.and_then(|s| s.number).unwrap_or(Known::ANY),
            });
        }
        self.keep_area(of, emission);
    }

    fn keep_area(&mut self, of: &Settled<'_, '_>, emission: &Emission) {
        let bias = of.loaded.bias;
        let originals = emission.moved.iter().map(|m| m.original);
        let origin = originals.min().unwrap_or(Va(0));
        let mut blocks = emission.blocks.iter().map(|b| b.offset).peekable();
        let went: Vec<Went> = emission
            .moved
            .iter()
            .map(|moved| {
                let is_block = blocks.next_if_eq(&moved.offset).is_some();
                let mark = match (is_block, moved.len) {
                    (false, _) => 0,
                    (true, emit::at::LEN) => Went::BLOCK,
                    (true, _) => Went::OTHER,
                };
                Went {
                    offset: moved.offset | mark,
                    original: moved.original.distance_from(origin) as u32,
                }
            })
            .collect();
        let start = emission.base.0.wrapping_add(bias);
        let area = Area {
            next: core::ptr::null(),
            data: of.data,
            start,
            end: start + emission.code.len() as u64,
            origin: origin.0.wrapping_add(bias),
            went: self.store.keep(&went),
            count: went.len(),
        };
        let area = self.store.keep(&[area]);
        // SAFETY: I14: in the store.
        unsafe { areas::add(area) };
    }

    /// Makes hooks be called: from here on each hooked instruction enters them.
    ///
    /// # Errors
    /// There is no memory for this thread's block; then no hook is called.
    pub fn finish(self, log: &Sink) -> Result<(), Impossible> {
        // SAFETY: I14: start-up; the table lies in the store.
        unsafe { hooks::publish(self.store.table(), self.store.sites()) };
        if let Some(hook) = &self.only {
            // SAFETY: I14: as above.
            unsafe { quick::install(hook, self.store.table()) };
        }
        // SAFETY: I14: nothing is added from here on.
        unsafe { self.store.seal() };
        // SAFETY: I13: `begin` has seen that it is free.
        let begun = unsafe { thread::begin() };
        if begun.is_err() {
            areas::unhook("no memory for a hook stack");
            return Err(Impossible::Memory);
        }
        signal::begin();
        if log.is_open() {
            log.say(format_args!(
                "hooks are called at {} sites",
                self.store.sites()
            ));
        }
        Ok(())
    }
}

/// A site as far as its image tells.
fn describe(loaded: &Loaded<'_>, maps: &[Mapping<'_>], at: Va, len: u8) -> Site {
    let address = at.0.wrapping_add(loaded.bias);
    let mut bytes = [0; 15];
    if let Some(code) = loaded.image.bytes(Span::new(at, u64::from(len))) {
        bytes[..code.len()].copy_from_slice(code);
    }
    Site {
        address,
        offset: object::file_offset(maps, address).unwrap_or(0),
        file: core::ptr::null(),
        symbol: core::ptr::null(),
        symbol_offset: 0,
        kind: 0,
        id: 0,
        bytes,
        len,
    }
}

/// An image whose trampolines have been written.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a, 'i> {
    /// The image.
    pub loaded: &'a Loaded<'i>,
    /// Its file.
    pub path: &'a [u8],
    /// Its data area.
    pub data: u64,
}
