//! A plan as bytes: trampolines at a given place, and what to write over the image.
//!
//! Every byte sequence that is not a copy stands here, beside its assembly.

mod block;
mod layout;
mod other;
mod slot;

use alloc::vec::Vec;

pub use block::{Block, Hooking, ahead, at, block, data};
pub use layout::Layout;
pub use other::{Places, other_block};
pub use slot::{BACK, INT80, INT80_DONE, SLOT, slot};

use crate::addr::Va;
use crate::code::{Insn, Kind};
use crate::image::Image;
use crate::plan::{Change, Emission, Moved, Patch, Plan, Trampoline};

/// Trampolines start on a multiple of this, so that the first fetch sees as much as it can.
const ALIGN: usize = 16;

/// What fills the gaps between trampolines: never executed, and loud if it is.
const FILL: u8 = 0xcc; // int3

/// A jump or operand of the plan does not reach from where the trampolines are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfReach {
    /// The address that is too far.
    pub to: Va,
}

fn rel32(end: Va, to: Va) -> Result<[u8; 4], OutOfReach> {
    i32::try_from(to.distance_from(end))
        .map(i32::to_le_bytes)
        .map_err(|_| OutOfReach { to })
}

/// A short jump of 2 bytes, if `to` is within its reach.
#[must_use]
pub fn jmp_short(at: Va, to: Va) -> Option<[u8; 2]> {
    let rel = i8::try_from(to.distance_from(at + 2)).ok()?;
    Some([0xeb, rel.cast_unsigned()]) // jmp rel8
}

/// A near jump of 5 bytes.
///
/// # Errors
/// `to` is not within 2 GB.
pub fn jmp_near(at: Va, to: Va) -> Result<[u8; 5], OutOfReach> {
    let [a, b, c, d] = rel32(at + 5, to)?;
    Ok([0xe9, a, b, c, d]) // jmp rel32
}

/// How many bytes the copy of `insn` takes in a trampoline, or `None` if it cannot be moved.
///
/// A call is movable because its copy pushes the original return address; but then control comes
/// back to the image, so it must be the last of its trampoline.
#[must_use]
pub fn copy_len(insn: &Insn) -> Option<u8> {
    Some(match insn.kind {
        Kind::Plain
        | Kind::Site(_)
        | Kind::RipRelative { .. }
        | Kind::JmpIndirect { .. }
        | Kind::Ret => insn.len,
        Kind::Nop => 0,
        Kind::Syscall => insn.len + 7,
        Kind::Jcc { .. } => 6,
        Kind::Jmp { .. } => 5,
        Kind::Call { .. } => 18,
        Kind::Loop { .. } => insn.len + 7,
        _ => return None,
    })
}

/// What stands for a `syscall`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style<'h> {
    /// The instruction.
    Plain,
    /// The instruction, or what a hook makes of it.
    Hooked(&'h Hooking<'h>),
}

impl Style<'_> {
    fn len(self, insn: &Insn, plain: &mut layout::Plain<'_>) -> u8 {
        match (self, insn.kind) {
            (Self::Hooked(h), Kind::Syscall) if !plain.has(insn.at) => h.len(),
            (Self::Hooked(_), Kind::Site(_)) => Places::of(insn.len).next(),
            _ => copy_len(insn).unwrap_or(0),
        }
    }
}

fn falls_off(trampoline: &Trampoline) -> bool {
    // A call's copy pushes its return address, which is the trampoline's end, and jumps.
    trampoline
        .insns
        .last()
        .is_some_and(|last| last.falls_through() && !matches!(last.kind, Kind::Call { .. }))
}

struct Writer<'w, 'i> {
    code: Vec<u8>,
    base: Va,
    bias: u64,
    image: &'w Image<'i>,
    layout: &'w Layout,
    style: Style<'w>,
    blocks: Vec<Block>,
}

