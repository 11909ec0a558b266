//! One file a key in one directory: what the file keystores share.
//!
//! Every function blocks. A file appears under a key's name only as a whole, and is never changed
//! afterwards. A failing operation removes nothing but what it created itself.
//!
//! An entry is in the directory a moment before it is durable there. What is answered must outlive
//! a power cut, though, whoever asks:
//!
//! * A create or delete answers after an fsync of the directory, and so do a create that finds the
//!   name taken and a delete that finds nothing: the other one's entry may still be on its way.
//! * A file has a second link, its temporary name, until its creator has synced the directory.
//!   A reader that sees two links syncs the directory itself. That holds for creators in whatever
//!   process, dead ones included, and costs a reader of any other key nothing but a look at what
//!   it asks for anyway. (A key with a link for good, in a backup say, costs each read an fsync.)
//! * A reader that finds nothing while this process deletes something syncs the directory, too.
//! * The directory is synced when it is opened, for what a dead process or a copy left.
//!
//! All of them share fsyncs. After one that failed the store is unreachable until it is opened
//! again, see [`Syncs`]. Without hard links, only readers in this process are safe: they do not
//! overlap with a creation.
//!
//! The directory is opened once, and all work is done relative to that descriptor: whatever is
//! mounted, unmounted, renamed or put at the path meanwhile, no file of another directory is ever
//! read, written or removed. That the path still leads to the opened directory is checked before
//! and after each operation, see [`Directory::checked`].

mod error;
mod stale;
mod sync;

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, linkat, openat, statat, unlinkat};
use rustix::io::Errno;

use self::error::FileError;
pub use self::error::OpenError;
use self::sync::Syncs;
use super::{Page, StoreError, listing};
use crate::base::limits::STORED_VALUE_BYTES_MAX;
use crate::base::name::is_valid_name;
use crate::base::secret::SecretBytes;

