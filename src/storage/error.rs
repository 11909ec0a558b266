//! What goes wrong on the disk, and how openraft is told.

use std::io;
use std::path::Path;
use std::sync::Arc;

use openraft::{AnyError, StorageIOError};

use super::dir::{DirError, RECOVERY};
use super::types::StorageError;
use crate::machine::codec::CodecError;
use crate::machine::image::ImageError;

/// Reading or writing failed. Except for [`Self::Closed`] and a refused snapshot each is final:
/// the node must stop, and what it has promised meanwhile is exactly what was acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The storage was closed.
    #[error("the storage is closed")]
    Closed,
    /// Something failed before. Nothing is written any more.
    #[error("the storage accepts no more writes since it failed: {0}")]
    Failed(Arc<str>),
    /// The disk failed.
    #[error("failed to {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
    /// The database engine failed.
    #[error("the database failed: {0}")]
    Engine(String),
    /// The database engine panicked.
    #[error("the database panicked while the node tried to {0}")]
    Panicked(&'static str),
    /// What is stored contradicts itself.
    #[error("the stored data are damaged: {0}")]
    Damaged(String),
    /// Something that is stored has no meaning.
    #[error("{what}: {source}")]
    Codec {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        source: Arc<CodecError>,
    },
    /// A snapshot cannot be used, or not be written.
    #[error("snapshot: {0}")]
    Image(Arc<ImageError>),
    /// A snapshot is not what its description says.
    #[error("the snapshot is refused: {0}")]
    SnapshotRefused(String),
    /// More than the database takes.
    #[error("a value of {bytes} bytes is too large for the database")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Raft asks for something that would break its own log.
    #[error("refused to break the log: {0}")]
    Contradiction(String),
}

/// The storage cannot be opened. The text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// The database cannot be opened, whatever was tried.
    #[error("the database in '{path}' cannot be opened ({reason}): {RECOVERY}")]
    Unusable {
        /// The data directory.
        path: String,
        /// What the last attempt said.
        reason: String,
    },
    /// The database can be opened, but lost or lacks what the node relies on.
    #[error("the database in '{path}' must not be used ({reason}): {RECOVERY}")]
    Untrustworthy {
        /// The data directory.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The disk fails, or the system refuses; the data may be well.
    #[error("failed to open the database in '{path}': {reason}")]
    Io {
        /// The data directory.
        path: String,
        /// What the operating system says.
        reason: String,
    },
}

impl OpenError {
    /// Why the content of the database in `path` is not used.
    pub(super) fn of_content(path: &Path, error: &DbError) -> Self {
        let (path, reason) = (path.display().to_string(), error.to_string());
        match error {
            DbError::Io { .. } => Self::Io { path, reason },
            _ => Self::Untrustworthy { path, reason },
        }
    }
}

impl From<sled::Error> for DbError {
    fn from(error: sled::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

impl From<ImageError> for DbError {
    fn from(error: ImageError) -> Self {
        Self::Image(Arc::new(error))
    }
}

impl DbError {
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            source: Arc::new(source),
        }
    }

    pub(super) fn codec(what: &'static str) -> impl FnOnce(CodecError) -> Self {
        move |source| Self::Codec {
            what,
            source: Arc::new(source),
        }
    }
}

/// What Raft was doing when storage failed.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    ReadLog,
    WriteLog,
    WriteVote,
    WriteState,
    WriteSnapshot,
}

impl Subject {
    /// The error in openraft's words.
    pub(super) fn failed(self) -> impl FnOnce(DbError) -> StorageError {
        move |error| {
            let source = AnyError::new(&error);
            let failure = match self {
                Self::ReadLog => StorageIOError::read_logs(source),
                Self::WriteLog => StorageIOError::write_logs(source),
                Self::WriteVote => StorageIOError::write_vote(source),
                Self::WriteState => StorageIOError::write_state_machine(source),
                Self::WriteSnapshot => StorageIOError::write_snapshot(None, source),
            };
            failure.into()
        }
    }
}
