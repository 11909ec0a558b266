//! A snapshot as a file, and its format.
//!
//! ```text
//! magic "kes-snap" ‖ version (1) ‖ length of the description (4, big endian)
//! ‖ description: `machine::codec` of openraft's `SnapshotMeta` ‖ SHA-256 of all before
//! ‖ image of the state (`machine::image`), which ends with a digest of its own
//! ```
//!
//! The digests tell damage, not forgery: snapshots come from members alone, over their mutual TLS.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::error::DbError;
use super::types::SnapshotMeta;
use crate::base::limits::SNAPSHOT_META_BYTES_MAX;
use crate::machine::{State, codec, image};

const MAGIC: [u8; 8] = *b"kes-snap";
const VERSION: u8 = 1;
/// Bytes in front of the description.
const HEAD_BYTES: usize = MAGIC.len() + 1 + 4;

const DIGEST_BYTES: usize = 32;

/// Buffer for reading and writing.
const BUFFER_BYTES: usize = 256 << 10;

/// A snapshot on disk, or one that is being received. Clones are the same file, which stays
/// readable while any of them lives, even if it is replaced meanwhile.
#[derive(Clone, Debug)]
pub struct SnapshotFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: AtomicU64,
    /// Removed with the last handle unless it is kept.
    temporary: AtomicBool,
}

impl SnapshotFile {
    /// Where it is. For messages.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Its length, or how much of it has been received.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Acquire)
    }

    /// Reads a part of it: as much as fits into `buffer`, less at the end, 0 after it. Blocks.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .0
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Adds what was received. Blocks. Called by one receiver, in order.
    ///
    /// # Errors
    ///
    /// What the operating system says, or that this is not a file that is being received.
    pub fn append(&mut self, content: &[u8]) -> io::Result<()> {
        if !self.0.temporary.load(Ordering::Acquire) {
            return Err(io::Error::other("the snapshot is complete"));
        }
        let offset = self.bytes();
        self.0.file.write_all_at(content, offset)?;
        let bytes = offset + content.len() as u64;
        self.0.bytes.store(bytes, Ordering::Release);
        Ok(())
    }

    /// Reads all of it and checks it, without a trace in the state. Blocks. To be called for what
    /// was received before Raft gets it: Raft takes a damaged snapshot for a broken disk and stops.
    ///
    /// # Errors
    ///
    /// [`DbError::Image`] or [`DbError::SnapshotRefused`] if it is not whole, or not the snapshot
    /// that `meta` describes.
    pub fn verify(&self, meta: &SnapshotMeta) -> Result<(), DbError> {
        self.load(meta).map(drop)
    }

    /// Checks the digests, without reading the image into a state. Gives the description.
    pub(super) fn check(&self) -> Result<SnapshotMeta, DbError> {
        let mut reader = self.reader();
        let (meta, head_bytes) = read_meta(&mut reader)?;
        let content = self.bytes().checked_sub((head_bytes + DIGEST_BYTES) as u64);
        let content = content.ok_or_else(|| refused("it is incomplete"))?;
        let mut hash = HashWriter(Sha256::new());
        let mut digest = [0; DIGEST_BYTES];
        io::copy(&mut reader.by_ref().take(content), &mut hash)
            .and_then(|_| reader.read_exact(&mut digest))
            .map_err(DbError::io("read a snapshot"))?;
        match hash.0.finalize().as_slice() == digest {
            true => Ok(meta),
            false => Err(refused("its image is damaged")),
        }
    }

    /// The state in it, after the same checks.
    pub(super) fn load(&self, meta: &SnapshotMeta) -> Result<State, DbError> {
        let mut reader = self.reader();
        expect_meta(&read_meta(&mut reader)?.0, meta)?;
        Ok(image::read(&mut reader)?)
    }

    /// Creates an empty file that is removed with its last handle, unless it is kept.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self::new(path, file, 0, true))
    }

    /// Writes a snapshot of `state` into the empty file.
    pub(super) fn write(&self, meta: &SnapshotMeta, state: &State) -> Result<(), DbError> {
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, &self.0.file);
        writer
            .write_all(&head(meta)?)
            .map_err(DbError::io("write a snapshot"))?;
        image::write(state, &mut writer)?;
        writer.flush().map_err(DbError::io("write a snapshot"))
    }

    /// Writes the content of `source` into the empty file.
    pub(super) fn copy_from(&self, source: &Self) -> io::Result<()> {
        let bytes = io::copy(&mut source.reader(), &mut &self.0.file)?;
        self.0.bytes.store(bytes, Ordering::Release);
        Ok(())
    }

    /// Makes its content durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.file.sync_all()
    }

    /// It is not to be removed any more.
    pub(super) fn keep(&self) {
        self.0.temporary.store(false, Ordering::Release);
    }

    /// The handle of a complete file.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self::new(path, file, bytes, false))
    }

    fn new(path: PathBuf, file: File, bytes: u64, temporary: bool) -> Self {
        Self(Arc::new(Inner {
            path,
            file,
            bytes: AtomicU64::new(bytes),
            temporary: AtomicBool::new(temporary),
        }))
    }

    fn reader(&self) -> BufReader<Reader<'_>> {
        BufReader::with_capacity(
            BUFFER_BYTES,
            Reader {
                file: self,
                offset: 0,
            },
        )
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.temporary.load(Ordering::Acquire) {
            // If this fails the next start removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Reads a file from its start, whatever others do with it.
struct Reader<'a> {
    file: &'a SnapshotFile,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.offset, buffer)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// The part in front of the image.
fn head(meta: &SnapshotMeta) -> Result<Vec<u8>, DbError> {
    let meta = codec::encode(meta).map_err(DbError::codec("the description of a snapshot"))?;
    let length = u32::try_from(meta.len())
        .ok()
        .filter(|_| meta.len() <= SNAPSHOT_META_BYTES_MAX)
        .ok_or(DbError::TooLarge { bytes: meta.len() })?;
    let mut head = Vec::with_capacity(HEAD_BYTES + meta.len() + DIGEST_BYTES);
    head.extend_from_slice(&MAGIC);
    head.push(VERSION);
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&meta);
    let digest = Sha256::digest(&head);
    head.extend_from_slice(&digest);
    Ok(head)
}

