//! Which instructions touch vector, mask, MMX or x87 registers.

use super::Reader;
use super::form::{Form, Map};
use crate::addr::Va;

/// The address of the first instruction of `code` that touches vector, mask, MMX or x87 state; `code` begins with an
/// instruction and lies at `at`. What is no instruction is passed over byte by byte.
#[must_use]
pub fn first_of_vectors(code: &[u8], at: Va) -> Option<Va> {
    let mut reader = Reader::new(code, at);
    let mut offset = 0;
    while offset < code.len() {
        offset += match reader.form_at(offset) {
            Some(form) if is_of_vectors(&form) => return Some(reader.va(offset)),
            Some(form) => usize::from(form.len),
            None => 1,
        };
    }
    None
}

fn is_of_vectors(form: &Form) -> bool {
    let op = form.opcode;
    match form.map {
        // x87, and `wait` for it
        Map::One => matches!(op, 0x9b | 0xd8..=0xdf),
        Map::Two => match op {
            0x0e | 0x77 => true, // femms, emms
            // 3DNow!
            0x0f => true,
            0x10..=0x17 | 0x28..=0x2f | 0x50..=0x76 | 0x7c..=0x7f => true,
            0x78 | 0x79 => form.small || form.rep == 0xf2, // extrq, insertq; else vmread, vmwrite
            0xae => of_fences(form),
            // xrstors, xsavec, xsaves
            0xc7 => matches!(form.reg(), 3..=5) && !form.is_register(),
            0xc2 | 0xc4..=0xc6 | 0xd0..=0xfe => true,
            _ => false,
        },
        Map::Three38 => !matches!(op, 0x80..=0x82 | 0xc0..=0xc7 | 0xf0..=0xfe),
        Map::Three3a => true,
        // The extensions for bits and for comparing and adding work on general registers.
        Map::Vex(2) => !matches!(op, 0xe0..=0xef | 0xf2 | 0xf3 | 0xf5..=0xf7),
        Map::Vex(3) => op != 0xf0,
        Map::Vex(_) | Map::Evex(_) => true,
        Map::Xop(8) => true,
        Map::Xop(9) => !matches!(op, 0x01 | 0x02 | 0x12),
        Map::Xop(_) => op != 0x10 && op != 0x12,
    }
}

/// `0f ae`: what saves and restores state, against fences and what works on `fs` and `gs`.
fn of_fences(form: &Form) -> bool {
    match form.reg() {
        // fxsave, fxrstor, ldmxcsr, stmxcsr, xsave, xrstor, xsaveopt in memory; fences and the like on registers
        0..=6 if !form.is_register() && form.rep == 0 => !(form.reg() == 6 && form.small),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{CpuidFeature, Decoder, DecoderOptions, InstructionInfoFactory, Register};
    use std::collections::BTreeMap;
    use std::prelude::rust_2024::*;
    use std::{format, fs};

    /// What a general decoder says; `None` where there is no instruction.
    fn oracle(bytes: &[u8], info: &mut InstructionInfoFactory) -> Option<bool> {
        let mut decoder = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE);
        let insn = decoder.decode();
        if insn.is_invalid() {
            return None;
        }
        let of_vectors = |register: Register| {
            register.is_vector_register()
                || register.is_k()
                || register.is_mm()
                || register.is_st()
                || register.is_tmm()
        };
        let whole = [
            CpuidFeature::FPU,
            CpuidFeature::FPU287,
            CpuidFeature::FPU387,
            CpuidFeature::MMX,
            CpuidFeature::D3NOW,
        ];
        let used = info.info(&insn).used_registers();
        Some(
            used.iter().any(|used| of_vectors(used.register()))
                || insn
                    .cpuid_features()
                    .iter()
                    .any(|feature| whole.contains(feature))
                || insn.is_save_restore_instruction(),
        )
    }

    #[test]
    fn a_general_decoder_agrees() {
        let mut info = InstructionInfoFactory::new();
        let mut differ: BTreeMap<String, Vec<[u8; 15]>> = BTreeMap::new();
        let mut compare = |bytes: &[u8]| {
            let (Ok(form), Some(theirs)) = (Form::read(bytes), oracle(bytes, &mut info)) else {
                return;
            };
            // Of mxcsr and the x87 unit alone: no register is named. Privileged, or gone with a transaction.
            let named_no_register = match (form.map, form.opcode) {
                (Map::One, 0x9b) | (Map::Two | Map::Vex(1), 0x2c | 0x2d | 0xae) => !theirs,
                (Map::One, 0xc6) | (Map::Two, 0x01 | 0x37 | 0xa6 | 0xaa) | (Map::Three38, 0xfb) => {
                    theirs
                }
                _ => false,
            };
            if is_of_vectors(&form) != theirs && !named_no_register {
                let key = format!(
                    "{:?} {:02x} rep {:02x} small {} theirs {theirs}",
                    form.map, form.opcode, form.rep, form.small
                );
                let mut window = [0; 15];
                window[..bytes.len().min(15)].copy_from_slice(&bytes[..bytes.len().min(15)]);
                differ.entry(key).or_default().push(window);
            }
        };
        for file in ["libc.so.6", "libm.so.6", "libcrypto.so.3"] {
            let bytes = fs::read(format!("/lib/x86_64-linux-gnu/{file}"))
                .expect("the machine's own library");
            for offset in (bytes.len() / 8)..(bytes.len() / 4) {
                compare(&bytes[offset..offset + 15]);
            }
        }
        let mut seed = 7_u64;
        let mut random = || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as u8
        };
        for round in 0..600_000_u32 {
            let mut bytes = [0; 15];
            bytes.fill_with(&mut random);
            let map = bytes[1];
            match round % 12 {
                0 => bytes[0] = 0xc5,
                1 => bytes[..2].copy_from_slice(&[0xc4, 0xe0 | map & 3]),
                2 => bytes[..2].copy_from_slice(&[0x62, 0xf0 | map & 7]),
                3 => bytes[0] = 0x0f,
                4 => bytes[..2].copy_from_slice(&[0xf2, 0x0f]),
                5 => bytes[..2].copy_from_slice(&[0xf3, 0x0f]),
                6 => bytes[..2].copy_from_slice(&[0x66, 0x0f]),
                7 => bytes[..2].copy_from_slice(&[0x0f, 0x38]),
                8 => bytes[..3].copy_from_slice(&[0x66, 0x0f, 0x38]),
                9 => bytes[..3].copy_from_slice(&[0x66, 0x0f, 0x3a]),
                10 => bytes[..2].copy_from_slice(&[0x8f, 0xe8 | map & 3]),
                _ => {}
            }
            compare(&bytes);
        }
        for (key, cases) in &differ {
            std::println!("{key}: {} {:02x?}", cases.len(), cases[0]);
        }
        assert!(
            differ.is_empty(),
            "the two disagree about what is printed above"
        );
    }
}
