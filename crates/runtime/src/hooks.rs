//! The hooks, the sites they are called at, and a call on its way through them.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: the frame that a gate has built and the block above it are this thread's. I14: what is written here is written
//! by start-up, before any gate is reached, and only read from then on.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::{mem, ptr};

use hotpatch_abi::{
    AfterFn, BeforeFn, Context, EventFn, Frame, Hook, SIGNALS, Services, Signal, Site, SyscallSet,
    kind, verdict,
};

use crate::frame::{Entered, GIVEN};
use crate::internal;
use crate::load::MOST;
use crate::quick;
use crate::services;
use crate::thread::{self, Block};

/// A hooked instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// What hooks are told of it.
    pub site: Site,
    /// The hooks, by bit, that have chosen it.
    pub chosen: u32,
    /// The number of its system call, if it is always the same; else [`Known::ANY`].
    pub number: u32,
}

impl Known {
    /// Stands for "the number is not known": no system call has it.
    pub const ANY: u32 = u32::MAX;
}

/// Numbers from here on are told apart by nobody.
pub const NUMBERS: usize = 512;

/// In a mask of hooks: the runtime itself has something to do.
pub const INTERNAL: u32 = 1 << 31;

/// What is called of a hook: three functions, null where it has none or has failed.
struct Called {
    before: AtomicPtr<c_void>,
    after: AtomicPtr<c_void>,
    event: AtomicPtr<c_void>,
}

impl Called {
    const fn none() -> Self {
        Self {
            before: AtomicPtr::new(ptr::null_mut()),
            after: AtomicPtr::new(ptr::null_mut()),
            event: AtomicPtr::new(ptr::null_mut()),
        }
    }

    // Relaxed, all of these: whoever still calls a hook that another thread has just given up finds its code there.

    fn before(&self) -> BeforeFn {
        // SAFETY: `install` has put it there, or null.
        unsafe { mem::transmute::<*mut c_void, BeforeFn>(self.before.load(Ordering::Relaxed)) }
    }

    fn after(&self) -> AfterFn {
        // SAFETY: as above.
        unsafe { mem::transmute::<*mut c_void, AfterFn>(self.after.load(Ordering::Relaxed)) }
    }

    fn event(&self) -> EventFn {
        // SAFETY: as above.
        unsafe { mem::transmute::<*mut c_void, EventFn>(self.event.load(Ordering::Relaxed)) }
    }
}

/// Everything that the hot path reads.
#[repr(C)]
struct State {
    sites: *const Known,
    count: AtomicU32,
    /// Whether there are hooks, or the runtime alone looks at calls.
    any: bool,
    /// For each number, then for all others: the hooks that want it, by bit, and [`INTERNAL`].
    wanted: [u32; NUMBERS + 1],
    services: *const Services,
    hooks: [Called; MOST],
    /// The hooks, by bit, that are told of signals.
    hear_signals: u32,
}

struct Shared(UnsafeCell<State>);

// SAFETY: I14.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    sites: ptr::null(),
    count: AtomicU32::new(0),
    any: false,
    wanted: [0; NUMBERS + 1],
    services: ptr::null(),
    hooks: [const { Called::none() }; MOST],
    hear_signals: 0,
}));

fn state() -> &'static State {
    // SAFETY: I14: start-up is over, or is what reads.
    unsafe { &*STATE.0.get() }
}

/// Makes `hooks` those that are called, in this order.
///
/// # Safety
/// I14: start-up's alone; each hook is a loaded one, with its functions in place.
pub unsafe fn install(hooks: &[Hook], services: *const Services) {
    // SAFETY: as the caller promises.
    let state = unsafe { &mut *STATE.0.get() };
    (state.services, state.any) = (services, !hooks.is_empty());
    for (n, hook) in hooks.iter().take(MOST).enumerate() {
        let pointer = |function: Option<*const ()>| {
            AtomicPtr::new(function.map_or(ptr::null_mut(), |f| f.cast_mut().cast()))
        };
        state.hooks[n] = Called {
            before: pointer(hook.before.map(|f| f as *const ())),
            after: pointer(hook.after.map(|f| f as *const ())),
            event: pointer(hook.event.map(|f| f as *const ())),
        };
        if hook.flags & SIGNALS != 0 && hook.event.is_some() {
            state.hear_signals |= 1 << n;
        }
        for (number, wanted) in state.wanted.iter_mut().enumerate() {
            if wants(&hook.syscalls, number) {
                *wanted |= 1 << n;
            }
        }
    }
    for &number in internal::NUMBERS {
        state.wanted[(number as usize).min(NUMBERS)] |= INTERNAL;
    }
}

