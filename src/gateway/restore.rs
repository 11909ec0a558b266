//! Restoring a backup into an empty cluster: it is collected whole, opened and checked, and only
//! then changes anything.
//!
//! From its first change to its last the cluster says 503 to everybody: what is there is incomplete.
//! A restore that was interrupted in between, by whatever, is repeated from its beginning; the
//! cluster then forgets the unfinished one.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};

use super::opened_backup::{OpenBackupError, OpenedBackup, first_rejection};
use super::seals::Seals;
use super::upload::{Upload, UploadError};
use crate::base::limits::{RESTORE_ATTEMPTS_MAX, RESTORE_IDLE_TIMEOUT};
use crate::machine::{Counts, Op, Rejection, RestoreId};
use crate::raft::{ClusterError, ProposeError, RaftHandle, request_id};
use crate::storage::DbError;

/// A backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A backup would mix with what is there.
    #[error(
        "the cluster is not empty (keys: {}, policies: {}, identities: {}): a backup is restored \
         into a new cluster, without `keys` in its configuration",
        .0.keys, .0.policies, .0.identities
    )]
    NotEmpty(Counts),
    /// One restore at a time.
    #[error("a backup is being restored already")]
    Busy,
    /// It ended, was given up, or never was.
    #[error(
        "no such restore: it has ended, was replaced by another one, or nothing was sent for {} min",
        RESTORE_IDLE_TIMEOUT.as_secs() / 60
    )]
    Unknown,
    /// A piece is not taken.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// There is no file to collect it in.
    #[error(transparent)]
    Storage(#[from] DbError),
    /// What was uploaded cannot be restored. Nothing has changed.
    #[error(transparent)]
    Open(#[from] OpenBackupError),
    /// Another node began another restore meanwhile.
    #[error("another restore has taken the place of this one")]
    Replaced,
    /// The cluster did not take all of it. It can be repeated.
    #[error("{0}: unless the cluster has what was backed up, repeat the restore")]
    Propose(#[from] ProposeError),
    /// The cluster gives no answer. Nothing has changed.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

type Slot = Mutex<Option<Upload>>;

/// Restores backups: one upload, and one restore, at a time.
#[derive(Clone)]
pub struct Restores {
    raft: RaftHandle,
    seals: Arc<Seals>,
    runtime: Handle,
    upload: Arc<Slot>,
    permit: Arc<Semaphore>,
}

impl Restores {
    pub(super) fn new(raft: RaftHandle, seals: Arc<Seals>, runtime: Handle) -> Self {
        Self {
            raft,
            seals,
            runtime,
            upload: Arc::new(Mutex::new(None)),
            permit: Arc::new(Semaphore::new(1)),
        }
    }

    /// Begins an upload, in place of the one under way.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; already here if there is something in the cluster.
    pub async fn begin(&self) -> Result<RestoreId, RestoreError> {
        if self.permit.available_permits() == 0 {
            return Err(RestoreError::Busy);
        }
        self.check_empty().await?;
        let id: RestoreId = request_id()?;
        let raft = self.raft.clone();
        let file = self.blocking(move || Ok(raft.scratch_file()?)).await?;
        if self
            .upload
            .lock()
            .await
            .replace(Upload::new(id, file))
            .is_some()
        {
            tracing::info!("the upload of a backup was replaced by another one");
        }
        let watched = Arc::downgrade(&self.upload);
        drop(self.runtime.spawn(give_up_when_idle(watched, id)));
        Ok(id)
    }

    /// Takes the piece at `offset` of the upload `id`: the next one, or one that came before.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; the upload can go on then, unless it is unknown.
    pub async fn take(&self, id: RestoreId, offset: u64, piece: Bytes) -> Result<(), RestoreError> {
        let mut slot = Arc::clone(&self.upload).lock_owned().await;
        self.blocking(move || match slot.as_mut() {
            Some(upload) if upload.id() == id => Ok(upload.take(offset, &piece)?),
            _ => Err(RestoreError::Unknown),
        })
        .await
    }

    /// Restores what was uploaded as `id`; how much is there then. A caller that must not interrupt
    /// it half-way runs it in a task of its own.
    ///
    /// # Errors
    ///
    /// [`RestoreError`]; in any case the upload is gone.
    pub async fn commit(&self, id: RestoreId) -> Result<Counts, RestoreError> {
        let permit = self.permit.try_acquire();
        let _permit = permit.map_err(|_| RestoreError::Busy)?;
        let upload = self.upload.lock().await.take_if(|upload| upload.id() == id);
        let upload = upload.ok_or(RestoreError::Unknown)?;
        self.check_empty().await?;
        let seals = Arc::clone(&self.seals);
        let opened = self.blocking(move || {
            let input = upload.into_reader().map_err(OpenBackupError::Io)?;
            Ok(OpenedBackup::open(input, &seals)?)
        });
        let backup = opened.await?;
        let counts = backup.counts();
        tracing::info!(
            keys = counts.keys,
            policies = counts.policies,
            identities = counts.identities,
            "a backup is being restored: the cluster answers 503 until it is there"
        );
        for batch in backup.batches(id) {
            self.settle(batch).await?;
        }
        Ok(counts)
    }

    /// Nothing of the cluster's own may be there; an unfinished restore may.
    async fn check_empty(&self) -> Result<(), RestoreError> {
        self.raft.read_barrier().await?;
        self.raft.with_state(|state| {
            if state.cluster_id().is_none() {
                return Err(ClusterError::NotMember.into());
            }
            let counts = state.counts();
            match state.restoring().is_some() || counts == Counts::default() {
                true => Ok(()),
                false => Err(RestoreError::NotEmpty(counts)),
            }
        })
    }

    /// Makes changes that may be made again, through however many leaders.
    async fn settle(&self, batch: Vec<Op>) -> Result<(), RestoreError> {
        let mut attempts = 1;
        let outcomes = loop {
            match self.raft.propose_batch(batch.clone()).await {
                Ok(outcomes) => break outcomes,
                Err(ProposeError::Cluster(error))
                    if attempts < RESTORE_ATTEMPTS_MAX && is_passing(&error) =>
                {
                    tracing::warn!(%error, "the restore waits for the cluster");
                    attempts += 1;
                }
                Err(error) => return Err(error.into()),
            }
        };
        first_rejection(&outcomes).map_err(|rejection| match rejection {
            Rejection::NotRestoring => RestoreError::Replaced,
            Rejection::NotEmpty => RestoreError::NotEmpty(self.raft.state().counts()),
            other => ProposeError::Rejected(other).into(),
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
    ) -> Result<T, RestoreError> {
        match self.runtime.spawn_blocking(work).await {
            Ok(result) => result,
            Err(aborted) => Err(ClusterError::Stopped(aborted.to_string()).into()),
        }
    }
}

fn is_passing(error: &ClusterError) -> bool {
    !matches!(
        error,
        ClusterError::Stopped(_) | ClusterError::NotMember | ClusterError::Restoring
    )
}

/// Drops the upload `id` when nothing has been added to it for too long.
async fn give_up_when_idle(slot: Weak<Slot>, id: RestoreId) {
    loop {
        let touched = match slot.upgrade() {
            Some(slot) => {
                let mut slot = slot.lock().await;
                let Some(upload) = slot.as_ref().filter(|upload| upload.id() == id) else {
                    return;
                };
                if upload.touched().elapsed() >= RESTORE_IDLE_TIMEOUT {
                    *slot = None;
                    tracing::warn!("the upload of a backup was given up: nothing came any more");
                    return;
                }
                upload.touched()
            }
            None => return,
        };
        tokio::time::sleep_until(touched + RESTORE_IDLE_TIMEOUT).await;
    }
}

#[cfg(test)]
mod tests;
