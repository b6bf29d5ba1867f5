//! Sets of system calls.

use super::{Error, Part, inverted, nearest};
use hotpatch_names::{CLASSES, Class, ROWS, Row};
use regex_lite::Regex;

/// System calls, a bit for each number below 512.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSet(pub [u64; 8]);

impl CallSet {
    /// No call.
    pub const NONE: Self = Self([0; 8]);
    /// Every call, those without a name included.
    pub const ALL: Self = Self([u64::MAX; 8]);

    /// Whether the call is in the set.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        match usize::try_from(number / 64)
            .ok()
            .and_then(|index| self.0.get(index))
        {
            Some(word) => word >> (number % 64) & 1 != 0,
            // Numbers that no call has are told with everything else.
            None => *self == Self::ALL,
        }
    }

    fn add(&mut self, row: &Row) {
        if let Some(word) = self.0.get_mut(usize::from(row.number / 64)) {
            *word |= 1 << (row.number % 64);
        }
    }

    /// Reads `read,write`, `%file`, `!close`, `/^open`, `?new`.
    pub(crate) fn parse(value: Part<'_>) -> Result<Self, Error> {
        let (not, value) = inverted(value);
        if value.text.is_empty() {
            return Err(value.error("which calls? A name, a class like %file, a regular expression like /^open, all or none"));
        }
        let mut set = Self::NONE;
        for part in value.split(',') {
            set.member(part)?;
        }
        Ok(if not {
            Self(set.0.map(|word| !word))
        } else {
            set
        })
    }

    fn member(&mut self, part: Part<'_>) -> Result<(), Error> {
        let optional = part.text.starts_with('?');
        let part = if optional { part.skip(1) } else { part };
        // Other ABIs of a call are asked for like this; there is one here.
        let name = part
            .text
            .split_once('@')
            .map_or(part.text, |(name, _)| name);
        match name {
            "all" => *self = Self::ALL,
            "none" => *self = Self::NONE,
            _ if name.starts_with('/') => {
                let pattern = part.skip(1);
                let regex = Regex::new(pattern.text)
                    .map_err(|error| pattern.error(format!("not a regular expression: {error}")))?;
                let mut found = false;
                for row in ROWS.iter().filter(|row| regex.is_match(row.name)) {
                    self.add(row);
                    found = true;
                }
                if !found && !optional {
                    return Err(pattern.error("no system call has a name like that"));
                }
            }
            _ if name.starts_with('%') => match Class::named(&name[1..]) {
                Some(class) => ROWS
                    .iter()
                    .filter(|row| class.has(row))
                    .for_each(|row| self.add(row)),
                None if optional => {}
                None => {
                    let near = nearest(&name[1..], CLASSES.iter().map(|(name, _)| *name))
                        .replace(", ", ", %");
                    return Err(
                        part.error(format!("no such class{}", near.replace("mean ", "mean %")))
                    );
                }
            },
            _ => self.named(part, name, optional)?,
        }
        Ok(())
    }

    fn named(&mut self, part: Part<'_>, name: &str, optional: bool) -> Result<(), Error> {
        let number = name.parse::<u16>().ok();
        let row = ROWS
            .iter()
            .find(|row| row.name == name || Some(row.number) == number);
        match (row, Class::named(name)) {
            (Some(row), _) => self.add(row),
            // The names of the first classes may stand without a sign.
            (None, Some(class)) => ROWS
                .iter()
                .filter(|row| class.has(row))
                .for_each(|row| self.add(row)),
            (None, None) if optional => {}
            (None, None) => {
                let near = nearest(name, ROWS.iter().map(|row| row.name));
                return Err(part.error(format!("no such system call{near}")));
            }
        }
        Ok(())
    }
}
