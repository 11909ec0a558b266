//! openraft's types to those of `proto/kes/cluster/v1` and back. Going there cannot fail, except for
//! what the codec refuses; coming back, everything is checked: a peer may be of another version, and
//! openraft takes for granted, or panics over, what no sane node would send.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{CommittedLeaderId, EntryPayload, Membership};

use super::proto;
use crate::base::limits::{CLUSTER_NODES_MAX, MEMBER_TEXT_BYTES_MAX};
use crate::machine::codec::{self, CodecError};
use crate::storage::{
    Entry, LogId, Member, NodeId, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

/// A message that makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    /// Something that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something has no meaning.
    #[error("{0} is not valid")]
    Invalid(&'static str),
    /// A command cannot be understood.
    #[error("a command cannot be understood: {0}")]
    Command(#[from] CodecError),
}

pub(super) fn vote_to(vote: &Vote) -> proto::Vote {
    proto::Vote {
        term: vote.leader_id.term,
        node_id: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

pub(super) fn vote_from(vote: Option<proto::Vote>) -> Result<Vote, ConvertError> {
    let vote = vote.ok_or(ConvertError::Missing("the vote"))?;
    Ok(match vote.committed {
        true => Vote::new_committed(vote.term, vote.node_id),
        false => Vote::new(vote.term, vote.node_id),
    })
}

/// The vote of a request: committed where a leader speaks, and not where a candidate does.
fn vote_of(vote: Option<proto::Vote>, committed: bool) -> Result<Vote, ConvertError> {
    let vote = vote_from(vote)?;
    match vote.committed == committed {
        true => Ok(vote),
        false => Err(ConvertError::Invalid("the kind of the vote")),
    }
}

pub(super) fn log_id_to(log_id: &LogId) -> proto::LogId {
    proto::LogId {
        term: log_id.leader_id.term,
        node_id: log_id.leader_id.node_id,
        index: log_id.index,
    }
}

pub(super) fn log_id_from(log_id: proto::LogId) -> LogId {
    let leader = CommittedLeaderId::new(log_id.term, log_id.node_id);
    LogId::new(leader, log_id.index)
}

pub(super) fn member_to(id: NodeId, member: &Member) -> proto::NodeMember {
    proto::NodeMember {
        node_id: id,
        member: Some(proto::Member {
            name: member.name.clone(),
            cluster_address: member.cluster_address.clone(),
            api_address: member.api_address.clone(),
        }),
    }
}

pub(super) fn member_from(node: proto::NodeMember) -> Result<(NodeId, Member), ConvertError> {
    let member = node.member.ok_or(ConvertError::Missing("a member"))?;
    let member = Member {
        name: member.name,
        cluster_address: member.cluster_address,
        api_address: member.api_address,
    };
    let texts = [&member.name, &member.cluster_address, &member.api_address];
    let fits = texts.iter().all(|text| text.len() <= MEMBER_TEXT_BYTES_MAX);
    match node.node_id != 0 && fits {
        true => Ok((node.node_id, member)),
        false => Err(ConvertError::Invalid("a member")),
    }
}

fn membership_to(membership: &Membership<NodeId, Member>) -> proto::Membership {
    let configs = membership.get_joint_config().iter();
    proto::Membership {
        configs: configs
            .map(|ids| proto::VoterSet {
                node_ids: ids.iter().copied().collect(),
            })
            .collect(),
        nodes: membership
            .nodes()
            .map(|(id, member)| member_to(*id, member))
            .collect(),
    }
}

/// A membership, or none at all: before the first.
fn membership_from(
    membership: proto::Membership,
) -> Result<Membership<NodeId, Member>, ConvertError> {
    let invalid = || ConvertError::Invalid("the membership");
    let (sets, nodes) = (membership.configs, membership.nodes);
    if nodes.len() > CLUSTER_NODES_MAX || sets.len() > 2 || sets.is_empty() != nodes.is_empty() {
        return Err(invalid());
    }
    let count = nodes.len();
    let nodes = nodes.into_iter().map(member_from);
    let nodes: BTreeMap<NodeId, Member> = nodes.collect::<Result<_, _>>()?;
    // One of two would be lost.
    if nodes.len() != count {
        return Err(invalid());
    }
    let sets = sets.into_iter().map(|set| voters_from(&set, &nodes));
    let sets: Vec<_> = sets.collect::<Option<_>>().ok_or_else(invalid)?;
    Ok(Membership::new(sets, nodes))
}

/// The voters of one set. There must be some, for a quorum of nobody decides anything, and each must be a
/// node, for the library would make one up.
fn voters_from(
    set: &proto::VoterSet,
    nodes: &BTreeMap<NodeId, Member>,
) -> Option<BTreeSet<NodeId>> {
    let ids = &set.node_ids;
    let is_whole = !ids.is_empty() && ids.iter().all(|id| nodes.contains_key(id));
    is_whole.then(|| ids.iter().copied().collect())
}

fn stored_membership_to(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to),
        membership: Some(membership_to(stored.membership())),
    }
}

fn stored_membership_from(
    stored: proto::StoredMembership,
) -> Result<StoredMembership, ConvertError> {
    let membership = stored
        .membership
        .ok_or(ConvertError::Missing("the membership"))?;
    let membership = membership_from(membership)?;
    Ok(StoredMembership::new(
        stored.log_id.map(log_id_from),
        membership,
    ))
}

fn entry_to(entry: &Entry) -> Result<proto::Entry, ConvertError> {
    use proto::entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(proto::Blank {}),
        EntryPayload::Normal(command) => Payload::Command(Bytes::from(codec::encode(command)?)),
        EntryPayload::Membership(membership) => Payload::Membership(membership_to(membership)),
    };
    Ok(proto::Entry {
        log_id: Some(log_id_to(&entry.log_id)),
        payload: Some(payload),
    })
}

fn entry_from(entry: proto::Entry) -> Result<Entry, ConvertError> {
    use proto::entry::Payload;
    let log_id = entry
        .log_id
        .ok_or(ConvertError::Missing("the place of an entry"))?;
    let payload = match entry
        .payload
        .ok_or(ConvertError::Missing("an entry's payload"))?
    {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(bytes) => EntryPayload::Normal(codec::decode(&bytes)?),
        Payload::Membership(membership) if membership.configs.is_empty() => {
            return Err(ConvertError::Invalid("a membership of nobody"));
        }
        Payload::Membership(membership) => EntryPayload::Membership(membership_from(membership)?),
    };
    Ok(Entry {
        log_id: log_id_from(log_id),
        payload,
    })
}

pub(super) fn vote_request_to(request: &VoteRequest<NodeId>) -> proto::RequestVoteRequest {
    proto::RequestVoteRequest {
        vote: Some(vote_to(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(log_id_to),
    }
}

pub(super) fn vote_request_from(
    request: proto::RequestVoteRequest,
) -> Result<VoteRequest<NodeId>, ConvertError> {
    Ok(VoteRequest {
        vote: vote_of(request.vote, false)?,
        last_log_id: request.last_log_id.map(log_id_from),
    })
}

pub(super) fn vote_response_to(response: &VoteResponse<NodeId>) -> proto::RequestVoteResponse {
    proto::RequestVoteResponse {
        vote: Some(vote_to(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(log_id_to),
    }
}

pub(super) fn vote_response_from(
    response: proto::RequestVoteResponse,
) -> Result<VoteResponse<NodeId>, ConvertError> {
    Ok(VoteResponse {
        vote: vote_from(response.vote)?,
        vote_granted: response.granted,
        last_log_id: response.last_log_id.map(log_id_from),
    })
}

/// The message with as many of the first entries as fit into `bytes_max`, but at least one.
pub(super) fn append_request_to(
    request: &AppendEntriesRequest<TypeConfig>,
    bytes_max: usize,
) -> Result<proto::AppendEntriesRequest, ConvertError> {
    let mut entries = Vec::with_capacity(request.entries.len());
    let mut bytes = 0;
    for entry in &request.entries {
        let entry = entry_to(entry)?;
        bytes += prost::Message::encoded_len(&entry);
        if bytes > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(proto::AppendEntriesRequest {
        vote: Some(vote_to(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(log_id_to),
        entries,
        leader_commit: request.leader_commit.as_ref().map(log_id_to),
    })
}

pub(super) fn append_request_from(
    request: proto::AppendEntriesRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, ConvertError> {
    let prev_log_id = request.prev_log_id.map(log_id_from);
    let mut entries: Vec<Entry> = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let entry = entry_from(entry)?;
        let before = entries.last().map(|entry| entry.log_id).or(prev_log_id);
        if !follows(&entry.log_id, before.as_ref()) {
            return Err(ConvertError::Invalid("the order of the entries"));
        }
        entries.push(entry);
    }
    Ok(AppendEntriesRequest {
        vote: vote_of(request.vote, true)?,
        prev_log_id,
        entries,
        leader_commit: request.leader_commit.map(log_id_from),
    })
}

/// Whether an entry may stand directly behind another, or, if there is none, at the beginning.
fn follows(entry: &LogId, before: Option<&LogId>) -> bool {
    match before {
        None => entry.index == 0,
        Some(before) => {
            before.index.checked_add(1) == Some(entry.index) && before.leader_id <= entry.leader_id
        }
    }
}

pub(super) fn append_response_to(
    response: &AppendEntriesResponse<NodeId>,
) -> proto::AppendEntriesResponse {
    use proto::append_entries_response::{Outcome, PartialSuccess};
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Success(proto::Blank {}),
        AppendEntriesResponse::PartialSuccess(matching) => {
            let matching = matching.as_ref().map(log_id_to);
            Outcome::PartialSuccess(PartialSuccess { matching })
        }
        AppendEntriesResponse::Conflict => Outcome::Conflict(proto::Blank {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::HigherVote(vote_to(vote)),
    };
    proto::AppendEntriesResponse {
        outcome: Some(outcome),
    }
}

pub(super) fn append_response_from(
    response: proto::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<NodeId>, ConvertError> {
    use proto::append_entries_response::Outcome;
    Ok(
        match response
            .outcome
            .ok_or(ConvertError::Missing("the outcome"))?
        {
            Outcome::Success(_) => AppendEntriesResponse::Success,
            Outcome::PartialSuccess(partial) => {
                AppendEntriesResponse::PartialSuccess(partial.matching.map(log_id_from))
            }
            Outcome::Conflict(_) => AppendEntriesResponse::Conflict,
            Outcome::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote_from(Some(vote))?),
        },
    )
}

pub(super) fn snapshot_header_to(
    vote: &Vote,
    meta: &SnapshotMeta,
    image_bytes: u64,
) -> proto::SnapshotHeader {
    proto::SnapshotHeader {
        vote: Some(vote_to(vote)),
        last_log_id: meta.last_log_id.as_ref().map(log_id_to),
        last_membership: Some(stored_membership_to(&meta.last_membership)),
        snapshot_id: meta.snapshot_id.clone(),
        image_bytes,
    }
}

pub(super) fn snapshot_header_from(
    header: proto::SnapshotHeader,
) -> Result<(Vote, SnapshotMeta, u64), ConvertError> {
    let membership = header
        .last_membership
        .ok_or(ConvertError::Missing("the membership"))?;
    if header.snapshot_id.len() > MEMBER_TEXT_BYTES_MAX {
        return Err(ConvertError::Invalid("the id of the snapshot"));
    }
    let last_log_id = header
        .last_log_id
        .ok_or(ConvertError::Missing("the place of the snapshot"))?;
    let meta = SnapshotMeta {
        last_log_id: Some(log_id_from(last_log_id)),
        last_membership: stored_membership_from(membership)?,
        snapshot_id: header.snapshot_id,
    };
    Ok((vote_of(header.vote, true)?, meta, header.image_bytes))
}
