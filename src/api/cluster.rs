//! Handlers of `/v1/cluster/`: for the admin of a node that is part of a cluster.

use std::future::Future;
use std::pin::Pin;

use super::context::Api;
use super::dispatch::{Admitted, Body};
use super::error::ApiError;
use super::reply::Reply;
use crate::base::name::is_valid_name;
use crate::base::version::VERSION;
use crate::gateway::{ClusterAdmin, Health, Overview};
use crate::raft::{MemberView, MembershipError, Role};
use crate::wire::cluster::{
    self as wire, ClusterHealth, ClusterStatus, MemberRole, MemberStatus, RootKeyStatus,
    RotationSummary,
};
use crate::wire::go_json::to_go_json;

pub(super) async fn status(api: &Api) -> Result<Reply, ApiError> {
    let overview = cluster(api)?.overview().await;
    Ok(Reply::json(to_go_json(&to_wire(&overview))))
}

pub(super) async fn rotate_root_key(api: &Api) -> Result<Reply, ApiError> {
    let rotation = cluster(api)?.rotate_root_key().await?;
    tracing::info!(
        epoch = rotation.epoch,
        key_id = %rotation.key_id,
        resealed = rotation.resealed,
        "the root key of the cluster was rotated"
    );
    Ok(Reply::json(to_go_json(&RotationSummary {
        epoch: rotation.epoch,
        key_id: rotation.key_id.to_string(),
        resealed: rotation.resealed,
    })))
}

pub(super) async fn join(api: &Api, body: Body) -> Result<Reply, ApiError> {
    let Body::Complete(body) = body else {
        return Err(ApiError::InvalidBody);
    };
    let request = wire::parse_join(&body).map_err(|_| ApiError::InvalidBody)?;
    if !is_valid_name(&request.name) || request.address.is_empty() {
        return Err(ApiError::InvalidBody);
    }
    let (name, address) = (request.name, request.address);
    changed(api, "joins", name, move |cluster, name| {
        Box::pin(async move { cluster.join(name, &address, !request.learner).await })
    })
    .await
}

pub(super) async fn promote(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = request.resource().to_owned();
    changed(api, "becomes a voter", name, |cluster, name| {
        Box::pin(cluster.promote(name))
    })
    .await
}

pub(super) async fn remove(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = request.resource().to_owned();
    changed(api, "is removed", name, |cluster, name| {
        Box::pin(cluster.remove(name))
    })
    .await
}

pub(super) async fn leave(api: &Api) -> Result<Reply, ApiError> {
    let name = "this node".to_owned();
    changed(api, "leaves", name, |cluster, _| Box::pin(cluster.leave())).await
}

type Change<'a> = Pin<Box<dyn Future<Output = Result<(), MembershipError>> + Send + 'a>>;

/// Changes the membership. Goes on if the client goes away.
async fn changed(
    api: &Api,
    what: &'static str,
    name: String,
    change: impl for<'a> FnOnce(&'a ClusterAdmin, &'a str) -> Change<'a> + Send + 'static,
) -> Result<Reply, ApiError> {
    let cluster = cluster(api)?.clone();
    let change = api.gateway.runtime().spawn(async move {
        tracing::info!("member of the cluster: {name} {what}");
        let changed = change(&cluster, &name).await;
        if let Err(error) = &changed {
            tracing::warn!(%error, "member of the cluster: {name} {what} not");
        }
        changed
    });
    match change.await {
        Ok(changed) => changed?,
        Err(_aborted) => return Err(ApiError::Overloaded),
    }
    Ok(Reply::empty())
}

/// The dispatcher lets nobody come here without a cluster.
pub(super) fn cluster(api: &Api) -> Result<&ClusterAdmin, ApiError> {
    api.cluster.as_ref().ok_or(ApiError::NotAvailable)
}

fn to_wire(overview: &Overview) -> ClusterStatus {
    let view = &overview.view;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    ClusterStatus {
        cluster_id: overview
            .cluster_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        node: overview.node.clone(),
        leader: view
            .leader
            .as_ref()
            .map(|(_, member)| member.name.clone())
            .unwrap_or_default(),
        term: view.term,
        health: match overview.health {
            Health::Healthy => ClusterHealth::Healthy,
            Health::Degraded => ClusterHealth::Degraded,
            Health::NoQuorum => ClusterHealth::NoQuorum,
            Health::NotAMember => ClusterHealth::NotAMember,
            Health::Restoring => ClusterHealth::Restoring,
        },
        applied: view.applied_index,
        // What is applied here is committed; more is not known for certain.
        committed: view.applied_index,
        keys: count(overview.counts.keys),
        policies: count(overview.counts.policies),
        identities: count(overview.counts.identities),
        root_key: overview.root.map_or_else(RootKeyStatus::default, |root| {
            let (epoch, key_id, rotating) = root;
            RootKeyStatus {
                epoch,
                key_id: key_id.to_string(),
                rotating,
            }
        }),
        members: view
            .members
            .iter()
            .map(|member| member_status(overview, member))
            .collect(),
    }
}

fn member_status(overview: &Overview, known: &MemberView) -> MemberStatus {
    let view = &overview.view;
    let is_own = known.id == view.node_id;
    let is_leader = view.leader.as_ref().is_some_and(|(id, _)| *id == known.id);
    let reachable = is_own || overview.reachable.contains(&known.id);
    let applied = match known.matched {
        _ if is_own => view.applied_index,
        Some(matched) => matched,
        None => 0,
    };
    MemberStatus {
        name: known.member.name.clone(),
        id: format!("{:016x}", known.id),
        address: known.member.cluster_address.clone(),
        api: known.member.api_address.clone(),
        role: match view.role {
            _ if is_leader => MemberRole::Leader,
            Role::Follower if is_own => MemberRole::Follower,
            Role::Candidate if is_own => MemberRole::Candidate,
            _ if !known.is_voter => MemberRole::Learner,
            _ if reachable => MemberRole::Follower,
            _ => MemberRole::Unknown,
        },
        voter: known.is_voter,
        applied,
        lag: match is_own || known.matched.is_some() {
            true => view.last_log_index.saturating_sub(applied),
            false => 0,
        },
        reachable,
        version: if is_own {
            VERSION.to_owned()
        } else {
            String::new()
        },
    }
}
