//! The lean clients: what they spend is taken from the same processors as what they measure.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use h2::client::SendRequest;
use keswick::base::identity::Identity;
use keswick::base::secret::SecretString;
use keswick::crypto::api_key::ApiKey;
use keswick::crypto::certificate::{self, CertificateRequest};
use keswick::crypto::pem;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Failure;
use crate::operation::Load;

/// Longest answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// How long the certificates live: longer than any benchmark.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The certificates of both sides.
pub(crate) struct Credentials {
    server: ApiKey,
    server_certificate: CertificateDer<'static>,
    admin: ApiKey,
    admin_certificate: CertificateDer<'static>,
}

impl Credentials {
    /// Fresh keys.
    pub(crate) fn generate() -> Result<Self, Failure> {
        let (server, admin) = (ApiKey::generate()?, ApiKey::generate()?);
        let request = CertificateRequest {
            common_name: Some("bench"),
            dns: &["localhost".to_owned()],
            ips: &[],
            not_after: LIFETIME,
            server_auth: true,
        };
        Ok(Self {
            server_certificate: certificate::self_signed(&server, &request)?,
            admin_certificate: certificate::self_signed(&admin, &request)?,
            server,
            admin,
        })
    }

    /// Whom the server must take for its admin.
    pub(crate) fn admin_identity(&self) -> Identity {
        self.admin.identity()
    }

    /// The server's certificate, PEM.
    pub(crate) fn server_certificate_pem(&self) -> String {
        pem::encode_certificate(&self.server_certificate)
    }

    /// The server's key, PEM.
    pub(crate) fn server_key_pem(&self) -> SecretString {
        pem::encode_private_key(self.server.to_pkcs8_der().expose())
    }

    fn client_config(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server_certificate.clone())?;
        let key = PrivatePkcs8KeyDer::from(self.admin.to_pkcs8_der().expose().to_vec());
        let mut config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_client_auth_cert(
                    vec![self.admin_certificate.clone()],
                    PrivateKeyDer::Pkcs8(key),
                )?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

/// Where a server is, and how to connect to it.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Target {
    pub(crate) fn new(address: SocketAddr, credentials: &Credentials) -> Result<Self, Failure> {
        Ok(Self {
            address,
            http1: TlsConnector::from(credentials.client_config(b"http/1.1")?),
            http2: TlsConnector::from(credentials.client_config(b"h2")?),
        })
    }

    /// A connection with HTTP/1.1.
    pub(crate) async fn connect_http1(&self) -> Result<Http1, Failure> {
        Ok(Http1 {
            stream: self.connect(&self.http1, b"http/1.1").await?,
            buffer: vec![0; ANSWER_BYTES_MAX],
        })
    }

    /// A connection with HTTP/2.
    pub(crate) async fn connect_http2(&self) -> Result<Http2, Failure> {
        let stream = self.connect(&self.http2, b"h2").await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        // It ends with the last sender; what goes wrong, the streams tell.
        tokio::spawn(connection);
        Ok(Http2(sender))
    }

    async fn connect(
        &self,
        connector: &TlsConnector,
        protocol: &[u8],
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = connector.connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(protocol) {
            return Err("the server does not speak the protocol asked for".into());
        }
        Ok(stream)
    }
}

/// An answer.
pub(crate) struct Reply<'a> {
    status: u16,
    pub(crate) body: &'a [u8],
}

impl Reply<'_> {
    /// An error if the status is not 200.
    pub(crate) fn expect_ok(&self) -> Result<(), Failure> {
        expect_ok(self.status).map_err(|error| {
            let body = String::from_utf8_lossy(self.body);
            format!("{error}: {body}").into()
        })
    }
}

fn expect_ok(status: u16) -> Result<(), Failure> {
    match status {
        200 => Ok(()),
        status => Err(format!("the server answers with status {status}").into()),
    }
}

/// A connection that carries one request at a time.
pub(crate) struct Http1 {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Http1 {
    /// Sends bytes and reads the answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>, Failure> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        let mut filled = 0;
        let mut head: Option<Head> = None;
        loop {
            let free = self.buffer.get_mut(filled..).unwrap_or_default();
            if free.is_empty() {
                return Err("the answer is too long".into());
            }
            let read = self.stream.read(free).await?;
            if read == 0 {
                return Err("the server closed the connection".into());
            }
            filled += read;
            let received = &self.buffer[..filled];
            if head.is_none() {
                head = Head::parse(received)?;
            }
            match &head {
                Some(head) if filled > head.end() => {
                    return Err("the server sent more than an answer".into());
                }
                Some(head) if filled == head.end() => {
                    let (status, body) = (head.status, head.bytes..filled);
                    let body = &self.buffer[body];
                    return Ok(Reply { status, body });
                }
                _ => {}
            }
        }
    }

    /// Sends a request and checks the answer.
    pub(crate) async fn send(&mut self, load: &Load) -> Result<(), Failure> {
        self.exchange(&load.http1).await?.expect_ok()
    }
}

/// What the head of an answer says.
struct Head {
    status: u16,
    /// Its own length.
    bytes: usize,
    body_bytes: usize,
}

impl Head {
    /// `None` if it is not complete.
    fn parse(received: &[u8]) -> Result<Option<Self>, Failure> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(at) = received.windows(END.len()).position(|bytes| bytes == END) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&received[..at])?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.ok_or("the answer has no status")?.parse()?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim())
        });
        Ok(Some(Self {
            status,
            bytes: at + END.len(),
            body_bytes: length.ok_or("the answer has no length")?.parse()?,
        }))
    }

    fn end(&self) -> usize {
        self.bytes + self.body_bytes
    }
}

/// A connection that carries many requests at a time: one for each clone.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<bytes::Bytes>);

impl Http2 {
    /// Sends a request and checks the answer.
    pub(crate) async fn send(&mut self, load: &Load) -> Result<(), Failure> {
        poll_fn(|context| self.0.poll_ready(context)).await?;
        let (response, mut body) = self.0.send_request(load.http2.clone(), false)?;
        body.send_data(load.body.clone(), true)?;
        let response = response.await?;
        expect_ok(response.status().as_u16())?;
        let mut body = response.into_body();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
        }
        Ok(())
    }
}
