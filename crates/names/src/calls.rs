//! One row for each system call: its number, name, classes and arguments.
//!
//! Letters of classes: `f`ile, `d`escriptor, `p`rocess, `n`etwork, `s`ignal, `i`pc, `m`emory, `c`redentials, cloc`k`,
//! p`u`re, `S`tat, `L`stat, `F`stat, s`T`atfs, fstatfs `U`. A path makes a call one of files, a descriptor one of
//! descriptors, without a letter.

use crate::flags as set;
use crate::kind::{
    Answer,
    Count::{self, Arg, Exactly},
    Kind::{self, *},
    What::*,
};
use crate::structs as st;

/// What is known of a system call.
#[derive(Debug)]
pub struct Row {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: &'static str,
    /// Letters of classes.
    pub classes: &'static str,
    /// What it answers.
    pub answer: Answer,
    /// Its arguments, as far as they do not depend on each other.
    pub arguments: &'static [Kind],
}

/// Whether what a call answers is how many bytes it has moved from or to a file.
#[must_use]
pub const fn moves_bytes(number: u64) -> bool {
    // read, write, p…64, …v; sendfile; send…, recv…; p…v; splice, tee, vmsplice; copy_file_range, p…v2
    matches!(
        number,
        0 | 1 | 17..=20 | 40 | 44..=47 | 275 | 276 | 278 | 295 | 296 | 326..=328
    )
}

const PATH: Kind = In(Path);
const TEXT: Kind = In(Text);
const MASK: Kind = In(Signals);
const TIME_IN: Kind = In(Struct(&st::TIMESPEC));
const TIME_OUT: Kind = Out(Struct(&st::TIMESPEC));
const TIMES: Kind = In(List(&st::TIMESPEC, Exactly(2)));
const RUSAGE: Kind = Out(Struct(&st::RUSAGE));

const fn input(n: u8) -> Kind {
    In(Bytes(Arg(n)))
}

const fn output(n: u8) -> Kind {
    Out(Bytes(Count::Result(n)))
}

const fn of(set: &'static set::Set) -> Kind {
    Flags(set)
}

const fn one(set: &'static set::Set) -> Kind {
    Enum(set)
}

macro_rules! rows {
    ($($number:literal $name:ident $($classes:literal)? $(= $answer:ident)? ($($kind:expr),*);)*) => {
        /// Every system call, by number.
        pub static ROWS: &[Row] = &[$(Row {
            number: $number,
            name: stringify!($name),
            classes: concat!("", $($classes)?),
            answer: rows!(@ $($answer)?),
            arguments: &[$($kind),*],
        }),*];
    };
    (@) => { Answer::Number };
    (@ $answer:ident) => { Answer::$answer };
}

