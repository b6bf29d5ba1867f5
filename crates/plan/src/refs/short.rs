//! What refers to a window from near: branches of two bytes and operands.

use super::{Found, RefKind};
use crate::addr::{Span, Va};
use crate::code::{Code, Kind, Region};
use crate::image::Image;

/// How far a branch with a 1-byte displacement reaches, with its own length.
const SHORT: u64 = 130;

impl Found<'_> {
    /// Branches with a 1-byte displacement. Regions that are decoded already are asked; elsewhere only
    /// what looks like a branch into a window is worth decoding.
    pub(super) fn short(&mut self, image: &Image<'_>, code: &mut Code<'_>) {
        let mut done = Va(0);
        for window in self.windows.spans {
            let reach = Span {
                start: Va(window.start.0.saturating_sub(SHORT)).max(done),
                end: window.end + SHORT,
            };
            done = done.max(reach.end);
            let first = image.code.partition_point(|code| code.end <= reach.start);
            let near = image.code[first..].iter();
            for section in near.take_while(|code| code.start < reach.end) {
                let part = Span {
                    start: reach.start.max(section.start),
                    end: reach.end.min(section.end),
                };
                self.short_in(image, code, part);
            }
        }
    }

    /// The branches in `part` with a 1-byte displacement into a window.
    fn short_in(&mut self, image: &Image<'_>, code: &mut Code<'_>, part: Span) {
        let mut at = part.start;
        while at < part.end {
            at = match code.known(at) {
                Some(region) => {
                    let rest = Span {
                        start: at,
                        end: part.end,
                    };
                    self.short_of(&region, rest);
                    region.span.end
                }
                None => {
                    let next = code.next_known(at).unwrap_or(part.end).min(part.end);
                    let rest = Span {
                        start: at,
                        end: next,
                    };
                    self.suspect(image, code, rest).unwrap_or(next)
                }
            };
        }
    }

    /// The short branches of `region` that begin in `part`, and what reads bytes of code as data.
    fn short_of(&mut self, region: &Region, part: Span) {
        for insn in &region.insns[region.index_around(part.start).unwrap_or(0)..] {
            if insn.at >= part.end {
                break;
            }
            let near = matches!(
                insn.kind,
                Kind::Jcc { disp_len: 1, .. }
                    | Kind::Jmp { disp_len: 1, .. }
                    | Kind::Loop { .. }
                    | Kind::Xbegin { .. }
            );
            if let (true, Some(to)) = (near, insn.branch_target()) {
                self.push(to, insn.at, RefKind::Branch);
            }
            if let Kind::RipRelative {
                target, lea: false, ..
            } = insn.kind
            {
                self.push(target, insn.at, RefKind::Lea);
            }
        }
    }

    /// Looks through `rest`, which is not decoded, for bytes that read as a short branch into a window or an
    /// operand there; where there are some, the code around the first is decoded, and asked from where this returns.
    fn suspect(&mut self, image: &Image<'_>, code: &mut Code<'_>, rest: Span) -> Option<Va> {
        let bytes = image.tail(rest.start)?;
        let len = bytes.len().min(usize::try_from(rest.len()).ok()?);
        let at_of = |offset: usize| rest.start + offset as u64;
        let found = (0..len).find(|&offset| {
            let mut inside = false;
            suspicions(&bytes[offset..], at_of(offset), &mut |to, _| {
                inside |= self.windows.contain(to);
            });
            inside
        })?;
        let at = at_of(found);
        match code.region(at) {
            Some(region) => Some(region.span.start.max(rest.start)),
            None => {
                // Right behind data nobody knows where instructions begin.
                suspicions(&bytes[found..], at, &mut |to, kind| self.push(to, at, kind));
                Some(at + 1)
            }
        }
    }
}

/// Where `bytes`, which lie at `at`, lead if they begin with a short branch, or refer to if they begin with the
/// ModRM byte of a RIP-relative operand.
fn suspicions(bytes: &[u8], at: Va, found: &mut impl FnMut(Va, RefKind)) {
    match *bytes {
        [0x70..=0x7f | 0xeb | 0xe0..=0xe3, distance, ..] => {
            let to = (at + 2).offset(distance.cast_signed().into());
            found(to, RefKind::Branch);
        }
        [modrm, a, b, c, d, ..] if modrm & 0xc7 == 0x05 => {
            let to = (at + 5).offset(i32::from_le_bytes([a, b, c, d]).into());
            for immediate in [0, 1, 2, 4] {
                found(to + immediate, RefKind::Lea);
            }
        }
        _ => {}
    }
}
