//! `fnmatch(3)` without flags, in the C locale: bytes, and `*` matches `/`.
//!
//! Tested against libc's over random patterns. POSIX leaves open what a malformed bracket means; here it means
//! what it means to glibc.

/// Whether `text` as a whole matches `pattern`.
///
/// Takes time proportional to the product of the lengths at most: where a match fails, only the last `*`
/// can help by taking one byte more.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // What follows the last `*`, and where its match was tried.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let Some((b'*', after)) = rest.split_first() {
            star = Some((after, at));
            rest = after;
            continue;
        }
        let next = match text.get(at) {
            None if rest.is_empty() => return true,
            None => None,
            Some(&byte) => step(rest, byte),
        };
        if let Some(after) = next {
            rest = after;
            at += 1;
        } else {
            let Some((after, tried)) = star else {
                return false;
            };
            if tried >= text.len() {
                return false;
            }
            rest = after;
            at = tried + 1;
            star = Some((after, at));
        }
    }
}

/// The pattern after its first element, if that matches `byte`. The element is not `*`.
fn step(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (&first, after) = pattern.split_first()?;
    let (expected, after) = match first {
        b'?' => return Some(after),
        b'\\' => {
            let (&escaped, after) = after.split_first()?;
            (escaped, after)
        }
        b'[' => match bracket(after, byte) {
            Bracket::Closed { matched, after } => return matched.then_some(after),
            Bracket::Open => (b'[', after),
            Bracket::Invalid => return None,
        },
        other => (other, after),
    };
    (expected == byte).then_some(after)
}

enum Bracket<'a> {
    /// A whole bracket expression.
    Closed { matched: bool, after: &'a [u8] },
    /// It has no end: the `[` stands for itself.
    Open,
    /// It names what does not exist: nothing matches.
    Invalid,
}

/// One end of a range, or a set.
enum Item {
    Byte(u8),
    Set(bool),
}

/// `rest` begins behind the `[`.
fn bracket(mut rest: &[u8], byte: u8) -> Bracket<'_> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    rest = &rest[usize::from(negated)..];
    let mut matched = false;
    let mut first = true;
    loop {
        if let Some((b']', after)) = rest.split_first()
            && !first
        {
            return Bracket::Closed {
                matched: matched != negated,
                after,
            };
        }
        first = false;
        let (low, after) = match item(rest, byte, matched) {
            Ok((Item::Set(hit), after)) => {
                matched |= hit;
                rest = after;
                continue;
            }
            Ok((Item::Byte(low), after)) => (low, after),
            Err(fault) => return fault,
        };
        rest = after;
        // A range that the pattern's end cuts off; unless what it begins with matches already.
        if rest == b"-" && !matched && low != byte {
            return Bracket::Invalid;
        }
        let mut high = low;
        // A `-` before the closing bracket stands for itself.
        if let [b'-', next, ..] = *rest
            && next != b']'
        {
            match item(&rest[1..], byte, matched) {
                Ok((Item::Byte(end), after)) => (high, rest) = (end, after),
                Ok((Item::Set(_), _)) => return Bracket::Invalid,
                Err(fault) => return fault,
            }
        }
        matched |= (low..=high).contains(&byte);
    }
}

/// Once a bracket has `matched`, glibc only looks for its end: a class with a bad name no longer matters then,
/// but a malformed `[=` does.
fn item(rest: &[u8], byte: u8, matched: bool) -> Result<(Item, &[u8]), Bracket<'_>> {
    let (&first, after) = rest.split_first().ok_or(Bracket::Open)?;
    match (first, after.first()) {
        (b'\\', _) => {
            let (&escaped, after) = after.split_first().ok_or(Bracket::Open)?;
            Ok((Item::Byte(escaped), after))
        }
        (b'[', Some(b':')) => match class(after, byte) {
            Class::Known { hit, after } => Ok((Item::Set(hit), after)),
            Class::Unknown { after } if matched => Ok((Item::Set(false), after)),
            Class::Unknown { .. } => Err(Bracket::Invalid),
            Class::None => Ok((Item::Byte(b'['), after)),
        },
        (b'[', Some(b'=')) => match *after {
            [_, one, b'=', b']', ref after @ ..] => Ok((Item::Set(one == byte), after)),
            _ if matched => Err(Bracket::Invalid),
            _ => Ok((Item::Byte(b'['), after)),
        },
        (b'[', Some(b'.')) => match *after {
            [_, one, b'.', b']', ref after @ ..] => Ok((Item::Byte(one), after)),
            _ => Err(Bracket::Invalid),
        },
        _ => Ok((Item::Byte(first), after)),
    }
}

