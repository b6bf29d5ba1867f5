//! Names, arguments and the split of a call that is told in two lines.

use crate::{Call, Memory, Style, When};
use hotpatch_names::{Answer, Kind, Row, Signature, What, row};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Which arguments are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Begin,
    Rest,
}

/// One call on its way to text.
pub(crate) struct Printer<'a> {
    pub(crate) call: &'a Call,
    /// What its arguments are, if anybody knows the call.
    pub(crate) signature: Option<&'a Signature>,
    pub(crate) memory: &'a dyn Memory,
    pub(crate) style: &'a Style,
    pub(crate) out: &'a mut String,
    /// Which memory counts, where an argument does not say.
    pub(crate) at: Option<When>,
}

impl<'a> Printer<'a> {
    pub(crate) fn bare_name(&mut self) {
        match row(self.call.number) {
            Some(row) => self.out.push_str(row.name),
            None => {
                let _ = write!(self.out, "syscall_{:#x}", self.call.number);
            }
        }
    }

    pub(crate) fn name(&mut self) {
        self.bare_name();
        self.out.push('(');
    }

    /// The error that the call ended with.
    pub(crate) fn error(&self) -> Option<u16> {
        let number = self.call.result?.wrapping_neg();
        (1..4096).contains(&number).then_some(number as u16)
    }

    pub(crate) fn arguments(&mut self, part: Part) {
        let Some(signature) = self.signature else {
            if part != Part::Rest {
                let words = self.call.args.map(|word| format!("{word:#x}"));
                self.out.push_str(&words.join(", "));
            }
            return;
        };
        if self.style.raw {
            return self.words(part, signature.row);
        }
        let arguments = signature.arguments();
        let split = arguments
            .iter()
            .position(|argument| argument.kind.is_out())
            .unwrap_or(arguments.len());
        let split = if self.call.number == 435 { 1 } else { split };
        if part == Part::Rest && self.call.number == 435 {
            self.clone_answer();
        }
        let comma_at_entry = !matches!(self.call.number, 56 | 435);
        let range = match part {
            Part::Whole => 0..arguments.len(),
            Part::Begin => 0..split,
            Part::Rest => split..arguments.len(),
        };
        for (index, argument) in arguments
            .iter()
            .enumerate()
            .skip(range.start)
            .take(range.len())
        {
            if index > 0 && (index != split || part == Part::Whole || !comma_at_entry) {
                self.out.push_str(", ");
            }
            self.out.push_str(argument.label);
            let value = self
                .call
                .args
                .get(usize::from(argument.index))
                .copied()
                .unwrap_or(0);
            self.argument(&argument.kind, value);
        }
        if part == Part::Begin && comma_at_entry && split > 0 && split < arguments.len() {
            self.out.push_str(", ");
        }
    }

    /// Arguments as they are in their registers, so many as the call takes at most.
    fn words(&mut self, part: Part, row: &Row) {
        if part == Part::Rest {
            return;
        }
        let words = self.call.args.iter().take(row.arguments.len());
        for (index, word) in words.enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            crate::number::hex(*word, self.out);
        }
    }

    pub(crate) fn argument(&mut self, kind: &Kind, value: u64) {
        match kind {
            Kind::In(what) => self.pointer(When::Entry, what, value),
            Kind::InOut(What::Length) => self.length(value),
            Kind::InOut(what) => self.pointer(When::Entry, what, value),
            Kind::Out(what) => {
                let told_of_failures =
                    matches!(what, What::Message | What::Filled(_) | What::Remaining(_));
                if self.error().is_some() && !told_of_failures || self.call.result.is_none() {
                    crate::number::address(value, self.out);
                } else {
                    self.pointer(When::Exit, what, value);
                }
            }
            _ => self.scalar(When::Entry, kind, value),
        }
    }

    /// Elements of an array that are told.
    pub(crate) const fn most(&self) -> usize {
        if self.style.verbose {
            1024
        } else {
            self.style.text
        }
    }

    /// As much as was kept, up to the length asked for.
    pub(crate) fn bytes(&self, when: When, address: u64, length: usize) -> Cow<'a, [u8]> {
        if is_memory(address) {
            self.memory.bytes(when, address, length)
        } else {
            Cow::Borrowed(&[])
        }
    }

    /// Reads all of it or nothing.
    pub(crate) fn exact<const N: usize>(&self, when: When, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (is_memory(address) && self.memory.read(when, address, &mut bytes) == N).then_some(bytes)
    }

    /// The closing bracket, the column and the result.
    pub(crate) fn close(&mut self) {
        self.out.push_str(") ");
        let column = self.out.len() - self.out.rfind('\n').map_or(0, |at| at + 1);
        const SPACES: &str = "                                        ";
        let mut missing = self.style.column.saturating_sub(column);
        while missing > 0 {
            let some = missing.min(SPACES.len());
            self.out.push_str(&SPACES[..some]);
            missing -= some;
        }
        self.out.push_str("= ");
        let answer = self.signature.map_or(Answer::Number, |signature| {
            signature.answer(&self.call.args)
        });
        self.result(answer);
    }
}

/// Whether a program can have bytes there: elsewhere lies what is known of descriptors.
const fn is_memory(address: u64) -> bool {
    address != 0 && address <= i64::MAX as u64
}
