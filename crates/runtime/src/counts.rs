//! How many sites of a file went which way.

use core::fmt;

use hotpatch_plan::plan::{Native, Outcome, Plan, Refusal, Tactic};

/// What became of a file.
///
/// Of a fixed size: it outlives what was allocated for the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// All sites.
    pub sites: u32,
    /// Patched, by tactic.
    pub tactics: [u32; Tactic::ALL.len()],
    /// Left alone for good reason, by [`NATIVE`].
    pub native: [u32; NATIVE.len()],
    /// Left alone because no hook asked for them.
    pub not_selected: u32,
    /// Refused, by [`REFUSED`]: the reason of the last tactic asked.
    pub refused: [u32; REFUSED.len()],
}

impl Counts {
    /// Counts a plan's sites.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let mut counts = Self {
            sites: plan.sites.len() as u32,
            ..Self::default()
        };
        for site in &plan.sites {
            match &site.outcome {
                Outcome::Patched { tactic, .. } => counts.tactics[*tactic as usize] += 1,
                Outcome::Native(native) => {
                    counts.native[position(&NATIVE, native_name(native))] += 1
                }
                Outcome::NotSelected => counts.not_selected += 1,
                Outcome::Refused(reasons) => {
                    counts.refused[position(&REFUSED, last_reason(reasons))] += 1
                }
            }
        }
        counts
    }

    /// Those of a file whose plan could not be applied: all of its sites are refused.
    #[must_use]
    pub fn not_applied(sites: u32) -> Self {
        let mut counts = Self {
            sites,
            ..Self::default()
        };
        counts.refused[position(&REFUSED, NOT_APPLIED)] = sites;
        counts
    }

    /// Adds those of another file.
    pub fn add(&mut self, other: &Self) {
        self.sites += other.sites;
        self.not_selected += other.not_selected;
        let mine = self
            .tactics
            .iter_mut()
            .chain(&mut self.native)
            .chain(&mut self.refused);
        let theirs = other
            .tactics
            .iter()
            .chain(&other.native)
            .chain(&other.refused);
        for (sum, n) in mine.zip(theirs) {
            *sum += n;
        }
    }

    /// How many are refused.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.refused.iter().sum()
    }
}

/// The words for reasons to stay native.
pub const NATIVE: [&str; 2] = ["restorer", "address-taken"];

/// The words for refusals.
pub const REFUSED: [&str; 11] = [
    "not-allowed",
    "no-pad",
    "taken",
    "target-inside",
    "unknown-jump",
    "immovable",
    "no-room",
    "forbidden",
    "untrusted",
    NO_TACTIC,
    NOT_APPLIED,
];

/// No tactic was asked.
const NO_TACTIC: &str = "no-tactic";
/// The kernel refused to map trampolines or to write.
pub const NOT_APPLIED: &str = "not-applied";

fn position(words: &[&str], word: &str) -> usize {
    words.iter().position(|w| *w == word).unwrap_or(0)
}

/// `12 sites: 1 direct, 9 stone, 1 native (restorer 1), 1 refused (no-pad 1)`
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sites", self.sites)?;
        let mut separator = ": ";
        for (tactic, n) in Tactic::ALL
            .iter()
            .map(|&t| (t, self.tactics[t as usize]))
            .filter(|&(_, n)| n > 0)
        {
            write!(f, "{separator}{n} {}", tactic.name())?;
            separator = ", ";
        }
        if self.not_selected > 0 {
            write!(f, "{separator}{} not selected", self.not_selected)?;
            separator = ", ";
        }
        let groups = [
            ("native", &NATIVE[..], &self.native[..]),
            ("refused", &REFUSED, &self.refused),
        ];
        for (word, names, counts) in groups {
            let sum: u32 = counts.iter().sum();
            if sum > 0 {
                write!(f, "{separator}{sum} {word} (")?;
                separator = "";
                for (name, n) in names.iter().zip(counts).filter(|(_, n)| **n > 0) {
                    write!(f, "{separator}{name} {n}")?;
                    separator = ", ";
                }
                f.write_str(")")?;
            }
        }
        Ok(())
    }
}

/// The word for a reason to stay native.
#[must_use]
pub const fn native_name(native: &Native) -> &'static str {
    match native {
        Native::Restorer => "restorer",
        Native::AddressTaken { .. } => "address-taken",
    }
}

/// The word for a refusal.
#[must_use]
pub const fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotAllowed => "not-allowed",
        Refusal::NoPad => "no-pad",
        Refusal::Taken { .. } => "taken",
        Refusal::TargetInside { .. } => "target-inside",
        Refusal::UnknownJump { .. } => "unknown-jump",
        Refusal::Immovable { .. } => "immovable",
        Refusal::NoRoom => "no-room",
        Refusal::Forbidden { .. } => "forbidden",
        Refusal::Untrusted => "untrusted",
    }
}

/// The reason that counts: of the last tactic that was allowed.
fn last_reason(reasons: &[(Tactic, Refusal)]) -> &'static str {
    let asked = reasons
        .iter()
        .rfind(|(_, r)| *r != Refusal::NotAllowed)
        .or(reasons.last());
    asked.map_or(NO_TACTIC, |(_, refusal)| refusal_name(refusal))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hotpatch_plan::addr::Va;
    use hotpatch_plan::plan::{Site, SiteKind};

    /// One site of each outcome.
    pub(crate) fn plan() -> Plan {
        let site = |at, outcome| Site {
            at: Va(at),
            kind: SiteKind::Syscall,
            len: 2,
            number: None,
            outcome,
        };
        let refused = vec![
            (Tactic::Stone, Refusal::NoPad),
            (Tactic::Evict, Refusal::NotAllowed),
        ];
        Plan {
            sites: vec![
                site(
                    16,
                    Outcome::Patched {
                        tactic: Tactic::Stone,
                        trampoline: 0,
                    },
                ),
                site(32, Outcome::Native(Native::Restorer)),
                site(48, Outcome::Refused(refused)),
            ],
            ..Plan::default()
        }
    }

    #[test]
    fn counts_add_up() {
        let mut counts = Counts::of(&plan());
        counts.add(&Counts::of(&plan()));
        assert_eq!(
            (counts.sites, counts.refusals(), counts.native),
            (6, 2, [2, 0])
        );
        assert_eq!(
            Counts::not_applied(5).to_string(),
            "5 sites: 5 refused (not-applied 5)"
        );
    }
}
