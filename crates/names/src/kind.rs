//! What an argument or a field is: enough to know which bytes it stands for and how it is printed.

use crate::flags::Set;

/// How many elements or bytes an argument's memory holds.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    /// As many as the argument with this index says.
    Arg(u8),
    /// As many as the result says, at most what the argument with this index says.
    Result(u8),
    /// As many as the 4 bytes say that the argument with this index points to.
    Behind(u8),
    /// This many.
    Exactly(u16),
}

/// What an address leads to.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A structure.
    Struct(&'static Struct),
    /// Structures in a row.
    List(&'static Struct, Count),
    /// One number, printed in brackets.
    Number(&'static Kind),
    /// Numbers in a row.
    Numbers(&'static Kind, Count),
    /// Bytes.
    Bytes(Count),
    /// Bytes up to a zero.
    Text,
    /// Bytes up to a zero that name a file.
    Path,
    /// Addresses of texts up to a zero.
    Texts,
    /// The same of which only the number is told.
    Environment,
    /// `iovec`s, as many as the argument with this index says, whose bytes are the program's.
    Vectors(u8),
    /// The same whose bytes the kernel fills, as many as the result says.
    Filled(u8),
    /// A `msghdr`.
    Message,
    /// `mmsghdr`s, as many as the argument with this index says.
    Messages(u8),
    /// A `sockaddr`.
    Address(Count),
    /// The length of what an address argument leads to, in and out.
    Length,
    /// A set of signals.
    Signals,
    /// A kernel `sigaction`.
    Action,
    /// A status of `wait4`.
    Status,
    /// Descriptors of `select`, as many bits as the argument with this index says.
    Descriptors(u8),
    /// A set of processors of so many bytes.
    Processors(Count),
    /// `struct stat`.
    Stat,
    /// Two `cap_user_data_t`.
    Capabilities,
    /// `struct statx`.
    Statx,
    /// A kernel `termios`.
    Terminal,
    /// `siginfo_t`.
    Siginfo,
    /// `linux_dirent64`s; only their number is told.
    Entries,
    /// Time that is left, told only if the call was interrupted.
    Remaining(&'static Struct),
    /// `clone_args`, of which the argument with this index tells the size.
    CloneArgs(u8),
    /// A socket's option, its length in the count.
    SocketOption(Count),
}

/// An argument or a field.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A descriptor of a directory, or `AT_FDCWD`.
    DirFd,
    /// Signed, 4 bytes.
    Int,
    /// Unsigned, 4 bytes.
    Uint,
    /// Signed, 8 bytes.
    Long,
    /// Unsigned, 8 bytes.
    Ulong,
    /// Signed, 2 bytes.
    Short,
    /// Unsigned, 2 bytes.
    Ushort,
    /// Unsigned, 1 byte.
    Byte,
    /// Hexadecimal, 8 bytes.
    Hex,
    /// Hexadecimal, 4 bytes.
    Hex32,
    /// An address that nothing is read from.
    Pointer,
    /// Octal permission bits.
    Octal,
    /// Type and permissions of a file.
    Mode,
    /// A device.
    Device,
    /// A user or a group; all ones is -1.
    Id,
    /// A signal.
    Signal,
    /// A resource limit.
    Limit,
    /// Flags, 4 bytes.
    Flags(&'static Set),
    /// Flags, 8 bytes.
    Flags64(&'static Set),
    /// Flags, 2 bytes.
    Flags16(&'static Set),
    /// One of the set, 4 bytes.
    Enum(&'static Set),
    /// One of the set, 8 bytes.
    Enum64(&'static Set),
    /// One of the set, 2 bytes.
    Enum16(&'static Set),
    /// A protocol of sockets of the family that the first argument names.
    Protocol,
    /// Flags of `clone` with the signal in their low byte.
    Clone,
    /// A set of signals inside of a structure.
    Mask,
    /// A key of System V IPC.
    Key,
    /// Flags of System V IPC over permission bits.
    Ipc(&'static Set),
    /// The operation of `FUTEX_WAKE_OP`.
    FutexOp,
    /// A text of so many bytes inside of a structure, ended by a zero.
    Chars(u16),
    /// A structure inside of a structure.
    Nested(&'static Struct),
    /// Numbers inside of a structure.
    Row(&'static Kind, u8),
    /// Memory read by the kernel.
    In(What),
    /// Memory written by the kernel.
    Out(What),
    /// Memory read and written.
    InOut(What),
}

impl Kind {
    /// The bytes that a field of this kind takes.
    #[must_use]
    pub const fn width(&self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Short | Self::Ushort | Self::Flags16(_) | Self::Enum16(_) => 2,
            Self::Fd
            | Self::DirFd
            | Self::Int
            | Self::Uint
            | Self::Hex32
            | Self::Octal
            | Self::Mode
            | Self::Id
            | Self::Signal
            | Self::Protocol
            | Self::FutexOp
            | Self::Key
            | Self::Ipc(_)
            | Self::Flags(_)
            | Self::Enum(_) => 4,
            Self::Chars(size) => *size as usize,
            Self::Nested(nested) => nested.size as usize,
            Self::Row(kind, count) => kind.width() * *count as usize,
            _ => 8,
        }
    }

    /// Whether it can be told only when the call has ended.
    #[must_use]
    pub const fn is_out(&self) -> bool {
        matches!(self, Self::Out(_) | Self::InOut(What::Length))
    }
}

/// A field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins.
    pub offset: u16,
    /// What it is.
    pub kind: Kind,
}

/// A structure of the kernel's.
#[derive(Debug)]
pub struct Struct {
    /// Its size in bytes.
    pub size: u16,
    /// How many fields are told where not everything is asked for.
    pub brief: u8,
    /// Its fields, in the order in which they are told.
    pub fields: &'static [Field],
}

/// What a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A signed number.
    Number,
    /// An address, or flags in hexadecimal.
    Hex,
    /// Octal permission bits.
    Octal,
    /// A descriptor.
    Fd,
    /// The call never comes back.
    Never,
}
