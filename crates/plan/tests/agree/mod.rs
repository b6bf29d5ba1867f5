//! A random program before and after: what `cargo test` and the fuzz target have in common.

use arbitrary::{Result, Unstructured};
use hotpatch_plan::plan::{Emission, Tactic, Tactics};

use crate::generator::{self, COUNTER, Kind, Program};
use crate::minimise::{case, minimise};
use crate::native::{Ended, Mapping, State, run};
use crate::synthetic::{DATA_LEN, TEXT, data_at};
use crate::trial::{Place, ladders, listing, patched, planned, summary};

/// Runs from so many states for each program.
const STATES: usize = 6;

/// Sites drawn and sites that the whole ladder patched.
#[derive(Default)]
pub struct Count {
    /// Of all programs.
    pub sites: usize,
    /// Of those, by the whole ladder.
    pub patched: usize,
}

/// Draws a program and runs it, as it is and patched by each ladder.
///
/// # Panics
/// If the two differ in what they leave.
pub fn agrees(u: &mut Unstructured<'_>, count: &mut Count) -> Result<()> {
    let program = generator::program(u, Kind::Any)?;
    let place = Place::draw(u)?;
    let states = (0..STATES).map(|_| state(u)).collect::<Result<Vec<_>>>()?;
    let native = outcome(&program, place, None, &states);
    assert!(
        matches!(native, Ended::Well(_)),
        "ends natively: {native:?}\n{}",
        listing(&program)
    );
    let mut seen = Vec::new();
    for tactics in ladders() {
        let (plan, emission) = planned(&program, tactics, place);
        assert!(
            !place.bounds || plan.sites.len() == program.sites.len(),
            "finds all sites\n{}",
            listing(&program)
        );
        if tactics == Tactics::ALL && place.bounds {
            count.sites += plan.sites.len();
            count.patched += patched(&plan);
        }
        if emission.patches.is_empty() || seen.contains(&emission) {
            continue;
        }
        let moved = outcome(&program, place, Some(&emission), &states);
        if moved != native {
            fail(&program, tactics, place, &states);
        }
        seen.push(emission);
    }
    Ok(())
}

/// Makes a case of a program that does something else when it is patched.
fn fail(program: &Program, tactics: Tactics, place: Place, states: &[State]) -> ! {
    let both = |program: &Program| {
        let (plan, emission) = planned(program, tactics, place);
        let native = outcome(program, place, None, states);
        let moved = outcome(program, place, Some(&emission), states);
        (plan, native, moved)
    };
    let small = minimise(program, |program| {
        let (_, native, moved) = both(program);
        matches!(native, Ended::Well(_)) && native != moved
    });
    let only = Tactic::ALL
        .into_iter()
        .find(|&tactic| tactics == Tactics::NONE.with(tactic));
    let case = case(&small, only.map(Tactic::name), "random");
    let (plan, native, moved) = both(&small);
    let which = match (&native, &moved) {
        (Ended::Well(native), Ended::Well(moved)) => {
            let differs = native.iter().zip(moved).find(|(n, m)| n != m);
            let (native, moved) = differs.expect("as many runs");
            let mut bytes = native.memory.iter().zip(&moved.memory);
            let at = bytes.position(|(n, m)| n != m);
            format!("memory at {at:x?}\n{:x?}\n{:x?}", native.state, moved.state)
        }
        _ => format!("{moved:?}"),
    };
    let what = format!("{tactics:?}\n{}{}", summary(&plan), listing(&small));
    panic!("differs, now {}: {which}\n{what}", case.display());
}

/// Draws a state to start from: small numbers are as likely as large ones.
fn state(u: &mut Unstructured<'_>) -> Result<State> {
    let mut word = || -> Result<u64> {
        let word: u64 = u.arbitrary()?;
        Ok(if word & 3 == 0 { word >> 2 & 0xf } else { word })
    };
    let mut general = [0; 16];
    for register in &mut general {
        *register = word()?;
    }
    let mut vector = [[0; 4]; 16];
    for register in vector.iter_mut().flatten() {
        *register = word()?;
    }
    Ok(State::new(general, word()?, vector))
}

fn mappings(program: &Program, place: Place, patches: Option<&Emission>) -> Vec<Mapping> {
    let mut text = program.text.clone();
    let mut mappings = Vec::new();
    if let Some(emission) = patches {
        for patch in &emission.patches {
            let bytes = &patch.bytes[..usize::from(patch.len)];
            let offset = (patch.at.0 - TEXT) as usize;
            text[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        if !emission.code.is_empty() {
            let at = emission.base.0 + place.bias;
            mappings.push(Mapping {
                at,
                bytes: emission.code.clone(),
                code: true,
            });
        }
    }
    let mut data = vec![0x33; DATA_LEN as usize];
    data[COUNTER as usize..][..4].copy_from_slice(&6_u32.to_le_bytes());
    mappings.push(Mapping {
        at: data_at(text.len()) + place.bias,
        bytes: data,
        code: false,
    });
    mappings.push(Mapping {
        at: TEXT + place.bias,
        bytes: text,
        code: true,
    });
    mappings
}

/// Runs `program` as it is, or patched by `patches`, once from each of `states`.
fn outcome(program: &Program, place: Place, patches: Option<&Emission>, states: &[State]) -> Ended {
    let entry = TEXT + program.entry as u64 + place.bias;
    run(&mappings(program, place, patches), entry, states)
}
