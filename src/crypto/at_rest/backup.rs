//! Sealing of a backup, a stream of any length, under a root key.
//!
//! ```text
//! backup    = header ‖ chunk 0 ‖ chunk 1 ‖ … ‖ last chunk
//! header    = "kes-bkup" ‖ 1 ‖ root key id (8) ‖ epoch (4) ‖ cluster id (16) ‖ salt (16) ‖ prefix (7)
//! PRK       = HKDF-Extract(salt = cluster id ‖ epoch, root key)
//! key       = HKDF-Expand(PRK, "kes/bkp/1" ‖ salt)
//! chunk     = AES-256-GCM ciphertext of 1 MiB, of the last at most that ‖ tag (16)
//! nonce     = prefix ‖ number of the chunk (4) ‖ 1 for the last chunk, else 0
//! aad       = header
//! ```
//!
//! Integers are big endian. This is the STREAM construction of Hoang, Reyhanitabar, Rogaway and
//! Vizár (<https://eprint.iacr.org/2015/189>): the number in the nonce tells chunks that changed
//! places, the mark of the last one a backup that was cut. Nothing of a chunk is given out before
//! it is known to be authentic.

use std::io::{self, Read, Write};

use super::root_key::RootKeyId;
use super::sealer::{self, Sealer};
use super::{ClusterId, Epoch};
use crate::base::secret::Key256;

/// Fresh random bytes that sealing a backup takes: the salt, then the prefix of the nonces.
pub const BACKUP_RANDOM_BYTES: usize = SALT_BYTES + PREFIX_BYTES;

const MAGIC: [u8; 8] = *b"kes-bkup";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const PREFIX_BYTES: usize = 7;
const HEADER_BYTES: usize = 8 + 1 + 8 + 4 + 16 + BACKUP_RANDOM_BYTES;
const CHUNK_BYTES: usize = 1 << 20;
const TAG_BYTES: usize = 16;

/// A backup cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It is something else.
    #[error("not a backup of a cluster")]
    NotABackup,
    /// Written by another, most likely a newer, version of this program.
    #[error("backup in version {0}, but this program knows only version {VERSION}")]
    UnknownVersion(u8),
    /// Sealed under another root key, of another cluster or epoch, than the one to open it with.
    #[error("the backup is sealed under another root key")]
    OtherRootKey,
    /// Cut, changed, or put together from pieces.
    #[error("the backup is damaged or incomplete")]
    NotAuthentic,
}

/// What a backup says about itself before it is opened. Authentic only once it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupHeader {
    /// The root key it is sealed under.
    pub root_key_id: RootKeyId,
    /// The epoch of that key in the cluster.
    pub epoch: Epoch,
    /// The cluster.
    pub cluster_id: ClusterId,
    random: [u8; BACKUP_RANDOM_BYTES],
}

impl BackupHeader {
    /// Reads the header, and leaves `reader` where the chunks begin.
    ///
    /// # Errors
    ///
    /// [`BackupError`] unless a backup in a known version begins here.
    pub fn read<R: Read>(reader: &mut R) -> Result<Self, BackupError> {
        if read_array(reader)? != MAGIC {
            return Err(BackupError::NotABackup);
        }
        match read_array(reader)? {
            [VERSION] => {}
            [version] => return Err(BackupError::UnknownVersion(version)),
        }
        Ok(Self {
            root_key_id: RootKeyId(read_array(reader)?),
            epoch: Epoch::from_be_bytes(read_array(reader)?),
            cluster_id: ClusterId(read_array(reader)?),
            random: read_array(reader)?,
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.root_key_id.0);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.cluster_id.0);
        bytes.extend_from_slice(&self.random);
        bytes
    }
}

fn read_array<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(BackupError::NotABackup),
        Err(error) => Err(BackupError::Io(error)),
    }
}

impl Sealer {
    /// Begins a backup: what is written to the returned writer goes sealed to `output`. `random`
    /// must be fresh.
    ///
    /// # Errors
    ///
    /// That of `output`.
    pub fn seal_backup<W: Write>(
        &self,
        mut output: W,
        random: &[u8; BACKUP_RANDOM_BYTES],
    ) -> io::Result<BackupWriter<W>> {
        let chunks = self.chunks(&BackupHeader {
            root_key_id: self.root_key_id(),
            epoch: self.epoch(),
            cluster_id: self.cluster_id(),
            random: *random,
        });
        output.write_all(&chunks.header)?;
        Ok(BackupWriter {
            output,
            chunks,
            buffer: Vec::with_capacity(CHUNK_BYTES + TAG_BYTES),
        })
    }

    /// Opens a backup whose `header` was read from `input`: the returned reader gives what was
    /// sealed.
    ///
    /// # Errors
    ///
    /// [`BackupError::OtherRootKey`] if `header` asks for another sealer. The reader fails with
    /// [`BackupError::NotAuthentic`] inside an error of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData) where the backup is not what was written: what
    /// it gave before that is authentic, but not all there was.
    pub fn open_backup<R: Read>(
        &self,
        header: &BackupHeader,
        input: R,
    ) -> Result<BackupReader<R>, BackupError> {
        let ours = (self.root_key_id(), self.epoch(), self.cluster_id());
        if (header.root_key_id, header.epoch, header.cluster_id) != ours {
            return Err(BackupError::OtherRootKey);
        }
        Ok(BackupReader {
            input,
            chunks: self.chunks(header),
            ahead: None,
            opened: Vec::new(),
            given: 0,
            state: ReaderState::Reading,
        })
    }

