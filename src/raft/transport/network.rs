//! The network as openraft sees it.
//!
//! openraft believes what it is told and panics over some answers that cannot be, so each is checked
//! against its question. Whatever goes wrong is `Unreachable`, except for a missing answer: openraft
//! then waits for a moment before it tries again, and a node that refuses, or talks nonsense, would do
//! so again if it were asked at once.

use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    Fatal, Infallible, RPCError, RaftError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::convert::ConvertError;
use super::dial::link::{CallError, timed};
use super::dial::{Dialer, NodeLinks};
use super::proto::raft_service_client::RaftServiceClient;
use super::{convert, proto, snapshot};
use crate::base::limits::{
    APPEND_BYTES_MAX, CLUSTER_MESSAGE_BYTES_MAX, CLUSTER_REDIAL_PAUSE_MAX,
    CLUSTER_REDIAL_PAUSE_MIN, SNAPSHOT_SEND_TIMEOUT,
};
use crate::storage::{Member, NodeId, Snapshot, TypeConfig, Vote};

/// Makes clients for openraft.
pub(in crate::raft) struct Network(pub(in crate::raft) Dialer);

/// The client of one other node. Clients of the same node share its connections.
pub(in crate::raft) struct NodeClient {
    own: NodeId,
    links: Arc<NodeLinks>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = NodeClient;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> NodeClient {
        NodeClient {
            own: self.0.own(),
            links: self.0.links(target, &node.cluster_address),
        }
    }
}

type Failure = RPCError<NodeId, Member, RaftError<NodeId, Infallible>>;
type SnapshotFailure = StreamingError<TypeConfig, Fatal<NodeId>>;

impl RaftNetwork<TypeConfig> for NodeClient {
    /// Sends as many of the entries as fit into one message. If those are not all, and they were taken,
    /// openraft hears how far it came, and sends the others next.
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure> {
        let message = convert::append_request_to(&request, APPEND_BYTES_MAX).map_err(garbled)?;
        let sent = message.entries.len();
        let message = timed(message, option.hard_ttl());
        let call = self.call(RPCTypes::AppendEntries, &option, |mut client| async move {
            client.append_entries(message).await
        });
        append_answer(&request, sent, call.await?).map_err(garbled)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure> {
        let message = timed(convert::vote_request_to(&request), option.hard_ttl());
        let call = self.call(RPCTypes::Vote, &option, |mut client| async move {
            client.request_vote(message).await
        });
        convert::vote_response_from(call.await?).map_err(garbled)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, SnapshotFailure> {
        let limit = SNAPSHOT_SEND_TIMEOUT;
        let call = self.links.snapshots.call(limit, limit, |channel| async {
            let parts = ReceiverStream::new(snapshot::parts(&vote, &snapshot));
            client(channel).install_snapshot(timed(parts, limit)).await
        });
        let answer = tokio::select! {
            answer = call => answer,
            closed = cancel => return Err(closed.into()),
        };
        let answer = answer.map_err(|error| Unreachable::new(&error))?;
        let vote = convert::vote_from(answer.vote).map_err(|error| Unreachable::new(&error))?;
        Ok(SnapshotResponse::new(vote))
    }

    fn backoff(&self) -> Backoff {
        let doubled = std::iter::successors(Some(CLUSTER_REDIAL_PAUSE_MIN), next_pause);
        Backoff::new(doubled)
    }
}

impl NodeClient {
    /// A call within openraft's time. That there is no connection must be told a little earlier than
    /// openraft gives up by itself, or it would not know, and not wait before it tries again.
    async fn call<T, F>(
        &self,
        action: RPCTypes,
        option: &RPCOption,
        rpc: impl FnOnce(RaftServiceClient<Channel>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let rpc = |channel| rpc(client(channel));
        let called = self
            .links
            .calls
            .call(option.soft_ttl(), option.hard_ttl(), rpc);
        called.await.map_err(|error| match error {
            CallError::TimedOut(timeout) => RPCError::Timeout(Timeout {
                action,
                id: self.own,
                target: self.links.node,
                timeout,
            }),
            error => RPCError::Unreachable(Unreachable::new(&error)),
        })
    }
}

/// Never none: openraft asks for as many as it needs.
fn next_pause(pause: &Duration) -> Option<Duration> {
    Some((*pause * 2).min(CLUSTER_REDIAL_PAUSE_MAX))
}

fn garbled(error: ConvertError) -> Failure {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn client(channel: Channel) -> RaftServiceClient<Channel> {
    RaftServiceClient::new(channel)
        .max_decoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CLUSTER_MESSAGE_BYTES_MAX)
}

/// What the answer to the first `sent` entries of `request` means for all of it.
fn append_answer(
    request: &AppendEntriesRequest<TypeConfig>,
    sent: usize,
    answer: proto::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<NodeId>, ConvertError> {
    let before = request.prev_log_id;
    let last = request.entries.iter().take(sent).next_back();
    let last = last.map(|entry| entry.log_id).or(before);
    match convert::append_response_from(answer)? {
        AppendEntriesResponse::Success if sent < request.entries.len() => {
            Ok(AppendEntriesResponse::PartialSuccess(last))
        }
        AppendEntriesResponse::PartialSuccess(matching) if matching < before || matching > last => {
            Err(ConvertError::Invalid("a match with what was not sent"))
        }
        AppendEntriesResponse::Conflict if before.is_none() => {
            Err(ConvertError::Invalid("a conflict with nothing"))
        }
        AppendEntriesResponse::HigherVote(vote) if vote <= request.vote => {
            Err(ConvertError::Invalid("a higher vote that is not higher"))
        }
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests;
