//! Images of this machine's files, against what binutils say of them.

use std::collections::BTreeSet;
use std::process::Command;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::image::{FunctionSource, Image};

const LIBC: &str = "/lib/x86_64-linux-gnu/libc.so.6";
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits.trim_start_matches("0x"), 16)
        .unwrap_or_else(|e| panic!("{digits}: {e}"))
}

/// `FDE … pc=start..end`, as readelf prints them.
fn fdes(path: &str) -> BTreeSet<Span> {
    output("readelf", &["-wFN", path])
        .lines()
        .filter_map(|line| {
            let (start, end) = line.split_once(" pc=")?.1.trim().split_once("..")?;
            Some(Span {
                start: Va(hex(start)),
                end: Va(hex(end)),
            })
        })
        .collect()
}

#[test]
fn functions_are_those_of_readelf() {
    for path in [LIBC, LOADER] {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let spans = fdes(path);
        assert!(spans.len() > 100, "{path}: {} FDEs", spans.len());
        for span in spans {
            let function = image
                .function_at(span.end - 1)
                .unwrap_or_else(|| panic!("{path}: no function at {span:?}"));
            assert_eq!(function.source, FunctionSource::Fde);
            // a restorer's FDE begins one byte early
            let early = function.span.start.distance_from(span.start);
            assert!(
                (0..=1).contains(&early) && function.span.end == span.end,
                "{path}: {function:?} {span:?}"
            );
            assert!(image.is_function_start(function.span.start));
            if early == 1 {
                assert_eq!(
                    image.read(function.span.start, 4),
                    Some(&[0x48, 0xc7, 0xc0, 15][..])
                );
            }
        }
    }
}
