//! Who else's code is in here: a small part of what `cargo deny check` does, for whoever does not have it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn metadata() -> serde_json::Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
        ])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The licences that deny.toml allows.
fn allowed() -> BTreeSet<String> {
    let text = fs::read_to_string(workspace().join("deny.toml")).unwrap();
    let list = text
        .split("allow = [")
        .nth(1)
        .unwrap()
        .split(']')
        .next()
        .unwrap();
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether an expression of licences can be satisfied: `OR` binds weaker than `AND`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    let all = |terms: &str| {
        terms
            .split(" AND ")
            .all(|term| allowed.contains(term.trim()))
    };
    // With brackets around a choice, each of the parts that are joined must have one.
    if expression.contains(") AND") || expression.contains("AND (") {
        return expression.split(" AND ").all(|part| {
            let part = part.trim_matches(['(', ')']);
            part.split(" OR ").any(|term| allowed.contains(term.trim()))
        });
    }
    flat.split(" OR ").any(all)
}

#[test]
fn licences_are_allowed_and_sources_known() {
    let allowed = allowed();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none");
        let own = package["source"].is_null();
        assert!(
            satisfied(licence, &allowed) || own && !package["publish"].is_null(),
            "{name}: {licence}"
        );
        let source = package["source"].as_str().unwrap_or("path");
        let known =
            source == "path" || source == "registry+https://github.com/rust-lang/crates.io-index";
        assert!(known, "{name}: {source}");
    }
}

#[test]
fn expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Unicode-3.0".to_owned()]);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(GPL-3.0 OR LGPL-3.0) AND Unicode-3.0", false),
        ("Apache-2.0/MIT", true),
    ] {
        assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn crates_that_are_published_say_what_a_registry_asks() {
    let metadata = metadata();
    let mut published = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if !package["source"].is_null() || !package["publish"].is_null() {
            continue;
        }
        published += 1;
        let name = package["name"].as_str().unwrap();
        for key in ["description", "license", "documentation", "rust_version"] {
            assert!(package[key].is_string(), "{name}: no {key}");
        }
        for key in ["keywords", "categories"] {
            let words = package[key].as_array().unwrap();
            assert!((1..=5).contains(&words.len()), "{name}: {key}");
        }
        let directory = Path::new(package["manifest_path"].as_str().unwrap())
            .parent()
            .unwrap();
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(directory.join(licence).exists(), "{name}: {licence}");
        }
        // What it needs of ours has a version: a path alone is not to be had from a registry.
        for dependency in package["dependencies"].as_array().unwrap() {
            assert_ne!(dependency["req"], "*", "{name}: {}", dependency["name"]);
        }
    }
    assert_eq!(published, 10);
}
