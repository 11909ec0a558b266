//! The Raft log and the vote.
//!
//! Table `log`: index (8, big endian) → entry. Table `meta`: `vote`, `committed`, `purged`, each in
//! the encoding of `machine::codec`.
//!
//! All changes go through the disk thread in their order, see `storage::disk`. An entry or a vote is
//! acknowledged after the fsync that follows it. There is never a hole: entries are appended by one
//! batch, removed from the end newest first, and from the start oldest first, after the position up
//! to which they are void has been written.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::Tables;
use super::disk::Disk;
use super::error::{DbError, Subject};
use super::hooks::Step;
use super::state_store::AppliedWatch;
use super::table::{Batch, Table};
use super::types::{Entry, LogId, StorageError, TypeConfig, Vote};
use super::witness::{Promise, Witness};
use crate::base::limits::{LOG_READ_BYTES, LOG_REMOVE_BATCH};
use crate::machine::codec;

const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";

/// The positions of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Heads {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last entry, or [`Self::purged`] if there is none.
    pub(super) last: Option<LogId>,
}

impl Heads {
    fn promise(&self) -> Promise {
        Promise {
            vote: self.vote,
            last: self.last,
        }
    }
}

/// The log. There is one, which Raft owns.
pub struct LogStore {
    disk: Disk,
    witness: Arc<Witness>,
    heads: Heads,
    applied: AppliedWatch,
    /// Whether Raft's own rules are checked.
    strict: bool,
    /// The index after [`Heads::purged`], shared with the readers.
    first: Arc<AtomicU64>,
}

/// Reads the log beside its owner.
#[derive(Clone)]
pub struct LogReader {
    disk: Disk,
    first: Arc<AtomicU64>,
}

impl LogStore {
    pub(super) fn new(disk: Disk, witness: Witness, heads: Heads, applied: AppliedWatch) -> Self {
        Self {
            disk,
            witness: Arc::new(witness),
            heads,
            applied,
            strict: true,
            first: Arc::new(AtomicU64::new(next_index(heads.purged))),
        }
    }

    /// For openraft's test suite, which does what Raft never does: it removes entries that no state
    /// has applied, and appends some before others.
    #[cfg(test)]
    pub(super) fn lenient(self) -> Self {
        Self {
            strict: false,
            ..self
        }
    }

    fn reader(&self) -> LogReader {
        LogReader {
            disk: self.disk.clone(),
            first: Arc::clone(&self.first),
        }
    }

    /// What is done when a write of `heads` has become durable.
    fn promised(
        &self,
        heads: Heads,
        step: Step,
    ) -> impl FnOnce(Result<(), DbError>) -> Result<(), DbError> + Send + 'static {
        let (disk, witness) = (self.disk.clone(), Arc::clone(&self.witness));
        move |outcome| {
            outcome?;
            disk.reached(step);
            let raised = witness.raise(&heads.promise());
            raised.inspect_err(|error| disk.fail(error))
        }
    }

    async fn append_entries(
        &mut self,
        entries: Vec<Entry>,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), DbError> {
        let Some(last) = entries.last() else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        self.disk.ensure_healthy()?;
        if self.strict {
            check_continues(self.heads.last, &entries)?;
        }
        let heads = Heads {
            last: self.heads.last.max(Some(last.log_id)),
            ..self.heads
        };
        let mut encoded = Vec::with_capacity(entries.len());
        for entry in &entries {
            encoded.push((entry.log_id.index, encode("a log entry", entry)?));
        }
        let promised = self.promised(heads, Step::EntriesSynced);
        let disk = self.disk.clone();
        self.disk
            .write_then(
                move |tables| {
                    let mut batch = Batch::default();
                    for (index, entry) in encoded {
                        batch.put(&tables.log, &index.to_be_bytes(), &entry)?;
                    }
                    tables.log.apply(batch)?;
                    disk.reached(Step::EntriesWritten);
                    Ok(())
                },
                move |outcome| {
                    callback.log_io_completed(promised(outcome).map_err(io::Error::other));
                },
            )
            .await?;
        self.heads = heads;
        Ok(())
    }

    async fn store_vote(&mut self, vote: Vote) -> Result<(), DbError> {
        let heads = Heads {
            vote: Some(vote),
            ..self.heads
        };
        let encoded = encode("the vote", &vote)?;
        let disk = self.disk.clone();
        let work = move |tables: &Tables| {
            put(&tables.meta, VOTE, &encoded)?;
            disk.reached(Step::VoteWritten);
            Ok(())
        };
        let promised = self.promised(heads, Step::VoteSynced);
        self.disk.write_durably_then(work, promised).await?;
        self.heads = heads;
        Ok(())
    }

    /// Removes the entry `start` and all after it.
    async fn remove_from(&mut self, start: LogId) -> Result<(), DbError> {
        let Some(newest) = self.heads.last.filter(|last| last.index >= start.index) else {
            return Ok(());
        };
        let last = match start.index.checked_sub(1) {
            Some(index) if index >= self.first.load(Ordering::Acquire) => {
                let entry = self.reader().entry_at(index).await?;
                entry.map(|entry| entry.log_id)
            }
            _ => self.heads.purged,
        };
        let heads = Heads { last, ..self.heads };
        let witness = Arc::clone(&self.witness);
        self.disk
            .write_durably(move |tables| {
                witness.lower(&heads.promise())?;
                remove_newest(&tables.log, start.index, newest.index)
            })
            .await?;
        self.heads = heads;
        self.disk.reached(Step::Truncated);
        Ok(())
    }

    /// Removes entries up to `end`, which the state covers durably by then.
    async fn remove_up_to(&mut self, end: LogId) -> Result<(), DbError> {
        if next_index(self.heads.purged) > end.index {
            return Ok(());
        }
        // Raft asks for it right after it has told the state to install a snapshot, not when that
        // is done. Entries that are removed before would be in neither after a crash.
        if self.strict {
            self.applied.wait(end.index).await?;
        }
        self.disk.barrier().await?;
        self.disk.reached(Step::PurgeSynced);
        self.mark_purged(end).await?;
        self.disk.reached(Step::PurgeMarked);
        let disk = self.disk.clone();
        self.disk
            .write(move |tables| {
                while remove_oldest(&tables.log, end.index)? {
                    disk.reached(Step::PurgeHalfRemoved);
                }
                Ok(())
            })
            .await?;
        self.disk.reached(Step::PurgeRemoved);
        Ok(())
    }

    async fn mark_purged(&mut self, end: LogId) -> Result<(), DbError> {
        let mut heads = Heads {
            purged: Some(end),
            ..self.heads
        };
        let covers_all = next_index(heads.last) <= next_index(heads.purged);
        if covers_all {
            heads.last = heads.purged;
        }
        let encoded = encode("the purged position", &end)?;
        let witness = Arc::clone(&self.witness);
        self.disk
            .write(move |tables| {
                // The last entry may have been one of a later leader that never was committed.
                if covers_all {
                    witness.lower(&heads.promise())?;
                }
                put(&tables.meta, PURGED, &encoded)
            })
            .await?;
        self.first
            .store(next_index(heads.purged), Ordering::Release);
        self.heads = heads;
        Ok(())
    }
}

