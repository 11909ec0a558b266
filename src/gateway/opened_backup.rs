//! A backup that was opened: everything about it that can be checked is, before anything changes.

use std::io::{self, Read};
use std::iter::Peekable;

use super::seals::{SealError, Seals};
use crate::base::limits::{BATCH_BYTES_MAX, BATCH_PROPOSALS_MAX};
use crate::crypto::at_rest::{
    BackupError as SealedBackupError, BackupHeader, ClusterId, Epoch, FIRST_EPOCH, RootKeyId,
    Sealer,
};
use crate::machine::image::{self, ImageError};
use crate::machine::{
    Command, Counts, Digest32, Op, Outcome, Proposal, Rejection, RestoreId, RootEpoch, State,
};

/// A file is no backup that this node can restore.
#[derive(Debug, thiserror::Error)]
pub enum OpenBackupError {
    /// It is none, or damaged, or incomplete.
    #[error(transparent)]
    Sealed(#[from] SealedBackupError),
    /// The node was not given the root key.
    #[error(
        "the backup is sealed under root key {key_id} (epoch {epoch}), which this node was not \
         given: add it to `cluster.root_key` of every node, and try again"
    )]
    UnknownRootKey {
        /// Which one.
        key_id: RootKeyId,
        /// Its epoch in the cluster that was backed up.
        epoch: Epoch,
    },
    /// The cluster that was backed up used further root keys.
    #[error("the records of the backup cannot be opened: {0}")]
    Seal(#[from] SealError),
    /// What it holds is not the state of a cluster.
    #[error("the content of the backup is invalid: {0}")]
    Image(ImageError),
    /// What it holds is not of the cluster that it names.
    #[error("the backup contradicts itself")]
    Contradiction,
    /// A cluster would not take it.
    #[error("the content of the backup is invalid: {0}")]
    Rejected(Rejection),
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Io(io::Error),
}

/// The id of a restore that only is rehearsed.
const REHEARSAL: RestoreId = 0;

/// A backup that can be restored as a whole.
pub(super) struct OpenedBackup {
    state: State,
    /// Of what is restored. Reads everything, and so is made once.
    digest: Digest32,
}

impl OpenedBackup {
    /// Opens and checks the backup that `input` holds, up to its end. Blocks, for as long as that
    /// takes.
    ///
    /// # Errors
    ///
    /// [`OpenBackupError`].
    pub(super) fn open(mut input: impl Read, seals: &Seals) -> Result<Self, OpenBackupError> {
        let header = BackupHeader::read(&mut input)?;
        let keyring = seals.keyring();
        let Some(key) = keyring.get(header.root_key_id) else {
            return Err(OpenBackupError::UnknownRootKey {
                key_id: header.root_key_id,
                epoch: header.epoch,
            });
        };
        let sealer = Sealer::new(key, header.cluster_id, header.epoch);
        let mut image = sealer.open_backup(&header, input)?;
        let state = image::read(&mut image).map_err(image_error)?;
        let root = state.current_root();
        let is_consistent = state.cluster_id() == Some(header.cluster_id)
            && state.restoring().is_none()
            && root.is_some_and(|root| {
                (root.epoch, RootKeyId(root.key_id)) == (header.epoch, header.root_key_id)
            });
        if !is_consistent {
            return Err(OpenBackupError::Contradiction);
        }
        seals.check(&state)?;
        let digest = state.content_digest();
        let backup = Self { state, digest };
        backup.rehearse().map_err(OpenBackupError::Rejected)?;
        Ok(backup)
    }

    /// What is in it.
    pub(super) fn counts(&self) -> Counts {
        self.state.counts()
    }

    /// The cluster that was backed up.
    pub(super) fn cluster_id(&self) -> Option<ClusterId> {
        self.state.cluster_id()
    }

