//! Tests of the cluster's keystore, on a cluster of one node with a real disk.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::*;
use crate::base::exit::DeathWatch;
use crate::base::secret::Key256;
use crate::base::snapshot::Published;
use crate::crypto::at_rest::{Keyring, RootKey};
use crate::keystore::contract;
use crate::raft::{ClusterNode, Parts, Settings};
use crate::storage::{RealDisk, Storage};

/// A cluster of one, on a thread of its own; dropping it stops it.
struct Lone {
    store: RaftKeyStore,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn settings() -> Settings {
    Settings {
        name: "node1".to_owned(),
        cluster_address: "127.0.0.1:7374".to_owned(),
        api_address: String::new(),
        founders: vec![("node1".to_owned(), "127.0.0.1:7374".to_owned())],
        heartbeat: Duration::from_millis(100),
        election_timeout: Duration::from_millis(600),
        stale_reads_max: Duration::from_secs(300),
    }
}

fn root_key(byte: u8) -> RootKey {
    RootKey::from_bytes(Key256::new([byte; 32]))
}

impl Lone {
    fn open(path: &Path) -> Self {
        let path = path.to_owned();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .expect("a runtime")
            };
            actix::System::with_tokio_rt(runtime).block_on(run(path, tell, stopped));
        });
        let store = told.recv().expect("a store");
        Self {
            store,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

async fn run(path: PathBuf, tell: mpsc::Sender<RaftKeyStore>, stopped: oneshot::Receiver<()>) {
    let storage = Storage::open(&path, Arc::new(RealDisk)).expect("a data directory");
    let keyring = Keyring::new(vec![root_key(1)]).expect("a keyring");
    let seals = Arc::new(Seals::new(keyring));
    let founder = Arc::clone(&seals);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let parts = Parts {
        storage,
        settings: settings(),
        listener,
        authority_seeds: vec![Key256::new([2; 32])],
        root_keys: Published::new(Vec::new()),
        found: Arc::new(move || founder.founding()),
    };
    let watch = |name| DeathWatch::new(name, |_| {});
    let node = ClusterNode::start(parts, &Handle::current(), watch).await;
    let node = node.expect("a node");
    node.until_founded().await;
    let store = RaftKeyStore::new(node.handle().clone(), seals);
    tell.send(store).expect("a test");
    // The test may panic instead of telling.
    let _ = stopped.await;
    node.stop().await;
}

impl Drop for Lone {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a clean stop");
        }
    }
}

impl KeyStore for Lone {
    fn describe(&self) -> StoreDescription {
        self.store.describe()
    }

    fn has_atomic_create(&self) -> bool {
        self.store.has_atomic_create()
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        self.store.status()
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        self.store.create(name, value)
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        self.store.get(name)
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        self.store.delete(name)
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        self.store.list(prefix, start, limit)
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.store.close()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let root = tempfile::tempdir().expect("a directory");
    let count = std::sync::atomic::AtomicUsize::new(0);
    contract::check(8 << 10, || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(Lone::open(&root.path().join(number.to_string())))
    })
    .await;
    let path = root.path().join("durable");
    contract::check_durable(|| Arc::new(Lone::open(&path))).await;
}

/// Nothing that opens a key is on the disk, in whatever form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_on_the_disk() {
    let root = tempfile::tempdir().expect("a directory");
    let secret = b"a secret that is easy to find again";
    {
        let store = Lone::open(root.path());
        let name = KeyName::parse("my-key").expect("a name");
        store
            .create(name, SecretBytes::new(secret.to_vec()))
            .await
            .expect("created");
        assert_eq!(store.get(name).await.expect("a value").expose(), secret);
    }
    let mut files = vec![root.path().to_owned()];
    let mut bytes = 0;
    let mut has_name = false;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a directory");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let content = std::fs::read(&path).expect("a file");
        bytes += content.len();
        has_name |= content.windows(6).any(|window| window == b"my-key");
        for part in [&secret[..12], &secret[20..], &[1; 32][..]] {
            let is_there = content.windows(part.len()).any(|window| window == part);
            assert!(!is_there, "{} holds a part of the key", path.display());
        }
    }
    assert!(bytes > 0 && has_name, "the search found nothing at all");
}

/// However many ask at the same time: one of them creates the key, and that is what all get.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_name_has_one_key() {
    let root = tempfile::tempdir().expect("a directory");
    let store = Arc::new(Lone::open(root.path()));
    let creates = (0..200_u8).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let name = KeyName::parse("contended").expect("a name");
            match store.create(name, SecretBytes::new(vec![number; 8])).await {
                Ok(()) => Some(number),
                Err(StoreError::Exists) => None,
                Err(error) => panic!("{error}"),
            }
        })
    });
    let outcomes = futures_util::future::join_all(creates).await;
    let created: Vec<u8> = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.expect("a task"))
        .collect();
    assert_eq!(created.len(), 1);
    let name = KeyName::parse("contended").expect("a name");
    assert_eq!(
        store.get(name).await.expect("a key").expose(),
        [created[0]; 8]
    );
}
