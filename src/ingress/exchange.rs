//! One request, whatever protocol brought it: who asks, may it go on, its body, its answer.

use std::sync::Arc;

use tokio::sync::Notify;

use super::body::{BodyMemory, BodySource, receive};
use super::proxy::{Headers, forwarded_peer};
use super::tls::TlsState;
use crate::api::{Admission, Api, Peer, Reply, RequestHead, error_reply};
use crate::base::limits::REQUEST_BODY_TIMEOUT;

/// What all connections of a worker share.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) api: Api,
    pub(super) memory: BodyMemory,
}

/// A connection's side of an exchange.
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// The settings under which the handshake was made.
    pub(super) tls: Arc<TlsState>,
    /// Told when the rest of a body will not be read: the connection ends after the answer.
    pub(super) ending: Notify,
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
        let forwarded = match forwarded_peer(&connection.tls, &connection.peer, headers) {
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
