use super::*;

/// Bytes from a small alphabet, so that patterns are frequent.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    const ALPHABET: [u8; 16] = [
        0x0f, 0x05, 0xe8, 0xe9, 0x8d, 0x80, 0x8f, 0x90, 0x0d, 0x3d, 0x45, 0x00, 0x7f, 0xff, 0x0e,
        0x10,
    ];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    core::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ALPHABET[(state >> 40) as usize & 15]
    })
    .take(len)
    .collect()
}

fn collect(search: impl FnOnce(&mut dyn FnMut(usize))) -> Vec<usize> {
    let mut found = Vec::new();
    search(&mut |at| found.push(at));
    found
}

#[test]
fn system_calls_as_a_plain_loop_finds_them() {
    for len in 0..200 {
        let hay = bytes(len as u64, len);
        let expected: Vec<usize> = (1..len)
            .filter(|&i| hay[i - 1..=i] == [0x0f, 0x05])
            .map(|i| i - 1)
            .collect();
        assert_eq!(
            collect(|found| Scalar.syscalls(&hay, found)),
            expected,
            "{hay:x?}"
        );
    }
}

#[test]
fn pairs_as_a_plain_loop_finds_them() {
    for len in 0..200 {
        let hay = bytes(len as u64 + 7, len);
        let seconds = [0x05, 0x8d, 0xff];
        let expected: Vec<usize> = (1..len)
            .filter(|&i| hay[i - 1] == 0x0f && seconds.contains(&hay[i]))
            .map(|i| i - 1)
            .collect();
        let found = collect(|found| Scalar.pairs(&hay, 0x0f, &seconds, found));
        assert_eq!(found, expected, "{hay:x?}");
    }
}

#[test]
fn displacements_as_a_plain_loop_finds_them() {
    for len in 0..200 {
        let hay = bytes(len as u64 + 1000, len);
        let expected: Vec<(usize, u8)> = (2..(len + 1).saturating_sub(4))
            .filter_map(|i| match hay[i - 2..i] {
                [_, 0xe8 | 0xe9] | [0x0f, 0x80..=0x8f] => Some((i, 0)),
                [0x8d, operand] if operand & 0xc7 == 5 => Some((i, 1)),
                [_, operand] if operand & 0xc7 == 5 => Some((i, 2)),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        Scalar.displacements(&hay, &mut |marks| {
            marks.each(marks.branches, |i| found.push((i, 0)));
            marks.each(marks.leas, |i| found.push((i, 1)));
            marks.each(marks.operands & !marks.leas, |i| found.push((i, 2)));
            assert_eq!(marks.leas & !marks.operands, 0);
        });
        found.sort_unstable();
        assert_eq!(found, expected, "{hay:x?}");
    }
}

#[test]
fn a_pair_is_found_at_every_offset_and_at_the_end() {
    for offset in 0..40 {
        let mut hay = vec![0x90; offset];
        hay.extend([0x0f, 0x05]);
        assert_eq!(collect(|found| Scalar.syscalls(&hay, found)), [offset]);
        hay.extend([0x0f; 9]);
        assert_eq!(collect(|found| Scalar.syscalls(&hay, found)), [offset]);
    }
}

#[test]
fn words_as_a_plain_loop_finds_them() {
    let ranges = [
        0x0500_0000..0x1000_0000,
        0x0f05_0f00..0x0f05_10ff,
        0x0f05_0f05..0x0f05_0f06,
        0..u32::MAX,
        0..0x100,
        0xe000_0000..u32::MAX,
        5..5,
        Range { start: 7, end: 3 },
    ];
    for (seed, within) in ranges.into_iter().cycle().take(400).enumerate() {
        let hay = bytes(
            seed as u64,
            seed % 61 + if seed % 9 == 0 { 2000 } else { 0 },
        );
        let all = hay.windows(4).enumerate();
        let expected: Vec<(usize, u32)> = all
            .map(|(offset, word)| (offset, u32::from_le_bytes(word.try_into().unwrap())))
            .filter(|(_, value)| within.contains(value))
            .collect();
        let mut found = Vec::new();
        Scalar.words(&hay, within.clone(), &mut |offset, value| {
            found.push((offset, value))
        });
        found.sort_unstable();
        assert_eq!(found, expected, "{within:x?} in {hay:x?}");
    }
}
