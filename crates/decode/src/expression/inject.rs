//! What is done to chosen calls.

use super::{CallSet, Error, Part, nearest, signal};
use hotpatch_names::{ERRORS, When as Time, named};
use std::time::Duration;

/// What a call answers in place of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This error.
    Error(u16),
    /// This result.
    Value(u64),
}

/// At which calls of a thread something happens: from the `first` to the `last`, each `step`th.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The first, counted from 1.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Every how many; 0 is once.
    pub step: u64,
}

impl Default for When {
    fn default() -> Self {
        Self {
            first: 1,
            last: u64::MAX,
            step: 1,
        }
    }
}

/// How often something happens, at random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    /// From 0 to 1.
    pub rate: f64,
    /// The same seed, the same calls.
    pub seed: u64,
}

// Rates are read from text and never NaN.
impl Eq for Probability {}

/// Bytes written to where an argument points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poke {
    /// Before the call or behind it.
    pub when: Time,
    /// Which argument, from 0 on.
    pub argument: u8,
    /// What is written.
    pub bytes: Vec<u8>,
}

/// What is done to which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inject {
    /// The calls.
    pub calls: CallSet,
    /// What they answer, if not what the kernel does.
    pub answer: Option<Answer>,
    /// A signal that is sent before them.
    pub signal: Option<u32>,
    /// The call that is executed in their place, one without effect.
    pub syscall: Option<u16>,
    /// A wait before them.
    pub delay_enter: Option<Duration>,
    /// A wait behind them.
    pub delay_exit: Option<Duration>,
    /// What is written to their memory.
    pub pokes: Vec<Poke>,
    /// At which of them.
    pub when: When,
    /// How often, at random.
    pub probability: Option<Probability>,
}

const WORDS: [&str; 11] = [
    "error",
    "retval",
    "signal",
    "syscall",
    "delay_enter",
    "delay_exit",
    "poke_enter",
    "poke_exit",
    "when",
    "prob",
    "seed",
];

impl Inject {
    /// Reads `SET:error=ENOENT:when=3+2`. A fault without an error is ENOSYS.
    pub(crate) fn parse(value: Part<'_>, fault: bool) -> Result<Self, Error> {
        let mut parts = value.split(':');
        let set = parts.next().unwrap_or(value);
        let mut inject = Self {
            calls: CallSet::parse(set)?,
            answer: None,
            signal: None,
            syscall: None,
            delay_enter: None,
            delay_exit: None,
            pokes: Vec::new(),
            when: When::default(),
            probability: None,
        };
        let mut seed = None;
        for part in parts {
            let Some((word, value)) = part.split_once("=") else {
                return Err(part.error(format!("`{}` wants a value: {}=…", part.text, part.text)));
            };
            match word.text {
                "error" | "retval" if inject.answer.is_some() => {
                    return Err(part.error("only one of error and retval"));
                }
                "error" => inject.answer = Some(Answer::Error(error(value)?)),
                "retval" if !fault => inject.answer = Some(Answer::Value(number(value)?)),
                "signal" if !fault => inject.signal = Some(signal(value)?),
                "syscall" if !fault => inject.syscall = Some(substitute(value)?),
                "delay_enter" if !fault => inject.delay_enter = Some(delay(value)?),
                "delay_exit" if !fault => inject.delay_exit = Some(delay(value)?),
                "poke_enter" if !fault => pokes(value, Time::Entry, &mut inject.pokes)?,
                "poke_exit" if !fault => pokes(value, Time::Exit, &mut inject.pokes)?,
                "when" => inject.when = when(value)?,
                "prob" => {
                    inject.probability = Some(Probability {
                        rate: rate(value)?,
                        seed: 0,
                    })
                }
                "seed" => seed = Some((part, number(value)?)),
                known if WORDS.contains(&known) => {
                    return Err(word.error("not with fault=: say inject="));
                }
                unknown => {
                    let near = nearest(unknown, WORDS.iter().copied());
                    return Err(word.error(format!("nothing of that name can be injected{near}")));
                }
            }
        }
        match (&mut inject.probability, seed) {
            (Some(probability), Some((_, seed))) => probability.seed = seed,
            (None, Some((part, _))) => return Err(part.error("a seed without prob=")),
            _ => {}
        }
        if inject.syscall.is_some() && inject.answer.is_none() {
            return Err(value
                .error("syscall= without error= or retval=, which is what the call then answers"));
        }
        if fault && inject.answer.is_none() {
            inject.answer = Some(Answer::Error(38));
        }
        let idle = inject.answer.is_none()
            && inject.signal.is_none()
            && inject.syscall.is_none()
            && inject.delay_enter.is_none()
            && inject.delay_exit.is_none()
            && inject.pokes.is_empty();
        if idle {
            return Err(value.error("what is to be injected? error=, retval=, signal=, delay_enter=, delay_exit= or poke_…="));
        }
        Ok(inject)
    }
}

