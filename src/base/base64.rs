//! Base64 as the KES protocol reads and writes it: RFC 4648, standard alphabet, padded.
//!
//! The reader is as lenient as the clients expect: `\r` and `\n` inside the text are skipped, and
//! left-over bits of the last group need not be zero. Anything else is an error with its offset.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Padded, with left-over bits allowed.
const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The text is not base64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IllegalBase64 {
    /// Offset of the first byte that does not fit.
    pub offset: usize,
}

impl fmt::Display for IllegalBase64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "illegal base64 data at input byte {}", self.offset)
    }
}

impl std::error::Error for IllegalBase64 {}

/// Encodes `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    ENGINE.encode(bytes)
}

/// Appends the encoding of `bytes` to `text`.
pub fn encode_into(bytes: &[u8], text: &mut String) {
    ENGINE.encode_string(bytes, text);
}

/// Decodes `text`.
///
/// # Errors
///
/// [`IllegalBase64`] with the offset at which the text stops being base64.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, IllegalBase64> {
    if let Ok(bytes) = ENGINE.decode(text) {
        return Ok(bytes);
    }
    if let Some(offset) = first_illegal(text) {
        return Err(IllegalBase64 { offset });
    }
    let stripped: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !is_line_break(*byte))
        .collect();
    let decoded = ENGINE.decode(&stripped);
    zeroize::Zeroize::zeroize(&mut { stripped });
    decoded.map_err(|_| IllegalBase64 { offset: text.len() })
}

fn is_line_break(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// Finds where `text` stops being base64, line breaks aside.
fn first_illegal(text: &[u8]) -> Option<usize> {
    let mut group = 0; // digits of the current group of four
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\r' | b'\n' => {}
            b'=' => return illegal_padding(text, at, group),
            _ if byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/' => {
                group = (group + 1) % 4;
            }
            _ => return Some(at),
        }
        at += 1;
    }
    (group != 0).then(|| at - group)
}

/// Checks the padding that begins at `at`, after `group` digits of the last group.
fn illegal_padding(text: &[u8], at: usize, group: usize) -> Option<usize> {
    let next_after = |from: usize| {
        (from..text.len())
            .find(|&index| !is_line_break(text[index]))
            .unwrap_or(text.len())
    };
    let mut next = next_after(at + 1);
    match group {
        2 if next == text.len() => return Some(text.len()),
        2 if text[next] != b'=' => return Some(next - 1),
        2 => next = next_after(next + 1),
        3 => {}
        _ => return Some(at),
    }
    (next < text.len()).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_the_protocol_allows() {
        assert_eq!(decode(b"aGk="), Ok(b"hi".to_vec()));
        assert_eq!(decode(b"aGl="), Ok(b"hi".to_vec()));
        assert_eq!(decode(b"a\r\nGk\n=\n"), Ok(b"hi".to_vec()));
        assert_eq!(decode(b""), Ok(Vec::new()));
        assert_eq!(decode(b"\n"), Ok(Vec::new()));
    }

    #[test]
    fn names_the_offset_of_what_it_refuses() {
        for (text, offset) in [
            (&b"zz"[..], 0),
            (b"aGk", 0),
            (b"aGkaG", 4),
            (b"a-k=", 1),
            (b"aGk=a", 4),
            (b"=", 0),
            (b"aG=", 3),
            (b"aG=x", 2),
            (b"aGk= ", 4),
        ] {
            assert_eq!(decode(text), Err(IllegalBase64 { offset }), "{text:?}");
        }
    }
}
