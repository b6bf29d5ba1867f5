//! What the runtime itself has to do at a system call, in every process: threads and processes begin and end, signals
//! are set, `gs` is set.
//!
//! Another part of the runtime that must see a call adds its number to [`NUMBERS`] and its lines to [`before`], which
//! runs on the hook stack of the calling thread, with everything that signals do put off, when all hooks (if there are
//! any) have seen the call. Sites that are known to make other calls do not even ask the table.
//!
//! | to look at a call | answer |
//! |---|---|
//! | before it is executed | [`Next::Run`] |
//! | and at its result, before the program gets it: [`execute`] it there | [`Next::Answered`] |
//!
//! The second is for calls that wait for nobody (`mmap`, `mprotect`): a signal that comes meanwhile is delivered when
//! the look is over, and calls that signals interrupt would not be restarted. Hooks see the result behind it.
//! After start-up: no heap, no lock, no panic.
//!
//! # Safety
//! I12: a child's block is reserved before the child exists. I13: `gs`.

use core::sync::atomic::{AtomicU32, Ordering};

use hotpatch_abi::{Frame, event, kind};
use linux_raw_sys::general as k;
use linux_raw_sys::prctl::PR_SET_SECCOMP;

use crate::arch;
use crate::areas;
use crate::entry;
use crate::exec;
use crate::filter::{self, Instruction, LONGEST, Passes};
use crate::hooks::{self, Call};
use crate::hosted;
use crate::late;
use crate::lazy;
use crate::mapping;
use crate::services::FILTERED;
use crate::signal;
use crate::sys::{self, Direction, Errno, Protection};
use crate::thread::{self, Birth, Block};
use crate::trap;

/// The calls that come to [`before`].
pub const NUMBERS: &[u32] = &[
    k::__NR_clone,
    k::__NR_fork,
    k::__NR_vfork,
    k::__NR_clone3,
    k::__NR_exit,
    k::__NR_exit_group,
    k::__NR_execve,
    k::__NR_execveat,
    k::__NR_arch_prctl,
    k::__NR_prctl,
    k::__NR_seccomp,
    k::__NR_rt_sigaction,
    k::__NR_rt_sigprocmask,
    k::__NR_rt_sigreturn,
    k::__NR_sigaltstack,
    k::__NR_mmap,
    k::__NR_mprotect,
    k::__NR_pkey_mprotect,
    k::__NR_munmap,
    k::__NR_mremap,
    k::__NR_shmat,
    k::__NR_unshare,
    k::__NR_setns,
];

/// Of `seccomp`, as is 0 for the strict mode; others ask.
const SECCOMP_SET_MODE_FILTER: u32 = 1;
/// Of `prctl`.
const SECCOMP_MODE_FILTER: u32 = 2;
/// Of `arch_prctl`; the kernel's own header for it is not among those we have.
const ARCH_SET_GS: u32 = 0x1001;
const ARCH_SET_FS: u32 = 0x1002;
const ARCH_GET_GS: u32 = 0x1004;

/// Calls behind which nothing can be shown.
#[must_use]
pub const fn never_returns(number: u32) -> bool {
    matches!(
        number,
        k::__NR_rt_sigreturn | k::__NR_exit | k::__NR_exit_group
    )
}

/// What the hooks have made of a call.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// The program's number and arguments.
    pub given: &'a [u64; 7],
    /// The site.
    pub id: u32,
    /// The hooks, by bit, that want to see the result.
    pub afters: u32,
    /// Where the program goes on behind the call.
    pub next: u64,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It is executed like any other.
    Run,
    /// Code of ours at this address executes it, with the registers of the frame.
    Go(u64),
    /// It is done, the frame says how.
    Answered,
}

