//! `hotpatch view`: a recorded trace, printed again.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::args::View;
use crate::commands::trace::{choice, listener};
use crate::events::Chunks;
use crate::output::Loss;
use crate::record::{Broken, Reader};
use crate::style;

/// Prints the file: 1 if it is not whole.
pub fn run(args: &View) -> anyhow::Result<i32> {
    let name = args.file.display().to_string();
    let bar = ProgressBar::hidden();
    let from: Box<dyn Read> = if name == "-" {
        Box::new(io::stdin())
    } else {
        let file = File::open(&args.file).with_context(|| name.clone())?;
        bar.set_length(file.metadata()?.len());
        Box::new(Shown {
            file,
            at: 0,
            bar: bar.clone(),
            begun: Instant::now(),
            is_shown: false,
            may_be: !io::stdout().is_terminal() || args.look.output.is_some(),
        })
    };
    let loss = Arc::new(Loss::default());
    let printed = print(args, BufReader::with_capacity(1 << 16, from), &loss);
    if !bar.is_hidden() {
        bar.finish_and_clear();
    }
    match printed {
        Ok(()) => {}
        Err(Stop::Broken(broken)) => {
            style::error(&format!("{name}: {broken}"));
            return Ok(1);
        }
        Err(Stop::Other(error)) => return Err(error),
    }
    if let Some((why, lines)) = loss.is().filter(|_| !loss.is_unread()) {
        style::error(&format!("{why}: {lines} lines could not be written"));
        return Ok(1);
    }
    Ok(0)
}

/// A file; what has been read of it is shown where that takes longer than a second and nothing else is to be seen.
struct Shown {
    file: File,
    at: u64,
    bar: ProgressBar,
    begun: Instant,
    is_shown: bool,
    may_be: bool,
}

impl Read for Shown {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.at += count as u64;
        if self.may_be && !self.is_shown && self.begun.elapsed() > Duration::from_secs(1) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.is_shown = true;
        }
        if self.is_shown {
            self.bar.set_position(self.at);
        }
        Ok(count)
    }
}

/// Why the rest is not printed.
enum Stop {
    Broken(Broken),
    Other(anyhow::Error),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn print(args: &View, from: impl Read, loss: &Arc<Loss>) -> Result<(), Stop> {
    let mut reader = Reader::new(from)?;
    let mut first = reader.first()?;
    let (mut choice, deeds) = choice::choice(&args.look, first.follow, first.follow)?;
    for (wrong, why) in [
        (
            !deeds.rules.is_empty(),
            "-e inject: these calls have been made already",
        ),
        (
            args.look.table.interval.is_some(),
            "--interval: the program has ended",
        ),
    ] {
        if wrong {
            return Err(Stop::Other(anyhow::anyhow!(why)));
        }
    }
    choice.style.text = choice.style.text.min(first.text);
    let out = Box::new(io::stdout());
    let separately = args.look.output_separately;
    let begin = listener::listener(&args.look, choice, separately, out, loss)?;
    let mut listener = begin(first.record.tid);
    let told = listener
        .begins(first.record, &Chunks(&mut first.kept))
        .map_err(Broken::from)
        .and_then(|()| reader.tell(&mut *listener, || loss.is_unread()));
    if told.is_err() {
        listener.break_off().map_err(Broken::from)?;
    }
    listener.flush().map_err(Broken::from)?;
    Ok(told?)
}
