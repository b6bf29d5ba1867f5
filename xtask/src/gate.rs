//! What `libhotpatch.so` must not contain.
//!
//! It runs before any libc exists, inside `malloc` and in signal handlers, with the program's vector
//! registers live: so it may not need another library, not touch those registers, and show the
//! program's own libraries no symbol that could take the place of theirs.

use std::fmt;

use iced_x86::{
    CpuidFeature, Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Register,
};
use object::elf::{self, FileHeader64, ProgramHeader64, Sym64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, SectionHeader, Sym};
use object::{LittleEndian, U64};

const LE: LittleEndian = LittleEndian;
type Header = FileHeader64<LittleEndian>;

/// The symbols that programs may see: none. The loader finds the constructor by `DT_INIT`.
pub const EXPORTS: &[&str] = &[];

/// The functions that may use vector registers: the searches at start-up, which keep what they use, and what saves them
/// all for a signal's handler.
/// Parts of mangled names, each with its length before it as both of Rust's schemes write them.
pub const VECTOR_FUNCTIONS: &[&str] = &[
    "4arch10next_pairs",
    "4arch18mark_displacements",
    "4arch12save_vectors",
    "5stubs8with_xmm",
    "5stubs8with_ymm",
    "5stubs12with_all_xmm",
    "5stubs12with_all_ymm",
    "5stubs12with_all_zmm",
];

/// The parts of the library that run after start-up, where a panic would have nowhere to go. Parts of mangled names.
pub const HOT: &[&str] = &[
    "hotpatch_runtime5areas",
    "hotpatch_runtime5entry",
    "hotpatch_runtime5hooks",
    "hotpatch_runtime6hosted4fork",
    "hotpatch_runtime6hosted4give",
    "hotpatch_runtime6hosted5donor",
    "hotpatch_runtime6hosted9namespace14make_variables",
    "hotpatch_runtime6hosted9namespace6create",
    "hotpatch_runtime6hosted5stubs",
    "hotpatch_runtime8internal",
    "hotpatch_runtime7journal",
    "hotpatch_runtime7mapping",
    "hotpatch_runtime5other",
    "hotpatch_runtime4ours",
    "hotpatch_runtime5quick",
    "hotpatch_runtime6signal",
    "hotpatch_runtime6thread",
];

/// What a panic ends in. Parts of mangled names.
const PANICS: &[&str] = &[
    "4core9panicking",
    "13unwrap_failed",
    "13expect_failed",
    "5slice5index",
];

/// A rule that an object breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// It asks the loader for another library.
    Needed(String),
    /// It expects somebody else to define this symbol.
    Undefined(String),
    /// It defines this symbol for everybody.
    Export(String),
    /// An instruction uses the program's vector or floating-point state.
    Vector {
        /// Its address.
        at: u64,
        /// The function it is in, as far as symbols tell.
        function: String,
        /// What it uses.
        uses: String,
    },
    /// The loader would have to write into code or other read-only memory.
    TextRelocation {
        /// Where, or `None` where only the flag says so.
        at: Option<u64>,
    },
    /// A relocation of a kind that needs more than the load address.
    Relocation {
        /// Where.
        at: u64,
        /// Its type, `R_X86_64_*`.
        kind: u32,
    },
    /// It asks for an executable stack, or does not say that it needs none.
    ExecutableStack,
    /// It has thread-local variables.
    ThreadLocal,
    /// Code that runs after start-up can panic.
    Panic {
        /// The call's address.
        at: u64,
        /// The function it is in.
        function: String,
        /// What it calls.
        callee: String,
    },
    /// A segment is writable and executable at once.
    WritableCode {
        /// Where it begins.
        at: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needed(name) => write!(f, "needs {name}"),
            Self::Undefined(name) => write!(f, "{name} is not defined"),
            Self::Export(name) => write!(f, "{name} is exported and not on the list"),
            Self::Vector { at, function, uses } => write!(f, "{at:#x} in {function} uses {uses}"),
            Self::TextRelocation { at: Some(at) } => write!(f, "text relocation at {at:#x}"),
            Self::TextRelocation { at: None } => write!(f, "is marked as having text relocations"),
            Self::Relocation { at, kind } => write!(f, "relocation of type {kind} at {at:#x}"),
            Self::ExecutableStack => write!(f, "does not refuse an executable stack"),
            Self::ThreadLocal => write!(f, "has thread-local variables"),
            Self::Panic {
                at,
                function,
                callee,
            } => write!(f, "{at:#x} in {function} can panic: {callee}"),
            Self::WritableCode { at } => {
                write!(f, "the segment at {at:#x} is writable and executable")
            }
        }
    }
}

