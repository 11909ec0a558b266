//! The gateway as others see it.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{Instrument, Span, info_span};

use crate::base::limits::{STORE_CALL_TIMEOUT, STORE_STATUS_TIMEOUT};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;
use crate::base::snapshot::Published;
use crate::keystore::{KeyStore, Page, StoreError};

/// The short name of the gateway in errors of its own, as the original has it.
const SHORT_NAME: &str = "kes";

/// What the last probe of the store gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreStatus {
    /// The store answered, or was not asked yet.
    Online,
    /// The store did not answer.
    Offline,
}

/// The store in use. Clones share it.
///
/// Every call runs in a task of its own on the runtime that the gateway was made for: a caller that
/// goes away does not stop it half-way, and a store that hangs gives an error in the end.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

struct Shared {
    current: Published<Current>,
    /// The generation of `current`, for the hot path.
    generation: AtomicU64,
    offline: AtomicBool,
    /// Taken by whoever replaces `current`: writers must not overlap.
    writer: Mutex<()>,
    runtime: Handle,
}

/// One store, as long as it is in use. It is closed when it is neither the current one any more nor
/// needed by a call under way.
pub(crate) struct Current {
    store: Arc<dyn KeyStore>,
    generation: u64,
    runtime: Handle,
    closed: AtomicBool,
}

impl Current {
    /// Counts the stores that the gateway had.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            // Without effect if the runtime is gone; then the store's tasks are, too.
            drop(self.runtime.spawn(close(Arc::clone(&self.store))));
        }
    }
}

/// The store did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
struct NoAnswer(Duration);

