//! Names of constants, as the headers of the kernel and the C library have them.

use super::Set;

/// What can be set beside the access mode.
const FILE_FLAGS: &[(u64, &str)] = &[
    (0x40, "O_CREAT"),
    (0x80, "O_EXCL"),
    (0x100, "O_NOCTTY"),
    (0x200, "O_TRUNC"),
    (0x400, "O_APPEND"),
    (0x800, "O_NONBLOCK"),
    (0x101000, "O_SYNC"),
    (0x1000, "O_DSYNC"),
    (0x4000, "O_DIRECT"),
    (0x8000, "O_LARGEFILE"),
    (0x20000, "O_NOFOLLOW"),
    (0x40000, "O_NOATIME"),
    (0x80000, "O_CLOEXEC"),
    (0x200000, "O_PATH"),
    (0x410000, "O_TMPFILE"),
    (0x10000, "O_DIRECTORY"),
    (0x2000, "FASYNC"),
];

/// How a file is opened.
pub static OPEN: Set = Set::over(
    "O_???",
    0x3,
    &[
        (0, "O_RDONLY"),
        (1, "O_WRONLY"),
        (2, "O_RDWR"),
        (3, "O_ACCMODE"),
    ],
    FILE_FLAGS,
);

/// What `access` asks for.
pub static ACCESS: Set = Set::new(
    "?_OK",
    &[(0, "F_OK"), (4, "R_OK"), (2, "W_OK"), (1, "X_OK")],
);

/// How a path is looked up.
pub static AT: Set = Set::new(
    "AT_???",
    &[
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x200, "AT_REMOVEDIR"),
        (0x400, "AT_SYMLINK_FOLLOW"),
        (0x800, "AT_NO_AUTOMOUNT"),
        (0x1000, "AT_EMPTY_PATH"),
        (0x8000, "AT_RECURSIVE"),
    ],
);

/// Flags of `faccessat2`.
pub static FACCESSAT: Set = Set::new(
    "AT_???",
    &[
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x200, "AT_EACCESS"),
        (0x400, "AT_SYMLINK_FOLLOW"),
        (0x800, "AT_NO_AUTOMOUNT"),
        (0x1000, "AT_EMPTY_PATH"),
    ],
);

/// Flags of `statx`.
pub static STATX_AT: Set = Set::over(
    "AT_???",
    0x6000,
    &[
        (0, "AT_STATX_SYNC_AS_STAT"),
        (0x2000, "AT_STATX_FORCE_SYNC"),
        (0x4000, "AT_STATX_DONT_SYNC"),
        (0x6000, "AT_STATX_SYNC_TYPE"),
    ],
    &[
        (0x100, "AT_SYMLINK_NOFOLLOW"),
        (0x200, "AT_REMOVEDIR"),
        (0x400, "AT_SYMLINK_FOLLOW"),
        (0x800, "AT_NO_AUTOMOUNT"),
        (0x1000, "AT_EMPTY_PATH"),
        (0x8000, "AT_RECURSIVE"),
    ],
);

/// Fields of `statx`.
pub static STATX_MASK: Set = Set::new(
    "STATX_???",
    &[
        (0xfff, "STATX_ALL"),
        (0x7ff, "STATX_BASIC_STATS"),
        (1, "STATX_TYPE"),
        (2, "STATX_MODE"),
        (4, "STATX_NLINK"),
        (8, "STATX_UID"),
        (0x10, "STATX_GID"),
        (0x20, "STATX_ATIME"),
        (0x40, "STATX_MTIME"),
        (0x80, "STATX_CTIME"),
        (0x100, "STATX_INO"),
        (0x200, "STATX_SIZE"),
        (0x400, "STATX_BLOCKS"),
        (0x800, "STATX_BTIME"),
        (0x1000, "STATX_MNT_ID"),
        (0x2000, "STATX_DIOALIGN"),
    ],
);

