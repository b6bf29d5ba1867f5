//! The link namespace of hosted hooks, and how the loader is asked for it.
//!
//! The loader's functions are found as a debugger finds them: from the program's headers to its dynamic section, the
//! list of what is loaded, and the hash table of each. A C library other than glibc has no `dlmopen`.
//!
//! # Safety
//! I23: the loader's lists are its own word; what it has opened stays.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use super::{FEATURES, Service, donor, serve};
use crate::arch;
use crate::environment::read_all;
use crate::line::Line;
use crate::pages::PAGE;
use crate::rescue;
use crate::sys::{self, Protection};
use crate::thread;

/// What the loader, or we, say of a hook that cannot be hosted.
pub type Words = Box<Line<240>>;

/// The environment that the program was started with, for the hosted libc.
pub static VARIABLES: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());

/// The namespace's number; 0 while it is not open (0 is the program's).
static NAMESPACE: AtomicUsize = AtomicUsize::new(0);
static CREATE: AtomicU64 = AtomicU64::new(0);
/// The loader's `dlinfo`.
static INFO: AtomicU64 = AtomicU64::new(0);
/// Its `__tls_get_addr`.
static VARIABLE: AtomicU64 = AtomicU64::new(0);

/// An object with thread-local variables.
#[derive(Debug)]
struct Module {
    /// The loader's number of it; 0: none.
    number: AtomicUsize,
    /// Where their first values are.
    image: AtomicUsize,
    /// How many bytes of these there are; what follows is zeros.
    filled: AtomicUsize,
    /// How many bytes they have in all.
    len: AtomicUsize,
    align: AtomicUsize,
}

/// Those of the namespace.
static MODULES: [Module; 32] = [const {
    Module {
        number: AtomicUsize::new(0),
        image: AtomicUsize::new(0),
        filled: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        align: AtomicUsize::new(0),
    }
}; 32];

/// Whether there is one.
#[must_use]
pub fn is_open() -> bool {
    NAMESPACE.load(Ordering::Relaxed) != 0
}

fn words(text: &[u8]) -> Words {
    let mut words = Box::new(Line::new());
    words.push_printable(text);
    words
}

/// A word of memory that the loader says is there.
fn word(at: u64) -> u64 {
    // SAFETY: I23.
    unsafe { core::ptr::with_exposed_provenance::<u64>(at as usize).read_unaligned() }
}

fn half(at: u64) -> u32 {
    // SAFETY: I23.
    unsafe { core::ptr::with_exposed_provenance::<u32>(at as usize).read_unaligned() }
}

fn text<'a>(at: u64) -> &'a [u8] {
    // SAFETY: I23.
    unsafe { CStr::from_ptr(core::ptr::with_exposed_provenance(at as usize)) }.to_bytes()
}

const PT_DYNAMIC: u32 = 2;
const PT_PHDR: u32 = 6;
const PT_TLS: u32 = 7;
const STT_FUNC: u32 = 2;
const STT_TLS: u32 = 6;
const DT_NULL: u64 = 0;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_PLTRELSZ: u64 = 2;
const DT_DEBUG: u64 = 21;
const DT_JMPREL: u64 = 23;
const DT_GNU_HASH: u64 = 0x6fff_fef5;

/// A loaded object, as its `struct link_map` says.
#[derive(Clone, Copy, Debug)]
struct Object {
    at: u64,
}

impl Object {
    fn bias(self) -> u64 {
        word(self.at)
    }

    /// Where its path is.
    fn name(self) -> usize {
        word(self.at + 8) as usize
    }

    fn next(self) -> Option<Self> {
        Some(word(self.at + 24))
            .filter(|at| *at != 0)
            .map(|at| Self { at })
    }

    fn first(self) -> Self {
        let mut first = self;
        while word(first.at + 32) != 0 {
            first.at = word(first.at + 32);
        }
        first
    }

    /// What its dynamic section says; 0 where nothing.
    fn dynamic(self, tag: u64) -> u64 {
        let mut at = word(self.at + 16);
        while at != 0 && word(at) != DT_NULL {
            if word(at) == tag {
                return word(at + 8);
            }
            at += 16;
        }
        0
    }

    /// The same for addresses, which glibc relocates, but not where the section is read-only.
    fn address(self, tag: u64) -> u64 {
        match self.dynamic(tag) {
            0 => 0,
            at if at < self.bias() => at + self.bias(),
            at => at,
        }
    }

    /// The address of a symbol that it defines: of a function, or of data.
    fn symbol(self, name: &[u8]) -> Option<u64> {
        let value = self.value(name, |kind| kind <= STT_FUNC)?;
        Some(self.bias().wrapping_add(value))
    }

