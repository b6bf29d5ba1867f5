//! What the processor's time stamp counter says, as time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;

use crate::events::ticks;

/// How moments are printed ahead of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Hours, minutes and seconds of the place.
    Seconds,
    /// The same with microseconds.
    Microseconds,
    /// Seconds since 1970, with microseconds.
    Epoch,
    /// Since the line before.
    Relative,
}

/// Both clocks at two moments: what lies between is found between them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    first: (u64, SystemTime),
    last: (u64, SystemTime),
}

impl Clock {
    /// From now on.
    pub fn new() -> Self {
        let now = (ticks(), SystemTime::now());
        Self {
            first: now,
            last: now,
        }
    }

    /// To be called now and then: what happened up to now can be told.
    pub fn goes_on(&mut self) {
        self.last = (ticks(), SystemTime::now());
    }

    /// As long as this many ticks.
    pub fn span(&self, ticks: u64) -> Duration {
        let passed = self.last.1.duration_since(self.first.1).unwrap_or_default();
        let between = self.last.0.saturating_sub(self.first.0).max(1);
        Duration::from_secs_f64(passed.as_secs_f64() * (ticks as f64 / between as f64))
    }

    /// When that was, since 1970.
    pub fn at(&self, ticks: u64) -> Duration {
        let begin = self.first.1.duration_since(UNIX_EPOCH).unwrap_or_default();
        begin + self.span(ticks.saturating_sub(self.first.0))
    }
}

impl Stamp {
    /// Appends a moment, and a space; `before` is that of the line before.
    pub fn put(self, at: Duration, before: Duration, out: &mut String) {
        use std::fmt::Write as _;
        let (seconds, micros) = (at.as_secs(), at.subsec_micros());
        let _ = match self {
            Self::Seconds => write!(out, "{} ", of_day(seconds)),
            Self::Microseconds => write!(out, "{}.{micros:06} ", of_day(seconds)),
            Self::Epoch => write!(out, "{seconds}.{micros:06} "),
            Self::Relative => {
                let passed = at.saturating_sub(before);
                write!(
                    out,
                    "{:>6}.{:06} ",
                    passed.as_secs(),
                    passed.subsec_micros()
                )
            }
        };
    }
}

/// Hours, minutes and seconds of the place.
fn of_day(seconds: u64) -> String {
    let seconds = seconds.cast_signed();
    // SAFETY: numbers alone, for which all zeros is a value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads one, writes the other.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    format!(
        "{:02}:{:02}:{:02}",
        parts.tm_hour, parts.tm_min, parts.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_strace_prints_them() {
        let (at, before) = (
            Duration::new(1_700_000_000, 1_234_000),
            Duration::new(1_699_999_998, 0),
        );
        let of = |stamp: Stamp| {
            let mut out = String::new();
            stamp.put(at, before, &mut out);
            out
        };
        assert_eq!(of(Stamp::Epoch), "1700000000.001234 ");
        assert_eq!(of(Stamp::Relative), "     2.001234 ");
        assert_eq!(
            of(Stamp::Microseconds),
            format!("{}.001234 ", of(Stamp::Seconds).trim_end())
        );
    }

    #[test]
    fn what_lies_between_is_found_between() {
        let clock = Clock {
            first: (1000, UNIX_EPOCH),
            last: (3000, UNIX_EPOCH + Duration::from_micros(20)),
        };
        assert_eq!(clock.at(2000), Duration::from_micros(10));
        assert_eq!(clock.span(500), Duration::from_micros(5));
    }
}
