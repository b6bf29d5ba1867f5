//! What a gate leads to: a call is shown to the hooks, and what becomes of it.
//!
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: the frame that a gate has built and the block above it are this thread's. I15: where records are written.

use core::ptr;

use hotpatch_abi::{Frame, kind, verdict};
use hotpatch_plan::emit::{Places, at};

use crate::entry;
use crate::frame::{Entered, Record};
use crate::hooks::{Call, INTERNAL, known, sites, unchanged, wanted};
use crate::internal::{self, Next};
use crate::services;
use crate::sys;
use crate::thread::Block;
use crate::trap;

/// Shows a call to the hooks. Answers where to go on, 0 for the block's RUN.
///
/// # Safety
/// I12: `entered` is what a gate of this thread has built, called by the block of site `id`.
pub unsafe extern "C" fn dispatch(entered: *mut Entered, id: u32) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { (*entered).id = u64::from(id) };
    // SAFETY: as the caller promises.
    let given = unsafe { (*entered).given };
    // SAFETY: as the caller promises.
    let mut call = unsafe { Call::new(entered, id, given[0] as u32) };
    call.frame.rip = call.known.site.address;
    call.frame.rcx = call.behind();
    call.frame.r11 = call.frame.rflags;
    if trap::is_stale(call.block) {
        trap::own::arm(call.block);
    }
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
    if said > verdict::ANSWER {
        services::nonsense(0, said);
    }
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
        unsafe { (*entered).goes_on_at(next) };
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
                give_back(call.frame, &given);
                // SAFETY: as the caller promises.
                unsafe { (*entered).goes_on_at(next) };
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
    give_back(call.frame, &given);
    call.frame.rax = given[0];
    0
}

/// The arguments that the program has given, in place of what hooks have made of them.
fn give_back(frame: &mut Frame, given: &[u64; 7]) {
    let [_, rdi, rsi, rdx, r10, r8, r9] = *given;
    (frame.rdi, frame.rsi, frame.rdx) = (rdi, rsi, rdx);
    (frame.r10, frame.r8, frame.r9) = (r10, r8, r9);
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
    let entered = unsafe { &mut *entered };
    if entered.id & Entered::READ != 0 {
        entered.given = entered.given_by_frame();
    }
    let Entered {
        given,
        id,
        otherwise,
        back,
        flags,
        ..
    } = *entered;
    if id & Entered::DONE != 0 {
        return 0;
    }
    if id & Entered::ELSEWHERE != 0 {
        return otherwise;
    }
    let [rax, rdi, rsi, rdx, r10, r8, r9] = given;
    entered.frame = Frame {
        rax,
        rdi,
        rsi,
        rdx,
        r10,
        r8,
        r9,
        rflags: flags,
        ..entered.frame
    };
    if id & Entered::OTHER != 0 {
        // SAFETY: as the caller promises: `dispatch_other` has got this id.
        let mut call = unsafe { Call::new(entered, id as u32, 0) };
        let places = Places::of(call.known.site.len);
        let to = if internal::gs_base(&mut call) {
            places.next()
        } else {
            places.run()
        };
        return back.wrapping_add(u64::from(to - Places::ID));
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
        unsafe { (*entered).goes_on_at(next) };
        call.after(afters);
        return call.goes_on(next);
    }
    if internal::gs_base(&mut call) {
        // SAFETY: as the caller promises.
        unsafe { (*entered).goes_on_at(next) };
        call.after(afters);
        return call.goes_on(next);
    }
    if afters == 0 || call.known.site.kind == kind::WRGSBASE {
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
    unsafe { (*entered).goes_on_at(next) };
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
    unsafe { (*entered).id = u64::from(id) | Entered::DONE };
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
    unsafe { (*entered).id = u64::from(id) };
    // SAFETY: as the caller promises.
    unsafe { (*entered).goes_on_at(record.next) };
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
    unsafe { (*entered).id = u64::from(birth.id) };
    // SAFETY: as the caller promises.
    unsafe { (*entered).goes_on_at(birth.next) };
    // SAFETY: `born` is what the caller says.
    if let Some(event) = unsafe { internal::born(&mut call, born, &birth) } {
        call.event(event);
    }
    call.after(birth.afters);
    call.goes_on(birth.next)
}
