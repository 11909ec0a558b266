//! From what was written to what it means. The checks stand in the order in which they report: the
//! first that fails is the one that users see.

use std::collections::HashSet;
use std::time::Duration;

use crate::base::identity::Identity;
use crate::base::name::is_valid_name;
use crate::config::cluster::ClusterFile;
use crate::config::duration::GoDuration;
use crate::config::error::ConfigError;
use crate::config::file::{ApiFile, File, PolicyFile, TlsFile};
use crate::config::level::Level;
use crate::config::{
    ApiConfig, CacheConfig, Config, KeystoreConfig, LogConfig, LogFormat, PolicyConfig, TlsConfig,
};

/// The documented defaults. The original has others by mistake: 30 s and never.
const EXPIRY_ANY_DEFAULT: Duration = Duration::from_secs(5 * 60);
const EXPIRY_UNUSED_DEFAULT: Duration = Duration::from_secs(30);

/// Gives the file its meaning.
pub(super) fn resolve(file: File) -> Result<Config, ConfigError> {
    if file.admin.is_empty() {
        return Err(ConfigError::NoAdmin);
    }
    let admin = Identity::from(file.admin);
    let tls = resolve_tls(file.tls, &admin)?;
    let policies = resolve_policies(file.policies, &admin, &tls.proxy_identities)?;
    let cache = CacheConfig {
        any: expiry("cache expiry", file.expiry_any, EXPIRY_ANY_DEFAULT)?,
        unused: expiry(
            "cache unused expiry",
            file.expiry_unused,
            EXPIRY_UNUSED_DEFAULT,
        )?,
        offline: expiry("offline cache expiry", file.expiry_offline, Duration::ZERO)?,
    };
    let log = LogConfig {
        error: Level::parse(&file.log_error)?,
        audit: Level::parse(&file.log_audit)?,
        format: resolve_format(&file.log_format)?,
    };
    let api = resolve_apis(file.apis)?;
    check_keys(&file.keys)?;
    let keystore = file.keystore.resolve()?;
    let cluster = file.cluster.map(ClusterFile::resolve).transpose()?;
    let keystore = match (keystore, &cluster) {
        (Some(keystore), _) => keystore,
        (None, Some(_)) => KeystoreConfig::Cluster,
        (None, None) => return Err(ConfigError::NoKeystore),
    };
    Ok(Config {
        address: (!file.address.is_empty()).then_some(file.address),
        admin,
        tls,
        policies,
        cache,
        api,
        log,
        keys: file.keys,
        keystore,
        cluster,
        warnings: file.warnings,
    })
}

fn resolve_tls(file: TlsFile, admin: &Identity) -> Result<TlsConfig, ConfigError> {
    if file.key.is_empty() {
        return Err(ConfigError::NoPrivateKey);
    }
    if file.cert.is_empty() {
        return Err(ConfigError::NoCertificate);
    }
    let verify_clients = match file.auth.to_lowercase().as_str() {
        "on" => true,
        "off" | "" => false,
        _ => return Err(ConfigError::TlsAuth(file.auth)),
    };
    let proxies: Vec<_> = file
        .proxy_identities
        .into_iter()
        .map(Identity::from)
        .collect();
    if proxies.contains(admin) {
        return Err(ConfigError::ProxyIsAdmin(admin.clone()));
    }
    Ok(TlsConfig {
        key: file.key.into(),
        cert: file.cert.into(),
        password: (!file.password.expose().is_empty()).then_some(file.password),
        verify_clients,
        ca: (!file.ca.is_empty()).then(|| file.ca.into()),
        proxy_identities: proxies,
        proxy_cert_header: (!file.proxy_cert_header.is_empty()).then_some(file.proxy_cert_header),
    })
}

fn resolve_policies(
    files: Vec<PolicyFile>,
    admin: &Identity,
    proxies: &[Identity],
) -> Result<Vec<PolicyConfig>, ConfigError> {
    let proxies: HashSet<&Identity> = proxies.iter().collect();
    let mut policies = Vec::new();
    for file in files {
        let identities: Vec<_> = file.identities.into_iter().map(Identity::from).collect();
        for identity in &identities {
            if identity == admin {
                return Err(ConfigError::AssignedIsAdmin {
                    policy: file.name,
                    identity: identity.clone(),
                });
            }
            if proxies.contains(identity) {
                return Err(ConfigError::AssignedIsProxy {
                    policy: file.name,
                    identity: identity.clone(),
                });
            }
        }
        policies.push(PolicyConfig {
            name: file.name,
            allow: file.allow,
            deny: file.deny,
            identities,
        });
    }
    Ok(policies)
}

fn expiry(
    what: &'static str,
    value: GoDuration,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match value.to_std() {
        Some(Duration::ZERO) => Ok(default),
        Some(expiry) => Ok(expiry),
        None => Err(ConfigError::NegativeExpiry { what, value }),
    }
}

fn resolve_format(text: &str) -> Result<LogFormat, ConfigError> {
    match text.trim().to_lowercase().as_str() {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(ConfigError::LogFormat(text.to_owned())),
    }
}

fn resolve_apis(files: Vec<ApiFile>) -> Result<Vec<ApiConfig>, ConfigError> {
    let mut apis = Vec::new();
    for file in files {
        let Some(timeout) = file.timeout.to_std() else {
            return Err(ConfigError::NegativeTimeout {
                nanos: file.timeout.as_nanos(),
                path: file.path,
            });
        };
        apis.push(ApiConfig {
            path: file.path,
            skip_auth: file.skip_auth,
            timeout: (timeout > Duration::ZERO).then_some(timeout),
        });
    }
    Ok(apis)
}

fn check_keys(names: &[String]) -> Result<(), ConfigError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ConfigError::DuplicateKey(name.clone()));
        }
    }
    // The original creates such keys in some keystores, where no API call can ever reach them.
    for name in names {
        if !is_valid_name(name) {
            return Err(ConfigError::KeyName(name.clone()));
        }
    }
    Ok(())
}
