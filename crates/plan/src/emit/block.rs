//! The block that stands for a hooked `syscall`: who wants to see the call is asked before anything is saved.
//!
//! Only `rcx` and `r11` are free here, which the instruction overwrites anyway; no flag and no byte of the program's
//! stack is touched. The runtime's part of the bargain is in its `entry.rs`.

use alloc::vec::Vec;

use crate::addr::Va;

use super::{OutOfReach, rel32};

/// Offsets in an image's data area, which lies in reach of its trampolines.
pub mod data {
    /// Address of the code called at a hooked `syscall`.
    pub const GATE: u64 = 0;
    /// Address of the code called behind it.
    pub const AFTER: u64 = 8;
    /// Address of the code called at a hooked instruction of another kind.
    pub const OTHER: u64 = 16;
    /// Address of the code called behind it.
    pub const OTHER_AFTER: u64 = 24;
    /// A byte for each number below 65536, then one for all others: not 0 where the call is hooked.
    pub const TABLE: u64 = 64;
    /// The same for sites that no hook has chosen: what the runtime itself must see.
    pub const QUIET: u64 = TABLE + TABLE_LEN.next_multiple_of(64);
    /// Bytes of either table.
    pub const TABLE_LEN: u64 = OTHERS + 1;
    /// Index in a table of all numbers that are not below it.
    pub const OTHERS: u64 = 0x1_0000;
    /// Bytes of the area.
    pub const LEN: u64 = QUIET + TABLE_LEN;
}

/// Where in the block what is executed: what an interrupted program counter means.
///
/// From the start to [`at::SWITCH`], and at [`at::RUN`], nothing has happened yet, and every register but `rcx` and
/// `r11` is the program's. At [`at::NEXT`] the call is done.
pub mod at {
    /// The stack pointer goes to `r11`.
    pub const SWITCH: u8 = 33;
    /// The hook stack is in `rsp` from here on, the program's in `r11`.
    pub const SWITCHED: u8 = 45;
    /// Where the gate returns to; `rsp` is the top of the hook stack.
    pub const RETURN: u8 = 56;
    /// The program's stack is back, `rcx` says how to go on.
    pub const LEFT: u8 = 61;
    /// Executes the call for hooks that want to see its result.
    pub const CALL: u8 = 65;
    /// That call is done.
    pub const CALLED: u8 = 67;
    /// The hook stack is in `rsp` from here on, the program's in `r11`.
    pub const CALLED_SWITCHED: u8 = 79;
    /// Where the gate behind it returns to.
    pub const AFTER_RETURN: u8 = 90;
    /// The program's stack is back, `rcx` says how to go on.
    pub const AFTER_LEFT: u8 = 95;
    /// Executes the call.
    pub const RUN: u8 = 99;
    /// The call is done, however.
    pub const NEXT: u8 = 101;
    /// Bytes of the block.
    pub const LEN: u8 = 108;
}

/// The same in what stands ahead of a block where [`Hooking::minus_fs`] says that `gs` may be another thread's: it asks
/// the table too, and whether `gs` leads to this thread's own.
pub mod ahead {
    /// Executes the call. Up to here nothing has happened yet.
    pub const RUN: u8 = 53;
    /// The call is done; goes on at the block's [`NEXT`](super::at::NEXT).
    pub const CALLED: u8 = 55;
    /// Bytes of it: here the block begins.
    pub const LEN: u8 = 57;
}

/// Bytes of what asks the table, at the start of a block and of what stands ahead of one.
const FILTER: u8 = 31;

/// What the blocks of one image have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hooking<'h> {
    /// The data area, 64-aligned.
    pub data: Va,
    /// The id of the image's first hooked site; the others count on from there in the order of the code.
    pub first: u32,
    /// Where the gate keeps the program's stack pointer, relative to the top of the hook stack.
    pub saved_rsp: i8,
    /// Where a block of another kind leaves it, relative to the base of `gs`.
    pub own_rsp: u32,
    /// Where `gs` leads to this thread's `fs` base, negated, if a thread may have another's `gs`: then its calls are
    /// executed as they are.
    pub minus_fs: Option<u32>,
    /// Sites, in order of address, that no hook has chosen.
    pub quiet: &'h [Va],
    /// Sites, in order of address, whose calls nobody ever wants: there the instruction stands for itself.
    pub plain: &'h [Va],
    /// Sites, in order of address, with the number of the call that each makes, whoever comes to it.
    pub numbers: &'h [(Va, u32)],
}

