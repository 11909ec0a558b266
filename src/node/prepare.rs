//! Everything that can fail about a configuration, done before anything is changed: a node starts
//! with a prepared configuration, and a reload takes one over as a whole or not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use super::cluster::PreparedCluster;
use super::dev::Development;
use super::error::NodeError;
use super::store;
use crate::api::{RouteOverride, RouteTable};
use crate::authz::policy_set::PolicySet;
use crate::base::clock::Timestamp;
use crate::base::name::KeyName;
use crate::base::os_error;
use crate::cache::Expiry;
use crate::config::{self, Config};
use crate::gateway::ensure_keys;
use crate::ingress::tls::{ClientAuth, ProxySettings, TlsFiles, TlsState};
use crate::keystore::memory::MemoryStore;
use crate::keystore::{KeyStore, StoreDescription};
use crate::telemetry::slog::{Format, Severity};

/// A configuration that is ready to be taken over.
pub struct Prepared {
    /// `address` of the configuration.
    pub address: Option<String>,
    /// The admin's identity, for the banner.
    pub admin: String,
    /// Severity from which the error log keeps records.
    pub error_severity: Severity,
    /// Severity from which the console shows audit records.
    pub audit_severity: Severity,
    /// How the console shows records.
    pub format: Format,
    /// What the operator should know about the configuration.
    pub warnings: Vec<String>,
    /// Where keys are kept.
    pub(super) store: PreparedStore,
    pub(super) tls: TlsState,
    pub(super) policies: PolicySet,
    pub(super) routes: RouteTable,
    pub(super) expiry: Expiry,
    pub(super) predefined_keys: Vec<String>,
}

/// Where the keys of a prepared configuration are.
pub(super) enum PreparedStore {
    /// In a store that is open.
    Open(Arc<dyn KeyStore>),
    /// In the cluster, which is opened once in the life of a node.
    Cluster(Box<PreparedCluster>),
}

/// The part of a configuration that is taken over without a signal.
pub struct PreparedTls(pub(super) TlsState);

impl Prepared {
    /// Reads the file at `path`, loads the TLS files and opens the keystore. `started_at` is when
    /// the process started, which policies have as their creation time.
    ///
    /// # Errors
    ///
    /// [`NodeError`] names what is wrong. Nothing has changed then.
    pub fn load(path: &Path, started_at: Timestamp) -> Result<Self, NodeError> {
        let config = config::load(path)?;
        let tls = load_tls(&config)?;
        let policies = policy_set(&config, started_at)?;
        for name in &config.keys {
            if KeyName::parse(name).is_none() {
                return Err(NodeError::PredefinedKeyName(name.clone()));
            }
        }
        Ok(Self {
            admin: config.admin.to_string(),
            error_severity: Severity(config.log.error.0),
            audit_severity: Severity(config.log.audit.0),
            format: match config.log.format {
                config::LogFormat::Text => Format::Text,
                config::LogFormat::Json => Format::Json,
            },
            store: match PreparedCluster::load(&config)? {
                Some(cluster) => PreparedStore::Cluster(Box::new(cluster)),
                None => PreparedStore::Open(store::open(&config.keystore)?),
            },
            tls,
            policies,
            routes: RouteTable::new(&route_overrides(&config)),
            expiry: Expiry {
                any: config.cache.any,
                unused: config.cache.unused,
                offline: config.cache.offline,
            },
            predefined_keys: config.keys,
            address: config.address,
            warnings: config.warnings,
        })
    }

    /// A development server: keys in memory, nobody but the admin.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if the certificate is not usable.
    pub fn development(dev: Development, started_at: Timestamp) -> Result<Self, NodeError> {
        let admin = dev.api_key.identity();
        Ok(Self {
            address: None,
            admin: admin.to_string(),
            error_severity: Severity::INFO,
            audit_severity: Severity::INFO,
            format: Format::Text,
            warnings: Vec::new(),
            store: PreparedStore::Open(Arc::new(MemoryStore::new())),
            tls: TlsState::development(vec![dev.certificate], dev.key)?,
            policies: PolicySet::new(admin, started_at, std::iter::empty())?,
            routes: RouteTable::new(&[]),
            expiry: Expiry {
                any: std::time::Duration::from_secs(300),
                unused: std::time::Duration::from_secs(30),
                offline: std::time::Duration::ZERO,
            },
            predefined_keys: Vec::new(),
        })
    }

    /// Kind and location of the keystore, for the banner.
    pub fn store_description(&self) -> StoreDescription {
        match &self.store {
            PreparedStore::Open(store) => store.describe(),
            PreparedStore::Cluster(cluster) => cluster.describe(),
        }
    }
}

/// Creates those of the keys `names` that do not exist in `store`, as `admin`.
///
/// # Errors
///
/// [`NodeError::PredefinedKey`] with the first that failed.
pub(super) async fn create_predefined_keys(
    store: &dyn KeyStore,
    names: &[String],
    admin: &str,
) -> Result<(), NodeError> {
    let names: Vec<KeyName<'_>> = names
        .iter()
        .filter_map(|name| KeyName::parse(name))
        .collect();
    Ok(ensure_keys(store, &names, admin).await?)
}

