//! One file a key in one directory: what the file keystores share.
//!
//! Every function blocks. A file appears under a key's name only as a whole and durably, and is
//! never changed afterwards. A failing operation removes nothing but what it created itself.

use std::fs::{DirBuilder, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{Page, StoreError, listing};
use crate::base::limits::STORED_VALUE_BYTES_MAX;
use crate::base::name::is_valid_name;
use crate::base::secret::SecretBytes;
use crate::crypto::random;

/// Temporary files start with it. A key name has no dot.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// Hex digits after [`TEMPORARY_PREFIX`].
const TEMPORARY_DIGITS: usize = 32;

/// Older temporary files were left behind by a process that died: no write takes that long.
const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(60 * 60);

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
enum FileError {
    #[error("failed to {action} '{}': {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("'{}' is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("'{}' is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("value for '{}' is larger than {STORED_VALUE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("no randomness for a temporary file in '{}': {source}", path.display())]
    Random {
        path: PathBuf,
        source: random::RandomError,
    },
}

/// A directory that a store has for itself.
pub(crate) struct Directory {
    path: PathBuf,
    store: &'static str,
}

impl Directory {
    /// Opens the directory at `path` and creates it and its parents if need be. `store` is the
    /// short name for messages.
    pub(crate) fn open(path: &Path, store: &'static str) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Directory {
            store,
            path: path.to_owned(),
            source,
        };
        let created = DirBuilder::new().recursive(true).mode(0o755).create(path);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let path = path.to_owned();
                return Err(OpenError::NotADirectory { store, path });
            }
            Err(source) => return Err(failed(created.err().unwrap_or(source))),
        }
        let directory = Self {
            path: path.to_owned(),
            store,
        };
        directory.remove_stale().map_err(failed)?;
        Ok(directory)
    }

    /// Short name of the store.
    pub(crate) fn store(&self) -> &'static str {
        self.store
    }

    /// The path, exactly as configured.
    pub(crate) fn location(&self) -> String {
        self.path.display().to_string()
    }

    /// The time that the file system takes to find the directory.
    pub(crate) fn status(&self) -> Result<Duration, StoreError> {
        let asked = Instant::now();
        self.ensure_present()?;
        Ok(asked.elapsed())
    }

    /// Writes a new file durably.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let target = self.file(name)?;
        if content.len() > STORED_VALUE_BYTES_MAX {
            return Err(self.failed(FileError::TooLarge { path: target }));
        }
        if target.symlink_metadata().is_ok() {
            return Err(StoreError::Exists);
        }
        let temporary = self.path.join(self.temporary_name()?);
        self.write_exclusive(&temporary, content)?;
        let linked = std::fs::hard_link(&temporary, &target);
        // If this fails the file stays, invisible to every operation, until it is stale.
        let _ = std::fs::remove_file(&temporary);
        match linked {
            Ok(()) => self.sync(),
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Exists),
            Err(source) if is_link_unsupported(&source) => self.create_in_place(&target, content),
            Err(source) => Err(self.io_failed("create", target, source)),
        }
    }

    /// Reads a file.
    pub(crate) fn get(&self, name: &str) -> Result<SecretBytes, StoreError> {
        let path = self.file(name)?;
        // Without NONBLOCK a named pipe at that place would hold the thread for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) => return Err(self.absent()),
            Err(source) => return Err(self.io_failed("open", path, source.into())),
        };
        let found = match file.metadata() {
            Ok(found) => found,
            Err(source) => return Err(self.io_failed("read", path, source)),
        };
        if !found.is_file() {
            return Err(self.failed(FileError::NotAFile { path }));
        }
        match read_bounded(file, &found) {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(self.failed(FileError::TooLarge { path })),
            Err(source) => Err(self.io_failed("read", path, source)),
        }
    }

    /// Removes a file durably.
    pub(crate) fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.file(name)?;
        match std::fs::remove_file(&path) {
            Ok(()) => self.sync(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(self.absent()),
            Err(source) => Err(self.io_failed("delete", path, source)),
        }
    }

    /// Lists the files that are keys: regular ones under a valid name.
    pub(crate) fn list(
        &self,
        prefix: &str,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.ensure_present()?;
        let mut names = Vec::new();
        let entries = std::fs::read_dir(&self.path);
        for entry in entries.map_err(|source| self.io_failed("list", self.path.clone(), source))? {
            let entry =
                entry.map_err(|source| self.io_failed("list", self.path.clone(), source))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !is_valid_name(&name) || !listing::belongs(&name, prefix, start) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if is_regular(kind, &entry.path()) => names.push(name),
                Ok(_) => {}
                // Deleted since the directory was read.
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(self.io_failed("inspect", entry.path(), source)),
            }
        }
        Ok(listing::page(names, prefix, start, limit))
    }

    /// The path of the file of `name`.
    fn file(&self, name: &str) -> Result<PathBuf, StoreError> {
        // A key name has none of these. They are what a path must not get from outside, though,
        // and this is the last place that can tell.
        if name.is_empty() || name.contains(['/', '\\', '.']) {
            return Err(StoreError::InvalidName { store: self.store });
        }
        Ok(self.path.join(name))
    }

    /// Writes a new file under its final name, for file systems without hard links. A crash can
    /// leave a part of it behind.
    fn create_in_place(&self, target: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.write_exclusive(target, content)?;
        self.sync()
    }

    /// Creates the file `path`, and writes and syncs it. If that fails there is no such file,
    /// unless there was one before.
    fn write_exclusive(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(source) => {
                return Err(match source.kind() {
                    io::ErrorKind::AlreadyExists => StoreError::Exists,
                    io::ErrorKind::NotFound => match self.ensure_present() {
                        Err(unreachable) => unreachable,
                        Ok(()) => self.io_failed("create", path.to_owned(), source),
                    },
                    _ => self.io_failed("create", path.to_owned(), source),
                });
            }
        };
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(|source| {
            remove_if_same(path, &file);
            self.io_failed("write", path.to_owned(), source)
        })
    }

    /// Makes what happened to the directory's entries durable.
    fn sync(&self) -> Result<(), StoreError> {
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| self.io_failed("sync directory", self.path.clone(), source))
    }

    /// What to say if there is no such file: that is certain only while the directory is there.
    fn absent(&self) -> StoreError {
        self.ensure_present().err().unwrap_or(StoreError::NotFound)
    }

    fn ensure_present(&self) -> Result<(), StoreError> {
        let path = || self.path.clone();
        let problem = match std::fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => FileError::NotADirectory { path: path() },
            Err(source) => FileError::Io {
                action: "find directory",
                path: path(),
                source,
            },
        };
        Err(StoreError::Unreachable {
            store: self.store,
            source: problem.into(),
        })
    }

    /// Removes temporary files of processes that died.
    fn remove_stale(&self) -> io::Result<()> {
        let now = SystemTime::now();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(is_temporary_name) {
                continue;
            }
            let modified = entry.metadata().and_then(|found| match found.is_file() {
                true => found.modified(),
                false => Ok(now),
            });
            let age = modified.map(|at| now.duration_since(at).unwrap_or_default());
            if !age.is_ok_and(|age| age > TEMPORARY_AGE_MAX) {
                continue;
            }
            // Another process may do the same at this moment.
            if let Err(error) = std::fs::remove_file(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                let path = entry.path();
                tracing::warn!(path = %path.display(), %error, "failed to remove a stale temporary file");
            }
        }
        Ok(())
    }

    fn temporary_name(&self) -> Result<String, StoreError> {
        let random = random::array::<{ TEMPORARY_DIGITS / 2 }>().map_err(|source| {
            self.failed(FileError::Random {
                path: self.path.clone(),
                source,
            })
        })?;
        let digits = u128::from_ne_bytes(random);
        Ok(format!("{TEMPORARY_PREFIX}{digits:032x}"))
    }

    fn io_failed(&self, action: &'static str, path: PathBuf, source: io::Error) -> StoreError {
        self.failed(FileError::Io {
            action,
            path,
            source,
        })
    }

    fn failed(&self, error: FileError) -> StoreError {
        StoreError::Failed {
            store: self.store,
            source: error.into(),
        }
    }
}

