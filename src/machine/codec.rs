//! The encoding of what is persisted: a version byte, then bincode 2 in its standard configuration
//! (little endian, integers of variable length). The only user of bincode.
//!
//! <https://github.com/bincode-org/bincode/blob/v2.0.1/docs/spec.md>. The bytes in `testdata`
//! hold every persisted type to it.

use bincode::config;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::limits::ENCODED_BYTES_MAX;

/// The first byte of every encoding.
pub const VERSION: u8 = 1;

/// Bound of what a decoder may claim. It counts the size of an integer in memory, up to 16 times
/// that of its encoding, so that it never refuses what [`encode`] made.
const CLAIM_BYTES_MAX: usize = 16 * ENCODED_BYTES_MAX;

/// Something cannot be encoded, or bytes are not an encoding.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The type is not one that bincode can encode.
    #[error("failed to encode: {0}")]
    Encode(#[source] bincode::error::EncodeError),
    /// More than [`ENCODED_BYTES_MAX`], or than the limit of a record.
    #[error("an encoding of {bytes} bytes is larger than {limit} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// No bytes at all.
    #[error("the encoding is empty")]
    Empty,
    /// Written by another, most likely a newer, version of this program.
    #[error("encoded in version {0}, but this program knows only version {VERSION}")]
    UnknownVersion(u8),
    /// The bytes are damaged, or of another type.
    #[error("failed to decode: {0}")]
    Decode(#[source] bincode::error::DecodeError),
    /// Bytes are left over.
    #[error("{0} bytes follow the encoded value")]
    TrailingBytes(usize),
    /// A record is stored under what no record can have as its id.
    #[error("a record has an unknown id of {0} bytes")]
    UnknownRecord(usize),
}

/// The encoding of `value`.
///
/// # Errors
///
/// [`CodecError::TooLarge`] if it has more than [`ENCODED_BYTES_MAX`] bytes, and
/// [`CodecError::Encode`] if `T` has no encoding, as sequences of unknown length.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, config::standard())
        .map_err(CodecError::Encode)?;
    check_length(bytes.len(), ENCODED_BYTES_MAX)?;
    Ok(bytes)
}

/// Undoes [`encode`]. `bytes` need not be trusted: memory is bounded by a multiple of their limit.
///
/// # Errors
///
/// [`CodecError`] unless all of `bytes` are the encoding of a `T` in a known version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    check_length(bytes.len(), ENCODED_BYTES_MAX)?;
    let encoded = match bytes.split_first() {
        Some((&VERSION, encoded)) => encoded,
        Some((&version, _)) => return Err(CodecError::UnknownVersion(version)),
        None => return Err(CodecError::Empty),
    };
    let config = config::standard().with_limit::<CLAIM_BYTES_MAX>();
    let (value, read) =
        bincode::serde::decode_from_slice(encoded, config).map_err(CodecError::Decode)?;
    match encoded.len() - read {
        0 => Ok(value),
        left => Err(CodecError::TrailingBytes(left)),
    }
}

/// # Errors
///
/// [`CodecError::TooLarge`] if an encoding has more bytes than its limit.
pub(super) fn check_length(bytes: usize, limit: usize) -> Result<(), CodecError> {
    match bytes > limit {
        true => Err(CodecError::TooLarge { bytes, limit }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
