//! The settings: environment variables whose names begin with `LIBHOTPATCH_`.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hotpatch_plan::plan::Tactics;

use crate::environment::Environment;
use crate::fnmatch;

/// Where lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nowhere.
    Nowhere,
    /// The program's own descriptor 2, as it is: its offset is shared, so that neither overwrites the other.
    Stderr,
    /// A file, appended to.
    File(CString),
}

/// Which files are left alone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Skip<'a> {
    patterns: Vec<&'a [u8]>,
    inverted: bool,
}

impl<'a> Skip<'a> {
    /// Whether nothing is skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && !self.inverted
    }

    /// Patterns between spaces, tabs, newlines and colons; a leading `!` inverts.
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Self {
        let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b':');
        let start = text.iter().position(|b| !blank(b)).unwrap_or(text.len());
        let (inverted, rest) = match text[start..].strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Self {
            patterns: rest.split(blank).filter(|p| !p.is_empty()).collect(),
            inverted,
        }
    }

    /// Whether the file at this absolute path is left alone.
    #[must_use]
    pub fn skips(&self, path: &[u8]) -> bool {
        self.patterns
            .iter()
            .any(|pattern| fnmatch::matches(pattern, path))
            != self.inverted
    }
}

/// Where plans are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Keep<'a> {
    /// In the user's own cache directory.
    #[default]
    Usual,
    /// In this directory.
    In(&'a [u8]),
    /// Nowhere.
    Nowhere,
}

/// When calls that cannot be seen otherwise are caught by signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trap {
    /// Never.
    Off,
    /// Where there is memory that cannot be patched.
    #[default]
    Auto,
    /// Also where sites have been refused.
    Always,
}

/// All settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config<'a> {
    /// `LIBHOTPATCH_LOGPATH`
    pub log: Target,
    /// `LIBHOTPATCH_REPORT`
    pub report: Target,
    /// `LIBHOTPATCH_SKIP`
    pub skip: Skip<'a>,
    /// `LIBHOTPATCH_TACTICS`
    pub tactics: Tactics,
    /// `LIBHOTPATCH_STRICT`
    pub strict: bool,
    /// `LIBHOTPATCH_CACHE`
    pub keep: Keep<'a>,
    /// `LIBHOTPATCH_HOOK_LOGPATH`: where what hooks say goes, if not to `log`.
    pub hook_log: Option<Target>,
    /// `LIBHOTPATCH_PERF=1`: trampolines are named in `/tmp/perf-PID.map`.
    pub perf: bool,
    /// `LIBHOTPATCH_VDSO=hook`: hooks see calls that never enter the kernel.
    pub vdso: bool,
    /// `LIBHOTPATCH_TRAP`
    pub trap: Trap,
    /// `LIBHOTPATCH_LAZY=1`: files are patched when they are first executed.
    pub lazy: bool,
    /// `LIBHOTPATCH_HOOK`: paths, in order.
    pub hooks: Vec<&'a [u8]>,
    /// What is wrong with the settings: a line for each.
    pub complaints: Vec<String>,
}

impl<'a> Config<'a> {
    /// Reads the settings. What cannot be understood is complained about, and has its default.
    #[must_use]
    pub fn read(environment: &Environment<'a>) -> Self {
        let mut config = Self {
            log: Target::Stderr,
            report: Target::Nowhere,
            skip: Skip::default(),
            tactics: Tactics::ALL,
            strict: false,
            keep: Keep::Usual,
            hook_log: None,
            perf: false,
            vdso: false,
            trap: Trap::Auto,
            lazy: false,
            hooks: Vec::new(),
            complaints: Vec::new(),
        };
        if environment.secure {
            // Somebody with fewer rights wrote this environment.
            config.keep = Keep::Nowhere;
            return config;
        }
        if let Some(path) = environment.get("LIBHOTPATCH_LOGPATH") {
            config.log = target(path).unwrap_or(Target::Stderr);
        }
        if let Some(path) = environment.get("LIBHOTPATCH_REPORT") {
            config.report = target(path).unwrap_or(Target::Nowhere);
        }
        if let Some(patterns) = environment.get("LIBHOTPATCH_SKIP") {
            config.skip = Skip::parse(patterns);
        }
        config.hook_log = environment.get("LIBHOTPATCH_HOOK_LOGPATH").and_then(target);
        if let Some(paths) = environment.get("LIBHOTPATCH_HOOK") {
            config.hooks = paths
                .split(|&b| b == b':')
                .filter(|p| !p.is_empty())
                .collect();
        }
        config.read_words(environment);
        config
    }

