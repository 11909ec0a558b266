//! The applied state: in memory for readers, on disk so that it need not be replayed.
//!
//! One table a generation, `state-<n>`: record id → record (both of `machine`), and under the key 0
//! the [`Position`]. `meta/generation` names the one in force. A batch holds what some entries
//! changed together with the position after them, so the table is always that of some position. It
//! is not synced: after a loss of power an older position is there, and the log from there on,
//! which is removed only after a sync.
//!
//! A snapshot is installed into a new generation, which one write then puts in force: a crash leaves
//! the old one or the new one, never a mixture.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::db::Tables;
use super::disk::{Disk, Failed, blocking};
use super::error::{DbError, Subject};
use super::hooks::Step;
use super::image_store::{AdoptedSnapshot, ImageStore, SnapshotFile};
use super::log_store::{encode, get, next_index, put};
use super::table::{Batch, Table};
use super::tally::Tally;
use super::types::{
    Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::base::limits::DB_BATCH_BYTES;
use crate::base::snapshot::Published;
use crate::machine::{Change, RecordId, Reply, State};

const GENERATION: &[u8] = b"generation";

/// Ids of records start with another byte.
const POSITION: &[u8] = &[0];

/// The state and where in the log it stands. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What the cluster knows.
    pub state: State,
    /// The last entry that is in it.
    pub last_applied: Option<LogId>,
    /// The members as of that entry.
    pub membership: StoredMembership,
}

/// Where a stored state stands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Position {
    last_applied: Option<LogId>,
    membership: StoredMembership,
    /// The records: tells whether some are lost, or older than they should be.
    tally: Tally,
}

/// Waits for entries to be applied.
#[derive(Clone)]
pub(super) struct AppliedWatch {
    /// The index after the last applied one.
    next: watch::Receiver<u64>,
    failed: watch::Receiver<Failed>,
}

impl AppliedWatch {
    /// Returns when the entry at `index` is in the published state.
    pub(super) async fn wait(&self, index: u64) -> Result<(), DbError> {
        let (mut next, mut failed) = (self.next.clone(), self.failed.clone());
        tokio::select! {
            biased;
            applied = next.wait_for(|next| *next > index) => {
                applied.map(drop).map_err(|_| DbError::Closed)
            }
            reason = failed.wait_for(Option::is_some) => match reason.as_deref() {
                Ok(Some(reason)) => Err(DbError::Failed(Arc::clone(reason))),
                _ => Err(DbError::Closed),
            },
        }
    }
}

/// Where an applied state is published.
#[derive(Clone)]
struct Publisher {
    published: Published<Applied>,
    next: Arc<watch::Sender<u64>>,
}

impl Publisher {
    fn publish(&self, applied: &Applied) {
        self.published.publish(applied.clone());
        self.next.send_replace(next_index(applied.last_applied));
    }
}

/// The state machine. There is one, which Raft owns.
pub struct StateStore {
    disk: Disk,
    images: Arc<ImageStore>,
    publisher: Publisher,
    generation: u64,
    /// Of the stored state.
    tally: Tally,
    /// Whether Raft's own rules are checked.
    strict: bool,
}

/// What [`load`] finds.
pub(super) struct LoadedState {
    pub(super) applied: Applied,
    generation: u64,
    tally: Tally,
}

/// Reads the state in force and checks it; removes other generations.
pub(super) fn load(tables: &Tables) -> Result<LoadedState, DbError> {
    let generation = get(&tables.meta, GENERATION, "the generation of the state")?.unwrap_or(0);
    for other in tables.state_generations() {
        if other != generation {
            tables.drop_state(other)?;
        }
    }
    let mut position = Position::default();
    let mut state = State::default();
    let mut tally = Tally::default();
    let table = tables.state(generation)?;
    for stored in table.scan_all() {
        let (id, value) = stored?;
        if id == POSITION {
            let decoded = crate::machine::codec::decode(&value);
            position = decoded.map_err(DbError::codec("the position of the state"))?;
        } else {
            let loaded = state.load(&id, &value);
            loaded.map_err(DbError::codec("a record of the state"))?;
            tally.add(&id, &value);
        }
    }
    if tally != position.tally {
        return Err(DbError::Damaged(format!(
            "the state is incomplete, {tally:?} instead of {:?}",
            position.tally
        )));
    }
    let applied = Applied {
        state,
        last_applied: position.last_applied,
        membership: position.membership,
    };
    Ok(LoadedState {
        applied,
        generation,
        tally,
    })
}

