//! This node's part of a cluster: prepared from the configuration, started, and kept over reloads.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use tokio::runtime::Handle;

use super::error::NodeError;
use super::policies;
use super::prepare::{bind, create_predefined_keys, listen_address};
use crate::authz::Authorizer;
use crate::authz::actor::AuthzActor;
use crate::base::exit::DeathWatch;
use crate::base::limits::{PREDEFINED_KEYS_PAUSE, STALENESS_INTERVAL};
use crate::base::secret::{Key256, SecretString};
use crate::base::snapshot::Published;
use crate::config::{ClusterConfig, Config, KeystoreConfig};
use crate::crypto::at_rest::{Keyring, RootKey, RootKeyError, RootKeyId};
use crate::gateway::{ClusterAdmin, Gateway, PolicyAdmin, RaftKeyStore, Seals};
use crate::keystore::{KeyStore, StoreDescription};
use crate::machine::State;
use crate::raft::{ClusterNode, Parts, RaftHandle, Settings};
use crate::storage::{RealDisk, Storage};

/// The cluster of a configuration, before anything of it is opened.
pub(super) struct PreparedCluster {
    settings: Settings,
    listen: SocketAddr,
    path: PathBuf,
    keyring: Keyring,
}

impl PreparedCluster {
    /// The cluster that `config` wants, with its root keys read; `None` if it wants none.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if a root key cannot be read, or the configuration wants what this build
    /// cannot do.
    pub(super) fn load(config: &Config) -> Result<Option<Self>, NodeError> {
        let Some(cluster) = &config.cluster else {
            return Ok(None);
        };
        if !matches!(config.keystore, KeystoreConfig::Cluster) {
            return Err(NodeError::Cluster(
                "a cluster in front of another keystore is not available in this build yet: use \
                 either `cluster` or `keystore`"
                    .to_owned(),
            ));
        }
        Ok(Some(Self {
            settings: settings(cluster),
            listen: listen_address(&cluster.address)?,
            path: cluster.path.clone(),
            keyring: keyring(cluster)?,
        }))
    }

    /// What the banner shows of it.
    pub(super) fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "Cluster",
            location: format!("{} ({})", self.settings.name, self.path.display()),
        }
    }
}

/// The state is applied before this hears of it, so what is loaded after a renewal is as new.
async fn follow_deletes(raft: RaftHandle, gateway: Gateway) {
    let seen = || raft.with_state(|state| state.delete_epoch());
    let (mut index, mut epoch) = (raft.applied_index(), seen());
    while raft.applied(index + 1).await {
        index = raft.applied_index();
        let now = seen();
        if now != epoch {
            epoch = now;
            gateway.renew();
        }
    }
}

async fn follow_staleness(raft: RaftHandle, gateway: Gateway) {
    let mut was_stale = raft.is_stale();
    loop {
        tokio::time::sleep(STALENESS_INTERVAL).await;
        let is_stale = raft.is_stale();
        if is_stale && !was_stale {
            tracing::warn!("no contact to a quorum for too long: keys are not served from here");
            gateway.renew();
        }
        was_stale = is_stale;
    }
}

fn settings(cluster: &ClusterConfig) -> Settings {
    Settings {
        name: cluster.name.clone(),
        cluster_address: cluster.advertise.clone(),
        api_address: cluster.api.clone().unwrap_or_default(),
        founders: cluster.members.clone(),
        heartbeat: cluster.heartbeat,
        election_timeout: cluster.election,
        stale_reads_max: cluster.stale_reads,
    }
}

fn ids(keyring: &Keyring) -> Vec<RootKeyId> {
    keyring.keys().iter().map(RootKey::id).collect()
}

/// What the authority of each root key is derived from.
fn authority_seeds(keyring: &Keyring) -> Vec<Key256> {
    let seed = |key: &RootKey| key.derive(b"kes cluster tls", b"kes/tls/1");
    keyring.keys().iter().map(seed).collect()
}

fn keyring(cluster: &ClusterConfig) -> Result<Keyring, NodeError> {
    let source = &cluster.root_keys;
    let invalid = |number: usize, error: RootKeyError| {
        let key_path = source.key_path();
        NodeError::Cluster(format!("{key_path}: root key {number}: {error}"))
    };
    let texts: Vec<SecretString> = source.read()?;
    let parsed = texts.iter().enumerate().map(|(index, text)| {
        RootKey::parse(text.expose()).map_err(|error| invalid(index + 1, error))
    });
    let keys = parsed.collect::<Result<Vec<_>, _>>()?;
    Keyring::new(keys).map_err(|error| invalid(1, error))
}

/// This node's part of a cluster, running.
pub(super) struct RunningCluster {
    node: ClusterNode,
    seals: Arc<Seals>,
    /// Which root keys this node has.
    root_keys: Published<Vec<RootKeyId>>,
}

