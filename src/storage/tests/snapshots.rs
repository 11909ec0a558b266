//! Snapshots: damaged ones, foreign ones, and those that are installed while the log goes on.

use std::sync::Mutex;
use std::time::Duration;

use openraft::{OptionalSend, RaftSnapshotBuilder};

use super::*;

/// A leader with a snapshot at index 99, in a directory of its own.
async fn leader(path: &Path) -> (Storage, Snapshot) {
    let mut leader = open(path);
    commit(&mut leader, entries(2, 0..100)).await;
    let snapshot = build_snapshot(&mut leader).await;
    (leader, snapshot)
}

/// Sends a snapshot as the transport does.
fn send(snapshot: &Snapshot, to: &StorageHandle) -> SnapshotFile {
    let mut received = to.receive_snapshot().expect("file");
    let mut buffer = [0; 1000];
    let mut offset = 0;
    loop {
        match snapshot
            .snapshot
            .read_at(offset, &mut buffer)
            .expect("read")
        {
            0 => break,
            read => {
                received.append(&buffer[..read]).expect("append");
                offset += read as u64;
            }
        }
    }
    assert_eq!(received.bytes(), snapshot.snapshot.bytes());
    received
}

fn files(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path.join("snapshots"))
        .expect("folder")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_installed_snapshot_replaces_everything_before_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (leader, snapshot) = leader(&folder.path().join("leader")).await;
    let path = folder.path().join("follower");
    let mut follower = open(&path);
    commit(&mut follower, entries(1, 0..10)).await;
    build_snapshot(&mut follower).await;
    let received = send(&snapshot, &follower.handle);
    received.verify(&snapshot.meta).expect("whole");
    let installed = follower
        .state
        .install_snapshot(&snapshot.meta, Box::new(received))
        .await;
    installed.expect("install");
    follower.log.purge(log_id(2, 99)).await.expect("purge");
    let mut follower = reopened(&path, follower).await;
    let content = content(&mut follower).await;
    assert_eq!(content.state, leader.handle.applied().load().state);
    assert_eq!(content.applied, Some(log_id(2, 99)));
    assert_eq!(content.last, Some(log_id(2, 99)));
    assert_eq!(content.snapshot, Some(snapshot.meta));
    assert_eq!(files(&path).len(), 1);
    commit(&mut follower, entries(2, 100..110)).await;
    reopened(&path, follower).await;
}

#[tokio::test]
async fn equal_states_give_equal_snapshots() {
    let folder = tempfile::tempdir().expect("folder");
    let (_first, one) = leader(&folder.path().join("one")).await;
    let (_second, two) = leader(&folder.path().join("two")).await;
    let read = |snapshot: &Snapshot| std::fs::read(snapshot.snapshot.path()).expect("read");
    assert_eq!(one.meta, two.meta);
    assert_eq!(read(&one), read(&two));
}

#[tokio::test]
async fn damaged_and_mistaken_snapshots_are_refused_and_change_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let (_leader, snapshot) = leader(&folder.path().join("leader")).await;
    let path = folder.path().join("follower");
    let mut follower = open(&path);
    commit(&mut follower, entries(1, 0..10)).await;
    let before = content(&mut follower).await;
    let whole = std::fs::read(snapshot.snapshot.path()).expect("read");
    let mut damaged = vec![
        Vec::new(),
        whole[..whole.len() - 1].to_vec(),
        whole[..20].to_vec(),
    ];
    damaged.push([&whole[..], b"x"].concat());
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        damaged.push(flipped);
    }
    for bytes in damaged {
        let mut received = follower.handle.receive_snapshot().expect("file");
        received.append(&bytes).expect("append");
        received.verify(&snapshot.meta).expect_err("damaged");
        let refused = follower
            .state
            .install_snapshot(&snapshot.meta, Box::new(received))
            .await;
        refused.expect_err("damaged");
    }
    let mut other = snapshot.meta.clone();
    other.last_log_id = Some(log_id(2, 98));
    let received = send(&snapshot, &follower.handle);
    let refused = received
        .verify(&other)
        .expect_err("another snapshot")
        .to_string();
    assert!(refused.contains("announced"), "{refused}");
    drop(received);
    assert_eq!(content(&mut follower).await, before);
    assert!(files(&path).is_empty());
    commit(&mut follower, entries(1, 10..12)).await;
    reopened(&path, follower).await;
}

#[tokio::test]
async fn an_older_snapshot_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..10)).await;
    let old = build_snapshot(&mut storage).await;
    commit(&mut storage, entries(1, 10..20)).await;
    let refused = storage
        .state
        .install_snapshot(&old.meta, old.snapshot)
        .await;
    assert!(
        refused
            .expect_err("older")
            .to_string()
            .contains("older than the state")
    );
}

