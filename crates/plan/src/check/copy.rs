//! Walks each trampoline's code beside the instructions it replaces.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use iced_x86::{Code, FlowControl, Instruction, Register};

use super::fault::Fault;
use super::step::{
    branch_target, bytes_from, decode, falls_through, instruction_at, is_nop, operand,
};
use crate::addr::{Span, Va};
use crate::emit::{Block, Places, Style, at, block, other_block};
use crate::image::Image;
use crate::plan::{Emission, Plan, Site, Trampoline};

/// Control leaves a trampoline: it goes to `to`, and the original went to `meant`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    /// The original instruction that passes control on.
    pub(super) original: Va,
    pub(super) meant: Va,
    pub(super) to: Va,
    /// The jump that ends the trampoline, not a branch of the program.
    pub(super) back: bool,
}

/// What the walk over all trampolines finds.
#[derive(Default, Debug)]
pub(super) struct Copies {
    /// Where each moved instruction is executed now.
    pub(super) of: BTreeMap<Va, Va>,
    /// Every way out.
    pub(super) exits: Vec<Exit>,
    /// The spans that moved, by their start.
    pub(super) spans: BTreeMap<Va, Va>,
}

impl Copies {
    /// Whether the instruction at `at` moves.
    pub(super) fn moves(&self, at: Va) -> bool {
        self.spans
            .range(..=at)
            .next_back()
            .is_some_and(|(_, &end)| at < end)
    }
}

/// Reads one trampoline's code, instruction by instruction.
struct Reader<'r> {
    code: &'r [u8],
    base: Va,
    at: usize,
    end: usize,
}

impl Reader<'_> {
    fn here(&self) -> Va {
        self.base + self.at as u64
    }

    fn rest(&self) -> &[u8] {
        &self.code[self.at..self.end]
    }

    fn next(&mut self) -> Option<Instruction> {
        let instruction = decode(self.rest(), self.here())?;
        self.at += instruction.len();
        Some(instruction)
    }

    /// Takes a `jmp rel32` and says where it goes.
    fn jump(&mut self) -> Option<Va> {
        self.next()
            .filter(|i| i.code() == Code::Jmp_rel32_64)
            .and_then(|i| branch_target(&i))
    }
}

/// Walks all trampolines of `plan`; the faults tell why the result cannot be relied on.
pub(super) fn walk(
    image: &Image<'_>,
    plan: &Plan,
    emission: &Emission,
    bias: u64,
    style: Style<'_>,
) -> (Copies, Vec<Fault>) {
    let mut walk = Walk {
        image,
        bias,
        style,
        sites: &plan.sites,
        blocks: &emission.blocks,
        copies: Copies::default(),
        faults: Vec::new(),
    };
    let length = emission.code.len();
    let code_span = Span::new(emission.base, length as u64);
    if image.segments.iter().any(|s| s.span.overlaps(code_span)) {
        walk.faults.push(Fault::CodeOverImage {
            base: emission.base,
        });
    }
    let mut done = 0;
    let mut moved = emission.moved.iter();
    for (index, trampoline) in plan.trampolines.iter().enumerate() {
        let starts = |i: usize| emission.starts.get(i).map(|&s| s as usize);
        let end = starts(index + 1).unwrap_or(length);
        let Some(start) = starts(index).filter(|&s| done <= s && s <= end && end <= length) else {
            walk.faults.push(Fault::NoSuchTrampoline {
                index: index as u32,
            });
            return (walk.copies, walk.faults);
        };
        walk.padding(&emission.code, done, start);
        let mut reader = Reader {
            code: &emission.code,
            base: emission.base,
            at: start,
            end,
        };
        if let Err(fault) = walk.trampoline(trampoline, &mut reader, &mut moved) {
            walk.faults.push(fault);
            done = end;
        } else {
            done = reader.at;
        }
    }
    walk.padding(&emission.code, done, length);
    if emission.starts.len() > plan.trampolines.len() {
        walk.faults.push(Fault::NoSuchTrampoline {
            index: plan.trampolines.len() as u32,
        });
    }
    walk.faults.extend(moved.map(|m| Fault::MovedDiffers {
        original: m.original,
    }));
    (walk.copies, walk.faults)
}

struct Walk<'w, 'i> {
    image: &'w Image<'i>,
    bias: u64,
    style: Style<'w>,
    sites: &'w [Site],
    /// The hooked sites still to come.
    blocks: &'w [Block],
    copies: Copies,
    faults: Vec<Fault>,
}

impl Walk<'_, '_> {
    fn padding(&mut self, code: &[u8], from: usize, to: usize) {
        if let Some(stray) = code[from..to].iter().position(|&b| b != 0xcc) {
            self.faults.push(Fault::Unaccounted {
                offset: (from + stray) as u32,
            });
        }
    }