/// A directory that a store has for itself.
pub(crate) struct Directory {
    path: PathBuf,
    /// What was at the path when the store was opened. While it is held, its device and inode
    /// belong to no other directory, and its volume can be unmounted by force only.
    opened: File,
    store: &'static str,
    /// Whether the file system can make changes durable at all.
    is_syncable: bool,
    syncs: Syncs,
    /// Those under way.
    deletes: AtomicUsize,
    /// Held by a creation without hard links, which readers would see half-written, and shared by
    /// readers.
    in_place: RwLock<()>,
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
        let parents = sync::parents_to_change(path);
        let created = DirBuilder::new().recursive(true).mode(0o755).create(path);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let path = path.to_owned();
                return Err(OpenError::NotADirectory { store, path });
            }
            Err(source) => return Err(failed(created.err().unwrap_or(source))),
        }
        // A key would be lost with the directory that it is in.
        for parent in parents {
            sync::sync_parent(&parent).map_err(failed)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let opened = File::from(opened.map_err(|source| failed(source.into()))?);
        let is_syncable = match sync::sync_directory(&opened) {
            Ok(()) => true,
            Err(error) if sync::is_unsupported(error) => false,
            Err(error) => return Err(failed(error.into())),
        };
        // Not before the sync: they mark files that are not durable.
        stale::remove_stale(opened.as_fd(), path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            opened,
            store,
            is_syncable,
            syncs: Syncs::default(),
            deletes: AtomicUsize::new(0),
            in_place: RwLock::new(()),
        })
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
        self.ensure_usable()?;
        Ok(asked.elapsed())
    }

    /// Writes a new file durably.
    pub(crate) fn create(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.ensure_name(name)?;
        if content.len() > STORED_VALUE_BYTES_MAX {
            let path = self.path.join(name);
            return Err(self.failed(FileError::TooLarge { path }));
        }
        self.ensure_syncable()?;
        self.checked(|| self.link_new(name, content))
    }

    /// Reads a file.
    pub(crate) fn get(&self, name: &str) -> Result<SecretBytes, StoreError> {
        self.ensure_name(name)?;
        self.checked(|| self.read(name))
    }

    /// Removes a file durably.
    pub(crate) fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.ensure_name(name)?;
        self.ensure_syncable()?;
        self.checked(|| {
            // Counted until it is durable; an answer to a reader waits for that.
            self.deletes.fetch_add(1, Ordering::SeqCst);
            let removed = self.remove(name);
            self.deletes.fetch_sub(1, Ordering::SeqCst);
            removed
        })
    }

    /// Lists the files that are keys: regular ones under a valid name.
    pub(crate) fn list(
        &self,
        prefix: &str,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let names = self.checked(|| {
            self.names(prefix, start)
                .map_err(|source| self.io_failed("list", self.path.clone(), source.into()))
        })?;
        Ok(listing::page(names, prefix, start, limit))
    }

    /// Runs `operation`, which works on the opened directory, if the path leads there before and
    /// still does so afterwards.
    ///
    /// The check before keeps changes out of a directory that is known to be out of use. The one
    /// after it closes the window between check and operation: what is answered was true of the
    /// opened directory at a moment before that check, which found it in use. So no answer comes
    /// from a directory that was out of use all the while. A change that was made, but whose second
    /// check fails, is answered with an error, as after any failure that leaves the outcome open.
    fn checked<T>(
        &self,
        operation: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ensure_usable()?;
        let result = operation();
        self.ensure_usable()?;
        result
    }

    fn link_new(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        if statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            return Err(self.synced_or(StoreError::Exists));
        }
        let temporary = self.temporary_name()?;
        self.write_exclusive(&temporary, content)?;
        let linked = linkat(
            &self.opened,
            &temporary,
            &self.opened,
            name,
            AtFlags::empty(),
        );
        if linked.is_ok() {
            // On failure the temporary file stays: it marks the other one as not durable.
            self.sync()?;
        }
        // If this fails the file stays, invisible to every operation, until it is stale.
        let _ = unlinkat(&self.opened, &temporary, AtFlags::empty());
        match linked {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(self.synced_or(StoreError::Exists)),
            Err(source) if is_link_unsupported(source) => self.create_in_place(name, content),
            Err(source) => Err(self.io_failed("create", self.path.join(name), source.into())),
        }
    }

    fn read(&self, name: &str) -> Result<SecretBytes, StoreError> {
        let path = || self.path.join(name);
        let _whole = self.in_place.read().unwrap_or_else(PoisonError::into_inner);
        // Without NONBLOCK a named pipe at that place would hold the thread for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match openat(&self.opened, name, flags, Mode::empty()) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::NOENT) => return Err(self.absent()),
            Err(source) => return Err(self.io_failed("open", path(), source.into())),
        };
        let found = match file.metadata() {
            Ok(found) => found,
            Err(source) => return Err(self.io_failed("read", path(), source)),
        };
        if !found.is_file() {
            return Err(self.failed(FileError::NotAFile { path: path() }));
        }
        if found.nlink() > 1 {
            self.sync()?;
        }
        match read_bounded(file, &found) {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(self.failed(FileError::TooLarge { path: path() })),
            Err(source) => Err(self.io_failed("read", path(), source)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        match unlinkat(&self.opened, name, AtFlags::empty()) {
            Ok(()) => self.sync(),
            Err(Errno::NOENT) => Err(self.synced_or(StoreError::NotFound)),
            Err(source) => Err(self.io_failed("delete", self.path.join(name), source.into())),
        }
    }

    /// The names of keys that a listing is about, in no order.
    fn names(&self, prefix: &str, start: Option<&str>) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.opened)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if is_valid_name(name)
                && listing::belongs(name, prefix, start)
                && self.is_key_file(name, entry.file_type())?
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Whether a directory entry is a regular file, or a symbolic link to one: mounted secrets are.
    fn is_key_file(&self, name: &str, kind: FileType) -> Result<bool, Errno> {
        // Not every file system tells the kind with the name.
        if !matches!(kind, FileType::Symlink | FileType::Unknown) {
            return Ok(kind.is_file());
        }
        match statat(&self.opened, name, AtFlags::empty()) {
            Ok(found) => Ok(FileType::from_raw_mode(found.st_mode).is_file()),
            // Deleted since the directory was read, or a link to nowhere.
            Err(Errno::NOENT) => Ok(false),
            Err(_) if kind.is_symlink() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A key name has none of these. They are what a path must not get from outside, though, and
    /// this is the last place that can tell.
    fn ensure_name(&self, name: &str) -> Result<(), StoreError> {
        match name.is_empty() || name.contains(['/', '\\', '.']) {
            true => Err(StoreError::InvalidName { store: self.store }),
            false => Ok(()),
        }
    }

    /// What to tell a reader who found nothing. A delete that it saw the effect of is either still
    /// counted here, or durable.
    fn absent(&self) -> StoreError {
        match self.deletes.load(Ordering::SeqCst) {
            0 => StoreError::NotFound,
            _ => self.synced_or(StoreError::NotFound),
        }
    }

    /// Writes a new file under its final name, for file systems without hard links. A crash can
    /// leave a part of it behind.
    fn create_in_place(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let _alone = self
            .in_place
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match self.write_exclusive(name, content) {
            Ok(()) => self.sync(),
            Err(StoreError::Exists) => Err(self.synced_or(StoreError::Exists)),
            Err(error) => Err(error),
        }
    }

    /// Creates the file `name`, and writes and syncs it. If that fails there is no such file,
    /// unless there was one before.
    fn write_exclusive(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = match openat(&self.opened, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::EXIST) => return Err(StoreError::Exists),
            Err(source) => {
                return Err(self.io_failed("create", self.path.join(name), source.into()));
            }
        };
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(|source| {
            self.remove_if_same(name, &file);
            self.io_failed("write", self.path.join(name), source)
        })
    }

    /// Removes the file `name`, if it still is `file`.
    fn remove_if_same(&self, name: &str, file: &File) {
        let found = statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW);
        let same = match (fstat(file), found) {
            (Ok(ours), Ok(found)) => (ours.st_dev, ours.st_ino) == (found.st_dev, found.st_ino),
            _ => false,
        };
        if same {
            // Nothing more can be done about it; the failure that led here is what is reported.
            let _ = unlinkat(&self.opened, name, AtFlags::empty());
        }
    }

    /// Makes what happened to the directory's entries durable.
    fn sync(&self) -> Result<(), StoreError> {
        // Then nothing was changed by this store, and nothing more can be done about others.
        if !self.is_syncable {
            return Ok(());
        }
        let synced = self.syncs.sync(|| sync::sync_directory(&self.opened));
        synced.map_err(|source| self.not_synced(source))
    }

    /// `answer`, once the entries that it tells of are durable.
    fn synced_or(&self, answer: StoreError) -> StoreError {
        self.sync().err().unwrap_or(answer)
    }

    /// Refuses a change that could not be made durable, before anything is written.
    fn ensure_syncable(&self) -> Result<(), StoreError> {
        if self.is_syncable {
            return Ok(());
        }
        let path = self.path.clone();
        Err(self.failed(FileError::CannotSync { path }))
    }

    /// Fails if nothing can be answered from the directory, for now or until it is opened again.
    fn ensure_usable(&self) -> Result<(), StoreError> {
        match self.syncs.failure() {
            Some(failure) => Err(self.not_synced(failure)),
            None => self.ensure_in_place(),
        }
    }

    /// Fails unless the path leads to the directory that was opened. A volume that was unmounted
    /// leaves its empty mount point, which must not be taken for a store without keys.
    fn ensure_in_place(&self) -> Result<(), StoreError> {
        let path = || self.path.clone();
        let found = std::fs::metadata(&self.path);
        // Not remembered from the open: some file systems number a directory anew now and then,
        // but never differently for a path and a descriptor at the same time.
        let problem = match (found, self.opened.metadata()) {
            (Ok(found), Ok(opened)) if is_same(&found, &opened) => return Ok(()),
            (Ok(_), Ok(_)) => FileError::Replaced { path: path() },
            (Err(source), _) | (_, Err(source)) => FileError::Io {
                action: "find directory",
                path: path(),
                source,
            },
        };
        Err(self.unreachable(problem))
    }

    fn temporary_name(&self) -> Result<String, StoreError> {
        stale::temporary_name().map_err(|source| {
            let path = self.path.clone();
            self.failed(FileError::Random { path, source })
        })
    }

    fn io_failed(&self, action: &'static str, path: PathBuf, source: io::Error) -> StoreError {
        self.failed(FileError::Io {
            action,
            path,
            source,
        })
    }

    fn not_synced(&self, source: Errno) -> StoreError {
        let path = self.path.clone();
        self.unreachable(FileError::NotSynced { path, source })
    }

    fn unreachable(&self, error: FileError) -> StoreError {
        StoreError::Unreachable {
            store: self.store,
            source: error.into(),
        }
    }

    fn failed(&self, error: FileError) -> StoreError {
        StoreError::Failed {
            store: self.store,
            source: error.into(),
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether the file system has no hard links at all, in contrast to a link that failed.
fn is_link_unsupported(error: Errno) -> bool {
    matches!(
        error,
        Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK
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

#[cfg(test)]
mod tests;
