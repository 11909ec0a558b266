//! The storage as a whole: what the other tests share, and what survives a restart.

mod crash;
mod failure;
mod raft;
mod snapshots;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::{CommittedLeaderId, EntryPayload, Membership, RaftLogReader};

use super::*;
use crate::base::clock::Timestamp;
use crate::crypto::at_rest::ClusterId;
use crate::machine::{Command, KeyRecord, Op, Proposal, RootEpoch, SealedVersion};

fn open(path: &Path) -> Storage {
    open_with(path, Arc::new(RealDisk))
}

fn open_with(path: &Path, hooks: Arc<dyn DiskHooks>) -> Storage {
    Storage::open(path, hooks).expect("storage")
}

fn refusal(path: &Path) -> String {
    match Storage::open(path, Arc::new(RealDisk)) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, 1), index)
}

fn command(index: u64, op: Op) -> EntryPayload<TypeConfig> {
    EntryPayload::Normal(Command {
        proposals: vec![Proposal {
            request_id: u128::from(index),
            op,
        }],
    })
}

/// A key with so many bytes of what looks like ciphertext under the first root key.
fn key(sealed_bytes: usize) -> KeyRecord {
    let mut sealed = vec![7; sealed_bytes.max(100)];
    sealed[..5].copy_from_slice(&[1, 0, 0, 0, 1]);
    KeyRecord {
        request_id: 0,
        versions: vec![SealedVersion {
            version: 1,
            sealed: sealed.into(),
        }],
        created_at: Timestamp::ZERO,
        created_by: "admin".to_owned(),
    }
}

/// The entry at `index` of a log that founds a cluster, then creates keys and deletes some.
fn entry(term: u64, index: u64) -> Entry {
    let payload = match index {
        0 => EntryPayload::Membership(Membership::new(vec![BTreeSet::from([1, 2, 3])], ())),
        1 => command(
            index,
            Op::Found {
                cluster_id: ClusterId([1; 16]),
                root: RootEpoch {
                    epoch: 1,
                    key_id: [2; 8],
                    check: [3; 32],
                },
            },
        ),
        _ if index % 5 == 4 => EntryPayload::Blank,
        _ if index % 7 == 6 => command(
            index,
            Op::DeleteKey {
                name: format!("key-{}", index - 3),
            },
        ),
        _ => command(
            index,
            Op::CreateKey {
                name: format!("key-{index}"),
                record: key(usize::try_from(index * 37 % 9000).expect("small")),
            },
        ),
    };
    Entry {
        log_id: log_id(term, index),
        payload,
    }
}

fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index)).collect()
}

/// Applies all of the log that is not applied yet.
async fn apply_rest(storage: &mut Storage) {
    let last = storage.handle.applied().load().last_applied;
    let start = last.map_or(0, |last| last.index + 1);
    let rest = storage
        .log
        .try_get_log_entries(start..)
        .await
        .expect("entries");
    storage.state.apply(rest).await.expect("apply");
}

/// Appends the entries, and applies all.
async fn commit(storage: &mut Storage, entries: Vec<Entry>) {
    let last = entries.last().expect("entries").log_id;
    storage.log.blocking_append(entries).await.expect("append");
    storage
        .log
        .save_committed(Some(last))
        .await
        .expect("committed");
    apply_rest(storage).await;
}

/// All that a storage knows.
#[derive(PartialEq, Debug)]
struct Content {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    entries: Vec<Entry>,
    state: crate::machine::State,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

async fn content(storage: &mut Storage) -> Content {
    let log = storage.log.get_log_state().await.expect("log state");
    let applied = storage.handle.applied().load_full();
    let snapshot = storage
        .state
        .get_current_snapshot()
        .await
        .expect("snapshot");
    Content {
        vote: storage.log.read_vote().await.expect("vote"),
        committed: storage.log.read_committed().await.expect("committed"),
        purged: log.last_purged_log_id,
        last: log.last_log_id,
        entries: storage.log.try_get_log_entries(..).await.expect("entries"),
        state: applied.state.clone(),
        applied: applied.last_applied,
        membership: applied.membership.clone(),
        snapshot: snapshot.map(|snapshot| snapshot.meta),
    }
}

/// Closes the storage and opens it again; it must be the same.
async fn reopened(path: &Path, mut storage: Storage) -> Storage {
    let before = content(&mut storage).await;
    storage.handle.close().await.expect("close");
    let mut storage = open(path);
    assert_eq!(content(&mut storage).await, before);
    storage
}

async fn build_snapshot(storage: &mut Storage) -> Snapshot {
    use openraft::RaftSnapshotBuilder;
    let mut builder = storage.state.get_snapshot_builder().await;
    builder.build_snapshot().await.expect("snapshot")
}

#[tokio::test]
async fn what_was_stored_is_there_after_each_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let mut storage = reopened(path, open(path)).await;
    let node_id = storage.handle.node_id();
    storage.log.save_vote(&Vote::new(3, 9)).await.expect("vote");
    storage = reopened(path, storage).await;
    commit(&mut storage, entries(1, 0..60)).await;
    storage = reopened(path, storage).await;
    storage
        .log
        .blocking_append(entries(1, 60..70))
        .await
        .expect("append");
    storage = reopened(path, storage).await;
    storage.log.truncate(log_id(1, 63)).await.expect("truncate");
    storage = reopened(path, storage).await;
    commit(&mut storage, entries(2, 63..80)).await;
    build_snapshot(&mut storage).await;
    storage = reopened(path, storage).await;
    storage.log.purge(log_id(1, 50)).await.expect("purge");
    storage = reopened(path, storage).await;
    commit(&mut storage, entries(2, 80..90)).await;
    storage = reopened(path, storage).await;
    assert_eq!(storage.handle.node_id(), node_id);
    let content = content(&mut storage).await;
    assert_eq!(
        content.entries,
        [entries(1, 51..63), entries(2, 63..90)].concat()
    );
    assert_eq!(content.last, Some(log_id(2, 89)));
    assert_eq!(content.applied, Some(log_id(2, 89)));
    assert!(content.state.key("key-85").is_some());
}