/// Whether a directory entry is a regular file, or a symbolic link to one: mounted secrets are.
fn is_regular(kind: FileType, path: &Path) -> bool {
    kind.is_file()
        || (kind.is_symlink() && std::fs::metadata(path).is_ok_and(|found| found.is_file()))
}

fn is_temporary_name(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX).is_some_and(|digits| {
        digits.len() == TEMPORARY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether the file system has no hard links at all, in contrast to a link that failed.
fn is_link_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)
    )
}

/// Reads all of `file`; `None` if it is larger than a stored value may be.
fn read_bounded(file: File, found: &Metadata) -> io::Result<Option<SecretBytes>> {
    let expected = usize::try_from(found.len()).unwrap_or(usize::MAX);
    if expected > STORED_VALUE_BYTES_MAX {
        return Ok(None);
    }
    // Large enough from the start: a buffer that grows leaves copies of the secret behind. If the
    // file grows meanwhile, the rest is detected by one more byte than expected.
    let mut content = Vec::with_capacity(expected + 1);
    let limit = u64::try_from(expected)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let read = file.take(limit).read_to_end(&mut content);
    let content = SecretBytes::new(content);
    read?;
    if content.expose().len() > expected {
        return Err(io::Error::other("the file grew while it was read"));
    }
    Ok(Some(content))
}

/// Removes the file at `path`, if it still is `file`.
fn remove_if_same(path: &Path, file: &File) {
    let same = match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(found)) => (ours.dev(), ours.ino()) == (found.dev(), found.ino()),
        _ => false,
    };
    if same {
        // Nothing more can be done about it; the failure that led here is what is reported.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests;
