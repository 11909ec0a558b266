//! What this node does when another one asks.

use std::time::Duration;

use super::error::{ClusterError, ProposeError};
use super::handle::RaftHandle;
use super::membership::MembershipError;
use super::messages::Committed;
use super::peers::Description;
use super::start::own_member;
use super::transport::serve::{ControlRpc, RpcFuture};
use crate::machine::Command;
use crate::storage::LogId;

impl ControlRpc for RaftHandle {
    fn describe(&self) -> RpcFuture<'_, Description> {
        Box::pin(async {
            // Who cannot tell is not fresh: nobody founds a cluster without knowing.
            let is_fresh = matches!(self.shared.raft.is_initialized().await, Ok(false));
            Description {
                id: self.shared.storage.node_id(),
                member: own_member(&self.shared.settings),
                is_fresh,
                root_keys: self.shared.root_keys.load().to_vec(),
            }
        })
    }

    fn propose(
        &self,
        command: Command,
        timeout: Duration,
    ) -> RpcFuture<'_, Result<Committed, ProposeError>> {
        Box::pin(self.propose_here(command.proposals, timeout))
    }

    fn read_index(&self) -> RpcFuture<'_, Result<Option<LogId>, ClusterError>> {
        Box::pin(self.read_index_here())
    }

    fn admit(
        &self,
        name: String,
        address: String,
        as_voter: bool,
    ) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async move { self.admit_here(&name, &address, as_voter).await })
    }

    fn promote(&self, name: String) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async move { self.promote_here(&name).await })
    }

    fn remove(&self, name: String) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async move { self.remove_here(&name).await })
    }

    fn trigger_election(&self) -> RpcFuture<'_, Result<(), ClusterError>> {
        Box::pin(async {
            let elected = self.shared.raft.trigger().elect().await;
            elected.map_err(|error| ClusterError::Stopped(error.to_string()))
        })
    }
}
