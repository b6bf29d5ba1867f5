//! One random program, planned and judged: what `cargo test` and the fuzz targets have in common.

use arbitrary::{Result, Unstructured};
use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Emission, Kinds, Outcome, Plan, SiteKind, Tactic, Tactics};
use hotpatch_plan::search::Scalar;

use crate::generator::Program;
use crate::synthetic::{DATA_LEN, TEXT, data_at, elf};

/// Where the image is loaded, and where its trampolines are, as distance from the image's end.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Added to all of the image's addresses.
    pub bias: u64,
    /// Bytes between the image and its trampolines.
    pub gap: u64,
    /// The image says where functions begin and end.
    pub bounds: bool,
}

impl Place {
    /// Draws a place: return addresses with the upper bit of their low half clear and set, trampolines near and far.
    pub fn draw(u: &mut Unstructured<'_>) -> Result<Self> {
        let bias = *u.choose(&[0x5555_1234_0000, 0x5555_f234_0000])?;
        let gap = *u.choose(&[0, 0x1000_0000, 0x7f00_0000])?;
        let bounds = u.ratio(3, 4)?;
        Ok(Self { bias, gap, bounds })
    }
}

/// The kinds of sites that programs are made of.
fn kinds() -> Kinds {
    let old = |kind: &SiteKind| matches!(kind, SiteKind::Int80 | SiteKind::Sysenter);
    let kinds = SiteKind::ALL.into_iter().filter(|kind| !old(kind));
    kinds.fold(Kinds::NONE, Kinds::with)
}

/// Every tactic alone, and the whole ladder last.
pub fn ladders() -> impl Iterator<Item = Tactics> {
    Tactic::ALL
        .into_iter()
        .map(|t| Tactics::NONE.with(t))
        .chain([Tactics::ALL])
}

/// Plans and emits `program`.
///
/// # Panics
/// If the plan is faulty, with the faults and the plan.
pub fn planned(program: &Program, tactics: Tactics, place: Place) -> (Plan, Emission) {
    // Who is called by name alone must have one, or nobody could know that control arrives there.
    let functions = program.functions.iter();
    let functions: Vec<_> = match place.bounds {
        true => functions.copied().collect(),
        false => functions.map(|&(start, _)| (start, 0)).collect(),
    };
    let file = elf(&program.text, &functions);
    let image = Image::from_file(&file).expect("the file is well-formed");
    let options = Options {
        tactics,
        kinds: kinds(),
        ..Options::new(&Scalar)
    };
    let plan = hotpatch_plan::plan(&image, &options);
    let base = Va(data_at(program.text.len()) + DATA_LEN + place.gap);
    let emission = plan
        .emit(&image, base, place.bias)
        .expect("trampolines are within reach");
    if let Err(faults) = check(&image, &plan, &emission, place.bias) {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!(
            "{tactics:?}: {faults:#?}\n{}{}",
            summary(&plan),
            listing(program)
        );
    }
    (plan, emission)
}

/// How many of a plan's sites are patched.
pub fn patched(plan: &Plan) -> usize {
    plan.sites
        .iter()
        .filter(|s| matches!(s.outcome, Outcome::Patched { .. }))
        .count()
}

/// The program's code as text, without the padding between functions.
pub fn listing(program: &Program) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    for &(offset, len) in &program.functions {
        let bytes = &program.text[offset..offset + len];
        let start = TEXT + offset as u64;
        let _ = writeln!(out, "{start:#x}:");
        for instruction in &mut iced_x86::Decoder::with_ip(64, bytes, start, 0) {
            let at = (instruction.ip() - start) as usize;
            let bytes = &bytes[at..at + instruction.len()];
            let hex: String = bytes.iter().map(|b| format!("{b:02x} ")).collect();
            let _ = write!(
                out,
                "  {:#x}  {hex:<32} {:?}",
                instruction.ip(),
                instruction.code()
            );
            let _ = match instruction.near_branch_target() {
                0 => writeln!(out),
                target => writeln!(out, " {target:#x}"),
            };
        }
    }
    out
}

/// A plan's outcomes, moved spans and edits as text.
pub fn summary(plan: &Plan) -> String {
    let sites = plan.sites.iter().map(|s| format!("{s:?}\n"));
    let spans = plan
        .trampolines
        .iter()
        .map(|t| format!("moves {}..{}\n", t.span.start, t.span.end));
    let edits = plan.edits.iter().map(|e| format!("{e:?}\n"));
    sites.chain(spans).chain(edits).collect()
}
