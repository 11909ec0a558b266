//! API keys: an Ed25519 key pair as one line of text, `kes:v1:` and base64 of type and seed.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use super::der;
use super::random::{self, RandomError};
use crate::base::base64::{self, IllegalBase64};
use crate::base::identity::Identity;
use crate::base::secret::{Key256, SecretBytes, SecretString};

/// What the text of an API key begins with. A reader takes it without, too.
const PREFIX: &str = "kes:v1:";

/// The only type of API key: Ed25519.
const TYPE_ED25519: u8 = 0;

/// The SubjectPublicKeyInfo (RFC 8410) of an Ed25519 key up to the public key.
const SPKI_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The PKCS#8 form, version 1 (RFC 8410), of an Ed25519 key up to the seed.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The content of the AlgorithmIdentifier of Ed25519.
const ED25519_ALGORITHM: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// The text is not an API key.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApiKeyError {
    /// What follows the prefix is not base64.
    #[error(transparent)]
    NotBase64(#[from] IllegalBase64),
    /// Not the 33 bytes of type and seed.
    #[error("kes: invalid API key: invalid length")]
    InvalidLength,
    /// A type of key that is not known.
    #[error("kes: invalid API key: unsupported type")]
    UnsupportedType,
}

/// The key pair of a client. Wiped on drop.
#[derive(Clone)]
pub struct ApiKey {
    seed: Key256,
    public_key: [u8; 32],
}

impl ApiKey {
    /// Parses the text of an API key, with or without its prefix.
    ///
    /// # Errors
    ///
    /// [`ApiKeyError`] if it is none.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let decoded = Zeroizing::new(base64::decode(encoded.as_bytes())?);
        let (kind, seed) = decoded.split_first().ok_or(ApiKeyError::InvalidLength)?;
        let seed = Key256::from_slice(seed).ok_or(ApiKeyError::InvalidLength)?;
        if *kind != TYPE_ED25519 {
            return Err(ApiKeyError::UnsupportedType);
        }
        Ok(Self::from_seed(seed))
    }

    /// A fresh key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the operating system has no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_seed(Key256::new(random::array()?)))
    }

    /// The key with this Ed25519 seed (RFC 8032).
    pub fn from_seed(seed: Key256) -> Self {
        let mut public_key = [0; 32];
        public_key.copy_from_slice(key_pair(&seed).public_key().as_ref());
        Self { seed, public_key }
    }

    /// The secret.
    pub fn seed(&self) -> &Key256 {
        &self.seed
    }

    /// The canonical text, which [`Self::parse`] reads.
    pub fn to_text(&self) -> SecretString {
        let mut bytes = Zeroizing::new([TYPE_ED25519; 33]);
        bytes[1..].copy_from_slice(self.seed.as_slice());
        let mut text = String::with_capacity(PREFIX.len() + 44);
        text.push_str(PREFIX);
        base64::encode_into(bytes.as_slice(), &mut text);
        SecretString::new(text)
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The SubjectPublicKeyInfo of the public key.
    pub fn spki_der(&self) -> [u8; 44] {
        let mut spki = [0; 44];
        spki[..12].copy_from_slice(&SPKI_HEAD);
        spki[12..].copy_from_slice(&self.public_key);
        spki
    }

    /// Whom a server takes the holder of this key for.
    pub fn identity(&self) -> Identity {
        Identity::of_spki(&self.spki_der())
    }

    /// The key in PKCS#8, version 1.
    pub fn to_pkcs8_der(&self) -> SecretBytes {
        let mut der = Vec::with_capacity(PKCS8_HEAD.len() + self.seed.len());
        der.extend_from_slice(&PKCS8_HEAD);
        der.extend_from_slice(self.seed.as_slice());
        SecretBytes::new(der)
    }

    /// Reads an Ed25519 key in PKCS#8, version 1 or 2; `None` if `der` is none.
    ///
    /// The public key that version 2 may carry is not compared.
    pub(super) fn from_pkcs8_der(der: &[u8]) -> Option<Self> {
        let content = der::only(der::SEQUENCE, der)?;
        let (version, rest) = der::take(der::INTEGER, content)?;
        let (algorithm, rest) = der::take(der::SEQUENCE, rest)?;
        let (key, _attributes_and_public_key) = der::take(der::OCTET_STRING, rest)?;
        if !matches!(version, [0 | 1]) || algorithm != ED25519_ALGORITHM {
            return None;
        }
        Key256::from_slice(der::only(der::OCTET_STRING, key)?).map(Self::from_seed)
    }

    /// The key pair, to sign with.
    pub(super) fn key_pair(&self) -> Ed25519KeyPair {
        key_pair(&self.seed)
    }
}

