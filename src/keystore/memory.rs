//! Keys in memory, for development: gone when the process ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{KeyStore, Page, StoreDescription, StoreError, StoreFuture, listing};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;

/// The latency that the status of this store names.
const LATENCY: Duration = Duration::from_millis(1);

/// A volatile store.
#[derive(Default)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<String, SecretBytes>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, SecretBytes>> {
        // No operation leaves the map half-changed, so that a poisoned lock does no harm.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, name: KeyName<'_>, value: SecretBytes) -> Result<(), StoreError> {
        let mut entries = self.entries();
        if entries.contains_key(name.as_str()) {
            return Err(StoreError::Exists);
        }
        entries.insert(name.as_str().to_owned(), value);
        Ok(())
    }

    fn page(&self, prefix: &str, start: Option<&str>, limit: usize) -> Page {
        let first = start.map_or(prefix, |start| start.max(prefix));
        let entries = self.entries();
        let names = entries
            .range::<str, _>((Bound::Included(first), Bound::Unbounded))
            .map(|(name, _)| name)
            .take_while(|name| name.starts_with(prefix))
            .take(limit.saturating_add(1))
            .cloned();
        listing::page(names, prefix, start, limit)
    }
}

impl KeyStore for MemoryStore {
    fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "In Memory",
            location: String::new(),
        }
    }

    fn has_atomic_create(&self) -> bool {
        true
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        Box::pin(async { Ok(LATENCY) })
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.insert(name, value) })
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        Box::pin(async move {
            let value = self.entries().get(name.as_str()).cloned();
            value.ok_or(StoreError::NotFound)
        })
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let removed = self.entries().remove(name.as_str());
            removed.map(drop).ok_or(StoreError::NotFound)
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        Box::pin(async move { Ok(self.page(prefix, start, limit)) })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keystore::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_the_contract() {
        contract::check(contract::LARGE, || Arc::new(MemoryStore::new())).await;
    }

    #[tokio::test]
    async fn tells_an_absent_key_from_a_deleted_one_by_neither() {
        let store = MemoryStore::new();
        let name = KeyName::parse("absent").expect("a name");
        assert!(matches!(
            store.delete(name).await,
            Err(StoreError::NotFound)
        ));
        assert_eq!(store.describe().to_string(), "In Memory");
        assert_eq!(store.status().await.expect("up"), LATENCY);
    }
}
