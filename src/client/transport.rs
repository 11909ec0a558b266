//! Sends one request to one server, follows redirects, and reads the answer within bounds.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, StatusCode, Url};
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::explain::{explain, go_method};
use super::tls::TlsConfigs;
use crate::wire::error::error_message;

/// Time for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for one try of most requests.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often an idle connection is checked.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Bytes of an error that are read.
const ERROR_BYTES_MAX: usize = 1 << 20;

/// A request, before it is known which server gets it.
pub(super) struct Call {
    pub(super) method: Method,
    /// Percent-encoded.
    pub(super) path: String,
    /// Sent in full with every try. Wiped when the last copy of the handle is dropped.
    pub(super) body: Option<Bytes>,
    /// Whether the body is announced as JSON.
    pub(super) announces_json: bool,
    /// Time for one try, from the connection to the last byte of the answer; `None` for any.
    pub(super) timeout: Option<Duration>,
}

impl Call {
    /// A request without a body.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            announces_json: false,
            timeout: Some(TRY_TIMEOUT),
        }
    }

    /// The same with a body.
    pub(super) fn with_body(self, body: Vec<u8>) -> Self {
        Self {
            body: Some(Bytes::from_owner(Zeroizing::new(body))),
            ..self
        }
    }

    /// The same with another time for one try.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }
}

/// An answer, with what is needed to explain why it cannot be read.
pub(super) struct Answer {
    pub(super) response: Response,
    method: Method,
    /// Who answered.
    pub(super) endpoint: Endpoint,
    path: String,
}

/// Connections to servers.
pub(super) struct Transport {
    loopback: reqwest::Client,
    remote: reqwest::Client,
}

impl Transport {
    /// Proxies are taken from the environment, but never used for servers on this host.
    pub(super) fn new(tls: TlsConfigs) -> Result<Self, ClientError> {
        let build = |tls: rustls::ClientConfig, may_use_proxy: bool| {
            let builder = reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .https_only(true)
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_keepalive(TCP_KEEP_ALIVE)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .user_agent(concat!("keswick/", env!("CARGO_PKG_VERSION")));
            let builder = match may_use_proxy {
                true => builder,
                false => builder.no_proxy(),
            };
            builder
                .build()
                .map_err(|error| ClientError::Setup(error.to_string()))
        };
        Ok(Self {
            loopback: build(tls.loopback, false)?,
            remote: build(tls.remote, true)?,
        })
    }

    /// Sends `call` to `endpoint`, once, and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<Answer, ClientError> {
        let mut url = Url::parse(&format!("{}{}", endpoint.text, call.path))
            .map_err(|error| ClientError::Setup(error.to_string()))?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_to(url.clone(), endpoint, call).await?;
            match redirection(&response, &url, call, endpoint)? {
                Some(next) => url = next,
                None => {
                    return Ok(Answer {
                        response,
                        method: call.method.clone(),
                        endpoint: endpoint.clone(),
                        path: call.path.clone(),
                    });
                }
            }
        }
        Err(refused_redirect(call, endpoint, url.as_str()))
    }

    async fn send_to(
        &self,
        url: Url,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<Response, ClientError> {
        let client = match endpoint.is_loopback {
            true => &self.loopback,
            false => &self.remote,
        };
        let mut request = client.request(call.method.clone(), url);
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        if call.announces_json {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        match request.send().await {
            Ok(response) => Ok(response),
            Err(error) => Err(explain(&call.method, endpoint, &call.path, &error).await),
        }
    }
}

/// Where to go next, if `response` says so. Only to the same server: anything else would present the
/// client's certificate to whomever the answer names. What changes something is repeated only where the
/// status says that it was not done, and that the method stays.
fn redirection(
    response: &Response,
    from: &Url,
    call: &Call,
    endpoint: &Endpoint,
) -> Result<Option<Url>, ClientError> {
    let follows = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            call.method == Method::GET
        }
        _ => false,
    };
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let Some(location) = location.filter(|_| follows) else {
        return Ok(None);
    };
    let to = from.join(location).ok();
    match to.filter(|to| to.origin() == from.origin()) {
        Some(to) => Ok(Some(to)),
        None => Err(refused_redirect(call, endpoint, location)),
    }
}

fn refused_redirect(call: &Call, endpoint: &Endpoint, location: &str) -> ClientError {
    ClientError::Redirect {
        method: go_method(&call.method),
        url: format!("{}{}", endpoint.text, call.path),
        location: location.to_owned(),
    }
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn content_type(&self) -> &str {
        let value = self.response.headers().get(CONTENT_TYPE);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The answer if it is a success, otherwise the error that it is.
    pub(super) async fn into_success(mut self) -> Result<Self, ClientError> {
        let status = self.status();
        if status == 200 {
            return Ok(self);
        }
        let (body, _) = self.read_up_to(ERROR_BYTES_MAX).await?;
        let message = error_message(status, self.content_type(), &body);
        Err(ClientError::Api { status, message })
    }

    /// The body, of at most `limit` bytes.
    pub(super) async fn read(&mut self, limit: usize) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        match self.read_up_to(limit).await? {
            (body, true) => Ok(body),
            (_, false) => Err(ClientError::ResponseTooLarge { limit }),
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.response.chunk().await {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(explain(&self.method, &self.endpoint, &self.path, &error).await),
        }
    }

    /// As [`Self::chunk`], but waits no longer than `limit`.
    pub(super) async fn chunk_within(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(limit, self.chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => Err(ClientError::Connection {
                method: go_method(&self.method),
                url: format!("{}{}", self.endpoint.text, self.path),
                cause: format!("no data for {} seconds", limit.as_secs()),
                is_timeout: true,
            }),
        }
    }

    /// The first `limit` bytes of the body, and whether that was all of it.
    async fn read_up_to(
        &mut self,
        limit: usize,
    ) -> Result<(Zeroizing<Vec<u8>>, bool), ClientError> {
        let announced = self.response.content_length().unwrap_or(4096);
        let capacity = usize::try_from(announced).unwrap_or(limit).min(limit);
        let mut body = Zeroizing::new(Vec::with_capacity(capacity));
        while let Some(chunk) = self.chunk().await? {
            let taken = chunk.len().min(limit - body.len());
            append_wiping(&mut body, &chunk[..taken]);
            if taken < chunk.len() {
                return Ok((body, false));
            }
        }
        Ok((body, true))
    }
}

/// Appends `bytes`; a buffer that has become too small is wiped before it is given back.
fn append_wiping(body: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = body.len() + bytes.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(body.capacity() * 2)));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(bytes);
}
