//! What the database must at least have when it is opened, kept outside of it.
//!
//! The engine takes a damaged place in its file for the end of its data and opens without what
//! follows, or empty if its file is gone. A node that forgot its vote or entries that it has
//! acknowledged would break the promises on which the others build, so it must not start.
//!
//! The file is overwritten in place after each fsync of the log or the vote, and itself synced only
//! when the log gets shorter: on the disk it may lag behind the database, but is never ahead of it.
//!
//! ```text
//! length of the content (2, big endian) ‖ content: `machine::codec` of `Promise` ‖ SHA-256 of both
//! ‖ zeros up to 512 bytes
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dir::{self, DirError};
use super::error::DbError;
use super::types::{LogId, Vote};
use crate::machine::codec;

/// One sector, which a disk writes as a whole.
const FILE_BYTES: usize = 512;

const DIGEST_BYTES: usize = 32;

/// What a node has promised to remember.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Promise {
    /// Its vote.
    pub(super) vote: Option<Vote>,
    /// Its last entry, whether it is still in the log or covered by the state.
    pub(super) last: Option<LogId>,
}

/// The open file.
pub(super) struct Witness {
    file: File,
    /// What it said when it was opened.
    seen: Promise,
}

impl Witness {
    /// Opens the witness at `path`, or creates it, having seen nothing.
    pub(super) fn open(path: &Path) -> Result<Self, DirError> {
        if !path.exists() {
            dir::replace_file(path, &[0; FILE_BYTES])?;
        }
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .and_then(|file| {
                let seen = read(&file)?.unwrap_or_default();
                Ok(Self { file, seen })
            });
        opened.map_err(|source| DirError::Io {
            action: "open",
            path: path.to_owned(),
            source,
        })
    }

    /// Checks that what was `found` in the database is at least what was promised.
    pub(super) fn check(&self, found: &Promise) -> Result<(), DbError> {
        if found.vote < self.seen.vote {
            return Err(DbError::Damaged(
                "a vote is lost that this node has given".to_owned(),
            ));
        }
        if found.last < self.seen.last {
            return Err(DbError::Damaged(format!(
                "entries of the log are lost that this node has acknowledged, up to {}",
                self.seen.last.unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// Remembers `promise`, which the database holds durably.
    pub(super) fn raise(&self, promise: &Promise) -> Result<(), DbError> {
        let content = codec::encode(promise).map_err(DbError::codec("the witness"))?;
        let length = u16::try_from(content.len())
            .ok()
            .filter(|length| 2 + usize::from(*length) + DIGEST_BYTES <= FILE_BYTES)
            .ok_or(DbError::TooLarge {
                bytes: content.len(),
            })?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&content);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes.resize(FILE_BYTES, 0);
        let written = self.file.write_all_at(&bytes, 0);
        written.map_err(DbError::io("write the witness"))
    }

    /// Forgets, durably, what is beyond `promise`.
    pub(super) fn lower(&self, promise: &Promise) -> Result<(), DbError> {
        self.raise(promise)?;
        self.file
            .sync_data()
            .map_err(DbError::io("sync the witness"))
    }
}

/// `None` if nothing has been promised, or if it cannot be read: it only ever adds to what is
/// checked anyway.
fn read(file: &File) -> io::Result<Option<Promise>> {
    let mut bytes = [0; FILE_BYTES];
    let mut filled = 0;
    while filled < FILE_BYTES {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    if bytes == [0; FILE_BYTES] {
        return Ok(None);
    }
    let promise = parse(&bytes);
    if promise.is_none() {
        tracing::warn!("the witness of the database is damaged and cannot confirm its content");
    }
    Ok(promise)
}

fn parse(bytes: &[u8; FILE_BYTES]) -> Option<Promise> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let content = rest.get(..length)?;
    let digest = rest.get(length..length + DIGEST_BYTES)?;
    let expected = Sha256::digest(bytes.get(..2 + length)?);
    (digest == expected.as_slice()).then(|| codec::decode(content).ok())?
}

#[cfg(test)]
mod tests {
    use openraft::CommittedLeaderId;

    use super::*;

    fn seen(path: &Path) -> Promise {
        Witness::open(path).expect("open").seen
    }

    #[test]
    fn a_witness_remembers_and_a_damaged_one_says_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("witness");
        let witness = Witness::open(&path).expect("new");
        assert_eq!(witness.seen, Promise::default());
        let promise = Promise {
            vote: Some(Vote::new(7, u64::MAX)),
            last: Some(LogId::new(CommittedLeaderId::new(7, u64::MAX), u64::MAX)),
        };
        witness.raise(&promise).expect("write");
        assert_eq!(seen(&path), promise);
        witness.lower(&Promise::default()).expect("write");
        assert_eq!(seen(&path), Promise::default());
        witness.raise(&promise).expect("write");
        let mut bytes = std::fs::read(&path).expect("read");
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).expect("write");
        assert_eq!(seen(&path), Promise::default());
        std::fs::write(&path, []).expect("write");
        assert_eq!(seen(&path), Promise::default());
    }
}