impl StateStore {
    pub(super) fn new(disk: Disk, images: Arc<ImageStore>, loaded: LoadedState) -> Self {
        let publisher = Publisher {
            next: Arc::new(watch::Sender::new(next_index(loaded.applied.last_applied))),
            published: Published::new(loaded.applied),
        };
        Self {
            disk,
            images,
            publisher,
            generation: loaded.generation,
            tally: loaded.tally,
            strict: true,
        }
    }

    /// For openraft's test suite, which leaves out entries as Raft never does.
    #[cfg(test)]
    pub(super) fn lenient(self) -> Self {
        Self {
            strict: false,
            ..self
        }
    }

    pub(super) fn published(&self) -> Published<Applied> {
        self.publisher.published.clone()
    }

    pub(super) fn watch(&self) -> AppliedWatch {
        AppliedWatch {
            next: self.publisher.next.subscribe(),
            failed: self.disk.failed(),
        }
    }

    async fn apply_entries(&mut self, entries: Vec<Entry>) -> Result<Vec<Reply>, DbError> {
        if self.strict {
            check_continues(self.publisher.published.load().last_applied, &entries)?;
        }
        let (generation, tally) = (self.generation, self.tally);
        let (publisher, disk) = (self.publisher.clone(), self.disk.clone());
        let (replies, tally) = self
            .disk
            .write_aside("apply log entries", move |tables| {
                let mut writer = StateWriter {
                    table: tables.state(generation)?,
                    applied: Applied::clone(&publisher.published.load()),
                    changes: BTreeMap::new(),
                    bytes: 0,
                    tally,
                };
                let mut replies = Vec::with_capacity(entries.len());
                for entry in entries {
                    replies.push(writer.apply(entry));
                    if writer.bytes >= DB_BATCH_BYTES {
                        writer.store()?;
                        publisher.publish(&writer.applied);
                    }
                }
                writer.store()?;
                disk.reached(Step::Applied);
                publisher.publish(&writer.applied);
                Ok((replies, writer.tally))
            })
            .await?;
        self.tally = tally;
        Ok(replies)
    }

    async fn install(&mut self, meta: SnapshotMeta, file: SnapshotFile) -> Result<(), DbError> {
        self.disk.ensure_healthy()?;
        let here = self.publisher.published.load().last_applied;
        if next_index(meta.last_log_id) < next_index(here) {
            return Err(DbError::SnapshotRefused(
                "it is older than the state".to_owned(),
            ));
        }
        let images = Arc::clone(&self.images);
        let (applied, adopted) = blocking("read a snapshot", move || {
            let state = file.load(&meta)?;
            let adopted = images.adopt(&file, &meta)?;
            let applied = Applied {
                state,
                last_applied: meta.last_log_id,
                membership: meta.last_membership,
            };
            Ok((applied, adopted))
        })
        .await?;
        self.put_in_force(applied).await?;
        self.drop_others(adopted).await
    }

    /// Stores `applied` as a new generation, and publishes it.
    async fn put_in_force(&mut self, applied: Applied) -> Result<(), DbError> {
        let generation = self.generation + 1;
        let stored = applied.clone();
        let tally = self
            .disk
            .write_aside("install a snapshot", move |tables| {
                // A crash may have left something there since the last start.
                tables.drop_state(generation)?;
                store_all(&tables.state(generation)?, &stored)
            })
            .await?;
        self.disk.reached(Step::InstallTreeWritten);
        self.disk.barrier().await?;
        self.disk.reached(Step::InstallTreeSynced);
        let encoded = encode("the generation of the state", &generation)?;
        let disk = self.disk.clone();
        self.disk
            .write_durably(move |tables| {
                put(&tables.meta, GENERATION, &encoded)?;
                disk.reached(Step::InstallFlipped);
                Ok(())
            })
            .await?;
        self.disk.reached(Step::InstallFlipSynced);
        self.generation = generation;
        self.tally = tally;
        self.publisher.publish(&applied);
        Ok(())
    }

