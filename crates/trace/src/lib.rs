//! The hook of `hotpatch trace`: each call is told into a ring that the command reads.
//!
//! Built for the library's own target and carried by the command, as the library is. Telling a call takes no lock. Of
//! system calls it makes those that copy the program's memory, which a bad address cannot hurt, and more only where the
//! ring is full.

#![cfg_attr(target_os = "none", no_std)]

mod borrow;
mod descriptors;
mod pool;
mod ring;
mod rules;

use core::arch::x86_64::_rdtsc;

use hotpatch_events::{kind, links, tell};
use hotpatch_hook::{
    Context, Errno, Event, Hook, Interrupted, Setting, Signal, Verdict, export_hook, nr, syscall,
};
use hotpatch_names::{Limits, REGISTERS, Request, Shape, When, captures};

use ring::{Ring, Writer};

/// Where the rings are: the path of a file that the reader has made.
static EVENTS: Setting<256> = Setting::new("LIBHOTPATCH_EVENTS");

/// Bytes of a `siginfo_t`.
const SIGINFO: usize = 128;
/// Bytes of a stack that are kept.
const STACK: usize = 1 << 14;

/// Structures lead to others no further than that.
const DEPTH: u32 = 4;

struct Trace;

export_hook! {
    static TRACE: Trace = Trace;
}

impl Hook for Trace {
    const READS_ONLY: bool = true;
    const SIGNALS: bool = true;

    fn start(&self) -> Result<(), Errno> {
        EVENTS.load()?;
        ring::open(EVENTS.get().ok_or(Errno::ENOENT)?)
    }

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        if context.number() == nr::RT_SIGRETURN {
            return Verdict::Run; // told by `signal`
        }
        let Some(ring) = ring(context.slot()) else {
            return Verdict::Run;
        };
        let args = context.arguments();
        let applied = rules::look(&ring, context.number(), &args);
        // An exec that succeeds has no end.
        if ring::tell() != tell::ALL && !matches!(context.number(), nr::EXECVE | nr::EXECVEAT) {
            ring.begins(context.frame().rsp, now());
        } else {
            tell(&ring, kind::ENTRY, context, 0);
        }
        let answer = applied.and_then(|applied| rules::before(&ring, &applied, &args));
        match answer {
            None => Verdict::RunAndReturn,
            Some((result, flags)) => {
                ring.ends(context.frame().rsp, now());
                tell(&ring, kind::EXIT | flags, context, result);
                context.answer(result)
            }
        }
    }

    fn after(&self, context: &mut Context<'_>) {
        let Some(ring) = ring(context.slot()) else {
            return;
        };
        let (number, result) = (context.number(), context.frame().rax);
        descriptors::watch(number, &context.arguments(), result);
        let flags = rules::after(&ring, &context.arguments());
        let told = ring::tell();
        let mut time = 0;
        if told != tell::ALL {
            time = now();
            ring.ends(context.frame().rsp, time);
        }
        match number {
            nr::CLONE | nr::CLONE3 | nr::FORK | nr::VFORK => {
                // The child of a vfork writes to its parent's ring until it execs.
                ring.tells_of_caller();
                if result == 0 {
                    return;
                }
            }
            // Their beginning has been told.
            nr::EXECVE | nr::EXECVEAT => {}
            _ if told == tell::SUMS && ring.sums_up(number, result, time) => return,
            _ => {}
        }
        tell(&ring, kind::EXIT | flags, context, result);
    }

    fn signal(&self, signal: &mut Signal<'_>) {
        if let Some(ring) = ring(signal.slot()) {
            tell_signal(&ring, signal);
        }
    }

    fn event(&self, event: Event, slot: &mut u64) {
        match event {
            Event::ThreadStart | Event::ForkChild => {
                *slot = 0;
                ring(slot);
            }
            Event::ThreadEnd | Event::Exit => {
                if let Some(ring) = Ring::of(*slot) {
                    if let Some(mut writer) = ring.write(now()) {
                        let number = match event {
                            Event::Exit => nr::EXIT_GROUP,
                            _ => nr::EXIT,
                        };
                        writer.call(0, number.into(), &end(), 0);
                        writer.finish(kind::END);
                    }
                    ring.done();
                }
                *slot = Ring::NONE;
            }
            _ => {}
        }
    }
}

/// Tells of a signal.
fn tell_signal(ring: &Ring, signal: &Signal<'_>) {
    let flags = match signal.interrupted() {
        Interrupted::None => 0,
        Interrupted::Before => kind::BEFORE,
        Interrupted::Ended => kind::ENDED,
        Interrupted::Again => kind::AGAIN,
        Interrupted::AgainUnseen => kind::AGAIN_UNSEEN,
    };
    let Some(mut writer) = ring.write(now()) else {
        return;
    };
    let number = u64::from(signal.number());
    let frame = signal.frame();
    let Some(info) = signal.info() else {
        let args = [signal.mask(), 0, 0, 0, 0, 0];
        writer.call(0, number, &args, frame.rax);
        return writer.finish(kind::RETURN | flags);
    };
    let args = [
        frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9,
    ];
    let site = signal.site().map_or(0, |site| site.address());
    writer.call(site, number, &args, frame.rax);
    if ring::tell() == tell::ALL {
        writer.chunk(info, SIGINFO, false);
        if flags == kind::ENDED {
            keep_all(&mut writer, number, &args, When::Exit, frame.rax);
        }
    }
    writer.finish(kind::SIGNAL | flags);
}

