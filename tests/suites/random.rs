//! Random programs, run by the library as it is: natively, with each tactic alone, with the whole ladder and with hooks, from
//! random states. What is left of registers, flags, vectors and memory, and what each signal's handler is shown, agrees.
//!
//! `HOTPATCH_PROGRAMS=100000` runs more than the few that every change must pass. A program that fails is made small, and
//! becomes a case below `tests/cases`.

#[path = "../../crates/plan/tests/generator/mod.rs"]
#[expect(dead_code, reason = "where sites are is the library's business")]
mod generator;
#[path = "../../crates/plan/tests/minimise/mod.rs"]
mod minimise;
#[path = "../../crates/plan/tests/synthetic/mod.rs"]
#[expect(dead_code, reason = "programs are linked here, not put into an object")]
mod synthetic;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use arbitrary::Unstructured;
use generator::{Kind, Program};
use hotpatch_tests::process::{End, Ran, run};
use hotpatch_tests::{Allowed, BEARABLE, TACTICS, library, package, scratch};
use iced_x86::Mnemonic;
use synthetic::{DATA_LEN, TEXT, data_at};

/// How many programs: the same in each run, so that a failure is the change's own.
const PROGRAMS: u64 = 50;

/// Programs in one process.
const BATCH: u64 = 25;

/// Where they begin, with what runs them, by turns: programs have return addresses with the upper bit of their low half clear and set.
const BASES: [u64; 2] = [0x2000_0000, 0x7f00_0000];

/// What takes longer hangs. (What computes for ever ends itself before that.)
const LIMIT: Duration = Duration::from_secs(300);

/// From one program to the next.
const ROOM: u64 = 0x1_0000;

/// A program, and what its states are drawn from.
struct Drawn {
    program: Program,
    seed: u64,
}

impl Drawn {
    /// Program `number` of all.
    fn new(number: u64) -> Self {
        let mut seed = number;
        let mut word = || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        let bytes: Vec<u8> = (0..1 << (8 + number % 5))
            .flat_map(|_| word().to_le_bytes())
            .collect();
        // Bytes that run out are zeros.
        let program = generator::program(&mut Unstructured::new(&bytes), Kind::Harmless);
        Self {
            program: program.expect("enough bytes for the least program"),
            seed: number,
        }
    }
}

/// Where programs are written and run.
struct Ground {
    dir: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let dir = scratch().join(format!("random-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory of our own");
        let ground = Self { dir };
        let source = package().join("random/runs.c");
        ground.compile(&["-O1", "-c", "-o", "runs.o", &source.to_string_lossy()]);
        ground
    }

    fn compile(&self, words: &[&str]) {
        let mut command = Command::new("gcc");
        let status = command.args(words).current_dir(&self.dir).status();
        assert!(status.expect("gcc: install gcc").success(), "{words:?}");
    }

    /// Links these programs into one.
    fn link(&self, programs: &[Drawn]) {
        let base = BASES[(programs[0].seed / BATCH % 2) as usize];
        let mut list = String::from(
            ".section .data.rel.ro, \"aw\"\n.globl programs, programs_end\nprograms:\n",
        );
        let mut text = String::new();
        let mut flags = vec![format!("-Wl,-Ttext-segment={base:#x}")];
        for (number, drawn) in programs.iter().enumerate() {
            let at = base + 0x100_0000 + ROOM * number as u64;
            let data = at + data_at(drawn.program.text.len()) - TEXT;
            put(&mut text, &mut list, number, drawn);
            flags.push(format!("-Wl,--section-start=.code{number}={at:#x}"));
            flags.push(format!("-Wl,--section-start=.room{number}={data:#x}"));
        }
        let all = format!("{list}programs_end:\n{text}.section .note.GNU-stack, \"\"\n");
        fs::write(self.dir.join("programs.s"), all).expect("our own directory");
        let fixed = ["-no-pie", "-o", "runs", "runs.o", "programs.s"];
        let words: Vec<&str> = fixed
            .into_iter()
            .chain(flags.iter().map(String::as_str))
            .collect();
        self.compile(&words);
    }

    /// What is left of the programs that were linked last, natively and patched.
    fn both(&self, allowed: Allowed) -> [Ran; 2] {
        [self.run(allowed, false), self.run(allowed, true)]
    }

    fn run(&self, allowed: Allowed, patched: bool) -> Ran {
        let mut command = Command::new(self.dir.join("runs"));
        if matches!(allowed, Allowed::Alone(_)) {
            command.arg("states");
        }
        if patched {
            library::preload(
                &mut command,
                allowed,
                &self.dir.join("log"),
                &self.dir.join("report"),
            );
            command.env("LIBHOTPATCH_CACHE", "off");
        }
        command.current_dir(&self.dir);
        run(&mut command, &self.dir, LIMIT).expect("it can be started")
    }

    /// How the first of these programs differs that does; not where it does not do the same natively each time.
    fn differs(&self, programs: &[Drawn], allowed: Allowed) -> Option<String> {
        self.link(programs);
        let [native, patched] = self.both(allowed);
        if native.end != End::Exit(0) || self.run(allowed, false) != native {
            return None;
        }
        patched.differs_from(&native)
    }