enum Class<'a> {
    Known {
        hit: bool,
        after: &'a [u8],
    },
    Unknown {
        after: &'a [u8],
    },
    /// Not even the form of one.
    None,
}

/// `rest` begins at the `:`.
fn class(rest: &[u8], byte: u8) -> Class<'_> {
    let name = &rest[1..];
    let len = name
        .iter()
        .position(|b| !b.is_ascii_lowercase())
        .unwrap_or(name.len());
    let Some(after) = name[len..].strip_prefix(b":]") else {
        return Class::None;
    };
    let hit = match &name[..len] {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"blank" => byte == b' ' || byte == b'\t',
        b"punct" => byte.is_ascii_punctuation(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"graph" => byte.is_ascii_graphic(),
        b"cntrl" => byte.is_ascii_control(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => return Class::Unknown { after },
    };
    Class::Known { hit, after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn libc_says(pattern: &[u8], text: &[u8]) -> bool {
        let (pattern, text) = (CString::new(pattern).unwrap(), CString::new(text).unwrap());
        // SAFETY: both are strings.
        unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
    }

    #[test]
    fn star_takes_slashes() {
        assert!(matches(
            b"*/libc.so*",
            b"/usr/lib/x86_64-linux-gnu/libc.so.6"
        ));
        assert!(matches(b"/usr/*", b"/usr/lib/.hidden/x"));
        assert!(!matches(b"/usr/*", b"/opt/usr/x"));
        assert!(!matches(b"libc.so.6", b"/lib/libc.so.6"));
    }

    #[test]
    fn brackets() {
        assert!(matches(b"[[:alpha:]][!a-c][]x]", b"qd]"));
        assert!(matches(b"[[=a=]][[.b.]-d]", b"ac"));
        assert!(matches(b"[ab", b"[ab"));
        assert!(matches(b"\\*", b"*") && !matches(b"\\*", b"x"));
    }

    /// Mostly bytes that mean something, so that random patterns are malformed in every way.
    fn random(next: &mut impl FnMut() -> u64, bytes: &[u8], longest: u64) -> Vec<u8> {
        (0..next() % (longest + 1))
            .map(|_| bytes[(next() as usize) % bytes.len()])
            .collect()
    }

    #[test]
    fn agrees_with_libc() {
        const WORDS: [&[u8]; 14] = [
            b"[[:alpha:]]",
            b"[:digit:]",
            b"[[:nosuch:]]",
            b"[[=a=]]",
            b"[=b=]",
            b"[[.a.]-c]",
            b"[.-.]",
            b"[!",
            b"[^",
            b"[]",
            b"a-c",
            b"[[:",
            b"[[=",
            b"[[.",
        ];
        let mut x = 0x2545_f491_4f6c_dd1du64;
        let mut next = move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x >> 11
        };
        let mut differ = 0;
        for _ in 0..1_000_000 {
            let mut pattern = random(&mut next, b"ab*?[]!^-\\/.:=c\xe9", 7);
            if next() % 3 == 0 {
                let at = next() as usize % (pattern.len() + 1);
                pattern.splice(at..at, WORDS[next() as usize % WORDS.len()].iter().copied());
            }
            let mut text = random(&mut next, b"ab[]-\\/.:=c!^\xe9", 5);
            // What is malformed stands for itself.
            if next() % 4 == 0 {
                text = [&text[..text.len() / 2], &pattern].concat();
            }
            let (ours, theirs) = (matches(&pattern, &text), libc_says(&pattern, &text));
            if ours != theirs {
                differ += 1;
                if differ < 30 {
                    eprintln!(
                        "{:?} {:?}: libc {theirs}",
                        pattern.escape_ascii().to_string(),
                        text.escape_ascii().to_string()
                    );
                }
            }
        }
        assert_eq!(differ, 0);
    }
}
