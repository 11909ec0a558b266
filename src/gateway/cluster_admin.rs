//! What an operator can see and do of the cluster, whatever brings the request.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::backup::Backups;
use super::restore::Restores;
use super::root_rotation::{Rotation, RotationError, rotate};
use super::seals::Seals;
use crate::crypto::at_rest::{ClusterId, Epoch, RootKeyId};
use crate::machine::Counts;
use crate::raft::{ClusterError, ClusterView, MembershipError, RaftHandle};

/// The cluster, for its operators. Clones are the same.
#[derive(Clone)]
pub struct ClusterAdmin {
    raft: RaftHandle,
    seals: Arc<Seals>,
    runtime: Handle,
    /// One rotation at a time.
    rotation: Arc<Semaphore>,
    backups: Backups,
    restores: Restores,
}

/// How the cluster is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// A quorum answers, and everybody is close behind.
    Healthy,
    /// A quorum answers, but not everybody is there.
    Degraded,
    /// No quorum answers.
    NoQuorum,
    /// This node belongs to no cluster.
    NotAMember,
    /// A backup is being restored.
    Restoring,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug)]
pub struct Overview {
    /// `None` until it is founded.
    pub cluster_id: Option<ClusterId>,
    /// Name of this node.
    pub node: String,
    /// How the cluster is doing.
    pub health: Health,
    /// Who plays which part.
    pub view: Arc<ClusterView>,
    /// Records by their kind.
    pub counts: Counts,
    /// The current root key, and whether an older one is still in use.
    pub root: Option<(Epoch, RootKeyId, bool)>,
    /// The other members that answer.
    pub reachable: Vec<u64>,
}

impl ClusterAdmin {
    /// The cluster that `raft` is part of. Long work runs on `runtime`.
    pub fn new(raft: RaftHandle, seals: Arc<Seals>, runtime: Handle) -> Self {
        Self {
            backups: Backups::new(raft.clone(), Arc::clone(&seals), runtime.clone()),
            restores: Restores::new(raft.clone(), Arc::clone(&seals), runtime.clone()),
            raft,
            seals,
            runtime,
            rotation: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether a backup is being restored, so that nothing can be served.
    pub fn is_restoring(&self) -> bool {
        self.raft.with_state(|state| state.restoring().is_some())
    }

    /// Makes backups of it.
    pub fn backups(&self) -> &Backups {
        &self.backups
    }

    /// Restores backups into it.
    pub fn restores(&self) -> &Restores {
        &self.restores
    }

    /// The cluster as this node sees it; asks a quorum whether it is there.
    pub async fn overview(&self) -> Overview {
        let asked = (self.raft.read_barrier(), self.raft.reachable_members());
        let (quorum, reachable) = futures_util::future::join(asked.0, asked.1).await;
        let view = self.raft.view();
        let is_anybody_gone = reachable.len() + 1 < view.members.len();
        let (cluster_id, counts, root, is_restoring) = self.raft.with_state(|state| {
            let root = state.current_root().map(|root| {
                let is_rotating = state.roots().len() > 1;
                (root.epoch, RootKeyId(root.key_id), is_rotating)
            });
            let is_restoring = state.restoring().is_some();
            (state.cluster_id(), state.counts(), root, is_restoring)
        });
        let health = match quorum {
            Err(ClusterError::NotMember) => Health::NotAMember,
            _ if !view.is_member() => Health::NotAMember,
            Err(_) => Health::NoQuorum,
            Ok(()) if is_restoring => Health::Restoring,
            Ok(()) if is_anybody_gone || is_anybody_behind(&view) => Health::Degraded,
            Ok(()) => Health::Healthy,
        };
        Overview {
            cluster_id,
            node: self.raft.settings().name.clone(),
            health,
            view,
            counts,
            root,
            reachable,
        }
    }

    /// Admits the fresh node at `address` as the member `name`.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn join(
        &self,
        name: &str,
        address: &str,
        as_voter: bool,
    ) -> Result<(), MembershipError> {
        self.raft.admit(name, address, as_voter).await
    }

    /// Lets the learner `name` vote.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn promote(&self, name: &str) -> Result<(), MembershipError> {
        self.raft.promote(name).await
    }

    /// Takes the member `name` out.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn remove(&self, name: &str) -> Result<(), MembershipError> {
        self.raft.remove(name).await
    }

    /// Takes this node out of its cluster.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn leave(&self) -> Result<(), MembershipError> {
        self.raft.remove(&self.raft.settings().name).await
    }

    /// Rotates the root key to the preferred one of this node. Goes on if the caller goes away.
    ///
    /// # Errors
    ///
    /// [`RotationError`]; a rotation that was not finished can be repeated.
    pub async fn rotate_root_key(&self) -> Result<Rotation, RotationError> {
        let Ok(permit) = Arc::clone(&self.rotation).try_acquire_owned() else {
            return Err(RotationError::Busy);
        };
        let (raft, seals) = (self.raft.clone(), Arc::clone(&self.seals));
        let rotation = self.runtime.spawn(async move {
            let _permit = permit;
            rotate(&raft, &seals).await
        });
        match rotation.await {
            Ok(rotated) => rotated,
            Err(aborted) => {
                let stopped = ClusterError::Stopped(aborted.to_string());
                Err(RotationError::Propose(stopped.into()))
            }
        }
    }
}

/// Whether the leader knows of a member that is far behind. Followers do not know.
fn is_anybody_behind(view: &ClusterView) -> bool {
    const FAR: u64 = 1_000;
    let is_behind = |matched: Option<u64>| {
        matched.is_some_and(|matched| matched.saturating_add(FAR) < view.last_log_index)
    };
    view.is_leader()
        && view
            .members
            .iter()
            .any(|member| member.id != view.node_id && is_behind(member.matched))
}