impl PreparedTls {
    /// Reads the configuration and the TLS files again.
    ///
    /// # Errors
    ///
    /// [`NodeError`] names what is wrong. Nothing has changed then.
    pub fn load(path: &Path) -> Result<Self, NodeError> {
        load_tls(&config::load(path)?).map(Self)
    }
}

fn load_tls(config: &Config) -> Result<TlsState, NodeError> {
    let files = TlsFiles {
        key: config.tls.key.clone(),
        certificate: config.tls.cert.clone(),
        password: config.tls.password.clone(),
        client_ca: config.tls.ca.clone(),
    };
    // A route that is open to everybody needs handshakes without a certificate.
    let opens_a_route = RouteTable::new(&route_overrides(config)).is_any_open();
    let clients = ClientAuth {
        required: !opens_a_route,
        verified: config.tls.verify_clients,
    };
    let proxy = ProxySettings {
        identities: config.tls.proxy_identities.clone(),
        certificate_header: config.tls.proxy_cert_header.clone().unwrap_or_default(),
    };
    Ok(TlsState::load(&files, clients, proxy)?)
}

fn route_overrides(config: &Config) -> Vec<RouteOverride> {
    let overrides = config.api.iter().map(|api| RouteOverride {
        path: api.path.clone(),
        skip_auth: api.skip_auth,
        timeout: api.timeout,
    });
    overrides.collect()
}

fn policy_set(config: &Config, started_at: Timestamp) -> Result<PolicySet, NodeError> {
    let policies = config.policies.iter().map(|policy| {
        (
            policy.name.clone(),
            policy.allow.clone(),
            policy.deny.clone(),
            policy.identities.clone(),
        )
    });
    Ok(PolicySet::new(config.admin.clone(), started_at, policies)?)
}

/// Parses a listen address: an IP literal or nothing, a colon, a port number or a service name.
///
/// # Errors
///
/// [`NodeError::Address`] in the words operators know.
pub fn listen_address(text: &str) -> Result<SocketAddr, NodeError> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(NodeError::Address(format!(
            "address {text}: missing port in address"
        )));
    };
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(NodeError::Address(format!(
            "address {text}: too many colons in address"
        )));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "" => unspecified(),
        host => IpAddr::from_str(host)
            .map_err(|_| NodeError::Address(format!("'{host}' is not a valid IP address")))?,
    };
    Ok(SocketAddr::new(ip, listen_port(port)?))
}

/// All interfaces, IPv4 and IPv6 if the host has IPv6.
fn unspecified() -> IpAddr {
    match std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

fn listen_port(port: &str) -> Result<u16, NodeError> {
    if let Ok(number) = port.parse() {
        return Ok(number);
    }
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NodeError::Address(format!(
            "listen tcp: address {port}: invalid port"
        )));
    }
    service_port(port)
        .ok_or_else(|| NodeError::Address(format!("listen tcp: lookup tcp/{port}: unknown port")))
}

/// The port of a service name, as the system knows it.
fn service_port(name: &str) -> Option<u16> {
    let services = std::fs::read_to_string("/etc/services").ok();
    let known = [("http", 80), ("https", 443)];
    let built_in = known
        .iter()
        .find_map(|(service, port)| (*service == name).then_some(*port));
    built_in.or_else(|| {
        services?.lines().find_map(|line| {
            let mut fields = line.split('#').next()?.split_whitespace();
            let service = fields.next()?;
            let (port, protocol) = fields.next()?.split_once('/')?;
            (protocol == "tcp" && (service == name || fields.any(|alias| alias == name)))
                .then(|| port.parse().ok())?
        })
    })
}

/// Binds `address`.
///
/// # Errors
///
/// [`NodeError::Bind`] with the system's reason.
pub(super) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, NodeError> {
    crate::ingress::listener::bind(address).map_err(|error| NodeError::Bind {
        address: address.to_string(),
        reason: os_error::reason(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_ip_literals_with_a_port() {
        let text = |address: &str| match listen_address(address) {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text("127.0.0.1:7373"), "127.0.0.1:7373");
        assert_eq!(text("[::1]:7373"), "[::1]:7373");
        assert_eq!(text("127.0.0.1:http"), "127.0.0.1:80");
        assert_eq!(
            text("127.0.0.1"),
            "address 127.0.0.1: missing port in address"
        );
        assert_eq!(
            text("localhost:7373"),
            "'localhost' is not a valid IP address"
        );
        assert_eq!(
            text("1.2.3.4:99999"),
            "listen tcp: address 99999: invalid port"
        );
        assert!(
            listen_address(":7373")
                .expect("an address")
                .ip()
                .is_unspecified()
        );
    }
}
