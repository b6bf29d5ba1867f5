//! `include/hotpatch.h`: `crates/abi` in C.

use std::path::Path;

use anyhow::Context;
use cbindgen::{Builder, Config, DocumentationStyle, Language, Style};

/// The names in C. Constants lose their module, so they get it back here.
const NAMES: &[(&str, &str)] = &[
    ("ABI", "HOTPATCH_ABI"),
    ("ARGUMENTS_ONLY", "HOTPATCH_ARGUMENTS_ONLY"),
    ("READS_ONLY", "HOTPATCH_READS_ONLY"),
    ("NO_THREAD_STATE", "HOTPATCH_NO_THREAD_STATE"),
    ("SIGNALS", "HOTPATCH_SIGNALS"),
    ("kind::SYSCALL", "HOTPATCH_KIND_SYSCALL"),
    ("kind::INT80", "HOTPATCH_KIND_INT80"),
    ("kind::SYSENTER", "HOTPATCH_KIND_SYSENTER"),
    ("kind::RDTSC", "HOTPATCH_KIND_RDTSC"),
    ("kind::RDTSCP", "HOTPATCH_KIND_RDTSCP"),
    ("kind::CPUID", "HOTPATCH_KIND_CPUID"),
    ("kind::RDRAND", "HOTPATCH_KIND_RDRAND"),
    ("kind::RDSEED", "HOTPATCH_KIND_RDSEED"),
    ("kind::XGETBV", "HOTPATCH_KIND_XGETBV"),
    ("kind::RDGSBASE", "HOTPATCH_KIND_RDGSBASE"),
    ("kind::WRGSBASE", "HOTPATCH_KIND_WRGSBASE"),
    ("verdict::RUN", "HOTPATCH_RUN"),
    ("verdict::RUN_AND_RETURN", "HOTPATCH_RUN_AND_RETURN"),
    ("verdict::ANSWER", "HOTPATCH_ANSWER"),
    ("event::THREAD_START", "HOTPATCH_THREAD_START"),
    ("event::THREAD_END", "HOTPATCH_THREAD_END"),
    ("event::FORK_CHILD", "HOTPATCH_FORK_CHILD"),
    ("event::BEFORE_EXEC", "HOTPATCH_BEFORE_EXEC"),
    ("event::EXIT", "HOTPATCH_EXIT"),
    ("event::SIGNAL", "HOTPATCH_SIGNAL"),
    ("event::SIGNAL_RETURN", "HOTPATCH_SIGNAL_RETURN"),
    ("interrupted::NOWHERE", "HOTPATCH_INTERRUPTED_NOWHERE"),
    ("interrupted::BEFORE", "HOTPATCH_INTERRUPTED_BEFORE"),
    ("interrupted::ENDED", "HOTPATCH_INTERRUPTED_ENDED"),
    ("interrupted::AGAIN", "HOTPATCH_INTERRUPTED_AGAIN"),
    (
        "interrupted::AGAIN_UNSEEN",
        "HOTPATCH_INTERRUPTED_AGAIN_UNSEEN",
    ),
    ("vectors::ALL", "HOTPATCH_VECTORS_ALL"),
    ("vectors::NONE", "HOTPATCH_VECTORS_NONE"),
    ("vectors::XMM", "HOTPATCH_VECTORS_XMM"),
    ("vectors::YMM", "HOTPATCH_VECTORS_YMM"),
    ("Frame", "hotpatch_frame_t"),
    ("Site", "hotpatch_site_t"),
    ("Signal", "hotpatch_signal_t"),
    ("Context", "hotpatch_context_t"),
    ("SyscallSet", "hotpatch_syscall_set_t"),
    ("Services", "hotpatch_services_t"),
    ("Hook", "hotpatch_hook_t"),
    ("SyscallFn", "hotpatch_syscall_fn"),
    ("CopyFn", "hotpatch_copy_fn"),
    ("LogFn", "hotpatch_log_fn"),
    ("FailFn", "hotpatch_fail_fn"),
    ("EnvironmentFn", "hotpatch_environment_fn"),
    ("SelectFn", "hotpatch_select_fn"),
    ("StartFn", "hotpatch_start_fn"),
    ("BeforeFn", "hotpatch_before_fn"),
    ("AfterFn", "hotpatch_after_fn"),
    ("EventFn", "hotpatch_event_fn"),
];

const BEGIN: &str = include_str!("header.begin.h");
const END: &str = include_str!("header.end.h");

/// Makes the header from the sources in `workspace`.
///
/// # Errors
/// What is wrong with them.
pub fn header(workspace: &Path) -> anyhow::Result<String> {
    let mut config = Config {
        language: Language::C,
        style: Style::Both,
        documentation_style: DocumentationStyle::C99,
        no_includes: true,
        usize_is_size_t: true,
        tab_width: 4,
        line_length: 110,
        ..Config::default()
    };
    config.export.exclude = vec!["SYMBOL".to_owned()];
    // No function leads to them: what is exported is a value.
    config.export.include = vec!["Hook".to_owned()];
    config.export.rename = NAMES
        .iter()
        .map(|(rust, c)| {
            (
                rust.rsplit(':').next().unwrap_or(rust).to_owned(),
                (*c).to_owned(),
            )
        })
        .collect();
    let bindings = Builder::new()
        .with_config(config)
        .with_src(workspace.join("crates/abi/src/lib.rs"))
        .generate()
        .context("crates/abi")?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text)?;
    Ok(format!("{BEGIN}\n{}\n\n{END}", in_c(&text)))
}

/// Links of the documentation, as C names them.
fn in_c(text: &str) -> String {
    let mut text = text.to_owned();
    for (rust, c) in NAMES {
        text = text.replace(&format!("[`{rust}`]"), &format!("`{c}`"));
        text = text.replace(
            &format!("`{}`", rust.rsplit(':').next().unwrap_or(rust)),
            &format!("`{c}`"),
        );
    }
    // What is left names a module, or a field of a type.
    for (rust, c) in [
        ("[`kind`]", "`HOTPATCH_KIND_...`"),
        (
            "a [`verdict`]",
            "`HOTPATCH_RUN`, `HOTPATCH_RUN_AND_RETURN` or `HOTPATCH_ANSWER`",
        ),
        ("[`vectors`]", "`HOTPATCH_VECTORS_...`"),
        ("[`interrupted`]", "`HOTPATCH_INTERRUPTED_...`"),
        (
            "an [`event`]",
            "`HOTPATCH_THREAD_START` to `HOTPATCH_SIGNAL_RETURN`",
        ),
        ("[`SYMBOL`]", "`hotpatch_hook`"),
        ("Rust", "C"),
    ] {
        text = text.replace(rust, c);
    }
    for name in [
        "Site::kind",
        "Hook::event",
        "Hook::flags",
        "Hook::vectors",
        "Hook::start",
        "verdict::RUN_AND_RETURN",
    ] {
        let last = name.rsplit(':').next().unwrap_or(name);
        text = text.replace(&format!("[`{name}`]"), &format!("`{last}`"));
    }
    text.trim().to_owned()
}
