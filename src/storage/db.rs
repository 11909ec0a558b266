//! The database engine, sled 0.34.7, and what must be known to trust it. The only place that opens
//! it, and where `barrier` is.
//!
//! * `flush` alone is no fsync: on Linux it is `sync_file_range`, which makes neither the length of
//!   the file nor the disk's cache durable. [`DurableDb::barrier`] therefore syncs the database's
//!   file through a descriptor of its own after it. (`flush_async` deadlocks and is never used.)
//! * Data written by a process that was killed can be read again, but are not durable yet. They are
//!   synced before the engine sees them: the vote that is read must never be lost later.
//! * Damaged helper files keep it from opening. Nothing in them is needed, so they are moved aside.
//! * It may silently open without the newest writes if its file is damaged. `storage::witness`
//!   notices.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::dir::{self, DataDir};
use super::error::{DbError, OpenError};
use super::table::Table;
use crate::base::limits::{DB_CACHE_BYTES, DB_FLUSH_INTERVAL};

const LOG_TABLE: &str = "log";
const META_TABLE: &str = "meta";

/// Names of the tables with the applied state start with it; the generation follows.
const STATE_TABLE_PREFIX: &str = "state-";

/// The engine's file with all data.
const DATA_FILE: &str = "db";

/// The engine's file with its settings.
const CONFIG_FILE: &str = "conf";

/// Names of the engine's summaries start with it.
const SUMMARY_PREFIX: &str = "snap.";

/// An open database.
pub(super) struct DurableDb {
    tables: Tables,
    file: File,
    /// Last, so that the directory stays locked until the engine is closed.
    dir: DataDir,
}

/// The tables of the database.
pub(super) struct Tables {
    db: sled::Db,
    /// Entries by index.
    pub(super) log: Table,
    /// Vote, committed and purged positions, the generation of the state.
    pub(super) meta: Table,
}

impl DurableDb {
    /// Opens or creates the database of `dir`. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be opened even with the engine's helper files moved aside.
    pub(super) fn open(dir: DataDir) -> Result<Self, OpenError> {
        let path = dir.database();
        let failed = |error: &dyn std::fmt::Display| OpenError::Io {
            path: dir.path().display().to_string(),
            reason: error.to_string(),
        };
        dir::create_directory(&path)?;
        sync_files(&path).map_err(|error| failed(&error))?;
        let db = open_or_repair(&dir)?;
        let tables = Tables::open(db).map_err(|error| failed(&error))?;
        let file = File::open(path.join(DATA_FILE)).map_err(|error| failed(&error))?;
        let opened = Self { tables, file, dir };
        // Recovery has written, too. Nothing that is read from now on can be lost any more.
        let synced = opened
            .barrier()
            .and_then(|()| sync_files(&path).map_err(DbError::io("sync the database")));
        synced.map_err(|error| OpenError::Io {
            path: opened.dir.path().display().to_string(),
            reason: error.to_string(),
        })?;
        dir::sync_directory(&path)?;
        dir::sync_directory(opened.dir.path())?;
        Ok(opened)
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(super) fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// Size of the database's files.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.dir.database())? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    }

    /// Makes everything durable that was written before. Blocks. After an error nothing is known
    /// about what is on the disk: it must not be tried again, since the system may have dropped
    /// what it failed to write.
    pub(super) fn barrier(&self) -> Result<(), DbError> {
        self.tables.db.flush()?;
        self.file
            .sync_data()
            .map_err(DbError::io("sync the database"))
    }

    /// Closes the database and unlocks the directory. Blocks.
    pub(super) fn close(self) -> Result<(), DbError> {
        let Self { tables, file, dir } = self;
        drop(tables);
        // The engine's threads may still hold its lock for a moment.
        let unlocked = file.lock().map_err(DbError::io("wait for the database"));
        drop(dir);
        unlocked
    }
}

impl Tables {
    fn open(db: sled::Db) -> Result<Self, DbError> {
        Ok(Self {
            log: Table::new(LOG_TABLE, db.open_tree(LOG_TABLE)?),
            meta: Table::new(META_TABLE, db.open_tree(META_TABLE)?),
            db,
        })
    }

