//! The end that calls: knows the other nodes, and keeps connections to them for openraft
//! (`super::network`) and for the rest of `raft`.
//!
//! Two connections lead to a node: one for calls, and one for snapshots, whose mass must not delay
//! heartbeats. They are opened when they are needed first, only ever to the node they are meant for, and
//! opened anew when they break, or when the certificates change. Everybody who calls a node shares them:
//! openraft asks for a new client for each vote and each proof that it leads, which must not cost a
//! handshake.

mod connection;
pub(super) mod link;
mod pause;
mod peers;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::proto::control_service_client::ControlServiceClient;
use super::refusal::membership_error;
use super::tls::ClusterTls;
use super::{convert, proto};
use crate::base::limits::{CLUSTER_MESSAGE_BYTES_MAX, CLUSTER_NODES_MAX};
use crate::raft::error::ClusterError;
use crate::raft::membership::MembershipError;
use crate::storage::{LogId, Member, NodeId};
use connection::Route;
use link::{CallError, Link, timed};

/// Where an address leads. Tests let it lead through a proxy that fails.
pub(in crate::raft) trait DialMap: Send + Sync + 'static {
    /// What to connect to, `host:port`, for the node whose address is `address`.
    fn route(&self, address: &str) -> String;
}

/// An address leads where it says.
struct Direct;

impl DialMap for Direct {
    fn route(&self, address: &str) -> String {
        address.to_owned()
    }
}

/// Calls other nodes. Clones share the connections.
#[derive(Clone)]
pub(in crate::raft) struct Dialer {
    tls: ClusterTls,
    map: Arc<dyn DialMap>,
    runtime: Handle,
    nodes: Arc<Mutex<HashMap<NodeId, Arc<NodeLinks>>>>,
}

/// The connections to one node.
pub(super) struct NodeLinks {
    pub(super) node: NodeId,
    address: String,
    pub(super) calls: Link,
    pub(super) snapshots: Link,
}

impl Dialer {
    /// A dialer whose connections live on `runtime`, whoever needs them first: on the thread of a handler
    /// they would wait for it, and end with it.
    pub(in crate::raft) fn new(tls: ClusterTls, runtime: Handle) -> Self {
        Self::with_map(tls, runtime, Arc::new(Direct))
    }

    /// A dialer whose connections go where `map` leads.
    pub(in crate::raft) fn with_map(
        tls: ClusterTls,
        runtime: Handle,
        map: Arc<dyn DialMap>,
    ) -> Self {
        Self {
            tls,
            map,
            runtime,
            nodes: Arc::default(),
        }
    }

    /// This node.
    pub(super) fn own(&self) -> NodeId {
        self.tls.node()
    }

    /// The connections to the node `node` at `address`. Nothing is connected yet.
    pub(super) fn links(&self, node: NodeId, address: &str) -> Arc<NodeLinks> {
        let mut known = self.known();
        if let Some(links) = known.get(&node).filter(|links| links.address == address) {
            return Arc::clone(links);
        }
        // Nodes come and go; none is used for ever.
        if known.len() > 2 * CLUSTER_NODES_MAX {
            known.clear();
        }
        let route = self.route(Some(node), address);
        let links = Arc::new(NodeLinks {
            node,
            address: address.to_owned(),
            calls: Link::new(route.clone(), self.runtime.clone()),
            snapshots: Link::new(route, self.runtime.clone()),
        });
        known.insert(node, Arc::clone(&links));
        links
    }

    fn route(&self, expected: Option<NodeId>, address: &str) -> Route {
        Route {
            tls: self.tls.clone(),
            map: Arc::clone(&self.map),
            expected,
            address: address.to_owned(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeId, Arc<NodeLinks>>> {
        // Held for a map operation, which leaves nothing half-changed.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a control call of a node.
    async fn control<T, F>(
        &self,
        node: (NodeId, &Member),
        timeout: Duration,
        rpc: impl FnOnce(ControlServiceClient<Channel>) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let links = self.links(node.0, &node.1.cluster_address);
        let rpc = |channel| rpc(client(channel));
        links.calls.call(timeout, timeout, rpc).await
    }

    /// Has the leader admit a node.
    pub(in crate::raft) async fn admit(
        &self,
        leader: (NodeId, &Member),
        name: &str,
        address: &str,
        as_voter: bool,
        timeout: Duration,
    ) -> Result<LogId, MembershipError> {
        let request = proto::AdmitRequest {
            name: name.to_owned(),
            address: address.to_owned(),
            as_voter,
        };
        let call = self.control(leader, timeout, |mut client| async move {
            client.admit(timed(request, timeout)).await
        });
        changed(call.await.map(|answer| answer.log_id))
    }

    /// Has the leader let a learner vote.
    pub(in crate::raft) async fn promote(
        &self,
        leader: (NodeId, &Member),
        name: &str,
        timeout: Duration,
    ) -> Result<LogId, MembershipError> {
        let name = name.to_owned();
        let call = self.control(leader, timeout, |mut client| async move {
            let request = proto::PromoteRequest { name };
            client.promote(timed(request, timeout)).await
        });
        changed(call.await.map(|answer| answer.log_id))
    }

    /// Has the leader take a member out.
    pub(in crate::raft) async fn remove(
        &self,
        leader: (NodeId, &Member),
        name: &str,
        timeout: Duration,
    ) -> Result<LogId, MembershipError> {
        let name = name.to_owned();
        let call = self.control(leader, timeout, |mut client| async move {
            let request = proto::RemoveRequest { name };
            client.remove(timed(request, timeout)).await
        });
        changed(call.await.map(|answer| answer.log_id))
    }
}

fn changed(answer: Result<Option<proto::LogId>, CallError>) -> Result<LogId, MembershipError> {
    let log_id = answer.map_err(|error| membership_error(&error))?;
    log_id
        .map(convert::log_id_from)
        .ok_or_else(|| ClusterError::LeaderUnreachable("an empty answer".to_owned()).into())
}

fn client(channel: Channel) -> ControlServiceClient<Channel> {
    ControlServiceClient::new(channel)
        .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
}