    /// What restores it, in batches, each of which is one entry of the log.
    pub(super) fn batches(&self, restore_id: RestoreId) -> impl Iterator<Item = Vec<Op>> + Send {
        let mut operations = self.operations(restore_id).peekable();
        std::iter::from_fn(move || next_batch(&mut operations))
    }

    fn operations(&self, restore_id: RestoreId) -> impl Iterator<Item = Op> + Send {
        let begin = self.cluster_id().map(|cluster_id| Op::BeginRestore {
            restore_id,
            cluster_id,
            roots: self.state.roots().to_vec(),
        });
        let policies = self.state.policies().map(move |(name, policy)| {
            let (name, policy) = (name.to_owned(), policy.clone());
            Op::RestorePolicy {
                restore_id,
                name,
                policy,
            }
        });
        let identities = self.state.identities().map(move |(identity, assignment)| {
            let (identity, assignment) = (identity.to_owned(), assignment.clone());
            Op::RestoreIdentity {
                restore_id,
                identity,
                assignment,
            }
        });
        let keys = self.state.keys_from("").map(move |(name, record)| {
            let (name, record) = (name.to_owned(), record.clone());
            Op::RestoreKey {
                restore_id,
                name,
                record,
            }
        });
        let end = Op::EndRestore {
            restore_id,
            digest: self.digest,
        };
        let records = policies.chain(identities).chain(keys);
        begin.into_iter().chain(records).chain([end])
    }

    /// Restores it into a state that nobody sees: what a cluster would reject half-way is rejected
    /// before anything has changed.
    fn rehearse(&self) -> Result<(), Rejection> {
        let root = RootEpoch {
            epoch: FIRST_EPOCH,
            key_id: [0; 8],
            check: [0; 32],
        };
        let mut state = State::default();
        let found = Op::Found {
            cluster_id: ClusterId([0; 16]),
            root,
        };
        perform(&mut state, vec![found])?;
        let mut batches = self.batches(REHEARSAL);
        batches.try_for_each(|batch| perform(&mut state, batch))
    }
}

/// Applies `ops`, each as a request of its own.
fn perform(state: &mut State, ops: Vec<Op>) -> Result<(), Rejection> {
    let numbered = ops.into_iter().map(|op| {
        // Beginning and end are remembered by their requests' ids; the others may share one.
        let request_id = match &op {
            Op::BeginRestore { .. } => 1,
            Op::EndRestore { .. } => 2,
            _ => 0,
        };
        Proposal { request_id, op }
    });
    let proposals = numbered.collect();
    let (outcomes, _) = state.apply(&Command { proposals });
    first_rejection(&outcomes)
}

/// What a cluster refused of several changes.
pub(super) fn first_rejection(outcomes: &[Outcome]) -> Result<(), Rejection> {
    let mut rejections = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Rejected(rejection) => Some(*rejection),
        _ => None,
    });
    rejections.next().map_or(Ok(()), Err)
}

/// As many operations as one entry of the log takes; `None` if there are no more.
fn next_batch(operations: &mut Peekable<impl Iterator<Item = Op>>) -> Option<Vec<Op>> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(op) = operations.next_if(|op| {
        // The first is always taken: a batch of none would never end.
        batch.is_empty()
            || (batch.len() < BATCH_PROPOSALS_MAX && bytes + op.size_hint() <= BATCH_BYTES_MAX)
    }) {
        bytes += op.size_hint();
        batch.push(op);
    }
    (!batch.is_empty()).then_some(batch)
}

/// What is wrong is told by whoever found it: the file, the seal, or the content.
fn image_error(error: ImageError) -> OpenBackupError {
    let ImageError::Io(error) = error else {
        return OpenBackupError::Image(error);
    };
    let is_seal = |inner: &(dyn std::error::Error + 'static)| inner.is::<SealedBackupError>();
    match error.get_ref() {
        Some(inner) if is_seal(inner) => OpenBackupError::Sealed(SealedBackupError::NotAuthentic),
        _ => OpenBackupError::Io(error),
    }
}

#[cfg(test)]
mod tests;