fn number(part: Part<'_>) -> Result<u64, Error> {
    let (text, radix) = match part.text {
        text if text.starts_with("0x") => (&text[2..], 16),
        text if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        text => (text, 10),
    };
    u64::from_str_radix(text, radix).map_err(|_| part.error("not a number"))
}

fn error(part: Part<'_>) -> Result<u16, Error> {
    let upper = part.text.to_ascii_uppercase();
    if let Some((number, ..)) = ERRORS.iter().find(|(_, name, _)| *name == upper) {
        return Ok(*number);
    }
    match part.text.parse() {
        Ok(number @ 1..=4095) => Ok(number),
        Ok(_) => Err(part.error("errors are 1 to 4095")),
        Err(_) => {
            let near = nearest(&upper, ERRORS.iter().map(|(_, name, _)| *name));
            Err(part.error(format!("no such error{near}")))
        }
    }
}

fn substitute(part: Part<'_>) -> Result<u16, Error> {
    use hotpatch_names::{Class, ROWS};
    let row = named(part.text).ok_or_else(|| {
        let near = nearest(part.text, ROWS.iter().map(|row| row.name));
        part.error(format!("no such system call{near}"))
    })?;
    if Class::Pure.has(row) {
        Ok(row.number)
    } else {
        Err(part.error("only a call of class %pure can stand in"))
    }
}

/// Microseconds where no unit is given.
fn delay(part: Part<'_>) -> Result<Duration, Error> {
    let digits = part
        .text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(part.text.len());
    let (count, unit) = part.text.split_at(digits);
    let wrong = || part.error("not a time: 20, 20us, 5ms, 1s or 100ns");
    let count: u64 = count.parse().map_err(|_| wrong())?;
    match unit {
        "" | "us" => Ok(Duration::from_micros(count)),
        "ns" => Ok(Duration::from_nanos(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        _ => Err(wrong()),
    }
}

fn rate(part: Part<'_>) -> Result<f64, Error> {
    match part.text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err(part.error("not a probability from 0 to 1")),
    }
}

/// `FIRST[..LAST][+[STEP]]`.
fn when(part: Part<'_>) -> Result<When, Error> {
    let (range, step) = match part.split_once("+") {
        Some((range, step)) if step.text.is_empty() => (range, Some(1)),
        Some((range, step)) => (range, Some(ordinal(step)?)),
        None => (part, None),
    };
    Ok(match range.split_once("..") {
        Some((first, last)) => {
            let (first, end) = (ordinal(first)?, ordinal(last)?);
            if end < first {
                return Err(last.error(format!("the last comes before the first, {first}")));
            }
            When {
                first,
                last: end,
                step: step.unwrap_or(1),
            }
        }
        None => When {
            first: ordinal(range)?,
            last: u64::MAX,
            step: step.unwrap_or(0),
        },
    })
}

fn ordinal(part: Part<'_>) -> Result<u64, Error> {
    match part.text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(part.error("not an ordinal: FIRST[..LAST][+STEP], from 1 on")),
    }
}

/// `@arg1=0011,@arg3=ff`.
fn pokes(part: Part<'_>, when: Time, pokes: &mut Vec<Poke>) -> Result<(), Error> {
    for part in part.split(',') {
        let wrong = || part.error("not @argN=BYTES with N from 1 to 6");
        let (name, value) = part.split_once("=").ok_or_else(wrong)?;
        let argument = match name
            .text
            .strip_prefix("@arg")
            .and_then(|number| number.parse().ok())
        {
            Some(number @ 1..=6u8) => number - 1,
            _ => return Err(wrong()),
        };
        let pairs = value.text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| {
                u8::from_str_radix(
                    std::str::from_utf8(pair)
                        .ok()
                        .filter(|pair| pair.len() == 2)?,
                    16,
                )
                .ok()
            })
            .collect();
        match bytes.filter(|bytes| !bytes.is_empty()) {
            Some(bytes) => pokes.push(Poke {
                when,
                argument,
                bytes,
            }),
            None => return Err(value.error("not bytes in hexadecimal, two digits each")),
        }
    }
    Ok(())
}
