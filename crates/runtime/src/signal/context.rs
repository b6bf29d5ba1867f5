//! What the kernel puts on the stack for a handler, as its `rt_sigframe` has it (arch/x86/include/asm/sigframe.h).

use core::sync::atomic::{AtomicU32, Ordering};

/// The general registers in the order of the kernel's `sigcontext_64`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // named as the processor names them
pub struct Registers {
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rsp: u64,
    pub rip: u64,
    pub flags: u64,
}

/// What a frame of ours must remember until the handler returns: in words of the frame that the kernel neither fills
/// nor reads, so that whoever jumps out of the handler leaves nothing behind.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stash {
    /// The instruction that the handler is shown.
    pub shown_rip: u64,
    /// Where to go on if the handler leaves that as it is.
    pub rip: u64,
    /// The stack pointer that the handler is shown.
    pub shown_rsp: u64,
    /// The one to go on with.
    pub rsp: u64,
    /// The restorer that the program named, with [`MARK`] in the upper 16 bits: without it nothing here means
    /// anything, as the kernel leaves there what was there.
    pub restorer: u64,
    /// Where the number and the arguments are that the kernel is to see: they change places with the program's own.
    /// 0: they are the same.
    pub given: u64,
    /// What `r9` is to be when the thread goes on; 0: what it is.
    pub r9: u64,
    /// The call that was interrupted.
    pub call: Interrupted,
}

/// What marks a [`Stash`]: the upper 16 bits of no address.
pub static MARK: AtomicU32 = AtomicU32::new(0x6870);

/// Start-up's, in a program that runs already: marks that a runtime has left there, which has been taken out, are none. Handlers
/// may have begun natively since, with frames in the same places.
pub(crate) fn mark_anew(seed: u64) {
    const BITS: u32 = (1 << 14) - 1;
    // Relaxed: start-up writes it, while one thread runs.
    MARK.store((seed as u32 & BITS) + BITS + 1, Ordering::Relaxed);
}

fn mark() -> u64 {
    MARK.load(Ordering::Relaxed).into()
}

impl Stash {
    const ADDRESS: u64 = (1 << 48) - 1;

    /// Notes the restorer that the program named.
    pub fn leads_to(&mut self, restorer: u64) {
        self.restorer = restorer & Self::ADDRESS | mark() << 48;
    }

    /// Whether it means anything.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.restorer >> 48 == mark()
    }

    /// It.
    #[must_use]
    pub fn restorer(&self) -> u64 {
        self.restorer & Self::ADDRESS
    }
}

/// A call that a signal has interrupted.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// Its site.
    pub id: u32,
    /// Its number; [`Interrupted::ODD`] for all that are not below.
    pub number: u16,
    /// A value of [`interrupted`](hotpatch_abi::interrupted), or [`Interrupted::BORN`].
    pub what: u8,
    /// Not 0: hooks are told when the handler has come to its end.
    pub told: u8,
}

impl Interrupted {
    /// For `number`: no call is of interest that has it.
    pub const ODD: u16 = u16::MAX;
    /// A child that is just born: nobody has told its hooks that it is there.
    pub const BORN: u8 = u8::MAX;

    /// A call of that number at site `id`.
    pub fn new(id: u32, number: u64, what: u32) -> Self {
        Self {
            id,
            number: u16::try_from(number as u32).unwrap_or(Self::ODD),
            what: what as u8,
            told: 0,
        }
    }
}

/// The kernel's `ucontext`.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Context {
    flags: u64,
    link: u64,
    /// The alternate stack: where, flags, bytes.
    pub stack: [u64; 3],
    /// The registers of the interrupted code.
    pub registers: Registers,
    segments: u64,
    error: u64,
    /// The processor's exception, where it was one.
    pub trap: u64,
    old_mask: u64,
    /// The address of a page fault.
    pub cr2: u64,
    /// Where the vector registers are saved.
    pub vectors: u64,
    /// See [`Stash`].
    pub stash: Stash,
    /// The signals that are blocked when the handler has returned.
    pub mask: u64,
}

/// The kernel's `siginfo`, as words.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Info {
    /// Its number.
    pub signal: u32,
    /// An error number.
    pub error: u32,
    /// Where it came from: positive from the kernel itself, else from a process.
    pub code: i32,
    /// Kept by the kernel, used by nobody.
    pub padding: u32,
    /// What else there is: a sender and a value, an address, …
    pub fields: [u64; 14],
}

/// All of it. When a handler begins, rsp points here.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SignalFrame {
    /// Where the handler returns to.
    pub restorer: u64,
    /// See [`Context`].
    pub context: Context,
    /// See [`Info`].
    pub info: Info,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn is_where_the_kernel_puts_it() {
        // uc_mcontext, its reserved words and uc_sigmask, from the headers of the kernel's interface
        assert_eq!(offset_of!(Context, registers), 40);
        assert_eq!(offset_of!(Context, stash), 232);
        assert_eq!(size_of::<Stash>(), 64);
        assert_eq!(offset_of!(Context, mask), 296);
        assert_eq!(offset_of!(SignalFrame, info), 312);
        assert_eq!(size_of::<Info>(), 128);
    }
}
