//! From the interface's functions to the trait's. For [`export_hook!`](crate::export_hook!).

use core::ffi::{CStr, c_char};
use core::fmt;
use core::ptr;

use hotpatch_abi::{self as abi, ABI, event, verdict};

use crate::{Context, Event, Frame, Hook, Signal, Site, Verdict, runtime};

/// Where the one value of a hook is.
pub trait Entry: 'static {
    /// Its type.
    type Hook: Hook;
    /// The value.
    fn hook() -> &'static Self::Hook;
}

/// What is exported.
#[derive(Debug)]
#[repr(transparent)]
pub struct Exported(abi::Hook);

// SAFETY: never written, and what it points to neither.
unsafe impl Sync for Exported {}

/// Describes a hook to the runtime.
#[must_use]
pub const fn exported<E: Entry>(name: &'static CStr) -> Exported {
    let mut flags = 0;
    if <E::Hook as Hook>::ARGUMENTS_ONLY {
        flags |= abi::ARGUMENTS_ONLY;
    }
    if <E::Hook as Hook>::READS_ONLY {
        flags |= abi::READS_ONLY;
    }
    if <E::Hook as Hook>::SIGNALS {
        flags |= abi::SIGNALS;
    }
    if !<E::Hook as Hook>::THREAD_STATE {
        flags |= abi::NO_THREAD_STATE;
    }
    let name: *const c_char = name.as_ptr();
    Exported(abi::Hook {
        abi: ABI,
        size: size_of::<abi::Hook>() as u32,
        name,
        flags,
        vectors: <E::Hook as Hook>::VECTORS,
        syscalls: <E::Hook as Hook>::SYSCALLS.as_abi(),
        kinds: <E::Hook as Hook>::KINDS.bits(),
        select: if <E::Hook as Hook>::SELECTS {
            Some(select::<E>)
        } else {
            None
        },
        start: Some(start::<E>),
        before: Some(before::<E>),
        after: Some(after::<E>),
        event: Some(event::<E>),
        reserved: ptr::null(),
    })
}

unsafe extern "C" fn start<E: Entry>(services: *const abi::Services) -> i32 {
    // SAFETY: the runtime's lives as long as the process.
    unsafe { runtime::set(services) };
    let work = || E::hook().start();
    guarded(work).map_or_else(|e| i32::from(e.number()), |()| 0)
}

unsafe extern "C" fn select<E: Entry>(_: *const abi::Services, site: *const abi::Site) -> bool {
    // SAFETY: the runtime's, for the call.
    let site = Site::new(unsafe { &*site });
    guarded(|| E::hook().select(site))
}

unsafe extern "C" fn before<E: Entry>(context: *mut abi::Context, frame: *mut Frame) -> u32 {
    // SAFETY: the runtime's, for the call, and nobody else's.
    let context = unsafe { &mut *context };
    // SAFETY: as above.
    let frame = unsafe { &mut *frame };
    // SAFETY: as above.
    let mut context = unsafe { Context::new(context, frame) };
    match guarded(|| E::hook().before(&mut context)) {
        Verdict::Run => verdict::RUN,
        Verdict::RunAndReturn => verdict::RUN_AND_RETURN,
        Verdict::Answer => verdict::ANSWER,
    }
}

unsafe extern "C" fn after<E: Entry>(context: *mut abi::Context, frame: *mut Frame) {
    // SAFETY: the runtime's, for the call, and nobody else's.
    let context = unsafe { &mut *context };
    // SAFETY: as above.
    let frame = unsafe { &mut *frame };
    // SAFETY: as above.
    let mut context = unsafe { Context::new(context, frame) };
    guarded(|| E::hook().after(&mut context));
}

unsafe extern "C" fn event<E: Entry>(context: *mut abi::Context, event: u32) {
    let event = match event {
        event::THREAD_START => Event::ThreadStart,
        event::THREAD_END => Event::ThreadEnd,
        event::FORK_CHILD => Event::ForkChild,
        event::BEFORE_EXEC => Event::BeforeExec,
        event::EXIT => Event::Exit,
        event::SIGNAL | event::SIGNAL_RETURN => {
            // SAFETY: the runtime's, for the call, and nobody else's.
            let context = unsafe { &mut *context };
            // SAFETY: not null in these events.
            let signal = unsafe { &*context.signal };
            let mut signal = Signal::new(context, signal);
            return guarded(|| E::hook().signal(&mut signal));
        }
        // One of a later version.
        _ => return,
    };
    // SAFETY: the runtime's, for the call.
    let context = unsafe { &*context };
    // SAFETY: this thread's alone.
    let slot = unsafe { &mut *context.slot };
    guarded(|| E::hook().event(event, slot));
}

/// Runs a hook's own code. A panic ends the hook; it must not come to the runtime, which knows nothing of unwinding.
#[cfg(feature = "std")]
fn guarded<T>(work: impl FnOnce() -> T) -> T {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    caught.unwrap_or_else(|said| {
        let text = said.downcast_ref::<std::string::String>();
        let text = text.map(|text| text.as_str());
        let text = text.or_else(|| said.downcast_ref::<&str>().copied());
        runtime::fail(format_args!("{}", text.unwrap_or("a panic")))
    })
}

/// The same where a panic does not unwind: its handler ends the hook.
#[cfg(not(feature = "std"))]
fn guarded<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Ends a hook that has panicked.
pub fn panicked(message: fmt::Arguments<'_>, file: &str, line: u32) -> ! {
    runtime::fail(format_args!("{message} ({file}:{line})"))
}

/// Makes a hook of a binary: exports the value of a static, under the name of the package.
///
/// To be used once in a binary. For `x86_64-unknown-none` it has the panic handler too.
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use hotpatch_hook::{Context, Hook, Verdict, export_hook};
///
/// struct Count(AtomicU64);
///
/// impl Hook for Count {
///     fn before(&self, _: &mut Context<'_>) -> Verdict {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         Verdict::Run
///     }
/// }
///
/// export_hook! {
///     static COUNT: Count = Count(AtomicU64::new(0));
/// }
/// # fn main() { assert_eq!(COUNT.0.load(Ordering::Relaxed), 0); }
/// ```
#[macro_export]
macro_rules! export_hook {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = $value:expr;) => {
        $(#[$attribute])*
        static $name: $type = $value;

        const _: () = {
            struct Entry;

            impl $crate::export::Entry for Entry {
                type Hook = $type;
                fn hook() -> &'static $type {
                    &$name
                }
            }

            const NAME: &::core::ffi::CStr =
                match ::core::ffi::CStr::from_bytes_with_nul(
                    ::core::concat!(::core::env!("CARGO_PKG_NAME"), "\0").as_bytes(),
                ) {
                    ::core::result::Result::Ok(name) => name,
                    ::core::result::Result::Err(_) => ::core::panic!("a name with a zero in it"),
                };

            // The name is the interface's (`hotpatch_abi::SYMBOL`).
            #[allow(non_upper_case_globals)]
            #[unsafe(no_mangle)]
            #[used]
            static hotpatch_hook: $crate::export::Exported =
                $crate::export::exported::<Entry>(NAME);

            #[cfg(all(target_os = "none", target_feature = "sse"))]
            ::core::compile_error!("a freestanding hook must leave vector registers alone: do not enable them");

            #[cfg(target_os = "none")]
            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                let (file, line) = match info.location() {
                    ::core::option::Option::Some(place) => (place.file(), place.line()),
                    ::core::option::Option::None => ("?", 0),
                };
                $crate::export::panicked(::core::format_args!("{}", info.message()), file, line)
            }
        };
    };
}
