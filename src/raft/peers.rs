//! How this node asks others, seen from consensus: the transport does it for real, tests by a call.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use super::error::{ClusterError, ProposeError};
use super::messages::Committed;
use crate::crypto::at_rest::RootKeyId;
use crate::machine::Command;
use crate::storage::{LogId, Member, NodeId};

/// A call of another node.
pub(crate) type PeerFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a node says of itself.
#[derive(Clone, Debug)]
pub(super) struct Description {
    /// Who it is, proven by its certificate.
    pub id: NodeId,
    /// How it is called and reached.
    pub member: Member,
    /// Whether it has never been part of a cluster.
    pub is_fresh: bool,
    /// The root keys that it has.
    pub root_keys: Vec<RootKeyId>,
}

/// Calls of other nodes. Each ends in `timeout`.
pub(crate) trait Peers: Send + Sync + 'static {
    /// Asks whoever answers at `address` who it is.
    fn describe<'a>(
        &'a self,
        address: &'a str,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Description, ClusterError>>;

    /// Has the leader `leader` write `command`.
    fn propose<'a>(
        &'a self,
        leader: NodeId,
        member: &'a Member,
        command: &'a Command,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Committed, ProposeError>>;

    /// Asks the leader `leader` up to where a node must have applied to miss nothing.
    fn read_index<'a>(
        &'a self,
        leader: NodeId,
        member: &'a Member,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Option<LogId>, ClusterError>>;

    /// Asks `node` to stand for election.
    fn trigger_election<'a>(
        &'a self,
        node: NodeId,
        member: &'a Member,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<(), ClusterError>>;
}
