//! A signal that comes to the program.

use hotpatch_abi::{self as abi, interrupted};

use crate::{Frame, Site};

/// Where in a system call a signal has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interrupted {
    /// In none that the hook has been asked about and not been told the end of.
    None,
    /// The call has not been made yet; it is when the handler returns.
    Before,
    /// It has ended, [`Frame::rax`] says how, and `after` has not been called yet.
    Ended,
    /// It is made once more when the handler returns; then the hook is asked again.
    Again,
    /// The same, but the hook is not asked again.
    AgainUnseen,
}

/// What is told of a signal.
#[derive(Debug)]
pub struct Signal<'a> {
    context: &'a mut abi::Context,
    signal: &'a abi::Signal,
}

impl<'a> Signal<'a> {
    pub(crate) fn new(context: &'a mut abi::Context, signal: &'a abi::Signal) -> Self {
        Self { context, signal }
    }

    /// Where the kernel's `siginfo_t` is: 128 bytes. Nothing where a handler has come to its end.
    #[must_use]
    pub fn info(&self) -> Option<u64> {
        (!self.signal.info.is_null()).then(|| self.signal.info.addr() as u64)
    }

    /// The handler's address; 0 for the default action.
    #[must_use]
    pub fn handler(&self) -> u64 {
        self.signal.handler
    }

    /// The signals, bit 0 for signal 1, that are blocked when the handler has returned.
    #[must_use]
    pub fn mask(&self) -> u64 {
        self.signal.mask
    }

    /// Whether it has come in the middle of a call.
    #[must_use]
    pub fn interrupted(&self) -> Interrupted {
        match self.signal.call {
            interrupted::BEFORE => Interrupted::Before,
            interrupted::ENDED => Interrupted::Ended,
            interrupted::AGAIN => Interrupted::Again,
            interrupted::AGAIN_UNSEEN => Interrupted::AgainUnseen,
            _ => Interrupted::None,
        }
    }

    /// The number of that call; those from 65535 on are not told apart.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.context.number
    }

    /// Its instruction.
    #[must_use]
    pub fn site(&self) -> Option<Site<'static>> {
        // SAFETY: null, or a site's, which live as long as the process.
        unsafe { self.context.site.as_ref() }.map(Site::new)
    }

    /// The program's registers where it was interrupted, as the handler can see them.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.signal.frame
    }

    /// Eight bytes of the hook's own for each thread, as [`Context::slot`](crate::Context::slot).
    pub fn slot(&mut self) -> &mut u64 {
        // SAFETY: the runtime's: this thread's alone, and valid during the call.
        unsafe { &mut *self.context.slot }
    }
}
