//! Decides how each `syscall` instruction of an ELF image becomes a jump to a trampoline.
//!
//! Bytes in, [`Plan`] out. Nothing here knows of a running process: the same file gives the same
//! plan offline and in the program that is being started.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod addr;
#[cfg(feature = "check")]
pub mod check;
pub mod choose;
pub mod code;
pub mod decode;
mod draft;
pub mod emit;
mod ground;
pub mod image;
pub mod native;
mod number;
mod pad;
pub mod plan;
pub mod refs;
mod region;
pub mod scan;
pub mod search;
#[cfg(feature = "show")]
pub mod show;
mod site;
mod space;
pub mod store;
mod tables;
mod tactic;
mod vote;

use addr::Span;
use code::Code;
use image::Image;
use plan::{Candidate, Kinds, Plan, Tactics};
use search::Search;

/// What decides how a plan is made, besides the image.
#[derive(Clone, Copy)]
pub struct Options<'o> {
    /// The ladder.
    pub tactics: Tactics,
    /// How bytes are searched for.
    pub search: &'o dyn Search,
    /// Bytes that no plan may change, move or stand on.
    pub forbidden: &'o [Span],
    /// Which instructions are sites.
    pub kinds: Kinds,
    /// Whether sites are to state their system call's number.
    pub numbers: bool,
    /// Whether signal handlers are shown original addresses: then code that decides by the interrupted address may
    /// move like any other.
    pub signals: bool,
}

impl<'o> Options<'o> {
    /// Every `syscall` by the whole ladder, anywhere.
    #[must_use]
    pub const fn new(search: &'o dyn Search) -> Self {
        Self {
            tactics: Tactics::ALL,
            search,
            forbidden: &[],
            kinds: Kinds::SYSCALL,
            numbers: false,
            signals: false,
        }
    }
}

/// Finds the sites of `image` and decides how each is reached.
#[must_use]
pub fn plan<'i>(image: &'i Image<'i>, options: &Options<'_>) -> Plan {
    plan_selected(image, options, |_| true)
}

/// The same, for those sites that `select` says yes to. The others are left alone.
#[must_use]
pub fn plan_selected<'i>(
    image: &'i Image<'i>,
    options: &Options<'_>,
    select: impl FnMut(&Candidate) -> bool,
) -> Plan {
    let mut code = Code::new(image);
    let mut sites = scan::scan(image, options.search, options.kinds, &mut code);
    if sites.found.is_empty() {
        // most files have none: who refers to what need not be known
        return Plan::default();
    }
    sites.select(select);
    choose::choose(image, options, &mut code, &sites.found)
}