    fn trampoline<'m>(
        &mut self,
        trampoline: &Trampoline,
        reader: &mut Reader<'_>,
        moved: &mut impl Iterator<Item = &'m crate::plan::Moved>,
    ) -> Result<(), Fault> {
        let span = trampoline.span;
        let next = self.copies.spans.range(..span.end).next_back();
        if span.is_empty() || next.is_some_and(|(_, &end)| end > span.start) {
            return Err(Fault::SpansOverlap { at: span.start });
        }
        self.copies.spans.insert(span.start, span.end);
        let mut at = span.start;
        let mut listed = trampoline.insns.iter();
        let mut goes_on = None;
        while at < span.end {
            let original = instruction_at(self.image, at).ok_or(Fault::SpanDiffers { at })?;
            let end = Va(original.next_ip());
            if end > span.end
                || listed
                    .next()
                    .is_none_or(|l| l.at != at || usize::from(l.len) != original.len())
            {
                return Err(Fault::SpanDiffers { at });
            }
            let start = reader.at;
            self.copies.of.insert(at, reader.here());
            self.instruction(&original, reader)?;
            let agrees = moved.next().is_some_and(|m| {
                m.original == at
                    && m.offset as usize == start
                    && usize::from(m.len) == reader.at - start
            });
            if !agrees {
                return Err(Fault::MovedDiffers { original: at });
            }
            let call = original.code() == Code::Call_rel32_64;
            if call && end < span.end {
                return Err(Fault::CallInside { at });
            }
            if call {
                // Its return address is the program's, so that is where it comes back.
                self.exit(at, end, end, true);
            }
            goes_on = (falls_through(&original) && !call).then_some(at);
            at = end;
        }
        if let Some(extra) = listed.next() {
            return Err(Fault::SpanDiffers { at: extra.at });
        }
        if let Some(last) = goes_on {
            let to = reader.jump().ok_or(Fault::NoWayBack { end: span.end })?;
            self.exit(last, span.end, to, true);
        }
        Ok(())
    }

    fn exit(&mut self, original: Va, meant: Va, to: Va, back: bool) {
        self.copies.exits.push(Exit {
            original,
            meant,
            to,
            back,
        });
    }

    fn instruction(
        &mut self,
        original: &Instruction,
        reader: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        let at = Va(original.ip());
        if original.code() == Code::Syscall {
            self.hook(at, None, reader)?;
            return syscall(original, reader);
        }
        if is_nop(original) {
            return Ok(());
        }
        if self.sites.binary_search_by_key(&at, |site| site.at).is_ok() {
            self.hook(at, Some(original.len()), reader)?;
            return self.same(original, reader);
        }
        match original.flow_control() {
            FlowControl::Next
            | FlowControl::Return
            | FlowControl::IndirectBranch
            | FlowControl::Exception => self.same(original, reader),
            FlowControl::ConditionalBranch if original.is_jcc_short_or_near() => {
                let bad = not_a_copy(original, reader);
                let copy = reader.next().ok_or(bad)?;
                if !copy.is_jcc_near() || copy.condition_code() != original.condition_code() {
                    return Err(bad);
                }
                self.branch(original, branch_target(&copy), bad)
            }
            FlowControl::ConditionalBranch => self.counted(original, reader),
            FlowControl::UnconditionalBranch if original.is_jmp_short_or_near() => {
                let bad = not_a_copy(original, reader);
                let to = reader.jump();
                self.branch(original, to, bad)
            }
            FlowControl::Call if original.code() == Code::Call_rel32_64 => {
                self.call(original, reader)
            }
            _ => Err(Fault::Immovable { at }),
        }
    }

    /// What stands before the last copy of a hooked site; `other`: its length, if it is no `syscall`.
    fn hook(
        &mut self,
        site: Va,
        other: Option<usize>,
        reader: &mut Reader<'_>,
    ) -> Result<(), Fault> {
        let Style::Hooked(hooking) = self.style else {
            return Ok(());
        };
        if other.is_none() && hooking.plain.contains(&site) {
            return Ok(());
        }
        let bad = Fault::NotACopy {
            original: site,
            offset: reader.at as u32,
        };
        let (listed, rest) = self.blocks.split_first().ok_or(bad)?;
        let (template, copy) = match other {
            None => {
                let block = block(reader.here(), site, listed.id, hooking).map_err(|_| bad)?;
                let run = block.len() as u8 - at::LEN + at::RUN;
                (block, run)
            }
            Some(len) => {
                let bytes = bytes_from(self.image, site).get(..len).ok_or(bad)?;
                let block = other_block(reader.here(), bytes, listed.id, hooking);
                (block.map_err(|_| bad)?, Places::of(len as u8).run())
            }
        };
        let before = &template[..usize::from(copy)];
        if listed.site != site
            || listed.offset as usize != reader.at
            || !reader.rest().starts_with(before)
        {
            return Err(bad);
        }
        self.blocks = rest;
        reader.at += before.len();
        Ok(())
    }

    fn branch(
        &mut self,
        original: &Instruction,
        to: Option<Va>,
        otherwise: Fault,
    ) -> Result<(), Fault> {
        let meant = branch_target(original).ok_or(otherwise)?;
        let to = to.ok_or(otherwise)?;
        self.exit(Va(original.ip()), meant, to, false);
        Ok(())
    }

    /// The same bytes, but for a displacement that names the same address from elsewhere.
    fn same(&mut self, original: &Instruction, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let bad = not_a_copy(original, reader);
        let at = Va(original.ip());
        if original.is_ip_rel_memory_operand() && original.memory_base() != Register::RIP {
            return Err(Fault::Immovable { at });
        }
        let offset = reader.at;
        let copy = reader.next().ok_or(bad)?;
        let there = bytes_from(self.image, at)
            .get(..original.len())
            .ok_or(bad)?;
        let here = &reader.code[offset..reader.at];
        if there.len() != here.len() {
            return Err(bad);
        }
        let Some(named) = operand(original) else {
            return if there == here { Ok(()) } else { Err(bad) };
        };
        let mut decoder = iced_x86::Decoder::with_ip(64, there, at.0, 0);
        let decoded = decoder.decode();
        let displacement = decoder.get_constant_offsets(&decoded).displacement_offset();
        let differs = there.iter().zip(here).enumerate().any(|(i, (a, b))| {
            let in_displacement = displacement <= i && i < displacement + 4;
            a != b && !in_displacement
        });
        if differs {
            return Err(bad);
        }
        match operand(&copy) {
            Some(now) if now == named => Ok(()),
            Some(now) => Err(Fault::OperandAstray {
                original: at,
                named: now,
            }),
            None => Err(bad),
        }
    }

    /// `push $low; movl $high,4(%rsp); jmp target`: pushes the program's return address.
    fn call(&mut self, original: &Instruction, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let bad = not_a_copy(original, reader);
        let at = Va(original.ip());
        let push = reader
            .next()
            .filter(|i| i.code() == Code::Pushq_imm32)
            .ok_or(bad)?;
        let high = reader
            .next()
            .filter(|i| {
                i.code() == Code::Mov_rm32_imm32
                    && i.memory_base() == Register::RSP
                    && i.memory_index() == Register::None
                    && i.memory_displacement64() == 4
                    && i.segment_prefix() == Register::None
            })
            .ok_or(bad)?;
        let low = push.immediate32to64().cast_unsigned() & 0xffff_ffff;
        if low | u64::from(high.immediate32()) << 32 != original.next_ip().wrapping_add(self.bias) {
            return Err(Fault::WrongReturn { at });
        }
        let to = reader.jump();
        self.branch(original, to, bad)
    }

    /// `loop` and `jrcxz` know short jumps only: `loop 1f; jmp 2f; 1: jmp target; 2:`.
    fn counted(&mut self, original: &Instruction, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let bad = not_a_copy(original, reader);
        let first = reader
            .next()
            .filter(|i| i.code() == original.code())
            .ok_or(bad)?;
        let skip = reader
            .next()
            .filter(|i| i.code() == Code::Jmp_rel8_64)
            .ok_or(bad)?;
        let taken = reader.here();
        let to = reader.jump();
        if branch_target(&first) != Some(taken) || branch_target(&skip) != Some(reader.here()) {
            return Err(bad);
        }
        self.branch(original, to, bad)
    }
}

fn not_a_copy(original: &Instruction, reader: &Reader<'_>) -> Fault {
    Fault::NotACopy {
        original: Va(original.ip()),
        offset: reader.at as u32,
    }
}

/// `syscall; lea site+2(%rip),%rcx`.
fn syscall(original: &Instruction, reader: &mut Reader<'_>) -> Result<(), Fault> {
    let site = Va(original.ip());
    reader
        .next()
        .filter(|i| i.code() == Code::Syscall)
        .ok_or_else(|| not_a_copy(original, reader))?;
    reader
        .next()
        .filter(|i| i.code() == Code::Lea_r64_m && i.op0_register() == Register::RCX)
        .filter(|i| operand(i) == Some(Va(original.next_ip())))
        .map(|_| ())
        .ok_or(Fault::WrongRcx { site })
}