    /// The table of a generation of the applied state; empty if there was none.
    pub(super) fn state(&self, generation: u64) -> Result<Table, DbError> {
        let name = format!("{STATE_TABLE_PREFIX}{generation}");
        let tree = self.db.open_tree(&name)?;
        Ok(Table::new(&name, tree))
    }

    /// Removes a generation of the applied state.
    pub(super) fn drop_state(&self, generation: u64) -> Result<(), DbError> {
        self.db
            .drop_tree(format!("{STATE_TABLE_PREFIX}{generation}"))?;
        Ok(())
    }

    /// All generations of the applied state that there are.
    pub(super) fn state_generations(&self) -> Vec<u64> {
        let names = self.db.tree_names().into_iter();
        names
            .filter_map(|name| {
                str::from_utf8(&name)
                    .ok()?
                    .strip_prefix(STATE_TABLE_PREFIX)?
                    .parse()
                    .ok()
            })
            .collect()
    }
}

/// How a try to open the engine failed.
enum Failure {
    /// Not by what is stored.
    Io(String),
    /// Something that is stored is not what it should be.
    Damage(String),
}

/// Opens the engine; if its files are damaged, again without the summaries of its file, and again
/// without its settings. It makes the ones again from the file, and the others are always the same.
fn open_or_repair(dir: &DataDir) -> Result<sled::Db, OpenError> {
    let path = dir.database();
    let mut aside = Vec::new();
    let reason = loop {
        match open_engine(&path) {
            Ok(db) => return Ok(db),
            Err(Failure::Io(reason)) => {
                return Err(OpenError::Io {
                    path: dir.path().display().to_string(),
                    reason,
                });
            }
            Err(Failure::Damage(reason)) => match move_aside(dir, &mut aside)? {
                0 => break reason,
                files => tracing::error!(
                    files,
                    quarantine = %dir.quarantine().display(),
                    "the database is damaged ({reason}): moved helper files of it aside, trying again"
                ),
            },
        }
    };
    Err(OpenError::Unusable {
        path: dir.path().display().to_string(),
        reason,
    })
}

/// Moves the engine's summaries aside, or, if that has been done, its settings. Gives how many
/// files it moved.
fn move_aside(dir: &DataDir, done: &mut Vec<&'static str>) -> Result<usize, OpenError> {
    let Some(prefix) = [SUMMARY_PREFIX, CONFIG_FILE]
        .into_iter()
        .find(|prefix| !done.contains(prefix))
    else {
        return Ok(0);
    };
    done.push(prefix);
    let files = files_with_prefix(&dir.database(), prefix).map_err(|error| OpenError::Io {
        path: dir.path().display().to_string(),
        reason: error.to_string(),
    })?;
    if files.is_empty() {
        return move_aside(dir, done);
    }
    dir.move_to_quarantine(&files)?;
    Ok(files.len())
}

fn files_with_prefix(path: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn open_engine(path: &Path) -> Result<sled::Db, Failure> {
    let every = u64::try_from(DB_FLUSH_INTERVAL.as_millis()).unwrap_or(u64::MAX);
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(DB_CACHE_BYTES)
        // Its own thread is the only one that cleans up its file.
        .flush_every_ms(Some(every));
    // It panics on some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
        .map_err(|_| Failure::Damage("the database panicked".to_owned()))?;
    opened.map_err(|error| match &error {
        sled::Error::Io(source) => match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Failure::Damage(error.to_string())
            }
            _ => Failure::Io(error.to_string()),
        },
        _ => Failure::Damage(error.to_string()),
    })
}

/// Makes durable what earlier processes wrote to the engine's files.
fn sync_files(path: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(())
}
