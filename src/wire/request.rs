//! Request bodies, read by the rules of Go's decoder: one value from the front and nothing behind it
//! looked at, member names in any letter case, the last of equal members wins, `null` for anything
//! is its zero value, unknown members are ignored.
//!
//! Hot path: one pass, and no allocation but for the decoded bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::base::base64;
use crate::base::secret::SecretBytes;

/// The body is not what the route takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid request body")]
pub struct InvalidBody;

/// `/v1/key/encrypt/`.
pub struct EncryptRequest {
    /// What to encrypt.
    pub plaintext: SecretBytes,
    /// What the ciphertext is bound to.
    pub context: Vec<u8>,
}

/// `/v1/key/generate/`.
pub struct GenerateRequest {
    /// What the ciphertext is bound to.
    pub context: Vec<u8>,
}

/// `/v1/key/decrypt/`.
pub struct DecryptRequest {
    /// What to decrypt.
    pub ciphertext: Vec<u8>,
    /// What the ciphertext is bound to.
    pub context: Vec<u8>,
}

/// `/v1/key/hmac/`.
pub struct HmacRequest {
    /// What to authenticate.
    pub message: SecretBytes,
}

/// `/v1/key/import/`.
pub struct ImportRequest {
    /// Key material.
    pub key: SecretBytes,
    /// Algorithm as the client spells it.
    pub cipher: String,
}

/// Reads the body of an encrypt request.
///
/// # Errors
///
/// [`InvalidBody`] if it is no JSON object or null, or a member has the wrong type.
pub fn parse_encrypt(body: &[u8]) -> Result<EncryptRequest, InvalidBody> {
    let [plaintext, context] = parse(body, ["plaintext", "context"])?;
    Ok(EncryptRequest { plaintext: SecretBytes::new(plaintext), context })
}

/// Reads the body of a generate request.
///
/// # Errors
///
/// As [`parse_encrypt`].
pub fn parse_generate(body: &[u8]) -> Result<GenerateRequest, InvalidBody> {
    let [context] = parse(body, ["context"])?;
    Ok(GenerateRequest { context })
}

/// Reads the body of a decrypt request.
///
/// # Errors
///
/// As [`parse_encrypt`].
pub fn parse_decrypt(body: &[u8]) -> Result<DecryptRequest, InvalidBody> {
    let [ciphertext, context] = parse(body, ["ciphertext", "context"])?;
    Ok(DecryptRequest { ciphertext, context })
}

/// Reads the body of an HMAC request.
///
/// # Errors
///
/// As [`parse_encrypt`].
pub fn parse_hmac(body: &[u8]) -> Result<HmacRequest, InvalidBody> {
    let [message] = parse(body, ["message"])?;
    Ok(HmacRequest { message: SecretBytes::new(message) })
}

/// Reads the body of an import request. The names of an older API, `bytes` and `algorithm`, are
/// understood too; with them the algorithm may be missing and is AES256 then.
///
/// # Errors
///
/// As [`parse_encrypt`].
pub fn parse_import(body: &[u8]) -> Result<ImportRequest, InvalidBody> {
    let members = first_value(body, Members::<5>(["key", "cipher", "bytes", "algorithm", "version"]))?;
    let [key, cipher, bytes, algorithm, _] = members;
    if let Some(bytes) = bytes.filter(|_| key.is_none()) {
        let algorithm = text(algorithm)?.filter(|text| !text.is_empty());
        return Ok(ImportRequest {
            key: SecretBytes::new(binary(Some(bytes))?),
            cipher: algorithm.unwrap_or_else(|| "AES256".to_owned()),
        });
    }
    Ok(ImportRequest {
        key: SecretBytes::new(binary(key)?),
        cipher: text(cipher)?.unwrap_or_default(),
    })
}

/// Reads the binary members `names`; a member `version` must be a text and is ignored.
fn parse<const N: usize>(body: &[u8], names: [&'static str; N]) -> Result<[Vec<u8>; N], InvalidBody> {
    let parsed = first_value(body, BinaryMembers(names))?;
    Ok(parsed)
}

/// Parses the first JSON value of `body`. Invalid UTF-8 inside strings becomes U+FFFD.
fn first_value<'de, S>(body: &'de [u8], seed: S) -> Result<S::Value, InvalidBody>
where
    S: serde::de::DeserializeSeed<'de>,
{
    let mut parser = serde_json::Deserializer::from_slice(body);
    seed.deserialize(&mut parser).map_err(|_| InvalidBody)
}

/// A JSON value of which a member is made.
enum Raw {
    Null,
    /// A string: base64, or a text.
    Text(zeroize::Zeroizing<String>),
    /// An array of small integers.
    Bytes(Vec<u8>),
}

fn binary(raw: Option<Raw>) -> Result<Vec<u8>, InvalidBody> {
    match raw {
        None | Some(Raw::Null) => Ok(Vec::new()),
        Some(Raw::Text(text)) => base64::decode(text.as_bytes()).map_err(|_| InvalidBody),
        Some(Raw::Bytes(bytes)) => Ok(bytes),
    }
}

fn text(raw: Option<Raw>) -> Result<Option<String>, InvalidBody> {
    match raw {
        None | Some(Raw::Null) => Ok(None),
        Some(Raw::Text(text)) => Ok(Some(text.to_string())),
        Some(Raw::Bytes(_)) => Err(InvalidBody),
    }
}

