//! Files of this machine.

use hotpatch_plan::addr::Va;
use hotpatch_plan::image::{FunctionSource, Image};

use crate::tools::{LIBC, LOADER, fdes, function_symbols, hex, output};

#[test]
fn functions_are_those_of_readelf() {
    for path in [LIBC, LOADER] {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let spans = fdes(path);
        assert!(spans.len() > 100, "{path}: {} FDEs", spans.len());
        let mut early = 0;
        for span in spans {
            let function = image
                .function_at(span.end - 1)
                .unwrap_or_else(|| panic!("{path}: none at {span:?}"));
            assert_eq!(function.source, FunctionSource::Fde);
            assert_eq!(function.span.end, span.end, "{path}");
            assert!(
                image.is_function_start(function.span.start),
                "{path}: {function:?}"
            );
            assert_eq!(
                image.next_function_start(function.span.start - 1),
                Some(function.span.start)
            );
            if function.span.start != span.start {
                early += 1;
                assert_eq!(function.span.start, span.start + 1, "{path}");
                assert_eq!(
                    image.read(function.span.start, 4),
                    Some(&[0x48, 0xc7, 0xc0, 15][..]),
                    "{path}"
                );
                assert!(!image.is_function_start(span.start));
            }
        }
        // __restore_rt
        assert_eq!(early, 1, "{path}");
    }
}

#[test]
fn code_is_the_executable_sections() {
    for path in [LIBC, LOADER] {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let printed = output("readelf", &["-SW", path]);
        let sections = printed.lines().filter_map(|line| {
            let line = line.split_once(']')?.1;
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, "PROGBITS", at, _, len, _, flags, ..] = words[..] else {
                return None;
            };
            flags.contains('X').then(|| (Va(hex(at)), hex(len)))
        });
        let code: Vec<_> = image
            .code
            .iter()
            .map(|span| (span.start, span.len()))
            .collect();
        assert_eq!(code, sections.collect::<Vec<_>>(), "{path}");
        assert!(image.has_section_headers() && image.relocatable);
    }
}

#[test]
fn symbols_are_those_of_readelf() {
    for path in [LIBC, LOADER] {
        let bytes = std::fs::read(path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let symbols = function_symbols(path, "--dyn-syms");
        assert!(symbols.len() > 10, "{path}");
        for symbol in &symbols {
            // a name of the same place, if not this one
            let (name, offset) = image
                .symbol_at(symbol.at)
                .unwrap_or_else(|| panic!("{path}: {}", symbol.name));
            assert_eq!(offset, 0, "{path}: {} is {name}", symbol.name);
            assert!(
                symbols.iter().any(|s| s.at == symbol.at && s.name == name),
                "{path}: {name}"
            );
            if symbol.size > 1 {
                assert!(
                    image.symbol_at(symbol.at + 1).is_some(),
                    "{path}: {}",
                    symbol.name
                );
            }
        }
    }
}

#[test]
fn the_name_without_underscores_is_chosen() {
    let bytes = std::fs::read(LIBC).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let symbols = function_symbols(LIBC, "--dyn-syms");
    let at = symbols
        .iter()
        .find(|symbol| symbol.name == "__read")
        .unwrap()
        .at;
    assert_eq!(image.symbol_at(at + 3), Some(("read", 3)));
}

#[test]
fn the_build_id_is_that_of_readelf() {
    let bytes = std::fs::read(LIBC).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let digits: String = image
        .build_id()
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let printed = output("readelf", &["-n", LIBC]);
    assert_eq!(
        printed.split_once("Build ID: ").unwrap().1.lines().next(),
        Some(digits.as_str())
    );
}

#[test]
fn relocations_to_code_are_those_of_readelf() {
    let bytes = std::fs::read(LIBC).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let mut pointers = Vec::new();
    image.code_pointers(&mut |to, from| pointers.push((to, from)));
    pointers.sort_unstable();
    let printed = output("readelf", &["-rW", LIBC]);
    let mut kinds = [0; 3];
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, at, to) = match words[..] {
            [at, _, "R_X86_64_RELATIVE" | "R_X86_64_IRELATIVE", to] => (0, hex(at), hex(to)),
            [
                at,
                _,
                "R_X86_64_GLOB_DAT" | "R_X86_64_JUMP_SLOT" | "R_X86_64_64",
                to,
                _,
                "+",
                "0",
            ] => (1, hex(at), hex(to)),
            // the packed form: the word in the file is the address
            [at] if at.len() == 16 => {
                let word = image.read(Va(hex(at)), 8).unwrap();
                (2, hex(at), u64::from_le_bytes(word.try_into().unwrap()))
            }
            _ => continue,
        };
        let known = pointers.binary_search(&(Va(to), Va(at))).is_ok();
        assert_eq!(known, image.is_code(Va(to)), "{line}");
        kinds[kind] += usize::from(known);
    }
    assert!(kinds[0] > 20 && kinds[1] > 0 && kinds[2] > 100, "{kinds:?}");
}
