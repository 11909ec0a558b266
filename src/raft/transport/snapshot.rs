//! A snapshot on its way from node to node: a header, the image in chunks, and its digest.

use bytes::Bytes;
use openraft::Snapshot as RaftSnapshot;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::proto::install_snapshot_request::Part;
use super::proto::{InstallSnapshotRequest, SnapshotTrailer};
use super::{convert, convert::ConvertError};
use crate::base::limits::{SNAPSHOT_BYTES_MAX, SNAPSHOT_CHUNK_BYTES, SNAPSHOT_PART_TIMEOUT};
use crate::raft::error::ClusterError;
use crate::storage::{Snapshot, SnapshotFile, SnapshotMeta, StorageHandle, Vote};

/// Parts that are read ahead of the network.
const PARTS_AHEAD: usize = 2;

/// The parts of `snapshot`, read from its file as the network takes them.
pub(super) fn parts(vote: &Vote, snapshot: &Snapshot) -> mpsc::Receiver<InstallSnapshotRequest> {
    let (send, parts) = mpsc::channel(PARTS_AHEAD);
    let file: SnapshotFile = (*snapshot.snapshot).clone();
    let header = convert::snapshot_header_to(vote, &snapshot.meta, file.bytes());
    tokio::task::spawn_blocking(move || {
        // Ends early if the receiver is gone, or the file cannot be read: without its trailer the
        // snapshot is refused.
        let _ = read_parts(&file, header, &send);
    });
    parts
}

fn read_parts(
    file: &SnapshotFile,
    header: super::proto::SnapshotHeader,
    send: &mpsc::Sender<InstallSnapshotRequest>,
) -> Option<()> {
    let put = |part| {
        let part = InstallSnapshotRequest { part: Some(part) };
        send.blocking_send(part).ok()
    };
    put(Part::Header(header))?;
    let mut digest = Sha256::new();
    let mut offset = 0_u64;
    loop {
        let mut chunk = vec![0; SNAPSHOT_CHUNK_BYTES];
        let count = match file.read_at(offset, &mut chunk) {
            Ok(count) => count,
            Err(error) => {
                tracing::error!("failed to read a snapshot to send: {error}");
                return None;
            }
        };
        if count == 0 {
            break;
        }
        chunk.truncate(count);
        digest.update(&chunk);
        offset += u64::try_from(count).ok()?;
        put(Part::Chunk(Bytes::from(chunk)))?;
    }
    let digest = Bytes::copy_from_slice(&digest.finalize());
    put(Part::Trailer(SnapshotTrailer { digest }))
}

/// Receives a snapshot into a file of its own and verifies it. `check` looks at the sender's vote.
pub(super) async fn receive(
    parts: &mut Streaming<InstallSnapshotRequest>,
    storage: &StorageHandle,
    check: impl Fn(&Vote) -> Result<(), Status>,
) -> Result<(Vote, Snapshot), Status> {
    let Part::Header(header) = next(parts).await? else {
        return Err(ConvertError::Missing("the header of the snapshot").into());
    };
    let (vote, meta, bytes) = convert::snapshot_header_from(header)?;
    check(&vote)?;
    if bytes > SNAPSHOT_BYTES_MAX {
        return Err(ConvertError::Invalid("the length of the snapshot").into());
    }
    let storage = storage.clone();
    let mut file = blocking(move || storage.receive_snapshot()).await?;
    let mut digest = Sha256::new();
    let mut received = 0_u64;
    loop {
        match next(parts).await? {
            Part::Chunk(chunk) => {
                received += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                if received > bytes || chunk.len() > SNAPSHOT_CHUNK_BYTES {
                    return Err(ConvertError::Invalid("the length of the snapshot").into());
                }
                digest.update(&chunk);
                file = blocking(move || file.append(&chunk).map(|()| file)).await?;
            }
            Part::Trailer(trailer) => {
                let is_whole = received == bytes && digest.finalize()[..] == trailer.digest[..];
                if !is_whole {
                    return Err(ConvertError::Invalid("the digest of the snapshot").into());
                }
                return verified(vote, meta, file).await;
            }
            Part::Header(_) => return Err(ConvertError::Invalid("a second header").into()),
        }
    }
}

/// Raft would take a damaged snapshot for a broken disk, and stop.
async fn verified(
    vote: Vote,
    meta: SnapshotMeta,
    file: SnapshotFile,
) -> Result<(Vote, Snapshot), Status> {
    let described = meta.clone();
    let file = blocking(move || file.verify(&described).map(|()| file)).await?;
    let snapshot = RaftSnapshot {
        meta,
        snapshot: Box::new(file),
    };
    Ok((vote, snapshot))
}

async fn next(parts: &mut Streaming<InstallSnapshotRequest>) -> Result<Part, Status> {
    match tokio::time::timeout(SNAPSHOT_PART_TIMEOUT, parts.message()).await {
        Ok(part) => part?
            .and_then(|part| part.part)
            .ok_or_else(|| ConvertError::Missing("the rest of the snapshot").into()),
        Err(_elapsed) => Err(ClusterError::TimedOut.into()),
    }
}

async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Status> {
    let stopped = |reason: String| Status::from(ClusterError::Stopped(reason));
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| stopped(error.to_string())),
        Err(aborted) => Err(stopped(aborted.to_string())),
    }
}
