//! Plans as JSON: one object for each file, as docs/inspect.md describes them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use hotpatch_plan::plan::{Native, Outcome, Refusal, Site, Tactic};
use hotpatch_plan::show;
use serde::Serialize;

use super::{Counts, Planned};

#[derive(Serialize)]
struct File<'a> {
    file: String,
    build_id: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    trampoline_bytes: usize,
    microseconds: u64,
    faults: &'a [String],
    sites: Vec<SiteRecord<'a>>,
}

#[derive(Serialize)]
struct SiteRecord<'a> {
    at: String,
    symbol: Option<&'a str>,
    offset: Option<u64>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trampoline: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<Why>,
}

#[derive(Serialize, Default)]
struct Why {
    #[serde(skip_serializing_if = "Option::is_none")]
    tactic: Option<&'static str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

#[derive(Serialize)]
struct Failure {
    file: String,
    error: String,
}

/// Writes a plan on a line of its own.
pub fn write(out: &mut dyn Write, planned: &Planned<'_>) -> io::Result<()> {
    let counts = Counts::of(&planned.plan);
    let mut by_name: BTreeMap<_, _> = Tactic::ALL
        .iter()
        .map(|&tactic| (tactic.name(), counts.by(tactic)))
        .collect();
    by_name.extend([
        ("sites", counts.sites),
        ("native", counts.native),
        ("refused", counts.refused),
    ]);
    line(
        out,
        &File {
            file: planned.path.display().to_string(),
            build_id: planned
                .image
                .build_id()
                .map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()),
            counts: by_name,
            trampoline_bytes: planned.emission.code.len(),
            microseconds: planned.microseconds,
            faults: &planned.faults,
            sites: planned
                .plan
                .sites
                .iter()
                .map(|site| record(planned, site))
                .collect(),
        },
    )
}

/// Writes why there is no plan.
pub fn write_error(out: &mut dyn Write, path: &Path, error: &anyhow::Error) -> io::Result<()> {
    line(
        out,
        &Failure {
            file: path.display().to_string(),
            error: format!("{error:#}"),
        },
    )
}

fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

fn record<'a>(planned: &Planned<'a>, site: &Site) -> SiteRecord<'a> {
    let symbol = planned.image.symbol_at(site.at);
    let (trampoline, why) = match &site.outcome {
        Outcome::Patched { trampoline, .. } => {
            let start = planned.emission.starts.get(*trampoline as usize);
            (
                start.map(|&start| (planned.emission.base + u64::from(start)).to_string()),
                Vec::new(),
            )
        }
        Outcome::Native(native) => (None, vec![why_native(native)]),
        Outcome::NotSelected => (None, Vec::new()),
        Outcome::Refused(reasons) => (None, reasons.iter().map(why_refused).collect()),
    };
    SiteRecord {
        at: site.at.to_string(),
        symbol: symbol.map(|(name, _)| name),
        offset: symbol.map(|(_, offset)| offset),
        kind: site.kind.name(),
        number: site.number,
        outcome: show::outcome(site),
        trampoline,
        why,
    }
}

fn why_native(native: &Native) -> Why {
    match native {
        Native::Restorer => Why {
            reason: "restorer",
            ..Why::default()
        },
        Native::AddressTaken { from } => Why {
            reason: "address-taken",
            from: Some(from.to_string()),
            ..Why::default()
        },
    }
}

fn why_refused((tactic, refusal): &(Tactic, Refusal)) -> Why {
    let (reason, at, from) = match refusal {
        Refusal::NotAllowed => ("not-allowed", None, None),
        Refusal::NoPad => ("no-pad", None, None),
        Refusal::Taken { at } => ("taken", Some(at), None),
        Refusal::TargetInside { at, from } => ("target-inside", Some(at), Some(from)),
        Refusal::UnknownJump { at } => ("unknown-jump", Some(at), None),
        Refusal::Immovable { at } => ("immovable", Some(at), None),
        Refusal::NoRoom => ("no-room", None, None),
        Refusal::Forbidden { at } => ("forbidden", Some(at), None),
        Refusal::Untrusted => ("untrusted", None, None),
    };
    Why {
        tactic: Some(tactic.name()),
        reason,
        at: at.map(ToString::to_string),
        from: from.map(ToString::to_string),
    }
}
