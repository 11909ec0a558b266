//! One ordered map of the database: keys to values of any length.
//!
//! The engine must be given small values only ([`DB_VALUE_BYTES_MAX`] says why), so a value is
//! stored in parts, all of them written by one atomic batch:
//!
//! ```text
//! key   = length of the user's key (2, big endian) ‖ user's key ‖ number of the part (2, big endian)
//! value = how many parts there are (2, big endian) ‖ bytes of the part
//! ```
//!
//! Keys of equal length sort as the user's keys do, and all parts of one value stand together.

use super::error::DbError;
use crate::base::limits::{DB_VALUE_BYTES_MAX, ENCODED_BYTES_MAX};

/// Bytes in front of the content of each part.
const PART_HEADER_BYTES: usize = 2;

/// Content of one part.
const PART_BYTES_MAX: usize = DB_VALUE_BYTES_MAX - PART_HEADER_BYTES;

/// A table. Clones are the same table.
#[derive(Clone)]
pub(super) struct Table {
    name: String,
    tree: sled::Tree,
}

/// Changes to one table that happen as a whole or not at all. At most one change per key.
#[derive(Default)]
pub(super) struct Batch {
    inner: sled::Batch,
    bytes: usize,
}

impl Table {
    pub(super) fn new(name: &str, tree: sled::Tree) -> Self {
        Self {
            name: name.to_owned(),
            tree,
        }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        match self.scan(key)?.next() {
            Some(Ok((found, value))) if found == key => Ok(Some(value)),
            Some(Err(error)) => Err(error),
            _ => Ok(None),
        }
    }

    /// Keys and values from `start` on. Keys have the length of `start`, or are longer.
    pub(super) fn scan(&self, start: &[u8]) -> Result<Scan, DbError> {
        let start = stored_key(start, 0)?;
        Ok(Scan {
            table: self.name.clone(),
            parts: self.tree.range(start..),
        })
    }

    /// All keys and values.
    pub(super) fn scan_all(&self) -> Scan {
        Scan {
            table: self.name.clone(),
            parts: self.tree.iter(),
        }
    }

    /// The greatest key, if all have the same length.
    pub(super) fn last_key(&self) -> Result<Option<Vec<u8>>, DbError> {
        match self.tree.last()? {
            Some((stored, _)) => Ok(Some(parse_key(&self.name, &stored)?.0.to_vec())),
            None => Ok(None),
        }
    }

    /// Performs `batch`.
    pub(super) fn apply(&self, batch: Batch) -> Result<(), DbError> {
        Ok(self.tree.apply_batch(batch.inner)?)
    }

    /// How many parts the stored value of `key` has.
    fn parts_of(&self, key: &[u8]) -> Result<u16, DbError> {
        match self.tree.get(stored_key(key, 0)?)? {
            Some(part) => Ok(parse_part(&self.name, &part)?.0),
            None => Ok(0),
        }
    }
}

impl Batch {
    /// Sets the value of `key`.
    pub(super) fn put(&mut self, table: &Table, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        if value.len() > ENCODED_BYTES_MAX {
            return Err(DbError::TooLarge { bytes: value.len() });
        }
        let count = value.len().div_ceil(PART_BYTES_MAX).max(1);
        let count = u16::try_from(count).map_err(|_| DbError::TooLarge { bytes: value.len() })?;
        for number in 0..count {
            let start = usize::from(number) * PART_BYTES_MAX;
            let content = &value[start..value.len().min(start + PART_BYTES_MAX)];
            let mut part = Vec::with_capacity(PART_HEADER_BYTES + content.len());
            part.extend_from_slice(&count.to_be_bytes());
            part.extend_from_slice(content);
            self.bytes += part.len();
            self.inner.insert(stored_key(key, number)?, part);
        }
        let known = table.parts_of(key)?;
        self.remove_parts(key, count..known)
    }

    /// Removes `key`, if it is there.
    pub(super) fn remove(&mut self, table: &Table, key: &[u8]) -> Result<(), DbError> {
        let known = table.parts_of(key)?;
        self.remove_parts(key, 0..known)
    }

    /// About how many bytes this will write.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove_parts(&mut self, key: &[u8], parts: std::ops::Range<u16>) -> Result<(), DbError> {
        for number in parts {
            self.bytes += key.len();
            self.inner.remove(stored_key(key, number)?);
        }
        Ok(())
    }
}

/// A key and its value.
type Stored = (Vec<u8>, Vec<u8>);

/// One part of a value, and of how many.
struct Part {
    key: Vec<u8>,
    count: u16,
    content: Vec<u8>,
}

/// Keys and values in ascending order. Ends after an error.
pub(super) struct Scan {
    table: String,
    parts: sled::Iter,
}

impl Scan {
    fn next_value(&mut self) -> Result<Option<Stored>, DbError> {
        let Some(first) = self.next_part(0)? else {
            return Ok(None);
        };
        let mut value = first.content;
        for number in 1..first.count {
            match self.next_part(number)? {
                Some(part) if part.key == first.key && part.count == first.count => {
                    value.extend_from_slice(&part.content);
                }
                _ => return Err(damaged(&self.table, "a value lacks a part")),
            }
        }
        Ok(Some((first.key, value)))
    }

    fn next_part(&mut self, expected: u16) -> Result<Option<Part>, DbError> {
        let Some(part) = self.parts.next() else {
            return Ok(None);
        };
        let (stored, part) = part?;
        let (key, number) = parse_key(&self.table, &stored)?;
        if number != expected {
            let what = "the parts of a value are out of order";
            return Err(damaged(&self.table, what));
        }
        let (count, content) = parse_part(&self.table, &part)?;
        Ok(Some(Part {
            key: key.to_vec(),
            count,
            content: content.to_vec(),
        }))
    }
}

impl Iterator for Scan {
    type Item = Result<Stored, DbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_value().transpose()
    }
}

fn stored_key(key: &[u8], part: u16) -> Result<Vec<u8>, DbError> {
    let length = u16::try_from(key.len()).map_err(|_| DbError::TooLarge { bytes: key.len() })?;
    let mut stored = Vec::with_capacity(key.len() + 4);
    stored.extend_from_slice(&length.to_be_bytes());
    stored.extend_from_slice(key);
    stored.extend_from_slice(&part.to_be_bytes());
    Ok(stored)
}

fn parse_key<'a>(table: &str, stored: &'a [u8]) -> Result<(&'a [u8], u16), DbError> {
    let parsed = stored.split_first_chunk().and_then(|(length, rest)| {
        let (key, part) = rest.split_last_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        (key.len() == length).then_some((key, u16::from_be_bytes(*part)))
    });
    parsed.ok_or_else(|| damaged(table, "a key has an impossible form"))
}

fn parse_part<'a>(table: &str, part: &'a [u8]) -> Result<(u16, &'a [u8]), DbError> {
    match part.split_first_chunk() {
        Some((count, content)) if *count != [0; 2] => Ok((u16::from_be_bytes(*count), content)),
        _ => Err(damaged(table, "a part of a value has an impossible form")),
    }
}

fn damaged(table: &str, what: &str) -> DbError {
    DbError::Damaged(format!("table '{table}': {what}"))
}

#[cfg(test)]
mod tests;
