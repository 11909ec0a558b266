//! A server of canned answers over real TLS, and what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::base::identity::Identity;
use crate::crypto::api_key::ApiKey;
use crate::crypto::certificate::{self, CertificateRequest};

/// One request as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// Method and target.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
    /// Of the certificate that the client presented.
    pub(crate) identity: Identity,
}

/// Answers a request, of which it is told how many came before.
type Answers = dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers every request with what `answers` returns, and then closes the connection.
    pub(crate) async fn start(
        answers: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let (certificate, config) = tls_config();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            certificate,
            requests: Arc::default(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let requests = Arc::clone(&server.requests);
        let answers: Arc<Answers> = Arc::new(answers);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, requests) = (acceptor.clone(), Arc::clone(&requests));
                let answers = Arc::clone(&answers);
                tokio::spawn(async move { serve(tcp, &acceptor, &requests, &*answers).await });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Method and target of every request so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.line)
            .collect()
    }
}

/// An answer of HTTP/1.1.
pub(crate) fn answer(status: u16, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

pub(crate) fn json(status: u16, body: &str) -> Vec<u8> {
    answer(status, "application/json", body)
}

pub(crate) fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

async fn serve(
    tcp: TcpStream,
    acceptor: &TlsAcceptor,
    requests: &Mutex<Vec<Request>>,
    answers: &Answers,
) {
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return; // The client does not trust us.
    };
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let count = {
        let mut requests = requests.lock().expect("no panic");
        requests.push(request.clone());
        requests.len() - 1
    };
    let answer = answers(count, &request);
    // The client may have left; then there is nobody to tell.
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<Request> {
    let mut text = Vec::new();
    let head_end = loop {
        if let Some(at) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(text[..head_end].to_vec())
        .ok()?
        .to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
        .unwrap_or(0);
    while text.len() < head_end + length {
        if stream.read_buf(&mut text).await.ok()? == 0 {
            return None;
        }
    }
    let first = String::from_utf8(text.clone()).ok()?;
    let line = first
        .lines()
        .next()?
        .trim_end_matches(" HTTP/1.1")
        .to_owned();
    let certificates = stream.get_ref().1.peer_certificates();
    let identity = match certificates.and_then(|chain| chain.first()) {
        Some(leaf) => certificate::identity_of(leaf).ok()?,
        None => Identity::unknown(),
    };
    Some(Request {
        line,
        head,
        body: String::from_utf8(text[head_end..].to_vec()).ok()?,
        identity,
    })
}

fn tls_config() -> (CertificateDer<'static>, rustls::ServerConfig) {
    let key = ApiKey::generate().expect("a key");
    let request = CertificateRequest {
        common_name: Some("server"),
        dns: &["localhost".to_owned()],
        ips: &[[127, 0, 0, 1].into()],
        not_after: Duration::from_secs(3600),
        server_auth: true,
    };
    let certificate = certificate::self_signed(&key, &request).expect("a certificate");
    let pkcs8 = PrivatePkcs8KeyDer::from(key.to_pkcs8_der().expose().to_vec());
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(Arc::new(AnyClient::new()))
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(pkcs8))
            .expect("a configuration");
    (certificate, config)
}

/// Asks for a certificate of a CA that no client has, and takes any.
#[derive(Debug)]
struct AnyClient {
    hints: Vec<DistinguishedName>,
}

impl AnyClient {
    fn new() -> Self {
        // The name "CN=x".
        let name = [
            0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 6, 3, 0x55, 4, 3, 0x0c, 1, b'x',
        ];
        let hints = vec![DistinguishedName::from(name.to_vec())];
        Self { hints }
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
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
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
