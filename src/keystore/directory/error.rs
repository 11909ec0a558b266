//! What can go wrong with a directory of keys.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::base::limits::STORED_VALUE_BYTES_MAX;
use crate::crypto::random;

/// A file keystore cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is something else at that path.
    #[error("{store}: '{}' is not a directory", path.display())]
    NotADirectory {
        /// Short name of the store.
        store: &'static str,
        /// The configured path.
        path: PathBuf,
    },
    /// The directory can neither be found nor created.
    #[error("{store}: cannot open directory '{}': {source}", path.display())]
    Directory {
        /// Short name of the store.
        store: &'static str,
        /// The configured path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// There is no master key file.
    #[error("master key not found: '{}'", path.display())]
    MasterKeyNotFound {
        /// The configured path.
        path: PathBuf,
    },
    /// The master key file cannot be read.
    #[error("failed to read master key '{}': {source}", path.display())]
    MasterKeyUnreadable {
        /// The configured path.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The master key file has not exactly 32 bytes.
    #[error("invalid master key size for '{cipher}'")]
    MasterKeySize {
        /// The configured cipher.
        cipher: String,
    },
    /// No such cipher.
    #[error("crypto: secret key type '{cipher}' is not supported")]
    UnknownCipher {
        /// The configured cipher.
        cipher: String,
    },
}

/// Why a value cannot be read or written, other than by the operating system.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// The operating system failed to do something.
    #[error("failed to {action} '{}': {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// There is something else under the name of a key.
    #[error("'{}' is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// The path leads elsewhere, or the directory went with its volume.
    #[error("'{}' is not the directory that was opened: is its volume mounted?", path.display())]
    Replaced { path: PathBuf },
    /// What was changed last may be undone by a power cut. Final, see [`super::sync::Syncs`].
    #[error("failed to sync directory '{}': {source}", path.display())]
    NotSynced { path: PathBuf, source: Errno },
    /// The file system cannot make a change durable.
    #[error("the file system of '{}' cannot sync directories: no change is durable", path.display())]
    CannotSync { path: PathBuf },
    /// A value above the limit, to be written or found.
    #[error("value for '{}' is larger than {STORED_VALUE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// A temporary file cannot be named.
    #[error("no randomness for a temporary file in '{}': {source}", path.display())]
    Random {
        path: PathBuf,
        source: random::RandomError,
    },
}
