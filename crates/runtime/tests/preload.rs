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
    command
        .args(arguments)
        .env("LD_PRELOAD", library())
        .env("LIBHOTPATCH_CACHE", "off");
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

/// `program` in a shell that first does `setup`.
fn after(setup: &str, program: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    let library = library().display();
    command.args([
        "-c",
        &format!("{setup}; LIBHOTPATCH_CACHE=off LD_PRELOAD={library} exec {program}"),
    ]);
    command
}

#[test]
fn scarcity_is_no_reason_to_stop() {
    for setup in [
        // What is left for start-up is next to nothing; with less the loader cannot map the library's 0.8 MB.
        "ulimit -v 3300",
        "ulimit -v 5000",
        "ulimit -v 10000",
        "ulimit -v 100000",
        "ulimit -n 4",
        "ulimit -n 5",
        "ulimit -s 64",
        "ulimit -s unlimited",
        "exec 0<&-",
        "exec 0<&- 2>&-",
    ] {
        let (output, out, err) = run(&mut after(setup, "/bin/echo done"));
        assert!(output.status.success() && out == "done\n", "{setup}: {err}");
    }
}

#[test]
fn without_random_addresses_all_is_patched() {
    // As gdb starts programs. There is no gap but the one right below the libraries.
    let (output, _, err) = run(&mut patched("setarch", &["-R", "/bin/true"]));
    assert!(output.status.success());
    let all = err.lines().last().unwrap_or_default();
    assert!(
        all.contains(" files, ") && !all.contains("refused"),
        "{err}"
    );
}

#[test]
fn descriptors_are_as_natively() {
    let list = "import os; print([n for n in range(20) if os.path.exists(f'/proc/self/fd/{n}')])";
    let python = |command: &mut Command| {
        let (output, out, err) = run(command.env("LIBHOTPATCH_LOGPATH", "/dev/null"));
        assert!(output.status.success(), "{err}");
        out
    };
    assert_eq!(
        python(Command::new("/usr/bin/env").args(["python3", "-c", list])),
        python(&mut patched("/usr/bin/env", &["python3", "-c", list]))
    );
}

#[test]
fn a_log_that_cannot_be_opened_is_one_line() {
    for path in ["/nonexistent/log", "/"] {
        let (output, _, err) = run(patched("/bin/true", &[]).env("LIBHOTPATCH_LOGPATH", path));
        assert!(output.status.success());
        let lines: Vec<_> = err.lines().collect();
        assert!(lines.len() == 1 && lines[0].contains(path), "{err}");
    }
}

#[test]
fn skipped_files_stay_native() {
    let (_, _, err) = run(patched("/bin/true", &[]).env("LIBHOTPATCH_SKIP", "!*/ld-linux*"));
    for line in err
        .lines()
        .filter(|l| l.contains(" sites") && !l.contains(" files, "))
    {
        assert_eq!(
            line.contains("; skipped"),
            !line.contains("/ld-linux"),
            "{line}"
        );
    }
}

#[test]
fn a_strict_program_does_not_run_with_a_site_refused() {
    let strict = |tactics| {
        let mut command = patched("/bin/echo", &["ran"]);
        command
            .env("LIBHOTPATCH_STRICT", "1")
            .env("LIBHOTPATCH_TACTICS", tactics);
        run(&mut command)
    };
    let (output, out, err) = strict("");
    assert!(output.status.success() && out == "ran\n", "{err}");
    let (output, out, err) = strict("direct");
    assert!(output.status.code() == Some(127) && out.is_empty(), "{err}");
    assert!(
        err.lines()
            .last()
            .is_some_and(|l| l.contains("LIBHOTPATCH_STRICT")),
        "{err}"
    );
}

#[test]
fn each_tactic_alone_keeps_programs_going() {
    for tactic in [
        "direct",
        "stone",
        "before",
        "live-stone",
        "clobber",
        "evict",
    ] {
        let (native, native_out, _) = run(Command::new("/bin/ls").args(["-l", "/usr"]));
        let mut command = patched("/bin/ls", &["-l", "/usr"]);
        command
            .env("LIBHOTPATCH_TACTICS", tactic)
            .env("LIBHOTPATCH_LOGPATH", "/dev/null");
        let (patched, out, err) = run(&mut command);
        assert_eq!(
            (native.status, native_out),
            (patched.status, out),
            "{tactic}: {err}"
        );
    }
}

