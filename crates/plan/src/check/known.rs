//! Who goes where: references to a set of addresses, found by brute force and then confirmed.

use alloc::vec::Vec;

use super::step::{Step, bytes_from};
use super::window::{Window, step_around, step_before};
use crate::addr::{Span, Va};
use crate::image::Image;

/// Somebody at `from` who goes to `to`, or hands out its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Known {
    pub(super) to: Va,
    pub(super) from: Va,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum How {
    /// A branch, which matters only where it is executed.
    Branch,
    /// A pointer that may be used by anyone.
    Pointer,
    /// The same, in an operand or a word of data.
    Written,
}

impl Known {
    pub(super) fn pointer(to: Va, from: Va) -> Self {
        Self {
            to,
            from,
            how: How::Pointer,
        }
    }

    fn written(to: Va, from: Va) -> Self {
        Self {
            to,
            from,
            how: How::Written,
        }
    }

    /// Whether an operand or a word of data holds the address.
    pub(super) fn is_written_down(&self) -> bool {
        self.how == How::Written
    }

    fn branch(to: Va, from: Va) -> Self {
        Self {
            to,
            from,
            how: How::Branch,
        }
    }

    /// Whether it counts, when the instructions at `dead` are never executed where they are.
    pub(super) fn counts(&self, dead: &[Va]) -> bool {
        self.how != How::Branch || dead.binary_search(&self.from).is_err()
    }

    /// What `step` itself refers to.
    fn of(step: &Step) -> impl Iterator<Item = Self> + use<> {
        let from = step.at;
        let landing = step.landing.then_some(from);
        let branch = step.branch.map(|to| Self::branch(to, from));
        let named = step.names.map(|to| Self::written(to, from));
        let landing = landing.map(|to| Self::pointer(to, from));
        branch.into_iter().chain(named).chain(landing)
    }
}

/// Addresses in order, for fast questions.
pub(super) struct Wanted<'w>(pub(super) &'w [Va]);

impl Wanted<'_> {
    fn has(&self, at: Va) -> bool {
        self.0.binary_search(&at).is_ok()
    }
}

/// Everything known to lead to one of `wanted`, in order of where it leads.
pub(super) fn known(image: &Image<'_>, wanted: &Wanted<'_>, windows: &[Window]) -> Vec<Known> {
    let mut known = Vec::new();
    for step in windows.iter().flat_map(|w| &w.steps) {
        known.extend(Known::of(step));
    }
    known.retain(|k| wanted.has(k.to));
    for window in windows {
        tables(image, wanted, window, &mut known);
    }
    for &span in &image.code {
        displacements(image, wanted, span, &mut known);
    }
    pointers(image, wanted, windows, &mut known);
    let starts = wanted.0.iter().filter(|&&at| image.is_function_start(at));
    known.extend(starts.map(|&at| Known::pointer(at, at)));
    known.sort_unstable();
    known.dedup();
    known
}

/// Four bytes anywhere in the code that could be the displacement of a branch to a wanted address, or of an operand
/// there, if there really is such an instruction.
fn displacements(image: &Image<'_>, wanted: &Wanted<'_>, code: Span, known: &mut Vec<Known>) {
    let bytes = bytes_from(image, code.start);
    let bytes = &bytes[..bytes.len().min(code.len() as usize)];
    for (i, four) in bytes.windows(4).enumerate().skip(1) {
        let before = i.checked_sub(2).map_or(0, |i| bytes[i]);
        let branch = matches!(
            (before, bytes[i - 1]),
            (_, 0xe8 | 0xe9) | (0x0f, 0x80..=0x8f)
        );
        let lea = before == 0x8d && bytes[i - 1] & 0xc7 == 0x05;
        let operand = bytes[i - 1] & 0xc7 == 0x05;
        if !branch && !operand {
            continue;
        }
        let displacement = i32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let end = code.start + i as u64 + 4;
        let to = end.offset(i64::from(displacement));
        if !branch && !lea {
            // An immediate may follow the displacement, and the operand is relative to its end.
            let read = [0, 1, 2, 4].map(|immediate| to + immediate);
            if read.iter().any(|&to| wanted.has(to))
                && let Some(step) = step_around(image, end - 5)
            {
                known.extend(Known::of(&step).filter(|k| read.contains(&k.to) && wanted.has(k.to)));
            }
            continue;
        }
        if !wanted.has(to) {
            continue;
        }
        if let Some(step) = step_before(image, end) {
            known.extend(Known::of(&step).filter(|k| k.to == to));
        }
    }
}

/// Tables of 4-byte distances to their own start, as compilers make of `switch`: every address
/// that the code of `window` names is taken for the start of one, as long as its words lead into code
/// of the window.
fn tables(image: &Image<'_>, wanted: &Wanted<'_>, window: &Window, known: &mut Vec<Known>) {
    let named = |s: &Step| s.names.map(|at| (at, s.at));
    let mut starts: Vec<(Va, Va)> = window.steps.iter().filter_map(named).collect();
    starts.sort_unstable();
    let (Some(first), Some(last)) = (window.steps.first(), window.steps.last()) else {
        return;
    };
    let text = Span {
        start: first.at,
        end: last.end(),
    };
    for (i, &(start, from)) in starts.iter().enumerate() {
        let next = starts[i..]
            .iter()
            .find(|s| s.0 > start)
            .map_or(u64::MAX, |s| s.0.0 - start.0);
        for word in bytes_from(image, start)
            .chunks_exact(4)
            .take((next / 4) as usize)
        {
            let distance = i32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            let to = start.offset(i64::from(distance));
            if !text.contains(to) {
                break;
            }
            if wanted.has(to) {
                known.push(Known::pointer(to, from));
            }
        }
    }
}

/// What the image itself says of pointers and landing pads, and besides in an image that cannot be
/// moved every aligned word of data.
fn pointers(image: &Image<'_>, wanted: &Wanted<'_>, windows: &[Window], known: &mut Vec<Known>) {
    let mut add = |to: Va, from: Va| {
        if wanted.has(to) && !is_inside(image, windows, to) {
            known.push(Known::written(to, from));
        }
    };
    image.code_pointers(&mut add);
    for segment in image
        .segments
        .iter()
        .filter(|s| !s.executable && !image.relocatable)
    {
        for (i, word) in segment.bytes.as_chunks::<8>().0.iter().enumerate() {
            add(
                Va(u64::from_le_bytes(*word)),
                segment.span.start + 8 * i as u64,
            );
        }
    }
    let mut function = Span::new(Va(0), 0);
    for step in windows.iter().flat_map(|w| &w.steps) {
        if step.at >= function.end {
            let Some(found) = image.function_at(step.at) else {
                continue;
            };
            function = found.span;
            image.landing_pads(function, &mut |pad| {
                if wanted.has(pad) {
                    known.push(Known::pointer(pad, pad));
                }
            });
        }
    }
}

/// Whether `at` is neither an instruction's start nor behind a `lock` prefix. It makes no sense to go there, and in
/// a large image that the linker left no relocations in, some word of data will by chance equal its address.
fn is_inside(image: &Image<'_>, windows: &[Window], at: Va) -> bool {
    let mut around = windows.iter().flat_map(|w| w.over(Span::new(at, 1)));
    let Some(step) = around.next() else {
        return false;
    };
    let skips_lock = at == step.at + 1 && bytes_from(image, step.at).starts_with(&[0xf0]);
    !image.relocatable && step.at < at && !skips_lock
}
