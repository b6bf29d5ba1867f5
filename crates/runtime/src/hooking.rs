//! Start-up's part in hooks: whether they can be called here, and what their sites are.
//!
//! # Safety
//! I13: looks at `gs` before it takes it; I14: fills what the hot path reads.

use alloc::vec::Vec;

use hotpatch_abi::{ARGUMENTS_ONLY, Hook, Site};
use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::emit;
use hotpatch_plan::plan::{Emission, Plan};

use crate::arch;
use crate::areas::{self, Area, Went};
use crate::frame::Entered;
use crate::hooks::{self, Known};
use crate::load;
use crate::log::Sink;
use crate::maps::Mapping;
use crate::object::{self, Loaded};
use crate::pages::Range;
use crate::patch::Threads;
use crate::quick;
use crate::services::SERVICES;
use crate::signal;
use crate::store::Store;
use crate::thread;

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
    /// All hooks, by bit.
    all: u32,
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
        Ok(Self {
            store,
            arguments_only: hooks.iter().all(|h| h.flags & ARGUMENTS_ONLY != 0),
            only: <[Hook; 1]>::try_from(&hooks[..]).ok().map(|[hook]| hook),
            all: (1 << hooks.len()) - 1,
        })
    }

    /// What it has mapped, which trampolines must not take.
    #[must_use]
    pub fn range(&self) -> Range {
        self.store.range()
    }

    /// How the sites of the next image are emitted, with its data area at `data`.
    #[must_use]
    pub fn style(&self, data: Va) -> emit::Hooking<'static> {
        emit::Hooking {
            data,
            first: self.store.sites(),
            saved_rsp: Entered::SAVED_RSP,
            quiet: &[],
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
        plan: &Plan,
        emission: &Emission,
        maps: &[Mapping<'_>],
    ) {
        // SAFETY: as the caller promises.
        unsafe { areas::fill(of.data, self.arguments_only, self.only.is_some()) };
        let file = self.store.text(of.path);
        for block in &emission.blocks {
            let address = block.site.0.wrapping_add(of.loaded.bias);
            let site = plan.sites.binary_search_by_key(&block.site, |s| s.at);
            let site = site.ok().and_then(|n| plan.sites.get(n));
            let len = site.map_or(2, |s| s.len);
            let mut bytes = [0; 15];
            if let Some(code) = of.loaded.image.bytes(Span::new(block.site, u64::from(len))) {
                bytes[..code.len()].copy_from_slice(code);
            }
            self.store.site(Known {
                site: Site {
                    address,
                    offset: object::file_offset(maps, address).unwrap_or(0),
                    file,
                    symbol: core::ptr::null(),
                    symbol_offset: 0,
                    kind: site.map_or(0, |s| s.kind as u32),
                    id: block.id,
                    bytes,
                    len,
                },
                chosen: self.all,
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
                Went {
                    offset: moved.offset | if is_block { Went::BLOCK } else { 0 },
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
