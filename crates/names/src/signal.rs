//! Signals, and the codes that say where one came from.

static NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The name of a signal below 32, without `SIG`.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    NAMES.get((number as usize).wrapping_sub(1)).copied()
}

/// The number of a signal by its name, with or without `SIG`; `RT_1` and the like included.
#[must_use]
pub fn number(name: &str) -> Option<u32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if name == "RTMIN" {
        return Some(32);
    }
    if let Some(real_time) = name.strip_prefix("RT_") {
        return real_time
            .parse()
            .ok()
            .filter(|offset| *offset <= 32)
            .map(|offset: u32| 32 + offset);
    }
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|index| index as u32 + 1)
}

/// The name of a code of a signal.
#[must_use]
pub fn code(signal: u32, code: i32) -> Option<&'static str> {
    static ANY: &[(i32, &str)] = &[
        (0, "SI_USER"),
        (0x80, "SI_KERNEL"),
        (-1, "SI_QUEUE"),
        (-2, "SI_TIMER"),
        (-3, "SI_MESGQ"),
        (-4, "SI_ASYNCIO"),
        (-5, "SI_SIGIO"),
        (-6, "SI_TKILL"),
        (-7, "SI_DETHREAD"),
        (-60, "SI_ASYNCNL"),
    ];
    let own: &[&str] = match signal {
        4 => &[
            "ILL_ILLOPC",
            "ILL_ILLOPN",
            "ILL_ILLADR",
            "ILL_ILLTRP",
            "ILL_PRVOPC",
            "ILL_PRVREG",
            "ILL_COPROC",
            "ILL_BADSTK",
        ],
        8 => &[
            "FPE_INTDIV",
            "FPE_INTOVF",
            "FPE_FLTDIV",
            "FPE_FLTOVF",
            "FPE_FLTUND",
            "FPE_FLTRES",
            "FPE_FLTINV",
            "FPE_FLTSUB",
        ],
        11 => &["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"],
        7 => &[
            "BUS_ADRALN",
            "BUS_ADRERR",
            "BUS_OBJERR",
            "BUS_MCEERR_AR",
            "BUS_MCEERR_AO",
        ],
        5 => &["TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"],
        17 => &[
            "CLD_EXITED",
            "CLD_KILLED",
            "CLD_DUMPED",
            "CLD_TRAPPED",
            "CLD_STOPPED",
            "CLD_CONTINUED",
        ],
        29 => &[
            "POLL_IN", "POLL_OUT", "POLL_MSG", "POLL_ERR", "POLL_PRI", "POLL_HUP",
        ],
        31 => &["SYS_SECCOMP", "SYS_USER_DISPATCH"],
        _ => &[],
    };
    if code > 0
        && let Some(name) = own.get(code as usize - 1)
    {
        return Some(name);
    }
    ANY.iter()
        .find(|(known, _)| *known == code)
        .map(|(_, name)| *name)
}
