//! Tests of the cache actor: timers, offline mode, reload.

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, System};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::name::KeyName;
use crate::crypto::cipher::Cipher;
use crate::crypto::key_version::KeyVersion;
use crate::gateway::Gateway;
use crate::gateway::actor::GatewayActor;
use crate::gateway::messages::ReplaceStore;
use crate::keystore::KeyStore;
use crate::keystore::fault::{FaultStore, Operation};

const KEYS: [&str; 2] = ["a", "b"];

/// Runs `test` in an actor system whose time goes on as soon as nothing else can.
fn run(test: impl Future<Output = ()>) {
    let system = System::with_tokio_rt(|| {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        runtime.expect("a runtime")
    });
    system.block_on(test);
}

struct Running {
    store: Arc<FaultStore>,
    cache: KeyCache,
    actor: Addr<KeyCacheActor>,
    gateway_actor: Addr<GatewayActor>,
}

async fn start(any: u64, unused: u64, offline: u64) -> Running {
    let store = filled().await;
    let gateway = Gateway::new(store.clone(), Handle::current());
    let watch = DeathWatch::new("gateway", |_| {});
    let gateway_actor = GatewayActor::new(gateway.clone(), watch).start();
    let cache = KeyCache::new(gateway);
    let watch = DeathWatch::new("cache", |_| {});
    let expiry = seconds(any, unused, offline);
    let actor = KeyCacheActor::new(cache.clone(), expiry, watch).start();
    // The timers begin to run.
    tokio::task::yield_now().await;
    Running {
        store,
        cache,
        actor,
        gateway_actor,
    }
}

async fn filled() -> Arc<FaultStore> {
    let store = FaultStore::new();
    for key in KEYS {
        let value = KeyVersion::generate(Cipher::Aes256, Timestamp::now(), "me")
            .expect("random bytes")
            .encode()
            .expect("a value");
        store.create(name(key), value).await.expect("created");
    }
    store
}

fn seconds(any: u64, unused: u64, offline: u64) -> Expiry {
    Expiry {
        any: Duration::from_secs(any),
        unused: Duration::from_secs(unused),
        offline: Duration::from_secs(offline),
    }
}

fn name(name: &str) -> KeyName<'_> {
    KeyName::parse(name).expect("a name")
}

impl Running {
    async fn load_all(&self) {
        for key in KEYS {
            self.cache.load(name(key)).await.expect("a key");
        }
    }

    fn use_key(&self, key: &str) -> bool {
        self.cache.with_cached(name(key), |_| ()).is_some()
    }

    /// Lets time go by, and what is due then be done.
    async fn pass(&self, seconds: u64) {
        let time = Duration::from_secs(seconds) + Duration::from_millis(1);
        tokio::time::sleep(time).await;
    }

    async fn replace_expiry(&self, expiry: Expiry) {
        let (reply, replied) = oneshot::channel();
        let sent = self.actor.try_send(ReplaceExpiry { expiry, reply });
        sent.expect("room in the mailbox");
        replied.await.expect("an answer");
    }
}

#[test]
fn all_keys_go_when_the_time_for_any_is_over() {
    run(async {
        let running = start(100, 0, 0).await;
        running.pass(60).await;
        running.load_all().await;
        running.pass(39).await;
        assert_eq!(running.cache.len(), 2);
        // A free-running timer: it does not matter that the keys are only 41 s old.
        running.pass(1).await;
        assert_eq!(running.cache.len(), 0);
    });
}

#[test]
fn an_unused_key_goes_between_half_and_the_whole_time() {
    run(async {
        let running = start(0, 20, 0).await;
        running.load_all().await;
        running.pass(10).await;
        assert_eq!(running.cache.len(), 2);
        assert!(running.use_key("a"));
        running.pass(10).await;
        assert!(running.use_key("a"));
        assert!(!running.use_key("b"));
        running.pass(10).await;
        running.pass(10).await;
        assert_eq!(running.cache.len(), 0);
    });
}

#[test]
fn zero_means_for_ever() {
    run(async {
        let running = start(0, 0, 0).await;
        running.load_all().await;
        running.pass(100_000).await;
        assert_eq!(running.cache.len(), 2);
    });
}

