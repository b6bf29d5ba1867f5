//! From which addresses system calls become signals: the kernel takes one range for a thread.
//!
//! Pure. Where the kernel can name what is caught, that is memory whose calls cannot be seen, without any of ours; where
//! it can only name what is not, that is all code of ours, without any of such memory.

use alloc::vec::Vec;

use crate::pages::{PAGE, Range};

/// What stands in memory that may be executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Code of ours, which executes calls for the program.
    Ours,
    /// Code whose calls are seen, but for what was left native.
    Seen,
    /// Code whose calls cannot be.
    Unseen,
}

/// A piece of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// Where.
    pub range: Range,
    /// What is there.
    pub content: Content,
}

/// More that comes beside it is covered as far as this: beyond the stacks of many threads. Trampolines of what is mapped
/// there still reach across.
const ROOM: u64 = 768 << 20;
/// One past the last address that the kernel can be told.
const TOP: u64 = u64::MAX;

fn len(range: Range) -> u64 {
    range.end - range.start
}

/// The range to be caught: as many bytes of unseen code as can be without any of ours. `code` is in order of address.
///
/// What is left native of other code in between is caught too. No more of it is than lies in between.
#[must_use]
pub fn inside(code: &[Code]) -> Option<Range> {
    let runs = code.split(|code| code.content == Content::Ours);
    let bytes = |run: &[Code]| {
        run.iter()
            .filter(is(Content::Unseen))
            .map(|c| len(c.range))
            .sum::<u64>()
    };
    // The first of equals.
    let best = runs.rev().max_by_key(|run| bytes(run))?;
    let unseen = || {
        best.iter()
            .filter(is(Content::Unseen))
            .map(|code| code.range)
    };
    let (first, last) = (unseen().next()?, unseen().next_back()?);
    let others = || {
        code.iter()
            .filter(|code| code.content != Content::Unseen)
            .map(|c| c.range)
    };
    let below = others()
        .map(|range| range.end)
        .filter(|&end| end <= first.start)
        .max();
    let above = others()
        .map(|range| range.start)
        .filter(|&start| start >= last.end)
        .min();
    Some(Range {
        start: first.start.saturating_sub(ROOM).max(below.unwrap_or(PAGE)),
        end: last.end.saturating_add(ROOM).min(above.unwrap_or(TOP)),
    })
}

fn is(content: Content) -> impl Fn(&&Code) -> bool {
    move |code| code.content == content
}

/// The range not to be caught: all of ours, and as much around it as is not unseen.
#[must_use]
pub fn outside(code: &[Code]) -> Option<Range> {
    let ours = Range {
        start: code.iter().find(is(Content::Ours))?.range.start,
        end: code
            .iter()
            .filter(is(Content::Ours))
            .map(|c| c.range.end)
            .max()?,
    };
    let mut unseen = code.iter().filter(is(Content::Unseen)).map(|c| c.range);
    let range = Range { start: 0, end: TOP };
    unseen.try_fold(range, |range, unseen| {
        if unseen.end <= ours.start {
            Some(Range {
                start: range.start.max(unseen.end),
                ..range
            })
        } else if unseen.start >= ours.end {
            Some(Range {
                end: range.end.min(unseen.start),
                ..range
            })
        } else {
            None
        }
    })
}

/// Bytes of unseen code of which no call is caught.
#[must_use]
pub fn missed(code: &[Code], is_caught: impl Fn(Range) -> bool) -> u64 {
    let unseen = code.iter().filter(|code| code.content == Content::Unseen);
    unseen
        .map(|code| code.range)
        .filter(|&range| !is_caught(range))
        .map(len)
        .sum()
}

/// `code` in order, without what lies in a piece of another content: ours counts most, then unseen.
#[must_use]
pub fn in_order(mut code: Vec<Code>) -> Vec<Code> {
    code.retain(|code| code.range.start < code.range.end);
    code.sort_by_key(|code| (code.range.start, code.range.end));
    let all = code.clone();
    code.retain(|code| {
        code.content != Content::Seen
            || !all
                .iter()
                .any(|other| other.content != Content::Seen && other.range.overlaps(code.range))
    });
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use Content::{Ours, Seen, Unseen};

    const MB: u64 = 1 << 20;
    /// Of these.
    const FAR: u64 = ROOM / MB;

    fn code(pieces: &[(u64, u64, Content)]) -> Vec<Code> {
        let piece = |&(start, end, content): &(u64, u64, Content)| Code {
            range: Range {
                start: start * MB,
                end: end * MB,
            },
            content,
        };
        in_order(pieces.iter().map(piece).collect())
    }

    fn range(start: u64, end: u64) -> Range {
        Range {
            start: start * MB,
            end: end * MB,
        }
    }

    #[test]
    fn what_is_caught_is_unseen_and_nothing_else() {
        let all = code(&[
            (100, 101, Seen),
            (2000, 2001, Unseen),
            (3000, 3001, Unseen),
            (3010, 3011, Ours),
        ]);
        let chosen = range(2000 - FAR, 3010);
        assert_eq!(inside(&all), Some(chosen));
        assert_eq!(missed(&all, |r| chosen.holds(r)), 0);
        let between = code(&[
            (3, 4, Ours),
            (5, 6, Unseen),
            (7, 8, Seen),
            (9, 10, Unseen),
            (20, 21, Seen),
        ]);
        assert_eq!(inside(&between), Some(range(4, 20)));
        let near = code(&[(195, 199, Ours), (200, 201, Unseen), (201, 202, Seen)]);
        assert_eq!(inside(&near), Some(range(199, 201)));
        assert_eq!(inside(&code(&[(1, 2, Seen), (2, 3, Ours)])), None);
        let low = code(&[(1, 2, Unseen)]);
        assert_eq!(
            inside(&low),
            Some(Range {
                start: PAGE,
                end: (2 + FAR) * MB
            })
        );
    }

    #[test]
    fn the_run_with_most_is_taken() {
        let all = code(&[
            (100, 101, Unseen),
            (150, 151, Ours),
            (200, 204, Unseen),
            (205, 206, Ours),
            (210, 212, Unseen),
        ]);
        let chosen = inside(&all).unwrap();
        assert_eq!(chosen, range(151, 205));
        assert_eq!(missed(&all, |r| chosen.holds(r)), 3 * MB);
    }

    #[test]
    fn what_is_not_caught_is_ours_and_nothing_unseen() {
        let all = code(&[
            (100, 101, Unseen),
            (150, 151, Ours),
            (160, 161, Seen),
            (170, 171, Ours),
            (200, 204, Unseen),
        ]);
        assert_eq!(outside(&all), Some(range(101, 200)));
        let between = code(&[(150, 151, Ours), (160, 161, Unseen), (170, 171, Ours)]);
        assert_eq!(outside(&between), None);
        let none = code(&[(150, 151, Ours)]);
        assert_eq!(outside(&none), Some(Range { start: 0, end: TOP }));
        assert_eq!(outside(&code(&[(150, 151, Unseen)])), None);
    }

    #[test]
    fn a_file_that_holds_what_was_refused_is_no_boundary() {
        let all = code(&[(1000, 1020, Seen), (1005, 1006, Unseen), (1030, 1031, Seen)]);
        assert_eq!(inside(&all), Some(range(1005 - FAR, 1030)));
    }
}
