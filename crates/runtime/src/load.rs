//! Loads hooks: opens their files, maps them, relocates them.
//!
//! Whatever is wrong with a file is a line in the log, and the program runs without that hook.
//!
//! # Safety
//! I11: a hook's memory is ours alone until its code runs, and stays as long as the process.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt;

use hotpatch_abi::Hook;
use linux_raw_sys::general::{S_IFMT, S_IFREG};

use crate::carried;
use crate::environment::Environment;
use crate::hook_file::{HookFile, Segment};
use crate::hook_refused::Refused;
use crate::hosted::{self, donor::SETXID, namespace};
use crate::line::Line;
use crate::log::Sink;
use crate::pages::{PAGE, Range};
use crate::rescue::rescue;
use crate::services::{self, SERVICES};
use crate::sys::{self, Errno, Fd, Open, Protection};
use crate::view::View;

/// More in one process are refused.
pub const MOST: usize = 16;

/// A hook that is ready to be called. It holds no allocation, so it may outlive start-up.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it exports, as it was when it was loaded: all its pointers lead to its own code, or are null.
    pub hook: Hook,
    /// The name that it gives itself, or its file's.
    pub name: Line<64>,
    /// What to add to an address of the file for the address in the process.
    pub bias: u64,
    /// All of its memory. Code in it is never patched.
    pub span: Range,
    /// It has a libc of its own.
    pub hosted: bool,
}

/// Loads the hooks at `paths`, in order: those that can be used, and how many cannot. Each of these is a line.
#[must_use]
pub fn load(paths: &[&[u8]], fsgsbase: bool, strict: bool, log: &Sink) -> (Vec<Loaded>, u32) {
    let mut loaded = Vec::new();
    let mut refused = 0;
    let end = end(strict);
    for (number, path) in paths.iter().enumerate() {
        let mut refuse = |why: fmt::Arguments<'_>| {
            refused += 1;
            log.say(format_args!("hook {}: {why}; {end}", path.escape_ascii()));
        };
        if loaded.len() == MOST {
            refuse(format_args!("there are {MOST} hooks already"));
            continue;
        }
        let opened = match carried::take(number + 1) {
            Some(file) => view(file, number),
            None => open(path, number),
        };
        let (file, view) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                refuse(format_args!("{why}"));
                continue;
            }
        };
        let work = || map(&file, view.bytes(), path, loaded.len(), fsgsbase);
        // SAFETY: I3: it owns arena memory alone; nobody knows of what it has mapped if it gives up.
        match unsafe { rescue(0, work) } {
            Ok(Ok(hook)) => {
                loaded.push(hook);
                carried::keep(number + 1, view);
            }
            Ok(Err(why)) => refuse(format_args!("{why}")),
            Err(words) => refuse(format_args!("{}", words.as_str())),
        }
    }
    (loaded, refused)
}

/// Tells each hook that it is started: those that are content, in order, and how many are not. Each of these is a line.
///
/// # Safety
/// Start-up's alone (I3, I16).
// The words cannot be allocated.
#[allow(clippy::result_large_err)]
#[must_use]
pub unsafe fn start(
    hooks: Vec<Loaded>,
    environment: &Environment<'_>,
    strict: bool,
    log: &Sink,
) -> (Vec<Loaded>, u32) {
    // SAFETY: as the caller promises. Now, so that lines have names.
    unsafe { services::know(&hooks) };
    let before = hooks.len();
    let mut content = hooks;
    content.retain(|hook| {
        let Some(start) = hook.hook.start else {
            return true;
        };
        // SAFETY: I11: the hook's own function; services live as long as the process.
        let work = || quietly(hook.hosted, || unsafe { start(&raw const SERVICES) });
        // SAFETY: I3 for what is ours; the hook is not called again if it gives up.
        let guarded = || unsafe { rescue(0, work) };
        // SAFETY: as the caller promises.
        let ended = unsafe { services::with_environment(environment, guarded) };
        let end = end(strict);
        let name = hook.name.as_str();
        match ended {
            Ok(0) => return true,
            Ok(errno) => log.say(format_args!(
                "hook {name}: cannot start: {}; {end}",
                Errno(errno.unsigned_abs())
            )),
            Err(words) => log.say(format_args!(
                "hook {name}: cannot start: {}; {end}",
                words.as_str()
            )),
        }
        false
    });
    // SAFETY: as the caller promises. Their numbers have changed.
    unsafe { services::know(&content) };
    let refused = (before - content.len()) as u32;
    (content, refused)
}

