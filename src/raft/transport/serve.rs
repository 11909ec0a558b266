//! The cluster port: accepts nodes that hold a root key, and hands their calls on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::accept::Acceptor;
use super::proto::control_service_server::{ControlService, ControlServiceServer};
use super::proto::raft_service_server::{RaftService, RaftServiceServer};
use super::refusal::wrong_sender;
use super::tls::{ClusterTls, Peer};
use super::{convert, proto, snapshot};
use crate::base::limits::{
    CLUSTER_CALL_TIMEOUT_MAX, CLUSTER_CONNECTION_AGE_MAX, CLUSTER_CONNECTION_WINDOW_BYTES,
    CLUSTER_HEADER_LIST_BYTES_MAX, CLUSTER_MESSAGE_BYTES_MAX, CLUSTER_PING_INTERVAL,
    CLUSTER_PING_TIMEOUT, CLUSTER_STREAM_WINDOW_BYTES, CLUSTER_STREAMS_MAX, MEMBERSHIP_TIMEOUT,
    PROPOSE_TIMEOUT, SHUTDOWN_GRACE, SNAPSHOTS_RECEIVED_MAX,
};
use crate::machine::{Command, Reply, codec};
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::handle::Raft;
use crate::raft::membership::MembershipError;
use crate::raft::messages::Committed;
use crate::raft::peers::Description;
use crate::raft::view::Contact;
use crate::storage::{LogId, NodeId, StorageHandle, Vote};

/// What a node does when another asks.
pub(in crate::raft) type RpcFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What other nodes may ask of this one, beside Raft itself.
pub(in crate::raft) trait ControlRpc: Send + Sync + 'static {
    /// Who this node is.
    fn describe(&self) -> RpcFuture<'_, Description>;
    /// Writes `command`, if this node leads.
    fn propose(
        &self,
        command: Command,
        timeout: Duration,
    ) -> RpcFuture<'_, Result<Committed, ProposeError>>;
    /// Up to where one must have applied, if this node leads.
    fn read_index(&self) -> RpcFuture<'_, Result<Option<LogId>, ClusterError>>;
    /// Admits a node, if this one leads.
    fn admit(
        &self,
        name: String,
        address: String,
        as_voter: bool,
    ) -> RpcFuture<'_, Result<LogId, MembershipError>>;
    /// Lets a learner vote, if this node leads.
    fn promote(&self, name: String) -> RpcFuture<'_, Result<LogId, MembershipError>>;
    /// Takes a member out, if this node leads.
    fn remove(&self, name: String) -> RpcFuture<'_, Result<LogId, MembershipError>>;
    /// Stands for election.
    fn trigger_election(&self) -> RpcFuture<'_, Result<(), ClusterError>>;
}

/// What serves the cluster port.
#[derive(Clone)]
pub(in crate::raft) struct NodeServer {
    pub(in crate::raft) raft: Raft,
    pub(in crate::raft) storage: StorageHandle,
    pub(in crate::raft) contact: Arc<Contact>,
    pub(in crate::raft) control: Arc<dyn ControlRpc>,
    pub(in crate::raft) tls: ClusterTls,
}

impl NodeServer {
    /// Serves `listener` until `stop` is done; then calls under way have [`SHUTDOWN_GRACE`]. Dropping
    /// the future cuts all connections at once.
    pub(in crate::raft) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
    ) {
        let (cut, is_cut) = watch::channel(false);
        let incoming = Acceptor::new(listener, self.tls.clone(), is_cut).into_stream();
        let raft = RaftServiceServer::new(RaftApi::new(self.clone()))
            .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX);
        let control = ControlServiceServer::new(self)
            .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX);
        let (stopping, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stopping.send(());
        };
        let serving = builder()
            .add_service(raft)
            .add_service(control)
            .serve_with_incoming_shutdown(incoming, stop);
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!("the cluster port has ended: {error}");
                }
            }
            never = cut_late(stopped, cut) => match never {},
        }
    }

    /// The node that calls, if its certificate still counts.
    fn caller<T>(&self, request: &Request<T>) -> Result<NodeId, Status> {
        let peer = request
            .extensions()
            .get::<Peer>()
            .ok_or_else(wrong_sender)?;
        match self.tls.trusts(peer.authority) {
            true => Ok(peer.node),
            false => Err(wrong_sender()),
        }
    }

    /// Checks that the node of `vote` is the one that calls.
    fn ensure_sender(vote: &Vote, caller: NodeId) -> Result<(), Status> {
        match vote.leader_id.node_id == caller {
            true => Ok(()),
            false => Err(wrong_sender()),
        }
    }
}