rows! {
    0 read (Fd, output(2), Ulong);
    1 write (Fd, input(2), Ulong);
    2 open = Fd (PATH, of(&set::OPEN), Octal);
    3 close (Fd);
    4 stat "S" (PATH, Out(Stat));
    5 fstat "F" (Fd, Out(Stat));
    6 lstat "L" (PATH, Out(Stat));
    7 poll "d" (InOut(List(&st::POLLFD, Arg(1))), Uint, Int);
    8 lseek (Fd, Long, one(&set::WHENCE));
    9 mmap "m" = Hex (Pointer, Ulong, of(&set::PROT), of(&set::MAP), Fd, Hex);
    10 mprotect "m" (Pointer, Ulong, of(&set::PROT));
    11 munmap "m" (Pointer, Ulong);
    12 brk "m" = Hex (Pointer);
    13 rt_sigaction "s" (Signal, In(Action), Out(Action), Ulong);
    14 rt_sigprocmask "s" (one(&set::SIGPROCMASK), MASK, Out(Signals), Ulong);
    15 rt_sigreturn "s" (In(Struct(&st::FRAME)));
    16 ioctl (Fd, one(&set::IOCTL), Hex);
    17 pread64 (Fd, output(2), Ulong, Long);
    18 pwrite64 (Fd, input(2), Ulong, Long);
    19 readv (Fd, Out(Filled(2)), Int);
    20 writev (Fd, In(Vectors(2)), Int);
    21 access (PATH, of(&set::ACCESS));
    22 pipe "d" (Out(Numbers(&Fd, Exactly(2))));
    23 select "d" (Int, InOut(Descriptors(0)), InOut(Descriptors(0)), InOut(Descriptors(0)), InOut(Struct(&st::TIMEVAL)));
    24 sched_yield ();
    25 mremap "m" = Hex (Pointer, Ulong, Ulong, of(&set::MREMAP), Pointer);
    26 msync "m" (Pointer, Ulong, of(&set::MSYNC));
    27 mincore "m" (Pointer, Ulong, Pointer);
    28 madvise "m" (Pointer, Ulong, one(&set::MADVISE));
    29 shmget "i" (Key, Ulong, Ipc(&set::SHM_GET));
    30 shmat "im" = Hex (Int, Pointer, of(&set::SHM_FLAGS));
    31 shmctl "i" (Int, one(&set::IPC_CMD), Pointer);
    32 dup = Fd (Fd);
    33 dup2 = Fd (Fd, Fd);
    34 pause "s" ();
    35 nanosleep "k" (TIME_IN, Out(Remaining(&st::TIMESPEC)));
    36 getitimer "k" (one(&set::ITIMER), Out(Struct(&st::ITIMERVAL)));
    37 alarm "k" (Uint);
    38 setitimer "k" (one(&set::ITIMER), In(Struct(&st::ITIMERVAL)), Out(Struct(&st::ITIMERVAL)));
    39 getpid "u" ();
    40 sendfile "n" (Fd, Fd, InOut(Number(&Long)), Ulong);
    41 socket "n" = Fd (one(&set::FAMILY), of(&set::SOCK), Protocol);
    42 connect "n" (Fd, In(Address(Arg(2))), Int);
    43 accept "n" = Fd (Fd, Out(Address(Count::Behind(2))), InOut(Length));
    44 sendto "n" (Fd, input(2), Ulong, of(&set::MSG), In(Address(Arg(5))), Uint);
    45 recvfrom "n" (Fd, output(2), Ulong, of(&set::MSG), Out(Address(Count::Behind(5))), InOut(Length));
    46 sendmsg "n" (Fd, In(Message), of(&set::MSG));
    47 recvmsg "n" (Fd, Out(Message), of(&set::MSG));
    48 shutdown "n" (Fd, one(&set::SHUTDOWN));
    49 bind "n" (Fd, In(Address(Arg(2))), Int);
    50 listen "n" (Fd, Int);
    51 getsockname "n" (Fd, Out(Address(Count::Behind(2))), InOut(Length));
    52 getpeername "n" (Fd, Out(Address(Count::Behind(2))), InOut(Length));
    53 socketpair "n" (one(&set::FAMILY), of(&set::SOCK), Protocol, Out(Numbers(&Fd, Exactly(2))));
    54 setsockopt "n" (Fd, one(&set::LEVEL), Int, In(SocketOption(Arg(4))), Int);
    55 getsockopt "n" (Fd, one(&set::LEVEL), Int, Out(SocketOption(Count::Behind(4))), InOut(Length));
    56 clone "p" (Clone, Pointer, Out(Number(&Int)), Pointer, Pointer);
    57 fork "p" ();
    58 vfork "p" ();
    59 execve "p" (PATH, In(Texts), In(Environment));
    60 exit "p" = Never (Int);
    61 wait4 "p" (Int, Out(Status), of(&set::WAIT), RUSAGE);
    62 kill "sp" (Int, Signal);
    63 uname (Out(Struct(&st::UTSNAME)));
    64 semget "i" (Key, Int, Ipc(&set::IPC_FLAGS));
    65 semop "i" (Int, In(List(&st::SEMBUF, Arg(2))), Uint);
    66 semctl "i" (Int, Int, one(&set::IPC_CMD), Pointer);
    67 shmdt "im" (Pointer);
    68 msgget "i" (Key, Ipc(&set::IPC_FLAGS));
    69 msgsnd "i" (Int, Pointer, Ulong, Int);
    70 msgrcv "i" (Int, Pointer, Ulong, Long, Int);
    71 msgctl "i" (Int, one(&set::IPC_CMD), Pointer);
    72 fcntl (Fd, one(&set::FCNTL), Hex);
    73 flock (Fd, of(&set::FLOCK));
    74 fsync (Fd);
    75 fdatasync (Fd);
    76 truncate (PATH, Long);
    77 ftruncate (Fd, Long);
    78 getdents (Fd, Out(Entries), Uint);
    79 getcwd "f" (Out(Path), Ulong);
    80 chdir (PATH);
    81 fchdir (Fd);
    82 rename (PATH, PATH);
    83 mkdir (PATH, Octal);
    84 rmdir (PATH);
    85 creat = Fd (PATH, Octal);
    86 link (PATH, PATH);
    87 unlink (PATH);
    88 symlink (PATH, PATH);
    89 readlink (PATH, output(2), Ulong);
    90 chmod (PATH, Octal);
    91 fchmod (Fd, Octal);
    92 chown (PATH, Id, Id);
    93 fchown (Fd, Id, Id);
    94 lchown (PATH, Id, Id);
    95 umask = Octal (Octal);
    96 gettimeofday "k" (Out(Struct(&st::TIMEVAL)), Out(Struct(&st::TIMEZONE)));
    97 getrlimit (one(&set::RLIMIT), Out(Struct(&st::RLIMIT)));
    98 getrusage (one(&set::RUSAGE), RUSAGE);
    99 sysinfo (Out(Struct(&st::SYSINFO)));
    100 times (Out(Struct(&st::TMS)));
    101 ptrace (Enum64(&set::PTRACE), Int, Hex, Hex);
    102 getuid "cu" ();
    103 syslog (Int, Pointer, Int);
    104 getgid "cu" ();
    105 setuid "c" (Id);
    106 setgid "c" (Id);
    107 geteuid "cu" ();
    108 getegid "cu" ();
    109 setpgid (Int, Int);
    110 getppid "u" ();
    111 getpgrp "u" ();
    112 setsid ();
    113 setreuid "c" (Id, Id);
    114 setregid "c" (Id, Id);
    115 getgroups "c" (Int, Out(Numbers(&Id, Count::Result(0))));
    116 setgroups "c" (Int, In(Numbers(&Id, Arg(0))));
    117 setresuid "c" (Id, Id, Id);
    118 getresuid "c" (Out(Number(&Id)), Out(Number(&Id)), Out(Number(&Id)));
    119 setresgid "c" (Id, Id, Id);
    120 getresgid "c" (Out(Number(&Id)), Out(Number(&Id)), Out(Number(&Id)));
    121 getpgid (Int);
    122 setfsuid "c" (Id);
    123 setfsgid "c" (Id);
    124 getsid (Int);
    125 capget "c" (In(Struct(&st::CAP_HEADER)), Out(Capabilities));
    126 capset "c" (In(Struct(&st::CAP_HEADER)), In(Capabilities));
    127 rt_sigpending "s" (Out(Signals), Ulong);
    128 rt_sigtimedwait "s" (MASK, Out(Siginfo), TIME_IN, Ulong);
    129 rt_sigqueueinfo "sp" (Int, Signal, In(Siginfo));
    130 rt_sigsuspend "s" (MASK, Ulong);
    131 sigaltstack "s" (In(Struct(&st::STACK)), Out(Struct(&st::STACK)));
    132 utime (PATH, In(Struct(&st::UTIMBUF)));
    133 mknod (PATH, Mode, Device);
    134 uselib (PATH);
    135 personality = Hex (Enum(&set::PERSONALITY));
    136 ustat (Device, Pointer);
    137 statfs "T" (PATH, Out(Struct(&st::STATFS)));
    138 fstatfs "U" (Fd, Out(Struct(&st::STATFS)));
    139 sysfs (Int, Hex, Hex);
    140 getpriority (one(&set::PRIORITY), Int);
    141 setpriority (one(&set::PRIORITY), Int, Int);
    142 sched_setparam (Int, In(Struct(&st::SCHED_PARAM)));
    143 sched_getparam (Int, Out(Struct(&st::SCHED_PARAM)));
    144 sched_setscheduler (Int, of(&set::SCHED), In(Struct(&st::SCHED_PARAM)));
    145 sched_getscheduler (Int);
    146 sched_get_priority_max (one(&set::SCHED));
    147 sched_get_priority_min (one(&set::SCHED));
    148 sched_rr_get_interval (Int, TIME_OUT);
    149 mlock "m" (Pointer, Ulong);
    150 munlock "m" (Pointer, Ulong);
    151 mlockall "m" (of(&set::MLOCKALL));
    152 munlockall "m" ();
    153 vhangup ();
    154 modify_ldt (Int, Pointer, Ulong);
    155 pivot_root (PATH, PATH);
    156 _sysctl (Pointer);
    157 prctl (one(&set::PRCTL), Hex, Hex, Hex, Hex);
    158 arch_prctl (one(&set::ARCH_PRCTL), Hex);
    159 adjtimex "k" (Out(Struct(&st::TIMEX)));
    160 setrlimit (one(&set::RLIMIT), In(Struct(&st::RLIMIT)));
    161 chroot (PATH);
    162 sync ();
    163 acct (PATH);
    164 settimeofday "k" (In(Struct(&st::TIMEVAL)), In(Struct(&st::TIMEZONE)));
    165 mount (PATH, PATH, TEXT, Flags64(&set::MOUNT), TEXT);
    166 umount2 (PATH, of(&set::UMOUNT));
    167 swapon (PATH, Hex32);
    168 swapoff (PATH);
    169 reboot (Hex32, Hex32, Hex32, Pointer);
    170 sethostname (input(1), Ulong);
    171 setdomainname (input(1), Ulong);
    172 iopl (Int);
    173 ioperm (Ulong, Ulong, Int);
    174 create_module (TEXT, Ulong);
    175 init_module (Pointer, Ulong, TEXT);
    176 delete_module (TEXT, of(&set::PIPE));
    177 get_kernel_syms (Pointer);
    178 query_module (TEXT, Int, Pointer, Ulong, Pointer);
    179 quotactl (Hex32, PATH, Uint, Pointer);
    180 nfsservctl (Int, Pointer, Pointer);
    181 getpmsg (Hex, Hex, Hex, Hex, Hex);
    182 putpmsg (Hex, Hex, Hex, Hex, Hex);
    183 afs_syscall (Hex, Hex, Hex, Hex, Hex);
    184 tuxcall (Hex, Hex, Hex);
    185 security (Hex, Hex, Hex);
    186 gettid "u" ();
    187 readahead (Fd, Long, Ulong);
    188 setxattr (PATH, TEXT, input(3), Ulong, of(&set::XATTR));
    189 lsetxattr (PATH, TEXT, input(3), Ulong, of(&set::XATTR));
    190 fsetxattr (Fd, TEXT, input(3), Ulong, of(&set::XATTR));
    191 getxattr (PATH, TEXT, output(3), Ulong);
    192 lgetxattr (PATH, TEXT, output(3), Ulong);
    193 fgetxattr (Fd, TEXT, output(3), Ulong);
    194 listxattr (PATH, output(2), Ulong);
    195 llistxattr (PATH, output(2), Ulong);
    196 flistxattr (Fd, output(2), Ulong);
    197 removexattr (PATH, TEXT);
    198 lremovexattr (PATH, TEXT);
    199 fremovexattr (Fd, TEXT);
    200 tkill "sp" (Int, Signal);
    201 time "k" (Out(Number(&Long)));
    202 futex (Pointer, of(&set::FUTEX), Uint, Hex, Pointer, Hex32);
    203 sched_setaffinity (Int, Uint, In(Processors(Arg(1))));
    204 sched_getaffinity (Int, Uint, Out(Processors(Count::Result(1))));
    205 set_thread_area (Pointer);
    206 io_setup "m" (Uint, Out(Number(&Pointer)));
    207 io_destroy "m" (Hex);
    208 io_getevents (Hex, Long, Long, Pointer, TIME_IN);
    209 io_submit (Hex, Long, Pointer);
    210 io_cancel (Hex, Pointer, Pointer);
    211 get_thread_area (Pointer);
    212 lookup_dcookie (Hex, Pointer, Ulong);
    213 epoll_create "d" = Fd (Int);
    214 epoll_ctl_old (Hex, Hex, Hex, Hex);
    215 epoll_wait_old (Hex, Hex, Hex, Hex);
    216 remap_file_pages "m" (Pointer, Ulong, of(&set::PROT), Ulong, of(&set::MAP));
    217 getdents64 (Fd, Out(Entries), Uint);
    218 set_tid_address (Pointer);
    219 restart_syscall ();
    220 semtimedop "i" (Int, In(List(&st::SEMBUF, Arg(2))), Uint, TIME_IN);
    221 fadvise64 (Fd, Long, Long, one(&set::FADVISE));
    222 timer_create "k" (one(&set::CLOCK), In(Struct(&st::SIGEVENT)), Out(Number(&Int)));
    223 timer_settime "k" (Int, of(&set::TIMER), In(Struct(&st::ITIMERSPEC)), Out(Struct(&st::ITIMERSPEC)));
    224 timer_gettime "k" (Int, Out(Struct(&st::ITIMERSPEC)));
    225 timer_getoverrun "k" (Int);
    226 timer_delete "k" (Int);
    227 clock_settime "k" (one(&set::CLOCK), TIME_IN);
    228 clock_gettime "k" (one(&set::CLOCK), TIME_OUT);
    229 clock_getres "k" (one(&set::CLOCK), TIME_OUT);
    230 clock_nanosleep "k" (one(&set::CLOCK), of(&set::TIMER), TIME_IN, Out(Remaining(&st::TIMESPEC)));
    231 exit_group "p" = Never (Int);
    232 epoll_wait (Fd, Out(List(&st::EPOLL_EVENT, Count::Result(2))), Int, Int);
    233 epoll_ctl (Fd, one(&set::EPOLL_CTL), Fd, In(Struct(&st::EPOLL_EVENT)));
    234 tgkill "sp" (Int, Int, Signal);
    235 utimes (PATH, In(List(&st::TIMEVAL, Exactly(2))));
    236 vserver (Hex, Hex, Hex, Hex, Hex);
    237 mbind "m" (Pointer, Ulong, of(&set::MPOL), Pointer, Ulong, Hex32);
    238 set_mempolicy "m" (of(&set::MPOL), Pointer, Ulong);
    239 get_mempolicy "m" (Out(Number(&Enum(&set::MPOL))), Pointer, Ulong, Pointer, of(&set::MPOL_GET));
    240 mq_open "d" = Fd (TEXT, of(&set::OPEN), Octal, Pointer);
    241 mq_unlink (TEXT);
    242 mq_timedsend (Fd, input(2), Ulong, Uint, TIME_IN);
    243 mq_timedreceive (Fd, output(2), Ulong, Out(Number(&Uint)), TIME_IN);
    244 mq_notify (Fd, In(Struct(&st::SIGEVENT)));
    245 mq_getsetattr (Fd, Pointer, Pointer);
    246 kexec_load (Pointer, Ulong, Pointer, Hex);
    247 waitid "p" (one(&set::WAITID), Int, Out(Siginfo), of(&set::WAIT), RUSAGE);
    248 add_key (TEXT, TEXT, input(3), Ulong, Int);
    249 request_key (TEXT, TEXT, TEXT, Int);
    250 keyctl (one(&set::KEYCTL), Hex, Hex, Hex, Hex);
    251 ioprio_set (Int, Int, Hex32);
    252 ioprio_get (Int, Int);
    253 inotify_init "d" = Fd ();
    254 inotify_add_watch (Fd, PATH, of(&set::INOTIFY));
    255 inotify_rm_watch (Fd, Int);
    256 migrate_pages "m" (Int, Ulong, Pointer, Pointer);
    257 openat = Fd (DirFd, PATH, of(&set::OPEN), Octal);
    258 mkdirat (DirFd, PATH, Octal);
    259 mknodat (DirFd, PATH, Mode, Device);
    260 fchownat (DirFd, PATH, Id, Id, of(&set::AT));
    261 futimesat (DirFd, PATH, In(List(&st::TIMEVAL, Exactly(2))));
    262 newfstatat "F" (DirFd, PATH, Out(Stat), of(&set::AT));
    263 unlinkat (DirFd, PATH, of(&set::AT));
    264 renameat (DirFd, PATH, DirFd, PATH);
    265 linkat (DirFd, PATH, DirFd, PATH, of(&set::AT));
    266 symlinkat (PATH, DirFd, PATH);
    267 readlinkat (DirFd, PATH, output(3), Ulong);
    268 fchmodat (DirFd, PATH, Octal);
    269 faccessat (DirFd, PATH, of(&set::ACCESS));
    270 pselect6 "d" (Int, InOut(Descriptors(0)), InOut(Descriptors(0)), InOut(Descriptors(0)), InOut(Struct(&st::TIMESPEC)), In(Struct(&st::PSELECT)));
    271 ppoll "d" (InOut(List(&st::POLLFD, Arg(1))), Uint, InOut(Struct(&st::TIMESPEC)), MASK, Ulong);
    272 unshare "p" (of(&set::UNSHARE));
    273 set_robust_list (Pointer, Ulong);
    274 get_robust_list (Int, Out(Number(&Pointer)), Out(Number(&Ulong)));
    275 splice (Fd, InOut(Number(&Long)), Fd, InOut(Number(&Long)), Ulong, of(&set::SPLICE));
    276 tee (Fd, Fd, Ulong, of(&set::SPLICE));
    277 sync_file_range (Fd, Long, Long, of(&set::SYNC_RANGE));
    278 vmsplice (Fd, In(Vectors(2)), Ulong, of(&set::SPLICE));
    279 move_pages "m" (Int, Ulong, Pointer, Pointer, Pointer, Hex32);
    280 utimensat (DirFd, PATH, TIMES, of(&set::AT));
    281 epoll_pwait (Fd, Out(List(&st::EPOLL_EVENT, Count::Result(2))), Int, Int, MASK, Ulong);
    282 signalfd "s" = Fd (Fd, MASK, Ulong);
    283 timerfd_create "dk" = Fd (one(&set::CLOCK), of(&set::TIMERFD));
    284 eventfd "d" = Fd (Uint);
    285 fallocate (Fd, of(&set::FALLOCATE), Long, Long);
    286 timerfd_settime "k" (Fd, of(&set::TIMERFD), In(Struct(&st::ITIMERSPEC)), Out(Struct(&st::ITIMERSPEC)));
    287 timerfd_gettime "k" (Fd, Out(Struct(&st::ITIMERSPEC)));
    288 accept4 "n" = Fd (Fd, Out(Address(Count::Behind(2))), InOut(Length), of(&set::SOCK_FLAGS));
    289 signalfd4 "s" = Fd (Fd, MASK, Ulong, of(&set::SIGNALFD));
    290 eventfd2 "d" = Fd (Uint, of(&set::EVENTFD));
    291 epoll_create1 "d" = Fd (of(&set::EPOLL_CREATE));
    292 dup3 = Fd (Fd, Fd, of(&set::PIPE));
    293 pipe2 "d" (Out(Numbers(&Fd, Exactly(2))), of(&set::PIPE));
    294 inotify_init1 "d" = Fd (of(&set::INOTIFY_INIT));
    295 preadv (Fd, Out(Filled(2)), Ulong, Long);
    296 pwritev (Fd, In(Vectors(2)), Ulong, Long);
    297 rt_tgsigqueueinfo "sp" (Int, Int, Signal, In(Siginfo));
    298 perf_event_open "d" = Fd (Pointer, Int, Int, Int, Hex);
    299 recvmmsg "n" (Fd, Out(Messages(2)), Uint, of(&set::MSG), TIME_IN);
    300 fanotify_init "d" = Fd (Hex32, Flags(&set::OPEN));
    301 fanotify_mark (Fd, Hex32, Hex, DirFd, PATH);
    302 prlimit64 (Int, one(&set::RLIMIT), In(Struct(&st::RLIMIT)), Out(Struct(&st::RLIMIT)));
    303 name_to_handle_at (DirFd, PATH, Pointer, Pointer, of(&set::AT));
    304 open_by_handle_at = Fd (Fd, Pointer, of(&set::OPEN));
    305 clock_adjtime "k" (one(&set::CLOCK), Out(Struct(&st::TIMEX)));
    306 syncfs (Fd);
    307 sendmmsg "n" (Fd, InOut(Messages(2)), Uint, of(&set::MSG));
    308 setns "p" (Fd, of(&set::UNSHARE));
    309 getcpu (Out(Number(&Uint)), Out(Number(&Uint)), Pointer);
    310 process_vm_readv (Int, Out(Filled(2)), Ulong, Pointer, Ulong, Ulong);
    311 process_vm_writev (Int, In(Vectors(2)), Ulong, Pointer, Ulong, Ulong);
    312 kcmp (Int, Int, one(&set::KCMP), Ulong, Ulong);
    313 finit_module (Fd, TEXT, Int);
    314 sched_setattr (Int, In(Struct(&st::SCHED_ATTR)), Uint);
    315 sched_getattr (Int, Out(Struct(&st::SCHED_ATTR)), Uint, Uint);
    316 renameat2 (DirFd, PATH, DirFd, PATH, of(&set::RENAME));
    317 seccomp (one(&set::SECCOMP), Hex32, Pointer);
    318 getrandom (output(1), Ulong, of(&set::RANDOM));
    319 memfd_create "dm" = Fd (TEXT, of(&set::MEMFD));
    320 kexec_file_load (Fd, Fd, Ulong, TEXT, Hex);
    321 bpf "d" (one(&set::BPF), Pointer, Uint);
    322 execveat "p" (DirFd, PATH, In(Texts), In(Environment), of(&set::AT));
    323 userfaultfd "d" = Fd (of(&set::UFFD));
    324 membarrier (Flags(&set::MEMBARRIER), Uint);
    325 mlock2 "m" (Pointer, Ulong, of(&set::MLOCK));
    326 copy_file_range (Fd, InOut(Number(&Long)), Fd, InOut(Number(&Long)), Ulong, Uint);
    327 preadv2 (Fd, Out(Filled(2)), Ulong, Long, Int, of(&set::RWF));
    328 pwritev2 (Fd, In(Vectors(2)), Ulong, Long, Int, of(&set::RWF));
    329 pkey_mprotect "m" (Pointer, Ulong, of(&set::PROT), Int);
    330 pkey_alloc (Uint, Uint);
    331 pkey_free (Int);
    332 statx "SLF" (DirFd, PATH, of(&set::STATX_AT), of(&set::STATX_MASK), Out(Statx));
    333 io_pgetevents (Hex, Long, Long, Pointer, TIME_IN, Pointer);
    334 rseq (Pointer, Hex32, Int, Hex32);
    335 uretprobe ();
    336 uprobe ();
    424 pidfd_send_signal "sp" (Fd, Signal, In(Siginfo), Uint);
    425 io_uring_setup "d" = Fd (Uint, Pointer);
    426 io_uring_enter (Fd, Uint, Uint, Hex32, Pointer, Ulong);
    427 io_uring_register (Fd, Uint, Pointer, Uint);
    428 open_tree = Fd (DirFd, PATH, of(&set::AT));
    429 move_mount (DirFd, PATH, DirFd, PATH, Hex32);
    430 fsopen "d" = Fd (TEXT, Hex32);
    431 fsconfig (Fd, Uint, TEXT, Pointer, Int);
    432 fsmount = Fd (Fd, Hex32, Hex32);
    433 fspick = Fd (DirFd, PATH, Hex32);
    434 pidfd_open "d" = Fd (Int, Hex32);
    435 clone3 "p" (InOut(CloneArgs(1)), Ulong);
    436 close_range (Uint, Uint, of(&set::CLOSE_RANGE));
    437 openat2 = Fd (DirFd, PATH, In(Struct(&st::OPEN_HOW)), Ulong);
    438 pidfd_getfd = Fd (Fd, Int, Uint);
    439 faccessat2 (DirFd, PATH, of(&set::ACCESS), of(&set::FACCESSAT));
    440 process_madvise "m" (Fd, In(Vectors(2)), Ulong, one(&set::MADVISE), Uint);
    441 epoll_pwait2 (Fd, Out(List(&st::EPOLL_EVENT, Count::Result(2))), Int, TIME_IN, MASK, Ulong);
    442 mount_setattr (DirFd, PATH, of(&set::AT), Pointer, Ulong);
    443 quotactl_fd (Fd, Hex32, Uint, Pointer);
    444 landlock_create_ruleset "d" = Fd (Pointer, Ulong, of(&set::LANDLOCK));
    445 landlock_add_rule (Fd, Uint, Pointer, Uint);
    446 landlock_restrict_self (Fd, Uint);
    447 memfd_secret "dm" = Fd (of(&set::PIPE));
    448 process_mrelease "m" (Fd, Uint);
    449 futex_waitv (Pointer, Uint, Uint, TIME_IN, one(&set::CLOCK));
    450 set_mempolicy_home_node "m" (Pointer, Ulong, Ulong, Uint);
    451 cachestat (Fd, Pointer, Pointer, Uint);
    452 fchmodat2 (DirFd, PATH, Octal, of(&set::AT));
    453 map_shadow_stack "m" = Hex (Pointer, Ulong, Uint);
    454 futex_wake (Pointer, Hex, Int, Hex32);
    455 futex_wait (Pointer, Hex, Hex, Hex32, TIME_IN, one(&set::CLOCK));
    456 futex_requeue (Pointer, Uint, Int, Int);
    457 statmount (Pointer, Pointer, Ulong, Uint);
    458 listmount (Pointer, Pointer, Ulong, Uint);
    459 lsm_get_self_attr (Uint, Pointer, Pointer, Uint);
    460 lsm_set_self_attr (Uint, Pointer, Uint, Uint);
    461 lsm_list_modules (Pointer, Pointer, Uint);
    462 mseal "m" (Pointer, Ulong, Ulong);
    463 setxattrat (DirFd, PATH, of(&set::AT), TEXT, Pointer, Ulong);
    464 getxattrat (DirFd, PATH, of(&set::AT), TEXT, Pointer, Ulong);
    465 listxattrat (DirFd, PATH, of(&set::AT), output(4), Ulong);
    466 removexattrat (DirFd, PATH, of(&set::AT), TEXT);
    467 open_tree_attr = Fd (DirFd, PATH, of(&set::AT), Pointer, Ulong);
    468 file_getattr (DirFd, PATH, Pointer, Ulong, of(&set::AT));
    469 file_setattr (DirFd, PATH, Pointer, Ulong, of(&set::AT));
}
