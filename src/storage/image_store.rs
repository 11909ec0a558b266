//! Snapshot files: the state at one position of the log, for members that lack the entries before.
//!
//! `<dir>/snapshots/<index + 1>-<term>-<node>.snap`, whose name sorts by position. A file gets its
//! name when it is whole and synced (`storage::snapshot_file`). A damaged one is moved to the
//! quarantine.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::dir::{self, DataDir, DirError};
use super::error::DbError;
use super::hooks::{DiskFile, DiskHooks, Step};
use super::log_table::next_index;
use super::snapshot_file::SnapshotFile;
use super::state_store::Applied;
use super::types::{LogId, Snapshot, SnapshotMeta};

const EXTENSION: &str = "snap";
const TEMPORARY_EXTENSION: &str = "tmp";

/// How many snapshots are kept: if the newest turns out damaged there is another.
const KEPT: usize = 2;

/// The snapshots of a node.
pub(super) struct ImageStore {
    path: PathBuf,
    hooks: Arc<dyn DiskHooks>,
    /// The newest one.
    current: Mutex<Option<Current>>,
    /// For names of temporary files.
    next: AtomicU64,
}

#[derive(Clone)]
struct Current {
    meta: SnapshotMeta,
    file: SnapshotFile,
}

impl ImageStore {
    /// Opens the snapshots in `dir`; takes the newest that is whole and neither ahead of the state
    /// nor too old to continue with the log. Blocks.
    ///
    /// One ahead of the state is left from an installation that a crash interrupted, or from before
    /// a loss of power: the leader sends it again, or it is built again.
    pub(super) fn open(
        dir: &DataDir,
        hooks: Arc<dyn DiskHooks>,
        applied: Option<LogId>,
        purged: Option<LogId>,
    ) -> Result<Self, DirError> {
        let path = dir.snapshots();
        dir::create_directory(&path)?;
        remove_temporary(&path)?;
        let current = newest_usable(dir, &path, applied, purged)?;
        Ok(Self {
            path,
            hooks,
            current: Mutex::new(current),
            next: AtomicU64::new(0),
        })
    }

    /// The newest snapshot.
    pub(super) fn current(&self) -> Option<Snapshot> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(Current::snapshot)
    }

    /// Writes a snapshot of `applied`. Blocks.
    pub(super) fn build(&self, applied: &Applied) -> Result<Snapshot, DbError> {
        let meta = SnapshotMeta {
            last_log_id: applied.last_applied,
            last_membership: applied.membership.clone(),
            snapshot_id: name_of(applied.last_applied),
        };
        let temporary = self.create_temporary()?;
        self.before_write()?;
        temporary.write(&meta, &applied.state)?;
        self.hooks.reached(Step::SnapshotWritten);
        let built = self.keep(&temporary, meta)?;
        self.make_current(&built);
        self.remove_old(KEPT)?;
        Ok(built.snapshot())
    }

    /// A file to receive a snapshot into. Blocks.
    pub(super) fn receive(&self) -> Result<SnapshotFile, DbError> {
        self.before_write()?;
        self.create_temporary()
    }

    /// Makes `file`, which has been checked, one of this node's files, but not yet the current one.
    /// Blocks.
    pub(super) fn adopt(
        &self,
        file: &SnapshotFile,
        meta: &SnapshotMeta,
    ) -> Result<AdoptedSnapshot, DbError> {
        let own = file.path().parent() == Some(&self.path);
        let received = match own {
            true => file.clone(),
            false => self.copy(file)?,
        };
        self.hooks.reached(Step::SnapshotWritten);
        Ok(AdoptedSnapshot(self.keep(&received, meta.clone())?))
    }

    /// Makes an adopted snapshot the current one, and removes all others. Blocks.
    pub(super) fn replace_all(&self, adopted: &AdoptedSnapshot) -> Result<(), DbError> {
        self.make_current(&adopted.0);
        self.remove_old(1)
    }

    /// Size of all files.
    pub(super) fn bytes(&self) -> u64 {
        let entries = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| Some(entry.metadata().ok()?.len()))
            .sum()
    }

    fn before_write(&self) -> Result<(), DbError> {
        let allowed = self.hooks.before_write(DiskFile::Snapshot);
        allowed.map_err(DbError::io("write a snapshot"))
    }

    fn create_temporary(&self) -> Result<SnapshotFile, DbError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{number}.{TEMPORARY_EXTENSION}"));
        SnapshotFile::create(path).map_err(DbError::io("create a snapshot"))
    }

    fn copy(&self, source: &SnapshotFile) -> Result<SnapshotFile, DbError> {
        self.before_write()?;
        let target = self.create_temporary()?;
        let copied = target.copy_from(source);
        copied.map_err(DbError::io("copy a snapshot"))?;
        Ok(target)
    }

    /// Syncs a complete file and gives it its name.
    fn keep(&self, file: &SnapshotFile, meta: SnapshotMeta) -> Result<Current, DbError> {
        let allowed = self.hooks.before_fsync(DiskFile::Snapshot);
        allowed
            .and_then(|()| file.sync())
            .map_err(DbError::io("sync a snapshot"))?;
        self.hooks.reached(Step::SnapshotSynced);
        let name = name_of(meta.last_log_id);
        let path = self.path.join(format!("{name}.{EXTENSION}"));
        std::fs::rename(file.path(), &path).map_err(DbError::io("name a snapshot"))?;
        file.keep();
        self.hooks.reached(Step::SnapshotRenamed);
        File::open(&self.path)
            .and_then(|directory| directory.sync_all())
            .map_err(DbError::io("sync the directory of snapshots"))?;
        self.hooks.reached(Step::SnapshotStored);
        let file = SnapshotFile::open(path).map_err(DbError::io("open a snapshot"))?;
        Ok(Current { meta, file })
    }

    /// Only forward: one may have been installed while an older one was built.
    fn make_current(&self, new: &Current) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = current
            .as_ref()
            .and_then(|current| current.meta.last_log_id);
        if current.is_none() || next_index(new.meta.last_log_id) >= next_index(newest) {
            *current = Some(new.clone());
        }
    }

    fn remove_old(&self, kept: usize) -> Result<(), DbError> {
        let failed = |error: DirError| DbError::Io {
            action: "remove old snapshots",
            source: Arc::new(io::Error::other(error)),
        };
        let files = newest_first(&self.path).map_err(failed)?;
        files
            .iter()
            .skip(kept)
            .try_for_each(|old| remove(old).map_err(failed))
    }
}

