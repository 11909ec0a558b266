//! What a keystore holds for a key: a secret key, an HMAC key, and who made them when.
//!
//! The stored form is shared with the original: base64 of a protobuf. Keys of before 2024 are JSON
//! and have no HMAC key; they are read, never written.

use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::cipher::{Cipher, SecretKey};
use super::hmac::HmacKey;
use super::json;
use super::random::{self, RandomError};
use crate::base::base64::{self, IllegalBase64};
use crate::base::clock::Timestamp;
use crate::base::secret::{Key256, SecretBytes};

/// The messages of `proto/kes/stored/v1/key.proto`.
#[expect(unreachable_pub, reason = "generated code")]
mod stored {
    include!(concat!(env!("OUT_DIR"), "/kes.stored.v1.rs"));
}

impl Drop for stored::SecretKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for stored::HmacKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The number of HMAC-SHA-256 in the stored form.
const HASH_SHA256: u32 = 1;

/// The one version of a named key.
#[derive(Clone)]
pub struct KeyVersion {
    /// Encrypts and decrypts.
    pub key: SecretKey,
    /// Absent from keys of before 2024.
    pub hmac: Option<HmacKey>,
    /// When the key was made; [`Timestamp::ZERO`] if that was not recorded.
    pub created_at: Timestamp,
    /// The identity of who made it; empty if that was not recorded.
    pub created_by: String,
}

/// The key cannot be stored in the current form.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// Keys of the legacy form are not converted: they would gain an HMAC key unasked.
    #[error("crypto: key without HMAC key cannot be stored")]
    NoHmacKey,
    /// More than a second of nanoseconds.
    #[error("crypto: invalid creation time")]
    InvalidTime,
}

