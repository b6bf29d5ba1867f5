//! Unix sockets: their addresses are paths.

use hotpatch_hook::{Context, Errno};

use crate::{buffer, exchanged};

/// `AF_UNIX`, as it stands at the start of an address.
const UNIX: [u8; 2] = [1, 0];
/// Of a path in an address.
const MOST: usize = 108;

/// Puts another address in place of the one in argument `at`, whose length is in argument `len`.
pub fn redirect(context: &mut Context<'_>, at: usize, len: usize) -> Result<(), Errno> {
    let mut address = [0; 2 + MOST];
    let given = (context.argument(len) as usize).min(address.len());
    if given <= UNIX.len() {
        return Ok(());
    }
    let done = hotpatch_hook::read_bytes(context.argument(at), &mut address[..given])?;
    let Some(path) = address[..done].strip_prefix(&UNIX) else {
        return Ok(());
    };
    let path = path.split(|b| *b == 0).next().unwrap_or(&[]);
    // Relative ones begin where the program is, which has been redirected already.
    if !path.starts_with(b"/") {
        return Ok(());
    }
    if let Some(elsewhere) = exchanged(path, |pair| pair) {
        let elsewhere = elsewhere.bytes();
        let mut new = [0; 2 + MOST];
        new[..2].copy_from_slice(&UNIX);
        new[2..]
            .get_mut(..elsewhere.len())
            .ok_or(Errno::ENAMETOOLONG)?
            .copy_from_slice(elsewhere);
        let new_len = 2 + elsewhere.len();
        let copy = buffer::keep(context.slot(), 0, &new[..new_len])?;
        context.set_argument(at, copy);
        context.set_argument(len, new_len as u64);
    }
    Ok(())
}