#[tokio::test]
async fn reads_for_replication_are_bounded_and_never_empty() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    let large = |index| Entry {
        log_id: log_id(1, index),
        payload: command(
            index,
            Op::CreateKey {
                name: "key".to_owned(),
                record: key(400 << 10),
            },
        ),
    };
    let all: Vec<Entry> = (0..6).map(large).collect();
    storage
        .log
        .blocking_append(all.clone())
        .await
        .expect("append");
    let some = storage
        .log
        .limited_get_log_entries(1, 6)
        .await
        .expect("read");
    assert_eq!(some, all[1..4]);
    let one = storage
        .log
        .limited_get_log_entries(5, 6)
        .await
        .expect("read");
    assert_eq!(one, all[5..]);
    let mut reader = storage.log.get_log_reader().await;
    assert_eq!(
        reader.try_get_log_entries(2..=3).await.expect("read"),
        all[2..=3]
    );
}

#[tokio::test]
async fn a_log_with_a_hole_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    storage
        .log
        .blocking_append(entries(2, 0..3))
        .await
        .expect("append");
    for wrong in [entry(2, 4), entry(2, 2), entry(1, 3)] {
        let refused = storage.log.blocking_append([wrong]).await;
        let refused = refused.expect_err("a hole").to_string();
        assert!(refused.contains("does not follow"), "{refused}");
    }
    storage
        .log
        .blocking_append([entry(2, 3)])
        .await
        .expect("append");
    storage.state.apply(entries(2, 0..2)).await.expect("apply");
    for wrong in [entry(2, 1), entry(2, 3)] {
        let refused = storage.state.apply([wrong]).await;
        let refused = refused.expect_err("a hole").to_string();
        assert!(refused.contains("instead of the one at 2"), "{refused}");
    }
    storage.state.apply([entry(2, 2)]).await.expect("apply");
}

#[tokio::test]
async fn one_waits_for_what_is_applied() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    let handle = storage.handle.clone();
    let waiting = tokio::spawn(async move {
        handle.wait_applied(7).await.expect("applied");
        handle.applied().load().last_applied
    });
    commit(&mut storage, entries(1, 0..5)).await;
    storage.handle.wait_applied(4).await.expect("applied");
    assert!(!waiting.is_finished());
    commit(&mut storage, entries(1, 5..9)).await;
    assert_eq!(waiting.await.expect("task"), Some(log_id(1, 8)));
    let handle = storage.handle.clone();
    drop(storage);
    assert!(matches!(handle.wait_applied(9).await, Err(DbError::Closed)));
    handle.wait_applied(8).await.expect("applied before");
}

#[tokio::test]
async fn figures_tell_sizes_and_syncs() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..5)).await;
    build_snapshot(&mut storage).await;
    let figures = storage.handle.figures().expect("figures");
    assert_eq!(figures.syncs, 1);
    assert!(figures.sync_time_max >= figures.sync_time_last);
    assert!(figures.database_bytes > 0 && figures.snapshot_bytes > 0 && figures.free_bytes > 0);
    storage.handle.close().await.expect("close");
    assert!(matches!(storage.handle.figures(), Err(DbError::Closed)));
}

/// The engine would keep larger pages in files that nobody syncs.
#[tokio::test]
async fn the_engine_keeps_everything_in_its_one_file() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    for index in 0..120 {
        let name = format!("key-{}", index % 40);
        let payload = command(
            index,
            Op::CreateKey {
                name,
                record: key(15 << 10),
            },
        );
        let log_id = log_id(1, index);
        let entry = Entry { log_id, payload };
        storage
            .log
            .blocking_append([entry.clone()])
            .await
            .expect("append");
        let applied = match index {
            0 => vec![Entry {
                log_id,
                ..self::entry(1, 1)
            }],
            _ => vec![entry],
        };
        storage.state.apply(applied).await.expect("apply");
    }
    assert_eq!(storage.handle.applied().load().state.counts().keys, 40);
    storage.log.purge(log_id(1, 100)).await.expect("purge");
    storage.handle.close().await.expect("close");
    let blobs = std::fs::read_dir(folder.path().join("db/blobs")).expect("folder");
    assert_eq!(blobs.count(), 0);
}
