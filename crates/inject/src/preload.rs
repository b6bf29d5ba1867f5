//! How the library comes to a program that nobody may trace: its loader brings it, and the environment says so.
//!
//! Two variables stand behind all others, in this order:
//!
//! | the program is to have | first | second |
//! |---|---|---|
//! | no `LD_PRELOAD` | `LD_PRELOAD=PATH` | `LIBHOTPATCH_EXEC=PATH`, the word [`CARRIED`] if a runtime goes on there, and the settings, each behind a byte 1 |
//! | `LD_PRELOAD=X` | nothing; `LD_PRELOAD=PATH:X` in its place | the same |
//!
//! The runtime takes both away again before the program looks. They are two because the auxiliary vector behind them
//! consists of pairs of words: what they leave free becomes one that means nothing.

/// The name of the second, with its sign.
pub const NAME: &[u8] = b"LIBHOTPATCH_EXEC=";
/// The loader's own, with its sign.
pub const LD_PRELOAD: &[u8] = b"LD_PRELOAD=";
/// What stands in place of the zero bytes between settings.
pub const SEPARATOR: u8 = 1;

/// Where a runtime goes on in the program: descriptors in place of files that it cannot open, in the order of
/// [`Carried`](crate::Carried), each before a comma; then [`UNTRACED`], if that is so.
pub const CARRIED: &[u8] = b"carried=";
/// Who asks to trace that program may be ended for it.
pub const UNTRACED: &[u8] = b"untraced";

/// The second variable with its zero byte; `word` is [`CARRIED`] with what belongs to it, or nothing. Nothing where the separator occurs in what it has to say, or where the
/// loader would take the path for several (`path`: without its zero byte).
pub fn variable<'a>(
    path: &'a [u8],
    word: &'a [u8],
    settings: &'a [u8],
) -> Option<impl Iterator<Item = u8> + 'a> {
    let speakable = !path.iter().any(|byte| b" :$".contains(byte));
    let all = || path.iter().chain(settings);
    if !speakable || all().any(|&byte| byte == SEPARATOR) {
        return None;
    }
    let settings = settings.strip_suffix(b"\0").unwrap_or(settings);
    let separated = settings.iter().map(|&b| if b == 0 { SEPARATOR } else { b });
    let before = |text: &[u8]| (!text.is_empty()).then_some(SEPARATOR);
    let word = before(word).into_iter().chain(word.iter().copied());
    let settings = before(settings).into_iter().chain(separated);
    let value = path.iter().copied().chain(word).chain(settings);
    Some(NAME.iter().copied().chain(value).chain([0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &[u8], settings: &[u8]) -> Option<Vec<u8>> {
        variable(path, b"", settings).map(Iterator::collect)
    }

    #[test]
    fn says_what_is_carried() {
        let told: Vec<u8> = variable(b"/l.so", b"carried=3,", b"A=1\0")
            .unwrap()
            .collect();
        assert_eq!(told, b"LIBHOTPATCH_EXEC=/l.so\x01carried=3,\x01A=1\0");
    }

    #[test]
    fn says_path_and_settings() {
        assert_eq!(
            text(b"/l.so", b"A=1\0B=\0").unwrap(),
            b"LIBHOTPATCH_EXEC=/l.so\x01A=1\x01B=\0"
        );
        assert_eq!(text(b"/l.so", b"").unwrap(), b"LIBHOTPATCH_EXEC=/l.so\0");
        assert_eq!(text(b"/l.so", b"A=\x01\0"), None);
        assert_eq!(text(b"/l:so", b""), None);
    }
}
