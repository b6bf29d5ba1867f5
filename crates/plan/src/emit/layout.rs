//! Where each moved instruction of a plan goes: the part of emission that needs no addresses.

use alloc::vec::Vec;

use super::{ALIGN, Style, falls_off};
use crate::addr::Va;
use crate::plan::{Moved, Plan};

/// Where each instruction goes, from the first trampoline on.
#[derive(Debug)]
pub struct Layout {
    pub(super) starts: Vec<u32>,
    pub(super) moved: Vec<Moved>,
    by_original: Index,
    pub(super) len: usize,
}

fn start_after(end: usize) -> usize {
    end.next_multiple_of(ALIGN)
}

impl Layout {
    pub(super) fn of(plan: &Plan, style: Style<'_>) -> Self {
        let insns = plan.trampolines.iter().map(|t| t.insns.len()).sum();
        let mut layout = Self {
            starts: Vec::with_capacity(plan.trampolines.len()),
            moved: Vec::with_capacity(insns),
            by_original: Index::for_len(insns),
            len: 0,
        };
        let mut plain = Plain::of(style);
        for trampoline in &plan.trampolines {
            let mut at = start_after(layout.len);
            layout.starts.push(at as u32);
            for insn in &trampoline.insns {
                let len = style.len(insn, &mut plain);
                layout.by_original.add(layout.moved.len() as u32, insn.at);
                layout.moved.push(Moved {
                    offset: at as u32,
                    original: insn.at,
                    len,
                });
                at += usize::from(len);
            }
            layout.len = at + if falls_off(trampoline) { 5 } else { 0 };
        }
        layout
    }

    /// Length in bytes of all trampolines.
    #[must_use]
    pub fn code_len(&self) -> usize {
        self.len
    }

    /// Where control that is meant for `original` should go when it comes from a trampoline.
    pub(super) fn resolve(&self, base: Va, original: Va) -> Va {
        let found = self.by_original.find(original, &self.moved);
        found.map_or(original, |moved| base + u64::from(moved.offset))
    }
}

/// The sites that need no block. Most are asked about in order of address, and a search costs more than the rest of a
/// layout.
pub(super) struct Plain<'h> {
    all: &'h [Va],
    next: usize,
}

impl<'h> Plain<'h> {
    fn of(style: Style<'h>) -> Self {
        let all = match style {
            Style::Plain => &[],
            Style::Hooked(hooking) => hooking.plain,
        };
        Self { all, next: 0 }
    }

    pub(super) fn has(&mut self, site: Va) -> bool {
        let next = self.all.get(self.next..).unwrap_or(&[]);
        let skipped = match next {
            [first, ..] if *first == site => Ok(self.next),
            _ => self.all.binary_search(&site),
        };
        if let Ok(at) = skipped {
            self.next = at + 1;
        }
        skipped.is_ok()
    }
}

/// Finds moved instructions by their original address: each jump out of a trampoline asks, and most get no answer.
#[derive(Debug)]
struct Index {
    /// Each 0 or one more than an index. More than half are 0.
    slots: Vec<u32>,
}

impl Index {
    fn for_len(len: usize) -> Self {
        let slots = (2 * len + 1).next_power_of_two();
        Self {
            slots: alloc::vec![0; slots],
        }
    }

    /// The slots to look at for `at`, in turn.
    fn probe(&self, at: Va) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let first = (at.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize;
        (0..=mask).map(move |n| (first + n) & mask)
    }

    fn add(&mut self, index: u32, at: Va) {
        if let Some(free) = self.probe(at).find(|&slot| self.slots[slot] == 0) {
            self.slots[free] = index + 1;
        }
    }

    fn find<'m>(&self, at: Va, moved: &'m [Moved]) -> Option<&'m Moved> {
        self.probe(at)
            .map_while(|slot| moved.get(self.slots[slot].checked_sub(1)? as usize))
            .find(|moved| moved.original == at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_original_is_found_and_nothing_else() {
        for len in [0_u32, 1, 2, 3, 7, 500] {
            let moved: Vec<Moved> = (0..len)
                .map(|n| Moved {
                    offset: n,
                    original: Va(u64::from(n * n % 977) * 0x1_0000 + 2 * u64::from(n)),
                    len: 2,
                })
                .collect();
            let mut index = Index::for_len(moved.len());
            for (n, moved) in (0..).zip(&moved) {
                index.add(n, moved.original);
            }
            for m in &moved {
                assert_eq!(index.find(m.original, &moved), Some(m));
                assert_eq!(index.find(m.original + 1, &moved), None);
            }
        }
    }
}
