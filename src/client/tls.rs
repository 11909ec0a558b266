//! Whom the client trusts, and as whom it presents itself.
//!
//! Which certificates are trusted beyond those of the system depends on the place of the server: a pinned
//! certificate counts on this host only. Nothing here may make a server trusted that Go's verification
//! would refuse, except where the caller asked for no verification at all.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, InconsistentKeys, RootCertStore,
    SignatureScheme,
};

use super::error::ClientError;
use super::{Credentials, Trust};
use crate::crypto::certificate::{self, CertificateRequest};

/// Lifetime of the certificate made for an API key.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// The TLS settings for servers on this host, and for all others.
pub(super) struct TlsConfigs {
    pub(super) loopback: rustls::ClientConfig,
    pub(super) remote: rustls::ClientConfig,
}

impl TlsConfigs {
    /// Reads the system's certificates if `trust` needs them.
    pub(super) fn new(credentials: Credentials, trust: Trust) -> Result<Self, ClientError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified_key = certified_key(credentials, &provider)?;
        let (loopback, remote): (Arc<dyn ServerCertVerifier>, Arc<dyn ServerCertVerifier>) =
            match trust {
                Trust::Insecure => {
                    let any = Arc::new(AnyServer(Arc::clone(&provider)));
                    (any.clone(), any)
                }
                Trust::System => {
                    let known = Arc::new(KnownServer::new(system_roots(), Vec::new(), &provider)?);
                    (known.clone(), known)
                }
                Trust::Pinned(pinned) => {
                    let roots = system_roots();
                    let remote = KnownServer::new(roots.clone(), Vec::new(), &provider)?;
                    let loopback = KnownServer::new(roots, pinned, &provider)?;
                    (Arc::new(loopback), Arc::new(remote))
                }
            };
        Ok(Self {
            loopback: config(loopback, certified_key.clone(), &provider)?,
            remote: config(remote, certified_key, &provider)?,
        })
    }
}

fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    certified_key: Option<Arc<CertifiedKey>>,
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ClientConfig, ClientError> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Setup(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match certified_key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(AlwaysPresent(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified_key(
    credentials: Credentials,
    provider: &CryptoProvider,
) -> Result<Option<Arc<CertifiedKey>>, ClientError> {
    let unusable =
        |error: &dyn std::error::Error| ClientError::InvalidCredentials(error.to_string());
    let (chain, key) = match credentials {
        Credentials::None => return Ok(None),
        Credentials::Certificate { chain, key } => (chain, key),
        Credentials::ApiKey(api_key) => {
            let request = CertificateRequest {
                common_name: None,
                dns: &[],
                ips: &[],
                not_after: CERTIFICATE_LIFETIME,
                server_auth: false,
            };
            let certificate =
                certificate::self_signed(&api_key, &request).map_err(|error| unusable(&error))?;
            let pkcs8 = PrivatePkcs8KeyDer::from(api_key.to_pkcs8_der().expose()).clone_key();
            (vec![certificate], PrivateKeyDer::Pkcs8(pkcs8))
        }
    };
    let signing_key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| unusable(&error))?;
    let certified_key = CertifiedKey::new(chain, signing_key);
    match certified_key.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            return Err(ClientError::KeyMismatch);
        }
        // Some keys cannot tell; the server will.
        Ok(()) | Err(Error::InconsistentKeys(_)) => {}
        Err(error) => return Err(unusable(&error)),
    }
    Ok(Some(Arc::new(certified_key)))
}

/// The certificates that the system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
/// What cannot be read is not trusted, and no error, as with Go.
fn system_roots() -> Vec<CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

/// Presents the certificate whatever CAs the server names: it knows clients by their keys.
#[derive(Debug)]
struct AlwaysPresent(Arc<CertifiedKey>);

impl ResolvesClientCert for AlwaysPresent {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Accepts a server that a root vouches for, that is a root itself, or that is pinned.
#[derive(Debug)]
struct KnownServer {
    /// `None` if there are no roots.
    by_roots: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl KnownServer {
    fn new(
        roots: Vec<CertificateDer<'static>>,
        pinned: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, ClientError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let by_roots = match store.is_empty() {
            true => None,
            false => {
                let builder = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(store),
                    Arc::clone(provider),
                );
                let verifier = builder.build();
                Some(verifier.map_err(|error| ClientError::Setup(error.to_string()))?)
            }
        };
        Ok(Self {
            by_roots,
            roots,
            pinned,
            provider: Arc::clone(provider),
        })
    }
}

impl ServerCertVerifier for KnownServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        if self.roots.iter().any(|root| root == end_entity) {
            return verify_root_as_server(end_entity, server_name, now);
        }
        match &self.by_roots {
            None => Err(CertificateError::UnknownIssuer.into()),
            Some(verifier) => verifier.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Accepts a server whose own certificate is trusted, if name and time fit. `webpki` refuses that for the
/// self-signed certificates that common tools make, which say that they are a CA; Go does not.
fn verify_root_as_server(
    certificate: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::BadEncoding)?;
    let now_seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let at = |seconds: i64| {
        let since_epoch = u64::try_from(seconds).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_secs(since_epoch))
    };
    let not_before = parsed.validity().not_before.timestamp();
    let not_after = parsed.validity().not_after.timestamp();
    if now_seconds < not_before {
        let not_before = at(not_before);
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before,
        }
        .into());
    }
    if now_seconds > not_after {
        let not_after = at(not_after);
        return Err(CertificateError::ExpiredContext {
            time: now,
            not_after,
        }
        .into());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}

/// Accepts any server that has the private key of whatever certificate it shows.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
