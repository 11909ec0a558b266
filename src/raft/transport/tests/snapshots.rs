//! Snapshots on the wire: whole ones are taken, others are not, and none of them holds up the rest.

use bytes::Bytes;
use openraft::network::RaftNetwork as _;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{CommittedLeaderId, Membership};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::harness::{Node, option, soon};
use crate::base::limits::{SNAPSHOT_CHUNK_BYTES, SNAPSHOTS_RECEIVED_MAX};
use crate::raft::transport::dial::link::CallError;
use crate::raft::transport::proto::install_snapshot_request::Part;
use crate::raft::transport::proto::raft_service_client::RaftServiceClient;
use crate::raft::transport::{convert, proto};
use crate::storage::{LogId, SnapshotMeta, StoredMembership, Vote};

const LONG: std::time::Duration = std::time::Duration::from_secs(30);

fn header(from: &Node, bytes: u64) -> Part {
    let position = LogId::new(CommittedLeaderId::new(1, from.id), 9);
    let voters = [[from.id].into()];
    let nodes = std::collections::BTreeMap::from([(from.id, from.member.clone())]);
    let meta = SnapshotMeta {
        last_log_id: Some(position),
        last_membership: StoredMembership::new(
            Some(position),
            Membership::new(voters.to_vec(), nodes),
        ),
        snapshot_id: "a snapshot".to_owned(),
    };
    let vote = Vote::new_committed(1, from.id);
    Part::Header(convert::snapshot_header_to(&vote, &meta, bytes))
}

fn trailer(image: &[u8]) -> Part {
    let digest = Bytes::copy_from_slice(&Sha256::digest(image));
    Part::Trailer(proto::SnapshotTrailer { digest })
}

/// Sends these parts, and no more, but does not hang up while `parts` has a sender.
async fn send(
    from: &Node,
    to: &Node,
    parts: mpsc::Receiver<proto::InstallSnapshotRequest>,
) -> Result<proto::InstallSnapshotResponse, CallError> {
    let links = from.dialer.links(to.id, &to.member.cluster_address);
    let call = links.snapshots.call(LONG, LONG, |channel| async {
        let parts = ReceiverStream::new(parts);
        RaftServiceClient::new(channel)
            .install_snapshot(parts)
            .await
    });
    soon(call).await
}

async fn send_all(from: &Node, to: &Node, parts: Vec<Part>) -> String {
    let (sender, receiver) = mpsc::channel(parts.len().max(1));
    for part in parts {
        let part = proto::InstallSnapshotRequest { part: Some(part) };
        sender.try_send(part).expect("room");
    }
    drop(sender);
    match send(from, to, receiver).await {
        Ok(_) => "taken".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_snapshot_is_refused() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let chunk = || Part::Chunk(Bytes::from_static(b"image"));
    let big = Bytes::from(vec![0; SNAPSHOT_CHUNK_BYTES + 1]);
    let refused = |parts| send_all(&one, &two, parts);
    for parts in [
        vec![],
        vec![chunk()],
        vec![trailer(b"")],
        vec![header(&one, 5)],
        vec![header(&one, 5), chunk()],
        vec![header(&one, 5), header(&one, 5)],
        vec![header(&one, 5), chunk(), chunk(), trailer(b"imageimage")],
        vec![header(&one, 6), chunk(), trailer(b"image")],
        vec![header(&one, 5), chunk(), trailer(b"other")],
        vec![header(&one, u64::MAX), chunk(), trailer(b"image")],
        vec![header(&one, 1 << 30), Part::Chunk(big)],
    ] {
        let refused = refused(parts).await;
        assert!(
            refused.contains("missing") || refused.contains("not valid"),
            "{refused}"
        );
    }
    // Whole, but no image of a state: Raft would stop over it.
    let refused = refused(vec![header(&one, 5), chunk(), trailer(b"image")]).await;
    assert_ne!(refused, "taken");
    let metrics = two.raft.metrics().borrow().clone();
    assert!(metrics.running_state.is_ok() && metrics.snapshot.is_none());
    // In the name of another.
    let refused = send_all(
        &one,
        &two,
        vec![header(&two, 5), chunk(), trailer(b"image")],
    )
    .await;
    assert!(refused.contains("its certificate names"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_stall_hold_up_nothing_else() {
    let (one, two) = (Node::start("one").await, Node::start("two").await);
    let mut senders = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..SNAPSHOTS_RECEIVED_MAX {
        let (sender, receiver) = mpsc::channel(2);
        let part = Some(header(&one, 5));
        let part = proto::InstallSnapshotRequest { part };
        sender.send(part).await.expect("room");
        senders.push(sender);
        calls.push(send(&one, &two, receiver));
    }
    let stalled = futures_util::future::join_all(calls);
    let rest = async {
        // Until the stalled ones have all the places.
        while !send_all(&one, &two, vec![]).await.contains("too much") {}
        let mut client = one.client_of(&two).await;
        for _ in 0..10 {
            let heartbeat = AppendEntriesRequest {
                vote: Vote::new_committed(1, one.id),
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            let answer = client.append_entries(heartbeat, option(10_000)).await;
            assert_eq!(answer.expect("an answer"), AppendEntriesResponse::Success);
        }
        drop(senders);
    };
    let (stalled, ()) = tokio::join!(stalled, soon(rest));
    assert!(stalled.iter().all(Result::is_err));
}
