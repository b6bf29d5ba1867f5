//! Start-up's part in hooks and in the runtime's own looks at calls: whether there can be any here, and at which sites.
//!
//! # Safety
//! I13: looks at `gs` before it takes it; I14: fills what the hot path reads.

mod slots;

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::mem::offset_of;

use hotpatch_abi::{Hook, SelectFn, Site};
use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::emit;
use hotpatch_plan::native::RESTORER;
use hotpatch_plan::plan::{Candidate, Emission, Kinds, Outcome, SiteKind, Tactics};

use crate::arch;
use crate::areas::{self, Area, Undo, Went};
use crate::attach;
use crate::config::Config;
use crate::frame::Entered;
use crate::hooks::{self, INTERNAL, Known};
use crate::hosted;
use crate::load::{self, MOST};
use crate::log::Sink;
use crate::maps::Mapping;
use crate::memory::Write;
use crate::object::{self, Loaded};
use crate::pages::Range;
use crate::patch::{Fitting, Threads};
use crate::quick;
use crate::services::SERVICES;
use crate::signal;
use crate::store::Store;
use crate::sys::Errno;
use crate::thread::{self, Own};

/// Why no hook is called in this process, and the runtime itself sees no call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Impossible {
    /// Processor or kernel do not let programs set the base of `gs`.
    NoGs,
    /// Somebody uses `gs` already.
    GsTaken,
    /// Threads run that have no hook stack.
    Threads,
    /// Sites whose calls the runtime must see may be refused.
    Tactics,
    /// It is going to be used by code that cannot be patched.
    GsUnseen,
    /// No memory.
    Memory,
}

impl core::fmt::Display for Impossible {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoGs => "processor or kernel do not let programs set gs",
            Self::GsTaken => "gs is in use",
            Self::Threads => "other threads run already",
            Self::Tactics => "LIBHOTPATCH_TACTICS may refuse any site",
            Self::GsUnseen => areas::UNSEEN_GS,
            Self::Memory => "no memory",
        })
    }
}

