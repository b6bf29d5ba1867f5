//! Files built for the purpose: each kind of image, each way to state something.

use std::collections::BTreeSet;

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::image::{Function, FunctionSource, Image, Malformed};

use crate::tools::{Workshop, address_of, function_symbols, hex, output};

const SAMPLE: &str = include_str!("sample.s");
const SHARED: &str = "-shared -nostdlib";
/// Every kind of image that the sample can be linked to.
const LINKS: [&str; 9] = [
    SHARED,
    "-shared -nostdlib -Wl,-z,pack-relative-relocs",
    "-shared -nostdlib -Wl,--no-eh-frame-hdr",
    "-shared -nostdlib -Wl,-z,noseparate-code",
    "-pie -nostdlib -Wl,-e,with_fde",
    "-static-pie -nostdlib -Wl,-e,with_fde",
    "-static -nostdlib -Wl,-e,with_fde",
    "-static -nostdlib -Wl,-e,with_fde -Wl,--no-eh-frame-hdr",
    "-no-pie -nostdlib -Wl,-e,with_fde",
];

fn each_link(mut check: impl FnMut(&str, &str, &Image<'_>)) {
    for link in LINKS {
        let shop = Workshop::new();
        let path = shop.build("gcc", link, "sample.s", SAMPLE);
        let bytes = std::fs::read(&path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        assert_eq!(
            image.relocatable,
            !link.contains("-static -") && !link.contains("-no-pie"),
            "{link}"
        );
        check(link, &path, &image);
    }
}

#[test]
fn functions_of_every_source_are_found() {
    each_link(|link, path, image| {
        let symbols = function_symbols(path, "-s");
        assert_eq!(symbols.len(), 6, "{link}");
        for symbol in &symbols {
            assert!(
                image.is_function_start(symbol.at),
                "{link}: {}",
                symbol.name
            );
            assert!(
                !image.is_function_start(symbol.at + 1),
                "{link}: {}",
                symbol.name
            );
            assert_eq!(
                image.next_function_start(symbol.at - 1),
                Some(symbol.at),
                "{link}: {}",
                symbol.name
            );
            let found = image.function_at(symbol.at).map(|f| (f.span, f.source));
            let span = Span::new(symbol.at, symbol.size);
            let expected = match symbol.name.as_str() {
                "without_size" => None,
                "without_fde" => Some((span, FunctionSource::Symbol)),
                _ => Some((span, FunctionSource::Fde)),
            };
            assert_eq!(found, expected, "{link}: {}", symbol.name);
            assert_eq!(
                image.symbol_at(symbol.at),
                Some((symbol.name.as_str(), 0)),
                "{link}"
            );
        }
    });
}

#[test]
fn pointers_in_data_are_found_in_every_kind_of_image() {
    each_link(|link, path, image| {
        let mut found = BTreeSet::new();
        image.code_pointers(&mut |to, from| {
            found.insert((to, from));
        });
        let at = |name| address_of(path, name);
        let table = at("table");
        assert!(
            found.contains(&(at("with_fde"), table)),
            "{link}: {found:?}"
        );
        assert!(
            found.contains(&(at("without_fde") + 5, table + 8)),
            "{link}: {found:?}"
        );
        assert!(
            !found.iter().any(|&(_, from)| from == at("far")),
            "{link}: {found:?}"
        );
        assert!(found.iter().all(|&(to, _)| image.is_code(to)), "{link}");
        assert!(
            found.iter().any(|&(to, _)| to == at("abort")),
            "{link}: {found:?}"
        );
    });
}

#[test]
fn landing_pads_of_split_functions_are_found() {
    each_link(|link, path, image| {
        let pads = |name| {
            let function = image.function_at(address_of(path, name)).unwrap().span;
            let mut pads = BTreeSet::new();
            assert!(
                image.landing_pads(function, &mut |pad| _ = pads.insert(pad)),
                "{link}"
            );
            assert_eq!(image.has_lsda(function), !pads.is_empty(), "{link}");
            pads
        };
        let (split, cold) = (
            address_of(path, "pad_of_split"),
            address_of(path, "pad_of_cold"),
        );
        assert_eq!(pads("split"), BTreeSet::from([split]), "{link}");
        assert_eq!(pads("split.cold"), BTreeSet::from([split, cold]), "{link}");
        assert_eq!(pads("with_fde"), BTreeSet::new(), "{link}");
    });
}

#[test]
fn restartable_sequences_are_found() {
    each_link(|link, path, image| {
        let [sequence] = image.restartable() else {
            panic!("{link}: {:?}", image.restartable())
        };
        let at = |name| address_of(path, name);
        assert_eq!(
            sequence.span,
            Span {
                start: at("critical"),
                end: at("committed")
            },
            "{link}"
        );
        assert_eq!(sequence.abort, at("abort"), "{link}");
    });
}

#[test]
fn words_in_text_that_the_loader_writes_are_known() {
    for (link, relocated) in [(SHARED, true), ("-static -nostdlib -Wl,-e,with_fde", false)] {
        let shop = Workshop::new();
        let flags = format!("{link} -Wa,--defsym,TEXT_WORD=1 -Wl,-z,notext");
        let path = shop.build("gcc", &flags, "sample.s", SAMPLE);
        let bytes = std::fs::read(&path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let word = address_of(&path, "word_in_text");
        let expected = relocated.then_some(word);
        assert_eq!(image.text_relocated(Span::new(word, 8)), expected, "{link}");
        assert_eq!(
            image.text_relocated(Span::new(word - 3, 4)),
            expected,
            "{link}"
        );
        assert_eq!(
            image.text_relocated(Span::new(word + 7, 9)),
            relocated.then_some(word + 7),
            "{link}"
        );
        assert_eq!(image.text_relocated(Span::new(word - 8, 8)), None, "{link}");
        assert_eq!(image.text_relocated(Span::new(word + 8, 8)), None, "{link}");
    }
}

#[test]
fn without_section_headers_segments_are_code_and_hash_tables_count_symbols() {
    for hash in ["gnu", "sysv", "both"] {
        let shop = Workshop::new();
        let path = shop.build(
            "gcc",
            &format!("{SHARED} -Wl,--hash-style={hash}"),
            "sample.s",
            SAMPLE,
        );
        let mut bytes = std::fs::read(&path).unwrap();
        // e_shoff; e_shnum and e_shstrndx
        bytes[40..48].fill(0);
        bytes[60..64].fill(0);
        let image = Image::from_file(&bytes).unwrap();
        assert!(!image.has_section_headers());
        let executable: Vec<Span> = image
            .segments
            .iter()
            .filter(|s| s.executable)
            .map(|s| s.stored())
            .collect();
        assert_eq!(image.code, executable);
        let symbols = function_symbols(&path, "--dyn-syms");
        assert_eq!(symbols.len(), 3);
        for symbol in symbols {
            assert_eq!(
                image.symbol_at(symbol.at),
                Some((symbol.name.as_str(), 0)),
                "{hash}"
            );
            assert!(
                image.is_function_start(symbol.at),
                "{hash}: {}",
                symbol.name
            );
        }
        let split = image.function_at(address_of(&path, "split")).unwrap();
        assert_eq!(split.source, FunctionSource::Fde);
    }
}

/// With `-fcf-protection` every landing pad begins with `endbr64`, and without jump tables nothing else
/// inside a function does.
#[test]
fn landing_pads_of_exceptions_are_those_marked_endbr64() {
    let source = r#"
        #include <stdexcept>
        #include <string>
        struct Guard { std::string s; ~Guard(); };
        Guard::~Guard() { if (s.size() > 3) s.clear(); }
        int risky(int);
        int risky(int n) { if (n > 3) throw std::runtime_error("n"); return n; }
        int first(int n) { Guard a, b; try { return risky(n); } catch (const std::logic_error &e) { return 1; }
            catch (...) { Guard c; risky(2); return 2; } }
        int second(int n) noexcept { Guard a; return risky(n); }
        int third(int n) { Guard a; for (int i = 0; i < n; i++) { Guard b; risky(i); } return n; }
    "#;
    let shop = Workshop::new();
    let flags = "-O1 -shared -fPIC -fcf-protection=full -fno-jump-tables";
    let path = shop.build("g++", flags, "throws.cc", source);
    let bytes = std::fs::read(&path).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let printed = output(
        "objdump",
        &["-d", "-j", ".text", "--no-show-raw-insn", &path],
    );
    let marked = printed.lines().filter(|line| line.ends_with("endbr64"));
    let marked: BTreeSet<Va> = marked
        .map(|line| Va(hex(line.trim().split(':').next().unwrap())))
        .collect();
    let expected: BTreeSet<Va> = marked
        .into_iter()
        .filter(|&at| image.function_at(at).is_some_and(|f| f.span.start != at))
        .collect();
    let mut pads = BTreeSet::new();
    for symbol in function_symbols(&path, "-s") {
        if let Some(function) = image.function_at(symbol.at) {
            assert!(image.landing_pads(function.span, &mut |pad| _ = pads.insert(pad)));
        }
    }
    assert!(pads.len() >= 5, "{pads:?}");
    assert_eq!(pads, expected);
}

#[test]
fn functions_of_musl_are_found_by_symbols() {
    let shop = Workshop::new();
    let path = shop.build(
        "musl-gcc",
        "-static -no-pie",
        "main.c",
        "int main(void) { return 0; }",
    );
    let bytes = std::fs::read(&path).unwrap();
    let image = Image::from_file(&bytes).unwrap();
    let mut by_symbol = 0;
    for symbol in function_symbols(&path, "-s")
        .into_iter()
        .filter(|symbol| symbol.size > 0)
    {
        let function = image.function_at(symbol.at + (symbol.size - 1)).unwrap();
        assert!(
            function.span.contains(symbol.at),
            "{}: {function:?}",
            symbol.name
        );
        by_symbol += usize::from(function.source == FunctionSource::Symbol);
    }
    assert!(by_symbol > 10, "{by_symbol}");
}

#[test]
fn functions_of_go_are_found_stripped_or_not() {
    let source = "package main\nfunc main() { println(1) }\n";
    let modes = [
        "build -buildmode=exe",
        "build -buildmode=pie",
        // the C compiler links: code of C comes first, and GNU ld hides the table in another section
        "build -buildmode=pie -ldflags=-linkmode=external",
    ];
    for mode in modes {
        let shop = Workshop::new();
        let plain = shop.build("go", mode, "main.go", source);
        let stripped = shop.file("stripped");
        output("strip", &["-o", &stripped, &plain]);
        let symbols = function_symbols(&plain, "-s");
        assert!(symbols.len() > 500, "{mode}: {}", symbols.len());
        for path in [&plain, &stripped] {
            let bytes = std::fs::read(path).unwrap();
            let image = Image::from_file(&bytes).unwrap();
            let go = |name: &str| name.starts_with("runtime.") || name.starts_with("main.");
            for symbol in symbols
                .iter()
                .filter(|symbol| symbol.size > 0 && go(&symbol.name))
            {
                let name = &symbol.name;
                let found = image
                    .function_at(symbol.at)
                    .unwrap_or_else(|| panic!("{mode}: {name}"));
                assert_eq!(found.source, FunctionSource::Pclntab, "{mode}: {name}");
                assert!(
                    found.span.contains(symbol.at + (symbol.size - 1)),
                    "{mode}: {name}"
                );
            }
            let main = symbols
                .iter()
                .find(|symbol| symbol.name == "main.main")
                .unwrap();
            assert_eq!(
                image.symbol_at(main.at + 2),
                Some(("main.main", 2)),
                "{mode}"
            );
            assert!(image.is_function_start(main.at) && !image.is_function_start(main.at + 1));
        }
    }
}

#[test]
fn every_layout_of_the_function_table_of_go_is_read() {
    let source = include_str!("gopclntab.s");
    let layouts = [
        "LAYOUT=2",
        "LAYOUT=16",
        "LAYOUT=18",
        "LAYOUT=20",
        "LAYOUT=20,--defsym,NO_TEXT=1",
    ];
    for layout in layouts {
        let shop = Workshop::new();
        let flags = format!("-static -nostdlib -Wl,-e,one -Wa,--defsym,{layout}");
        let path = shop.build("gcc", &flags, "gopclntab.s", source);
        let bytes = std::fs::read(&path).unwrap();
        let image = Image::from_file(&bytes).unwrap();
        let [one, two, end] = ["one", "two", "end"].map(|name| address_of(&path, name));
        let function = |start, end| {
            Some(Function {
                span: Span { start, end },
                source: FunctionSource::Pclntab,
            })
        };
        assert_eq!(image.function_at(one + 7), function(one, two), "{layout}");
        assert_eq!(image.function_at(two), function(two, end), "{layout}");
        assert_eq!(image.function_at(end), None, "{layout}");
        assert_eq!(image.next_function_start(one), Some(two), "{layout}");
        assert_eq!(image.symbol_at(one + 7), Some(("main.one", 7)), "{layout}");
        assert_eq!(image.symbol_at(two + 2), Some(("main.two", 2)), "{layout}");
    }
}

#[test]
fn what_is_no_image_is_refused_in_words() {
    let shop = Workshop::new();
    let object = std::fs::read(shop.build("gcc", "-c", "sample.s", SAMPLE)).unwrap();
    let shared = std::fs::read(shop.build("gcc", SHARED, "sample.s", SAMPLE)).unwrap();
    let changed = |at: usize, with: &[u8]| {
        let mut bytes = shared.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let cases: [(Vec<u8>, Malformed); 9] = [
        (object, Malformed::NotLoadable { kind: 1 }),
        (b"#!/bin/sh\n".to_vec(), Malformed::NotElf),
        (Vec::new(), Malformed::NotElf),
        (shared[..63].to_vec(), Malformed::Truncated { at: 0 }),
        (shared[..200].to_vec(), Malformed::Truncated { at: 32 }),
        (
            shared[..shared.len() - 1].to_vec(),
            Malformed::Truncated { at: 40 },
        ),
        (changed(18, &[183, 0]), Malformed::OtherMachine),
        (changed(54, &[32]), Malformed::EntrySize { at: 54 }),
        (changed(56, &[0]), Malformed::NoSegments),
    ];
    for (bytes, expected) in cases {
        let error = Image::from_file(&bytes).expect_err(&format!("{expected:?}"));
        assert_eq!(error, expected);
        assert!(error.to_string().len() > 10);
    }
}