/// Attributes that `statx` tells.
pub static STATX_ATTR: Set = Set::new(
    "STATX_ATTR_???",
    &[
        (4, "STATX_ATTR_COMPRESSED"),
        (0x10, "STATX_ATTR_IMMUTABLE"),
        (0x20, "STATX_ATTR_APPEND"),
        (0x40, "STATX_ATTR_NODUMP"),
        (0x800, "STATX_ATTR_ENCRYPTED"),
        (0x1000, "STATX_ATTR_AUTOMOUNT"),
        (0x2000, "STATX_ATTR_MOUNT_ROOT"),
        (0x100000, "STATX_ATTR_VERITY"),
        (0x200000, "STATX_ATTR_DAX"),
    ],
);

/// Commands of `fcntl`.
pub static FCNTL: Set = Set::new(
    "F_???",
    &[
        (0, "F_DUPFD"),
        (1, "F_GETFD"),
        (2, "F_SETFD"),
        (3, "F_GETFL"),
        (4, "F_SETFL"),
        (5, "F_GETLK"),
        (6, "F_SETLK"),
        (7, "F_SETLKW"),
        (8, "F_SETOWN"),
        (9, "F_GETOWN"),
        (0xa, "F_SETSIG"),
        (0xb, "F_GETSIG"),
        (0xf, "F_SETOWN_EX"),
        (0x10, "F_GETOWN_EX"),
        (0x24, "F_OFD_GETLK"),
        (0x25, "F_OFD_SETLK"),
        (0x26, "F_OFD_SETLKW"),
        (0x400, "F_SETLEASE"),
        (0x401, "F_GETLEASE"),
        (0x402, "F_NOTIFY"),
        (0x406, "F_DUPFD_CLOEXEC"),
        (0x407, "F_SETPIPE_SZ"),
        (0x408, "F_GETPIPE_SZ"),
        (0x409, "F_ADD_SEALS"),
        (0x40a, "F_GET_SEALS"),
        (0x40b, "F_GET_RW_HINT"),
        (0x40c, "F_SET_RW_HINT"),
        (0x40d, "F_GET_FILE_RW_HINT"),
        (0x40e, "F_SET_FILE_RW_HINT"),
    ],
);

/// Flags of a descriptor.
pub static FD_FLAGS: Set = Set::new("FD_???", &[(1, "FD_CLOEXEC")]);

/// Seals of a memory file.
pub static SEALS: Set = Set::new(
    "F_SEAL_???",
    &[
        (1, "F_SEAL_SEAL"),
        (2, "F_SEAL_SHRINK"),
        (4, "F_SEAL_GROW"),
        (8, "F_SEAL_WRITE"),
        (0x10, "F_SEAL_FUTURE_WRITE"),
    ],
);

/// Types of record locks.
pub static LOCK_TYPE: Set = Set::new("F_???", &[(0, "F_RDLCK"), (1, "F_WRLCK"), (2, "F_UNLCK")]);

/// Types of leases.
pub static LEASE: Set = Set::new("F_???", &[(0, "F_RDLCK"), (1, "F_WRLCK"), (2, "F_UNLCK")]);

/// Operations of `flock`.
pub static FLOCK: Set = Set::new(
    "LOCK_???",
    &[
        (1, "LOCK_SH"),
        (2, "LOCK_EX"),
        (4, "LOCK_NB"),
        (8, "LOCK_UN"),
        (0x20, "LOCK_MAND"),
    ],
);

/// Where an offset counts from.
pub static WHENCE: Set = Set::new(
    "SEEK_???",
    &[
        (0, "SEEK_SET"),
        (1, "SEEK_CUR"),
        (2, "SEEK_END"),
        (3, "SEEK_DATA"),
        (4, "SEEK_HOLE"),
    ],
);

/// Advice on a file.
pub static FADVISE: Set = Set::new(
    "POSIX_FADV_???",
    &[
        (0, "POSIX_FADV_NORMAL"),
        (1, "POSIX_FADV_RANDOM"),
        (2, "POSIX_FADV_SEQUENTIAL"),
        (3, "POSIX_FADV_WILLNEED"),
        (4, "POSIX_FADV_DONTNEED"),
        (5, "POSIX_FADV_NOREUSE"),
    ],
);

