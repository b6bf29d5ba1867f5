//! `syscall` instructions as `objdump` sees them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hotpatch_plan::plan::SiteKind;

/// How far before a byte pair the disassembly begins: it is in step with the code long before it arrives,
/// whatever lies between.
const LEAD: usize = 4096;
/// The same where pairs are many.
const SHORT_LEAD: usize = 512;
/// What follows a pair: the longest instruction and more.
const TAIL: usize = 32;

/// What became of the byte pairs `0f 05` of a file's code.
pub struct Pairs {
    /// Addresses of `syscall` instructions, ascending.
    pub sites: Vec<u64>,
    /// Addresses of the others, ascending.
    pub others: Vec<u64>,
}

/// An executable section: its address and bytes.
struct Section {
    at: u64,
    offset: usize,
    len: usize,
}

fn output(arguments: &[&str], path: &Path) -> String {
    let output = Command::new("objdump")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap_or_else(|e| panic!("objdump: {e}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hex(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_else(|e| panic!("{digits}: {e}"))
}

/// `objdump -h` prints two lines a section: its numbers, and its flags.
fn sections(path: &Path) -> Vec<Section> {
    let text = output(&["-hw"], path);
    let mut sections: Vec<Section> = text
        .lines()
        .filter(|line| line.contains("CODE"))
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, _, len, at, _, offset, ..] = words[..] else {
                panic!("{line}")
            };
            Section {
                at: hex(at),
                offset: usize::try_from(hex(offset)).unwrap(),
                len: usize::try_from(hex(len)).unwrap(),
            }
        })
        .collect();
    sections.sort_by_key(|section| section.at);
    sections
}

/// What `objdump` says of the places that `is_place` accepts the bytes at: address, bytes and text of the instruction
/// that begins there, if one does.
///
/// Only the surroundings of each place, from `lead` bytes before it on, are disassembled, one after another in a file
/// of their own, with no-ops between them: node alone has 50 MB of code.
fn places(
    path: &Path,
    bytes: &[u8],
    lead: usize,
    is_place: impl Fn(&[u8]) -> bool,
) -> Vec<(u64, Option<String>)> {
    let mut windows = Vec::new();
    let mut places = Vec::new();
    for section in sections(path) {
        let code = &bytes[section.offset..][..section.len];
        for at in (0..code.len()).filter(|&i| is_place(&code[i..])) {
            let first = at.saturating_sub(lead);
            places.push((windows.len() + at - first, section.at + at as u64));
            windows.extend_from_slice(&code[first..code.len().min(at + TAIL)]);
            windows.extend_from_slice(&[0x90; TAIL]);
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = super::files::scratch().join(format!("{name}.{lead}.windows"));
    std::fs::write(&scratch, windows).unwrap();
    let text = output(&["-Dwz", "-bbinary", "-mi386:x86-64"], &scratch);
    std::fs::remove_file(&scratch).unwrap();
    let instructions: BTreeMap<usize, String> = text
        .lines()
        .filter_map(|line| {
            let (at, rest) = line.trim_start().split_once(":\t")?;
            let (_, mnemonic) = rest.split_once('\t')?;
            Some((usize::try_from(hex(at)).ok()?, mnemonic.trim().to_owned()))
        })
        .collect();
    let said = |window: usize| instructions.get(&window).cloned();
    places
        .into_iter()
        .map(|(window, at)| (at, said(window)))
        .collect()
}

/// Sorts the byte pairs in the code of the file at `path`, which holds `bytes`.
pub fn syscalls(path: &Path, bytes: &[u8]) -> Pairs {
    let places = places(path, bytes, LEAD, |code| code.starts_with(&[0x0f, 0x05]));
    let is_site = |said: &Option<String>| said.as_deref() == Some("syscall");
    let (sites, others) = places
        .into_iter()
        .partition::<Vec<_>, _>(|(_, said)| is_site(said));
    let addresses = |places: Vec<(u64, _)>| places.into_iter().map(|(at, _)| at).collect();
    Pairs {
        sites: addresses(sites),
        others: addresses(others),
    }
}

/// The instructions of other kinds in the code of the file at `path`, which holds `bytes`.
pub fn others(path: &Path, bytes: &[u8]) -> Vec<(u64, SiteKind)> {
    // A prefix begins the instruction; what is behind it is a place too, but no instruction begins there.
    let is_random = |code: &[u8]| matches!(code, [0x0f, 0xc7, 0xf0..=0xff, ..]);
    let is_place = |code: &[u8]| match code {
        [0x0f, 0x31 | 0xa2 | 0x34, ..] | [0xcd, 0x80, ..] | [0x0f, 0x01, 0xf9 | 0xd0, ..] => true,
        [0x66, 0x40..=0x4f, rest @ ..] | [0x66 | 0x40..=0x4f, rest @ ..] if is_random(rest) => true,
        [0xf3, 0x0f, 0xae, 0xc8..=0xcf | 0xd8..=0xdf, ..]
        | [0xf3, 0x40..=0x4f, 0x0f, 0xae, 0xc8..=0xcf | 0xd8..=0xdf, ..] => true,
        _ => is_random(code),
    };
    let kind = |said: &str| {
        Some(match said.split_whitespace().next()? {
            "rdtsc" => SiteKind::Rdtsc,
            "rdtscp" => SiteKind::Rdtscp,
            "cpuid" => SiteKind::Cpuid,
            "rdrand" => SiteKind::Rdrand,
            "rdseed" => SiteKind::Rdseed,
            "xgetbv" => SiteKind::Xgetbv,
            "rdgsbase" => SiteKind::Rdgsbase,
            "wrgsbase" => SiteKind::Wrgsbase,
            "sysenter" => SiteKind::Sysenter,
            "int" => SiteKind::Int80,
            _ => return None,
        })
    };
    places(path, bytes, SHORT_LEAD, is_place)
        .into_iter()
        .filter_map(|(at, said)| Some((at, kind(&said?)?)))
        .collect()
}
