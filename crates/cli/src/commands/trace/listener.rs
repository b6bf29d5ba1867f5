//! Who is told of what a program does.

use std::io::Write;
use std::sync::Arc;

use hotpatch_decode::details;
use hotpatch_events::{links, tell};

use crate::args::Look;
use crate::count::{Both, Counter};
use crate::formats::{Format, Writer};
use crate::output::{self, Loss, Output};
use crate::trace::{Choice, Listener, Printer};

/// Who is told, once the program's first thread is known.
pub type Begin = Box<dyn FnOnce(u32) -> Box<dyn Listener + Send> + Send>;

/// How much of each call has to be told.
pub fn told(args: &Look, choice: &Choice) -> u32 {
    if args.count && choice.filter.needs_numbers_alone() {
        tell::SUMS
    } else {
        tell::ALL
    }
}

/// What has to be kept of descriptors.
pub fn links(choice: &Choice) -> u32 {
    let wanted = choice.style.descriptors;
    [
        (
            wanted != 0 || !choice.filter.needs_no_memory(),
            links::PATHS,
        ),
        (wanted & details::DEVICE != 0, links::DEVICES),
        (wanted & details::SOCKET != 0, links::SOCKETS),
    ]
    .into_iter()
    .fold(0, |all, (is, bit)| if is { all | bit } else { all })
}

/// Who prints: to the file that is asked for, or to `usual`.
pub fn listener(
    args: &Look,
    choice: Choice,
    separately: bool,
    usual: Box<dyn Write + Send>,
    loss: &Arc<Loss>,
) -> anyhow::Result<Begin> {
    let open = || match &args.output {
        Some(path) => output::open(path, args.append, loss),
        None => Ok(output::to(usual, loss)),
    };
    let counter = Counter::new(
        choice.filter.clone(),
        told(args, &choice) == tell::SUMS,
        choice.follow,
        args.json,
        args.table.clone(),
    );
    Ok(match (args.count, args.format) {
        (true, _) => {
            let counter = counter.to(open()?);
            Box::new(|_| Box::new(counter))
        }
        (_, Format::Text) => {
            let out = match &args.output {
                Some(base) if separately => Output::each(base.clone(), args.append, loss),
                _ => Output::One(open()?),
            };
            let summary = args.summary.then_some(counter);
            Box::new(|root| {
                let printer = Printer::new(out, choice, root);
                match summary {
                    Some(counter) => Box::new(Both(printer, counter)),
                    None => Box::new(printer),
                }
            })
        }
        (_, format) => {
            let out = open()?;
            Box::new(move |_| {
                let perfetto = format == Format::Perfetto;
                let (style, follow) = (choice.style, choice.follow);
                Box::new(Writer::new(out, perfetto, style, choice.filter, follow))
            })
        }
    })
}