impl RunningCluster {
    /// Opens the data directory and joins in. `watch` makes what tells of the end of a part.
    ///
    /// # Errors
    ///
    /// [`NodeError`] names what is wrong; a root key that is not the cluster's is.
    pub(super) async fn start(
        prepared: PreparedCluster,
        watch: impl Fn(&'static str) -> DeathWatch + Clone + Send + 'static,
    ) -> Result<Self, NodeError> {
        let PreparedCluster {
            settings,
            listen,
            path,
            keyring,
        } = prepared;
        let listener = bind(listen)?;
        let is_alone = settings
            .founders
            .iter()
            .all(|(name, _)| *name == settings.name);
        let opened = tokio::task::spawn_blocking(move || Storage::open(&path, Arc::new(RealDisk)));
        let storage = match opened.await {
            Ok(storage) => storage.map_err(|error| NodeError::Cluster(error.to_string()))?,
            Err(error) => return Err(NodeError::Cluster(error.to_string())),
        };
        let seals = Arc::new(Seals::new(keyring));
        seals
            .check(&storage.handle.applied().load().state)
            .map_err(|error| NodeError::Cluster(error.to_string()))?;
        let founder = Arc::clone(&seals);
        let found = Arc::new(move || founder.founding());
        let root_keys = Published::new(ids(&seals.keyring()));
        let parts = Parts {
            storage,
            settings,
            listener,
            authority_seeds: authority_seeds(&seals.keyring()),
            root_keys: root_keys.clone(),
            found,
        };
        let node = ClusterNode::start(parts, &Handle::current(), watch)
            .await
            .map_err(|error| NodeError::Cluster(error.to_string()))?;
        if is_alone {
            node.until_founded().await;
        }
        Ok(Self {
            node,
            seals,
            root_keys,
        })
    }

    /// Whether keys can be created now, without anybody else. Otherwise a start must not wait for
    /// anything of the cluster: the others may be waiting for this node, or a restore for its end.
    pub(super) fn is_ready_alone(&self) -> bool {
        let raft = self.node.handle();
        let view = raft.view();
        let can_change =
            |state: &State| state.cluster_id().is_some() && state.restoring().is_none();
        view.is_leader() && view.members.len() == 1 && raft.with_state(can_change)
    }

    /// Its keystore.
    pub(super) fn store(&self) -> Arc<dyn KeyStore> {
        let raft = self.node.handle().clone();
        Arc::new(RaftKeyStore::new(raft, Arc::clone(&self.seals)))
    }

    /// It, for its operators.
    pub(super) fn admin(&self) -> ClusterAdmin {
        let raft = self.node.handle().clone();
        ClusterAdmin::new(raft, Arc::clone(&self.seals), Handle::current())
    }

    /// Puts its policies in force from now on; gives what changes them.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if they cannot be put in force.
    pub(super) async fn follow_policies(
        &self,
        authz: &Addr<AuthzActor>,
        authorizer: &Authorizer,
        watch: DeathWatch,
    ) -> Result<PolicyAdmin, NodeError> {
        let raft = self.node.handle().clone();
        let in_force = policies::follow(raft.clone(), authz.clone(), watch).await?;
        Ok(PolicyAdmin::new(raft, authorizer.clone(), in_force))
    }

    /// Makes `gateway` forget what it knows of keys whenever one was deleted, by whichever node, and
    /// when this node has been without contact for so long that it must not be believed any more.
    pub(super) fn keep_fresh(&self, gateway: Gateway) {
        let raft = self.node.handle().clone();
        drop(Handle::current().spawn(follow_deletes(raft.clone(), gateway.clone())));
        drop(Handle::current().spawn(follow_staleness(raft, gateway)));
    }

    /// Creates those of the keys `names` that do not exist, as `admin`, as soon as the cluster can.
    /// Until then the node is up and says 503: it may be the others that wait for it.
    pub(super) fn create_keys_when_possible(&self, names: Vec<String>, admin: String) {
        let store = self.store();
        let created = async move {
            let mut told = String::new();
            while let Err(error) = create_predefined_keys(&*store, &names, &admin).await {
                let text = error.to_string();
                if text != told {
                    tracing::warn!("{text}: it will be tried again");
                    told = text;
                }
                tokio::time::sleep(PREDEFINED_KEYS_PAUSE).await;
            }
        };
        drop(Handle::current().spawn(created));
    }

    /// The root keys of another configuration, if they are all that the cluster uses. Everything
    /// else about a cluster stays as it was when the node started.
    ///
    /// # Errors
    ///
    /// [`NodeError::Cluster`] names the one that is missing.
    pub(super) fn next_seals(&self, prepared: PreparedCluster) -> Result<Seals, NodeError> {
        let next = Seals::new(prepared.keyring);
        self.node
            .handle()
            .with_state(|state| next.check(state))
            .map_err(|error| NodeError::Cluster(error.to_string()))?;
        Ok(next)
    }

    /// Uses the root keys of `next` from now on.
    ///
    /// # Errors
    ///
    /// [`NodeError::Cluster`] if TLS cannot use them; nothing has changed then.
    pub(super) fn use_seals(&self, next: &Seals) -> Result<(), NodeError> {
        self.node
            .replace_authorities(&authority_seeds(&next.keyring()))
            .map_err(|error| NodeError::Cluster(error.to_string()))?;
        self.seals.replace(next);
        self.root_keys.publish(ids(&next.keyring()));
        Ok(())
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.node.stop().await;
    }
}