/// The runtime's own look at a call, when all hooks have seen it and before it is executed.
pub fn before(call: &mut Call<'_>, begun: &Begun<'_>) -> Next {
    match call.frame.rax as u32 {
        k::__NR_fork => birth(call, begun, 0, None),
        k::__NR_vfork => birth(call, begun, u64::from(k::CLONE_VM | k::CLONE_VFORK), None),
        k::__NR_clone => birth(call, begun, call.frame.rdi, Some(call.frame.r8)),
        k::__NR_clone3 => {
            let field = |n: u64| clone3_field(call.frame.rdi.wrapping_add(8 * n));
            match (field(0), field(7)) {
                (Some(flags), tls) => birth(call, begun, flags, tls),
                (None, _) => Next::Run, // the kernel cannot read them either
            }
        }
        k::__NR_exit => {
            call.event(event::THREAD_END);
            hosted::end(&mut call.block.hosted);
            if !is_filtered() {
                sys::block_all_signals();
            }
            let (status, rsp) = (call.frame.rdi, call.frame.rsp);
            // SAFETY: I12: nothing interrupts this thread any more, and it leaves its stack first.
            unsafe { entry::leave_thread(call.block, status, rsp) }
        }
        k::__NR_exit_group => {
            call.event(event::EXIT);
            hosted::flush(&call.block.hosted);
            Next::Run
        }
        k::__NR_rt_sigreturn => {
            if hooks::hear_signals() {
                signal::told::comes_back(call);
            }
            call.frame.rcx = call.behind();
            Next::Go(signal::asm::sigreturn())
        }
        k::__NR_execve | k::__NR_execveat => {
            call.event(event::BEFORE_EXEC);
            hosted::flush(&call.block.hosted);
            execute_program(call)
        }
        k::__NR_rt_sigprocmask => {
            let Frame {
                rdi,
                rsi,
                rdx,
                r10,
                rsp,
                ..
            } = *call.frame;
            call.block.signal.faults.change();
            if is_filtered() {
                return Next::Run;
            }
            const UNBLOCK: u64 = 1;
            if lazy::is_on()
                && rdi & 3 != UNBLOCK
                && let Some(mask) = sys::peek(rsi as usize)
            {
                lazy::blocks(mask as u64);
            }
            let trap = call.block.trap;
            if trap.stack == 0 {
                signal::alternate::mask_changes(&mut call.block.signal, rdi, rsi, rsp);
            }
            if trap.armed != 0
                && let Some(answer) = trap::own::mask(call.block, [rdi, rsi, rdx, r10])
            {
                call.frame.rax = answer;
                return Next::Answered;
            }
            Next::Run
        }
        k::__NR_sigaltstack => {
            let Frame { rdi, rsi, rsp, .. } = *call.frame;
            if rdi != 0 {
                lazy::end();
            }
            let (slots, trap) = (&mut call.block.signal, &mut call.block.trap);
            match signal::alternate::set(slots, trap, rdi, rsi, rsp) {
                None => return Next::Run,
                Some(Ok(())) => {
                    areas::look_at_masks();
                    call.frame.rax = 0;
                }
                Some(Err(Errno(number))) => call.frame.rax = u64::from(number).wrapping_neg(),
            }
            Next::Answered
        }
        k::__NR_rt_sigaction => {
            let frame = &mut *call.frame;
            frame.rax = signal::action([frame.rdi, frame.rsi, frame.rdx, frame.r10]);
            Next::Answered
        }
        k::__NR_mmap | k::__NR_mprotect | k::__NR_pkey_mprotect => mapped(call),
        k::__NR_munmap | k::__NR_mremap | k::__NR_shmat => mapped(call),
        k::__NR_unshare | k::__NR_setns => {
            exec::namespaces();
            Next::Run
        }
        k::__NR_arch_prctl => arch_prctl(call),
        k::__NR_prctl => prctl(call),
        k::__NR_seccomp => {
            let Frame { rdi, rdx, .. } = *call.frame;
            if rdi as u32 <= SECCOMP_SET_MODE_FILTER {
                filter(call, rdi as u32 == SECCOMP_SET_MODE_FILTER, rdx);
            }
            Next::Run
        }
        _ => Next::Run,
    }
}

/// The new program must find blocked what this one believes to be; where there is none, all is as before.
fn execute_program(call: &mut Call<'_>) -> Next {
    let left = trap::own::before_exec(call.block);
    let mut next = exec::before(call);
    if left {
        if next == Next::Run {
            execute(call.frame);
            next = Next::Answered;
        }
        trap::own::arm(call.block);
    }
    next
}

fn mapped(call: &mut Call<'_>) -> Next {
    let next = mapping::before(call.frame);
    if trap::is_stale(call.block) {
        trap::own::arm(call.block);
    }
    next
}