    /// Makes the first program small that fails, and a case of it; answers what to say.
    fn report(&self, programs: Vec<Drawn>, allowed: Allowed, difference: &str) -> String {
        let fails = |program: &Program, seed| {
            let one = [Drawn {
                program: program.clone(),
                seed,
            }];
            self.differs(&one, allowed).is_some()
        };
        let Some(Drawn { program, seed }) = programs
            .into_iter()
            .find(|drawn| fails(&drawn.program, drawn.seed))
        else {
            return format!("{}: in this company alone:\n{difference}", allowed.name());
        };
        let small = minimise::minimise(&program, |program| fails(program, seed));
        let tactics = match allowed {
            Allowed::Alone(tactic) => Some(tactic),
            _ => None,
        };
        let case = minimise::case(&small, tactics, &format!("random-{seed}"));
        let name = allowed.name();
        let one = [Drawn {
            program: small,
            seed,
        }];
        let difference = self.differs(&one, allowed).unwrap_or_default();
        let kept = self.dir.join(format!("{seed}-{name}"));
        fs::copy(self.dir.join("runs"), &kept).expect("our own directory");
        format!(
            "program {seed}, {name}: now {}\n{difference}",
            case.display()
        )
    }
}

/// A program as assembly, and its line in the list.
fn put(text: &mut String, list: &mut String, number: usize, drawn: &Drawn) {
    let Program {
        text: code,
        functions,
        entry,
        ..
    } = &drawn.program;
    let mut marks = vec![0_u8; code.len() + 1];
    for instruction in minimise::instructions(&drawn.program) {
        let at = (instruction.ip() - TEXT) as usize;
        marks[at] |= 1;
        if instruction.mnemonic() == Mnemonic::Nop {
            marks[at] |= 4;
        }
        if instruction.has_lock_prefix() {
            marks[at + 1] |= 1; // a branch leaves the prefix out
        }
    }
    for behind in code
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair == b"\x0f\x05")
    {
        marks[behind.0 + 2] |= 2;
    }
    let bytes = |bytes: &[u8]| {
        let lines = bytes
            .chunks(64)
            .map(|line| format!(" .byte {}\n", comma(line)));
        lines.collect::<String>()
    };
    let mut end = 0;
    *text += &format!(".section .code{number}, \"ax\"\ncode{number}:\n");
    for (index, &(offset, len)) in functions.iter().enumerate() {
        let name = format!("f{number}_{index}");
        *text += &bytes(&code[end..offset]);
        end = offset + len;
        *text += &format!(".type {name}, @function\n{name}:\n");
        *text += &bytes(&code[offset..end]);
        *text += &format!(".size {name}, . - {name}\n");
    }
    *text += &bytes(&code[end..]);
    *text += &format!(".section .room{number}, \"aw\"\nroom{number}: .skip {DATA_LEN}, 0x33\n");
    *text += &format!(".section .rodata\nmarks{number}:\n{}", bytes(&marks));
    *list += &format!(
        " .quad code{number}, code{number} + {}, code{number} + {entry}, room{number}, {}, marks{number}\n",
        code.len(),
        drawn.seed
    );
}

fn comma(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes.iter().map(u8::to_string).collect();
    words.join(", ")
}

/// The trials of batch `number`: each tactic alone, the ladder, and hooks by turns.
fn trials(number: u64) -> impl Iterator<Item = Allowed> {
    let alone = TACTICS.into_iter().map(Allowed::Alone);
    // In hosted hooks a step after each instruction takes too long.
    let hooks: Vec<&str> = BEARABLE
        .into_iter()
        .filter(|name| !name.contains("hosted"))
        .collect();
    let of = move |n: u64| Allowed::Hooked(hooks[n as usize % hooks.len()]);
    alone.chain([Allowed::Ladder, of(number), of(number + 3)])
}

#[test]
fn random_programs_do_what_they_did() {
    let programs =
        std::env::var("HOTPATCH_PROGRAMS").map_or(PROGRAMS, |n| n.parse().expect("a number"));
    let first: u64 = std::env::var("HOTPATCH_FIRST").map_or(0, |n| n.parse().expect("a number"));
    let ground = Ground::new();
    let mut failures = Vec::new();
    for batch in first / BATCH..(first + programs).div_ceil(BATCH) {
        let drawn = || {
            (batch * BATCH..(batch + 1) * BATCH)
                .map(Drawn::new)
                .collect::<Vec<_>>()
        };
        ground.link(&drawn());
        for allowed in trials(batch) {
            let [native, patched] = ground.both(allowed);
            assert_eq!(native.end, End::Exit(0), "natively: {native:?}");
            if let Some(difference) = patched.differs_from(&native) {
                failures.push(ground.report(drawn(), allowed, &difference));
                ground.link(&drawn());
                eprintln!("{}", failures[failures.len() - 1]);
            }
        }
    }
    library::remove_copy();
    if failures.is_empty() {
        let _ = fs::remove_dir_all(&ground.dir);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