impl Hooking<'_> {
    /// Bytes of a block, with what stands ahead of it.
    pub(super) fn len(&self) -> u8 {
        at::LEN
            + if self.minus_fs.is_some() {
                ahead::LEN
            } else {
                0
            }
    }

    fn table(&self, site: Va) -> Va {
        let quiet = self.quiet.binary_search(&site).is_ok();
        self.data + if quiet { data::QUIET } else { data::TABLE }
    }

    /// The index in the table of the number that is known of `site`.
    fn number(&self, site: Va) -> Option<u64> {
        let known = self.numbers.binary_search_by_key(&site, |&(at, _)| at);
        let (_, number) = self.numbers[known.ok()?];
        Some(u64::from(number).min(data::OTHERS))
    }
}

/// A hooked site of an emission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    /// Offset of its block in [`Emission::code`](crate::plan::Emission::code).
    pub offset: u32,
    /// The original instruction's address.
    pub site: Va,
    /// What the gate is told.
    pub id: u32,
}

/// The block of `site`, for `start`, with what stands ahead of it.
///
/// # Errors
/// The data area or the site is not within 2 GB.
pub fn block(start: Va, site: Va, id: u32, hooking: &Hooking<'_>) -> Result<Vec<u8>, OutOfReach> {
    let mut bytes = Vec::with_capacity(hooking.len().into());
    if let Some(minus_fs) = hooking.minus_fs {
        bytes.extend_from_slice(&filter(start, site, hooking)?);
        bytes.extend_from_slice(&ahead(minus_fs));
    }
    let start = start + bytes.len() as u64;
    bytes.extend_from_slice(&filter(start, site, hooking)?);
    bytes.extend_from_slice(&body(start, site, id, hooking)?);
    Ok(bytes)
}

/// What follows the filter in a block.
fn body(
    start: Va,
    site: Va,
    id: u32,
    hooking: &Hooking<'_>,
) -> Result<[u8; (at::LEN - FILTER) as usize], OutOfReach> {
    let end = |offset: u8| start + u64::from(offset);
    let [g0, g1, g2, g3] = rel32(end(at::RETURN), hooking.data + data::GATE)?;
    let [a0, a1, a2, a3] = rel32(end(at::AFTER_RETURN), hooking.data + data::AFTER)?;
    let [n0, n1, n2, n3] = rel32(end(at::LEN), site + 2)?;
    let [i0, i1, i2, i3] = id.to_le_bytes();
    let rsp = hooking.saved_rsp.cast_unsigned();
    #[rustfmt::skip]
    let rest = [
        0xe3, at::RUN - at::SWITCH,               //  31: jrcxz RUN
        0x49, 0x89, 0xe3,                         //  33: mov %rsp,%r11
        0x65, 0x48, 0x8b, 0x24, 0x25, 0, 0, 0, 0, //  36: mov %gs:0,%rsp
        0xb9, i0, i1, i2, i3,                     //  45: mov $id,%ecx
        0xff, 0x15, g0, g1, g2, g3,               //  50: call *GATE(%rip)
        0x48, 0x8b, 0x64, 0x24, rsp,              //  56: mov saved_rsp(%rsp),%rsp
        0xe3, at::RUN - 63,                       //  61: jrcxz RUN
        0xff, 0xe1,                               //  63: jmp *%rcx
        0x0f, 0x05,                               //  65: syscall
        0x49, 0x89, 0xe3,                         //  67: mov %rsp,%r11
        0x65, 0x48, 0x8b, 0x24, 0x25, 0, 0, 0, 0, //  70: mov %gs:0,%rsp
        0xb9, i0, i1, i2, i3,                     //  79: mov $id,%ecx
        0xff, 0x15, a0, a1, a2, a3,               //  84: call *AFTER(%rip)
        0x48, 0x8b, 0x64, 0x24, rsp,              //  90: mov saved_rsp(%rsp),%rsp
        0xe3, at::NEXT - 97,                      //  95: jrcxz NEXT
        0xff, 0xe1,                               //  97: jmp *%rcx
        0x0f, 0x05,                               //  99: syscall
        // The kernel, or the gate, left another address in rcx.
        0x48, 0x8d, 0x0d, n0, n1, n2, n3,         // 101: lea site+2(%rip),%rcx
    ];
    Ok(rest)
}

