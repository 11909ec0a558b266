//! Why a call failed, in the words of the original's client where users or scripts know them.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::os_error;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused. The text is the server's.
    #[error("{message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// What the server says; see the constants of [`crate::wire::error`].
        message: String,
    },
    /// The server cannot be reached, or the connection broke.
    #[error("kes: connection error: {method} \"{url}\": {cause}")]
    Connection {
        /// The method as Go spells it in errors: `Get`, `Post`.
        method: String,
        /// What was asked for.
        url: String,
        /// What happened.
        cause: String,
        /// Whether nothing happened for too long.
        is_timeout: bool,
    },
    /// There is a server, but not one that is trusted, or not one that speaks TLS as it should.
    #[error("{method} \"{url}\": tls: {cause}")]
    Tls {
        /// The method as Go spells it in errors.
        method: String,
        /// What was asked for.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// The server redirects to where the client does not follow.
    #[error("{method} \"{url}\": refused to follow a redirect to \"{location}\"")]
    Redirect {
        /// The method as Go spells it in errors.
        method: String,
        /// What was asked for.
        url: String,
        /// Where to.
        location: String,
    },
    /// The answer is not what the API promises. An empty answer is an `EOF`.
    #[error("{0}")]
    InvalidResponse(String),
    /// The answer is larger than any honest one.
    #[error("kes: server response exceeds {limit} bytes")]
    ResponseTooLarge {
        /// Bytes that would have been read.
        limit: usize,
    },
    /// A listing does not end, or would not fit into memory.
    #[error("kes: listing does not end: continued at '{0}' twice or after too many names")]
    EndlessListing(String),
    /// The address of a server is none.
    #[error("kes: invalid server endpoint '{endpoint}': {reason}")]
    InvalidEndpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and private key are of different pairs.
    #[error("tls: private key does not match public key")]
    KeyMismatch,
    /// The credentials cannot be used.
    #[error("tls: {0}")]
    InvalidCredentials(String),
    /// A call that is meant for one server has several to choose from.
    #[error("kes: this is for one server, but {count} are configured")]
    SeveralServers {
        /// How many.
        count: usize,
    },
    /// A file on this host cannot be read or written.
    #[error("{operation} {}: {}", path.display(), os_error::reason(source))]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The client cannot be set up.
    #[error("kes: cannot set up the client: {0}")]
    Setup(String),
}

impl ClientError {
    /// HTTP status of a refusal; `None` if the server did not get to answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether another try may help: the network failed, not the server.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. })
    }

    /// Whether the server refused with exactly this status and text.
    pub fn is_api(&self, status: u16, text: &str) -> bool {
        matches!(self, Self::Api { status: s, message } if *s == status && message == text)
    }

    /// A failure of `operation` on the file `path`.
    pub(super) fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn from_json(error: &serde_json::Error, body: &[u8]) -> Self {
        match body.trim_ascii().is_empty() {
            true => Self::InvalidResponse("EOF".to_owned()),
            false => Self::InvalidResponse(format!("kes: invalid server response: {error}")),
        }
    }
}
