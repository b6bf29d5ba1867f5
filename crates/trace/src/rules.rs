//! What is done to calls: answers in place of the kernel, signals, delays.

use core::sync::atomic::Ordering;

use hotpatch_events::{Rule, kind};
use hotpatch_hook::{nr, syscall};
use hotpatch_names::When;

use crate::pool;
use crate::ring::{Ring, long, rules, word};

/// A rule that applies to the call that is about to be made.
pub struct Applied {
    index: u8,
    rule: &'static Rule,
    poked: bool,
}

/// The rule that applies to the call, if one does. What it writes ahead of the call is written.
pub fn look(ring: &Ring, number: u32, args: &[u64; 6]) -> Option<Applied> {
    let index = rules().iter().rposition(|rule| has(rule, number))?;
    let rule = rules().get(index)?;
    if !ring.is_ruled() || !pool::names(number.into(), args) {
        return None;
    }
    // Relaxed: this thread's alone.
    let count = word(ring.shared().counts.get(number as usize)?).fetch_add(1, Ordering::Relaxed);
    if !applies(rule, u64::from(count) + 1) {
        return None;
    }
    let index = index as u8;
    Some(Applied {
        index,
        rule,
        poked: pool::poke(index, When::Entry, args),
    })
}

/// Does what the rule says of the call. What it answers in place of the kernel, if it does, and the flags of its record.
pub fn before(ring: &Ring, applied: &Applied, args: &[u64; 6]) -> Option<(u64, u32)> {
    let Applied { index, rule, poked } = *applied;
    let shared = ring.shared();
    sleep(rule.delay_enter);
    let (signals, delay) = (
        rule.signal.checked_sub(1).map_or(0, |n| 1 << n),
        rule.delay_exit,
    );
    if rule.flags & Rule::ANSWERS == 0 {
        long(&raw const shared.delay).store(delay, Ordering::Relaxed);
        long(&raw const shared.signals).store(signals, Ordering::Relaxed);
        word(&raw const shared.rule).store(u32::from(index) + 1, Ordering::Relaxed);
        word(&raw const shared.poked).store(u32::from(poked), Ordering::Relaxed);
        return None;
    }
    let poked = pool::poke(index, When::Exit, args) | poked;
    sleep(delay);
    send(ring, signals);
    let delayed = if delay == 0 { 0 } else { kind::DELAYED };
    let poked = if poked { kind::POKED } else { 0 };
    Some((rule.answer, kind::INJECTED | delayed | poked))
}

/// Does what is left to do when the call has ended: the flags of its record.
pub fn after(ring: &Ring, args: &[u64; 6]) -> u32 {
    let shared = ring.shared();
    let rule = word(&raw const shared.rule);
    let Some(index) = rule.load(Ordering::Relaxed).checked_sub(1) else {
        return 0;
    };
    rule.store(0, Ordering::Relaxed);
    let mut flags = 0;
    let poked = pool::poke(index as u8, When::Exit, args);
    if poked || word(&raw const shared.poked).load(Ordering::Relaxed) != 0 {
        flags |= kind::POKED;
    }
    send(
        ring,
        long(&raw const shared.signals).swap(0, Ordering::Relaxed),
    );
    let delay = long(&raw const shared.delay).swap(0, Ordering::Relaxed);
    if delay != 0 {
        sleep(delay);
        flags |= kind::DELAYED;
    }
    flags
}

/// Sends signals to the thread, bit 0 for signal 1. They come when the hook has returned.
fn send(ring: &Ring, signals: u64) {
    let shared = ring.shared();
    let pid = word(&raw const shared.teller_pid).load(Ordering::Relaxed);
    let tid = word(&raw const shared.teller_tid).load(Ordering::Relaxed);
    for signal in (1..=64).filter(|signal| signals >> (signal - 1) & 1 != 0) {
        // As a tracer's signals come: from nobody.
        let mut info = [0u32; 32];
        (info[0], info[2]) = (signal, SI_KERNEL);
        let at = info.as_ptr().addr() as u64;
        let args = [pid.into(), tid.into(), signal.into(), at, 0, 0];
        // SAFETY: reads `info`; the program is to be sent it.
        let _ = unsafe { syscall(nr::RT_TGSIGQUEUEINFO, args) };
    }
}

/// Where a signal says that it is from.
const SI_KERNEL: u32 = 0x80;

fn has(rule: &Rule, number: u32) -> bool {
    let word = rule.calls.get(number as usize / 64);
    word.is_some_and(|word| word >> (number % 64) & 1 != 0)
}

fn applies(rule: &Rule, ordinal: u64) -> bool {
    let turn = match rule.step {
        0 => ordinal == rule.first,
        step => {
            ordinal >= rule.first
                && ordinal <= rule.last
                && (ordinal - rule.first).is_multiple_of(step)
        }
    };
    turn && (rule.rate == u64::MAX || random(rule.seed.wrapping_add(ordinal)) <= rule.rate)
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn random(state: u64) -> u64 {
    let mut z = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// As long as that, whatever signals come: they wait for the hook.
fn sleep(nanoseconds: u64) {
    if nanoseconds == 0 {
        return;
    }
    let mut time = [nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000];
    let at = time.as_mut_ptr().addr() as u64;
    // SAFETY: reads and writes `time`, which says what is left where a signal has come.
    while unsafe { syscall(nr::NANOSLEEP, [at, at, 0, 0, 0, 0]) }
        == Err(hotpatch_hook::Errno::EINTR)
    {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_apply_in_turn() {
        let hit = |first, last, step| {
            let rule = Rule {
                first,
                last,
                step,
                rate: u64::MAX,
                ..Rule::default()
            };
            (1..10).filter(|n| applies(&rule, *n)).collect::<Vec<u64>>()
        };
        assert_eq!(hit(3, 8, 2), [3, 5, 7]);
        assert_eq!(hit(2, u64::MAX, 0), [2]);
        assert_eq!(hit(7, u64::MAX, 1), [7, 8, 9]);
        assert_eq!(hit(2, u64::MAX, 3), [2, 5, 8]);
        assert_eq!(hit(2, 3, 1), [2, 3]);
    }

    #[test]
    fn chance_is_about_as_often_as_asked_for() {
        let rule = Rule {
            last: u64::MAX,
            step: 1,
            rate: u64::MAX / 4,
            seed: 7,
            ..Rule::default()
        };
        let hits = (1..10_000).filter(|n| applies(&rule, *n)).count();
        assert!((2300..2700).contains(&hits), "{hits}");
    }
}
