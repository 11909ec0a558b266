//! A raw HTTP/1.1 client that sends exact bytes over TLS and reports how a connection ended, and
//! an HTTP/2 client. Any server certificate is accepted.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certs::{Credentials, PATIENCE};

/// How a connection ended without the answer that was wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer closed or reset the connection.
    Closed,
    /// The peer sent a fatal TLS alert.
    Alert(AlertDescription),
    /// The connection was still open when the time was over.
    Open,
    /// The peer broke the protocol.
    Malformed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Open => f.write_str("open"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
            Self::Alert(alert) => write!(f, "tls-alert: {}", alert_name(*alert)),
        }
    }
}

fn alert_name(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown ca".to_owned(),
        other => {
            let mut name = String::new();
            for letter in format!("{other:?}").chars() {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push(' ');
                }
                name.extend(letter.to_lowercase());
            }
            name
        }
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(other) => Self::Malformed(other.to_string()),
            None => Self::Closed,
        }
    }
}

/// Where and how to connect.
#[derive(Clone)]
pub(crate) struct Dial {
    pub(crate) port: u16,
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) alpn: Vec<&'static str>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// Only these cipher suites, if any are named.
    pub(crate) suites: Vec<SupportedCipherSuite>,
}

impl Dial {
    /// HTTP/1.1 as nobody.
    pub(crate) fn anonymous(port: u16) -> Self {
        Self {
            port,
            credentials: None,
            alpn: vec!["http/1.1"],
            versions: vec![&rustls::version::TLS13, &rustls::version::TLS12],
            suites: Vec::new(),
        }
    }

    /// HTTP/1.1 with these credentials.
    pub(crate) fn with(port: u16, credentials: Arc<Credentials>) -> Self {
        Self {
            credentials: Some(credentials),
            ..Self::anonymous(port)
        }
    }

    /// HTTP/1.1 as a recorded identity.
    pub(crate) fn named(port: u16, name: &str) -> Self {
        Self::with(port, Credentials::named(name))
    }

    /// The same, offering `alpn` only.
    pub(crate) fn alpn(mut self, alpn: &[&'static str]) -> Self {
        self.alpn = alpn.to_vec();
        self
    }

    /// The same, with TLS 1.2 at most.
    pub(crate) fn tls12(mut self) -> Self {
        self.versions = vec![&rustls::version::TLS12];
        self
    }

    fn config(&self, hints_seen: &Arc<AtomicBool>) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites = self.suites.clone();
        }
        let provider = Arc::new(provider);
        let presented = self.credentials.as_ref().map(|credentials| {
            let key = provider
                .key_provider
                .load_private_key(credentials.key.clone_key())
                .expect("client key");
            Arc::new(CertifiedKey::new(credentials.chain.clone(), key))
        });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .expect("TLS versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
            .with_client_cert_resolver(Arc::new(Present {
                key: presented,
                hints_seen: Arc::clone(hints_seen),
            }));
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config.resumption = rustls::client::Resumption::disabled();
        config
    }

    /// Connects and shakes hands.
    pub(crate) async fn connect(&self) -> Result<Connection, End> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let hints_seen = Arc::new(AtomicBool::new(false));
        let connector = TlsConnector::from(Arc::new(self.config(&hints_seen)));
        let shake = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from("127.0.0.1").expect("name");
            connector.connect(name, tcp).await
        };
        match timeout(PATIENCE, shake).await {
            Ok(stream) => Ok(Connection {
                stream: stream?,
                unread: Vec::new(),
                hints_seen,
            }),
            Err(_) => Err(End::Open),
        }
    }

    /// One HTTP/1.1 request on a connection of its own.
    pub(crate) async fn request(&self, request: &Request) -> Result<Response, End> {
        self.connect().await?.exchange(request).await
    }

    /// `GET path` on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Result<Response, End> {
        self.request(&Request::new("GET", path)).await
    }

    /// One HTTP/2 request on a connection of its own.
    pub(crate) async fn h2_request(&self, request: &Request) -> Result<Response, End> {
        let connection = self.clone().alpn(&["h2"]).connect().await?;
        timeout(PATIENCE, h2_exchange(connection.stream, request))
            .await
            .unwrap_or(Err(End::Open))
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    /// Send the body in chunks, without a length.
    pub(crate) chunked: bool,
    /// Ask before the body is sent.
    pub(crate) expect_continue: bool,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            chunked: false,
            expect_continue: false,
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: 127.0.0.1\r\n",
            self.method, self.path
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Some(_) if self.chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
            Some(body) => head.push_str(&format!("Content-Length: {}\r\n", body.len())),
            None => {}
        }
        if self.expect_continue {
            head.push_str("Expect: 100-continue\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    fn framed_body(&self) -> Vec<u8> {
        match &self.body {
            None => Vec::new(),
            Some(body) if !self.chunked => body.clone(),
            Some(body) => {
                let mut framed = Vec::new();
                for chunk in body.chunks(16 * 1024) {
                    framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                }
                framed.extend_from_slice(b"0\r\n\r\n");
                framed
            }
        }
    }
}

