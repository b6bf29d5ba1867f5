//! Code before and after a plan, instruction by instruction.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

use super::{Line, Mark, name};
use crate::addr::{Span, Va};
use crate::code::{Code, Insn};
use crate::image::Image;
use crate::plan::{Change, Edit, Emission, Moved, Plan};

/// A plan and what is needed to show the code that it is about.
pub(super) struct Shown<'a, 'i> {
    pub(super) image: &'i Image<'i>,
    pub(super) code: &'a mut Code<'i>,
    pub(super) plan: &'a Plan,
    pub(super) emission: &'a Emission,
}

impl Shown<'_, '_> {
    /// The instructions that share a byte with `windows`.
    pub(super) fn code(&mut self, windows: &[Span], changed: &[Va], patched: bool) -> Vec<Line> {
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

    pub(super) fn trampoline(&self, index: u32) -> Vec<Line> {
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
