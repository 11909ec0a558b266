//! What the client tolerates in answers: `null` for any zero value, and numbers in another notation.

use serde::{Deserialize, Deserializer};

use crate::base::clock::Timestamp;

/// Reads a value; `null` is its zero value.
pub(super) fn or_default<'de, T, D>(value: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(value).map(Option::unwrap_or_default)
}

/// Reads a count that some servers write with a fraction, which is cut off.
pub(super) fn whole<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Whole(u64),
        Other(f64),
    }
    match Option::deserialize(value)? {
        None => Ok(0),
        Some(Number::Whole(number)) => Ok(number),
        Some(Number::Other(number)) => std::time::Duration::try_from_secs_f64(number)
            .map(|seconds| seconds.as_secs())
            .map_err(serde::de::Error::custom),
    }
}

/// What stands for a point in time that nobody knows.
pub(super) fn zero_time() -> String {
    Timestamp::ZERO.to_rfc3339()
}

/// Whether a member is left out because it is zero.
pub(super) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a member is left out because it is false.
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Reads an answer off the front of `body`; what follows is ignored.
///
/// # Errors
///
/// If `body` does not begin with JSON of the expected shape.
pub(super) fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, serde_json::Error> {
    T::deserialize(&mut serde_json::Deserializer::from_slice(body))
}