    /// Whether a setting that is 0 or 1 is 1.
    fn is_on(&mut self, environment: &Environment<'a>, name: &str) -> bool {
        match environment.get(name) {
            None | Some(b"" | b"0") => false,
            Some(b"1") => true,
            Some(other) => {
                self.complaints.push(format!(
                    "{name}: `{}` is neither 0 nor 1; using 0",
                    String::from_utf8_lossy(other)
                ));
                false
            }
        }
    }

    fn read_words(&mut self, environment: &Environment<'a>) {
        if let Some(value) = environment
            .get("LIBHOTPATCH_TACTICS")
            .filter(|v| !v.trim_ascii().is_empty())
        {
            match str::from_utf8(value)
                .map_err(|_| "bytes that are no text")
                .and_then(Tactics::parse)
            {
                Ok(tactics) => self.tactics = tactics,
                Err(word) => self.complaints.push(format!(
                    "LIBHOTPATCH_TACTICS: no tactic is called `{word}`; using all"
                )),
            }
        }
        match environment.get("LIBHOTPATCH_CACHE") {
            None | Some(b"") => {}
            Some(b"off") => self.keep = Keep::Nowhere,
            Some(path @ [b'/', ..]) => self.keep = Keep::In(path),
            Some(other) => {
                self.keep = Keep::Nowhere;
                self.complaints.push(format!(
                    "LIBHOTPATCH_CACHE: `{}` is neither off nor an absolute path; using off",
                    String::from_utf8_lossy(other)
                ));
            }
        }
        match environment.get("LIBHOTPATCH_VDSO") {
            None | Some(b"") => {}
            Some(b"hook") => self.vdso = true,
            Some(other) => self.complaints.push(format!(
                "LIBHOTPATCH_VDSO: `{}` is not hook; using nothing",
                String::from_utf8_lossy(other)
            )),
        }
        match environment.get("LIBHOTPATCH_TRAP") {
            None | Some(b"" | b"auto") => {}
            Some(b"off") => self.trap = Trap::Off,
            Some(b"always") => self.trap = Trap::Always,
            Some(other) => self.complaints.push(format!(
                "LIBHOTPATCH_TRAP: `{}` is not off, auto or always; using auto",
                String::from_utf8_lossy(other)
            )),
        }
        self.strict = self.is_on(environment, "LIBHOTPATCH_STRICT");
        self.perf = self.is_on(environment, "LIBHOTPATCH_PERF");
        self.lazy = self.is_on(environment, "LIBHOTPATCH_LAZY");
        for variable in &environment.variables {
            let name = variable.split(|&b| b == b'=').next().unwrap_or(variable);
            if name.starts_with(b"LIBHOTPATCH_")
                && !KNOWN.iter().any(|known| known.as_bytes() == name)
            {
                self.complaints.push(format!(
                    "{}: no such setting",
                    String::from_utf8_lossy(name)
                ));
            }
        }
    }
}

const KNOWN: [&str; 12] = [
    "LIBHOTPATCH_CACHE",
    "LIBHOTPATCH_HOOK",
    "LIBHOTPATCH_HOOK_LOGPATH",
    "LIBHOTPATCH_LAZY",
    "LIBHOTPATCH_LOGPATH",
    "LIBHOTPATCH_PERF",
    "LIBHOTPATCH_REPORT",
    "LIBHOTPATCH_SKIP",
    "LIBHOTPATCH_STRICT",
    "LIBHOTPATCH_TACTICS",
    "LIBHOTPATCH_TRAP",
    "LIBHOTPATCH_VDSO",
];