/// The program sets a seccomp filter, behind which no call may be added to its own that it does not let through. Without a
/// filter to be set it only asks whether it could.
fn filter(call: &mut Call<'_>, has_filter: bool, filter: u64) {
    if is_filtered() || has_filter && filter == 0 {
        return;
    }
    let passes = if has_filter {
        passes_of(filter)
    } else {
        Passes::Less
    };
    exec::filters(passes);
    lazy::end();
    trap::give_up(Some(call.block), b"the program sets a seccomp filter");
    if areas::sets_gs() {
        // Then it could be too late.
        areas::unhook("the program sets a seccomp filter, and may set gs");
    }
    if passes == Passes::Less {
        // Relaxed: before the filter holds, and read by this thread or by those it starts.
        FILTERED.store(true, Ordering::Relaxed);
    }
}

/// What the filter that a `sock_fprog` of the program describes lets through.
fn passes_of(program: u64) -> Passes {
    const LEN: usize = LONGEST * size_of::<Instruction>();
    let mut described = [0u64; 2];
    let place = described.as_mut_ptr().cast();
    // SAFETY: `described` is ours.
    let read = unsafe { sys::copy(place, program, 16, Direction::FromProgram) };
    let [len, from] = described;
    let len = usize::from(len as u16);
    if read != Ok(16) || len > LONGEST {
        return Passes::Less;
    }
    let Ok(at) = sys::map_anywhere(0, LEN, Protection::ReadWrite) else {
        return Passes::Less;
    };
    let place = core::ptr::with_exposed_provenance_mut::<Instruction>(at);
    let bytes = len * size_of::<Instruction>();
    // SAFETY: mapped just now, and as long as any filter.
    let read = unsafe { sys::copy(place.cast(), from, bytes, Direction::FromProgram) };
    let passes = if read == Ok(bytes) {
        // SAFETY: as above; any bytes are instructions.
        filter::passes(unsafe { core::slice::from_raw_parts(place, len) })
    } else {
        Passes::Less
    };
    // SAFETY: nobody uses it any more.
    let _ = unsafe { sys::unmap(at, LEN) };
    passes
}

fn prctl(call: &mut Call<'_>) -> Next {
    const PR_SET_SYSCALL_USER_DISPATCH: u32 = 59;
    const PR_SET_MDWE: u32 = 65;
    const OFF: u64 = 0;
    match (u32::try_from(call.frame.rdi), call.frame.rsi) {
        (Ok(PR_SET_SECCOMP), mode) => {
            let program = call.frame.rdx;
            filter(call, mode as u32 == SECCOMP_MODE_FILTER, program);
        }
        // What waits for being executed could not become so any more.
        (Ok(PR_SET_MDWE), _) => lazy::end(),
        // Ours is not the program's to switch off.
        (Ok(PR_SET_SYSCALL_USER_DISPATCH), OFF) if call.block.trap.armed != 0 => {
            let Frame { rdx, r10, r8, .. } = *call.frame;
            if rdx | r10 | r8 == 0 {
                call.frame.rax = 0;
                return Next::Answered;
            }
        }
        (Ok(PR_SET_SYSCALL_USER_DISPATCH), mode) if mode != OFF => {
            if !is_filtered() {
                lazy::end();
            }
            if call.block.trap.armed != 0 && !is_filtered() {
                trap::own::leave(call.block);
            }
            trap::say_native(b"while the program dispatches system calls itself");
            if execute(call.frame) == 0 {
                // Calls of ours would be signals of its own, from this one on.
                FILTERED.store(true, Ordering::Relaxed);
                trap::end();
            } else if trap::is_stale(call.block) {
                trap::own::arm(call.block);
            }
            return Next::Answered;
        }
        _ => {}
    }
    Next::Run
}

/// Executes a call in place: the result is left where the program will find it, and is answered. For calls that never
/// wait for anything; then [`Next::Answered`] is what has become of them.
pub fn execute(frame: &mut Frame) -> i64 {
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
    let arguments = [rdi, rsi, rdx, r10, r8, r9].map(|a| a as usize);
    // SAFETY: what the program wants, as the hooks have left it.
    let result = unsafe { arch::program_syscall(rax as u32, arguments) } as i64;
    frame.rax = result as u64;
    result
}

