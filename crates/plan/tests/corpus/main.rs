//! Files that every machine with the suite's packages has, and programs built on the spot: sites are those
//! of `objdump`, and plans take all of them.

mod files;
mod objdump;

use hotpatch_plan::code::Code;
use hotpatch_plan::image::Image;
use hotpatch_plan::scan::scan;
use hotpatch_plan::search::Scalar;

use files::corpus;

#[test]
fn sites_are_the_syscall_instructions_of_objdump() {
    for file in corpus() {
        let bytes = file.read();
        let image = Image::from_file(&bytes).unwrap();
        let sites = scan(&image, &Scalar, &mut Code::new(&image));
        let mut expected = objdump::syscalls(&file.path, &bytes);
        if file.tables {
            expected.others.append(&mut expected.sites);
            expected.others.sort_unstable();
        }
        let found: Vec<u64> = sites.at.iter().map(|at| at.0).collect();
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
