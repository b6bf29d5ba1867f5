//! Where trampolines go: a free range that every site of an image can reach.

use alloc::vec::Vec;

use crate::maps::Mapping;

/// A page.
pub const PAGE: u64 = 4096;

/// How far a `jmp rel32` reaches, less what moved instructions may stick out of the range.
const REACH: u64 = (1 << 31) - (1 << 16);
/// Below this nobody may map without privileges, and null pointers with an offset land there.
const LOWEST: u64 = 0x1_0000;
/// The end of what a program may map, less its last page, which the kernel keeps free.
const HIGHEST: u64 = 0x7fff_ffff_e000;
/// Mappings from here on are not followed by a heap that grows.
const LIBRARIES: u64 = 0x7000_0000_0000;
/// What a heap below the trampolines keeps for growing, where only such a place is left.
const HEAP_ROOM: u64 = 256 << 20;
/// The least and the most the kernel lets a stack count on (`mmap_base`), and its guard gap.
const STACK_ROOM: (u64, u64, u64) = (128 << 20, 1 << 30, 2 << 20);

/// A range of addresses of the process, `start..end`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Range {
    /// Rounded outward to whole pages.
    #[must_use]
    pub fn pages(self) -> Self {
        Self {
            start: self.start & !(PAGE - 1),
            end: self.end.next_multiple_of(PAGE),
        }
    }

    /// Whether it lies among the libraries, where a program's mappings go by default.
    #[must_use]
    pub fn is_among_libraries(self) -> bool {
        self.start >= LIBRARIES
    }

    fn len(self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether they have a byte in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `other` lies in it.
    #[must_use]
    pub fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// What is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Space {
    /// In order of address.
    taken: Vec<Range>,
    /// What a stack may grow into.
    stack: Option<Range>,
}