/// Reads an object with these members, each a [`Raw`]; or null.
struct Members<const N: usize>([&'static str; N]);

impl<'de, const N: usize> serde::de::DeserializeSeed<'de> for Members<N> {
    type Value = [Option<Raw>; N];

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<Raw>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok([const { None }; N])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { None }; N];
        while let Some(Name(index)) = map.next_key_seed(NameSeed(&self.0))? {
            match index {
                Some(index) => members[index] = Some(map.next_value::<RawValue>()?.0),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

struct RawValue(Raw);

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of bytes or null")
            }

            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(zeroize::Zeroizing::new(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element::<Option<u8>>()? {
                    bytes.push(byte.unwrap_or(0));
                }
                Ok(Raw::Bytes(bytes))
            }
        }

        from.deserialize_any(Any).map(Self)
    }
}

/// Reads an object with these binary members, decoded as they are met; or null.
struct BinaryMembers<const N: usize>([&'static str; N]);

impl<'de, const N: usize> serde::de::DeserializeSeed<'de> for BinaryMembers<N> {
    type Value = [Vec<u8>; N];

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for BinaryMembers<N> {
    type Value = [Vec<u8>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok([const { Vec::new() }; N])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { Vec::new() }; N];
        while let Some(Name(index)) = map.next_key_seed(NameSeed(&self.0))? {
            match index {
                // `null` leaves what an earlier member of that name has set, as Go does.
                Some(index) => match map.next_value::<Binary>()?.0 {
                    Some(bytes) => members[index] = bytes,
                    None => members[index] = Vec::new(),
                },
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// Base64, an array of bytes, or null.
struct Binary(Option<Vec<u8>>);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Option<Vec<u8>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64, an array of bytes or null")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                base64::decode(text.as_bytes()).map(Some).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element::<Option<u8>>()? {
                    bytes.push(byte.unwrap_or(0));
                }
                Ok(Some(bytes))
            }
        }

        from.deserialize_any(Bytes).map(Self)
    }
}

/// Which of the wanted members a name is.
struct Name(Option<usize>);

struct NameSeed<'a, const N: usize>(&'a [&'static str; N]);

impl<'de, const N: usize> serde::de::DeserializeSeed<'de> for NameSeed<'_, N> {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Name, D::Error> {
        from.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for NameSeed<'_, N> {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(Name(self.0.iter().position(|wanted| wanted.eq_ignore_ascii_case(name))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encrypt(body: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        let request = parse_encrypt(body.as_bytes()).ok()?;
        Some((request.plaintext.expose().to_vec(), request.context.clone()))
    }

    #[test]
    fn bodies_are_read_as_go_reads_them() {
        let hi = || Some((b"hi".to_vec(), Vec::new()));
        for body in [
            r#"{"plaintext":"aGk="}"#,
            r#"{"PLAINTEXT":"aGk=","unknown":{"a":[1,2]}}"#,
            r#"{"plaintext":"aGk="} trailing"#,
            r#"{"plaintext":"eHg=","plaintext":"aGk="}"#,
            r#"{"plaintext":[104,105],"context":null,"version":"v1"}"#,
            "{\"plaintext\":\"aGk\\n=\"}",
            r#" {"plaintext":"aGl="}"#,
        ] {
            assert_eq!(encrypt(body), hi(), "{body}");
        }
        for body in ["null", "{}", r#"{"plaintext":null}"#] {
            assert_eq!(encrypt(body), Some((Vec::new(), Vec::new())), "{body}");
        }
        for body in [
            "",
            "[]",
            "1",
            "\"x\"",
            "{",
            r#"{"plaintext":1}"#,
            r#"{"plaintext":"aGk"}"#,
            r#"{"plaintext":"a-k="}"#,
            r#"{"plaintext":[256]}"#,
            r#"{"plaintext":{}}"#,
        ] {
            assert_eq!(encrypt(body), None, "{body}");
        }
    }

    #[test]
    fn imports_know_the_older_names() {
        let read = |body: &str| {
            let request = parse_import(body.as_bytes()).ok()?;
            Some((request.key.expose().to_vec(), request.cipher.clone()))
        };
        let hi = |cipher: &str| Some((b"hi".to_vec(), cipher.to_owned()));
        assert_eq!(read(r#"{"key":"aGk=","cipher":"ChaCha20"}"#), hi("ChaCha20"));
        assert_eq!(read(r#"{"bytes":"aGk="}"#), hi("AES256"));
        assert_eq!(read(r#"{"bytes":"aGk=","algorithm":"x"}"#), hi("x"));
        assert_eq!(read(r#"{"key":"aGk="}"#), hi(""));
        assert_eq!(read(r#"{"key":"aGk=","cipher":1}"#), None);
        assert_eq!(read(""), None);
    }

    proptest! {
        #[test]
        fn byte_soup_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_encrypt(&body);
            let _ = parse_decrypt(&body);
            let _ = parse_generate(&body);
            let _ = parse_hmac(&body);
            let _ = parse_import(&body);
        }

        #[test]
        fn json_soup_never_panics(body in r#"[{}\[\]",:a-z0-9\\u= ]{0,60}"#) {
            let _ = parse_encrypt(body.as_bytes());
            let _ = parse_import(body.as_bytes());
        }
    }
}
