//! The calls that consensus makes beside Raft's own, over the transport.

use std::time::Duration;

use tokio::time::Instant;

use super::Dialer;
use super::link::{CallError, call_over, not_connected, timed};
use crate::crypto::at_rest::RootKeyId;
use crate::machine::{Command, Reply, codec};
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::messages::Committed;
use crate::raft::peers::{Description, PeerFuture, Peers};
use crate::raft::transport::proto::describe_response::State;
use crate::raft::transport::refusal::cluster_error;
use crate::raft::transport::{convert, proto};
use crate::storage::{LogId, Member, NodeId};

impl Peers for Dialer {
    fn describe<'a>(
        &'a self,
        address: &'a str,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<Description, ClusterError>> {
        Box::pin(async move {
            let asked = self.ask_who(address, timeout).await;
            let (answer, proven) = asked.map_err(|error| cluster_error(&error))?;
            description(answer, proven)
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
            let request = proto::ProposeRequest {
                command: codec::encode(command)?.into(),
                timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            };
            let call = self.control((leader, member), timeout, |mut client| async move {
                client.propose(timed(request, timeout)).await
            });
            let answer = call.await.map_err(|error| cluster_error(&error))?;
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
            let request = timed(proto::ReadBarrierRequest {}, timeout);
            let call = self.control((leader, member), timeout, |mut client| async move {
                client.read_barrier(request).await
            });
            let answer = call.await.map_err(|error| cluster_error(&error))?;
            Ok(answer.log_id.map(convert::log_id_from))
        })
    }

    fn trigger_election<'a>(
        &'a self,
        node: NodeId,
        member: &'a Member,
        timeout: Duration,
    ) -> PeerFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let request = timed(proto::TriggerElectionRequest {}, timeout);
            let call = self.control((node, member), timeout, |mut client| async move {
                client.trigger_election(request).await
            });
            let asked = call.await.map_err(|error| cluster_error(&error));
            asked.map(drop)
        })
    }
}

impl Dialer {
    /// What whoever is at `address` says of itself, and who it has proven to be; over a connection of
    /// its own, for it is not known yet whose it is.
    async fn ask_who(
        &self,
        address: &str,
        timeout: Duration,
    ) -> Result<(proto::DescribeResponse, NodeId), CallError> {
        let deadline = Instant::now() + timeout;
        let route = self.route(None, address);
        let connection = match tokio::time::timeout_at(deadline, route.open()).await {
            Ok(opened) => opened.map_err(|error| CallError::Unreachable(error.to_string()))?,
            Err(_elapsed) => return Err(not_connected(timeout)),
        };
        let request = timed(proto::DescribeRequest {}, timeout);
        let asked = call_over(connection.channel, deadline, timeout, |channel| async {
            super::client(channel).describe(request).await
        });
        Ok((asked.await?, connection.peer.node))
    }
}

fn description(
    answer: proto::DescribeResponse,
    proven: NodeId,
) -> Result<Description, ClusterError> {
    let garbled = |reason: &str| ClusterError::LeaderUnreachable(reason.to_owned());
    // A node that does not say is not fresh: nobody founds a cluster without knowing.
    let is_fresh = answer.state() == State::Fresh;
    let ids = answer.root_key_ids.iter();
    let root_keys = ids.filter_map(|id| <[u8; 8]>::try_from(&id[..]).ok().map(RootKeyId));
    let root_keys = root_keys.collect();
    let node = answer.node.ok_or_else(|| garbled("an empty answer"))?;
    let (id, member) = convert::member_from(node).map_err(|error| garbled(&error.to_string()))?;
    match id == proven {
        true => Ok(Description {
            id,
            member,
            is_fresh,
            root_keys,
        }),
        false => Err(garbled("it is not the node that its certificate names")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_who_its_certificate_says() {
        let answer = |node_id| proto::DescribeResponse {
            node: Some(proto::NodeMember {
                node_id,
                member: Some(proto::Member::default()),
            }),
            state: State::Fresh.into(),
            root_key_ids: vec![vec![1; 8].into(), vec![2; 7].into()],
        };
        let described = description(answer(7), 7).expect("a description");
        assert!(described.id == 7 && described.is_fresh);
        assert_eq!(described.root_keys, [RootKeyId([1; 8])]);
        assert!(description(answer(8), 7).is_err());
        assert!(description(proto::DescribeResponse::default(), 7).is_err());
    }
}
