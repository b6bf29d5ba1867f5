//! A plan as text: the code around a site before and after, its chain of stones, its trampoline.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

use crate::addr::{Span, Va};
use crate::code::{Code, Insn};
use crate::image::Image;
use crate::plan::{Change, Edit, Emission, Moved, Native, Outcome, Plan, Refusal, Site};

/// How far around a change code is shown, in bytes.
const AROUND: u64 = 8;

/// What one line shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Code as it is in the file.
    Same,
    /// Code that a plan changes, or the changed code.
    Changed,
    /// Bytes that nobody executes any more.
    Left,
    /// Addresses are missing between the lines around this one, which is empty.
    Gap,
}

/// One instruction, or bytes that are none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its address.
    pub at: Va,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// In the syntax of GNU's assembler.
    pub text: String,
    /// What to know about it.
    pub note: String,
    /// What it shows.
    pub mark: Mark,
}

/// A site before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// The code of the image.
    pub before: Vec<Line>,
    /// The same places once the plan has been applied.
    pub after: Vec<Line>,
    /// Where the site's instruction is executed; empty where that is the site.
    pub trampoline: Vec<Line>,
}

/// Shows `plan`'s site of that index, as `emission` has it.
///
/// `None` where there is no such site.
#[must_use]
pub fn listing<'i>(
    code: &mut Code<'i>,
    plan: &Plan,
    emission: &Emission,
    index: usize,
) -> Option<Listing> {
    let image = code.image();
    let site = plan.sites.get(index)?;
    let mut shown = Shown {
        image,
        code,
        plan,
        emission,
    };
    let Outcome::Patched { trampoline, .. } = site.outcome else {
        let around = Span {
            start: site.at - AROUND,
            end: site.end() + AROUND,
        };
        return Some(Listing {
            before: shown.code(&[around], &[site.at], false),
            after: Vec::new(),
            trampoline: Vec::new(),
        });
    };
    let edits = edits_of(plan, trampoline);
    let span = plan.trampolines.get(trampoline as usize)?.span;
    let mut windows = alloc::vec![Span {
        start: span.start - AROUND,
        end: span.end + AROUND
    }];
    windows.extend(
        edits
            .iter()
            .map(|edit| Span::new(edit.at, edit.change.size())),
    );
    let changed: Vec<Va> = edits.iter().map(|edit| edit.at).chain([site.at]).collect();
    Some(Listing {
        before: shown.code(&windows, &changed, false),
        after: shown.code(&windows, &changed, true),
        trampoline: shown.trampoline(trampoline),
    })
}

/// The leaps into a trampoline, the hops that lead to them, and the branches led into its middle.
fn edits_of(plan: &Plan, trampoline: u32) -> Vec<Edit> {
    let mut ends: BTreeSet<Va> = BTreeSet::new();
    let mut edits: Vec<Edit> = Vec::new();
    loop {
        let found = plan.edits.iter().filter(|edit| match edit.change {
            Change::Hop { to } => ends.contains(&to),
            Change::Leap { trampoline: to } | Change::Retarget { trampoline: to, .. } => {
                to == trampoline
            }
        });
        let found: Vec<Edit> = found.copied().collect();
        if found.len() == edits.len() {
            return edits;
        }
        ends.extend(found.iter().map(|edit| edit.at));
        edits = found;
    }
}

struct Shown<'a, 'i> {
    image: &'i Image<'i>,
    code: &'a mut Code<'i>,
    plan: &'a Plan,
    emission: &'a Emission,
}

impl Shown<'_, '_> {
    /// The instructions that share a byte with `windows`.
    fn code(&mut self, windows: &[Span], changed: &[Va], patched: bool) -> Vec<Line> {
        let mut insns: Vec<Span> = windows
            .iter()
            .flat_map(|window| self.whole(*window))
            .collect();
        insns.sort();
        insns.dedup();
        let mut lines: Vec<Line> = Vec::new();
        let mut end = insns.first().map_or(Va(0), |first| first.start);
        for span in insns {
            if span.start < end {
                continue;
            }
            if span.start > end {
                lines.push(gap(end));
            }
            end = span.end;
            if patched {
                self.patched(span, &mut lines);
            } else {
                let touched = changed.iter().any(|&at| span.contains(at));
                lines.push(self.line(
                    span,
                    &self.original(span),
                    if touched { Mark::Changed } else { Mark::Same },
                ));
            }
        }
        lines
    }

