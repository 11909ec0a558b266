//! What the state consists of: records, each under a kind and a name.
//!
//! All of these are persisted by [`super::codec`]: a member is never moved, removed or retyped, and
//! a new one needs a new codec version.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::command::{RequestId, RestoreId};
use super::outcome::Outcome;
use crate::base::clock::Timestamp;
use crate::base::name::is_valid_name;
use crate::crypto::at_rest::{self, ClusterId, Epoch};

/// A SHA-256.
pub type Digest32 = [u8; 32];

/// Ciphertext of [`crate::crypto::at_rest`]. Not a secret, but nothing for a log either: its
/// `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// SHA-256 of the sealed bytes: what [`super::Op::Reseal`] expects to replace.
    pub fn digest(&self) -> Digest32 {
        Sha256::digest(&self.0).into()
    }

    /// The epoch of the root key that this is sealed under; `None` if this is not sealed bytes.
    pub fn epoch(&self) -> Option<Epoch> {
        at_rest::epoch_of(&self.0)
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Sealed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The default form of a byte vector is read byte by byte; the encoded form is the same.
        deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
    }
}

struct BytesVisitor;

impl serde::de::Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_owned())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

/// How a [`Timestamp`], which knows nothing of serde, is persisted.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Timestamp")]
struct StoredTimestamp {
    seconds: i64,
    nanos: u32,
}

/// A named key. Only what is needed to find, list and re-seal it is in the clear.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Of the proposal that created the key: tells a retry from a second key of that name, and one
    /// key from a later one of the same name. Whatever a proposer writes here, creating the key
    /// sets it to the id of the proposal.
    pub request_id: RequestId,
    /// At least one, in ascending order of their numbers.
    pub versions: Vec<SealedVersion>,
    /// When the proposer made the key, by its clock.
    #[serde(with = "StoredTimestamp")]
    pub created_at: Timestamp,
    /// The identity that asked for it.
    pub created_by: String,
}

impl KeyRecord {
    /// The version with that number.
    pub fn version(&self, version: u32) -> Option<&SealedVersion> {
        self.versions.iter().find(|known| known.version == version)
    }

    /// The version that encrypts: the one with the highest number.
    pub fn latest(&self) -> Option<&SealedVersion> {
        self.versions.last()
    }
}

/// One version of a key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SealedVersion {
    /// Its number; the first is 1.
    pub version: u32,
    /// The stored text of [`crate::crypto::key_version`], sealed.
    pub sealed: Sealed,
}

/// A policy as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Patterns of what is allowed.
    pub allow: Vec<String>,
    /// Patterns of what is denied in spite of that.
    pub deny: Vec<String>,
    /// When the proposer wrote the policy, by its clock.
    #[serde(with = "StoredTimestamp")]
    pub created_at: Timestamp,
    /// The identity that wrote it.
    pub created_by: String,
}

/// The policy that an identity is under.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AssignmentRecord {
    /// Name of the policy; it exists.
    pub policy: String,
    /// When the proposer assigned it, by its clock.
    #[serde(with = "StoredTimestamp")]
    pub created_at: Timestamp,
    /// The identity that assigned it.
    pub created_by: String,
}

/// A root key of the cluster, as far as everybody may know it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RootEpoch {
    /// Its number; the first is 1.
    pub epoch: Epoch,
    /// Which root key it is: [`crate::crypto::at_rest::RootKeyId`].
    pub key_id: [u8; 8],
    /// What only a holder of the key can compute: [`crate::crypto::at_rest::Sealer::check_value`].
    pub check: [u8; 32],
}

/// The claim of one node to create a key in an external store. Whoever finds it can finish the work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// Of the proposal that made it.
    pub request_id: RequestId,
    /// The value that is to be stored, sealed.
    pub sealed: Sealed,
    /// When the proposer made it, by its clock.
    #[serde(with = "StoredTimestamp")]
    pub created_at: Timestamp,
    /// The identity that asked for the key.
    pub created_by: String,
}

