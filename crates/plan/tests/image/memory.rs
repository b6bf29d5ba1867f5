//! Images in memory, against the files they come from.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::image::{Image, Segment, load_bias};

use crate::tools::{LIBC, fdes, function_symbols, hex};

/// A readable mapping of this process.
struct Mapping {
    start: u64,
    bytes: Vec<u8>,
    writable: bool,
    executable: bool,
}

/// Copies of the readable mappings of this process whose line in `maps` ends with `name`.
fn mappings(name: &str) -> Vec<Mapping> {
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps.lines().filter(|line| line.ends_with(name));
    let mappings = lines.map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let rights = words.next().unwrap();
        let mut bytes = vec![0; usize::try_from(hex(end) - hex(start)).unwrap()];
        memory.read_exact_at(&mut bytes, hex(start)).unwrap();
        Mapping {
            start: hex(start),
            bytes,
            writable: rights.contains('w'),
            executable: rights.contains('x'),
        }
    });
    mappings.collect()
}

fn image<'a>(mappings: &'a [Mapping]) -> Image<'a> {
    let bias = load_bias(&mappings[0].bytes, mappings[0].start).unwrap();
    let segments = mappings.iter().map(|mapping| Segment {
        span: Span::new(Va(mapping.start - bias), mapping.bytes.len() as u64),
        bytes: &mapping.bytes,
        writable: mapping.writable,
        executable: mapping.executable,
    });
    Image::from_memory(segments.collect(), bias).unwrap()
}

/// Whatever is asked of an image in memory is answered as for its file.
fn assert_agree(path: &str, memory: &Image<'_>, file: &Image<'_>) {
    for span in fdes(path) {
        assert_eq!(
            memory.function_at(span.end - 1),
            file.function_at(span.end - 1),
            "{path}: {span:?}"
        );
    }
    for symbol in function_symbols(path, "--dyn-syms") {
        assert_eq!(
            memory.symbol_at(symbol.at),
            file.symbol_at(symbol.at),
            "{path}: {}",
            symbol.name
        );
    }
    let pointers = |image: &Image<'_>| {
        let mut found = BTreeSet::new();
        image.code_pointers(&mut |to, from| _ = found.insert((to, from)));
        // without sections more counts as code
        found.retain(|&(to, _)| file.is_code(to));
        found
    };
    assert_eq!(pointers(memory), pointers(file), "{path}");
    for &code in &file.code {
        assert!(
            memory.code.iter().any(|span| span.covers(code)),
            "{path}: {code:?}"
        );
        assert_eq!(memory.bytes(code), file.bytes(code), "{path}: {code:?}");
    }
    assert_eq!(memory.build_id(), file.build_id(), "{path}");
    assert!(!memory.has_section_headers());
}

#[test]
fn this_process_has_the_libraries_of_the_files() {
    let path = std::fs::canonicalize(LIBC).unwrap();
    let mappings = mappings(path.to_str().unwrap());
    assert!(mappings.len() >= 4, "{}", mappings.len());
    let bytes = std::fs::read(LIBC).unwrap();
    assert_agree(LIBC, &image(&mappings), &Image::from_file(&bytes).unwrap());
}

/// Nothing relocated yet, as in a process that has just been started.
#[test]
fn memory_the_loader_has_not_touched_reads_the_same() {
    let bytes = std::fs::read(LIBC).unwrap();
    let file = Image::from_file(&bytes).unwrap();
    let bias = 0x7fff_1234_5000;
    let mut segments = file.segments.clone();
    segments[0].span.start = Va(0);
    for segment in &mut segments {
        segment.span.end = segment.span.start + segment.bytes.len() as u64;
    }
    assert_agree(LIBC, &Image::from_memory(segments, bias).unwrap(), &file);
}

#[test]
fn the_vdso_is_a_whole_file() {
    let mappings = mappings("[vdso]");
    let image = Image::from_file(&mappings[0].bytes).unwrap();
    assert!(image.has_section_headers());
    let gettime = image
        .code
        .iter()
        .find_map(|code| {
            let mut at = code.start;
            while let Some(next) = image
                .next_function_start(at - 1)
                .filter(|next| *next < code.end)
            {
                if image
                    .symbol_at(next)
                    .is_some_and(|(name, _)| name == "clock_gettime")
                {
                    return Some(next);
                }
                at = next + 1;
            }
            None
        })
        .expect("clock_gettime");
    assert!(image.function_at(gettime).unwrap().span.len() > 4);
}

#[test]
fn memory_that_is_not_the_image_is_refused() {
    let bytes = std::fs::read(LIBC).unwrap();
    let file = Image::from_file(&bytes).unwrap();
    let mut moved = file.segments.clone();
    moved
        .iter_mut()
        .for_each(|s| s.span = Span::new(s.span.start + 0x1000, s.span.len()));
    assert!(Image::from_memory(moved, 0).is_err());
    let mut swapped = file.segments.clone();
    swapped.swap(1, 2);
    assert!(Image::from_memory(swapped, 0).is_err());
    assert!(Image::from_memory(Vec::new(), 0).is_err());
}