/// `gs` is the program's where it asks for it, and what it sees of ours is what it would see natively.
fn arch_prctl(call: &mut Call<'_>) -> Next {
    let Frame { rdi, rsi, .. } = *call.frame;
    match u32::try_from(rdi) {
        // It stays what the program believes it to be.
        Ok(ARCH_SET_GS) if rsi == 0 => {
            call.frame.rax = 0;
            Next::Answered
        }
        Ok(ARCH_SET_GS) => {
            give_gs_away(call.block);
            // Nothing on the way back to the program looks at gs.
            execute(call.frame);
            Next::Answered
        }
        Ok(ARCH_SET_FS) => {
            if execute(call.frame) == 0 {
                call.block.minus_fs = rsi.wrapping_neg();
            }
            Next::Answered
        }
        Ok(ARCH_GET_GS) if sys::is_writable(rsi) => {
            let base = core::ptr::with_exposed_provenance_mut::<u64>(rsi as usize);
            // SAFETY: the program asked for a word there, and it can be written.
            unsafe { base.write_unaligned(0) };
            call.frame.rax = 0;
            Next::Answered
        }
        _ => Next::Run,
    }
}

/// From here on nothing of ours relies on `gs`.
fn give_gs_away(block: &mut Block) {
    lazy::end();
    trap::give_up(Some(block), b"the program sets gs itself");
    areas::unhook("the program sets gs itself");
}

/// The same for the instructions `rdgsbase` and `wrgsbase`. Answers whether nothing is left to be executed.
pub fn gs_base(call: &mut Call<'_>) -> bool {
    /// Addresses of more bits no processor has: it faults.
    const BITS: u32 = 57;
    let site = call.known.site;
    let (rex, modrm) = match site.bytes.get(..site.len.into()) {
        Some(&[_, _, _, modrm]) => (0, modrm),
        Some(&[_, rex, _, _, modrm]) => (rex, modrm),
        _ => return false,
    };
    let register = register(call.frame, modrm & 7 | (rex & 1) << 3);
    match site.kind {
        kind::RDGSBASE => {
            *register = 0;
            true
        }
        kind::WRGSBASE => {
            let wide = rex & 8 != 0;
            let base = if wide {
                *register
            } else {
                *register & 0xffff_ffff
            };
            let unused = 64 - BITS;
            if base != 0 && base.cast_signed() << unused >> unused == base.cast_signed() {
                give_gs_away(call.block);
            }
            base == 0
        }
        _ => false,
    }
}

/// The register of that number.
fn register(frame: &mut Frame, number: u8) -> &mut u64 {
    match number {
        0 => &mut frame.rax,
        1 => &mut frame.rcx,
        2 => &mut frame.rdx,
        3 => &mut frame.rbx,
        4 => &mut frame.rsp,
        5 => &mut frame.rbp,
        6 => &mut frame.rsi,
        7 => &mut frame.rdi,
        8 => &mut frame.r8,
        9 => &mut frame.r9,
        10 => &mut frame.r10,
        11 => &mut frame.r11,
        12 => &mut frame.r12,
        13 => &mut frame.r13,
        14 => &mut frame.r14,
        _ => &mut frame.r15,
    }
}

/// Whether a system call that the program has not made could be the end of it.
#[must_use]
pub fn is_filtered() -> bool {
    FILTERED.load(Ordering::Relaxed)
}

/// A word of what `clone3` is given.
fn clone3_field(at: u64) -> Option<u64> {
    if is_filtered() {
        let word = core::ptr::with_exposed_provenance::<u64>(at as usize);
        // SAFETY: the kernel cannot be asked whether it is there; the program says so.
        return Some(unsafe { word.read_unaligned() });
    }
    sys::peek(at as usize).map(|word| word as u64)
}

fn shares_memory(flags: u64) -> bool {
    flags & u64::from(k::CLONE_VM) != 0
}

/// The event that a child's hooks are told.
///
/// A child of `vfork` runs on in its parent's memory, which waits for it: its hooks' state is the parent's, and nothing
/// has begun for them.
fn told(flags: u64) -> Option<u32> {
    let vfork = flags & u64::from(k::CLONE_VFORK) != 0;
    match (shares_memory(flags), vfork) {
        (false, _) => Some(event::FORK_CHILD),
        (true, true) if flags & u64::from(k::CLONE_THREAD) == 0 => None,
        (true, _) => Some(event::THREAD_START),
    }
}

