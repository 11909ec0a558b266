//! Nodes in one process, with real disks, real sockets and real Raft, and a network that fails as the
//! test wants.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::network::{RPCOption, RaftNetworkFactory as _};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::base::secret::Key256;
use crate::machine::{Command, Op, Proposal};
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::handle::Raft;
use crate::raft::membership::MembershipError;
use crate::raft::messages::Committed;
use crate::raft::peers::Description;
use crate::raft::transport::dial::{DialMap, Dialer};
use crate::raft::transport::network::{Network, NodeClient};
use crate::raft::transport::serve::{ControlRpc, NodeServer, RpcFuture};
use crate::raft::transport::tls::{Authority, ClusterTls};
use crate::raft::view::Contact;
use crate::storage::{LogId, Member, NodeId, RealDisk, Storage, StorageHandle};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails instead of hanging.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

pub(super) fn authorities(seeds: &[u8]) -> Vec<Authority> {
    let derive = |seed: &u8| Authority::derive(&Key256::new([*seed; 32])).expect("an authority");
    seeds.iter().map(derive).collect()
}

/// Leads addresses elsewhere, and counts how often anything is dialed.
#[derive(Default)]
pub(super) struct TestMap {
    detours: Mutex<HashMap<String, String>>,
    dialed: AtomicUsize,
}

impl TestMap {
    pub(super) fn lead(&self, address: &str, elsewhere: String) {
        let mut detours = self.detours.lock().expect("a lock");
        detours.insert(address.to_owned(), elsewhere);
    }

    pub(super) fn dialed(&self) -> usize {
        self.dialed.load(Ordering::SeqCst)
    }
}

impl DialMap for TestMap {
    fn route(&self, address: &str) -> String {
        self.dialed.fetch_add(1, Ordering::SeqCst);
        let detours = self.detours.lock().expect("a lock");
        detours
            .get(address)
            .map_or(address, String::as_str)
            .to_owned()
    }
}

/// Describes its node, and never finishes a proposal.
struct Control {
    id: NodeId,
    member: Member,
    proposed: Arc<Notify>,
}

impl ControlRpc for Control {
    fn describe(&self) -> RpcFuture<'_, Description> {
        Box::pin(async {
            Description {
                id: self.id,
                member: self.member.clone(),
                is_fresh: true,
                root_keys: Vec::new(),
            }
        })
    }

    fn propose(&self, _: Command, _: Duration) -> RpcFuture<'_, Result<Committed, ProposeError>> {
        self.proposed.notify_one();
        Box::pin(std::future::pending())
    }

    fn read_index(&self) -> RpcFuture<'_, Result<Option<LogId>, ClusterError>> {
        Box::pin(async { Err(ClusterError::NotLeader) })
    }

    fn admit(
        &self,
        _: String,
        _: String,
        _: bool,
    ) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async { Err(MembershipError::Conflict("not now".to_owned())) })
    }

    fn promote(&self, name: String) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async { Err(MembershipError::NoSuchMember(name)) })
    }

    fn remove(&self, _: String) -> RpcFuture<'_, Result<LogId, MembershipError>> {
        Box::pin(async { Err(ClusterError::Overloaded.into()) })
    }

    fn trigger_election(&self) -> RpcFuture<'_, Result<(), ClusterError>> {
        Box::pin(async { Err(ClusterError::Stopped("it is shutting down".to_owned())) })
    }
}

/// A running node.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) member: Member,
    pub(super) tls: ClusterTls,
    pub(super) map: Arc<TestMap>,
    pub(super) dialer: Dialer,
    pub(super) raft: Raft,
    pub(super) storage: StorageHandle,
    /// Told of each proposal that arrives.
    pub(super) proposed: Arc<Notify>,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) serving: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Node {
    pub(super) async fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let storage = open(directory.path()).await;
        let Storage { log, state, handle } = storage;
        let id = handle.node_id();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let member = Member {
            name: name.to_owned(),
            cluster_address: listener.local_addr().expect("an address").to_string(),
            api_address: String::new(),
        };
        let tls = ClusterTls::new(id, authorities(&[7])).expect("settings");
        let map = Arc::new(TestMap::default());
        let dialer = Dialer::with_map(tls.clone(), Handle::current(), Arc::clone(&map) as Arc<_>);
        let network = Network(dialer.clone());
        let raft = Raft::new(id, config(), network, log, state).await;
        let raft = raft.expect("consensus");
        let proposed = Arc::new(Notify::new());
        let server = NodeServer {
            raft: raft.clone(),
            storage: handle.clone(),
            contact: Arc::new(Contact::new()),
            control: Arc::new(Control {
                id,
                member: member.clone(),
                proposed: Arc::clone(&proposed),
            }),
            tls: tls.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            id,
            member,
            tls,
            map,
            dialer,
            raft,
            storage: handle,
            proposed,
            stop: Some(stop),
            serving,
            _directory: directory,
        }
    }

    /// openraft's client of `other`.
    pub(super) async fn client_of(&self, other: &Self) -> NodeClient {
        let mut network = Network(self.dialer.clone());
        network.new_client(other.id, &other.member).await
    }

    /// Begins a cluster of this node alone.
    pub(super) async fn found(&self) {
        let members = [(self.id, self.member.clone())];
        let founded = self
            .raft
            .initialize(std::collections::BTreeMap::from(members));
        founded.await.expect("founded");
        let leads = self.raft.wait(Some(PATIENCE));
        let leads = leads.current_leader(self.id, "it leads");
        leads.await.expect("a leader");
    }

    /// Writes some entry, and gives its index.
    pub(super) async fn write(&self, number: u32) -> u64 {
        let op = Op::DeleteKey {
            name: format!("key-{number}"),
        };
        let proposal = Proposal {
            request_id: u128::from(number),
            op,
        };
        let command = Command {
            proposals: vec![proposal],
        };
        let written = self.raft.client_write(command).await;
        written.expect("written").log_id.index
    }
}

async fn open(path: &Path) -> Storage {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || Storage::open(&path, Arc::new(RealDisk)));
    opened.await.expect("a task").expect("a storage")
}

/// Slack, for the machine may be busy with other tests.
fn config() -> Arc<openraft::Config> {
    let config = openraft::Config {
        heartbeat_interval: 100,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        max_in_snapshot_log_to_keep: 0,
        purge_batch_size: 1,
        snapshot_policy: openraft::SnapshotPolicy::Never,
        ..openraft::Config::default()
    };
    Arc::new(config.validate().expect("a configuration"))
}

pub(super) fn option(millis: u64) -> RPCOption {
    RPCOption::new(Duration::from_millis(millis))
}