/// Modes of `fallocate`.
pub static FALLOCATE: Set = Set::new(
    "FALLOC_FL_???",
    &[
        (1, "FALLOC_FL_KEEP_SIZE"),
        (2, "FALLOC_FL_PUNCH_HOLE"),
        (4, "FALLOC_FL_NO_HIDE_STALE"),
        (8, "FALLOC_FL_COLLAPSE_RANGE"),
        (0x10, "FALLOC_FL_ZERO_RANGE"),
        (0x20, "FALLOC_FL_INSERT_RANGE"),
        (0x40, "FALLOC_FL_UNSHARE_RANGE"),
    ],
);

/// Flags of `renameat2`.
pub static RENAME: Set = Set::new(
    "RENAME_???",
    &[
        (1, "RENAME_NOREPLACE"),
        (2, "RENAME_EXCHANGE"),
        (4, "RENAME_WHITEOUT"),
    ],
);

/// How `openat2` resolves.
pub static RESOLVE: Set = Set::new(
    "RESOLVE_???",
    &[
        (1, "RESOLVE_NO_XDEV"),
        (2, "RESOLVE_NO_MAGICLINKS"),
        (4, "RESOLVE_NO_SYMLINKS"),
        (8, "RESOLVE_BENEATH"),
        (0x10, "RESOLVE_IN_ROOT"),
        (0x20, "RESOLVE_CACHED"),
    ],
);

