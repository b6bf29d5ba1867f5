//! Instructions that compute and move, drawn at random.

use arbitrary::{Result, Unstructured};
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, Register};

use super::COUNTER;
use crate::synthetic::DATA_LEN;

use Register::{
    AL, BL, CL, DL, EAX, EBP, EBX, ECX, EDI, EDX, ESI, R8, R8D, R8L, R9, R9D, R9L, R10, R10D, R11,
    R11D, R12, R12D, R13, R13D, R14, R14D, R15, R15D, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP,
};

const WIDE: [Register; 15] = [
    RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15,
];
const HALF: [Register; 15] = [
    EAX, ECX, EDX, EBX, EBP, ESI, EDI, R8D, R9D, R10D, R11D, R12D, R13D, R14D, R15D,
];
const BYTE: [Register; 6] = [AL, CL, DL, BL, R8L, R9L];

/// Encodes `instruction` at `at`; an operand relative to RIP is one relative to `data` until here.
pub fn encode(instruction: &Instruction, data: u64, at: u64) -> Vec<u8> {
    let mut instruction = *instruction;
    if instruction.is_ip_rel_memory_operand() {
        let target = instruction.memory_displacement64().wrapping_add(data);
        instruction.set_memory_displacement64(target);
    }
    let mut encoder = Encoder::new(64);
    encoder
        .encode(&instruction, at)
        .expect("every template can be encoded");
    encoder.take_buffer()
}

fn made(instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Instruction {
    instruction.expect("every template has the operands of its code")
}

fn fixed(instruction: std::result::Result<Instruction, iced_x86::IcedError>) -> Vec<u8> {
    encode(&made(instruction), 0, 0)
}

fn xmm(u: &mut Unstructured<'_>) -> Result<Register> {
    Ok(Register::XMM0 + u.int_in_range(0..=15_u32)?)
}

fn ymm(u: &mut Unstructured<'_>) -> Result<Register> {
    Ok(Register::YMM0 + u.int_in_range(0..=15_u32)?)
}

/// An instruction that depends on no address; it may use the red zone.
pub fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 8)? {
        let slot = -8 * u.int_in_range(2..=16_i64)?;
        let memory = MemoryOperand::with_base_displ(RSP, slot);
        let register = *u.choose(&WIDE)?;
        return Ok(fixed(if u.arbitrary()? {
            Instruction::with2(Code::Mov_rm64_r64, memory, register)
        } else {
            Instruction::with2(Code::Mov_r64_rm64, register, memory)
        }));
    }
    bytes_off_stack(u)
}

/// What must be right before a site, the site, and what must be right behind it: its results differ from run to run.
type OtherSite = (Option<Vec<u8>>, Vec<u8>, Vec<Vec<u8>>);

/// A site of another kind than `syscall`, one that this processor has.
pub fn other_site(u: &mut Unstructured<'_>) -> Result<OtherSite> {
    let wipe = |registers: &[Register]| {
        let zero = |&r: &Register| fixed(Instruction::with2(Code::Xor_rm32_r32, r, r));
        registers.iter().map(zero).collect::<Vec<_>>()
    };
    let random = std::is_x86_feature_detected!("rdseed") && std::is_x86_feature_detected!("rdrand");
    Ok(match u.int_in_range(0..=4)? {
        // All processors with AVX2 have rdtscp.
        0 if std::is_x86_feature_detected!("avx2") => {
            (None, vec![0x0f, 0x01, 0xf9], wipe(&[EAX, ECX, EDX]))
        }
        1 => (None, vec![0x0f, 0xa2], wipe(&[EAX, EBX, ECX, EDX])), // cpuid
        2 if std::is_x86_feature_detected!("xsave") => {
            let zero = wipe(&[ECX]).concat();
            (Some(zero), vec![0x0f, 0x01, 0xd0], Vec::new()) // xgetbv
        }
        3 | 4 if random => {
            let at = u.int_in_range(0..=HALF.len() - 1)?;
            let (code, register) = *u.choose(&[
                (Code::Rdrand_r16, Register::None),
                (Code::Rdrand_r32, HALF[at]),
                (Code::Rdrand_r64, WIDE[at]),
                (Code::Rdseed_r32, HALF[at]),
                (Code::Rdseed_r64, WIDE[at]),
            ])?;
            let (register, whole) = match register {
                Register::None => (Register::R9W, R9D),
                _ => (register, HALF[at]),
            };
            (
                None,
                fixed(Instruction::with1(code, register)),
                wipe(&[whole]),
            )
        }
        _ => (None, vec![0x0f, 0x31], wipe(&[EAX, EDX])), // rdtsc
    })
}

