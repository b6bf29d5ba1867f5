//! Calls the hooks: what a gate leads to.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: the frame that a gate has built and the block above it are this thread's. I14: what is written here is written
//! by start-up, before any gate is reached, and only read from then on.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::{mem, ptr};

use hotpatch_abi::{
    AfterFn, BeforeFn, Context, EventFn, Frame, Hook, Services, Site, SyscallSet, kind, verdict,
};
use hotpatch_plan::emit::{Places, at};

use crate::entry;
use crate::frame::{Entered, GIVEN, Record};
use crate::internal::{self, Next};
use crate::load::MOST;
use crate::quick;
use crate::sys;
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
    count: u32,
    /// For each number, then for all others: the hooks that want it, by bit, and [`INTERNAL`].
    wanted: [u32; NUMBERS + 1],
    services: *const Services,
    hooks: [Called; MOST],
}

struct Shared(UnsafeCell<State>);

// SAFETY: I14.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    sites: ptr::null(),
    count: 0,
    wanted: [0; NUMBERS + 1],
    services: ptr::null(),
    hooks: [const { Called::none() }; MOST],
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
    state.services = services;
    for (n, hook) in hooks.iter().take(MOST).enumerate() {
        let pointer = |function: Option<*const ()>| {
            AtomicPtr::new(function.map_or(ptr::null_mut(), |f| f.cast_mut().cast()))
        };
        state.hooks[n] = Called {
            before: pointer(hook.before.map(|f| f as *const ())),
            after: pointer(hook.after.map(|f| f as *const ())),
            event: pointer(hook.event.map(|f| f as *const ())),
        };
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
    (state.sites, state.count) = (sites, count);
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
    }
}

/// How many sites there are.
#[must_use]
pub fn sites() -> u32 {
    state().count
}

/// One call on its way through the hooks.
pub struct Call<'a> {
    /// Where it came from.
    pub known: &'static Known,
    /// The thread's.
    pub block: &'a mut Block,
    /// What hooks see and change.
    pub frame: &'a mut Frame,
    context: Context,
}

impl<'a> Call<'a> {
    /// # Safety
    /// I12: `entered` is what a gate of this thread has built. `id` is a site's.
    unsafe fn new(entered: *mut Entered, id: u32, number: u32) -> Self {
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
        };
        Self {
            known,
            block,
            frame,
            context,
        }
    }

    fn is_system_call(&self) -> bool {
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
    fn behind(&self) -> u64 {
        let site = &self.known.site;
        site.address.wrapping_add(u64::from(site.len))
    }

    fn hook(&mut self, n: usize) -> Option<&'static Called> {
        self.context.slot = self.block.slots.get_mut(n)?;
        state().hooks.get(n)
    }

    /// Asks the hooks in order; answers which of them want to see the result, and whether one has answered.
    fn before(&mut self, given: &[u64; GIVEN]) -> (u32, bool) {
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
                // Nonsense is as good as the least that a hook can say.
                _ => {}
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
    fn after(&mut self, mut afters: u32) {
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
    fn goes_on(&self, next: u64) -> u64 {
        if self.frame.rip == self.behind() {
            next
        } else {
            self.frame.rip
        }
    }
}

/// Shows a call to the hooks. Answers where to go on, 0 for the block's RUN.
///
/// # Safety
/// I12: `entered` is what a gate of this thread has built, called by the block of site `id`.
pub unsafe extern "C" fn dispatch(entered: *mut Entered, id: u32) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = Entered::AS_GIVEN };
    // SAFETY: as the caller promises.
    unsafe { (*entered).id = u64::from(id) };
    // SAFETY: as the caller promises.
    let given = unsafe { (*entered).given };
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, given[0] as u32) };
    call.frame.rip = call.known.site.address;
    call.frame.rcx = call.behind();
    call.frame.r11 = call.frame.rflags;
    let (afters, answered) = call.before(&given);
    // SAFETY: as the caller promises.
    unsafe { settle(entered, call, id, afters, answered) }
}

