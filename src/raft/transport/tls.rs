//! Mutual TLS between nodes: who holds a root key of the cluster is let in, everybody else is not.
//!
//! Each node makes its own certificate, signed by the [`Authority`] that follows from the root key, and
//! renews it while it runs; the key of the certificate never leaves the process. During a root key
//! rotation several authorities count. What counts and what is shown are replaced as one value; each
//! new connection takes the current one, and each call asks whether the authority of its connection
//! still counts.
//!
//! TLS 1.3 only. Sessions are not resumed, which would skip the checks.

mod authority;
mod node_uri;
mod verify;

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{CertificateError, ClientConfig, OtherError, ServerConfig, SignatureScheme, version};

pub use authority::{Authority, AuthorityId};
pub use verify::{Peer, PeerError};

use crate::base::snapshot::Published;
use crate::crypto::random::RandomError;
use crate::storage::NodeId;
use verify::{NodeVerifier, ShownBy, Trust};

/// The protocol inside: gRPC.
const ALPN_H2: &[u8] = b"h2";

/// When a node replaces its certificate: a day after it was made, by its clock in either direction, for
/// a certificate made before the clock was set back by so much would not be valid yet for others.
pub(super) const RENEWAL_AGE: Duration = Duration::from_secs(24 * 3600);

/// How often the age of the certificate is looked at. Less than an hour, so that a clock that is set
/// right does not leave a certificate of the wrong time in use for long.
const RENEWAL_CHECK_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// TLS cannot be set up, or a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A node without a root key cannot take part.
    #[error("no authority for the TLS of the cluster")]
    NoAuthority,
    /// The key of the authority cannot be derived.
    #[error("failed to derive the authority of the cluster")]
    Derivation,
    /// A certificate cannot be made.
    #[error("failed to make a certificate: {0}")]
    Certificate(rcgen::Error),
    /// The certificate of the authority cannot be used.
    #[error("failed to read the certificate of the authority: {0}")]
    Anchor(webpki::Error),
    /// No random bytes for a key.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The library refuses the settings.
    #[error("failed to set up TLS: {0}")]
    Setup(#[from] rustls::Error),
    /// There is no wall-clock time.
    #[error("the time of day is not known")]
    NoTime,
}

/// What this node shows and whom it lets in. Clones share it.
#[derive(Clone)]
pub struct ClusterTls(Arc<Shared>);

struct Shared {
    node: NodeId,
    clock: Arc<dyn TimeProvider>,
    provider: Arc<CryptoProvider>,
    /// Taken while the current state is replaced, so that replacements do not overlap.
    authorities: Mutex<Vec<Arc<Authority>>>,
    current: Published<Current>,
}

/// One state; replaced as a whole.
struct Current {
    /// Counts the states. Connections of former ones are replaced.
    generation: u64,
    trust: Arc<Trust>,
    shown: Arc<Shown>,
    issued_at: UnixTime,
    server: Arc<ServerConfig>,
}

impl ClusterTls {
    /// The TLS of the node `node`, with a fresh certificate of the first authority; all of them count.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if there is no authority, or no certificate can be made.
    pub fn new(node: NodeId, authorities: Vec<Authority>) -> Result<Self, TlsError> {
        Self::with_clock(node, authorities, Arc::new(DefaultTimeProvider))
    }

