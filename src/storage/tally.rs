//! A sum over records that follows each change in constant time: tells whether a stored state is
//! complete and up to date without the log that made it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many records there are, and the sum of their digests, which depends on no order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    records: u64,
    sum: u128,
}

impl Tally {
    /// Counts a record that came.
    pub(super) fn add(&mut self, id: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_add(1);
        self.sum = self.sum.wrapping_add(digest(id, value));
    }

    /// Counts a record that went.
    pub(super) fn subtract(&mut self, id: &[u8], value: &[u8]) {
        self.records = self.records.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(digest(id, value));
    }
}

/// The first half of the SHA-256 over the length of the id (8, big endian), the id and the value.
/// Against damage, not against an adversary.
fn digest(id: &[u8], value: &[u8]) -> u128 {
    let mut hash = Sha256::new();
    hash.update((id.len() as u64).to_be_bytes());
    hash.update(id);
    hash.update(value);
    let digest = hash.finalize();
    let half = digest.first_chunk().copied().unwrap_or_default();
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_forgets_what_went_and_no_order_matters() {
        let mut one = Tally::default();
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        one.subtract(b"a", b"1");
        one.add(b"a", b"3");
        let mut other = Tally::default();
        other.add(b"a", b"3");
        assert_ne!(one, other);
        other.add(b"b", b"2");
        assert_eq!(one, other);
        let mut moved = Tally::default();
        moved.add(b"a3", b"");
        moved.add(b"b", b"2");
        assert_ne!(one, moved);
    }
}
