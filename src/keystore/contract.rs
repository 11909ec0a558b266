//! The suite that every store must pass.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use super::{KeyStore, StoreError, StoreFuture};
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;

/// Length of the largest value that most stores must take. The values of keys have some 500 bytes.
pub(crate) const LARGE: usize = 64 << 10;

/// Checks the whole contract, with values of up to `large` bytes. Each call of `make` gives an empty
/// store.
pub(crate) async fn check<S: KeyStore>(large: usize, make: impl Fn() -> Arc<S>) {
    an_entry_is_what_was_stored(&*make(), large).await;
    an_entry_is_never_replaced(&*make()).await;
    absent_entries_are_not_found(&*make()).await;
    a_deleted_name_can_be_used_again(&*make()).await;
    listings_are_sorted_and_complete(&*make()).await;
    pages_continue_where_they_ended(&*make()).await;
    of_concurrent_creates_one_succeeds(make()).await;
    a_dropped_create_leaves_all_or_nothing(&*make()).await;
    let store = make();
    store.status().await.expect("the store is up");
    store.close().await.expect("closed");
}

/// Checks a store that outlives the process. Each call of `open` opens the same one, which is
/// empty at first.
pub(crate) async fn check_durable<S: KeyStore>(open: impl Fn() -> Arc<S>) {
    let store = open();
    store
        .create(name("kept"), value(b"v"))
        .await
        .expect("created");
    store
        .create(name("gone"), value(b"v"))
        .await
        .expect("created");
    store.delete(name("gone")).await.expect("deleted");
    store.close().await.expect("closed");
    drop(store);
    let store = open();
    assert_eq!(get(&*store, "kept").await, b"v");
    assert_absent(&*store, "gone").await;
    let created = store.create(name("kept"), value(b"w")).await;
    assert!(matches!(created, Err(StoreError::Exists)));
}

async fn an_entry_is_what_was_stored(store: &impl KeyStore, large: usize) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = every_byte.iter().copied().cycle().take(large).collect();
    let longest = "k".repeat(80);
    let cases: [(&str, &[u8]); 6] = [
        ("text", b"CiQKIAABAgMEBQY="),
        ("binary", &every_byte),
        ("large", &large),
        ("A", b"upper"),
        ("a", b"lower"),
        (&longest, b"long"),
    ];
    for (key, stored) in cases {
        store.create(name(key), value(stored)).await.expect(key);
    }
    for (key, stored) in cases {
        assert!(get(store, key).await == stored, "{key}");
    }
}

async fn an_entry_is_never_replaced(store: &impl KeyStore) {
    store
        .create(name("key"), value(b"first"))
        .await
        .expect("created");
    for other in [&b"second"[..], b"first"] {
        let created = store.create(name("key"), value(other)).await;
        assert!(matches!(created, Err(StoreError::Exists)));
        assert_eq!(get(store, "key").await, b"first");
    }
}

async fn absent_entries_are_not_found(store: &impl KeyStore) {
    store
        .create(name("key"), value(b"v"))
        .await
        .expect("created");
    for key in ["ke", "key-", "KEY", "other"] {
        let Some(key) = KeyName::parse(key) else {
            continue;
        };
        assert_absent(store, key.as_str()).await;
        // A store that cannot tell may say that it deleted what was not there.
        let deleted = store.delete(key).await;
        assert!(matches!(deleted, Ok(()) | Err(StoreError::NotFound)));
    }
    assert_eq!(get(store, "key").await, b"v");
}

async fn a_deleted_name_can_be_used_again(store: &impl KeyStore) {
    store
        .create(name("key"), value(b"first"))
        .await
        .expect("created");
    store
        .create(name("key2"), value(b"other"))
        .await
        .expect("created");
    store.delete(name("key")).await.expect("deleted");
    assert_absent(store, "key").await;
    assert_eq!(list(store, "", None, 10).await.0, ["key2"]);
    store
        .create(name("key"), value(b"second"))
        .await
        .expect("created");
    assert_eq!(get(store, "key").await, b"second");
    assert_eq!(get(store, "key2").await, b"other");
}

