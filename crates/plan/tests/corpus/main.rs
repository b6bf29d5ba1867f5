//! Files that every machine with the suite's packages has, and programs built on the spot: sites are those
//! of `objdump`, and plans take all of them.

mod files;
mod found;
mod kinds;
mod objdump;

use std::collections::BTreeMap;

use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::code::Code;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Kinds, Native, Outcome, Plan, Tactic, Tactics};
use hotpatch_plan::scan::scan;
use hotpatch_plan::search::Scalar;

use files::corpus;

#[test]
fn sites_are_the_syscall_instructions_of_objdump() {
    for file in corpus() {
        let bytes = file.read();
        let image = Image::from_file(&bytes).unwrap();
        let sites = scan(&image, &Scalar, Kinds::SYSCALL, &mut Code::new(&image));
        let mut expected = objdump::syscalls(&file.path, &bytes);
        if file.tables {
            expected.others.append(&mut expected.sites);
            expected.others.sort_unstable();
        }
        let found: Vec<u64> = sites.found.iter().map(|site| site.at.0).collect();
        assert_eq!(found, expected.sites, "{}", file.name);
        let rejected: Vec<u64> = sites.rejected.iter().map(|at| at.0).collect();
        assert_eq!(rejected, expected.others, "{}", file.name);
        assert!(
            found.len() >= file.least,
            "{}: {} sites",
            file.name,
            found.len()
        );
        println!(
            "{:<16} {:>4} sites, {:>3} pairs that are none",
            file.name,
            found.len(),
            rejected.len()
        );
    }
}

/// The plan of `image`, which the judge accepts.
fn planned<'a>(name: &str, image: &'a Image<'a>, tactics: Tactics) -> Plan {
    let options = Options {
        tactics,
        ..Options::new(&Scalar)
    };
    let plan = hotpatch_plan::plan(image, &options);
    let base = Va(image.span().end.0.next_multiple_of(4096));
    let emission = plan
        .emit(image, base, 0)
        .unwrap_or_else(|e| panic!("{name}: {e:?}"));
    if let Err(faults) = check(image, &plan, &emission, 0) {
        panic!("{name}: {faults:?}");
    }
    plan
}

/// How many sites each tactic took, under its name; the others under `native` and `refused`.
fn shares(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let mut shares = BTreeMap::new();
    for site in &plan.sites {
        let name = match &site.outcome {
            Outcome::Patched { tactic, .. } => tactic.name(),
            Outcome::Native(_) => "native",
            Outcome::Refused(_) => "refused",
            Outcome::NotSelected => "not selected",
        };
        *shares.entry(name).or_default() += 1;
    }
    shares
}

fn print_shares(name: &str, plan: &Plan) {
    let shares = shares(plan);
    let count = |what| shares.get(what).copied().unwrap_or_default();
    let by_tactic: Vec<String> = Tactic::ALL
        .iter()
        .map(|t| format!("{} {:>3}", t.name(), count(t.name())))
        .collect();
    println!(
        "{name:<28} {:>4} sites: {}, native {:>3}, refused {:>3}",
        plan.sites.len(),
        by_tactic.join(", "),
        count("native"),
        count("refused"),
    );
}

#[test]
fn the_whole_ladder_leaves_no_site() {
    for file in corpus() {
        let bytes = file.read();
        let image = Image::from_file(&bytes).unwrap();
        let plan = planned(file.name, &image, Tactics::ALL);
        print_shares(file.name, &plan);
        let (mut restorers, mut taken) = (0, 0);
        for site in &plan.sites {
            match &site.outcome {
                Outcome::Patched { .. } => {}
                Outcome::Native(Native::Restorer) => restorers += 1,
                Outcome::Native(Native::AddressTaken { .. }) => taken += 1,
                Outcome::NotSelected => panic!("{}: {:?} was asked for", file.name, site.at),
                Outcome::Refused(why) => panic!("{}: {:?} {why:?}", file.name, site.at),
            }
        }
        assert_eq!((restorers, taken), file.natives, "{}", file.name);
    }
}

#[test]
fn each_tactic_alone_makes_a_plan_that_holds() {
    let names = [
        "libc",
        "ld.so",
        "musl libc.so",
        "glibc-stripped",
        "musl-static",
        "go-stripped",
    ];
    for file in corpus().iter().filter(|f| names.contains(&f.name)) {
        let bytes = file.read();
        let image = Image::from_file(&bytes).unwrap();
        for tactic in Tactic::ALL {
            let plan = planned(file.name, &image, Tactics::NONE.with(tactic));
            let others = shares(&plan);
            let allowed = ["native", "refused", tactic.name()];
            assert!(others.keys().all(|name| allowed.contains(name)));
            print_shares(&format!("{} by {}", file.name, tactic.name()), &plan);
        }
    }
}