    /// The bounds of the whole instructions in a window.
    fn whole(&mut self, window: Span) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut at = window.start;
        while at < window.end {
            let insn = self
                .code
                .region(at)
                .and_then(|region| region.index_around(at).map(|index| region.insns[index]));
            let span = insn.as_ref().map_or(Span::new(at, 1), Insn::span);
            // Before the first byte of the section there is nothing to show.
            if insn.is_some()
                || self
                    .image
                    .read(at, 1)
                    .is_some_and(|_| self.edit_at(at).is_some())
            {
                spans.push(span);
            }
            at = span.end;
        }
        spans
    }

    fn original(&self, span: Span) -> Vec<u8> {
        self.image.bytes(span).unwrap_or_default().to_vec()
    }

    /// One instruction of the image as the plan leaves it: itself, jumps over it, and what is left.
    fn patched(&self, span: Span, lines: &mut Vec<Line>) {
        let mut bytes = self.original(span);
        let mut written = alloc::vec![false; bytes.len()];
        let mut starts = BTreeSet::new();
        let near = self
            .emission
            .patches
            .partition_point(|patch| patch.at + 5 <= span.start);
        for patch in self.emission.patches[near..]
            .iter()
            .take_while(|patch| patch.at < span.end)
        {
            for (i, &byte) in patch.bytes[..usize::from(patch.len)].iter().enumerate() {
                let at = patch.at + i as u64;
                if span.contains(at) {
                    let offset = at.distance_from(span.start).unsigned_abs() as usize;
                    (bytes[offset], written[offset]) = (byte, true);
                }
            }
            if !self.is_retarget(patch.at) {
                starts.insert(patch.at);
            }
        }
        if !written.contains(&true) {
            return lines.push(self.line(span, &bytes, Mark::Same));
        }
        if starts.is_empty() && !self.tail_of_leap(span.start) {
            let mut line = self.line(span, &bytes, Mark::Changed);
            line.note = format!(
                "{} (was {})",
                line.note,
                self.line(span, &self.original(span), Mark::Same).text
            );
            return lines.push(line);
        }
        let mut at = span.start;
        while at < span.end {
            if let Some(edit) = self.edit_at(at).filter(|_| starts.contains(&at)) {
                lines.push(self.jump(edit));
                at = at + edit.change.size();
                continue;
            }
            let next = starts.range(at..).next().copied().unwrap_or(span.end);
            let rest = Span {
                start: at,
                end: next.min(span.end),
            };
            let offset = at.distance_from(span.start).unsigned_abs() as usize;
            let len = rest.len() as usize;
            // The last bytes of a jump that began before.
            let skip = written[offset..offset + len]
                .iter()
                .take_while(|written| **written)
                .count();
            if skip < len {
                let left = Span {
                    start: rest.start + skip as u64,
                    end: rest.end,
                };
                lines.push(Line {
                    at: left.start,
                    text: bytes_as_text(&bytes[offset + skip..offset + len]),
                    bytes: bytes[offset + skip..offset + len].to_vec(),
                    note: "never executed".to_string(),
                    mark: Mark::Left,
                });
            }
            at = rest.end;
        }
    }

    fn edit_at(&self, at: Va) -> Option<&Edit> {
        let index = self
            .plan
            .edits
            .binary_search_by_key(&at, |edit| edit.at)
            .ok()?;
        self.plan.edits.get(index)
    }

    fn is_retarget(&self, at: Va) -> bool {
        self.edit_at(at)
            .is_some_and(|edit| matches!(edit.change, Change::Retarget { .. }))
    }

    /// Whether a jump that begins before `at` covers it.
    fn tail_of_leap(&self, at: Va) -> bool {
        let before = self.plan.edits.partition_point(|edit| edit.at < at);
        let edit = before
            .checked_sub(1)
            .and_then(|index| self.plan.edits.get(index));
        edit.is_some_and(|edit| Span::new(edit.at, edit.change.size()).contains(at))
    }

    fn jump(&self, edit: &Edit) -> Line {
        let span = Span::new(edit.at, edit.change.size());
        let patches = &self.emission.patches;
        let bytes = match patches.binary_search_by_key(&edit.at, |patch| patch.at) {
            Ok(index) => patches[index].bytes[..usize::from(patches[index].len)].to_vec(),
            Err(_) => Vec::new(),
        };
        let mut line = self.line(span, &bytes, Mark::Changed);
        match edit.change {
            Change::Hop { to } => {
                line.note = if self.edit_at(to).is_some() {
                    "to the next stone"
                } else {
                    "over what follows"
                }
                .to_string();
            }
            Change::Leap { .. } => line.note = "to the trampoline".to_string(),
            Change::Retarget { .. } => {}
        }
        line
    }

    fn trampoline(&self, index: u32) -> Vec<Line> {
        let emission = self.emission;
        let start = |index: usize| emission.starts.get(index).map(|&start| start as usize);
        let Some(from) = start(index as usize) else {
            return Vec::new();
        };
        let end = start(index as usize + 1).unwrap_or(emission.code.len());
        let Some(bytes) = emission.code.get(from..end) else {
            return Vec::new();
        };
        let mut lines: Vec<Line> = Vec::new();
        let mut decoder = Decoder::with_ip(
            64,
            bytes,
            (emission.base + from as u64).0,
            DecoderOptions::NONE,
        );
        let mut previous = None;
        while decoder.can_decode() {
            let position = decoder.position();
            let insn = decoder.decode();
            let offset = (from + position) as u32;
            let moved = emission.moved.iter().find(|moved| {
                (moved.offset..moved.offset + u32::from(moved.len)).contains(&offset)
            });
            let mut line = line_of(&insn, &bytes[position..decoder.position()], Mark::Same);
            line.note = match moved.filter(|moved| previous != Some(moved.original)) {
                Some(moved) => format!("from {}", self.name(moved.original)),
                None => self.target_note(&insn),
            };
            previous = moved.map(|moved| moved.original);
            lines.push(line);
        }
        // What follows the last jump only fills up to the next trampoline.
        while lines.last().is_some_and(|line| line.bytes == [0xcc]) {
            lines.pop();
        }
        lines
    }

    fn line(&self, span: Span, bytes: &[u8], mark: Mark) -> Line {
        let mut decoder = Decoder::with_ip(64, bytes, span.start.0, DecoderOptions::NONE);
        let insn = decoder.decode();
        if insn.is_invalid() {
            let (text, note) = (bytes_as_text(bytes), String::new());
            return Line {
                at: span.start,
                bytes: bytes.to_vec(),
                text,
                note,
                mark,
            };
        }
        let mut line = line_of(&insn, bytes, mark);
        line.note = self.target_note(&insn);
        line
    }

    /// Where a direct branch goes or what a RIP-relative operand names.
    fn target_note(&self, insn: &Instruction) -> String {
        if insn.is_ip_rel_memory_operand() {
            return self.name(Va(insn.ip_rel_memory_address()));
        }
        let target = Va(insn.near_branch_target());
        if target == Va(0) {
            return String::new();
        }
        let copy = |moved: &&Moved| self.emission.base + u64::from(moved.offset) == target;
        match self.emission.moved.iter().find(copy) {
            Some(moved) => format!("to the copy of {}", self.name(moved.original)),
            None => self
                .image
                .symbol_at(target)
                .map(|_| self.name(target))
                .unwrap_or_default(),
        }
    }

    fn name(&self, at: Va) -> String {
        name(self.image, at)
    }
}