/// [`dispatch`] when the only hook has been called: what is not usual in its answer.
///
/// # Safety
/// As [`dispatch`], of whose work the gate has done what comes before.
pub unsafe extern "C" fn dispatch_rest(entered: *mut Entered, said: u32) -> u64 {
    // SAFETY: as the caller promises.
    let id = unsafe { (*entered).id } as u32;
    // SAFETY: as the caller promises.
    let number = unsafe { (*entered).given[0] } as u32;
    // SAFETY: as the caller promises.
    let call = unsafe { Call::new(entered, id, number) };
    let afters = u32::from(said == verdict::RUN_AND_RETURN);
    // SAFETY: as the caller promises.
    unsafe { settle(entered, call, id, afters, said == verdict::ANSWER) }
}

/// What becomes of a call that the hooks have seen.
///
/// # Safety
/// As [`dispatch`].
unsafe fn settle(
    entered: *mut Entered,
    mut call: Call<'_>,
    id: u32,
    afters: u32,
    answered: bool,
) -> u64 {
    // SAFETY: as the caller promises.
    let given = unsafe { (*entered).given };
    // SAFETY: as the caller promises.
    let block = unsafe { (*entered).ret };
    let number = given[0] as u32;
    let next = block.wrapping_add(u64::from(at::NEXT - at::RETURN));
    if call.frame.rip != call.known.site.address {
        return call.frame.rip;
    }
    if answered {
        // SAFETY: as the caller promises.
        unsafe { (*entered).otherwise = next };
        call.after(afters);
        return call.goes_on(next);
    }
    let executed = call.frame.rax as u32;
    let wanted = wanted(executed);
    if wanted & INTERNAL == 0 && unchanged(&given, call.frame) {
        if afters == 0 {
            return 0;
        }
        if call.known.number == number && afters == wanted & call.known.chosen {
            // Site and number say who wants to see the result: nothing has to be remembered.
            return block.wrapping_add(u64::from(at::CALL - at::RETURN));
        }
    }
    // SAFETY: as the caller promises.
    unsafe { rarely(entered, id, afters, next) }
}

/// Number and arguments, in the order of what was given.
fn registers(frame: &Frame) -> [u64; GIVEN] {
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
fn unchanged(given: &[u64; GIVEN], frame: &Frame) -> bool {
    let pairs = given.iter().zip(registers(frame));
    pairs.fold(0, |all, (given, now)| all | (given ^ now)) == 0
}

/// The rest of [`dispatch`]: calls that the runtime has a hand in, or that need a record.
///
/// # Safety
/// As [`dispatch`].
#[cold]
#[inline(never)]
unsafe fn rarely(entered: *mut Entered, id: u32, afters: u32, next: u64) -> u64 {
    // SAFETY: as the caller promises.
    let given = unsafe { (*entered).given };
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, given[0] as u32) };
    let executed = call.frame.rax as u32;
    if wanted(executed) & INTERNAL != 0 {
        let begun = internal::Begun {
            given: &given,
            id,
            afters,
            next,
        };
        match internal::before(&mut call, &begun) {
            Next::Run => {}
            Next::Go(to) => return to,
            Next::Answered => {
                // What hooks have made of the arguments was for this call alone.
                let [_, rdi, rsi, rdx, r10, r8, r9] = given;
                let frame = &mut *call.frame;
                (frame.rdi, frame.rsi, frame.rdx) = (rdi, rsi, rdx);
                (frame.r10, frame.r8, frame.r9) = (r10, r8, r9);
                // SAFETY: as the caller promises.
                unsafe { (*entered).otherwise = next };
                call.after(afters);
                return call.goes_on(next);
            }
        }
    }
    let site = call.known;
    let same = unchanged(&given, call.frame);
    if internal::never_returns(executed) || same && afters == 0 {
        return 0;
    }
    if same && site.number == executed && afters == wanted(executed) & site.chosen {
        return next.wrapping_sub(u64::from(at::NEXT - at::CALL));
    }
    let record = Record {
        given,
        rsp: call.frame.rsp,
        next,
        afters: u64::from(afters),
        id: u64::from(id),
        mark: Record::MARK,
    };
    if place(call.block, &record) {
        call.frame.rsp = Record::below(record.rsp);
        return entry::record_call as *const () as u64;
    }
    // There is no stack to keep them on: the call is executed as the program meant it.
    let [rax, rdi, rsi, rdx, r10, r8, r9] = given;
    *call.frame = Frame {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..*call.frame
    };
    0
}

