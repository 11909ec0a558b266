//! Who is let in, over real sockets: nodes of the cluster, as themselves, and nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::base::secret::Key256;
use crate::crypto::api_key::ApiKey;
use crate::raft::transport::tls::{Authority, ClusterTls, Peer, PeerError, no_server_name};
use crate::storage::NodeId;

/// A clock that a test sets, in seconds since 1970.
#[derive(Debug, Clone)]
struct TestClock(Arc<AtomicU64>);

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

impl TestClock {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl TimeProvider for TestClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::SeqCst);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn authority(seed: u8) -> Authority {
    Authority::derive(&Key256::new([seed; 32])).expect("an authority")
}

fn node_at(node: NodeId, seed: u8, clock: &TestClock) -> ClusterTls {
    let clock = Arc::new(clock.clone());
    ClusterTls::with_clock(node, vec![authority(seed)], clock).expect("settings")
}

fn node(node: NodeId, seed: u8) -> ClusterTls {
    node_at(node, seed, &TestClock::at(NOW))
}

/// What became of a connection: whom the server saw, and whether the client got its answer.
struct Met {
    seen: Result<Peer, String>,
    answered: bool,
}

/// Connects with `client` to a server with the settings of `server`, which answers one byte.
async fn meet(client: Arc<ClientConfig>, server: &ClusterTls) -> Met {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let tls = server.clone();
    let serving = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a connection");
        let acceptor = TlsAcceptor::from(tls.server_config());
        let mut stream = acceptor
            .accept(socket)
            .await
            .map_err(|error| error.to_string())?;
        let peer = tls.peer_of(stream.get_ref().1, false);
        // A client may be gone by now: that is its affair.
        let _ = stream.write_all(b"!").await;
        let _ = stream.shutdown().await;
        peer.map_err(|error: PeerError| error.to_string())
    });
    let connected = async {
        let socket = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(client);
        let mut stream = connector.connect(no_server_name(), socket).await?;
        stream.read_u8().await
    };
    let answered = connected.await.is_ok();
    let seen = serving.await.expect("a server");
    Met { seen, answered }
}

async fn dial(client: &ClusterTls, expected: Option<NodeId>, server: &ClusterTls) -> Met {
    meet(client.client_config(expected).expect("settings").0, server).await
}

#[tokio::test]
async fn nodes_of_one_root_key_know_each_other() {
    let (one, two) = (node(1, 7), node(2, 7));
    for expected in [Some(2), None] {
        let met = dial(&one, expected, &two).await;
        assert!(met.answered);
        assert_eq!(met.seen.expect("a peer").node, 1);
    }
    // Both derived it for themselves, and it is the same.
    assert_eq!(authority(7).id(), authority(7).id());
    assert_ne!(authority(7).id(), authority(8).id());
}

#[tokio::test]
async fn another_node_than_the_one_that_is_meant_is_not_spoken_to() {
    let met = dial(&node(1, 7), Some(3), &node(2, 7)).await;
    assert!(!met.answered);
}

#[tokio::test]
async fn another_root_key_gets_nowhere_in_either_direction() {
    let (member, stranger) = (node(1, 7), node(2, 8));
    for (client, server) in [(&stranger, &member), (&member, &stranger)] {
        let met = dial(client, None, server).await;
        assert!(!met.answered && met.seen.is_err());
    }
}

/// Takes whatever the server shows: the point is what the server takes.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A client that takes any server, with or without a certificate.
fn intruder(shown: Option<CertifiedKey>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    Arc::new(match shown {
        Some(shown) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown))),
        None => builder.with_no_client_auth(),
    })
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in() {
    let met = meet(intruder(None), &node(1, 7)).await;
    assert!(!met.answered && met.seen.is_err());
}

/// The certificate of a node, which it shows to anybody who asks.
async fn certificate_of(server: &ClusterTls) -> CertificateDer<'static> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let address = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(server.server_config());
    let serving = async {
        let (socket, _) = listener.accept().await.expect("a connection");
        // Refuses in the end, but has shown itself before.
        let _ = acceptor.accept(socket).await;
    };
    let asking = async {
        let socket = TcpStream::connect(address).await.expect("a socket");
        let connector = TlsConnector::from(intruder(None));
        let stream = connector.connect(no_server_name(), socket).await;
        let stream = stream.expect("a handshake, as the client sees it");
        let shown = stream.get_ref().1.peer_certificates();
        shown.expect("a certificate")[0].clone().into_owned()
    };
    tokio::join!(serving, asking).1
}

#[tokio::test]
async fn a_certificate_without_its_key_lets_nobody_in() {
    let member = node(1, 7);
    let stolen = certificate_of(&node(2, 7)).await;
    let own_key = ApiKey::generate().expect("a key").to_pkcs8_der();
    let own_key = any_eddsa_type(&PrivatePkcs8KeyDer::from(own_key.expose())).expect("a key");
    let shown = CertifiedKey::new(vec![stolen], own_key);
    let met = meet(intruder(Some(shown)), &member).await;
    assert!(!met.answered && met.seen.is_err());
}

#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    let met = meet(Arc::new(old), &node(1, 7)).await;
    assert!(!met.answered && met.seen.is_err());
}

#[tokio::test]
async fn clocks_may_differ_by_hours_but_certificates_end() {
    let clock = TestClock::at(NOW);
    let member = node_at(1, 7, &clock);
    for hours in [-2_i64, 2] {
        let skewed = NOW.checked_add_signed(hours * 3600).expect("a time");
        let met = dial(&node_at(2, 7, &TestClock::at(skewed)), Some(1), &member).await;
        assert!(met.answered && met.seen.is_ok(), "{hours} h");
    }
    // A certificate that is eight days old, shown to a node that lives now.
    let old = node_at(2, 7, &TestClock::at(NOW - 8 * DAY));
    let (config, _) = old.client_config(Some(1)).expect("settings");
    let met = meet(config, &member).await;
    assert!(!met.answered && met.seen.is_err());
}

#[tokio::test]
async fn certificates_are_renewed_before_they_end() {
    let clock = TestClock::at(NOW);
    let member = node_at(1, 7, &clock);
    assert!(!member.renew_if_due().expect("a look"));
    clock.set(NOW + 2 * DAY);
    assert!(member.renew_if_due().expect("renewed"));
    clock.set(NOW + 8 * DAY);
    let other = node_at(2, 7, &clock);
    let met = dial(&other, Some(1), &member).await;
    assert!(met.answered && met.seen.is_ok());
}

#[tokio::test]
async fn a_rotation_of_the_root_key_leaves_nobody_behind() {
    let (one, two) = (node(1, 7), node(2, 7));
    let both = |first: u8, second: u8| vec![authority(first), authority(second)];
    // New ones count first, then are shown, then count alone; node by node.
    for (of_one, of_two) in [
        (both(7, 8), both(7, 8)),
        (both(8, 7), both(7, 8)),
        (both(8, 7), both(8, 7)),
        (vec![authority(8)], both(8, 7)),
        (vec![authority(8)], vec![authority(8)]),
    ] {
        one.replace_authorities(of_one).expect("replaced");
        two.replace_authorities(of_two).expect("replaced");
        for (client, server, id) in [(&one, &two, 2), (&two, &one, 1)] {
            let met = dial(client, Some(id), server).await;
            assert!(met.answered && met.seen.is_ok());
        }
    }
    let behind = dial(&node(3, 7), Some(1), &one).await;
    assert!(!behind.answered && behind.seen.is_err());
}
