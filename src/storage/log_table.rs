//! The tables of the log: how entries and positions are stored, and what is checked when they are
//! read for the first time.
//!
//! Table `log`: index (8, big endian) → entry. Table `meta`: `vote`, `committed`, `purged`, each in
//! the encoding of `machine::codec`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::Tables;
use super::error::DbError;
use super::table::{Batch, Table};
use super::types::{Entry, LogId, Vote};
use super::witness::{Promise, Witness};
use crate::base::limits::LOG_REMOVE_BATCH;
use crate::machine::codec;

pub(super) const VOTE: &[u8] = b"vote";
pub(super) const COMMITTED: &[u8] = b"committed";
pub(super) const PURGED: &[u8] = b"purged";

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
    /// What a node remembers that has these.
    pub(super) fn promise(&self) -> Promise {
        Promise {
            vote: self.vote,
            last: self.last,
        }
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
pub(super) fn check_continues(last: Option<LogId>, entries: &[Entry]) -> Result<(), DbError> {
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
pub(super) fn remove_oldest(log: &Table, end: u64) -> Result<bool, DbError> {
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
pub(super) fn remove_newest(log: &Table, start: u64, newest: u64) -> Result<(), DbError> {
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

pub(super) fn parse_index(key: &[u8]) -> Result<u64, DbError> {
    let index = key.try_into().map(u64::from_be_bytes);
    index.map_err(|_| DbError::Damaged("an entry of the log has no index".to_owned()))
}

pub(super) fn parse_entry(key: &[u8], value: &[u8]) -> Result<Entry, DbError> {
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
