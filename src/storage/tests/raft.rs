//! openraft itself, as the only member of its cluster, on the storage.

use std::io;
use std::time::Duration;

use openraft::error::{
    Fatal, Infallible, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{Config, Raft, RaftNetwork, RaftNetworkFactory};

use super::*;

/// There is nobody else.
struct Alone;

fn unreachable() -> Unreachable {
    Unreachable::new(&io::Error::from(io::ErrorKind::NotConnected))
}

type Rpc = RPCError<NodeId, Member, RaftError<NodeId, Infallible>>;

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Self;

    async fn new_client(&mut self, _target: NodeId, _node: &Member) -> Self {
        Self
    }
}

impl RaftNetwork<TypeConfig> for Alone {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Rpc> {
        Err(unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<NodeId>,
        _option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Rpc> {
        Err(unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, StreamingError<TypeConfig, Fatal<NodeId>>> {
        Err(unreachable().into())
    }
}

async fn start(storage: Storage) -> Raft<TypeConfig> {
    let config = Config {
        max_in_snapshot_log_to_keep: 10,
        ..Config::default()
    };
    let config = Arc::new(config.validate().expect("config"));
    let id = storage.handle.node_id();
    let raft = Raft::new(id, config, Alone, storage.log, storage.state).await;
    raft.expect("raft")
}

#[tokio::test(flavor = "multi_thread")]
async fn raft_writes_compacts_and_finds_everything_again() {
    let patience = Some(Duration::from_secs(60));
    let folder = tempfile::tempdir().expect("folder");
    let storage = open(folder.path());
    let (id, handle) = (storage.handle.node_id(), storage.handle.clone());
    let raft = start(storage).await;
    let members = std::collections::BTreeMap::from([(id, Member::default())]);
    raft.initialize(members).await.expect("initialize");
    raft.wait(patience)
        .current_leader(id, "elected")
        .await
        .expect("leader");
    for index in 1..100 {
        let EntryPayload::Normal(command) = entry(1, index).payload else {
            continue;
        };
        let written = raft.client_write(command).await.expect("write");
        assert_eq!(written.data.0.len(), 1);
        handle
            .wait_applied(written.log_id.index)
            .await
            .expect("applied");
    }
    let applied = handle.applied().load().last_applied.expect("applied");
    raft.trigger().snapshot().await.expect("trigger");
    raft.wait(patience)
        .snapshot(applied, "snapshot")
        .await
        .expect("snapshot");
    raft.trigger()
        .purge_log(applied.index - 10)
        .await
        .expect("trigger");
    raft.wait(patience)
        .metrics(|metrics| metrics.purged.is_some(), "purged")
        .await
        .expect("purged");
    let before = handle.applied().load_full();
    raft.shutdown().await.expect("shutdown");
    handle.close().await.expect("close");

    let storage = open(folder.path());
    assert_eq!(storage.handle.node_id(), id);
    let handle = storage.handle.clone();
    let raft = start(storage).await;
    raft.wait(patience)
        .current_leader(id, "elected again")
        .await
        .expect("leader");
    let after = handle.applied().load_full();
    assert_eq!(after.state, before.state);
    assert_eq!(after.membership, before.membership);
    raft.shutdown().await.expect("shutdown");
    handle.close().await.expect("close");
}
