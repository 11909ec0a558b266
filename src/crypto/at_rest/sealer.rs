//! Sealing of records under a root key.
//!
//! ```text
//! PRK        = HKDF-Extract(salt = cluster id ‖ epoch, root key)
//! record key = HKDF-Expand(PRK, "kes/rec/1" ‖ kind ‖ 0 ‖ salt)
//! sealed     = 1 ‖ epoch (4, big endian) ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)
//! aad        = 1 ‖ epoch ‖ cluster id ‖ length of kind (1) ‖ kind ‖ name
//! ```
//!
//! Each record has a key of its own, so that no number of records wears out a nonce space
//! (SP 800-38D, 8.3). The associated data bind a record to its place: it opens under no other name,
//! as no other kind and in no other cluster.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

use super::root_key::{RootKey, RootKeyId, expand};
use super::{ClusterId, Epoch, OVERHEAD, epoch_of};
use crate::base::secret::{Key256, SecretBytes};

/// Fresh random bytes that sealing takes: the salt, then the nonce.
pub const SEAL_RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Version and epoch.
const HEAD_BYTES: usize = 5;

const _: () = assert!(OVERHEAD == HEAD_BYTES + SEAL_RANDOM_BYTES + TAG_BYTES);

/// A sealed record cannot be opened.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// Not the form of a sealed record.
    #[error("it is not a sealed record")]
    Malformed,
    /// Sealed under another root key.
    #[error("it is sealed under another root key")]
    WrongEpoch,
    /// Changed, or moved from another place.
    #[error("it is not authentic")]
    NotAuthentic,
}

/// More than a record may have (64 GiB).
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("the record is too large to be sealed")]
pub struct TooLarge;

/// Seals and opens the records of one cluster under one of its root keys. Wiped on drop.
pub struct Sealer {
    root_key_id: RootKeyId,
    cluster_id: ClusterId,
    epoch: Epoch,
    prk: Hkdf<Sha256>,
}

impl Sealer {
    /// Prepares `root` for use as the root key `epoch` of the cluster `cluster_id`.
    pub fn new(root: &RootKey, cluster_id: ClusterId, epoch: Epoch) -> Self {
        let salt = [&cluster_id.0[..], &epoch.to_be_bytes()].concat();
        Self {
            root_key_id: root.id(),
            cluster_id,
            epoch,
            prk: root.extract(&salt),
        }
    }

    /// The root key under which this seals.
    pub fn root_key_id(&self) -> RootKeyId {
        self.root_key_id
    }

    /// The cluster for which this seals.
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The epoch under which this seals.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What only a holder of the root key can compute, and what does not help to compute it.
    pub fn check_value(&self) -> [u8; 32] {
        *self.derive(&[b"kes/chk/1"])
    }

    /// Seals `plaintext` as the record `kind`, `name`. `random` must be fresh.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] if the cipher cannot take it.
    pub fn seal(
        &self,
        kind: &str,
        name: &str,
        plaintext: &[u8],
        random: &[u8; SEAL_RANDOM_BYTES],
    ) -> Result<Vec<u8>, TooLarge> {
        let (salt, nonce) = random.split_at(SALT_BYTES);
        let mut sealed = Vec::with_capacity(OVERHEAD + plaintext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.epoch.to_be_bytes());
        sealed.extend_from_slice(random);
        let start = sealed.len();
        sealed.extend_from_slice(plaintext);
        let aad = self.associated_data(kind, name);
        let buffer = &mut sealed[start..];
        match seal_in_place(&self.record_key(kind, salt), nonce, &aad, buffer) {
            Some(tag) => {
                sealed.extend_from_slice(&tag);
                Ok(sealed)
            }
            None => {
                buffer.zeroize();
                Err(TooLarge)
            }
        }
    }

    /// Opens what [`Self::seal`] made of the record `kind`, `name`.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing of the plaintext is given out then.
    pub fn open(&self, kind: &str, name: &str, sealed: &[u8]) -> Result<SecretBytes, OpenError> {
        match epoch_of(sealed) {
            None => return Err(OpenError::Malformed),
            Some(epoch) if epoch != self.epoch => return Err(OpenError::WrongEpoch),
            Some(_) => {}
        }
        let (salt, rest) = sealed[HEAD_BYTES..].split_at(SALT_BYTES);
        let (nonce, rest) = rest.split_at(NONCE_BYTES);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG_BYTES);
        let aad = self.associated_data(kind, name);
        let mut buffer = ciphertext.to_vec();
        match open_in_place(&self.record_key(kind, salt), nonce, &aad, &mut buffer, tag) {
            true => Ok(SecretBytes::new(buffer)),
            false => Err(OpenError::NotAuthentic),
        }
    }

    /// A key for the purpose that `info` names.
    pub(super) fn derive(&self, info: &[&[u8]]) -> Key256 {
        expand(&self.prk, info)
    }

    fn record_key(&self, kind: &str, salt: &[u8]) -> Key256 {
        self.derive(&[b"kes/rec/1", kind.as_bytes(), &[0], salt])
    }

    fn associated_data(&self, kind: &str, name: &str) -> Vec<u8> {
        let mut aad = vec![VERSION];
        aad.extend_from_slice(&self.epoch.to_be_bytes());
        aad.extend_from_slice(&self.cluster_id.0);
        aad.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        aad.extend_from_slice(kind.as_bytes());
        aad.extend_from_slice(name.as_bytes());
        aad
    }
}

/// Encrypts `buffer` with a key that is used once; its tag, or `None` if it is too large.
pub(super) fn seal_in_place(
    key: &Key256,
    nonce: &[u8],
    aad: &[u8],
    buffer: &mut [u8],
) -> Option<[u8; TAG_BYTES]> {
    let cipher = Aes256Gcm::new_from_slice(key.as_slice()).ok()?;
    let nonce = nonce.try_into().ok()?;
    let tag = cipher
        .encrypt_inout_detached(nonce, aad, buffer.into())
        .ok()?;
    Some(tag.into())
}

/// Decrypts `buffer` if it is authentic; otherwise it is wiped.
pub(super) fn open_in_place(
    key: &Key256,
    nonce: &[u8],
    aad: &[u8],
    buffer: &mut [u8],
    tag: &[u8],
) -> bool {
    let opened = (|| {
        let cipher = Aes256Gcm::new_from_slice(key.as_slice()).ok()?;
        let (nonce, tag) = (nonce.try_into().ok()?, tag.try_into().ok()?);
        let buffer = (&mut *buffer).into();
        cipher.decrypt_inout_detached(nonce, aad, buffer, tag).ok()
    })();
    if opened.is_none() {
        buffer.zeroize();
    }
    opened.is_some()
}