/// The stored value is not a key. No text of these holds a part of it but the name of an algorithm.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Neither JSON nor base64.
    #[error(transparent)]
    NotBase64(#[from] IllegalBase64),
    /// Base64 of something else.
    #[error("crypto: stored key is not a valid protobuf message")]
    Protobuf(#[source] prost::DecodeError),
    /// JSON, but not an object with the members of a key.
    #[error("crypto: stored key is not a JSON object of strings")]
    Json,
    /// The message lacks the secret key.
    #[error("crypto: stored key has no secret key")]
    NoSecretKey,
    /// A secret key that is not 32 bytes long.
    #[error("crypto: invalid secret key length '{0}'")]
    SecretKeyLength(usize),
    /// A secret key of a cipher with an unknown number.
    #[error("crypto: invalid secret key type '{0}'")]
    SecretKeyType(u32),
    /// An HMAC key that is not 32 bytes long.
    #[error("crypto: invalid HMAC key length '{0}'")]
    HmacKeyLength(usize),
    /// An HMAC key for a hash function with an unknown number.
    #[error("crypto: invalid HMAC key hash '{0}'")]
    HmacKeyHash(u32),
    /// A JSON key that is not 32 bytes long.
    #[error("crypto: invalid key length '{length}' for '{cipher}'")]
    LegacyKeyLength {
        /// Bytes of the key.
        length: usize,
        /// What the key claims to be for.
        cipher: Cipher,
    },
    /// A JSON key with an unknown algorithm.
    #[error("crypto: secret key type '{0}' is not supported")]
    LegacyAlgorithm(String),
    /// A JSON key with a creation time that is none.
    #[error("crypto: creation time of stored key is not RFC 3339")]
    LegacyTime,
}

impl KeyVersion {
    /// A fresh secret key for `cipher`, with a fresh HMAC key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system has no random bytes.
    pub fn generate(
        cipher: Cipher,
        created_at: Timestamp,
        created_by: &str,
    ) -> Result<Self, RandomError> {
        let key = Key256::new(random::array()?);
        Self::import(cipher, key, created_at, created_by)
    }

    /// The secret key `key` of somebody else, with a fresh HMAC key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system has no random bytes.
    pub fn import(
        cipher: Cipher,
        key: Key256,
        created_at: Timestamp,
        created_by: &str,
    ) -> Result<Self, RandomError> {
        Ok(Self {
            key: SecretKey::new(cipher, key),
            hmac: Some(HmacKey::new(Key256::new(random::array()?))),
            created_at,
            created_by: created_by.to_owned(),
        })
    }

    /// The value to store, as text.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if there is no HMAC key, or the time is not one.
    pub fn encode(&self) -> Result<SecretBytes, EncodeError> {
        let hmac = self.hmac.as_ref().ok_or(EncodeError::NoHmacKey)?;
        let nanos = i32::try_from(self.created_at.nanos)
            .ok()
            .filter(|nanos| *nanos < 1_000_000_000)
            .ok_or(EncodeError::InvalidTime)?;
        let message = stored::KeyVersion {
            key: Some(stored::SecretKey {
                key: self.key.bytes().to_vec(),
                r#type: cipher_number(self.key.cipher()),
            }),
            hmac_key: Some(stored::HmacKey {
                key: hmac.bytes().to_vec(),
                hash: HASH_SHA256,
            }),
            created_at: Some(prost_types::Timestamp {
                seconds: self.created_at.seconds,
                nanos,
            }),
            created_by: self.created_by.clone(),
        };
        let encoded = Zeroizing::new(message.encode_to_vec());
        Ok(SecretBytes::new(base64::encode(&encoded).into_bytes()))
    }

    /// Reads a stored value, in the current or the legacy form.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is not a key.
    pub fn decode(stored: &[u8]) -> Result<Self, DecodeError> {
        if json::is_json(stored) {
            return Self::decode_legacy(stored);
        }
        let decoded = Zeroizing::new(base64::decode(stored)?);
        let message =
            stored::KeyVersion::decode(decoded.as_slice()).map_err(DecodeError::Protobuf)?;
        let key = message.key.as_ref().ok_or(DecodeError::NoSecretKey)?;
        Ok(Self {
            key: decode_secret_key(key)?,
            hmac: message.hmac_key.as_ref().map(decode_hmac_key).transpose()?,
            created_at: decode_timestamp(message.created_at.unwrap_or_default()),
            created_by: message.created_by,
        })
    }

    fn decode_legacy(stored: &[u8]) -> Result<Self, DecodeError> {
        let [bytes, algorithm, created_at, created_by] =
            json::string_members(stored, ["bytes", "algorithm", "created_at", "created_by"])
                .map_err(|_| DecodeError::Json)?;
        let algorithm = algorithm
            .as_ref()
            .map_or("", |algorithm| algorithm.as_str());
        let cipher = match algorithm {
            "" => Cipher::Aes256,
            name => {
                Cipher::parse(name).ok_or_else(|| DecodeError::LegacyAlgorithm(name.to_owned()))?
            }
        };
        let bytes = match bytes {
            Some(text) => Zeroizing::new(base64::decode(text.as_bytes())?),
            None => Zeroizing::default(),
        };
        let key = Key256::from_slice(&bytes).ok_or(DecodeError::LegacyKeyLength {
            length: bytes.len(),
            cipher,
        })?;
        let created_at = match created_at {
            Some(text) => Timestamp::parse_rfc3339(text.as_str()).ok_or(DecodeError::LegacyTime)?,
            None => Timestamp::ZERO,
        };
        Ok(Self {
            key: SecretKey::new(cipher, key),
            hmac: None,
            created_at,
            created_by: created_by.map_or_else(String::new, |text| text.as_str().to_owned()),
        })
    }
}

fn cipher_number(cipher: Cipher) -> u32 {
    match cipher {
        Cipher::Aes256 => 1,
        Cipher::ChaCha20 => 2,
    }
}

fn decode_secret_key(message: &stored::SecretKey) -> Result<SecretKey, DecodeError> {
    let cipher = match message.r#type {
        1 => Cipher::Aes256,
        2 => Cipher::ChaCha20,
        other => return Err(DecodeError::SecretKeyType(other)),
    };
    let key =
        Key256::from_slice(&message.key).ok_or(DecodeError::SecretKeyLength(message.key.len()))?;
    Ok(SecretKey::new(cipher, key))
}

fn decode_hmac_key(message: &stored::HmacKey) -> Result<HmacKey, DecodeError> {
    let key =
        Key256::from_slice(&message.key).ok_or(DecodeError::HmacKeyLength(message.key.len()))?;
    if message.hash != HASH_SHA256 {
        return Err(DecodeError::HmacKeyHash(message.hash));
    }
    Ok(HmacKey::new(key))
}

/// A missing time is the zero of the message, 1970. Nanoseconds outside of a second are carried.
fn decode_timestamp(message: prost_types::Timestamp) -> Timestamp {
    let carried = i64::from(message.nanos.div_euclid(1_000_000_000));
    Timestamp {
        seconds: message.seconds.saturating_add(carried),
        nanos: message.nanos.rem_euclid(1_000_000_000).unsigned_abs(),
    }
}

#[cfg(test)]
mod tests;
