//! The instruction that a hook is called for.

use core::marker::PhantomData;

use hotpatch_abi as abi;

use crate::runtime;
use crate::{Errno, Frame, Plain, Site};

/// What becomes of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Verdict {
    /// It is executed, with the registers as the hook left them.
    Run,
    /// The same, and then the hook's `after` is called. Calls that do not come back (`exit`, an exec that
    /// succeeds) have none.
    RunAndReturn,
    /// It is not executed: the program goes on behind it with the registers as the hook left them.
    /// [`Context::answer`] and [`Context::refuse`] make this of a result.
    Answer,
}

/// Who called, and with which registers.
///
/// ```
/// use hotpatch_hook::{Context, Errno, Verdict, nr};
///
/// fn before(context: &mut Context<'_>) -> Verdict {
///     let mut buffer = [0; 256];
///     match context.read_string(context.argument(1), &mut buffer) {
///         Ok(b"/etc/shadow") => context.refuse(Errno::EACCES),
///         Ok(_) => Verdict::Run,
///         // The kernel will say the same to the program.
///         Err(_) => Verdict::Run,
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Context<'a> {
    context: &'a mut abi::Context,
    frame: &'a mut Frame,
    not_sent: PhantomData<*mut ()>,
}

impl<'a> Context<'a> {
    /// From what the runtime passes.
    ///
    /// # Safety
    /// Its pointers are valid for `'a`, or null.
    #[doc(hidden)]
    pub unsafe fn new(context: &'a mut abi::Context, frame: &'a mut Frame) -> Self {
        Self {
            context,
            frame,
            not_sent: PhantomData,
        }
    }

    /// The number of the system call, as the program gave it; also after the call.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.context.number
    }

    /// Argument `index`, from 0 to 5.
    ///
    /// # Panics
    /// If there is no such argument.
    #[must_use]
    pub fn argument(&self, index: usize) -> u64 {
        self.arguments()[index]
    }

    /// All six arguments.
    #[must_use]
    pub fn arguments(&self) -> [u64; 6] {
        let f = &self.frame;
        [f.rdi, f.rsi, f.rdx, f.r10, f.r8, f.r9]
    }

    /// Changes an argument. The program has its own again when the call returns.
    ///
    /// # Panics
    /// If there is no such argument.
    pub fn set_argument(&mut self, index: usize, value: u64) {
        let f = &mut *self.frame;
        let registers = [
            &mut f.rdi, &mut f.rsi, &mut f.rdx, &mut f.r10, &mut f.r8, &mut f.r9,
        ];
        *registers[index] = value;
    }

    /// In `after`: what the call answered.
    ///
    /// # Errors
    /// The kernel's.
    pub fn result(&self) -> Result<u64, Errno> {
        Errno::from_result(self.frame.rax)
    }

    /// In `after`: what the program sees as the result.
    pub fn set_result(&mut self, result: Result<u64, Errno>) {
        self.frame.rax = result.unwrap_or_else(Errno::to_result);
    }

    /// In `before`: the call is not made, and this is its result.
    pub fn answer(&mut self, value: u64) -> Verdict {
        self.frame.rax = value;
        Verdict::Answer
    }

    /// In `before`: the call is not made, and fails.
    pub fn refuse(&mut self, why: Errno) -> Verdict {
        self.answer(why.to_result())
    }

    /// The registers.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        self.frame
    }

    /// The registers, to be changed.
    pub fn frame_mut(&mut self) -> &mut Frame {
        self.frame
    }

    /// The instruction.
    #[must_use]
    pub fn site(&self) -> Site<'static> {
        // SAFETY: in `before` and `after` it is not null, and sites live as long as the process.
        Site::new(unsafe { &*self.context.site })
    }

    /// Eight bytes of the hook's own for each thread: 0 when the thread starts.
    pub fn slot(&mut self) -> &mut u64 {
        // SAFETY: the runtime's: this thread's alone, and valid during the call.
        unsafe { &mut *self.context.slot }
    }

    /// Makes a system call that no hook sees. See [`crate::syscall`].
    ///
    /// # Errors
    /// The kernel's.
    ///
    /// # Safety
    /// The call must be one that the program bears: it may close its files and unmap its memory, the hook's too.
    pub unsafe fn syscall(&self, number: u32, arguments: [u64; 6]) -> Result<u64, Errno> {
        // SAFETY: the caller's promise.
        unsafe { runtime::syscall(number, arguments) }
    }

    /// Reads a value of the program's. See [`crate::read`].
    ///
    /// # Errors
    /// `EFAULT` where it cannot be read.
    pub fn read<T: Plain>(&self, address: u64) -> Result<T, Errno> {
        runtime::read(address)
    }

    /// Reads a string of the program's. See [`crate::read_string`].
    ///
    /// # Errors
    /// `EFAULT` where it cannot be read, `ENAMETOOLONG` where the buffer does not hold it.
    pub fn read_string<'b>(&self, address: u64, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        runtime::read_string(address, buffer)
    }

    /// Writes a value into the program's memory. See [`crate::write`].
    ///
    /// # Errors
    /// `EFAULT` where it cannot be written.
    pub fn write<T: Plain>(&self, address: u64, value: &T) -> Result<(), Errno> {
        runtime::write(address, value)
    }
}
