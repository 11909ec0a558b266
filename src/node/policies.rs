//! Keeps the policies in force in step with those that the cluster agreed on, however they change:
//! by a proposal, by a snapshot from another node, or by a restore.

use actix::Addr;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::NodeError;
use super::tell::tell;
use crate::authz::actor::AuthzActor;
use crate::authz::messages::ReplaceReplicated;
use crate::base::exit::DeathWatch;
use crate::base::limits::BARRIER_TIMEOUT;
use crate::gateway::replicated_policies;
use crate::raft::{ClusterError, RaftHandle};

/// Puts the policies of the cluster in force, and from then on each change of them. The receiver
/// tells up to which revision they are. `watch` tells if that ends before the cluster does: rights
/// that were taken away must not stay.
///
/// # Errors
///
/// [`NodeError`] if the policies cannot be put in force.
pub(super) async fn follow(
    raft: RaftHandle,
    authz: Addr<AuthzActor>,
    mut watch: DeathWatch,
) -> Result<watch::Receiver<u64>, NodeError> {
    // What was agreed on while this node was away should hold from its first request on. Without a
    // quorum nobody can tell, and what is known here must do.
    if let Err(error) = catch_up(&raft).await {
        tracing::warn!(%error, "the policies of the cluster may be older than they should be");
    }
    let mut changes = raft.watch_policies();
    changes.mark_unchanged();
    let revision = put_in_force(&raft, &authz).await?;
    let (in_force, receiver) = watch::channel(revision);
    tokio::spawn(async move {
        // It ends with Raft.
        while changes.changed().await.is_ok() {
            match put_in_force(&raft, &authz).await {
                Ok(revision) => drop(in_force.send_replace(revision)),
                Err(error) => {
                    tracing::error!("the policies of the cluster are not in force: {error}");
                    return;
                }
            }
        }
        watch.disarm();
    });
    Ok(receiver)
}

/// Applies what was agreed on while this node was away, if that can be known soon.
async fn catch_up(raft: &RaftHandle) -> Result<(), ClusterError> {
    let has_history = raft.with_state(|state| state.cluster_id().is_some());
    let deadline = Instant::now() + BARRIER_TIMEOUT;
    let mut view = raft.watch_view();
    loop {
        match raft.read_barrier().await {
            // Raft has just been started and has not read yet what it is part of.
            Err(error @ ClusterError::NotMember) if has_history => {
                let changed = tokio::time::timeout_at(deadline, view.changed()).await;
                if !matches!(changed, Ok(Ok(()))) {
                    return Err(error);
                }
            }
            answer => return answer,
        }
    }
}

/// Gives the revision of what is in force now.
async fn put_in_force(raft: &RaftHandle, authz: &Addr<AuthzActor>) -> Result<u64, NodeError> {
    let raft = raft.clone();
    // There may be many.
    let built = tokio::task::spawn_blocking(move || replicated_policies(&raft)).await;
    let (replicated, revision) = built.map_err(|error| NodeError::Cluster(error.to_string()))?;
    tell(authz, "authorization", |reply| ReplaceReplicated {
        replicated,
        reply,
    })?
    .arrived()
    .await?;
    Ok(revision)
}