impl LogReader {
    /// Entries from `start` until before `end`, at most as many as exceed `bytes_max`.
    async fn entries(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, DbError> {
        let start = start.max(self.first.load(Ordering::Acquire));
        if start >= end {
            return Ok(Vec::new());
        }
        self.disk
            .read("read the log", move |tables| {
                let mut entries = Vec::new();
                let mut bytes = 0;
                for stored in tables.log.scan(&start.to_be_bytes())? {
                    let (key, value) = stored?;
                    if bytes > bytes_max || parse_index(&key)? >= end {
                        break;
                    }
                    bytes += value.len();
                    entries.push(parse_entry(&key, &value)?);
                }
                Ok(entries)
            })
            .await
    }

    async fn entry_at(&self, index: u64) -> Result<Option<Entry>, DbError> {
        let mut found = self.entries(index, index.saturating_add(1), 0).await?;
        Ok(found.pop())
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = bounds(&range);
        let entries = self.entries(start, end, usize::MAX).await;
        entries.map_err(Subject::ReadLog.failed())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let entries = self.entries(start, end, LOG_READ_BYTES).await;
        entries.map_err(Subject::ReadLog.failed())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader().try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.reader().limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        Ok(LogState {
            last_purged_log_id: self.heads.purged,
            last_log_id: self.heads.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.reader()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let stored = self.store_vote(*vote).await;
        stored.map_err(Subject::WriteVote.failed())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.heads.vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let stored = match encode("the committed position", &committed) {
            Ok(encoded) => {
                let work = move |tables: &Tables| put(&tables.meta, COMMITTED, &encoded);
                self.disk.write(work).await
            }
            Err(error) => Err(error),
        };
        stored.map_err(Subject::WriteLog.failed())?;
        self.heads.committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.heads.committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        let appended = self.append_entries(entries, callback).await;
        appended.map_err(Subject::WriteLog.failed())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let removed = self.remove_from(log_id).await;
        removed.map_err(Subject::WriteLog.failed())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let removed = self.remove_up_to(log_id).await;
        removed.map_err(Subject::WriteLog.failed())
    }
}

/// Reads the positions and checks them against each other, every entry, and the promise that
/// `witness` has seen. `applied` is the position of the state.
pub(super) fn load(
    tables: &Tables,
    applied: Option<LogId>,
    witness: &Witness,
) -> Result<Heads, DbError> {
    let vote = get(&tables.meta, VOTE, "the vote")?;
    let newest = newest_entry(&tables.log)?;
    let mut purged: Option<LogId> = get(&tables.meta, PURGED, "the purged position")?;
    witness.check(&Promise {
        vote,
        last: newest.max(purged).max(applied),
    })?;
    if next_index(purged) > next_index(applied) {
        return Err(DbError::Damaged(format!(
            "the log is removed up to {}, but the state ends before",
            purged.unwrap_or_default()
        )));
    }
    // A crash came after a snapshot was installed, and before the log it replaces was removed.
    if next_index(applied) > next_index(newest).max(next_index(purged)) {
        witness.lower(&Promise {
            vote,
            last: applied,
        })?;
        purged = applied;
        let encoded = encode("the purged position", &applied.unwrap_or_default())?;
        put(&tables.meta, PURGED, &encoded)?;
    }
    finish_purge(&tables.log, purged)?;
    let mut last = purged;
    for stored in tables.log.scan_all() {
        let (key, value) = stored?;
        let entry = parse_entry(&key, &value)?.log_id;
        if !follows(last, entry) || (last.is_none() && entry.index > 0) {
            return Err(DbError::Damaged(hole(last, entry)));
        }
        if applied.is_some_and(|applied| applied.index == entry.index && applied != entry) {
            return Err(DbError::Damaged(format!(
                "the state has applied another entry than {entry}"
            )));
        }
        last = Some(entry);
    }
    let committed = get::<Option<LogId>>(&tables.meta, COMMITTED, "the committed position")?;
    let committed = committed.flatten();
    if next_index(committed) > next_index(last).max(next_index(applied)) {
        return Err(DbError::Damaged(format!(
            "{} is known to be committed, but is not in the log",
            committed.unwrap_or_default()
        )));
    }
    Ok(Heads {
        vote,
        committed,
        purged,
        last,
    })
}

fn newest_entry(log: &Table) -> Result<Option<LogId>, DbError> {
    let Some(key) = log.last_key()? else {
        return Ok(None);
    };
    let value = log.get(&key)?.unwrap_or_default();
    Ok(Some(parse_entry(&key, &value)?.log_id))
}

/// Finishes a removal that a crash interrupted.
fn finish_purge(log: &Table, purged: Option<LogId>) -> Result<(), DbError> {
    if let Some(purged) = purged {
        while remove_oldest(log, purged.index)? {}
    }
    Ok(())
}

/// Whether `entries` follow each other, and `last`. An empty log may start anywhere.
fn check_continues(last: Option<LogId>, entries: &[Entry]) -> Result<(), DbError> {
    let mut last = last;
    for entry in entries {
        let next = entry.log_id;
        if !follows(last, next) {
            return Err(DbError::Contradiction(hole(last, next)));
        }
        last = Some(next);
    }
    Ok(())
}

fn follows(last: Option<LogId>, next: LogId) -> bool {
    last.is_none_or(|last| {
        last.index.checked_add(1) == Some(next.index) && last.leader_id <= next.leader_id
    })
}

fn hole(last: Option<LogId>, next: LogId) -> String {
    let last = last.map_or("the start of the log".to_owned(), |last| last.to_string());
    format!("entry {next} does not follow {last}")
}

/// Removes some entries up to `end`, the oldest first. False if there was none.
fn remove_oldest(log: &Table, end: u64) -> Result<bool, DbError> {
    let mut batch = Batch::default();
    let mut any = false;
    for stored in log.scan_all().take(LOG_REMOVE_BATCH) {
        let (key, _) = stored?;
        if parse_index(&key)? > end {
            break;
        }
        batch.remove(log, &key)?;
        any = true;
    }
    log.apply(batch)?;
    Ok(any)
}

/// Removes the entries from `start` to `newest`, the newest first.
fn remove_newest(log: &Table, start: u64, newest: u64) -> Result<(), DbError> {
    let mut batch = Batch::default();
    let mut removed = 0;
    for index in (start..=newest).rev() {
        batch.remove(log, &index.to_be_bytes())?;
        removed += 1;
        if removed == LOG_REMOVE_BATCH {
            log.apply(std::mem::take(&mut batch))?;
            removed = 0;
        }
    }
    log.apply(batch)
}

pub(super) fn next_index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index.saturating_add(1))
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn parse_index(key: &[u8]) -> Result<u64, DbError> {
    let index = key.try_into().map(u64::from_be_bytes);
    index.map_err(|_| DbError::Damaged("an entry of the log has no index".to_owned()))
}

fn parse_entry(key: &[u8], value: &[u8]) -> Result<Entry, DbError> {
    let entry: Entry = codec::decode(value).map_err(DbError::codec("a log entry"))?;
    match entry.log_id.index == parse_index(key)? {
        true => Ok(entry),
        false => Err(DbError::Damaged(format!(
            "entry {} is stored under another index",
            entry.log_id
        ))),
    }
}

pub(super) fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, DbError> {
    codec::encode(value).map_err(DbError::codec(what))
}

pub(super) fn get<T: DeserializeOwned>(
    table: &Table,
    key: &[u8],
    what: &'static str,
) -> Result<Option<T>, DbError> {
    let stored = table.get(key)?;
    let value = stored.map(|value| codec::decode(&value)).transpose();
    value.map_err(DbError::codec(what))
}

pub(super) fn put(table: &Table, key: &[u8], value: &[u8]) -> Result<(), DbError> {
    let mut batch = Batch::default();
    batch.put(table, key, value)?;
    table.apply(batch)
}
