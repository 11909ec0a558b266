//! A crash at every step: the directory is copied at each, and every copy must open with all that
//! was acknowledged until then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use openraft::StorageHelper;

use super::*;
use crate::machine::State;

/// Copies a directory as a crash at this moment would leave it.
pub(super) fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("folder") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// What the storage has said yes to.
#[derive(Clone, Default, Debug)]
struct Acknowledged {
    vote: Option<Vote>,
    last: Option<LogId>,
    /// Up to it the state must be, or the log must have the entries.
    applied: u64,
}

/// Copies the directory at every step.
struct Crashes {
    from: PathBuf,
    to: PathBuf,
    acknowledged: Mutex<Acknowledged>,
    copies: Mutex<Vec<(Step, PathBuf, Acknowledged)>>,
}

impl DiskHooks for Crashes {
    fn reached(&self, step: Step) {
        let mut copies = self.copies.lock().expect("lock");
        let path = self.to.join(format!("{}-{step:?}", copies.len()));
        copy_directory(&self.from, &path);
        let acknowledged = self.acknowledged.lock().expect("lock").clone();
        copies.push((step, path, acknowledged));
    }
}

impl Crashes {
    fn new(folder: &Path) -> Arc<Self> {
        let from = folder.join("node");
        drop(DataDir::open(&from).expect("new"));
        Arc::new(Self {
            from,
            to: folder.join("copies"),
            acknowledged: Mutex::default(),
            copies: Mutex::default(),
        })
    }

    fn acknowledge(&self, change: impl FnOnce(&mut Acknowledged)) {
        change(&mut self.acknowledged.lock().expect("lock"));
    }

    async fn append(&self, storage: &mut Storage, entries: Vec<Entry>) {
        let last = entries.last().map(|entry| entry.log_id);
        storage.log.blocking_append(entries).await.expect("append");
        self.acknowledge(|acknowledged| acknowledged.last = last);
    }

    async fn commit(&self, storage: &mut Storage, entries: Vec<Entry>) {
        let end = entries.last().expect("entries").log_id;
        self.append(storage, entries).await;
        storage
            .log
            .save_committed(Some(end))
            .await
            .expect("committed");
        apply_rest(storage).await;
        self.acknowledge(|acknowledged| acknowledged.applied = end.index + 1);
    }
}

/// The state after each entry of the final log, by the number of entries.
fn states(log: &[Entry]) -> BTreeMap<u64, State> {
    let mut state = State::default();
    let mut states = BTreeMap::from([(0, state.clone())]);
    for entry in log {
        if let EntryPayload::Normal(command) = &entry.payload {
            state.apply(command);
        }
        states.insert(entry.log_id.index + 1, state.clone());
    }
    states
}

fn next(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index + 1)
}

/// Opens what a crash left, and lets openraft start on it.
async fn check(path: &Path, acknowledged: &Acknowledged, states: &BTreeMap<u64, State>) {
    let mut storage = open(path);
    let found = content(&mut storage).await;
    let context = format!("{}: {acknowledged:?}", path.display());
    assert!(found.vote >= acknowledged.vote, "{context}");
    assert!(
        found.last.max(found.applied) >= acknowledged.last,
        "{context}"
    );
    assert_eq!(&found.state, &states[&next(found.applied)], "{context}");
    assert!(next(found.purged) <= next(found.applied), "{context}");
    assert!(
        next(found.last.max(found.applied)) >= acknowledged.applied,
        "{context}"
    );
    let initial = StorageHelper::new(&mut storage.log, &mut storage.state)
        .get_initial_state()
        .await;
    initial.map(drop).expect(&context);
    let started = content(&mut storage).await;
    assert_eq!(&started.state, &states[&next(started.applied)], "{context}");
    assert!(next(started.snapshot.and_then(|meta| meta.last_log_id)) <= next(started.applied));
    storage.handle.close().await.expect("close");
    let mut again = open(path);
    assert_eq!(
        content(&mut again).await.applied,
        started.applied,
        "{context}"
    );
    again.handle.close().await.expect("close");
}

