//! Who asks: the SHA-256 of a certificate's public key.

use std::borrow::Borrow;
use std::fmt;
use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The identity of a client.
///
/// For a certificate it is the lower-case hex SHA-256 of the DER of the SubjectPublicKeyInfo (RFC
/// 5280, 4.1), exactly as it stands in the certificate. Everywhere else it is an opaque string: a
/// configuration may name identities that no key can have, `disabled` for instance. The empty
/// string is the unknown identity, which takes no memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Identity(Option<Arc<str>>);

impl Identity {
    /// The identity of nobody.
    pub fn unknown() -> Self {
        Self(None)
    }

    /// The identity of the public key whose SubjectPublicKeyInfo is `spki_der`.
    pub fn of_spki(spki_der: &[u8]) -> Self {
        let digest = Sha256::digest(spki_der);
        let mut hex = String::with_capacity(64);
        for byte in &digest {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(Some(Arc::from(hex)))
    }

    /// Whether nobody is meant.
    pub fn is_unknown(&self) -> bool {
        self.0.is_none()
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<&str> for Identity {
    fn from(identity: &str) -> Self {
        Self((!identity.is_empty()).then(|| Arc::from(identity)))
    }
}

impl From<String> for Identity {
    fn from(identity: String) -> Self {
        Self::from(identity.as_str())
    }
}

/// As the text hashes, because maps are asked by text.
impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for Identity {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_the_hash_of_the_public_key_info() {
        let spki: Vec<u8> = [
            &[
                0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
            ][..],
            &[
                0xbc, 0xe7, 0xef, 0x7e, 0x56, 0x7e, 0x64, 0x87, 0xfe, 0x08, 0x4a, 0xb3, 0xee, 0x22,
                0x3d, 0x6c, 0xe2, 0x64, 0xc9, 0x96, 0x76, 0x25, 0xab, 0xfe, 0xca, 0xaf, 0xa9, 0xe5,
                0xbe, 0x5b, 0x04, 0xb1,
            ],
        ]
        .concat();
        assert_eq!(
            Identity::of_spki(&spki).as_str(),
            "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22"
        );
    }

    #[test]
    fn the_empty_text_is_nobody() {
        assert!(Identity::from("").is_unknown() && Identity::from(String::new()).is_unknown());
        assert_eq!(Identity::from(""), Identity::unknown());
        assert_eq!(Identity::unknown().as_str(), "");
        let known = std::collections::HashSet::from([Identity::from("ab"), Identity::unknown()]);
        assert!(known.contains("ab") && known.contains("") && !known.contains("b"));
    }
}
