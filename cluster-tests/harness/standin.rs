//! The raw client against a small TLS server whose every byte is known.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{AlertDescription, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::certs::server_pem;
use super::http::{Dial, End, Lines, Request};

/// Serves one connection after the other: reads until the head (and what comes with it) is there,
/// then writes the script's next answer.
async fn serve(script: Vec<&'static [u8]>) -> u16 {
    let (certificate, key) = server_pem();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
        .with_single_cert(vec![certificate], key)
        .expect("certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        let mut script = script.into_iter();
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let mut bytes = Vec::new();
            while let Ok(1..) = stream.read_buf(&mut bytes).await {
                if !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
                    continue;
                }
                bytes.clear();
                let Some(answer) = script.next() else {
                    break;
                };
                let _ = stream.write_all(answer).await;
                let _ = stream.flush().await;
            }
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn answers_are_read_by_length_and_by_chunks_on_one_connection() {
    let port = serve(vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Name: Value\r\n\r\nhello",
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    ])
    .await;
    let mut connection = Dial::named(port, "admin").connect().await.expect("connect");
    let first = connection
        .exchange(&Request::new("GET", "/a"))
        .await
        .expect("first");
    assert_eq!((first.status, first.text().as_str()), (200, "hello"));
    assert_eq!(first.header("x-name"), Some("Value"));
    let second = connection
        .exchange(&Request::new("GET", "/b"))
        .await
        .expect("second");
    assert_eq!((second.status, second.text().as_str()), (404, "abcde"));
    assert!(!connection.ca_names_seen());
}

#[tokio::test]
async fn an_early_refusal_is_seen_although_the_body_was_not_taken() {
    let refusal = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let port = serve(vec![refusal]).await;
    let mut large = Request::new("PUT", "/a").body(vec![b' '; 2_000_000]);
    large.expect_continue = true;
    let answer = Dial::named(port, "admin")
        .request(&large)
        .await
        .expect("answer");
    assert_eq!((answer.status, answer.text().as_str()), (400, "no"));
}

#[tokio::test]
async fn ends_are_told_apart() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n";
    let port = serve(vec![head, b"\0"]).await;
    // No certificate, by version.
    let nobody = Dial::anonymous(port);
    let refused = nobody.get("/").await.map(|answer| answer.status);
    assert_eq!(
        refused,
        Err(End::Alert(AlertDescription::CertificateRequired))
    );
    assert_eq!(
        refused.expect_err("end").to_string(),
        "tls-alert: certificate required"
    );
    let refused = nobody.tls12().get("/").await.map(|answer| answer.status);
    assert!(matches!(refused, Err(End::Alert(_))), "{refused:?}");
    // A stream that stays open, then a connection that is closed.
    let mut stream = Dial::named(port, "app").connect().await.expect("connect");
    stream.send(b"GET / HTTP/1.1\r\n\r\n").await;
    let deadline = Instant::now() + Duration::from_secs(5);
    assert_eq!(stream.read_head(deadline).await.expect("head").status, 200);
    let mut lines = Lines::default();
    assert_eq!(
        stream.next_line(&mut lines, deadline).await,
        Ok("one".to_owned())
    );
    let soon = Instant::now() + Duration::from_millis(50);
    assert_eq!(stream.next_line(&mut lines, soon).await, Err(End::Open));
    drop(stream);
    let mut mute = Dial::named(port, "app").connect().await.expect("connect");
    mute.send(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        .await;
    let (answers, _) = mute
        .read_all(Instant::now() + Duration::from_millis(200))
        .await;
    assert!(answers.is_empty(), "{answers:?}");
}

#[tokio::test]
async fn every_recorded_client_can_shake_hands() {
    let port = serve(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"; 64]).await;
    let names = [
        "two", "chain", "old", "adminca", "forged", "rsa", "ec", "ec384", "ed25519", "ops",
    ];
    for name in names {
        for dial in [Dial::named(port, name), Dial::named(port, name).tls12()] {
            let answer = dial.get("/").await.map(|answer| answer.status);
            assert_eq!(answer, Ok(200), "{name}");
        }
    }
}
