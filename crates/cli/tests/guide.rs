//! The guide: what it shows is built and run, pictures are made anew, links lead somewhere.
//!
//! In a page, ```` ```c file=NAME ```` is a file; in a block of `console`, `$ ` is a command, and what follows is what it prints,
//! where `…` stands for anything. `<!-- inspect: CASE -->` stands for a picture of `tests/cases/CASE.s`.
//! `HOTPATCH_BLESS=1` makes the pictures again.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A block of a page: what stands behind its fence, and its lines.
struct Block {
    kind: String,
    body: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push(Block {
                kind: kind.to_owned(),
                body: body.join("\n") + "\n",
            });
        }
    }
    blocks
}

/// Whether `shown` is `expected`, of which `…` stands for anything, lines too.
fn matches(expected: &str, shown: &str) -> bool {
    let Some((first, rest)) = expected.split_once('…') else {
        return expected == shown;
    };
    let Some(shown) = shown.strip_prefix(first) else {
        return false;
    };
    // A line of nothing but that may be no line.
    let rest = match first.is_empty() || first.ends_with('\n') {
        true => rest.strip_prefix('\n').unwrap_or(rest),
        false => rest,
    };
    let mut ends = shown.char_indices().map(|(at, _)| at).chain([shown.len()]);
    ends.any(|at| matches(rest, &shown[at..]))
}

/// Does what a page says, in a directory of its own.
fn follow(page: &str) {
    let place = Place::new();
    let directory = place.dir.path().join("work");
    fs::create_dir_all(directory.join(".cargo")).unwrap();
    // The crates of this repository in place of a registry's.
    let crates = ["plan", "abi", "hook", "names", "decode"].map(|name| {
        let path = root().join("crates").join(name);
        format!("hotpatch-{name} = {{ path = \"{}\" }}\n", path.display())
    });
    let patch = format!("[patch.crates-io]\n{}", crates.concat());
    fs::write(directory.join(".cargo/config.toml"), patch).unwrap();
    let hotpatch = place.hotpatch();
    let program = Path::new(hotpatch.get_program()).to_owned();
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut commands = 0;
    for block in blocks(page) {
        if let Some((_, name)) = block.kind.split_once("file=") {
            let file = directory.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, &block.body).unwrap();
        } else if block.kind == "console" {
            for step in format!("\n{}", block.body).split("\n$ ").skip(1) {
                let (command, expected) = step.split_once('\n').unwrap_or((step, ""));
                let mut shell = Command::new("sh");
                shell
                    .arg("-c")
                    .arg(format!("exec 2>&1\n{command}"))
                    .current_dir(&directory);
                for (name, _) in std::env::vars_os() {
                    let text = name.to_string_lossy().into_owned();
                    let ours = text.starts_with("CARGO") && text != "CARGO_HOME"
                        || text.starts_with("RUST") && !text.starts_with("RUSTUP")
                        || text.starts_with("LIBHOTPATCH_")
                        || text == "LD_LIBRARY_PATH";
                    if ours {
                        shell.env_remove(&name);
                    }
                }
                for (name, value) in hotpatch.get_envs() {
                    match value {
                        Some(value) => shell.env(name, value),
                        None => shell.env_remove(name),
                    };
                }
                let output = shell
                    .env("PATH", &path)
                    .env("LC_ALL", "C")
                    .env("HOTPATCH_INCLUDE", root().join("include"))
                    .output()
                    .unwrap();
                let shown = text(&output.stdout);
                let trimmed = expected.trim_end_matches('\n');
                assert!(
                    matches(trimmed, shown.trim_end_matches('\n')),
                    "$ {command}\n--- expected\n{expected}\n--- shown\n{shown}"
                );
                commands += 1;
            }
        }
    }
    assert!(commands > 0, "nothing was run");
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs/guide").join(name)).unwrap()
}

#[test]
fn trace_in_a_minute() {
    follow(&page("minute.md"));
}

#[test]
fn write_a_hook() {
    follow(&page("hooks.md"));
}

#[test]
fn what_is_not_covered() {
    follow(&page("coverage.md"));
}

#[test]
fn coming_from_elsewhere() {
    follow(&page("porting.md"));
}

#[test]
fn the_planner_as_a_crate() {
    follow(&page("embedding.md"));
}

#[test]
fn how_it_is_proved() {
    follow(&page("how.md"));
}