/// Builds a freestanding hook.
fn hook(name: &str, code: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, object) = (
        directory.join(format!("{name}.c")),
        directory.join(format!("{name}.so")),
    );
    std::fs::write(&source, code).unwrap();
    let status = Command::new("gcc")
        .arg("-I")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include"))
        .args([
            "-shared",
            "-fPIC",
            "-ffreestanding",
            "-fno-stack-protector",
            "-nostdlib",
            "-mgeneral-regs-only",
            "-o",
        ])
        .args([&object, &source])
        .status();
    assert!(status.unwrap().success(), "{name}");
    object
}

/// A hosted hook.
fn needs_a_library_that_is_gone() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, gone) = (directory.join("needs.c"), directory.join("libgone.so"));
    let code = r#"
        #include <hotpatch.h>
        extern unsigned gone(void);
        static unsigned before(hotpatch_context_t *c, hotpatch_frame_t *f) { return (void)c, (void)f, gone(); }
        const hotpatch_hook_t hotpatch_hook = { .abi = 1, .size = sizeof(hotpatch_hook_t), .before = before };
    "#;
    std::fs::write(&source, code).unwrap();
    let object = directory.join("needs.so");
    let gcc = |args: &[&str]| {
        let status = Command::new("gcc")
            .args(args)
            .current_dir(directory)
            .status();
        assert!(status.unwrap().success());
    };
    std::fs::write(
        directory.join("gone.c"),
        "unsigned gone(void) { return 0; }",
    )
    .unwrap();
    gcc(&["-shared", "-fPIC", "-o", "libgone.so", "gone.c"]);
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include");
    let include = include.to_str().unwrap();
    gcc(&[
        "-I", include, "-shared", "-fPIC", "-o", "needs.so", "needs.c", "-L.", "-lgone",
    ]);
    std::fs::remove_file(gone).unwrap();
    object
}

#[test]
fn a_hook_that_cannot_be_used_is_one_line() {
    let no_symbol = hook("no_symbol", "int nothing;");
    let needs_more = needs_a_library_that_is_gone();
    let script = Path::new(env!("CARGO_TARGET_TMPDIR")).join("script.so");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    for (path, why) in [
        ("/nonexistent/a.so", "no such file"),
        ("/dev/null", "not a regular file"),
        ("/", "not a regular file"),
        (script.to_str().unwrap(), "not an ELF file"),
        (
            no_symbol.to_str().unwrap(),
            "exports no symbol `hotpatch_hook`",
        ),
        (
            "/lib/x86_64-linux-gnu/libm.so.6",
            "exports no symbol `hotpatch_hook`",
        ),
        (
            needs_more.to_str().unwrap(),
            "libgone.so: cannot open shared object file: No such file or directory",
        ),
    ] {
        let command = || {
            let mut command = patched("/bin/echo", &["done"]);
            command.env("LIBHOTPATCH_HOOK", path);
            command
        };
        let (output, out, err) = run(&mut command());
        let lines: Vec<_> = err.lines().filter(|l| l.contains("hook ")).collect();
        assert!(
            lines.len() == 1
                && lines[0].contains(&format!("hook {path}: {why}"))
                && lines[0].ends_with("; the program runs without it"),
            "{err}"
        );
        assert!(output.status.success() && out == "done\n", "{path}");
        let strict = command()
            .env("LIBHOTPATCH_STRICT", "1")
            .env("LIBHOTPATCH_LOGPATH", "/dev/null")
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&strict.stderr);
        assert_eq!(strict.status.code(), Some(126), "{path}: {err}");
        assert!(
            strict.stdout.is_empty()
                && err.lines().count() == 1
                && err.ends_with("; the program does not run\n"),
            "{path}: {err}"
        );
    }
}

#[test]
fn a_hooks_memory_is_never_writable_and_executable() {
    let hook = hook(
        "mapped",
        r#"struct { unsigned abi, size; const char *name; unsigned flags, vectors; unsigned long syscalls[9], kinds;
               void *select, *start, *before, *after, *event, *reserved; } hotpatch_hook;
           unsigned before(void *context, void *frame) { return 0; }
           char zeros[20000];
           __typeof__(hotpatch_hook) hotpatch_hook = { 1, sizeof hotpatch_hook, "mapped", .before = before, .reserved = zeros };"#,
    );
    let (output, maps, err) =
        run(patched("/bin/cat", &["/proc/self/maps"]).env("LIBHOTPATCH_HOOK", &hook));
    assert!(output.status.success() && !err.contains("hook "), "{err}");
    let code: Vec<_> = maps
        .lines()
        .filter(|l| l.ends_with("mapped.so") && l.contains(" r-xp "))
        .collect();
    assert_eq!(code.len(), 1, "{maps}");
    assert!(!maps.contains(" rwxp "), "{maps}");
    assert!(!err.contains("mapped.so"), "a hook was patched:\n{err}");
}