/// Writes `record` to the program's stack, if that can be written.
fn place(block: &mut Block, record: &Record) -> bool {
    let at = Record::below(record.rsp);
    let last = at.wrapping_add(size_of::<Record>() as u64 - 8);
    let (first_page, last_page) = (at >> 12, last >> 12);
    let known = first_page == last_page && block.writable == first_page;
    if !known && !internal::is_filtered() {
        if !sys::is_writable(at) || !sys::is_writable(last) {
            return false;
        }
        block.writable = last_page;
    }
    let to = ptr::with_exposed_provenance_mut::<Record>(at as usize);
    // SAFETY: I15: below the red zone of the program's own stack, where it keeps nothing, and just seen to be writable.
    unsafe { to.write(*record) };
    true
}

/// What is left to do when a hook has failed. Answers where to go on, 0 for the block's own way.
///
/// The hooks behind it in the chain are not asked about this call.
///
/// # Safety
/// As [`dispatch`].
pub unsafe extern "C" fn dispatch_failed(entered: *mut Entered) -> u64 {
    // SAFETY: as the caller promises.
    let Entered {
        given,
        id,
        otherwise,
        back,
        flags,
        ..
    } = unsafe { *entered };
    if otherwise != Entered::AS_GIVEN {
        return otherwise;
    }
    // SAFETY: as the caller promises.
    let frame = unsafe { &mut (*entered).frame };
    let [rax, rdi, rsi, rdx, r10, r8, r9] = given;
    *frame = Frame {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rflags: flags,
        ..*frame
    };
    if id & Entered::OTHER != 0 {
        // SAFETY: as the caller promises: `dispatch_other` has got this id.
        let places = Places::of(unsafe { known(id as u32) }.site.len);
        return back.wrapping_add(u64::from(places.run() - Places::ID));
    }
    let next = back.wrapping_add(u64::from(at::NEXT - at::RETURN));
    // SAFETY: as the caller promises: `dispatch` has got this id.
    unsafe { rarely(entered, id as u32, 0, next) }
}

/// Shows an instruction that is no system call to the hooks. Answers where to go on.
///
/// # Safety
/// I12: `entered` is what a gate of other.rs has built for this thread, and `word` what its block states.
pub unsafe extern "C" fn dispatch_other(entered: *mut Entered, word: u32) -> u64 {
    let (id, places) = other(word);
    // SAFETY: as the caller promises.
    let start = unsafe { (*entered).back }.wrapping_sub(u64::from(Places::ID));
    // SAFETY: as the caller promises.
    unsafe { (*entered).id = u64::from(id) | Entered::OTHER };
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = Entered::AS_GIVEN };
    // SAFETY: as the caller promises.
    let given = unsafe { (*entered).given };
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, 0) };
    if call.known.site.kind == kind::INT80 {
        call.context.number = given[0] as u32;
    }
    call.frame.rip = call.known.site.address;
    let (afters, answered) = call.before(&given);
    if call.frame.rip != call.known.site.address {
        return call.frame.rip;
    }
    let next = start + u64::from(places.next());
    if answered {
        // SAFETY: as the caller promises.
        unsafe { (*entered).otherwise = next };
        call.after(afters);
        return call.goes_on(next);
    }
    if afters == 0 {
        return start + u64::from(places.run());
    }
    call.block.own.afters = u64::from(afters);
    start + u64::from(Places::SEEN)
}