/// Leaves in `ecx` what the table says of the call.
///
/// # Errors
/// The data area is not within 2 GB.
fn filter(start: Va, site: Va, hooking: &Hooking<'_>) -> Result<[u8; FILTER as usize], OutOfReach> {
    let table = hooking.table(site);
    if let Some(number) = hooking.number(site) {
        let [t0, t1, t2, t3] = rel32(start + u64::from(FILTER), table + number)?;
        #[rustfmt::skip]
        let known = [
            0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, //  0: nopw 0(%rax,%rax)
            0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, //  9: nopw 0(%rax,%rax)
            0x66, 0x0f, 0x1f, 0x44, 0, 0,          // 18: nopw 0(%rax,%rax)
            0x0f, 0xb6, 0x0d, t0, t1, t2, t3,      // 24: movzbl table+number(%rip),%ecx
        ];
        return Ok(known);
    }
    let [t0, t1, t2, t3] = rel32(start + 26, table)?;
    #[rustfmt::skip]
    let any = [
        // The upper half of the number must be zero, else it is none of the numbers in the table.
        0x89, 0xc1,                       //  0: mov %eax,%ecx
        0x0f, 0xc9,                       //  2: bswap %ecx
        0x0f, 0xb7, 0xc9,                 //  4: movzwl %cx,%ecx
        0xe3, 0x07,                       //  7: jrcxz 16
        0xb9, 0x00, 0x00, 0x01, 0x00,     //  9: mov $OTHERS,%ecx
        0xeb, 0x03,                       // 14: jmp 19
        0x0f, 0xb7, 0xc8,                 // 16: movzwl %ax,%ecx
        0x4c, 0x8d, 0x1d, t0, t1, t2, t3, // 19: lea table(%rip),%r11
        0x41, 0x0f, 0xb6, 0x0c, 0x0b,     // 26: movzbl (%r11,%rcx),%ecx
    ];
    Ok(any)
}

