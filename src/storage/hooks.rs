//! Where tests reach into the disk: make it slow, full or broken, or stop between two steps.
//!
//! The server runs with [`RealDisk`], which does nothing.

use std::io;

/// What is about to be written or synced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DiskFile {
    /// The database: log, vote, applied state.
    Database,
    /// A snapshot file.
    Snapshot,
}

/// A moment between two writes, at which a crash must be harmless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each name is the step that has just been done")]
pub enum Step {
    EntriesWritten,
    EntriesSynced,
    VoteWritten,
    VoteSynced,
    Truncated,
    PurgeSynced,
    PurgeMarked,
    PurgeHalfRemoved,
    PurgeRemoved,
    Applied,
    SnapshotWritten,
    SnapshotSynced,
    SnapshotRenamed,
    SnapshotStored,
    InstallTreeWritten,
    InstallTreeSynced,
    InstallFlipped,
    InstallFlipSynced,
    InstallOldDropped,
}

/// What a disk may be made to do. Every method runs on a thread that may block.
pub trait DiskHooks: Send + Sync + 'static {
    /// Called before something is written. An error stands for the disk's, and nothing is written.
    ///
    /// # Errors
    ///
    /// Whatever the write shall fail with.
    fn before_write(&self, _file: DiskFile) -> io::Result<()> {
        Ok(())
    }

    /// Called before an fsync. An error stands for the fsync's.
    ///
    /// # Errors
    ///
    /// Whatever the fsync shall fail with.
    fn before_fsync(&self, _file: DiskFile) -> io::Result<()> {
        Ok(())
    }

    /// Called when `step` is done and the next one has not begun.
    fn reached(&self, _step: Step) {}
}

/// The disk as it is.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

impl DiskHooks for RealDisk {}