#[expect(
    clippy::expect_used,
    reason = "every 32 bytes are an Ed25519 seed; only their number is checked"
)]
fn key_pair(seed: &Key256) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).expect("a seed of 32 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crypto::vectors::{self, Vector};

    #[test]
    fn keys_match_the_vectors() {
        let vectors = vectors::load(include_str!("testdata/api_keys.json"));
        assert!(!vectors.is_empty());
        for vector in vectors {
            let note = vector.text("note");
            match ApiKey::parse(vector.text("api_key")) {
                Ok(key) => {
                    assert!(vector.is("ok"), "{note}");
                    assert_eq!(key.seed().as_slice(), vector.hex("seed_hex"), "{note}");
                    assert_eq!(key.public_key().as_slice(), vector.hex("public_key_hex"));
                    assert_eq!(key.spki_der().as_slice(), vector.hex("spki_der_hex"));
                    assert_eq!(key.identity().as_str(), vector.text("identity"));
                    assert_eq!(key.to_text().expose(), vector.text("text_form"));
                }
                Err(error) => {
                    assert!(!vector.is("ok"), "{note}");
                    assert_eq!(error.to_string(), vector.text("error"), "{note}");
                }
            }
        }
    }

    #[test]
    fn the_prefix_is_optional_and_the_type_must_be_known() {
        let text = "AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
        let key = ApiKey::parse(text).ok().unwrap();
        assert_eq!(key.to_text().expose(), format!("kes:v1:{text}"));
        for (text, error) in [
            (
                "kes:v1:sbDvZFqUPFFwxRS4EkuoEb2nyyInkdKSUEYHXFHeTouW",
                ApiKeyError::UnsupportedType,
            ),
            (
                "v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc",
                ApiKeyError::NotBase64(IllegalBase64 { offset: 2 }),
            ),
            ("sQ==", ApiKeyError::InvalidLength),
        ] {
            assert_eq!(ApiKey::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn generated_keys_differ_and_survive_their_forms() {
        let key = ApiKey::generate().unwrap();
        assert!(*key.seed() != *ApiKey::generate().unwrap().seed());
        let read = ApiKey::parse(key.to_text().expose()).ok().unwrap();
        assert!(read.seed() == key.seed());
        let read = ApiKey::from_pkcs8_der(key.to_pkcs8_der().expose()).unwrap();
        assert!(read.seed() == key.seed());
    }

    #[test]
    fn pkcs8_of_version_2_is_read() {
        let key = ApiKey::from_seed(Key256::new([7; 32]));
        let version_2 = key.key_pair().to_pkcs8().unwrap();
        assert_eq!(version_2.as_ref()[4], 1);
        let read = ApiKey::from_pkcs8_der(version_2.as_ref()).unwrap();
        assert!(read.seed() == key.seed());
    }

    #[test]
    fn pkcs8_of_other_keys_is_refused() {
        let der = ApiKey::from_seed(Key256::new([7; 32])).to_pkcs8_der();
        for at in 0..PKCS8_HEAD.len() {
            let mut changed = der.expose().to_vec();
            changed[at] ^= 0x40;
            assert!(ApiKey::from_pkcs8_der(&changed).is_none(), "{at}");
        }
        assert!(ApiKey::from_pkcs8_der(&der.expose()[..47]).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_an_error(text in "(kes:v1:)?[A-Za-z0-9+/=\r\n]{0,60}|.{0,60}") {
            if let Ok(key) = ApiKey::parse(&text) {
                let read = ApiKey::parse(key.to_text().expose()).ok().unwrap();
                prop_assert!(read.seed() == key.seed());
            }
        }

        #[test]
        fn any_bytes_are_pkcs8_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut wrapped = PKCS8_HEAD.to_vec();
            wrapped.extend_from_slice(&bytes);
            ApiKey::from_pkcs8_der(&bytes);
            let read = ApiKey::from_pkcs8_der(&wrapped);
            prop_assert_eq!(read.is_some(), bytes.len() == 32);
        }
    }
}
