//! Rotation of the root key, while the cluster serves: every record is sealed again under the new
//! one, and then the old one is not needed any more.
//!
//! It can be interrupted at any point: as long as a record is sealed under the old root key, both
//! are in use, and the next attempt goes on where this one ended.

use super::raft_keystore::KEY_KIND;
use super::seals::{SealError, Seals};
use crate::base::limits::{RESEAL_BATCH, RESEAL_ROUNDS_MAX};
use crate::crypto::at_rest::{Epoch, RootKeyId};
use crate::machine::{Op, Outcome, Rejection, Sealed, State};
use crate::raft::{ProposeError, RaftHandle};

/// What a rotation did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotation {
    /// Number of the new root key.
    pub epoch: Epoch,
    /// The new root key.
    pub key_id: RootKeyId,
    /// How many records were sealed again.
    pub resealed: u64,
}

/// The root key was not rotated, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// There is no other root key to rotate to.
    #[error(
        "root key {0} is in use already: put the new root key first in `cluster.root_key` of every \
         node, reload them, and try again"
    )]
    NothingNew(RootKeyId),
    /// Nodes could not read what is sealed under the new root key.
    #[error(
        "these nodes do not answer, or were not given root key {key_id}: {}: add it to \
         `cluster.root_key` there, reload them, and try again",
        nodes.join(", ")
    )]
    NotEverywhere {
        /// The new root key.
        key_id: RootKeyId,
        /// Names of the nodes.
        nodes: Vec<String>,
    },
    /// Another rotation runs.
    #[error("the root key is being rotated already")]
    Busy,
    /// A record cannot be opened or sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The cluster did not take a change.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// Something else keeps sealing under the old root key.
    #[error("records keep appearing under the old root key: try again")]
    Unfinished,
}

/// Rotates to the preferred root key of `seals`.
pub(super) async fn rotate(raft: &RaftHandle, seals: &Seals) -> Result<Rotation, RotationError> {
    let key_id = seals.keyring().preferred().id();
    let nodes = raft.members_without(key_id).await;
    if !nodes.is_empty() {
        return Err(RotationError::NotEverywhere { key_id, nodes });
    }
    raft.read_barrier().await.map_err(ProposeError::from)?;
    if let Some(begin) = raft.with_state(|state| beginning(state, seals))? {
        settled(raft.propose(begin).await)?;
    }
    let mut resealed = 0;
    for _ in 0..RESEAL_ROUNDS_MAX {
        resealed += reseal_all(raft, seals).await?;
        let (epoch, key_id) = raft.with_state(|state| match state.current_root() {
            Some(root) => Ok((root.epoch, RootKeyId(root.key_id))),
            None => Err(SealError::NotFounded),
        })?;
        match raft.propose(Op::EndRootRotation { epoch }).await {
            Ok(_) => {
                return Ok(Rotation {
                    epoch,
                    key_id,
                    resealed,
                });
            }
            // Created between our look and now.
            Err(ProposeError::Rejected(Rejection::RecordsOfOlderEpoch)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RotationError::Unfinished)
}

/// The proposal that begins it; `None` if it has begun.
fn beginning(state: &State, seals: &Seals) -> Result<Option<Op>, RotationError> {
    let current = state.current_root().ok_or(SealError::NotFounded)?;
    if seals.keyring().preferred().id() != RootKeyId(current.key_id) {
        return Ok(Some(seals.next_root(state)?));
    }
    match state.roots().len() {
        1 => Err(RotationError::NothingNew(RootKeyId(current.key_id))),
        _ => Ok(None),
    }
}

/// A repetition of what is done already is as good.
fn settled(outcome: Result<Outcome, ProposeError>) -> Result<(), ProposeError> {
    outcome.map(|_| ())
}

/// Seals every record again that is sealed under an older root key. Returns how many.
async fn reseal_all(raft: &RaftHandle, seals: &Seals) -> Result<u64, RotationError> {
    let mut resealed = 0;
    let mut start = String::new();
    loop {
        let (ops, next) = raft.with_state(|state| batch(state, seals, &start))?;
        for outcome in raft.propose_batch(ops).await? {
            match outcome {
                Outcome::Done => resealed += 1,
                // Deleted, or sealed again by somebody else, or the next round's.
                Outcome::Rejected(_) => {}
                other => return Err(ProposeError::unexpected(&other).into()),
            }
        }
        match next {
            Some(next) => start = next,
            None => return Ok(resealed),
        }
    }
}

/// The next proposals from the key `start` on, and where to go on.
fn batch(
    state: &State,
    seals: &Seals,
    start: &str,
) -> Result<(Vec<Op>, Option<String>), SealError> {
    let current = state.current_root().ok_or(SealError::NotFounded)?.epoch;
    let mut ops = Vec::new();
    for (name, record) in state.keys_from(start) {
        if ops.len() >= RESEAL_BATCH {
            return Ok((ops, Some(name.to_owned())));
        }
        for version in &record.versions {
            if version.sealed.epoch() == Some(current) {
                continue;
            }
            let value = seals.open(state, KEY_KIND, name, &version.sealed)?;
            let sealed = seals.seal(state, KEY_KIND, name, value.expose())?;
            ops.push(Op::Reseal {
                name: name.to_owned(),
                version: version.version,
                expected: version.sealed.digest(),
                sealed: Sealed::from(sealed),
            });
        }
    }
    Ok((ops, None))
}
