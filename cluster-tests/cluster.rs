//! Clusters of real processes: how they begin, grow and shrink, and what they promise when nodes die.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::cluster::{Cluster, LIMIT, Node};
use crate::harness::http::{Dial, End, Request, Response};
use crate::harness::lone::draw_root_key;
use crate::harness::server::free_port;
use crate::harness::wait::{pace, wait_for};

async fn hmac(node: &Node, name: &str) -> (u16, Value) {
    let answer = node.call("PUT", &format!("/v1/key/hmac/{name}")).await;
    (answer.status, answer.json()["hmac"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_are_one_store_whatever_the_order_of_their_start() {
    let mut cluster = Cluster::prepare(3);
    for index in [2, 0] {
        cluster.nodes[index].start();
    }
    // Two of three founders: nothing begins, and nothing is claimed.
    for index in [2, 0] {
        let node = &cluster.nodes[index];
        let answer = node.call("PUT", "/v1/key/create/early").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let answer = node.call("GET", "/v1/key/describe/absent").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    cluster.nodes[1].start();
    for node in &cluster.nodes {
        node.until_ready().await;
    }
    for (index, node) in cluster.nodes.iter().enumerate() {
        let create = node
            .call("PUT", &format!("/v1/key/create/from-{index}"))
            .await;
        assert_eq!(create.status, 200, "{}", create.text());
        // At once, from any node: a miss is proven before it is said.
        let mut sums = Vec::new();
        for other in &cluster.nodes {
            sums.push(hmac(other, &format!("from-{index}")).await);
        }
        assert!(
            sums.iter().all(|sum| sum.0 == 200 && *sum == sums[0]),
            "{sums:?}"
        );
        let again = node
            .call("PUT", &format!("/v1/key/create/from-{index}"))
            .await;
        assert_eq!(
            (again.status, again.json()["message"].as_str()),
            (400, Some("key already exists"))
        );
        let absent = node.call("GET", "/v1/key/describe/absent").await;
        assert_eq!(absent.status, 404, "{}", absent.text());
    }
    let ids: Vec<Value> = {
        let mut ids = Vec::new();
        for node in &cluster.nodes {
            let status = node.status().await.expect("a status");
            assert_eq!(status["health"], "healthy", "{status}");
            assert_eq!(
                status["members"].as_array().map(Vec::len),
                Some(3),
                "{status}"
            );
            ids.push(status["cluster_id"].clone());
        }
        ids
    };
    assert!(
        ids.iter().all(|id| *id == ids[0] && *id != json!("")),
        "{ids:?}"
    );
}

/// A deleted key is gone on every node, also where it was in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_reaches_the_caches_of_all_nodes() {
    let cluster = Cluster::start(3).await;
    let create = cluster.nodes[0].call("PUT", "/v1/key/create/k").await;
    assert_eq!(create.status, 200);
    let mut before = Vec::new();
    for node in &cluster.nodes {
        before.push(hmac(node, "k").await);
    }
    assert_eq!(
        cluster.nodes[1]
            .call("DELETE", "/v1/key/delete/k")
            .await
            .status,
        200
    );
    for node in &cluster.nodes {
        let deadline = Instant::now() + Duration::from_secs(5);
        while hmac(node, "k").await.0 != 404 {
            assert!(
                Instant::now() < deadline,
                "{} still serves the key",
                node.name
            );
        }
    }
    // The same name again is another key, everywhere.
    assert_eq!(
        cluster.nodes[2]
            .call("PUT", "/v1/key/create/k")
            .await
            .status,
        200
    );
    let mut after = Vec::new();
    for node in &cluster.nodes {
        after.push(hmac(node, "k").await);
    }
    assert!(
        after.iter().all(|sum| sum.0 == 200 && *sum == after[0]),
        "{after:?}"
    );
    assert_ne!(before[0], after[0]);
}

/// What clients were told, for the checks at the end.
#[derive(Default)]
struct History {
    /// Acknowledged keys and their HMAC of nothing, as soon as it is known.
    acked: Mutex<HashMap<String, Option<Value>>>,
    violations: Mutex<Vec<String>>,
    creates: AtomicUsize,
    reads: AtomicUsize,
    failed_reads: AtomicUsize,
}

impl History {
    fn violation(&self, text: String) {
        self.violations.lock().expect("violations").push(text);
    }

    /// One name, one key: the first sum that anybody saw is what all must see.
    fn saw(&self, name: &str, sum: Value) {
        let mut acked = self.acked.lock().expect("acked");
        match acked.get_mut(name) {
            Some(Some(first)) if *first != sum => {
                let text = format!("{name}: {first} and {sum}");
                drop(acked);
                self.violation(text);
            }
            Some(first @ None) => *first = Some(sum),
            _ => {}
        }
    }
}

/// A node that is paused answers nobody: a client goes to another one then.
async fn within(request: impl Future<Output = Result<Response, End>>) -> Result<Response, End> {
    let limit = Duration::from_secs(3);
    tokio::time::timeout(limit, request)
        .await
        .unwrap_or(Err(End::Open))
}

/// A client that creates keys and reads those of everybody, at one node after the other, until told
/// to stop. A network error or a 503 says nothing; anything else must be right.
async fn client(number: usize, dials: Vec<Dial>, history: Arc<History>, stop: Arc<AtomicBool>) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let dial = &dials[(number + round) % dials.len()];
        let name = format!("c{number}-{round}");
        round += 1;
        let create = Request::new("PUT", &format!("/v1/key/create/{name}"));
        match within(dial.request(&create)).await {
            Ok(answer) if answer.status == 200 => {
                history.acked.lock().expect("acked").insert(name, None);
                history.creates.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) if answer.status == 503 => {}
            Ok(answer) => {
                let text = answer.text();
                history.violation(format!("create {name}: {} {text}", answer.status));
            }
            Err(_) => {}
        }
        let known = {
            let acked = history.acked.lock().expect("acked");
            let index = (round * 7919 + number) % acked.len().max(1);
            acked.keys().nth(index).cloned()
        };
        let Some(known) = known else { continue };
        let dial = &dials[(number + 2 * round) % dials.len()];
        let read = Request::new("PUT", &format!("/v1/key/hmac/{known}")).body("{}");
        match within(dial.request(&read)).await {
            Ok(answer) if answer.status == 200 => {
                history.reads.fetch_add(1, Ordering::Relaxed);
                history.saw(&known, answer.json()["hmac"].clone());
            }
            // The node is gone, or cannot know: never that the key is not there.
            Ok(answer) if answer.status == 503 => {
                history.failed_reads.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => {
                let text = answer.text();
                history.violation(format!("read {known}: {} {text}", answer.status));
            }
            Err(_) => {
                history.failed_reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Every acknowledged key is on every node, and the same on all.
async fn check(cluster: &Cluster, history: &History) {
    let acked: Vec<String> = history
        .acked
        .lock()
        .expect("acked")
        .keys()
        .cloned()
        .collect();
    for node in &cluster.nodes {
        let mut connection = node.dial().connect().await.expect("connect");
        for name in &acked {
            let read = Request::new("PUT", &format!("/v1/key/hmac/{name}")).body("{}");
            let answer = connection.exchange(&read).await.expect("an answer");
            match answer.status {
                200 => history.saw(name, answer.json()["hmac"].clone()),
                status => history.violation(format!("{}: {name}: {status}", node.name)),
            }
        }
    }
    let violations = history.violations.lock().expect("violations");
    let shown: Vec<&String> = violations.iter().take(10).collect();
    assert!(
        violations.is_empty(),
        "{} violations: {shown:#?}",
        violations.len()
    );
}

/// What happens to a node in a round.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stop,
    Pause,
    KillAll,
}

/// Nodes are killed, stopped and paused under load, the leader as often as another; nothing that was
/// acknowledged is lost, no name has two keys, and nobody is told that a key is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_whichever_node_dies() {
    let mut cluster = Cluster::start(3).await;
    let history = Arc::new(History::default());
    let stop = Arc::new(AtomicBool::new(false));
    let dials: Vec<Dial> = cluster.nodes.iter().map(Node::dial).collect();
    let mut clients = JoinSet::new();
    for number in 0..6 {
        let (dials, history) = (dials.clone(), Arc::clone(&history));
        clients.spawn(client(number, dials, history, Arc::clone(&stop)));
    }
    let faults = [
        Fault::Kill,
        Fault::Pause,
        Fault::Stop,
        Fault::KillAll,
        Fault::Kill,
        Fault::Pause,
        Fault::KillAll,
        Fault::Kill,
    ];
    for (round, fault) in faults.into_iter().enumerate() {
        until_more_creates(&history, 20).await;
        let leader = cluster.leader().await;
        let victim = if round % 3 == 2 {
            (leader + 1) % 3
        } else {
            leader
        };
        match fault {
            Fault::Kill => cluster.nodes[victim].kill(),
            Fault::Stop => cluster.nodes[victim].stop(),
            Fault::Pause => cluster.nodes[victim].server().signal(Signal::STOP),
            Fault::KillAll => cluster.nodes.iter_mut().for_each(Node::kill),
        }
        if !matches!(fault, Fault::KillAll) {
            // The other two go on without it.
            until_more_creates(&history, 20).await;
        }
        match fault {
            Fault::Kill | Fault::Stop => cluster.nodes[victim].start(),
            Fault::Pause => cluster.nodes[victim].server().signal(Signal::CONT),
            Fault::KillAll => cluster.nodes.iter_mut().for_each(Node::start),
        }
        for node in &cluster.nodes {
            node.until_ready().await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    check(&cluster, &history).await;
    eprintln!(
        "{} creates, {} reads, {} reads without an answer in {} rounds",
        history.creates.load(Ordering::Relaxed),
        history.reads.load(Ordering::Relaxed),
        history.failed_reads.load(Ordering::Relaxed),
        faults.len()
    );
}

async fn until_more_creates(history: &History, more: usize) {
    let wanted = history.creates.load(Ordering::Relaxed) + more;
    let deadline = Instant::now() + LIMIT;
    while history.creates.load(Ordering::Relaxed) < wanted {
        assert!(Instant::now() < deadline, "no more keys are created");
        pace(Duration::from_millis(10)).await;
    }
}

/// Without a quorum: what is known is served, everything else is 503, never a wrong 404.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_serves_what_it_knows_and_claims_nothing() {
    let mut cluster = Cluster::start(3).await;
    for name in ["used", "unused", "doomed"] {
        let create = cluster.nodes[0]
            .call("PUT", &format!("/v1/key/create/{name}"))
            .await;
        assert_eq!(create.status, 200);
    }
    let before = hmac(&cluster.nodes[0], "used").await;
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    assert_eq!(hmac(node, "used").await, before);
    assert_eq!(
        hmac(node, "unused").await.0,
        200,
        "it is here, and write-once"
    );
    for (method, path) in [
        ("PUT", "/v1/key/create/new"),
        // Whether this happens later is not known: nobody looks at that key again.
        ("DELETE", "/v1/key/delete/doomed"),
        ("GET", "/v1/key/describe/absent"),
        ("GET", "/v1/key/list/*"),
    ] {
        let answer = node.call(method, path).await;
        assert_eq!(answer.status, 503, "{method} {path}: {}", answer.text());
    }
    cluster.nodes[1].start();
    for index in [0, 1] {
        cluster.nodes[index].until_ready().await;
    }
    let absent = cluster.nodes[0]
        .call("GET", "/v1/key/describe/absent")
        .await;
    assert_eq!(absent.status, 404);
    assert_eq!(hmac(&cluster.nodes[1], "used").await, before);
}

/// A node that lost its disk is a stranger: it founds nothing and gets in only as a new member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_is_replaced() {
    let mut cluster = Cluster::start(3).await;
    assert_eq!(
        cluster.nodes[0]
            .call("PUT", "/v1/key/create/k")
            .await
            .status,
        200
    );
    let before = hmac(&cluster.nodes[0], "k").await;
    let lost = (cluster.leader().await + 1) % 3;
    let asked = (lost + 1) % 3;
    cluster.nodes[lost].kill();
    std::fs::remove_dir_all(cluster.nodes[lost].run.path("data")).expect("remove");
    cluster.nodes[lost].start();
    let name = cluster.nodes[lost].name.clone();
    let join = format!(
        "kes cluster join {name} 127.0.0.1:{}",
        cluster.nodes[lost].cluster_port
    );
    wait_for("advice", LIMIT, || {
        cluster.nodes[lost]
            .server()
            .stderr()
            .contains(&join)
            .then_some(())
    });
    let refused = cluster.nodes[lost].call("GET", "/v1/key/describe/k").await;
    assert_eq!(refused.status, 503, "{}", refused.text());

    let address = format!("127.0.0.1:{}", cluster.nodes[lost].cluster_port);
    let admin = &cluster.nodes[asked];
    let taken = admin.kes(&["cluster", "join", "-k", &name, &address]);
    assert!(
        !taken.status.success(),
        "the name is taken by the dead member: {taken:?}"
    );
    for args in [
        vec!["cluster", "remove", "-k", &name],
        vec!["cluster", "join", "-k", &name, &address],
    ] {
        let output = admin.kes(&args);
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    cluster.nodes[lost].until_ready().await;
    assert_eq!(hmac(&cluster.nodes[lost], "k").await, before);
    let status = cluster.nodes[asked].status().await.expect("a status");
    assert_eq!(status["health"], "healthy", "{status}");
    let voters = status["members"].as_array().map(|members| {
        members
            .iter()
            .filter(|member| member["voter"] == true)
            .count()
    });
    assert_eq!(voters, Some(3), "{status}");
    // It counts: with it, one of the others may die.
    cluster.nodes[asked].kill();
    let deadline = Instant::now() + LIMIT;
    while cluster.nodes[lost]
        .call("PUT", "/v1/key/create/after")
        .await
        .status
        != 200
    {
        assert!(Instant::now() < deadline, "the new member is no voter");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_to_five_and_shrinks_again() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..50 {
        let create = cluster.nodes[0]
            .call("PUT", &format!("/v1/key/create/k{number}"))
            .await;
        assert_eq!(create.status, 200);
    }
    for name in ["node4", "node5"] {
        let port = free_port();
        cluster.add(name, port, "");
        let new = cluster.nodes.last_mut().expect("a node");
        new.start();
        let address = format!("127.0.0.1:{port}");
        let output = cluster.nodes[1].kes(&["cluster", "join", "-k", name, &address]);
        assert!(output.status.success(), "{output:?}");
        let new = cluster.nodes.last().expect("a node");
        new.until_ready().await;
        assert_eq!(hmac(new, "k7").await, hmac(&cluster.nodes[0], "k7").await);
    }
    let status = cluster.nodes[4].status().await.expect("a status");
    assert_eq!(
        status["members"].as_array().map(Vec::len),
        Some(5),
        "{status}"
    );
    // The leader among those that leave.
    let leader = cluster.leader().await;
    for index in [leader, (leader + 1) % 5] {
        let name = cluster.nodes[index].name.clone();
        let asked = (leader + 2) % 5;
        let output = cluster.nodes[asked].kes(&["cluster", "remove", "-k", &name]);
        assert!(output.status.success(), "{output:?}");
        cluster.nodes[index].kill();
    }
    let asked = (leader + 2) % 5;
    let deadline = Instant::now() + LIMIT;
    while cluster.nodes[asked]
        .call("PUT", "/v1/key/create/after")
        .await
        .status
        != 200
    {
        assert!(
            Instant::now() < deadline,
            "the three that stay do not go on"
        );
    }
    let status = cluster.nodes[asked].status().await.expect("a status");
    assert_eq!(
        status["members"].as_array().map(Vec::len),
        Some(3),
        "{status}"
    );
}

/// A host without the root key is not let in, whatever it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_root_key_gets_nowhere() {
    let mut cluster = Cluster::start(3).await;
    let port = free_port();
    cluster.add("intruder", port, "");
    let intruder = cluster.nodes.last_mut().expect("a node");
    std::fs::remove_file(intruder.run.path("root.key")).expect("remove");
    draw_root_key(&intruder.run, "root.key");
    intruder.start();
    let address = format!("127.0.0.1:{port}");
    let output = cluster.nodes[0].kes(&["cluster", "join", "-k", "intruder", &address]);
    assert!(!output.status.success(), "{output:?}");
    let status = cluster.nodes[0].status().await.expect("a status");
    assert_eq!(
        status["members"].as_array().map(Vec::len),
        Some(3),
        "{status}"
    );
    assert_eq!(
        cluster.nodes[0]
            .call("PUT", "/v1/key/create/k")
            .await
            .status,
        200
    );
}

/// Writes root keys into the file of a node and has it read again.
fn give_root_keys(node: &mut Node, keys: &str) {
    node.run.write("root.key", keys);
    let seen = node
        .server()
        .stdout()
        .matches("SIGHUP signal completed")
        .count();
    node.server().signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        let now = node
            .server()
            .stdout()
            .matches("SIGHUP signal completed")
            .count();
        (now > seen).then_some(())
    });
}

/// As the documents tell: no request fails, and afterwards nobody needs the old key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_key_of_three_nodes_is_rotated() {
    let mut cluster = Cluster::start(3).await;
    for number in 0..100 {
        let create = cluster.nodes[0]
            .call("PUT", &format!("/v1/key/create/k{number}"))
            .await;
        assert_eq!(create.status, 200);
    }
    let before = hmac(&cluster.nodes[0], "k42").await;
    let old = cluster.nodes[0].run.read("root.key");
    draw_root_key(&cluster.nodes[0].run, "new.key");
    let new = cluster.nodes[0].run.read("new.key");
    let rotate = ["cluster", "root-key", "rotate", "-k"];
    // A node that does not know the new key could not read what is sealed under it.
    for index in [0, 1] {
        give_root_keys(&mut cluster.nodes[index], &format!("{old}{new}"));
    }
    give_root_keys(&mut cluster.nodes[0], &format!("{new}{old}"));
    let refused = cluster.nodes[0].kes(&rotate);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("node3"),
        "{text}"
    );
    give_root_keys(&mut cluster.nodes[2], &format!("{old}{new}"));
    for index in [1, 2] {
        give_root_keys(&mut cluster.nodes[index], &format!("{new}{old}"));
    }
    for node in &cluster.nodes {
        node.until_ready().await;
    }
    let rotated = cluster.nodes[0].kes(&rotate);
    assert!(rotated.status.success(), "{rotated:?}");
    for node in &mut cluster.nodes {
        give_root_keys(node, &new);
    }
    for index in 0..3 {
        cluster.nodes[index].kill();
        cluster.nodes[index].start();
        cluster.nodes[index].until_ready().await;
    }
    for node in &cluster.nodes {
        assert_eq!(hmac(node, "k42").await, before);
        assert_eq!(node.call("PUT", "/v1/key/generate/k7").await.status, 200);
    }
}
