//! Starts a node's part of the cluster, and ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::actor::RaftStoreActor;
use super::bootstrap::{self, Waiting};
use super::error::ProposeError;
use super::handle::{BarrierParts, Raft, RaftHandle, Shared, barrier_rounds, leadership_rounds};
use super::peers::Peers;
use super::settings::{Settings, TimingError};
use super::transport::dial::Dialer;
use super::transport::network::Network;
use super::transport::serve::NodeServer;
use super::transport::tls::{Authority, ClusterTls, TlsError};
use super::view::{ClusterView, Contact, Role};
use crate::base::exit::DeathWatch;
use crate::base::limits::{DESCRIBE_TIMEOUT, PROPOSE_TIMEOUT, RAFT_STOP_TIMEOUT, VIEW_INTERVAL};
use crate::base::secret::Key256;
use crate::base::snapshot::Published;
use crate::crypto::at_rest::RootKeyId;
use crate::crypto::random::RandomError;
use crate::machine::{Op, Rejection};
use crate::storage::{Member, NodeId, OpenError, Storage, StorageHandle};

/// A node's part of the cluster cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// The settings cannot work.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// Consensus does not start.
    #[error("the cluster's consensus cannot start: {0}")]
    Raft(String),
    /// The TLS between nodes cannot be set up.
    #[error("the cluster's TLS cannot start: {0}")]
    Tls(#[from] TlsError),
}

/// Makes the proposal that founds a cluster: draws its id and describes its root key.
pub type Found = Arc<dyn Fn() -> Result<Op, RandomError> + Send + Sync>;

