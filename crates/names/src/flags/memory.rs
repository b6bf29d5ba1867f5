//! Names of constants, as the headers of the kernel and the C library have them.

use super::Set;

/// Protection of memory.
pub static PROT: Set = Set::new(
    "PROT_???",
    &[
        (0, "PROT_NONE"),
        (1, "PROT_READ"),
        (2, "PROT_WRITE"),
        (4, "PROT_EXEC"),
        (8, "PROT_SEM"),
        (0x1000000, "PROT_GROWSDOWN"),
        (0x2000000, "PROT_GROWSUP"),
    ],
);

/// Flags of `mmap`.
pub static MAP: Set = Set::over(
    "MAP_???",
    0xf,
    &[
        (0, "MAP_FILE"),
        (1, "MAP_SHARED"),
        (2, "MAP_PRIVATE"),
        (3, "MAP_SHARED_VALIDATE"),
    ],
    &[
        (0x10, "MAP_FIXED"),
        (0x20, "MAP_ANONYMOUS"),
        (0x40, "MAP_32BIT"),
        (0x4000, "MAP_NORESERVE"),
        (0x8000, "MAP_POPULATE"),
        (0x10000, "MAP_NONBLOCK"),
        (0x100, "MAP_GROWSDOWN"),
        (0x800, "MAP_DENYWRITE"),
        (0x1000, "MAP_EXECUTABLE"),
        (0x2000, "MAP_LOCKED"),
        (0x20000, "MAP_STACK"),
        (0x40000, "MAP_HUGETLB"),
        (0x80000, "MAP_SYNC"),
        (0x100000, "MAP_FIXED_NOREPLACE"),
    ],
);

/// Flags of `mremap`.
pub static MREMAP: Set = Set::new(
    "MREMAP_???",
    &[
        (1, "MREMAP_MAYMOVE"),
        (2, "MREMAP_FIXED"),
        (4, "MREMAP_DONTUNMAP"),
    ],
);

/// Advice on memory.
pub static MADVISE: Set = Set::new(
    "MADV_???",
    &[
        (0, "MADV_NORMAL"),
        (1, "MADV_RANDOM"),
        (2, "MADV_SEQUENTIAL"),
        (3, "MADV_WILLNEED"),
        (4, "MADV_DONTNEED"),
        (8, "MADV_FREE"),
        (9, "MADV_REMOVE"),
        (0xa, "MADV_DONTFORK"),
        (0xb, "MADV_DOFORK"),
        (0xc, "MADV_MERGEABLE"),
        (0xd, "MADV_UNMERGEABLE"),
        (0xe, "MADV_HUGEPAGE"),
        (0xf, "MADV_NOHUGEPAGE"),
        (0x10, "MADV_DONTDUMP"),
        (0x11, "MADV_DODUMP"),
        (0x12, "MADV_WIPEONFORK"),
        (0x13, "MADV_KEEPONFORK"),
        (0x14, "MADV_COLD"),
        (0x15, "MADV_PAGEOUT"),
        (0x16, "MADV_POPULATE_READ"),
        (0x17, "MADV_POPULATE_WRITE"),
        (0x18, "MADV_DONTNEED_LOCKED"),
        (0x64, "MADV_HWPOISON"),
    ],
);

/// Flags of `msync`.
pub static MSYNC: Set = Set::new(
    "MS_???",
    &[(4, "MS_SYNC"), (1, "MS_ASYNC"), (2, "MS_INVALIDATE")],
);

/// Flags of `mlockall`.
pub static MLOCKALL: Set = Set::new(
    "MCL_???",
    &[(1, "MCL_CURRENT"), (2, "MCL_FUTURE"), (4, "MCL_ONFAULT")],
);

/// Flags of `mlock2`.
pub static MLOCK: Set = Set::new("MLOCK_???", &[(1, "MLOCK_ONFAULT")]);

/// Flags of `memfd_create`.
pub static MEMFD: Set = Set::new(
    "MFD_???",
    &[
        (1, "MFD_CLOEXEC"),
        (2, "MFD_ALLOW_SEALING"),
        (4, "MFD_HUGETLB"),
    ],
);

/// Commands of `membarrier`.
pub static MEMBARRIER: Set = Set::new(
    "MEMBARRIER_CMD_???",
    &[
        (0, "MEMBARRIER_CMD_QUERY"),
        (1, "MEMBARRIER_CMD_GLOBAL"),
        (2, "MEMBARRIER_CMD_GLOBAL_EXPEDITED"),
        (4, "MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED"),
        (8, "MEMBARRIER_CMD_PRIVATE_EXPEDITED"),
        (0x10, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED"),
        (0x20, "MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE"),
        (0x40, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE"),
        (0x80, "MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ"),
        (0x100, "MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ"),
    ],
);

/// Memory policies.
pub static MPOL: Set = Set::over(
    "MPOL_???",
    0xff,
    &[
        (0, "MPOL_DEFAULT"),
        (1, "MPOL_PREFERRED"),
        (2, "MPOL_BIND"),
        (3, "MPOL_INTERLEAVE"),
        (4, "MPOL_LOCAL"),
        (5, "MPOL_PREFERRED_MANY"),
    ],
    &[
        (0x2000, "MPOL_F_NUMA_BALANCING"),
        (0x4000, "MPOL_F_RELATIVE_NODES"),
        (0x8000, "MPOL_F_STATIC_NODES"),
    ],
);

/// Flags of `get_mempolicy`.
pub static MPOL_GET: Set = Set::new(
    "MPOL_F_???",
    &[
        (1, "MPOL_F_NODE"),
        (2, "MPOL_F_ADDR"),
        (4, "MPOL_F_MEMS_ALLOWED"),
    ],
);

/// Flags of `getrandom`.
pub static RANDOM: Set = Set::new(
    "GRND_???",
    &[
        (1, "GRND_NONBLOCK"),
        (2, "GRND_RANDOM"),
        (4, "GRND_INSECURE"),
    ],
);

/// Flags of `shmat`.
pub static SHM_FLAGS: Set = Set::new(
    "SHM_???",
    &[
        (0x1000, "SHM_RDONLY"),
        (0x2000, "SHM_RND"),
        (0x4000, "SHM_REMAP"),
        (0x8000, "SHM_EXEC"),
    ],
);

/// Commands on IPC objects.
pub static IPC_CMD: Set = Set::new(
    "IPC_???",
    &[
        (0, "IPC_RMID"),
        (1, "IPC_SET"),
        (2, "IPC_STAT"),
        (3, "IPC_INFO"),
    ],
);

/// Flags of `shmget` and its like.
pub static IPC_FLAGS: Set = Set::new(
    "IPC_???",
    &[
        (0x200, "IPC_CREAT"),
        (0x400, "IPC_EXCL"),
        (0x800, "IPC_NOWAIT"),
    ],
);

/// Flags of `shmget`.
pub static SHM_GET: Set = Set::new(
    "SHM_???",
    &[
        (0x200, "IPC_CREAT"),
        (0x400, "IPC_EXCL"),
        (0x800, "SHM_HUGETLB"),
        (0x1000, "SHM_NORESERVE"),
    ],
);

/// Flags of `semop`.
pub static SEM_FLAGS: Set = Set::new("SEM_???", &[(0x1000, "SEM_UNDO"), (0x800, "IPC_NOWAIT")]);