/// Does it with signals blocked, so that threads which a hosted hook begins meanwhile have them blocked, too.
fn quietly<T>(hosted: bool, work: impl FnOnce() -> T) -> T {
    if !hosted {
        return work();
    }
    let mask = sys::block_signals();
    sys::restore_signals(!SETXID);
    let done = work();
    sys::restore_signals(mask);
    done
}

/// What becomes of a program whose hook cannot be used.
fn end(strict: bool) -> &'static str {
    if strict {
        "the program does not run"
    } else {
        "the program runs without it"
    }
}

/// Why there is nothing to be looked at, or nothing to be called.
#[derive(Clone, Debug)]
enum Failure<'a> {
    Open(Errno),
    NoFile,
    Map(Errno),
    Refused(Refused<'a>),
    /// The processor cannot switch threads' pointers as hosted hooks need it.
    NoFs,
    /// What the loader says.
    Words(namespace::Words),
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::NoFile => f.write_str("not a regular file"),
            Self::Map(error) => write!(f, "cannot be mapped: {error}"),
            Self::Refused(why) => why.fmt(f),
            Self::NoFs => f.write_str(
                "processor or kernel do not let programs set fs, which hosted hooks need",
            ),
            Self::Words(words) => f.write_str(words.as_str()),
        }
    }
}

fn open(path: &[u8], number: usize) -> Result<(Fd, View), Failure<'static>> {
    let name = CString::new(path).map_err(|_| Failure::NoFile)?;
    // Looked at before it is opened: to open a device is to do something to it.
    let status = sys::status(&name).map_err(Failure::Open)?;
    if status.st_mode & S_IFMT != S_IFREG {
        return Err(Failure::NoFile);
    }
    let file = Fd::open(&name, Open::Read).map_err(Failure::Open)?;
    view(file, number)
}

fn view(file: Fd, number: usize) -> Result<(Fd, View), Failure<'static>> {
    let status = sys::status_of(file.raw()).map_err(Failure::Open)?;
    let len = usize::try_from(status.st_size)
        .ok()
        .filter(|&len| len > 0)
        .ok_or(Failure::Refused(Refused::NotElf))?;
    let view = View::to_stay(&file, len, number + 1).map_err(Failure::Open)?;
    Ok((file, view))
}

/// Maps what is in `bytes`, which are those of `file`.
fn map<'a>(
    file: &Fd,
    bytes: &'a [u8],
    path: &[u8],
    number: usize,
    fsgsbase: bool,
) -> Result<Loaded, Failure<'a>> {
    let parsed = HookFile::parse(bytes).map_err(Failure::Refused)?;
    if parsed.hosted {
        if !fsgsbase {
            return Err(Failure::NoFs);
        }
        return quietly(true, || host(&parsed, path, number));
    }
    let own = parsed.span();
    let len = own.end - own.start;
    let (at, span) = reserve(own.start, len, parsed.align).map_err(Failure::Map)?;
    let bias = at.wrapping_sub(own.start);
    let mapped = parsed
        .segments
        .iter()
        .try_for_each(|segment| map_segment(file, &parsed, segment, bias));
    if let Err(error) = mapped {
        // SAFETY: reserved just now; nothing of it has been used.
        let _ = unsafe { sys::unmap(at as usize, len as usize) };
        return Err(Failure::Map(error));
    }
    let there = parsed.symbol.wrapping_add(bias) as usize;
    // SAFETY: I11: mapped and readable; `parse` has looked at each field, pointers included.
    let hook = unsafe { core::ptr::with_exposed_provenance::<Hook>(there).read() };
    let mut name = Line::new();
    let file_name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    name.push_printable(parsed.name().unwrap_or(file_name));
    Ok(Loaded {
        hook,
        name,
        bias,
        span,
        hosted: false,
    })
}

