//! Time that runs faster, or slower, for one program.
#![no_std]
#![no_main]

mod scale;

use core::arch::x86_64::_rdtsc;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hotpatch_hook::{
    Context, Errno, Event, Hook, Kind, Kinds, Setting, Site, SyscallSet, Verdict, export_hook, nr,
    syscall,
};
use scale::Scale;

/// How many times as fast: `10`, `0.5`.
static SPEED: Setting<16> = Setting::new("CLOCK");

/// Clocks that the program may ask for, by their number; those of processor time are left alone.
const CLOCKS: [usize; 7] = [0, 1, 4, 5, 6, 7, 11];
const SECOND: u64 = 1_000_000_000;

/// Seconds and nanoseconds.
type Time = [u64; 2];

struct Clock {
    speed: Scale,
    /// What each clock showed when the program began.
    begin: [AtomicU64; 12],
    tsc: AtomicU64,
}

impl Hook for Clock {
    const SYSCALLS: SyscallSet = SyscallSet::of(&[
        nr::CLOCK_GETTIME,
        nr::GETTIMEOFDAY,
        nr::TIME,
        nr::NANOSLEEP,
        nr::CLOCK_NANOSLEEP,
        nr::POLL,
        nr::EPOLL_WAIT,
        nr::EPOLL_PWAIT,
    ]);
    const KINDS: Kinds = Kinds::of(&[Kind::Syscall, Kind::Rdtsc, Kind::Rdtscp]);

    fn start(&self) -> Result<(), Errno> {
        SPEED.load()?;
        if let Some(text) = SPEED.get() {
            self.speed.set(text).ok_or(Errno::EINVAL)?;
        }
        for clock in CLOCKS {
            self.begin[clock].store(now(clock as u64).unwrap_or(0), Relaxed);
        }
        // SAFETY: every x86-64 processor has it.
        self.tsc.store(unsafe { _rdtsc() }, Relaxed);
        Ok(())
    }

    const SELECTS: bool = true;

    // The vDSO computes with the kernel's own numbers, which run as they do.
    fn select(&self, site: Site<'_>) -> bool {
        site.kind() == Kind::Syscall || site.file() != b"[vdso]"
    }

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        if context.site().kind() != Kind::Syscall {
            return self.tsc(context);
        }
        // What cannot be read is the kernel's to judge, as the program has it.
        let done = match context.number() {
            nr::CLOCK_GETTIME | nr::GETTIMEOFDAY | nr::TIME => return Verdict::RunAndReturn,
            nr::NANOSLEEP => self.sleep(context, 0, false, 1),
            nr::CLOCK_NANOSLEEP => {
                const ABSOLUTE: u64 = 1;
                let absolute = context.argument(1) & ABSOLUTE != 0;
                self.sleep(context, 2, absolute, context.argument(0))
            }
            // All have their milliseconds in the last argument but a mask; the first takes three.
            nr::POLL => self.wait(context, 2),
            _ => self.wait(context, 3),
        };
        match done {
            Ok(()) if matches!(context.number(), nr::NANOSLEEP | nr::CLOCK_NANOSLEEP) => {
                Verdict::RunAndReturn
            }
            _ => Verdict::Run,
        }
    }

    fn after(&self, context: &mut Context<'_>) {
        let result = context.result();
        let _ = match (context.number(), result) {
            (nr::CLOCK_GETTIME, Ok(_)) => {
                self.show(context, context.argument(0), context.argument(1), 1)
            }
            // Microseconds, of the clock of the day.
            (nr::GETTIMEOFDAY, Ok(_)) if context.argument(0) != 0 => {
                self.show(context, 0, context.argument(0), 1000)
            }
            (nr::TIME, Ok(seconds)) => {
                let shown = self.shown(0, seconds * SECOND) / SECOND;
                context.set_result(Ok(shown));
                match context.argument(0) {
                    0 => Ok(()),
                    at => context.write(at, &shown),
                }
            }
            // What is left of a sleep is told only if it was relative.
            (nr::NANOSLEEP, Err(Errno::EINTR)) => self.left(context, context.argument(1)),
            (nr::CLOCK_NANOSLEEP, Err(Errno::EINTR)) if context.argument(1) & 1 == 0 => {
                self.left(context, context.argument(3))
            }
            _ => Ok(()),
        };
    }

    fn event(&self, event: Event, slot: &mut u64) {
        if event == Event::ThreadEnd && *slot != 0 {
            // SAFETY: this thread's, and not used any more.
            let _ = unsafe { syscall(nr::MUNMAP, [*slot, 4096, 0, 0, 0, 0]) };
        }
    }
}

impl Clock {
    /// What the program sees when a clock really shows `time`.
    fn shown(&self, clock: u64, time: u64) -> u64 {
        match self
            .begin
            .get(clock as usize)
            .map(|begin| begin.load(Relaxed))
        {
            None | Some(0) => time,
            Some(begin) => begin + self.speed.up(time.saturating_sub(begin)),
        }
    }

