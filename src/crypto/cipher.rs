//! Secret keys of the keystore and the ciphertexts they make: `sealed ‖ tag ‖ iv ‖ nonce`.
//!
//! Every ciphertext has a key of its own, derived from the secret key and the random `iv`; that
//! one-time key seals with AES-256-GCM or ChaCha20-Poly1305 under the random `nonce`. This is not
//! XChaCha20-Poly1305, whatever one of the names says: the inner nonce is twelve random bytes.
//! Nothing is ever returned from a ciphertext that is not authentic.

use std::array;
use std::fmt;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use chacha20::R20;
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::{Zeroize, Zeroizing};

use super::hmac::KeyedState;
use super::legacy;
use crate::base::secret::{Key256, SecretBytes};

/// Bytes that a ciphertext is longer than its plaintext: tag, iv and nonce.
pub const OVERHEAD: usize = TAG_BYTES + RANDOM_BYTES;

/// Fresh random bytes that sealing takes: the iv, then the nonce.
pub const RANDOM_BYTES: usize = IV_BYTES + NONCE_BYTES;

pub(super) const IV_BYTES: usize = 16;
pub(super) const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// What a secret key encrypts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cipher {
    /// AES-256-GCM, keys derived by HMAC-SHA-256.
    Aes256,
    /// ChaCha20-Poly1305, keys derived by HChaCha20.
    ChaCha20,
}

impl Cipher {
    /// Parses the name of a cipher, in its current or its former spelling; `None` if it is none.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Some(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Some(Self::ChaCha20),
            _ => None,
        }
    }

    /// The current name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::ChaCha20 => "ChaCha20",
        }
    }

    /// The cipher for new keys: AES where the processor has instructions for AES-GCM.
    pub fn preferred() -> Self {
        if has_aes_gcm_instructions() {
            Self::Aes256
        } else {
            Self::ChaCha20
        }
    }
}

impl fmt::Display for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_gcm_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_gcm_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_gcm_instructions() -> bool {
    cfg!(all(target_arch = "powerpc64", target_endian = "little"))
}

/// The ciphertext was not made with this key and context, or was changed.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("decryption failed: ciphertext is not authentic")]
pub struct NotAuthentic;

/// The plaintext or the context is longer than the cipher can seal (64 GiB).
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("encryption failed: plaintext is too large")]
pub struct SealError;

/// A secret key of the keystore, ready for use. Wiped on drop.
#[derive(Clone)]
pub struct SecretKey {
    cipher: Cipher,
    bytes: Key256,
    /// For AES: what derives the one-time keys.
    derivation: Option<KeyedState>,
}

impl SecretKey {
    /// Prepares `bytes` for use with `cipher`.
    pub fn new(cipher: Cipher, bytes: Key256) -> Self {
        Self {
            cipher,
            derivation: (cipher == Cipher::Aes256).then(|| KeyedState::new(&bytes)),
            bytes,
        }
    }

    /// What this key encrypts with.
    pub fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// The key itself.
    pub fn bytes(&self) -> &Key256 {
        &self.bytes
    }

