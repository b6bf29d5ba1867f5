//! Who is told of what a program does.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use hotpatch_decode::details;
use hotpatch_events::{links, tell};

use crate::args::{Look, Table};
use crate::count::{Both, By, Counter};
use crate::formats::{Format, Writer};
use crate::output::{self, Loss, Output};
use crate::trace::{Choice, Listener, Printer};

/// Who is told, once the program's first thread is known.
pub type Begin = Box<dyn FnOnce(u32) -> Box<dyn Listener + Send> + Send>;

/// How much of each call has to be told.
pub fn told(args: &Look, choice: &Choice) -> u32 {
    let by = args.table.by;
    if !args.count || !choice.filter.needs_numbers_alone() || needs_descriptors(args) {
        tell::ALL
    } else if by == Some(By::Site) || args.table.interval.is_some() {
        tell::ENDS
    } else {
        tell::SUMS
    }
}

/// Whether calls are counted by what descriptors lead to.
fn needs_descriptors(args: &Look) -> bool {
    matches!(args.table.by, Some(By::File | By::Peer))
}

/// What has to be kept of descriptors.
pub fn links(args: &Look, choice: &Choice) -> u32 {
    let wanted = choice.style.descriptors;
    let by_peer = args.table.by == Some(By::Peer);
    [
        (
            wanted != 0
                || !choice.filter.needs_no_memory()
                || needs_descriptors(args)
                || choice.stacks,
            links::PATHS,
        ),
        (choice.stacks, links::STACKS),
        (wanted & details::DEVICE != 0, links::DEVICES),
        (wanted & details::SOCKET != 0 || by_peer, links::SOCKETS),
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
    let table = Table {
        is_painted: args.output.is_none() && io::stderr().is_terminal(),
        ..args.table.clone()
    };
    let counter = Counter::new(
        choice.filter.clone(),
        told(args, &choice) != tell::ALL,
        choice.follow,
        args.json,
        table,
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
            Box::new(move |_| Box::new(Writer::new(out, format == Format::Perfetto, choice)))
        }
    })
}
