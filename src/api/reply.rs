//! Answers, as the ingress sends them over whatever protocol.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::base::secret::SecretBytes;

/// An answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, if there is one.
    pub content_type: Option<&'static str>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// What follows the head.
    pub body: ReplyBody,
    /// Whether an HTTP/1 connection must be closed after it.
    pub close: bool,
}

/// The body of an answer.
pub enum ReplyBody {
    /// None.
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// Chunks until the server or the client ends it.
    Stream(StreamBody),
}

/// The rest of a streamed answer will not come: the client must not take what it got for all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the rest of the answer is missing")]
pub struct CutOff;

/// Chunks of a streamed answer.
pub struct StreamBody(Pin<Box<dyn Stream<Item = Result<Bytes, CutOff>> + Send>>);

impl StreamBody {
    /// Streams `chunks`. After [`CutOff`] the connection, or the stream of it, is broken off.
    pub fn new(chunks: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static) -> Self {
        Self(Box::pin(chunks))
    }
}

impl Stream for StreamBody {
    type Item = Result<Bytes, CutOff>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl Reply {
    /// 200 without a body.
    pub fn empty() -> Self {
        Self {
            status: 200,
            content_type: None,
            headers: Vec::new(),
            body: ReplyBody::Empty,
            close: false,
        }
    }

    /// 200 with JSON.
    pub fn json(body: Vec<u8>) -> Self {
        Self::of_type("application/json", Bytes::from(body))
    }

    /// 200 with JSON that holds key material: wiped once it is sent.
    pub fn secret_json(body: SecretBytes) -> Self {
        Self::of_type("application/json", Bytes::from_owner(body))
    }

    /// 200 with a body of the given content type.
    pub fn of_type(content_type: &'static str, body: Bytes) -> Self {
        Self {
            content_type: Some(content_type),
            body: ReplyBody::Bytes(body),
            ..Self::empty()
        }
    }
}
