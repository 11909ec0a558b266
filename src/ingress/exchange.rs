//! One request, whatever protocol brought it: who asks, may it go on, its body, its answer.

use std::cell::Cell;
use std::time::Instant;

use tokio::sync::Notify;

use super::body::{BodyMemory, BodySource, receive};
use super::proxy::{Headers, forwarded_peer};
use super::tls::TlsState;
use crate::api::{Admission, Api, Peer, Reply, RequestHead, error_reply};
use crate::base::limits::REQUEST_BODY_TIMEOUT;
use crate::base::snapshot::Published;

/// What all connections of a worker share.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) api: Api,
    /// The settings in force: a peer that was a proxy when it connected may be none any more.
    pub(super) tls: Published<TlsState>,
    pub(super) memory: BodyMemory,
}

/// A connection's side of an exchange.
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Told when the rest of a body will not be read: the connection ends after the answer.
    pub(super) ending: Notify,
    /// Requests under way.
    active: Cell<usize>,
    /// When the last request began.
    last_request: Cell<Option<Instant>>,
}

impl Connection {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            ending: Notify::new(),
            active: Cell::new(0),
            last_request: Cell::new(None),
        }
    }

    /// Whether a request is under way.
    pub(super) fn is_active(&self) -> bool {
        self.active.get() > 0
    }

    /// When the last request began; `None` if there was none.
    pub(super) fn last_request(&self) -> Option<Instant> {
        self.last_request.get()
    }

    fn begin_request(&self, at: Instant) -> ActiveRequest<'_> {
        self.active.set(self.active.get() + 1);
        self.last_request.set(Some(at));
        ActiveRequest(self)
    }
}

struct ActiveRequest<'a>(&'a Connection);

impl Drop for ActiveRequest<'_> {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

/// An answer, and whether the request's body was read to its end.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) body_is_finished: bool,
}

impl Exchange {
    /// Answers one request. The body is drained first, whatever the outcome.
    pub(super) async fn answer(
        &self,
        connection: &Connection,
        head: RequestHead<'_>,
        headers: &impl Headers,
        source: &mut impl BodySource,
    ) -> Answer {
        let _active = connection.begin_request(head.received);
        let forwarded = match forwarded_peer(&self.tls.load(), &connection.peer, headers) {
            Ok(forwarded) => forwarded,
            Err(error) => return self.refuse(error_reply(&error), source).await,
        };
        let peer = forwarded.as_ref().unwrap_or(&connection.peer);
        match self.api.admit(&head, peer) {
            Admission::Answer(reply) => self.refuse(reply, source).await,
            Admission::Admitted(admitted) => {
                let keep = admitted.body_bytes_max();
                let timeout = admitted.body_timeout();
                let received = receive(source, keep, timeout, &self.memory).await;
                let body_is_finished = received.is_finished;
                let (body, _memory) = received.into_parts();
                let reply = self.api.serve(admitted, body).await;
                Answer {
                    reply,
                    body_is_finished,
                }
            }
        }
    }

    /// Answers without looking at the body, which is read and thrown away.
    async fn refuse(&self, reply: Reply, source: &mut impl BodySource) -> Answer {
        let received = receive(source, 0, REQUEST_BODY_TIMEOUT, &self.memory).await;
        Answer {
            reply,
            body_is_finished: received.is_finished,
        }
    }
}
