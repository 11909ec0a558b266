//! Layer 2: a client of the KES API, for the command line and for a keystore on another server.
//!
//! It sends what the official client sends, with its retries and its choice among several servers, but
//! never without the body that belongs to the request, and never to a path that a name has made up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::base::clock::{Clock, SystemClock};
use crate::base::secret::SecretBytes;
use crate::crypto::api_key::ApiKey;
use crate::wire::identity::{self, IdentityDescription, SelfDescription};
use crate::wire::key::{self, KeyDescription};
use crate::wire::log::{AuditEvent, ErrorEvent};
use crate::wire::policy::{self, PolicyDescription, PolicyResponse};
use crate::wire::request;
use crate::wire::response::{self, DataKey};
use crate::wire::status::{self, ApiRoute, StatusResponse, VersionResponse};

mod balance;
mod cluster;
mod dispatch;
mod draft;
mod endpoint;
mod error;
mod explain;
mod list;
mod policies;
mod restore;
mod retry;
mod snapshot;
mod stream;
mod tls;
mod transport;

pub use error::ClientError;
pub use stream::LogStream;

use balance::Balancer;
use endpoint::Endpoint;
use retry::Pause;
use tls::TlsConfigs;
use transport::{Answer, Call, Transport};

/// What may stand in a path as it is. A `/` in a name must not.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Bytes of most answers.
const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Bytes of the answer of `/version`.
const VERSION_BYTES_MAX: usize = 1 << 10;
/// Bytes of the answer of an HMAC.
const HMAC_BYTES_MAX: usize = 1000;

/// How to reach servers, and as whom.
pub struct ClientConfig {
    /// Addresses as users write them, each a list separated by commas; `https://` may be missing.
    pub endpoints: Vec<String>,
    /// As whom.
    pub credentials: Credentials,
    /// Which servers are trusted.
    pub trust: Trust,
}

/// As whom the client presents itself.
pub enum Credentials {
    /// With a certificate made for the key, of which the server takes the identity.
    ApiKey(ApiKey),
    /// With this certificate.
    Certificate {
        /// The certificate, and those between it and its root.
        chain: Vec<CertificateDer<'static>>,
        /// The private key of the first.
        key: PrivateKeyDer<'static>,
    },
    /// As nobody. Most servers refuse the connection.
    None,
}

/// Which servers are trusted.
pub enum Trust {
    /// Those that the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set.
    System,
    /// All.
    Insecure,
    /// As [`Self::System`], and on this host those with exactly one of these certificates: a development
    /// server of the same user.
    Pinned(Vec<CertificateDer<'static>>),
}

/// A client of one server, or of several that are interchangeable. Must be used within a tokio runtime.
///
/// Every call can fail with each [`ClientError`] that is not about configuration, and can be dropped at
/// any time. A request is tried up to three times at one server if the network fails or the server
/// answers 503, and then at the others.
pub struct Client {
    endpoints: Vec<Endpoint>,
    texts: Vec<String>,
    transport: Transport,
    balancer: OnceCell<Balancer>,
    clock: Arc<dyn Clock>,
    pause: Pause,
}

/// What a name in a path names, for the text of a refusal.
#[derive(Clone, Copy)]
enum Kind {
    Key,
    Policy,
    Identity,
    Pattern,
    Member,
}

impl Client {
    /// A client that has not connected yet. Reads the system's certificates, and with them files.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if an address or the credentials cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Self::with_pause(config, retry::sleep())
    }

    fn with_pause(config: ClientConfig, pause: Pause) -> Result<Self, ClientError> {
        let endpoints = Endpoint::parse_all(&config.endpoints)?;
        let tls = TlsConfigs::new(config.credentials, config.trust)?;
        Ok(Self {
            texts: endpoints
                .iter()
                .map(|endpoint| endpoint.text.clone())
                .collect(),
            endpoints,
            transport: Transport::new(tls)?,
            balancer: OnceCell::new(),
            clock: Arc::new(SystemClock::start()),
            pause,
        })
    }

    /// The servers, as `https://host:port`, in the order in which they were configured.
    pub fn endpoints(&self) -> &[String] {
        &self.texts
    }