    fn chunks(&self, header: &BackupHeader) -> Chunks {
        let (salt, prefix) = header.random.split_at(SALT_BYTES);
        Chunks {
            key: self.derive(&[b"kes/bkp/1", salt]),
            prefix: prefix.to_vec(),
            next: Some(0),
            header: header.to_bytes(),
        }
    }
}

/// The chunks of one backup, one after the other.
struct Chunks {
    key: Key256,
    prefix: Vec<u8>,
    /// Number of the next chunk; `None` when there is none, be it that one failed.
    next: Option<u32>,
    header: Vec<u8>,
}

impl Chunks {
    /// The nonce of the next chunk, which is never given again.
    fn nonce(&mut self, is_last: bool) -> Option<Vec<u8>> {
        let number = self.next.take()?;
        if !is_last {
            self.next = number.checked_add(1);
        }
        Some(
            [
                &self.prefix[..],
                &number.to_be_bytes(),
                &[u8::from(is_last)],
            ]
            .concat(),
        )
    }

    /// Seals the next chunk in place and appends its tag; `None` if there cannot be one more.
    fn seal(&mut self, buffer: &mut Vec<u8>, is_last: bool) -> Option<()> {
        let nonce = self.nonce(is_last)?;
        let tag = sealer::seal_in_place(&self.key, &nonce, &self.header, buffer)?;
        buffer.extend_from_slice(&tag);
        Some(())
    }

    /// Opens the next chunk in place and removes its tag; `None` if it is not authentic.
    fn open(&mut self, buffer: &mut Vec<u8>, is_last: bool) -> Option<()> {
        let nonce = self.nonce(is_last)?;
        let length = buffer.len().checked_sub(TAG_BYTES)?;
        let (ciphertext, tag) = buffer.split_at_mut(length);
        let opened = sealer::open_in_place(&self.key, &nonce, &self.header, ciphertext, tag);
        buffer.truncate(length);
        opened.then_some(())
    }
}

/// Seals what is written to it. Without [`Self::finish`] the backup is incomplete, and does not open.
pub struct BackupWriter<W> {
    output: W,
    chunks: Chunks,
    /// The part of the next chunk that is there.
    buffer: Vec<u8>,
}

impl<W: Write> BackupWriter<W> {
    /// Writes the last chunk and returns what was written to.
    ///
    /// # Errors
    ///
    /// That of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        // After an error it is not known what the output holds, so no chunk may follow.
        let failed = || io::Error::other("the backup is too large, or failed before");
        self.chunks
            .seal(&mut self.buffer, is_last)
            .ok_or_else(failed)?;
        let written = self.output.write_all(&self.buffer);
        self.buffer.clear();
        if written.is_err() {
            self.chunks.next = None;
        }
        written
    }
}

impl<W: Write> Write for BackupWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full buffer is kept until more comes, because it may be the last chunk.
        if self.buffer.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.write_chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Flushes the output. What does not fill a chunk stays here until [`Self::finish`].
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

enum ReaderState {
    Reading,
    Ended,
    Failed,
}

/// Reads what a backup holds. Its end is the end of the backup only if it comes without an error.
pub struct BackupReader<R> {
    input: R,
    chunks: Chunks,
    /// The first byte of the next chunk: that there is one tells that this is not the last.
    ahead: Option<u8>,
    /// The opened chunk.
    opened: Vec<u8>,
    /// How much of it was given out.
    given: usize,
    state: ReaderState,
}

impl<R: Read> BackupReader<R> {
    fn open_chunk(&mut self) -> io::Result<()> {
        self.opened.clear();
        self.given = 0;
        self.opened.extend(self.ahead.take());
        let wanted = CHUNK_BYTES + TAG_BYTES + 1 - self.opened.len();
        let mut input = (&mut self.input).take(wanted as u64);
        input.read_to_end(&mut self.opened)?;
        let is_last = self.opened.len() <= CHUNK_BYTES + TAG_BYTES;
        if !is_last {
            self.ahead = self.opened.pop();
        }
        match self.chunks.open(&mut self.opened, is_last) {
            Some(()) if is_last => self.state = ReaderState::Ended,
            Some(()) => self.state = ReaderState::Reading,
            None => return Err(not_authentic()),
        }
        Ok(())
    }
}

impl<R: Read> Read for BackupReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.opened.len() {
            match self.state {
                ReaderState::Ended => return Ok(0),
                ReaderState::Failed => return Err(not_authentic()),
                ReaderState::Reading => {}
            }
            // Until the chunk is open: after an error nothing may be read on.
            self.state = ReaderState::Failed;
            if let Err(error) = self.open_chunk() {
                self.opened.clear();
                return Err(error);
            }
        }
        let rest = &self.opened[self.given..];
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

fn not_authentic() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, BackupError::NotAuthentic)
}

#[cfg(test)]
mod tests;