/// What there is one of: the cluster's own facts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) cluster_id: Option<ClusterId>,
    /// In ascending order of their epochs, without gaps; the last is the current one.
    pub(super) roots: Vec<RootEpoch>,
    /// Deleted keys, and restores, since the cluster was founded.
    pub(super) delete_epoch: u64,
    /// Answers that were remembered since then.
    pub(super) answers: u64,
    /// The restore under way.
    pub(super) restoring: Option<RestoreId>,
    /// The last restore that ended well.
    pub(super) restored: Option<RestoreId>,
}

/// What a request was answered that must not be done again if it comes late for a second time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Counts the answers: the older are forgotten first.
    pub(super) sequence: u64,
    pub(super) outcome: Outcome,
}

impl Answer {
    /// The name of the answer to that request.
    pub(super) fn name(request_id: RequestId) -> String {
        format!("{request_id:032x}")
    }
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RecordKind {
    /// The cluster's own facts, under the empty name.
    Header,
    /// A [`PolicyRecord`] under the policy's name.
    Policy,
    /// An [`AssignmentRecord`] under the identity.
    Identity,
    /// A [`KeyRecord`] under the key's name.
    Key,
    /// A [`Reservation`] under the key's name.
    Reservation,
    /// The answer to a request under its id in hex.
    Answer,
}

impl RecordKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 6] = [
        Self::Header,
        Self::Policy,
        Self::Identity,
        Self::Key,
        Self::Reservation,
        Self::Answer,
    ];

    /// The first byte of a record's id.
    fn tag(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Policy => 2,
            Self::Identity => 3,
            Self::Key => 4,
            Self::Reservation => 5,
            Self::Answer => 6,
        }
    }
}

/// Under what a record is stored.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RecordId {
    /// What it is.
    pub kind: RecordKind,
    /// Its name among those of the kind.
    pub name: String,
}

impl RecordId {
    /// The id of the record of `kind` under `name`.
    pub fn new(kind: RecordKind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
        }
    }

    /// The id as bytes, in the same order: one byte for the kind, 1 to 6, then the name. Other
    /// first bytes are free for what storage keeps beside the records.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.name.len());
        bytes.push(self.kind.tag());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }

    /// Undoes [`Self::to_bytes`]; `None` if `bytes` are no id.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, name) = bytes.split_first()?;
        let kind = RecordKind::ALL
            .into_iter()
            .find(|kind| kind.tag() == *tag)?;
        let name = str::from_utf8(name).ok()?;
        let fits = match kind {
            RecordKind::Header => name.is_empty(),
            _ => is_valid_name(name),
        };
        fits.then(|| Self::new(kind, name))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_a_kind_and_a_name() {
        let id = RecordId::new(RecordKind::Key, "my-key");
        assert_eq!(id.to_bytes(), b"\x04my-key");
        assert_eq!(RecordId::new(RecordKind::Header, "").to_bytes(), [1]);
        for bytes in [
            b"".as_slice(),
            b"\x00a",
            b"\x07a",
            b"\x01a",
            b"\x04",
            b"\x04-",
            b"\x04a b",
            b"\x04\xff",
        ] {
            assert_eq!(RecordId::parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(RecordId::parse(&[4; 300]), None);
    }

    proptest! {
        #[test]
        fn ids_sort_as_their_bytes(
            a in (0..6_usize, "[a-b]{1,3}"),
            b in (0..6_usize, "[a-b]{1,3}"),
        ) {
            let id = |(kind, name): (usize, String)| match RecordKind::ALL[kind] {
                RecordKind::Header => RecordId::new(RecordKind::Header, ""),
                kind => RecordId::new(kind, &name),
            };
            let (a, b) = (id(a), id(b));
            prop_assert_eq!(a.cmp(&b), a.to_bytes().cmp(&b.to_bytes()));
            prop_assert_eq!(RecordId::parse(&a.to_bytes()), Some(a));
        }
    }
}
