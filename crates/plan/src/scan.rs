//! Which of the byte pairs `0f 05` are `syscall` instructions.

use alloc::vec::Vec;

use crate::addr::Va;
use crate::code::{Code, Kind, Trust};
use crate::decode::Reader;
use crate::image::Image;
use crate::plan::{Candidate, SiteKind};
use crate::search::Search;
use crate::vote;

/// What became of every byte pair `0f 05` in the code of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sites {
    /// The `syscall` instructions, ascending.
    pub found: Vec<Candidate>,
    /// The pairs that lie inside other instructions or in data, ascending.
    pub rejected: Vec<Va>,
}

impl Sites {
    /// Keeps selected what `select` says yes to; it is asked once for each.
    pub fn select(&mut self, mut select: impl FnMut(&Candidate) -> bool) {
        for candidate in &mut self.found {
            candidate.selected = select(candidate);
        }
    }
}

/// Finds every `syscall` instruction of `image`.
///
/// Only the byte pairs are looked at. Inside a known function that decodes from its start to its end, the pair
/// is a site if that decoding has a `syscall` there; elsewhere the vote decides, unless a symbol calls it data.
/// Without section headers nobody says which bytes of a segment are code at all (older links put read-only data
/// there, of which the vote takes one pair in a thousand for a site), so there only known functions have sites.
pub fn scan<'i>(image: &'i Image<'i>, search: &dyn Search, code: &mut Code<'i>) -> Sites {
    let mut sites = Sites::default();
    for span in &image.code {
        let Some(bytes) = usize::try_from(span.len())
            .ok()
            .and_then(|len| image.read(span.start, len))
        else {
            continue;
        };
        let mut reader = Reader::new(bytes, span.start).within(image.span());
        search.syscalls(bytes, &mut |offset| {
            let at = span.start + offset as u64;
            let true_site = match in_function(code, at) {
                Some(decided) => decided,
                None => {
                    image.has_section_headers()
                        && !image.is_data(at)
                        && vote::begins_at(&mut reader, offset)
                }
            };
            if true_site {
                sites.found.push(Candidate {
                    at,
                    kind: SiteKind::Syscall,
                    len: 2,
                    selected: true,
                });
            } else {
                sites.rejected.push(at);
            }
        });
    }
    code.expect(sites.found.iter().map(|site| site.at));
    sites
}

/// What the decoding of the function around `at` says; `None` where there is none to be trusted.
fn in_function(code: &mut Code<'_>, at: Va) -> Option<bool> {
    code.function(at)?;
    let region = code.region(at)?;
    (region.trust == Trust::Function).then(|| {
        region
            .insn_at(at)
            .is_some_and(|insn| insn.kind == Kind::Syscall)
    })
}
