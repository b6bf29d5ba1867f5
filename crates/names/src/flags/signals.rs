//! Names of constants, as the headers of the kernel and the C library have them.

use super::Set;

/// Flags of `rt_sigaction`.
pub static SIGACTION: Set = Set::new(
    "SA_???",
    &[
        (0x4000000, "SA_RESTORER"),
        (0x8000000, "SA_ONSTACK"),
        (0x10000000, "SA_RESTART"),
        (0x20000000, "SA_INTERRUPT"),
        (0x40000000, "SA_NODEFER"),
        (0x80000000, "SA_RESETHAND"),
        (4, "SA_SIGINFO"),
        (1, "SA_NOCLDSTOP"),
        (2, "SA_NOCLDWAIT"),
    ],
);

/// How a mask changes.
pub static SIGPROCMASK: Set = Set::new(
    "SIG_???",
    &[(0, "SIG_BLOCK"), (1, "SIG_UNBLOCK"), (2, "SIG_SETMASK")],
);

/// Flags of `signalfd4`.
pub static SIGNALFD: Set = Set::new(
    "SFD_???",
    &[(0x80000, "SFD_CLOEXEC"), (0x800, "SFD_NONBLOCK")],
);

/// Flags of alternate stacks.
pub static ALTSTACK: Set = Set::over(
    "SS_???",
    0x3,
    &[(1, "SS_ONSTACK"), (2, "SS_DISABLE")],
    &[(0x80000000, "SS_AUTODISARM")],
);

/// How a timer tells.
pub static SIGEV: Set = Set::new(
    "SIGEV_???",
    &[
        (0, "SIGEV_SIGNAL"),
        (1, "SIGEV_NONE"),
        (2, "SIGEV_THREAD"),
        (4, "SIGEV_THREAD_ID"),
    ],
);