    /// As [`Self::new`], with a wall clock that tests can move.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn with_clock(
        node: NodeId,
        authorities: Vec<Authority>,
        clock: Arc<dyn TimeProvider>,
    ) -> Result<Self, TlsError> {
        let authorities: Vec<_> = authorities.into_iter().map(Arc::new).collect();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = Current::new(node, &authorities, &clock, &provider, 1)?;
        Ok(Self(Arc::new(Shared {
            node,
            clock,
            provider,
            authorities: Mutex::new(authorities),
            current: Published::new(current),
        })))
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Replaces the authorities, and the certificate by one of the first of them.
    ///
    /// To rotate the root key: let the new one count on all nodes (old, new), then show certificates of
    /// the new one (new, old), then let the old one go (new). A connection of an authority that no
    /// longer counts has none of its calls answered.
    ///
    /// # Errors
    ///
    /// [`TlsError`] as [`Self::new`]; nothing has changed then.
    pub fn replace_authorities(&self, authorities: Vec<Authority>) -> Result<(), TlsError> {
        let authorities: Vec<_> = authorities.into_iter().map(Arc::new).collect();
        let mut held = self.held_authorities();
        self.publish(&authorities)?;
        *held = authorities;
        Ok(())
    }

    /// Replaces the certificate if it is due, and says whether it was.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if no certificate can be made; the old one stays in use.
    pub fn renew_if_due(&self) -> Result<bool, TlsError> {
        let now = self.now()?;
        let held = self.held_authorities();
        let issued_at = self.0.current.load().issued_at;
        if now.as_secs().abs_diff(issued_at.as_secs()) < RENEWAL_AGE.as_secs() {
            return Ok(false);
        }
        self.publish(&held)?;
        Ok(true)
    }

    /// Keeps the certificate fresh for as long as it is polled.
    pub async fn keep_renewed(self) {
        let mut ticks = tokio::time::interval(RENEWAL_CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.renew_if_due() {
                Ok(false) => {}
                Ok(true) => tracing::info!("renewed the certificate of this node in the cluster"),
                Err(error) => tracing::error!("failed to renew the certificate: {error}"),
            }
        }
    }

    fn publish(&self, authorities: &[Arc<Authority>]) -> Result<(), TlsError> {
        let shared = &self.0;
        let generation = shared.current.load().generation + 1;
        let (clock, provider) = (&shared.clock, &shared.provider);
        let next = Current::new(shared.node, authorities, clock, provider, generation)?;
        shared.current.publish(next);
        Ok(())
    }

    fn held_authorities(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Authority>>> {
        let lock = self.0.authorities.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Result<UnixTime, TlsError> {
        self.0.clock.current_time().ok_or(TlsError::NoTime)
    }

    /// Which state is current: changes whenever the certificate or the authorities do.
    pub(super) fn generation(&self) -> u64 {
        self.0.current.load().generation
    }

    /// Whether certificates of this authority (still) count.
    pub(super) fn trusts(&self, authority: AuthorityId) -> bool {
        self.0.current.load().trust.contains(authority)
    }

    /// For the next connection to accept.
    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.current.load().server)
    }

    /// For the next connection to open, to the node `expected` or, if `None`, to any of the cluster;
    /// and the generation of the state it is of.
    pub(super) fn client_config(
        &self,
        expected: Option<NodeId>,
    ) -> Result<(Arc<ClientConfig>, u64), TlsError> {
        let shared = &self.0;
        let current = shared.current.load();
        let clock = Arc::clone(&shared.clock);
        let verifier = NodeVerifier::new(Arc::clone(&current.trust), expected);
        let shown: Arc<dyn ResolvesClientCert> = current.shown.clone();
        let mut config = ClientConfig::builder_with_details(Arc::clone(&shared.provider), clock)
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(shown);
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok((Arc::new(config), current.generation))
    }

    /// Who is at the other end of a connection whose handshake is done: its server, if `dialed`.
    pub(super) fn peer_of(
        &self,
        connection: &rustls::CommonState,
        dialed: bool,
    ) -> Result<Peer, PeerError> {
        let shown_by = if dialed {
            ShownBy::Server
        } else {
            ShownBy::Client
        };
        let certificates: &[CertificateDer<'_>] = connection.peer_certificates().unwrap_or(&[]);
        let (own, others) = certificates.split_first().ok_or(PeerError::NoCertificate)?;
        let now = self.now().map_err(|_| webpki::Error::BadDerTime)?;
        let trust = Arc::clone(&self.0.current.load().trust);
        trust.verify(own, others, shown_by, now)
    }
}

impl Current {
    fn new(
        node: NodeId,
        authorities: &[Arc<Authority>],
        clock: &Arc<dyn TimeProvider>,
        provider: &Arc<CryptoProvider>,
        generation: u64,
    ) -> Result<Self, TlsError> {
        let issued_at = clock.current_time().ok_or(TlsError::NoTime)?;
        let preferred = authorities.first().ok_or(TlsError::NoAuthority)?;
        let shown = Arc::new(Shown(Arc::new(preferred.issue(node, issued_at)?)));
        let trust = Arc::new(Trust::new(authorities));
        let verifier = NodeVerifier::new(Arc::clone(&trust), None);
        let resolver: Arc<dyn ResolvesServerCert> = shown.clone();
        let mut server =
            ServerConfig::builder_with_details(Arc::clone(provider), Arc::clone(clock))
                .with_protocol_versions(&[&version::TLS13])?
                .with_client_cert_verifier(verifier)
                .with_cert_resolver(resolver);
        server.alpn_protocols = vec![ALPN_H2.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            generation,
            trust,
            shown,
            issued_at,
            server: Arc::new(server),
        })
    }
}

/// The certificate of this node, at either end.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What stands for the name of a host where the library wants one: nodes are known by their NodeId.
pub(super) fn no_server_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

/// Whether both ends of a connection agreed on gRPC's HTTP/2. A client that does not say may speak
/// anything.
pub(super) fn speaks_h2(connection: &rustls::CommonState) -> bool {
    connection.alpn_protocol() == Some(ALPN_H2)
}

/// Why a handshake failed, in our words where the reason is ours: the library would show its innards.
pub(super) fn handshake_failure(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))) =
        inner
    {
        return reason.to_string();
    }
    error.to_string()
}
