//! From the environment to a client: which server, and as whom.
//!
//! Of several variables for one thing the first that is *set* wins, even if it is empty. That is how
//! the original does it, and scripts unset what they do not mean by setting it to nothing.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::args::InsecureFlag;
use super::dev_trust;
use super::failure::Failure;
use super::files::{self, FileError};
use super::password;
use crate::client::{Client, ClientConfig, ClientError, Credentials, Trust};
use crate::crypto::api_key::{ApiKey, ApiKeyError};
use crate::crypto::certificate::{self, CertificateError};
use crate::crypto::pem::{self, PemError};

const SERVER: [&str; 3] = ["MINIO_KES_SERVER", "KES_SERVER", "MINIO_KMS_KES_ENDPOINT"];
const API_KEY: [&str; 3] = ["MINIO_KES_API_KEY", "KES_API_KEY", "MINIO_KMS_KES_API_KEY"];
const KEY_FILE: [&str; 3] = [
    "MINIO_KES_KEY_FILE",
    "KES_CLIENT_KEY",
    "MINIO_KES_CLIENT_KEY",
];
const CERT_FILE: [&str; 3] = [
    "MINIO_KES_CERT_FILE",
    "KES_CLIENT_CERT",
    "MINIO_KES_CLIENT_CERT",
];

/// The server of this host.
const DEFAULT_SERVER: &str = "127.0.0.1:7373";

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// Nothing says who we are.
    #[error("no API key specified. Consider setting MINIO_KES_API_KEY")]
    NoCredentials,
    /// Two things say who we are.
    #[error("API key and private key file cannot be used at the same time")]
    ApiKeyAndKeyFile,
    /// Two things say who we are.
    #[error("API key and certificate file cannot be used at the same time")]
    ApiKeyAndCertFile,
    /// Half of a key pair.
    #[error("no certificate file specified. Consider setting MINIO_KES_CERT_FILE")]
    NoCertFile,
    /// Half of a key pair.
    #[error("no private key file specified. Consider setting MINIO_KES_KEY_FILE")]
    NoKeyFile,
    /// The API key is none.
    #[error("parsing API key: {0}")]
    ApiKey(#[from] ApiKeyError),
    /// The certificate file cannot be read.
    #[error("reading certificate file: {0}")]
    CertFile(FileError),
    /// The certificate file holds no certificate.
    #[error("reading certificate file: {0}")]
    CertPem(PemError),
    /// The certificate is malformed.
    #[error("reading certificate file: {0}")]
    Certificate(CertificateError),
    /// The private key file cannot be read.
    #[error("reading private key file: {0}")]
    KeyFile(FileError),
    /// The private key file holds no private key.
    #[error("failed to read TLS private key: no PEM-encoded private key found")]
    NoPrivateKey,
    /// The private key cannot be used.
    #[error("failed to read TLS private key: {0}")]
    KeyPem(PemError),
    /// The password cannot be read.
    #[error("reading password: {0}")]
    Password(io::Error),
    /// The password does not fit.
    #[error("incorrect password")]
    IncorrectPassword,
    /// The private key cannot be decrypted, whatever the password.
    #[error("failed to decrypt private key: {0}")]
    Decrypt(PemError),
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What flags say instead of the environment.
#[derive(Default)]
pub(super) struct Overrides<'a> {
    pub(super) server: Option<&'a str>,
    pub(super) api_key: Option<&'a str>,
}

/// A client, and the endpoints as they are shown to people.
pub(super) struct Connection {
    pub(super) client: Client,
    /// As `host:port`, without scheme.
    pub(super) endpoints: Vec<String>,
}

/// A client as the environment says.
pub(super) fn connect(insecure: InsecureFlag) -> Result<Connection, Failure> {
    connect_with(insecure, &Overrides::default())
}

/// A client as flags and the environment say.
pub(super) fn connect_with(
    insecure: InsecureFlag,
    overrides: &Overrides<'_>,
) -> Result<Connection, Failure> {
    let env = |name: &str| std::env::var_os(name);
    let settings = Settings::read(&env, overrides);
    let credentials = settings.credentials()?;
    let endpoints = settings.endpoints();
    let config = ClientConfig {
        trust: trust(insecure, &endpoints),
        endpoints: endpoints
            .iter()
            .map(|endpoint| format!("https://{endpoint}"))
            .collect(),
        credentials,
    };
    let client = Client::new(config).map_err(ConnectError::from)?;
    Ok(Connection { client, endpoints })
}

