//! A program that fails is made small, and a case of `tests/cases`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use iced_x86::{Decoder, Instruction};

use crate::generator::Program;
use crate::synthetic::TEXT;

/// No-ops of 1 to 9 bytes, as the processor's manual has them.
const NOPS: [&[u8]; 9] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

/// The same program with as many instructions as possible replaced by no-ops of their length, so that it still `fails`.
///
/// Instructions in pairs, as a push and its pop, go one after the other only if that fails, too: what does not end well
/// natively must not count as failing.
pub fn minimise(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut small = program.clone();
    // Half of what is there at a time, then less.
    let mut many = small.text.len();
    while many >= 1 {
        let listed: Vec<Instruction> = instructions(&small).collect();
        for some in listed.chunks(many) {
            let mut tried = small.clone();
            for instruction in some {
                let at = (instruction.ip() - TEXT) as usize;
                let is_end = tried.text[at] == 0xc3;
                if let (false, Some(nop)) = (is_end, NOPS.get(instruction.len() - 1)) {
                    tried.text[at..at + nop.len()].copy_from_slice(nop);
                }
            }
            if tried.text != small.text && fails(&tried) {
                small = tried;
            }
        }
        many /= 2;
    }
    small
}

/// Every instruction of every function, in order.
pub fn instructions(program: &Program) -> impl Iterator<Item = Instruction> {
    program.functions.iter().flat_map(|&(offset, len)| {
        let bytes = &program.text[offset..offset + len];
        let decoder = Decoder::with_ip(64, bytes, TEXT + offset as u64, 0);
        decoder.into_iter()
    })
}

/// Writes it as a case, with the tactic that it fails with alone; answers where.
pub fn case(program: &Program, tactic: Option<&str>, name: &str) -> PathBuf {
    let mut text = String::from("# A random program: it did something else when it was patched.\n");
    if let Some(tactic) = tactic {
        let _ = writeln!(text, "# tactics: {tactic}");
    }
    let mut end = 0;
    for (number, &(offset, len)) in program.functions.iter().enumerate() {
        put_bytes(&mut text, &program.text[end..offset], "");
        let _ = writeln!(text, "    fn f{number}");
        end = offset + len;
        for instruction in instructions(program) {
            let at = (instruction.ip() - TEXT) as usize;
            if (offset..end).contains(&at) {
                let bytes = &program.text[at..at + instruction.len()];
                let what = match instruction.near_branch_target() {
                    0 => format!("{:?}", instruction.code()),
                    to => format!("{:?} +{:#x}", instruction.code(), to - TEXT),
                };
                put_bytes(&mut text, bytes, &format!("  # +{at:#x} {what}"));
            }
        }
        let _ = writeln!(text, "    end f{number}");
    }
    put_bytes(&mut text, &program.text[end..], "");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = path
        .ancestors()
        .find(|dir| dir.join("tests/cases").is_dir());
    let path = root.unwrap_or(&path).join(format!("tests/cases/{name}.s"));
    fs::write(&path, text).expect("tests/cases can be written to");
    path
}

fn put_bytes(text: &mut String, bytes: &[u8], what: &str) {
    if !bytes.is_empty() {
        let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#04x}")).collect();
        let _ = writeln!(text, "    .byte {}{what}", bytes.join(", "));
    }
}
