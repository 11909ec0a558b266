//! Layer 9: the configuration file, from YAML to what it means.
//!
//! `node` reads YAML into a tree that knows lines and spelling, `reader` gives typed access to it,
//! `file` is the image of what was written, `resolve` checks it and gives it its meaning.
//! Nothing here connects to anything, and parsing opens no other files, with one exception: the token
//! file of `keystore.vault.kubernetes` must be readable. The root keys of a cluster are read by whoever
//! starts a node, through [`RootKeySource::read`].

pub mod cluster;
pub mod duration;
pub mod env;
pub mod error;
mod file;
pub mod keystore;
pub mod level;
mod node;
mod reader;
mod resolve;
mod section;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::identity::Identity;
use crate::base::secret::SecretString;

pub use cluster::{ClusterConfig, RootKeySource};
pub use error::ConfigError;
pub use keystore::KeystoreConfig;
pub use level::Level;

/// Largest configuration file.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// What a configuration file means. There is no `Debug`: it holds secrets.
pub struct Config {
    /// Where to listen, `IP:PORT`; checked when the server starts, as the command line may give another.
    pub address: Option<String>,
    /// Who may do everything.
    pub admin: Identity,
    /// Certificates of the server, and what it asks of its clients.
    pub tls: TlsConfig,
    /// Policies in the order of the file; names and identities are checked by
    /// [`crate::authz::policy_set::PolicySet::new`].
    pub policies: Vec<PolicyConfig>,
    /// When cached keys expire.
    pub cache: CacheConfig,
    /// Settings of API routes in the order of the file; unknown paths mean nothing.
    pub api: Vec<ApiConfig>,
    /// What to log.
    pub log: LogConfig,
    /// Keys to create at start, in this order. The names are valid and differ.
    pub keys: Vec<String>,
    /// Where keys are kept. With a cluster and another keystore, the cluster decides who may create a
    /// key in it.
    pub keystore: KeystoreConfig,
    /// The cluster that the node is part of.
    pub cluster: Option<ClusterConfig>,
    /// What the file says without effect, one line each: ignored keys, patterns that look like globs.
    pub warnings: Vec<String>,
}

/// `tls`.
pub struct TlsConfig {
    /// File with the private key.
    pub key: PathBuf,
    /// File with the certificate and its chain.
    pub cert: PathBuf,
    /// Password of the private key.
    pub password: Option<SecretString>,
    /// Clients must present a certificate that a CA vouches for. Otherwise any certificate will do.
    pub verify_clients: bool,
    /// File or directory with CA certificates, in addition to the system's.
    pub ca: Option<PathBuf>,
    /// Proxies that may speak for other clients. None of them is the admin or under a policy.
    pub proxy_identities: Vec<Identity>,
    /// Header in which a proxy forwards its client's certificate.
    pub proxy_cert_header: Option<String>,
}

/// One entry of `policy`.
pub struct PolicyConfig {
    /// Name of the policy.
    pub name: String,
    /// Allow rules.
    pub allow: Vec<String>,
    /// Deny rules.
    pub deny: Vec<String>,
    /// Who is under the policy. The admin and proxies are not.
    pub identities: Vec<Identity>,
}

/// `cache.expiry`.
pub struct CacheConfig {
    /// How often the whole cache is dropped. Not zero.
    pub any: Duration,
    /// How long an entry may go unused. Not zero.
    pub unused: Duration,
    /// How long entries are kept while the keystore is offline; zero to make no difference.
    pub offline: Duration,
}

/// One entry of `api`.
pub struct ApiConfig {
    /// Path of the route; with a slash at the end if it takes an argument.
    pub path: String,
    /// The route is open to everybody. Only for routes that reveal no key.
    pub skip_auth: bool,
    /// Time limit, if it is not the route's own.
    pub timeout: Option<Duration>,
}

/// `log`.
pub struct LogConfig {
    /// Least level of records of the error log.
    pub error: Level,
    /// Least level of records of the audit log, whose records have the level INFO.
    pub audit: Level,
    /// How both look on the console.
    pub format: LogFormat,
}

/// How log records look on the console. The original knows only text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// `time=... level=INFO msg="..."`.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a configuration file, with references to the environment of this process.
///
/// # Errors
///
/// If the file cannot be read, and as [`parse`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let failed = |verb| {
        move |source| ConfigError::Read {
            verb,
            path: path.to_owned(),
            source,
        }
    };
    let file = std::fs::File::open(path).map_err(failed("open"))?;
    let mut yaml = Zeroizing::new(Vec::new());
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut yaml)
        .map_err(failed("read"))?;
    parse(&yaml, &env::process_variable)
}

/// Parses a configuration; `env` looks environment variables up.
///
/// # Errors
///
/// The first of: YAML syntax, `version`, a missing variable, all type errors, then the checks of the
/// sections in the order in which the original makes them.
pub fn parse(yaml: &[u8], env: env::Lookup<'_>) -> Result<Config, ConfigError> {
    if yaml.len() > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge {
            limit: FILE_BYTES_MAX,
        });
    }
    let text = std::str::from_utf8(yaml).map_err(|error| {
        let valid = yaml.get(..error.valid_up_to()).unwrap_or_default();
        ConfigError::Syntax {
            line: 1 + valid.iter().filter(|&&byte| byte == b'\n').count(),
            problem: "invalid UTF-8".to_owned(),
        }
    })?;
    resolve::resolve(file::File::parse(text, env)?)
}
