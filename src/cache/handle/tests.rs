//! Tests of the cache: single flight, races with delete and create, bounds.

use tokio::runtime::Handle;

use super::*;
use crate::base::clock::Timestamp;
use crate::crypto::cipher::Cipher;
use crate::keystore::KeyStore;
use crate::keystore::fault::{FaultStore, Operation};

fn cache(store: &Arc<FaultStore>) -> KeyCache {
    KeyCache::new(Gateway::new(store.clone(), Handle::current()))
}

fn name(name: &str) -> KeyName<'_> {
    KeyName::parse(name).expect("a name")
}

/// A stored key of `creator`.
fn stored(creator: &str) -> SecretBytes {
    let key = KeyVersion::generate(Cipher::Aes256, Timestamp::now(), creator);
    key.expect("random bytes").encode().expect("a value")
}

async fn with_key() -> (Arc<FaultStore>, KeyCache) {
    let store = FaultStore::new();
    let created = store.create(name("key"), stored("me")).await;
    created.expect("created");
    let cache = cache(&store);
    (store, cache)
}

fn is_cached(cache: &KeyCache, key: &str) -> bool {
    cache.with_cached(name(key), |_| ()).is_some()
}

/// Starts to load `key`, and waits until the store is asked.
async fn start_load(
    store: &FaultStore,
    cache: &KeyCache,
    key: &'static str,
) -> tokio::task::JoinHandle<Outcome> {
    let called = store.total();
    let load = tokio::spawn({
        let cache = cache.clone();
        async move { cache.load(name(key)).await }
    });
    store.until_called(called + 1).await;
    load
}

