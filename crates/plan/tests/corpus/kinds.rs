//! Sites of other kinds than `syscall`: they are those that `objdump` shows, and plans take them.

use std::path::Path;

use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::code::Code;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Kinds, Outcome, SiteKind};
use hotpatch_plan::scan::scan;
use hotpatch_plan::search::Scalar;
use hotpatch_plan::{Options, store};

use super::files::corpus;
use super::objdump;

/// Files that not every machine has, each with many of these instructions.
const FILES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/libgcrypt.so.20",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/usr/lib/jvm/java-17-openjdk-amd64/lib/server/libjvm.so",
    "/lib64/ld-linux-x86-64.so.2",
];

/// All but the old ways into the kernel, of which data is full.
fn all() -> Kinds {
    let kinds = SiteKind::ALL.into_iter();
    kinds
        .filter(|kind| !is_old(*kind))
        .fold(Kinds::NONE, Kinds::with)
}

fn is_old(kind: SiteKind) -> bool {
    matches!(kind, SiteKind::Int80 | SiteKind::Sysenter)
}

fn compare(path: &Path, bytes: &[u8], tables: bool) -> usize {
    let image = Image::from_file(bytes).expect("an image");
    let old = Kinds::NONE.with(SiteKind::Int80).with(SiteKind::Sysenter);
    let sites = scan(&image, &Scalar, old, &mut Code::new(&image));
    let strays: Vec<_> = sites.found.iter().filter(|s| is_old(s.kind)).collect();
    assert!(strays.is_empty(), "{}: {strays:?}", path.display());
    let sites = scan(&image, &Scalar, all(), &mut Code::new(&image));
    let found: Vec<(u64, SiteKind)> = sites.found.iter().map(|s| (s.at.0, s.kind)).collect();
    let mut expected = objdump::others(path, bytes);
    expected.retain(|(_, kind)| !is_old(*kind));
    let ours: Vec<_> = found
        .iter()
        .filter(|s| s.1 != SiteKind::Syscall)
        .copied()
        .collect();
    if tables {
        expected.retain(|site| ours.contains(site));
    }
    assert_eq!(ours, expected, "{}", path.display());
    ours.len()
}

#[test]
fn other_kinds_are_those_of_objdump() {
    let mut total = 0;
    for file in corpus() {
        let sites = compare(&file.path, &file.read(), file.tables);
        println!("{:<16} {sites:>4}", file.name);
        total += sites;
    }
    for path in FILES.map(Path::new) {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let sites = compare(path, &bytes, false);
        println!("{} {sites}", path.display());
        total += sites;
    }
    assert!(total > 100, "{total}");
}

#[test]
fn every_kind_is_planned_and_judged() {
    let present = corpus().iter().map(|file| file.path.as_path());
    for path in present.chain(FILES.map(Path::new)) {
        let Ok(bytes) = std::fs::read(path) else {
            continue;
        };
        let image = Image::from_file(&bytes).expect("an image");
        let options = Options {
            kinds: all(),
            ..Options::new(&Scalar)
        };
        let plan = hotpatch_plan::plan(&image, &options);
        let base = Va(image.span().end.0.next_multiple_of(4096));
        let emission = plan.emit(&image, base, 0).expect("near enough");
        let faults = check(&image, &plan, &emission, 0).err().unwrap_or_default();
        assert_eq!(faults, [], "{}", path.display());
        let refused = plan.sites.iter();
        let refused: Vec<_> = refused
            .filter(|s| matches!(s.outcome, Outcome::Refused(_)))
            .collect();
        println!(
            "{}: {} sites, refused {refused:?}",
            path.display(),
            plan.sites.len()
        );
        assert!(
            refused.len() * 50 <= plan.sites.len(),
            "{}: {refused:?}",
            path.display()
        );
        let kept = store::encode(&plan, &image).expect("it can be kept");
        assert_eq!(store::decode(&kept, &image), Some(plan));
    }
}