/// Servers are verified; a development server of this user may also have the certificate that it left.
fn trust(insecure: InsecureFlag, endpoints: &[String]) -> Trust {
    if insecure.insecure {
        return Trust::Insecure;
    }
    let certificates = endpoints
        .iter()
        .filter_map(|endpoint| dev_trust::certificate_for(endpoint));
    Trust::Pinned(certificates.collect())
}

/// What environment and flags say, unchecked. Empty is the same as missing, except that an empty
/// variable hides those with older names.
struct Settings {
    server: Option<String>,
    api_key: String,
    key_file: PathBuf,
    cert_file: PathBuf,
}

impl Settings {
    fn read(env: &dyn Fn(&str) -> Option<OsString>, overrides: &Overrides<'_>) -> Self {
        let first = |names: [&str; 3]| names.iter().find_map(|name| env(name));
        let text = |names| first(names).map(|value| value.to_string_lossy().into_owned());
        let path = |names| first(names).map(PathBuf::from).unwrap_or_default();
        let given =
            |value: Option<&str>| value.filter(|value| !value.is_empty()).map(str::to_owned);
        Self {
            server: given(overrides.server).or_else(|| text(SERVER)),
            api_key: given(overrides.api_key)
                .or_else(|| text(API_KEY))
                .unwrap_or_default(),
            key_file: path(KEY_FILE),
            cert_file: path(CERT_FILE),
        }
    }

    /// The endpoints, without scheme.
    fn endpoints(&self) -> Vec<String> {
        let list = self.server.as_deref().unwrap_or(DEFAULT_SERVER);
        let plain = |endpoint: &str| {
            let endpoint = endpoint.trim();
            let endpoint = endpoint.strip_prefix("http://").unwrap_or(endpoint);
            endpoint
                .strip_prefix("https://")
                .unwrap_or(endpoint)
                .trim_end_matches('/')
                .to_owned()
        };
        list.split(',').map(plain).collect()
    }

    fn credentials(&self) -> Result<Credentials, ConnectError> {
        let has_api_key = !self.api_key.is_empty();
        let has_key_file = !self.key_file.as_os_str().is_empty();
        let has_cert_file = !self.cert_file.as_os_str().is_empty();
        match (has_api_key, has_key_file, has_cert_file) {
            (false, false, false) => Err(ConnectError::NoCredentials),
            (true, true, _) => Err(ConnectError::ApiKeyAndKeyFile),
            (true, false, true) => Err(ConnectError::ApiKeyAndCertFile),
            (false, true, false) => Err(ConnectError::NoCertFile),
            (false, false, true) => Err(ConnectError::NoKeyFile),
            (true, false, false) => Ok(Credentials::ApiKey(ApiKey::parse(&self.api_key)?)),
            (false, true, true) => key_pair(&self.key_file, &self.cert_file),
        }
    }
}

/// Reads certificates and their private key, and asks for its password if it has one.
fn key_pair(key_file: &Path, cert_file: &Path) -> Result<Credentials, ConnectError> {
    let cert_pem = files::read(cert_file).map_err(ConnectError::CertFile)?;
    let chain = pem::certificates(cert_pem.expose()).map_err(ConnectError::CertPem)?;
    if let Some(first) = chain.first() {
        certificate::identity_of(first).map_err(ConnectError::Certificate)?;
    }
    let key_pem = files::read(key_file).map_err(ConnectError::KeyFile)?;
    let encrypted = pem::is_encrypted(key_pem.expose());
    let password = match encrypted {
        true => Some(
            password::ask("Enter password for private key: ").map_err(ConnectError::Password)?,
        ),
        false => None,
    };
    let key = pem::private_key(
        key_pem.expose(),
        password.as_ref().map(|password| password.expose()),
    );
    let key = key.map_err(|error| match error {
        PemError::NoPem | PemError::NoPrivateKey => ConnectError::NoPrivateKey,
        PemError::IncorrectPassword => ConnectError::IncorrectPassword,
        error if encrypted => ConnectError::Decrypt(error),
        error => ConnectError::KeyPem(error),
    })?;
    Ok(Credentials::Certificate { chain, key })
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
