//! The network as openraft sees it: one client for each other node, with a connection for votes and
//! entries, and another for snapshots, which must not delay heartbeats.

use std::time::Duration;

use openraft::error::{
    Fatal, Infallible, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError,
    Unreachable,
};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::dial::{Dialer, timed};
use super::proto::raft_service_client::RaftServiceClient;
use super::{convert, snapshot};
use crate::base::limits::{CLUSTER_MESSAGE_BYTES_MAX, SNAPSHOT_SEND_TIMEOUT};
use crate::storage::{Member, NodeId, Snapshot, TypeConfig, Vote};

/// Makes clients for openraft.
pub(in crate::raft) struct Network(pub(in crate::raft) Dialer);

/// The client of one other node.
pub(in crate::raft) struct NodeClient {
    raft: RaftServiceClient<Channel>,
    snapshots: RaftServiceClient<Channel>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = NodeClient;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> NodeClient {
        let client = || {
            let channel = self.0.channel(Some(target), &node.cluster_address);
            RaftServiceClient::new(channel)
                .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
                .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
        };
        NodeClient {
            raft: client(),
            snapshots: client(),
        }
    }
}

type Failure = RPCError<NodeId, Member, RaftError<NodeId, Infallible>>;

/// A node that cannot be reached is left alone for a moment; one that answers badly is not.
fn failure(status: &Status) -> Failure {
    match status.code() {
        Code::Unavailable | Code::Unknown => RPCError::Unreachable(Unreachable::new(status)),
        _ => RPCError::Network(NetworkError::new(status)),
    }
}

fn garbled(error: &convert::ConvertError) -> Failure {
    RPCError::Network(NetworkError::new(error))
}

impl RaftNetwork<TypeConfig> for NodeClient {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure> {
        let message = convert::append_request_to(&request).map_err(|error| garbled(&error))?;
        let call = self.raft.append_entries(timed(message, option.hard_ttl()));
        let answer = call.await.map_err(|status| failure(&status))?;
        convert::append_response_from(answer.into_inner()).map_err(|error| garbled(&error))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure> {
        let message = convert::vote_request_to(&request);
        let call = self.raft.request_vote(timed(message, option.hard_ttl()));
        let answer = call.await.map_err(|status| failure(&status))?;
        convert::vote_response_from(answer.into_inner()).map_err(|error| garbled(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        let parts = ReceiverStream::new(snapshot::parts(&vote, &snapshot));
        let limit: Duration = SNAPSHOT_SEND_TIMEOUT;
        let call = self.snapshots.install_snapshot(timed(parts, limit));
        let answer = tokio::select! {
            answer = call => answer,
            closed = cancel => return Err(closed.into()),
        };
        let unreachable = |error: &(dyn std::error::Error + 'static)| {
            StreamingError::Unreachable(Unreachable::new(&std::io::Error::other(error.to_string())))
        };
        let answer = answer.map_err(|status| unreachable(&status))?.into_inner();
        let vote = convert::vote_from(answer.vote).map_err(|error| unreachable(&error))?;
        Ok(SnapshotResponse::new(vote))
    }
}
