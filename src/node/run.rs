//! A running node: its actors, and what can be done to it as a whole.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::cluster::RunningCluster;
use super::error::NodeError;
use super::prepare::{Prepared, PreparedStore, PreparedTls, bind, create_predefined_keys};
use super::tell::tell;
use crate::api::{self, Api, DrainSignal, RouteTable};
use crate::audit::AuditSink;
use crate::audit::actor::{AuditActor, AuditSettings};
use crate::authz::actor::AuthzActor;
use crate::authz::messages::ReplacePolicies;
use crate::base::clock::Timestamp;
use crate::base::exit::DeathWatch;
use crate::base::limits::SHUTDOWN_GRACE;
use crate::base::snapshot::Published;
use crate::cache::KeyCache;
use crate::cache::actor::KeyCacheActor;
use crate::cache::messages::ReplaceExpiry;
use crate::gateway::actor::GatewayActor;
use crate::gateway::messages::ReplaceStore;
use crate::gateway::{Gateway, Seals};
use crate::ingress::actor::IngressActor;
use crate::ingress::messages::{Drain, ReplaceTls};
use crate::keystore::KeyStore;
use crate::telemetry::console::Console;
use crate::telemetry::error_log::ErrorLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::{Uptime, usable_processors};

/// What a node writes to, and since when it runs.
pub struct Telemetry {
    /// The error log, already installed.
    pub error_log: ErrorLog,
    /// The console for audit records.
    pub audit_console: Console,
    /// When the process started.
    pub started_at: Timestamp,
    /// Since when it runs.
    pub uptime: Uptime,
}

/// A running node.
pub struct Node {
    address: SocketAddr,
    telemetry: Telemetry,
    audit_settings: AuditSettings,
    routes: Published<RouteTable>,
    gateway: Gateway,
    authz: Addr<AuthzActor>,
    gateway_actor: Addr<GatewayActor>,
    cache_actor: Addr<KeyCacheActor>,
    ingress: Addr<IngressActor>,
    draining: DrainSignal,
    deaths: watch::Receiver<Option<&'static str>>,
    audit: AuditSink,
    cluster: Option<RunningCluster>,
}

impl Node {
    /// Binds `address`, creates the predefined keys, starts the actors in the order of their layers
    /// and serves. Must run on an actix system.
    ///
    /// # Errors
    ///
    /// [`NodeError`] names what is wrong.
    pub async fn start(
        prepared: Prepared,
        address: SocketAddr,
        telemetry: Telemetry,
    ) -> Result<Self, NodeError> {
        let listener = bind(address)?;
        let address = local_address(&listener)?;
        let (death_sender, deaths) = watch::channel(None);
        let watch = move |actor| death_watch(actor, &death_sender);
        let (store, cluster) = match prepared.store {
            PreparedStore::Open(store) => (store, None),
            PreparedStore::Cluster(cluster) => {
                let cluster = RunningCluster::start(*cluster, watch.clone()).await?;
                (cluster.store(), Some(cluster))
            }
        };
        let (names, admin) = (&prepared.predefined_keys, &prepared.admin);
        match &cluster {
            Some(cluster) if !cluster.is_ready_alone() => {
                cluster.create_keys_when_possible(names.clone(), admin.clone());
            }
            _ => create_predefined_keys(&*store, names, admin).await?,
        }

        telemetry
            .error_log
            .configure(prepared.error_severity, prepared.format);
        let audit_settings = AuditSettings::new();
        audit_settings.configure(prepared.audit_severity, prepared.format);
        let metrics = Arc::new(Metrics::new(telemetry.uptime)?);
        let audit = AuditActor::start_with(
            telemetry.audit_console.clone(),
            audit_settings.clone(),
            Arc::clone(&metrics),
            watch("audit"),
        );
        let (authz, authorizer) = AuthzActor::start_with(prepared.policies, watch("authorization"));
        let policies = match &cluster {
            Some(cluster) => {
                let watch = watch("policies of the cluster");
                let admin = cluster.follow_policies(&authz, &authorizer, watch).await?;
                Some(admin)
            }
            None => None,
        };
        let gateway = Gateway::new(store, Handle::current());
        if let Some(cluster) = &cluster {
            cluster.keep_fresh(gateway.clone());
        }
        let gateway_actor = GatewayActor::new(gateway.clone(), watch("gateway")).start();
        let cache = KeyCache::new(gateway.clone());
        let cache_actor =
            KeyCacheActor::new(cache.clone(), prepared.expiry, watch("cache")).start();
        let routes = Published::new(prepared.routes);
        let (draining, draining_seen) = api::drain_signal();
        let api = Api::new(api::Context {
            authorizer,
            cache,
            gateway: gateway.clone(),
            cluster: cluster.as_ref().map(RunningCluster::admin),
            policies,
            audit: audit.clone(),
            error_log: telemetry.error_log.clone(),
            metrics,
            routes: routes.clone(),
            uptime: telemetry.uptime,
            draining: draining_seen,
        });
        let ingress = IngressActor::start_with(
            listener,
            usable_processors(),
            api,
            prepared.tls,
            watch("ingress"),
        )
        .map_err(|source| NodeError::System {
            what: "the listening server",
            source,
        })?;
        for warning in &prepared.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self {
            address,
            telemetry,
            audit_settings,
            routes,
            gateway,
            authz,
            gateway_actor,
            cache_actor,
            ingress,
            draining,
            deaths,
            audit,
            cluster,
        })
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Since when the process runs.
    pub fn started_at(&self) -> Timestamp {
        self.telemetry.started_at
    }