impl Gateway {
    /// A gateway to `store`. Calls of the store run on `runtime`, which must have time and I/O
    /// enabled.
    pub fn new(store: Arc<dyn KeyStore>, runtime: Handle) -> Self {
        let current = Current {
            store,
            generation: 0,
            runtime: runtime.clone(),
            closed: AtomicBool::new(false),
        };
        let shared = Shared {
            current: Published::new(current),
            generation: AtomicU64::new(0),
            offline: AtomicBool::new(false),
            writer: Mutex::new(()),
            runtime,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The store that answers now. It may be closed once it was replaced: for descriptions, not for
    /// calls.
    pub fn store(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.shared.current.load().store)
    }

    /// Changes when the store is replaced.
    ///
    /// Hot path: one atomic load.
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// What the last probe gave.
    pub fn status(&self) -> StoreStatus {
        match self.shared.offline.load(Ordering::Acquire) {
            true => StoreStatus::Offline,
            false => StoreStatus::Online,
        }
    }

    /// Asks the store for its status, unless the last probe failed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`] if the last probe failed or the store does not answer in time;
    /// otherwise what the store says.
    pub async fn probe_now(&self) -> Result<Duration, StoreError> {
        match self.status() {
            StoreStatus::Online => self.ask_status(self.current()).await,
            StoreStatus::Offline => Err(unreachable("keystore is offline")),
        }
    }

    /// Stores `value` under `name`; see [`KeyStore::create`].
    ///
    /// Whoever caches keys must hear of this: see `cache::KeyCache::create`.
    ///
    /// # Errors
    ///
    /// Those of the store, or that it does not answer in time. The key may exist then.
    pub async fn create(&self, name: KeyName<'_>, value: SecretBytes) -> Result<(), StoreError> {
        let current = self.current();
        let key = name.as_str().to_owned();
        let call = async move { current.store.create(parsed(&key)?, value).await };
        let span = info_span!("keystore", op = "create", key = %name);
        self.run(STORE_CALL_TIMEOUT, span, call).await
    }

    /// Removes the entry under `name`; see [`KeyStore::delete`].
    ///
    /// Whoever caches keys must hear of this: see `cache::KeyCache::delete`.
    ///
    /// # Errors
    ///
    /// Those of the store, or that it does not answer in time. The key may be gone then.
    pub async fn delete(&self, name: KeyName<'_>) -> Result<(), StoreError> {
        let current = self.current();
        let key = name.as_str().to_owned();
        let call = async move { current.store.delete(parsed(&key)?).await };
        let span = info_span!("keystore", op = "delete", key = %name);
        self.run(STORE_CALL_TIMEOUT, span, call).await
    }

    /// Lists names; see [`KeyStore::list`].
    ///
    /// # Errors
    ///
    /// Those of the store, or that it does not answer in time.
    pub async fn list(
        &self,
        prefix: &str,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let current = self.current();
        let span = info_span!("keystore", op = "list", prefix);
        let prefix = prefix.to_owned();
        let start = start.map(str::to_owned);
        let call = async move {
            let start = start.as_deref();
            current.store.list(&prefix, start, limit).await
        };
        self.run(STORE_CALL_TIMEOUT, span, call).await
    }

    /// Closes the store at the end of the process. Later calls may fail.
    pub async fn close(&self) {
        let current = self.current();
        if !current.closed.swap(true, Ordering::AcqRel) {
            close(Arc::clone(&current.store)).await;
        }
    }

    /// The store and its generation, to call [`Self::get_from`].
    pub(crate) fn current(&self) -> Arc<Current> {
        self.shared.current.load_full()
    }

    /// The value under `name` in a store that was current a moment ago.
    pub(crate) async fn get_from(
        &self,
        current: Arc<Current>,
        name: KeyName<'_>,
    ) -> Result<SecretBytes, StoreError> {
        let key = name.as_str().to_owned();
        let call = async move { current.store.get(parsed(&key)?).await };
        let span = info_span!("keystore", op = "get", key = %name);
        self.run(STORE_CALL_TIMEOUT, span, call).await
    }

    /// Asks `current` for its status, whatever the last probe gave.
    pub(super) async fn ask_status(&self, current: Arc<Current>) -> Result<Duration, StoreError> {
        let call = async move { current.store.status().await };
        let span = info_span!("keystore", op = "status");
        self.run(STORE_STATUS_TIMEOUT, span, call).await
    }

    /// Publishes what a probe of the current store gave. For the actor alone.
    pub(super) fn publish_status(&self, status: StoreStatus) {
        let offline = status == StoreStatus::Offline;
        self.shared.offline.store(offline, Ordering::Release);
    }

    /// Makes whoever keeps something of the store ask again: it may be gone there.
    pub fn renew(&self) {
        let _writer = self.writer();
        let current = self.current();
        // The store goes on in the next generation, which will close it.
        current.closed.store(true, Ordering::Release);
        self.publish_store(Arc::clone(&current.store));
    }

    /// Replaces the store. For the actor alone.
    pub(super) fn replace(&self, store: Arc<dyn KeyStore>) {
        let _writer = self.writer();
        self.publish_store(store);
        self.shared.offline.store(false, Ordering::Release);
    }

    fn writer(&self) -> MutexGuard<'_, ()> {
        // It guards no data that could be left half-changed.
        self.shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn publish_store(&self, store: Arc<dyn KeyStore>) {
        let generation = self.generation() + 1;
        self.shared.current.publish(Current {
            store,
            generation,
            runtime: self.shared.runtime.clone(),
            closed: AtomicBool::new(false),
        });
        self.shared.generation.store(generation, Ordering::Release);
    }

    /// The runtime on which calls of the store run.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    async fn run<T: Send + 'static>(
        &self,
        timeout: Duration,
        span: Span,
        call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let bounded = async move {
            match tokio::time::timeout(timeout, call).await {
                Ok(result) => result,
                Err(_elapsed) => Err(unreachable(NoAnswer(timeout))),
            }
        };
        match self.shared.runtime.spawn(bounded.instrument(span)).await {
            Ok(result) => result,
            Err(aborted) => Err(StoreError::Failed {
                store: SHORT_NAME,
                source: aborted.into(),
            }),
        }
    }
}

/// The name again, which travelled to another task.
fn parsed(name: &str) -> Result<KeyName<'_>, StoreError> {
    KeyName::parse(name).ok_or(StoreError::InvalidName { store: SHORT_NAME })
}

fn unreachable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unreachable {
        store: SHORT_NAME,
        source: source.into(),
    }
}

async fn close(store: Arc<dyn KeyStore>) {
    let problem = match tokio::time::timeout(STORE_CALL_TIMEOUT, store.close()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_elapsed) => unreachable(NoAnswer(STORE_CALL_TIMEOUT)),
    };
    tracing::error!("Failed to close previous keystore connections: {problem}");
}

#[cfg(test)]
mod tests;
