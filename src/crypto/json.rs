//! The string members of a JSON object, read as leniently as the original reads them.
//!
//! Names match without regard to case, unknown members are skipped whatever they hold, the last of
//! several wins, `null` counts as absent, for the document too. An error of the parser must not
//! leave this module: its text may quote the document, which may be a key.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use zeroize::Zeroize;

/// The document is not an object with strings at the members that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NotStringMembers;

/// The members of the object `json` called `names`, in that order.
pub(super) fn string_members<'de, const N: usize>(
    json: &'de [u8],
    names: [&str; N],
) -> Result<[Option<Text<'de>>; N], NotStringMembers> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let members = Members(names)
        .deserialize(&mut deserializer)
        .map_err(|_| NotStringMembers)?;
    deserializer.end().map_err(|_| NotStringMembers)?;
    Ok(members)
}

/// Whether the whole of `text` is one JSON value.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// A string of the document. Wiped on drop if it had to be copied.
pub(super) struct Text<'de>(Cow<'de, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
        }
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Reads the members with these names.
struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, N> {
    type Value = [Option<Text<'de>>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<Text<'de>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok([const { None }; N])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = [const { None }; N];
        while let Some(name) = object.next_key::<Text<'de>>()? {
            let known = self
                .0
                .iter()
                .position(|known| known.eq_ignore_ascii_case(name.as_str()));
            match known {
                Some(index) => members[index] = object.next_value()?,
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(members)
    }
}
