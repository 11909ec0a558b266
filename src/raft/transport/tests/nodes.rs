//! Nodes that talk to each other, and whom they do not talk to.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::error::{RPCError, Unreachable};
use openraft::network::RaftNetwork as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest};
use tokio::runtime::{Builder, Handle};

use super::harness::{Node, authorities, option, soon};
use crate::machine::Command;
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::membership::MembershipError;
use crate::raft::peers::Peers as _;
use crate::raft::transport::dial::Dialer;
use crate::raft::transport::tls::ClusterTls;
use crate::storage::{TypeConfig, Vote};

const SHORT: Duration = Duration::from_secs(10);

fn heartbeat(vote: Vote) -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote,
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raft_runs_over_it() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    one.found().await;
    for number in 0..5 {
        one.write(number).await;
    }
    // What the other needs is only in a snapshot.
    one.raft.trigger().snapshot().await.expect("asked");
    let snapshot = one.raft.wait(None);
    let snapshot = snapshot.metrics(|metrics| metrics.snapshot.is_some(), "a snapshot");
    soon(snapshot).await.expect("a snapshot");
    let last = one.raft.metrics().borrow().last_log_index.expect("a log");
    one.raft.trigger().purge_log(last).await.expect("asked");
    let purged = one.raft.wait(None);
    let purged = purged.metrics(|metrics| metrics.purged.is_some(), "purged");
    soon(purged).await.expect("purged");
    let learner = one.raft.add_learner(two.id, two.member.clone(), true);
    soon(learner).await.expect("a learner");
    let voters = BTreeSet::from([one.id, two.id]);
    soon(one.raft.change_membership(voters, false))
        .await
        .expect("voters");
    let written = one.write(99).await;
    soon(two.storage.wait_applied(written))
        .await
        .expect("applied");
    let digest = |node: &Node| node.storage.applied().load().state.digest();
    assert_eq!(digest(&one), digest(&two));

    // Votes, too.
    two.raft.trigger().elect().await.expect("asked");
    one.raft.runtime_config().heartbeat(false);
    let leads = two.raft.wait(None);
    let leads = leads.metrics(|metrics| metrics.current_leader == Some(two.id), "it leads");
    soon(leads).await.expect("another leader");
    soon(two.write(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_of_leadership_and_votes_share_a_connection() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    one.found().await;
    let learner = one.raft.add_learner(two.id, two.member.clone(), true);
    soon(learner).await.expect("a learner");
    let voters = BTreeSet::from([one.id, two.id]);
    soon(one.raft.change_membership(voters, false))
        .await
        .expect("voters");
    let dialed = one.map.dialed();
    for _ in 0..20 {
        soon(one.raft.get_read_log_id()).await.expect("it leads");
    }
    assert_eq!(one.map.dialed(), dialed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_the_name_of_another_node_is_refused() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let mut client = one.client_of(&two).await;
    for stranger in [two.id, one.id ^ 1] {
        let request = VoteRequest::new(Vote::new(5, stranger), None);
        let refused = client.vote(request, option(10_000)).await;
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains("its certificate names"), "{refused}");
        let request = heartbeat(Vote::new_committed(5, stranger));
        let refused = client.append_entries(request, option(10_000)).await;
        assert!(matches!(refused, Err(RPCError::Unreachable(_))));
    }
    let metrics = two.raft.metrics().borrow().clone();
    assert_eq!(metrics.vote, Vote::default());
    let own = heartbeat(Vote::new_committed(5, one.id));
    let answer = client.append_entries(own, option(10_000)).await;
    assert_eq!(answer.expect("an answer"), AppendEntriesResponse::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_at_an_address_is_asked_who_it_is_and_called_only_if_it_is_meant() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let found = one
        .dialer
        .describe(&two.member.cluster_address, SHORT)
        .await;
    let found = found.expect("a description");
    assert_eq!(
        (found.id, found.member.clone()),
        (two.id, two.member.clone())
    );
    assert!(found.is_fresh);
    let wrong = one.dialer.read_index(two.id ^ 1, &two.member, SHORT).await;
    let Err(ClusterError::LeaderUnreachable(reason)) = wrong else {
        panic!("{wrong:?}");
    };
    assert!(reason.contains("expected the node"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_root_key_learns_nothing() {
    let one = Node::start("one").await;
    let stranger = ClusterTls::new(1, authorities(&[8])).expect("settings");
    let stranger = Dialer::new(stranger, Handle::current());
    let asked = stranger.describe(&one.member.cluster_address, SHORT).await;
    assert!(matches!(asked, Err(ClusterError::LeaderUnreachable(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_arrive_as_what_they_are() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let leader = (two.id, &two.member);
    let asked = one.dialer.read_index(two.id, &two.member, SHORT).await;
    assert!(matches!(asked, Err(ClusterError::NotLeader)));
    let asked = one
        .dialer
        .trigger_election(two.id, &two.member, SHORT)
        .await;
    let Err(ClusterError::LeaderUnreachable(reason)) = asked else {
        panic!("{asked:?}");
    };
    assert!(reason.contains("shutting down"), "{reason}");
    let asked = one
        .dialer
        .admit(leader, "three", "three:1", true, SHORT)
        .await;
    assert!(matches!(asked, Err(MembershipError::Conflict(text)) if text == "not now"));
    let asked = one.dialer.promote(leader, "three", SHORT).await;
    assert!(matches!(asked, Err(MembershipError::NoSuchMember(text)) if text == "three"));
    let asked = one.dialer.remove(leader, "three", SHORT).await;
    assert!(matches!(
        asked,
        Err(MembershipError::Cluster(ClusterError::Overloaded))
    ));
    let command = Command::default();
    let late = Duration::from_millis(50);
    let asked = one
        .dialer
        .propose(two.id, &two.member, &command, late)
        .await;
    assert!(matches!(
        asked,
        Err(ProposeError::Cluster(ClusterError::TimedOut))
    ));
    assert_eq!(one.map.dialed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_counts_no_longer_than_its_root_key() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let ask = || one.dialer.read_index(two.id, &two.member, SHORT);
    assert!(matches!(ask().await, Err(ClusterError::NotLeader)));
    // The other has gone on to a new key alone.
    two.tls
        .replace_authorities(authorities(&[8]))
        .expect("replaced");
    let Err(ClusterError::LeaderUnreachable(reason)) = ask().await else {
        panic!("the old key counts");
    };
    assert!(reason.contains("certificate"), "{reason}");
    // So does this one; what is open is of the old key.
    one.tls
        .replace_authorities(authorities(&[8, 7]))
        .expect("replaced");
    assert!(matches!(ask().await, Err(ClusterError::NotLeader)));
    assert_eq!(one.map.dialed(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_unreachable() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let mut client = one.client_of(&two).await;
    two.serving.abort();
    // Whatever was open is cut; from now on nobody listens.
    assert!(two.serving.await.is_err());
    for _ in 0..3 {
        let request = heartbeat(Vote::new_committed(1, one.id));
        let error = client.append_entries(request, option(10_000)).await;
        let unreachable = |error: &Unreachable| error.to_string().contains("refused");
        assert!(
            matches!(&error, Err(RPCError::Unreachable(error)) if unreachable(error)),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_the_thread_that_needed_it_first() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let (dialer, id, member) = (one.dialer.clone(), two.id, two.member.clone());
    let elsewhere = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async move { dialer.read_index(id, &member, SHORT).await })
    });
    let asked = tokio::task::spawn_blocking(|| elsewhere.join()).await;
    let asked = asked.expect("a task").expect("a thread");
    assert!(matches!(asked, Err(ClusterError::NotLeader)));
    let asked = one.dialer.read_index(two.id, &two.member, SHORT).await;
    assert!(matches!(asked, Err(ClusterError::NotLeader)));
    assert_eq!(one.map.dialed(), 1);
}