/// Reserves the child's block. `tls`: the base of its `fs`, if the flags say that it gets one.
fn birth(call: &mut Call<'_>, begun: &Begun<'_>, flags: u64, tls: Option<u64>) -> Next {
    let shares = shares_memory(flags);
    if shares || flags & k::CLONE_CLEAR_SIGHAND != 0 {
        lazy::end();
    }
    if !shares && let Some(result) = hosted::fork(call.frame, &call.block.hosted) {
        if result == 0 {
            forked(call);
        }
        return Next::Answered;
    }
    let Ok(born) = thread::take() else {
        if !hooks::are_there() {
            return Next::Run; // its calls will not be looked at
        }
        call.frame.rax = u64::from(Errno::AGAIN.0).wrapping_neg();
        return Next::Answered;
    };
    // SAFETY: I12: taken just now.
    let block = unsafe { &mut *born };
    block.birth = Birth {
        given: *begun.given,
        next: begun.next,
        id: begun.id,
        afters: begun.afters,
        flags,
    };
    let own_fs = flags & u64::from(k::CLONE_SETTLS) != 0;
    block.minus_fs = match tls.filter(|_| own_fs) {
        Some(tls) => tls.wrapping_neg(),
        None => call.block.minus_fs,
    };
    // Where memory is copied, either side has a block of its own to give back.
    block.users = AtomicU32::new(if shares { 2 } else { 1 });
    if told(flags) != Some(event::THREAD_START) {
        block.slots = call.block.slots;
    }
    match told(flags) {
        Some(event::THREAD_START) => {
            // SAFETY: I12: as above.
            if unsafe { hosted::give(&call.block.hosted, block) }.is_err() {
                // SAFETY: I12: there will be no child.
                unsafe { thread::push(born) };
                call.frame.rax = u64::from(Errno::AGAIN.0).wrapping_neg();
                return Next::Answered;
            }
        }
        // It runs while this thread waits.
        None => block.hosted = call.block.hosted.lent(),
        Some(_) => block.hosted = hosted::copied(&call.block.hosted),
    }
    if !shares || flags & u64::from(k::CLONE_VFORK) != 0 {
        // As the kernel has it: only a thread that shares memory begins without one.
        block.signal.alternate = call.block.signal.alternate;
        block.trap.stack = call.block.trap.stack;
    }
    if flags & k::CLONE_CLEAR_SIGHAND != 0 {
        block.signal.faults.never_come();
    }
    if call.block.trap.armed != 0 {
        block.trap.blocked = call.block.trap.blocked;
    }
    call.frame.r9 = born.addr() as u64;
    Next::Go(entry::birth_call as *const () as u64)
}

/// In the child of a fork that was made in place, on its parent's block.
fn forked(call: &mut Call<'_>) {
    // SAFETY: memory is this process's alone, and this thread its only one.
    unsafe { thread::forget_others(call.block) };
    // SAFETY: as above.
    unsafe { late::forked() };
    // SAFETY: as above.
    unsafe { hosted::forked(&mut call.block.hosted) };
    call.event(event::FORK_CHILD);
}

/// Behind the call: settles whose `born` is. Answers what hooks are to be told.
///
/// # Safety
/// I12: `born` is the block that [`before`] has reserved for this call, and `birth` what stands in it.
pub unsafe fn born(call: &mut Call<'_>, born: *mut Block, birth: &Birth) -> Option<u32> {
    let shares = shares_memory(birth.flags);
    if core::ptr::from_ref(&*call.block) == born.cast_const() {
        if !shares {
            // SAFETY: memory is this process's alone, and this thread its only one.
            unsafe { thread::forget_others(born) };
            // SAFETY: as above.
            unsafe { late::forked() };
            // SAFETY: as above.
            let own = unsafe { &mut (*born).hosted };
            // SAFETY: as above.
            unsafe { hosted::forked(own) };
        } else if told(birth.flags).is_some() {
            // SAFETY: I12: this thread's own.
            unsafe { (*born).hosted.adopt() };
        }
        trap::own::born(call.block);
        return told(birth.flags);
    }
    let failed = (call.frame.rax as i64) < 0;
    let over = birth.flags & u64::from(k::CLONE_VFORK) != 0; // the child has left this memory
    if failed || over {
        // SAFETY: I12: there is no child, or no more, that would use it.
        hosted::end(unsafe { &mut (*born).hosted });
    }
    if shares && !failed && !over {
        // SAFETY: the parent's part in it ends here.
        unsafe { thread::release(born) };
    } else {
        // SAFETY: there is no child, or it has a copy, or it uses ours no more.
        unsafe { thread::push(born) };
    }
    None
}
