//! Programs compiled by way of assembly, with every local label made a symbol.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hotpatch_plan::addr::Va;
use hotpatch_plan::image::Image;

/// How a line of assembly refers to a label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    Branch,
    Address,
    Word,
    LandingPad,
}

/// A compiled program.
pub struct Guest {
    pub name: String,
    pub file: Vec<u8>,
    pub symbols: BTreeMap<String, Va>,
    /// Labels in code that some line refers to.
    pub uses: Vec<(Va, Use, String)>,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Compiles a source that lies beside this file.
pub fn compile(compiler: &str, source: &str, flags: &[&str]) -> Guest {
    let name = [&[compiler, source], flags]
        .concat()
        .join("")
        .replace(['.', '='], "_");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refs");
    std::fs::create_dir_all(&directory).unwrap();
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let path = |ending: &str| {
        directory
            .join(format!("{name}-{test}{ending}"))
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (assembly, program) = (path(".s"), path(""));
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/refs")
        .join(source);
    run(
        compiler,
        &[flags, &["-S", "-o", &assembly, source.to_str().unwrap()]].concat(),
    );
    let text = std::fs::read_to_string(&assembly)
        .unwrap()
        .replace(".L", "L_");
    std::fs::write(&assembly, &text).unwrap();
    let link: Vec<&str> = flags.iter().copied().filter(|f| f.contains("pi")).collect();
    run(
        compiler,
        &[&link[..], &["-o", &program, &assembly]].concat(),
    );
    let file = std::fs::read(&program).unwrap();
    let symbols = symbols(&program);
    let uses = uses(&text, &symbols, &Image::from_file(&file).unwrap());
    Guest {
        name,
        file,
        symbols,
        uses,
    }
}

fn symbols(program: &str) -> BTreeMap<String, Va> {
    let lines = run("nm", &[program]);
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let at = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((words.nth(1)?.to_owned(), Va(at)))
    };
    lines.lines().filter_map(symbol).collect()
}

/// The labels that a line names, in order.
fn labels(line: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || c == '.';
    line.split(|c| !is_name(c))
        .map(|word| word.trim_start_matches('$'))
        .filter(|word| word.starts_with("L_"))
        .collect()
}

/// Which label of `line` counts as used, and how.
fn used<'l>(line: &'l str, table: &mut Vec<&'l str>) -> Option<(&'l str, Use)> {
    let line = line.split('#').next()?.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    if word == ".uleb128" || word == ".sleb128" {
        // A call site: where it begins, how long it is, its landing pad, its action.
        table.push(rest);
        if table.len() == 4 {
            let pad = table[2];
            table.clear();
            return labels(pad).first().map(|label| (*label, Use::LandingPad));
        }
        return None;
    }
    table.clear();
    let first = *labels(rest).first()?;
    match word {
        ".long" | ".quad" => Some((first, Use::Word)),
        _ if word.starts_with('.') || line.contains(':') || line.contains('=') => None,
        _ if word.starts_with('j') && !rest.contains(['*', '%']) => Some((first, Use::Branch)),
        _ if rest.contains("(%rip)") && !word.starts_with("lea") => None,
        _ => Some((first, Use::Address)),
    }
}

fn uses(text: &str, symbols: &BTreeMap<String, Va>, image: &Image<'_>) -> Vec<(Va, Use, String)> {
    let mut found = Vec::new();
    let mut section = "";
    let mut table = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(".section") || trimmed.starts_with(".text") {
            section = trimmed;
        }
        // The head of an exception table looks like a call site too.
        if trimmed.starts_with("L_LSDACSB") || trimmed.starts_with("L_cst_begin") {
            table.clear();
        }
        if section.contains(".debug")
            || trimmed.contains("L_cst_end")
            || trimmed.contains("L_LSDACSE")
        {
            continue;
        }
        if let Some((label, how)) = used(trimmed, &mut table) {
            let Some(&at) = symbols.get(label) else {
                panic!("no symbol {label}, of `{line}`")
            };
            // Tables themselves, strings and constants lie in data.
            if image.is_code(at) && !label.starts_with("L_FB") && !label.starts_with("L_func_") {
                found.push((at, how, trimmed.to_owned()));
            }
        }
    }
    found
}
