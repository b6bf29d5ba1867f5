//! What the program's own hook does to calls, in its form.

use std::time::Duration;

use anyhow::ensure;
use hotpatch_decode::When;
use hotpatch_decode::expression::{Answer, Inject};
use hotpatch_events::{MOST_RULES, POOL_LEN, Rule, part};

use crate::filter::Filter;

/// Rules, and what they need that has no fixed length.
#[derive(Debug, Default)]
pub struct Deeds {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Parts, as they lie in the pool.
    pub pool: Vec<u8>,
}

impl Deeds {
    /// Adds what one expression says.
    pub fn add(&mut self, inject: &Inject) -> anyhow::Result<()> {
        ensure!(
            self.rules.len() < MOST_RULES,
            "-e inject: at most {MOST_RULES} of them"
        );
        let index = self.rules.len() as u8;
        for poke in &inject.pokes {
            let kind = match poke.when {
                When::Entry => part::POKE_ENTER,
                When::Exit => part::POKE_EXIT,
            };
            self.part(kind, index, poke.argument, &poke.bytes)?;
        }
        self.rules.push(rule(inject));
        Ok(())
    }

    /// Rules apply to calls alone that are told, and of others nothing is kept that costs much.
    pub fn only(&mut self, filter: &Filter) -> anyhow::Result<()> {
        if let Some(calls) = filter.calls {
            let pokes = std::mem::take(&mut self.pool);
            let bits: Vec<u8> = calls.0.iter().flat_map(|word| word.to_le_bytes()).collect();
            self.part(part::TOLD, 0, 0, &bits)?;
            self.pool.extend(pokes);
            self.fits()?;
        }
        if self.rules.is_empty() {
            return Ok(());
        }
        for path in &filter.paths {
            self.part(part::PATH, 0, 0, path)?;
        }
        if let Some((others, fds)) = &filter.descriptors {
            let kind = if *others {
                part::OTHER_DESCRIPTORS
            } else {
                part::DESCRIPTORS
            };
            let bytes: Vec<u8> = fds.iter().flat_map(|fd| fd.to_le_bytes()).collect();
            self.part(kind, 0, 0, &bytes)?;
        }
        Ok(())
    }

    fn part(&mut self, kind: u8, rule: u8, argument: u8, bytes: &[u8]) -> anyhow::Result<()> {
        self.pool.extend_from_slice(&[kind, rule, argument, 0]);
        self.pool
            .extend_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
        self.pool.extend_from_slice(bytes);
        self.pool.resize(self.pool.len().next_multiple_of(8), 0);
        self.fits()
    }

    fn fits(&self) -> anyhow::Result<()> {
        ensure!(
            self.pool.len() <= POOL_LEN,
            "-e inject: all paths and pokes together take more than {POOL_LEN} bytes"
        );
        Ok(())
    }
}

/// What has a fixed length.
fn rule(inject: &Inject) -> Rule {
    let nanoseconds = |time: Option<Duration>| {
        let time = time.unwrap_or_default().as_nanos();
        u64::try_from(time).unwrap_or(u64::MAX)
    };
    // 2^64 chances; what is out of range is the nearest that is not.
    let rate = inject
        .probability
        .map_or(u64::MAX, |p| (p.rate * 2_f64.powi(64)) as u64);
    Rule {
        calls: inject.calls.0,
        first: inject.when.first,
        last: inject.when.last,
        step: inject.when.step,
        rate,
        seed: inject.probability.map_or(0, |p| p.seed),
        answer: match inject.answer {
            Some(Answer::Error(errno)) => u64::from(errno).wrapping_neg(),
            Some(Answer::Value(value)) => value,
            None => 0,
        },
        delay_enter: nanoseconds(inject.delay_enter),
        delay_exit: nanoseconds(inject.delay_exit),
        flags: if inject.answer.is_some() {
            Rule::ANSWERS
        } else {
            0
        },
        signal: inject.signal.unwrap_or(0),
    }
}