/// Reads the part in front of the image. Gives the description and how long that part is.
fn read_meta(reader: &mut impl Read) -> Result<(SnapshotMeta, usize), DbError> {
    let mut head = vec![0; HEAD_BYTES];
    reader
        .read_exact(&mut head)
        .map_err(|_| refused("it is incomplete"))?;
    if !head.starts_with(&MAGIC) {
        return Err(refused("it is something else"));
    }
    if head[MAGIC.len()] != VERSION {
        return Err(refused("another version of this program wrote it"));
    }
    let length = head
        .last_chunk()
        .map_or(0, |length| u32::from_be_bytes(*length));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > SNAPSHOT_META_BYTES_MAX {
        return Err(refused("its description is too long"));
    }
    head.resize(HEAD_BYTES + length, 0);
    let mut digest = [0; DIGEST_BYTES];
    reader
        .read_exact(&mut head[HEAD_BYTES..])
        .and_then(|()| reader.read_exact(&mut digest))
        .map_err(|_| refused("it is incomplete"))?;
    if Sha256::digest(&head).as_slice() != digest {
        return Err(refused("its description is damaged"));
    }
    let meta = codec::decode(&head[HEAD_BYTES..]);
    let meta = meta.map_err(DbError::codec("the description of a snapshot"))?;
    Ok((meta, head.len() + DIGEST_BYTES))
}

fn expect_meta(found: &SnapshotMeta, expected: &SnapshotMeta) -> Result<(), DbError> {
    match found == expected {
        true => Ok(()),
        false => Err(DbError::SnapshotRefused(format!(
            "it is {found}, but was announced as {expected}"
        ))),
    }
}

fn refused(what: &str) -> DbError {
    DbError::SnapshotRefused(what.to_owned())
}

/// Takes what is written into a digest.
struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.0.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