/// Cuts the connections that outlive the grace period.
async fn cut_late(stopped: oneshot::Receiver<()>, cut: watch::Sender<bool>) -> Infallible {
    if stopped.await.is_ok() {
        tokio::time::sleep(SHUTDOWN_GRACE).await;
        // Nobody listens if all are closed.
        let _ = cut.send(true);
    }
    std::future::pending().await
}

fn builder() -> Server {
    Server::builder()
        .max_concurrent_streams(CLUSTER_STREAMS_MAX)
        .http2_max_header_list_size(CLUSTER_HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(CLUSTER_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLUSTER_CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(CLUSTER_PING_INTERVAL))
        .http2_keepalive_timeout(Some(CLUSTER_PING_TIMEOUT))
        .max_connection_age(CLUSTER_CONNECTION_AGE_MAX)
}

/// Ends a call in time, whatever the caller asks for.
async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<Response<T>, Status> {
    let limit = limit.min(CLUSTER_CALL_TIMEOUT_MAX.max(MEMBERSHIP_TIMEOUT));
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(Response::new),
        Err(_elapsed) => Err(ClusterError::TimedOut.into()),
    }
}

fn stopped(error: impl std::fmt::Display) -> Status {
    ClusterError::Stopped(error.to_string()).into()
}

/// Raft's own calls.
struct RaftApi {
    node: NodeServer,
    /// Snapshots that may be received at the same time.
    receiving: Arc<Semaphore>,
}

impl RaftApi {
    fn new(node: NodeServer) -> Self {
        let receiving = Arc::new(Semaphore::new(SNAPSHOTS_RECEIVED_MAX));
        Self { node, receiving }
    }
}

#[tonic::async_trait]
impl RaftService for RaftApi {
    async fn request_vote(
        &self,
        request: Request<proto::RequestVoteRequest>,
    ) -> Result<Response<proto::RequestVoteResponse>, Status> {
        let caller = self.node.caller(&request)?;
        let request = convert::vote_request_from(request.into_inner())?;
        NodeServer::ensure_sender(&request.vote, caller)?;
        let answered = async {
            let response = self.node.raft.vote(request).await.map_err(stopped)?;
            Ok(convert::vote_response_to(&response))
        };
        bounded(CLUSTER_CALL_TIMEOUT_MAX, answered).await
    }

    async fn append_entries(
        &self,
        request: Request<proto::AppendEntriesRequest>,
    ) -> Result<Response<proto::AppendEntriesResponse>, Status> {
        let caller = self.node.caller(&request)?;
        let request = convert::append_request_from(request.into_inner())?;
        NodeServer::ensure_sender(&request.vote, caller)?;
        let answered = async {
            let response = self
                .node
                .raft
                .append_entries(request)
                .await
                .map_err(stopped)?;
            if response.is_success() {
                // A leader: what it has told this node until now is not stale.
                self.node.contact.note(Duration::ZERO);
            }
            Ok(convert::append_response_to(&response))
        };
        bounded(CLUSTER_CALL_TIMEOUT_MAX, answered).await
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::InstallSnapshotRequest>>,
    ) -> Result<Response<proto::InstallSnapshotResponse>, Status> {
        let caller = self.node.caller(&request)?;
        let place = self.receiving.try_acquire();
        let _place = place.map_err(|_| Status::from(ClusterError::Overloaded))?;
        let mut parts = request.into_inner();
        let received = snapshot::receive(&mut parts, &self.node.storage, |vote| {
            NodeServer::ensure_sender(vote, caller)
        });
        let (vote, snapshot) = received.await?;
        let installed = self.node.raft.install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(stopped)?;
        Ok(Response::new(proto::InstallSnapshotResponse {
            vote: Some(convert::vote_to(&response.vote)),
        }))
    }
}

