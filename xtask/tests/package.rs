//! The package for Debian, installed into a root directory of its own: command, library, header, hooks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output, shown)
}

fn done(command: &mut Command) -> String {
    let (output, shown) = run(command);
    assert!(output.status.success(), "{command:?}: {shown}");
    shown
}

/// Copies a program, and the libraries that it needs, from this system.
fn bring(root: &Path, program: &str) {
    let needed = done(Command::new("ldd").arg(program));
    let libraries = needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for file in libraries.chain([program]) {
        let to = root.join(&file[1..]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
}

#[test]
fn it_works_where_nothing_else_is_installed() {
    let shown = done(Command::new(env!("CARGO_BIN_EXE_xtask")).arg("package"));
    let deb = shown.lines().last().unwrap();
    let parts = done(Command::new("dpkg-deb").args(["--contents", deb]));
    for part in [
        "./usr/bin/hotpatch",
        "./usr/lib/x86_64-linux-gnu/libhotpatch.so",
        "./usr/lib/x86_64-linux-gnu/pkgconfig/hotpatch.pc",
        "./usr/include/hotpatch.h",
        "./usr/share/man/man1/hotpatch.1.gz",
        "./usr/share/man/man1/hotpatch-trace.1.gz",
        "./usr/share/bash-completion/completions/hotpatch",
        "./usr/share/zsh/vendor-completions/_hotpatch",
        "./usr/share/fish/vendor_completions.d/hotpatch.fish",
        "./usr/share/doc/hotpatch/copyright",
    ] {
        let line = parts.lines().find(|line| line.ends_with(part));
        let line = line.unwrap_or_else(|| panic!("no {part} in\n{parts}"));
        assert!(line.contains(" root/root "), "{line}");
    }
    // Not for root alone: whoever cannot look into a root of his own unpacks it, and runs the command from there.
    let is_root = nix_is_root();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    if is_root {
        for dir in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "proc",
            "tmp",
            "root",
            "dev",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
        // It depends on a libc that this root has without dpkg's knowledge.
        done(
            Command::new("dpkg")
                .arg(format!("--root={}", root.display()))
                .args([
                    "--force-depends",
                    "--force-script-chrootless",
                    "--install",
                    deb,
                ]),
        );
    } else {
        done(Command::new("dpkg-deb").args(["--extract", deb]).arg(root));
    }
    for program in ["/bin/sh", "/bin/cat", "/bin/true"] {
        bring(root, program);
    }
    let needed = done(Command::new("ldd").arg(root.join("usr/bin/hotpatch")));
    for library in needed
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(&library[1..]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        if !to.exists() {
            fs::copy(library, to).unwrap();
        }
    }
    // A hook, built by what the package says of itself.
    let source = root.join("hook.c");
    fs::write(
        &source,
        "#include <hotpatch.h>\n\
         static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {\n\
         \tif (context->number != 110) return HOTPATCH_RUN;\n\
         \treturn hotpatch_answer(frame, 4242);\n}\n\
         const hotpatch_hook_t hotpatch_hook = { .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t),\n\
         \t.syscalls = HOTPATCH_ALL_SYSCALLS, .before = before };\n",
    )
    .unwrap();
    let flags = done(
        Command::new("pkg-config")
            .env(
                "PKG_CONFIG_PATH",
                root.join("usr/lib/x86_64-linux-gnu/pkgconfig"),
            )
            .env("PKG_CONFIG_SYSROOT_DIR", root)
            .env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1")
            .args(["--cflags", "--libs", "hotpatch"]),
    );
    assert!(flags.contains(root.to_str().unwrap()), "{flags}");
    let mut gcc = Command::new("gcc");
    gcc.args(flags.split_whitespace()).arg("-o");
    done(gcc.args([root.join("hook.so"), source]));

    if !is_root {
        return;
    }
    // The root directory is the package's own, and what three programs need.
    let inside = |script: &str| {
        let mounted = format!(
            "mount -t proc proc {0}/proc && HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin exec chroot {0} /bin/sh -c '{script}'",
            root.display()
        );
        done(Command::new("unshare").args(["-m", "sh", "-c", &mounted]))
    };
    assert!(inside("hotpatch --version").starts_with("hotpatch 0."));
    let shown = inside("hotpatch run -v -- /bin/true");
    assert!(shown.contains("system calls patched in"), "{shown}");
    let shown = inside("LD_PRELOAD=libhotpatch.so /bin/true");
    assert!(
        shown.contains("libc.so.6: ") && shown.contains(" stone"),
        "{shown}"
    );
    let shown = inside("hotpatch trace /bin/cat /hook.c");
    assert!(
        shown.contains("openat(AT_FDCWD, \"/hook.c\", O_RDONLY"),
        "{shown}"
    );
    let shown = inside("hotpatch run --hook /hook.so --log /dev/null /bin/sh -c \"echo \\$PPID\"");
    assert_eq!(shown, "4242\n");
}

fn nix_is_root() -> bool {
    done(Command::new("id").arg("-u")).trim() == "0"
}

#[test]
fn the_same_sources_give_the_same_library_wherever_they_lie() {
    let directory = tempfile::tempdir().unwrap();
    let files = done(
        Command::new("git")
            .args(["ls-files"])
            .current_dir(workspace()),
    );
    let build = |name: &str| {
        let copy = directory.path().join(name);
        for file in files.lines().filter(|file| !file.starts_with("docs/")) {
            let (from, to) = (workspace().join(file), copy.join(file));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
        let options = hotpatch_link::Options {
            target_dir: copy.join("target"),
            workspace: copy,
        };
        let library = hotpatch_link::build(&options).unwrap_or_else(|error| panic!("{error}"));
        fs::read(library).unwrap()
    };
    let (one, other) = (build("one"), build("quite/another/place"));
    assert!(one.len() > 100_000 && one == other);
}
