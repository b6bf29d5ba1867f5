//! What addresses lead to.

use crate::number::address;
use crate::print::Printer;
use crate::text::quote;
use crate::time::date;
use crate::{Escapes, When};
use hotpatch_names::structs as st;
use hotpatch_names::{Count, Field, Kind, Struct, What};
use std::fmt::Write as _;

pub(crate) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let count = bytes.len().min(8);
    word[..count].copy_from_slice(&bytes[..count]);
    u64::from_le_bytes(word)
}

impl Printer<'_> {
    pub(crate) fn count(&self, count: Count) -> u64 {
        let arg = |index: u8| self.call.args.get(usize::from(index)).copied().unwrap_or(0);
        match count {
            Count::Arg(index) => arg(index),
            Count::Result(index) => self.call.result.unwrap_or(0).min(arg(index)),
            Count::Behind(index) => self
                .exact::<4>(When::Exit, arg(index))
                .map_or(0, |bytes| word(&bytes)),
            Count::Exactly(count) => u64::from(count),
        }
    }

    pub(crate) fn pointer(&mut self, when: When, what: &What, at: u64) {
        if at == 0 {
            self.out.push_str("NULL");
            return;
        }
        let text = matches!(what, What::Text | What::Path | What::Bytes(_));
        if self.style.addresses && !text {
            address(at, self.out);
            return;
        }
        match *what {
            What::Struct(of) if std::ptr::eq(of, &st::SCHED_PARAM) => {
                self.number(when, &Kind::Int, at);
            }
            // Nobody was waited for, so nobody's usage is told.
            What::Struct(of)
                if std::ptr::eq(of, &st::RUSAGE)
                    && self.call.number == 61
                    && self.call.result == Some(0) =>
            {
                address(at, self.out);
            }
            What::Struct(of) => self.structure(when, of, at),
            What::List(of, count) => self.list(when, of, count, at),
            What::Number(kind) => self.number(when, kind, at),
            What::Numbers(kind, count) => self.numbers(when, kind, count, at),
            What::Bytes(Count::Exactly(_)) | What::Text | What::Path => self.text(when, what, at),
            What::Bytes(count) => {
                let count = self.count(count);
                let escapes = if self.call.number == 318 {
                    Escapes::AllHex
                } else {
                    self.style.escapes
                };
                self.buffer(when, at, count, escapes);
            }
            What::Texts => self.texts(at),
            What::Environment => self.environment(at),
            What::Vectors(index) | What::Filled(index) => {
                let count = self.call.args.get(usize::from(index)).copied().unwrap_or(0);
                let filled = matches!(what, What::Filled(_));
                let budget = if filled {
                    self.call.result.unwrap_or(0)
                } else {
                    u64::MAX
                };
                let failed = filled && self.error().is_some();
                let when = if failed { When::Entry } else { when };
                self.vectors(when, at, count, (!failed).then_some(budget));
            }
            What::Message => self.message(when, at),
            What::Messages(index) => self.messages(when, at, index),
            What::Address(count) => self.socket_address(when, at, count),
            What::Length => self.length(at),
            What::Signals => self.signals(when, at),
            What::Action => self.action(when, at),
            What::Status => self.status(at),
            What::Descriptors(index) => {
                let count = self.call.args.get(usize::from(index)).copied().unwrap_or(0);
                let bytes = self.bytes(
                    when,
                    at,
                    (count as u32 as usize).min(1 << 16).div_ceil(64) * 8,
                );
                if bytes.is_empty() && count > 0 {
                    address(at, self.out)
                } else {
                    self.bits(&bytes, count as usize, Some(when))
                }
            }
            What::Processors(count) => {
                let bytes = self.bytes(when, at, self.count(count).min(128) as usize);
                if bytes.is_empty() {
                    address(at, self.out)
                } else {
                    self.bits(&bytes, usize::MAX, None)
                }
            }
            What::Stat => self.stat(when, at),
            What::Capabilities => self.capabilities(when, at),
            What::Statx => self.statx(when, at),
            What::Terminal => self.terminal(when, at),
            What::Siginfo => match self.exact::<128>(when, at) {
                Some(info) => crate::signals::siginfo(&info, self.out),
                None => address(at, self.out),
            },
            What::Entries => self.entries(at),
            What::Remaining(of) => {
                // Only a sleep that a signal ended leaves time behind.
                let interrupted = matches!(self.error(), Some(4 | 514 | 516));
                if interrupted {
                    self.structure(When::Exit, of, at)
                } else {
                    address(at, self.out)
                }
            }
            What::CloneArgs(_) => self.clone_args(at),
            What::SocketOption(count) => self.option(when, at, count),
        }
    }

    pub(crate) fn structure(&mut self, when: When, of: &'static Struct, at: u64) {
        let size = usize::from(of.size);
        let bytes = self.bytes(when, at, size);
        if bytes.len() < size {
            address(at, self.out);
        } else {
            self.fields(when, of, &bytes);
        }
    }

    fn fields(&mut self, when: When, of: &'static Struct, bytes: &[u8]) {
        self.out.push('{');
        if std::ptr::eq(of, &st::POLLFD) && word(&bytes[..4]) as i32 == -1 {
            self.out.push_str("fd=-1}");
            return;
        }
        let mut fields: Vec<&Field> = of.fields.iter().collect();
        if std::ptr::eq(of, &st::OPEN_HOW) && word(&bytes[..8]) & 0x40_0040 != 0 {
            fields = st::OPEN_HOW_MODE.fields.iter().collect();
        }
        if std::ptr::eq(of, &st::SIGEVENT) && word(&bytes[..8]) == 0 {
            fields.remove(0);
        }
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            if index >= usize::from(of.brief) && !self.style.verbose {
                self.out.push_str("...");
                break;
            }
            let offset = usize::from(field.offset);
            let part = &bytes[offset..offset + field.kind.width()];
            let _ = write!(self.out, "{}=", field.name);
            self.field(when, &field.kind, part);
            if std::ptr::eq(of, &st::UTIMBUF) {
                self.out.push_str(" /* ");
                date(word(part) as i64, None, self.out);
                self.out.push_str(" */");
            }
        }
        self.out.push('}');
    }

    fn field(&mut self, when: When, kind: &Kind, part: &[u8]) {
        match kind {
            Kind::Nested(nested) => self.fields(when, nested, part),
            Kind::Chars(_) => {
                let text = part.split(|byte| *byte == 0).next().unwrap_or(&[]);
                quote(text, self.style.escapes, self.out);
            }
            Kind::Row(kind, _) => {
                self.out.push('[');
                for (index, part) in part.chunks(kind.width()).enumerate() {
                    if index > 0 {
                        self.out.push_str(", ");
                    }
                    self.field(when, kind, part);
                }
                self.out.push(']');
            }
            Kind::In(what) => self.pointer(when, what, word(part)),
            _ => self.scalar(when, kind, word(part)),
        }
    }

    fn list(&mut self, when: When, of: &'static Struct, count: Count, at: u64) {
        let size = usize::from(of.size);
        let all = self.count(count);
        let told = all.min(self.most() as u64) as usize;
        let bytes = self.bytes(when, at, told * size);
        if bytes.len() < size && all > 0 {
            address(at, self.out);
            return;
        }
        let times = matches!(count, Count::Exactly(2));
        self.out.push('[');
        for (index, element) in bytes.chunks_exact(size).enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            if times {
                self.file_time(when, of, element)
            } else {
                self.fields(when, of, element)
            }
        }
        if all > told as u64 {
            self.out.push_str(", ...");
        }
        self.out.push(']');
    }

    /// Times of files say their date, and may be two words instead.
    fn file_time(&mut self, when: When, of: &'static Struct, element: &[u8]) {
        let (seconds, fraction) = (word(&element[..8]) as i64, word(&element[8..]));
        let nanoseconds = std::ptr::eq(of, &st::TIMESPEC);
        match fraction {
            0x3fff_ffff if nanoseconds => self.out.push_str("UTIME_NOW"),
            0x3fff_fffe if nanoseconds => self.out.push_str("UTIME_OMIT"),
            _ => {
                self.fields(when, of, element);
                self.out.push_str(" /* ");
                date(
                    seconds,
                    Some((fraction, if nanoseconds { 9 } else { 6 })),
                    self.out,
                );
                self.out.push_str(" */");
            }
        }
    }

    fn number(&mut self, when: When, kind: &Kind, at: u64) {
        let bytes = self.bytes(when, at, kind.width());
        if bytes.len() < kind.width() {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        self.field(when, kind, &bytes);
        self.out.push(']');
    }

    fn numbers(&mut self, when: When, kind: &Kind, count: Count, at: u64) {
        let all = self.count(count);
        let told = all.min(self.most() as u64) as usize;
        let bytes = self.bytes(when, at, told * kind.width());
        if bytes.len() < told * kind.width() {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        for (index, part) in bytes.chunks_exact(kind.width()).enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            self.field(when, kind, part);
        }
        if all > told as u64 {
            self.out.push_str(", ...");
        }
        self.out.push(']');
    }

    /// Bytes of a known length.
    pub(crate) fn buffer(&mut self, when: When, at: u64, length: u64, escapes: Escapes) {
        let told = length.min(self.style.text as u64) as usize;
        let bytes = self.bytes(when, at, told);
        if at == 0 || bytes.len() < told {
            address(at, self.out);
            return;
        }
        quote(&bytes, escapes, self.out);
        if length > told as u64 {
            self.out.push_str("...");
        }
    }

    /// Bytes up to a zero.
    fn text(&mut self, when: When, what: &What, at: u64) {
        let most = if matches!(what, What::Path) {
            4096
        } else {
            self.style.text + 1
        };
        let bytes = self.bytes(when, at, most);
        if bytes.is_empty() {
            address(at, self.out);
            return;
        }
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) => quote(&bytes[..end], self.style.escapes, self.out),
            None if bytes.len() < most => address(at, self.out),
            None => {
                quote(&bytes[..most - 1], self.style.escapes, self.out);
                self.out.push_str("...");
            }
        }
    }

    fn texts(&mut self, at: u64) {
        let most = self.most();
        let bytes = self.bytes(When::Entry, at, (most + 1) * 8);
        if bytes.len() < 8 {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        for (index, pointer) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let pointer = word(pointer);
            if pointer == 0 {
                break;
            }
            if index > 0 {
                self.out.push_str(", ");
            }
            if index == most {
                self.out.push_str("...");
                break;
            }
            self.text(When::Entry, &What::Text, pointer);
        }
        self.out.push(']');
    }

    fn environment(&mut self, at: u64) {
        if self.style.verbose {
            self.texts(at);
            return;
        }
        address(at, self.out);
        let bytes = self.bytes(When::Entry, at, 1 << 16);
        if let Some(count) = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .position(|pointer| word(pointer) == 0)
        {
            let _ = write!(
                self.out,
                " /* {count} var{} */",
                if count == 1 { "" } else { "s" }
            );
        }
    }

    /// `iovec`s with their bytes, or with their addresses where nothing has been filled.
    pub(crate) fn vectors(&mut self, when: When, at: u64, count: u64, mut budget: Option<u64>) {
        let told = count.min(self.most() as u64) as usize;
        let bytes = self.bytes(when, at, told * 16);
        if count > 0 && bytes.len() < 16 {
            address(at, self.out);
            return;
        }
        self.out.push('[');
        for (index, vector) in bytes.as_chunks::<16>().0.iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            let (base, length) = (word(&vector[..8]), word(&vector[8..]));
            self.out.push_str("{iov_base=");
            match &mut budget {
                None => address(base, self.out),
                Some(budget) => {
                    let here = length.min(*budget);
                    *budget -= here;
                    self.buffer(when, base, here, self.style.escapes);
                }
            }
            let _ = write!(self.out, ", iov_len={length}}}");
        }
        if count > told as u64 {
            self.out.push_str(", ...");
        }
        self.out.push(']');
    }

    /// Numbers of bits; with `when` they are descriptors.
    pub(crate) fn bits(&mut self, bytes: &[u8], count: usize, when: Option<When>) {
        self.out.push('[');
        let mut told = false;
        for bit in
            (0..(bytes.len() * 8).min(count)).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 != 0)
        {
            if told {
                self.out.push(' ');
            }
            told = true;
            let _ = write!(self.out, "{bit}");
            if let Some(when) = when {
                self.descriptor(when, bit as i32);
            }
        }
        self.out.push(']');
    }
}
