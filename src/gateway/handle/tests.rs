//! Tests of the gateway: time-outs, replaced stores.

use tokio::time::Instant;

use super::*;
use crate::keystore::fault::{FaultStore, Operation};

fn gateway(store: &Arc<FaultStore>) -> Gateway {
    Gateway::new(store.clone(), Handle::current())
}

fn name(name: &str) -> KeyName<'_> {
    KeyName::parse(name).expect("a name")
}

fn value() -> SecretBytes {
    SecretBytes::new(b"value".to_vec())
}

#[tokio::test]
async fn calls_reach_the_store() {
    let store = FaultStore::new();
    let gateway = gateway(&store);
    gateway.create(name("key"), value()).await.expect("created");
    let again = gateway.create(name("key"), value()).await;
    assert!(matches!(again, Err(StoreError::Exists)));
    let stored = gateway.get_from(gateway.current(), name("key")).await;
    assert!(stored.expect("a key") == value());
    let page = gateway.list("k", None, 10).await.expect("a page");
    assert_eq!(page.names, ["key"]);
    gateway.delete(name("key")).await.expect("deleted");
    let again = gateway.delete(name("key")).await;
    assert!(matches!(again, Err(StoreError::NotFound)));
    gateway.probe_now().await.expect("up");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_gives_an_error() {
    let store = FaultStore::new();
    let gateway = gateway(&store);
    store.hold(true);
    let started = Instant::now();
    let created = gateway.create(name("key"), value()).await;
    assert_eq!(
        created.expect_err("no answer").to_string(),
        "kes: keystore unreachable: no answer within 15 s"
    );
    assert!(started.elapsed() < STORE_CALL_TIMEOUT + Duration::from_secs(1));
    let others = [
        gateway.delete(name("key")).await.err(),
        gateway.list("", None, 1).await.err(),
        gateway.get_from(gateway.current(), name("key")).await.err(),
        gateway.probe_now().await.err(),
    ];
    for error in others {
        assert!(matches!(error, Some(StoreError::Unreachable { .. })));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_a_create() {
    let store = FaultStore::new();
    let gateway = gateway(&store);
    store.hold(true);
    let caller = gateway.clone();
    let create = tokio::spawn(async move { caller.create(name("key"), value()).await });
    store.until_called(1).await;
    create.abort();
    assert!(create.await.expect_err("aborted").is_cancelled());
    store.hold(false);
    // The store answers in the order of the calls' release: the create is the first.
    while gateway
        .list("", None, 1)
        .await
        .expect("a page")
        .names
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.calls(Operation::Create), 1);
}

#[tokio::test]
async fn a_store_that_panics_is_an_error() {
    let store = FaultStore::new();
    let gateway = gateway(&store);
    let call = async { panic!("a bug") };
    let result: Result<(), _> = gateway.run(STORE_CALL_TIMEOUT, Span::none(), call).await;
    assert!(matches!(
        result,
        Err(StoreError::Failed { store: "kes", .. })
    ));
}
