//! A plan as text: the code around a site before and after, its chain of stones, its trampoline.

mod shown;
mod words;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::addr::{Span, Va};
use crate::code::Code;
use crate::plan::{Change, Edit, Emission, Outcome, Plan};

use shown::Shown;
pub use words::{name, outcome, why_native, why_refused};

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
