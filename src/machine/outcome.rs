//! What became of a proposal. A rejection is an outcome as any other: applying a command never
//! fails.

use serde::{Deserialize, Serialize};

use super::record::Sealed;

/// The outcomes of a command, one per proposal, in their order. Empty for entries of the Raft log
/// that are not commands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reply(pub Vec<Outcome>);

/// What became of one proposal. Sent between nodes by [`super::codec`]: new ones go to the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// The cluster has the id and the root key of the proposal.
    Founded,
    /// The key exists and is the one of the proposal.
    Created,
    /// It existed and does no more.
    Deleted,
    /// The state is as the proposal wants it.
    Done,
    /// There is a claim to create the key in an external store.
    Reserved {
        /// The claim is that of the proposal.
        own: bool,
        /// The value of the claim.
        sealed: Sealed,
    },
    /// Nothing changed.
    Rejected(Rejection),
}

/// Why a proposal changed nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// There is a key of that name from another request.
    #[error("it exists already")]
    Exists,
    /// There is nothing of that name.
    #[error("it does not exist")]
    NotFound,
    /// The policy to assign does not exist.
    #[error("the policy does not exist")]
    PolicyNotFound,
    /// The cluster was founded otherwise.
    #[error("the cluster is founded already")]
    AlreadyFounded,
    /// The cluster is not founded yet.
    #[error("the cluster is not founded")]
    NotFounded,
    /// Not the epoch, or not an epoch, of a root key that may be used here. Seal again.
    #[error("the root key is not in use")]
    WrongEpoch,
    /// What is to be replaced, or was claimed, is not there any more.
    #[error("it was changed meanwhile")]
    Changed,
    /// Something is sealed under an older root key.
    #[error("there are records under older root keys")]
    RecordsOfOlderEpoch,
    /// A backup is being restored; nothing else can be changed.
    #[error("a backup is being restored")]
    RestoreInProgress,
    /// No restore of that id is under way.
    #[error("no such restore is under way")]
    NotRestoring,
    /// A backup is restored only where there is nothing.
    #[error("the cluster is not empty")]
    NotEmpty,
    /// There are as many of that kind as there may be.
    #[error("there are too many")]
    TooMany,
    /// What was restored is not what was backed up.
    #[error("the restored records differ from the backup")]
    DigestMismatch,
    /// A name that no key, policy or identity can have.
    #[error("the name is not valid")]
    InvalidName,
    /// A key without versions, or with versions out of order.
    #[error("the record is not valid")]
    InvalidRecord,
    /// More bytes than a record may have.
    #[error("the record is too large")]
    TooLarge,
}
