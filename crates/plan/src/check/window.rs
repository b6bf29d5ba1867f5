//! The instructions around each edit, decoded in order.

use alloc::vec::Vec;

use super::step::Step;
use crate::addr::{Span, Va};
use crate::image::Image;

/// A short jump reaches so far, and a little more.
const REACH: u64 = 144;

/// A run of steps in order of address; where bytes are no instruction there is a gap.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) steps: Vec<Step>,
}

impl Window {
    /// Decodes what is needed to judge `span`: the functions that it and its neighbourhood lie in.
    fn around(image: &Image<'_>, span: Span) -> Self {
        let low = span.start.offset(-(REACH.cast_signed()));
        let code = image
            .code
            .iter()
            .copied()
            .find(|c| c.contains(span.start))
            .unwrap_or(span);
        let low = low.max(code.start);
        let start = image
            .function_at(low)
            .map_or_else(|| vote(image, low, code), |f| f.span.start);
        let mut window = Self { steps: Vec::new() };
        window.decode(
            image,
            start.max(code.start),
            Self::end_for(image, span, code),
        );
        window
    }

    fn end_for(image: &Image<'_>, span: Span, code: Span) -> Va {
        let function = image
            .function_at(span.start)
            .map_or(span.end, |f| f.span.end);
        function.max(span.end + REACH).min(code.end)
    }

    /// Decodes on from `at`, taking every known function bound as a place where an instruction starts.
    fn decode(&mut self, image: &Image<'_>, mut at: Va, end: Va) {
        let mut bound = next_bound(image, at);
        while at < end {
            if bound <= at {
                bound = next_bound(image, at);
            }
            match Step::read(image, at) {
                Some(step) if step.end() <= bound => {
                    self.steps.push(step);
                    at = step.end();
                }
                Some(_) => at = bound,
                None => at = at + 1,
            }
        }
    }

    fn end(&self) -> Va {
        self.steps.last().map_or(Va(0), Step::end)
    }

    /// The steps that share a byte with `span`.
    pub(super) fn over(&self, span: Span) -> &[Step] {
        let first = self.steps.partition_point(|s| s.end() <= span.start);
        let last = self.steps.partition_point(|s| s.at < span.end);
        &self.steps[first..last.max(first)]
    }

    /// The step that ends where `at` is.
    pub(super) fn ending_at(&self, at: Va) -> Option<&Step> {
        let index = self.steps.partition_point(|s| s.end() < at);
        self.steps.get(index).filter(|s| s.end() == at)
    }
}

/// Where the next function starts or the present one ends.
fn next_bound(image: &Image<'_>, at: Va) -> Va {
    let start = image.next_function_start(at).unwrap_or(Va(u64::MAX));
    image
        .function_at(at)
        .map_or(start, |f| f.span.end.min(start))
}

/// Without bounds: where chains that begin a good way before agree that an instruction starts.
fn vote(image: &Image<'_>, low: Va, code: Span) -> Va {
    let mut votes: Vec<(Va, u32)> = Vec::new();
    for back in 64..96 {
        let mut at = low.offset(-back);
        while code.contains(at) && at < low {
            match Step::read(image, at) {
                Some(step) => at = step.end(),
                None => break,
            }
        }
        if at >= low && code.contains(at) {
            match votes.iter_mut().find(|(v, _)| *v == at) {
                Some((_, count)) => *count += 1,
                None => votes.push((at, 1)),
            }
        }
    }
    votes
        .into_iter()
        .max_by_key(|&(_, count)| count)
        .map_or(low, |(at, _)| at)
}

/// Windows that together cover every one of `spans`, which are in order of address.
pub(super) fn windows(image: &Image<'_>, spans: impl Iterator<Item = Span>) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for span in spans {
        match windows.last_mut() {
            Some(last) if span.end + REACH <= last.end() => {}
            Some(last) if span.start < last.end() + REACH => {
                let code = image.code.iter().copied().find(|c| c.contains(span.start));
                let end = Window::end_for(image, span, code.unwrap_or(span));
                last.decode(image, last.end(), end);
            }
            _ => windows.push(Window::around(image, span)),
        }
    }
    windows
}

/// The window that `at` lies in.
pub(super) fn window_at(windows: &[Window], at: Va) -> Option<&Window> {
    let index = windows.partition_point(|w| w.end() <= at);
    windows
        .get(index)
        .filter(|w| w.steps.first().is_some_and(|s| s.at <= at))
}

/// Whether an instruction starts at `at`, as decoding from `start` has it without meeting data in between.
pub(super) fn decodes_to(image: &Image<'_>, start: Va, at: Va) -> bool {
    let mut next = start;
    while next < at {
        match Step::read(image, next) {
            Some(step) => next = step.end(),
            None => return false,
        }
    }
    next == at
}

/// The instruction that ends at `end`, decoded from the nearest place that is known.
pub(super) fn step_before(image: &Image<'_>, end: Va) -> Option<Step> {
    Window::around(
        image,
        Span {
            start: end - 1,
            end,
        },
    )
    .ending_at(end)
    .copied()
}

/// The instruction that `at` is a byte of, decoded from the nearest place that is known.
pub(super) fn step_around(image: &Image<'_>, at: Va) -> Option<Step> {
    let span = Span::new(at, 1);
    Window::around(image, span).over(span).first().copied()
}
