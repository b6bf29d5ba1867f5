//! What the command line says, as whoever prints and whoever does things to calls take it.

use hotpatch_decode::expression::{Expression, Status, quiet};
use hotpatch_decode::{Escapes, Style, details};

use crate::args::{Hexadecimal, Look, Moment};
use crate::clock::{Epoch, Precision, Stamp};
use crate::commands::trace::deeds::Deeds;
use crate::filter::Filter;
use crate::style;
use crate::trace::Choice;

/// What is told and how, and what is done to calls.
pub fn choice(args: &Look, follow: bool, named: bool) -> anyhow::Result<(Choice, Deeds)> {
    let mut deeds = Deeds::default();
    let mut choice = Choice {
        filter: Filter::default(),
        status: None,
        whole: None,
        raw: None,
        followed: None,
        quiet: match args.quiet {
            0 => 0,
            1 => quiet::ATTACH | quiet::PERSONALITY,
            2 => quiet::ATTACH | quiet::PERSONALITY | quiet::EXIT,
            _ => quiet::ALL,
        },
        style: Style {
            text: args.size,
            verbose: args.verbose,
            escapes: escapes(args),
            column: args.column,
            descriptors: match args.descriptors {
                0 => 0,
                1 => details::PATH,
                _ => details::PATH | details::DEVICE | details::SOCKET,
            },
            ..Style::default()
        },
        follow,
        named,
        stamp: stamp(args),
        spans: args.syscall_times.or(args.spans.then_some(Precision::Us)),
        places: args.places,
        numbers: args.numbers,
        stacks: args.stacks,
        read: None,
        written: None,
    };
    if args.successful_only {
        choice.status = Some(vec![Status::Successful]);
    } else if args.failed_only {
        choice.status = Some(vec![Status::Failed]);
    }
    for expression in args.choice.all() {
        match expression {
            Expression::Trace(calls) => choice.filter.calls = Some(calls),
            Expression::Status(status) => choice.status = Some(status),
            Expression::Descriptors(others, fds) => choice.filter.descriptors = Some((others, fds)),
            Expression::Read(others, fds) => choice.read = Some((others, fds)),
            Expression::Written(others, fds) => choice.written = Some((others, fds)),
            Expression::Whole(calls) => choice.whole = Some(calls),
            Expression::Raw(calls) => choice.raw = Some(calls),
            Expression::Followed(calls) => choice.followed = Some(calls),
            Expression::Details(details) => choice.style.descriptors = details,
            Expression::Quiet(messages) => choice.quiet = messages,
            Expression::Signals(signals) => choice.filter.no_signals = !signals,
            Expression::Inject(inject) => deeds.add(&inject)?,
        }
    }
    for path in &args.paths {
        let real = choice.filter.add_path(path);
        if let Some(real) = real.filter(|_| choice.quiet & quiet::PATH_RESOLUTION == 0) {
            let (path, real) = (path.display(), real.display());
            style::error(&format!(
                "Requested path \"{path}\" resolved into \"{real}\""
            ));
        }
    }
    deeds.only(&choice.filter)?;
    Ok((choice, deeds))
}

fn escapes(args: &Look) -> Escapes {
    match (args.strings_in_hex, args.hexadecimal) {
        (Some(Hexadecimal::All), _) => Escapes::AllHex,
        (Some(Hexadecimal::NonAscii), _) => Escapes::Hex,
        (Some(Hexadecimal::NonAsciiChars), _) => Escapes::HexChars,
        (Some(Hexadecimal::None), _) | (None, 0) => Escapes::Octal,
        (None, 1) => Escapes::Hex,
        (None, _) => Escapes::AllHex,
    }
}

fn stamp(args: &Look) -> Stamp {
    let mut absolute = match args.time {
        0 => None,
        1 => Some((Epoch::Day, Precision::S)),
        2 => Some((Epoch::Day, Precision::Us)),
        _ => Some((Epoch::Unix, Precision::Us)),
    };
    for word in &args.absolute_timestamps {
        let precision = absolute.map_or(Precision::S, |(_, precision)| precision);
        absolute = match *word {
            Moment::None => None,
            Moment::Time => Some((Epoch::Day, precision)),
            Moment::Unix => Some((Epoch::Unix, precision)),
            Moment::Precision(precision) => {
                Some((absolute.map_or(Epoch::Day, |(epoch, _)| epoch), precision))
            }
        };
    }
    Stamp {
        absolute,
        relative: args
            .relative_timestamps
            .or(args.relative.then_some(Precision::Us)),
    }
}