/// An instruction that depends on no address and touches no memory.
pub fn bytes_off_stack(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match u.int_in_range(0..=9)? {
        0 | 1 => two_wide(u)?,
        2 => two_half(u)?,
        3 => {
            let code = *u.choose(&[
                Code::Add_rm64_imm32,
                Code::Sub_rm64_imm8,
                Code::Cmp_rm64_imm32,
                Code::And_rm64_imm8,
                Code::Mov_rm64_imm32,
                Code::Xor_rm64_imm32,
            ])?;
            let value = i32::from(u.arbitrary::<i8>()?);
            fixed(Instruction::with2(code, *u.choose(&WIDE)?, value))
        }
        4 => fixed(Instruction::with2(
            Code::Mov_r32_imm32,
            *u.choose(&HALF)?,
            u.arbitrary::<u32>()?,
        )),
        5 => {
            let scale = *u.choose(&[1_u32, 2, 4, 8])?;
            let (base, index) = (*u.choose(&WIDE)?, *u.choose(&WIDE)?);
            let displacement = i64::from(u.arbitrary::<i16>()?);
            let memory = MemoryOperand::with_base_index_scale_displ_size(
                base,
                index,
                scale,
                displacement,
                1,
            );
            fixed(Instruction::with2(
                Code::Lea_r64_m,
                *u.choose(&WIDE)?,
                memory,
            ))
        }
        6 => {
            let code = *u.choose(&[
                Code::Sete_rm8,
                Code::Setb_rm8,
                Code::Seto_rm8,
                Code::Setg_rm8,
                Code::Setp_rm8,
            ])?;
            fixed(Instruction::with1(code, *u.choose(&BYTE)?))
        }
        7 => one(u)?,
        8 => vector(u)?,
        _ => u
            .choose(&[
                &[0xf8][..],         // clc
                &[0xf9],             // stc
                &[0xf5],             // cmc
                &[0x9f],             // lahf
                &[0x9e],             // sahf
                &[0x99],             // cltd
                &[0x48, 0x98],       // cltq
                &[0xfc],             // cld
                &[0xfd],             // std
                &[0x0f, 0xb6, 0xc1], // movzbl %cl,%eax
                &[0xf3, 0x90],       // pause
                &[0x48, 0x93],       // xchg %rax,%rbx
            ])?
            .to_vec(),
    })
}

fn two_wide(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let code = *u.choose(&[
        Code::Mov_rm64_r64,
        Code::Add_rm64_r64,
        Code::Adc_rm64_r64,
        Code::Sub_rm64_r64,
        Code::Sbb_rm64_r64,
        Code::And_rm64_r64,
        Code::Or_rm64_r64,
        Code::Xor_rm64_r64,
        Code::Cmp_rm64_r64,
        Code::Test_rm64_r64,
        Code::Imul_r64_rm64,
        Code::Cmovb_r64_rm64,
        Code::Cmove_r64_rm64,
        Code::Cmovg_r64_rm64,
        Code::Xadd_rm64_r64,
        Code::Bt_rm64_r64,
    ])?;
    Ok(fixed(Instruction::with2(
        code,
        *u.choose(&WIDE)?,
        *u.choose(&WIDE)?,
    )))
}

fn two_half(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let code = *u.choose(&[
        Code::Mov_rm32_r32,
        Code::Add_rm32_r32,
        Code::Cmp_rm32_r32,
        Code::Xor_r32_rm32,
        Code::Test_rm32_r32,
        Code::Cmovs_r32_rm32,
    ])?;
    Ok(fixed(Instruction::with2(
        code,
        *u.choose(&HALF)?,
        *u.choose(&HALF)?,
    )))
}

fn one(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let register = *u.choose(&WIDE)?;
    let code = *u.choose(&[
        Code::Inc_rm64,
        Code::Dec_rm64,
        Code::Neg_rm64,
        Code::Not_rm64,
        Code::Bswap_r64,
    ])?;
    if u.arbitrary()? {
        return Ok(fixed(Instruction::with1(code, register)));
    }
    let code = *u.choose(&[
        Code::Shl_rm64_imm8,
        Code::Sar_rm64_imm8,
        Code::Ror_rm64_imm8,
    ])?;
    Ok(fixed(Instruction::with2(
        code,
        register,
        u.int_in_range(0..=63_u32)?,
    )))
}

fn vector(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (a, b) = (xmm(u)?, xmm(u)?);
    Ok(match u.int_in_range(0..=5)? {
        0 => fixed(Instruction::with2(Code::Movaps_xmm_xmmm128, a, b)),
        1 => fixed(Instruction::with2(Code::Paddd_xmm_xmmm128, a, b)),
        2 => fixed(Instruction::with2(Code::Pxor_xmm_xmmm128, a, b)),
        3 => fixed(Instruction::with2(
            Code::Movq_xmm_rm64,
            a,
            *u.choose(&WIDE)?,
        )),
        4 => fixed(Instruction::with2(
            Code::Movq_rm64_xmm,
            *u.choose(&WIDE)?,
            b,
        )),
        _ => fixed(Instruction::with2(
            Code::VEX_Vmovdqa_ymm_ymmm256,
            ymm(u)?,
            ymm(u)?,
        )),
    })
}

