//! Disks that fail, fill up, or hand back less than they were given.

use std::io;
use std::sync::Mutex;

use super::crash::copy_directory;
use super::*;

/// Fails what it is told to.
#[derive(Default)]
struct Broken {
    write: Mutex<Option<(DiskFile, io::ErrorKind)>>,
    fsync: Mutex<Option<(DiskFile, io::ErrorKind)>>,
}

impl Broken {
    fn fails(at: &Mutex<Option<(DiskFile, io::ErrorKind)>>, file: DiskFile) -> io::Result<()> {
        match *at.lock().expect("lock") {
            Some((broken, kind)) if broken == file => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl DiskHooks for Broken {
    fn before_write(&self, file: DiskFile) -> io::Result<()> {
        Self::fails(&self.write, file)
    }

    fn before_fsync(&self, file: DiskFile) -> io::Result<()> {
        Self::fails(&self.fsync, file)
    }
}

/// After a failure nothing is acknowledged any more, even if the disk recovers; a restart finds
/// what was acknowledged before.
async fn nothing_is_acknowledged_after(breaks: impl FnOnce(&Broken)) {
    let folder = tempfile::tempdir().expect("folder");
    let broken = Arc::new(Broken::default());
    let mut storage = open_with(folder.path(), Arc::<Broken>::clone(&broken));
    storage.log.save_vote(&Vote::new(1, 1)).await.expect("vote");
    commit(&mut storage, entries(1, 0..8)).await;
    breaks(&broken);
    let failed = storage.log.blocking_append([entry(1, 8)]).await;
    failed.expect_err("append acknowledged");
    let reason = storage.handle.failed().await;
    *broken.write.lock().expect("lock") = None;
    *broken.fsync.lock().expect("lock") = None;
    let mut refusals = vec![
        storage.log.blocking_append([entry(1, 8)]).await,
        storage.log.save_vote(&Vote::new(2, 2)).await,
        storage.log.save_committed(Some(log_id(1, 8))).await,
        storage.log.truncate(log_id(1, 5)).await,
        storage.log.purge(log_id(1, 5)).await,
        storage.state.apply([entry(1, 8)]).await.map(drop),
    ];
    let mut builder = storage.state.get_snapshot_builder().await;
    refusals.push(
        openraft::RaftSnapshotBuilder::build_snapshot(&mut builder)
            .await
            .map(drop),
    );
    for refused in refusals {
        let refused = refused.expect_err("acknowledged").to_string();
        assert!(refused.contains(&*reason), "{refused}");
    }
    assert!(matches!(
        storage.handle.wait_applied(8).await,
        Err(DbError::Failed(_))
    ));
    storage.handle.close().await.expect_err("not durable");
    let mut storage = open(folder.path());
    let content = content(&mut storage).await;
    assert_eq!(content.vote, Some(Vote::new(1, 1)));
    assert_eq!(content.entries[..8], entries(1, 0..8));
    assert_eq!(content.applied, Some(log_id(1, 7)));
}

#[tokio::test]
async fn a_failed_fsync_stops_the_storage() {
    nothing_is_acknowledged_after(|broken| {
        *broken.fsync.lock().expect("lock") = Some((DiskFile::Database, io::ErrorKind::Other));
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_stops_the_storage() {
    nothing_is_acknowledged_after(|broken| {
        let full = io::ErrorKind::StorageFull;
        *broken.write.lock().expect("lock") = Some((DiskFile::Database, full));
    })
    .await;
}

#[tokio::test]
async fn a_vote_is_not_given_if_it_is_not_durable() {
    let folder = tempfile::tempdir().expect("folder");
    let broken = Arc::new(Broken::default());
    let mut storage = open_with(folder.path(), Arc::<Broken>::clone(&broken));
    *broken.fsync.lock().expect("lock") = Some((DiskFile::Database, io::ErrorKind::Other));
    storage
        .log
        .save_vote(&Vote::new(1, 1))
        .await
        .expect_err("vote given");
    assert_eq!(storage.log.read_vote().await.expect("vote"), None);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_stops_the_storage_and_leaves_the_old_one() {
    for fsync in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let broken = Arc::new(Broken::default());
        let mut storage = open_with(folder.path(), Arc::<Broken>::clone(&broken));
        commit(&mut storage, entries(1, 0..8)).await;
        let old = build_snapshot(&mut storage).await.meta;
        commit(&mut storage, entries(1, 8..9)).await;
        let failing = if fsync { &broken.fsync } else { &broken.write };
        *failing.lock().expect("lock") = Some((DiskFile::Snapshot, io::ErrorKind::StorageFull));
        let mut builder = storage.state.get_snapshot_builder().await;
        let failed = openraft::RaftSnapshotBuilder::build_snapshot(&mut builder).await;
        failed.map(drop).expect_err("snapshot");
        storage.handle.failed().await;
        let _ = storage.handle.close().await;
        assert_eq!(content(&mut open(folder.path())).await.snapshot, Some(old));
    }
}

/// Fills a storage, closes it, and says what it knows.
async fn filled(path: &Path) -> Content {
    let mut storage = open(path);
    storage.log.save_vote(&Vote::new(4, 4)).await.expect("vote");
    for start in (0..300).step_by(30) {
        commit(&mut storage, entries(1, start..start + 30)).await;
    }
    let content = content(&mut storage).await;
    storage.handle.close().await.expect("close");
    content
}

#[tokio::test]
async fn damage_in_the_database_is_never_taken_for_less_data() {
    let folder = tempfile::tempdir().expect("folder");
    let original = folder.path().join("original");
    let before = filled(&original).await;
    let bytes = std::fs::read(original.join("db/db")).expect("database");
    let (mut whole, mut refused) = (0, 0);
    for number in 0..24 {
        let path = folder.path().join(format!("damaged-{number}"));
        copy_directory(&original, &path);
        let mut damaged = bytes.clone();
        let at = damaged.len() * number / 24 + 77;
        for byte in &mut damaged[at..at + 16] {
            *byte ^= 0x55;
        }
        std::fs::write(path.join("db/db"), damaged).expect("write");
        match Storage::open(&path, Arc::new(RealDisk)) {
            Ok(mut storage) => {
                let after = content(&mut storage).await;
                assert_eq!(after.vote, before.vote);
                assert!(after.entries == before.entries, "{number}");
                // It may be an earlier state, from which the log leads on.
                apply_rest(&mut storage).await;
                assert_eq!(content(&mut storage).await.state, before.state);
                storage.handle.close().await.expect("close");
                whole += 1;
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("move the data directory away"), "{text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "{whole} of 24 opened");
}

#[tokio::test]
async fn a_database_that_is_gone_or_cut_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let original = folder.path().join("original");
    filled(&original).await;
    let bytes = std::fs::read(original.join("db/db")).expect("database");
    let gone = folder.path().join("gone");
    copy_directory(&original, &gone);
    std::fs::remove_dir_all(gone.join("db")).expect("remove");
    let refused = refusal(&gone);
    assert!(refused.contains("a vote is lost"), "{refused}");
    assert_eq!(refusal(&gone), refused);
    for (number, length) in [0, 100, bytes.len() / 2].into_iter().enumerate() {
        let path = folder.path().join(format!("cut-{number}"));
        copy_directory(&original, &path);
        std::fs::write(path.join("db/db"), &bytes[..length]).expect("write");
        let refused = refusal(&path);
        assert!(
            refused.contains("move the data directory away"),
            "{refused}"
        );
    }
}

/// What happens to the content of a file.
type Damage = fn(&[u8]) -> Vec<u8>;

#[tokio::test]
async fn damaged_helper_files_of_the_database_are_moved_aside() {
    let folder = tempfile::tempdir().expect("folder");
    let original = folder.path().join("original");
    let before = filled(&original).await;
    // The engine writes its summary when it opens.
    open(&original).handle.close().await.expect("close");
    let summary = std::fs::read_dir(original.join("db"))
        .expect("folder")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .find(|name| name.starts_with("snap."))
        .expect("summary");
    let cut = |content: &[u8]| content[..content.len() / 2].to_vec();
    let garbled = |content: &[u8]| content.iter().map(|byte| byte ^ 0x5a).collect();
    let empty = |_: &[u8]| Vec::new();
    let damages: [Damage; 3] = [cut, garbled, empty];
    let both = [summary.as_str(), "conf"];
    for (number, damage) in damages.into_iter().enumerate() {
        for files in [&both[..1], &both[1..], &both[..]] {
            let path = folder.path().join(format!("{number}-{}", files.concat()));
            copy_directory(&original, &path);
            for file in files {
                let file = path.join("db").join(file);
                let content = std::fs::read(&file).expect("read");
                std::fs::write(&file, damage(&content)).expect("write");
            }
            let mut storage = open(&path);
            assert_eq!(content(&mut storage).await, before, "{}", path.display());
            storage.handle.close().await.expect("close");
            open(&path).handle.close().await.expect("opens again");
        }
    }
}

#[tokio::test]
async fn the_same_directory_is_not_opened_twice() {
    let folder = tempfile::tempdir().expect("folder");
    let storage = open(folder.path());
    let refused = refusal(folder.path());
    assert!(refused.contains("in use by another process"), "{refused}");
    storage.handle.close().await.expect("close");
    open(folder.path());
}