    /// Where its thread-local variables are in this thread, from the thread pointer on, and how many bytes: found by one
    /// of them, which is at `there`.
    fn thread_local(self, name: &[u8], there: u64, fs: u64) -> Option<(u64, u64)> {
        let value = self.value(name, |kind| kind == STT_TLS)?;
        let len = self.header(PT_TLS).map(|at| word(at + 40))?;
        Some((there.wrapping_sub(value).wrapping_sub(fs), len))
    }

    /// Where its first program header of that kind is.
    fn header(self, kind: u32) -> Option<u64> {
        let (headers, count) = (word(self.bias() + 32), half(self.bias() + 56) & 0xffff);
        (0..u64::from(count))
            .map(|n| self.bias() + headers + 56 * n)
            .find(|&at| half(at) == kind)
    }

    fn value(self, name: &[u8], is: impl Fn(u32) -> bool) -> Option<u64> {
        let table = self.address(DT_GNU_HASH);
        let (symbols, strings) = (self.address(DT_SYMTAB), self.address(DT_STRTAB));
        if table == 0 || symbols == 0 || strings == 0 {
            return None;
        }
        let hash = name.iter().fold(5381u32, |h, &b| {
            h.wrapping_mul(33).wrapping_add(u32::from(b))
        });
        let (buckets, first, words) = (half(table), half(table + 4), half(table + 8));
        let heads = table + 16 + 8 * u64::from(words);
        let chains = heads + 4 * u64::from(buckets);
        let mut index = half(heads + 4 * u64::from(hash.checked_rem(buckets)?));
        if index < first {
            return None;
        }
        loop {
            let link = half(chains + 4 * u64::from(index - first));
            if link | 1 == hash | 1 {
                let symbol = symbols + 24 * u64::from(index);
                let (kind, defined) = (half(symbol + 4) & 0xf, half(symbol + 4) >> 16 != 0);
                if defined && is(kind) && text(strings + u64::from(half(symbol))) == name {
                    return Some(word(symbol + 8));
                }
            }
            if link & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }
}

/// The first object of the program.
fn program() -> Option<Object> {
    use linux_raw_sys::auxvec::{AT_PHDR, AT_PHNUM};
    let auxv = read_all(c"/proc/self/auxv");
    let value = |wanted: u32| {
        auxv.chunks_exact(16)
            .find(|entry| entry[..8] == u64::from(wanted).to_ne_bytes())
            .and_then(|entry| Some(u64::from_ne_bytes(*entry[8..].first_chunk()?)))
    };
    let (headers, count) = (value(AT_PHDR)?, value(AT_PHNUM)?);
    let header = |kind: u32| {
        (0..count)
            .map(|n| headers + 56 * n)
            .find(|&at| half(at) == kind)
            .map(|at| word(at + 16))
    };
    let bias = headers.wrapping_sub(header(PT_PHDR)?);
    let mut at = bias.wrapping_add(header(PT_DYNAMIC)?);
    while word(at) != DT_NULL {
        if word(at) == DT_DEBUG {
            // struct r_debug: a version, then the first object
            let debug = word(at + 8);
            let first = if debug == 0 { 0 } else { word(debug + 8) };
            return Some(Object { at: first }).filter(|object| object.at != 0);
        }
        at += 16;
    }
    None
}

type Function = unsafe extern "C" fn(usize, usize, usize, usize) -> usize;

/// Calls a function of the program's or of the namespace's, on this stack, as this thread.
///
/// # Safety
/// I23: there is one at `function`, and the arguments are what it takes.
unsafe fn call(function: u64, arguments: [usize; 4]) -> usize {
    let function = core::ptr::with_exposed_provenance::<()>(function as usize);
    // SAFETY: as the caller promises.
    let function = unsafe { core::mem::transmute::<*const (), Function>(function) };
    let [a, b, c, d] = arguments;
    // SAFETY: as the caller promises.
    unsafe { function(a, b, c, d) }
}

/// Calls the program's `malloc` for the first time. What `-fsanitize` builds into a program looks for this thread's stack
/// then, and believes it to be where it is called; the loader is about to call it on ours.
///
/// # Safety
/// I23: `functions` are `malloc` and `free`.
unsafe extern "C" fn begin_malloc(functions: *mut u8) {
    // SAFETY: as the caller promises.
    let [take, give] = unsafe { functions.cast::<[u64; 2]>().read() };
    // SAFETY: as above.
    let block = unsafe { call(take, [16, 0, 0, 0]) };
    // SAFETY: as above.
    unsafe { call(give, [block, 0, 0, 0]) };
}

/// Keys of the hosted C library's that hooks do not get, because the program's own may be used in donors.
const THEIR_KEYS: usize = 128;

const NEW: usize = usize::MAX;
const NOW: usize = 2;

/// Opens the namespace, with a libc and a donor for this thread.
///
/// # Errors
/// Why there can be none.
///
/// # Safety
/// I14: start-up, in a program whose loader has made it ready to run constructors.
pub unsafe fn open() -> Result<(), Words> {
    const NONE: &[u8] = b"the program's C library has no dlmopen, so hosted hooks cannot run here";
    if is_open() {
        return Ok(());
    }
    let first = program().ok_or_else(|| words(NONE))?;
    let holder = |name: &[u8]| {
        let mut object = Some(first);
        while let Some(this) = object {
            if let Some(at) = this.symbol(name) {
                return Some((this, at));
            }
            object = this.next();
        }
        None
    };
    let find = |name: &[u8]| holder(name).map(|(_, at)| at);
    let [open, symbol, error] = [&b"dlmopen"[..], b"dlsym", b"dlerror"].map(find);
    let (Some(open), Some(symbol), Some(error)) = (open, symbol, error) else {
        return Err(words(NONE));
    };
    let (Some(info), Some(variable)) = (find(b"dlinfo"), find(b"__tls_get_addr")) else {
        return Err(words(NONE));
    };
    INFO.store(info, Ordering::Relaxed);
    VARIABLE.store(variable, Ordering::Relaxed);
    // The program's constructors, which set it, have not run.
    if let Some(variables) = find(b"environ")
        && word(variables) == 0
    {
        let there =
            core::ptr::with_exposed_provenance_mut::<*mut *const c_char>(variables as usize);
        // SAFETY: I23: a pointer of the C library's, which sets it to the same.
        unsafe { there.write(VARIABLES.load(Ordering::Relaxed)) };
    }
    // The same file as the program's: the loader is one for both, and theirs must fit together.
    let mut file = c"libc.so.6".as_ptr().addr();
    if let Some((libc, place)) = holder(b"__errno_location") {
        file = libc.name();
        // SAFETY: I23: answers where `errno` is.
        let there = unsafe { call(place, [0; 4]) } as u64;
        // SAFETY: I13: what lets programs set one base lets them read the other.
        if let Some(found) = libc.thread_local(b"errno", there, unsafe { arch::fs_base() }) {
            donor::keep_variables(found);
        }
    }
    // Its `malloc` works in threads alone that it has seen begin, of which a donor is none. Statically linked it shows no
    // name of its own, but has both of these in place of the C library's.
    let of = |name| holder(name).map(|(object, _)| object.at);
    let own_malloc = of(b"malloc").filter(|&at| Some(at) != of(b"__errno_location"));
    if own_malloc.is_some() && own_malloc == of(b"pthread_mutex_init") {
        return Err(words(
            b"the program is built with -fsanitize=thread, where hosted hooks cannot run",
        ));
    }
    if let (Some(take), Some(give)) = (find(b"malloc"), find(b"free")) {
        let mut functions = [take, give];
        // SAFETY: I3: this is start-up's work.
        unsafe { rescue::outside(begin_malloc, functions.as_mut_ptr().cast()) };
    }
    // SAFETY: I23: as dlmopen(3) says.
    let handle = unsafe { call(open, [NEW, file, NOW, 0]) };
    if handle == 0 {
        // SAFETY: I23.
        let said = unsafe { call(error, [0; 4]) };
        return Err(words(text(said as u64)));
    }
    let mut number = 0usize;
    const RTLD_DI_LMID: usize = 1;
    // SAFETY: I23: as dlinfo(3) says.
    unsafe { call(info, [handle, RTLD_DI_LMID, (&raw mut number).addr(), 0]) };
    // SAFETY: I23: as dlsym(3) says.
    let function = |name: &CStr| match unsafe { call(symbol, [handle, name.as_ptr().addr(), 0, 0]) }
    {
        0 => Err(words(
            b"the C library is older than hosted hooks need (glibc 2.34)",
        )),
        at => Ok(at as u64),
    };
    let create = function(c"pthread_create")?;
    CREATE.store(create, Ordering::Relaxed);
    FEATURES.store(arch::vector_features(), Ordering::Relaxed);
    for (service, at) in [
        (Service::Create, create),
        (Service::Join, function(c"pthread_tryjoin_np")?),
        (Service::Flush, function(c"fflush")?),
        (Service::Fork, function(c"fork")?),
        (Service::Errno, function(c"__errno_location")?),
        (Service::Attributes, function(c"pthread_attr_init")?),
        (Service::Stack, function(c"pthread_attr_setstack")?),
        (Service::Open, open),
        (Service::Symbol, symbol),
        (Service::Error, error),
        (Service::Variable, variable),
    ] {
        // SAFETY: as the caller promises.
        unsafe { serve(service, at) };
    }
    // The program's `malloc`, which the loader calls in donors, may keep something there under a key of its own C library's.
    let key = function(c"pthread_key_create")?;
    for _ in 0..THEIR_KEYS {
        let mut made = 0u32;
        // SAFETY: I23: as pthread_key_create(3) says.
        unsafe { call(key, [(&raw mut made).addr(), 0, 0, 0]) };
    }
    // SAFETY: I13: as the caller promises, nobody uses gs.
    unsafe { thread::begin() }.map_err(|_| words(b"no memory for a hook stack"))?;
    // glibc sets what its own first thread will need, but the program may not have one.
    let before = sys::disposition(33, None);
    // SAFETY: I23: as pthread_create(3) says.
    let first = |arguments| unsafe { call(create, arguments) };
    // SAFETY: I23: nobody else is there.
    let begun = unsafe { donor::begin(first) };
    if let Ok(before) = before {
        let _ = sys::disposition(33, Some(&before));
    }
    let mut hosted = begun.map_err(|_| words(b"no thread can be begun for hosted hooks"))?;
    // SAFETY: I23: both are glibc's.
    if !unsafe { donor::find_thread_id(&mut hosted) } {
        return Err(words(b"the C library is not one that hosted hooks know"));
    }
    // SAFETY: I13: begun just now.
    unsafe { thread::own() }.hosted = hosted;
    NAMESPACE.store(number, Ordering::Relaxed);
    Ok(())
}

/// Opens a file in the namespace; answers what to add to its addresses, and where `symbol` is.
///
/// # Errors
/// What the loader says.
///
/// # Safety
/// As [`open`], which has succeeded.
pub unsafe fn load(path: &CStr, symbol: &CStr) -> Result<(u64, u64), Words> {
    let number = NAMESPACE.load(Ordering::Relaxed);
    // SAFETY: I23: as dlmopen(3) says.
    let handle = unsafe { Service::Open.call([number, path.as_ptr().addr(), NOW, 0]) };
    if handle == 0 {
        // SAFETY: I23.
        let said = unsafe { Service::Error.call([0; 4]) };
        return Err(words(text(said as u64)));
    }
    let object = Object { at: handle as u64 };
    // SAFETY: I23: as dlsym(3) says.
    let at = unsafe { Service::Symbol.call([handle, symbol.as_ptr().addr(), 0, 0]) };
    let mut next = Some(object.first());
    while let Some(this) = next {
        watch_threads(this);
        keep_module(this);
        next = this.next();
    }
    // This thread's donor has begun before.
    for module in modules() {
        let index = [module.number.load(Ordering::Relaxed), 0];
        // SAFETY: I23: one of the loader's own numbers.
        unsafe { Service::Variable.call([(&raw const index).addr(), 0, 0, 0]) };
    }
    Ok((object.bias(), at as u64))
}

/// Remembers an object that has thread-local variables.
fn keep_module(object: Object) {
    const RTLD_DI_TLS_MODID: usize = 9;
    let mut number = 0usize;
    let place = (&raw mut number).addr();
    let info = INFO.load(Ordering::Relaxed);
    // SAFETY: I23: as dlinfo(3) says.
    unsafe { call(info, [object.at as usize, RTLD_DI_TLS_MODID, place, 0]) };
    let free = |module: &&Module| matches!(module.number.load(Ordering::Relaxed), n if n == 0 || n == number);
    if number != 0
        && let Some(header) = object.header(PT_TLS)
        && let Some(module) = MODULES.iter().find(free)
    {
        let field = |offset| word(header + offset) as usize;
        let image = field(16).wrapping_add(object.bias() as usize);
        module.image.store(image, Ordering::Relaxed);
        module.filled.store(field(32), Ordering::Relaxed);
        module.len.store(field(40), Ordering::Relaxed);
        module.align.store(field(48).max(1), Ordering::Relaxed);
        module.number.store(number, Ordering::Relaxed);
    }
}

fn modules() -> impl Iterator<Item = &'static Module> {
    let there = |module: &&Module| module.number.load(Ordering::Relaxed) != 0;
    MODULES.iter().take_while(there)
}

