//! The command `hotpatch`: runs programs with their system calls patched, and plans files offline.

mod args;
mod attach;
mod cache;
mod clock;
mod columns;
mod commands;
mod count;
mod dump;
mod events;
mod filter;
mod formats;
mod hook;
mod lender;
mod output;
mod pairs;
mod program;
mod record;
mod report;
mod sockets;
mod stacks;
mod start;
mod style;
mod supervise;
mod symbols;
mod trace;

use std::ffi::OsString;

use clap::Parser;

use crate::args::{Args, Command};

/// Does what the command line says: the exit status.
#[must_use]
pub fn run(words: Vec<OsString>) -> i32 {
    let args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return error.exit_code();
        }
    };
    let (result, failed) = match args.command {
        Command::Run(args) => (commands::run::run(args), commands::run::FAILED),
        Command::Trace(args) => (commands::trace::run(&args), commands::run::FAILED),
        Command::Count(args) => (
            commands::trace::run(&args.as_trace()),
            commands::run::FAILED,
        ),
        Command::Detach(args) => (commands::attach::detach(&args), commands::run::FAILED),
        Command::View(args) => (commands::view::run(&args), 1),
        Command::Inspect(args) => (commands::inspect::run(&args), 1),
        Command::NewHook(args) => (commands::new_hook::run(&args), 1),
        Command::Doctor(args) => (commands::doctor::run(&args), commands::run::FAILED),
        Command::Gdb(args) => (commands::gdb::run(&args), commands::run::FAILED),
        Command::Lib => (commands::lib::run(), 1),
        Command::Completions { shell } => (commands::shell::completions(shell), 1),
        Command::Man { dir } => (commands::shell::man(&dir), 1),
    };
    result.unwrap_or_else(|error| {
        if !style::is_broken_pipe(&error) {
            style::error(&format!("{error:#}"));
        }
        failed
    })
}