    /// Appends the ciphertext of `plaintext` to `out`; opening it takes the same `context`.
    ///
    /// `random` must be fresh from [`super::random`]. Hot path: no allocation if `out` has room
    /// for the plaintext and [`OVERHEAD`].
    ///
    /// # Errors
    ///
    /// [`SealError`] if the plaintext is too large; `out` is then as before.
    pub fn seal_into(
        &self,
        random: &[u8; RANDOM_BYTES],
        plaintext: &[u8],
        context: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let (iv, nonce) = iv_and_nonce(random);
        let key = self.derive(self.cipher, &iv);
        let start = out.len();
        out.reserve(plaintext.len() + OVERHEAD);
        out.extend_from_slice(plaintext);
        let buffer = &mut out[start..];
        match seal_in_place(self.cipher, &key, &nonce, context, buffer) {
            Ok(tag) => {
                out.extend_from_slice(&tag);
                out.extend_from_slice(random);
                Ok(())
            }
            Err(error) => {
                buffer.zeroize();
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// The ciphertext of `plaintext`; see [`Self::seal_into`].
    ///
    /// # Errors
    ///
    /// [`SealError`] if the plaintext is too large.
    pub fn seal(
        &self,
        random: &[u8; RANDOM_BYTES],
        plaintext: &[u8],
        context: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut out = Vec::new();
        self.seal_into(random, plaintext, context, &mut out)?;
        Ok(out)
    }

    /// The plaintext of `ciphertext`, which may be in the current or in a legacy format.
    ///
    /// A legacy ciphertext names its algorithm, and that is tried first: keys without an algorithm
    /// were used with either. The one of the key comes second, as the original ignores the name.
    ///
    /// # Errors
    ///
    /// [`NotAuthentic`], whatever is wrong.
    pub fn open(&self, ciphertext: &[u8], context: &[u8]) -> Result<SecretBytes, NotAuthentic> {
        let Some(legacy) = legacy::parse(ciphertext) else {
            let (sealed, random) = ciphertext.split_last_chunk().ok_or(NotAuthentic)?;
            return self.open_sealed(self.cipher, random, sealed, context);
        };
        self.open_sealed(legacy.cipher, &legacy.random, &legacy.sealed, context)
            .or_else(|error| {
                if legacy.cipher == self.cipher {
                    return Err(error);
                }
                self.open_sealed(self.cipher, &legacy.random, &legacy.sealed, context)
            })
    }

    fn open_sealed(
        &self,
        cipher: Cipher,
        random: &[u8; RANDOM_BYTES],
        sealed: &[u8],
        context: &[u8],
    ) -> Result<SecretBytes, NotAuthentic> {
        let (sealed, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(NotAuthentic)?;
        let (iv, nonce) = iv_and_nonce(random);
        let key = self.derive(cipher, &iv);
        let mut buffer = Zeroizing::new(sealed.to_vec());
        open_in_place(cipher, &key, &nonce, context, &mut buffer, tag)?;
        Ok(SecretBytes::new(std::mem::take(&mut *buffer)))
    }

    /// The key for the one ciphertext with this `iv`.
    fn derive(&self, cipher: Cipher, iv: &[u8; IV_BYTES]) -> Zeroizing<[u8; 32]> {
        match cipher {
            Cipher::Aes256 => match &self.derivation {
                Some(derivation) => derivation.sum(iv),
                None => KeyedState::new(&self.bytes).sum(iv),
            },
            Cipher::ChaCha20 => {
                let mut output = chacha20::hchacha::<R20>((&*self.bytes).into(), iv.into());
                let key = Zeroizing::new(output.0);
                output.as_mut_slice().zeroize();
                key
            }
        }
    }
}

fn iv_and_nonce(random: &[u8; RANDOM_BYTES]) -> ([u8; IV_BYTES], [u8; NONCE_BYTES]) {
    (
        array::from_fn(|index| random[index]),
        array::from_fn(|index| random[IV_BYTES + index]),
    )
}

fn seal_in_place(
    cipher: Cipher,
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    context: &[u8],
    buffer: &mut [u8],
) -> Result<[u8; TAG_BYTES], SealError> {
    let tag = match cipher {
        Cipher::Aes256 => {
            Aes256Gcm::new(key.into()).encrypt_inout_detached(nonce.into(), context, buffer.into())
        }
        Cipher::ChaCha20 => ChaCha20Poly1305::new(key.into()).encrypt_inout_detached(
            nonce.into(),
            context,
            buffer.into(),
        ),
    };
    tag.map(|tag| tag.0).map_err(|_| SealError)
}

fn open_in_place(
    cipher: Cipher,
    key: &[u8; 32],
    nonce: &[u8; NONCE_BYTES],
    context: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> Result<(), NotAuthentic> {
    let opened = match cipher {
        Cipher::Aes256 => Aes256Gcm::new(key.into()).decrypt_inout_detached(
            nonce.into(),
            context,
            buffer.into(),
            tag.into(),
        ),
        Cipher::ChaCha20 => ChaCha20Poly1305::new(key.into()).decrypt_inout_detached(
            nonce.into(),
            context,
            buffer.into(),
            tag.into(),
        ),
    };
    opened.map_err(|_| NotAuthentic)
}

#[cfg(test)]
mod tests;