/// A running part of the cluster.
pub struct ClusterNode {
    handle: RaftHandle,
    tls: ClusterTls,
    stop_serving: Option<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a node's part of the cluster is made of.
pub struct Parts {
    /// The open data directory.
    pub storage: Storage,
    /// What the node is told about itself.
    pub settings: Settings,
    /// The cluster port, bound.
    pub listener: std::net::TcpListener,
    /// A secret of each root key for the authority of the cluster's TLS, the preferred one first.
    pub authority_seeds: Vec<Key256>,
    /// Which root keys the node has.
    pub root_keys: Published<Vec<RootKeyId>>,
    /// Makes the first proposal of a cluster.
    pub found: Found,
}

impl ClusterNode {
    /// Starts consensus over an open data directory, and serves the cluster port. `watch` makes what
    /// tells that a part has ended, and the node must, too. Must run on an actix system, whose
    /// background runtime is `runtime`.
    ///
    /// # Errors
    ///
    /// [`StartError`] names what is wrong.
    pub async fn start(
        parts: Parts,
        runtime: &Handle,
        watch: impl Fn(&'static str) -> DeathWatch + Send + 'static,
    ) -> Result<Self, StartError> {
        let Parts {
            storage,
            settings,
            listener,
            authority_seeds,
            root_keys,
            found,
        } = parts;
        let config = settings.openraft()?;
        let Storage { log, state, handle } = storage;
        let node_id = handle.node_id();
        let tls = ClusterTls::new(node_id, authorities(&authority_seeds)?)?;
        let dialer = Dialer::new(tls.clone(), runtime.clone());
        let network = Network(dialer.clone());
        let raft = runtime
            .spawn(async move { Raft::new(node_id, config, network, log, state).await })
            .await
            .map_err(|error| StartError::Raft(error.to_string()))?
            .map_err(|error| StartError::Raft(error.to_string()))?;
        let contact = Arc::new(Contact::new());
        let first_view = Arc::new(ClusterView::new(&raft.metrics().borrow()));
        let (views, view) = watch::channel(first_view);
        let peers: Arc<dyn Peers> = Arc::new(dialer.clone());
        let leadership = leadership_rounds(runtime, raft.clone());
        let barriers = BarrierParts {
            leadership: leadership.clone(),
            peers: Arc::clone(&peers),
            view: view.clone(),
            storage: handle.clone(),
        };
        let shared = Shared {
            proposer: RaftStoreActor::start_with(raft.clone(), watch("cluster store")),
            raft: raft.clone(),
            storage: handle.clone(),
            peers,
            dialer,
            settings,
            root_keys,
            view: view.clone(),
            contact: Arc::clone(&contact),
            leadership,
            barriers: barrier_rounds(runtime, barriers),
        };
        let raft_handle = RaftHandle {
            shared: Arc::new(shared),
        };
        let (stop_serving, stopped) = oneshot::channel::<()>();
        let server = NodeServer {
            raft: raft.clone(),
            storage: handle.clone(),
            contact: Arc::clone(&contact),
            control: Arc::new(raft_handle.clone()),
            tls: tls.clone(),
        };
        let tasks = vec![
            runtime.spawn(follow_metrics(raft, views, contact)),
            runtime.spawn(serve(server, listener, stopped)),
            runtime.spawn(tls.clone().keep_renewed()),
            runtime.spawn(async move {
                let reason = until_failed(&handle, view).await;
                tracing::error!("the cluster's part of this node failed: {reason}");
                drop(watch("cluster"));
            }),
            runtime.spawn(begin(raft_handle.clone(), found)),
        ];
        Ok(Self {
            handle: raft_handle,
            tls,
            stop_serving: Some(stop_serving),
            tasks,
        })
    }

    /// Lets other root keys count from now on; the first of them vouches for this node.
    ///
    /// # Errors
    ///
    /// [`StartError::Tls`]; nothing has changed then.
    pub fn replace_authorities(&self, seeds: &[Key256]) -> Result<(), StartError> {
        Ok(self.tls.replace_authorities(authorities(seeds)?)?)
    }

    /// Waits until the cluster has an id and a leader, for at most [`PROPOSE_TIMEOUT`]. A node that
    /// needs nobody else has that at once, and then starts ready.
    pub async fn until_founded(&self) {
        let founded = async {
            let mut view = self.handle.watch_view();
            while self.handle.view().leader.is_none()
                || self.handle.with_state(|state| state.cluster_id().is_none())
            {
                // Whether it changed or not: look again.
                let _ = tokio::time::timeout(VIEW_INTERVAL, view.changed()).await;
            }
        };
        // If it takes longer the node starts all the same, and says 503.
        let _ = tokio::time::timeout(PROPOSE_TIMEOUT, founded).await;
    }

    /// What others hold.
    pub fn handle(&self) -> &RaftHandle {
        &self.handle
    }

    /// Ends this node's part: proposals under way are finished, then consensus stops and the
    /// database is closed, each within [`RAFT_STOP_TIMEOUT`].
    pub async fn stop(mut self) {
        let shared = &self.handle.shared;
        if within(shared.proposer.stop()).await.is_none() {
            tracing::warn!("proposals are still under way: stopping without them");
        }
        hand_over(&self.handle).await;
        drop(self.stop_serving.take());
        match within(shared.raft.shutdown()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::warn!(%error, "consensus ended badly"),
            None => tracing::warn!("consensus does not end: stopping without it"),
        }
        for task in &self.tasks {
            task.abort();
        }
        match within(shared.storage.close()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!("failed to close the cluster's storage: {error}"),
            None => tracing::error!("the cluster's storage does not close: its disk hangs"),
        }
    }
}

/// Clocks of nodes do not run alike, and messages take their time.
const LEASE_MARGIN: Duration = Duration::from_millis(30);

/// Lets another voter lead before this node stops. The others vote for nobody else until the lease of
/// this leader is over, which openraft 0.9 has no way to give back: that is what a planned stop costs.
/// Without this they would wait for the silence of an election time-out on top of it.
async fn hand_over(handle: &RaftHandle) {
    let view = handle.view();
    if !view.is_leader() {
        return;
    }
    let others = view.voters().filter(|member| member.id != view.node_id);
    let Some(heir) = others.max_by_key(|member| member.matched) else {
        return;
    };
    let shared = &handle.shared;
    shared.raft.runtime_config().heartbeat(false);
    tokio::time::sleep(shared.settings.leader_lease() + LEASE_MARGIN).await;
    let asked = shared
        .peers
        .trigger_election(heir.id, &heir.member, DESCRIBE_TIMEOUT);
    if let Err(error) = asked.await {
        tracing::debug!(%error, "nobody takes over the lead yet");
    }
}

async fn serve(
    server: NodeServer,
    listener: std::net::TcpListener,
    stopped: oneshot::Receiver<()>,
) {
    match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => {
            let stop = async {
                // Told, or dropped: the node stops.
                let _ = stopped.await;
            };
            server.serve(listener, stop).await;
        }
        Err(error) => tracing::error!("the cluster port cannot be served: {error}"),
    }
}

fn authorities(seeds: &[Key256]) -> Result<Vec<Authority>, TlsError> {
    seeds.iter().map(Authority::derive).collect()
}

async fn within<T>(step: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(RAFT_STOP_TIMEOUT, step).await.ok()
}

/// Publishes what openraft tells of itself, and notes when this node was part of a quorum.
async fn follow_metrics(raft: Raft, views: watch::Sender<Arc<ClusterView>>, contact: Arc<Contact>) {
    let mut metrics = raft.metrics();
    loop {
        let (view, acknowledged) = {
            let metrics = metrics.borrow_and_update();
            (ClusterView::new(&metrics), metrics.millis_since_quorum_ack)
        };
        if view.role == Role::Leader {
            let is_only_voter = view.voters().count() == 1;
            match acknowledged {
                _ if is_only_voter => contact.note(Duration::ZERO),
                Some(millis) => contact.note(Duration::from_millis(millis)),
                None => {}
            }
        }
        views.send_if_modified(|published| {
            let is_news = **published != view;
            if is_news {
                *published = Arc::new(view);
            }
            is_news
        });
        // A time-out is a look at the clock; an error is the end of consensus.
        if let Ok(Err(_ended)) = tokio::time::timeout(VIEW_INTERVAL, metrics.changed()).await {
            return;
        }
    }
}

/// Waits until this node's part cannot go on, and says why.
async fn until_failed(
    storage: &StorageHandle,
    mut view: watch::Receiver<Arc<ClusterView>>,
) -> String {
    let failed = async {
        let failure = view.wait_for(|view| view.failure.is_some()).await;
        let failure = failure.ok().and_then(|view| view.failure.clone());
        match failure {
            Some(failure) => failure,
            // Whoever stops the node stops the publisher of the view, too.
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        reason = storage.failed() => reason.to_string(),
        reason = failed => reason,
    }
}

/// Makes this node part of a cluster, and the cluster one with an id.
async fn begin(handle: RaftHandle, found: Found) {
    let shared = &handle.shared;
    let member = own_member(&shared.settings);
    let own: (NodeId, &Member) = (shared.storage.node_id(), &member);
    let tell = |waiting: &Waiting| tracing::warn!("{waiting}");
    let (raft, settings) = (&shared.raft, &shared.settings);
    if let Err(error) = bootstrap::until_member(raft, own, settings, &shared.peers, tell).await {
        tracing::error!("{error}");
        return;
    }
    if handle.view().voters().count() == 1 && !handle.view().is_leader() {
        // Nobody else will: there is no reason to wait. A failure shows in the view.
        let _ = raft.trigger().elect().await;
    }
    let mut view = handle.watch_view();
    loop {
        if handle.with_state(|state| state.cluster_id().is_some()) {
            return;
        }
        if handle.view().is_leader() {
            propose_founding(&handle, &found).await;
        }
        // Whether it changed or not: look again.
        let _ = tokio::time::timeout(VIEW_INTERVAL, view.changed()).await;
    }
}

async fn propose_founding(handle: &RaftHandle, found: &Found) {
    let op = match found() {
        Ok(op) => op,
        Err(error) => return tracing::error!("the cluster cannot be founded: {error}"),
    };
    match handle.propose(op).await {
        Ok(_) => tracing::info!("the cluster is founded"),
        // Another leader was first.
        Err(ProposeError::Rejected(Rejection::AlreadyFounded)) => {}
        Err(error) => tracing::warn!(%error, "the cluster is not founded yet"),
    }
}

pub(super) fn own_member(settings: &Settings) -> Member {
    Member {
        name: settings.name.clone(),
        cluster_address: settings.cluster_address.clone(),
        api_address: settings.api_address.clone(),
    }
}
