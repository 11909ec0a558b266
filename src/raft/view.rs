//! What this node knows of its cluster at the moment, for reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::{RaftMetrics, ServerState};

use crate::storage::{Member, NodeId};

/// The part that a node plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It decides the order of changes.
    Leader,
    /// It follows a leader and votes.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It follows and does not vote.
    Learner,
    /// It is stopping.
    Stopped,
}

impl Role {
    /// The role in lower-case letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
        }
    }
}

/// A member as the membership has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberView {
    /// Who it is.
    pub id: NodeId,
    /// How it is called and reached.
    pub member: Member,
    /// Whether it votes.
    pub is_voter: bool,
    /// Up to where it has the log, if this node is the leader and knows.
    pub matched: Option<u64>,
}

/// The cluster as this node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterView {
    /// This node.
    pub node_id: NodeId,
    /// Its role.
    pub role: Role,
    /// Who leads, if that is known.
    pub leader: Option<(NodeId, Member)>,
    /// The term of the last election that this node knows of.
    pub term: u64,
    /// The last entry of this node's log.
    pub last_log_index: u64,
    /// The last entry that this node has applied.
    pub applied_index: u64,
    /// All members; empty if this node belongs to no cluster.
    pub members: Vec<MemberView>,
    /// Why this node's part has stopped, if it has.
    pub failure: Option<String>,
}

impl ClusterView {
    /// The view that openraft's metrics give.
    pub(super) fn new(metrics: &RaftMetrics<NodeId, Member>) -> Self {
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().collect();
        let matched = |id: &NodeId| -> Option<u64> {
            let replication = metrics.replication.as_ref()?;
            Some(
                replication
                    .get(id)?
                    .as_ref()
                    .map_or(0, |log_id| log_id.index),
            )
        };
        let members = membership.nodes().map(|(id, member)| MemberView {
            id: *id,
            member: member.clone(),
            is_voter: voters.contains(id),
            matched: matched(id),
        });
        let leader = metrics.current_leader.and_then(|id| {
            let member = membership.get_node(&id)?;
            Some((id, member.clone()))
        });
        Self {
            node_id: metrics.id,
            role: role(metrics.state),
            leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |log_id| log_id.index),
            members: members.collect(),
            failure: metrics
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string),
        }
    }

    /// Whether this node belongs to a cluster.
    pub fn is_member(&self) -> bool {
        self.members.iter().any(|member| member.id == self.node_id)
    }

    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// The member of that name.
    pub fn member(&self, name: &str) -> Option<&MemberView> {
        self.members
            .iter()
            .find(|member| member.member.name == name)
    }

    /// The members that vote.
    pub fn voters(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_voter)
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}

/// When this node last knew that it belongs to a quorum: what it has may be older than that, but
/// not newer.
///
/// Hot path: reading is one atomic load.
pub(super) struct Contact {
    epoch: Instant,
    /// Milliseconds after `epoch`, plus one; zero: never.
    last: AtomicU64,
}

impl Contact {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// The leader, or a quorum, was heard of `ago` before now.
    pub(super) fn note(&self, ago: Duration) {
        let at = self.epoch.elapsed().saturating_sub(ago);
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.last.fetch_max(millis, Ordering::Release);
    }

    /// How long ago that was; `None`: never.
    pub(super) fn age(&self) -> Option<Duration> {
        match self.last.load(Ordering::Acquire) {
            0 => None,
            millis => {
                let at = Duration::from_millis(millis - 1);
                Some(self.epoch.elapsed().saturating_sub(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_never_moves_back() {
        let contact = Contact::new();
        assert_eq!(contact.age(), None);
        contact.note(Duration::ZERO);
        contact.note(Duration::from_secs(100));
        let age = contact.age().expect("a contact");
        assert!(age < Duration::from_secs(50), "{age:?}");
    }
}