/// Behind such an instruction. Answers where to go on.
///
/// # Safety
/// As [`dispatch_other`].
pub unsafe extern "C" fn dispatch_other_after(entered: *mut Entered, word: u32) -> u64 {
    let (id, places) = other(word);
    let from = u64::from(places.done() + Places::ID);
    // SAFETY: as the caller promises.
    let start = unsafe { (*entered).back }.wrapping_sub(from);
    let next = start + u64::from(places.next());
    // SAFETY: as the caller promises.
    unsafe { (*entered).id = u64::from(id) | Entered::OTHER };
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = next };
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, 0) };
    let afters = call.block.own.afters as u32 & call.known.chosen;
    call.after(afters);
    call.goes_on(next)
}

/// What the word in a block of [`Places`] says: the site, and where what is in the block.
fn other(word: u32) -> (u32, Places) {
    let id = word & ((1 << Places::LENGTH_AT) - 1);
    (id, Places::of((word >> Places::LENGTH_AT) as u8))
}

/// Behind a call whose site and number say who wants to see its result. Answers where to go on, 0 for the block's NEXT.
///
/// # Safety
/// As [`dispatch`].
pub unsafe extern "C" fn dispatch_after(entered: *mut Entered, id: u32) -> u64 {
    // SAFETY: `id` is a block's.
    let number = unsafe { known(id) }.number;
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, number) };
    let afters = wanted(number) & call.known.chosen;
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = 0 };
    call.after(afters);
    call.goes_on(0)
}

/// Behind a call that had a record. Answers where to go on.
///
/// # Safety
/// I12, and the program's stack pointer is the record's address, which `record_call` has just read.
pub unsafe extern "C" fn dispatch_record(entered: *mut Entered, _: u32) -> u64 {
    // SAFETY: as the caller promises.
    let at = unsafe { (*entered).frame.rsp };
    // SAFETY: as the caller promises.
    let record = unsafe { ptr::with_exposed_provenance::<Record>(at as usize).read() };
    // The program could have written there.
    let id = record.id.min(u64::from(sites().saturating_sub(1))) as u32;
    // SAFETY: as the caller promises; `id` is less than the number of sites.
    let mut call = unsafe { Call::new(entered, id, record.given[0] as u32) };
    call.frame.rsp = record.rsp;
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = record.next };
    call.after(record.afters as u32 & !INTERNAL);
    call.goes_on(record.next)
}

/// Behind a call of the clone family, in parent and child. Answers where to go on.
///
/// # Safety
/// I12, and the program's `r9` is the block that `internal::before` reserved for the child.
pub unsafe extern "C" fn dispatch_birth(entered: *mut Entered, _: u32) -> u64 {
    // SAFETY: as the caller promises.
    let born = unsafe { (*entered).frame.r9 };
    let born = ptr::with_exposed_provenance_mut::<Block>(born as usize);
    // SAFETY: I12: it is kept until `internal::born`.
    let birth = unsafe { (*born).birth };
    // SAFETY: as the caller promises; the id is the block's that `internal::before` was told.
    let mut call = unsafe { Call::new(entered, birth.id, birth.given[0] as u32) };
    let [_, rdi, rsi, rdx, r10, r8, r9] = birth.given;
    *call.frame = Frame {
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        ..*call.frame
    };
    // SAFETY: as the caller promises.
    unsafe { (*entered).otherwise = birth.next };
    // SAFETY: `born` is what the caller says.
    if let Some(event) = unsafe { internal::born(&call, born, &birth) } {
        call.event(event);
    }
    call.after(birth.afters);
    call.goes_on(birth.next)
}
