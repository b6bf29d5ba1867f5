//! `hotpatch run --hook` and `hotpatch new-hook`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Place, text};

/// A project that the command makes: the words say which kind, and last its name.
fn new_project(place: &Place, words: &[&str]) -> PathBuf {
    let made = place
        .hotpatch()
        .args(words)
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(
        text(&made.stdout).contains("hotpatch run --hook "),
        "{}",
        text(&made.stdout)
    );
    place.dir.path().join(words[words.len() - 1])
}

/// A build as a person would start it: without what cargo has set for these tests.
fn build(program: &str, args: &[&str], directory: &Path, target: &Path) {
    let mut command = Command::new(program);
    command.args(args).current_dir(directory);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let ours = name.starts_with("CARGO") && name != "CARGO_HOME"
            || name.starts_with("RUST") && name != "RUSTUP_HOME";
        if ours && name != "RUSTUP_TOOLCHAIN" {
            command.env_remove(name);
        }
    }
    let output = command.env("CARGO_TARGET_DIR", target).output().unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        text(&output.stderr)
    );
}

/// A hook that does nothing.
fn nothing(place: &Place) -> PathBuf {
    let source = place.dir.path().join("nothing.c");
    let object = place.dir.path().join("nothing.so");
    let code = "#include <hotpatch.h>
        static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) { return HOTPATCH_RUN; }
        const hotpatch_hook_t hotpatch_hook = { .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .before = before };";
    fs::write(&source, code).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let flags = [
        "-shared",
        "-fPIC",
        "-ffreestanding",
        "-nostdlib",
        "-mgeneral-regs-only",
    ];
    let status = Command::new("gcc")
        .args(flags)
        .arg("-I")
        .arg(include)
        .arg("-o")
        .args([&object, &source])
        .status();
    assert!(status.unwrap().success());
    object
}

#[test]
fn a_new_hook_builds_and_runs() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    for (kind, program, args, object) in [
        (
            &["new-hook", "opens"][..],
            "cargo",
            &["build", "--release", "--offline"][..],
            "x86_64-unknown-none/release/opens",
        ),
        (
            &["new-hook", "--c", "opens-c"],
            "make",
            &["--no-print-directory"],
            "",
        ),
    ] {
        let name = kind[kind.len() - 1];
        let project = new_project(&place, kind);
        build(program, args, &project, &target);
        let object = if object.is_empty() {
            project.join("opens-c.so")
        } else {
            target.join(object)
        };
        let output = place.output(&[
            "run",
            "--hook",
            object.to_str().unwrap(),
            "--",
            "cat",
            "/etc/hostname",
            "/nonexistent",
        ]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert_eq!(output.stdout, fs::read("/etc/hostname").unwrap());
        assert!(
            err.contains(&format!("]: {name}: /etc/hostname is descriptor 3\n")),
            "{err}"
        );
        assert!(err.contains(&format!("]: {name}: /nonexistent: ")), "{err}");
        assert!(
            !err.contains("files, "),
            "the library's own lines are shown:\n{err}"
        );
        let again = place
            .hotpatch()
            .args(kind)
            .current_dir(place.dir.path())
            .output()
            .unwrap();
        assert_eq!(again.status.code(), Some(1));
        assert_eq!(
            text(&again.stderr),
            format!("hotpatch: {name}: is there already\n")
        );
    }
}

#[test]
fn a_new_hosted_hook_builds_and_runs() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    for (kind, program, args, object, says) in [
        (
            &["new-hook", "--hosted", "count-opens"][..],
            "cargo",
            &["build", "--release", "--offline"][..],
            "release/libcount_opens.so",
            &["     1 /etc/hostname\n", "     1 /nonexistent\n"][..],
        ),
        (
            &["new-hook", "--c", "--hosted", "opens-c"],
            "make",
            &["--no-print-directory"],
            "",
            &[
                "opens-c: /etc/hostname is descriptor 3\n",
                "opens-c: /nonexistent: No such file or directory\n",
                " files\n",
            ],
        ),
    ] {
        let project = new_project(&place, kind);
        build(program, args, &project, &target);
        let object = if object.is_empty() {
            project.join("opens-c.so")
        } else {
            target.join(object)
        };
        let object = object.to_str().unwrap();
        // Of the second program too, which another has executed.
        let script = "exec cat /etc/hostname /nonexistent";
        let output = place.output(&["run", "--hook", object, "--", "sh", "-c", script]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert_eq!(output.stdout, fs::read("/etc/hostname").unwrap());
        for line in says {
            assert!(err.contains(line), "{err}");
        }
        bears_real_programs(&place, object);
        let hosts_none = [
            // no loader
            (&["-static"][..], "hosted hooks need a program"),
            // a malloc that knows its threads
            (
                &["-fsanitize=thread", "-static-libtsan"],
                "is built with -fsanitize=thread",
            ),
            (&["-fsanitize=thread"], "is built with -fsanitize=thread"),
        ];
        for (flags, why) in hosts_none {
            refused(&place, object, flags, why);
        }
    }
}

