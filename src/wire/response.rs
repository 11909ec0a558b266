//! The answers of the cryptographic routes: writers for the server, parsers for the client.
//!
//! Hot path: the writers fill one buffer of exactly the right size, so that no copy of a plaintext is
//! left behind by a reallocation. Who gets the buffer decides when it is wiped.

use serde::de::MapAccess;

use super::object::{self, Members, is};
use crate::base::base64;
use crate::base::secret::SecretBytes;

/// Writes the answer of `/v1/key/generate/`.
pub fn data_key(plaintext: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    members_of_bytes(&[("plaintext", plaintext), ("ciphertext", ciphertext)], 0)
}

/// Writes the answer of `/v1/key/encrypt/`.
pub fn ciphertext(ciphertext: &[u8]) -> Vec<u8> {
    members_of_bytes(&[("ciphertext", ciphertext)], 0)
}

/// Writes the answer of `/v1/key/decrypt/`.
pub fn plaintext(plaintext: &[u8]) -> Vec<u8> {
    members_of_bytes(&[("plaintext", plaintext)], 0)
}

/// Writes the answer of `/v1/key/hmac/`.
pub fn hmac(hmac: &[u8]) -> Vec<u8> {
    members_of_bytes(&[("hmac", hmac)], 0)
}

/// Writes an object whose members are all bytes, and a line break, with room for `spare` more bytes.
pub(super) fn members_of_bytes(members: &[(&str, &[u8])], spare: usize) -> Vec<u8> {
    let size = |&(name, bytes): &(&str, &[u8])| name.len() + bytes.len().div_ceil(3) * 4 + 6;
    let total = members.iter().map(size).sum::<usize>() + 2 + spare;
    let mut text = String::with_capacity(total);
    let mut separator = "{\"";
    for (name, bytes) in members {
        text.push_str(separator);
        text.push_str(name);
        text.push_str("\":\"");
        base64::encode_into(bytes, &mut text);
        text.push('"');
        separator = ",\"";
    }
    text.push_str("}\n");
    text.into_bytes()
}

/// A data key, as generated: once in the clear and once encrypted.
#[derive(Default)]
pub struct DataKey {
    /// The key. Never stored.
    pub plaintext: SecretBytes,
    /// The key encrypted by the server, to be stored.
    pub ciphertext: Vec<u8>,
}

/// Parses the answer of `/v1/key/generate/`.
///
/// # Errors
///
/// If `body` does not begin with a JSON object, or a member is not base64.
pub fn parse_data_key(body: &[u8]) -> Result<DataKey, serde_json::Error> {
    object::parse(body)
}

/// Parses the answer of `/v1/key/encrypt/`.
///
/// # Errors
///
/// As [`parse_data_key`].
pub fn parse_ciphertext(body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    parse_data_key(body).map(|answer| answer.ciphertext)
}

/// Parses the answer of `/v1/key/decrypt/`.
///
/// # Errors
///
/// As [`parse_data_key`].
pub fn parse_plaintext(body: &[u8]) -> Result<SecretBytes, serde_json::Error> {
    parse_data_key(body).map(|answer| answer.plaintext)
}

/// Parses the answer of `/v1/key/hmac/`.
///
/// # Errors
///
/// As [`parse_data_key`].
pub fn parse_hmac(body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    object::parse::<HmacResponse>(body).map(|answer| answer.hmac)
}

#[derive(Default)]
struct HmacResponse {
    hmac: Vec<u8>,
}

impl<'de> Members<'de> for DataKey {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        if is(name, "plaintext") {
            self.plaintext = object::secret(map)?;
        } else if is(name, "ciphertext") {
            self.ciphertext = object::bytes(map)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl<'de> Members<'de> for HmacResponse {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        let known = is(name, "hmac");
        if known {
            self.hmac = object::bytes(map)?;
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, after a check that no byte of room was wasted or missing.
    fn exact(body: Vec<u8>) -> String {
        let spare = body.capacity() - body.len();
        assert!(spare <= 1, "{spare} bytes of room left over");
        String::from_utf8(body).expect("ASCII")
    }

    #[test]
    fn answers_are_compact_and_end_in_a_line_break() {
        assert_eq!(
            exact(data_key(b"hi", b"\xff\xff\xfe")),
            "{\"plaintext\":\"aGk=\",\"ciphertext\":\"///+\"}\n"
        );
        assert_eq!(exact(ciphertext(b"a")), "{\"ciphertext\":\"YQ==\"}\n");
        assert_eq!(exact(plaintext(b"")), "{\"plaintext\":\"\"}\n");
        assert_eq!(exact(hmac(&[0; 3])), "{\"hmac\":\"AAAA\"}\n");
    }

    #[test]
    fn the_client_reads_what_the_server_writes() {
        let read = parse_data_key(&data_key(b"secret", b"sealed")).expect("an answer");
        assert_eq!(read.plaintext.expose(), b"secret");
        assert_eq!(read.ciphertext, b"sealed");
        assert_eq!(parse_ciphertext(&ciphertext(b"x")).expect("one"), b"x");
        assert_eq!(parse_plaintext(&plaintext(b"")).expect("one").expose(), b"");
        assert_eq!(parse_hmac(&hmac(&[7; 32])).expect("one"), [7; 32]);
    }

    #[test]
    fn the_client_ignores_unknown_members() {
        let body = br#"{"version":"v1","Plaintext":"aGk=","ciphertext":null,"x":[{}]}"#;
        let read = parse_data_key(body).expect("an answer");
        assert_eq!(read.plaintext.expose(), b"hi");
        assert_eq!(read.ciphertext, b"");
        assert!(parse_data_key(b"").is_err());
        assert!(parse_hmac(br#"{"hmac":"?"}"#).is_err());
    }
}
