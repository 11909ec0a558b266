//! TLS settings: certificate, key and client authentication, as one value that is replaced as a whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, version};

use super::verifier::AnyCertificate;
use crate::base::identity::Identity;
use crate::base::os_error;
use crate::base::secret::SecretString;
use crate::crypto::certificate::has_dns_or_ip_san;
use crate::crypto::pem::{self, PemError};

/// Where the TLS material is, and how clients are checked.
#[derive(Clone)]
pub struct TlsFiles {
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificate chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Password of an encrypted key.
    pub password: Option<SecretString>,
    /// Certificates of client CAs, a file or a directory, beside those of the system.
    pub client_ca: Option<PathBuf>,
}

/// How the handshake treats client certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientAuth {
    /// No certificate, no connection.
    pub required: bool,
    /// The chain must lead to a trusted CA.
    pub verified: bool,
}

/// TLS proxies in front of this server.
#[derive(Clone, Default, Debug)]
pub struct ProxySettings {
    /// Identities of the proxies. Empty: there are none.
    pub identities: Vec<Identity>,
    /// Header in which they forward the client's certificate.
    pub certificate_header: String,
}

/// Everything a handshake needs. Replaced as a whole on reload.
pub struct TlsState {
    pub(super) config: Arc<ServerConfig>,
    pub(super) proxy: ProxySettings,
    /// Checks forwarded certificates, where chains are verified.
    pub(super) forwarded: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read TLS {what}: {reason}")]
    Read {
        /// Which of them.
        what: &'static str,
        /// Operation, path and the system's text.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("failed to read TLS {what}: {source}")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        source: PemError,
    },
    /// A file of the CA directory is no certificate.
    #[error("failed to read TLS CA certificates: https: failed to add '{path}' as CA certificate")]
    InvalidCa {
        /// The file.
        path: String,
    },
    /// The key is not the certificate's.
    #[error("failed to read TLS certificate: tls: private key does not match public key")]
    Mismatch,
    /// No client could verify this certificate.
    #[error("invalid TLS certificate: certificate does not contain any DNS or IP address as SAN")]
    NoName,
    /// The library refuses the settings.
    #[error("invalid TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
    /// The verifier of client certificates cannot be made.
    #[error("invalid TLS configuration: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl TlsState {
    /// Reads the files and prepares handshakes.
    ///
    /// # Errors
    ///
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(
        files: &TlsFiles,
        clients: ClientAuth,
        proxy: ProxySettings,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let key = load_key(files, &provider)?;
        let roots = client_roots(files.client_ca.as_deref(), clients.verified)?;
        Self::new(&provider, key, roots, clients, proxy)
    }

    /// Handshakes with a certificate that is already there, for development servers.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the key is not usable.
    pub fn development(
        chain: Vec<CertificateDer<'static>>,
        key: rustls::pki_types::PrivateKeyDer<'static>,
    ) -> Result<Self, TlsError> {
        let provider = provider();
        let key = CertifiedKey::from_der(chain, key, &provider)?;
        let clients = ClientAuth {
            required: true,
            verified: false,
        };
        Self::new(
            &provider,
            key,
            RootCertStore::empty(),
            clients,
            ProxySettings::default(),
        )
    }

    fn new(
        provider: &Arc<CryptoProvider>,
        key: CertifiedKey,
        roots: RootCertStore,
        clients: ClientAuth,
        proxy: ProxySettings,
    ) -> Result<Self, TlsError> {
        let verifier = client_verifier(provider, roots, clients)?;
        let forwarded = (clients.verified && clients.required).then(|| Arc::clone(&verifier));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(OneKey(Arc::new(key))));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session saves nothing here (a full handshake is as cheap), would skip the client
        // verifier, and would hide a renewed certificate.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            config: Arc::new(config),
            proxy,
            forwarded,
        })
    }
}

/// Always the same certificate.
#[derive(Debug)]
struct OneKey(Arc<CertifiedKey>);

impl rustls::server::ResolvesServerCert for OneKey {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// The one cryptography provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read {
        what,
        reason: os_error::describe("open", path, &error),
    })
}

fn load_key(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    const WHAT: &str = "certificate";
    let as_pem = |source| TlsError::Pem { what: WHAT, source };
    let chain = pem::certificates(&read(WHAT, &files.certificate)?).map_err(as_pem)?;
    let key_file = zeroize::Zeroizing::new(read(WHAT, &files.key)?);
    let password = files.password.as_ref().map(SecretString::expose);
    let key = pem::private_key(&key_file, password).map_err(as_pem)?;
    let leaf = chain.first().ok_or(TlsError::NoName)?.clone();
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        error => TlsError::Rustls(error),
    })?;
    match has_dns_or_ip_san(&leaf) {
        Ok(true) => Ok(key),
        _ => Err(TlsError::NoName),
    }
}

/// The CAs that clients are verified against: the system's and the configured ones.
fn client_roots(ca: Option<&Path>, verified: bool) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if verified {
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
    }
    let Some(path) = ca else { return Ok(roots) };
    const WHAT: &str = "CA certificates";
    let metadata = std::fs::metadata(path).map_err(|error| TlsError::Read {
        what: WHAT,
        reason: os_error::describe("stat", path, &error),
    })?;
    if !metadata.is_dir() {
        let source = |source| TlsError::Pem { what: WHAT, source };
        add_certificates(
            &mut roots,
            &pem::certificates(&read(WHAT, path)?).map_err(source)?,
        );
        return Ok(roots);
    }
    let directory_error = |error: std::io::Error| TlsError::Read {
        what: WHAT,
        reason: os_error::describe("open", path, &error),
    };
    for entry in std::fs::read_dir(path).map_err(directory_error)? {
        let entry = entry.map_err(directory_error)?.path();
        if entry.is_dir() {
            continue;
        }
        let certificates =
            pem::certificates(&read(WHAT, &entry)?).map_err(|_| TlsError::InvalidCa {
                path: entry.display().to_string(),
            })?;
        add_certificates(&mut roots, &certificates);
    }
    Ok(roots)
}

fn add_certificates(roots: &mut RootCertStore, certificates: &[CertificateDer<'static>]) {
    roots.add_parsable_certificates(certificates.iter().cloned());
}

fn client_verifier(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
    clients: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if !clients.verified {
        return Ok(AnyCertificate::new(provider, clients.required));
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .clear_root_hint_subjects();
    let builder = if clients.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    Ok(builder.build()?)
}