/// A program built with these flags runs without a hosted hook, or not at all.
fn refused(place: &Place, object: &str, flags: &[&str], why: &str) {
    let built = place.dir.path().join("built");
    let source = place.dir.path().join("built.c");
    fs::write(&source, "int main(void) { return 5; }").unwrap();
    let status = Command::new("gcc")
        .args(flags)
        .arg("-o")
        .args([&built, &source])
        .status();
    assert!(status.unwrap().success());
    let program = built.to_str().unwrap();
    for (more, status) in [(&[][..], 5), (&["--strict"][..], 126)] {
        let mut args = vec!["run", "--hook", object];
        args.extend_from_slice(more);
        args.extend(["--", program]);
        let output = place.output(&args);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{err}");
        assert!(err.contains(why), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

/// With a hosted hook programs do what they do, and the hook sees what they open.
fn bears_real_programs(place: &Place, object: &str) {
    let python = "import threading, subprocess, hashlib, os\n\
        ts = [threading.Thread(target=lambda: hashlib.sha256(open('/etc/passwd', 'rb').read()).digest()) for _ in range(20)]\n\
        [t.start() for t in ts]; [t.join() for t in ts]\n\
        print(subprocess.run(['sh', '-c', 'cat /etc/hostname; exit 3'], capture_output=True).returncode, 0.1 + 0.2)";
    let perl = "use threads; my @t = map { threads->create(sub { open my $f, '<', '/etc/hostname'; $_[0] ** 0.5 }, $_) } 1 .. 8; \
        print join(' ', map { $_->join } @t), \"\\n\"; exit 7";
    let sql = "create table t(a); with recursive c(x) as (select 1 union all select x + 1 from c where x < 2000) \
        insert into t select x * 1.5 from c; select sum(a), avg(a), printf('%.4f', max(a) / 7) from t;";
    let node = "const fs = require('fs'); console.log(fs.readFileSync('/etc/hostname').length > 0, Math.sqrt(2)); \
        require('child_process').execSync('true'); setTimeout(() => process.exit(4), 5)";
    for command in [
        &["/usr/bin/python3", "-c", python][..],
        &["/usr/bin/perl", "-e", perl],
        &["/usr/bin/sqlite3", ":memory:", sql],
        &[
            "/bin/bash",
            "-c",
            "for i in 1 2 3; do (echo $i; cat /etc/hostname) | sort; done; exit 6",
        ],
        &["/usr/bin/git", "-C", "/", "hash-object", "/etc/passwd"],
        &["/usr/bin/redis-cli", "--version"],
        &["/usr/bin/node", "-e", node],
        &["/usr/bin/java", "-XX:+UseSerialGC", "-Xmx64m", "-version"],
    ] {
        let (program, args) = command.split_first().unwrap();
        let native = Command::new(program).args(args).output().unwrap();
        let mut patched = vec!["run", "--hook", object, "--", program];
        patched.extend(args);
        let patched = place.output(&patched);
        let err = text(&patched.stderr);
        assert_eq!(
            text(&patched.stdout),
            text(&native.stdout),
            "{program}: {err}"
        );
        assert_eq!(
            patched.status.code(),
            native.status.code(),
            "{program}: {err}"
        );
        // jemalloc's calls are what hooks see of that one; it opens nothing.
        let opens = err.contains("/etc/") || err.contains(" files");
        assert!(opens || program.ends_with("redis-cli"), "{program}: {err}");
    }
}

/// A hook in Rust that panics ends, and the program goes on.
#[test]
fn a_hosted_hook_that_panics_is_called_no_more() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    let made = place
        .hotpatch()
        .args(["new-hook", "--hosted", "panics"])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
    let project = place.dir.path().join("panics");
    let source = r#"
        use hotpatch_hook::{Context, Hook, Verdict, export_hook};
        struct Panics;
        impl Hook for Panics {
            fn before(&self, context: &mut Context<'_>) -> Verdict {
                panic!("call {} it is", context.number());
            }
        }
        export_hook! { static HOOK: Panics = Panics; }
    "#;
    fs::write(project.join("src/lib.rs"), source).unwrap();
    build("cargo", &["build", "--offline"], &project, &target);
    let object = target.join("debug/libpanics.so");
    let object = object.to_str().unwrap();
    let output = place.output(&["run", "--hook", object, "--", "/bin/echo", "there"]);
    let err = text(&output.stderr);
    assert_eq!(text(&output.stdout), "there\n", "{err}");
    let failed = err.lines().filter(|line| {
        line.contains(": panics: failed and is called no more: call ") && line.ends_with(" it is")
    });
    assert_eq!(failed.count(), 1, "{err}");
}

#[test]
fn a_hook_that_cannot_be_used_is_told_before_the_program_runs() {
    let place = Place::new();
    for (path, why) in [
        ("/nonexistent.so", "No such file or directory"),
        ("/", "Is a directory"),
        ("/bin/true", "exports no symbol `hotpatch_hook`"),
        ("/etc/hostname", "not an ELF file"),
    ] {
        let output = place.output(&["run", "--hook", path, "--", "echo", "ran"]);
        assert_eq!(output.status.code(), Some(126));
        assert_eq!(
            text(&output.stderr),
            format!("hotpatch: hook {path}: {why}\n")
        );
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn hooks_are_found_from_wherever_the_program_goes() {
    let place = Place::new();
    let hook = nothing(&place);
    let output = place
        .hotpatch()
        .args(["run", "--log", "log", "--hook", "nothing.so", "--hook"])
        .arg(&hook)
        .args(["--", "sh", "-c", "cd / && /bin/echo there"])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "there\n", "{}", text(&output.stderr));
    let log = std::fs::read_to_string(place.dir.path().join("log")).unwrap();
    let called = log.lines().filter(|l| l.contains("hooks are called at"));
    assert_eq!(called.count(), 2, "{log}");
    assert!(!log.contains("nothing.so: "), "{log}");
}

#[test]
fn names_that_are_none_are_refused() {
    let place = Place::new();
    for name in ["9", "a b", "fn", "core", ".."] {
        let output = place.output(&["new-hook", name]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("a hook's name is made of"),
            "{}",
            text(&output.stderr)
        );
    }
}

/// The first block of this language in `docs/hooks.md`.
fn example(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/hooks.md");
    let page = fs::read_to_string(page).unwrap();
    let begin = format!("```{language}\n");
    let block = page.split_once(&begin).expect("a block").1;
    block.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_documented_hooks_do_what_is_said() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    for (language, source, program, args) in [
        ("rust", "src/main.rs", "cargo", &["build", "--offline"][..]),
        ("c", "nodirs.c", "make", &[]),
    ] {
        let directory = place.dir.path().join(language);
        fs::create_dir(&directory).unwrap();
        let words: &[&str] = if language == "c" {
            &["new-hook", "--c", "nodirs"]
        } else {
            &["new-hook", "nodirs"]
        };
        let made = place
            .hotpatch()
            .args(words)
            .current_dir(&directory)
            .output()
            .unwrap();
        assert!(made.status.success());
        let project = directory.join("nodirs");
        fs::write(project.join(source), example(language)).unwrap();
        build(program, args, &project, &target);
        let object = if language == "c" {
            project.join("nodirs.so")
        } else {
            target.join("x86_64-unknown-none/debug/nodirs")
        };
        let made = directory.join("x");
        let output = place.output(&[
            "run",
            "--hook",
            object.to_str().unwrap(),
            "--",
            "mkdir",
            made.to_str().unwrap(),
        ]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{language}: {err}");
        assert!(
            err.contains("Operation not permitted") && !made.exists(),
            "{language}: {err}"
        );
        assert_eq!(
            language == "rust",
            err.contains("]: nodirs: mkdir refused\n"),
            "{err}"
        );
    }
}
