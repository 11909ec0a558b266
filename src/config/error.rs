//! Why a configuration is refused. The texts are those of the original wherever it has one, because
//! users and their scripts know them.

use std::path::PathBuf;

use crate::base::identity::Identity;
use crate::config::duration::GoDuration;
use crate::config::level::LevelError;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{verb} {}: {}", path.display(), io_text(source))]
    Read {
        /// What was tried, `open` or `read`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("yaml: the configuration is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// There is no document in the file.
    #[error("EOF")]
    Empty,
    /// The file is not YAML.
    #[error("yaml: line {line}: {problem}")]
    Syntax {
        /// Where, counted from one.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Aliases blow the document up beyond any use.
    #[error("yaml: document contains excessive aliasing")]
    ExcessiveAliasing,
    /// Values of the wrong type and duplicate keys: all of them, one a line.
    #[error("yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Types(Vec<String>),
    /// `version` is a list or a mapping.
    #[error("kesconf: invalid config version at line '{line}'")]
    VersionType {
        /// Where, counted from one.
        line: usize,
    },
    /// The version of the format is not known.
    #[error("edge: invalid server config version '{0}'")]
    Version(String),
    /// A `${NAME}` whose variable does not exist.
    #[error("kesconf: referenced env. variable '{name}' in line '{line}' not found")]
    MissingVariable {
        /// The variable.
        name: String,
        /// Where, counted from one.
        line: usize,
    },
    /// `admin.identity` is missing.
    #[error("kesconf: invalid admin identity: no admin identity")]
    NoAdmin,
    /// `tls.key` is missing.
    #[error("kesconf: invalid tls config: no private key")]
    NoPrivateKey,
    /// `tls.cert` is missing.
    #[error("kesconf: invalid tls config: no certificate")]
    NoCertificate,
    /// `tls.auth` is neither on nor off.
    #[error("kesconf: invalid tls config: invalid auth '{0}'")]
    TlsAuth(String),
    /// A TLS proxy is the admin.
    #[error("kesconf: invalid tls proxy: identity '{0}' is already admin")]
    ProxyIsAdmin(Identity),
    /// An identity under a policy is the admin.
    #[error("kesconf: invalid policy '{policy}': identity '{identity}' is already admin")]
    AssignedIsAdmin {
        /// The policy.
        policy: String,
        /// Whom it is about.
        identity: Identity,
    },
    /// An identity under a policy is a TLS proxy.
    #[error("kesconf: invalid policy '{policy}': identity '{identity}' is already a TLS proxy")]
    AssignedIsProxy {
        /// The policy.
        policy: String,
        /// Whom it is about.
        identity: Identity,
    },
    /// A cache expiry is negative.
    #[error("kesconf: invalid {what} '{value}'")]
    NegativeExpiry {
        /// Which one.
        what: &'static str,
        /// The value.
        value: GoDuration,
    },
    /// A log level is none.
    #[error(transparent)]
    LogLevel(#[from] LevelError),
    /// `log.format` is neither `text` nor `json`.
    #[error("kesconf: invalid log format '{0}'")]
    LogFormat(String),
    /// The timeout of an API is negative.
    #[error("kesconf: invalid timeout '{nanos}' for API '{path}'")]
    NegativeTimeout {
        /// The value in nanoseconds.
        nanos: i64,
        /// The API.
        path: String,
    },
    /// A predefined key occurs twice.
    #[error("kesconf: invalid key config: key '{0}' is defined multiple times")]
    DuplicateKey(String),
    /// No API call could ever name this predefined key.
    #[error(
        "kesconf: invalid key config: key '{0}' is empty, too long or contains invalid characters"
    )]
    KeyName(String),
    /// A setting of a keystore is missing or contradicts another.
    #[error("kesconf: invalid {store} keystore: {problem}")]
    Keystore {
        /// The keystore, as messages call it.
        store: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The file with the token for Vault's Kubernetes login cannot be read.
    #[error(
        "kesconf: failed to read vault kubernetes JWT from '{}': open {}: {}",
        path.display(),
        path.display(),
        io_text(source)
    )]
    KubernetesToken {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// There is more than one section in `keystore`.
    #[error("kesconf: invalid keystore config: more than once keystore specified")]
    SeveralKeystores,
    /// There is no section in `keystore`, and no cluster to keep keys in its stead.
    #[error("kesconf: no keystore specified")]
    NoKeystore,
    /// A setting of the cluster is missing or cannot be.
    #[error("kesconf: invalid cluster config: {key}: {problem}")]
    Cluster {
        /// Its path from the root of the document.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// The keystore is known, but this build cannot use it.
    #[error("{section}: this keystore is not available in this build yet")]
    KeystoreUnavailable {
        /// Its section in the configuration.
        section: &'static str,
    },
}

/// An I/O error in the words of Go: without the error number, and not capitalized.
fn io_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