/// `None` where `path` is empty.
fn target(path: &[u8]) -> Option<Target> {
    Some(match path {
        b"" => return None,
        b"/dev/null" => Target::Nowhere,
        b"/proc/self/fd/2" | b"/dev/fd/2" | b"/dev/stderr" => Target::Stderr,
        _ => Target::File(CString::new(path).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotpatch_plan::plan::Tactic;

    fn read<'a>(variables: &[&'a str]) -> Config<'a> {
        let variables = variables.iter().map(|v| v.as_bytes()).collect();
        Config::read(&Environment {
            variables,
            ..Environment::default()
        })
    }

    #[test]
    fn defaults() {
        let config = read(&[
            "PATH=/bin",
            "LIBHOTPATCH_LOGPATH=",
            "LIBHOTPATCH_TACTICS=",
            "LIBHOTPATCH_STRICT=",
        ]);
        assert_eq!(
            (&config.log, &config.report),
            (&Target::Stderr, &Target::Nowhere)
        );
        assert!(config.tactics == Tactics::ALL && !config.strict && config.complaints.is_empty());
        assert!(!config.skip.skips(b"/lib/libc.so.6"));
    }

    #[test]
    fn skips_what_matches_any_pattern() {
        let skip = Skip::parse(b" */libc.so*\t/usr/bin/true:\n*ld-linux*");
        assert!(skip.skips(b"/usr/lib/libc.so.6") && skip.skips(b"/usr/bin/true"));
        assert!(skip.skips(b"/lib64/ld-linux-x86-64.so.2") && !skip.skips(b"/usr/bin/ls"));
    }

    #[test]
    fn inverted_skips_all_the_rest() {
        for text in [&b"!*/libc.so*:[vdso]"[..], b" ! */libc.so*"] {
            let skip = Skip::parse(text);
            assert!(!skip.skips(b"/usr/lib/libc.so.6") && skip.skips(b"/usr/bin/ls"));
        }
        assert!(Skip::parse(b"!").skips(b"/usr/bin/ls"));
    }

    #[test]
    fn hooks_keep_their_order() {
        let config = read(&["LIBHOTPATCH_HOOK=/b.so::a.so:"]);
        assert_eq!(config.hooks, [&b"/b.so"[..], b"a.so"]);
    }

    #[test]
    fn tactics_are_named() {
        let config = read(&["LIBHOTPATCH_TACTICS=stone,before"]);
        assert!(config.tactics.has(Tactic::Stone) && !config.tactics.has(Tactic::Clobber));
        let config = read(&["LIBHOTPATCH_TACTICS=stone,stick"]);
        assert_eq!(config.tactics, Tactics::ALL);
        assert_eq!(
            config.complaints,
            ["LIBHOTPATCH_TACTICS: no tactic is called `stick`; using all"]
        );
    }

    #[test]
    fn plans_are_kept_where_the_setting_says() {
        for (value, keep, complaints) in [
            ("", Keep::Usual, 0),
            ("off", Keep::Nowhere, 0),
            ("/a b", Keep::In(b"/a b"), 0),
            ("plans", Keep::Nowhere, 1),
        ] {
            let variable = format!("LIBHOTPATCH_CACHE={value}");
            let config = read(&[&variable]);
            assert_eq!((config.keep, config.complaints.len()), (keep, complaints));
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let config = read(&["LIBHOTPATCH_STRICT=yes", "LIBHOTPATCH_SKIPS=x"]);
        assert_eq!(config.complaints.len(), 2, "{:?}", config.complaints);
        let vdso = read(&["LIBHOTPATCH_VDSO=hook", "LIBHOTPATCH_PERF=1"]);
        assert!(!config.vdso && vdso.vdso && !config.perf && vdso.perf);
        assert!(vdso.complaints.is_empty(), "{:?}", vdso.complaints);
        let odd = read(&["LIBHOTPATCH_VDSO=1"]);
        assert!(!odd.vdso && odd.complaints[0].contains("`1` is not hook"));
        assert!(!config.strict && read(&["LIBHOTPATCH_STRICT=1"]).strict);
        let odd = read(&["LIBHOTPATCH_TRAP=on"]);
        assert_eq!((odd.trap, odd.complaints.len()), (Trap::Auto, 1));
        assert_eq!(read(&["LIBHOTPATCH_TRAP=off"]).trap, Trap::Off);
    }

    #[test]
    fn every_setting_is_known() {
        for (name, value) in [("TRAP", "always"), ("VDSO", "hook"), ("STRICT", "1")] {
            let variable = format!("LIBHOTPATCH_{name}={value}");
            assert_eq!(read(&[&variable]).complaints, [""; 0]);
        }
    }

    #[test]
    fn the_environment_of_a_privileged_program_is_not_read() {
        let variables = vec![
            &b"LIBHOTPATCH_LOGPATH=/etc/passwd"[..],
            b"LIBHOTPATCH_SKIP=*",
        ];
        let config = Config::read(&Environment {
            variables,
            secure: true,
            ..Environment::default()
        });
        assert_eq!((config.log, config.skip), (Target::Stderr, Skip::default()));
        assert_eq!(config.keep, Keep::Nowhere);
    }
}
