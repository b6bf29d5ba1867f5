//! What the processor's time stamp counter says, as time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;

use crate::events::ticks;

/// How exactly times are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// Seconds
    S,
    /// Milliseconds
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

impl Precision {
    const fn digits(self) -> usize {
        match self {
            Self::S => 0,
            Self::Ms => 3,
            Self::Us => 6,
            Self::Ns => 9,
        }
    }

    /// The part behind the seconds, with its point.
    fn fraction(self, time: Duration) -> String {
        let nanoseconds = format!(".{:09}", time.subsec_nanos());
        match self {
            Self::S => String::new(),
            _ => nanoseconds[..=self.digits()].to_owned(),
        }
    }

    /// Appends a time in seconds.
    pub fn put(self, time: Duration, out: &mut String) {
        use std::fmt::Write as _;
        let _ = write!(out, "{}{}", time.as_secs(), self.fraction(time));
    }
}

/// What time is printed ahead of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When it was, as seconds since 1970 or as the time of the day at this place.
    pub absolute: Option<(Epoch, Precision)>,
    /// How long after the line before.
    pub relative: Option<Precision>,
}

/// What moments are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// Midnight.
    Day,
    /// 1970.
    Unix,
}

/// Both clocks at two moments: what lies between is found between them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    first: (u64, SystemTime),
    last: (u64, SystemTime),
    /// Not ours: what it says has been told.
    told: bool,
}

impl Clock {
    /// From now on.
    pub fn new() -> Self {
        let now = (ticks(), SystemTime::now());
        Self {
            first: now,
            last: now,
            told: false,
        }
    }

    /// It was so late, since 1970. Once told, it goes by that alone.
    pub fn tell(&mut self, ticks: u64, time: Duration) {
        let now = (ticks, UNIX_EPOCH + time);
        if !self.told {
            self.first = now;
        }
        self.told = true;
        self.last = now;
    }

    /// Ticks, and the time since 1970.
    pub fn now(&self) -> (u64, Duration) {
        let now = if self.told {
            self.last
        } else {
            (ticks(), SystemTime::now())
        };
        (now.0, now.1.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// To be called now and then: what happened up to now can be told.
    pub fn goes_on(&mut self) {
        if !self.told {
            self.last = (ticks(), SystemTime::now());
        }
    }

    /// As long as this many ticks.
    pub fn span(&self, ticks: u64) -> Duration {
        let passed = self.last.1.duration_since(self.first.1).unwrap_or_default();
        let between = self.last.0.saturating_sub(self.first.0).max(1);
        let seconds = passed.as_secs_f64() * (ticks as f64 / between as f64);
        // What a program has written over its own records may be any number.
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// When that was, since 1970.
    pub fn at(&self, ticks: u64) -> Duration {
        let begin = self.first.1.duration_since(UNIX_EPOCH).unwrap_or_default();
        begin.saturating_add(self.span(ticks.saturating_sub(self.first.0)))
    }
}

impl Stamp {
    /// Whether any is.
    pub fn is_asked_for(&self) -> bool {
        *self != Self::default()
    }

    /// Appends a moment, and a space; `before` is that of the line before.
    pub fn put(self, at: Duration, before: Duration, out: &mut String) {
        use std::fmt::Write as _;
        if let Some((epoch, precision)) = self.absolute {
            let _ = match epoch {
                Epoch::Day => write!(out, "{}", of_day(at.as_secs())),
                Epoch::Unix => write!(out, "{}", at.as_secs()),
            };
            let _ = write!(out, "{} ", precision.fraction(at));
        }
        if let Some(precision) = self.relative {
            let passed = at.saturating_sub(before);
            let text = format!("{:>6}{}", passed.as_secs(), precision.fraction(passed));
            let _ = match self.absolute {
                Some(_) => write!(out, "(+{text}) "),
                None => write!(out, "{text} "),
            };
        }
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
        let (unix, day) = (
            |precision| Some((Epoch::Unix, precision)),
            |precision| Some((Epoch::Day, precision)),
        );
        let stamp = |absolute, relative| of(Stamp { absolute, relative });
        assert_eq!(stamp(unix(Precision::Us), None), "1700000000.001234 ");
        assert_eq!(stamp(unix(Precision::Ms), None), "1700000000.001 ");
        assert_eq!(stamp(None, Some(Precision::Us)), "     2.001234 ");
        let seconds = stamp(day(Precision::S), None);
        assert_eq!(
            stamp(day(Precision::Us), None),
            format!("{}.001234 ", seconds.trim_end())
        );
        assert_eq!(
            stamp(day(Precision::S), Some(Precision::Ns)),
            format!("{seconds}(+     2.001234000) ")
        );
    }

    #[test]
    fn what_lies_between_is_found_between() {
        let clock = Clock {
            first: (1000, UNIX_EPOCH),
            last: (3000, UNIX_EPOCH + Duration::from_micros(20)),
            told: false,
        };
        assert_eq!(clock.at(2000), Duration::from_micros(10));
        assert_eq!(clock.span(500), Duration::from_micros(5));
    }
}