/// Makes the variables of hooks in this thread, a donor that has just begun, below `top`: answers what is free below them.
///
/// The loader would do so when a hook first looks at one, by the program's `malloc`, from which that hook may have
/// been called.
pub(super) fn make_variables(fs: u64, top: u64) -> u64 {
    const UNMADE: u64 = u64::MAX;
    /// More of a hook's stack is not taken for its variables.
    const ROOM: u64 = 64 << 10;
    let variable = VARIABLE.load(Ordering::Relaxed);
    let mut free = top;
    // What the thread pointer leads to has in its second word a table: pairs of a block and what is to be freed. Ahead of it
    // stands how many.
    let table = word(fs + 8);
    let count = word(table - 16);
    for module in modules() {
        let get = |field: &AtomicUsize| field.load(Ordering::Relaxed);
        let number = get(&module.number);
        let entry = table + 16 * number as u64;
        let (len, filled) = (get(&module.len), get(&module.filled));
        let has_room = top - free + (len + get(&module.align)) as u64 <= ROOM;
        if number as u64 <= count && has_room && word(entry) == UNMADE {
            free = (free - len as u64) & !(get(&module.align) as u64 - 1);
            let block = core::ptr::with_exposed_provenance_mut::<u8>(free as usize);
            let image = core::ptr::with_exposed_provenance::<u8>(get(&module.image));
            // SAFETY: I22: its own stack, of which nothing is used there; I23: what its object says.
            unsafe { block.write_bytes(0, len) };
            // SAFETY: as above.
            unsafe { block.copy_from_nonoverlapping(image, filled.min(len)) };
            let entry = core::ptr::with_exposed_provenance_mut::<[u64; 2]>(entry as usize);
            // SAFETY: I23: this thread's, and nobody has asked for it. Nothing is to be freed.
            unsafe { entry.write([free, 0]) };
        }
        // The loader agrees, or it makes them now.
        let index = [number, 0];
        // SAFETY: I23: one of the loader's own numbers.
        unsafe { call(variable, [(&raw const index).addr(), 0, 0, 0]) };
    }
    free & !63
}

