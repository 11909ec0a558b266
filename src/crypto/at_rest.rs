//! Sealing of what the cluster stores: nothing that opens a key lies on a disk, in a log or on the
//! wire unsealed.

mod backup;
mod root_key;
mod sealer;
#[cfg(test)]
mod tests;

pub use backup::{BACKUP_RANDOM_BYTES, BackupError, BackupHeader, BackupReader, BackupWriter};
pub use root_key::{Keyring, RootKey, RootKeyError, RootKeyId};
pub use sealer::{OpenError, SEAL_RANDOM_BYTES, Sealer, TooLarge};

use serde::{Deserialize, Serialize};

/// Number of a root key within its cluster; the first is 1.
pub type Epoch = u32;

/// The epoch of the root key that a cluster is founded with.
pub const FIRST_EPOCH: Epoch = 1;

/// The id of a cluster, drawn at random when it is founded. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// Version, epoch, salt, nonce and tag: what a sealed record has at least.
const OVERHEAD: usize = 1 + 4 + 16 + 12 + 16;

/// The epoch that `sealed` was sealed under; `None` if it is not in the form of a sealed record.
pub fn epoch_of(sealed: &[u8]) -> Option<Epoch> {
    if sealed.len() < OVERHEAD {
        return None;
    }
    match sealed.split_first_chunk::<5>()?.0 {
        [1, epoch @ ..] => Some(u32::from_be_bytes(*epoch)),
        _ => None,
    }
}