impl Space {
    /// The space of a process with these mappings, whose stack may grow to `stack_limit` bytes.
    #[must_use]
    pub fn new(maps: &[Mapping<'_>], stack_limit: u64) -> Self {
        let (least, most, guard) = STACK_ROOM;
        let stack = maps.iter().find(|m| m.name == b"[stack]").map(|m| Range {
            start: m.end.saturating_sub(stack_limit.clamp(least, most) + guard),
            end: m.start,
        });
        let taken = maps
            .iter()
            .map(|m| Range {
                start: m.start,
                end: m.end,
            })
            .collect();
        Self { taken, stack }
    }

    /// Marks a range as taken.
    pub fn take(&mut self, range: Range) {
        let at = self.taken.partition_point(|t| t.start < range.start);
        self.taken.insert(at, range);
    }

    /// Addresses for `len` bytes (whole pages) in reach of all of `image`, the best first.
    ///
    /// Below the image comes first: what lies above may be a heap, which must be able to grow as it does
    /// natively. Each stands at the upper end of its gap, where the kernel would put the next mapping too.
    #[must_use]
    pub fn places(&self, image: Range, len: u64) -> Vec<u64> {
        let window = Range {
            start: image.end.saturating_sub(REACH).max(LOWEST),
            end: image.start.saturating_add(REACH).min(HIGHEST) & !(PAGE - 1),
        };
        let mut below: Vec<u64> = Vec::new();
        let mut above = Vec::new();
        let mut from = 0;
        let last = Range {
            start: HIGHEST,
            end: HIGHEST,
        };
        for next in self.taken.iter().chain([&last]) {
            let gap = Range {
                start: from,
                end: next.start,
            };
            from = from.max(next.end);
            let mut free = Range {
                start: gap.start.max(window.start),
                end: gap.end.min(window.end),
            };
            if let Some(stack) = self
                .stack
                .filter(|s| s.end == gap.end && s.start < free.end)
            {
                free.end = stack.start.max(free.start) & !(PAGE - 1);
            }
            if free.len() < len {
                continue;
            }
            let at = free.end - len;
            if gap.end <= image.start {
                below.push(at);
            } else if gap.start >= LIBRARIES || at.saturating_sub(gap.start) >= HEAP_ROOM {
                above.push(at);
            }
        }
        below.reverse();
        below.extend(above);
        below
    }

    /// The same, but above all that lies among the libraries, if it can be: what comes there later finds nothing of ours
    /// in between.
    #[must_use]
    pub fn places_above(&self, image: Range, len: u64) -> Vec<u64> {
        let mut places = self.places(image, len);
        if image.is_among_libraries() {
            places.sort_by_key(|&at| core::cmp::Reverse(if at >= image.end { at } else { 0 }));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;

    const TEXT: &[u8] = b"\
400000-500000 r-xp 00000000 fe:00 1 /bin/fixed
600000-700000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000200000 r-xp 00000000 fe:00 2 /lib/a
7f0000201000-7f0000300000 r-xp 00000000 fe:00 3 /lib/b
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
7ffd00100000-7ffd00102000 r-xp 00000000 00:00 0 [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
";

    fn space() -> Space {
        Space::new(&maps::parse(TEXT), 8 << 20)
    }

    fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    #[test]
    fn the_nearest_gap_below_comes_first() {
        let b = range(0x7f00_0020_1000, 0x7f00_0030_0000);
        let places = space().places(b, PAGE);
        assert_eq!(places[..2], [0x7f00_0020_0000, 0x7eff_ffff_f000]);
        assert_eq!(space().places(b, 2 * PAGE)[0], 0x7eff_ffff_e000);
    }

    #[test]
    fn a_program_at_a_fixed_address_has_them_below() {
        let places = space().places(range(0x40_0000, 0x50_0000), 3 * PAGE);
        assert_eq!(places[0], 0x3f_d000);
        // The gap between program and heap is the heap's; above it there is room to grow.
        assert_eq!(places[1..], [0x40_0000 + REACH - 3 * PAGE]);
    }

    #[test]
    fn above_the_libraries_is_as_good() {
        let b = range(0x7f00_0020_1000, 0x7f00_0030_0000);
        let (places, above) = (space().places(b, PAGE), space().places_above(b, PAGE));
        assert_eq!(above[0], b.start + REACH - PAGE);
        assert_eq!(above[1..], places[..places.len() - 1]);
        let program = range(0x40_0000, 0x50_0000);
        assert_eq!(
            space().places_above(program, PAGE),
            space().places(program, PAGE)
        );
    }

    #[test]
    fn a_stack_may_still_grow() {
        let vdso = range(0x7ffd_0010_0000, 0x7ffd_0010_2000);
        let places = space().places(vdso, PAGE);
        assert_eq!(places[0], 0x7ffd_000f_f000);
        let mut space = space();
        space.take(range(0x7ffd_0002_1000, 0x7ffd_0010_0000));
        let below = space.places(vdso, PAGE)[0];
        assert!(
            below + PAGE <= 0x7ffd_0000_0000 - (128 << 20)
                && below > 0x7ffd_0000_0000 - (256 << 20)
        );
    }

    #[test]
    fn every_place_is_free_and_in_reach() {
        let maps = maps::parse(TEXT);
        for image in &space().taken[..4] {
            for len in [PAGE, 1 << 20, 1 << 30] {
                for at in space().places(*image, len) {
                    assert!(
                        maps.iter().all(|m| at + len <= m.start || m.end <= at),
                        "{at:#x}"
                    );
                    assert!(
                        at + len <= image.start + (1 << 31) && at + (1 << 31) >= image.end,
                        "{at:#x}"
                    );
                    assert_eq!(at % PAGE, 0);
                }
            }
        }
    }

    #[test]
    fn there_may_be_no_place() {
        let mut space = space();
        space.take(range(0x1000, 0x40_0000));
        space.take(range(0x70_0000, 0xf000_0000));
        assert_eq!(space.places(range(0x40_0000, 0x50_0000), PAGE), []);
    }
}
