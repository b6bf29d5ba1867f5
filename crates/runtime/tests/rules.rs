//! The house rules that a program can check.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each file of the runtime by its path in `src`, and each of the injector, which runs in programs too, by its path
/// behind `inject/`; those that are tests alone are left out.
fn sources() -> Vec<(String, String)> {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = sources_in(&runtime.join("src"), "");
    found.extend(sources_in(&runtime.join("../inject/src"), "inject/"));
    found
}

fn sources_in(root: &Path, before: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let root = root.to_owned();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.file_name().is_some_and(|name| name != "tests.rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
                found.push((
                    format!("{before}{name}"),
                    fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    found
}

fn invariants() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../INVARIANTS.md")).unwrap()
}

/// The text without what follows `//` on a line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or(line))
}

#[test]
fn unsafe_code_lies_in_the_listed_files_and_each_says_why() {
    let listed = invariants();
    let listed = listed.split("Everything else").next().unwrap();
    for (name, text) in sources() {
        // Tests call libc, and that is all they do.
        let shipped = text.split("#[cfg(test)]").next().unwrap();
        let has = code(shipped).any(|line| line.contains("unsafe "));
        assert_eq!(has, listed.contains(&format!("`{name}`")), "{name}");
        assert!(
            !has || text.contains("//! # Safety"),
            "{name} does not say what it relies on"
        );
    }
}

#[test]
fn named_invariants_exist() {
    let known: BTreeSet<String> = invariants()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("**")?.split('.').next()?.to_owned()))
        .collect();
    for (name, text) in sources() {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            let is_name = word
                .strip_prefix('I')
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
            assert!(!is_name || known.contains(word), "{name} names {word}");
        }
    }
}
