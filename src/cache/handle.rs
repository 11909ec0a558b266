//! The cache as others see it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::{Instrument, info_span};

use super::counter::Counter;
use super::entry::CachedKey;
use super::flights::{Flights, Outcome, Pending};
use super::map::KeyMap;
use crate::base::limits::{CACHED_KEYS_MAX, KEY_LOADS_MAX};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;
use crate::crypto::key_version::{DecodeError, KeyVersion};
use crate::gateway::{Current, Gateway};
use crate::keystore::StoreError;

/// The short name of the cache in errors of its own: to an operator it is the server.
const SHORT_NAME: &str = "kes";

/// Why a key cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such key.
    #[error("key does not exist")]
    NotFound,
    /// The store failed; never [`StoreError::NotFound`].
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// What the store has under that name is not a key.
    #[error(transparent)]
    Corrupt(Arc<DecodeError>),
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            other => Self::Store(Arc::new(other)),
        }
    }
}

/// A load ended without an outcome.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the load was aborted")]
struct Aborted;

impl From<Aborted> for LoadError {
    fn from(error: Aborted) -> Self {
        Self::from(StoreError::Failed {
            store: SHORT_NAME,
            source: error.into(),
        })
    }
}

/// Decrypted keys, and the way to those that are not here yet. Clones share them.
///
/// Keys are created and deleted through it, too, so that no answer is older than the answer to a
/// change on this node. Absent keys are not remembered.
#[derive(Clone)]
pub struct KeyCache {
    shared: Arc<Shared>,
}

struct Shared {
    gateway: Gateway,
    map: KeyMap,
    /// Also the lock of whoever inserts into `map` or removes a single key from it.
    flights: Mutex<Flights>,
    hits: Counter,
    misses: Counter,
}

impl KeyCache {
    /// An empty cache in front of `gateway`.
    pub fn new(gateway: Gateway) -> Self {
        Self::with_capacity(gateway, CACHED_KEYS_MAX)
    }

    fn with_capacity(gateway: Gateway, capacity: usize) -> Self {
        let shared = Shared {
            gateway,
            map: KeyMap::new(capacity),
            flights: Mutex::default(),
            hits: Counter::default(),
            misses: Counter::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Calls `f` with the key `name` if that is cached, and counts a hit or a miss.
    ///
    /// Hot path: no lock, no allocation, no copy of the key. `f` holds up the memory of keys that
    /// are dropped meanwhile, so it must not take long.
    pub fn with_cached<R>(&self, name: KeyName<'_>, f: impl FnOnce(&KeyVersion) -> R) -> Option<R> {
        let generation = self.shared.gateway.generation();
        let result = self
            .shared
            .map
            .with(name.as_str(), generation, |entry| f(entry.key()));
        match result {
            Some(_) => self.shared.hits.increment(),
            None => self.shared.misses.increment(),
        }
        result
    }

    /// The key `name`, from the store if it is not cached. However many ask for one key at a time,
    /// the store is asked once, and all get that answer.
    ///
    /// The load goes on if the caller goes away.
    ///
    /// # Errors
    ///
    /// [`LoadError`]; the next call tries again. [`StoreError::Overloaded`] if too many keys are
    /// being loaded.
    pub async fn load(&self, name: KeyName<'_>) -> Result<Arc<CachedKey>, LoadError> {
        let mut pending = match self.join(name)? {
            Joined::Cached(key) => return Ok(key),
            Joined::Pending(pending) => pending,
        };
        let aborted = || Err(Aborted.into());
        match pending.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or_else(aborted),
            Err(_closed) => aborted(),
        }
    }

    /// Stores `value` under `name`, see [`Gateway::create`]. The key is not cached by this. Whoever
    /// asks for it afterwards does not get an answer from before.
    ///
    /// The call goes on if the caller goes away.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn create(&self, name: KeyName<'_>, value: SecretBytes) -> Result<(), StoreError> {
        let cache = self.clone();
        let key = name.as_str().to_owned();
        let change = async move {
            let name = KeyName::parse(&key).ok_or(StoreError::InvalidName { store: SHORT_NAME })?;
            let created = cache.shared.gateway.create(name, value).await;
            cache.flights().detach(&key);
            created
        };
        self.run(change.in_current_span()).await
    }

    /// Removes the key `name` from the store and then from the cache, see [`Gateway::delete`].
    /// Whoever asks for it afterwards does not get it, unless somebody created it again.
    ///
    /// The call goes on if the caller goes away.
    ///
    /// # Errors
    ///
    /// Those of the store. Only after [`StoreError::NotFound`] the key is not cached any more.
    pub async fn delete(&self, name: KeyName<'_>) -> Result<(), StoreError> {
        let cache = self.clone();
        let key = name.as_str().to_owned();
        let change = async move {
            let name = KeyName::parse(&key).ok_or(StoreError::InvalidName { store: SHORT_NAME })?;
            let deleted = cache.shared.gateway.delete(name).await;
            let mut flights = cache.flights();
            flights.detach(&key);
            if matches!(deleted, Ok(()) | Err(StoreError::NotFound)) {
                cache.shared.map.remove(&key);
            }
            deleted
        };
        self.run(change.in_current_span()).await
    }