/// Has the program's loader load a hosted hook.
fn host<'a>(parsed: &HookFile<'a>, path: &[u8], number: usize) -> Result<Loaded, Failure<'a>> {
    const SYMBOL: &CStr = c"hotpatch_hook";
    // SAFETY: I14: start-up, and the program's loader is what calls us.
    unsafe { namespace::open() }.map_err(Failure::Words)?;
    // A name without a slash would be looked for where libraries are.
    let file = if path.contains(&b'/') {
        Vec::new()
    } else {
        b"./".to_vec()
    };
    let file = CString::new([&file, path].concat()).map_err(|_| Failure::NoFile)?;
    // SAFETY: as above.
    let (bias, at) = unsafe { namespace::load(&file, SYMBOL) }.map_err(Failure::Words)?;
    if at == 0 {
        return Err(Failure::Refused(Refused::NoSymbol));
    }
    // SAFETY: I23: what the file exports, and `parse` has looked at its size.
    let mut hook = unsafe { core::ptr::with_exposed_provenance::<Hook>(at as usize).read() };
    if hook.before.is_none() {
        return Err(Failure::Refused(Refused::Pointer("before")));
    }
    let mut name = Line::new();
    let own = match hook.name {
        own if own.is_null() => &b""[..],
        // SAFETY: I23: the hook says so.
        own => unsafe { CStr::from_ptr(own) }.to_bytes(),
    };
    let file_name = path.rsplit(|&b| b == b'/').next().unwrap_or(path);
    name.push_printable(if own.is_empty() { file_name } else { own });
    // SAFETY: I14: as above.
    unsafe { hosted::wrap(&mut hook, number) };
    let span = parsed.span();
    Ok(Loaded {
        hook,
        name,
        bias,
        span: Range {
            start: span.start.wrapping_add(bias),
            end: span.end.wrapping_add(bias),
        },
        hosted: true,
    })
}

/// Reserves `len` bytes at an address that is `start` modulo `align`.
fn reserve(start: u64, len: u64, align: u64) -> Result<(u64, Range), Errno> {
    let room = len + align - PAGE;
    let from = sys::map_anywhere(0, room as usize, Protection::None)? as u64;
    let at = from + (start.wrapping_sub(from) & (align - 1));
    let span = Range {
        start: at,
        end: at + len,
    };
    for (start, end) in [(from, at), (span.end, from + room)] {
        if start < end {
            // SAFETY: reserved just now, and not needed.
            let _ = unsafe { sys::unmap(start as usize, (end - start) as usize) };
        }
    }
    Ok((at, span))
}

fn map_segment(
    file: &Fd,
    parsed: &HookFile<'_>,
    segment: &Segment,
    bias: u64,
) -> Result<(), Errno> {
    let pages = segment.span.pages();
    let at = pages.start.wrapping_add(bias) as usize;
    let len = (pages.end - pages.start) as usize;
    if len == 0 {
        return Ok(());
    }
    if !segment.writable {
        let protection = if segment.executable {
            Protection::ReadExecute
        } else {
            Protection::Read
        };
        let offset = segment.offset & !(PAGE - 1);
        // SAFETY: I11: inside the reserved range; relocations are in writable segments alone.
        return unsafe { file.map_at(at, len, offset, protection) };
    }
    // SAFETY: I11: inside the reserved range.
    unsafe { sys::protect(at, len, Protection::ReadWrite) }?;
    let data = parsed.data(segment, bias);
    let there = segment.span.start.wrapping_add(bias) as usize;
    // SAFETY: I11: writable now, and the file's bytes of a segment are no more than its length.
    unsafe {
        core::ptr::copy_nonoverlapping(
            data.as_ptr(),
            core::ptr::with_exposed_provenance_mut(there),
            data.len(),
        );
    }
    let relro = Range {
        start: parsed.relro.start & !(PAGE - 1),
        end: parsed.relro.end & !(PAGE - 1),
    };
    if relro.start < relro.end && pages.start <= relro.start && relro.end <= pages.end {
        let at = relro.start.wrapping_add(bias) as usize;
        // SAFETY: I11: relocated.
        unsafe { sys::protect(at, (relro.end - relro.start) as usize, Protection::Read) }?;
    }
    Ok(())
}
