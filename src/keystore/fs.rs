//! Keys as plain files, interchangeable with the original's `fs` keystore.
//!
//! The content of a file is the stored text, without a newline.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::directory::Directory;
pub use super::directory::OpenError;
use super::{KeyStore, Page, StoreDescription, StoreError, StoreFuture};
use crate::base::limits::{FILE_OPERATIONS_MAX, FILE_OPERATIONS_WAITING_MAX};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;

/// A store of plain files.
pub struct FsStore {
    files: Files,
}

impl FsStore {
    /// Opens the store in the directory `path`, and creates that with its parents if need be.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if `path` is no directory and cannot become one.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let files = Files::new(Directory::open(path, "fs")?);
        Ok(Self { files })
    }
}

impl KeyStore for FsStore {
    fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "Filesystem",
            location: self.files.location(),
        }
    }

    fn has_atomic_create(&self) -> bool {
        true
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        Box::pin(self.files.status())
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(self.files.create(name, value))
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        Box::pin(self.files.get(name))
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        Box::pin(self.files.delete(name))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        Box::pin(self.files.list(prefix, start, limit))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// A [`Directory`] for async callers: its work is done on the blocking pool, a bounded number of
/// operations at a time.
///
/// Each kind of operation has permits and waiters of its own, so that one kind that is slow or much
/// asked for, such as the listing of a large directory, does not keep the others from their work.
///
/// An operation that began runs to its end, whether or not its caller still waits.
pub(super) struct Files {
    directory: Arc<Directory>,
    reads: Lane,
    changes: Lane,
    listings: Lane,
    probes: Lane,
}

/// The operations of one kind.
struct Lane {
    /// Of those under way and those that wait.
    places: Arc<Semaphore>,
    /// Of those under way.
    permits: Arc<Semaphore>,
}

/// The right to run one operation.
struct Turn {
    _place: OwnedSemaphorePermit,
    _permit: OwnedSemaphorePermit,
}

impl Lane {
    fn new() -> Self {
        let places = FILE_OPERATIONS_MAX + FILE_OPERATIONS_WAITING_MAX;
        Self {
            places: Arc::new(Semaphore::new(places)),
            permits: Arc::new(Semaphore::new(FILE_OPERATIONS_MAX)),
        }
    }

    /// Waits for a permit; refuses at once if too many wait already. Dropped while it waits, it
    /// gives its place back.
    async fn turn(&self, store: &'static str) -> Result<Turn, StoreError> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_full| StoreError::Overloaded { store })?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|closed| StoreError::Failed {
            store,
            source: closed.into(),
        })?;
        Ok(Turn {
            _place: place,
            _permit: permit,
        })
    }
}

