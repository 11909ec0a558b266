//! Backups: everything that a cluster keeps, as one sealed stream that is made while it serves.
//!
//! The state is a cheap copy of one moment, so the stream is consistent however long it takes. It is
//! sealed chunk by chunk, no faster than the client takes it.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::seals::{SealError, Seals};
use crate::base::limits::{BACKUP_PIECES_WAITING, BACKUP_STALL_TIMEOUT, BACKUPS_MAX};
use crate::crypto::at_rest::{BACKUP_RANDOM_BYTES, Sealer};
use crate::crypto::random;
use crate::machine::State;
use crate::machine::image::{self, ImageError};
use crate::raft::{ClusterError, RaftHandle};

/// A backup cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be known what belongs into it.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Others are being made.
    #[error("{BACKUPS_MAX} backups are being made already: try again later")]
    Busy,
}

/// The rest of a backup will not come. What came is not a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the backup was broken off")]
pub struct BrokenOff;

/// A backup that is being made. Dropping it ends the work.
pub struct BackupStream {
    pieces: mpsc::Receiver<Piece>,
    has_ended: bool,
}

/// Of a backup. That it is complete is said, so that silence never passes for it.
enum Piece {
    Bytes(Bytes),
    End,
}

impl BackupStream {
    /// The next bytes; `None` when all have come.
    ///
    /// # Errors
    ///
    /// [`BrokenOff`], once, if the rest will not come.
    pub async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        if self.has_ended {
            return None;
        }
        let piece = self.pieces.recv().await;
        if let Some(Piece::Bytes(bytes)) = piece {
            return Some(Ok(bytes));
        }
        self.has_ended = true;
        match piece {
            Some(_) => None,
            None => Some(Err(BrokenOff)),
        }
    }
}

/// Makes backups.
#[derive(Clone)]
pub struct Backups {
    raft: RaftHandle,
    seals: Arc<Seals>,
    runtime: Handle,
    permits: Arc<Semaphore>,
}

impl Backups {
    pub(super) fn new(raft: RaftHandle, seals: Arc<Seals>, runtime: Handle) -> Self {
        Self {
            raft,
            seals,
            runtime,
            permits: Arc::new(Semaphore::new(BACKUPS_MAX)),
        }
    }

    /// Begins a backup of everything that was acknowledged until now, on any node.
    ///
    /// # Errors
    ///
    /// [`BackupError`].
    pub async fn begin(&self) -> Result<BackupStream, BackupError> {
        let permit = Arc::clone(&self.permits);
        let permit = permit.try_acquire_owned().map_err(|_| BackupError::Busy)?;
        self.raft.read_barrier().await?;
        let state = self.raft.state();
        if state.restoring().is_some() {
            return Err(ClusterError::Restoring.into());
        }
        let sealer = self.seals.current(&state)?;
        let random = random::array().map_err(SealError::Random)?;
        Ok(stream(&self.runtime, state, sealer, random, permit))
    }
}

/// Seals `state` in a thread of its own.
fn stream(
    runtime: &Handle,
    state: State,
    sealer: Arc<Sealer>,
    random: [u8; BACKUP_RANDOM_BYTES],
    permit: OwnedSemaphorePermit,
) -> BackupStream {
    let (sender, pieces) = mpsc::channel(BACKUP_PIECES_WAITING);
    let runtime_there = runtime.clone();
    drop(runtime.spawn_blocking(move || {
        let _permit = permit;
        let output = PieceSender {
            runtime: runtime_there,
            sender,
            bytes: 0,
        };
        match write(&state, &sealer, &random, output) {
            Ok(bytes) => {
                let keys = state.counts().keys;
                tracing::info!(bytes, keys, "a backup of the cluster was sent");
            }
            Err(error) => tracing::warn!(%error, "a backup of the cluster was broken off"),
        }
    }));
    BackupStream {
        pieces,
        has_ended: false,
    }
}

/// Writes all of the backup; how many bytes it has.
fn write(
    state: &State,
    sealer: &Sealer,
    random: &[u8; BACKUP_RANDOM_BYTES],
    output: PieceSender,
) -> Result<u64, ImageError> {
    let mut writer = sealer.seal_backup(output, random)?;
    image::write(state, &mut writer)?;
    let output = writer.finish()?;
    output.send(Piece::End)?;
    Ok(output.bytes)
}

/// Hands on what is written, as fast as it is taken. Only for threads that may block.
struct PieceSender {
    runtime: Handle,
    sender: mpsc::Sender<Piece>,
    bytes: u64,
}

impl PieceSender {
    fn send(&self, piece: Piece) -> io::Result<()> {
        // A client that has gone, or takes nothing, must not hold the state and this thread.
        let sent = self.sender.send_timeout(piece, BACKUP_STALL_TIMEOUT);
        self.runtime
            .block_on(sent)
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

impl Write for PieceSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Piece::Bytes(Bytes::copy_from_slice(bytes)))?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
