//! Why a node does not start, or does not take over a new configuration.

use crate::authz::policy_set::PolicySetError;
use crate::config::ConfigError;
use crate::crypto::api_key::ApiKeyError;
use crate::crypto::certificate::CertificateError;
use crate::crypto::random::RandomError;
use crate::gateway::EnsureKeysError;
use crate::ingress::tls::TlsError;
use crate::keystore::StoreError;

/// Why a node does not start, or does not take over a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The listen address is not valid.
    #[error("{0}")]
    Address(String),
    /// The address cannot be bound.
    #[error("listen tcp {address}: bind: {reason}")]
    Bind {
        /// The address.
        address: String,
        /// The system's reason.
        reason: String,
    },
    /// The TLS files are not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The policies are not valid.
    #[error(transparent)]
    Policies(#[from] PolicySetError),
    /// The keystore cannot be opened.
    #[error("{0}")]
    OpenStore(String),
    /// This node's part of the cluster cannot start, or not take over a new configuration.
    #[error("cluster: {0}")]
    Cluster(String),
    /// The keystore cannot be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A predefined key cannot be created.
    #[error(transparent)]
    PredefinedKey(#[from] EnsureKeysError),
    /// A predefined key has an invalid name.
    #[error(
        "kesconf: invalid key config: key name '{0}' is empty, too long or contains invalid characters"
    )]
    PredefinedKeyName(String),
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// No development certificate.
    #[error("failed to create a development certificate: {0}")]
    Certificate(String),
    /// See [`CertificateError`].
    #[error(transparent)]
    CertificateRequest(#[from] CertificateError),
    /// See [`ApiKeyError`].
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// The operating system refused a thread, a runtime or a socket.
    #[error("failed to start {what}: {source}")]
    System {
        /// What could not be started.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The metrics cannot be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// An actor did not take its message.
    #[error("the {0} actor does not respond")]
    ActorUnresponsive(&'static str),
}
