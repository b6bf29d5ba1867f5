//! Each file of `tests/cases` is assembled and planned; the plan must read as the comment at its end says,
//! and the judge must accept it. `HOTPATCH_BLESS=1` rewrites the comments.
//!
//! A line `# tactics: LIST` restricts the ladder, `# kinds: LIST` says what sites are, `# select: NAME` selects
//! those of one function; `# linked: fixed` makes a program that knows its address. `fn NAME` and `end NAME` enclose a function.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hotpatch_plan::addr::Va;
use hotpatch_plan::check::check;
use hotpatch_plan::code::Code;
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::{Emission, Kinds, Outcome, Plan, Tactics};
use hotpatch_plan::search::Scalar;
use hotpatch_plan::show::{self, Line, Mark};
use hotpatch_plan::{Options, plan_selected};

/// Where the trampolines go.
const TRAMPOLINES: Va = Va(0x10_0000);

/// What separates a case from what is expected of it.
const EXPECTED: &str = "\n# plan:\n";

const PRELUDE: &str = "
    .macro fn name
    .type \\name, @function
    .globl \\name
\\name:
    .cfi_startproc
    .endm
    .macro end name
    .cfi_endproc
    .size \\name, . - \\name
    .endm
    .text
";

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases")
}

/// `source` as a shared object.
fn assemble(name: &str, source: &str) -> Vec<u8> {
    let flags: &[&str] = match source.contains("# linked: fixed\n") {
        true => &["-static", "-no-pie", "-Wl,-Ttext=0x401000,-e,0"],
        false => &["-shared", "-Wl,-Ttext=0x1000", "-Wl,-Bsymbolic"],
    };
    let dir = std::env::temp_dir().join(format!("hotpatch-case-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).expect("a temporary directory");
    let (input, output) = (dir.join("case.s"), dir.join("case.so"));
    fs::write(&input, format!("{PRELUDE}{source}")).expect("a temporary file");
    let made = Command::new("cc")
        .arg("-nostdlib")
        .args(flags)
        .arg("-o")
        .args([&output, &input])
        .output()
        .expect("cc: install gcc");
    assert!(
        made.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let object = fs::read(&output).expect("the object just made");
    fs::remove_dir_all(&dir).expect("our own directory");
    object
}

fn put_lines<'l>(text: &mut String, title: &str, lines: impl Iterator<Item = &'l Line>) {
    for (i, line) in lines.filter(|l| l.mark != Mark::Gap).enumerate() {
        let title = if i == 0 { title } else { "" };
        let shown = format!("#   {title:<11}{}  {}", line.at, line.text);
        let note = if line.note.is_empty() {
            String::new()
        } else {
            format!("  # {}", line.note)
        };
        writeln!(text, "{shown}{note}").expect("a string");
    }
}

fn describe<'i>(image: &'i Image<'i>, plan: &Plan, emission: &Emission) -> String {
    let mut text = String::new();
    let mut code = Code::new(image);
    for (index, site) in plan.sites.iter().enumerate() {
        let what = match &site.outcome {
            Outcome::Patched { tactic, .. } => tactic.name().to_owned(),
            Outcome::Native(why) => format!("native: {}", show::why_native(image, why)),
            Outcome::NotSelected => "not selected".to_owned(),
            Outcome::Refused(why) => {
                let why = why
                    .iter()
                    .filter(|(_, r)| *r != hotpatch_plan::plan::Refusal::NotAllowed);
                let why =
                    why.map(|(t, r)| format!("{}: {}", t.name(), show::why_refused(image, r)));
                format!("refused ({})", why.collect::<Vec<_>>().join("; "))
            }
        };
        writeln!(text, "# {} {what}", show::name(image, site.at)).expect("a string");
        if let Some(listing) = show::listing(&mut code, plan, emission, index) {
            let changed = listing.after.iter().filter(|l| l.mark == Mark::Changed);
            put_lines(&mut text, "changed", changed);
            put_lines(&mut text, "trampoline", listing.trampoline.iter());
        }
    }
    if plan.sites.is_empty() {
        text.push_str("# no site\n");
    }
    text
}

#[test]
fn plans_read_as_expected() {
    let bless = std::env::var_os("HOTPATCH_BLESS").is_some();
    let mut names: Vec<PathBuf> = fs::read_dir(cases())
        .expect("tests/cases")
        .map(|e| e.expect("an entry").path())
        .collect();
    names.sort();
    assert!(names.len() > 20, "the cases are gone");
    let mut wrong = String::new();
    for path in names {
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("a case");
        let (source, expected) = text.split_once(EXPECTED).unwrap_or((text.trim_end(), ""));
        let setting = |name: &str| source.lines().find_map(|l| l.strip_prefix(name));
        let tactics = setting("# tactics: ").map_or(Tactics::ALL, |l| {
            Tactics::parse(l).expect("names of tactics")
        });
        let kinds = setting("# kinds: ")
            .map_or(Kinds::SYSCALL, |l| Kinds::parse(l).expect("names of kinds"));
        let selected = setting("# select: ");
        let object = assemble(&name, &format!("{source}\n"));
        let image = Image::from_file(&object).expect("an object");
        let options = Options {
            tactics,
            kinds,
            ..Options::new(&Scalar)
        };
        let plan = plan_selected(&image, &options, |site| {
            let symbol = image.symbol_at(site.at).map(|(name, _)| name);
            selected.is_none_or(|name| symbol == Some(name))
        });
        let emission = plan.emit(&image, TRAMPOLINES, 0).expect("within reach");
        let said = describe(&image, &plan, &emission);
        if let Err(faults) = check(&image, &plan, &emission, 0) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            writeln!(wrong, "{name}: the judge says: {}", faults.join("; ")).expect("a string");
        }
        if said != expected {
            if bless {
                fs::write(&path, format!("{}{EXPECTED}{said}", source.trim_end())).expect("a case");
            } else {
                writeln!(wrong, "{name}: expected\n{expected}but the plan is\n{said}")
                    .expect("a string");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
