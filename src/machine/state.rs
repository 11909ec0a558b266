//! The replicated state: maps that share their structure, so that a copy costs nothing and readers
//! keep theirs while commands are applied.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::codec::{self, CodecError};
use super::command::RestoreId;
use super::image;
use super::record::{
    Answer, AssignmentRecord, Digest32, Header, KeyRecord, PolicyRecord, RecordId, RecordKind,
    Reservation, RootEpoch, Sealed,
};
use crate::base::limits::{
    CLUSTER_ANSWERS_MAX, CLUSTER_IDENTITIES_MAX, CLUSTER_KEYS_MAX, CLUSTER_POLICIES_MAX,
    CLUSTER_RESERVATIONS_MAX, RECORD_BYTES_MAX,
};
use crate::crypto::at_rest::ClusterId;

/// Records by name.
pub(super) type Map<T> = RedBlackTreeMapSync<String, T>;

/// All that a cluster knows. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct State {
    pub(super) header: Arc<Header>,
    pub(super) policies: Map<PolicyRecord>,
    pub(super) identities: Map<AssignmentRecord>,
    pub(super) keys: Map<KeyRecord>,
    pub(super) reservations: Map<Reservation>,
    pub(super) answers: Map<Answer>,
}

/// What is to be written for an applied command: the record as encoded, or its removal.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Which record.
    pub id: RecordId,
    /// Its value from now on; `None` if there is none.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.value.as_ref().map(Vec::len);
        write!(f, "Change({:?}, {bytes:?} bytes)", self.id)
    }
}

/// How many records of each kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Policies.
    pub policies: usize,
    /// Identities under a policy.
    pub identities: usize,
    /// Keys.
    pub keys: usize,
    /// Claims to create a key in an external store.
    pub reservations: usize,
}

