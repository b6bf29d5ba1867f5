//! What start-up does with each file that has code: plans it, makes its trampolines, writes.
//!
//! # Safety
//! I3: what guarded work owns; I4: what outlives the arena's memory for a file; I14: what is settled.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::fmt::Write as _;

use hotpatch_plan::addr::Va;
use hotpatch_plan::emit::{Layout, OutOfReach, Style};
use hotpatch_plan::plan::{Emission, Outcome, Site, SiteKind, Tactics};
use hotpatch_plan::store;

use crate::areas;
use crate::cache::{self, Cache};
use crate::config::{Config, Trap};
use crate::counts::Counts;
use crate::hooking::{Hooking, Needs, Settled};
use crate::journal;
use crate::log::Sink;
use crate::maps::Mapping;
use crate::memory::{self, Write, Writer};
use crate::object::{self, Loaded, Object};
use crate::pages::{PAGE, Range, Space};
use crate::patch::{self, Fitting, Threads};
use crate::perf;
use crate::report::{self, Report, Subject, Times};
use crate::rescue::{LastWords, rescue};
use crate::start::ARENA;
use crate::sys::{self, Errno, Protection};
use crate::trap;
use crate::vdso;

/// How many images that have been at a place are compared with what comes there.
const BEFORE: usize = 8;

/// What is the same for all files.
#[derive(Debug)]
pub struct Process<'a> {
    pub(crate) config: &'a Config<'a>,
    pub(crate) cache: Cache,
    pub(crate) maps: &'a [Mapping<'a>],
    pub(crate) space: Space,
    pub(crate) writer: Writer,
    pub(crate) threads: Threads,
    /// Files are still being mapped: of their segments only the one with code is sure to be there.
    pub(crate) late: bool,
    /// Where hooks are called, and the runtime itself looks at calls.
    pub(crate) hooking: Option<Hooking>,
}

/// What was done with a file. Nothing in it is allocated: it outlives the arena's memory for the file.
#[derive(Debug, Default)]
pub struct Done {
    pub(crate) counts: Counts,
    times: Times,
    bias: u64,
    note: LastWords,
    pub(crate) failed: bool,
    /// Its trampolines.
    pub(crate) trampolines: Option<Range>,
}

impl Done {
    fn left_native(self, why: core::fmt::Arguments<'_>) -> Self {
        let mut note = LastWords::new();
        let _ = write!(note, "left native: {why}");
        Self {
            counts: Counts::not_applied(self.counts.sites),
            note,
            failed: true,
            ..self
        }
    }
}