/// Lets an object's calls of `pthread_create` lead to ours.
fn watch_threads(object: Object) {
    let create = CREATE.load(Ordering::Relaxed);
    let (symbols, strings) = (object.address(DT_SYMTAB), object.address(DT_STRTAB));
    let tables = [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)];
    for (table, len) in tables {
        let (table, len) = (object.address(table), object.dynamic(len));
        for at in (0..len / 24).map(|n| table + 24 * n) {
            let info = word(at + 8);
            // GLOB_DAT, JUMP_SLOT, and a word of data
            if !matches!(info as u32, 1 | 6 | 7) {
                continue;
            }
            let name = strings + u64::from(half(symbols + 24 * (info >> 32)));
            let slot = object.bias().wrapping_add(word(at));
            if text(name) == b"pthread_create" && word(slot) == create {
                put(slot, donor::create as *const () as u64);
            }
        }
    }
}

/// Writes a word that relocation has made read-only.
fn put(at: u64, value: u64) {
    let page = (at & !(PAGE - 1)) as usize;
    let there = core::ptr::with_exposed_provenance_mut::<u64>(at as usize);
    let text = read_all(c"/proc/self/maps");
    let maps = crate::maps::parse(&text);
    let writable = maps
        .iter()
        .any(|m| m.start <= at && at < m.end && m.writable);
    if !writable {
        // SAFETY: I23: data of the namespace's, which nobody else knows.
        let _ = unsafe { sys::protect(page, PAGE as usize, Protection::ReadWrite) };
    }
    // SAFETY: as above.
    unsafe { there.write(value) };
    if !writable {
        // SAFETY: as above.
        let _ = unsafe { sys::protect(page, PAGE as usize, Protection::Read) };
    }
}

/// The hosted `pthread_create`, on this stack, as whoever calls.
///
/// # Safety
/// I23: the arguments are what it takes.
pub(super) unsafe fn create(arguments: [usize; 4]) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { call(CREATE.load(Ordering::Relaxed), arguments) as u32 }
}

/// A `pthread_attr_t` that says which stack.
pub(super) fn attributes(start: usize, end: usize) -> [u64; 8] {
    let mut attributes = [0; 8];
    let at = attributes.as_mut_ptr().addr();
    // SAFETY: I23: it has 56 bytes. These two write there and do nothing else.
    unsafe { Service::Attributes.call([at, 0, 0, 0]) };
    // SAFETY: as above.
    unsafe { Service::Stack.call([at, start, end - start, 0]) };
    attributes
}

/// Everything that is mapped now.
#[must_use]
pub fn mapped() -> Vec<u8> {
    read_all(c"/proc/self/maps")
}