/// A snapshot that has its name, but whose state is not in force yet.
pub(super) struct AdoptedSnapshot(Current);

impl Current {
    fn snapshot(&self) -> Snapshot {
        Snapshot {
            meta: self.meta.clone(),
            snapshot: Box::new(self.file.clone()),
        }
    }
}

/// The name of a snapshot, equal on all nodes and in the order of positions.
fn name_of(last: Option<LogId>) -> String {
    let leader = last.unwrap_or_default().leader_id;
    let next = next_index(last);
    format!("{next:020}-{}-{:016x}", leader.term, leader.node_id)
}

/// Removes what a crash left half written.
fn remove_temporary(path: &Path) -> Result<(), DirError> {
    let mut files = all_files(path)?;
    files.retain(|file| !is_complete(file));
    files.iter().try_for_each(|file| remove(file))
}

fn newest_usable(
    dir: &DataDir,
    path: &Path,
    applied: Option<LogId>,
    purged: Option<LogId>,
) -> Result<Option<Current>, DirError> {
    for file in newest_first(path)? {
        match check_file(&file) {
            Ok(found) if next_index(found.meta.last_log_id) > next_index(applied) => {
                tracing::warn!(file = %file.display(), "removed a snapshot that is ahead of the state");
                remove(&file)?;
            }
            Ok(found) => {
                let usable = next_index(found.meta.last_log_id) >= next_index(purged);
                return Ok(usable.then_some(found));
            }
            Err(error) => {
                let file_name = file.display();
                tracing::error!(file = %file_name, %error, "moved a damaged snapshot to the quarantine");
                dir.move_to_quarantine(&[file])?;
            }
        }
    }
    Ok(None)
}

/// Complete files, the newest first.
fn newest_first(path: &Path) -> Result<Vec<PathBuf>, DirError> {
    let mut files = all_files(path)?;
    files.retain(|file| is_complete(file));
    files.sort_by(|first, second| second.cmp(first));
    Ok(files)
}

fn is_complete(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == EXTENSION)
}

fn all_files(path: &Path) -> Result<Vec<PathBuf>, DirError> {
    let failed = |source| DirError::Io {
        action: "list",
        path: path.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    Ok(files)
}

fn remove(file: &Path) -> Result<(), DirError> {
    std::fs::remove_file(file).map_err(|source| DirError::Io {
        action: "remove",
        path: file.to_owned(),
        source,
    })
}

fn check_file(path: &Path) -> Result<Current, DbError> {
    let file = SnapshotFile::open(path.to_owned()).map_err(DbError::io("open a snapshot"))?;
    let meta = file.check()?;
    Ok(Current { meta, file })
}
