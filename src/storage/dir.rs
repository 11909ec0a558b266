//! The data directory of a node: who may use it, which format it has, whose it is.
//!
//! ```text
//! <dir>/LOCK        held exclusively (flock) while the node runs
//! <dir>/VERSION     "keswick data 1"
//! <dir>/node.json   {"format":1,"node_id":"<16 hex digits>"}
//! <dir>/witness     the least that the database must have when it is opened (`storage::witness`)
//! <dir>/db/         the database
//! <dir>/snapshots/  snapshot files
//! <dir>/quarantine/ files of the database that were moved aside because they were damaged
//! ```
//!
//! A node's identity belongs to its disk: it is drawn once, at first use. It must never name a
//! directory that has lost what the node promised to the cluster, so a directory with data and
//! without identity, or the other way round, is refused.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::types::NodeId;
use crate::crypto::random;

const LOCK: &str = "LOCK";
const VERSION: &str = "VERSION";
const IDENTITY: &str = "node.json";
const WITNESS: &str = "witness";
const DATABASE: &str = "db";
const SNAPSHOTS: &str = "snapshots";
const QUARANTINE: &str = "quarantine";
/// The name that a scratch file has for a moment. What ends so does not count as content.
const SCRATCH: &str = "scratch.tmp";

/// What a directory of this format says in its `VERSION`.
const VERSION_TEXT: &str = "keswick data 1\n";

/// The format of `node.json`.
const IDENTITY_FORMAT: u32 = 1;

/// Larger files are none of ours.
const SMALL_FILE_BYTES_MAX: u64 = 4096;

/// How an operator gets a node back whose directory cannot be used any more.
pub(super) const RECOVERY: &str = "move the data directory away and start the node with an empty \
     one: it is then a new member, which the cluster admits and brings up to date; remove the old \
     member from the cluster";

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// The operating system refuses.
    #[error("failed to {action} '{}': {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process uses it, or this one does already.
    #[error("data directory '{}' is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// There are files in it, but not ours.
    #[error(
        "'{}' is neither empty nor a data directory: it has '{found}', but no file 'VERSION'",
        path.display()
    )]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        found: String,
    },
    /// Another version wrote it, or the file is damaged.
    #[error(
        "data directory '{}' has another format ('{found}'): use the version of this program that \
         wrote it",
        path.display()
    )]
    UnknownVersion {
        /// The directory.
        path: PathBuf,
        /// The first line of its `VERSION`.
        found: String,
    },
    /// There are data, but nothing says whose.
    #[error(
        "data directory '{}' has data ('{found}') but no identity: 'node.json' is missing; \
         put back the 'node.json' of this very directory, or {RECOVERY}",
        path.display()
    )]
    IdentityMissing {
        /// The directory.
        path: PathBuf,
        /// The data that are there.
        found: &'static str,
    },
    /// The identity cannot be read.
    #[error(
        "the identity of this node, '{}', is damaged ({reason}): put back the one of this very \
         directory, or {RECOVERY}",
        path.display()
    )]
    IdentityDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No identity can be drawn.
    #[error("cannot draw the identity of this node: {0}")]
    Random(#[from] random::RandomError),
}

/// An open data directory. It is locked until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    node_id: NodeId,
    _lock: File,
}

/// The content of `node.json`.
#[derive(Serialize, Deserialize)]
struct Identity {
    format: u32,
    node_id: String,
}

