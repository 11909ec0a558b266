//! Receiving request bodies: every body is drained before anything else is awaited, whatever
//! becomes of the request, under a limit of size, of time, and of memory for all of them together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Body;
use crate::api::deadline::within;
use crate::base::limits::{BODY_MEMORY_BYTES_MAX, IGNORED_BODY_BYTES_MAX, INLINE_BODY_BYTES_MAX};

/// A body that arrives in chunks.
pub(super) trait BodySource {
    /// The next chunk; `None` at the end, an error if the rest will not come.
    fn next_chunk(&mut self) -> impl Future<Output = Option<Result<Bytes, Broken>>>;
}

/// The rest of a body will not come, or must not be read.
#[derive(Debug)]
pub(super) struct Broken;

/// Memory for large bodies, shared by all connections.
#[derive(Clone)]
pub(super) struct BodyMemory(Arc<Semaphore>);

impl BodyMemory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(
            BODY_MEMORY_BYTES_MAX / INLINE_BODY_BYTES_MAX,
        )))
    }

    /// Room for one more body of up to `bytes`; `None` if there is none.
    fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(INLINE_BODY_BYTES_MAX)).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(units).ok()
    }
}

/// A received body, and what stands for its memory.
pub(super) struct Received {
    pub(super) body: Body,
    /// Whether the body was read to its end. If not, an HTTP/1 connection cannot go on.
    pub(super) is_finished: bool,
    memory: Option<OwnedSemaphorePermit>,
}

impl Received {
    fn new(body: Body, is_finished: bool) -> Self {
        Self {
            body,
            is_finished,
            memory: None,
        }
    }

    /// The body, and what must be held for as long as the body is.
    pub(super) fn into_parts(self) -> (Body, Option<OwnedSemaphorePermit>) {
        (self.body, self.memory)
    }
}

/// Receives a body within `timeout` and keeps at most `keep` bytes of it.
pub(super) async fn receive(
    source: &mut impl BodySource,
    keep: usize,
    timeout: Duration,
    memory: &BodyMemory,
) -> Received {
    match within(timeout, receive_all(source, keep, memory)).await {
        Some(received) => received,
        None => Received::new(Body::TimedOut, false),
    }
}

async fn receive_all(source: &mut impl BodySource, keep: usize, memory: &BodyMemory) -> Received {
    let mut kept = Kept::Nothing;
    let mut permit = None;
    let mut total = 0_usize;
    while let Some(chunk) = source.next_chunk().await {
        let Ok(chunk) = chunk else {
            return Received::new(Body::TooLarge, false);
        };
        total = total.saturating_add(chunk.len());
        if keep == 0 {
            if total > IGNORED_BODY_BYTES_MAX {
                return Received::new(Body::TooLarge, false);
            }
            continue;
        }
        if total > keep {
            return Received::new(Body::TooLarge, false);
        }
        if total > INLINE_BODY_BYTES_MAX && permit.is_none() {
            permit = memory.reserve(keep);
            if permit.is_none() {
                return Received::new(Body::Overloaded, false);
            }
        }
        kept.push(chunk);
    }
    Received {
        body: Body::Complete(kept.into_bytes()),
        is_finished: true,
        memory: permit,
    }
}

/// Chunks so far; a body of one chunk is not copied.
enum Kept {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Kept {
    fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => Self::One(chunk),
            Self::One(first) => {
                let mut bytes = BytesMut::with_capacity((first.len() + chunk.len()) * 2);
                bytes.extend_from_slice(&first);
                bytes.extend_from_slice(&chunk);
                Self::Many(bytes)
            }
            Self::Many(mut bytes) => {
                bytes.extend_from_slice(&chunk);
                Self::Many(bytes)
            }
        };
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    struct Chunks(Vec<&'static [u8]>);

    impl BodySource for Chunks {
        async fn next_chunk(&mut self) -> Option<Result<Bytes, Broken>> {
            (!self.0.is_empty()).then(|| Ok(Bytes::from_static(self.0.remove(0))))
        }
    }

    #[tokio::test]
    async fn bodies_are_kept_up_to_the_limit() {
        let memory = BodyMemory::new();
        let received = receive(
            &mut Chunks(vec![b"ab", b"", b"cd", b"e"]),
            5,
            TIMEOUT,
            &memory,
        )
        .await;
        assert!(received.is_finished);
        assert!(matches!(received.body, Body::Complete(body) if body == "abcde"));
        let received = receive(&mut Chunks(vec![b"ab", b"cd", b"ef"]), 5, TIMEOUT, &memory).await;
        assert!(!received.is_finished);
        assert!(matches!(received.body, Body::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_nobody_wants_is_drained() {
        let mut chunks = Chunks(vec![b"ab", b"cd"]);
        let received = receive(&mut chunks, 0, TIMEOUT, &BodyMemory::new()).await;
        assert!(received.is_finished && chunks.0.is_empty());
        assert!(matches!(received.body, Body::Complete(body) if body.is_empty()));
    }

    #[tokio::test]
    async fn large_bodies_share_a_budget() {
        static LARGE: [u8; INLINE_BODY_BYTES_MAX + 1] = [0; INLINE_BODY_BYTES_MAX + 1];
        let memory = BodyMemory::new();
        let mut held = Vec::new();
        loop {
            let received = receive(&mut Chunks(vec![&LARGE]), 1_000_000, TIMEOUT, &memory).await;
            match received.body {
                Body::Complete(_) => held.push(received),
                Body::Overloaded => break,
                _ => panic!("neither taken nor refused"),
            }
        }
        assert_eq!(
            held.len(),
            BODY_MEMORY_BYTES_MAX / (16 * INLINE_BODY_BYTES_MAX)
        );
    }
}
