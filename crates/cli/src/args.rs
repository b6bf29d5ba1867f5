//! What can be said on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

mod trace;

pub use trace::{Count, Hexadecimal, Look, Moment, Table, Trace, View};

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};
use hotpatch_plan::plan::{Kinds, SiteKind, Tactic, Tactics};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  hotpatch run -v -- ls -l           run ls, then show what was patched
  hotpatch run --log calls.log make  the same for a whole build, into a file
  hotpatch trace ls -l               each call, as strace prints it
  hotpatch run --hook count.so ls    your own code in place of each call
  hotpatch new-hook count            a hook to start from, in Rust or (--c) in C
  hotpatch inspect /bin/bash         what would be patched, without running it
  LD_PRELOAD=$(hotpatch lib) ls      the library alone

Each command has more in its own help: hotpatch run --help";

const RUN_EXAMPLES: &str = "\
Examples:
  hotpatch run -- ls -l
  hotpatch run -v -- python3 -c 'print(1)'
  hotpatch run --skip '!*/libc.so.6' -- ls    patch the C library alone
  hotpatch run --hook count.so --hook deny.so -- ls    ask hooks at each call, in this order
  hotpatch run --tactics direct,stone -- ls   change no byte of live code but the sites
  hotpatch run --hook count.so -p 4711        ask a hook in a process that runs already, until Ctrl-C

Exit status: the program's own; a program that was killed by a signal ends hotpatch by the same
signal. 127 if the program is not found, 126 if it cannot be run or a hook cannot be used, 125 if
hotpatch itself fails. With -p: 0, or 1 if no process could be attached to, or one not detached from.";

const DETACH_EXAMPLES: &str = "\
Examples:
  hotpatch detach 4711
  hotpatch detach $(pidof redis-server)

Exit status: 1 if any of them could not be put back.";