    /// Removes the generation and the snapshots that have been replaced.
    async fn drop_others(&self, adopted: AdoptedSnapshot) -> Result<(), DbError> {
        let (images, old) = (Arc::clone(&self.images), self.generation - 1);
        self.disk
            .write_aside("remove the old state", move |tables| {
                images.replace_all(&adopted)?;
                tables.drop_state(old)
            })
            .await?;
        self.disk.reached(Step::InstallOldDropped);
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateStore {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let applied = self.publisher.published.load_full();
        Ok((applied.last_applied, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Reply>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        let replies = self.apply_entries(entries).await;
        replies.map_err(Subject::WriteState.failed())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            disk: self.disk.clone(),
            images: Arc::clone(&self.images),
            applied: self.publisher.published.load_full(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        let images = Arc::clone(&self.images);
        let file = blocking("receive a snapshot", move || images.receive()).await;
        file.map(Box::new).map_err(Subject::WriteSnapshot.failed())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<SnapshotFile>,
    ) -> Result<(), StorageError> {
        let installed = self.install(meta.clone(), *snapshot).await;
        installed.map_err(Subject::WriteSnapshot.failed())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        Ok(self.images.current())
    }
}

/// Writes a snapshot of the state as it was when this was made.
pub struct SnapshotBuilder {
    disk: Disk,
    images: Arc<ImageStore>,
    applied: Arc<Applied>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (images, applied) = (Arc::clone(&self.images), Arc::clone(&self.applied));
        let healthy = self.disk.ensure_healthy();
        let built = match healthy {
            Ok(()) => blocking("write a snapshot", move || images.build(&applied)).await,
            Err(error) => Err(error),
        };
        built
            .inspect_err(|error| self.disk.fail(error))
            .map_err(Subject::WriteSnapshot.failed())
    }
}

/// Applies entries, and collects what is to be stored for them.
struct StateWriter {
    table: Table,
    applied: Applied,
    changes: BTreeMap<RecordId, Option<Vec<u8>>>,
    /// About how much [`Self::changes`] hold.
    bytes: usize,
    tally: Tally,
}

impl StateWriter {
    fn apply(&mut self, entry: Entry) -> Reply {
        let applied = &mut self.applied;
        applied.last_applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Reply::default(),
            EntryPayload::Normal(command) => {
                let (outcomes, changes) = applied.state.apply(&command);
                for Change { id, value } in changes {
                    self.bytes += id.name.len() + value.as_ref().map_or(0, Vec::len);
                    self.changes.insert(id, value);
                }
                Reply(outcomes)
            }
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                Reply::default()
            }
        }
    }

    /// Stores everything up to the last applied entry.
    fn store(&mut self) -> Result<(), DbError> {
        let mut batch = Batch::default();
        for (id, value) in std::mem::take(&mut self.changes) {
            let id = id.to_bytes();
            if let Some(old) = self.table.get(&id)? {
                self.tally.subtract(&id, &old);
            }
            match value {
                Some(value) => {
                    batch.put(&self.table, &id, &value)?;
                    self.tally.add(&id, &value);
                }
                None => batch.remove(&self.table, &id)?,
            }
        }
        self.bytes = 0;
        put_position(&mut batch, &self.table, &self.applied, self.tally)?;
        self.table.apply(batch)
    }
}

/// Whether `entries` follow each other, and `last`.
fn check_continues(last: Option<LogId>, entries: &[Entry]) -> Result<(), DbError> {
    for (next, entry) in (next_index(last)..).zip(entries) {
        if entry.log_id.index != next {
            return Err(DbError::Contradiction(format!(
                "entry {} is to be applied instead of the one at {next}",
                entry.log_id
            )));
        }
    }
    Ok(())
}

/// Fills an empty table with `applied`, the position last. Gives the tally.
fn store_all(table: &Table, applied: &Applied) -> Result<Tally, DbError> {
    let mut batch = Batch::default();
    let mut tally = Tally::default();
    for (id, value) in applied.state.records() {
        let id = id.to_bytes();
        batch.put(table, &id, &value)?;
        tally.add(&id, &value);
        if batch.bytes() >= DB_BATCH_BYTES {
            table.apply(std::mem::take(&mut batch))?;
        }
    }
    put_position(&mut batch, table, applied, tally)?;
    table.apply(batch)?;
    Ok(tally)
}

fn put_position(
    batch: &mut Batch,
    table: &Table,
    applied: &Applied,
    tally: Tally,
) -> Result<(), DbError> {
    let position = Position {
        last_applied: applied.last_applied,
        membership: applied.membership.clone(),
        tally,
    };
    let encoded = encode("the position of the state", &position)?;
    batch.put(table, POSITION, &encoded)?;
    Ok(())
}
