//! Classes of system calls, as strace's manual describes them.

use crate::calls::Row;
use crate::kind::{Answer, Kind, What};

/// A class that `-e trace=%…` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Takes the name of a file.
    File,
    /// Concerns a descriptor.
    Desc,
    /// Begins, ends or awaits processes.
    Process,
    /// Concerns the network.
    Network,
    /// Concerns signals.
    Signal,
    /// System V IPC.
    Ipc,
    /// Concerns mappings of memory.
    Memory,
    /// Reads or changes users, groups or capabilities.
    Creds,
    /// Reads or changes clocks.
    Clock,
    /// Always succeeds and has no arguments.
    Pure,
    /// Variants of `stat`.
    Stat,
    /// Variants of `lstat`.
    Lstat,
    /// Variants of `fstat`.
    Fstat,
    /// Any of these three.
    StatLike,
    /// Variants of `statfs`.
    Statfs,
    /// Variants of `fstatfs`.
    Fstatfs,
    /// Statistics of file systems.
    StatfsLike,
}

/// Names of classes without the leading `%`.
pub static CLASSES: &[(&str, Class)] = &[
    ("file", Class::File),
    ("desc", Class::Desc),
    ("process", Class::Process),
    ("network", Class::Network),
    ("net", Class::Network),
    ("signal", Class::Signal),
    ("ipc", Class::Ipc),
    ("memory", Class::Memory),
    ("creds", Class::Creds),
    ("clock", Class::Clock),
    ("pure", Class::Pure),
    ("stat", Class::Stat),
    ("lstat", Class::Lstat),
    ("fstat", Class::Fstat),
    ("%stat", Class::StatLike),
    ("statfs", Class::Statfs),
    ("fstatfs", Class::Fstatfs),
    ("%statfs", Class::StatfsLike),
];

impl Class {
    /// The class of this name, without the leading `%`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        CLASSES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, class)| *class)
    }

    /// Whether a call belongs to the class.
    #[must_use]
    pub fn has(self, row: &Row) -> bool {
        let letter = |letter: char| row.classes.contains(letter);
        let path = |kind: &Kind| matches!(kind, Kind::In(What::Path));
        match self {
            Self::File => letter('f') || row.arguments.iter().any(path),
            Self::Desc => {
                letter('d')
                    || row.answer == Answer::Fd && !matches!(row.name, "open" | "creat")
                    || row
                        .arguments
                        .iter()
                        .any(|kind| matches!(kind, Kind::Fd | Kind::DirFd))
            }
            Self::Process => letter('p'),
            Self::Network => letter('n'),
            Self::Signal => letter('s'),
            Self::Ipc => letter('i'),
            Self::Memory => letter('m'),
            Self::Creds => letter('c'),
            Self::Clock => letter('k'),
            Self::Pure => letter('u'),
            Self::Stat => letter('S'),
            Self::Lstat => letter('L'),
            Self::Fstat => letter('F'),
            Self::StatLike => letter('S') || letter('L') || letter('F'),
            Self::Statfs => letter('T'),
            Self::Fstatfs => letter('U'),
            Self::StatfsLike => letter('T') || letter('U') || row.name == "ustat",
        }
    }
}
