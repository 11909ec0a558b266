//! JSON as Go's encoder writes it: compact, and safe inside of HTML.
//!
//! `<`, `>` and `&` are `\u003c`, `\u003e` and `\u0026`; U+2028 and U+2029 are escaped, too. Clients
//! compare texts byte by byte, hence the same bytes here.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Writes `value` and one line break, as answers have it.
pub fn to_go_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = to_go_json_value(value);
    text.push(b'\n');
    text
}

/// Writes `value` without a line break.
pub fn to_go_json_value(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, GoFormatter);
    #[expect(
        clippy::expect_used,
        reason = "writing to a Vec cannot fail, and wire types have string keys and derived impls"
    )]
    value.serialize(&mut serializer).expect("a wire type");
    text
}

/// Writes `text` as a JSON string, with its quotes.
pub fn string(text: &str) -> String {
    String::from_utf8(to_go_json_value(&text)).unwrap_or_default()
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut chars = special.chars();
            if let Some(char) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(char))?;
            }
            rest = chars.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_does() {
        for (text, expected) in [
            ("", r#""""#),
            ("plain", r#""plain""#),
            ("<unknown>", r#""\u003cunknown\u003e""#),
            ("a&b", r#""a\u0026b""#),
            ("x\u{2028}y\u{2029}", r#""x\u2028y\u2029""#),
            ("\"\\\n\r\t\u{8}\u{c}\u{1}", r#""\"\\\n\r\t\b\f\u0001""#),
            ("é\u{7f}/'", "\"é\u{7f}/'\""),
        ] {
            assert_eq!(string(text), expected);
        }
    }

    #[test]
    fn values_end_in_one_line_break() {
        assert_eq!(to_go_json(&["<", "b"]), b"[\"\\u003c\",\"b\"]\n");
        assert_eq!(to_go_json_value(&7), b"7");
    }
}
