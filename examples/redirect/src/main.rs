//! Shows a program another directory in place of one: all that it does below it happens elsewhere.
#![no_std]
#![no_main]

mod buffer;
mod socket;

use hotpatch_hook::{
    Context, Errno, Event, Hook, Setting, SyscallSet, Text, Verdict, export_hook, nr, path,
};

/// `/from=/to` pairs, between colons.
static PAIRS: Setting<4096> = Setting::new("REDIRECT");

struct Redirect;

impl Hook for Redirect {
    const SYSCALLS: SyscallSet = path::CALLS.with(&[nr::GETCWD, nr::CONNECT, nr::BIND, nr::SENDTO]);
    const ARGUMENTS_ONLY: bool = true;

    fn start(&self) -> Result<(), Errno> {
        PAIRS.load()
    }

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        let number = context.number();
        // What cannot be read or changed is the kernel's to judge, as the program has it.
        let _ = match number {
            nr::CONNECT | nr::BIND => socket::redirect(context, 1, 2),
            nr::SENDTO => socket::redirect(context, 4, 5),
            _ => redirect(context),
        };
        match number {
            nr::GETCWD | nr::READLINK | nr::READLINKAT => Verdict::RunAndReturn,
            _ => Verdict::Run,
        }
    }

    fn after(&self, context: &mut Context<'_>) {
        let (at, size) = match context.number() {
            nr::READLINKAT => (2, 3),
            nr::READLINK => (1, 2),
            _ => (0, 1),
        };
        let (at, size) = (context.argument(at), context.argument(size));
        if let Ok(len) = context.result()
            && let Some(result) = shown(context, at, size, len)
        {
            context.set_result(result);
        }
    }

    fn event(&self, event: Event, slot: &mut u64) {
        if event == Event::ThreadEnd {
            buffer::free(slot);
        }
    }
}

/// Puts another path in place of each that is redirected.
fn redirect(context: &mut Context<'_>) -> Result<(), Errno> {
    for (n, &argument) in path::arguments(context.number()).iter().enumerate() {
        let whole = path::absolute(context, argument)?;
        if let Some(elsewhere) = exchanged(whole.bytes(), |pair| pair) {
            let copy = buffer::keep(context.slot(), n, elsewhere.bytes())?;
            context.set_argument(argument.index, copy);
        }
    }
    Ok(())
}

/// `path` with the first directory that it begins with exchanged; it ends with a zero byte.
fn exchanged<'p>(
    path: &[u8],
    order: impl Fn((&'p [u8], &'p [u8])) -> (&'p [u8], &'p [u8]),
) -> Option<Text<{ path::MAX }>> {
    let pairs = PAIRS.get()?.split(|b| *b == b':');
    let pairs = pairs.filter_map(|pair| {
        let middle = pair.iter().position(|b| *b == b'=')?;
        Some((&pair[..middle], &pair[middle + 1..]))
    });
    pairs.map(order).find_map(|(from, to)| {
        let rest = path::below(path, from)?;
        let mut whole = Text::new();
        (whole.push(to) && whole.push(rest) && whole.push(b"\0")).then_some(whole)
    })
}

/// Changes a path that the kernel has written at `at` into the one the program knows: what the call answers then.
fn shown(context: &Context<'_>, at: u64, size: u64, len: u64) -> Option<Result<u64, Errno>> {
    let mut buffer = [0; path::MAX];
    let bytes = buffer.get_mut(..len as usize)?;
    hotpatch_hook::read_bytes(at, bytes).ok()?;
    // getcwd counts its zero, readlink has none.
    let is_string = context.number() == nr::GETCWD;
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let known = exchanged(text, |(from, to)| (to, from))?;
    let known = known.bytes();
    let new = if is_string {
        known
    } else {
        &known[..known.len() - 1]
    };
    if new.len() as u64 > size && is_string {
        return Some(Err(Errno::ERANGE));
    }
    let new = &new[..new.len().min(size as usize)];
    hotpatch_hook::write_bytes(at, new).ok()?;
    Some(Ok(new.len() as u64))
}

export_hook! {
    static REDIRECT: Redirect = Redirect;
}