/// What `hotpatch inspect --asm` shows of a case, and the case's own words.
fn picture(place: &Place, case: &str) -> String {
    let source = fs::read_to_string(root().join(format!("tests/cases/{case}.s"))).unwrap();
    let prelude = ".macro fn name\n.type \\name, @function\n.globl \\name\n\\name:\n.cfi_startproc\n.endm\n\
        .macro end name\n.cfi_endproc\n.size \\name, . - \\name\n.endm\n.text\n";
    let (input, output) = (
        place.dir.path().join(format!("{case}.s")),
        place.dir.path().join(format!("{case}.so")),
    );
    fs::write(&input, format!("{prelude}{source}")).unwrap();
    let status = Command::new("gcc")
        .args(["-nostdlib", "-shared", "-Wl,-Ttext=0x1000,-Bsymbolic", "-o"])
        .args([&output, &input])
        .status();
    assert!(status.expect("gcc (apt-get install gcc)").success());
    let tactics = source
        .lines()
        .find_map(|line| line.strip_prefix("# tactics: "));
    let mut arguments = vec!["inspect", "--asm"];
    if let Some(tactics) = tactics {
        arguments.extend(["--tactics", tactics.trim()]);
    }
    // `--asm FILE` would name a site.
    arguments[1] = "--asm=";
    arguments.push(output.to_str().unwrap());
    let shown = text(&place.output(&arguments).stdout);
    // Not the path, nor how long it took.
    let from = shown
        .find("0x1")
        .unwrap_or_else(|| panic!("{case}: {shown}"));
    let until = shown.find("\nfile ").unwrap_or(shown.len());
    format!("```text\n{}\n```\n", shown[from..until].trim_end())
}

#[test]
fn pictures_are_what_inspect_shows() {
    let place = Place::new();
    let path = root().join("docs/guide/how.md");
    let old = fs::read_to_string(&path).unwrap();
    let mut new = String::new();
    let mut parts = old.split("<!-- inspect: ");
    new.push_str(parts.next().unwrap());
    let mut count = 0;
    for part in parts {
        let (case, rest) = part.split_once(" -->\n").unwrap();
        // What stands there is the picture, up to the end of its block.
        let behind = match rest.strip_prefix("\n```text\n") {
            Some(block) => block.split_once("\n```\n").unwrap().1,
            None => rest,
        };
        let picture = picture(&place, case);
        new.push_str(&format!("<!-- inspect: {case} -->\n\n{picture}{behind}"));
        count += 1;
    }
    assert!(count >= 4);
    if std::env::var_os("HOTPATCH_BLESS").is_some() {
        fs::write(&path, &new).unwrap();
    } else {
        assert!(
            old == new,
            "HOTPATCH_BLESS=1 makes the pictures again; now\n{new}"
        );
    }
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_somewhere() {
    let root = root();
    let listed = Command::new("git")
        .args(["ls-files", "*.md"])
        .current_dir(&root)
        .output()
        .unwrap();
    let mut links = 0;
    for name in text(&listed.stdout).lines() {
        let page = fs::read_to_string(root.join(name)).unwrap();
        let prose: String = page
            .split("```")
            .step_by(2)
            .flat_map(|part| part.lines())
            .filter(|line| !line.starts_with("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        for link in prose.split("](").skip(1) {
            let Some((target, _)) = link.split_once(')') else {
                continue;
            };
            if target.contains("://") || target.contains(' ') {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = match file {
                "" => root.join(name),
                file => root.join(name).parent().unwrap().join(file),
            };
            assert!(to.exists(), "{name} leads to {target}");
            if !anchor.is_empty() {
                let page = fs::read_to_string(&to).unwrap();
                assert!(anchors(&page).contains(anchor), "{name} leads to {target}");
            }
            links += 1;
        }
    }
    assert!(links > 30, "{links}");
}

#[test]
fn the_summary_has_every_page() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    for directory in ["", "guide"] {
        for entry in fs::read_dir(docs.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&docs).unwrap().to_str().unwrap();
            if name.ends_with(".md") && name != "SUMMARY.md" {
                assert!(summary.contains(&format!("({name})")), "{name}");
            }
        }
    }
}

#[test]
fn dots_stand_for_anything() {
    for (expected, shown, is) in [
        ("a", "a", true),
        ("a…c", "abc", true),
        ("a\n…\nc", "a\nb\nb\nc", true),
        ("a\n…\nc", "a\nc", true),
        ("…", "", true),
        ("a…c", "abd", false),
        ("a", "ab", false),
    ] {
        assert_eq!(matches(expected, shown), is, "{expected:?} {shown:?}");
    }
}