/// What start-up gathers for the hot path, and what late.rs adds to.
#[derive(Clone, Copy, Debug)]
pub struct Hooking {
    store: Store,
    flags: u32,
    /// The hook, if it is the only one.
    only: Option<Hook>,
    /// Whether there are hooks; if not, the runtime alone looks at calls.
    hooks: bool,
    /// Whether every handler is sure to be shown the program's own addresses: no file is left alone.
    handlers: bool,
    /// For each hook, the kinds that it wants and whom to ask about a candidate.
    wishes: [(Kinds, SelectFn); MOST],
    /// How many hooks.
    count: usize,
    /// Start-up is over.
    sealed: bool,
    /// All of these kinds, `syscall`, and what shows or changes `gs`.
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
        config: &Config<'_>,
    ) -> Result<Self, Impossible> {
        if loaded.is_empty() && config.tactics != Tactics::ALL {
            return Err(Impossible::Tactics);
        }
        if !fsgsbase {
            return Err(Impossible::NoGs);
        }
        // SAFETY: I13: the kernel has said that it may be read.
        if unsafe { arch::gs_base() } != 0 && !unsafe { thread::has_begun() } {
            return Err(Impossible::GsTaken);
        }
        if threads == Threads::Many {
            return Err(Impossible::Threads);
        }
        let store = Store::new(!loaded.is_empty()).map_err(|_| Impossible::Memory)?;
        let hooks: Vec<Hook> = loaded.iter().map(|l| l.hook).collect();
        // SAFETY: I14: this is start-up, and the loader has looked at each hook.
        unsafe { hooks::install(&hooks, &raw const SERVICES) };
        if !config.skip.is_empty() {
            // Some calls that change what is blocked are not seen.
            signal::faults::go_astray();
        }
        let bits = |hook: &Hook| if hook.kinds == 0 { 1 } else { hook.kinds };
        let mut wishes = [(Kinds::SYSCALL, None); MOST];
        for (wish, hook) in wishes.iter_mut().zip(&hooks) {
            *wish = (Kinds::of_bits(bits(hook)), hook.select);
        }
        Ok(Self {
            store,
            flags: hooks
                .iter()
                .fold(u32::MAX, |flags, hook| flags & hook.flags),
            only: <[Hook; 1]>::try_from(&hooks[..]).ok().map(|[hook]| hook),
            kinds: Kinds::of_bits(hooks.iter().fold(1, |all, hook| all | bits(hook)))
                .and(Kinds::GS),
            hooks: !hooks.is_empty(),
            handlers: !hooks.is_empty() || config.skip.is_empty(),
            wishes,
            count: hooks.len(),
            sealed: false,
        })
    }

    /// What it has mapped, which trampolines must not take.
    #[must_use]
    pub fn range(&self) -> Range {
        self.store.range()
    }

    fn wishes(&self) -> &[(Kinds, SelectFn)] {
        self.wishes.get(..self.count).unwrap_or(&[])
    }

    /// The kinds of instruction that sites are.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Whether handlers are shown the program's own addresses, wherever they are set.
    #[must_use]
    pub fn handlers(&self) -> bool {
        self.handlers
    }

    /// Whether there is a hook to be asked about candidates.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.hooks
    }

    /// Whether every candidate of a hook's kinds is chosen by it.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.wishes().iter().all(|(_, ask)| ask.is_none())
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
        for (n, (kinds, ask)) in self.wishes().iter().enumerate() {
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
        let of = self.wishes().iter().enumerate();
        of.filter(|(_, (kinds, _))| kinds.has(kind))
            .fold(0, |all, (n, _)| all | 1 << n)
    }

    /// Which site of a plan needs what.
    #[must_use]
    pub fn needs(&self, fitting: &Fitting) -> Needs {
        let mut needs = Needs {
            plain: Vec::with_capacity(fitting.plan.sites.len()),
            ..Needs::default()
        };
        for site in &fitting.plan.sites {
            if !matches!(site.outcome, Outcome::Patched { .. }) {
                continue;
            }
            let chosen = self.chosen(fitting, site.at, site.kind);
            let wanted = site.number.map_or(u32::MAX, hooks::wanted);
            if site.kind == SiteKind::Syscall && wanted & (chosen | INTERNAL) == 0 {
                needs.plain.push(site.at);
                continue;
            }
            if let Some(number) = site.number {
                needs.numbers.push((site.at, number));
            }
            needs.any = true;
            if self.hooks && chosen == 0 && site.kind == SiteKind::Syscall {
                needs.quiet.push(site.at);
            }
        }
        needs
    }

    /// The hooks that have chosen a site, by bit.
    fn chosen(&self, fitting: &Fitting, site: Va, kind: SiteKind) -> u32 {
        let asked = &fitting.chosen;
        match asked.binary_search_by_key(&site, |&(at, _)| at) {
            Ok(n) => asked[n].1,
            Err(_) => self.all_of(kind),
        }
    }

    /// Keeps `text` for good.
    pub fn keep(&mut self, text: &[u8]) -> &'static [u8] {
        let kept = self.store.keep(text);
        // SAFETY: I14: in the store.
        unsafe { core::slice::from_raw_parts(kept, text.len()) }
    }

    /// In the child of a fork, where another thread may have been about to add an image: what has been published counts.
    pub fn recover(&mut self) {
        let last = areas::all().next().map(core::ptr::from_ref);
        self.store
            .recover(hooks::sites(), last.map(|area| area.addr()));
    }

    /// What is mapped for it, once start-up is over.
    #[must_use]
    pub fn parts(&self) -> [Range; 2] {
        self.store.parts()
    }

    /// The id of the next image's first block.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.store.sites()
    }

    /// How the sites of an image are emitted, with its data area at `data` and ids from `first` on.
    #[must_use]
    pub fn style<'q>(&self, first: u32, data: Va, needs: &'q Needs) -> emit::Hooking<'q> {
        emit::Hooking {
            data,
            first,
            saved_rsp: Entered::SAVED_RSP,
            own_rsp: (offset_of!(thread::Block, own) + offset_of!(Own, rsp)) as u32,
            // Hooks are the user's wish, and a thread whose beginning nobody saw is rare, but where they have threads, and
            // where not every site that begins them could be patched.
            minus_fs: (!self.hooks || hosted::are_there() || attach::is_attached())
                .then_some(offset_of!(thread::Block, minus_fs) as u32),
            quiet: &needs.quiet,
            plain: &needs.plain,
            numbers: &needs.numbers,
        }
    }

    /// Whether there is room for what an emission leaves behind.
    #[must_use]
    pub fn has_room(&self, path: &[u8], emission: &Emission, writes: usize) -> bool {
        let bytes = Self::bytes(path, emission, writes);
        self.store.has_room(emission.blocks.len(), bytes) && areas::count() < areas::MOST
    }

    fn bytes(path: &[u8], emission: &Emission, writes: usize) -> usize {
        let lists = size_of_val(&emission.moved[..]) + writes * size_of::<Undo>();
        path.len() + lists + size_of::<Area>() + 256
    }

    /// Fills the data area, just mapped, and keeps what the hot path and signals need of the image.
    ///
    /// # Safety
    /// I14: [`Needs::data_len`] bytes of zeros are mapped at its address.
    pub unsafe fn settle(
        &mut self,
        of: &Settled<'_, '_>,
        fitting: &Fitting,
        emission: &Emission,
        maps: &[Mapping<'_>],
    ) -> Result<&'static Area, Errno> {
        let bytes = Self::bytes(of.path, emission, of.writes.len());
        let opened = self
            .sealed
            .then(|| self.store.open(emission.blocks.len(), bytes))
            .transpose()?;
        let first = self.next();
        let quiet = !of.needs.quiet.is_empty();
        if of.needs.any {
            // SAFETY: as the caller promises.
            unsafe { areas::fill(of.data, quiet, self.flags, self.only.is_some()) };
        }
        let file = match emission.blocks[..] {
            [] => core::ptr::null(),
            _ => self.store.text(of.path),
        };
        for block in &emission.blocks {
            let known = self.known(of, fitting, block, maps);
            self.store.site(Known {
                site: Site { file, ..known.site },
                ..known
            });
        }
        let area = self.keep_area(of, emission, first);
        if self.sealed {
            hooks::grow(self.next());
        }
        // SAFETY: I14: in the store.
        unsafe { areas::add(area) };
        drop(opened);
        // SAFETY: as above.
        Ok(unsafe { &*area })
    }

    /// What is known of a block's site, but for its file.
    fn known(
        &self,
        of: &Settled<'_, '_>,
        fitting: &Fitting,
        block: &emit::Block,
        maps: &[Mapping<'_>],
    ) -> Known {
        let plan = &fitting.plan;
        let site = plan.sites.binary_search_by_key(&block.site, |s| s.at);
        let site = site.ok().and_then(|n| plan.sites.get(n));
        let kind = site.map_or(SiteKind::Syscall, |s| s.kind);
        if kind == SiteKind::Wrgsbase {
            areas::has_set_gs();
        }
        Known {
            site: Site {
                kind: kind as u32,
                id: block.id,
                ..describe(of.loaded, maps, block.site, site.map_or(2, |s| s.len))
            },
            chosen: self.chosen(fitting, block.site, kind),
            number: site.and_then(|s| s.number).unwrap_or(Known::ANY),
        }
    }

    /// Whether what has been kept for `area`, which is retired, is what would be kept for this emission at its place.
    #[must_use]
    pub fn is_same(
        &self,
        area: &Area,
        of: &Settled<'_, '_>,
        fitting: &Fitting,
        emission: &Emission,
        maps: &[Mapping<'_>],
    ) -> bool {
        let mut ids = area.first..;
        let same_site = |block: &emit::Block| {
            // SAFETY: I14: the area's own sites are in the table.
            let known = ids.next().map(|id| unsafe { hooks::known(id) });
            let Some(known) = known.filter(|_| block.id < self.next()) else {
                return false;
            };
            // SAFETY: I14: in the store.
            let path = unsafe { CStr::from_ptr(known.site.file) };
            let new = self.known(of, fitting, block, maps);
            let (old, new_site) = (&known.site, &new.site);
            path.to_bytes() == of.path
                && (old.address, old.offset) == (new_site.address, new_site.offset)
                && (old.kind, old.id) == (new_site.kind, new_site.id)
                && (old.bytes, old.len) == (new_site.bytes, new_site.len)
                && (known.chosen, known.number) == (new.chosen, new.number)
        };
        let undo = |(old, new): (&Undo, Undo)| *old == new;
        let code = Self::code(of);
        area.code == code
            && area.undos == of.writes.len()
            && area.count == emission.moved.len()
            && area
                .replaced()
                .iter()
                .zip(Self::undos(code, of.writes))
                .all(undo)
            && emission.blocks.iter().all(same_site)
    }

    /// From the first byte that changes to the last.
    fn code(of: &Settled<'_, '_>) -> Range {
        let starts = of.writes.iter().map(|w| w.at);
        let ends = of.writes.iter().map(Write::end);
        Range {
            start: starts.min().unwrap_or(0),
            end: ends.max().unwrap_or(0),
        }
    }

    fn undos<'w>(code: Range, writes: &'w [Write]) -> impl Iterator<Item = Undo> + 'w {
        writes.iter().map(move |write| Undo {
            at: (write.at - code.start) as u32,
            len: write.len,
            old: write.old,
        })
    }

    /// The restorer of signal frames whose call has a block of its own.
    fn restorer(of: &Settled<'_, '_>) -> u64 {
        let len = RESTORER.len() as u64;
        let calls = of.needs.numbers.iter().filter(|&&(_, n)| n == SIGRETURN);
        let starts = calls.map(|(site, _)| *site - len);
        let mut known =
            starts.filter(|&start| of.loaded.image.bytes(Span::new(start, len)) == Some(&RESTORER));
        known
            .next()
            .map_or(0, |start| start.0.wrapping_add(of.loaded.bias))
    }

    /// Keeps where an image's instructions went.
    fn keep_area(&mut self, of: &Settled<'_, '_>, emission: &Emission, first: u32) -> *mut Area {
        let bias = of.loaded.bias;
        let originals = emission.moved.iter().map(|m| m.original);
        let origin = originals.min().unwrap_or(Va(0));
        let mut blocks = emission.blocks.iter().map(|b| b.offset).peekable();
        let went = emission.moved.iter().map(|moved| {
            let is_block = blocks.next_if_eq(&moved.offset).is_some();
            let mark = match (is_block, moved.len) {
                (false, _) => 0,
                (true, emit::at::LEN) => Went::BLOCK,
                (true, WITH_AHEAD) => Went::BLOCK | Went::AHEAD,
                (true, _) => Went::OTHER,
            };
            Went {
                offset: moved.offset | mark,
                original: moved.original.distance_from(origin) as u32,
            }
        });
        let went = self.store.keep_all(went);
        let start = emission.base.0.wrapping_add(bias);
        let code = Self::code(of);
        let undo: Vec<Undo> = Self::undos(code, of.writes).collect();
        let area = Area {
            next: core::ptr::null(),
            number: areas::count(),
            first,
            mapped: of.mapped,
            generated: of.loaded.image.is_generated(),
            code,
            undo: self.store.keep(&undo),
            undos: undo.len(),
            data: if of.needs.any { of.data } else { 0 },
            quiet: !of.needs.quiet.is_empty(),
            start,
            end: start + emission.code.len() as u64,
            origin: origin.0.wrapping_add(bias),
            went,
            count: emission.moved.len(),
            restorer: Self::restorer(of),
            words: 0,
        };
        self.store.keep(&[area])
    }

    /// Begins for good: from here on blocks enter the hooks, and the runtime's own looks.
    ///
    /// # Errors
    /// There is no memory for this thread's block; then nobody sees a call.
    pub fn finish(mut self, log: &Sink) -> Result<Self, Impossible> {
        // SAFETY: I14: start-up; the table lies in the store.
        unsafe { hooks::publish(self.store.table(), self.store.sites()) };
        if let Some(hook) = &self.only {
            // SAFETY: I14: as above.
            unsafe { quick::install(hook, self.store.table()) };
        }
        // SAFETY: I14: nothing is added from here on but by `open`.
        unsafe { self.store.seal() };
        self.sealed = true;
        if areas::loses_gs() {
            areas::unhook(areas::UNSEEN_GS);
            return Err(Impossible::GsUnseen);
        }
        // SAFETY: I13: `begin` has seen that it is free.
        let begun = if unsafe { thread::has_begun() } {
            // For hosted hooks, when what hooks are told was not there yet.
            // SAFETY: I13: as just seen.
            let block = unsafe { thread::own() };
            block.context = hooks::context(block.slots.as_mut_ptr());
            Ok(())
        } else {
            // SAFETY: as above.
            unsafe { thread::begin() }
        };
        if begun.is_err() {
            areas::unhook("no memory for a hook stack");
            return Err(Impossible::Memory);
        }
        signal::begin();
        if self.hooks && log.is_open() {
            log.say(format_args!(
                "hooks are called at {} sites",
                self.store.sites()
            ));
        }
        Ok(self)
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

const SIGRETURN: u32 = linux_raw_sys::general::__NR_rt_sigreturn;

/// An image whose trampolines have been written.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a, 'i> {
    /// The image.
    pub loaded: &'a Loaded<'i>,
    /// Its file.
    pub path: &'a [u8],
    /// Its trampolines and its data area.
    pub mapped: Range,
    /// Its data area.
    pub data: u64,
    /// What is written over its code.
    pub writes: &'a [Write],
    /// Its sites' needs.
    pub needs: &'a Needs,
}

/// The length of a block with what stands ahead of it.
const WITH_AHEAD: u8 = emit::ahead::LEN + emit::at::LEN;

/// What the sites of an image need.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// No more than the instruction: nobody ever wants their calls.
    plain: Vec<Va>,
    /// A block that asks for what the runtime itself must see: no hook has chosen them.
    quiet: Vec<Va>,
    /// A block for one number.
    numbers: Vec<(Va, u32)>,
    /// Whether any site needs a block.
    any: bool,
}

impl Needs {
    /// Bytes of the data area that blocks ask.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        if self.any {
            areas::len(!self.quiet.is_empty())
        } else {
            0
        }
    }
}
