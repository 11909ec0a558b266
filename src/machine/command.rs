//! What is replicated: one command is one entry of the Raft log and carries a batch of proposals.
//!
//! Persisted and sent by [`super::codec`]: a new operation goes to the end of [`Op`], and none is
//! ever removed.

use serde::{Deserialize, Serialize};

use super::record::{
    AssignmentRecord, Digest32, KeyRecord, PolicyRecord, Reservation, RootEpoch, Sealed,
};
use crate::crypto::at_rest::{ClusterId, Epoch};

/// Drawn at random for every request; a retry of a request has the same one.
pub type RequestId = u128;

/// Drawn at random for every restore of a backup.
pub type RestoreId = u128;

/// A batch. Not a transaction: each proposal has an outcome of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Command {
    /// Applied in this order.
    pub proposals: Vec<Proposal>,
}

/// One change that somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Proposal {
    /// Tells a retry from another request of the same content. Once a request changed something, a
    /// retry has the same outcome and changes nothing.
    pub request_id: RequestId,
    /// The change.
    pub op: Op,
}

impl Proposal {
    /// About how many bytes it takes encoded: enough to tell when a batch is full.
    pub fn size_hint(&self) -> usize {
        self.op.size_hint()
    }
}

/// A change. Under each is when it is rejected, besides the rejections that any can meet: names and
/// records that are not valid or too large, limits, and
/// [`RestoreInProgress`](super::Rejection::RestoreInProgress) or
/// [`NotFounded`](super::Rejection::NotFounded) for all that a restore or an unfounded cluster
/// cannot take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Makes the cluster, once. A repetition of what founded it is `Founded`, anything else
    /// `AlreadyFounded`.
    Found {
        /// Drawn at random by the founder.
        cluster_id: ClusterId,
        /// The first root key.
        root: RootEpoch,
    },
    /// Creates a key. `Exists` unless the key of that name came from the same request id;
    /// `WrongEpoch` if it is sealed under a root key that is not in use.
    CreateKey {
        /// Name of the key.
        name: String,
        /// Its versions.
        record: KeyRecord,
    },
    /// Deletes a key. `NotFound` if there is none.
    DeleteKey {
        /// Name of the key.
        name: String,
    },
    /// Writes a policy, over the one of that name.
    PutPolicy {
        /// Name of the policy.
        name: String,
        /// Its rules.
        policy: PolicyRecord,
    },
    /// Deletes a policy and what assigns it. `NotFound` if there is none.
    DeletePolicy {
        /// Name of the policy.
        name: String,
    },
    /// Puts an identity under a policy, whatever it was under. `PolicyNotFound` if there is no such
    /// policy.
    AssignIdentity {
        /// The identity.
        identity: String,
        /// Its policy.
        assignment: AssignmentRecord,
    },
    /// Takes an identity from under its policy. `NotFound` if it has none.
    DeleteIdentity {
        /// The identity.
        identity: String,
    },
    /// Makes another root key the current one. `WrongEpoch` unless its epoch follows the current
    /// one; a repetition is `Done`.
    BeginRootRotation {
        /// The new root key.
        root: RootEpoch,
    },
    /// Replaces the ciphertext of one version of a key. `NotFound` if there is no such key or
    /// version, `Changed` if its ciphertext is neither the expected nor the new one, `WrongEpoch`
    /// if the new one is not sealed under the current root key.
    Reseal {
        /// Name of the key.
        name: String,
        /// Number of the version.
        version: u32,
        /// SHA-256 of the ciphertext to replace.
        expected: Digest32,
        /// The new ciphertext.
        sealed: Sealed,
    },
    /// Ends the use of all root keys but the current one. `WrongEpoch` if that has another epoch,
    /// `RecordsOfOlderEpoch` while anything is sealed under an older one.
    EndRootRotation {
        /// Epoch of the current root key.
        epoch: Epoch,
    },
    /// Claims the creation of a key in an external store. The first claim wins, and all learn its
    /// value. `WrongEpoch` as for [`Self::CreateKey`], `Changed` if this very claim was released
    /// meanwhile.
    Reserve {
        /// Name of the key.
        name: String,
        /// The value and who claims it. Its request id is set as that of a [`KeyRecord`] is.
        reservation: Reservation,
    },
    /// Ends a claim. `NotFound` if there is none, `Changed` if it is of another request.
    Release {
        /// Name of the key.
        name: String,
        /// Of the proposal that made the claim.
        request_id: RequestId,
    },
    /// Makes an empty cluster take over the identity of another, whose backup follows. `NotEmpty`
    /// unless there is nothing but an unfinished restore, which is undone; `WrongEpoch` if the root
    /// keys do not follow each other. A repetition is `Done` and undoes nothing.
    BeginRestore {
        /// Drawn for this restore.
        restore_id: RestoreId,
        /// The id of the cluster that was backed up.
        cluster_id: ClusterId,
        /// Its root keys.
        roots: Vec<RootEpoch>,
    },
    /// Writes a key of the backup. For this and what follows: `NotRestoring` if another restore is
    /// under way or none.
    RestoreKey {
        /// Of [`Self::BeginRestore`].
        restore_id: RestoreId,
        /// Name of the key.
        name: String,
        /// The key with the request id it had.
        record: KeyRecord,
    },
    /// Writes a policy of the backup.
    RestorePolicy {
        /// Of [`Self::BeginRestore`].
        restore_id: RestoreId,
        /// Name of the policy.
        name: String,
        /// Its rules.
        policy: PolicyRecord,
    },
    /// Writes an assignment of the backup; its policy comes first.
    RestoreIdentity {
        /// Of [`Self::BeginRestore`].
        restore_id: RestoreId,
        /// The identity.
        identity: String,
        /// Its policy.
        assignment: AssignmentRecord,
    },
    /// Puts what was restored in force. `DigestMismatch` unless it is exactly what was backed up; a
    /// repetition is `Done`.
    EndRestore {
        /// Of [`Self::BeginRestore`].
        restore_id: RestoreId,
        /// The [`content_digest`](super::State::content_digest) of the backup.
        digest: Digest32,
    },
}

impl Op {
    /// About how many bytes a proposal of it takes encoded.
    pub fn size_hint(&self) -> usize {
        const FIXED: usize = 128;
        FIXED
            + match self {
                Self::CreateKey { name, record } | Self::RestoreKey { name, record, .. } => {
                    let sealed = record.versions.iter().map(|version| version.sealed.len());
                    name.len() + record.created_by.len() + sealed.sum::<usize>()
                }
                Self::PutPolicy { name, policy } | Self::RestorePolicy { name, policy, .. } => {
                    let patterns = policy.allow.iter().chain(&policy.deny);
                    name.len() + patterns.map(|pattern| pattern.len() + 4).sum::<usize>()
                }
                Self::Reseal { name, sealed, .. } => name.len() + sealed.len(),
                Self::Reserve { name, reservation } => name.len() + reservation.sealed.len(),
                Self::BeginRestore { roots, .. } => roots.len() * 48,
                Self::Found { .. }
                | Self::DeleteKey { .. }
                | Self::DeletePolicy { .. }
                | Self::AssignIdentity { .. }
                | Self::RestoreIdentity { .. }
                | Self::DeleteIdentity { .. }
                | Self::BeginRootRotation { .. }
                | Self::EndRootRotation { .. }
                | Self::Release { .. }
                | Self::EndRestore { .. } => FIXED,
            }
    }
}
