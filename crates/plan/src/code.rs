//! Instructions: what each does to control flow.

use crate::addr::{Span, Va};
use crate::plan::SiteKind;

/// How one instruction passes control on, and what in it depends on its own address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Falls through; bytes can be copied anywhere.
    Plain,
    /// Falls through; has a RIP-relative memory operand.
    RipRelative {
        /// The address the operand names.
        target: Va,
        /// Offset in bytes of the 32-bit displacement within the instruction.
        disp_at: u8,
        /// The operand is taken as an address (`lea`), not read or written.
        lea: bool,
    },
    /// `syscall`.
    Syscall,
    /// Falls through; a site of another kind, whose bytes can be copied anywhere. Where it is no site, it is
    /// `Plain` or `Interrupt`.
    Site(SiteKind),
    /// `jcc rel8/rel32`.
    Jcc {
        /// Where it goes.
        target: Va,
        /// Displacement length in bytes: 1 or 4.
        disp_len: u8,
        /// The low nibble of the opcode.
        cond: u8,
    },
    /// `jmp rel8/rel32`.
    Jmp {
        /// Where it goes.
        target: Va,
        /// Displacement length in bytes: 1 or 4.
        disp_len: u8,
    },
    /// `call rel32`.
    Call {
        /// Where it goes.
        target: Va,
    },
    /// `loop`, `loope`, `loopne`, `jrcxz`, `jecxz` (always a 1-byte displacement).
    Loop {
        /// Where it goes.
        target: Va,
    },
    /// `xbegin rel32`: a branch whose target is the abort handler.
    Xbegin {
        /// The abort handler.
        target: Va,
    },
    /// `jmp` through a register or memory; `rip` holds the operand's address where it is RIP-relative
    /// (as in a PLT), and then `disp_at` is the offset of its displacement.
    JmpIndirect {
        /// Address and displacement offset of a RIP-relative operand.
        rip: Option<(Va, u8)>,
        /// The operand is a register, or memory with an index register: it may be a jump table.
        table: bool,
    },
    /// `call` through a register or memory.
    CallIndirect {
        /// Address and displacement offset of a RIP-relative operand.
        rip: Option<(Va, u8)>,
    },
    /// `ret` and its relatives (`iret`, `sysret`): control leaves and does not fall through.
    Ret,
    /// `hlt`, `ud2`, `ud0/1`: never falls through in user mode.
    Stop,
    /// `int3`, one byte.
    Int3,
    /// A no-op of any length that compilers pad with (`90`, `66 90`, `0f 1f …`, `66 2e 0f 1f …`,
    /// `lea 0(%rsi),%rsi` and the like are not counted). `endbr64` is not one.
    Nop,
    /// `endbr64`: somebody arrives here through a pointer.
    Endbr,
    /// Must not be moved: `int n`, `sysenter`, `syscall` with a prefix, an operand relative to `eip`, a far call,
    /// near branches with a 16-bit operand size (processors differ on where they go). May fall through.
    Interrupt,
}

/// One decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Insn {
    /// Its address.
    pub at: Va,
    /// Length in bytes, 1 to 15.
    pub len: u8,
    /// What it does to control flow.
    pub kind: Kind,
}

impl Insn {
    /// The bytes it occupies.
    #[must_use]
    pub fn span(&self) -> Span {
        Span::new(self.at, u64::from(self.len))
    }

    /// The address after it.
    #[must_use]
    pub fn end(&self) -> Va {
        self.at + u64::from(self.len)
    }

    /// Whether control can reach the instruction after it other than by a return.
    #[must_use]
    pub fn falls_through(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Jmp { .. } | Kind::JmpIndirect { .. } | Kind::Ret | Kind::Stop | Kind::Int3
        )
    }

    /// Whether it is a `syscall` or another instruction that is looked for.
    #[must_use]
    pub const fn is_site(&self) -> bool {
        matches!(self.kind, Kind::Syscall | Kind::Site(_))
    }

    /// The target of a direct branch or call.
    #[must_use]
    pub fn branch_target(&self) -> Option<Va> {
        match self.kind {
            Kind::Jcc { target, .. }
            | Kind::Jmp { target, .. }
            | Kind::Call { target }
            | Kind::Loop { target }
            | Kind::Xbegin { target } => Some(target),
            _ => None,
        }
    }
}

pub use crate::region::{Code, Region, Trust};