#[tokio::test]
async fn a_loaded_key_is_a_hit() {
    let (store, cache) = with_key().await;
    assert!(!is_cached(&cache, "key"));
    let key = cache.load(name("key")).await.expect("a key");
    assert_eq!(key.key().created_by, "me");
    let creator = cache.with_cached(name("key"), |key| key.created_by.clone());
    assert_eq!(creator.as_deref(), Some("me"));
    cache.load(name("key")).await.expect("a key");
    assert_eq!(store.calls(Operation::Get), 1);
    assert_eq!((cache.hits(), cache.misses(), cache.len()), (1, 1, 1));
    store.set_failing(true);
    assert!(is_cached(&cache, "key"), "whatever the store does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_callers_of_one_key_are_one_fetch() {
    let (store, cache) = with_key().await;
    store.hold(true);
    let mut loads = vec![start_load(&store, &cache, "key").await];
    for _ in 1..1000 {
        let cache = cache.clone();
        loads.push(tokio::spawn(async move { cache.load(name("key")).await }));
    }
    store.hold(false);
    for load in loads {
        load.await.expect("no panic").expect("a key");
    }
    assert_eq!(store.calls(Operation::Get), 1);
}

#[tokio::test]
async fn an_error_is_shared_and_not_remembered() {
    let (store, cache) = with_key().await;
    store.set_failing(true);
    store.hold(true);
    let mut loads = vec![start_load(&store, &cache, "key").await];
    for _ in 1..100 {
        let cache = cache.clone();
        loads.push(tokio::spawn(async move { cache.load(name("key")).await }));
    }
    // Lets the others join: they have nothing to wait for before.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    store.hold(false);
    for load in loads {
        let error = load.await.expect("no panic").err().expect("an error");
        let LoadError::Store(error) = error else {
            panic!("{error}");
        };
        assert!(matches!(*error, StoreError::Unreachable { .. }));
    }
    assert_eq!(store.calls(Operation::Get), 1);
    store.set_failing(false);
    cache.load(name("key")).await.expect("a key");
}

#[tokio::test]
async fn absence_and_garbage_are_told_apart_and_not_cached() {
    let (store, cache) = with_key().await;
    let absent = cache.load(name("absent")).await;
    assert!(matches!(absent, Err(LoadError::NotFound)));
    let garbage = SecretBytes::new(b"garbage".to_vec());
    store.create(name("bad"), garbage).await.expect("created");
    let bad = cache.load(name("bad")).await;
    assert!(matches!(bad, Err(LoadError::Corrupt(_))));
    assert!(cache.is_empty());
    let created = store.create(name("absent"), stored("me")).await;
    created.expect("created");
    cache.load(name("absent")).await.expect("a key");
}

#[tokio::test]
async fn loads_of_other_keys_do_not_wait() {
    let (store, cache) = with_key().await;
    store.hold(true);
    let first = start_load(&store, &cache, "key").await;
    let second = start_load(&store, &cache, "other").await;
    store.hold(false);
    first.await.expect("no panic").expect("a key");
    let absent = second.await.expect("no panic");
    assert!(matches!(absent, Err(LoadError::NotFound)));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_load() {
    let (store, cache) = with_key().await;
    store.hold(true);
    let gone = start_load(&store, &cache, "key").await;
    gone.abort();
    assert!(gone.await.err().expect("aborted").is_cancelled());
    store.hold(false);
    cache.load(name("key")).await.expect("a key");
    assert_eq!(store.calls(Operation::Get), 1);
}

#[tokio::test]
async fn a_load_that_began_before_a_delete_does_not_bring_the_key_back() {
    let (store, cache) = with_key().await;
    store.hold_answers(Some(Operation::Get));
    let load = start_load(&store, &cache, "key").await;
    cache.delete(name("key")).await.expect("deleted");
    store.hold_answers(None);
    load.await.expect("no panic").expect("the key of before");
    assert!(!is_cached(&cache, "key"));
    let absent = cache.load(name("key")).await;
    assert!(matches!(absent, Err(LoadError::NotFound)));
}

#[tokio::test]
async fn nobody_joins_a_load_that_is_older_than_a_change() {
    let store = FaultStore::new();
    let cache = cache(&store);
    store.hold_answers(Some(Operation::Get));
    let absent = start_load(&store, &cache, "key").await;
    let created = cache.create(name("key"), stored("me")).await;
    created.expect("created");
    let present = start_load(&store, &cache, "key").await;
    cache.delete(name("key")).await.expect("deleted");
    let gone = start_load(&store, &cache, "key").await;
    let created = cache.create(name("key"), stored("you")).await;
    created.expect("created");
    let again = start_load(&store, &cache, "key").await;
    assert_eq!(cache.flights().under_way(), 4);
    store.hold_answers(None);

    let absent = absent.await.expect("no panic");
    assert!(matches!(absent, Err(LoadError::NotFound)));
    let present = present.await.expect("no panic").expect("a key");
    assert_eq!(present.key().created_by, "me");
    let gone = gone.await.expect("no panic");
    assert!(matches!(gone, Err(LoadError::NotFound)));
    let again = again.await.expect("no panic").expect("a key");
    assert_eq!(again.key().created_by, "you");
    let cached = cache.with_cached(name("key"), |key| key.created_by.clone());
    assert_eq!(cached.as_deref(), Some("you"), "only the last one is kept");
    assert_eq!(cache.flights().under_way(), 0);
}

#[tokio::test]
async fn a_load_that_began_before_a_clear_is_not_kept() {
    let (store, cache) = with_key().await;
    store.hold_answers(Some(Operation::Get));
    let load = start_load(&store, &cache, "key").await;
    cache.clear();
    store.hold_answers(None);
    load.await.expect("no panic").expect("a key");
    assert!(cache.is_empty());
}

#[tokio::test]
async fn a_delete_forgets_the_key_only_if_it_is_gone() {
    let (store, cache) = with_key().await;
    cache.load(name("key")).await.expect("a key");
    store.set_failing(true);
    let failed = cache.delete(name("key")).await;
    assert!(matches!(failed, Err(StoreError::Unreachable { .. })));
    assert!(is_cached(&cache, "key"));
    store.set_failing(false);
    // Somebody else deleted it.
    store.delete(name("key")).await.expect("deleted");
    let absent = cache.delete(name("key")).await;
    assert!(matches!(absent, Err(StoreError::NotFound)));
    assert!(!is_cached(&cache, "key"));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_a_delete() {
    let (store, cache) = with_key().await;
    cache.load(name("key")).await.expect("a key");
    store.hold(true);
    let called = store.total();
    let delete = tokio::spawn({
        let cache = cache.clone();
        async move { cache.delete(name("key")).await }
    });
    store.until_called(called + 1).await;
    delete.abort();
    assert!(delete.await.expect_err("aborted").is_cancelled());
    store.hold(false);
    while is_cached(&cache, "key") {
        tokio::task::yield_now().await;
    }
    let absent = store.get(name("key")).await;
    assert!(matches!(absent, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn loads_are_bounded() {
    let (store, cache) = with_key().await;
    store.hold(true);
    {
        let mut flights = cache.flights();
        let (_outcome, pending) = watch::channel(None);
        for _ in 0..KEY_LOADS_MAX {
            flights.start("other", 0, pending.clone());
        }
    }
    let refused = cache.load(name("key")).await.err().expect("refused");
    assert_eq!(refused.to_string(), "kes: too many operations under way");
    let LoadError::Store(error) = refused else {
        panic!("{refused}");
    };
    assert!(matches!(*error, StoreError::Overloaded { .. }));
    assert_eq!(store.calls(Operation::Get), 0);
    cache.flights().end("other", 0);
    let load = start_load(&store, &cache, "key").await;
    store.hold(false);
    load.await.expect("no panic").expect("a key");
}

#[test]
fn a_load_without_a_runtime_is_an_error_and_leaves_nothing_behind() {
    let gone = tokio::runtime::Runtime::new().expect("a runtime");
    let gateway = Gateway::new(FaultStore::new(), gone.handle().clone());
    gone.shutdown_background();
    let cache = KeyCache::new(gateway);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for _ in 0..2 {
        let failed = runtime.block_on(cache.load(name("key")));
        let text = failed.err().expect("an error").to_string();
        assert_eq!(text, "kes: the load was aborted");
    }
    assert_eq!(cache.flights().under_way(), 0);
}

#[tokio::test]
async fn a_full_cache_serves_what_it_cannot_keep() {
    let (store, _) = with_key().await;
    let created = store.create(name("more"), stored("you")).await;
    created.expect("created");
    let gateway = Gateway::new(store.clone(), Handle::current());
    let cache = KeyCache::with_capacity(gateway, 1);
    cache.load(name("key")).await.expect("a key");
    let more = cache.load(name("more")).await.expect("a key");
    assert_eq!(more.key().created_by, "you");
    assert_eq!(cache.len(), 1);
}