/// Whether there are hooks; if not, blocks are only for the calls that the runtime itself must see.
#[must_use]
pub fn are_there() -> bool {
    state().any
}

/// Whether any hook is told of signals.
#[must_use]
pub fn hear_signals() -> bool {
    state().hear_signals != 0
}

/// Tells the hooks that hear of signals. `id`: the site of the interrupted call, whose number `number` is.
pub fn tell_signal(block: &mut Block, event: u32, signal: &Signal, id: Option<u32>, number: u32) {
    let mut context = self::context(ptr::null_mut());
    if let Some(id) = id.filter(|id| *id < sites()) {
        // SAFETY: less than the number of sites.
        context.site = &raw const unsafe { known(id) }.site;
        context.number = number;
    }
    context.signal = signal;
    for (n, slot) in block.slots.iter_mut().enumerate() {
        let hook = state().hooks.get(n);
        let hook = hook.filter(|_| state().hear_signals >> n & 1 != 0);
        if let Some(tell) = hook.and_then(Called::event) {
            context.slot = slot;
            // SAFETY: I11: the hook's own function; context and signal live until it returns.
            unsafe { tell(&raw mut context, event) };
        }
    }
}

/// Calls hook `n` no more.
pub fn give_up(n: usize) {
    if n == 0 {
        quick::give_up();
    }
    if let Some(hook) = state().hooks.get(n) {
        for function in [&hook.before, &hook.after, &hook.event] {
            function.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

fn wants(set: &SyscallSet, number: usize) -> bool {
    set.low
        .get(number / 64)
        .map_or(set.others != 0, |bits| bits >> (number % 64) & 1 != 0)
}

/// Tells where the sites are.
///
/// # Safety
/// I14: start-up's alone; the table stays and does not change any more.
pub unsafe fn publish(sites: *const Known, count: u32) {
    // SAFETY: as the caller promises.
    let state = unsafe { &mut *STATE.0.get() };
    state.sites = sites;
    state.count = AtomicU32::new(count);
}

/// Tells that the table has become longer.
pub fn grow(count: u32) {
    // Release: whoever reads the count finds the sites.
    state().count.store(count, Ordering::Release);
}

/// The hooks that want a call of this number, by bit, and [`INTERNAL`].
#[must_use]
pub fn wanted(number: u32) -> u32 {
    let index = (number as usize).min(NUMBERS);
    state().wanted.get(index).copied().unwrap_or(0)
}

/// The site with this id.
///
/// # Safety
/// `id` is one that a block states, or less than [`sites`].
#[must_use]
pub unsafe fn known(id: u32) -> &'static Known {
    // SAFETY: I14: the table has an entry for each id.
    unsafe { &*state().sites.wrapping_add(id as usize) }
}

/// What a thread's context of the only hook says all the time.
#[must_use]
pub fn context(slot: *mut u64) -> Context {
    Context {
        services: state().services,
        site: ptr::null(),
        slot,
        number: 0,
        reserved: 0,
        signal: ptr::null(),
    }
}

/// How many sites there are.
#[must_use]
pub fn sites() -> u32 {
    // Acquire: pairs with the Release in `grow`.
    state().count.load(Ordering::Acquire)
}

/// One call on its way through the hooks.
pub struct Call<'a> {
    /// Where it came from.
    pub known: &'static Known,
    /// The thread's.
    pub block: &'a mut Block,
    /// What hooks see and change.
    pub frame: &'a mut Frame,
    /// What hooks are told of it.
    pub context: Context,
}

impl<'a> Call<'a> {
    /// # Safety
    /// I12: `entered` is what a gate of this thread has built. `id` is a site's.
    pub(crate) unsafe fn new(entered: *mut Entered, id: u32, number: u32) -> Self {
        // SAFETY: as the caller promises.
        let known = unsafe { known(id) };
        // SAFETY: as above.
        let block = unsafe { thread::block(entered) };
        // SAFETY: as above.
        let frame = unsafe { &mut (*entered).frame };
        let context = Context {
            services: state().services,
            site: &raw const known.site,
            slot: block.slots.as_mut_ptr(),
            number,
            reserved: 0,
            signal: ptr::null(),
        };
        Self {
            known,
            block,
            frame,
            context,
        }
    }

    pub(crate) fn is_system_call(&self) -> bool {
        self.known.site.kind == kind::SYSCALL
    }

    /// The hooks that want to see it, by bit.
    fn wanted(&self) -> u32 {
        if self.is_system_call() {
            wanted(self.frame.rax as u32) & self.known.chosen
        } else {
            self.known.chosen
        }
    }

    /// Address behind the instruction.
    pub(crate) fn behind(&self) -> u64 {
        let site = &self.known.site;
        site.address.wrapping_add(u64::from(site.len))
    }

    fn hook(&mut self, n: usize) -> Option<&'static Called> {
        self.context.slot = self.block.slots.get_mut(n)?;
        state().hooks.get(n)
    }

    /// Asks the hooks in order; answers which of them want to see the result, and whether one has answered.
    pub(crate) fn before(&mut self, given: &[u64; GIVEN]) -> (u32, bool) {
        let mut afters = 0;
        let mut seen = 0;
        // What the hooks so far have made of the arguments, where that is not what the program gave.
        let mut changed = None;
        loop {
            // One hook's change of the number decides which others want the call.
            let wanted = self.wanted() & !seen;
            if wanted == 0 {
                return (afters, false);
            }
            let n = wanted.trailing_zeros();
            // Each hook is asked once, in order.
            seen |= (2 << n) - 1;
            let Some(before) = self.hook(n as usize).and_then(Called::before) else {
                continue;
            };
            // SAFETY: I11: the hook's own function; context and frame live until it returns.
            match unsafe { before(&raw mut self.context, &raw mut *self.frame) } {
                verdict::RUN_AND_RETURN => afters |= 1 << n,
                verdict::ANSWER => {
                    if let Some(changed) = changed {
                        self.take_back(given, &changed);
                    }
                    return (afters, true);
                }
                verdict::RUN => {}
                // Nonsense is as good as the least that a hook can say.
                said => services::nonsense(n as usize, said),
            }
            if self.frame.rip != self.known.site.address {
                return (afters, false);
            }
            if self.known.chosen >> n > 1 && !unchanged(given, self.frame) {
                changed = Some(registers(self.frame));
            }
        }
    }

    /// Where a hook has answered: arguments that others before it have changed, and it has not, are the program's.
    #[cold]
    fn take_back(&mut self, given: &[u64; GIVEN], changed: &[u64; GIVEN]) {
        let frame = &mut *self.frame;
        let arguments = [
            &mut frame.rdi,
            &mut frame.rsi,
            &mut frame.rdx,
            &mut frame.r10,
            &mut frame.r8,
            &mut frame.r9,
        ];
        let values = given.iter().zip(changed).skip(1);
        for (register, (given, changed)) in arguments.into_iter().zip(values) {
            if *register == *changed {
                *register = *given;
            }
        }
    }

    /// Shows the result to the hooks of `afters`, the last first.
    pub(crate) fn after(&mut self, mut afters: u32) {
        self.frame.rip = self.behind();
        if self.is_system_call() {
            self.frame.rcx = self.frame.rip;
            self.frame.r11 = self.frame.rflags;
        }
        while afters != 0 {
            let n = afters.ilog2();
            afters &= !(1 << n);
            if let Some(after) = self.hook(n as usize).and_then(Called::after) {
                // SAFETY: as in `before`.
                unsafe { after(&raw mut self.context, &raw mut *self.frame) };
            }
        }
    }

    /// Tells all hooks of an event.
    pub fn event(&mut self, event: u32) {
        for n in 0..MOST {
            if let Some(tell) = self.hook(n).and_then(Called::event) {
                // SAFETY: as in `before`.
                unsafe { tell(&raw mut self.context, event) };
            }
        }
    }

    /// Where the program goes on behind the call: `next`, unless a hook says otherwise.
    pub(crate) fn goes_on(&self, next: u64) -> u64 {
        if self.frame.rip == self.behind() {
            next
        } else {
            self.frame.rip
        }
    }
}

/// Number and arguments, in the order of what was given.
#[must_use]
pub fn registers(frame: &Frame) -> [u64; GIVEN] {
    let Frame {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..
    } = *frame;
    [rax, rdi, rsi, rdx, r10, r8, r9]
}

/// Whether the hooks have left number and arguments alone.
#[must_use]
pub fn unchanged(given: &[u64; GIVEN], frame: &Frame) -> bool {
    let pairs = given.iter().zip(registers(frame));
    pairs.fold(0, |all, (given, now)| all | (given ^ now)) == 0
}
