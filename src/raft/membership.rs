//! Changes of the membership, made by the leader: admit, promote, remove.

use std::collections::BTreeSet;
use std::time::Instant;

use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};

use super::error::ClusterError;
use super::handle::RaftHandle;
use super::view::MemberView;
use crate::base::limits::{
    DESCRIBE_TIMEOUT, FORWARD_RETRY_PAUSE, MEMBERSHIP_TIMEOUT, PROPOSE_TIMEOUT,
};
use crate::storage::{LogId, Member, NodeId};

/// Why the membership was not changed. The texts are for the operator who asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MembershipError {
    /// The cluster gives no answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is no such member.
    #[error("{0}")]
    NoSuchMember(String),
    /// The membership, or the node in question, does not allow it.
    #[error("{0}")]
    Conflict(String),
}

impl RaftHandle {
    /// Admits the fresh node at `address`, through whichever node leads: first as a learner, and as
    /// a voter when it has caught up, unless it shall stay a learner.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn admit(
        &self,
        name: &str,
        address: &str,
        as_voter: bool,
    ) -> Result<(), MembershipError> {
        match self.leader_for_changes().await? {
            None => self.admit_here(name, address, as_voter).await?,
            Some((id, member)) => {
                let (dialer, leader) = (&self.shared.dialer, (id, &member));
                let limit = MEMBERSHIP_TIMEOUT;
                dialer.admit(leader, name, address, as_voter, limit).await?
            }
        };
        Ok(())
    }

    /// Makes the learner `name` a voter.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn promote(&self, name: &str) -> Result<(), MembershipError> {
        match self.leader_for_changes().await? {
            None => self.promote_here(name).await?,
            Some((id, member)) => {
                let dialer = &self.shared.dialer;
                dialer
                    .promote((id, &member), name, MEMBERSHIP_TIMEOUT)
                    .await?
            }
        };
        Ok(())
    }

    /// Takes the member `name` out, whether it lives or not.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn remove(&self, name: &str) -> Result<(), MembershipError> {
        match self.leader_for_changes().await? {
            None => self.remove_here(name).await?,
            Some((id, member)) => {
                let dialer = &self.shared.dialer;
                dialer
                    .remove((id, &member), name, MEMBERSHIP_TIMEOUT)
                    .await?
            }
        };
        Ok(())
    }

    /// The leader, `None` if it is this node. Waits for an election that is under way.
    async fn leader_for_changes(&self) -> Result<Option<(NodeId, Member)>, ClusterError> {
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        loop {
            let view = self.view();
            match &view.leader {
                Some((id, _)) if *id == view.node_id => return Ok(None),
                Some(leader) => return Ok(Some(leader.clone())),
                None if !view.is_member() => return Err(ClusterError::NotMember),
                None if Instant::now() > deadline => return Err(ClusterError::NoLeader),
                None => self.until_view_changes(FORWARD_RETRY_PAUSE).await,
            }
        }
    }

    /// Admits the fresh node at `address`: first as a learner, and as a voter when it has caught up,
    /// unless it shall stay a learner. This node must lead.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub(super) async fn admit_here(
        &self,
        name: &str,
        address: &str,
        as_voter: bool,
    ) -> Result<LogId, MembershipError> {
        let described = self
            .shared
            .peers
            .describe(address, DESCRIBE_TIMEOUT)
            .await?;
        if described.member.name != name {
            let found = described.member.name;
            return Err(MembershipError::Conflict(format!(
                "the node at {address} calls itself '{found}', not '{name}'"
            )));
        }
        let view = self.view();
        match view.member(name) {
            // An admission that was interrupted goes on.
            Some(known) if known.id == described.id => {}
            Some(_) => {
                return Err(MembershipError::Conflict(format!(
                    "there is a member '{name}' already: remove it first"
                )));
            }
            None if !described.is_fresh => {
                return Err(MembershipError::Conflict(format!(
                    "the node at {address} belongs to a cluster already: only one with an empty \
                     data directory can join"
                )));
            }
            None => {}
        }
        let member = Member {
            cluster_address: address.to_owned(),
            ..described.member
        };
        let log_id = self.add_learner(described.id, member).await?;
        if !as_voter {
            return Ok(log_id);
        }
        self.make_voter(described.id).await
    }

    async fn add_learner(&self, id: NodeId, member: Member) -> Result<LogId, MembershipError> {
        // Waits until the learner has caught up.
        let added = self.shared.raft.add_learner(id, member, true);
        match tokio::time::timeout(MEMBERSHIP_TIMEOUT, added).await {
            Ok(Ok(response)) => Ok(response.log_id),
            Ok(Err(error)) => Err(membership_error(error)),
            Err(_elapsed) => Err(ClusterError::TimedOut.into()),
        }
    }

    async fn make_voter(&self, id: NodeId) -> Result<LogId, MembershipError> {
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true)
            .await
    }

    /// Makes the learner `name` a voter. This node must lead.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub(super) async fn promote_here(&self, name: &str) -> Result<LogId, MembershipError> {
        let id = self.member(name)?.id;
        self.make_voter(id).await
    }

    /// Takes the member `name` out, whether it lives or not. This node must lead.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub(super) async fn remove_here(&self, name: &str) -> Result<LogId, MembershipError> {
        let member = self.member(name)?;
        let view = self.view();
        if member.is_voter && view.voters().count() == 1 {
            return Err(last_voter());
        }
        let ids = BTreeSet::from([member.id]);
        if member.is_voter {
            self.change(ChangeMembers::RemoveVoters(ids), false).await
        } else {
            self.change(ChangeMembers::RemoveNodes(ids), false).await
        }
    }

    fn member(&self, name: &str) -> Result<MemberView, MembershipError> {
        let view = self.view();
        view.member(name)
            .cloned()
            .ok_or_else(|| MembershipError::NoSuchMember(format!("there is no member '{name}'")))
    }

    async fn change(
        &self,
        change: ChangeMembers<NodeId, Member>,
        keeps_removed: bool,
    ) -> Result<LogId, MembershipError> {
        let changed = self.shared.raft.change_membership(change, keeps_removed);
        match tokio::time::timeout(MEMBERSHIP_TIMEOUT, changed).await {
            Ok(Ok(response)) => Ok(response.log_id),
            Ok(Err(error)) => Err(membership_error(error)),
            Err(_elapsed) => Err(ClusterError::TimedOut.into()),
        }
    }
}

fn membership_error(error: RaftError<NodeId, ClientWriteError<NodeId, Member>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => ClusterError::NotLeader.into(),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => match error {
            ChangeMembershipError::EmptyMembership(_) => last_voter(),
            other => MembershipError::Conflict(other.to_string()),
        },
        RaftError::Fatal(error) => ClusterError::Stopped(error.to_string()).into(),
    }
}

fn last_voter() -> MembershipError {
    MembershipError::Conflict("the last voter cannot be removed".to_owned())
}