impl Process<'_> {
    /// Patches one file. Whatever goes wrong stays with it.
    pub fn file(&mut self, object: &Object<'_>, log: &Sink, report: &mut Report) -> Done {
        let mark = ARENA.mark();
        let done = self.file_in_arena(object, log, report);
        // SAFETY: I4: neither `Done` nor the cache holds what was allocated, and the report has been flushed.
        unsafe { ARENA.release(mark) };
        done
    }

    fn file_in_arena(&mut self, object: &Object<'_>, log: &Sink, report: &mut Report) -> Done {
        let path = object.path();
        let begin = sys::now();
        let mut done = Done::default();
        if self.config.skip.skips(&path) {
            done.note.push(b"skipped");
        } else {
            done = self.planned(object, &path, report).unwrap_or_else(|words| {
                report.discard();
                Done::default().left_native(format_args!("{}", words.as_str()))
            });
            let all = (sys::now() - begin) / 1000;
            done.times.find += all.saturating_sub(done.times.sum());
        }
        if done.failed {
            trap::leave(Range {
                start: object.code.start,
                end: object.code.end,
            });
        }
        let subject = Subject {
            path: &path,
            note: done.note.as_str(),
        };
        if log.is_open() {
            log.write(report::file_line(subject, &done.counts, &done.times).end());
        }
        report.file(subject, done.bias, &done.counts, &done.times);
        report.flush();
        done
    }

    /// Patches by the plan that has been kept, else by a new one, which is kept.
    #[allow(clippy::result_large_err)] // as for `rescue`
    fn planned(
        &mut self,
        object: &Object<'_>,
        path: &[u8],
        report: &mut Report,
    ) -> Result<Done, LastWords> {
        let question = patch::question(self.config.tactics, self.threads, self.hooking.as_ref());
        let seen = object.base.name == b"[vdso]" && self.config.vdso;
        let seen = seen && self.hooking.as_ref().is_some_and(Hooking::asks);
        let question = question.filter(|_| !seen);
        let entry = question.and_then(|q| self.cache.entry(object, q, self.maps));
        if let Some(entry) = &entry {
            let kept = || self.patch_by(entry, object, path, report);
            // SAFETY: as below.
            if let Some(done) = unsafe { rescue(0, kept) }? {
                return Ok(done);
            }
        }
        // Opened here, so that it is unmapped whatever happens.
        let file = object.open();
        let work = || {
            let calls = if seen {
                self.vdso_as_calls(object)
            } else {
                None
            };
            let mut patched = self.patch(object, file.as_ref(), entry.as_ref(), path, report);
            if let Some(calls) = calls {
                let _ = write!(patched.0.note, "{calls} functions are system calls");
            }
            patched
        };
        // SAFETY: I3: the work owns arena memory alone. Trampolines that it has mapped are not reached from
        // anywhere if it gives up before it writes, and writing does not give up.
        let (done, plan) = unsafe { rescue(0, work) }?;
        if let Some((entry, plan)) = entry.as_ref().zip(plan) {
            self.cache.keep(entry, &plan);
        }
        Ok(done)
    }

    /// Makes the vDSO's functions system calls, which are sites like any other. Answers how many.
    fn vdso_as_calls(&mut self, object: &Object<'_>) -> Option<usize> {
        let loaded = object::load(object, None, self.maps).ok()?;
        let (writes, count) = vdso::as_calls(&loaded);
        self.writer = core::mem::replace(&mut self.writer, Writer::Nothing).tried();
        // SAFETY: I5: in order, in code of the image; alone, as hooks are called.
        let applied = unsafe { memory::apply(&self.writer, self.maps, &writes, self.threads) };
        applied.is_ok().then_some(count)
    }

    /// `None` where nothing fitting has been kept.
    fn patch_by(
        &mut self,
        entry: &cache::Entry,
        object: &Object<'_>,
        path: &[u8],
        report: &mut Report,
    ) -> Option<Done> {
        let begin = sys::now();
        let (loaded, plan) = entry.plan(object, self.maps)?;
        let fitting = Fitting {
            plan,
            choose: sys::now() - begin,
            ..Fitting::default()
        };
        let mut done = self.carry_out(&loaded, &fitting, path, report);
        if !done.failed {
            done.note.push(b"plan from the cache");
        }
        Some(done)
    }

    /// Also answers with the plan as bytes, if it is worth keeping.
    fn patch(
        &mut self,
        object: &Object<'_>,
        file: Option<&object::File>,
        entry: Option<&cache::Entry>,
        path: &[u8],
        report: &mut Report,
    ) -> (Done, Option<Vec<u8>>) {
        let loaded = match object::load(object, file, self.maps) {
            Ok(loaded) => loaded,
            Err(malformed) => {
                let done = Done::default().left_native(format_args!("{malformed}"));
                return (done, None);
            }
        };
        if self.late && loaded.from_memory && object.base.is_file() {
            // What its headers point to may not be mapped yet, and something else in its place.
            let why = format_args!("its file cannot be had");
            return (Done::default().left_native(why), None);
        }
        let name = CString::new(path).unwrap_or_default();
        let hooks = self.hooking.as_ref().map(|hooking| (hooking, &*name));
        let fitting = patch::plan(&loaded, self.config.tactics, self.threads, self.maps, hooks);
        let instead = loaded.from_memory && object.base.is_file();
        let kept = entry
            .filter(|_| fitting.general && !instead)
            .and_then(|_| store::encode(&fitting.plan, &loaded.image));
        let mut done = self.carry_out(&loaded, &fitting, path, report);
        if instead && !done.failed {
            done.note.push(b"read from memory");
        }
        (done, kept)
    }

    fn carry_out(
        &mut self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        path: &[u8],
        report: &mut Report,
    ) -> Done {
        let mut done = Done {
            counts: Counts::of(&fitting.plan),
            times: Times {
                find: fitting.find / 1000,
                plan: fitting.choose / 1000,
                emit: 0,
                apply: 0,
            },
            bias: loaded.bias,
            ..Done::default()
        };
        self.leave_refused(loaded, fitting);
        let mut applied = true;
        if !fitting.plan.edits.is_empty() {
            match self.apply(loaded, fitting, path, &mut done.times) {
                Ok(trampolines) => done.trampolines = Some(trampolines),
                Err(failure) => {
                    applied = false;
                    done = done.left_native(format_args!("{failure}"));
                }
            }
        }
        let native = |site: &Site| !applied || !matches!(site.outcome, Outcome::Patched { .. });
        let mut sites = fitting.plan.sites.iter();
        if self.hooking.is_some() && sites.any(|s| s.kind == SiteKind::Wrgsbase && native(s)) {
            areas::will_lose_gs(self.late);
        }
        let reported = if report.is_open() {
            &fitting.plan.sites[..]
        } else {
            &[]
        };
        for site in reported {
            let offset = object::file_offset(self.maps, site.at.0.wrapping_add(loaded.bias));
            report.site(path, site, offset, applied);
        }
        done
    }

    /// Sites that no tactic could take, unless the user has wished for fewer tactics.
    fn leave_refused(&self, loaded: &Loaded<'_>, fitting: &Fitting) {
        if self.config.tactics != Tactics::ALL && self.config.trap != Trap::Always {
            return;
        }
        let refused = fitting.plan.sites.iter().filter(|site| {
            matches!(site.outcome, Outcome::Refused(_)) && site.kind == SiteKind::Syscall
        });
        let at = |site: &Site| site.at.0.wrapping_add(loaded.bias);
        let span = refused.fold(None, |span: Option<Range>, site| {
            let (start, end) = (at(site), at(site) + 2);
            Some(span.map_or(Range { start, end }, |span| Range { end, ..span }))
        });
        if let Some(span) = span {
            trap::leave(span);
        }
    }

    fn apply(
        &mut self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        path: &[u8],
        times: &mut Times,
    ) -> Result<Range, Failure> {
        if self.threads == Threads::Many && !matches!(self.writer, Writer::Mem(_)) {
            return Err(Failure::Threads);
        }
        let plan = &fitting.plan;
        let image = loaded.range(loaded.image.span()).pages();
        let needs = self.hooking.as_ref().map(|h| h.needs(fitting));
        let needs = needs.unwrap_or_default();
        let mut layout = Some(self.layout(fitting, &needs));
        let code_len = layout.as_ref().map_or(0, Layout::code_len) as u64;
        let code_len = code_len.next_multiple_of(PAGE);
        let data_len = needs.data_len();
        if let Some(back) = self.bring_back(loaded, fitting, path, &needs, code_len + data_len) {
            return back;
        }
        let mut failure = Failure::NoPlace;
        let places = if trap::is_possible() {
            self.space.places_above(image, code_len + data_len)
        } else {
            self.space.places(image, code_len + data_len)
        };
        for at in places {
            let begin = sys::now();
            let first = self.hooking.as_ref().map_or(0, Hooking::next);
            let layout = layout.take();
            let layout = layout.unwrap_or_else(|| self.layout(fitting, &needs));
            let to = (at, at + code_len);
            let Ok(emission) = self.emit(loaded, fitting, &needs, layout, first, to) else {
                continue;
            };
            let writes = patch::writes(loaded, plan, &emission.patches, self.threads, self.maps)
                .ok_or(Failure::Unreadable)?;
            if let Some(hooking) = &self.hooking
                && !hooking.has_room(path, &emission, writes.len())
            {
                return Err(Failure::TooManySites);
            }
            let emitted = sys::now();
            times.emit += (emitted - begin) / 1000;
            let range = Range {
                start: at,
                end: at + code_len + data_len,
            };
            match self.map(&emission, range, data_len) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => {
                    failure = Failure::Trampolines(error);
                    break;
                }
            }
            if let Some(hooking) = &mut self.hooking {
                let data = at + code_len;
                let settled = Settled {
                    loaded,
                    path,
                    mapped: range,
                    data,
                    writes: &writes,
                    needs: &needs,
                };
                // SAFETY: I14: mapped just now.
                let settled = unsafe { hooking.settle(&settled, fitting, &emission, self.maps) };
                if let Err(error) = settled {
                    // SAFETY: nobody knows of them.
                    let _ = unsafe { sys::unmap(at as usize, (range.end - range.start) as usize) };
                    return Err(Failure::Trampolines(error));
                }
            }
            let applied = self.write(&writes);
            if self.config.perf && applied.is_ok() {
                perf::name(loaded, path, plan, &emission);
            }
            times.apply += (sys::now() - emitted) / 1000;
            if applied.is_err()
                && let Some(area) = areas::at(at)
            {
                area.set_live(false);
            }
            if applied.is_err() && self.hooking.is_none() {
                // SAFETY: no jump to them has been left.
                let _ = unsafe { sys::unmap(at as usize, (range.end - range.start) as usize) };
            }
            return applied.map(|()| range).map_err(Failure::Code);
        }
        Err(failure)
    }

    fn layout(&self, fitting: &Fitting, needs: &Needs) -> Layout {
        let hooking = self.hooking.as_ref().map(|h| h.style(0, Va(0), needs));
        let style = hooking.as_ref().map_or(Style::Plain, Style::Hooked);
        fitting.plan.layout(style)
    }

    fn write(&self, writes: &[Write]) -> Result<(), Errno> {
        let _finished = journal::begin(writes);
        // SAFETY: I5: in order, in code of the image; alone, or by words.
        unsafe { memory::apply(&self.writer, self.maps, writes, self.threads) }
    }

    /// Patches an image that has been here before by the trampolines that it had then, of `len` bytes, if these are
    /// what it would get now: a thread that still sleeps in one wakes up where it should.
    fn bring_back(
        &self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        path: &[u8],
        needs: &Needs,
        len: u64,
    ) -> Option<Result<Range, Failure>> {
        let hooking = self.hooking.as_ref()?;
        let image = loaded.range(loaded.image.span());
        let before = |area: &&areas::Area| {
            !area.is_live() && image.holds(area.code) && area.mapped.end - area.mapped.start == len
        };
        areas::all().filter(before).take(BEFORE).find_map(|area| {
            let at = area.mapped.start;
            let data = area.mapped.end - needs.data_len();
            let layout = self.layout(fitting, needs);
            let emission = self.emit(loaded, fitting, needs, layout, area.first, (at, data));
            let emission = emission.ok()?;
            let code = Range {
                start: at,
                end: at + emission.code.len() as u64,
            };
            // SAFETY: I14: trampolines are never unmapped.
            if code.end != area.end || unsafe { memory::bytes(code) } != emission.code {
                return None;
            }
            let patches = &emission.patches;
            let writes = patch::writes(loaded, &fitting.plan, patches, self.threads, self.maps)?;
            let settled = Settled {
                loaded,
                path,
                mapped: area.mapped,
                data,
                writes: &writes,
                needs,
            };
            if !hooking.is_same(area, &settled, fitting, &emission, self.maps) {
                return None;
            }
            area.set_live(true);
            let applied = self.write(&writes);
            if applied.is_err() {
                area.set_live(false);
            }
            Some(applied.map(|()| area.mapped).map_err(Failure::Code))
        })
    }

    /// The plan as bytes, with trampolines and data area at these addresses.
    fn emit(
        &self,
        loaded: &Loaded<'_>,
        fitting: &Fitting,
        needs: &Needs,
        layout: Layout,
        first: u32,
        (at, data): (u64, u64),
    ) -> Result<Emission, OutOfReach> {
        let here = |address: u64| Va(address.wrapping_sub(loaded.bias));
        let hooking = self.hooking.as_ref();
        let hooking = hooking.map(|h| h.style(first, here(data), needs));
        let style = hooking.as_ref().map_or(Style::Plain, Style::Hooked);
        fitting
            .plan
            .emit_laid(&loaded.image, here(at), loaded.bias, style, layout)
    }

    /// Maps trampolines at the start of `range`, and a data area of `data_len` bytes at its end.
    fn map(&mut self, emission: &Emission, range: Range, data_len: u64) -> Result<(), Errno> {
        let data = (range.end - data_len) as usize;
        if data_len > 0 {
            sys::map_at(data, data_len as usize, Protection::ReadWrite)?;
        }
        let mapped = memory::map_code(&mut self.writer, range.start, &emission.code);
        if mapped.is_err() && data_len > 0 {
            // SAFETY: mapped just now.
            let _ = unsafe { sys::unmap(data, data_len as usize) };
        }
        mapped
    }
}

/// Why a plan could not be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    NoPlace,
    Threads,
    Unreadable,
    TooManySites,
    Trampolines(Errno),
    Code(Errno),
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoPlace => f.write_str("no free range for trampolines in reach"),
            Self::Threads => f.write_str("other threads run, and /proc/self/mem cannot be written"),
            Self::TooManySites => f.write_str("no room for its sites' names"),
            Self::Unreadable => f.write_str("its code cannot be read"),
            Self::Trampolines(error) => write!(f, "mapping trampolines: {error}"),
            Self::Code(error) => write!(f, "writing to its code: {error}"),
        }
    }
}