    /// `GET /version`: the version of the server. Needs no permission.
    pub async fn version(&self) -> Result<VersionResponse, ClientError> {
        self.get("/version", VERSION_BYTES_MAX, status::parse_version)
            .await
    }

    /// `GET /v1/ready`: succeeds if the server can serve, its keystore included.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.succeed(Call::new(Method::GET, "/v1/ready")).await
    }

    /// `GET /v1/status`: the state of the server, and the time from the request to the last byte of the
    /// answer.
    pub async fn status(&self) -> Result<(StatusResponse, Duration), ClientError> {
        let start = Instant::now();
        let status = self
            .get("/v1/status", RESPONSE_BYTES_MAX, status::parse_status)
            .await?;
        Ok((status, start.elapsed()))
    }

    /// `GET /v1/api`: the routes of the server, in no particular order.
    pub async fn apis(&self) -> Result<Vec<ApiRoute>, ClientError> {
        self.get("/v1/api", RESPONSE_BYTES_MAX, status::parse_api_routes)
            .await
    }

    /// `GET /v1/metrics`: the metrics in the text format of Prometheus.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.get("/v1/metrics", RESPONSE_BYTES_MAX, |body| {
            Ok(String::from_utf8_lossy(body).into_owned())
        })
        .await
    }

    /// Creates a key, from random bytes of the server.
    pub async fn create_key(&self, name: &str) -> Result<(), ClientError> {
        self.succeed(Call::new(
            Method::POST,
            path("/v1/key/create/", Kind::Key, name)?,
        ))
        .await
    }

    /// Creates a key from `key`, for `cipher`: `AES256` or `ChaCha20`.
    pub async fn import_key(
        &self,
        name: &str,
        key: &[u8],
        cipher: &str,
    ) -> Result<(), ClientError> {
        let call = post("/v1/key/import/", name, request::import(key, cipher))?;
        self.succeed(call).await
    }

    /// What is known about a key.
    pub async fn describe_key(&self, name: &str) -> Result<KeyDescription, ClientError> {
        let path = path("/v1/key/describe/", Kind::Key, name)?;
        self.get(&path, RESPONSE_BYTES_MAX, key::parse_key_description)
            .await
    }

    /// Deletes a key, and with it access to everything that was encrypted with it.
    pub async fn delete_key(&self, name: &str) -> Result<(), ClientError> {
        self.succeed(Call::new(
            Method::DELETE,
            path("/v1/key/delete/", Kind::Key, name)?,
        ))
        .await
    }

    /// A new data key, in the clear and encrypted with the key `name`; `context` may be empty, and is
    /// needed again to decrypt.
    pub async fn generate_key(&self, name: &str, context: &[u8]) -> Result<DataKey, ClientError> {
        let call = post("/v1/key/generate/", name, request::generate(context))?;
        self.ask(&call, RESPONSE_BYTES_MAX, response::parse_data_key)
            .await
    }

    /// Encrypts `plaintext`, which should be small; `context` as with [`Self::generate_key`].
    pub async fn encrypt(
        &self,
        name: &str,
        plaintext: &[u8],
        context: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let call = post(
            "/v1/key/encrypt/",
            name,
            request::encrypt(plaintext, context),
        )?;
        self.ask(&call, RESPONSE_BYTES_MAX, response::parse_ciphertext)
            .await
    }

    /// Decrypts what [`Self::generate_key`] or [`Self::encrypt`] returned for the same `context`.
    pub async fn decrypt(
        &self,
        name: &str,
        ciphertext: &[u8],
        context: &[u8],
    ) -> Result<SecretBytes, ClientError> {
        let call = post(
            "/v1/key/decrypt/",
            name,
            request::decrypt(ciphertext, context),
        )?;
        self.ask(&call, RESPONSE_BYTES_MAX, response::parse_plaintext)
            .await
    }

    /// The HMAC-SHA-256 of `message`.
    pub async fn hmac(&self, name: &str, message: &[u8]) -> Result<Vec<u8>, ClientError> {
        let call = Call::new(Method::PUT, path("/v1/key/hmac/", Kind::Key, name)?)
            .with_body(request::hmac(message));
        self.ask(&call, HMAC_BYTES_MAX, response::parse_hmac).await
    }

    /// What is known about a policy, without its rules.
    pub async fn describe_policy(&self, name: &str) -> Result<PolicyDescription, ClientError> {
        let path = path("/v1/policy/describe/", Kind::Policy, name)?;
        self.get(&path, RESPONSE_BYTES_MAX, policy::parse_policy_description)
            .await
    }

    /// A policy with its rules.
    pub async fn get_policy(&self, name: &str) -> Result<PolicyResponse, ClientError> {
        let path = path("/v1/policy/read/", Kind::Policy, name)?;
        self.get(&path, RESPONSE_BYTES_MAX, policy::parse_policy)
            .await
    }

    /// What is known about an identity.
    pub async fn describe_identity(&self, id: &str) -> Result<IdentityDescription, ClientError> {
        let path = path("/v1/identity/describe/", Kind::Identity, id)?;
        self.get(
            &path,
            RESPONSE_BYTES_MAX,
            identity::parse_identity_description,
        )
        .await
    }

    /// What is known about the identity that this client has. Needs no permission.
    pub async fn describe_self(&self) -> Result<SelfDescription, ClientError> {
        let path = "/v1/identity/self/describe";
        self.get(path, RESPONSE_BYTES_MAX, identity::parse_self_description)
            .await
    }

    /// The audit log, from now on. Waits for the head of the answer, which original servers do not send
    /// before the first event.
    pub async fn audit_log(&self) -> Result<LogStream<AuditEvent>, ClientError> {
        self.stream("/v1/log/audit").await.map(LogStream::new)
    }

    /// The error log, from now on; as [`Self::audit_log`].
    pub async fn error_log(&self) -> Result<LogStream<ErrorEvent>, ClientError> {
        self.stream("/v1/log/error").await.map(LogStream::new)
    }

    async fn stream(&self, path: &str) -> Result<Answer, ClientError> {
        let mut call = Call::new(Method::GET, path);
        call.timeout = None;
        self.send(&call).await?.into_success().await
    }

    async fn succeed(&self, call: Call) -> Result<(), ClientError> {
        self.send(&call).await?.into_success().await.map(drop)
    }

    async fn get<T>(
        &self,
        path: &str,
        limit: usize,
        parse: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, ClientError> {
        self.ask(&Call::new(Method::GET, path), limit, parse).await
    }

    async fn ask<T>(
        &self,
        call: &Call,
        limit: usize,
        parse: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, ClientError> {
        read(self.send(call).await?, limit, parse).await
    }
}

/// What a successful answer says.
async fn read<T>(
    answer: Answer,
    limit: usize,
    parse: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<T, ClientError> {
    let mut answer = answer.into_success().await?;
    let body: Zeroizing<Vec<u8>> = answer.read(limit).await?;
    parse(&body).map_err(|error| ClientError::from_json(&error, &body))
}

fn post(route: &str, name: &str, body: Vec<u8>) -> Result<Call, ClientError> {
    let mut call = Call::new(Method::POST, path(route, Kind::Key, name)?).with_body(body);
    call.announces_json = true;
    Ok(call)
}

/// `route` with `name` as its last segment, whatever `name` contains: the server says what is wrong with
/// it. Only `.` and `..` never get there, since every URL library takes them for directions, percent-encoded
/// or not; they are refused here, in the server's words.
fn path(route: &str, kind: Kind, name: &str) -> Result<String, ClientError> {
    if name != "." && name != ".." {
        return Ok(format!(
            "{route}{}",
            utf8_percent_encode(name, PATH_SEGMENT)
        ));
    }
    let message = match kind {
        Kind::Key => format!("key name '{name}' is empty, too long or contains invalid characters"),
        Kind::Policy => {
            format!("policy name '{name}' is empty, too long or contains invalid characters")
        }
        Kind::Identity => {
            format!("identity '{name}' is empty, too long or contains invalid characters")
        }
        Kind::Member => {
            format!("member name '{name}' is empty, too long or contains invalid characters")
        }
        Kind::Pattern => format!("listing pattern '{name}' is empty, too long or is invalid"),
    };
    Err(ClientError::Api {
        status: 400,
        message,
    })
}

#[cfg(test)]
pub(crate) mod tests;
