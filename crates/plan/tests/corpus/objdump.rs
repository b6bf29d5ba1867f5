//! `syscall` instructions as `objdump` sees them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// How far before a byte pair the disassembly begins: it is in step with the code long before it arrives,
/// whatever lies between.
const LEAD: usize = 4096;
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

/// Sorts the byte pairs in the code of the file at `path`, which holds `bytes`.
///
/// Only the surroundings of each pair are disassembled, one after another in a file of their own, with no-ops
/// between them: node alone has 50 MB of code.
pub fn syscalls(path: &Path, bytes: &[u8]) -> Pairs {
    let mut windows = Vec::new();
    let mut places = Vec::new();
    for section in sections(path) {
        let code = &bytes[section.offset..][..section.len];
        for at in
            (0..code.len().saturating_sub(1)).filter(|&i| code[i..].starts_with(&[0x0f, 0x05]))
        {
            let first = at.saturating_sub(LEAD);
            places.push((windows.len() + at - first, section.at + at as u64));
            windows.extend_from_slice(&code[first..code.len().min(at + TAIL)]);
            windows.extend_from_slice(&[0x90; TAIL]);
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let scratch = super::files::scratch().join(format!("{name}.windows"));
    std::fs::write(&scratch, windows).unwrap();
    let text = output(&["-Dwz", "-bbinary", "-mi386:x86-64"], &scratch);
    let syscalls: BTreeSet<usize> = text
        .lines()
        .filter_map(|line| {
            let (at, rest) = line.trim_start().split_once(":\t")?;
            let (code, mnemonic) = rest.split_once('\t')?;
            (code.trim() == "0f 05" && mnemonic.trim() == "syscall")
                .then(|| usize::try_from(hex(at)).unwrap())
        })
        .collect();
    let (sites, others) = places
        .into_iter()
        .partition::<Vec<_>, _>(|(window, _)| syscalls.contains(window));
    let addresses = |places: Vec<(usize, u64)>| places.into_iter().map(|(_, at)| at).collect();
    Pairs {
        sites: addresses(sites),
        others: addresses(others),
    }
}
