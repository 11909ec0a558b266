//! This node's part of a cluster: prepared from the configuration, started, and kept over reloads.

use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use tokio::runtime::Handle;

use super::error::NodeError;
use super::policies;
use crate::authz::Authorizer;
use crate::authz::actor::AuthzActor;
use crate::base::exit::DeathWatch;
use crate::base::secret::SecretString;
use crate::config::{ClusterConfig, Config, KeystoreConfig};
use crate::crypto::at_rest::{Keyring, RootKey, RootKeyError};
use crate::gateway::{ClusterAdmin, PolicyAdmin, RaftKeyStore, Seals};
use crate::keystore::{KeyStore, StoreDescription};
use crate::raft::{ClusterNode, Settings};
use crate::storage::{RealDisk, Storage};

/// The cluster of a configuration, before anything of it is opened.
pub(super) struct PreparedCluster {
    settings: Settings,
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
            path,
            keyring,
        } = prepared;
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
        let node = ClusterNode::start(storage, settings, &Handle::current(), found, watch)
            .await
            .map_err(|error| NodeError::Cluster(error.to_string()))?;
        node.until_founded().await;
        Ok(Self { node, seals })
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
    pub(super) fn use_seals(&self, next: &Seals) {
        self.seals.replace(next);
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.node.stop().await;
    }
}
