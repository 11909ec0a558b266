//! Tests of the stream: whole or noticed, and no faster than it is taken.

use super::super::opened_backup::OpenedBackup;
use super::super::samples::{cluster, seals};
use super::*;

fn begin(state: State, seals: &Seals, permits: &Arc<Semaphore>) -> BackupStream {
    let sealer = seals.current(&state).expect("a sealer");
    let permit = Arc::clone(permits).try_acquire_owned().expect("a permit");
    stream(
        &Handle::current(),
        state,
        sealer,
        [3; BACKUP_RANDOM_BYTES],
        permit,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pieces_together_are_the_backup() {
    let seals = seals(&[1]);
    // Several chunks.
    let state = cluster(&seals, 300, 10_000);
    let permits = Arc::new(Semaphore::new(1));
    let mut stream = begin(state.clone(), &seals, &permits);
    let mut content = Vec::new();
    let mut pieces = 0;
    while let Some(piece) = stream.next().await {
        content.extend_from_slice(&piece.expect("a piece"));
        pieces += 1;
    }
    assert!(pieces >= 4, "{pieces}");
    assert_eq!(stream.next().await, None);
    let opened = OpenedBackup::open(content.as_slice(), &seals).expect("a backup");
    assert_eq!(opened.counts(), state.counts());
    // The work is over when the place is free again.
    let _permit = permits.acquire().await.expect("a permit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_away_ends_the_work() {
    let seals = seals(&[1]);
    let permits = Arc::new(Semaphore::new(1));
    let mut stream = begin(cluster(&seals, 1000, 10_000), &seals, &permits);
    assert!(stream.next().await.is_some_and(|piece| piece.is_ok()));
    assert_eq!(
        permits.available_permits(),
        0,
        "it runs ahead of the client"
    );
    drop(stream);
    let _permit = permits.acquire().await.expect("a permit");
}

#[tokio::test]
async fn silence_is_not_the_end() {
    let (sender, pieces) = mpsc::channel(2);
    let mut stream = BackupStream {
        pieces,
        has_ended: false,
    };
    let piece = Piece::Bytes(Bytes::from_static(b"part"));
    assert!(sender.try_send(piece).is_ok());
    drop(sender);
    assert!(stream.next().await.is_some_and(|piece| piece.is_ok()));
    assert_eq!(stream.next().await, Some(Err(BrokenOff)));
    assert_eq!(stream.next().await, None);
}
