//! HMAC-SHA-256 under a key of the keystore.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use crate::base::secret::Key256;

/// A key for HMAC-SHA-256, ready for use.
#[derive(Clone)]
pub struct HmacKey {
    bytes: Key256,
    state: KeyedState,
}

impl HmacKey {
    /// Prepares `bytes` for use as a key.
    pub fn new(bytes: Key256) -> Self {
        Self {
            state: KeyedState::new(&bytes),
            bytes,
        }
    }

    /// The key itself.
    pub fn bytes(&self) -> &Key256 {
        &self.bytes
    }

    /// The HMAC-SHA-256 of `message`.
    ///
    /// Hot path: the key is hashed already; no allocation.
    pub fn sum(&self, message: &[u8]) -> [u8; 32] {
        *self.state.sum(message)
    }
}

/// The state of HMAC-SHA-256 after the key went in. Wiped on drop.
#[derive(Clone)]
pub(super) struct KeyedState(Hmac<Sha256>);

impl KeyedState {
    pub(super) fn new(key: &Key256) -> Self {
        // HMAC pads keys below the block size of 64 bytes with zeros; doing it here cannot fail.
        let mut block = Zeroizing::new([0; 64]);
        for (padded, byte) in block.iter_mut().zip(key.iter()) {
            *padded = *byte;
        }
        Self(Hmac::new((&*block).into()))
    }

    pub(super) fn sum(&self, message: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hmac = self.0.clone();
        hmac.update(message);
        let mut output = hmac.finalize_fixed();
        let sum = Zeroizing::new(output.0);
        output.as_mut_slice().zeroize();
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::vectors::{self, Vector};

    #[test]
    fn sums_match_the_vectors() {
        let vectors = vectors::load(include_str!("testdata/hmac.json"));
        assert!(!vectors.is_empty());
        for vector in vectors {
            let key = HmacKey::new(vector.key("hmac_key"));
            let message = vector.base64("message");
            assert_eq!(key.sum(&message).as_slice(), vector.base64("sum"));
            assert!(*key.bytes() == vector.key("hmac_key"));
        }
    }
}
