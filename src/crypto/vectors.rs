//! Reads the test vectors in `testdata`, which the original server computed.

use serde_json::Value;

use crate::base::base64;
use crate::base::secret::Key256;

/// The vectors of a file.
pub(super) fn load(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

/// A vector: a JSON object whose absent members are empty.
pub(super) trait Vector {
    fn text(&self, member: &str) -> &str;

    fn is(&self, member: &str) -> bool;

    fn base64(&self, member: &str) -> Vec<u8> {
        base64::decode(self.text(member).as_bytes()).unwrap()
    }

    fn hex(&self, member: &str) -> Vec<u8> {
        hex(self.text(member))
    }

    fn key(&self, member: &str) -> Key256 {
        Key256::from_slice(&self.base64(member)).unwrap()
    }
}

impl Vector for Value {
    fn text(&self, member: &str) -> &str {
        self[member].as_str().unwrap_or_default()
    }

    fn is(&self, member: &str) -> bool {
        self[member].as_bool().unwrap()
    }
}

/// The bytes `first`, `first + 1` and so on.
pub(super) fn counting<const N: usize>(first: u8) -> [u8; N] {
    let mut bytes = first..;
    std::array::from_fn(|_| bytes.next().unwrap())
}

/// Decodes hex.
pub(super) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