/// A hook whose `start` does `code`, with the services as `s`.
fn starting(name: &str, code: &str) -> PathBuf {
    hook(
        name,
        &format!(
            r#"typedef unsigned long u64;
            struct services {{ unsigned abi, size; long (*syscall)(u64, const u64 *);
                long (*read)(void *, u64, u64), (*read_string)(void *, u64, u64), (*write)(const void *, u64, u64);
                void (*log)(const char *, u64); void (*fail)(const char *, u64);
                long (*environment)(const char *, u64, char *, u64); }};
            struct hook {{ unsigned abi, size; const char *name; unsigned flags, vectors; u64 syscalls[9], kinds;
                void *select; int (*start)(const struct services *); void *before, *after, *event, *reserved; }};
            unsigned before(void *context, void *frame) {{ return 0; }}
            int start(const struct services *s) {{ {code} }}
            struct hook hotpatch_hook = {{ 1, sizeof(struct hook), "{name}", .start = start, .before = before }};"#
        ),
    )
}

#[test]
fn a_hook_that_does_not_start_is_one_line() {
    for (name, code, why) in [
        ("unwilling", "return 13;", "access denied"),
        ("failing", "s->fail(\"no way\", 6); return 0;", "no way"),
    ] {
        let hook = starting(name, code);
        let (output, _, err) = run(patched("/bin/true", &[]).env("LIBHOTPATCH_HOOK", &hook));
        assert!(output.status.success(), "{err}");
        let expected = format!("hook {name}: cannot start: {why}; the program runs without it");
        assert_eq!(
            err.lines().filter(|l| l.contains(&expected)).count(),
            1,
            "{err}"
        );
        let (output, _, _) = run(patched("/bin/true", &[])
            .env("LIBHOTPATCH_HOOK", &hook)
            .env("LIBHOTPATCH_STRICT", "1"));
        assert_eq!(output.status.code(), Some(126));
    }
}

#[test]
fn services_copy_what_is_there_and_report_what_is_not() {
    let hook = starting(
        "asking",
        r#"
        char b[64]; const char *text = "some text"; volatile char page[8192];
        #define IS(what) if (!(what)) { s->log(#what, sizeof #what - 1); return 22; }
        IS(s->abi == 1 && s->size == sizeof *s)
        IS(s->read(b, (u64)text, 4) == 4 && b[0] == 's' && b[3] == 'e')
        IS(s->read(b, 0, 4) == -14 && s->read(b, ~0ul - 2, 8) == -14)
        IS(s->read_string(b, (u64)text, 64) == 10 && b[8] == 't' && b[9] == 0)
        IS(s->read_string(b, (u64)text, 5) == 5)
        IS(s->read_string(b, 64, 5) == -14)
        IS(s->write("xyz", (u64)page, 3) == 3 && page[2] == 'z')
        IS(s->write("xyz", (u64)start, 3) == -14)
        IS(s->environment("ASKED", 5, b, 64) == 2 && b[0] == '4' && b[1] == '2')
        IS(s->environment("ASKED", 5, b, 1) == 2)
        IS(s->environment("ASK", 3, b, 64) == -2)
        u64 nothing[6] = { 0 };
        IS(s->syscall(39, nothing) > 1)
        IS(s->syscall(9999, nothing) == -38)
        /* Two anonymous pages, the second unmapped: what is left of the first is copied. */
        u64 map[6] = { 0, 8192, 3, 0x22, -1ul, 0 };
        u64 at = s->syscall(9, map);
        u64 unmap[6] = { at + 4096, 4096 };
        IS(s->syscall(11, unmap) == 0)
        IS(s->read(b, at + 4090, 64) == 6)
        IS(s->write(b, at + 4090, 64) == 6)
        IS(s->read_string(b, at + 4096, 64) == -14)
        s->log("one\nline", 8);
        return 0;"#,
    );
    let (output, _, err) = run(patched("/bin/true", &[])
        .env("LIBHOTPATCH_HOOK", &hook)
        .env("ASKED", "42"));
    assert!(output.status.success(), "{err}");
    assert!(!err.contains("cannot start"), "{err}");
    assert!(err.contains("]: asking: one\\nline\n"), "{err}");
}

