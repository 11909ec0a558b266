//! Keeps the policies in force in step with those that the cluster agreed on, however they change:
//! by a proposal, by a snapshot from another node, or by a restore.

use actix::Addr;
use tokio::sync::watch;

use super::error::NodeError;
use super::tell::tell;
use crate::authz::actor::AuthzActor;
use crate::authz::messages::ReplaceReplicated;
use crate::base::exit::DeathWatch;
use crate::gateway::replicated_policies;
use crate::raft::RaftHandle;

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
    if let Err(error) = raft.read_barrier().await {
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
