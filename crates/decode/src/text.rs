//! Texts with escapes.

use crate::Escapes;
use std::fmt::Write as _;

const fn printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

const fn space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r')
}

/// Appends bytes in double quotes.
pub(crate) fn quote(bytes: &[u8], escapes: Escapes, out: &mut String) {
    out.push('"');
    escape(bytes, escapes, out);
    out.push('"');
}

/// Appends a path between `<` and `>`.
pub(crate) fn escape_path(bytes: &[u8], escapes: Escapes, out: &mut String) {
    escape_but(bytes, b"<>", escapes, out);
}

fn escape(bytes: &[u8], escapes: Escapes, out: &mut String) {
    escape_but(bytes, b"", escapes, out);
}

/// Those that are `marked` are escaped too.
fn escape_but(bytes: &[u8], marked: &[u8], escapes: Escapes, out: &mut String) {
    let all_hex = match escapes {
        Escapes::Octal | Escapes::HexChars => false,
        Escapes::Hex => bytes.iter().any(|byte| !printable(*byte) && !space(*byte)),
        Escapes::AllHex => true,
    };
    for (index, byte) in bytes.iter().copied().enumerate() {
        if all_hex {
            let _ = write!(out, "\\x{byte:02x}");
            continue;
        }
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            _ if printable(byte) && !marked.contains(&byte) => out.push(char::from(byte)),
            _ if escapes == Escapes::HexChars => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            _ => {
                // A digit behind it would be read as part of the escape.
                let all = matches!(bytes.get(index + 1), Some(b'0'..=b'7'));
                out.push('\\');
                for (place, least) in [(6, 0o100), (3, 0o10), (0, 0)] {
                    if all || byte >= least {
                        out.push(char::from(b'0' + (byte >> place & 7)));
                    }
                }
            }
        }
    }
}