async fn listings_are_sorted_and_complete(store: &impl KeyStore) {
    assert_eq!(list(store, "", None, 10).await, (vec![], None));
    for key in [
        "my-key", "b", "_a", "my", "B", "my_key", "a", "zz", "my-key2",
    ] {
        store.create(name(key), value(b"v")).await.expect(key);
    }
    let all = [
        "B", "_a", "a", "b", "my", "my-key", "my-key2", "my_key", "zz",
    ];
    assert_eq!(list(store, "", None, usize::MAX).await.0, all);
    assert_eq!(list(store, "", None, 9).await, (owned(&all), None));
    assert_eq!(list(store, "my", None, 100).await.0, all[4..8]);
    assert_eq!(list(store, "my-", None, 100).await.0, all[5..7]);
    assert_eq!(list(store, "my*", None, 100).await.0, [""; 0]);
    assert_eq!(list(store, "zzz", None, 100).await, (vec![], None));
    assert_eq!(list(store, "", Some("my-key"), 100).await.0, all[5..]);
    assert_eq!(list(store, "my", Some("my-key1"), 100).await.0, all[6..8]);
    // Neither the start nor the name after it need exist.
    assert_eq!(list(store, "my", Some("a"), 100).await.0, all[4..8]);
    assert_eq!(list(store, "my", Some("x"), 100).await, (vec![], None));
}

async fn pages_continue_where_they_ended(store: &impl KeyStore) {
    let names: Vec<String> = (0..25).map(|n| format!("key-{n:02}")).collect();
    for key in &names {
        store.create(name(key), value(b"v")).await.expect(key);
    }
    store
        .create(name("zz"), value(b"v"))
        .await
        .expect("created");
    for limit in [1, 7, 24, 25, 26] {
        let mut seen = Vec::new();
        let mut start = None;
        loop {
            let (page, next) = list(store, "key-", start.as_deref(), limit).await;
            assert!(page.len() <= limit);
            assert!(next.is_none() || page.len() == limit, "a full page");
            seen.extend(page);
            match next {
                Some(next) => start = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, names, "pages of {limit}");
    }
}

async fn of_concurrent_creates_one_succeeds<S: KeyStore>(store: Arc<S>) {
    assert!(store.has_atomic_create());
    let mut tasks = Vec::new();
    for writer in 0..64_u8 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let created = store.create(name("key"), value(&[writer; 1000])).await;
            (writer, created)
        }));
    }
    let mut winners = Vec::new();
    for task in tasks {
        match task.await.expect("no panic") {
            (writer, Ok(())) => winners.push(writer),
            (_, Err(StoreError::Exists)) => {}
            (writer, Err(error)) => panic!("writer {writer}: {error}"),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&*store, "key").await, [winners[0]; 1000]);
    assert_eq!(list(&*store, "", None, 10).await.0, ["key"]);
}

async fn a_dropped_create_leaves_all_or_nothing(store: &impl KeyStore) {
    let content = vec![9; 32 << 10];
    for polls in 0..4 {
        let key = format!("key-{polls}");
        let mut create = store.create(name(&key), value(&content));
        for _ in 0..polls {
            if is_ready(&mut create).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(create);
        match store.get(name(&key)).await {
            Ok(stored) => assert!(stored.expose() == content),
            Err(StoreError::NotFound) => {}
            Err(error) => panic!("after {polls} polls: {error}"),
        }
    }
}

/// Polls `future` once.
pub(crate) async fn is_ready<T>(future: &mut StoreFuture<'_, T>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

fn name(name: &str) -> KeyName<'_> {
    KeyName::parse(name).expect("a valid name")
}

fn value(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn get(store: &impl KeyStore, key: &str) -> Vec<u8> {
    match store.get(name(key)).await {
        Ok(stored) => stored.expose().to_vec(),
        Err(error) => panic!("{key}: {error}"),
    }
}

async fn assert_absent(store: &impl KeyStore, key: &str) {
    let found = store.get(name(key)).await;
    assert!(matches!(found, Err(StoreError::NotFound)), "{key}");
}

async fn list(
    store: &impl KeyStore,
    prefix: &str,
    start: Option<&str>,
    limit: usize,
) -> (Vec<String>, Option<String>) {
    let page = store.list(prefix, start, limit).await.expect("a page");
    (page.names, page.next)
}
