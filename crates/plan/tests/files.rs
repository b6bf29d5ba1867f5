//! Plans of files of this machine, by each tactic alone and by all together: every one is accepted.
//!
//! `HOTPATCH_FILES` names more files to judge, separated by spaces.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::{Fault, check, check_as};
use hotpatch_plan::emit::{Hooking, Style};
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Outcome, Plan, Site, Tactic, Tactics};
use hotpatch_plan::search::Scalar;

/// Files that differ in how they were made: shared, static, by other compilers, without symbols.
const FILES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-musl/libc.so",
    "/bin/busybox",
    "/sbin/ldconfig",
];

/// What became of the sites of all plans by one ladder, counted.
#[derive(Default)]
struct Count(BTreeMap<&'static str, usize>);

impl Count {
    fn add(&mut self, plan: &Plan) {
        for site in &plan.sites {
            let name = match &site.outcome {
                Outcome::Patched { tactic, .. } => tactic.name(),
                Outcome::Native(_) => "native",
                Outcome::Refused(_) => "refused",
                Outcome::NotSelected => "not selected",
            };
            *self.0.entry(name).or_default() += 1;
        }
    }
}

/// Plans, emits and judges one file; each fault as a line.
fn judge(path: &Path, tactics: Tactics, bias: u64, count: &mut Count) -> Vec<String> {
    let Ok(file) = std::fs::read(path) else {
        return Vec::new();
    };
    let Ok(image) = Image::from_file(&file) else {
        return Vec::new();
    };
    let options = Options {
        tactics,
        ..Options::new(&Scalar)
    };
    let start = Instant::now();
    let plan = hotpatch_plan::plan(&image, &options);
    let planned = start.elapsed();
    count.add(&plan);
    if tactics == Tactics::ALL {
        let left = |s: &&Site| !matches!(s.outcome, Outcome::Patched { .. });
        for site in plan.sites.iter().filter(left) {
            println!("{}: {site:?}", path.display());
        }
    }
    let base = Va(image.span().end.0.next_multiple_of(0x1000));
    let emission = match plan.emit(&image, base, bias) {
        Ok(emission) => emission,
        Err(far) => return vec![format!("{}: {far:?}", path.display())],
    };
    let faults = check(&image, &plan, &emission, bias)
        .err()
        .unwrap_or_default();
    let faults = [faults, judge_hooked(&image, &plan, base, bias)].concat();
    if planned.as_millis() > 500 {
        println!(
            "{}: planned in {planned:?}, judged in {:?}",
            path.display(),
            start.elapsed()
        );
    }
    let place = |fault| format!("{} {tactics:?}: {fault}", path.display());
    faults.iter().map(place).collect()
}

/// The same plan with most sites hooked, some with a look at whose `gs` it is.
fn judge_hooked(image: &Image<'_>, plan: &Plan, base: Va, bias: u64) -> Vec<Fault> {
    let every = |nth: usize| -> Vec<Va> {
        let sites = plan.sites.iter().skip(1);
        sites.map(|s| s.at).step_by(nth).collect()
    };
    let (quiet, plain) = (every(3), every(5));
    let numbers: Vec<_> = every(2).into_iter().zip(0x1_fffd..).collect();
    let hooking = Hooking {
        data: base + 0x20_0000,
        first: 7,
        saved_rsp: -80,
        own_rsp: 0x158,
        minus_fs: (plan.sites.len().is_multiple_of(2)).then_some(0x128),
        quiet: &quiet,
        plain: &plain,
        numbers: &numbers,
    };
    let style = Style::Hooked(&hooking);
    let emission = plan
        .emit_as(image, base, bias, style)
        .expect("as near as the plain one");
    assert_eq!(emission.code.len(), plan.layout(style).code_len());
    let patched = |s: &&Site| {
        matches!(s.outcome, Outcome::Patched { .. }) && plain.binary_search(&s.at).is_err()
    };
    assert!(emission.blocks.len() >= plan.sites.iter().filter(patched).count());
    check_as(image, plan, &emission, bias, style)
        .err()
        .unwrap_or_default()
}

fn judge_all<'p>(files: impl Iterator<Item = &'p Path> + Clone) {
    let mut faults = Vec::new();
    let ladders = Tactic::ALL.into_iter().map(|t| Tactics::NONE.with(t));
    for tactics in ladders.chain([Tactics::ALL]) {
        let mut count = Count::default();
        for (i, file) in files.clone().enumerate() {
            let bias = if i % 2 == 0 { 0 } else { 0x7fff_8765_4000 };
            faults.extend(judge(file, tactics, bias, &mut count));
        }
        println!("{tactics:?}: {:?}", count.0);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_plan_of_a_real_file_is_accepted() {
    assert!(Path::new(FILES[0]).exists(), "there is a libc to judge");
    judge_all(FILES.iter().map(Path::new));
}

#[test]
fn so_is_every_plan_of_the_files_asked_for() {
    let names = std::env::var("HOTPATCH_FILES").unwrap_or_default();
    judge_all(names.split_ascii_whitespace().map(Path::new));
}