#[tonic::async_trait]
impl ControlService for NodeServer {
    async fn describe(
        &self,
        request: Request<proto::DescribeRequest>,
    ) -> Result<Response<proto::DescribeResponse>, Status> {
        use proto::describe_response::State;
        self.caller(&request)?;
        let description = self.control.describe().await;
        let state = match description.is_fresh {
            true => State::Fresh,
            false => State::Member,
        };
        Ok(Response::new(proto::DescribeResponse {
            node: Some(convert::member_to(description.id, &description.member)),
            state: state.into(),
            root_key_ids: description
                .root_keys
                .iter()
                .map(|id| Bytes::copy_from_slice(&id.0))
                .collect(),
        }))
    }

    async fn propose(
        &self,
        request: Request<proto::ProposeRequest>,
    ) -> Result<Response<proto::ProposeResponse>, Status> {
        self.caller(&request)?;
        let request = request.into_inner();
        let command: Command =
            codec::decode(&request.command).map_err(convert::ConvertError::from)?;
        let timeout = Duration::from_millis(request.timeout_ms.into()).min(PROPOSE_TIMEOUT);
        let answered = async {
            let committed = self.control.propose(command, timeout).await?;
            let reply = codec::encode(&Reply(committed.outcomes));
            Ok(proto::ProposeResponse {
                reply: reply.map_err(convert::ConvertError::from)?.into(),
                log_id: Some(convert::log_id_to(&committed.log_id)),
            })
        };
        bounded(PROPOSE_TIMEOUT, answered).await
    }

    async fn read_barrier(
        &self,
        request: Request<proto::ReadBarrierRequest>,
    ) -> Result<Response<proto::ReadBarrierResponse>, Status> {
        self.caller(&request)?;
        let answered = async {
            let log_id = self.control.read_index().await?;
            Ok(proto::ReadBarrierResponse {
                log_id: log_id.as_ref().map(convert::log_id_to),
            })
        };
        bounded(CLUSTER_CALL_TIMEOUT_MAX, answered).await
    }

    async fn admit(
        &self,
        request: Request<proto::AdmitRequest>,
    ) -> Result<Response<proto::AdmitResponse>, Status> {
        self.caller(&request)?;
        let request = request.into_inner();
        let (name, address) = (request.name, request.address);
        let answered = async {
            let log_id = self.control.admit(name, address, request.as_voter).await?;
            let log_id = Some(convert::log_id_to(&log_id));
            Ok(proto::AdmitResponse { log_id })
        };
        bounded(MEMBERSHIP_TIMEOUT, answered).await
    }

    async fn promote(
        &self,
        request: Request<proto::PromoteRequest>,
    ) -> Result<Response<proto::PromoteResponse>, Status> {
        self.caller(&request)?;
        let name = request.into_inner().name;
        let answered = async {
            let log_id = Some(convert::log_id_to(&self.control.promote(name).await?));
            Ok(proto::PromoteResponse { log_id })
        };
        bounded(MEMBERSHIP_TIMEOUT, answered).await
    }

    async fn remove(
        &self,
        request: Request<proto::RemoveRequest>,
    ) -> Result<Response<proto::RemoveResponse>, Status> {
        self.caller(&request)?;
        let name = request.into_inner().name;
        let answered = async {
            let log_id = Some(convert::log_id_to(&self.control.remove(name).await?));
            Ok(proto::RemoveResponse { log_id })
        };
        bounded(MEMBERSHIP_TIMEOUT, answered).await
    }

    async fn trigger_election(
        &self,
        request: Request<proto::TriggerElectionRequest>,
    ) -> Result<Response<proto::TriggerElectionResponse>, Status> {
        self.caller(&request)?;
        self.control.trigger_election().await?;
        Ok(Response::new(proto::TriggerElectionResponse {}))
    }
}
