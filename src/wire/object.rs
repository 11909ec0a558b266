//! Reads one JSON object with the leniency that the clients of the API rely on.
//!
//! One value is read from the front of the text and whatever follows is ignored. Names of members match
//! without regard to ASCII case, unknown members are skipped, of duplicates the last one counts, and
//! `null` stands for the zero value, of a member as of the whole.
//!
//! Hot path: strings are borrowed from the text; nothing is allocated but the decoded bytes. Secrets
//! must not pass through buffers that are not wiped; the one exception is a string with escapes, which
//! `serde_json` unescapes in a buffer of its own, and no known client sends.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::{Zeroize, Zeroizing};

use crate::base::base64;
use crate::base::secret::SecretBytes;

/// An object that [`parse`] can read.
pub(super) trait Members<'de>: Default {
    /// Takes the value of the member `name` out of `map`; `false`, and nothing taken, if there is no such
    /// member.
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error>;
}

/// Reads the object at the front of `text`.
pub(super) fn parse<'de, T: Members<'de>>(text: &'de [u8]) -> Result<T, serde_json::Error> {
    serde_json::Deserializer::from_slice(text).deserialize_any(ObjectVisitor(PhantomData))
}

/// Whether a member called `name` is the one that is documented as `expected`.
pub(super) fn is(name: &[u8], expected: &str) -> bool {
    name.eq_ignore_ascii_case(expected.as_bytes())
}

/// Takes a value of bytes.
pub(super) fn bytes<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<u8>, A::Error> {
    map.next_value_seed(Bytes)
}

/// Takes a value of bytes that must not be seen.
pub(super) fn secret<'de, A: MapAccess<'de>>(map: &mut A) -> Result<SecretBytes, A::Error> {
    map.next_value_seed(Bytes).map(SecretBytes::new)
}

/// Takes a text. Invalid UTF-8 in it is replaced, as Go does.
pub(super) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    let name = map.next_value_seed(NullableText)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Members<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        while let Some(name) = map.next_key_seed(RawText)? {
            if !object.read(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(object)
    }
}

/// A string as it stands in the text, UTF-8 or not.
struct RawText;

impl<'de> DeserializeSeed<'de> for RawText {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: serde::Deserializer<'de>>(self, text: D) -> Result<Self::Value, D::Error> {
        text.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for RawText {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: Error>(self, text: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_vec()))
    }
}

/// A string as [`RawText`], or `null` for the empty one.
struct NullableText;

impl<'de> DeserializeSeed<'de> for NullableText {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: serde::Deserializer<'de>>(self, text: D) -> Result<Self::Value, D::Error> {
        text.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for NullableText {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(&[]))
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, text: D) -> Result<Self::Value, D::Error> {
        RawText.deserialize(text)
    }
}

/// Bytes: a string of base64, an array of integers from 0 to 255, or `null` for none.
struct Bytes;

impl<'de> DeserializeSeed<'de> for Bytes {
    type Value = Vec<u8>;

    fn deserialize<D: serde::Deserializer<'de>>(self, value: D) -> Result<Vec<u8>, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64, an array of bytes, or null")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        base64::decode(text.as_bytes()).map_err(E::custom)
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(byte) = array.next_element::<Option<u8>>()? {
            push_wiping(&mut bytes, byte.unwrap_or_default());
        }
        Ok(std::mem::take(&mut *bytes))
    }
}

/// Appends `byte`; a buffer that has become too small is wiped before it is given back.
fn push_wiping(bytes: &mut Vec<u8>, byte: u8) {
    if bytes.len() == bytes.capacity() {
        let mut larger = Vec::with_capacity((bytes.capacity() * 2).max(64));
        larger.extend_from_slice(bytes);
        bytes.zeroize();
        *bytes = larger;
    }
    bytes.push(byte);
}