const INSPECT_EXAMPLES: &str = "\
Examples:
  hotpatch inspect /usr/lib/x86_64-linux-gnu/libc.so.6
  hotpatch inspect --sites /bin/bash
  hotpatch inspect --asm read /usr/lib/x86_64-linux-gnu/libc.so.6
  hotpatch inspect --json /bin/* | jq .sites
  hotpatch inspect --kinds rdtsc,cpuid --sites /bin/bash

Exit status: 1 if a file could not be planned or a plan did not pass its check.";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  hotpatch doctor             as a table
  hotpatch doctor --json | jq '.[] | select(.state == \"limits\")'

Exit status: 1 if something here limits which programs can be patched, or how.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hotpatch completions bash >~/.local/share/bash-completion/completions/hotpatch
  hotpatch completions zsh >~/.zfunc/_hotpatch
  hotpatch completions fish >~/.config/fish/completions/hotpatch.fish

Exit status: 2 if it is none of these shells.";

const MAN_EXAMPLES: &str = "\
Examples:
  hotpatch man ~/.local/share/man/man1
  hotpatch man pages && man -l pages/hotpatch-trace.1

Exit status: 1 if they cannot be written.";

const GDB_EXAMPLES: &str = "\
Examples:
  hotpatch gdb -p 4711               a running program
  hotpatch gdb PROGRAM core          what one left behind
  hotpatch gdb --args ls -l          set LD_PRELOAD there to debug a patched start
  hotpatch gdb --script >>~/.config/hotpatch.py

Exit status: gdb's own; 125 if it cannot be started.";

const NEW_HOOK_EXAMPLES: &str = "\
Examples:
  hotpatch new-hook count
  hotpatch new-hook --c count

Exit status: 1 if the directory is there already or cannot be written.";

/// Turns the system calls of a running program into jumps to trampolines
#[derive(Parser, Debug)]
#[command(name = "hotpatch", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a program with its system calls patched
    Run(Run),
    /// Run a program and print each system call, as strace does
    Trace(Box<Trace>),
    /// Run a program and count its system calls
    Count(Count),
    /// Put running programs back to what they were before hotpatch patched them
    Detach(Detach),
    /// Print a recorded trace again, in any form
    View(Box<View>),
    /// Plan files without running anything, and show what would become of each system call
    Inspect(Inspect),
    /// Write a project to start a hook from
    NewHook(NewHook),
    /// Say what this kernel and container allow, and what follows
    Doctor(Doctor),
    /// Start gdb so that it sees through trampolines and hooks
    Gdb(Gdb),
    /// Print the path of the library, for LD_PRELOAD=$(hotpatch lib)
    Lib,
    /// Print what a shell completes hotpatch by
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The directory, which is made where it is missing
        #[arg(value_name = "DIRECTORY")]
        dir: PathBuf,
    },
}

/// Run a program with its system calls patched.
#[derive(clap::Args, Debug)]
#[command(after_help = RUN_EXAMPLES)]
pub struct Run {
    /// A hook: a shared object that is asked at each system call. Several are asked in order
    #[arg(long, value_name = "FILE")]
    pub hook: Vec<PathBuf>,
    /// Files not to patch: patterns as for fnmatch(3), separated by spaces or colons; a leading `!`
    /// means all others
    #[arg(long, value_name = "PATTERNS")]
    pub skip: Option<OsString>,
    /// Append the library's log to this file
    #[arg(long, value_name = "PATH")]
    pub log: Option<PathBuf>,
    /// Append each site and what became of it to this file, as lines of JSON
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
    /// Use these ways to reach a trampoline alone, separated by commas
    #[arg(long, value_name = "LIST", value_parser = tactics, long_help = tactics_help())]
    pub tactics: Option<TacticList>,
    /// End the program if a setting is wrong or a system call cannot be patched
    #[arg(long)]
    pub strict: bool,
    /// Show what was patched when the program has ended
    #[arg(short, long)]
    pub verbose: bool,
    /// Patch these processes, which run already, until they end or hotpatch is interrupted
    #[arg(short = 'p', long, value_name = "PID", value_delimiter = ',')]
    #[arg(conflicts_with_all = ["strict", "report", "tactics"])]
    pub attach: Vec<Pid>,
    /// The program and its arguments
    #[arg(
        required_unless_present = "attach",
        conflicts_with = "attach",
        trailing_var_arg = true
    )]
    #[arg(value_names = ["PROGRAM", "ARGS"])]
    pub program: Vec<OsString>,
}

/// Put running programs back to what they were.
#[derive(clap::Args, Debug)]
#[command(after_help = DETACH_EXAMPLES)]
pub struct Detach {
    /// The processes
    #[arg(required = true, value_name = "PID", value_delimiter = ',')]
    pub processes: Vec<Pid>,
}

/// The number of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pid(pub i32);

impl std::str::FromStr for Pid {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word.trim().parse() {
            Ok(pid) if pid > 0 => Ok(Self(pid)),
            _ => Err("not the number of a process".to_owned()),
        }
    }
}

/// Say what this kernel and container allow, and what follows.
#[derive(clap::Args, Debug)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct Doctor {
    /// As one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Start gdb so that it sees through trampolines and hooks.
#[derive(clap::Args, Debug)]
#[command(after_help = GDB_EXAMPLES)]
pub struct Gdb {
    /// Print what gdb is told, and start nothing
    #[arg(long)]
    pub script: bool,
    /// gdb's own arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub arguments: Vec<OsString>,
}

/// Write a project to start a hook from.
#[derive(clap::Args, Debug)]
#[command(after_help = NEW_HOOK_EXAMPLES)]
pub struct NewHook {
    /// In C, with a Makefile, rather than in Rust
    #[arg(long)]
    pub c: bool,
    /// With libc or std: for programs that glibc loads alone
    #[arg(long)]
    pub hosted: bool,
    /// The directory to make; its last part is the hook's name
    #[arg(value_name = "NAME")]
    pub path: PathBuf,
}

/// Plan files without running anything.
#[derive(clap::Args, Debug)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct Inspect {
    /// ELF files: programs, libraries, static or not
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// List each system call: address, symbol, what becomes of it
    #[arg(long)]
    pub sites: bool,
    /// One JSON object for each file, on a line of its own
    #[arg(long, conflicts_with = "asm")]
    pub json: bool,
    /// Show the code before and after, with stones and trampoline: of the sites in function SITE or at
    /// address 0xSITE, or of all
    #[arg(long, value_name = "SITE", num_args = 0..=1, default_missing_value = "")]
    pub asm: Option<String>,
    /// Plan these instructions in place of `syscall`, separated by commas
    #[arg(long, value_name = "LIST", value_parser = kinds, long_help = kinds_help())]
    pub kinds: Option<Kinds>,
    /// Use these ways to reach a trampoline alone, separated by commas
    #[arg(long, value_name = "LIST", value_parser = tactics, long_help = tactics_help())]
    pub tactics: Option<TacticList>,
}

/// A set of tactics and the words that named it.
#[derive(Clone, Debug)]
pub struct TacticList {
    /// As the library reads it from its environment.
    pub words: String,
    /// As the planner takes it.
    pub set: Tactics,
}

fn tactics(words: &str) -> Result<TacticList, String> {
    match Tactics::parse(words) {
        Ok(set) => Ok(TacticList {
            words: words.to_owned(),
            set,
        }),
        Err(word) => Err(format!(
            "no tactic is called {word:?}; there are {}",
            tactic_names()
        )),
    }
}

fn tactic_names() -> String {
    Tactic::ALL.map(Tactic::name).join(", ")
}

fn tactics_help() -> String {
    format!(
        "Use these ways to reach a trampoline alone, separated by commas: {}",
        tactic_names()
    )
}

fn kinds(words: &str) -> Result<Kinds, String> {
    Kinds::parse(words).map_err(|word| {
        format!(
            "no instruction is called {word:?}; there are {}",
            kind_names()
        )
    })
}

fn kind_names() -> String {
    SiteKind::ALL.map(SiteKind::name).join(", ")
}

fn kinds_help() -> String {
    format!(
        "Plan these instructions in place of `syscall`, separated by commas: {}",
        kind_names()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_is_its_own() {
        let args = Args::try_parse_from(["hotpatch", "run", "-v", "ls", "-v", "--log", "--", "x"])
            .unwrap();
        let Command::Run(run) = args.command else {
            panic!("not a run")
        };
        assert!(run.verbose && run.log.is_none());
        assert_eq!(run.program, ["ls", "-v", "--log", "--", "x"]);
    }

    #[test]
    fn asm_may_stand_before_the_file_with_its_site_joined() {
        let args = Args::try_parse_from(["hotpatch", "inspect", "--asm=read", "/bin/ls"]).unwrap();
        let Command::Inspect(inspect) = args.command else {
            panic!("not an inspect")
        };
        assert_eq!(
            (inspect.asm.as_deref(), inspect.files.len()),
            (Some("read"), 1)
        );
    }

    #[test]
    fn a_wrong_kind_is_named() {
        let error = kinds("rdtsc,ud2").unwrap_err();
        assert!(
            error.contains("\"ud2\"") && error.contains("int80"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_tactic_is_named() {
        let error = tactics("stone,bogus").unwrap_err();
        assert!(
            error.contains("\"bogus\"") && error.contains("live-stone"),
            "{error}"
        );
    }
}
