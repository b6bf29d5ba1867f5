//! Places, outcomes and reasons in words.

use alloc::format;
use alloc::string::{String, ToString};

use crate::addr::Va;
use crate::image::Image;
use crate::plan::{Native, Outcome, Refusal, Site};

/// `read+0x13`, or the address where no symbol covers it.
#[must_use]
pub fn name(image: &Image<'_>, at: Va) -> String {
    match image.symbol_at(at) {
        Some((symbol, 0)) => symbol.to_string(),
        Some((symbol, offset)) => format!("{symbol}+{offset:#x}"),
        None => at.to_string(),
    }
}

/// Why a site stays native, in words.
#[must_use]
pub fn why_native(image: &Image<'_>, native: &Native) -> String {
    match native {
        Native::Restorer => "no tables: unwinders know a signal frame by these bytes".to_string(),
        Native::AddressTaken { from } => {
            format!("the address after it is taken at {}", name(image, *from))
        }
    }
}

/// Why a tactic could not be used, in words.
#[must_use]
pub fn why_refused(image: &Image<'_>, refusal: &Refusal) -> String {
    let name = |at: &Va| name(image, *at);
    match refusal {
        Refusal::NotAllowed => "not allowed".to_string(),
        Refusal::NoPad => "no padding within reach".to_string(),
        Refusal::Taken { at } => format!("{} belongs to another change", name(at)),
        Refusal::TargetInside { at, from } => format!("{} jumps to {}", name(from), name(at)),
        Refusal::UnknownJump { at } => format!("nobody knows where {} jumps", name(at)),
        Refusal::Immovable { at } => format!("{} cannot run elsewhere", name(at)),
        Refusal::NoRoom => "the function ends too soon".to_string(),
        Refusal::Forbidden { at } => format!("{} may not change", name(at)),
        Refusal::Untrusted => "nobody knows where instructions begin here".to_string(),
    }
}

/// What became of a site, in a word: a tactic's name, `native` or `refused`.
#[must_use]
pub fn outcome(site: &Site) -> &'static str {
    match &site.outcome {
        Outcome::Patched { tactic, .. } => tactic.name(),
        Outcome::Native(_) => "native",
        Outcome::Refused(_) => "refused",
        Outcome::NotSelected => "not-selected",
    }
}