#[tokio::test]
async fn a_damaged_snapshot_goes_to_the_quarantine_and_the_older_one_is_used() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    for damage in ["flip", "cut", "empty"] {
        let path = path.join(damage);
        let mut storage = open(&path);
        commit(&mut storage, entries(1, 0..10)).await;
        let older = build_snapshot(&mut storage).await.meta;
        commit(&mut storage, entries(1, 10..20)).await;
        let newer = build_snapshot(&mut storage).await;
        storage.handle.close().await.expect("close");
        let file = newer.snapshot.path();
        let mut bytes = std::fs::read(file).expect("read");
        match damage {
            "flip" => bytes[300] ^= 1,
            "cut" => bytes.truncate(400),
            _ => bytes.clear(),
        }
        std::fs::write(file, bytes).expect("write");
        let mut storage = open(&path);
        let found = content(&mut storage).await;
        assert_eq!(found.snapshot, Some(older));
        assert_eq!(found.applied, Some(log_id(1, 19)));
        assert!(
            path.join("quarantine")
                .join(file.file_name().expect("name"))
                .exists()
        );
        assert_eq!(build_snapshot(&mut storage).await.meta, newer.meta);
    }
}

#[tokio::test]
async fn a_snapshot_older_than_the_log_is_built_again() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..10)).await;
    build_snapshot(&mut storage).await;
    commit(&mut storage, entries(1, 10..20)).await;
    let newer = build_snapshot(&mut storage).await;
    storage.log.purge(log_id(1, 15)).await.expect("purge");
    storage.handle.close().await.expect("close");
    std::fs::write(newer.snapshot.path(), b"").expect("write");
    let mut storage = open(folder.path());
    assert_eq!(content(&mut storage).await.snapshot, None);
    let helper = openraft::StorageHelper::new(&mut storage.log, &mut storage.state)
        .get_initial_state()
        .await
        .map(drop);
    helper.expect("openraft starts");
    assert_eq!(content(&mut storage).await.snapshot, Some(newer.meta));
}

#[tokio::test]
async fn leftovers_are_removed_and_readers_keep_what_they_read() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let mut storage = open(path);
    drop(storage.handle.receive_snapshot().expect("file"));
    assert!(files(path).is_empty());
    commit(&mut storage, entries(1, 0..3)).await;
    let first = build_snapshot(&mut storage).await;
    for end in 4..8 {
        commit(&mut storage, entries(1, end - 1..end)).await;
        build_snapshot(&mut storage).await;
    }
    assert_eq!(files(path).len(), 2);
    first.snapshot.verify(&first.meta).expect("still readable");
    storage.handle.close().await.expect("close");
    std::fs::write(path.join("snapshots/9.tmp"), b"half").expect("write");
    let ahead = path.join(format!("snapshots/{:020}-9-1.snap", 99));
    let newest = path.join("snapshots").join(&files(path)[0]);
    std::fs::copy(newest, &ahead).expect("copy");
    open(path);
    assert!(!path.join("snapshots/9.tmp").exists());
}

/// Notes the order of steps.
#[derive(Default)]
struct Notes(Mutex<Vec<Step>>);

impl DiskHooks for Notes {
    fn reached(&self, step: Step) {
        self.0.lock().expect("lock").push(step);
    }
}

/// openraft 0.9 asks for the removal right after it has handed over the snapshot.
#[tokio::test]
async fn the_log_is_not_removed_before_the_snapshot_is_installed() {
    let folder = tempfile::tempdir().expect("folder");
    let (_leader, snapshot) = leader(&folder.path().join("leader")).await;
    let notes = Arc::new(Notes::default());
    let path = folder.path().join("follower");
    let Storage {
        mut log,
        mut state,
        handle,
    } = open_with(&path, Arc::<Notes>::clone(&notes));
    log.blocking_append(entries(1, 0..10))
        .await
        .expect("append");
    let received = Box::new(send(&snapshot, &handle));
    {
        let purge = log.purge(log_id(2, 99));
        tokio::pin!(purge);
        assert!(polled_once(&mut purge).await.is_none());
        let install = state.install_snapshot(&snapshot.meta, received);
        let (purged, installed) = tokio::join!(purge, install);
        purged.expect("purge");
        installed.expect("install");
    }
    let steps = notes.0.lock().expect("lock").clone();
    let at = |wanted| steps.iter().position(|step| *step == wanted).expect("step");
    assert!(at(Step::InstallFlipSynced) < at(Step::PurgeSynced));
    assert!(at(Step::PurgeSynced) < at(Step::PurgeMarked));
    // If the installation fails the state is dropped, and the log must not wait for ever.
    let purge = log.purge(log_id(2, 200));
    drop(state);
    let ended = tokio::time::timeout(Duration::from_secs(60), purge).await;
    ended.expect("in time").expect_err("never applied");
}

async fn polled_once<F: Future + OptionalSend + Unpin>(future: &mut F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn a_snapshot_shows_the_state_when_its_builder_was_made() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..5)).await;
    let mut builder = storage.state.get_snapshot_builder().await;
    commit(&mut storage, entries(1, 5..9)).await;
    let snapshot = builder.build_snapshot().await.expect("snapshot");
    assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 4)));
    snapshot.snapshot.verify(&snapshot.meta).expect("whole");
}
