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
    prop_oneof![candidate(), leader()]
}

fn candidate() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, node)| Vote::new(term, node))
}

fn leader() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, node)| Vote::new_committed(term, node))
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
    fn votes_come_back(
        candidate in candidate(), vote in vote(), last in prop::option::of(log_id()), granted: bool,
    ) {
        let request = VoteRequest { vote: candidate, last_log_id: last };
        let back = convert::vote_request_from(sent(&convert::vote_request_to(&request)));
        prop_assert_eq!(back.expect("a request"), request);
        let response = VoteResponse { vote, vote_granted: granted, last_log_id: last };
        let back = convert::vote_response_from(sent(&convert::vote_response_to(&response)));
        prop_assert_eq!(back.expect("a response"), response);
    }

    #[test]
    fn entries_come_back(
        vote in leader(),
        prev in prop::option::of(log_id().prop_filter("room", |id| id.index < u64::MAX - 100)),
        payloads in prop::collection::vec((0_u64..3, any::<u64>(), payload()), 0..6),
        commit in prop::option::of(log_id()),
    ) {
        let first = prev.map_or(0, |log_id| log_id.index + 1);
        let mut leader = prev.map_or_else(Default::default, |log_id| log_id.leader_id);
        let entries: Vec<Entry> = (first..).zip(payloads).map(|(index, (terms, node, payload))| {
            // Leaders come one after another.
            if terms > 0 {
                leader = CommittedLeaderId::new(leader.term.saturating_add(terms), node).max(leader);
            }
            Entry { log_id: LogId::new(leader, index), payload }
        }).collect();
        let request = AppendEntriesRequest {
            vote, prev_log_id: prev, entries, leader_commit: commit,
        };
        let message = convert::append_request_to(&request, usize::MAX).expect("a message");
        let back = convert::append_request_from(sent(&message)).expect("a request");
        prop_assert_eq!(back.vote, request.vote);
        prop_assert_eq!(back.prev_log_id, request.prev_log_id);
        prop_assert_eq!(back.leader_commit, request.leader_commit);
        prop_assert_eq!(&back.entries, &request.entries);
        // However little fits, entries are taken from the front, and one at least.
        for bytes_max in [0, 40, 200] {
            let message = convert::append_request_to(&request, bytes_max).expect("a message");
            let taken = convert::append_request_from(message).expect("a request").entries;
            prop_assert!(request.entries.starts_with(&taken));
            prop_assert_eq!(taken.is_empty(), request.entries.is_empty());
        }
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
        vote in leader(), last in log_id(), at in prop::option::of(log_id()),
        membership in prop_oneof![membership(), Just(Membership::default())], id in "[a-z0-9-]{0,40}", bytes: u64,
    ) {
        let meta = SnapshotMeta {
            last_log_id: Some(last),
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

const fn position(term: u64, index: u64) -> proto::LogId {
    proto::LogId {
        term,
        node_id: 1,
        index,
    }
}

fn entry(log_id: proto::LogId, payload: proto::entry::Payload) -> proto::Entry {
    proto::Entry {
        log_id: Some(log_id),
        payload: Some(payload),
    }
}

fn blank(term: u64, index: u64) -> proto::Entry {
    let payload = proto::entry::Payload::Blank(proto::Blank {});
    entry(position(term, index), payload)
}

fn append(entries: Vec<proto::Entry>) -> proto::AppendEntriesRequest {
    proto::AppendEntriesRequest {
        vote: Some(proto::Vote {
            term: 9,
            node_id: 1,
            committed: true,
        }),
        prev_log_id: None,
        entries,
        leader_commit: None,
    }
}

#[test]
fn entries_have_no_gap_and_leaders_come_in_order() {
    let good = append(vec![blank(1, 0), blank(1, 1), blank(2, 2)]);
    assert!(convert::append_request_from(good).is_ok());
    for entries in [
        vec![blank(1, 1)],
        vec![blank(1, 0), blank(1, 2)],
        vec![blank(1, 0), blank(1, 0)],
        vec![blank(2, 0), blank(1, 1)],
    ] {
        assert!(convert::append_request_from(append(entries)).is_err());
    }
    let mut last = append(vec![blank(1, u64::MAX)]);
    last.prev_log_id = Some(position(1, u64::MAX));
    assert!(convert::append_request_from(last).is_err());
}

#[test]
fn candidates_have_no_committed_vote_and_leaders_have() {
    let request = |committed| proto::RequestVoteRequest {
        vote: Some(proto::Vote {
            term: 9,
            node_id: 1,
            committed,
        }),
        last_log_id: None,
    };
    assert!(convert::vote_request_from(request(false)).is_ok());
    assert!(convert::vote_request_from(request(true)).is_err());
    let mut uncommitted = append(Vec::new());
    uncommitted.vote = request(false).vote;
    assert!(convert::append_request_from(uncommitted).is_err());
    let mut without = append(Vec::new());
    without.vote = None;
    assert!(convert::append_request_from(without).is_err());
}

#[test]
fn memberships_can_decide() {
    let node = |node_id| proto::NodeMember {
        node_id,
        member: Some(proto::Member::default()),
    };
    let set = |node_ids: &[u64]| proto::VoterSet {
        node_ids: node_ids.to_vec(),
    };
    let taken = |configs: Vec<proto::VoterSet>, nodes: Vec<proto::NodeMember>| {
        let membership = proto::Membership { configs, nodes };
        let payload = proto::entry::Payload::Membership(membership);
        let entries = vec![entry(position(1, 0), payload)];
        convert::append_request_from(append(entries)).is_ok()
    };
    assert!(taken(vec![set(&[1, 2])], vec![node(1), node(2), node(3)]));
    assert!(taken(vec![set(&[1]), set(&[2])], vec![node(1), node(2)]));
    for (configs, nodes) in [
        (vec![], vec![]),
        (vec![], vec![node(1)]),
        (vec![set(&[])], vec![node(1)]),
        (vec![set(&[1]), set(&[])], vec![node(1)]),
        (vec![set(&[1, 2])], vec![node(1)]),
        (vec![set(&[1])], vec![node(1), node(1)]),
        (vec![set(&[0])], vec![node(0)]),
        (vec![set(&[1]), set(&[1]), set(&[1])], vec![node(1)]),
        (vec![set(&[1])], (1..100).map(node).collect()),
    ] {
        assert!(!taken(configs, nodes));
    }
}

#[test]
fn what_is_no_command_is_no_entry() {
    for bytes in [&b""[..], &[9], &[1, 0xff, 0xff]] {
        let payload = proto::entry::Payload::Command(bytes.into());
        let entries = vec![entry(position(1, 0), payload)];
        assert!(convert::append_request_from(append(entries)).is_err());
    }
    let mut nothing = blank(1, 0);
    nothing.payload = None;
    assert!(convert::append_request_from(append(vec![nothing])).is_err());
}