/// All rules that the shared object `bytes` breaks.
///
/// # Errors
/// It is not a shared object for x86-64 that can be read.
pub fn gate(bytes: &[u8]) -> Result<Vec<Violation>, object::Error> {
    let header = Header::parse(bytes)?;
    let segments = header.program_headers(LE, bytes)?;
    let sections = header.sections(LE, bytes)?;
    let mut found = Vec::new();
    in_segments(segments, &mut found);
    in_dynamic(bytes, segments, &mut found)?;
    in_relocations(bytes, segments, &sections, &mut found)?;
    let exported = sections.symbols(LE, bytes, elf::SHT_DYNSYM)?;
    for symbol in exported.iter().skip(1) {
        in_symbol(symbol, &symbol_name(&exported, symbol), &mut found);
    }
    let all = sections.symbols(LE, bytes, elf::SHT_SYMTAB)?;
    let functions = functions(&all);
    for section in sections.iter() {
        if section.sh_flags(LE).0 & elf::SHF_EXECINSTR.0 != 0 {
            in_code(
                section.data(LE, bytes)?,
                section.sh_addr(LE),
                &functions,
                &mut found,
            );
        }
        if section.sh_flags(LE).0 & elf::SHF_TLS.0 != 0 {
            found.push(Violation::ThreadLocal);
        }
    }
    Ok(found)
}

fn in_segments(segments: &[ProgramHeader64<LittleEndian>], found: &mut Vec<Violation>) {
    let both = elf::PF_W.0 | elf::PF_X.0;
    for segment in segments {
        match segment.p_type(LE) {
            elf::PT_LOAD if segment.p_flags(LE).0 & both == both => {
                found.push(Violation::WritableCode {
                    at: segment.p_vaddr(LE),
                });
            }
            elf::PT_TLS => found.push(Violation::ThreadLocal),
            _ => {}
        }
    }
    // Where it says nothing, the kernel's default for the architecture is executable.
    let stack = segments
        .iter()
        .find(|segment| segment.p_type(LE) == elf::PT_GNU_STACK);
    if stack.is_none_or(|stack| stack.p_flags(LE).0 & elf::PF_X.0 != 0) {
        found.push(Violation::ExecutableStack);
    }
}

fn in_dynamic(
    bytes: &[u8],
    segments: &[ProgramHeader64<LittleEndian>],
    found: &mut Vec<Violation>,
) -> Result<(), object::Error> {
    let Some(dynamic) = segments
        .iter()
        .find_map(|s| s.dynamic(LE, bytes).transpose())
        .transpose()?
    else {
        return Ok(());
    };
    let strings = dynamic
        .iter()
        .find(|entry| entry.tag(LE) == elf::DT_STRTAB)
        .map_or(0, |entry| entry.d_val(LE));
    for entry in dynamic {
        match entry.tag(LE) {
            elf::DT_NEEDED => {
                found.push(Violation::Needed(string_at(
                    bytes,
                    segments,
                    strings + entry.d_val(LE),
                )));
            }
            elf::DT_TEXTREL => found.push(Violation::TextRelocation { at: None }),
            elf::DT_FLAGS if entry.d_val(LE) & elf::DF_TEXTREL.0 != 0 => {
                found.push(Violation::TextRelocation { at: None });
            }
            _ => {}
        }
    }
    Ok(())
}

fn in_symbol(symbol: &Sym64<LittleEndian>, name: &str, found: &mut Vec<Violation>) {
    if symbol.st_shndx(LE) == elf::SHN_UNDEF {
        found.push(Violation::Undefined(name.to_owned()));
    } else if symbol.st_bind() != elf::STB_LOCAL && !EXPORTS.contains(&name) {
        found.push(Violation::Export(name.to_owned()));
    }
}

fn in_relocations(
    bytes: &[u8],
    segments: &[ProgramHeader64<LittleEndian>],
    sections: &object::read::elf::SectionTable<'_, Header>,
    found: &mut Vec<Violation>,
) -> Result<(), object::Error> {
    let mut check = |at: u64, kind: elf::RelocationType| {
        if kind != elf::R_X86_64_RELATIVE {
            found.push(Violation::Relocation { at, kind: kind.0 });
        }
        let writable = segments.iter().any(|segment| {
            let inside = at.wrapping_sub(segment.p_vaddr(LE)) < segment.p_memsz(LE);
            segment.p_type(LE) == elf::PT_LOAD && inside && segment.p_flags(LE).0 & elf::PF_W.0 != 0
        });
        if !writable {
            found.push(Violation::TextRelocation { at: Some(at) });
        }
    };
    for section in sections.iter() {
        if let Some((relocations, _)) = section.rela(LE, bytes)? {
            for relocation in relocations {
                check(relocation.r_offset(LE), relocation.r_type(LE, false));
            }
        }
        if section.sh_type(LE) == elf::SHT_RELR {
            let words: &[U64<LittleEndian>] = section.data_as_array(LE, bytes)?;
            // An even word is an address, odd ones are bits for the words that follow it.
            for word in words
                .iter()
                .map(|word| word.get(LE))
                .filter(|word| word & 1 == 0)
            {
                check(word, elf::R_X86_64_RELATIVE);
            }
        }
    }
    Ok(())
}