/// A hook of all system calls that fails at one of them, having changed what it may.
const FAILING: &str = r#"
    #include <hotpatch.h>
    static const hotpatch_services_t *services;
    static uint64_t calls, last;
    static int start(const hotpatch_services_t *s) {
        char text[8] = "";
        services = s;
        s->environment((const uint8_t *)"LAST", 4, (uint8_t *)text, sizeof text);
        for (char *c = text; *c; c++) last = last * 10 + *c - '0';
        return 0;
    }
    static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
        if (IN_BEFORE && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == last) {
            frame->rax = 39; frame->rdi = frame->rsi = frame->rdx = frame->r10 = 1; frame->rflags ^= 0x8d5;
            __asm__ volatile("" ::: "rbx", "r12", "r13", "r14", "r15");
            services->fail((const uint8_t *)"as it should", 12);
        }
        return IN_BEFORE ? HOTPATCH_RUN : HOTPATCH_RUN_AND_RETURN;
    }
    static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
        if (!IN_BEFORE && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == last)
            services->fail((const uint8_t *)"as it should", 12);
    }
    const hotpatch_hook_t hotpatch_hook = {
        HOTPATCH_ABI, sizeof(hotpatch_hook_t), "failing", FLAGS, 0, HOTPATCH_ALL_SYSCALLS, 0, 0, start, before, after, 0, 0,
    };"#;

#[test]
fn a_hook_that_fails_is_called_no_more_and_the_program_goes_on() {
    let script = "for i in 1 2 3; do /bin/echo $i | cat; done; (exit 3); echo $?; exit 7";
    for (n, (flags, in_before)) in [
        ("0", "1"),
        ("0", "0"),
        ("HOTPATCH_ARGUMENTS_ONLY", "1"),
        ("HOTPATCH_ARGUMENTS_ONLY", "0"),
        ("HOTPATCH_READS_ONLY", "1"),
        ("HOTPATCH_READS_ONLY", "0"),
    ]
    .into_iter()
    .enumerate()
    {
        let code = FAILING
            .replace("FLAGS", flags)
            .replace("IN_BEFORE", in_before);
        let hook = hook(&format!("failing{n}"), &code);
        let mut failed = 0;
        for last in (1..90).step_by(8) {
            let (output, out, err) = run(patched("/bin/bash", &["-c", script])
                .env("LIBHOTPATCH_HOOK", &hook)
                .env("LAST", last.to_string()));
            assert_eq!(
                (output.status.code(), &*out),
                (Some(7), "1\n2\n3\n3\n"),
                "{flags} {in_before} {last}: {err}"
            );
            failed += err
                .matches("failing: failed and is called no more: as it should")
                .count();
        }
        assert!(failed >= 8, "{flags} {in_before}: {failed}");
    }
}

/// What means nothing is taken for `RUN`, and told once; a hook that never comes back from itself ends like any fault.
#[test]
fn a_hook_that_answers_nonsense_is_told_and_the_program_goes_on() {
    let script = "for i in 1 2 3; do /bin/echo $i | cat; done; exit 7";
    for flags in [
        "0",
        "HOTPATCH_ARGUMENTS_ONLY",
        "HOTPATCH_ARGUMENTS_ONLY|HOTPATCH_READS_ONLY",
    ] {
        for others in [false, true] {
            let code = r#"
                #include <hotpatch.h>
                static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
                    (void)context, (void)frame;
                    return 77;
                }
                __attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
                    .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .name = "odd", .flags = FLAGS,
                    .syscalls = {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1}, .before = before,
                };"#
            .replace("FLAGS", flags);
            let name = format!("odd{}", flags.len());
            let hook = hook(&name, &code).display().to_string();
            let hooks = if others {
                format!("{hook}:{hook}")
            } else {
                hook
            };
            let (output, out, err) =
                run(patched("/bin/bash", &["-c", script]).env("LIBHOTPATCH_HOOK", hooks));
            assert_eq!(
                (output.status.code(), &*out),
                (Some(7), "1\n2\n3\n"),
                "{flags}: {err}"
            );
            let told = "odd: answered 77, which means nothing: the call is made";
            let mut processes: Vec<&str> = err
                .lines()
                .filter_map(|line| line.strip_suffix(told))
                .collect();
            let all = processes.len();
            processes.sort_unstable();
            processes.dedup();
            let each = if others { 2 } else { 1 };
            assert!(all > 0 && all == each * processes.len(), "{flags}: {err}");
        }
    }
}