impl Files {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            directory: Arc::new(directory),
            reads: Lane::new(),
            changes: Lane::new(),
            listings: Lane::new(),
            probes: Lane::new(),
        }
    }

    pub(super) fn location(&self) -> String {
        self.directory.location()
    }

    pub(super) fn store(&self) -> &'static str {
        self.directory.store()
    }

    pub(super) async fn status(&self) -> Result<Duration, StoreError> {
        self.run(&self.probes, |directory| directory.status()).await
    }

    pub(super) async fn create(
        &self,
        name: KeyName<'_>,
        content: SecretBytes,
    ) -> Result<(), StoreError> {
        let name = name.as_str().to_owned();
        self.run(&self.changes, move |directory| {
            directory.create(&name, content.expose())
        })
        .await
    }

    pub(super) async fn get(&self, name: KeyName<'_>) -> Result<SecretBytes, StoreError> {
        let name = name.as_str().to_owned();
        self.run(&self.reads, move |directory| directory.get(&name))
            .await
    }

    pub(super) async fn delete(&self, name: KeyName<'_>) -> Result<(), StoreError> {
        let name = name.as_str().to_owned();
        self.run(&self.changes, move |directory| directory.delete(&name))
            .await
    }

    pub(super) async fn list(
        &self,
        prefix: &str,
        start: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let prefix = prefix.to_owned();
        let start = start.map(str::to_owned);
        self.run(&self.listings, move |directory| {
            directory.list(&prefix, start.as_deref(), limit)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        lane: &Lane,
        operation: impl FnOnce(&Directory) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store();
        let turn = lane.turn(store).await?;
        let directory = Arc::clone(&self.directory);
        let task = tokio::task::spawn_blocking(move || {
            // The turn belongs to the work, not to the caller, who may be gone.
            let _turn = turn;
            operation(&directory)
        });
        match task.await {
            Ok(result) => result,
            Err(aborted) => {
                let source = aborted.into();
                Err(StoreError::Failed { store, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::contract;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_the_contract() {
        let root = tempfile::tempdir().expect("a directory");
        let count = std::sync::atomic::AtomicUsize::new(0);
        contract::check(contract::LARGE, || {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = root.path().join(format!("a/b-{number}"));
            Arc::new(FsStore::open(&path).expect("a store"))
        })
        .await;
        let path = root.path().join("durable");
        contract::check_durable(|| Arc::new(FsStore::open(&path).expect("a store"))).await;
    }

    #[test]
    fn shows_the_path_as_configured() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("./x/../keys");
        std::fs::create_dir(root.path().join("x")).expect("a directory");
        let store = FsStore::open(&path).expect("a store");
        let description = store.describe().to_string();
        assert_eq!(description, format!("Filesystem: {}", path.display()));
    }

    #[tokio::test]
    async fn a_dropped_create_leaves_a_whole_key_behind() {
        let root = tempfile::tempdir().expect("a directory");
        let store = FsStore::open(root.path()).expect("a store");
        let name = KeyName::parse("key").expect("a name");
        let mut create = store.create(name, SecretBytes::new(vec![7; 4096]));
        // One poll starts the work on the blocking pool.
        assert!(!contract::is_ready(&mut create).await);
        drop(create);
        // The permits are all back as soon as the work is done.
        drop(occupy(&store.files.changes).await);
        let value = store.get(name).await.expect("a key");
        assert_eq!(value.expose(), [7; 4096]);
    }
    /// All permits of a kind: as many operations are under way.
    async fn occupy(lane: &Lane) -> OwnedSemaphorePermit {
        let all = u32::try_from(FILE_OPERATIONS_MAX).expect("a small number");
        let permits = Arc::clone(&lane.permits).acquire_many_owned(all).await;
        permits.expect("the semaphore is open")
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_the_rest_is_refused_at_once() {
        let root = tempfile::tempdir().expect("a directory");
        let store = FsStore::open(root.path()).expect("a store");
        let name = KeyName::parse("key").expect("a name");
        let busy = occupy(&store.files.reads).await;
        // Operations under way have a place each as well.
        let under_way = u32::try_from(FILE_OPERATIONS_MAX).expect("a small number");
        let places = store.files.reads.places.try_acquire_many(under_way);
        let places = places.expect("nobody waits");
        let mut waiting = Vec::new();
        for _ in 0..FILE_OPERATIONS_WAITING_MAX {
            let mut get = store.get(name);
            assert!(!contract::is_ready(&mut get).await);
            waiting.push(get);
        }
        let refused = store.get(name).await.err().expect("refused");
        assert!(matches!(refused, StoreError::Overloaded { .. }));
        assert_eq!(refused.to_string(), "fs: too many operations under way");
        // Who gives up makes room, and who stays gets an answer.
        drop(waiting.pop());
        let mut last = store.get(name);
        assert!(!contract::is_ready(&mut last).await);
        drop((busy, places));
        for get in waiting.into_iter().chain([last]) {
            assert!(matches!(get.await, Err(StoreError::NotFound)));
        }
    }

    #[tokio::test]
    async fn one_kind_of_operation_does_not_wait_for_another() {
        let root = tempfile::tempdir().expect("a directory");
        let store = FsStore::open(root.path()).expect("a store");
        let name = KeyName::parse("key").expect("a name");
        let value = || SecretBytes::new(b"value".to_vec());
        let listings = occupy(&store.files.listings).await;
        let mut list = store.list("", None, 1);
        assert!(!contract::is_ready(&mut list).await);
        store.create(name, value()).await.expect("created");
        store.get(name).await.expect("a key");
        store.status().await.expect("up");
        let changes = occupy(&store.files.changes).await;
        store.get(name).await.expect("a key");
        drop(listings);
        list.await.expect("a page");
        let reads = occupy(&store.files.reads).await;
        drop(changes);
        store.delete(name).await.expect("deleted");
        store.list("", None, 1).await.expect("a page");
        store.status().await.expect("up");
        drop(reads);
    }
}
