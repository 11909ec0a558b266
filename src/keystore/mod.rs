//! Layer 3: where keys are kept. The trait, the written contract, and the stores themselves.
//!
//! A store keeps opaque values under names. Values are what [`crate::crypto::key_version`] encodes,
//! the same text in every store, so that stores are interchangeable with each other and with the
//! original's.

#[cfg(test)]
pub(crate) mod contract;
mod directory;
pub mod encrypted_fs;
#[cfg(test)]
pub(crate) mod fault;
pub mod fs;
pub mod listing;
pub mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;

/// A future of a store. Boxed: stores are off the hot path.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is an entry under that name.
    #[error("key already exists")]
    Exists,
    /// There is no entry under that name, for certain.
    #[error("key does not exist")]
    NotFound,
    /// The store refuses a name that others may allow.
    #[error("{store}: key name contains invalid character")]
    InvalidName {
        /// Short name of the store.
        store: &'static str,
    },
    /// The stored bytes are not what this store writes, or were tampered with.
    #[error("decryption failed: ciphertext is not authentic")]
    NotAuthentic,
    /// The store cannot be reached.
    #[error("{store}: keystore unreachable: {source}")]
    Unreachable {
        /// Short name of the store.
        store: &'static str,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A bound is reached. Nothing was done; the caller may try again.
    #[error("{store}: too many operations under way")]
    Overloaded {
        /// Short name of the store.
        store: &'static str,
    },
    /// The store cannot answer at the moment, and will again: neither that something is there nor
    /// that it is not can be known.
    #[error("{store}: {source}")]
    Unavailable {
        /// Short name of the store.
        store: &'static str,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store answered, but not with what was asked for.
    #[error("{store}: {source}")]
    Failed {
        /// Short name of the store.
        store: &'static str,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// One page of a listing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Names, sorted bytewise, none twice.
    pub names: Vec<String>,
    /// The first name that did not fit, if the page was cut short.
    pub next: Option<String>,
}

/// What kind of store this is, for the start-up banner and for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreDescription {
    /// `Filesystem`, `In Memory`, ...
    pub kind: &'static str,
    /// Path or endpoint; empty if there is none.
    pub location: String,
}

impl fmt::Display for StoreDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.location.as_str() {
            "" => f.write_str(self.kind),
            location => write!(f, "{}: {location}", self.kind),
        }
    }
}

/// The contract that every store fulfils; the suite in
/// `contract.rs` tests it.
///
/// Every operation can be dropped at any await point without leaving a half-written entry: after a
/// dropped `create` the entry is there as a whole, or not at all.
pub trait KeyStore: Send + Sync + 'static {
    /// Kind and location.
    fn describe(&self) -> StoreDescription;

    /// Whether `create` is atomic: of several concurrent ones for one name, in whatever process,
    /// exactly one succeeds.
    fn has_atomic_create(&self) -> bool;

    /// The time that the store takes to answer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`] if it does not answer at all.
    fn status(&self) -> StoreFuture<'_, Duration>;

    /// Stores `value` under `name` if there is no such entry. On success the entry is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`] if there is one; it stays as it is.
    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()>;

    /// The value under `name`, as it was stored.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] only if the absence is certain.
    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes>;

    /// Removes the entry. On success the removal is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] if there is none, where the store can tell.
    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()>;

    /// The names that start with `prefix` and are not less than `start`, at most `limit` of them.
    /// A listing that follows [`Page::next`] to its end sees every name that existed throughout.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page>;

    /// Ends background tasks and connections. Later calls may fail.
    fn close(&self) -> StoreFuture<'_, ()>;
}