/// What a predicate chooses and nobody can patch runs natively, and the report says why.
#[test]
fn a_choice_that_cannot_be_patched_is_refused_with_the_reason() {
    let hook = hook(
        "yes",
        r#"
        #include <hotpatch.h>
        static bool select(const hotpatch_services_t *services, const hotpatch_site_t *site) {
            return (void)services, (void)site, true;
        }
        static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
            return (void)context, (void)frame, HOTPATCH_RUN;
        }
        __attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
            .abi = HOTPATCH_ABI, .size = sizeof(hotpatch_hook_t), .name = "yes", .kinds = 1 << HOTPATCH_KIND_RDTSCP,
            .select = select, .before = before,
        };"#,
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [source, program, report] =
        ["inside.c", "inside", "inside.report"].map(|name| directory.join(name));
    // Somebody jumps into the instruction, if he ever comes.
    let code = r#"
        #include <stdio.h>
        int inside(int);
        __asm__(".text\n.type inside, @function\ninside: .cfi_startproc\n test %edi, %edi\n js 1f+1\n1: rdtscp\n mov $5, %eax\n"
                " ret\n.cfi_endproc\n.size inside, .-inside\n");
        int main(void) { return printf("%d\n", inside(1)) != 2; }"#;
    std::fs::write(&source, code).unwrap();
    let status = Command::new("gcc")
        .arg("-o")
        .args([&program, &source])
        .status();
    assert!(status.unwrap().success());
    let _ = std::fs::remove_file(&report);
    let (output, out, err) = run(patched(program.to_str().unwrap(), &[])
        .env("LIBHOTPATCH_HOOK", &hook)
        .env("LIBHOTPATCH_REPORT", &report));
    assert!(output.status.success() && out == "5\n", "{out}{err}");
    let said = std::fs::read_to_string(&report).unwrap();
    let refused = said
        .lines()
        .find(|line| line.contains("\"event\":\"site\"") && line.contains("/inside\""));
    assert!(
        refused
            .is_some_and(|line| line.contains("\"tactic\":\"refused\"")
                && line.contains("stone: target-inside")),
        "{said}"
    );
}

#[test]
fn a_hook_is_called_where_it_has_chosen_to_be() {
    let hook = hook(
        "choosing",
        r#"
        #include <hotpatch.h>
        static int is(const char *a, const char *b) {
            while (*a && *a == *b) a++, b++;
            return *a == *b;
        }
        static bool select(const hotpatch_services_t *services, const hotpatch_site_t *site) {
            bool sound = site->len == 2 && site->bytes[0] == 0x0f && site->bytes[1] == 5 && site->kind == HOTPATCH_KIND_SYSCALL
                && *(const uint16_t *)site->address == 0x050f && site->offset && site->file[0];
            return !sound || (site->symbol && is(site->symbol, "read") && site->symbol_offset < 64);
        }
        static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
            hotpatch_line_t line;
            line.len = 0;
            hotpatch_put(&line, "call ");
            hotpatch_put_number(&line, context->number);
            hotpatch_log(context->services, &line);
            return HOTPATCH_RUN;
        }
        const hotpatch_hook_t hotpatch_hook = {
            HOTPATCH_ABI, sizeof(hotpatch_hook_t), 0, 0, 0, HOTPATCH_ALL_SYSCALLS, 0, select, 0, before, 0, 0, 0,
        };"#,
    );
    // The second start has its plans from the cache.
    for _ in 0..2 {
        let (output, out, err) = run(patched(
            "/bin/bash",
            &["-c", "cat /proc/self/status | tr a-z A-Z; exit 3"],
        )
        .env("LIBHOTPATCH_HOOK", &hook));
        assert_eq!(output.status.code(), Some(3), "{err}");
        assert!(out.contains("NAME:"), "{err}");
        let calls: Vec<_> = err
            .lines()
            .filter_map(|line| line.split_once("choosing.so: call "))
            .collect();
        assert!(
            calls.len() >= 4 && calls.iter().all(|(_, what)| *what == "0"),
            "{err}"
        );
    }
}

