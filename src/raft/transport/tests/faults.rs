//! Networks and peers that misbehave.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::RPCError;
use openraft::network::RaftNetwork as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::harness::{Node, option, soon};
use crate::base::limits::{CLUSTER_HANDSHAKES_MAX, SHUTDOWN_GRACE};
use crate::machine::Command;
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::peers::Peers as _;
use crate::storage::{TypeConfig, Vote};

const LONG: Duration = Duration::from_secs(30);

/// A proxy whose connections last for an epoch: what was opened in an earlier one passes nothing any more,
/// and is not hung up either. In epoch 0 nothing passes.
async fn proxy(to: String, epoch: watch::Receiver<u32>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.expect("a connection");
            let far = TcpStream::connect(&to).await.expect("the node");
            tokio::spawn(pass(near, far, epoch.clone()));
        }
    });
    address
}

async fn pass(mut near: TcpStream, mut far: TcpStream, mut epoch: watch::Receiver<u32>) {
    let begun = epoch.wait_for(|epoch| *epoch > 0).await.map(|epoch| *epoch);
    let Ok(begun) = begun else { return };
    let over = async move {
        let _ = epoch.wait_for(|epoch| *epoch != begun).await;
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        () = over => {}
    }
    std::future::pending::<()>().await;
}

async fn nodes_with_a_proxy(epoch: u32) -> (Node, Node, watch::Sender<u32>) {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let (switch, state) = watch::channel(epoch);
    let address = two.member.cluster_address.clone();
    one.map.lead(&address, proxy(address.clone(), state).await);
    (one, two, switch)
}

fn heartbeat(from: &Node) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, from.id),
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_slower_than_the_patience_of_a_call_is_crossed_in_the_end() {
    let (one, two, switch) = nodes_with_a_proxy(0).await;
    let mut client = one.client_of(&two).await;
    for _ in 0..3 {
        let early = client.append_entries(heartbeat(&one), option(20)).await;
        assert!(matches!(early, Err(RPCError::Unreachable(_))), "{early:?}");
    }
    switch.send_replace(1);
    let answer = client.append_entries(heartbeat(&one), option(10_000)).await;
    assert_eq!(answer.expect("an answer"), AppendEntriesResponse::Success);
    // The attempt went on while callers came and went.
    assert_eq!(one.map.dialed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_comes_is_replaced() {
    let (one, two, switch) = nodes_with_a_proxy(1).await;
    let mut client = one.client_of(&two).await;
    let answer = client.append_entries(heartbeat(&one), option(10_000)).await;
    assert_eq!(answer.expect("an answer"), AppendEntriesResponse::Success);
    // From now on the connection swallows everything, as when a cable is pulled; new ones would work.
    switch.send_replace(2);
    let silence = client.append_entries(heartbeat(&one), option(100)).await;
    assert!(matches!(silence, Err(RPCError::Timeout(_))), "{silence:?}");
    let recovered = async {
        while client
            .append_entries(heartbeat(&one), option(200))
            .await
            .is_err()
        {}
    };
    soon(recovered).await;
    assert_eq!(one.map.dialed(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_no_node_out() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let mut strangers = Vec::new();
    for _ in 0..CLUSTER_HANDSHAKES_MAX + 8 {
        let stranger = TcpStream::connect(&two.member.cluster_address).await;
        strangers.push(stranger.expect("a connection"));
    }
    let asked = one.dialer.describe(&two.member.cluster_address, LONG).await;
    assert_eq!(asked.expect("a description").id, two.id);
    // The oldest had to go, long before its time was over.
    let ended = soon(strangers[0].read(&mut [0; 1])).await;
    assert!(!matches!(ended, Ok(1..)));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_do_not_end_end_with_the_server() {
    for kill in [false, true] {
        let (one, mut two) = (Node::start("one").await, Node::start("two").await);
        let (dialer, id, member) = (one.dialer.clone(), two.id, two.member.clone());
        let call = tokio::spawn(async move {
            let command = Command::default();
            dialer.propose(id, &member, &command, LONG).await
        });
        soon(two.proposed.notified()).await;
        let begun_at = tokio::time::Instant::now();
        match kill {
            true => two.serving.abort(),
            false => drop(two.stop.take()),
        }
        let ended = soon(call).await.expect("a task");
        assert!(
            matches!(
                ended,
                Err(ProposeError::Cluster(
                    ClusterError::LeaderUnreachable(_) | ClusterError::TimedOut
                ))
            ),
            "{ended:?}"
        );
        assert!(begun_at.elapsed() < SHUTDOWN_GRACE + LONG / 2);
        let _ = soon(two.serving).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_for_a_node_hear_that_it_is_not_there() {
    let (one, two, switch) = nodes_with_a_proxy(0).await;
    let one = Arc::new(one);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (one, id, member) = (Arc::clone(&one), two.id, two.member.clone());
            tokio::spawn(async move { one.dialer.read_index(id, &member, LONG).await })
        })
        .collect();
    for call in calls {
        let failed = soon(call).await.expect("a task");
        assert!(matches!(failed, Err(ClusterError::LeaderUnreachable(_))));
    }
    // Not one after another.
    assert!(one.map.dialed() <= 2);
    drop(switch);
}