impl DataDir {
    /// Opens the directory at `path`; creates it if need be, readable by its owner alone, and draws
    /// the node's identity at first use. Blocks.
    ///
    /// # Errors
    ///
    /// [`DirError`], whose text tells the operator what to do.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        create_directory(path)?;
        let lock = lock(path)?;
        let found = entries(path)?;
        check_version(path, &found)?;
        let node_id = identity(path, &found)?;
        Ok(Self {
            path: path.to_owned(),
            node_id,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who this node is. Never 0.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.path.join(QUARANTINE)
    }

    pub(super) fn witness(&self) -> PathBuf {
        self.path.join(WITNESS)
    }

    /// A new file for a while: readable by its owner alone, and without a name, so that it is gone
    /// with its last handle, whatever ends the process.
    pub(super) fn scratch_file(&self) -> io::Result<File> {
        let path = self.path.join(SCRATCH);
        // There is one if a process was killed between the next two steps.
        remove_if_there(&path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        remove_if_there(&path)?;
        Ok(file)
    }

    /// Moves damaged files out of the way, durably. Nothing there is ever read or removed again.
    pub(super) fn move_to_quarantine(&self, files: &[PathBuf]) -> Result<(), DirError> {
        let quarantine = self.quarantine();
        create_directory(&quarantine)?;
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let mut number = 0_u32;
            let mut target = quarantine.join(&*name);
            while target.exists() {
                number += 1;
                target = quarantine.join(format!("{name}.{number}"));
            }
            std::fs::rename(file, &target).map_err(failed("move", file))?;
            sync_directory(parent_of(file))?;
        }
        sync_directory(&quarantine)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Creates the directory and its parents, durably.
pub(super) fn create_directory(path: &Path) -> Result<(), DirError> {
    let mut missing = Vec::new();
    let mut place = path;
    while !place.as_os_str().is_empty() && !place.exists() {
        missing.push(place);
        match place.parent() {
            Some(parent) => place = parent,
            None => break,
        }
    }
    let created = DirBuilder::new().recursive(true).mode(0o700).create(path);
    created.map_err(failed("create directory", path))?;
    for directory in missing {
        sync_directory(parent_of(directory))?;
    }
    Ok(())
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes what happened to a directory's entries durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), DirError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync directory", path))
}

/// Replaces a small file as a whole, durably.
pub(super) fn replace_file(path: &Path, content: &[u8]) -> Result<(), DirError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
    written.map_err(failed("write", &temporary))?;
    std::fs::rename(&temporary, path).map_err(failed("create", path))?;
    sync_directory(parent_of(path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirError {
    move |source| DirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn lock(path: &Path) -> Result<File, DirError> {
    let file = path.join(LOCK);
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file);
    let opened = opened.map_err(failed("open", &file))?;
    match opened.try_lock() {
        Ok(()) => Ok(opened),
        Err(TryLockError::WouldBlock) => Err(DirError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &file)(source)),
    }
}

/// The names in the directory that count: not those of an interrupted first use, nor what a file
/// system puts at its root.
fn entries(path: &Path) -> Result<BTreeSet<String>, DirError> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(path).map_err(failed("list", path))? {
        let entry = entry.map_err(failed("list", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != LOCK && name != "lost+found" && !name.ends_with(".tmp") {
            names.insert(name);
        }
    }
    Ok(names)
}

fn check_version(path: &Path, found: &BTreeSet<String>) -> Result<(), DirError> {
    let file = path.join(VERSION);
    if found.contains(VERSION) {
        let text = read_small(&file)?;
        if text == VERSION_TEXT {
            return Ok(());
        }
        let first = text.lines().next().unwrap_or_default();
        return Err(DirError::UnknownVersion {
            path: path.to_owned(),
            found: first.chars().take(40).collect(),
        });
    }
    match found.first() {
        None => replace_file(&file, VERSION_TEXT.as_bytes()),
        Some(other) => Err(DirError::NotADataDirectory {
            path: path.to_owned(),
            found: other.clone(),
        }),
    }
}

fn identity(path: &Path, found: &BTreeSet<String>) -> Result<NodeId, DirError> {
    let file = path.join(IDENTITY);
    if found.contains(IDENTITY) {
        let text = read_small(&file)?;
        return parse_identity(&text)
            .map_err(|reason| DirError::IdentityDamaged { path: file, reason });
    }
    for data in [DATABASE, WITNESS, SNAPSHOTS] {
        if found.contains(data) {
            return Err(DirError::IdentityMissing {
                path: path.to_owned(),
                found: data,
            });
        }
    }
    let node_id = draw_node_id()?;
    let text = format!("{{\"format\":{IDENTITY_FORMAT},\"node_id\":\"{node_id:016x}\"}}\n");
    replace_file(&file, text.as_bytes())?;
    Ok(node_id)
}

fn draw_node_id() -> Result<NodeId, random::RandomError> {
    loop {
        match NodeId::from_be_bytes(random::array()?) {
            0 => {}
            node_id => return Ok(node_id),
        }
    }
}

fn parse_identity(text: &str) -> Result<NodeId, String> {
    let identity: Identity = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if identity.format != IDENTITY_FORMAT {
        return Err(format!("unknown format {}", identity.format));
    }
    let digits = &identity.node_id;
    let is_hex = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    match NodeId::from_str_radix(digits, 16) {
        Ok(node_id) if is_hex && node_id != 0 => Ok(node_id),
        _ => Err(format!("'{digits}' is no node id")),
    }
}

fn read_small(path: &Path) -> Result<String, DirError> {
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut content))
        .map_err(failed("read", path))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

#[cfg(test)]
mod tests;
