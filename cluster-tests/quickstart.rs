//! The original's first steps, word for word: a development server, two variables, three commands,
//! and no `-k`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;

use crate::harness::certs::{Credentials, server_pem};
use crate::harness::http::Dial;
use crate::harness::server::{Run, Server, output_within};
use crate::harness::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(30);

/// What `awk '/API Key/{print $3}'` prints.
fn api_key_of(server: &Server) -> String {
    let key = || {
        let text = server.stdout();
        let line = text.lines().find(|line| line.contains("API Key"))?;
        let complete = text.contains("up and running");
        line.split_whitespace()
            .nth(2)
            .filter(|_| complete)
            .map(str::to_owned)
    };
    wait_for("the API key on stdout", LIMIT, key)
}

fn client(run: &Run, port: u16, api_key: &str, args: &[&str]) -> Command {
    let mut command = run.command(args);
    command
        .env("KES_SERVER", format!("https://127.0.0.1:{port}"))
        .env("KES_API_KEY", api_key);
    command
}

#[test]
fn the_quick_start_works_word_for_word() {
    let run = Run::new();
    let server = Server::dev(&run);
    let api_key = api_key_of(&server);
    let kes = |args: &[&str]| {
        let output = output_within(&mut client(&run, server.port, &api_key, args), LIMIT);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kes {args:?}: {stderr}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(kes(&["key", "create", "my-key"]), "");
    let dek: Value = serde_json::from_str(&kes(&["key", "dek", "my-key"])).expect("data key");
    let ciphertext = dek["ciphertext"].as_str().expect("ciphertext");
    let opened: Value =
        serde_json::from_str(&kes(&["key", "decrypt", "my-key", ciphertext])).expect("plaintext");
    assert_eq!(opened["plaintext"], dek["plaintext"]);
    assert_eq!(kes(&["key", "ls"]), "Key\nmy-key\n");
    assert!(kes(&["status", "-s"]).contains("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_printed_key_is_admin() {
    let server = Server::dev(&Run::new());
    let own = Dial::with(server.port, Credentials::of_api_key(&api_key_of(&server)));
    assert_eq!(own.get("/v1/status").await.expect("own").status, 200);
    let other = Dial::named(server.port, "admin")
        .get("/v1/status")
        .await
        .expect("other");
    assert_eq!(other.status, 403);
}

/// A server with another certificate takes the port of the stopped development server. The client
/// must notice and must not say a word to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_on_the_same_port_is_refused() {
    let run = Run::new();
    let mut server = Server::dev(&run);
    let (port, api_key) = (server.port, api_key_of(&server));
    let mut create = client(&run, port, &api_key, &["key", "create", "my-key"]);
    assert!(output_within(&mut create, LIMIT).status.success());

    // Once while the right server may still be known, killed; once after an orderly stop.
    for orderly in [false, true] {
        if orderly {
            server = Server::start(&run, |port| {
                [
                    "server".into(),
                    "--dev".into(),
                    "--addr".into(),
                    format!("127.0.0.1:{port}"),
                ]
                .into()
            });
        }
        let (port, api_key) = (server.port, api_key_of(&server));
        server.signal(if orderly { Signal::TERM } else { Signal::KILL });
        server.wait_end(LIMIT);
        let impostor = Impostor::start(port).await;
        let mut create = client(&run, port, &api_key, &["key", "create", "my-key"]);
        let output = tokio::task::spawn_blocking(move || output_within(&mut create, LIMIT));
        let output = output.await.expect("command");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.to_lowercase().contains("certificate"), "{stderr}");
        assert_eq!(impostor.heard(), 0, "the client talked to an impostor");
    }
}

/// A TLS server with a certificate of its own that counts what it is told.
struct Impostor {
    heard: Arc<std::sync::atomic::AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Impostor {
    async fn start(port: u16) -> Self {
        let (certificate, key) = server_pem();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("bind");
        let heard: Arc<std::sync::atomic::AtomicUsize> = Arc::default();
        let counter = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut bytes = [0u8; 1024];
                if let Ok(count) = stream.read(&mut bytes).await {
                    counter.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                }
            }
        });
        Self { heard, task }
    }

    fn heard(&self) -> usize {
        self.heard.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
