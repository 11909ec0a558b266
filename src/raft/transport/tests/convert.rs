//! Messages come back as they were, and nonsense is an error.

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{CommittedLeaderId, EntryPayload, Membership};
use proptest::prelude::*;
use prost::Message as _;

use crate::machine::{Command, Op, Proposal};
use crate::raft::transport::{convert, proto};
use crate::storage::{Entry, LogId, Member, NodeId, SnapshotMeta, StoredMembership, Vote};

fn log_id() -> impl Strategy<Value = LogId> {
    (any::<u64>(), any::<u64>(), any::<u64>())
        .prop_map(|(term, node, index)| LogId::new(CommittedLeaderId::new(term, node), index))
}

fn vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(
        |(term, node, committed)| match committed {
            true => Vote::new_committed(term, node),
            false => Vote::new(term, node),
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    ("[a-z]{1,8}", "[a-z0-9.:]{0,20}", "[a-z0-9.:/]{0,20}").prop_map(
        |(name, cluster_address, api_address)| Member {
            name,
            cluster_address,
            api_address,
        },
    )
}

fn membership() -> impl Strategy<Value = Membership<NodeId, Member>> {
    let nodes = prop::collection::btree_map(1..=u64::MAX, member(), 1..6);
    nodes.prop_flat_map(|nodes: BTreeMap<NodeId, Member>| {
        let ids: Vec<NodeId> = nodes.keys().copied().collect();
        let all = ids.len();
        let set = prop::sample::subsequence(ids, 1..=all);
        prop::collection::vec(set, 1..=2).prop_map(move |configs| {
            let configs = configs
                .into_iter()
                .map(|set| set.into_iter().collect::<BTreeSet<_>>());
            Membership::new(configs.collect(), nodes.clone())
        })
    })
}

fn payload() -> impl Strategy<Value = EntryPayload<crate::storage::TypeConfig>> {
    let command = prop::collection::vec((any::<u128>(), "[a-z]{1,9}"), 0..4);
    prop_oneof![
        Just(EntryPayload::Blank),
        command.prop_map(|deletes| {
            let proposals = deletes.into_iter().map(|(request_id, name)| Proposal {
                request_id,
                op: Op::DeleteKey { name },
            });
            EntryPayload::Normal(Command {
                proposals: proposals.collect(),
            })
        }),
        membership().prop_map(EntryPayload::Membership),
    ]
}

/// Through the bytes of the wire and back.
fn sent<M: prost::Message + Default>(message: &M) -> M {
    M::decode(&message.encode_to_vec()[..]).expect("a message")
}

proptest! {
    #[test]
    fn votes_come_back(vote in vote(), last in prop::option::of(log_id()), granted: bool) {
        let request = VoteRequest { vote, last_log_id: last };
        let back = convert::vote_request_from(sent(&convert::vote_request_to(&request)));
        prop_assert_eq!(back.expect("a request"), request);
        let response = VoteResponse { vote, vote_granted: granted, last_log_id: last };
        let back = convert::vote_response_from(sent(&convert::vote_response_to(&response)));
        prop_assert_eq!(back.expect("a response"), response);
    }

    #[test]
    fn entries_come_back(
        vote in vote(),
        prev in prop::option::of(log_id().prop_filter("room", |id| id.index < u64::MAX - 100)),
        payloads in prop::collection::vec((any::<u64>(), any::<u64>(), payload()), 0..6),
        commit in prop::option::of(log_id()),
    ) {
        let first = prev.map_or(0, |log_id| log_id.index + 1);
        let entries: Vec<Entry> = (first..).zip(payloads).map(|(index, (term, node, payload))| {
            let log_id = LogId::new(CommittedLeaderId::new(term, node), index);
            Entry { log_id, payload }
        }).collect();
        let request = AppendEntriesRequest {
            vote, prev_log_id: prev, entries, leader_commit: commit,
        };
        let message = convert::append_request_to(&request).expect("a message");
        let back = convert::append_request_from(sent(&message)).expect("a request");
        prop_assert_eq!(back.vote, request.vote);
        prop_assert_eq!(back.prev_log_id, request.prev_log_id);
        prop_assert_eq!(back.leader_commit, request.leader_commit);
        prop_assert_eq!(back.entries, request.entries);
    }

    #[test]
    fn answers_come_back(vote in vote(), matching in prop::option::of(log_id())) {
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(matching),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            let back = convert::append_response_from(sent(&convert::append_response_to(&response)));
            prop_assert_eq!(back.expect("a response"), response);
        }
    }

    #[test]
    fn descriptions_of_snapshots_come_back(
        vote in vote(), last in prop::option::of(log_id()), at in prop::option::of(log_id()),
        membership in membership(), id in "[a-z0-9-]{0,40}", bytes: u64,
    ) {
        let meta = SnapshotMeta {
            last_log_id: last,
            last_membership: StoredMembership::new(at, membership),
            snapshot_id: id,
        };
        let message = convert::snapshot_header_to(&vote, &meta, bytes);
        let back = convert::snapshot_header_from(sent(&message)).expect("a header");
        prop_assert_eq!(back, (vote, meta, bytes));
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic(bytes: Vec<u8>) {
        if let Ok(message) = proto::AppendEntriesRequest::decode(&bytes[..]) {
            let _ = convert::append_request_from(message);
        }
        if let Ok(message) = proto::RequestVoteRequest::decode(&bytes[..]) {
            let _ = convert::vote_request_from(message);
        }
        if let Ok(message) = proto::SnapshotHeader::decode(&bytes[..]) {
            let _ = convert::snapshot_header_from(message);
        }
        if let Ok(message) = proto::NodeMember::decode(&bytes[..]) {
            let _ = convert::member_from(message);
        }
    }
}

#[test]
fn what_raft_takes_for_granted_is_checked() {
    let entry = |index| {
        let log_id = proto::LogId {
            term: 1,
            node_id: 1,
            index,
        };
        proto::Entry {
            log_id: Some(log_id),
            payload: Some(proto::entry::Payload::Blank(proto::Blank {})),
        }
    };
    let request = |entries| proto::AppendEntriesRequest {
        vote: Some(proto::Vote {
            term: 1,
            node_id: 1,
            committed: true,
        }),
        prev_log_id: None,
        entries,
        leader_commit: None,
    };
    assert!(convert::append_request_from(request(vec![entry(0), entry(1)])).is_ok());
    for gap in [
        vec![entry(1)],
        vec![entry(0), entry(2)],
        vec![entry(0), entry(0)],
    ] {
        assert!(convert::append_request_from(request(gap)).is_err());
    }
    let mut without_vote = request(Vec::new());
    without_vote.vote = None;
    assert!(convert::append_request_from(without_vote).is_err());
    let nobody = proto::NodeMember {
        node_id: 0,
        member: Some(proto::Member::default()),
    };
    assert!(convert::member_from(nobody).is_err());
}
