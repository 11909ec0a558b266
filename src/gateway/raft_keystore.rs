//! The cluster's own store as a keystore: seals what goes into the replicated state, opens what
//! comes out of it, and proves absence.
//!
//! Below this file there is no key in the clear: not in the log, not in snapshots, not on disk, not
//! between nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::seals::{SealError, Seals};
use crate::base::clock::Timestamp;
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;
use crate::keystore::{KeyStore, Page, StoreDescription, StoreError, StoreFuture, listing};
use crate::machine::{KeyRecord, Op, Outcome, Rejection, Sealed, SealedVersion};
use crate::raft::{ClusterError, ProposeError, RaftHandle, request_id};

/// Short name of the store in messages.
const SHORT_NAME: &str = "cluster";

/// Under what kind keys are sealed.
pub(super) const KEY_KIND: &str = "key";

/// How often a create seals again because the root key was rotated meanwhile.
const SEAL_ATTEMPTS_MAX: usize = 3;

/// The replicated keystore.
pub struct RaftKeyStore {
    raft: RaftHandle,
    seals: Arc<Seals>,
}

impl RaftKeyStore {
    /// The keystore of the cluster that `raft` is part of, sealed by `seals`.
    pub fn new(raft: RaftHandle, seals: Arc<Seals>) -> Self {
        Self { raft, seals }
    }

    async fn create_sealed(&self, name: &str, value: &SecretBytes) -> Result<(), StoreError> {
        let request_id = request_id().map_err(propose_error)?;
        for _ in 0..SEAL_ATTEMPTS_MAX {
            self.until_founded().await?;
            let sealed = self
                .raft
                .with_state(|state| self.seals.seal(state, KEY_KIND, name, value.expose()));
            let record = KeyRecord {
                request_id,
                versions: vec![SealedVersion {
                    version: 1,
                    sealed: Sealed::from(sealed.map_err(seal_error)?),
                }],
                created_at: Timestamp::now(),
                created_by: String::new(),
            };
            let name = name.to_owned();
            let op = Op::CreateKey { name, record };
            match self.raft.propose_as(request_id, op).await {
                Ok(Outcome::Created) => return Ok(()),
                // The root key was rotated between sealing and applying.
                Err(ProposeError::Rejected(Rejection::WrongEpoch)) => {}
                Ok(other) => return Err(propose_error(ProposeError::unexpected(&other))),
                Err(error) => return Err(propose_error(error)),
            }
        }
        Err(unavailable(ClusterError::TimedOut))
    }

    /// A cluster that has just begun has no id yet, and nothing can be sealed.
    async fn until_founded(&self) -> Result<(), StoreError> {
        if self.raft.with_state(|state| state.cluster_id().is_some()) {
            return Ok(());
        }
        self.raft.read_barrier().await.map_err(unavailable)?;
        if self.raft.with_state(|state| state.cluster_id().is_some()) {
            return Ok(());
        }
        Err(unavailable(ClusterError::NotMember))
    }

    async fn load(&self, name: &str) -> Result<SecretBytes, StoreError> {
        // What is here is right, unless it may have been deleted long ago without our hearing.
        if !self.raft.is_stale()
            && let Some(value) = self.look_up(name)?
        {
            return Ok(value);
        }
        self.raft.read_barrier().await.map_err(unavailable)?;
        self.look_up(name)?.ok_or(StoreError::NotFound)
    }

    fn look_up(&self, name: &str) -> Result<Option<SecretBytes>, StoreError> {
        self.raft.with_state(|state| {
            if state.restoring().is_some() {
                return Err(unavailable(ClusterError::Restoring));
            }
            let Some(version) = state.key(name).and_then(KeyRecord::latest) else {
                return Ok(None);
            };
            let opened = self.seals.open(state, KEY_KIND, name, &version.sealed);
            opened.map(Some).map_err(seal_error)
        })
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        match self.raft.propose(Op::DeleteKey { name }).await {
            Ok(_) => Ok(()),
            Err(error) => Err(propose_error(error)),
        }
    }

    async fn page(
        &self,
        prefix: &str,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        // A listing claims absence, too.
        self.raft.read_barrier().await.map_err(unavailable)?;
        self.raft.with_state(|state| {
            if state.restoring().is_some() {
                return Err(unavailable(ClusterError::Restoring));
            }
            let from = start.filter(|start| *start > prefix).unwrap_or(prefix);
            let names: Vec<String> = state
                .keys_from(from)
                .map(|(name, _)| name)
                .take_while(|name| name.starts_with(prefix))
                .take(limit.saturating_add(1))
                .map(str::to_owned)
                .collect();
            Ok(listing::page(names, prefix, start, limit))
        })
    }
}

impl KeyStore for RaftKeyStore {
    fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "Cluster",
            location: self.raft.settings().name.clone(),
        }
    }

    fn has_atomic_create(&self) -> bool {
        true
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        Box::pin(async {
            let asked = Instant::now();
            self.raft.read_barrier().await.map_err(unavailable)?;
            Ok(asked.elapsed())
        })
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.create_sealed(name.as_str(), &value).await })
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        Box::pin(self.load(name.as_str()))
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        Box::pin(self.remove(name.as_str()))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        Box::pin(self.page(prefix, start, limit))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        // The node owns the cluster's part and ends it; a reload must not.
        Box::pin(async { Ok(()) })
    }
}

fn unavailable(error: ClusterError) -> StoreError {
    match error {
        ClusterError::Overloaded => StoreError::Overloaded { store: SHORT_NAME },
        error => StoreError::Unavailable {
            store: SHORT_NAME,
            source: error.into(),
        },
    }
}

fn propose_error(error: ProposeError) -> StoreError {
    match error {
        ProposeError::Cluster(error) => unavailable(error),
        ProposeError::Rejected(Rejection::Exists) => StoreError::Exists,
        ProposeError::Rejected(Rejection::NotFound) => StoreError::NotFound,
        ProposeError::Rejected(Rejection::RestoreInProgress) => {
            unavailable(ClusterError::Restoring)
        }
        ProposeError::Rejected(Rejection::NotFounded) => unavailable(ClusterError::NotMember),
        ProposeError::Rejected(Rejection::TooMany) => StoreError::Overloaded { store: SHORT_NAME },
        error => StoreError::Failed {
            store: SHORT_NAME,
            source: error.into(),
        },
    }
}

fn seal_error(error: SealError) -> StoreError {
    StoreError::Failed {
        store: SHORT_NAME,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests;