/// Checks all copies. At least the `steps` must have been reached.
async fn check_all(crashes: &Crashes, states: &BTreeMap<u64, State>, steps: &[Step]) {
    let copies = std::mem::take(&mut *crashes.copies.lock().expect("lock"));
    for step in steps {
        assert!(
            copies.iter().any(|(reached, ..)| reached == step),
            "{step:?}"
        );
    }
    for (_, path, acknowledged) in copies {
        check(&path, &acknowledged, states).await;
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_the_log_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().expect("folder");
    let crashes = Crashes::new(folder.path());
    let mut storage = open_with(&crashes.from, Arc::<Crashes>::clone(&crashes));
    storage.log.save_vote(&Vote::new(1, 1)).await.expect("vote");
    crashes.acknowledge(|acknowledged| acknowledged.vote = Some(Vote::new(1, 1)));
    crashes.commit(&mut storage, entries(1, 0..20)).await;
    crashes.append(&mut storage, entries(1, 20..30)).await;
    storage.log.save_vote(&Vote::new(2, 2)).await.expect("vote");
    crashes.acknowledge(|acknowledged| {
        acknowledged.vote = Some(Vote::new(2, 2));
        acknowledged.last = Some(log_id(1, 22));
    });
    storage.log.truncate(log_id(1, 23)).await.expect("truncate");
    crashes.commit(&mut storage, entries(2, 23..40)).await;
    build_snapshot(&mut storage).await;
    storage.log.purge(log_id(2, 35)).await.expect("purge");
    crashes.commit(&mut storage, entries(2, 40..50)).await;
    build_snapshot(&mut storage).await;
    storage.log.purge(log_id(2, 49)).await.expect("purge");
    let log = [entries(1, 0..23), entries(2, 23..50)].concat();
    let steps = [
        Step::EntriesWritten,
        Step::EntriesSynced,
        Step::VoteWritten,
        Step::VoteSynced,
        Step::Truncated,
        Step::PurgeSynced,
        Step::PurgeMarked,
        Step::PurgeHalfRemoved,
        Step::PurgeRemoved,
        Step::Applied,
        Step::SnapshotWritten,
        Step::SnapshotSynced,
        Step::SnapshotRenamed,
        Step::SnapshotStored,
    ];
    check_all(&crashes, &states(&log), &steps).await;
}

/// A snapshot at 99 comes over a log that ends before or is another one.
async fn crash_at_any_step_of_an_installation(own: Vec<Entry>, uncommitted: Vec<Entry>) {
    let folder = tempfile::tempdir().expect("folder");
    let mut leader = open(&folder.path().join("leader"));
    commit(&mut leader, entries(2, 0..100)).await;
    let snapshot = build_snapshot(&mut leader).await;
    let crashes = Crashes::new(folder.path());
    let mut storage = open_with(&crashes.from, Arc::<Crashes>::clone(&crashes));
    if !own.is_empty() {
        crashes.commit(&mut storage, own).await;
        build_snapshot(&mut storage).await;
    }
    if !uncommitted.is_empty() {
        crashes.append(&mut storage, uncommitted).await;
    }
    // What a later leader overrides was never committed.
    crashes.acknowledge(|acknowledged| acknowledged.last = None);
    let installed = storage
        .state
        .install_snapshot(&snapshot.meta, snapshot.snapshot.clone())
        .await;
    installed.expect("install");
    storage.log.purge(log_id(2, 99)).await.expect("purge");
    crashes.acknowledge(|acknowledged| {
        acknowledged.last = Some(log_id(2, 99));
        acknowledged.applied = 100;
    });
    crashes.commit(&mut storage, entries(4, 100..105)).await;
    let steps = [
        Step::SnapshotStored,
        Step::InstallTreeWritten,
        Step::InstallTreeSynced,
        Step::InstallFlipped,
        Step::InstallFlipSynced,
        Step::InstallOldDropped,
        Step::PurgeMarked,
        Step::PurgeRemoved,
    ];
    let log = [entries(2, 0..100), entries(4, 100..105)].concat();
    check_all(&crashes, &states(&log), &steps).await;
}

#[tokio::test]
async fn a_crash_at_any_step_of_an_installation_leaves_the_old_or_the_new_state() {
    crash_at_any_step_of_an_installation(entries(2, 0..30), Vec::new()).await;
}

#[tokio::test]
async fn a_crash_while_a_new_node_installs_its_first_snapshot() {
    crash_at_any_step_of_an_installation(Vec::new(), Vec::new()).await;
}

/// The entries that are thrown away are of a later term than the snapshot.
#[tokio::test]
async fn a_crash_while_a_snapshot_replaces_entries_that_never_were_committed() {
    crash_at_any_step_of_an_installation(entries(2, 0..30), entries(3, 30..40)).await;
}
