//! A second opinion on where instructions end: the planner's decoder against yaxpeax-x86.

use std::collections::BTreeMap;

use hotpatch_plan::decode::Reader;
use hotpatch_plan::image::Image;
use yaxpeax_arch::LengthedInstruction;
use yaxpeax_x86::long_mode::InstDecoder;

/// What yaxpeax-x86 2.2 does not know, of all that these libraries have.
fn unknown_to_yaxpeax(bytes: &[u8]) -> Option<&'static str> {
    match *bytes {
        [0x8f, map, ..] if map & 0x1f >= 8 => Some("XOP"),
        [0xc4, map, _, 0x5c..=0x5f | 0x68..=0x6f | 0x78..=0x7f, ..] if map & 0x1f == 3 => {
            Some("FMA4")
        }
        [0xc4, map, _, 0x41..=0x4b | 0x90..=0x99, ..] if map & 0x1f == 1 => Some("mask registers"),
        [0xc5, _, 0x41..=0x4b | 0x90..=0x99, ..] => Some("mask registers"),
        [0x62, _, _, _, 0x71..=0x73, ..] => Some("EVEX shift by an immediate"),
        [0x40..=0x4f, 0x40..=0x4f, ..] => Some("a REX prefix that another one cancels"),
        _ => None,
    }
}

#[test]
fn lengths_agree_over_the_text_of_libraries() {
    let mut differ: BTreeMap<String, usize> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut instructions = 0_usize;
    for path in [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "/usr/lib/x86_64-linux-musl/libc.so",
    ] {
        let Ok(file) = std::fs::read(path) else {
            continue;
        };
        let image = Image::from_file(&file).expect("the file is well-formed");
        for &code in &image.code {
            let text = image.bytes(code).expect("stored");
            let mut reader = Reader::new(text, code.start);
            let mut offset = 0;
            while offset < text.len() {
                // Between functions there may be data, on which decoders need not agree.
                let in_function = image.function_at(code.start + offset as u64).is_some();
                let Some(len) = reader.len_at(offset).filter(|_| in_function) else {
                    offset += 1;
                    continue;
                };
                instructions += 1;
                let bytes = &text[offset..(offset + 15).min(text.len())];
                let other = InstDecoder::default().decode_slice(bytes).ok();
                let other = other.map(|i| i.len().to_const() as usize);
                match (other, unknown_to_yaxpeax(bytes)) {
                    (Some(other), _) if other == len => {}
                    (None, Some(family)) => *unknown.entry(family).or_default() += 1,
                    _ => {
                        let line = format!("{:02x?}: {len}, not {other:?}", &bytes[..len]);
                        *differ.entry(line).or_default() += 1;
                    }
                }
                offset += len;
            }
        }
    }
    println!("{instructions} instructions, without opinion on {unknown:?}");
    assert!(instructions > 300_000, "libc alone has so many");
    assert!(differ.is_empty(), "{differ:#?}");
}