impl Writer<'_, '_> {
    fn here(&self) -> Va {
        self.base + self.code.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    /// The displacement that ends an instruction, or is followed by `tail` more bytes of it.
    fn put_rel32(&mut self, to: Va, tail: u64) -> Result<(), OutOfReach> {
        let rel = rel32(self.here() + 4 + tail, to)?;
        self.put(&rel);
        Ok(())
    }

    fn put_jmp(&mut self, to: Va) -> Result<(), OutOfReach> {
        self.put(&[0xe9]); // jmp rel32
        self.put_rel32(to, 0)
    }

    /// The original bytes, with the displacement at `disp_at` renewed so that it names `target` again.
    fn put_copy(&mut self, insn: &Insn, rip: Option<(Va, u8)>) -> Result<(), OutOfReach> {
        let bytes = self
            .image
            .read(insn.at, usize::from(insn.len))
            .unwrap_or(&[]);
        let Some((target, disp_at)) = rip else {
            self.put(bytes);
            return Ok(());
        };
        let (head, rest) = bytes.split_at(usize::from(disp_at).min(bytes.len()));
        let tail = rest.get(4..).unwrap_or(&[]);
        self.put(head);
        self.put_rel32(target, tail.len() as u64)?;
        self.put(tail);
        Ok(())
    }

    /// `len`: what the layout has laid out for it.
    fn put_insn(&mut self, insn: &Insn, len: u8) -> Result<(), OutOfReach> {
        match insn.kind {
            Kind::RipRelative {
                target, disp_at, ..
            } => self.put_copy(insn, Some((target, disp_at))),
            Kind::JmpIndirect { rip, .. } => self.put_copy(insn, rip),
            Kind::Nop => Ok(()),
            Kind::Syscall => {
                if let Style::Hooked(hooking) = self.style
                    && Some(len) != copy_len(insn)
                {
                    let id = self.take_id(insn.at, hooking);
                    let bytes = block(self.here(), insn.at, id, hooking)?;
                    self.put(&bytes);
                    return Ok(());
                }
                self.put(&[0x0f, 0x05]); // syscall
                // The kernel left the address after *this* instruction in rcx.
                self.put(&[0x48, 0x8d, 0x0d]); // lea rel32(%rip),%rcx
                self.put_rel32(insn.end(), 0)
            }
            Kind::Jcc { target, cond, .. } => {
                self.put(&[0x0f, 0x80 | cond]); // jcc rel32
                self.put_rel32(self.layout.resolve(self.base, target), 0)
            }
            Kind::Jmp { target, .. } => self.put_jmp(self.layout.resolve(self.base, target)),
            Kind::Call { target } => {
                let back = insn.end().0.wrapping_add(self.bias);
                let [a, b, c, d, e, f, g, h] = back.to_le_bytes();
                self.put(&[0x68, a, b, c, d]); // push $low, sign-extended to 8 bytes
                self.put(&[0xc7, 0x44, 0x24, 0x04, e, f, g, h]); // movl $high,4(%rsp)
                self.put_jmp(self.layout.resolve(self.base, target))
            }
            Kind::Loop { target } => {
                // The opcode with its prefixes, its displacement leading over the next jump.
                let bytes = self
                    .image
                    .read(insn.at, usize::from(insn.len))
                    .unwrap_or(&[]);
                let opcode = &bytes[..bytes.len().saturating_sub(1)];
                self.put(opcode);
                self.put(&[0x02]); // taken: over the jump that follows
                self.put(&[0xeb, 0x05]); // jmp +5: not taken
                self.put_jmp(self.layout.resolve(self.base, target))
            }
            Kind::Site(_) => {
                let Style::Hooked(hooking) = self.style else {
                    return self.put_copy(insn, None);
                };
                let id = self.take_id(insn.at, hooking);
                let bytes = self
                    .image
                    .read(insn.at, usize::from(insn.len))
                    .unwrap_or(&[]);
                let bytes = other_block(self.here(), bytes, id, hooking)?;
                self.put(&bytes);
                Ok(())
            }
            _ => self.put_copy(insn, None),
        }
    }

    /// The next id, for the block that begins here.
    fn take_id(&mut self, site: Va, hooking: &Hooking<'_>) -> u32 {
        let id = hooking.first + self.blocks.len() as u32;
        self.blocks.push(Block {
            offset: self.code.len() as u32,
            site,
            id,
        });
        id
    }

    fn put_trampoline<'m>(
        &mut self,
        trampoline: &Trampoline,
        moved: &mut impl Iterator<Item = &'m Moved>,
    ) -> Result<(), OutOfReach> {
        self.code
            .resize(self.code.len().next_multiple_of(ALIGN), FILL);
        for (insn, moved) in trampoline.insns.iter().zip(moved) {
            self.put_insn(insn, moved.len)?;
        }
        if falls_off(trampoline) {
            self.put_jmp(self.layout.resolve(self.base, trampoline.span.end))?;
        }
        Ok(())
    }
}

