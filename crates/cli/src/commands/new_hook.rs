//! `hotpatch new-hook`: a project to start a hook from, which builds and runs as it is.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::args::NewHook;

/// The SDK that a project in Rust gets: of the same version as the library, whatever a registry has.
const SDK: &[(&str, &str)] = &[
    ("sdk/abi/Cargo.toml", include_str!("new_hook/abi.toml")),
    (
        "sdk/abi/src/lib.rs",
        include_str!("../../../abi/src/lib.rs"),
    ),
    ("sdk/hook/Cargo.toml", include_str!("new_hook/hook.toml")),
    (
        "sdk/hook/src/context.rs",
        include_str!("../../../hook/src/context.rs"),
    ),
    (
        "sdk/hook/src/errno.rs",
        include_str!("../../../hook/src/errno.rs"),
    ),
    (
        "sdk/hook/src/export.rs",
        include_str!("../../../hook/src/export.rs"),
    ),
    (
        "sdk/hook/src/lib.rs",
        include_str!("../../../hook/src/lib.rs"),
    ),
    (
        "sdk/hook/src/nr.rs",
        include_str!("../../../hook/src/nr.rs"),
    ),
    (
        "sdk/hook/src/path.rs",
        include_str!("../../../hook/src/path.rs"),
    ),
    (
        "sdk/hook/src/plain.rs",
        include_str!("../../../hook/src/plain.rs"),
    ),
    (
        "sdk/hook/src/runtime.rs",
        include_str!("../../../hook/src/runtime.rs"),
    ),
    (
        "sdk/hook/src/set.rs",
        include_str!("../../../hook/src/set.rs"),
    ),
    (
        "sdk/hook/src/setting.rs",
        include_str!("../../../hook/src/setting.rs"),
    ),
    (
        "sdk/hook/src/signal.rs",
        include_str!("../../../hook/src/signal.rs"),
    ),
    (
        "sdk/hook/src/site.rs",
        include_str!("../../../hook/src/site.rs"),
    ),
    (
        "sdk/hook/src/text.rs",
        include_str!("../../../hook/src/text.rs"),
    ),
];

const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("new_hook/Cargo.toml")),
    (".cargo/config.toml", include_str!("new_hook/config.toml")),
    (
        "rust-toolchain.toml",
        include_str!("new_hook/rust-toolchain.toml"),
    ),
    ("src/main.rs", include_str!("new_hook/main.rs")),
    (".gitignore", "/target\n"),
];

const C: &[(&str, &str)] = &[
    ("Makefile", include_str!("new_hook/Makefile")),
    ("NAME.c", include_str!("new_hook/hook.c")),
    ("hotpatch.h", include_str!("../../../../include/hotpatch.h")),
    (".gitignore", "*.so\n"),
];

const HOSTED_RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("new_hook/hosted.toml")),
    ("src/lib.rs", include_str!("new_hook/hosted.rs")),
    (".gitignore", "/target\n"),
];

const HOSTED_C: &[(&str, &str)] = &[
    ("Makefile", include_str!("new_hook/hosted.mk")),
    ("NAME.c", include_str!("new_hook/hosted.c")),
    ("hotpatch.h", include_str!("../../../../include/hotpatch.h")),
    (".gitignore", "*.so\n"),
];

/// Writes the project.
pub fn run(args: &NewHook) -> anyhow::Result<i32> {
    let name = args.path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|name| is_name(name)) else {
        bail!(
            "{}: a hook's name is made of letters, digits, `-` and `_`, begins with a letter and is no word of the language's own",
            args.path.display()
        );
    };
    ensure!(
        !args.path.exists(),
        "{}: is there already",
        args.path.display()
    );
    let library = name.replace('-', "_");
    let groups: &[&[(&str, &str)]] = match (args.c, args.hosted) {
        (true, false) => &[C],
        (true, true) => &[HOSTED_C],
        (false, false) => &[RUST, SDK],
        (false, true) => &[HOSTED_RUST, SDK],
    };
    for (file, text) in groups.iter().copied().flatten() {
        let path = args.path.join(file.replace("NAME", name));
        let text = if file.starts_with("sdk/") || *file == "hotpatch.h" {
            (*text).to_owned()
        } else {
            text.replace("NAME", name).replace("LIBRARY", &library)
        };
        write(&path, &text).with_context(|| path.display().to_string())?;
    }
    let (kind, build, object) = if args.c {
        ("C", "make", format!("{name}.so"))
    } else {
        (
            "Rust",
            "cargo build --release",
            if args.hosted {
                format!("target/release/lib{library}.so")
            } else {
                format!("target/x86_64-unknown-none/release/{name}")
            },
        )
    };
    let path = args.path.display();
    let hosted = if args.hosted { "hosted " } else { "" };
    let mut out = std::io::stdout().lock();
    write!(
        out,
        "{path}: a {hosted}hook in {kind}. To build and run it:\n\n    cd {path}\n    {build}\n    hotpatch run --hook {object} -- ls\n"
    )?;
    out.flush()?;
    Ok(0)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

/// Whether cargo takes it for a package and a binary.
fn is_name(name: &str) -> bool {
    // Keywords that consist of letters, and the crates that every program has.
    const TAKEN: &[&str] = &[
        "abstract",
        "alloc",
        "as",
        "async",
        "await",
        "become",
        "box",
        "break",
        "build",
        "const",
        "continue",
        "core",
        "crate",
        "deps",
        "do",
        "dyn",
        "else",
        "enum",
        "examples",
        "extern",
        "false",
        "final",
        "fn",
        "for",
        "gen",
        "if",
        "impl",
        "in",
        "incremental",
        "let",
        "loop",
        "macro",
        "match",
        "mod",
        "move",
        "mut",
        "override",
        "priv",
        "proc_macro",
        "pub",
        "ref",
        "return",
        "self",
        "static",
        "std",
        "struct",
        "super",
        "test",
        "trait",
        "true",
        "try",
        "type",
        "typeof",
        "unsafe",
        "unsized",
        "use",
        "virtual",
        "where",
        "while",
        "yield",
        "hotpatch-hook",
        "hotpatch-abi",
        "hotpatch",
    ];
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !TAKEN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_packages() {
        for name in ["count", "a-b_c9", "Count"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "9a", "-a", "a b", "a/b", "core", "fn", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_whole_sdk_goes_along() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hook/src");
        for entry in fs::read_dir(sources).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let there = format!("sdk/hook/src/{name}");
            assert!(SDK.iter().any(|(file, _)| *file == there), "{name}");
        }
    }
}
