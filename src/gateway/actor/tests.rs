//! Tests of the gateway actor: probes, replacement, death.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use actix::{Addr, System};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::*;
use crate::keystore::fault::{FaultStore, Operation};

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

fn start(store: &Arc<FaultStore>) -> (Gateway, Addr<GatewayActor>) {
    let gateway = Gateway::new(store.clone(), Handle::current());
    let watch = DeathWatch::new("gateway", |_| {});
    let actor = GatewayActor::new(gateway.clone(), watch).start();
    (gateway, actor)
}

async fn replace(actor: &Addr<GatewayActor>, store: &Arc<FaultStore>) {
    let (reply, replied) = oneshot::channel();
    let store = store.clone();
    let sent = actor.try_send(ReplaceStore { store, reply });
    sent.expect("room in the mailbox");
    replied.await.expect("an answer");
}

/// Lets `time` go by, and what is due then be done.
async fn pass(time: Duration) {
    tokio::time::sleep(time + Duration::from_millis(1)).await;
}

#[test]
fn the_status_is_that_of_the_last_probe() {
    run(async {
        let store = FaultStore::new();
        let (gateway, _actor) = start(&store);
        store.set_failing(true);
        pass(STORE_PROBE_INTERVAL - Duration::from_secs(1)).await;
        assert_eq!(store.calls(Operation::Status), 0);
        assert_eq!(gateway.status(), StoreStatus::Online);
        pass(Duration::from_secs(1)).await;
        assert_eq!(gateway.status(), StoreStatus::Offline);
        store.set_failing(false);
        let asked = store.calls(Operation::Status);
        let answer = gateway.probe_now().await.expect_err("offline");
        assert_eq!(
            answer.to_string(),
            "kes: keystore unreachable: keystore is offline"
        );
        assert_eq!(store.calls(Operation::Status), asked, "without a question");
        pass(STORE_PROBE_INTERVAL).await;
        assert_eq!(gateway.status(), StoreStatus::Online);
        gateway.probe_now().await.expect("online");
    });
}

#[test]
fn probes_do_not_overlap_and_do_not_hang() {
    run(async {
        let store = FaultStore::new();
        let (gateway, _actor) = start(&store);
        store.hold(true);
        pass(STORE_PROBE_INTERVAL * 2 - Duration::from_secs(1)).await;
        assert_eq!(store.calls(Operation::Status), 1);
        assert_eq!(gateway.status(), StoreStatus::Online);
        pass(Duration::from_secs(2)).await;
        assert_eq!(gateway.status(), StoreStatus::Offline);
        store.hold(false);
        pass(STORE_PROBE_INTERVAL * 2).await;
        assert_eq!(gateway.status(), StoreStatus::Online);
    });
}

#[test]
fn a_replaced_store_is_closed_after_its_last_call() {
    run(async {
        let (old, new) = (FaultStore::new(), FaultStore::new());
        let (gateway, actor) = start(&old);
        old.set_failing(true);
        pass(STORE_PROBE_INTERVAL).await;
        assert_eq!(gateway.status(), StoreStatus::Offline);
        old.set_failing(false);
        old.hold(true);
        let called = old.total();
        let waiting = gateway.clone();
        let list = tokio::spawn(async move { waiting.list("", None, 1).await });
        old.until_called(called + 1).await;

        replace(&actor, &new).await;
        assert_eq!(gateway.generation(), 1);
        assert_eq!(gateway.status(), StoreStatus::Online);
        gateway.list("", None, 1).await.expect("a page");
        assert_eq!(new.calls(Operation::List), 1);
        assert_eq!(old.calls(Operation::Close), 0, "a call is under way");

        old.hold(false);
        list.await.expect("no panic").expect("a page");
        pass(Duration::ZERO).await;
        assert_eq!(old.calls(Operation::Close), 1);
        assert_eq!(new.calls(Operation::Close), 0);
        gateway.close().await;
        gateway.close().await;
        drop((gateway, actor));
        pass(Duration::ZERO).await;
        assert_eq!(new.calls(Operation::Close), 1);
    });
}

#[test]
fn a_probe_of_the_old_store_says_nothing_about_the_new_one() {
    run(async {
        let (old, new) = (FaultStore::new(), FaultStore::new());
        let (gateway, actor) = start(&old);
        old.set_failing(true);
        old.hold(true);
        pass(STORE_PROBE_INTERVAL).await;
        assert_eq!(old.calls(Operation::Status), 1);
        replace(&actor, &new).await;
        old.hold(false);
        pass(Duration::from_secs(1)).await;
        assert_eq!(gateway.status(), StoreStatus::Online);
    });
}

#[test]
fn a_told_stop_is_no_death_and_a_dropped_context_is() {
    let (deaths, told) = mpsc::channel();
    let watch = |deaths: &mpsc::Sender<&'static str>| {
        let deaths = deaths.clone();
        DeathWatch::new("gateway", move |actor| {
            deaths.send(actor).expect("the receiver is alive");
        })
    };
    run(async {
        let gateway = Gateway::new(FaultStore::new(), Handle::current());
        let actor = GatewayActor::new(gateway.clone(), watch(&deaths)).start();
        actor.try_send(Stop).expect("room in the mailbox");
        pass(Duration::ZERO).await;
        assert!(!actor.connected());
        assert!(told.try_recv().is_err());

        let actor = GatewayActor::new(gateway, watch(&deaths)).start();
        drop(actor);
        pass(Duration::ZERO).await;
    });
    assert_eq!(told.try_recv(), Ok("gateway"));
}