/// The ring of the thread that this is the slot of, taken where it has none yet.
fn ring(slot: &mut u64) -> Option<Ring> {
    if *slot != 0 {
        return Ring::of(*slot);
    }
    let (ring, first) = Ring::take();
    *slot = ring.as_ref().map_or(Ring::NONE, Ring::slot);
    let ring = ring?;
    if let Some(mut writer) = ring.write(now()) {
        writer.call(0, 0, &[user(), 0, 0, 0, 0, 0], 0);
        writer.finish(if first { kind::PROGRAM } else { kind::THREAD });
    }
    if ring::links() & links::STACKS != 0 {
        ring.is_read();
    }
    Some(ring)
}

/// Who the process belongs to.
fn user() -> u64 {
    if descriptors::are_silent() {
        return 0;
    }
    // SAFETY: asks for a number.
    unsafe { syscall(nr::GETUID, [0; 6]) }.unwrap_or(0)
}

/// What is told of a process that ends: who it belongs to, and what it took.
fn end() -> [u64; 6] {
    if ring::tell() != tell::ALL || descriptors::are_silent() {
        return [0; 6];
    }
    let mut times = [0u64; 4];
    let at = times.as_mut_ptr().addr() as u64;
    // SAFETY: writes to `times`.
    let _ = unsafe { syscall(nr::TIMES, [at, 0, 0, 0, 0, 0]) };
    let [own, kernel, ..] = times;
    [user(), own, kernel, 0, 0, 0]
}

fn now() -> u64 {
    // SAFETY: every processor has the instruction; a program that forbids it (`PR_SET_TSC`) is told of by its signal.
    unsafe { _rdtsc() }
}

fn tell(ring: &Ring, what: u32, context: &Context<'_>, result: u64) {
    let Some(mut writer) = ring.write(now()) else {
        return;
    };
    let number = u64::from(context.number());
    let args = context.arguments();
    writer.call(context.site().address(), number, &args, result);
    // Which program comes next is always told.
    let execs = what == kind::ENTRY && matches!(context.number(), nr::EXECVE | nr::EXECVEAT);
    if ring::tell() != tell::ALL && !execs {
        writer.finish(what);
        return;
    }
    let when = if what & kind::MASK == kind::ENTRY {
        When::Entry
    } else {
        When::Exit
    };
    let stacks = ring::links() & links::STACKS != 0;
    if when == When::Entry && stacks && pool::is_told(number) {
        keep_stack(&mut writer, context);
    }
    keep_all(&mut writer, number, &args, when, result);
    writer.finish(what);
}

/// Keeps what a call's descriptors and arguments lead to.
fn keep_all(writer: &mut Writer<'_>, number: u64, args: &[u64; 6], when: When, result: u64) {
    let limits = ring::limits();
    let links = descriptors::are_asked_for(number);
    if links {
        for fd in hotpatch_names::descriptors(number, args, when, result) {
            descriptors::keep(writer, fd);
        }
    }
    // What is to be filled holds anything.
    let fills = when == When::Entry && matches!(number as u32, nr::RECVMSG | nr::RECVMMSG);
    captures(number, args, when, result, limits, |request| {
        keep(writer, &request, limits, links && !fills, 0);
    });
}

/// Keeps what says who has called.
fn keep_stack(writer: &mut Writer<'_>, context: &Context<'_>) {
    let frame = context.frame();
    let (stack, base) = (frame.rsp, frame.rbp);
    writer.fill(REGISTERS, 16, |into| {
        let (words, _) = into.as_chunks_mut::<8>();
        for (word, value) in words.iter_mut().zip([stack, base]) {
            *word = value.to_le_bytes();
        }
        Some(16)
    });
    writer.chunk(stack, STACK, false);
}

/// Keeps what `request` asks for, and what that leads to; with `links` also what descriptors among that lead to.
fn keep(writer: &mut Writer<'_>, request: &Request, limits: Limits, links: bool, depth: u32) {
    let to_zero = request.shape == Shape::Text;
    let Some(bytes) = writer.chunk(request.address, request.length, to_zero) else {
        return;
    };
    if links {
        for fd in request.descriptors(bytes) {
            descriptors::keep(writer, fd);
        }
    }
    if depth < DEPTH {
        for nested in request.nested(bytes, limits) {
            keep(writer, &nested, limits, links, depth + 1);
        }
    }
}