/// Start, end and name of a function.
type Named = (u64, u64, String);

type Symbols<'a> = object::read::elf::SymbolTable<'a, Header>;

fn symbol_name(table: &Symbols<'_>, symbol: &Sym64<LittleEndian>) -> String {
    String::from_utf8_lossy(symbol.name(LE, table.strings()).unwrap_or_default()).into_owned()
}

fn functions(table: &Symbols<'_>) -> Vec<Named> {
    let functions = table
        .iter()
        .filter(|symbol| symbol.st_type() == elf::STT_FUNC);
    let named = |symbol: &Sym64<LittleEndian>| {
        let start = symbol.st_value(LE);
        (
            start,
            start.saturating_add(symbol.st_size(LE)),
            symbol_name(table, symbol),
        )
    };
    functions.map(named).collect()
}

fn in_code(code: &[u8], base: u64, functions: &[Named], found: &mut Vec<Violation>) {
    let mut decoder = Decoder::with_ip(64, code, base, DecoderOptions::NONE);
    let mut info = InstructionInfoFactory::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        found.extend(panic(&instruction, functions));
        let Some(uses) = vector_state(&instruction, &mut info) else {
            continue;
        };
        let at = instruction.ip();
        let function = functions
            .iter()
            .find(|(start, end, _)| (*start..*end).contains(&at));
        let function = function.map_or("?", |(.., name)| name.as_str());
        if !VECTOR_FUNCTIONS
            .iter()
            .any(|allowed| function.contains(allowed))
        {
            found.push(Violation::Vector {
                at,
                function: function.to_owned(),
                uses,
            });
        }
    }
}

/// A direct call or jump from code that runs after start-up to the start of a panic.
fn panic(instruction: &Instruction, functions: &[Named]) -> Option<Violation> {
    let direct = instruction.is_call_near() || instruction.is_jmp_short_or_near();
    let to = direct.then(|| instruction.near_branch_target())?;
    let is_one_of = |name: &str, parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let callee = functions
        .iter()
        .find(|(start, _, name)| *start == to && is_one_of(name, PANICS))?;
    let at = instruction.ip();
    let caller = functions
        .iter()
        .find(|(start, end, name)| (*start..*end).contains(&at) && is_one_of(name, HOT))?;
    Some(Violation::Panic {
        at,
        function: caller.2.clone(),
        callee: callee.2.clone(),
    })
}

/// What of the vector, mask, MMX and x87 state an instruction uses.
fn vector_state(instruction: &Instruction, info: &mut InstructionInfoFactory) -> Option<String> {
    let of_vectors = |register: Register| {
        register.is_vector_register()
            || register.is_k()
            || register.is_mm()
            || register.is_st()
            || register.is_tmm()
    };
    let used = info.info(instruction).used_registers();
    if let Some(register) = used
        .iter()
        .map(|used| used.register())
        .find(|r| of_vectors(*r))
    {
        return Some(format!("{register:?}").to_lowercase());
    }
    // `fninit`, `emms`, `vzeroall`, `fxsave` name no register.
    let whole = [
        (CpuidFeature::FPU, "x87"),
        (CpuidFeature::FPU287, "x87"),
        (CpuidFeature::FPU387, "x87"),
        (CpuidFeature::MMX, "mmx"),
        (CpuidFeature::AVX, "avx"),
    ];
    let features = instruction.cpuid_features();
    if let Some((_, name)) = whole.iter().find(|(feature, _)| features.contains(feature)) {
        return Some((*name).to_owned());
    }
    instruction
        .is_save_restore_instruction()
        .then(|| "all of it".to_owned())
}

/// The string at address `at` of the image.
fn string_at(bytes: &[u8], segments: &[ProgramHeader64<LittleEndian>], at: u64) -> String {
    let loaded = segments
        .iter()
        .filter(|segment| segment.p_type(LE) == elf::PT_LOAD);
    let tail = loaded.filter_map(|segment| {
        let offset = at
            .checked_sub(segment.p_vaddr(LE))
            .filter(|offset| *offset < segment.p_filesz(LE))?;
        bytes.get(usize::try_from(segment.p_offset(LE) + offset).ok()?..)
    });
    let text = tail
        .flat_map(|tail| tail.split(|&byte| byte == 0).next())
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