    /// Forgets all keys. Blocks for as long as it takes to wipe them.
    pub fn clear(&self) {
        self.flights().detach_all();
        self.shared.map.clear();
    }

    /// How many keys are cached.
    pub fn len(&self) -> usize {
        self.shared.map.len()
    }

    /// Whether no key is cached.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often [`Self::with_cached`] found the key.
    pub fn hits(&self) -> u64 {
        self.shared.hits.total()
    }

    /// How often [`Self::with_cached`] did not find the key.
    pub fn misses(&self) -> u64 {
        self.shared.misses.total()
    }

    /// Where keys come from.
    pub fn gateway(&self) -> &Gateway {
        &self.shared.gateway
    }

    /// Forgets keys that were not used since this was called the last time. Blocks.
    pub(super) fn drop_unused(&self) {
        self.shared.map.drop_unused();
    }

    /// Wipes keys of stores that are not in use any more. Blocks.
    pub(super) fn drop_stale(&self) {
        self.shared.map.drop_stale(self.shared.gateway.generation());
    }

    /// Finds the key or the load of it, or starts one.
    fn join(&self, name: KeyName<'_>) -> Result<Joined, LoadError> {
        let mut flights = self.flights();
        let current = self.shared.gateway.current();
        let generation = current.generation();
        // Once more: the load that the caller missed may have ended.
        if let Some(key) = self.shared.map.with(name.as_str(), generation, Arc::clone) {
            return Ok(Joined::Cached(key));
        }
        if let Some(pending) = flights.join(name.as_str(), generation) {
            return Ok(Joined::Pending(pending));
        }
        if flights.under_way() >= KEY_LOADS_MAX {
            return Err(StoreError::Overloaded { store: SHORT_NAME }.into());
        }
        let (outcome, pending) = watch::channel(None);
        let landing = Landing {
            cache: self.clone(),
            name: name.as_str().into(),
            id: flights.start(name.as_str(), generation, pending.clone()),
            has_landed: false,
        };
        drop(flights);
        let span = info_span!("cache_load", key = %name);
        let load = async move {
            let loaded = landing.cache.fetch(current, &landing.name).await;
            landing.land(&loaded);
            outcome.send_replace(Some(loaded));
        };
        drop(self.shared.gateway.runtime().spawn(load.instrument(span)));
        Ok(Joined::Pending(pending))
    }

    async fn fetch(&self, current: Arc<Current>, name: &str) -> Outcome {
        let name = KeyName::parse(name).ok_or(StoreError::InvalidName { store: SHORT_NAME })?;
        let generation = current.generation();
        let stored = self.shared.gateway.get_from(current, name).await?;
        match KeyVersion::decode(stored.expose()) {
            Ok(key) => Ok(Arc::new(CachedKey::new(key, generation))),
            Err(error) => Err(LoadError::Corrupt(Arc::new(error))),
        }
    }

    async fn run(
        &self,
        change: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) -> Result<(), StoreError> {
        match self.shared.gateway.runtime().spawn(change).await {
            Ok(result) => result,
            Err(aborted) => Err(StoreError::Failed {
                store: SHORT_NAME,
                source: aborted.into(),
            }),
        }
    }

    /// Keeps whoever changes the cache waiting while `f` runs.
    #[cfg(test)]
    pub(super) fn with_flights_held<R>(&self, f: impl FnOnce() -> R) -> R {
        let _held = self.flights();
        f()
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        // Held for a few map operations, none of which can leave it half-changed.
        self.shared
            .flights
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a caller of a load is given.
enum Joined {
    Cached(Arc<CachedKey>),
    Pending(Pending),
}

/// Ends a load, also one that panics or whose runtime goes away.
struct Landing {
    cache: KeyCache,
    name: Box<str>,
    id: u64,
    has_landed: bool,
}

impl Landing {
    /// Keeps the key if nothing happened meanwhile that could make it outdated. Under one lock with
    /// the end of the load, so that a delete comes either before or after both.
    fn land(mut self, loaded: &Outcome) {
        let mut flights = self.cache.flights();
        let is_attached = flights.end(&self.name, self.id);
        if let Ok(key) = loaded
            && is_attached
            && key.generation() == self.cache.shared.gateway.generation()
        {
            self.cache.shared.map.insert(&self.name, Arc::clone(key));
        }
        drop(flights);
        self.has_landed = true;
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.has_landed {
            self.cache.flights().end(&self.name, self.id);
        }
    }
}

#[cfg(test)]
mod tests;
