//! A store that fails, hangs and counts as a test tells it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::memory::MemoryStore;
use super::{KeyStore, Page, StoreDescription, StoreError, StoreFuture};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;

/// One operation of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Status,
    Create,
    Get,
    Delete,
    List,
    Close,
}

/// Decorates a store with faults. Without any it behaves as the store within.
pub(crate) struct FaultStore {
    inner: Arc<dyn KeyStore>,
    /// While true, every operation fails as unreachable.
    failing: AtomicBool,
    /// While true, operations wait before they do anything.
    held: watch::Sender<bool>,
    /// Such operations wait after they did it and before they answer.
    held_answers: watch::Sender<Option<Operation>>,
    started: watch::Sender<usize>,
    calls: [AtomicUsize; 6],
}

impl FaultStore {
    /// A store in memory.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(MemoryStore::new()),
            failing: AtomicBool::new(false),
            held: watch::Sender::new(false),
            held_answers: watch::Sender::new(None),
            started: watch::Sender::new(0),
            calls: Default::default(),
        })
    }

    /// Whether every operation fails from now on.
    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Whether operations wait before they do anything.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Which operations wait between what they do and the answer.
    pub(crate) fn hold_answers(&self, held: Option<Operation>) {
        self.held_answers.send_replace(held);
    }

    /// How often `operation` was called.
    pub(crate) fn calls(&self, operation: Operation) -> usize {
        self.calls[operation as usize].load(Ordering::SeqCst)
    }

    /// Waits until `count` operations, of whatever kind, were called.
    pub(crate) async fn until_called(&self, count: usize) {
        let mut started = self.started.subscribe();
        let reached = started.wait_for(|started| *started >= count);
        let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
        drop(reached.expect("called in time").expect("a live sender"));
    }

    /// How many operations, of whatever kind, were called.
    pub(crate) fn total(&self) -> usize {
        *self.started.borrow()
    }

    async fn fault<T>(
        &self,
        operation: Operation,
        inner: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.calls[operation as usize].fetch_add(1, Ordering::SeqCst);
        self.started.send_modify(|started| *started += 1);
        until(&self.held, |held| !held).await;
        let answer = match self.failing.load(Ordering::SeqCst) {
            true => Err(StoreError::Unreachable {
                store: "fault",
                source: "injected".into(),
            }),
            false => inner.await,
        };
        until(&self.held_answers, |held| *held != Some(operation)).await;
        answer
    }
}

async fn until<T>(gate: &watch::Sender<T>, is_open: impl FnMut(&T) -> bool) {
    let mut gate = gate.subscribe();
    let opened = gate.wait_for(is_open).await;
    drop(opened.expect("the sender is alive"));
}

impl KeyStore for FaultStore {
    fn describe(&self) -> StoreDescription {
        self.inner.describe()
    }

    fn has_atomic_create(&self) -> bool {
        self.inner.has_atomic_create()
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        Box::pin(self.fault(Operation::Status, self.inner.status()))
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(self.fault(Operation::Create, self.inner.create(name, value)))
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        Box::pin(self.fault(Operation::Get, self.inner.get(name)))
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        Box::pin(self.fault(Operation::Delete, self.inner.delete(name)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        Box::pin(self.fault(Operation::List, self.inner.list(prefix, start, limit)))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.fault(Operation::Close, self.inner.close()))
    }
}