#[test]
fn offline_caching_suspends_the_other_timers() {
    run(async {
        let running = start(100, 20, 1000).await;
        running.load_all().await;
        running.store.set_failing(true);
        running.pass(9).await;
        assert!(running.use_key("a") && running.use_key("b"));
        // The probe at 10 s notices, maybe after the first tick for unused keys.
        running.pass(900).await;
        assert_eq!(running.cache.len(), 2);
        running.pass(100).await;
        assert_eq!(running.cache.len(), 0, "the offline timer");

        running.store.set_failing(false);
        running.pass(10).await;
        running.load_all().await;
        running.pass(30).await;
        assert_eq!(running.cache.len(), 0, "the timer for unused keys again");
    });
}

#[test]
fn without_offline_caching_keys_go_although_the_store_is_down() {
    run(async {
        let running = start(100, 0, 0).await;
        running.load_all().await;
        running.store.set_failing(true);
        running.pass(50).await;
        assert_eq!(running.cache.gateway().status(), StoreStatus::Offline);
        assert!(running.use_key("a"));
        running.pass(50).await;
        assert_eq!(running.cache.len(), 0);
        let called = running.store.calls(Operation::Get);
        assert!(running.cache.load(name("a")).await.is_err());
        assert_eq!(
            running.store.calls(Operation::Get),
            called + 1,
            "a miss asks even a store that is offline"
        );
    });
}

#[test]
fn other_times_begin_with_an_empty_cache_and_new_timers() {
    run(async {
        let running = start(100, 0, 0).await;
        running.load_all().await;
        running.pass(60).await;
        running.replace_expiry(seconds(50, 0, 0)).await;
        running.pass(0).await;
        assert_eq!(running.cache.len(), 0);
        running.load_all().await;
        running.pass(45).await;
        assert_eq!(running.cache.len(), 2, "the old timer is gone");
        running.pass(5).await;
        assert_eq!(running.cache.len(), 0);
    });
}

/// However long it takes to wipe the keys: a reload waits for the answer, and so do other actors.
#[test]
fn new_times_are_acknowledged_before_the_keys_are_wiped() {
    run(async {
        // No timer: while the other thread is waited for, the clock would run to it.
        let running = start(0, 0, 0).await;
        running.load_all().await;
        // Whoever wipes has to wait for a reader of the map.
        let (began, has_begun) = oneshot::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let cache = running.cache.clone();
        let reader = std::thread::spawn(move || {
            let _ = cache.with_flights_held(|| {
                let _ = began.send(());
                finished.recv()
            });
        });
        has_begun.await.expect("a reader");
        running.replace_expiry(seconds(0, 0, 0)).await;
        assert_eq!(running.cache.len(), 2, "not wiped yet");
        drop(finish);
        reader.join().expect("a reader that ends");
        running.pass(0).await;
        assert_eq!(running.cache.len(), 0);
    });
}

#[test]
fn keys_can_be_forgotten_at_once() {
    run(async {
        let running = start(0, 0, 0).await;
        running.load_all().await;
        running.actor.try_send(Clear).expect("room in the mailbox");
        running.pass(0).await;
        assert_eq!(running.cache.len(), 0);
    });
}

#[test]
fn keys_of_a_replaced_store_are_gone_at_once_and_wiped_soon() {
    run(async {
        let running = start(0, 0, 0).await;
        running.load_all().await;
        let (reply, replied) = oneshot::channel();
        let store = filled().await;
        store.delete(name("b")).await.expect("deleted");
        let sent = running.gateway_actor.try_send(ReplaceStore {
            store: store.clone(),
            reply,
        });
        sent.expect("room in the mailbox");
        replied.await.expect("an answer");
        assert!(!running.use_key("a") && !running.use_key("b"));
        assert!(running.cache.load(name("b")).await.is_err());
        running.cache.load(name("a")).await.expect("a key");
        assert_eq!(store.calls(Operation::Get), 2);
        assert!(running.use_key("a"));
        running.pass(10).await;
        assert_eq!(running.cache.len(), 1);
    });
}

#[test]
fn without_the_actor_the_cache_goes_on() {
    run(async {
        let running = start(10, 0, 0).await;
        running.cache.load(name("a")).await.expect("a key");
        running.actor.try_send(Stop).expect("room in the mailbox");
        running.pass(60).await;
        assert!(!running.actor.connected());
        assert!(running.use_key("a"));
        running.cache.load(name("b")).await.expect("a key");
    });
}