/// What follows the filter ahead of a block; `minus_fs` as in [`Hooking::minus_fs`].
const fn ahead(minus_fs: u32) -> [u8; (ahead::LEN - FILTER) as usize] {
    let [f0, f1, f2, f3] = minus_fs.to_le_bytes();
    #[rustfmt::skip]
    let rest = [
        0xe3, ahead::RUN - 33,                        //  31: jrcxz RUN
        0xf3, 0x48, 0x0f, 0xae, 0xc1,                 //  33: rdfsbase %rcx
        0x65, 0x4c, 0x8b, 0x1c, 0x25, f0, f1, f2, f3, //  38: mov %gs:minus_fs,%r11
        0x4a, 0x8d, 0x0c, 0x19,                       //  47: lea (%rcx,%r11),%rcx
        0xe3, ahead::LEN - ahead::RUN,                //  51: jrcxz LEN
        0x0f, 0x05,                                   //  53: syscall
        0xeb, at::NEXT,                               //  55: jmp LEN + NEXT
    ];
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions, Formatter as _, GasFormatter, Instruction};

    const START: Va = Va(0x10_0000);
    const HOOKING: Hooking<'_> = Hooking {
        data: Va(0x12_0000),
        first: 0,
        saved_rsp: -80,
        own_rsp: 0x158,
        minus_fs: None,
        quiet: &[Va(0x2000)],
        plain: &[],
        numbers: &[(Va(0x3000), 0x27)],
    };

    /// Each instruction with its offset, as the GNU assembler would write it.
    fn listing(code: &[u8]) -> Vec<(u64, String)> {
        let mut formatter = GasFormatter::new();
        let options = formatter.options_mut();
        options.set_gas_show_mnemonic_size_suffix(false);
        options.set_uppercase_hex(false);
        options.set_rip_relative_addresses(false);
        let decoder = Decoder::with_ip(64, code, START.0, DecoderOptions::NONE);
        let line = |i: Instruction| {
            assert!(!i.is_invalid());
            let mut text = String::new();
            formatter.format(&i, &mut text);
            (i.ip() - START.0, text)
        };
        decoder.into_iter().map(line).collect()
    }

    #[test]
    fn decodes_to_the_intended_assembly() {
        let code = block(START, Va(0x1000), 0x1234, &HOOKING).unwrap();
        let expected = [
            (0, "mov %eax,%ecx"),
            (2, "bswap %ecx"),
            (4, "movzwl %cx,%ecx"),
            (7, "jrcxz 0x100010"),
            (9, "mov $0x10000,%ecx"),
            (14, "jmp 0x100013"),
            (16, "movzwl %ax,%ecx"),
            (19, "lea 0x120040,%r11"),
            (26, "movzbl (%r11,%rcx),%ecx"),
            (31, "jrcxz 0x100063"),
            (33, "mov %rsp,%r11"),
            (36, "mov %gs:0,%rsp"),
            (45, "mov $0x1234,%ecx"),
            (50, "callq *0x120000"),
            (56, "mov -0x50(%rsp),%rsp"),
            (61, "jrcxz 0x100063"),
            (63, "jmp *%rcx"),
            (65, "syscall"),
            (67, "mov %rsp,%r11"),
            (70, "mov %gs:0,%rsp"),
            (79, "mov $0x1234,%ecx"),
            (84, "callq *0x120008"),
            (90, "mov -0x50(%rsp),%rsp"),
            (95, "jrcxz 0x100065"),
            (97, "jmp *%rcx"),
            (99, "syscall"),
            (101, "lea 0x1002,%rcx"),
        ];
        let shown = listing(&code);
        let plain: Vec<(u64, String)> = shown
            .iter()
            .map(|(at, text)| (*at, text.replace("0x0000000000", "0x")))
            .collect();
        let expected: Vec<(u64, String)> = expected.map(|(at, text)| (at, text.to_owned())).into();
        assert_eq!(plain, expected);
    }

    #[test]
    fn the_named_offsets_are_instructions() {
        let code = block(START, Va(0x1000), 0, &HOOKING).unwrap();
        let starts: Vec<u64> = listing(&code).iter().map(|(at, _)| *at).collect();
        for offset in [
            at::SWITCH,
            at::SWITCHED,
            at::RETURN,
            at::LEFT,
            at::CALL,
            at::CALLED,
            at::CALLED_SWITCHED,
            at::AFTER_RETURN,
            at::AFTER_LEFT,
            at::RUN,
            at::NEXT,
        ] {
            assert!(starts.contains(&u64::from(offset)), "{offset}");
        }
        assert_eq!(code.len(), usize::from(at::LEN));
    }

    #[test]
    fn what_stands_ahead_decodes_to_the_intended_assembly() {
        let hooking = Hooking {
            minus_fs: Some(0x128),
            ..HOOKING
        };
        let code = block(START, Va(0x1000), 0, &hooking).unwrap();
        let (ahead, block) = code.split_at(ahead::LEN.into());
        let shown = listing(ahead);
        assert_eq!(shown[..7], listing(block)[..7], "the table is asked alike");
        let own = &shown[9..];
        let expected = [
            (31, "jrcxz 0x0000000000100035"),
            (33, "rdfsbase %rcx"),
            (38, "mov %gs:0x128,%r11"),
            (47, "lea (%rcx,%r11),%rcx"),
            (51, "jrcxz 0x0000000000100039"),
            (53, "syscall"),
            (55, "jmp 0x000000000010009e"),
        ];
        let expected = expected.map(|(at, text)| (at, text.to_owned()));
        assert_eq!(own, expected);
        assert_eq!(u64::from(ahead::LEN + at::NEXT), 0x9e);
    }

    #[test]
    fn a_site_nobody_chose_asks_the_other_table() {
        let code = block(START, Va(0x2000), 0, &HOOKING).unwrap();
        let lea = listing(&code).remove(7).1;
        assert!(
            lea.starts_with(&format!("lea {:#x}", 0x12_0000 + data::QUIET)),
            "{lea}"
        );
    }

    #[test]
    fn where_the_number_is_known_its_byte_is_read() {
        let code = block(START, Va(0x3000), 0, &HOOKING).unwrap();
        let shown = listing(&code);
        assert_eq!(shown[3], (24, "movzbl 0x120067,%ecx".to_owned()));
        assert_eq!(
            shown[4..],
            listing(
                &block(
                    START,
                    Va(0x3000),
                    0,
                    &Hooking {
                        numbers: &[],
                        ..HOOKING
                    }
                )
                .unwrap()
            )[9..]
        );
    }
}