    /// Takes over a configuration as a whole. Where a keystore has them, the predefined keys are created
    /// first; if that fails, nothing changes. Requests under way go on with what they began with.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if a predefined key cannot be created, or an actor does not respond.
    pub async fn reload(&self, prepared: Prepared) -> Result<(), NodeError> {
        let (store, seals) = self.next_store(prepared.store)?;
        let (names, admin) = (&prepared.predefined_keys, &prepared.admin);
        match (&self.cluster, &seals) {
            (Some(cluster), Some(seals)) => {
                cluster.use_seals(seals)?;
                // Not before: it may be these root keys that this node needs to reach the others.
                cluster.create_keys_when_possible(names.clone(), admin.clone());
            }
            _ => create_predefined_keys(&*store, names, admin).await?,
        }
        let Prepared {
            expiry,
            policies,
            tls,
            ..
        } = prepared;
        // All are told before the first answer is waited for: none keeps its old setting because
        // another is slow.
        let replies = [
            tell(&self.gateway_actor, "gateway", |reply| ReplaceStore {
                store,
                reply,
            }),
            tell(&self.cache_actor, "cache", |reply| ReplaceExpiry {
                expiry,
                reply,
            }),
            tell(&self.authz, "authorization", |reply| ReplacePolicies {
                policies,
                reply,
            }),
            tell(&self.ingress, "ingress", |reply| ReplaceTls { tls, reply }),
        ];
        self.routes.publish(prepared.routes);
        self.telemetry
            .error_log
            .configure(prepared.error_severity, prepared.format);
        self.audit_settings
            .configure(prepared.audit_severity, prepared.format);
        for warning in &prepared.warnings {
            tracing::warn!("{warning}");
        }
        for reply in replies {
            reply?.arrived().await?;
        }
        Ok(())
    }

    /// The store to use after a reload, and the root keys if it is that of the cluster.
    fn next_store(
        &self,
        prepared: PreparedStore,
    ) -> Result<(Arc<dyn KeyStore>, Option<Seals>), NodeError> {
        match (prepared, &self.cluster) {
            (PreparedStore::Open(store), None) => Ok((store, None)),
            (PreparedStore::Cluster(prepared), Some(cluster)) => {
                Ok((cluster.store(), Some(cluster.next_seals(*prepared)?)))
            }
            _ => Err(NodeError::Cluster(
                "a node enters or leaves a cluster only when it is started: restart it".to_owned(),
            )),
        }
    }

    /// Takes over new TLS settings.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the ingress does not respond.
    pub async fn reload_tls(&self, prepared: PreparedTls) -> Result<(), NodeError> {
        tell(&self.ingress, "ingress", |reply| ReplaceTls {
            tls: prepared.0,
            reply,
        })?
        .arrived()
        .await
    }

    /// Waits until an actor dies, and names it. Its node must stop then.
    pub async fn actor_died(&self) -> &'static str {
        let mut deaths = self.deaths.clone();
        // The actors hold senders: the channel ends only with all of them.
        let died = deaths.wait_for(Option::is_some).await;
        died.ok().and_then(|died| *died).unwrap_or("last")
    }

    /// Takes the node down: no new connections, active requests get their time, then the store is
    /// closed and the logs are written out.
    pub async fn shut_down(self) {
        self.draining.begin();
        let (reply, drained) = oneshot::channel();
        if self.ingress.try_send(Drain { reply }).is_ok() {
            let limit = SHUTDOWN_GRACE + Duration::from_secs(1);
            let _ = tokio::time::timeout(limit, drained).await;
        }
        // Changes that are under way finish without their clients, and leave their records.
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.audit.drained()).await;
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, self.gateway.close()).await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
        self.telemetry.audit_console.flush(SHUTDOWN_GRACE);
        self.telemetry.error_log.flush(SHUTDOWN_GRACE);
    }
}

fn death_watch(actor: &'static str, deaths: &watch::Sender<Option<&'static str>>) -> DeathWatch {
    let deaths = deaths.clone();
    DeathWatch::new(actor, move |actor| {
        // The first death is the one to name: others follow from it.
        deaths.send_if_modified(|died| died.replace(actor).is_none());
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|source| NodeError::System {
        what: "the listening socket",
        source,
    })
}
