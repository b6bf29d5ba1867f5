//! Structures of the kernel's, field by field.

use crate::flags;
use crate::kind::{
    Field,
    Kind::{self, *},
    Struct,
    What::*,
};

const fn f(name: &'static str, offset: u16, kind: Kind) -> Field {
    Field { name, offset, kind }
}

macro_rules! structs {
    ($($(#[$doc:meta])* $name:ident $size:literal $brief:literal [$($field:expr),* $(,)?])*) => {
        $($(#[$doc])* pub static $name: Struct = Struct { size: $size, brief: $brief, fields: &[$($field),*] };)*
    };
}

structs! {
    /// `struct timespec`.
    TIMESPEC 16 9 [f("tv_sec", 0, Long), f("tv_nsec", 8, Long)]
    /// `struct timeval`.
    TIMEVAL 16 9 [f("tv_sec", 0, Long), f("tv_usec", 8, Long)]
    /// `struct itimerspec`.
    ITIMERSPEC 32 9 [f("it_interval", 0, Nested(&TIMESPEC)), f("it_value", 16, Nested(&TIMESPEC))]
    /// `struct itimerval`.
    ITIMERVAL 32 9 [f("it_interval", 0, Nested(&TIMEVAL)), f("it_value", 16, Nested(&TIMEVAL))]
    /// `struct timezone`.
    TIMEZONE 8 9 [f("tz_minuteswest", 0, Int), f("tz_dsttime", 4, Int)]
    /// `struct rlimit`.
    RLIMIT 16 9 [f("rlim_cur", 0, Limit), f("rlim_max", 8, Limit)]
    /// `struct epoll_event`.
    EPOLL_EVENT 12 9 [f("events", 0, Flags(&flags::EPOLL_EVENTS)), f("data", 4, Nested(&EPOLL_DATA))]
    /// `epoll_data_t`.
    EPOLL_DATA 8 9 [f("u32", 0, Uint), f("u64", 0, Ulong)]
    /// `struct pollfd` as it is asked.
    POLLFD 8 9 [f("fd", 0, Fd), f("events", 4, Flags16(&flags::POLL))]
    /// `struct flock`.
    FLOCK 32 9 [f("l_type", 0, Enum16(&flags::LOCK_TYPE)), f("l_whence", 2, Enum16(&flags::WHENCE)), f("l_start", 8, Long), f("l_len", 16, Long)]
    /// `struct flock` as it is answered.
    FLOCK_OUT 32 9 [f("l_type", 0, Enum16(&flags::LOCK_TYPE)), f("l_whence", 2, Enum16(&flags::WHENCE)), f("l_start", 8, Long), f("l_len", 16, Long), f("l_pid", 24, Int)]
    /// `struct f_owner_ex`.
    OWNER 8 9 [f("type", 0, Enum(&OWNERS)), f("pid", 4, Int)]
    /// `struct winsize`.
    WINSIZE 8 9 [f("ws_row", 0, Ushort), f("ws_col", 2, Ushort), f("ws_xpixel", 4, Ushort), f("ws_ypixel", 6, Ushort)]
    /// `struct utsname`.
    UTSNAME 390 2 [f("sysname", 0, Chars(65)), f("nodename", 65, Chars(65)), f("release", 130, Chars(65)), f("version", 195, Chars(65)), f("machine", 260, Chars(65)), f("domainname", 325, Chars(65))]
    /// `struct sysinfo`.
    SYSINFO 112 99 [f("uptime", 0, Long), f("loads", 8, Row(&Ulong, 3)), f("totalram", 32, Ulong), f("freeram", 40, Ulong), f("sharedram", 48, Ulong), f("bufferram", 56, Ulong), f("totalswap", 64, Ulong), f("freeswap", 72, Ulong), f("procs", 80, Ushort), f("totalhigh", 88, Ulong), f("freehigh", 96, Ulong), f("mem_unit", 104, Uint)]
    /// `struct tms`.
    TMS 32 9 [f("tms_utime", 0, Long), f("tms_stime", 8, Long), f("tms_cutime", 16, Long), f("tms_cstime", 24, Long)]
    /// `struct rusage`.
    RUSAGE 144 2 [f("ru_utime", 0, Nested(&TIMEVAL)), f("ru_stime", 16, Nested(&TIMEVAL)), f("ru_maxrss", 32, Ulong), f("ru_ixrss", 40, Ulong), f("ru_idrss", 48, Ulong), f("ru_isrss", 56, Ulong), f("ru_minflt", 64, Ulong), f("ru_majflt", 72, Ulong), f("ru_nswap", 80, Ulong), f("ru_inblock", 88, Ulong), f("ru_oublock", 96, Ulong), f("ru_msgsnd", 104, Ulong), f("ru_msgrcv", 112, Ulong), f("ru_nsignals", 120, Ulong), f("ru_nvcsw", 128, Ulong), f("ru_nivcsw", 136, Ulong)]
    /// `struct statfs`.
    STATFS 120 99 [f("f_type", 0, Enum64(&flags::FS_MAGIC)), f("f_bsize", 8, Long), f("f_blocks", 16, Ulong), f("f_bfree", 24, Ulong), f("f_bavail", 32, Ulong), f("f_files", 40, Ulong), f("f_ffree", 48, Ulong), f("f_fsid", 56, Nested(&FSID)), f("f_namelen", 64, Long), f("f_frsize", 72, Long), f("f_flags", 80, Flags64(&STATFS_VALID))]
    /// `__kernel_fsid_t`.
    FSID 8 9 [f("val", 0, Row(&Hex32, 2))]
    /// `struct sched_param`.
    SCHED_PARAM 4 9 [f("", 0, Int)]
    /// `struct sched_attr`.
    SCHED_ATTR 48 99 [f("size", 0, Uint), f("sched_policy", 4, Enum(&flags::SCHED)), f("sched_flags", 8, Flags64(&flags::SCHED_FLAGS)), f("sched_nice", 16, Int), f("sched_priority", 20, Uint), f("sched_runtime", 24, Ulong), f("sched_deadline", 32, Ulong), f("sched_period", 40, Ulong)]
    /// `struct open_how`.
    OPEN_HOW 24 9 [f("flags", 0, Flags64(&flags::OPEN)), f("resolve", 16, Flags64(&flags::RESOLVE))]
    /// `struct open_how` of a file that may be made.
    OPEN_HOW_MODE 24 9 [f("flags", 0, Flags64(&flags::OPEN)), f("mode", 8, Octal), f("resolve", 16, Flags64(&flags::RESOLVE))]
    /// `stack_t`.
    STACK 24 9 [f("ss_sp", 0, Pointer), f("ss_flags", 8, Flags(&flags::ALTSTACK)), f("ss_size", 16, Ulong)]
    /// `struct utimbuf`.
    UTIMBUF 16 9 [f("actime", 0, Long), f("modtime", 8, Long)]
    /// `cap_user_header_t`.
    CAP_HEADER 8 9 [f("version", 0, Enum(&CAP_VERSION)), f("pid", 4, Int)]
    /// `struct sigevent`.
    SIGEVENT 64 9 [f("sigev_value", 0, Nested(&SIGVAL)), f("sigev_signo", 8, Signal), f("sigev_notify", 12, Enum(&flags::SIGEV))]
    /// `union sigval`.
    SIGVAL 8 9 [f("sival_int", 0, Int), f("sival_ptr", 0, Pointer)]
    /// What `rt_sigreturn` finds in the frame of a signal.
    FRAME 8 9 [f("mask", 0, Mask)]
    /// `struct sembuf`.
    SEMBUF 6 9 [f("sem_num", 0, Ushort), f("sem_op", 2, Short), f("sem_flg", 4, Flags16(&flags::SEM_FLAGS))]
    /// `struct timex`.
    TIMEX 208 99 [f("modes", 0, Flags(&flags::ADJTIME)), f("offset", 8, Long), f("freq", 16, Long), f("maxerror", 24, Long), f("esterror", 32, Long), f("status", 40, Flags(&flags::CLOCK_STATUS)), f("constant", 48, Long), f("precision", 56, Long), f("tolerance", 64, Long), f("time", 72, Nested(&TIMEVAL)), f("tick", 88, Long), f("ppsfreq", 96, Long), f("jitter", 104, Long), f("shift", 112, Int), f("stabil", 120, Long), f("jitcnt", 128, Long), f("calcnt", 136, Long), f("errcnt", 144, Long), f("stbcnt", 152, Long), f("tai", 160, Int)]
    /// What `pselect6` gets in place of a set of signals.
    PSELECT 16 9 [f("sigmask", 0, In(Signals)), f("sigsetsize", 8, Ulong)]
}

/// Flags of a file system with the one that says that they are there.
pub static STATFS_VALID: flags::Set = flags::Set::new(
    "ST_???",
    &[
        (0x20, "ST_VALID"),
        (1, "ST_RDONLY"),
        (2, "ST_NOSUID"),
        (4, "ST_NODEV"),
        (8, "ST_NOEXEC"),
        (0x10, "ST_SYNCHRONOUS"),
        (0x40, "ST_MANDLOCK"),
        (0x400, "ST_NOATIME"),
        (0x800, "ST_NODIRATIME"),
        (0x1000, "ST_RELATIME"),
        (0x2000, "ST_NOSYMFOLLOW"),
    ],
);

/// Versions of `capget`.
pub static CAP_VERSION: flags::Set = flags::Set::new(
    "_LINUX_CAPABILITY_VERSION_???",
    &[
        (0x1998_0330, "_LINUX_CAPABILITY_VERSION_1"),
        (0x2007_1026, "_LINUX_CAPABILITY_VERSION_2"),
        (0x2008_0522, "_LINUX_CAPABILITY_VERSION_3"),
    ],
);

/// To whom the owner of a descriptor belongs.
pub static OWNERS: flags::Set = flags::Set::new(
    "F_OWNER_???",
    &[(0, "F_OWNER_TID"), (1, "F_OWNER_PID"), (2, "F_OWNER_PGRP")],
);
