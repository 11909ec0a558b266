//! The operations that are measured, and their requests, ready to be sent.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use keswick::wire;

use crate::client::Http1;
use crate::{Failure, KEY_NAME};

/// What an object store binds to a data key: where the object is.
const CONTEXT: &[u8] = br#"{"bench-bucket":"bench-bucket/path/to/object-0001"}"#;

/// What is encrypted and authenticated: as long as a data key.
const MESSAGE: [u8; 32] = [0x5a; 32];

/// An operation with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    Decrypt,
    Generate,
    Encrypt,
    Hmac,
}

impl Operation {
    pub(crate) const ALL: [Self; 4] = [Self::Decrypt, Self::Generate, Self::Encrypt, Self::Hmac];

    /// What an object store asks for: one for a read, the other for a write.
    pub(crate) const DEFAULT: [Self; 2] = [Self::Decrypt, Self::Generate];

    /// As in the path of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Generate => "generate",
            Self::Encrypt => "encrypt",
            Self::Hmac => "hmac",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One request, in the form of either protocol.
pub(crate) struct Load {
    /// Head and body.
    pub(crate) http1: Vec<u8>,
    /// The head; without a length, as Go's client has it for a body that it streams.
    pub(crate) http2: Request<()>,
    /// The body, for HTTP/2.
    pub(crate) body: Bytes,
}

/// The requests of all operations, and how long the answers are.
pub(crate) struct Requests(Vec<(Operation, Vec<u8>, usize)>);

impl Requests {
    /// Creates the key, and asks the server once for each operation.
    pub(crate) async fn prepare(server: &mut Http1) -> Result<Self, Failure> {
        let create = http1_request(&format!("/v1/key/create/{KEY_NAME}"), b"");
        server.exchange(&create).await?.expect_ok()?;
        let encrypt = wire::request::encrypt(&MESSAGE, CONTEXT);
        let answer = answer_to(server, Operation::Encrypt, &encrypt).await?;
        let ciphertext = wire::response::parse_ciphertext(&answer)?;
        let mut requests = Vec::with_capacity(4);
        for (operation, body) in [
            (
                Operation::Decrypt,
                wire::request::decrypt(&ciphertext, CONTEXT),
            ),
            (Operation::Generate, wire::request::generate(CONTEXT)),
            (Operation::Encrypt, encrypt),
            (Operation::Hmac, wire::request::hmac(&MESSAGE)),
        ] {
            let answer = answer_to(server, operation, &body).await?;
            requests.push((operation, body, answer.len()));
        }
        Ok(Self(requests))
    }

    /// Checks that a server answers as long as the first one did.
    pub(crate) async fn check(&self, server: &mut Http1) -> Result<(), Failure> {
        for (operation, body, size) in &self.0 {
            let answer = answer_to(server, *operation, body).await?;
            if answer.len() != *size {
                let found = answer.len();
                return Err(format!("{operation}: {found} bytes instead of {size}").into());
            }
        }
        Ok(())
    }

    /// Sizes of the answers' bodies, in bytes.
    pub(crate) fn answer_sizes(&self) -> impl Iterator<Item = (Operation, usize)> {
        self.0
            .iter()
            .map(|(operation, _, size)| (*operation, *size))
    }

    /// The request of an operation.
    pub(crate) fn load(&self, operation: Operation) -> Result<Arc<Load>, Failure> {
        let mut requests = self.0.iter();
        let (_, body, _) = requests
            .find(|(candidate, _, _)| *candidate == operation)
            .ok_or("no request for this operation")?;
        let path = path(operation);
        let http2 = Request::post(format!("https://localhost{path}"))
            .header(CONTENT_TYPE, "application/json")
            .body(())?;
        Ok(Arc::new(Load {
            http1: http1_request(&path, body),
            http2,
            body: Bytes::from(body.clone()),
        }))
    }
}

async fn answer_to(
    server: &mut Http1,
    operation: Operation,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    let request = http1_request(&path(operation), body);
    let reply = server.exchange(&request).await?;
    reply
        .expect_ok()
        .map_err(|error| format!("{operation}: {error}"))?;
    Ok(reply.body.to_vec())
}

fn path(operation: Operation) -> String {
    format!("/v1/key/{operation}/{KEY_NAME}")
}

fn http1_request(path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}
