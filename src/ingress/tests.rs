//! Tests of the ingress over real sockets, with a keystore that hangs when it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;

use super::listener::{bind, server};
use super::tls::TlsState;
use crate::api::{Api, Context, DrainSignal, RouteTable, drain_signal};
use crate::audit::actor::{AuditActor, AuditSettings};
use crate::authz::actor::AuthzActor;
use crate::authz::policy_set::PolicySet;
use crate::base::clock::Timestamp;
use crate::base::exit::DeathWatch;
use crate::base::limits::H2_STREAMS_MAX;
use crate::base::snapshot::Published;
use crate::cache::KeyCache;
use crate::crypto::certificate::identity_of;
use crate::gateway::Gateway;
use crate::keystore::fault::{FaultStore, Operation};
use crate::telemetry::console::Console;
use crate::telemetry::error_log::ErrorLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process::Uptime;

type Bytes = bytes::Bytes;

/// A served API, whose admin has the certificate that the server has, too.
struct Served {
    address: SocketAddr,
    store: Arc<FaultStore>,
    metrics: Arc<Metrics>,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    _drain: DrainSignal,
}

impl Served {
    fn start() -> Self {
        let pair = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let certificate = params.self_signed(&pair).expect("a certificate");
        let certificate = certificate.der().clone();
        let key = pair.serialize_der();
        let store = FaultStore::new();
        let gateway = Gateway::new(store.clone(), Handle::current());
        let uptime = Uptime::start();
        let metrics = Arc::new(Metrics::new(uptime).expect("metrics"));
        let console = Console::start("test", std::io::sink()).expect("a thread");
        let admin = identity_of(&certificate).expect("an identity");
        let policies = PolicySet::new(admin, Timestamp::ZERO, std::iter::empty());
        let watch = |name| DeathWatch::new(name, |_| {});
        let (_actor, authorizer) =
            AuthzActor::start_with(policies.expect("policies"), watch("authorization"));
        let (drain, draining) = drain_signal();
        let api = Api::new(Context {
            authorizer,
            cache: KeyCache::new(gateway.clone()),
            gateway,
            cluster: None,
            policies: None,
            audit: AuditActor::start_with(
                console.clone(),
                AuditSettings::new(),
                Arc::clone(&metrics),
                watch("audit"),
            ),
            error_log: ErrorLog::new(console),
            metrics: Arc::clone(&metrics),
            routes: Published::new(RouteTable::new(&[])),
            uptime,
            draining,
        });
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let server_key = PrivateKeyDer::try_from(key.clone()).expect("a key");
        let tls = TlsState::development(vec![certificate.clone()], server_key).expect("settings");
        let running = server(listener, 1, api, Published::new(tls)).expect("a server");
        drop(tokio::task::spawn_local(running));
        Self {
            address,
            store,
            metrics,
            certificate,
            key,
            _drain: drain,
        }
    }

    /// An HTTP/2 connection of the admin.
    async fn connect(&self) -> SendRequest<Bytes> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.key.clone()).expect("a key");
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate.clone()], key)
            .expect("credentials");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(self.address).await.expect("connect");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket);
        let (send, connection) = h2::client::handshake(stream.await.expect("a handshake"))
            .await
            .expect("HTTP/2");
        drop(tokio::spawn(connection));
        send
    }

    /// Requests under way, as the metrics count them.
    fn active(&self) -> i64 {
        let text = self.metrics.to_text(0).expect("metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("kes_http_request_active "));
        line.and_then(|value| value.parse().ok()).expect("a gauge")
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "in vain waited for: {what}");
            tokio::task::yield_now().await;
        }
    }
}

fn describe(name: usize) -> http::Request<()> {
    http::Request::get(format!("https://localhost/v1/key/describe/key-{name}"))
        .body(())
        .expect("a request")
}

/// A client that resets its streams makes room for others; what was done for it must end, too.
#[test]
fn work_for_a_stream_that_was_reset_ends() {
    actix::System::with_tokio_rt(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.expect("a runtime")
    })
    .block_on(async {
        let served = Served::start();
        served.store.hold(true);
        let mut client = served.connect().await;
        for round in 0..4 {
            let streams: Vec<_> = (0..H2_STREAMS_MAX as usize)
                .map(|number| {
                    let sent = client.send_request(describe(round * 1000 + number), true);
                    sent.expect("a stream").0
                })
                .collect();
            let all = i64::from(H2_STREAMS_MAX);
            served
                .until("all are active", |served| served.active() == all)
                .await;
            drop(streams);
            served
                .until("none is active", |served| served.active() == 0)
                .await;
            client = client.ready().await.expect("an open connection");
        }
        // The store was asked for each, and its answers come to nobody.
        assert_eq!(
            served.store.calls(Operation::Get),
            4 * H2_STREAMS_MAX as usize
        );
        served.store.hold(false);
        let (answer, _) = client.send_request(describe(0), true).expect("a stream");
        assert_eq!(answer.await.expect("an answer").status(), 404);
    });
}
