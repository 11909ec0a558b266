//! Root keys: what all other keys of a cluster are derived from.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::base::secret::{Key256, SecretString};
use crate::crypto::random::{self, RandomError};

/// What the text of a root key begins with.
const PREFIX: &str = "kes:root:v1:";

/// Bytes of the key, and of the sum that finds typing errors.
const KEY_BYTES: usize = 32;
const SUM_BYTES: usize = 4;

/// The text is not a root key. None of these tells anything of what was read.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootKeyError {
    /// It does not begin as one.
    #[error("invalid root key: it must begin with '{PREFIX}'")]
    Prefix,
    /// What follows is not base64.
    #[error("invalid root key: illegal characters or length")]
    NotBase64,
    /// Not as long as a root key.
    #[error("invalid root key: invalid length")]
    Length,
    /// The checksum is another one.
    #[error("invalid root key: the checksum does not match, so it was mistyped or cut")]
    Checksum,
    /// There is none.
    #[error("there is no root key")]
    Missing,
}

/// Tells root keys apart and says nothing about them: eight bytes derived one way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RootKeyId(pub [u8; 8]);

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The root of a cluster's keys: 256 random bits. Wiped on drop.
///
/// Its text form is `kes:root:v1:` and base64url (RFC 4648, 5, without padding) of the key and the
/// first four bytes of SHA-256("kes root key" ‖ key).
#[derive(Clone)]
pub struct RootKey(Key256);

impl RootKey {
    /// A fresh key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(Key256::new(random::array()?)))
    }

    /// The key of these bytes, which must be random.
    pub fn from_bytes(bytes: Key256) -> Self {
        Self(bytes)
    }

    /// Parses the text form; blanks around it are ignored.
    ///
    /// # Errors
    ///
    /// [`RootKeyError`] if it is none.
    pub fn parse(text: &str) -> Result<Self, RootKeyError> {
        let encoded = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(RootKeyError::Prefix)?;
        let decoded = URL_SAFE_NO_PAD
            .decode(encoded)
            .map(Zeroizing::new)
            .map_err(|_| RootKeyError::NotBase64)?;
        if decoded.len() != KEY_BYTES + SUM_BYTES {
            return Err(RootKeyError::Length);
        }
        let (key, sum) = decoded.split_at(KEY_BYTES);
        let key = Key256::from_slice(key).ok_or(RootKeyError::Length)?;
        if !bool::from(checksum(&key).ct_eq(sum)) {
            return Err(RootKeyError::Checksum);
        }
        Ok(Self(key))
    }

    /// The text form, which [`Self::parse`] reads.
    pub fn to_text(&self) -> SecretString {
        let mut bytes = Zeroizing::new([0; KEY_BYTES + SUM_BYTES]);
        bytes[..KEY_BYTES].copy_from_slice(self.0.as_slice());
        bytes[KEY_BYTES..].copy_from_slice(&checksum(&self.0));
        let mut text = String::with_capacity(PREFIX.len() + 48);
        text.push_str(PREFIX);
        // Reserved at once: a text that grows leaves copies behind.
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        SecretString::new(text)
    }

    /// Which key this is.
    pub fn id(&self) -> RootKeyId {
        let derived = self.derive(b"kes root key", b"kes/id/1");
        let mut id = [0; 8];
        id.copy_from_slice(&derived[..8]);
        RootKeyId(id)
    }

    /// A key for another purpose: HKDF-SHA-256 (RFC 5869) of the root key with `salt`, expanded for
    /// `purpose`.
    pub fn derive(&self, salt: &[u8], purpose: &[u8]) -> Key256 {
        expand(&Hkdf::new(Some(salt), self.0.as_slice()), &[purpose])
    }

    pub(super) fn extract(&self, salt: &[u8]) -> Hkdf<Sha256> {
        Hkdf::new(Some(salt), self.0.as_slice())
    }
}

/// A 256-bit key from `prk` for the purpose that `info` names.
pub(super) fn expand(prk: &Hkdf<Sha256>, info: &[&[u8]]) -> Key256 {
    let mut okm = Zeroizing::new([0; KEY_BYTES]);
    // Fails only for more than 255 blocks of output; this is one.
    let expanded = prk.expand_multi_info(info, okm.as_mut_slice());
    debug_assert!(expanded.is_ok());
    Key256::new(*okm)
}

fn checksum(key: &Key256) -> [u8; SUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"kes root key");
    hash.update(key.as_slice());
    let digest: [u8; 32] = hash.finalize().into();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// The root keys that a node was given.
#[derive(Clone)]
pub struct Keyring {
    /// Never empty; the first is the preferred one.
    keys: Vec<RootKey>,
}

impl Keyring {
    /// A keyring of `keys`, the preferred one first: it founds a cluster and vouches for the node.
    ///
    /// # Errors
    ///
    /// [`RootKeyError::Missing`] if there is none.
    pub fn new(keys: Vec<RootKey>) -> Result<Self, RootKeyError> {
        match keys.is_empty() {
            true => Err(RootKeyError::Missing),
            false => Ok(Self { keys }),
        }
    }

    /// The preferred key.
    pub fn preferred(&self) -> &RootKey {
        // `new` lets no empty keyring pass.
        &self.keys[0]
    }

    /// The key with that id.
    pub fn get(&self, id: RootKeyId) -> Option<&RootKey> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// All keys, the preferred one first.
    pub fn keys(&self) -> &[RootKey] {
        &self.keys
    }
}
