//! Layer 3: what a cluster node keeps on disk: the Raft log, the vote, the applied state, snapshots.
//!
//! What is acknowledged survives a kill and a loss of power: it is acknowledged after an fsync of
//! our own. Where the disk lies, fails, or lost something, the node stops or does not start, and
//! says what the operator must do; it never goes on with less than it promised. The other members
//! are the repair tool.
//!
//! [`Storage::open`] gives the two halves that Raft owns and a [`StorageHandle`] for all others.

mod db;
mod dir;
mod disk;
mod error;
mod figures;
mod hooks;
mod image_store;
mod log_store;
mod log_table;
mod snapshot_file;
mod state_store;
mod table;
mod tally;
mod types;
mod witness;

#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use crate::base::snapshot::Published;
use db::DurableDb;
pub use dir::{DataDir, DirError};
use disk::Disk;
pub use error::{DbError, OpenError};
pub use figures::Figures;
pub use hooks::{DiskFile, DiskHooks, RealDisk, Step};
use image_store::ImageStore;
pub use log_store::{LogReader, LogStore};
pub use snapshot_file::SnapshotFile;
use state_store::AppliedWatch;
pub use state_store::{Applied, SnapshotBuilder, StateStore};
pub use types::{
    Entry, LogId, Member, NodeId, Snapshot, SnapshotMeta, StorageError, StoredMembership,
    TypeConfig, Vote,
};
use witness::Witness;

/// An open data directory, taken apart for its users.
pub struct Storage {
    /// For Raft.
    pub log: LogStore,
    /// For Raft.
    pub state: StateStore,
    /// For everybody else.
    pub handle: StorageHandle,
}

impl Storage {
    /// Opens the data directory at `path`, or creates it, and checks all that is in it. Blocks, for
    /// as long as it takes to read everything; needs no runtime.
    ///
    /// # Errors
    ///
    /// [`OpenError`], whose text tells the operator what to do.
    pub fn open(path: &Path, hooks: Arc<dyn DiskHooks>) -> Result<Self, OpenError> {
        let dir = DataDir::open(path)?;
        let node_id = dir.node_id();
        let witness = Witness::open(&dir.witness())?;
        let db = DurableDb::open(dir)?;
        let refused = |error: DbError| OpenError::of_content(path, &error);
        // The engine panics on some kinds of damage, here as elsewhere.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let loaded = state_store::load(db.tables())?;
            let heads = log_table::load(db.tables(), loaded.applied.last_applied, &witness)?;
            Ok((loaded, heads))
        }));
        let read = read.unwrap_or(Err(DbError::Panicked("read it")));
        let (loaded, heads) = read.map_err(refused)?;
        let applied = loaded.applied.last_applied;
        let images = ImageStore::open(db.dir(), Arc::clone(&hooks), applied, heads.purged)?;
        let images = Arc::new(images);
        let disk = Disk::start(db, hooks).map_err(|error| OpenError::Io {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
        let state = StateStore::new(disk.clone(), Arc::clone(&images), loaded);
        let watch = state.watch();
        let handle = StorageHandle {
            node_id,
            applied: state.published(),
            policies: state.watch_policies(),
            watch: watch.clone(),
            disk: disk.clone(),
            images,
        };
        let log = LogStore::new(disk, witness, heads, watch);
        Ok(Self { log, state, handle })
    }
}

/// What others may see and do of a node's storage. Clones are the same storage.
#[derive(Clone)]
pub struct StorageHandle {
    node_id: NodeId,
    applied: Published<Applied>,
    policies: watch::Receiver<u64>,
    watch: AppliedWatch,
    disk: Disk,
    images: Arc<ImageStore>,
}

impl StorageHandle {
    /// Who this node is.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The applied state. It is published after it was written, before Raft answers.
    pub fn applied(&self) -> &Published<Applied> {
        &self.applied
    }

    /// Tells when [`Applied::policies_revision`] changed, which is published by then. Ends when Raft
    /// is stopped.
    pub fn watch_policies(&self) -> watch::Receiver<u64> {
        self.policies.clone()
    }

    /// Returns when [`Self::applied`] has the entry at `index`. The caller sets a deadline.
    ///
    /// # Errors
    ///
    /// [`DbError::Failed`] if the storage failed, [`DbError::Closed`] if Raft was stopped: no entry
    /// will be applied any more.
    pub async fn wait_applied(&self, index: u64) -> Result<(), DbError> {
        self.watch.wait(index).await
    }

    /// Returns with the reason as soon as the storage has failed. The node must stop then.
    pub async fn failed(&self) -> Arc<str> {
        let mut failed = self.disk.failed();
        let reason = failed.wait_for(Option::is_some).await;
        let reason = reason.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // The sender lives as long as this handle.
            None => std::future::pending().await,
        }
    }

    /// A new file to receive a snapshot into, see [`SnapshotFile::append`] and
    /// [`SnapshotFile::verify`]. It is removed when it is dropped, unless Raft installed it. Blocks.
    ///
    /// # Errors
    ///
    /// [`DbError::Io`] if the file cannot be created.
    pub fn receive_snapshot(&self) -> Result<SnapshotFile, DbError> {
        self.images.receive()
    }

    /// A new file on the disk of the data directory, for a while: readable by its owner alone, and
    /// gone with its last handle, whatever ends the process. Blocks.
    ///
    /// # Errors
    ///
    /// [`DbError::Closed`] after [`Self::close`], [`DbError::Io`] if the file cannot be created.
    pub fn scratch_file(&self) -> Result<File, DbError> {
        let action = "create a temporary file";
        self.disk.with_db(action, |db| {
            db.dir().scratch_file().map_err(DbError::io(action))
        })
    }

    /// Figures of this moment. Asks the file system, and so may block for a moment.
    ///
    /// # Errors
    ///
    /// [`DbError::Closed`] after [`Self::close`], [`DbError::Io`] if the file system does not answer.
    pub fn figures(&self) -> Result<Figures, DbError> {
        self.disk.with_db("read the size of the database", |db| {
            let action = "read the size of the database";
            let free = rustix::fs::statvfs(db.dir().path());
            let free = free.map_err(|error| DbError::io(action)(error.into()))?;
            Ok(Figures {
                database_bytes: db.bytes().map_err(DbError::io(action))?,
                snapshot_bytes: self.images.bytes(),
                free_bytes: free.f_bavail.saturating_mul(free.f_frsize),
                ..self.disk.figures().load()
            })
        })
    }

    /// Makes everything durable, closes the database and unlocks the directory, even while Raft's
    /// halves still exist. Raft should have been stopped before.
    ///
    /// # Errors
    ///
    /// [`DbError`] if something was not made durable; nothing of that was acknowledged.
    pub async fn close(&self) -> Result<(), DbError> {
        self.disk.close().await
    }
}