/// Some place in the data that is not the counter.
fn somewhere(u: &mut Unstructured<'_>) -> Result<MemoryOperand> {
    let offset = 32 + u.int_in_range(0..=(DATA_LEN - 64) / 32)? * 16;
    Ok(MemoryOperand::with_base_displ(
        Register::RIP,
        offset.cast_signed(),
    ))
}

/// An instruction with an operand in the data, relative to RIP.
pub fn on_data(u: &mut Unstructured<'_>) -> Result<Instruction> {
    let memory = somewhere(u)?;
    let wide = *u.choose(&WIDE)?;
    Ok(made(match u.int_in_range(0..=9)? {
        0 => Instruction::with2(Code::Mov_r64_rm64, wide, memory),
        1 => Instruction::with2(Code::Mov_rm64_r64, memory, wide),
        2 => Instruction::with2(Code::Add_rm64_r64, memory, wide),
        3 => Instruction::with2(Code::Lea_r64_m, wide, memory),
        4 => Instruction::with2(Code::Cmp_rm32_imm32, memory, u.arbitrary::<i32>()?),
        5 => Instruction::with2(Code::Mov_rm32_imm32, memory, u.arbitrary::<i32>()?),
        6 => Instruction::with2(Code::Test_rm8_imm8, memory, u.int_in_range(0..=255_u32)?),
        7 => Instruction::with2(Code::Movdqu_xmm_xmmm128, xmm(u)?, memory),
        8 => Instruction::with2(Code::Movdqu_xmmm128_xmm, memory, xmm(u)?),
        _ => Instruction::with2(Code::VEX_Vmovdqu_ymm_ymmm256, ymm(u)?, memory),
    }))
}

/// An instruction on the data that may have a `lock` prefix.
pub fn lockable(u: &mut Unstructured<'_>) -> Result<Instruction> {
    let memory = somewhere(u)?;
    let wide = *u.choose(&WIDE)?;
    Ok(made(match u.int_in_range(0..=2)? {
        0 => Instruction::with2(Code::Xadd_rm64_r64, memory, wide),
        1 => Instruction::with2(Code::Cmpxchg_rm64_r64, memory, wide),
        _ => Instruction::with1(Code::Dec_rm32, memory),
    }))
}

/// `decl counter`.
pub fn count_down() -> Instruction {
    let counter = MemoryOperand::with_base_displ(Register::RIP, COUNTER.cast_signed());
    made(Instruction::with1(Code::Dec_rm32, counter))
}

/// A push and the pop that belongs to it.
pub fn push_pop(u: &mut Unstructured<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (from, to) = (*u.choose(&WIDE)?, *u.choose(&WIDE)?);
    let push = fixed(Instruction::with1(Code::Push_r64, from));
    Ok((push, fixed(Instruction::with1(Code::Pop_r64, to))))
}

/// 1 to 20 bytes of no-ops.
pub fn nops(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    const NOPS: [&[u8]; 9] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
        &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
        &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
    ];
    let mut nops = u.choose(&NOPS)?.to_vec();
    while nops.len() < 12 && u.ratio(1, 2)? {
        nops.extend_from_slice(u.choose(&NOPS)?);
    }
    Ok(nops)
}

/// Makes one of two harmless numbers of whatever is in rax: nobody can tell which.
pub fn any_harmless_number() -> Vec<u8> {
    vec![0x83, 0xe0, 0x04, 0x83, 0xc8, 0x68] // and $4,%eax; or $104,%eax: getgid or getegid
}

/// An instruction that faults, by a signal that tells how long it is.
pub fn faulting(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(u.choose(&[
        &[0x0f, 0x0b][..],                                 // ud2: SIGILL
        &[0xcc],                                           // int3: SIGTRAP, behind it
        &[0x48, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x00, 0x00], // mov 8,%rax: SIGSEGV
        &[0x48, 0x89, 0x1c, 0x25, 0x10, 0x00, 0x00, 0x00], // mov %rbx,16: the same
    ])?
    .to_vec())
}

/// Sets the number of a system call that does no harm.
pub fn number(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let number = *u.choose(&[
        110,
        102,
        104,
        107,
        108,
        -1,
        512,
        0x4000_006e_u32.cast_signed(),
    ])?;
    Ok(match u.int_in_range(0..=2)? {
        0 => fixed(Instruction::with2(Code::Mov_r32_imm32, EAX, number)),
        1 => fixed(Instruction::with2(Code::Mov_rm64_imm32, RAX, number)),
        _ => vec![0x6a, 0x6e, 0x58], // push $110; pop %rax
    })
}
