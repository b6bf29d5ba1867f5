//! The library, built and linked as it is delivered, in programs of this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime");
        hotpatch_link::build(&hotpatch_link::Options {
            workspace,
            target_dir,
        })
        .unwrap_or_else(|e| panic!("{e}"))
    })
}

fn patched(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("LD_PRELOAD", library());
    command
}

fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn programs_do_as_natively() {
    for (program, arguments) in [
        ("/bin/true", &[][..]),
        ("/bin/ls", &["-l", "/usr"]),
        (
            "/bin/bash",
            &[
                "-c",
                "for i in 1 2 3; do /bin/echo $i; done | sort -r; exit 7",
            ],
        ),
    ] {
        let (native, native_out, _) = run(Command::new(program).args(arguments));
        let (patched, out, err) =
            run(patched(program, arguments).env("LIBHOTPATCH_LOGPATH", "/dev/null"));
        assert_eq!(
            (native.status, native_out),
            (patched.status, out),
            "{program}: {err}"
        );
        assert_eq!(err, "", "{program}");
    }
}

#[test]
fn the_log_says_what_was_done() {
    let (output, _, err) = run(&mut patched("/bin/true", &[]));
    assert!(output.status.success());
    let libc = err
        .lines()
        .find(|l| l.contains("libc.so"))
        .unwrap_or_else(|| panic!("no line for libc:\n{err}"));
    assert!(
        libc.contains(" stone") && libc.contains(" us (find "),
        "{libc}"
    );
    assert!(
        err.lines()
            .next()
            .is_some_and(|l| l.ends_with(": /bin/true")),
        "{err}"
    );
    assert!(
        err.lines().last().is_some_and(|l| l.contains(" files, ")),
        "{err}"
    );
    assert!(!err.contains("libhotpatch.so"), "it patched itself:\n{err}");
}