/// One answer; header names are lower case.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON, `null` if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct Connection {
    pub(crate) stream: TlsStream<TcpStream>,
    unread: Vec<u8>,
    hints_seen: Arc<AtomicBool>,
}

impl Connection {
    /// Whether the server named certificate authorities it wants.
    pub(crate) fn ca_names_seen(&self) -> bool {
        self.hints_seen.load(Ordering::Relaxed)
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &Request) -> Result<Response, End> {
        let deadline = Instant::now() + PATIENCE;
        let head_only = request.method == "HEAD";
        if request.expect_continue {
            self.send(&request.head()).await;
            let patience = Instant::now() + Duration::from_secs(1);
            match self.read_head(patience).await {
                Ok(head) if head.status == 100 => {}
                Ok(head) => return self.read_body(head, head_only, deadline).await,
                Err(End::Open) => {}
                Err(end) => return Err(end),
            }
            return self
                .send_and_read(request.framed_body(), head_only, deadline)
                .await;
        }
        let mut bytes = request.head();
        bytes.extend_from_slice(&request.framed_body());
        self.send_and_read(bytes, head_only, deadline).await
    }

    /// Sends and reads at the same time: an answer may come before the body was taken.
    async fn send_and_read(
        &mut self,
        bytes: Vec<u8>,
        head_only: bool,
        deadline: Instant,
    ) -> Result<Response, End> {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let mut unread = std::mem::take(&mut self.unread);
        let writing = async {
            // A peer that refuses the body may close early; what it said is read all the same.
            let _ = writer.write_all(&bytes).await;
            let _ = writer.flush().await;
            std::future::pending::<()>().await;
        };
        let reading = async {
            let head = final_head(&mut reader, &mut unread, deadline).await?;
            read_body(&mut reader, &mut unread, head, head_only, deadline).await
        };
        let answer = tokio::select! {
            answer = reading => answer,
            () = writing => unreachable!("the writer never ends by itself"),
        };
        self.unread = unread;
        answer
    }

    /// Sends bytes as they are; a closed connection shows when reading.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, async {
            let _ = self.stream.write_all(bytes).await;
            let _ = self.stream.flush().await;
        })
        .await;
    }

    /// Reads the next head (which may be an interim answer).
    pub(crate) async fn read_head(&mut self, deadline: Instant) -> Result<Response, End> {
        read_head(&mut self.stream, &mut self.unread, deadline).await
    }

    /// Reads the body that belongs to `head`.
    pub(crate) async fn read_body(
        &mut self,
        head: Response,
        head_only: bool,
        deadline: Instant,
    ) -> Result<Response, End> {
        read_body(
            &mut self.stream,
            &mut self.unread,
            head,
            head_only,
            deadline,
        )
        .await
    }

    /// Reads whole answers until the connection ends or the deadline passes.
    pub(crate) async fn read_all(&mut self, deadline: Instant) -> (Vec<Response>, End) {
        let mut responses = Vec::new();
        loop {
            let head = match self.read_head(deadline).await {
                Ok(head) => head,
                Err(end) => return (responses, end),
            };
            match self.read_body(head, false, deadline).await {
                Ok(response) => responses.push(response),
                Err(end) => return (responses, end),
            }
        }
    }

    /// The next line of a chunked body that has no end.
    pub(crate) async fn next_line(
        &mut self,
        lines: &mut Lines,
        deadline: Instant,
    ) -> Result<String, End> {
        loop {
            lines.take_chunks(&mut self.unread)?;
            if let Some(line) = lines.pop() {
                return Ok(line);
            }
            read_more(&mut self.stream, &mut self.unread, deadline).await?;
        }
    }
}

/// The decoded part of a chunked body that is read line by line.
#[derive(Default)]
pub(crate) struct Lines {
    text: Vec<u8>,
}

impl Lines {
    fn take_chunks(&mut self, unread: &mut Vec<u8>) -> Result<(), End> {
        while let Some((chunk, used)) = first_chunk(unread)? {
            if chunk.is_empty() {
                return Err(End::Closed);
            }
            self.text.extend_from_slice(&chunk);
            unread.drain(..used);
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<String> {
        let end = self.text.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.text.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line[..end]).into_owned())
    }
}

