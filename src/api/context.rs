//! What handlers may use, and what the ingress tells about a request.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::drain::Draining;
use super::error::AuthenticationError;
use super::route::RouteTable;
use crate::audit::AuditSink;
use crate::authz::Authorizer;
use crate::base::identity::Identity;
use crate::base::snapshot::Published;
use crate::cache::KeyCache;
use crate::gateway::{ClusterAdmin, Gateway, PolicyAdmin};
use crate::telemetry::error_log::ErrorLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::Uptime;

/// The API of a node. Clones share it.
#[derive(Clone)]
pub struct Api(Arc<Context>);

/// The handles that handlers use.
pub struct Context {
    /// Decides who may do what.
    pub authorizer: Authorizer,
    /// Keys in the clear.
    pub cache: KeyCache,
    /// The keystore.
    pub gateway: Gateway,
    /// The cluster that this node is part of.
    pub cluster: Option<ClusterAdmin>,
    /// The cluster's policies.
    pub policies: Option<PolicyAdmin>,
    /// Where audit records go.
    pub audit: AuditSink,
    /// Where failures go.
    pub error_log: ErrorLog,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Routes with the configuration's changes.
    pub routes: Published<RouteTable>,
    /// Since when the process runs.
    pub uptime: Uptime,
    /// Whether the node is going down.
    pub draining: Draining,
}

impl Api {
    /// The API over these handles.
    pub fn new(context: Context) -> Self {
        Self(Arc::new(context))
    }
}

impl Deref for Api {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

/// Who is at the other end of a connection, or behind the proxy there.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address, if it is known.
    pub ip: Option<IpAddr>,
    /// Identity, or why there is none.
    pub identity: Result<Identity, AuthenticationError>,
}

impl Peer {
    /// The identity; unknown if there is none.
    pub fn identity_or_unknown(&self) -> Identity {
        self.identity
            .clone()
            .unwrap_or_else(|_| Identity::unknown())
    }
}

/// The head of a request, whatever protocol brought it.
pub struct RequestHead<'a> {
    /// Method.
    pub method: &'a str,
    /// Percent-encoded path.
    pub path: &'a str,
    /// Query, without its `?`.
    pub query: Option<&'a str>,
    /// Length of the body as declared; `None` if it is not known beforehand.
    pub body_bytes: Option<u64>,
    /// When the head was complete.
    pub received: Instant,
}