/// A program that makes a call which its hook does not survive, with a handler for that or without.
const STRICKEN: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <sys/syscall.h>
    #include <ucontext.h>
    #include <unistd.h>
    extern char site_call[];
    long call(void);
    __asm__(".globl call, site_call\n.type call, @function\ncall: mov $1000, %eax\n nop\nsite_call: syscall\n ret\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n nop\n"
            ".size call, .-call\n");
    static int count, at;
    static void handler(int number, siginfo_t *info, void *context) {
        count += number == SIGSEGV && info->si_code == SEGV_MAPERR && info->si_addr == (void *)8;
        char *rip = (char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
        at += rip >= (char *)call && rip <= (char *)call + 32;
    }
    int main(int argc, char **argv) {
        struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
        if (argc > 1) sigaction(SIGSEGV, &action, NULL);
        for (int i = 0; i < 3; i++) {
            long value = call();
            printf("%ld, handled %d, in the program %d\n", value, count, at);
        }
        return 0;
    }"#;

/// The hook of that program.
const AT_FAULT: &str = r#"
    #include <hotpatch.h>
    static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
        if (context->number == 1000) *(volatile int *)8 = 1;
        return HOTPATCH_RUN;
    }
    const hotpatch_hook_t hotpatch_hook = {
        HOTPATCH_ABI, sizeof(hotpatch_hook_t), "faulty", 0, 0, HOTPATCH_ALL_SYSCALLS, 0, 0, 0, before, 0, 0, 0,
    };"#;

#[test]
fn a_hook_at_fault_is_named_before_the_program_gets_the_signal() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (dir.join("stricken.c"), dir.join("stricken"));
    std::fs::write(&source, STRICKEN).unwrap();
    let gcc = Command::new("gcc")
        .args(["-O1", "-o"])
        .args([&program, &source])
        .status();
    assert!(gcc.unwrap().success());
    let program = program.to_str().unwrap();
    let hook = hook("faulty", AT_FAULT);
    let named = "]: faulty: signal 11 at 0x";
    let (output, out, err) = run(patched(program, &["handler"]).env("LIBHOTPATCH_HOOK", &hook));
    assert!(output.status.success(), "{out}{err}");
    let line = "-38, handled 1, in the program 1\n";
    assert_eq!(out, line.repeat(3), "{err}");
    assert_eq!(err.matches(named).count(), 1, "{err}");
    assert!(err.contains(" for address 0x8"), "{err}");
    let (output, out, err) = run(patched(program, &[]).env("LIBHOTPATCH_HOOK", &hook));
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&output.status),
        Some(11),
        "{out}{err}"
    );
    assert_eq!(err.matches(named).count(), 1, "{err}");
}

/// A program under a filter that forbids what copies are made with, whose hook copies for it.
const FILTERING: &str = r#"
    #define _GNU_SOURCE
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <stddef.h>
    #include <stdio.h>
    #include <sys/mman.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    int main(void) {
        char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(pages + 4096, 4096);
        char *word = pages + 4096 - 8;
        __builtin_memcpy(word, "abcdefg", 8);
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
        struct sock_fprog filter = {4, code};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
        long read = syscall(1000, word), none = syscall(1000, pages + 4096), part = syscall(1000, word + 4);
        printf("%ld %ld %ld\n", read, none, part);
        return 0;
    }"#;

/// Answers with what eight bytes at its first argument add up to, or says how many there are.
const COPYING: &str = r#"
    #include <hotpatch.h>
    static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
        if (context->number != 1000) return HOTPATCH_RUN;
        uint8_t own[8];
        int64_t count = context->services->read(own, frame->rdi, 8);
        frame->rax = count == 8 ? own[0] + own[6] : count < 0 ? 5000 : 6000 + count;
        return HOTPATCH_ANSWER;
    }
    const hotpatch_hook_t hotpatch_hook = {
        HOTPATCH_ABI, sizeof(hotpatch_hook_t), "copying", 0, 0, HOTPATCH_ALL_SYSCALLS, 0, 0, 0, before, 0, 0, 0,
    };"#;

#[test]
fn hooks_copy_without_system_calls_where_the_program_has_a_filter() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (dir.join("filtering.c"), dir.join("filtering"));
    std::fs::write(&source, FILTERING).unwrap();
    let gcc = Command::new("gcc")
        .args(["-O1", "-o"])
        .args([&program, &source])
        .status();
    assert!(gcc.unwrap().success());
    let hook = hook("copying", COPYING);
    let (output, out, err) =
        run(patched(program.to_str().unwrap(), &[]).env("LIBHOTPATCH_HOOK", &hook));
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(out, "200 5000 6004\n", "{err}");
}