/// The first complete chunk of `bytes` and how many bytes it took.
fn first_chunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, End> {
    let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..line]).into_owned();
    let size = usize::from_str_radix(text.split(';').next().unwrap_or("").trim(), 16)
        .map_err(|_| End::Malformed(format!("chunk size {text:?}")))?;
    let end = line + 2 + size + 2;
    if bytes.len() < end {
        return Ok(None);
    }
    Ok(Some((bytes[line + 2..line + 2 + size].to_vec(), end)))
}

async fn read_more<R: AsyncRead + Unpin>(
    reader: &mut R,
    unread: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), End> {
    match timeout_at(deadline, reader.read_buf(unread)).await {
        Err(_) => Err(End::Open),
        Ok(Ok(0)) => Err(End::Closed),
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(End::from(error)),
    }
}

async fn final_head<R: AsyncRead + Unpin>(
    reader: &mut R,
    unread: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Response, End> {
    loop {
        let head = read_head(reader, unread, deadline).await?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
}

async fn read_head<R: AsyncRead + Unpin>(
    reader: &mut R,
    unread: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Response, End> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        read_more(reader, unread, deadline).await?;
    };
    let text = String::from_utf8_lossy(&unread[..end]).into_owned();
    unread.drain(..end + 4);
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or("");
    let malformed = || End::Malformed(status_line.to_owned());
    if !status_line.starts_with("HTTP/1.") {
        return Err(malformed());
    }
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Response {
        status: status.ok_or_else(malformed)?,
        headers,
        body: Vec::new(),
    })
}

async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut R,
    unread: &mut Vec<u8>,
    mut head: Response,
    head_only: bool,
    deadline: Instant,
) -> Result<Response, End> {
    if head_only || matches!(head.status, 100..=199 | 204 | 304) {
        return Ok(head);
    }
    if head
        .header("transfer-encoding")
        .is_some_and(|coding| coding.contains("chunked"))
    {
        loop {
            match first_chunk(unread)? {
                Some((chunk, used)) => {
                    unread.drain(..used);
                    if chunk.is_empty() {
                        return Ok(head);
                    }
                    head.body.extend_from_slice(&chunk);
                }
                None => read_more(reader, unread, deadline).await?,
            }
        }
    }
    let length = match head.header("content-length") {
        Some(text) => Some(
            text.parse::<usize>()
                .map_err(|_| End::Malformed(text.to_owned()))?,
        ),
        None => None,
    };
    loop {
        if let Some(length) = length
            && unread.len() >= length
        {
            head.body = unread.drain(..length).collect();
            return Ok(head);
        }
        match read_more(reader, unread, deadline).await {
            Ok(()) => {}
            Err(End::Closed) if length.is_none() => {
                head.body = std::mem::take(unread);
                return Ok(head);
            }
            Err(end) => return Err(end),
        }
    }
}

/// One request on a new HTTP/2 connection.
async fn h2_exchange(stream: TlsStream<TcpStream>, request: &Request) -> Result<Response, End> {
    let (client, connection) = h2::client::handshake(stream).await.map_err(h2_end)?;
    let driver = tokio::spawn(connection);
    let answer = h2_send(client, request).await;
    driver.abort();
    answer
}

/// One request on an existing HTTP/2 connection.
pub(crate) async fn h2_send(
    client: h2::client::SendRequest<Bytes>,
    request: &Request,
) -> Result<Response, End> {
    let mut client = client.ready().await.map_err(h2_end)?;
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("https://127.0.0.1{}", request.path));
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    let head = head.body(()).expect("request");
    let (answer, mut sender) = client
        .send_request(head, request.body.is_none())
        .map_err(h2_end)?;
    if let Some(body) = &request.body {
        sender
            .send_data(Bytes::from(body.clone()), true)
            .map_err(h2_end)?;
    }
    let (parts, mut body) = answer.await.map_err(h2_end)?.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into(),
            )
        })
        .collect();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(h2_end)?;
        let _ = body.flow_control().release_capacity(chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    Ok(Response {
        status: parts.status.as_u16(),
        headers,
        body: bytes,
    })
}

fn h2_end(error: h2::Error) -> End {
    if error.is_io() {
        error.into_io().map_or(End::Closed, End::from)
    } else {
        End::Malformed(error.to_string())
    }
}

/// Accepts every server certificate; the signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
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
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Presents the same certificates whatever the server asks for.
#[derive(Debug)]
struct Present {
    key: Option<Arc<CertifiedKey>>,
    hints_seen: Arc<AtomicBool>,
}

impl ResolvesClientCert for Present {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        if !root_hint_subjects.is_empty() {
            self.hints_seen.store(true, Ordering::Relaxed);
        }
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        // With no certificate an empty list is sent, as every TLS client does.
        self.key.is_some()
    }
}