/// Flags of `close_range`.
pub static CLOSE_RANGE: Set = Set::new(
    "CLOSE_RANGE_???",
    &[(2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC")],
);

/// Flags of `setxattr`.
pub static XATTR: Set = Set::new("XATTR_???", &[(1, "XATTR_CREATE"), (2, "XATTR_REPLACE")]);

/// Flags of `splice`.
pub static SPLICE: Set = Set::new(
    "SPLICE_F_???",
    &[
        (1, "SPLICE_F_MOVE"),
        (2, "SPLICE_F_NONBLOCK"),
        (4, "SPLICE_F_MORE"),
        (8, "SPLICE_F_GIFT"),
    ],
);

/// Flags of `preadv2`.
pub static RWF: Set = Set::new(
    "RWF_???",
    &[
        (1, "RWF_HIPRI"),
        (2, "RWF_DSYNC"),
        (4, "RWF_SYNC"),
        (8, "RWF_NOWAIT"),
        (0x10, "RWF_APPEND"),
    ],
);

/// Flags of `sync_file_range`.
pub static SYNC_RANGE: Set = Set::new(
    "SYNC_FILE_RANGE_???",
    &[
        (1, "SYNC_FILE_RANGE_WAIT_BEFORE"),
        (2, "SYNC_FILE_RANGE_WRITE"),
        (4, "SYNC_FILE_RANGE_WAIT_AFTER"),
    ],
);

/// Flags of `mount`.
pub static MOUNT: Set = Set::new(
    "MS_???",
    &[
        (1, "MS_RDONLY"),
        (2, "MS_NOSUID"),
        (4, "MS_NODEV"),
        (8, "MS_NOEXEC"),
        (0x10, "MS_SYNCHRONOUS"),
        (0x20, "MS_REMOUNT"),
        (0x40, "MS_MANDLOCK"),
        (0x80, "MS_DIRSYNC"),
        (0x100, "MS_NOSYMFOLLOW"),
        (0x400, "MS_NOATIME"),
        (0x800, "MS_NODIRATIME"),
        (0x1000, "MS_BIND"),
        (0x2000, "MS_MOVE"),
        (0x4000, "MS_REC"),
        (0x8000, "MS_SILENT"),
        (0x10000, "MS_POSIXACL"),
        (0x20000, "MS_UNBINDABLE"),
        (0x40000, "MS_PRIVATE"),
        (0x80000, "MS_SLAVE"),
        (0x100000, "MS_SHARED"),
        (0x200000, "MS_RELATIME"),
        (0x400000, "MS_KERNMOUNT"),
        (0x800000, "MS_I_VERSION"),
        (0x1000000, "MS_STRICTATIME"),
        (0x2000000, "MS_LAZYTIME"),
        (0x40000000, "MS_ACTIVE"),
        (0x80000000, "MS_NOUSER"),
    ],
);

/// Flags of `umount2`.
pub static UMOUNT: Set = Set::new(
    "MNT_???",
    &[
        (1, "MNT_FORCE"),
        (2, "MNT_DETACH"),
        (4, "MNT_EXPIRE"),
        (8, "UMOUNT_NOFOLLOW"),
    ],
);

/// Flags of a file system.
pub static STATFS_FLAGS: Set = Set::new(
    "ST_???",
    &[
        (1, "ST_RDONLY"),
        (2, "ST_NOSUID"),
        (4, "ST_NODEV"),
        (8, "ST_NOEXEC"),
        (0x10, "ST_SYNCHRONOUS"),
        (0x40, "ST_MANDLOCK"),
        (0x80, "ST_WRITE"),
        (0x100, "ST_APPEND"),
        (0x200, "ST_IMMUTABLE"),
        (0x400, "ST_NOATIME"),
        (0x800, "ST_NODIRATIME"),
        (0x1000, "ST_RELATIME"),
    ],
);

/// Types of file systems.
pub static FS_MAGIC: Set = Set::new(
    "???_SUPER_MAGIC",
    &[
        (0x21, "SECCOMP_IOC_MAGIC"),
        (0x2f, "QNX4_SUPER_MAGIC"),
        (0x94, "BTRFS_IOCTL_MAGIC"),
        (0x187, "AUTOFS_SUPER_MAGIC"),
        (0x137f, "MINIX_SUPER_MAGIC"),
        (0x1cd1, "DEVPTS_SUPER_MAGIC"),
        (0x2468, "MINIX2_SUPER_MAGIC"),
        (0x3434, "NILFS_SUPER_MAGIC"),
        (0x4d44, "MSDOS_SUPER_MAGIC"),
        (0x4d5a, "MINIX3_SUPER_MAGIC"),
        (0x517b, "SMB_SUPER_MAGIC"),
        (0x564c, "NCP_SUPER_MAGIC"),
        (0x6969, "NFS_SUPER_MAGIC"),
        (0x72b6, "JFFS2_SUPER_MAGIC"),
        (0x9660, "ISOFS_SUPER_MAGIC"),
        (0x9fa0, "PROC_SUPER_MAGIC"),
        (0x9fa1, "OPENPROM_SUPER_MAGIC"),
        (0x9fa2, "USBDEVICE_SUPER_MAGIC"),
        (0xadf5, "ADFS_SUPER_MAGIC"),
        (0xadff, "AFFS_SUPER_MAGIC"),
        (0xef53, "EXT2_SUPER_MAGIC"),
        (0xf15f, "ECRYPTFS_SUPER_MAGIC"),
        (0x27e0eb, "CGROUP_SUPER_MAGIC"),
        (0x414a53, "EFS_SUPER_MAGIC"),
        (0xc0ffee, "HOSTFS_SUPER_MAGIC"),
        (0xc36400, "CEPH_SUPER_MAGIC"),
        (0x1021994, "TMPFS_MAGIC"),
        (0x1021997, "V9FS_MAGIC"),
        (0x7655821, "RDTGROUP_SUPER_MAGIC"),
        (0x9041934, "ANON_INODE_FS_MAGIC"),
        (0xbad1dea, "FUTEXFS_SUPER_MAGIC"),
        (0x11307854, "MTD_INODE_FS_MAGIC"),
        (0x15013346, "UDF_SUPER_MAGIC"),
        (0x2011bab0, "EXFAT_SUPER_MAGIC"),
        (0x28cd3d45, "CRAMFS_MAGIC"),
        (0x42494e4d, "BINFMTFS_MAGIC"),
        (0x43415d53, "SMACK_MAGIC"),
        (0x444d4142, "DMA_BUF_MAGIC"),
        (0x454d444d, "DEVMEM_MAGIC"),
        (0x50495045, "PIPEFS_MAGIC"),
        (0x52654973, "REISERFS_SUPER_MAGIC"),
        (0x5345434d, "SECRETMEM_MAGIC"),
        (0x5346414f, "AFS_SUPER_MAGIC"),
        (0x534f434b, "SOCKFS_MAGIC"),
        (0x57ac6e9d, "STACK_END_MAGIC"),
        (0x58465342, "XFS_SUPER_MAGIC"),
        (0x5a3c69f0, "AAFS_MAGIC"),
        (0x5a4f4653, "ZONEFS_MAGIC"),
        (0x6165676c, "PSTOREFS_MAGIC"),
        (0x62646576, "BDEVFS_MAGIC"),
        (0x62656572, "SYSFS_MAGIC"),
        (0x63677270, "CGROUP2_SUPER_MAGIC"),
        (0x64626720, "DEBUGFS_MAGIC"),
        (0x64646178, "DAXFS_MAGIC"),
        (0x65735546, "FUSE_SUPER_MAGIC"),
        (0x68191122, "QNX6_SUPER_MAGIC"),
        (0x6b414653, "AFS_FS_MAGIC"),
        (0x6c6f6f70, "BINDERFS_SUPER_MAGIC"),
        (0x6e736673, "NSFS_MAGIC"),
        (0x73636673, "SECURITYFS_MAGIC"),
        (0x73717368, "SQUASHFS_MAGIC"),
        (0x73727279, "BTRFS_TEST_MAGIC"),
        (0x73757245, "CODA_SUPER_MAGIC"),
        (0x7461636f, "OCFS2_SUPER_MAGIC"),
        (0x74726163, "TRACEFS_MAGIC"),
        (0x794c7630, "OVERLAYFS_SUPER_MAGIC"),
        (0x858458f6, "RAMFS_MAGIC"),
        (0x9123683e, "BTRFS_SUPER_MAGIC"),
        (0x958458f6, "HUGETLBFS_MAGIC"),
        (0xabba1974, "XENFS_SUPER_MAGIC"),
        (0xcafe4a11, "BPF_FS_MAGIC"),
        (0xde5e81e4, "EFIVARFS_MAGIC"),
        (0xf2f52010, "F2FS_SUPER_MAGIC"),
        (0xf97cff8c, "SELINUX_MAGIC"),
        (0xf995e849, "HPFS_SUPER_MAGIC"),
        (0xfe534d42, "SMB2_SUPER_MAGIC"),
        (0xff534d42, "CIFS_SUPER_MAGIC"),
    ],
);

/// Events of inotify.
pub static INOTIFY: Set = Set::new(
    "IN_???",
    &[
        (1, "IN_ACCESS"),
        (2, "IN_MODIFY"),
        (4, "IN_ATTRIB"),
        (8, "IN_CLOSE_WRITE"),
        (0x10, "IN_CLOSE_NOWRITE"),
        (0x20, "IN_OPEN"),
        (0x40, "IN_MOVED_FROM"),
        (0x80, "IN_MOVED_TO"),
        (0x100, "IN_CREATE"),
        (0x200, "IN_DELETE"),
        (0x400, "IN_DELETE_SELF"),
        (0x800, "IN_MOVE_SELF"),
        (0x2000, "IN_UNMOUNT"),
        (0x4000, "IN_Q_OVERFLOW"),
        (0x8000, "IN_IGNORED"),
        (0x1000000, "IN_ONLYDIR"),
        (0x2000000, "IN_DONT_FOLLOW"),
        (0x4000000, "IN_EXCL_UNLINK"),
        (0x10000000, "IN_MASK_CREATE"),
        (0x20000000, "IN_MASK_ADD"),
        (0x40000000, "IN_ISDIR"),
        (0x80000000, "IN_ONESHOT"),
    ],
);

/// Flags of `inotify_init1`.
pub static INOTIFY_INIT: Set =
    Set::new("IN_???", &[(0x800, "IN_NONBLOCK"), (0x80000, "IN_CLOEXEC")]);

/// Flags of `eventfd2`.
pub static EVENTFD: Set = Set::new(
    "EFD_???",
    &[
        (1, "EFD_SEMAPHORE"),
        (0x80000, "EFD_CLOEXEC"),
        (0x800, "EFD_NONBLOCK"),
    ],
);

/// Operations of `epoll_ctl`.
pub static EPOLL_CTL: Set = Set::new(
    "EPOLL_CTL_???",
    &[
        (1, "EPOLL_CTL_ADD"),
        (2, "EPOLL_CTL_DEL"),
        (3, "EPOLL_CTL_MOD"),
    ],
);

/// Flags of `epoll_create1`.
pub static EPOLL_CREATE: Set = Set::new("EPOLL_???", &[(0x80000, "EPOLL_CLOEXEC")]);

/// Events of epoll.
pub static EPOLL_EVENTS: Set = Set::new(
    "EPOLL???",
    &[
        (1, "EPOLLIN"),
        (2, "EPOLLPRI"),
        (4, "EPOLLOUT"),
        (8, "EPOLLERR"),
        (0x10, "EPOLLHUP"),
        (0x40, "EPOLLRDNORM"),
        (0x80, "EPOLLRDBAND"),
        (0x100, "EPOLLWRNORM"),
        (0x200, "EPOLLWRBAND"),
        (0x400, "EPOLLMSG"),
        (0x2000, "EPOLLRDHUP"),
        (0x10000000, "EPOLLEXCLUSIVE"),
        (0x20000000, "EPOLLWAKEUP"),
        (0x40000000, "EPOLLONESHOT"),
        (0x80000000, "EPOLLET"),
    ],
);

/// Events of `poll`.
pub static POLL: Set = Set::new(
    "POLL???",
    &[
        (1, "POLLIN"),
        (2, "POLLPRI"),
        (4, "POLLOUT"),
        (8, "POLLERR"),
        (0x10, "POLLHUP"),
        (0x20, "POLLNVAL"),
        (0x40, "POLLRDNORM"),
        (0x80, "POLLRDBAND"),
        (0x100, "POLLWRNORM"),
        (0x200, "POLLWRBAND"),
        (0x400, "POLLMSG"),
        (0x1000, "POLLREMOVE"),
        (0x2000, "POLLRDHUP"),
    ],
);

/// Flags of `pipe2` and `dup3`.
pub static PIPE: Set = Set::new("O_???", FILE_FLAGS);

/// Types of files.
pub static FILE_TYPE: Set = Set::new(
    "S_IF???",
    &[
        (0x8000, "S_IFREG"),
        (0xc000, "S_IFSOCK"),
        (0x1000, "S_IFIFO"),
        (0xa000, "S_IFLNK"),
        (0x4000, "S_IFDIR"),
        (0x6000, "S_IFBLK"),
        (0x2000, "S_IFCHR"),
    ],
);

/// Types of directory entries.
pub static DIRENT_TYPE: Set = Set::new(
    "DT_???",
    &[
        (0, "DT_UNKNOWN"),
        (1, "DT_FIFO"),
        (2, "DT_CHR"),
        (4, "DT_DIR"),
        (6, "DT_BLK"),
        (8, "DT_REG"),
        (0xa, "DT_LNK"),
        (0xc, "DT_SOCK"),
        (0xe, "DT_WHT"),
    ],
);

/// Flags of `userfaultfd`.
pub static UFFD: Set = Set::new(
    "UFFD_???",
    &[
        (1, "UFFD_USER_MODE_ONLY"),
        (0x800, "O_NONBLOCK"),
        (0x80000, "O_CLOEXEC"),
    ],
);

/// `DT_*`.
pub static ENTRY_TYPE: Set = Set::new(
    "DT_???",
    &[
        (0, "DT_UNKNOWN"),
        (1, "DT_FIFO"),
        (2, "DT_CHR"),
        (4, "DT_DIR"),
        (6, "DT_BLK"),
        (8, "DT_REG"),
        (10, "DT_LNK"),
        (12, "DT_SOCK"),
        (14, "DT_WHT"),
    ],
);