impl Plan {
    /// Where each instruction goes, whatever the place of the trampolines.
    #[must_use]
    pub fn layout(&self, style: Style<'_>) -> Layout {
        Layout::of(self, style)
    }

    /// The plan as bytes, with the trampolines at `base` (in the image's own address space, where
    /// the loader puts the image `bias` higher than it says), nothing hooked.
    ///
    /// # Errors
    /// `base` is too far from the image.
    pub fn emit(&self, image: &Image<'_>, base: Va, bias: u64) -> Result<Emission, OutOfReach> {
        self.emit_as(image, base, bias, Style::Plain)
    }

    /// The same, with `style` for each `syscall`.
    ///
    /// # Errors
    /// `base`, or the style's data area, is too far from the image.
    pub fn emit_as(
        &self,
        image: &Image<'_>,
        base: Va,
        bias: u64,
        style: Style<'_>,
    ) -> Result<Emission, OutOfReach> {
        self.emit_laid(image, base, bias, style, self.layout(style))
    }

    /// The same by the layout for that style.
    ///
    /// # Errors
    /// As [`emit_as`](Self::emit_as).
    pub fn emit_laid(
        &self,
        image: &Image<'_>,
        base: Va,
        bias: u64,
        style: Style<'_>,
        layout: Layout,
    ) -> Result<Emission, OutOfReach> {
        let mut writer = Writer {
            code: Vec::with_capacity(layout.len),
            base,
            bias,
            image,
            layout: &layout,
            style,
            blocks: Vec::new(),
        };
        let mut moved = layout.moved.iter();
        self.trampolines
            .iter()
            .try_for_each(|t| writer.put_trampoline(t, &mut moved))?;
        let (code, blocks) = (writer.code, writer.blocks);
        Ok(Emission {
            base,
            code,
            patches: self.patches(&layout, base)?,
            starts: layout.starts,
            moved: layout.moved,
            blocks,
        })
    }

    /// What is written over the image.
    fn patches(&self, layout: &Layout, base: Va) -> Result<Vec<Patch>, OutOfReach> {
        let patches = self.edits.iter().map(|edit| {
            let mut bytes = [0; 5];
            let at = edit.at;
            match edit.change {
                Change::Hop { to } => {
                    bytes[..2].copy_from_slice(&jmp_short(at, to).ok_or(OutOfReach { to })?);
                }
                Change::Leap { trampoline } => {
                    bytes = jmp_near(at, base + u64::from(layout.starts[trampoline as usize]))?;
                }
                Change::Retarget { insn, .. } => {
                    let to = layout.resolve(base, insn);
                    bytes[..4].copy_from_slice(&rel32(at + 4, to)?);
                }
            }
            Ok(Patch {
                at,
                len: edit.change.size() as u8,
                bytes,
            })
        });
        patches.collect()
    }
}