/// `read+0x13`, or the address where no symbol covers it.
#[must_use]
pub fn name(image: &Image<'_>, at: Va) -> String {
    match image.symbol_at(at) {
        Some((symbol, 0)) => symbol.to_string(),
        Some((symbol, offset)) => format!("{symbol}+{offset:#x}"),
        None => at.to_string(),
    }
}

fn line_of(insn: &Instruction, bytes: &[u8], mark: Mark) -> Line {
    let mut text = String::new();
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_rip_relative_addresses(true);
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(true);
    formatter.format(insn, &mut text);
    Line {
        at: Va(insn.ip()),
        bytes: bytes.to_vec(),
        text,
        note: String::new(),
        mark,
    }
}

fn gap(at: Va) -> Line {
    Line {
        at,
        bytes: Vec::new(),
        text: String::new(),
        note: String::new(),
        mark: Mark::Gap,
    }
}

fn bytes_as_text(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
    format!(".byte   {}", words.join(", "))
}

/// `      1139  0f 05                    syscall     note`
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mark == Mark::Gap {
            return write!(f, "        ...");
        }
        let bytes: Vec<String> = self
            .bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mark = match self.mark {
            Mark::Changed => '>',
            _ => ' ',
        };
        let line = format!(
            "  {mark} {:>8x}  {:<30} {:<36} {}",
            self.at.0,
            bytes.join(" "),
            self.text,
            self.note
        );
        f.write_str(line.trim_end())
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("before", &self.before),
            ("after", &self.after),
            ("trampoline", &self.trampoline),
        ];
        for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(f, "  {title}")?;
            lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}

/// Why a site stays native, in words.
#[must_use]
pub fn why_native(image: &Image<'_>, native: &Native) -> String {
    match native {
        Native::Restorer => "unwinders know a signal frame by these bytes".to_string(),
        Native::AddressTaken { from } => {
            format!("the address after it is taken at {}", name(image, *from))
        }
    }
}

/// Why a tactic could not be used, in words.
#[must_use]
pub fn why_refused(image: &Image<'_>, refusal: &Refusal) -> String {
    let name = |at: &Va| name(image, *at);
    match refusal {
        Refusal::NotAllowed => "not allowed".to_string(),
        Refusal::NoPad => "no padding within reach".to_string(),
        Refusal::Taken { at } => format!("{} belongs to another change", name(at)),
        Refusal::TargetInside { at, from } => format!("{} jumps to {}", name(from), name(at)),
        Refusal::UnknownJump { at } => format!("nobody knows where {} jumps", name(at)),
        Refusal::Immovable { at } => format!("{} cannot run elsewhere", name(at)),
        Refusal::NoRoom => "the function ends too soon".to_string(),
        Refusal::Forbidden { at } => format!("{} may not change", name(at)),
        Refusal::Untrusted => "nobody knows where instructions begin here".to_string(),
    }
}

/// What became of a site, in a word: a tactic's name, `native` or `refused`.
#[must_use]
pub fn outcome(site: &Site) -> &'static str {
    match &site.outcome {
        Outcome::Patched { tactic, .. } => tactic.name(),
        Outcome::Native(_) => "native",
        Outcome::Refused(_) => "refused",
        Outcome::NotSelected => "not-selected",
    }
}
