//! Calls of other nodes. A connection is made when it is needed, pinned to the node that is meant,
//! and made again when it is lost.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::proto::control_service_client::ControlServiceClient;
use super::proto::describe_response::State;
use super::refusal::{cluster_error, membership_error};
use super::tls::{ClusterTls, no_server_name};
use super::{convert, proto};
use crate::base::limits::{
    CLUSTER_CONNECT_TIMEOUT, CLUSTER_CONNECTION_WINDOW_BYTES, CLUSTER_MESSAGE_BYTES_MAX,
    CLUSTER_NODES_MAX, CLUSTER_STREAM_WINDOW_BYTES,
};
use crate::crypto::at_rest::RootKeyId;
use crate::machine::{Command, Reply, codec};
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::membership::MembershipError;
use crate::raft::messages::Committed;
use crate::raft::peers::{Description, PeerFuture, Peers};
use crate::storage::{LogId, Member, NodeId};

/// Makes connections to other nodes. Clones share those for control calls.
#[derive(Clone)]
pub(in crate::raft) struct Dialer {
    tls: ClusterTls,
    control: Arc<Mutex<HashMap<(NodeId, String), Channel>>>,
}

impl Dialer {
    pub(in crate::raft) fn new(tls: ClusterTls) -> Self {
        Self {
            tls,
            control: Arc::default(),
        }
    }

    /// A connection of its own to the node `expected` at `address`, made when it is used. `None`: to
    /// whichever node is there.
    pub(super) fn channel(&self, expected: Option<NodeId>, address: &str) -> Channel {
        let (tls, address) = (self.tls.clone(), address.to_owned());
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, address) = (tls.clone(), address.clone());
            async move { connect(&tls, expected, &address).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://node")
            .connect_timeout(CLUSTER_CONNECT_TIMEOUT)
            .initial_stream_window_size(CLUSTER_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CLUSTER_CONNECTION_WINDOW_BYTES)
            .connect_with_connector_lazy(connector)
    }

    /// The connection for control calls of that node.
    fn control(&self, node: NodeId, address: &str) -> ControlServiceClient<Channel> {
        let mut known = self.known();
        // Nodes come and go; none is used for ever.
        if known.len() > 2 * CLUSTER_NODES_MAX {
            known.clear();
        }
        let channel = known
            .entry((node, address.to_owned()))
            .or_insert_with(|| self.channel(Some(node), address));
        client(channel.clone())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(NodeId, String), Channel>> {
        // Held for a map operation, which leaves nothing half-changed.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut client = self.control(leader.0, &leader.1.cluster_address);
        let request = proto::AdmitRequest {
            name: name.to_owned(),
            address: address.to_owned(),
            as_voter,
        };
        let answer = client.admit(timed(request, timeout)).await;
        changed(answer.map(|answer| answer.into_inner().log_id))
    }

    /// Has the leader let a learner vote.
    pub(in crate::raft) async fn promote(
        &self,
        leader: (NodeId, &Member),
        name: &str,
        timeout: Duration,
    ) -> Result<LogId, MembershipError> {
        let mut client = self.control(leader.0, &leader.1.cluster_address);
        let name = name.to_owned();
        let answer = client
            .promote(timed(proto::PromoteRequest { name }, timeout))
            .await;
        changed(answer.map(|answer| answer.into_inner().log_id))
    }

    /// Has the leader take a member out.
    pub(in crate::raft) async fn remove(
        &self,
        leader: (NodeId, &Member),
        name: &str,
        timeout: Duration,
    ) -> Result<LogId, MembershipError> {
        let mut client = self.control(leader.0, &leader.1.cluster_address);
        let name = name.to_owned();
        let answer = client
            .remove(timed(proto::RemoveRequest { name }, timeout))
            .await;
        changed(answer.map(|answer| answer.into_inner().log_id))
    }
}

fn changed(answer: Result<Option<proto::LogId>, Status>) -> Result<LogId, MembershipError> {
    let log_id = answer.map_err(|status| membership_error(&status))?;
    log_id
        .map(convert::log_id_from)
        .ok_or_else(|| ClusterError::LeaderUnreachable("an empty answer".to_owned()).into())
}

fn client(channel: Channel) -> ControlServiceClient<Channel> {
    ControlServiceClient::new(channel)
        .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
}

pub(super) fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

async fn connect(
    tls: &ClusterTls,
    expected: Option<NodeId>,
    address: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let connecting = async {
        let config = tls.client_config(expected).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config)
            .connect(no_server_name(), stream)
            .await
    };
    match tokio::time::timeout(CLUSTER_CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected,
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Ends a call in time here, too: the other end may be gone without a word.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

impl Peers for Dialer {
    fn describe<'a>(
        &'a self,
        address: &'a str,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Description, ClusterError>> {
        Box::pin(async move {
            let mut client = client(self.channel(None, address));
            let call = client.describe(timed(proto::DescribeRequest {}, timeout));
            let answer = within(timeout, call).await;
            let answer = answer
                .map_err(|status| cluster_error(&status))?
                .into_inner();
            let is_fresh = answer.state() == State::Fresh;
            let ids = answer.root_key_ids.iter();
            let root_keys = ids.filter_map(|id| <[u8; 8]>::try_from(&id[..]).ok().map(RootKeyId));
            let root_keys = root_keys.collect();
            let garbled = || ClusterError::LeaderUnreachable("an empty answer".to_owned());
            let node = answer.node.ok_or_else(garbled)?;
            let (id, member) = convert::member_from(node)
                .map_err(|error| ClusterError::LeaderUnreachable(error.to_string()))?;
            Ok(Description {
                id,
                member,
                is_fresh,
                root_keys,
            })
        })
    }

    fn propose<'a>(
        &'a self,
        leader: NodeId,
        member: &'a Member,
        command: &'a Command,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Committed, ProposeError>> {
        Box::pin(async move {
            let mut client = self.control(leader, &member.cluster_address);
            let request = proto::ProposeRequest {
                command: codec::encode(command)?.into(),
                timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            };
            let answer = within(timeout, client.propose(timed(request, timeout))).await;
            let answer = answer
                .map_err(|status| cluster_error(&status))?
                .into_inner();
            let Reply(outcomes) = codec::decode(&answer.reply)?;
            let log_id = answer.log_id.map(convert::log_id_from);
            let garbled = || ProposeError::Garbled("an entry without a place".to_owned());
            Ok(Committed {
                outcomes,
                log_id: log_id.ok_or_else(garbled)?,
            })
        })
    }

    fn read_index<'a>(
        &'a self,
        leader: NodeId,
        member: &'a Member,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Option<LogId>, ClusterError>> {
        Box::pin(async move {
            let mut client = self.control(leader, &member.cluster_address);
            let call = client.read_barrier(timed(proto::ReadBarrierRequest {}, timeout));
            let answer = within(timeout, call).await;
            let answer = answer.map_err(|status| cluster_error(&status))?;
            Ok(answer.into_inner().log_id.map(convert::log_id_from))
        })
    }

    fn trigger_election<'a>(
        &'a self,
        node: NodeId,
        member: &'a Member,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let mut client = self.control(node, &member.cluster_address);
            let call = client.trigger_election(timed(proto::TriggerElectionRequest {}, timeout));
            match within(timeout, call).await {
                Ok(_) => Ok(()),
                Err(status) => Err(cluster_error(&status)),
            }
        })
    }
}
