//! JSON as Go's encoder writes it: compact, one line break at the end, and `<`, `>`, `&`, U+2028
//! and U+2029 escaped inside strings.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Escapes in strings what Go escapes and serde_json does not.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{7f}']) {
            let (before, special) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = special.chars();
            let escape: &[u8] = match chars.next() {
                Some('<') => b"\\u003c",
                Some('>') => b"\\u003e",
                Some('&') => b"\\u0026",
                Some('\u{2028}') => b"\\u2028",
                Some('\u{2029}') => b"\\u2029",
                _ => b"\x7f",
            };
            writer.write_all(escape)?;
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// `value` as one line of JSON with its line break.
///
/// Our types serialize without fail: they have string keys and no fallible parts.
pub fn to_go_json(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(128);
    let written = value.serialize(&mut Serializer::with_formatter(&mut json, GoFormatter));
    debug_assert!(written.is_ok(), "a wire type that cannot be written");
    json.push(b'\n');
    json
}

/// Appends `text` as a JSON string.
pub fn push_json_string(json: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail.
    let _ = text.serialize(&mut Serializer::with_formatter(json, GoFormatter));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let json = to_go_json(&"<a>&\u{2028}\u{2029}\"\\\n\u{1}é\u{7f}");
        assert_eq!(
            String::from_utf8(json).expect("UTF-8"),
            "\"\\u003ca\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\u0001é\u{7f}\"\n"
        );
    }
}