    /// What a clock really shows when the program sees `time`.
    fn real(&self, clock: u64, time: u64) -> u64 {
        match self
            .begin
            .get(clock as usize)
            .map(|begin| begin.load(Relaxed))
        {
            None | Some(0) => time,
            Some(begin) => begin + self.speed.down(time.saturating_sub(begin)),
        }
    }

    /// Changes what the kernel has written at `at`: seconds, and a smaller unit of `unit` nanoseconds.
    fn show(&self, context: &Context<'_>, clock: u64, at: u64, unit: u64) -> Result<(), Errno> {
        let [seconds, parts] = context.read::<Time>(at)?;
        let time = self.shown(clock, seconds * SECOND + parts * unit);
        context.write(at, &[time / SECOND, time % SECOND / unit])
    }

    /// Makes the time to sleep, in argument `index`, what it is really.
    fn sleep(
        &self,
        context: &mut Context<'_>,
        index: usize,
        absolute: bool,
        clock: u64,
    ) -> Result<(), Errno> {
        let [seconds, nanoseconds] = context.read::<Time>(context.argument(index))?;
        if nanoseconds >= SECOND || seconds >= u64::MAX / SECOND {
            return Err(Errno::EINVAL);
        }
        let asked = seconds * SECOND + nanoseconds;
        let time = if absolute {
            self.real(clock, asked)
        } else {
            self.speed.down(asked)
        };
        let copy = keep(context.slot(), [time / SECOND, time % SECOND])?;
        context.set_argument(index, copy);
        Ok(())
    }

    /// Makes what is left of a sleep, which the kernel has written at `at`, what the program thinks it is.
    fn left(&self, context: &Context<'_>, at: u64) -> Result<(), Errno> {
        if at == 0 {
            return Ok(());
        }
        let [seconds, nanoseconds] = context.read::<Time>(at)?;
        let left = self.speed.up(seconds * SECOND + nanoseconds);
        context.write(at, &[left / SECOND, left % SECOND])
    }

    /// Makes milliseconds to wait, in argument `index`, what they are really; less than none is for ever.
    fn wait(&self, context: &mut Context<'_>, index: usize) -> Result<(), Errno> {
        let asked = context.argument(index) as i32;
        if asked > 0 {
            let real = self
                .speed
                .down(asked as u64 * 1_000_000)
                .div_ceil(1_000_000);
            context.set_argument(index, real.min(i32::MAX as u64));
        }
        Ok(())
    }

    /// Answers `rdtsc` and `rdtscp`.
    fn tsc(&self, context: &mut Context<'_>) -> Verdict {
        let begin = self.tsc.load(Relaxed);
        let mut processor = 0;
        // SAFETY: every x86-64 processor has it.
        let now = match context.site().kind() {
            // SAFETY: the program has asked for it itself.
            Kind::Rdtscp => unsafe { core::arch::x86_64::__rdtscp(&raw mut processor) },
            // SAFETY: every x86-64 processor has it.
            _ => unsafe { _rdtsc() },
        };
        let shown = begin.wrapping_add(self.speed.up(now.wrapping_sub(begin)));
        if context.site().kind() == Kind::Rdtscp {
            context.frame_mut().rcx = processor.into();
        }
        context.frame_mut().rax = shown & 0xffff_ffff;
        context.frame_mut().rdx = shown >> 32;
        Verdict::Answer
    }
}

/// Keeps a time where the kernel can read it during the call: on a page of this thread's.
fn keep(slot: &mut u64, time: Time) -> Result<u64, Errno> {
    if *slot == 0 {
        const READ_WRITE: u64 = 3;
        const PRIVATE_ANONYMOUS: u64 = 0x22;
        // SAFETY: makes a new mapping.
        *slot = unsafe {
            syscall(
                nr::MMAP,
                [0, 4096, READ_WRITE, PRIVATE_ANONYMOUS, u64::MAX, 0],
            )
        }?;
    }
    // SAFETY: this thread's alone, and long enough.
    unsafe { ptr::with_exposed_provenance_mut::<Time>(*slot as usize).write(time) };
    Ok(*slot)
}

/// What a clock shows, in nanoseconds.
fn now(clock: u64) -> Result<u64, Errno> {
    let mut time: Time = [0; 2];
    // SAFETY: writes to `time`.
    unsafe {
        syscall(
            nr::CLOCK_GETTIME,
            [clock, time.as_mut_ptr().addr() as u64, 0, 0, 0, 0],
        )
    }?;
    Ok(time[0] * SECOND + time[1])
}

export_hook! {
    static CLOCK: Clock = Clock {
        speed: Scale::one(),
        begin: [const { AtomicU64::new(0) }; 12],
        tsc: AtomicU64::new(0),
    };
}