impl State {
    /// The id of the cluster; `None` until it is founded.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.header.cluster_id
    }

    /// The root keys in use, in ascending order of their epochs. New records are sealed under the
    /// last. None until the cluster is founded.
    pub fn roots(&self) -> &[RootEpoch] {
        &self.header.roots
    }

    /// The root key that new records are sealed under.
    pub fn current_root(&self) -> Option<&RootEpoch> {
        self.header.roots.last()
    }

    /// Grows with every deletion of a key and with every restore. While it stays the same, no name
    /// came to mean another key.
    pub fn delete_epoch(&self) -> u64 {
        self.header.delete_epoch
    }

    /// The restore under way. Until it ends the records are incomplete and must not be served.
    pub fn restoring(&self) -> Option<RestoreId> {
        self.header.restoring
    }

    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&KeyRecord> {
        self.keys.get(name)
    }

    /// The keys in bytewise order of their names, from `start` on, which itself is one of them if
    /// it exists.
    pub fn keys_from<'a>(
        &'a self,
        start: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a KeyRecord)> {
        let range = (Bound::Included(start), Bound::Unbounded);
        self.keys
            .range::<str, _>(range)
            .map(|(name, record)| (name.as_str(), record))
    }

    /// The policy of that name.
    pub fn policy(&self, name: &str) -> Option<&PolicyRecord> {
        self.policies.get(name)
    }

    /// All policies in bytewise order of their names.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &PolicyRecord)> {
        named(&self.policies)
    }

    /// What `identity` is under.
    pub fn identity(&self, identity: &str) -> Option<&AssignmentRecord> {
        self.identities.get(identity)
    }

    /// All identities with a policy, in bytewise order.
    pub fn identities(&self) -> impl Iterator<Item = (&str, &AssignmentRecord)> {
        named(&self.identities)
    }

    /// The claim to create the key of that name in an external store.
    pub fn reservation(&self, name: &str) -> Option<&Reservation> {
        self.reservations.get(name)
    }

    /// All claims in bytewise order of the keys' names.
    pub fn reservations(&self) -> impl Iterator<Item = (&str, &Reservation)> {
        named(&self.reservations)
    }

    /// How many records there are.
    pub fn counts(&self) -> Counts {
        Counts {
            policies: self.policies.size(),
            identities: self.identities.size(),
            keys: self.keys.size(),
            reservations: self.reservations.size(),
        }
    }

    /// SHA-256 over all records: equal on all nodes that applied the same commands. Reads
    /// everything.
    ///
    /// Each record goes in as in a snapshot image, see [`super::image`].
    pub fn digest(&self) -> Digest32 {
        let mut hash = Sha256::new();
        for (id, value) in self.records() {
            hash.update(image::prefix(&id, &value));
            hash.update(&value);
        }
        hash.finalize().into()
    }

    /// SHA-256 over what a backup restores: the cluster's id and root keys, policies, identities
    /// and keys. Neither claims in external stores nor what concerns the requests to a cluster.
    /// Reads everything.
    pub fn content_digest(&self) -> Digest32 {
        let header = Header {
            cluster_id: self.header.cluster_id,
            roots: self.header.roots.clone(),
            ..Header::default()
        };
        let content = Self {
            header: Arc::new(header),
            reservations: Map::default(),
            answers: Map::default(),
            ..self.clone()
        };
        content.digest()
    }

    /// All records as they are stored, in ascending order of their ids.
    pub fn records(&self) -> impl Iterator<Item = (RecordId, Vec<u8>)> {
        let header = self.has_header().then(|| {
            let id = RecordId::new(RecordKind::Header, "");
            (id, encoded(&*self.header))
        });
        header
            .into_iter()
            .chain(records_of(&self.policies))
            .chain(records_of(&self.identities))
            .chain(records_of(&self.keys))
            .chain(records_of(&self.reservations))
            .chain(records_of(&self.answers))
    }

    /// A state that knows nothing has no records, not even that.
    pub(super) fn has_header(&self) -> bool {
        *self.header != Header::default()
    }

    /// Everything in the state that is sealed.
    pub(super) fn sealed(&self) -> impl Iterator<Item = &Sealed> {
        let versions = self.keys.values().flat_map(|key| &key.versions);
        let reserved = self.reservations.values().map(|claim| &claim.sealed);
        versions.map(|version| &version.sealed).chain(reserved)
    }

    /// Rebuilds a state from its records: ids and values as bytes, in any order.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn from_records<I: AsRef<[u8]>, V: AsRef<[u8]>>(
        records: impl IntoIterator<Item = (I, V)>,
    ) -> Result<Self, CodecError> {
        let mut state = Self::default();
        for (id, value) in records {
            state.load(id.as_ref(), value.as_ref())?;
        }
        Ok(state)
    }

    /// Takes in one stored record, over the one of that id, which it returns.
    ///
    /// # Errors
    ///
    /// [`CodecError::UnknownRecord`] if `id` is not a [`RecordId`], or what is wrong with `value`.
    /// The state is then as before.
    pub fn load(&mut self, id: &[u8], value: &[u8]) -> Result<RecordId, CodecError> {
        let id = RecordId::parse(id).ok_or(CodecError::UnknownRecord(id.len()))?;
        codec::check_length(value.len(), RECORD_BYTES_MAX)?;
        let name = id.name.clone();
        match id.kind {
            RecordKind::Header => self.header = Arc::new(codec::decode(value)?),
            RecordKind::Policy => self.policies.insert_mut(name, codec::decode(value)?),
            RecordKind::Identity => self.identities.insert_mut(name, codec::decode(value)?),
            RecordKind::Key => self.keys.insert_mut(name, codec::decode(value)?),
            RecordKind::Reservation => self.reservations.insert_mut(name, codec::decode(value)?),
            RecordKind::Answer => self.answers.insert_mut(name, codec::decode(value)?),
        }
        Ok(id)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("header", &self.header)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// A record that there are many of, each under its name.
pub(super) trait Record: Serialize + DeserializeOwned + Clone {
    const KIND: RecordKind;

    /// How many there may be.
    const COUNT_MAX: usize;

    fn map(state: &mut State) -> &mut Map<Self>;
}

impl Record for PolicyRecord {
    const KIND: RecordKind = RecordKind::Policy;
    const COUNT_MAX: usize = CLUSTER_POLICIES_MAX;

    fn map(state: &mut State) -> &mut Map<Self> {
        &mut state.policies
    }
}

impl Record for AssignmentRecord {
    const KIND: RecordKind = RecordKind::Identity;
    const COUNT_MAX: usize = CLUSTER_IDENTITIES_MAX;

    fn map(state: &mut State) -> &mut Map<Self> {
        &mut state.identities
    }
}

impl Record for KeyRecord {
    const KIND: RecordKind = RecordKind::Key;
    const COUNT_MAX: usize = CLUSTER_KEYS_MAX;

    fn map(state: &mut State) -> &mut Map<Self> {
        &mut state.keys
    }
}

impl Record for Reservation {
    const KIND: RecordKind = RecordKind::Reservation;
    const COUNT_MAX: usize = CLUSTER_RESERVATIONS_MAX;

    fn map(state: &mut State) -> &mut Map<Self> {
        &mut state.reservations
    }
}

impl Record for Answer {
    const KIND: RecordKind = RecordKind::Answer;
    const COUNT_MAX: usize = CLUSTER_ANSWERS_MAX;

    fn map(state: &mut State) -> &mut Map<Self> {
        &mut state.answers
    }
}

fn named<T>(map: &Map<T>) -> impl Iterator<Item = (&str, &T)> {
    map.iter().map(|(name, record)| (name.as_str(), record))
}

fn records_of<T: Record>(map: &Map<T>) -> impl Iterator<Item = (RecordId, Vec<u8>)> {
    named(map).map(|(name, record)| (RecordId::new(T::KIND, name), encoded(record)))
}

/// The encoding of what is in a state, or is of so few bytes as a header or an answer.
#[expect(clippy::expect_used, reason = "cannot fail, see below")]
pub(super) fn encoded<T: Serialize>(record: &T) -> Vec<u8> {
    codec::encode(record)
        .expect("only what was encoded or decoded before, or is bounded, comes here")
}

#[cfg(test)]
mod tests;
