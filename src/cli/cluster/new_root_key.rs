//! Draws a root key and writes it as text. Stands in for `RootKey::generate` and `RootKey::to_text` of
//! `crypto::at_rest`, which are not there yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::secret::SecretString;
use crate::crypto::random::{self, RandomError};

const PREFIX: &str = "kes:root:v1:";

/// A new root key: its bytes and a checksum, so that a mistyped one is noticed.
pub(super) fn new_root_key() -> Result<SecretString, RandomError> {
    let key = Zeroizing::new(random::array::<32>()?);
    Ok(text_of(&key))
}

fn text_of(key: &[u8; 32]) -> SecretString {
    let checksum = Sha256::new()
        .chain_update(b"kes root key")
        .chain_update(key)
        .finalize();
    let mut bytes = Zeroizing::new([0; 36]);
    bytes[..32].copy_from_slice(key);
    bytes[32..].copy_from_slice(&checksum[..4]);
    // Reserved at once, so that growing leaves no copies behind.
    let mut text = String::with_capacity(PREFIX.len() + 48);
    text.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    SecretString::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_documented_one() {
        let expected = "kes:root:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABU3-nC";
        assert_eq!(text_of(&[0; 32]).expose(), expected);
        let (first, second) = (
            new_root_key().expect("a key"),
            new_root_key().expect("a key"),
        );
        assert_ne!(first.expose(), second.expose());
    }
}
