//! Layer 5: which store answers, and whether it does.
//!
//! [`Gateway`] is what others hold: it bounds every call of the store in time and lets no client
//! that disconnects interrupt one. The actor replaces the store and asks for its status.

pub(crate) mod actor;
mod backup;
mod cluster_admin;
mod handle;
pub(crate) mod messages;
mod opened_backup;
mod policies;
mod predefined;
mod raft_keystore;
mod restore;
mod root_rotation;
#[cfg(test)]
mod samples;
mod seals;
mod upload;

pub use backup::{BackupError, BackupStream, Backups, BrokenOff};
pub use cluster_admin::{ClusterAdmin, Health, Overview};
pub(crate) use handle::Current;
pub use handle::{Gateway, StoreStatus};
pub use opened_backup::OpenBackupError;
pub use policies::{PolicyAdmin, PolicyChangeError, replicated_policies};
pub use predefined::{EnsureKeyCause, EnsureKeysError, ensure_keys};
pub use raft_keystore::RaftKeyStore;
pub use restore::{RestoreError, Restores};
pub use root_rotation::{Rotation, RotationError};
pub use seals::{SealError, Seals};
pub use upload::UploadError;
