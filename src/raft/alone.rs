//! The other nodes of a cluster that has none: nobody is ever reached.

use std::time::Duration;

use openraft::error::{RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use super::error::{ClusterError, ProposeError};
use super::messages::Committed;
use super::peers::{Description, PeerFuture, Peers};
use crate::machine::Command;
use crate::storage::{LogId, Member, NodeId, Snapshot, TypeConfig, Vote};

/// There is nobody else.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("this node is the only one of its cluster")]
struct NobodyElse;

/// No network.
#[derive(Clone, Copy)]
pub(super) struct Alone;

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Self;

    async fn new_client(&mut self, _target: NodeId, _node: &Member) -> Self {
        *self
    }
}

type Failure<E> = RPCError<NodeId, Member, RaftError<NodeId, E>>;

impl RaftNetwork<TypeConfig> for Alone {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure<openraft::error::Infallible>> {
        Err(RPCError::Unreachable(Unreachable::new(&NobodyElse)))
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure<openraft::error::Infallible>> {
        Err(RPCError::Unreachable(Unreachable::new(&NobodyElse)))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, openraft::error::Fatal<NodeId>>>
    {
        Err(StreamingError::Unreachable(Unreachable::new(&NobodyElse)))
    }
}

impl Peers for Alone {
    fn describe<'a>(
        &'a self,
        _address: &'a str,
        _timeout: Duration,
    ) -> PeerFuture<'a, Result<Description, ClusterError>> {
        Box::pin(async { Err(unreachable()) })
    }

    fn propose<'a>(
        &'a self,
        _leader: NodeId,
        _member: &'a Member,
        _command: &'a Command,
        _timeout: Duration,
    ) -> PeerFuture<'a, Result<Committed, ProposeError>> {
        Box::pin(async { Err(unreachable().into()) })
    }

    fn read_index<'a>(
        &'a self,
        _leader: NodeId,
        _member: &'a Member,
        _timeout: Duration,
    ) -> PeerFuture<'a, Result<Option<LogId>, ClusterError>> {
        Box::pin(async { Err(unreachable()) })
    }
}

fn unreachable() -> ClusterError {
    ClusterError::LeaderUnreachable(NobodyElse.to_string())
}
